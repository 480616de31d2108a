//! The AST: what was written, with spans; nothing is resolved.
//!
//! Every node that a later stage may complain about has a span. A part that could not be parsed is left out (and an
//! error was reported), so a tree is always whole.

use std::sync::Arc;

use lambdac_diag::{FileId, Span};

/// A name as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ident {
    /// The text.
    pub text: Arc<str>,
    /// Where.
    pub span: Span,
}

/// `name` or `library::name` or `Enum::Variant` or `library::Enum::Variant`: one to three segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The segments, at least one.
    pub segments: Vec<Ident>,
    /// Where.
    pub span: Span,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// `workload name;`
    Workload,
    /// `library name;`
    Library,
}

/// One file.
#[derive(Clone, Debug)]
pub struct File {
    /// Its id in the source map.
    pub file: FileId,
    /// Workload or library.
    pub kind: FileKind,
    /// The name in the first item.
    pub name: Ident,
    /// `//!` lines, without the mark.
    pub docs: String,
    /// `use name;` items.
    pub uses: Vec<Ident>,
    /// The other items, in order.
    pub items: Vec<Item>,
}

/// `@name` or `@name(args)`.
#[derive(Clone, Debug)]
pub struct Attr {
    /// The name after `@`.
    pub name: Ident,
    /// The arguments.
    pub args: Vec<Expr>,
    /// The whole attribute.
    pub span: Span,
}

/// An item with its docs and attributes.
#[derive(Clone, Debug)]
pub struct Item {
    /// `///` lines, without the mark.
    pub docs: String,
    /// `@…` before the item.
    pub attrs: Vec<Attr>,
    /// What it is.
    pub kind: ItemKind,
    /// The whole item.
    pub span: Span,
}

/// The items of the language.
#[derive(Clone, Debug)]
pub enum ItemKind {
    /// `const NAME: T = e;`
    Const {
        /// Its name.
        name: Ident,
        /// Its type.
        ty: TypeExpr,
        /// Its value.
        value: Expr,
    },
    /// `enum Name: u8 { A = 0, B }` (a variant without a value is the one before plus 1, the first 0).
    Enum {
        /// Its name.
        name: Ident,
        /// The integer type.
        repr: TypeExpr,
        /// Names and values.
        variants: Vec<(Ident, Option<Expr>)>,
    },
    /// `struct Name { f: T, … }`
    Struct {
        /// Its name.
        name: Ident,
        /// Its fields.
        fields: Vec<Field>,
    },
    /// `header Name { f: T, … }`
    Header {
        /// Its name.
        name: Ident,
        /// Its fields.
        fields: Vec<Field>,
    },
    /// `param name: T = e;` or `param name: T;`
    Param {
        /// Its name.
        name: Ident,
        /// Its type.
        ty: TypeExpr,
        /// Its default.
        default: Option<Expr>,
    },
    /// `state name: …;`
    State {
        /// Its name.
        name: Ident,
        /// What it holds.
        kind: StateExpr,
        /// `= e`
        init: Option<Expr>,
    },
    /// `table name: exact<K, V>(cap) { k => v, … }`
    Table(Table),
    /// `service name = memcached("addr:port", timeout = 5ms);`
    Service {
        /// Its name.
        name: Ident,
        /// The word before `(`.
        protocol: Ident,
        /// Arguments; a named one has `Some`.
        args: Vec<(Option<Ident>, Expr)>,
    },
    /// `fn name(…) -> T { … }`
    Fn {
        /// Its name.
        name: Ident,
        /// Its parameters.
        params: Vec<Field>,
        /// Its return type.
        ret: Option<TypeExpr>,
        /// Its body.
        body: Block,
    },
    /// `lambda name(req: T) -> R { … }`, `stream lambda …`
    Lambda {
        /// Whether `stream` stands before it.
        stream: bool,
        /// Its name.
        name: Ident,
        /// Its parameter; without it any request is accepted.
        param: Option<Field>,
        /// The reply's type.
        ret: TypeExpr,
        /// Its body.
        body: Block,
    },
    /// `match (req: T) { cond => target, … }`
    Match {
        /// The parameter.
        param: Field,
        /// The rules in order.
        rules: Vec<Rule>,
    },
    /// `test "name" { … }`
    Test {
        /// The name's bytes as text.
        name: String,
        /// Where the name stands.
        name_span: Span,
        /// The steps.
        steps: Vec<Step>,
    },
}

/// `name: T` of a struct, header, parameter list.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its docs.
    pub docs: String,
    /// Its name.
    pub name: Ident,
    /// Its type.
    pub ty: TypeExpr,
}

