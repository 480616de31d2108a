//! Names and widths: everything that is named is declared, everything has the width that its use asks for, and the traps
//! that the switch is known for are kept clear of: no loop outside actions, no register index without 32 bits, no
//! variable shift by more than 8 bits, no division, no table applied twice.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Expr, Item, Kind, Local, Param, State, Stmt, Table, Type};

type Result<T> = std::result::Result<T, String>;

/// The widest value of bmv2.
const WIDEST: u32 = 2048;

/// Bits of a port where v1model.p4 is today's, and in the NFP's tools.
const PORT: u32 = 9;
const NFP_PORT: u32 = 16;

/// What stands behind `#ifdef` is checked both ways, as by the tools that have the name and those that haven't.
pub fn check(items: &[Item]) -> Result<()> {
    checked(items, true)?;
    match items.iter().any(|item| matches!(item, Item::IfDefined(..))) {
        true => checked(items, false),
        false => Ok(()),
    }
}

fn checked(items: &[Item], defined: bool) -> Result<()> {
    let mut checker = Checker {
        port: if defined { PORT } else { NFP_PORT },
        ..Checker::default()
    };
    for item in items {
        match item {
            Item::IfDefined(name, then, other) if name == "V1MODEL_VERSION" => {
                let side = if defined { then } else { other };
                side.iter().try_for_each(|item| checker.item(item))?;
            }
            item => checker.item(item)?,
        }
    }
    let main = items
        .iter()
        .any(|item| matches!(item, Item::Package(name, parts) if name == "V1Switch" && parts.len() == 6));
    if main {
        Ok(())
    } else {
        Err("no V1Switch".to_owned())
    }
}

#[derive(Default)]
struct Checker {
    /// Bits of a port.
    port: u32,
    aliases: BTreeMap<String, Type>,
    externs: BTreeSet<String>,
    types: BTreeMap<String, Vec<Param>>,
    headers: BTreeSet<String>,
    parts: BTreeSet<String>,
    consts: BTreeMap<String, Type>,
    scopes: Vec<BTreeMap<String, Type>>,
    actions: BTreeMap<String, Vec<Param>>,
    tables: BTreeMap<String, Table>,
    applied: BTreeSet<String>,
    used: BTreeSet<String>,
}

/// Where statements stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Action { loops: usize },
    Apply,
    State,
}

fn at<T>(line: usize, what: impl Into<String>) -> Result<T> {
    Err(format!("line {line}: {}", what.into()))
}

fn standard(name: &str, port: u32) -> Option<Type> {
    Some(match name {
        "ingress_port" | "egress_spec" => Type::Bit(port),
        "packet_length" | "instance_type" => Type::Bit(32),
        "checksum_error" => Type::Bit(1),
        "ingress_global_timestamp" => Type::Bit(48),
        _ => return None,
    })
}

impl Checker {
    fn item(&mut self, item: &Item) -> Result<()> {
        match item {
            Item::Include(name) => match name.as_str() {
                "core.p4" | "v1model.p4" => Ok(()),
                other => Err(format!("includes {other}")),
            },
            Item::Const(ty, name, value) => {
                self.is(value, ty)?;
                self.consts.insert(name.clone(), ty.clone());
                Ok(())
            }
            Item::Typedef(ty, name) => {
                self.known(ty)?;
                self.aliases.insert(name.clone(), ty.clone());
                Ok(())
            }
            Item::Extern(name) => {
                self.externs.insert(name.clone());
                Ok(())
            }
            Item::IfDefined(name, ..) => Err(format!("#ifdef {name}")),
            Item::Header(name, fields) => {
                let bits: u32 = fields.iter().map(|field| width(&field.ty)).sum();
                if !bits.is_multiple_of(8) {
                    return Err(format!("header {name} has {bits} bits"));
                }
                self.headers.insert(name.clone());
                self.declare_type(name, fields)
            }
            Item::Struct(name, fields) => self.declare_type(name, fields),
            Item::Parser(name, params, states) => {
                self.parts.insert(name.clone());
                self.scoped(params, |this| this.states(states))
            }
            Item::Control(name, params, locals, apply) => {
                self.parts.insert(name.clone());
                self.scoped(params, |this| this.control(locals, apply))
            }
            Item::Package(_, parts) => match parts.iter().find(|part| !self.parts.contains(*part)) {
                Some(part) => Err(format!("no {part}")),
                None => Ok(()),
            },
        }
    }

