//! Runs the P4_16 subset that the emitter prints: one packet in, packets out, registers in between.
//!
//! It knows v1model only as far as these programs use it, and does what the specification says, not what bmv2 does where
//! that is another thing; see the crate's documentation for those traps, which the check keeps programs clear of.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::bits::Bits;
use super::tree::{Entry, Expr, Item, Kind, Local, Param, State, Stmt, Table, Type};

/// The most trips of all loops of a packet.
const MAX_TRIPS: u64 = 20_000_000;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Bool(bool),
    Bits(Bits),
    Int(Bits),
}

/// Where control goes.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// A program and its registers.
pub struct Machine {
    types: BTreeMap<String, Vec<Param>>,
    consts: BTreeMap<String, Value>,
    states: Vec<State>,
    controls: BTreeMap<String, (Vec<Local>, Vec<Stmt>)>,
    parts: Vec<String>,
    registers: BTreeMap<String, Vec<Bits>>,
    /// Parameters of controls, by name: everywhere the same.
    params: BTreeMap<String, Type>,
    /// What standard metadata is called.
    std: String,
    externs: BTreeSet<String>,
    /// How often each extern was called, and what was counted, by `counter[index]`.
    pub counts: BTreeMap<String, u64>,
    /// Whether metadata that was never set may be read.
    zeroed: bool,
}

impl Machine {
    pub fn new(items: &[Item]) -> Self {
        let mut machine = Self {
            types: BTreeMap::new(),
            consts: BTreeMap::new(),
            states: Vec::new(),
            controls: BTreeMap::new(),
            parts: Vec::new(),
            registers: BTreeMap::new(),
            params: BTreeMap::new(),
            std: "std".to_owned(),
            externs: BTreeSet::new(),
            counts: BTreeMap::new(),
            zeroed: true,
        };
        machine.take(items);
        machine
    }

    fn take(&mut self, items: &[Item]) {
        let machine = self;
        for item in items {
            match item {
                Item::Include(_) | Item::Typedef(..) => {}
                Item::Extern(name) => {
                    machine.externs.insert(name.clone());
                }
                // What runs here is today's v1model; only the NFP's programs ask.
                Item::IfDefined(_, then, _) => {
                    machine.zeroed = false;
                    machine.take(then);
                }
                Item::Const(_, name, value) => {
                    let value = Packet::new(machine, 0, &[]).eval(value);
                    machine.consts.insert(name.clone(), value);
                }
                Item::Header(name, fields) | Item::Struct(name, fields) => {
                    machine.types.insert(name.clone(), fields.clone());
                }
                Item::Parser(_, _, states) => machine.states = states.clone(),
                Item::Control(name, params, locals, apply) => {
                    for param in params {
                        if param.ty == Type::Named("standard_metadata_t".to_owned()) {
                            machine.std.clone_from(&param.name);
                        }
                        machine.params.insert(param.name.clone(), param.ty.clone());
                    }
                    for local in locals {
                        let (width, size, name) = match local {
                            Local::Register(width, size, name) => (*width, *size, name),
                            _ => continue,
                        };
                        let elements = vec![Bits::new(width, 0); size as usize];
                        machine.registers.insert(name.clone(), elements);
                    }
                    machine
                        .controls
                        .insert(name.clone(), (locals.clone(), apply.clone()));
                }
                Item::Package(_, parts) => machine.parts = parts.clone(),
            }
        }
    }

    /// Adds an entry to a table of a control, as a control plane does.
    pub fn add(&mut self, control: &str, name: &str, entry: &Entry) {
        let (locals, _) = self.controls.get_mut(control).expect("there is the control");
        for local in locals {
            if let Local::Table(table) = local
                && table.name == name
            {
                table.entries.push(entry.clone());
            }
        }
    }

    /// An element of a register.
    pub fn register(&self, name: &str, at: u64) -> u64 {
        let elements = self.registers.get(name);
        elements
            .and_then(|elements| elements.get(at as usize))
            .map_or(0, Bits::low)
    }

