//! The items of a workload.

use std::sync::Arc;

use lambdac_diag::{FileId, Span};

use crate::{Block, EnumId, Expr, IntType, Place, StructId, Type, Value};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);
        impl $name {
            /// As an index.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

ids! {
    /// Index into [`Workload::consts`].
    ConstId;
    /// Index into [`Workload::params`].
    ParamId;
    /// Index into [`Workload::states`].
    StateId;
    /// Index into [`Workload::tables`].
    TableId;
    /// Index into [`Workload::services`].
    ServiceId;
    /// Index into [`Workload::fns`].
    FnId;
    /// Index into [`Workload::lambdas`].
    LambdaId;
    /// Index into [`Body::locals`].
    LocalId;
}

/// One checked workload.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its name.
    pub name: Arc<str>,
    /// Where the name stands.
    pub span: Span,
    /// Its file.
    pub file: FileId,
    /// `//!` text.
    pub docs: String,
    /// Enums.
    pub enums: Vec<Enum>,
    /// Structs and headers.
    pub structs: Vec<Struct>,
    /// Constants.
    pub consts: Vec<Const>,
    /// Deploy-time parameters.
    pub params: Vec<Param>,
    /// State objects.
    pub states: Vec<State>,
    /// Tables.
    pub tables: Vec<Table>,
    /// Services.
    pub services: Vec<Service>,
    /// Fns, in an order where callees come before callers.
    pub fns: Vec<Fn>,
    /// Lambdas, in source order.
    pub lambdas: Vec<Lambda>,
    /// What picks a lambda.
    pub dispatch: Dispatch,
    /// Tests.
    pub tests: Vec<Test>,
}

/// `enum`
#[derive(Clone, Debug)]
pub struct Enum {
    /// Its name (a library's as `lib::Name`).
    pub name: Arc<str>,
    /// Its integer type.
    pub repr: IntType,
    /// Names and values.
    pub variants: Vec<(Arc<str>, u64)>,
}

/// `struct` or `header`
#[derive(Clone, Debug)]
pub struct Struct {
    /// Its name (a library's as `lib::Name`).
    pub name: Arc<str>,
    /// Whether it has the wire's layout.
    pub is_header: bool,
    /// Its fields.
    pub fields: Vec<Field>,
}

/// A field.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub ty: Type,
    /// Where its name stands.
    pub span: Span,
}

/// Where the author wants an object to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are the language's, explained in the reference
pub enum MemoryRegion {
    Lmem,
    Cls,
    Ctm,
    Imem,
    Emem,
}

/// `const`
#[derive(Clone, Debug)]
pub struct Const {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub ty: Type,
    /// Its value.
    pub value: Arc<Value>,
    /// `@memory`
    pub memory: Option<MemoryRegion>,
    /// Where.
    pub span: Span,
}

/// `param`
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name.
    pub name: Arc<str>,
    /// Its type: scalar, `bytes<n>` or an array of integers.
    pub ty: Type,
    /// Its default.
    pub default: Option<Value>,
    /// Where.
    pub span: Span,
}

/// `state`
#[derive(Clone, Debug)]
pub struct State {
    /// Its name.
    pub name: Arc<str>,
    /// What it holds.
    pub kind: StateKind,
    /// `@memory`
    pub memory: Option<MemoryRegion>,
    /// Where.
    pub span: Span,
}

/// Kinds of [`State`].
#[derive(Clone, Debug)]
pub enum StateKind {
    /// A value: scalar, array or struct.
    Value {
        /// Its type.
        ty: Type,
        /// What it starts with.
        init: Value,
    },
    /// `counter` (count is `None`) or `counter[n]`
    Counter {
        /// Number of counters.
        count: Option<u32>,
    },
    /// `lru<K, V>(cap, ttl = …)`
    Lru {
        /// The key's type.
        key: Type,
        /// The value's type.
        value: Type,
        /// Entries.
        capacity: u32,
        /// Nanoseconds that an entry lives, from its last put or insert.
        ttl: Option<u64>,
    },
    /// `map<K, V>(cap)`
    Map {
        /// The key's type.
        key: Type,
        /// The value's type.
        value: Type,
        /// Entries.
        capacity: u32,
    },
}

/// Kinds of [`Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are the language's
pub enum TableKind {
    Exact,
    Lpm,
    Ternary,
}

/// `table`
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: Arc<str>,
    /// How keys are matched.
    pub kind: TableKind,
    /// The key's type.
    pub key: Type,
    /// The value's type.
    pub value: Type,
    /// Entries it can hold.
    pub capacity: u32,
    /// The inline entries, in order.
    pub entries: Vec<TableEntry>,
    /// `@memory`
    pub memory: Option<MemoryRegion>,
    /// Where.
    pub span: Span,
}

