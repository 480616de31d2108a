//! The printer: P4_16 text of a [`Program`].
//!
//! Indents by four; puts parentheses where precedence asks for them, and around shifts and bit operations inside other
//! operators, which readers trip over.

use std::fmt::{self, Display, Formatter};

use crate::ast::{
    Action, Binary, Bits, Control, Direction, Entry, Expr, Field, Item, Local, Param, Parser, Program, State,
    Stmt, Table, Transition, Type, Unary,
};

/// Numbers below this are printed in decimal.
const DECIMAL: u64 = 10_000;

impl Display for Type {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Bit(width) => write!(f, "bit<{width}>"),
            Self::Int(width) => write!(f, "int<{width}>"),
            Self::Named(name) => f.write_str(name),
            Self::Stack(name, len) => write!(f, "{name}[{len}]"),
            Self::Generic(name, args) => {
                write!(f, "{name}<")?;
                separated(f, args)?;
                f.write_str(">")
            }
            Self::Kept(list, ty) => write!(f, "@field_list({list}) {ty}"),
        }
    }
}

impl Display for Bits {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}w", self.width)?;
        match self.small() {
            Some(small) if small < DECIMAL => write!(f, "{small}"),
            _ => {
                write!(f, "0x{:x}", self.bytes[0])?;
                self.bytes[1..]
                    .iter()
                    .try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

fn separated<T: Display>(f: &mut Formatter<'_>, items: &[T]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

/// How tightly an expression holds together; the P4_16 specification's order.
fn strength(expr: &Expr) -> u8 {
    match expr {
        Expr::Select(..) => 1,
        Expr::Masked(..) => 2,
        Expr::Binary(op, ..) => binary_strength(*op),
        Expr::Unary(..) | Expr::Cast(..) => 20,
        _ => 30,
    }
}

fn binary_strength(op: Binary) -> u8 {
    match op {
        Binary::OrOr => 3,
        Binary::AndAnd => 4,
        Binary::Eq | Binary::Ne => 5,
        Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge => 6,
        Binary::Or => 7,
        Binary::Xor => 8,
        Binary::And => 9,
        Binary::Shl | Binary::Shr => 10,
        Binary::Add | Binary::Sub | Binary::Concat => 11,
        Binary::Mul => 12,
    }
}

/// Whether readers know by heart which of two operators binds tighter: arithmetic, then comparisons, then logic.
fn familiar(outer: Binary, inner: Binary) -> bool {
    let class = |op| match op {
        Binary::OrOr | Binary::AndAnd => Some(0),
        Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge => Some(1),
        Binary::Add | Binary::Sub | Binary::Mul => Some(2),
        Binary::Or | Binary::Xor | Binary::And | Binary::Shl | Binary::Shr | Binary::Concat => None,
    };
    match (class(outer), class(inner)) {
        (Some(outer), Some(inner)) => outer != inner || outer == 2,
        _ => outer == inner && matches!(outer, Binary::Or | Binary::And | Binary::Xor | Binary::Concat),
    }
}

fn operator(op: Binary) -> &'static str {
    match op {
        Binary::Mul => "*",
        Binary::Add => "+",
        Binary::Sub => "-",
        Binary::Shl => "<<",
        Binary::Shr => ">>",
        Binary::Le => "<=",
        Binary::Ge => ">=",
        Binary::Lt => "<",
        Binary::Gt => ">",
        Binary::Eq => "==",
        Binary::Ne => "!=",
        Binary::And => "&",
        Binary::Xor => "^",
        Binary::Or => "|",
        Binary::Concat => "++",
        Binary::AndAnd => "&&",
        Binary::OrOr => "||",
    }
}

/// An operand, in parentheses where it holds together less than `least`.
fn operand(f: &mut Formatter<'_>, expr: &Expr, least: u8) -> fmt::Result {
    if strength(expr) < least {
        write!(f, "({expr})")
    } else {
        write!(f, "{expr}")
    }
}

/// An operand of a binary operator; `right` of it, equals need parentheses too.
fn beside(f: &mut Formatter<'_>, op: Binary, expr: &Expr, right: bool) -> fmt::Result {
    let strange = match expr {
        Expr::Binary(inner, ..) => *inner != op && !familiar(op, *inner),
        _ => false,
    };
    let associative = matches!(expr, Expr::Binary(inner, ..) if *inner == op
        && matches!(op, Binary::AndAnd | Binary::OrOr | Binary::Concat));
    if strange {
        return write!(f, "({expr})");
    }
    operand(f, expr, binary_strength(op) + u8::from(right && !associative))
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Bits(bits) => write!(f, "{bits}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(text) => write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            Self::Name(name) => f.write_str(name),
            Self::Member(base, name) => {
                operand(f, base, 30)?;
                write!(f, ".{name}")
            }
            Self::Index(base, index) => {
                operand(f, base, 30)?;
                write!(f, "[{index}]")
            }
            Self::Slice(base, high, low) => {
                operand(f, base, 30)?;
                write!(f, "[{high}:{low}]")
            }
            Self::Unary(op, inner) => {
                f.write_str(match op {
                    Unary::Not => "!",
                    Unary::Complement => "~",
                    Unary::Negate => "-",
                })?;
                operand(f, inner, 20)
            }
            Self::Binary(op, left, right) => {
                beside(f, *op, left, false)?;
                write!(f, " {} ", operator(*op))?;
                beside(f, *op, right, true)
            }
            Self::Select(cond, then, other) => {
                operand(f, cond, 2)?;
                f.write_str(" ? ")?;
                operand(f, then, 2)?;
                f.write_str(" : ")?;
                operand(f, other, 2)
            }
            Self::Cast(ty, inner) => {
                write!(f, "({ty})")?;
                operand(f, inner, 20)
            }
            Self::Call(callee, args) => {
                operand(f, callee, 30)?;
                f.write_str("(")?;
                separated(f, args)?;
                f.write_str(")")
            }
            Self::List(items) => {
                f.write_str("{ ")?;
                separated(f, items)?;
                f.write_str(" }")
            }
            Self::Masked(value, mask) => {
                operand(f, value, 3)?;
                f.write_str(" &&& ")?;
                operand(f, mask, 3)
            }
            Self::Any => f.write_str("_"),
        }
    }
}

impl Display for Param {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self.direction {
            Direction::None => "",
            Direction::In => "in ",
            Direction::Out => "out ",
            Direction::InOut => "inout ",
        })?;
        write!(f, "{} {}", self.ty, self.name)
    }
}