    /// What becomes of a packet that comes in by a port: the port that it leaves by, and its bytes.
    pub fn run(&mut self, port: u16, frame: &[u8]) -> Option<(u16, Vec<u8>)> {
        let states = self.states.clone();
        let parts = self.parts.clone();
        let mut packet = Packet::new(self, port, frame);
        packet.parse(&states);
        for part in &parts[1..5] {
            packet.control(part);
        }
        let out = packet.number(&format!("{}.egress_spec", packet.machine.std));
        if packet.dropped || out == 511 {
            return None;
        }
        let mut bytes = packet.deparse(&parts[5]);
        if let Some(longest) = packet.longest {
            bytes.truncate(longest);
        }
        Some((out as u16, bytes))
    }
}

struct Packet<'m> {
    machine: &'m mut Machine,
    frame: Vec<u8>,
    at: usize,
    values: BTreeMap<String, Value>,
    valid: BTreeMap<String, bool>,
    /// By stack: the next element.
    next: BTreeMap<String, u32>,
    locals: Vec<Local>,
    out: Vec<u8>,
    dropped: bool,
    longest: Option<usize>,
    trips: u64,
}

impl<'m> Packet<'m> {
    fn new(machine: &'m mut Machine, port: u16, frame: &[u8]) -> Self {
        let mut values = BTreeMap::new();
        let mut set = |name: &str, width: u32, value: u64| {
            let name = format!("{}.{name}", machine.std);
            values.insert(name, Value::Bits(Bits::new(width, value)));
        };
        set("ingress_port", 9, port.into());
        set("egress_spec", 9, 0);
        set("packet_length", 32, frame.len() as u64);
        set("checksum_error", 1, 0);
        set("ingress_global_timestamp", 48, 1);
        set("instance_type", 32, 0);
        Self {
            machine,
            frame: frame.to_vec(),
            at: 0,
            values,
            valid: BTreeMap::new(),
            next: BTreeMap::new(),
            locals: Vec::new(),
            out: Vec::new(),
            dropped: false,
            longest: None,
            trips: 0,
        }
    }

    fn number(&mut self, path: &str) -> u64 {
        match self.get(path) {
            Value::Bits(bits) | Value::Int(bits) => bits.low(),
            Value::Bool(value) => value.into(),
        }
    }

    /// A field or variable; what was never set is zero.
    fn get(&mut self, path: &str) -> Value {
        if let Some(value) = self.values.get(path).or_else(|| self.machine.consts.get(path)) {
            return value.clone();
        }
        let unset = !self.machine.zeroed && path.starts_with("meta.");
        assert!(!unset, "{path} is read, and was never set");
        match self.type_of(path) {
            Some(Type::Bool) => Value::Bool(false),
            Some(Type::Bit(width)) => Value::Bits(Bits::new(width, 0)),
            other => panic!("{path} is {other:?}"),
        }
    }

    fn type_of(&self, path: &str) -> Option<Type> {
        let mut names = path.split('.');
        let mut ty = self.machine.params.get(names.next()?)?.clone();
        for name in names {
            let name = name.split('[').next()?;
            let (Type::Named(of) | Type::Stack(of, _)) = ty else {
                return None;
            };
            ty = self
                .machine
                .types
                .get(&of)?
                .iter()
                .find(|field| field.name == name)?
                .ty
                .clone();
        }
        Some(ty)
    }

    fn fields(&self, header: &str) -> Vec<Param> {
        match self.type_of(header) {
            Some(Type::Named(name) | Type::Stack(name, _)) => self.machine.types[&name].clone(),
            other => panic!("{header} is {other:?}"),
        }
    }

    fn parse(&mut self, states: &[State]) {
        let mut name = "start".to_owned();
        while name != "accept" {
            let state = states.iter().find(|state| state.name == name).expect("checked");
            for stmt in &state.body {
                if let Stmt::Call(call) = stmt {
                    if !self.extract(call) {
                        return;
                    }
                } else {
                    self.stmt(stmt);
                }
            }
            let keys: Vec<Value> = state.keys.iter().map(|key| self.eval(key)).collect();
            let case = state.cases.iter().find(|(patterns, _)| {
                patterns
                    .iter()
                    .zip(&keys)
                    .all(|(pattern, key)| self.matches(pattern, key))
            });
            name = case.expect("there is a default").1.clone();
        }
    }

