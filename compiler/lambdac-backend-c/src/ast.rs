//! C as data: the part of C89 that both dialects take.
//!
//! Lowering builds these trees and never pastes text; [`crate::print`] is the only place that knows what C looks like.
//! There is no way to say what the safe subset forbids: declarations stand apart from statements, calls name functions,
//! and there is no `goto`.

use std::rc::Rc;

use crate::dialect::{Region, Space};

/// A name. Lowering makes them unique.
pub type Name = Rc<str>;

/// A type of a variable, parameter or result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// No result.
    Void,
    /// `uint8_t`
    U8,
    /// `uint32_t`
    U32,
    /// `uint64_t`
    U64,
    /// `int32_t`
    I32,
    /// `int64_t`
    I64,
    /// To memory of a space; what it points to may be written or not.
    Pointer(Space, Access),
}

/// Whether what a pointer leads to may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Only read.
    Read,
    /// Written too.
    Write,
}

impl Type {
    /// What holds an integer of some bits.
    pub fn of_width(width: u8) -> Self {
        if width <= 32 { Self::U32 } else { Self::U64 }
    }
}

/// Operators of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // C's
pub enum Binary {
    Mul,
    Div,
    Rem,
    Add,
    Sub,
    Shl,
    Shr,
    Lt,
    Le,
    Eq,
    Ne,
    And,
    Xor,
    Or,
    LogicalAnd,
    LogicalOr,
}

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// A number of 32 or 64 bits.
    Int(u64, Type),
    /// A variable, array or macro.
    Var(Name),
    /// A string, byte by byte.
    Text(Rc<[u8]>),
    /// `!`
    Not(Box<Expr>),
    /// `a op b`
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// `c ? a : b`
    Cond(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `(type)e`
    Cast(Type, Box<Expr>),
    /// `array[index]`
    Index(Box<Expr>, Box<Expr>),
    /// `record.field`
    Field(Box<Expr>, Name),
    /// A call by name.
    Call(Name, Vec<Expr>),
}

impl Expr {
    /// A 32-bit number.
    pub fn int(value: u32) -> Self {
        Self::Int(value.into(), Type::U32)
    }

    /// A variable.
    pub fn var(name: impl Into<Name>) -> Self {
        Self::Var(name.into())
    }

    /// A call.
    pub fn call(name: impl Into<Name>, args: Vec<Expr>) -> Self {
        Self::Call(name.into(), args)
    }

    /// `self op other`. A comparison with what `&` or `|` can't give is said so that compilers don't take it for a slip.
    #[must_use]
    pub fn binary(self, op: Binary, other: Expr) -> Self {
        if matches!(op, Binary::Eq | Binary::Ne) && (self.never(&other) || other.never(&self)) {
            let difference = Self::Binary(Binary::Xor, Box::new(self), Box::new(other));
            return Self::Binary(op, Box::new(difference), Box::new(Self::int(0)));
        }
        Self::Binary(op, Box::new(self), Box::new(other))
    }

    /// Whether bits that are cleared or set here make this always differ from a number.
    fn never(&self, number: &Self) -> bool {
        let Some(number) = number.as_int() else {
            return false;
        };
        match self {
            Self::Cast(_, inner) => inner.never(&Self::Int(number, Type::U64)),
            Self::Binary(op @ (Binary::And | Binary::Or), a, b) => match (a.as_int(), b.as_int(), op) {
                (Some(bits), _, Binary::And) | (_, Some(bits), Binary::And) => number & !bits != 0,
                (Some(bits), _, _) | (_, Some(bits), _) => bits & !number != 0,
                (None, None, _) => false,
            },
            _ => false,
        }
    }

    /// `record.field`
    #[must_use]
    pub fn field(self, name: &str) -> Self {
        Self::Field(Box::new(self), name.into())
    }

    /// `self[index]`
    #[must_use]
    pub fn index(self, index: Expr) -> Self {
        Self::Index(Box::new(self), Box::new(index))
    }

    /// `(ty)self`
    #[must_use]
    pub fn cast(self, ty: Type) -> Self {
        match self {
            Self::Int(value, Type::U32 | Type::U64) if ty == Type::U64 => Self::Int(value, ty),
            Self::Int(value, Type::U32 | Type::U64) if ty == Type::U32 => {
                Self::Int(value & u64::from(u32::MAX), ty)
            }
            other => Self::Cast(ty, Box::new(other)),
        }
    }

    /// The number that it is.
    pub fn as_int(&self) -> Option<u64> {
        match self {
            Self::Int(value, _) => Some(*value),
            _ => None,
        }
    }

    /// Calls `f` for each variable in it.
    pub fn for_each_var(&self, f: &mut dyn FnMut(&Name)) {
        match self {
            Self::Int(..) | Self::Text(_) => {}
            Self::Var(name) => f(name),
            Self::Not(a) | Self::Cast(_, a) | Self::Field(a, _) => a.for_each_var(f),
            Self::Binary(_, a, b) | Self::Index(a, b) => {
                a.for_each_var(f);
                b.for_each_var(f);
            }
            Self::Cond(c, a, b) => {
                c.for_each_var(f);
                a.for_each_var(f);
                b.for_each_var(f);
            }
            Self::Call(_, args) => args.iter().for_each(|arg| arg.for_each_var(f)),
        }
    }

