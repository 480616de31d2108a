//! P4_16 as data: what the lowering builds and the printer writes.
//!
//! Only what the emitter needs. Expressions carry no types; literals carry their width. Nothing here knows MIR.

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// `bool`
    Bool,
    /// `bit<n>`
    Bit(u32),
    /// `int<n>`
    Int(u32),
    /// One that is declared here or by the architecture.
    Named(String),
    /// `name[n]`: a stack of headers.
    Stack(String, u32),
    /// `name<…>`
    Generic(String, Vec<Type>),
    /// `@field_list(n) type`: of a field that a recirculated packet keeps.
    Kept(u32, Box<Type>),
}

impl Type {
    /// A declared type.
    pub fn named(name: impl Into<String>) -> Self {
        Self::Named(name.into())
    }
}

/// A number of a width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Bits.
    pub width: u32,
    /// Big-endian, without leading zeros.
    pub bytes: Vec<u8>,
}

impl Bits {
    /// A number; bits past the width are cut off.
    pub fn new(width: u32, bytes: &[u8]) -> Self {
        let len = width.div_ceil(8) as usize;
        let mut bytes = bytes[bytes.len().saturating_sub(len)..].to_vec();
        if bytes.len() == len && !width.is_multiple_of(8) {
            bytes[0] &= (1 << (width % 8)) - 1;
        }
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes.drain(..zeros);
        Self { width, bytes }
    }

    /// The number, if it has at most 64 bits.
    pub fn small(&self) -> Option<u64> {
        (self.bytes.len() <= 8).then(|| self.bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }
}

/// Operators with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // P4's own
pub enum Unary {
    Not,
    Complement,
    Negate,
}

/// Operators with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // P4's own
pub enum Binary {
    Mul,
    Add,
    Sub,
    Shl,
    Shr,
    Le,
    Ge,
    Lt,
    Gt,
    Eq,
    Ne,
    And,
    Xor,
    Or,
    Concat,
    AndAnd,
    OrOr,
}

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// `true` or `false`
    Bool(bool),
    /// A number with a width.
    Bits(Bits),
    /// A number without: a size, an index of a stack.
    Number(u64),
    /// A string.
    Text(String),
    /// A name.
    Name(String),
    /// `a.b`
    Member(Box<Expr>, String),
    /// `a[i]`
    Index(Box<Expr>, Box<Expr>),
    /// `a[high:low]`
    Slice(Box<Expr>, u32, u32),
    /// An operator before its operand.
    Unary(Unary, Box<Expr>),
    /// An operator between two.
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// `c ? a : b`
    Select(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `(type)a`
    Cast(Type, Box<Expr>),
    /// `f(…)`
    Call(Box<Expr>, Vec<Expr>),
    /// `{ … }`
    List(Vec<Expr>),
    /// `a &&& b`
    Masked(Box<Expr>, Box<Expr>),
    /// `_`: anything.
    Any,
}

impl Expr {
    /// A number of a width.
    pub fn bits(width: u32, value: u64) -> Self {
        Self::Bits(Bits::new(width, &value.to_be_bytes()))
    }

    /// A name.
    pub fn name(name: impl Into<String>) -> Self {
        Self::Name(name.into())
    }

    /// A path of names with dots.
    pub fn path(path: &str) -> Self {
        let mut names = path.split('.');
        let first = Self::name(names.next().unwrap_or_default());
        names.fold(first, Self::member)
    }

    /// A member of this.
    #[must_use]
    pub fn member(self, name: impl Into<String>) -> Self {
        Self::Member(Box::new(self), name.into())
    }

    /// An element of this stack.
    #[must_use]
    pub fn index(self, index: u64) -> Self {
        Self::Index(Box::new(self), Box::new(Self::Number(index)))
    }

    /// Bits of this.
    #[must_use]
    pub fn slice(self, high: u32, low: u32) -> Self {
        Self::Slice(Box::new(self), high, low)
    }

    /// This at another type.
    #[must_use]
    pub fn cast(self, ty: Type) -> Self {
        Self::Cast(ty, Box::new(self))
    }

    /// This `op` another.
    #[must_use]
    pub fn binary(self, op: Binary, other: Self) -> Self {
        Self::Binary(op, Box::new(self), Box::new(other))
    }