    /// Whether there was room.
    fn extract(&mut self, call: &Expr) -> bool {
        let Kind::Call(_, args) = &call.kind else {
            return true;
        };
        let path = path_of(&args[0]);
        let header = match path.strip_suffix(".next") {
            Some(stack) => {
                let Some(Type::Stack(_, len)) = self.type_of(stack) else {
                    panic!("{stack}")
                };
                let next = self.next.entry(stack.to_owned()).or_default();
                if *next == len {
                    return false;
                }
                *next += 1;
                format!("{stack}[{}]", *next - 1)
            }
            None => path,
        };
        let fields = self.fields(&header);
        let width: u32 = fields.iter().map(|field| width(&field.ty)).sum();
        let Some(bytes) = self.frame.get(self.at..self.at + width as usize / 8) else {
            return false;
        };
        let mut whole = Bits::of(width, bytes);
        self.at += bytes.len();
        let mut left = width;
        for field in fields {
            let own = crate::machine::width(&field.ty);
            left -= own;
            let value = whole.shr(left.into()).resized(own);
            whole = whole.resized(left.max(1));
            self.values
                .insert(format!("{header}.{}", field.name), Value::Bits(value));
        }
        self.valid.insert(header, true);
        true
    }

    fn deparse(&mut self, name: &str) -> Vec<u8> {
        self.control(name);
        let mut out = std::mem::take(&mut self.out);
        out.extend_from_slice(self.frame.get(self.at..).unwrap_or_default());
        out
    }

    fn emit(&mut self, header: &str) {
        if let Some(Type::Stack(_, len)) = self.type_of(header)
            && !header.ends_with(']')
        {
            return (0..len).for_each(|at| self.emit(&format!("{header}[{at}]")));
        }
        if self.valid.get(header) != Some(&true) {
            return;
        }
        let mut whole: Option<Bits> = None;
        for field in self.fields(header) {
            let Value::Bits(bits) = self.get(&format!("{header}.{}", field.name)) else {
                continue;
            };
            whole = Some(match whole {
                None => bits,
                Some(before) => before.concat(&bits),
            });
        }
        self.out
            .extend(whole.map(|bits| bits.bytes()).unwrap_or_default());
    }

    fn control(&mut self, name: &str) {
        let (locals, apply) = self.machine.controls[name].clone();
        self.locals = locals;
        self.stmts(&apply);
    }

    fn stmts(&mut self, stmts: &[Stmt]) -> Flow {
        for stmt in stmts {
            let flow = self.stmt(stmt);
            if flow != Flow::On {
                return flow;
            }
        }
        Flow::On
    }

    fn stmt(&mut self, stmt: &Stmt) -> Flow {
        match stmt {
            Stmt::Var(ty, name, value) => {
                let value = match (value, ty) {
                    (Some(value), _) => self.eval(value),
                    (None, Type::Bool) => Value::Bool(false),
                    (None, ty) => Value::Bits(Bits::new(width(ty), 0)),
                };
                self.values.insert(name.clone(), value);
            }
            Stmt::Assign(place, value) => {
                let value = self.eval(value);
                self.values.insert(path_of(place), value);
            }
            Stmt::Call(call) => {
                self.call(call);
            }
            Stmt::If(cond, then, other) => {
                let branch = if self.holds(cond) { then } else { other };
                return self.stmts(branch);
            }
            Stmt::For(first, cond, step, body) => {
                first.iter().for_each(|stmt| {
                    self.stmt(stmt);
                });
                while self.holds(cond) {
                    self.trips += 1;
                    assert!(self.trips < MAX_TRIPS, "a loop without end");
                    if self.stmts(body) == Flow::Break {
                        break;
                    }
                    step.iter().for_each(|stmt| {
                        self.stmt(stmt);
                    });
                }
            }
            Stmt::Break => return Flow::Break,
            Stmt::Continue => return Flow::Continue,
        }
        Flow::On
    }

