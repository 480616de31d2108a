//! Statements and expressions.
//!
//! Evaluation is left to right; in an assignment the right side comes first, then the place's indexes.

use std::sync::Arc;

use lambdac_diag::Span;

use crate::{
    ConstId, FnId, LambdaId, LocalId, ParamId, PktField, ServiceId, ServiceOp, StateId, StructId, TableId,
    Type, Value,
};

/// `{ stmt* tail? }`; its type is the tail's, else `Unit`, or `Never` where it always leaves.
#[derive(Clone, Debug)]
pub struct Block {
    /// The statements.
    pub stmts: Vec<Stmt>,
    /// The value.
    pub tail: Option<Box<Expr>>,
    /// `Never` if control can't reach its end.
    pub ty: Type,
}

/// A statement.
#[derive(Clone, Debug)]
pub struct Stmt {
    /// What it is.
    pub kind: StmtKind,
    /// Where.
    pub span: Span,
}

/// Kinds of [`Stmt`].
#[derive(Clone, Debug)]
pub enum StmtKind {
    /// `let x = e;` (`let mut x: T;` has the zero value as constant).
    Let {
        /// The variable.
        local: LocalId,
        /// Its value, of the variable's type.
        init: Expr,
    },
    /// `let v = e else { … };`: `init` is a `T?`, `local` a T; `els` has type `Never`.
    LetElse {
        /// The variable.
        local: LocalId,
        /// The option; may be an [`ExprKind::Await`].
        init: Expr,
        /// Leaves.
        els: Block,
    },
    /// `place = e;` or `place op= e;` (`op` with both sides of the place's type, except a shift's right side).
    Assign {
        /// The place.
        place: Place,
        /// The operator before `=`.
        op: Option<BinOp>,
        /// The right side, evaluated first.
        value: Expr,
    },
    /// `match e { … }`; the first arm that has the value.
    Match {
        /// An integer or enum.
        scrutinee: Expr,
        /// The arms; exhaustive, or the rest does nothing (the checker requires `_` or all values).
        arms: Vec<MatchArm>,
    },
    /// `for i in a..b max n { }`
    For {
        /// The variable, not mutable.
        var: LocalId,
        /// First value, of the variable's type.
        from: Expr,
        /// One past the last.
        to: Expr,
        /// The most trips: from constant bounds (then it cannot trap) or from `max`.
        max: u64,
        /// The body.
        body: Block,
    },
    /// `while c max n { }`
    While {
        /// A bool.
        cond: Expr,
        /// The most trips; trip n + 1 traps.
        max: u64,
        /// The body.
        body: Block,
    },
    /// `break;`
    Break,
    /// `continue;`
    Continue,
    /// `return e;`
    Return(Option<Expr>),
    /// `reply e;` of type R
    Reply(Expr),
    /// `drop;`
    Drop,
    /// `punt;` or `punt name;`
    Punt(Option<LambdaId>),
    /// For its effect; `if` without a value comes here.
    Expr(Expr),
    /// `log(b"text", x, …)`
    Log {
        /// The text.
        text: Arc<[u8]>,
        /// Scalars, and `bytes`.
        args: Vec<Expr>,
    },
    /// `c.add(n)`: a counter, its index where it is an array, and a `u64`.
    CounterAdd(StateId, Option<Expr>, Expr),
    /// `b.push(u8)`, `b.append(bytes)`, `b.clear()` on a mutable local (or a field or element of one) of type `bytes<n>`.
    BytesOp(BytesOp, Place, Option<Expr>),
}

/// What changes a `bytes` local in place; the argument is evaluated before the place's indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BytesOp {
    /// One byte; traps when full.
    Push,
    /// All bytes of the argument; traps where they don't fit, and then nothing was appended.
    Append,
    /// To length 0.
    Clear,
}

/// An arm of a `match` statement.
#[derive(Clone, Debug)]
pub struct MatchArm {
    /// Half-open ranges of values as the scrutinee's type orders them; empty is `_`. Values are the raw bits.
    pub ranges: Vec<(Value, Value)>,
    /// Single values.
    pub values: Vec<Value>,
    /// Whether the arm takes everything (`_`).
    pub any: bool,
    /// The body.
    pub body: Block,
}

/// Something that can be assigned or read: a local or a state value, and steps into it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where it starts.
    pub base: PlaceBase,
    /// Steps into it.
    pub projections: Vec<Projection>,
    /// Type of the whole place.
    pub ty: Type,
    /// Where it is written.
    pub span: Span,
}

/// Start of a [`Place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlaceBase {
    /// A local.
    Local(LocalId),
    /// A `state` of kind value.
    State(StateId),
}

/// A step into a [`Place`].
#[derive(Clone, Debug)]
pub enum Projection {
    /// A field by number.
    Field(u32),
    /// An element of an array or a byte of `bytes` (below its current length, else a trap).
    Index(Expr),
}

/// An expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its type.
    pub ty: Type,
    /// Where.
    pub span: Span,
}

