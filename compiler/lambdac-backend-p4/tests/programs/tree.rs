//! What the parser finds: apart from the emitter's own tree, so that neither can hide the other's mistakes.

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    Bit(u32),
    Int(u32),
    /// A number without a width.
    Number,
    Text,
    Void,
    Named(String),
    Stack(String, u32),
    Register(u32),
    Counter,
    List(Vec<Type>),
}

/// An expression and its line.
#[derive(Clone, Debug)]
pub struct Expr {
    pub kind: Kind,
    pub line: usize,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Bool(bool),
    Number(Option<u32>, Vec<u8>),
    Text,
    Name(String),
    Member(Box<Expr>, String),
    Index(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, u32, u32),
    Unary(&'static str, Box<Expr>),
    Binary(&'static str, Box<Expr>, Box<Expr>),
    Select(Box<Expr>, Box<Expr>, Box<Expr>),
    Cast(Type, Box<Expr>),
    Call(Box<Expr>, Vec<Expr>),
    List(Vec<Expr>),
    Any,
}

#[derive(Clone, Debug)]
pub enum Stmt {
    Var(Type, String, Option<Expr>),
    Assign(Expr, Expr),
    Call(Expr),
    If(Expr, Vec<Stmt>, Vec<Stmt>),
    For(Option<Box<Stmt>>, Expr, Option<Box<Stmt>>, Vec<Stmt>),
    Break,
    Continue,
}

#[derive(Clone, Debug)]
pub struct Param {
    pub ty: Type,
    pub name: String,
}

#[derive(Clone, Debug)]
pub struct State {
    pub name: String,
    pub body: Vec<Stmt>,
    /// What is looked at, and the cases: patterns (none: default) and the next state.
    pub keys: Vec<Expr>,
    pub cases: Vec<(Vec<Expr>, String)>,
}

#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    pub keys: Vec<(Expr, String)>,
    pub actions: Vec<String>,
    pub default: (String, Vec<Expr>),
    pub entries: Vec<Entry>,
}

/// Patterns, an action, and its data.
pub type Entry = (Vec<Expr>, String, Vec<Expr>);

#[derive(Clone, Debug)]
pub enum Local {
    Register(u32, u64, String),
    Counter(u64, String),
    Var(Type, String),
    Action(String, Vec<Param>, Vec<Stmt>),
    Table(Table),
}

#[derive(Clone, Debug)]
pub enum Item {
    Include(String),
    Const(Type, String, Expr),
    Typedef(Type, String),
    /// A function without arguments or result.
    Extern(String),
    /// For a preprocessor that has the name, and for one that hasn't.
    IfDefined(String, Vec<Item>, Vec<Item>),
    Header(String, Vec<Param>),
    Struct(String, Vec<Param>),
    Parser(String, Vec<Param>, Vec<State>),
    Control(String, Vec<Param>, Vec<Local>, Vec<Stmt>),
    Package(String, Vec<String>),
}