    fn holds(&mut self, cond: &Expr) -> bool {
        match self.eval(cond) {
            Value::Bool(value) => value,
            other => panic!("line {}: {other:?}", cond.line),
        }
    }

    fn bits(&mut self, expr: &Expr) -> Bits {
        match self.eval(expr) {
            Value::Bits(bits) | Value::Int(bits) => bits,
            Value::Bool(_) => panic!("line {}: a bool", expr.line),
        }
    }

    fn eval(&mut self, expr: &Expr) -> Value {
        match &expr.kind {
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(width, bytes) => Value::Bits(Bits::of(width.unwrap_or(64), bytes)),
            Kind::Name(_) | Kind::Index(..) => self.get(&path_of(expr)),
            Kind::Member(base, name) if name == "hit" => Value::Bool(self.call(base)),
            Kind::Member(..) => self.get(&path_of(expr)),
            Kind::Slice(base, high, low) => Value::Bits(self.bits(base).slice(*high, *low)),
            Kind::Unary("!", inner) => Value::Bool(!self.holds(inner)),
            Kind::Unary(op, inner) => {
                let bits = self.bits(inner);
                Value::Bits(if *op == "~" { bits.not() } else { bits.negated() })
            }
            Kind::Binary(op, a, b) => self.binary(op, a, b),
            Kind::Select(cond, then, other) => {
                let branch = if self.holds(cond) { then } else { other };
                self.eval(branch)
            }
            Kind::Cast(to, inner) => self.cast(to, inner),
            Kind::Call(..) => Value::Bool(self.call(expr)),
            Kind::Text | Kind::List(_) | Kind::Any => panic!("line {}: no value", expr.line),
        }
    }

    fn cast(&mut self, to: &Type, inner: &Expr) -> Value {
        match (to, self.eval(inner)) {
            (Type::Bit(width), Value::Bool(value)) => Value::Bits(Bits::new(*width, value.into())),
            (Type::Bit(width), Value::Bits(bits) | Value::Int(bits)) => Value::Bits(bits.resized(*width)),
            (Type::Int(width), Value::Bits(bits)) => Value::Int(bits.resized(*width)),
            (Type::Int(width), Value::Int(bits)) => {
                let (from, to) = (u64::from(bits.width), *width);
                let wide = bits.resized(to.max(bits.width));
                let up = u64::from(wide.width) - from;
                Value::Int(wide.shl(up).shr_signed(up).resized(to))
            }
            (to, from) => panic!("line {}: {from:?} to {to:?}", inner.line),
        }
    }

    fn binary(&mut self, op: &str, a: &Expr, b: &Expr) -> Value {
        match op {
            "&&" => return Value::Bool(self.holds(a) && self.holds(b)),
            "||" => return Value::Bool(self.holds(a) || self.holds(b)),
            _ => {}
        }
        let (left, right) = (self.eval(a), self.eval(b));
        match op {
            "==" => return Value::Bool(left == right),
            "!=" => return Value::Bool(left != right),
            _ => {}
        }
        let order = match (&left, &right) {
            (Value::Bits(a), Value::Bits(b)) => a.compare(b),
            (Value::Int(a), Value::Int(b)) if a.is_negative() == b.is_negative() => a.compare(b),
            (Value::Int(a), _) if a.is_negative() => Ordering::Less,
            _ => Ordering::Greater,
        };
        match op {
            "<" => return Value::Bool(order == Ordering::Less),
            ">" => return Value::Bool(order == Ordering::Greater),
            "<=" => return Value::Bool(order != Ordering::Greater),
            ">=" => return Value::Bool(order != Ordering::Less),
            _ => {}
        }
        match (left, right, op) {
            (Value::Int(a), Value::Bits(by), ">>") => Value::Int(a.shr_signed(by.low())),
            (Value::Bits(a), Value::Bits(b), op) => Value::Bits(match op {
                "+" => a.add(&b),
                "-" => a.sub(&b),
                "*" => a.mul(&b),
                "&" => a.and(&b),
                "|" => a.or(&b),
                "^" => a.xor(&b),
                "<<" => a.shl(b.low()),
                ">>" => a.shr(b.low()),
                "++" => a.concat(&b),
                other => panic!("{other}"),
            }),
            (a, b, op) => panic!("{a:?} {op} {b:?}"),
        }
    }