    /// The opposite of this.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Bool(value) => Self::Bool(!value),
            Self::Unary(Unary::Not, inner) => *inner,
            other => Self::Unary(Unary::Not, Box::new(other)),
        }
    }

    /// `self ? then : other`
    #[must_use]
    pub fn select(self, then: Self, other: Self) -> Self {
        Self::Select(Box::new(self), Box::new(then), Box::new(other))
    }

    /// A call of this.
    #[must_use]
    pub fn call(self, args: Vec<Self>) -> Self {
        Self::Call(Box::new(self), args)
    }

    /// A call of a method of this.
    #[must_use]
    pub fn method(self, name: &str, args: Vec<Self>) -> Self {
        self.member(name).call(args)
    }

    /// The number, if it is one of at most 64 bits.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Bits(bits) => bits.small(),
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether it can stand twice: a name or a number.
    pub fn is_atom(&self) -> bool {
        match self {
            Self::Bool(_) | Self::Bits(_) | Self::Number(_) | Self::Name(_) => true,
            Self::Member(base, _) => base.is_atom(),
            _ => false,
        }
    }
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stmt {
    /// `type name = value;`
    Var(Type, String, Option<Expr>),
    /// `place = value;`
    Assign(Expr, Expr),
    /// A call.
    Call(Expr),
    /// `if`
    If(Expr, Vec<Stmt>, Vec<Stmt>),
    /// `for (first; condition; step)`; only in actions (see the crate's documentation).
    For(Box<For>),
    /// `break;`
    Break,
    /// `continue;`
    Continue,
    /// `// text`
    Comment(String),
}

/// A loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct For {
    /// Once before; an assignment.
    pub first: Option<Stmt>,
    /// Whether there is another trip.
    pub cond: Expr,
    /// After each trip; an assignment.
    pub step: Option<Stmt>,
    /// A trip.
    pub body: Vec<Stmt>,
    /// How often.
    pub trips: Trips,
}

/// What is known of the trips of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trips {
    /// There is one, which ways out may cut short.
    One,
    /// At most so many.
    Most(u64),
    /// As many as the packet asks for.
    Any,
}

/// How a parameter is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Not said: a constant, or an action's data.
    None,
    /// `in`
    In,
    /// `out`
    Out,
    /// `inout`
    InOut,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// How it is passed.
    pub direction: Direction,
    /// Its type.
    pub ty: Type,
    /// Its name.
    pub name: String,
}

impl Param {
    /// A parameter.
    pub fn new(direction: Direction, ty: Type, name: &str) -> Self {
        Self {
            direction,
            ty,
            name: name.to_owned(),
        }
    }
}

/// A field.
pub type Field = (Type, String);

/// Something at the top of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// `/* text */`, a line each.
    Comment(Vec<String>),
    /// `#include <name>`
    Include(String),
    /// `const type name = value;`
    Const(Type, String, Expr),
    /// `typedef type name;`
    Typedef(Type, String),
    /// `extern void name();`: a function of somebody else's that takes nothing and gives nothing.
    Extern(String),
    /// `#ifdef name`: items for where the preprocessor has the name, and for where it hasn't.
    IfDefined(String, Vec<Item>, Vec<Item>),
    /// `header`
    Header {
        /// What it is to the control plane (`@controller_header`).
        controller: Option<String>,
        /// Its name.
        name: String,
        /// Its fields.
        fields: Vec<Field>,
    },
    /// `struct`
    Struct {
        /// Its name.
        name: String,
        /// Its fields.
        fields: Vec<Field>,
    },
    /// `parser`
    Parser(Parser),
    /// `control`
    Control(Control),
    /// `type(args) name;`
    Package {
        /// The architecture's type.
        ty: String,
        /// The parts, each made without arguments.
        parts: Vec<String>,
        /// Its name.
        name: String,
    },
}

/// A parser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parser {
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub params: Vec<Param>,
    /// Its states; the first is `start`.
    pub states: Vec<State>,
}

/// A state of a parser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Its name.
    pub name: String,
    /// What it does.
    pub body: Vec<Stmt>,
    /// What follows.
    pub next: Transition,
}

/// Where a state leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    /// `transition name;`
    To(String),
    /// `transition select(keys) { … }`; a case has a pattern for each key.
    Select(Vec<Expr>, Vec<(Vec<Expr>, String)>),
}

/// A control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub params: Vec<Param>,
    /// What is declared in it, in order.
    pub locals: Vec<Local>,
    /// What it does.
    pub apply: Vec<Stmt>,
}

