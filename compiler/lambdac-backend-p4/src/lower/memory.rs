//! Where aggregates lie: in registers, a cell for each scalar of their shape.
//!
//! v1model has no arrays but header stacks, and no memory that outlives a packet but registers. So every array lies in
//! registers, state as well as what a lambda needs only while it runs: simple_switch runs ingress on one thread, one
//! packet after the other (behavioral-model, `SimpleSwitch::start_and_return_`), which also makes every
//! read-modify-write atomic. An array of structs is one register a field, so that elements keep their own width.
//! Bytes that are written in one go (request, reply, constants) lie in words of 256 bits instead: a byte is found in
//! one by a variable shift, whose amount may have 8 bits at most.

use std::rc::Rc;

use lambdac_mir::{Data, Shape};

use crate::ast::{Bits, Expr, Type};

/// Bits of a word.
pub(crate) const WORD: u32 = 256;
/// Bytes of a word.
pub(crate) const WORD_BYTES: u32 = WORD / 8;

/// Scalars of one width at one place of a shape, for all elements of the arrays around it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cell {
    /// Bits of a scalar.
    pub width: u32,
    /// Where they are.
    pub home: Home,
    /// How many.
    pub count: u64,
}

/// Where scalars are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Home {
    /// One, in a variable.
    Var(Expr),
    /// One that never changes.
    Known(Expr),
    /// A register with a scalar in each element.
    Register(String),
    /// Bytes in a register of words.
    Words(String),
}

/// The cells of a shape.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    /// A scalar.
    Scalar(Cell),
    /// A byte string: its length and its bytes.
    Bytes {
        /// Its length.
        len: Cell,
        /// Its bytes.
        data: Cell,
        /// The most bytes.
        capacity: u32,
    },
    /// An array of so many.
    Array(Rc<Tree>, u32),
    /// A struct.
    Struct(Rc<[Tree]>),
}

/// What makes the cells of a shape.
pub(crate) trait Homes {
    /// A place for `count` scalars.
    fn home(&mut self, name: &str, width: u32, count: u64, reach: Reach) -> Home;
}

/// How scalars are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// There is one.
    Single,
    /// By an index; they are the bytes of one byte string or array.
    Run,
    /// By an index.
    Indexed,
}

impl Tree {
    /// The cells of a shape, with names that start with `name`.
    pub fn of(shape: &Shape, name: &str, homes: &mut dyn Homes) -> Self {
        Self::inside(shape, name, None, homes)
    }

    fn inside(shape: &Shape, name: &str, around: Option<u64>, homes: &mut dyn Homes) -> Self {
        let count = around.unwrap_or(1);
        let single = around.map_or(Reach::Single, |_| Reach::Indexed);
        let run = around.map_or(Reach::Run, |_| Reach::Indexed);
        let mut cell = |name: &str, width: u32, count: u64, reach: Reach| Cell {
            width,
            home: homes.home(name, width, count, reach),
            count,
        };
        match shape {
            Shape::Scalar(width) => Self::Scalar(cell(name, (*width).into(), count, single)),
            Shape::Bytes(capacity) => Self::Bytes {
                len: cell(&format!("{name}_len"), 32, count, single),
                data: cell(name, 8, count * u64::from(*capacity), run),
                capacity: *capacity,
            },
            Shape::Array(element, len) => {
                let inner = match **element {
                    Shape::Scalar(8) => Self::Scalar(cell(name, 8, count * u64::from(*len), run)),
                    _ => Self::inside(element, name, Some(count * u64::from(*len)), homes),
                };
                Self::Array(Rc::new(inner), *len)
            }
            Shape::Struct(fields) => {
                let fields = fields.iter().enumerate();
                let field = |(index, shape)| Self::inside(shape, &format!("{name}_{index}"), around, homes);
                Self::Struct(fields.map(field).collect())
            }
            // Only parameters of functions are views, and those are looked through.
            Shape::View => Self::Struct(Rc::new([])),
        }
    }

    /// Calls `f` with each cell that holds something else than zero, the place in it and the value.
    pub fn for_each_datum(&self, data: &Data, at: u64, f: &mut dyn FnMut(&Cell, u64, Datum<'_>)) {
        match (self, data) {
            (Self::Scalar(cell), Data::Int(value)) if *value != 0 => f(cell, at, Datum::Int(*value)),
            (Self::Bytes { len, data, capacity }, Data::Bytes(bytes)) => {
                f(len, at, Datum::Int(bytes.len() as u64));
                f(data, at * u64::from(*capacity), Datum::Bytes(bytes));
            }
            (Self::Array(inner, len), Data::Bytes(bytes)) => {
                if let Self::Scalar(cell) = &**inner {
                    f(cell, at * u64::from(*len), Datum::Bytes(bytes));
                }
            }
            (Self::Array(inner, len), Data::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    inner.for_each_datum(item, at * u64::from(*len) + index as u64, f);
                }
            }
            (Self::Struct(fields), Data::List(items)) => {
                for (field, item) in fields.iter().zip(items.iter()) {
                    field.for_each_datum(item, at, f);
                }
            }
            _ => {}
        }
    }
}

/// Something to be put into cells.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Datum<'d> {
    /// A scalar.
    Int(u64),
    /// Bytes one after the other.
    Bytes(&'d [u8]),
}

/// The type of a variable that holds a scalar: one bit is a `bool`.
pub(crate) fn variable_type(width: u32) -> Type {
    match width {
        1 => Type::Bool,
        width => Type::Bit(width),
    }
}

/// Zero of such a type.
pub(crate) fn zero(width: u32) -> Expr {
    constant(width, 0)
}

/// A constant of such a type.
pub(crate) fn constant(width: u32, value: u64) -> Expr {
    match width {
        1 => Expr::Bool(value != 0),
        width => Expr::bits(width, value),
    }
}

/// So many bytes as words, the last filled up with zeros.
pub(crate) fn words(bytes: &[u8]) -> Vec<Expr> {
    let word = |chunk: &[u8]| {
        let mut word = chunk.to_vec();
        word.resize(WORD_BYTES as usize, 0);
        Expr::Bits(Bits::new(WORD, &word))
    };
    bytes.chunks(WORD_BYTES as usize).map(word).collect()
}