    fn matches(&mut self, pattern: &Expr, key: &Value) -> bool {
        let Value::Bits(key) = key else { return false };
        match &pattern.kind {
            Kind::Any => true,
            Kind::Binary("&&&", value, mask) => {
                let (value, mask) = (self.bits(value), self.bits(mask));
                key.and(&mask) == value.and(&mask)
            }
            _ => self.bits(pattern) == *key,
        }
    }

    /// A call; whether a table hit, or a header is valid.
    fn call(&mut self, call: &Expr) -> bool {
        let Kind::Call(callee, args) = &call.kind else {
            panic!("line {}: no call", call.line)
        };
        match &callee.kind {
            Kind::Name(name) => {
                self.function(name, args);
                false
            }
            Kind::Member(base, method) => self.method(&path_of(base), method, args),
            _ => panic!("line {}: no call", call.line),
        }
    }

    fn method(&mut self, base: &str, method: &str, args: &[Expr]) -> bool {
        match method {
            "apply" => return self.apply(base),
            "isValid" => return self.valid.get(base) == Some(&true),
            "setValid" | "setInvalid" => {
                self.valid.insert(base.to_owned(), method == "setValid");
            }
            "emit" => self.emit(&path_of(&args[0])),
            "count" => {
                let index = self.bits(&args[0]).low();
                *self.machine.counts.entry(format!("{base}[{index}]")).or_default() += 1;
            }
            "read" => {
                let at = self.bits(&args[1]).low() as usize;
                let element = self.machine.registers[base].get(at).cloned();
                let element = element.unwrap_or_else(|| panic!("{base}[{at}] is read"));
                self.values.insert(path_of(&args[0]), Value::Bits(element));
            }
            "write" => {
                let (at, value) = (self.bits(&args[0]).low() as usize, self.bits(&args[1]));
                let elements = self.machine.registers.get_mut(base).expect("checked");
                let element = elements.get_mut(at);
                *element.unwrap_or_else(|| panic!("{base}[{at}] is written")) = value;
            }
            other => panic!("{base}.{other}"),
        }
        false
    }

    fn apply(&mut self, name: &str) -> bool {
        let found = self.locals.iter().find_map(|local| match local {
            Local::Table(table) if table.name == name => Some(table.clone()),
            _ => None,
        });
        let table: Table = found.expect("checked");
        let keys: Vec<Value> = table.keys.iter().map(|(key, _)| self.eval(key)).collect();
        let longest = table.keys.iter().any(|(_, kind)| kind == "lpm");
        let mut best: Option<(u32, &Entry)> = None;
        for entry in &table.entries {
            let hit = entry.0.iter().zip(&keys).all(|(pattern, key)| match longest {
                true => self.begins(pattern, key),
                false => self.matches(pattern, key),
            });
            let len = entry.0.iter().map(|pattern| self.prefix(pattern)).sum();
            if hit && best.is_none_or(|(before, _)| longest && len > before) {
                best = Some((len, entry));
            }
        }
        match best {
            Some((_, (_, action, args))) => self.action(action, args),
            None => self.action(&table.default.0, &table.default.1),
        }
        best.is_some()
    }

    /// Whether a key begins as an entry of an `lpm` table says: simple_switch counts from the first bit of the key's whole
    /// bytes, whatever the key's width (behavioral-model, `bm_sim/match_units.cpp`, `match_params_to_entry`).
    fn begins(&mut self, pattern: &Expr, key: &Value) -> bool {
        let (Kind::Binary("&&&", value, _), Value::Bits(key)) = (&pattern.kind, key) else {
            return self.matches(pattern, key);
        };
        let other = key.width.next_multiple_of(8).saturating_sub(self.prefix(pattern));
        self.bits(value).shr(other.into()) == key.shr(other.into())
    }