    /// Calls `f` for the name of each function that it calls.
    pub fn for_each_callee(&self, f: &mut dyn FnMut(&Name)) {
        match self {
            Self::Int(..) | Self::Text(_) | Self::Var(_) => {}
            Self::Not(a) | Self::Cast(_, a) | Self::Field(a, _) => a.for_each_callee(f),
            Self::Binary(_, a, b) | Self::Index(a, b) => {
                a.for_each_callee(f);
                b.for_each_callee(f);
            }
            Self::Cond(c, a, b) => {
                c.for_each_callee(f);
                a.for_each_callee(f);
                b.for_each_callee(f);
            }
            Self::Call(name, args) => {
                f(name);
                args.iter().for_each(|arg| arg.for_each_callee(f));
            }
        }
    }

    /// How many operators and leaves it has.
    pub fn size(&self) -> usize {
        1 + match self {
            Self::Int(..) | Self::Text(_) | Self::Var(_) => 0,
            Self::Not(a) | Self::Cast(_, a) | Self::Field(a, _) => a.size(),
            Self::Binary(_, a, b) | Self::Index(a, b) => a.size() + b.size(),
            Self::Cond(c, a, b) => c.size() + a.size() + b.size(),
            Self::Call(_, args) => args.iter().map(Self::size).sum(),
        }
    }
}

impl Stmt {
    /// Calls `f` for each expression in it, nested statements included.
    pub fn for_each_expr(&self, f: &mut dyn FnMut(&Expr)) {
        let mut all = |stmts: &[Stmt]| stmts.iter().for_each(|stmt| stmt.for_each_expr(f));
        match self {
            Self::Comment(_) | Self::Break | Self::Continue | Self::Return(None) => {}
            Self::Expr(expr) | Self::Return(Some(expr)) => f(expr),
            Self::Assign(place, value) => {
                f(place);
                f(value);
            }
            Self::If(cond, then, other) => {
                all(then);
                all(other);
                f(cond);
            }
            Self::For { cond, step, body } => {
                all(body);
                cond.iter().for_each(&mut *f);
                if let Some((place, value)) = step {
                    f(place);
                    f(value);
                }
            }
            Self::Once(body) => all(body),
            Self::Switch(on, cases) => {
                cases.iter().for_each(|case| all(&case.body));
                f(on);
            }
        }
    }
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stmt {
    /// A comment on a line of its own.
    Comment(String),
    /// For its effect.
    Expr(Expr),
    /// `place = value;`
    Assign(Expr, Expr),
    /// Two ways; the second may be empty.
    If(Expr, Vec<Stmt>, Vec<Stmt>),
    /// `for (; cond; step)`; without a condition: for ever.
    For {
        /// Whether there is another trip.
        cond: Option<Expr>,
        /// What comes between trips: a place and its next value.
        step: Option<(Expr, Expr)>,
        /// A trip.
        body: Vec<Stmt>,
    },
    /// Once, left early by `break`.
    Once(Vec<Stmt>),
    /// Cases that each leave the function or end in `break`.
    Switch(Expr, Vec<Case>),
    /// Out of the innermost loop or `Once`.
    Break,
    /// To the next trip of the innermost loop.
    Continue,
    /// Out of the function.
    Return(Option<Expr>),
}

/// Labels of a `switch` and what they do; no label: the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The numbers.
    pub labels: Vec<Expr>,
    /// What is done.
    pub body: Vec<Stmt>,
}

/// A variable of a function, or a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub kind: LocalKind,
}

/// What a [`Local`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalKind {
    /// A scalar or pointer, with a first value where it has one.
    Scalar(Type, Option<Expr>),
    /// Memory of so many bytes; whether it starts as zeros.
    Memory(Region, u32, bool),
}

/// A function of the unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Func {
    /// What stands above it.
    pub comment: String,
    /// Whether other units see it.
    pub exported: bool,
    /// Whether there is to be one copy of it, called by all.
    pub once: bool,
    /// What it gives.
    pub result: Type,
    /// Its name.
    pub name: Name,
    /// Its parameters.
    pub params: Vec<(Name, Type)>,
    /// Its variables.
    pub locals: Vec<Local>,
    /// Bytes that it needs of its thread's memory, and the macro that says where they start.
    pub frame: Option<(Name, u64)>,
    /// Its statements.
    pub body: Vec<Stmt>,
}

/// Memory of the unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// What stands above it.
    pub comment: String,
    /// Its name.
    pub name: Name,
    /// Where it lies.
    pub region: Region,
    /// Its bytes in the order of addresses; what is left out is zero.
    pub bytes: Vec<u8>,
    /// How many bytes there are, at least one.
    pub size: u32,
    /// The alignment of its address.
    pub align: u32,
}

/// A part of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A paragraph.
    Comment(String),
    /// `#include "file"`
    Include(Name),
    /// `#define NAME value`
    Define(Name, Expr),
    /// A variable that each thread has its own of.
    Thread(Name, Type),
    /// Memory.
    Data(Data),
    /// A function, defined before it is called.
    Func(Func),
}

/// A translation unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// In order.
    pub items: Vec<Item>,
}
