//! Prints a [`Unit`]. Layout is fixed: two spaces a level, a statement a line, parentheses where C's own precedence is
//! not enough or compilers ask for them.

use std::fmt::Write;

use crate::ast::{Binary, Case, Data, Expr, Func, Item, Local, LocalKind, Stmt, Type, Unit};
use crate::dialect::Dialect;

/// Bytes or words on a line of initial contents.
const PER_LINE: usize = 12;

/// A unit as text.
pub fn unit(unit: &Unit, dialect: Dialect) -> String {
    let mut printer = Printer {
        dialect,
        out: String::new(),
    };
    let mut last = None;
    for item in &unit.items {
        let kind = std::mem::discriminant(item);
        if last.is_some_and(|last| last != kind) || matches!(item, Item::Func(_) | Item::Data(_)) {
            printer.out.push('\n');
        }
        last = Some(kind);
        printer.item(item);
    }
    printer.out
}

struct Printer {
    dialect: Dialect,
    out: String,
}

/// How tightly an expression holds together: C's levels, higher is tighter.
fn level(expr: &Expr) -> u8 {
    match expr {
        Expr::Int(..) | Expr::Var(_) | Expr::Text(_) => 15,
        Expr::Index(..) | Expr::Field(..) | Expr::Call(..) => 15,
        Expr::Not(_) | Expr::Cast(..) => 14,
        Expr::Binary(op, ..) => binary_level(*op),
        Expr::Cond(..) => 2,
    }
}

fn binary_level(op: Binary) -> u8 {
    match op {
        Binary::Mul | Binary::Div | Binary::Rem => 13,
        Binary::Add | Binary::Sub => 12,
        Binary::Shl | Binary::Shr => 11,
        Binary::Lt | Binary::Le => 10,
        Binary::Eq | Binary::Ne => 9,
        Binary::And => 8,
        Binary::Xor => 7,
        Binary::Or => 6,
        Binary::LogicalAnd => 5,
        Binary::LogicalOr => 4,
    }
}

fn symbol(op: Binary) -> &'static str {
    match op {
        Binary::Mul => "*",
        Binary::Div => "/",
        Binary::Rem => "%",
        Binary::Add => "+",
        Binary::Sub => "-",
        Binary::Shl => "<<",
        Binary::Shr => ">>",
        Binary::Lt => "<",
        Binary::Le => "<=",
        Binary::Eq => "==",
        Binary::Ne => "!=",
        Binary::And => "&",
        Binary::Xor => "^",
        Binary::Or => "|",
        Binary::LogicalAnd => "&&",
        Binary::LogicalOr => "||",
    }
}

/// Whether an operand of `outer` stands without parentheses: sums in sums, products in sums, and anything tighter than
/// a shift. Elsewhere compilers warn, and readers hesitate.
fn bare(outer: Binary, operand: &Expr, right: bool) -> bool {
    let (own, inner) = (binary_level(outer), level(operand));
    if inner >= 14 {
        return true;
    }
    match operand {
        Expr::Binary(op, ..) => {
            let sum = |op| matches!(op, Binary::Add | Binary::Sub | Binary::Mul);
            let same =
                *op == outer && !right && !matches!(op, Binary::Lt | Binary::Le | Binary::Eq | Binary::Ne);
            let nested = sum(outer) && sum(*op) && (inner > own || (inner == own && !right));
            let compared = matches!(outer, Binary::Lt | Binary::Le | Binary::Eq | Binary::Ne) && sum(*op);
            let joined = matches!(outer, Binary::LogicalAnd | Binary::LogicalOr) && (9..=13).contains(&inner);
            same || nested || compared || joined
        }
        _ => false,
    }
}

