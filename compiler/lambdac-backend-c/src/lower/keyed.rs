//! `lru`, `map` and tables.
//!
//! A key's words go into `lnic_key`. For each object and verb that is used there is a small function that knows the
//! object's numbers and calls the code of `lnic_keyed.h`; it gives the entry, as an offset in the object, or 0. What
//! changes is locked from the search to the last access of the value.

use lambdac_mir::{KeyPart, ObjectId, ObjectKind, Op, Operand, Place, Shape, Value, mask, scalar_bytes};

use super::Lowerer;
use super::code::Code;
use super::memory::{Addr, Spot, between};
use crate::ast::{self, Binary, Expr, Name, Stmt, Type};
use crate::layout::Form;

/// The variable for an entry that was found.
const ENTRY: &str = "entry";

impl Lowerer<'_> {
    /// The function that does something to a keyed object.
    pub fn verb(&mut self, id: ObjectId, verb: &'static str) -> Option<Name> {
        let (object, addr) = self.object(id)?;
        if let Some(name) = object.verbs.get(verb) {
            return Some(name.clone());
        }
        let object_of = &self.image.module.objects[id.index()];
        let name = &object_of.name;
        let (core, numbers, key_words) = match &object.form {
            Form::Keyed(keyed) => {
                let window = match object_of.kind {
                    ObjectKind::Lru { .. } => keyed.window.min(self.options.lru_window),
                    _ => keyed.window,
                };
                let mut numbers = vec![keyed.slots, window, keyed.stride, keyed.key_words];
                if verb == "put" {
                    numbers.push(keyed.capacity);
                }
                let mut numbers: Vec<Expr> = numbers.into_iter().map(Expr::int).collect();
                let core = match (verb, keyed.ttl) {
                    ("get", 0) => "keyed_use",
                    ("get", _) => "keyed_use_fresh",
                    ("put", _) => "keyed_put",
                    ("remove", 0) => "keyed_remove",
                    ("remove", _) => "keyed_remove_fresh",
                    _ => "keyed_find",
                };
                if core.ends_with("fresh") {
                    numbers.push(Expr::Int(keyed.ttl, Type::U64));
                }
                (core, numbers, keyed.key_words)
            }
            Form::Listed(listed) => {
                let numbers = [listed.stride, listed.key_words].map(Expr::int);
                ("listed_find", numbers.to_vec(), listed.key_words)
            }
            Form::Value | Form::Counters(_) => return None,
        };
        let call = addr.call(core, numbers);
        self.key_words = self.key_words.max(key_words).max(1);
        let name = self.names.fresh(&format!("{name}_{verb}"));
        self.helpers.push(ast::Func {
            comment: String::new(),
            exported: false,
            once: false,
            frame: None,
            result: Type::U32,
            name: name.clone(),
            params: Vec::new(),
            locals: Vec::new(),
            body: vec![Stmt::Return(Some(call))],
        });
        if let Some(object) = &mut self.objects[id.index()] {
            object.verbs.insert(verb, name.clone());
        }
        Some(name)
    }
}

/// `lnic_key[index] = word;`
pub(super) fn key_word(index: &mut u32, word: Expr) -> Stmt {
    let place = Expr::var("lnic_key").index(Expr::int(*index));
    *index += 1;
    Stmt::Assign(place, word)
}

/// The words of an integer of a key.
pub(super) fn key_scalar(index: &mut u32, width: u8, value: Expr) -> Vec<Stmt> {
    if width <= 32 {
        return vec![key_word(index, value)];
    }
    let high = value.clone().binary(Binary::Shr, Expr::int(32)).cast(Type::U32);
    vec![key_word(index, high), key_word(index, value.cast(Type::U32))]
}

/// The words of bytes of a key.
pub(super) fn key_bytes(index: &mut u32, addr: &Addr, len: u32) -> Option<Stmt> {
    let at = *index;
    *index += len.div_ceil(4);
    (len > 0).then(|| Stmt::Expr(addr.call("key_bytes", vec![Expr::int(at), Expr::int(len)])))
}