    fn declare_type(&mut self, name: &str, fields: &[Param]) -> Result<()> {
        let mut names = BTreeSet::new();
        for field in fields {
            self.known(&field.ty)?;
            if !names.insert(&field.name) {
                return Err(format!("{name} has two fields {}", field.name));
            }
        }
        match self.types.insert(name.to_owned(), fields.to_vec()) {
            Some(_) => Err(format!("two types {name}")),
            None => Ok(()),
        }
    }

    fn known(&self, ty: &Type) -> Result<()> {
        let library = ["packet_in", "packet_out", "standard_metadata_t"];
        match ty {
            Type::Bit(width) | Type::Int(width) if *width == 0 || *width > WIDEST => {
                Err(format!("{width} bits"))
            }
            Type::Named(name) if library.contains(&name.as_str()) => Ok(()),
            Type::Named(name) | Type::Stack(name, _) if !self.types.contains_key(name) => {
                Err(format!("no type {name}"))
            }
            _ => Ok(()),
        }
    }

    fn scoped(&mut self, params: &[Param], f: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.scopes.push(BTreeMap::new());
        for param in params {
            let ty = self.resolved(&param.ty);
            self.known(&ty)?;
            self.declare(&param.name, ty, 0)?;
        }
        let result = f(self);
        self.scopes.pop();
        result
    }

    /// The type that a name stands for.
    fn resolved(&self, ty: &Type) -> Type {
        let alias = match ty {
            Type::Named(name) => self.aliases.get(name),
            _ => None,
        };
        alias.unwrap_or(ty).clone()
    }

    /// A name that nothing visible has: p4c warns where one hides another.
    fn declare(&mut self, name: &str, ty: Type, line: usize) -> Result<()> {
        if self.find(name).is_some() || self.actions.contains_key(name) || self.tables.contains_key(name) {
            return at(line, format!("{name} hides another"));
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), ty);
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<&Type> {
        self.scopes
            .iter()
            .rev()
            .find_map(|scope| scope.get(name))
            .or_else(|| self.consts.get(name))
    }