/// A declaration in a control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// `// text`
    Comment(String),
    /// `type(args) name;`: an extern object.
    Instance {
        /// Its type.
        ty: Type,
        /// What it is made with.
        args: Vec<Expr>,
        /// Its name.
        name: String,
    },
    /// `type name;`
    Var(Type, String),
    /// An action.
    Action(Action),
    /// A table.
    Table(Table),
}

/// An action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its name.
    pub name: String,
    /// Data that comes with an entry.
    pub params: Vec<Param>,
    /// What it does.
    pub body: Vec<Stmt>,
}

/// How a key matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // P4's own
pub enum MatchKind {
    Exact,
    Lpm,
    Ternary,
}

impl MatchKind {
    /// As in P4.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Lpm => "lpm",
            Self::Ternary => "ternary",
        }
    }
}

/// A part of a table's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// What is looked up.
    pub expr: Expr,
    /// How.
    pub kind: MatchKind,
    /// Its name to the control plane; empty where that is the expression.
    pub name: String,
    /// Its width.
    pub width: u32,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The key's parts.
    pub keys: Vec<Key>,
    /// The actions that entries and the default may name.
    pub actions: Vec<String>,
    /// The action without an entry, and its data.
    pub default: (String, Vec<Expr>),
    /// Whether the control plane may not change the default.
    pub const_default: bool,
    /// Entries that stand in the program and never change.
    pub entries: Vec<Entry>,
    /// Entries that there is room for, if the control plane fills it.
    pub size: Option<u32>,
}

/// An entry of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A pattern for each part of the key.
    pub keys: Vec<Expr>,
    /// The action.
    pub action: String,
    /// Its data.
    pub args: Vec<Expr>,
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// In order.
    pub items: Vec<Item>,
}

/// Visitors of names, to read them and to change them.
macro_rules! names {
    ($vis:vis $expr_fn:ident, $stmt_fn:ident, $stmts_fn:ident, $name:ty, ($($mut:tt)?)) => {
        impl Expr {
            /// Calls `f` for every name that it starts from.
            $vis fn $expr_fn(& $($mut)? self, f: &mut dyn FnMut(& $($mut)? $name)) {
                match self {
                    Self::Name(name) => f(name),
                    Self::Bool(_) | Self::Bits(_) | Self::Number(_) | Self::Text(_) | Self::Any => {}
                    Self::Member(a, _) | Self::Slice(a, ..) | Self::Unary(_, a) | Self::Cast(_, a) => {
                        a.$expr_fn(f);
                    }
                    Self::Index(a, b) | Self::Binary(_, a, b) | Self::Masked(a, b) => {
                        a.$expr_fn(f);
                        b.$expr_fn(f);
                    }
                    Self::Select(a, b, c) => [a, b, c].into_iter().for_each(|e| e.$expr_fn(f)),
                    Self::Call(a, args) => {
                        a.$expr_fn(f);
                        args.into_iter().for_each(|e| e.$expr_fn(f));
                    }
                    Self::List(items) => items.into_iter().for_each(|e| e.$expr_fn(f)),
                }
            }
        }

        fn $stmt_fn(stmt: & $($mut)? Stmt, f: &mut dyn FnMut(& $($mut)? $name)) {
            match stmt {
                Stmt::Var(_, _, value) => value.into_iter().for_each(|value| value.$expr_fn(f)),
                Stmt::Assign(place, value) => {
                    place.$expr_fn(f);
                    value.$expr_fn(f);
                }
                Stmt::Call(call) => call.$expr_fn(f),
                Stmt::If(cond, then, other) => {
                    cond.$expr_fn(f);
                    $stmts_fn(then, f);
                    $stmts_fn(other, f);
                }
                Stmt::For(inner) => {
                    let inner = & $($mut)? **inner;
                    inner.cond.$expr_fn(f);
                    let parts = (& $($mut)? inner.first).into_iter().chain(& $($mut)? inner.step);
                    parts.for_each(|part| $stmt_fn(part, f));
                    $stmts_fn(& $($mut)? inner.body, f);
                }
                Stmt::Break | Stmt::Continue | Stmt::Comment(_) => {}
            }
        }

        /// Calls `f` for every name in statements.
        pub(crate) fn $stmts_fn(stmts: & $($mut)? [Stmt], f: &mut dyn FnMut(& $($mut)? $name)) {
            stmts.into_iter().for_each(|stmt| $stmt_fn(stmt, f));
        }
    };
}

names!(pub for_each_name, names_of_stmt, names_of, str, ());
names!(pub(crate) for_each_name_mut, names_of_stmt_mut, names_of_mut, String, (mut));