/// Kinds of [`Expr`].
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// A literal or folded constant.
    Value(Arc<Value>),
    /// A `const` item (kept by name, since it may be large).
    Const(ConstId),
    /// A `param`.
    Param(ParamId),
    /// A variable.
    Local(LocalId),
    /// `pkt.f`
    Pkt(PktField),
    /// A whole `state` value, or the start of a path into one.
    State(StateId),
    /// `a.f`
    Field(Box<Expr>, u32),
    /// `a[i]`; traps at and past the length.
    Index(Box<Expr>, Box<Expr>),
    /// `a[i..j]` of `bytes` (or a byte array: gives `bytes`); traps unless `i <= j <= len`.
    Slice(Box<Expr>, Box<Expr>, Box<Expr>),
    /// Unary operator.
    Unary(UnOp, Box<Expr>),
    /// Arithmetic, bits, shifts, comparisons. `Eq` and `Ne` take every comparable type; bytes of different capacity too.
    Binary(BinOp, Box<Expr>, Box<Expr>),
    /// `a && b`
    LogicAnd(Box<Expr>, Box<Expr>),
    /// `a || b`
    LogicOr(Box<Expr>, Box<Expr>),
    /// `a in lo..hi`, in this order of evaluation.
    InRange(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `a in addr/len` with the mask worked out: `a & mask == value`.
    InPrefix {
        /// An unsigned integer.
        value: Box<Expr>,
        /// The address.
        addr: u64,
        /// The bits that count.
        mask: u64,
    },
    /// `as` between scalars: truncates, or extends by the source's type; enums and bools are unsigned.
    Cast(Box<Expr>),
    /// `bytes<m>` or plain `bytes` to a larger `bytes<n>` or to plain `bytes`: never traps.
    Widen(Box<Expr>),
    /// `as bytes<n>`: traps if longer.
    Narrow(Box<Expr>),
    /// `[a, b, c]`
    Array(Vec<Expr>),
    /// `[v; n]`
    Repeat(Box<Expr>, u32),
    /// `Name { f: e }`: fields in the order written, with their numbers; all fields are there.
    Struct(StructId, Vec<(u32, Expr)>),
    /// `if c { a } else { b }`
    If(Box<Expr>, Box<Block>, Box<Block>),
    /// `if let v = e { a } else { b }`: `e` is a `T?` (or an await), `v` a T.
    IfLet(LocalId, Box<Expr>, Box<Block>, Box<Block>),
    /// A call.
    Call(FnId, Vec<Expr>),
    /// A built-in function.
    Builtin(Builtin, Vec<Expr>),
    /// `none`
    None,
    /// A T where a `T?` is wanted.
    Some(Box<Expr>),
    /// `place.fetch_add(v)` and its kind on an integer of state; `Cas` takes old and new and gives a bool.
    Atomic(AtomicOp, Box<Place>, Vec<Expr>),
    /// `c.read()`
    CounterRead(StateId, Option<Box<Expr>>),
    /// An operation of an `lru` or `map`: key first.
    Keyed(KeyedOp, StateId, Vec<Expr>),
    /// `t.get(k)` gives `V?`
    TableGet(TableId, Box<Expr>),
    /// `t.has(k)`
    TableHas(TableId, Box<Expr>),
    /// `await service.op(args)`: only as the whole `init` of a `LetElse` or the `e` of an `IfLet`.
    Await(ServiceId, ServiceOp, Vec<Expr>),
    /// `service.failed()`: whether the last await of the service failed, as seen in its `else` branch.
    Failed(ServiceId),
}

/// Built-in functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Builtin {
    /// `x.len()` of bytes or an array, `u32`
    Len,
    /// `pad(bytes) -> [u8; n]` with n from the expression's type; traps if longer
    Pad,
    /// `bytes(array)` of `[u8; n]` gives `bytes<n>`
    ToBytes,
    /// `min(a, b)`
    Min,
    /// `max(a, b)`
    Max,
    /// `hash::crc32(bytes) -> u32`; a `[u8; n]` or an integer of whole bytes (big-endian) is taken too
    Crc32,
    /// `hash::crc16(bytes) -> u16`
    Crc16,
    /// `now() -> u64`
    Now,
    /// `random() -> u32`
    Random,
}

/// Unary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnOp {
    /// `!`
    Not,
    /// `~`
    BitNot,
    /// `-`
    Neg,
}

/// Binary operators; the operands' type says whether signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are the operators
pub enum BinOp {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// Atomic operations on an integer of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are the language's
pub enum AtomicOp {
    FetchAdd,
    FetchSub,
    Swap,
    Cas,
}

/// Operations of `lru` and `map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyedOp {
    /// `.get(k) -> V?`
    Get,
    /// `lru.put(k, v)`
    Put,
    /// `map.insert(k, v) -> bool`
    Insert,
    /// `.remove(k)`: bool for a map, nothing for an lru
    Remove,
    /// `.fetch_add(k, n) -> V?`
    FetchAdd,
}