    fn states(&mut self, states: &[State]) -> Result<()> {
        let names: BTreeSet<&str> = states.iter().map(|state| state.name.as_str()).collect();
        if names.len() != states.len() || states.first().is_none_or(|first| first.name != "start") {
            return Err("states are not distinct, or do not begin with start".to_owned());
        }
        for state in states {
            self.stmts(&state.body, Inside::State)?;
            let keys: Vec<Type> = state.keys.iter().map(|key| self.ty(key)).collect::<Result<_>>()?;
            for (patterns, to) in &state.cases {
                if !patterns.is_empty() && patterns.len() != keys.len() {
                    return Err(format!("{}: a case of another length", state.name));
                }
                for (pattern, key) in patterns.iter().zip(&keys) {
                    self.pattern(pattern, key)?;
                }
                if !names.contains(to.as_str()) && to != "accept" && to != "reject" {
                    return Err(format!("no state {to}"));
                }
            }
            if state
                .cases
                .last()
                .is_some_and(|(patterns, _)| !patterns.is_empty())
            {
                return Err(format!("{}: no default", state.name));
            }
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: &Expr, key: &Type) -> Result<()> {
        match &pattern.kind {
            Kind::Any => Ok(()),
            Kind::Binary("&&&", value, mask) => {
                self.is(value, key)?;
                self.is(mask, key)
            }
            _ => self.is(pattern, key),
        }
    }

    fn control(&mut self, locals: &[Local], apply: &[Stmt]) -> Result<()> {
        self.actions = BTreeMap::from([("NoAction".to_owned(), Vec::new())]);
        (self.tables, self.applied, self.used) = Default::default();
        for local in locals {
            match local {
                Local::Register(width, size, name) => {
                    self.known(&Type::Bit(*width))?;
                    if *size == 0 {
                        return Err(format!("{name} has no elements"));
                    }
                    self.declare(name, Type::Register(*width), 0)?;
                }
                Local::Counter(size, name) => {
                    if *size == 0 {
                        return Err(format!("{name} has no elements"));
                    }
                    self.declare(name, Type::Counter, 0)?;
                }
                Local::Var(ty, name) => {
                    self.known(ty)?;
                    self.declare(name, ty.clone(), 0)?;
                }
                Local::Action(name, params, body) => {
                    self.scoped(params, |this| this.stmts(body, Inside::Action { loops: 0 }))?;
                    self.declare(name, Type::Void, 0)?;
                    self.actions.insert(name.clone(), params.clone());
                }
                Local::Table(table) => {
                    self.table(table)?;
                    self.declare(&table.name, Type::Void, 0)?;
                    self.tables.insert(table.name.clone(), table.clone());
                }
            }
        }
        self.stmts(apply, Inside::Apply)?;
        for local in locals {
            let name = match local {
                Local::Register(_, _, name) | Local::Counter(_, name) | Local::Action(name, ..) => name,
                Local::Table(table) => &table.name,
                Local::Var(..) => continue,
            };
            if !self.used.contains(name) {
                return Err(format!("{name} is used by nothing"));
            }
        }
        Ok(())
    }

    fn table(&mut self, table: &Table) -> Result<()> {
        let mut keys = Vec::new();
        for (expr, kind) in &table.keys {
            if !["exact", "lpm", "ternary"].contains(&kind.as_str()) {
                return Err(format!("{}: {kind}", table.name));
            }
            keys.push(self.ty(expr)?);
        }
        for name in &table.actions {
            if !self.actions.contains_key(name) {
                return Err(format!("{}: no action {name}", table.name));
            }
            self.used.insert(name.clone());
        }
        self.bound(table, &table.default.0, &table.default.1)?;
        for (patterns, action, args) in &table.entries {
            if patterns.len() != keys.len() {
                return Err(format!("{}: an entry of another length", table.name));
            }
            for (pattern, key) in patterns.iter().zip(&keys) {
                self.pattern(pattern, key)?;
            }
            self.bound(table, action, args)?;
        }
        Ok(())
    }

    fn bound(&mut self, table: &Table, action: &str, args: &[Expr]) -> Result<()> {
        if !table.actions.iter().any(|name| name == action) {
            return Err(format!("{}: {action} is none of its actions", table.name));
        }
        let params = self.actions[action].clone();
        if params.len() != args.len() {
            return Err(format!("{}: {action} has other data", table.name));
        }
        params
            .iter()
            .zip(args)
            .try_for_each(|(param, arg)| self.is(arg, &param.ty))
    }

    fn stmts(&mut self, stmts: &[Stmt], inside: Inside) -> Result<()> {
        self.scopes.push(BTreeMap::new());
        let result = stmts.iter().try_for_each(|stmt| self.stmt(stmt, inside));
        self.scopes.pop();
        result
    }

    fn stmt(&mut self, stmt: &Stmt, inside: Inside) -> Result<()> {
        match stmt {
            Stmt::Var(ty, name, value) => {
                self.known(ty)?;
                if let Some(value) = value {
                    self.is(value, ty)?;
                }
                self.declare(name, ty.clone(), value.as_ref().map_or(0, |value| value.line))
            }
            Stmt::Assign(place, value) => {
                let ty = self.ty(place)?;
                self.place(place)?;
                self.is(value, &ty)
            }
            Stmt::Call(call) => match self.ty(call)? {
                Type::Void => Ok(()),
                // A table that is applied.
                Type::Named(result) if result == "result" => Ok(()),
                other => at(call.line, format!("a statement of type {other:?}")),
            },
            Stmt::If(cond, then, other) => {
                self.is(cond, &Type::Bool)?;
                let before = self.applied.clone();
                self.stmts(then, inside)?;
                let after = std::mem::replace(&mut self.applied, before);
                self.stmts(other, inside)?;
                self.applied.extend(after);
                Ok(())
            }
            Stmt::For(first, cond, step, body) => {
                let Inside::Action { loops } = inside else {
                    return at(cond.line, "a loop outside an action");
                };
                let inner = Inside::Action { loops: loops + 1 };
                first.iter().try_for_each(|stmt| self.stmt(stmt, inside))?;
                self.is(cond, &Type::Bool)?;
                step.iter().try_for_each(|stmt| self.stmt(stmt, inside))?;
                self.stmts(body, inner)
            }
            Stmt::Break | Stmt::Continue => match inside {
                Inside::Action { loops: 1.. } => Ok(()),
                _ => Err("a break outside a loop".to_owned()),
            },
        }
    }

    fn place(&self, place: &Expr) -> Result<()> {
        match &place.kind {
            Kind::Name(name) if !self.consts.contains_key(name) => Ok(()),
            Kind::Member(base, _) | Kind::Index(base, _) => self.place(base),
            _ => at(place.line, "no place"),
        }
    }

    fn is(&mut self, expr: &Expr, wanted: &Type) -> Result<()> {
        let found = self.ty(expr)?;
        match (&found, wanted) {
            (Type::Number, Type::Bit(_) | Type::Int(_)) => Ok(()),
            _ if found == *wanted => Ok(()),
            _ => at(expr.line, format!("{found:?}, and {wanted:?} is wanted")),
        }
    }

    fn ty(&mut self, expr: &Expr) -> Result<Type> {
        let line = expr.line;
        match &expr.kind {
            Kind::Bool(_) => Ok(Type::Bool),
            Kind::Number(None, _) => Ok(Type::Number),
            Kind::Number(Some(width), bytes) => fits(*width, bytes, line),
            Kind::Text => Ok(Type::Text),
            Kind::Any => at(line, "anything, outside a pattern"),
            Kind::Name(name) => {
                self.used.insert(name.clone());
                match self.find(name) {
                    Some(ty) => Ok(ty.clone()),
                    None => at(line, format!("no {name}")),
                }
            }
            Kind::Member(base, name) => self.member(base, name, line),
            Kind::Index(base, index) => match (self.ty(base)?, &index.kind) {
                (Type::Stack(header, len), Kind::Number(None, bytes)) if number(bytes) < u64::from(len) => {
                    Ok(Type::Named(header))
                }
                (other, _) => at(line, format!("an element of {other:?}")),
            },
            Kind::Slice(base, high, low) => match self.ty(base)? {
                Type::Bit(width) if low <= high && *high < width => Ok(Type::Bit(high - low + 1)),
                other => at(line, format!("bits {high} to {low} of {other:?}")),
            },
            Kind::Unary(op, inner) => match (*op, self.ty(inner)?) {
                ("!", Type::Bool) => Ok(Type::Bool),
                ("~" | "-", Type::Bit(width)) => Ok(Type::Bit(width)),
                (op, other) => at(line, format!("{op} {other:?}")),
            },
            Kind::Binary(op, a, b) => self.binary(op, a, b, line),
            Kind::Select(cond, then, other) => {
                self.is(cond, &Type::Bool)?;
                let ty = self.ty(then)?;
                self.is(other, &ty)?;
                Ok(ty)
            }
            Kind::Cast(to, inner) => match (to, self.ty(inner)?) {
                (Type::Bit(_), Type::Bit(_)) | (Type::Bit(1), Type::Bool) => Ok(to.clone()),
                (Type::Int(a), Type::Int(_)) => Ok(Type::Int(*a)),
                (Type::Int(a), Type::Bit(b)) | (Type::Bit(a), Type::Int(b)) if *a == b => Ok(to.clone()),
                (to, from) => at(line, format!("a cast from {from:?} to {to:?}")),
            },
            Kind::Call(callee, args) => self.call(callee, args, line),
            Kind::List(items) => {
                let types: Result<Vec<Type>> = items.iter().map(|item| self.ty(item)).collect();
                Ok(Type::List(types?))
            }
        }
    }

    fn member(&mut self, base: &Expr, name: &str, line: usize) -> Result<Type> {
        if matches!(&base.kind, Kind::Name(owner) if owner == "HashAlgorithm") {
            return match name {
                "crc32" | "csum16" => Ok(Type::Named("HashAlgorithm".to_owned())),
                _ => at(line, name),
            };
        }
        match self.ty(base)? {
            Type::Named(ty) if ty == "standard_metadata_t" => {
                standard(name, self.port).ok_or_else(|| format!("line {line}: std.{name}"))
            }
            Type::Named(ty) if ty == "result" && name == "hit" => Ok(Type::Bool),
            Type::Stack(header, _) if name == "next" => Ok(Type::Named(header)),
            Type::Named(ty) => {
                let fields = self.types.get(&ty).into_iter().flatten();
                let found = fields.into_iter().find(|field| field.name == name);
                found
                    .map(|field| field.ty.clone())
                    .ok_or_else(|| format!("line {line}: no {name} in {ty}"))
            }
            other => at(line, format!("{name} of {other:?}")),
        }
    }

    fn binary(&mut self, op: &str, a: &Expr, b: &Expr, line: usize) -> Result<Type> {
        let (left, right) = (self.ty(a)?, self.ty(b)?);
        match (op, &left, &right) {
            ("&&" | "||", Type::Bool, Type::Bool) => Ok(Type::Bool),
            ("==" | "!=", a, b) if a == b && *a != Type::Number => Ok(Type::Bool),
            ("<" | ">" | "<=" | ">=", Type::Bit(a), Type::Bit(b)) if a == b => Ok(Type::Bool),
            ("<" | ">" | "<=" | ">=", Type::Int(a), Type::Int(b)) if a == b => Ok(Type::Bool),
            ("+" | "-" | "*" | "&" | "|" | "^", Type::Bit(a), Type::Bit(b)) if a == b => Ok(left),
            ("++", Type::Bit(a), Type::Bit(b)) if a + b <= WIDEST => Ok(Type::Bit(a + b)),
            ("<<" | ">>", Type::Bit(_) | Type::Int(_), Type::Bit(by)) if *by <= 8 => Ok(left),
            ("<<" | ">>", Type::Bit(_) | Type::Int(_), Type::Number) => Ok(left),
            _ => at(line, format!("{left:?} {op} {right:?}")),
        }
    }

    fn call(&mut self, callee: &Expr, args: &[Expr], line: usize) -> Result<Type> {
        match &callee.kind {
            Kind::Name(name) => self.function(name, args, line),
            Kind::Member(base, method) => {
                if let Kind::Name(table) = &base.kind
                    && self.tables.contains_key(table)
                    && method == "apply"
                    && args.is_empty()
                {
                    self.used.insert(table.clone());
                    return match self.applied.insert(table.clone()) {
                        true => Ok(Type::Named("result".to_owned())),
                        false => at(line, format!("{table} is applied twice on one way")),
                    };
                }
                let ty = self.ty(base)?;
                self.method(&ty, method, args, line)
            }
            _ => at(line, "a call of something else"),
        }
    }

    fn method(&mut self, ty: &Type, method: &str, args: &[Expr], line: usize) -> Result<Type> {
        match (ty, method, args) {
            (Type::Register(width), "read", [to, index]) => {
                self.place(to)?;
                self.is(to, &Type::Bit(*width))?;
                self.is(index, &Type::Bit(32))?;
                Ok(Type::Void)
            }
            (Type::Register(width), "write", [index, value]) => {
                self.is(index, &Type::Bit(32))?;
                self.is(value, &Type::Bit(*width))?;
                Ok(Type::Void)
            }
            (Type::Counter, "count", [index]) => {
                self.is(index, &Type::Bit(32))?;
                Ok(Type::Void)
            }
            (Type::Named(name), "isValid", []) if self.headers.contains(name) => Ok(Type::Bool),
            (Type::Named(name), "setValid" | "setInvalid", []) if self.headers.contains(name) => {
                Ok(Type::Void)
            }
            (Type::Named(name), "extract" | "emit", [header])
                if (name == "packet_in") == (method == "extract") =>
            {
                match self.ty(header)? {
                    Type::Named(header) | Type::Stack(header, _) if self.headers.contains(&header) => {
                        Ok(Type::Void)
                    }
                    other => at(line, format!("{method} of {other:?}")),
                }
            }
            _ => at(line, format!("{method} of {ty:?}")),
        }
    }

    fn function(&mut self, name: &str, args: &[Expr], line: usize) -> Result<Type> {
        let types: Vec<Type> = args.iter().map(|arg| self.ty(arg)).collect::<Result<_>>()?;
        if let Some(params) = self.actions.get(name) {
            self.used.insert(name.to_owned());
            return match params.is_empty() && args.is_empty() {
                true => Ok(Type::Void),
                false => at(line, format!("{name} called with data")),
            };
        }
        if self.externs.contains(name) && args.is_empty() {
            return Ok(Type::Void);
        }
        let algorithm = Type::Named("HashAlgorithm".to_owned());
        let number = Type::Bit(32);
        let right = match (name, &types[..]) {
            ("mark_to_drop", [Type::Named(std)]) => std == "standard_metadata_t",
            ("recirculate_preserving_field_list", [list]) => self.port == PORT && *list == Type::Bit(8),
            ("recirculate", [Type::List(_)]) => self.port == NFP_PORT,
            ("truncate", [length]) => *length == number,
            ("random", [a, b, c]) => *a == number && *b == number && *c == number,
            ("hash", [out, kind, base, Type::List(_), max]) => {
                *kind == algorithm && [out, base, max].iter().all(|ty| **ty == number)
            }
            ("log_msg", [Type::Text] | [Type::Text, Type::List(_)]) => true,
            ("verify_checksum" | "update_checksum", [Type::Bool, Type::List(_), Type::Bit(16), kind]) => {
                *kind == algorithm
            }
            _ => false,
        };
        match right {
            true => Ok(Type::Void),
            false => at(line, format!("{name}({types:?})")),
        }
    }
}

fn width(ty: &Type) -> u32 {
    match ty {
        Type::Bit(width) | Type::Int(width) => *width,
        Type::Bool => 1,
        _ => 0,
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Whether a number fits the width that stands before it.
fn fits(width: u32, bytes: &[u8], line: usize) -> Result<Type> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let top = bytes.get(zeros).map_or(0, |byte| 8 - byte.leading_zeros());
    let bits = (bytes.len() - zeros).saturating_sub(1) as u32 * 8 + top;
    match bits <= width {
        true => Ok(Type::Bit(width)),
        false => at(line, format!("{bits} bits in {width}")),
    }
}