/// One inline entry.
#[derive(Clone, Debug)]
pub struct TableEntry {
    /// What is matched.
    pub key: EntryKey,
    /// What `get` gives.
    pub value: Value,
    /// Where.
    pub span: Span,
}

/// The key of a table entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EntryKey {
    /// The whole key.
    Exact(Value),
    /// The first `len` bits of an integer key (or of a byte array).
    Prefix(Value, u32),
    /// The bits set in the mask (a value of the key's type).
    Masked(Value, Value),
    /// Every key.
    Any,
}

/// Protocols of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// memcached over UDP.
    Memcached,
}

/// `service`
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: Arc<str>,
    /// What it speaks.
    pub protocol: Protocol,
    /// `address:port` as written; can be overridden at deploy.
    pub address: Arc<str>,
    /// Nanoseconds until an unanswered request has failed.
    pub timeout: u64,
    /// Where.
    pub span: Span,
}

/// A local variable or parameter.
#[derive(Clone, Debug)]
pub struct Local {
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub ty: Type,
    /// Whether `mut`.
    pub mutable: bool,
    /// Where its name stands.
    pub span: Span,
}

/// The code of a fn, lambda or match condition with its variables.
#[derive(Clone, Debug)]
pub struct Body {
    /// All variables; the parameters come first.
    pub locals: Vec<Local>,
    /// The code.
    pub block: Block,
}

/// `fn`
#[derive(Clone, Debug)]
pub struct Fn {
    /// Its name (a library's as `lib::name`).
    pub name: Arc<str>,
    /// Number of parameters: the first locals.
    pub params: u32,
    /// What it returns; `Unit` for nothing.
    pub ret: Type,
    /// Its code; the tail is the result where control reaches the end.
    pub body: Body,
    /// `@inline`
    pub inline: bool,
    /// Where its name stands.
    pub span: Span,
}

/// `@on`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are the language's
pub enum Side {
    Host,
    Nic,
}

/// What a lambda takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// No parameter: every request is accepted and can't be read.
    Any,
    /// The type of local 0.
    Typed(Type),
}

/// `lambda`
#[derive(Clone, Debug)]
pub struct Lambda {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it handles chunks.
    pub stream: bool,
    /// T. Where typed, local 0 of the body is the request.
    pub request: Request,
    /// R.
    pub reply: Type,
    /// Its code; every path ends in reply, drop, punt (or a trap).
    pub body: Body,
    /// `@deadline`, nanoseconds.
    pub deadline: Option<u64>,
    /// `@on`
    pub on: Option<Side>,
    /// Where its name stands.
    pub span: Span,
}

/// What picks a lambda.
#[derive(Clone, Debug)]
pub enum Dispatch {
    /// No `match`, one lambda: everything goes to it.
    Only(LambdaId),
    /// No `match` and not one lambda: on the wire everything is BAD_REQUEST.
    Unreachable,
    /// `match`
    Match(Match),
}

/// `match (req: T) { … }`
#[derive(Clone, Debug)]
pub struct Match {
    /// T; a shorter request is BAD_REQUEST. A last `bytes<n>` field or a `bytes<n>` holds what is there, at most n.
    pub request: Type,
    /// Local 0 is the request; conditions have no other locals.
    pub locals: Vec<Local>,
    /// In order; the first that holds wins, none: BAD_REQUEST.
    pub rules: Vec<Rule>,
    /// Where.
    pub span: Span,
}

/// `cond => target`
#[derive(Clone, Debug)]
pub struct Rule {
    /// A bool; `None` is `_`.
    pub cond: Option<Expr>,
    /// What happens.
    pub target: Target,
    /// Where.
    pub span: Span,
}

/// Target of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A lambda.
    Lambda(LambdaId),
    /// No answer.
    Drop,
    /// The fallback.
    Punt,
}

/// `test`
#[derive(Clone, Debug)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// Where.
    pub span: Span,
    /// Its steps.
    pub steps: Vec<Step>,
}

/// A step of a test.
#[derive(Clone, Debug)]
pub enum Step {
    /// `expect CALL …`
    Call(CallStep),
    /// `expect PLACE == VALUE;`
    State {
        /// The place; indexes are constants.
        place: StatePlace,
        /// What it must (or must not) hold.
        value: Value,
        /// `!=`
        negated: bool,
        /// Where.
        span: Span,
    },
    /// `given …`
    Given(GivenStep),
}

/// What `expect PLACE` reads.
#[derive(Clone, Debug)]
pub enum StatePlace {
    /// A scalar, element or field of a value.
    Value(Place),
    /// A counter, with its index where it is an array.
    Counter(StateId, Option<u32>),
}

/// What a test calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    /// A lambda, directly.
    Lambda(LambdaId),
    /// The workload, through its match.
    Workload,
}

