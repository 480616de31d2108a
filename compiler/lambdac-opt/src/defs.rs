//! What defines each value, as far as arithmetic passes want to look through it.

use lambdac_mir::{BinOp, CastOp, CmpOp, Op, Place, Stmt, Value};

/// The definition of a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Def {
    /// A parameter, a load, a result of something with regions, or not seen yet.
    Opaque,
    /// A constant.
    Const(u64),
    /// A binary operation.
    Bin(BinOp, Value, Value),
    /// A comparison.
    Cmp(CmpOp, Value, Value),
    /// A width change.
    Cast(CastOp, Value),
    /// A choice.
    Select(Value, Value, Value),
    /// The length of something.
    Len(Place),
}

/// Definitions by value.
pub(crate) struct Defs {
    defs: Vec<Def>,
}

impl Defs {
    /// Nothing seen yet.
    pub(crate) fn new(values: usize) -> Self {
        Self {
            defs: vec![Def::Opaque; values],
        }
    }

    /// Takes note of a statement.
    pub(crate) fn record(&mut self, stmt: &Stmt) {
        let [result] = stmt.results[..] else { return };
        let def = match &stmt.op {
            Op::Const(c) => Def::Const(*c),
            Op::Bin(op, a, b) => Def::Bin(*op, *a, *b),
            Op::Cmp(op, a, b) => Def::Cmp(*op, *a, *b),
            Op::Cast(op, a) => Def::Cast(*op, *a),
            Op::Select(c, a, b) => Def::Select(*c, *a, *b),
            Op::Len(place) => Def::Len(place.clone()),
            _ => return,
        };
        self.set(result, def);
    }

    /// Sets a definition.
    pub(crate) fn set(&mut self, value: Value, def: Def) {
        if self.defs.len() <= value.index() {
            self.defs.resize(value.index() + 1, Def::Opaque);
        }
        self.defs[value.index()] = def;
    }

    /// A value's definition.
    pub(crate) fn get(&self, value: Value) -> &Def {
        self.defs.get(value.index()).unwrap_or(&Def::Opaque)
    }

    /// Its constant.
    pub(crate) fn constant(&self, value: Value) -> Option<u64> {
        match self.get(value) {
            Def::Const(c) => Some(*c),
            _ => None,
        }
    }

    /// What an `i1` is the negation of.
    pub(crate) fn negated(&self, value: Value) -> Option<Value> {
        match *self.get(value) {
            Def::Bin(BinOp::Xor, a, b) if self.constant(b) == Some(1) => Some(a),
            _ => None,
        }
    }
}