    fn prefix(&mut self, pattern: &Expr) -> u32 {
        match &pattern.kind {
            Kind::Binary("&&&", _, mask) => {
                let mask = self.bits(mask);
                let whole = mask.resized(mask.width.next_multiple_of(8));
                whole.bytes().iter().map(|byte| byte.count_ones()).sum()
            }
            _ => 0,
        }
    }

    fn action(&mut self, name: &str, args: &[Expr]) {
        if name == "NoAction" {
            return;
        }
        let found = self.locals.iter().find_map(|local| match local {
            Local::Action(own, params, body) if own == name => Some((params.clone(), body.clone())),
            _ => None,
        });
        let (params, body) = found.unwrap_or_else(|| panic!("no action {name}"));
        for (param, arg) in params.iter().zip(args) {
            let value = self.eval(arg);
            self.values.insert(param.name.clone(), value);
        }
        self.stmts(&body);
    }

    fn function(&mut self, name: &str, args: &[Expr]) {
        match name {
            "mark_to_drop" => self.dropped = true,
            "truncate" => self.longest = Some(self.bits(&args[0]).low() as usize),
            "log_msg" => {}
            "hash" => {
                let Kind::List(items) = &args[3].kind else {
                    panic!("hash of {:?}", args[3])
                };
                let bytes = items.iter().map(|item| {
                    let bits = self.bits(item);
                    bits.resized(bits.width.next_multiple_of(8)).bytes()
                });
                let mixed = bits_of(&bytes.collect::<Vec<_>>().concat());
                let place = mixed % self.bits(&args[4]).low();
                let place = Value::Bits(Bits::new(32, place));
                self.values.insert(path_of(&args[0]), place);
            }
            "verify_checksum" => {
                if self.holds(&args[0]) {
                    let (sum, wanted) = (self.checksum(&args[1]), self.bits(&args[2]).low());
                    let error = Value::Bits(Bits::new(1, u64::from(sum != wanted)));
                    self.values.insert("std.checksum_error".to_owned(), error);
                }
            }
            "update_checksum" => {
                if self.holds(&args[0]) {
                    let sum = Value::Bits(Bits::new(16, self.checksum(&args[1])));
                    self.values.insert(path_of(&args[2]), sum);
                }
            }
            name if self.machine.externs.contains(name) => {
                *self.machine.counts.entry(name.to_owned()).or_default() += 1;
            }
            action => self.action(action, args),
        }
    }

    /// RFC 1071.
    fn checksum(&mut self, list: &Expr) -> u64 {
        let Kind::List(items) = &list.kind else {
            panic!("a checksum of {list:?}")
        };
        let all = items.iter().map(|item| self.bits(item)).collect::<Vec<_>>();
        let all = all
            .into_iter()
            .reduce(|a, b| a.concat(&b))
            .expect("there are fields");
        let bytes = all.bytes();
        let mut sum: u64 = bytes
            .chunks(2)
            .map(|pair| u64::from(pair[0]) << 8 | u64::from(pair[1]))
            .sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !sum & 0xffff
    }
}

/// Any hash will do.
fn bits_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0193) & 0xffff_ffff
    })
}

fn width(ty: &Type) -> u32 {
    match ty {
        Type::Bit(width) | Type::Int(width) => *width,
        _ => 1,
    }
}

fn path_of(expr: &Expr) -> String {
    match &expr.kind {
        Kind::Name(name) => name.clone(),
        Kind::Member(base, name) => format!("{}.{name}", path_of(base)),
        Kind::Index(base, index) => match &index.kind {
            Kind::Number(_, bytes) => {
                let at = bytes.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
                format!("{}[{at}]", path_of(base))
            }
            other => panic!("an index of {other:?}"),
        },
        other => panic!("line {}: no place: {other:?}", expr.line),
    }
}