/// What a call must give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// An OK reply of one of these byte strings (already encoded). There is more than one only where the value fits
    /// the R of several lambdas that may answer, as `[1]` is both a `[u8; 1]` and a `[u16; 1]`.
    Reply(Vec<Vec<u8>>),
    /// `drop`
    Drop,
    /// `punt`
    Punt,
    /// `trap`
    Trap,
    /// `bad_request`
    BadRequest,
}

/// `expect CALL with { … } == VALUE;`
#[derive(Clone, Debug)]
pub struct CallStep {
    /// What is called.
    pub callee: Callee,
    /// The request's bytes (a typed value is already encoded).
    pub request: Vec<u8>,
    /// `pkt` fields that were set.
    pub pkt: Vec<(PktField, u64)>,
    /// `now`, nanoseconds; default 1 s.
    pub now: Option<u64>,
    /// What every `random()` gives.
    pub random: Option<u32>,
    /// Params that were set.
    pub params: Vec<(ParamId, Value)>,
    /// What it must (or must not) be.
    pub expected: Expected,
    /// `!=`: an OK reply with other bytes.
    pub negated: bool,
    /// Where.
    pub span: Span,
}

/// `given service.op(args) => result;`
#[derive(Clone, Debug)]
pub struct GivenStep {
    /// The service.
    pub service: ServiceId,
    /// The operation.
    pub op: ServiceOp,
    /// The key that is expected.
    pub key: Vec<u8>,
    /// The value that is expected, for `set`.
    pub value: Option<Vec<u8>>,
    /// What the service answers.
    pub result: GivenResult,
    /// Where.
    pub span: Span,
}

/// What a service answers in a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenResult {
    /// `get`: this value.
    Value(Vec<u8>),
    /// `set`, `delete`: done.
    Done,
    /// A miss or a refusal.
    None,
    /// No answer in time.
    Fail,
}

/// Operations of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // memcached's commands
pub enum ServiceOp {
    Get,
    Set,
    Delete,
}

/// Fields of `pkt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are the language's
pub enum PktField {
    SrcIp,
    SrcPort,
    DstPort,
    Port,
    RequestId,
}

impl PktField {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::SrcIp,
        Self::SrcPort,
        Self::DstPort,
        Self::Port,
        Self::RequestId,
    ];

    /// Its name in the language.
    pub fn name(self) -> &'static str {
        match self {
            Self::SrcIp => "src_ip",
            Self::SrcPort => "src_port",
            Self::DstPort => "dst_port",
            Self::Port => "port",
            Self::RequestId => "request_id",
        }
    }

    /// Its type.
    pub fn ty(self) -> IntType {
        match self {
            Self::SrcIp => IntType::unsigned(32),
            Self::SrcPort | Self::DstPort | Self::Port => IntType::unsigned(16),
            Self::RequestId => IntType::unsigned(64),
        }
    }
}

impl Workload {
    /// The struct or header of an id.
    pub fn strukt(&self, id: StructId) -> &Struct {
        &self.structs[id.0 as usize]
    }

    /// The enum of an id.
    pub fn enumeration(&self, id: EnumId) -> &Enum {
        &self.enums[id.0 as usize]
    }

    /// The integer type that a scalar type is held as; `u1` for bool.
    pub fn scalar_int(&self, ty: &Type) -> Option<IntType> {
        match ty {
            Type::Bool => Some(IntType::unsigned(1)),
            Type::Int(int) => Some(*int),
            Type::Enum(id) => Some(self.enumeration(*id).repr),
            _ => None,
        }
    }

    /// The all-zeros value of a type (`none` for options).
    pub fn zero(&self, ty: &Type) -> Value {
        match ty {
            Type::Bool => Value::Bool(false),
            Type::Int(_) | Type::Enum(_) => Value::Int(0),
            Type::Array(elem, n) => Value::Array(vec![self.zero(elem); *n as usize]),
            Type::Bytes(_) | Type::BytesView => Value::Bytes(Vec::new()),
            Type::Struct(id) => {
                Value::Struct(self.strukt(*id).fields.iter().map(|f| self.zero(&f.ty)).collect())
            }
            Type::Option(_) => Value::None,
            Type::Unit | Type::Never => Value::Unit,
        }
    }

    /// A type as the language writes it.
    pub fn type_name(&self, ty: &Type) -> String {
        match ty {
            Type::Bool => "bool".into(),
            Type::Int(int) => format!("{}{}", if int.signed { 'i' } else { 'u' }, int.bits),
            Type::Enum(id) => self.enumeration(*id).name.to_string(),
            Type::Array(elem, n) => format!("[{}; {n}]", self.type_name(elem)),
            Type::Bytes(n) => format!("bytes<{n}>"),
            Type::BytesView => "bytes".into(),
            Type::Struct(id) => self.strukt(*id).name.to_string(),
            Type::Option(inner) => format!("{}?", self.type_name(inner)),
            Type::Unit => "nothing".into(),
            Type::Never => "never".into(),
        }
    }
}