impl Printer {
    fn type_name(&self, ty: Type) -> &'static str {
        match ty {
            Type::Void => "void ",
            Type::U8 => "uint8_t ",
            Type::U32 => "uint32_t ",
            Type::U64 => "uint64_t ",
            Type::I32 => "int32_t ",
            Type::I64 => "int64_t ",
            Type::Pointer(space, access) => self.dialect.pointer(space, access),
        }
    }

    fn expr(&self, expr: &Expr) -> String {
        match expr {
            Expr::Int(value, ty) => int(*value, *ty),
            Expr::Var(name) => name.to_string(),
            Expr::Text(bytes) => text(bytes),
            Expr::Not(inner) => format!("!{}", self.within(inner, 14)),
            Expr::Binary(op, a, b) => {
                let side = |operand: &Expr, right| match bare(*op, operand, right) {
                    true => self.expr(operand),
                    false => format!("({})", self.expr(operand)),
                };
                format!("{} {} {}", side(a, false), symbol(*op), side(b, true))
            }
            Expr::Cond(c, a, b) => {
                format!(
                    "{} ? {} : {}",
                    self.within(c, 4),
                    self.within(a, 3),
                    self.within(b, 3)
                )
            }
            Expr::Cast(ty, inner) => {
                format!("({}){}", self.type_name(*ty).trim_end(), self.within(inner, 14))
            }
            Expr::Index(array, index) => format!("{}[{}]", self.within(array, 15), self.expr(index)),
            Expr::Field(record, name) => format!("{}.{name}", self.within(record, 15)),
            Expr::Call(name, args) => {
                let args: Vec<String> = args.iter().map(|arg| self.expr(arg)).collect();
                format!("{name}({})", args.join(", "))
            }
        }
    }

    fn within(&self, expr: &Expr, least: u8) -> String {
        let text = self.expr(expr);
        if level(expr) < least {
            format!("({text})")
        } else {
            text
        }
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Comment(text) => self.comment(text, 0),
            Item::Include(file) => self.line(0, &format!("#include \"{file}\"")),
            Item::Define(name, value) => {
                let value = self.expr(value);
                self.line(0, &format!("#define {name} {value}"));
            }
            Item::Thread(name, ty) => {
                let ty = self.type_name(*ty);
                self.line(0, &format!("static {ty}{name};"));
            }
            Item::Data(data) => self.data(data),
            Item::Func(func) => self.func(func),
        }
    }

    fn line(&mut self, depth: usize, text: &str) {
        for _ in 0..depth {
            self.out.push_str("  ");
        }
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn comment(&mut self, text: &str, depth: usize) {
        // Nothing in a name or a path may end the comment, nor start one.
        let safe = text.replace("*/", "* /").replace("/*", "/ *");
        let lines: Vec<&str> = safe.lines().collect();
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else {
            return;
        };
        if lines.len() == 1 {
            return self.line(depth, &format!("/* {first} */"));
        }
        self.line(depth, &format!("/* {first}"));
        for line in &lines[1..lines.len() - 1] {
            self.line(depth, format!(" * {line}").trim_end());
        }
        self.line(depth, &format!(" * {last} */"));
    }

    fn data(&mut self, data: &Data) {
        if !data.comment.is_empty() {
            self.comment(&data.comment, 0);
        }
        let words = self.dialect.region_words(data.region);
        let (unit, count) = match self.dialect.has_words() {
            true => ("uint32_t", data.size.div_ceil(4).max(1)),
            false => ("uint8_t", data.size.max(1)),
        };
        let aligned = format!("LNIC_ALIGNED({}) ", data.align.max(4));
        let head = format!("{words}{aligned}{unit} {}[{count}]", data.name);
        let end = data
            .bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        if end == 0 {
            return self.line(0, &format!("{head};"));
        }
        self.line(0, &format!("{head} = {{"));
        let mut units: Vec<String> = match self.dialect.has_words() {
            true => data.bytes[..end].chunks(4).map(word).collect(),
            false => data.bytes[..end].iter().map(u8::to_string).collect(),
        };
        let last = units.len() - 1;
        for (i, unit) in units.iter_mut().enumerate() {
            if i < last {
                unit.push(',');
            }
        }
        for line in units.chunks(PER_LINE) {
            self.line(1, &line.join(" "));
        }
        self.line(0, "};");
    }

    fn func(&mut self, func: &Func) {
        if !func.comment.is_empty() {
            self.comment(&func.comment, 0);
        }
        let params: Vec<String> = func
            .params
            .iter()
            .map(|(name, ty)| format!("{}{name}", self.type_name(*ty)))
            .collect();
        let params = if params.is_empty() {
            "void".to_owned()
        } else {
            params.join(", ")
        };
        let linkage = match (func.exported, func.once) {
            (true, _) => "",
            (false, false) => "static ",
            (false, true) => "LNIC_ONCE ",
        };
        let result = self.type_name(func.result);
        self.line(0, &format!("{linkage}{result}{}({params})", func.name));
        self.line(0, "{");
        for local in &func.locals {
            self.local(local);
        }
        if !func.locals.is_empty() && !func.body.is_empty() {
            self.out.push('\n');
        }
        self.block(&func.body, 1);
        self.line(0, "}");
    }

    fn local(&mut self, local: &Local) {
        let text = match &local.kind {
            LocalKind::Scalar(ty, None) => format!("{}{};", self.type_name(*ty), local.name),
            LocalKind::Scalar(ty, Some(first)) => {
                format!("{}{} = {};", self.type_name(*ty), local.name, self.expr(first))
            }
            LocalKind::Memory(region, size, zeroed) => {
                let words = self.dialect.region_words(*region);
                let (unit, count) = match self.dialect.has_words() {
                    true => ("uint32_t", size.div_ceil(4).max(1)),
                    false => ("uint8_t", (*size).max(1)),
                };
                let zeros = if *zeroed { " = {0}" } else { "" };
                format!("{words}{unit} {}[{count}]{zeros};", local.name)
            }
        };
        self.line(1, &text);
    }

    fn block(&mut self, stmts: &[Stmt], depth: usize) {
        for stmt in stmts {
            self.stmt(stmt, depth);
        }
    }

    fn stmt(&mut self, stmt: &Stmt, depth: usize) {
        match stmt {
            Stmt::Comment(text) => self.comment(text, depth),
            Stmt::Expr(expr) => {
                let text = self.expr(expr);
                self.line(depth, &format!("{text};"));
            }
            Stmt::Assign(place, value) => {
                let text = format!("{} = {};", self.expr(place), self.expr(value));
                self.line(depth, &text);
            }
            Stmt::If(cond, then, other) => self.branch(cond, then, other, depth, "if"),
            Stmt::For { cond, step, body } => {
                let cond = cond
                    .as_ref()
                    .map_or(String::new(), |cond| format!(" {}", self.expr(cond)));
                let step = step.as_ref().map_or(String::new(), |(place, value)| {
                    format!(" {} = {}", self.expr(place), self.expr(value))
                });
                self.line(depth, &format!("for (;{cond};{step}) {{"));
                self.block(body, depth + 1);
                self.line(depth, "}");
            }
            Stmt::Once(body) => {
                self.line(depth, "do {");
                self.block(body, depth + 1);
                self.line(depth, "} while (0);");
            }
            Stmt::Switch(on, cases) => {
                let on = self.expr(on);
                self.line(depth, &format!("switch ({on}) {{"));
                cases.iter().for_each(|case| self.case(case, depth));
                self.line(depth, "}");
            }
            Stmt::Break => self.line(depth, "break;"),
            Stmt::Continue => self.line(depth, "continue;"),
            Stmt::Return(None) => self.line(depth, "return;"),
            Stmt::Return(Some(value)) => {
                let text = self.expr(value);
                self.line(depth, &format!("return {text};"));
            }
        }
    }

    fn branch(&mut self, cond: &Expr, then: &[Stmt], other: &[Stmt], depth: usize, head: &str) {
        let cond = self.expr(cond);
        self.line(depth, &format!("{head} ({cond}) {{"));
        self.block(then, depth + 1);
        match other {
            [] => self.line(depth, "}"),
            [Stmt::If(cond, then, other)] => self.branch(cond, then, other, depth, "} else if"),
            other => {
                self.line(depth, "} else {");
                self.block(other, depth + 1);
                self.line(depth, "}");
            }
        }
    }

    fn case(&mut self, case: &Case, depth: usize) {
        if case.labels.is_empty() {
            self.line(depth, "default:");
        }
        for label in &case.labels {
            let label = self.expr(label);
            self.line(depth, &format!("case {label}:"));
        }
        self.block(&case.body, depth + 1);
    }
}

/// Small numbers in decimal, masks and the like in hexadecimal.
fn int(value: u64, ty: Type) -> String {
    let mut text = String::new();
    let written = if value < 4096 || value.is_multiple_of(1000) {
        write!(text, "{value}")
    } else {
        write!(text, "0x{value:x}")
    };
    written.expect("a string takes all");
    text.push_str(match ty {
        Type::U64 | Type::I64 => "ULL",
        _ => "u",
    });
    text
}

/// Up to four bytes as a big-endian word.
fn word(bytes: &[u8]) -> String {
    let mut whole = [0; 4];
    whole[..bytes.len()].copy_from_slice(bytes);
    format!("0x{:08x}", u32::from_be_bytes(whole))
}

/// A string literal: octal escapes end after three digits, and no two question marks stand side by side.
fn text(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' | b'?' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => write!(out, "\\{byte:03o}").expect("a string takes all"),
        }
    }
    out.push('"');
    out
}