/// Key parts and value of an object.
pub(super) fn kind_of(kind: &ObjectKind) -> (&[KeyPart], Option<&Shape>) {
    match kind {
        ObjectKind::Lru { key, value, .. }
        | ObjectKind::Map { key, value, .. }
        | ObjectKind::Table { key, value, .. } => (key, Some(value)),
        ObjectKind::Value { .. } | ObjectKind::Counter { .. } => (&[], None),
    }
}

/// What an operation works on.
struct Keyed {
    id: ObjectId,
    addr: Addr,
    value_at: u32,
    shape: Shape,
    /// Whether lambdas change it.
    locked: bool,
}

impl Keyed {
    /// The value of the entry that was found.
    fn value(&self) -> Spot {
        Spot {
            addr: self
                .addr
                .clone()
                .plus_expr(Expr::var(ENTRY))
                .plus(self.value_at.into()),
            shape: self.shape.clone(),
            len: None,
        }
    }

    fn width(&self) -> u8 {
        self.shape.scalar().unwrap_or(64)
    }

    fn load(&self) -> Expr {
        self.value().addr.load(scalar_bytes(self.width()))
    }

    fn store(&self, value: Expr) -> Stmt {
        self.value().addr.store(scalar_bytes(self.width()), value)
    }
}

fn found() -> Expr {
    Expr::var(ENTRY).binary(Binary::Ne, Expr::int(0))
}

impl Code<'_, '_> {
    /// An operation on a keyed object.
    pub fn keyed(&mut self, op: &Op, results: &[Value]) {
        match op {
            Op::MapGet { object, key, dst } | Op::TableGet { object, key, dst } => {
                self.keyed_get(*object, key, dst.as_ref(), results);
            }
            Op::MapPut { object, key, value } => self.keyed_put(*object, key, value, results),
            Op::MapRemove { object, key } => self.keyed_test(*object, key, "remove", results),
            Op::TableHas { object, key } => self.keyed_test(*object, key, "find", results),
            Op::MapFetchAdd { object, key, value } => self.fetch_add(*object, key, *value, results),
            _ => unreachable!("only operations on keyed objects get here"),
        }
    }

    fn object_of(&mut self, id: ObjectId) -> Option<Keyed> {
        let kind = &self.module().objects[id.index()].kind;
        let (object, addr) = self.unit.object(id)?;
        let value_at = match &object.form {
            Form::Keyed(keyed) => keyed.value_at,
            Form::Listed(listed) => listed.value_at,
            Form::Value | Form::Counters(_) => return None,
        };
        Some(Keyed {
            id,
            addr,
            value_at,
            shape: kind_of(kind).1?.clone(),
            locked: !matches!(kind, ObjectKind::Table { .. }),
        })
    }

    /// Puts a key together.
    fn key(&mut self, id: ObjectId, operands: &[Operand]) {
        let parts = kind_of(&self.module().objects[id.index()].kind).0;
        let mut index = 0;
        for (part, operand) in parts.iter().zip(operands) {
            match (part, operand) {
                (KeyPart::Scalar(width), Operand::Value(value)) => {
                    let value = self.value(*value);
                    for stmt in key_scalar(&mut index, *width, value) {
                        self.push(stmt);
                    }
                }
                (KeyPart::Bytes(len), Operand::View(view)) => {
                    let bytes = self.bytes(view);
                    if let Some(stmt) = key_bytes(&mut index, &bytes.addr, *len) {
                        self.push(stmt);
                    }
                }
                _ => unreachable!("the validator saw that keys fit their parts"),
            }
        }
    }

    fn lock(&mut self, object: &Keyed, verb: &str) {
        if object.locked {
            self.push(Stmt::Expr(object.addr.call(verb, Vec::new())));
        }
    }

    /// `entry = verb();`, or the verb alone where nobody looks at what it finds.
    fn search(&mut self, object: &Keyed, verb: &'static str, read: bool) {
        if let Some(name) = self.unit.verb(object.id, verb) {
            let found = Expr::Call(name, Vec::new());
            if !read {
                return self.push(Stmt::Expr(Expr::Cast(Type::Void, Box::new(found))));
            }
            self.declare(&ENTRY.into(), Type::U32, None);
            self.push(Stmt::Assign(Expr::var(ENTRY), found));
        }
    }

    fn wants(&self, results: &[Value]) -> bool {
        results.iter().any(|result| self.needed.is_needed(*result))
    }