/// A table declaration.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: Ident,
    /// `exact`, `lpm`, `ternary`.
    pub kind: Ident,
    /// The key's type.
    pub key: TypeExpr,
    /// The value's type.
    pub value: TypeExpr,
    /// Entries it can hold.
    pub capacity: Expr,
    /// The inline entries.
    pub entries: Vec<TableEntry>,
}

/// `key => value` of a table.
#[derive(Clone, Debug)]
pub struct TableEntry {
    /// What is matched.
    pub key: TableKey,
    /// What `get` gives.
    pub value: Expr,
    /// The whole entry.
    pub span: Span,
}

/// The key of a table entry.
#[derive(Clone, Debug)]
pub enum TableKey {
    /// `v`
    Exact(Expr),
    /// `v/len`
    Prefix(Expr, Expr),
    /// `v & mask`
    Masked(Expr, Expr),
    /// `_`
    Any(Span),
}

/// What a `state` item declares.
#[derive(Clone, Debug)]
pub enum StateExpr {
    /// A value: `u32`, `[u32; 1024]`, `Struct`.
    Value(TypeExpr),
    /// `counter` or `counter[n]`
    Counter {
        /// Number of counters where it is an array.
        count: Option<Expr>,
        /// The word and the brackets.
        span: Span,
    },
    /// `lru<K, V>(cap)` or `lru<K, V>(cap, ttl = e)` or `map<K, V>(cap)`
    Keyed {
        /// `lru` or `map`.
        kind: Ident,
        /// The key's type.
        key: TypeExpr,
        /// The value's type.
        value: TypeExpr,
        /// Entries it can hold.
        capacity: Expr,
        /// Named arguments, `ttl`.
        named: Vec<(Ident, Expr)>,
    },
}

/// A type as written.
#[derive(Clone, Debug)]
pub struct TypeExpr {
    /// What it is.
    pub kind: TypeExprKind,
    /// Where.
    pub span: Span,
}

/// Kinds of [`TypeExpr`].
#[derive(Clone, Debug)]
pub enum TypeExprKind {
    /// `bool`, `u12`, a struct, header or enum.
    Path(Path),
    /// `[T; n]`
    Array(Box<TypeExpr>, Box<Expr>),
    /// `bytes<n>`
    Bytes(Box<Expr>),
    /// plain `bytes`
    BytesView,
    /// `T?`
    Option(Box<TypeExpr>),
}

/// `{ stmt* tail? }`
#[derive(Clone, Debug)]
pub struct Block {
    /// The statements.
    pub stmts: Vec<Stmt>,
    /// The expression that the block's value is.
    pub tail: Option<Box<Expr>>,
    /// With the braces.
    pub span: Span,
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
    /// `let mut x: T = e else { … };`
    Let {
        /// Whether `mut`.
        mutable: bool,
        /// The name.
        name: Ident,
        /// The type, if written.
        ty: Option<TypeExpr>,
        /// The value; without it all zeros.
        init: Option<Expr>,
        /// `else { … }`
        els: Option<Block>,
    },
    /// `place = e;`, `place += e;` (`op` is `Add`)
    Assign {
        /// The place.
        place: Expr,
        /// The operator before `=`.
        op: Option<BinOp>,
        /// The value.
        value: Expr,
    },
    /// `match e { pattern => { … } … }`
    Match {
        /// What is matched.
        scrutinee: Expr,
        /// The arms in order.
        arms: Vec<MatchArm>,
    },
    /// `for i in a..b max n { }`
    For {
        /// The variable.
        var: Ident,
        /// First value.
        from: Expr,
        /// One past the last value.
        to: Expr,
        /// `max n`
        max: Option<Expr>,
        /// The body.
        body: Block,
    },
    /// `while c max n { }`
    While {
        /// The condition.
        cond: Expr,
        /// `max n`; leaving it out is an error that the checker reports.
        max: Option<Expr>,
        /// The body.
        body: Block,
    },
    /// `break;`
    Break,
    /// `continue;`
    Continue,
    /// `return e;`
    Return(Option<Expr>),
    /// `reply e;`
    Reply(Expr),
    /// `drop;`
    Drop,
    /// `punt;` or `punt name;`
    Punt(Option<Ident>),
    /// An expression for its effect; `if` and `if let` come here too (as [`ExprKind::If`]), with or without `;`.
    Expr(Expr),
    /// Could not be parsed; an error was reported. Silences what follows from it.
    Broken,
}