/// Text so far, and how deep it is.
struct Printer {
    out: String,
    depth: usize,
}

/// The text of a program.
pub fn print(program: &Program) -> String {
    let mut printer = Printer {
        out: String::new(),
        depth: 0,
    };
    let mut before: Option<&Item> = None;
    for item in &program.items {
        let alike = matches!(
            (before, item),
            (Some(Item::Include(_)), Item::Include(_)) | (Some(Item::Const(..)), Item::Const(..))
        );
        let explained = matches!(before, Some(Item::Comment(_))) && !matches!(item, Item::Include(_));
        if before.is_some() && !alike && !explained {
            printer.out.push('\n');
        }
        printer.item(item);
        before = Some(item);
    }
    printer.out
}

impl Printer {
    fn line(&mut self, text: impl Display) {
        for _ in 0..self.depth {
            self.out.push_str("    ");
        }
        self.out.push_str(&text.to_string());
        self.out.push('\n');
    }

    fn block(&mut self, head: impl Display, inner: impl FnOnce(&mut Self)) {
        self.line(format_args!("{head} {{"));
        self.depth += 1;
        inner(self);
        self.depth -= 1;
        self.line("}");
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Comment(lines) => match &lines[..] {
                [line] => self.line(format_args!("/* {line} */")),
                lines => {
                    self.line("/*");
                    for line in lines {
                        self.line(format_args!(" * {line}").to_string().trim_end());
                    }
                    self.line(" */");
                }
            },
            Item::Include(name) => self.line(format_args!("#include <{name}>")),
            Item::Const(ty, name, value) => self.line(format_args!("const {ty} {name} = {value};")),
            Item::Typedef(ty, name) => self.line(format_args!("typedef {ty} {name};")),
            Item::Extern(name) => self.line(format_args!("extern void {name}();")),
            Item::IfDefined(name, then, other) => self.choice(name, then, other),
            Item::Header {
                controller,
                name,
                fields,
            } => {
                if let Some(controller) = controller {
                    self.line(format_args!("@controller_header(\"{controller}\")"));
                }
                self.fields(&format!("header {name}"), fields);
            }
            Item::Struct { name, fields } => self.fields(&format!("struct {name}"), fields),
            Item::Parser(parser) => self.parser(parser),
            Item::Control(control) => self.control(control),
            Item::Package { ty, parts, name } => {
                let parts: Vec<String> = parts.iter().map(|part| format!("{part}()")).collect();
                self.line(format_args!("{ty}({}) {name};", parts.join(", ")));
            }
        }
    }

    fn choice(&mut self, name: &str, then: &[Item], other: &[Item]) {
        self.line(format_args!("#ifdef {name}"));
        then.iter().for_each(|item| self.item(item));
        self.line("#else");
        other.iter().for_each(|item| self.item(item));
        self.line("#endif");
    }

    fn fields(&mut self, head: &str, fields: &[Field]) {
        self.block(head, |this| {
            for (ty, name) in fields {
                this.line(format_args!("{ty} {name};"));
            }
        });
    }

    fn parser(&mut self, parser: &Parser) {
        let head = format!("parser {}({})", parser.name, joined(&parser.params));
        self.block(head, |this| {
            for (index, state) in parser.states.iter().enumerate() {
                if index > 0 {
                    this.out.push('\n');
                }
                this.state(state);
            }
        });
    }

    fn state(&mut self, state: &State) {
        self.block(format_args!("state {}", state.name), |this| {
            this.stmts(&state.body);
            match &state.next {
                Transition::To(name) => this.line(format_args!("transition {name};")),
                Transition::Select(keys, cases) => {
                    this.block(format_args!("transition select({})", joined(keys)), |this| {
                        for (patterns, to) in cases {
                            let patterns = match &patterns[..] {
                                [] => "default".to_owned(),
                                [one] => one.to_string(),
                                several => format!("({})", joined(several)),
                            };
                            this.line(format_args!("{patterns}: {to};"));
                        }
                    });
                }
            }
        });
    }

    fn control(&mut self, control: &Control) {
        let head = format!("control {}({})", control.name, joined(&control.params));
        self.block(head, |this| {
            let mut before: Option<&Local> = None;
            for local in &control.locals {
                let explained = matches!(before, Some(Local::Comment(_)));
                let alike = matches!(
                    (before, local),
                    (Some(Local::Instance { .. }), Local::Instance { .. })
                        | (Some(Local::Var(..)), Local::Var(..))
                );
                if before.is_some() && !explained && !alike {
                    this.out.push('\n');
                }
                this.local(local);
                before = Some(local);
            }
            if before.is_some() {
                this.out.push('\n');
            }
            this.block("apply", |this| this.stmts(&control.apply));
        });
    }

    fn local(&mut self, local: &Local) {
        match local {
            Local::Comment(text) => self.line(format_args!("// {text}")),
            Local::Instance { ty, args, name } => self.line(format_args!("{ty}({}) {name};", joined(args))),
            Local::Var(ty, name) => self.line(format_args!("{ty} {name};")),
            Local::Action(action) => self.action(action),
            Local::Table(table) => self.table(table),
        }
    }

    fn action(&mut self, action: &Action) {
        let head = format!("action {}({})", action.name, joined(&action.params));
        self.block(head, |this| this.stmts(&action.body));
    }

    fn table(&mut self, table: &Table) {
        self.block(format_args!("table {}", table.name), |this| {
            if !table.keys.is_empty() {
                this.block("key =", |this| {
                    for key in &table.keys {
                        let (expr, kind) = (&key.expr, key.kind.name());
                        match &*key.name {
                            "" => this.line(format_args!("{expr}: {kind};")),
                            name => this.line(format_args!("{expr}: {kind} @name(\"{name}\");")),
                        }
                    }
                });
            }
            this.block("actions =", |this| {
                for action in &table.actions {
                    this.line(format_args!("{action};"));
                }
            });
            let (default, args) = &table.default;
            let constant = if table.const_default { "const " } else { "" };
            this.line(format_args!(
                "{constant}default_action = {default}({});",
                joined(args)
            ));
            if !table.entries.is_empty() {
                this.block("const entries =", |this| {
                    table.entries.iter().for_each(|entry| this.entry(entry));
                });
            }
            if let Some(size) = table.size {
                this.line(format_args!("size = {size};"));
            }
        });
    }

    fn entry(&mut self, entry: &Entry) {
        let keys = match &entry.keys[..] {
            [one] => one.to_string(),
            several => format!("({})", joined(several)),
        };
        self.line(format_args!("{keys}: {}({});", entry.action, joined(&entry.args)));
    }

    fn stmts(&mut self, stmts: &[Stmt]) {
        stmts.iter().for_each(|stmt| self.stmt(stmt));
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Var(..) | Stmt::Assign(..) | Stmt::Call(_) => self.line(format_args!("{};", simple(stmt))),
            Stmt::If(cond, then, other) => self.branch(&format!("if ({cond})"), then, other),
            Stmt::For(inner) => {
                let part = |stmt: &Option<Stmt>| stmt.as_ref().map(simple).unwrap_or_default();
                let (first, step) = (part(&inner.first), part(&inner.step));
                self.block(format_args!("for ({first}; {}; {step})", inner.cond), |this| {
                    this.stmts(&inner.body);
                });
            }
            Stmt::Break => self.line("break;"),
            Stmt::Continue => self.line("continue;"),
            Stmt::Comment(text) => self.line(format_args!("// {text}")),
        }
    }

    fn branch(&mut self, head: &str, then: &[Stmt], other: &[Stmt]) {
        self.line(format_args!("{head} {{"));
        self.depth += 1;
        self.stmts(then);
        self.depth -= 1;
        match other {
            [] => self.line("}"),
            [Stmt::If(cond, then, other)] => self.branch(&format!("}} else if ({cond})"), then, other),
            other => {
                self.line("} else {");
                self.depth += 1;
                self.stmts(other);
                self.depth -= 1;
                self.line("}");
            }
        }
    }
}

/// A statement without its semicolon, as it stands in a loop's head too.
fn simple(stmt: &Stmt) -> String {
    match stmt {
        Stmt::Var(ty, name, None) => format!("{ty} {name}"),
        Stmt::Var(ty, name, Some(value)) => format!("{ty} {name} = {value}"),
        Stmt::Assign(place, value) => format!("{place} = {value}"),
        Stmt::Call(call) => call.to_string(),
        Stmt::If(..) | Stmt::For(_) | Stmt::Break | Stmt::Continue | Stmt::Comment(_) => {
            unreachable!("not in a loop's head")
        }
    }
}

fn joined<T: Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}