    fn tell_found(&mut self, results: &[Value]) {
        if let Some(result) = results.first().filter(|result| self.needed.is_needed(**result)) {
            self.define(*result, found());
        }
    }

    fn keyed_get(&mut self, id: ObjectId, key: &[Operand], dst: Option<&Place>, results: &[Value]) {
        let Some(object) = self.object_of(id) else {
            return;
        };
        let to = dst.map(|dst| self.spot(dst));
        self.key(id, key);
        self.lock(&object, "lock");
        let copy = self.nested(|code| {
            if let Some(to) = &to {
                code.copy(to, &object.value());
            }
        });
        let read = !copy.is_empty() || self.wants(results);
        self.search(&object, if object.locked { "get" } else { "find" }, read);
        match (to, results.get(1)) {
            (Some(_), _) if !copy.is_empty() => self.push(Stmt::If(found(), copy, Vec::new())),
            (None, Some(value)) if self.needed.is_needed(*value) => {
                let zero = Expr::Int(0, Type::of_width(object.width()));
                let load = Expr::Cond(Box::new(found()), Box::new(object.load()), Box::new(zero));
                self.define(*value, load);
            }
            _ => {}
        }
        self.lock(&object, "unlock");
        self.tell_found(results);
    }

    fn keyed_test(&mut self, id: ObjectId, key: &[Operand], verb: &'static str, results: &[Value]) {
        let Some(object) = self.object_of(id) else {
            return;
        };
        self.key(id, key);
        self.lock(&object, "lock");
        self.search(&object, verb, self.wants(results));
        self.lock(&object, "unlock");
        self.tell_found(results);
    }

    fn keyed_put(&mut self, id: ObjectId, key: &[Operand], value: &Operand, results: &[Value]) {
        let Some(object) = self.object_of(id) else {
            return;
        };
        self.key(id, key);
        self.lock(&object, "lock");
        let store = self.nested(|code| match value {
            Operand::Value(value) => {
                let value = code.value(*value);
                code.push(object.store(value));
            }
            Operand::Place(place) => {
                let from = code.spot(place);
                code.copy(&object.value(), &from);
            }
            Operand::View(view) => {
                let bytes = code.bytes(view);
                let to = object.value();
                code.push(to.addr.store(4, bytes.len.clone()));
                let copy = between("copy", &to.contents(), &bytes.addr, vec![bytes.len]);
                code.push(Stmt::Expr(copy));
            }
        });
        self.search(&object, "put", !store.is_empty() || self.wants(results));
        if !store.is_empty() {
            self.push(Stmt::If(found(), store, Vec::new()));
        }
        self.lock(&object, "unlock");
        self.tell_found(results);
    }

    /// The old value and `found` of a key that is there, else the value is put there as it is.
    fn fetch_add(&mut self, id: ObjectId, key: &[Operand], by: Value, results: &[Value]) {
        let Some(object) = self.object_of(id) else {
            return;
        };
        self.key(id, key);
        let by = self.value(by);
        let width = object.width();
        let old: Name = if width > 32 { "old64" } else { "old" }.into();
        self.declare(&old, Type::of_width(width), None);
        self.lock(&object, "lock");
        self.search(&object, "get", true);
        let result = |code: &mut Self, index: usize, value: Expr| {
            let wanted = results
                .get(index)
                .filter(|result| code.needed.is_needed(**result));
            if let Some(result) = wanted {
                code.define(*result, value);
            }
        };
        let there = self.nested(|code| {
            let before = Expr::Var(old.clone());
            code.push(Stmt::Assign(before.clone(), object.load()));
            let sum = before.clone().binary(Binary::Add, by.clone());
            let sum = match width {
                32 | 64 => sum,
                width => sum.binary(Binary::And, Expr::Int(mask(width), Type::of_width(width))),
            };
            code.push(object.store(sum));
            result(code, 0, Expr::int(1));
            result(code, 1, before);
        });
        let new = self.nested(|code| {
            code.search(&object, "put", true);
            code.push(Stmt::If(found(), vec![object.store(by)], Vec::new()));
            result(code, 0, Expr::int(0));
            result(code, 1, Expr::Int(0, Type::of_width(width)));
        });
        self.push(Stmt::If(found(), there, new));
        self.lock(&object, "unlock");
    }
}