/// `p | p => { … }`
#[derive(Clone, Debug)]
pub struct MatchArm {
    /// The alternatives.
    pub patterns: Vec<Pattern>,
    /// The body; an arm written as `=> stmt,` is a block of that statement.
    pub body: Block,
    /// The whole arm.
    pub span: Span,
}

/// A pattern.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// A constant expression.
    Value(Expr),
    /// `a..b`, half-open.
    Range(Expr, Expr),
    /// `_`
    Any(Span),
}

/// An expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where.
    pub span: Span,
}

/// Kinds of [`Expr`].
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// `10`, `0x1f`, `10u8`; a value over 128 bits is an error of the parser.
    Int(u128, Option<Ident>),
    /// `true`, `false`
    Bool(bool),
    /// `b"…"`
    Bytes(Arc<[u8]>),
    /// `"…"`: only as an argument of a service or of `include`.
    Str(Arc<str>),
    /// `b'a'`
    Byte(u8),
    /// `10.0.0.1`
    Ip(u32),
    /// `5ms`, in nanoseconds.
    Duration(u64),
    /// `include("file")`
    Include(Arc<str>),
    /// `none`
    None,
    /// A name.
    Path(Path),
    /// `a.f`
    Field(Box<Expr>, Ident),
    /// `a[i]`
    Index(Box<Expr>, Box<Expr>),
    /// `a[i..j]`
    Slice(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `f(x, …)`
    Call(Path, Vec<Expr>),
    /// `a.m(x, …)`
    Method(Box<Expr>, Ident, Vec<Expr>),
    /// `!a`, `~a`, `-a`
    Unary(UnOp, Box<Expr>),
    /// `a + b`, `a == b`, `a && b`
    Binary(BinOp, Box<Expr>, Box<Expr>),
    /// `a in lo..hi`
    InRange(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `a in addr/len`
    InPrefix(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `a as T`
    Cast(Box<Expr>, TypeExpr),
    /// `[a, b, c]`
    Array(Vec<Expr>),
    /// `[v; n]`
    Repeat(Box<Expr>, Box<Expr>),
    /// `Name { f: e, … }`
    Struct(Path, Vec<(Ident, Expr)>),
    /// `if c { } else if d { } else { }`: arms in order, then the last `else`.
    If(Vec<IfArm>, Option<Block>),
    /// `await service.op(x, …)`; the checker says where it may stand.
    Await {
        /// The service.
        service: Ident,
        /// `get`, `set`, `delete`.
        op: Ident,
        /// The arguments.
        args: Vec<Expr>,
    },
    /// Could not be parsed; an error was reported.
    Broken,
}

/// One `if` of a chain.
#[derive(Clone, Debug)]
pub struct IfArm {
    /// The condition.
    pub cond: IfCond,
    /// What runs where it holds.
    pub body: Block,
}

/// `c` or `let v = e`
#[derive(Clone, Debug)]
pub enum IfCond {
    /// A bool.
    Bool(Expr),
    /// `let v = e`
    Let(Ident, Expr),
}

/// Unary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnOp {
    /// `!`, for bool
    Not,
    /// `~`
    BitNot,
    /// `-`
    Neg,
}

/// Binary operators.
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
    LogicAnd,
    LogicOr,
}

/// `cond => target`
#[derive(Clone, Debug)]
pub struct Rule {
    /// The condition; `None` is `_`.
    pub cond: Option<Expr>,
    /// Where the condition stands.
    pub cond_span: Span,
    /// A lambda's name, `drop` or `punt` (which may also be lambdas' names: the checker decides).
    pub target: Ident,
    /// The whole rule.
    pub span: Span,
}

/// A step of a test.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it is.
    pub kind: StepKind,
    /// Where.
    pub span: Span,
}

/// Kinds of [`Step`].
#[derive(Clone, Debug)]
pub enum StepKind {
    /// `expect LEFT with { … } == RIGHT;`
    Expect {
        /// A call or a place of state.
        left: Expr,
        /// `with { name: e, … }`
        with: Vec<(Ident, Expr)>,
        /// `!=` instead of `==`.
        negated: bool,
        /// A value, or the path `drop`, `punt`, `trap`, `bad_request`.
        right: Expr,
    },
    /// `given service.op(args) => result;`
    Given {
        /// The service.
        service: Ident,
        /// The operation.
        op: Ident,
        /// Its arguments.
        args: Vec<Expr>,
        /// A value, `true`, `none`, or the path `fail`.
        result: Expr,
    },
    /// Could not be parsed; an error was reported.
    Broken,
}
