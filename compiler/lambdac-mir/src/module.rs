//! Modules: a workload's objects, functions, lambdas and match stage.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::{Body, CmpOp, Loc, Op, Region, SlotId, Term, Value};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);
        impl $name {
            /// As an index.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}
pub(crate) use ids;

ids! {
    /// Index into [`Module::consts`].
    ConstId = "c";
    /// Index into [`Module::params`].
    ParamId = "p";
    /// Index into [`Module::objects`].
    ObjectId = "o";
    /// Index into [`Module::services`].
    ServiceId = "svc";
    /// Index into [`Module::funcs`].
    FuncId = "f";
    /// Index into [`Module::lambdas`].
    LambdaId = "l";
}

/// One workload.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Module {
    /// The workload's name.
    pub name: Arc<str>,
    /// Names of source files, for [`Loc::file`].
    pub files: Vec<Arc<str>>,
    /// Read-only data.
    pub consts: Vec<Const>,
    /// Deploy-time parameters.
    pub params: Vec<Param>,
    /// State and tables.
    pub objects: Vec<Object>,
    /// Services.
    pub services: Vec<Service>,
    /// Functions; a callee's id is below its caller's, so there is no recursion.
    pub funcs: Vec<Func>,
    /// Lambdas, in source order.
    pub lambdas: Vec<Lambda>,
    /// What picks a lambda.
    pub dispatch: Dispatch,
}

impl Module {
    /// Bytes of a chunk, where requests reach streams: as many as messages are cut into, and the fewest that all the
    /// lambdas take. None may be left out of a message unless that is 0.
    pub fn chunk(&self) -> Option<MessageSize> {
        let reached = self.dispatch.lambdas();
        let mut reached = reached.iter().map(|id| &self.lambdas[id.index()]);
        let first = reached.next().filter(|lambda| lambda.stream)?.request;
        let least = reached.fold(first.min, |least, lambda| least.max(lambda.request.min));
        Some(MessageSize {
            min: least,
            max: first.max,
        })
    }
}

/// The structure of something in memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// An integer of 1 to 64 bits.
    Scalar(u8),
    /// `n` elements.
    Array(Arc<Shape>, u32),
    /// A byte string: a current length (`i32`) and up to `n` bytes.
    Bytes(u32),
    /// Fields.
    Struct(Arc<[Shape]>),
    /// A read-only byte string of any capacity: only as a function's parameter.
    View,
}

/// A constant value of some [`Shape`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Data {
    /// A scalar, zero-extended.
    Int(u64),
    /// `bytes<n>` (any length up to n) or an array of n `i8`.
    Bytes(Arc<[u8]>),
    /// An array's elements or a struct's fields.
    List(Arc<[Data]>),
}

/// A memory that the author asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // NFP's memories, as in the reference
pub enum MemoryRegion {
    Lmem,
    Cls,
    Ctm,
    Imem,
    Emem,
}

/// Read-only data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Const {
    /// Its name, or one that lowering made up.
    pub name: Arc<str>,
    /// Its structure.
    pub shape: Shape,
    /// Its value.
    pub data: Data,
    /// `@memory`
    pub memory: Option<MemoryRegion>,
}

/// A value that is set at deploy time and constant for the instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Param {
    /// Its name.
    pub name: Arc<str>,
    /// Its structure.
    pub shape: Shape,
    /// Whether a scalar is signed (for reading it from text).
    pub signed: bool,
    /// Its value where none is set.
    pub default: Option<Data>,
}

/// Something that outlives invocations, or a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// Its name.
    pub name: Arc<str>,
    /// What it holds.
    pub kind: ObjectKind,
    /// `@memory`
    pub memory: Option<MemoryRegion>,
    /// The declared type as the language writes it, then ` where` and the fields of the structs in it; state survives a
    /// code swap only if this is unchanged.
    pub decl: Arc<str>,
}

/// Kinds of [`Object`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// A value that places reach into.
    Value {
        /// Its structure (no bytes).
        shape: Shape,
        /// What it starts with.
        init: Data,
    },
    /// `count` counters of 64 bits.
    Counter {
        /// How many.
        count: u32,
        /// Whether it was declared as an array.
        array: bool,
    },
    /// Forgets the least recently used entry, or any other, when full.
    Lru {
        /// The parts that a key is made of.
        key: Vec<KeyPart>,
        /// The value's structure.
        value: Shape,
        /// Entries.
        capacity: u32,
        /// Nanoseconds an entry lives.
        ttl: Option<u64>,
    },
    /// Never forgets.
    Map {
        /// The parts that a key is made of.
        key: Vec<KeyPart>,
        /// The value's structure.
        value: Shape,
        /// Entries.
        capacity: u32,
    },
    /// Read-only to lambdas.
    Table {
        /// How keys are matched.
        kind: TableKind,
        /// The parts that a key is made of.
        key: Vec<KeyPart>,
        /// The value's structure.
        value: Shape,
        /// Entries it can hold.
        capacity: u32,
        /// The inline entries in order.
        entries: Vec<TableEntry>,
    },
}

/// A part of a key, in declaration order of the key's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyPart {
    /// An integer of so many bits.
    Scalar(u8),
    /// So many bytes.
    Bytes(u32),
}

/// How a table matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // P4's match kinds
pub enum TableKind {
    Exact,
    Lpm,
    Ternary,
}

/// An entry of a table. Keys are given part by part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableEntry {
    /// What is matched.
    pub key: EntryKey,
    /// What `get` gives.
    pub value: Data,
}

/// The key of a table entry; one [`Data`] a key part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EntryKey {
    /// The whole key.
    Exact(Vec<Data>),
    /// The first bits of the key's parts, big-endian and in order.
    Prefix(Vec<Data>, u32),
    /// Values and masks.
    Masked(Vec<Data>, Vec<Data>),
    /// Every key.
    Any,
}

/// What services speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// memcached over UDP.
    Memcached,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// Its name.
    pub name: Arc<str>,
    /// What it speaks.
    pub protocol: Protocol,
    /// `address:port` as written.
    pub address: Arc<str>,
    /// Nanoseconds until a request has failed.
    pub timeout: u64,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Func {
    /// Its name.
    pub name: Arc<str>,
    /// Its parameters.
    pub params: Vec<FuncParam>,
    /// Widths of the scalars it returns.
    pub results: Vec<u8>,
    /// Values and slots.
    pub body: Body,
    /// The code; leaves by [`crate::Term::Return`] or a trap.
    pub region: Region,
    /// `@inline`
    pub inline: bool,
}

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FuncParam {
    /// A scalar, held by this value.
    Scalar(Value),
    /// An aggregate by reference, reached as [`crate::Base::Arg`] with the parameter's number.
    Ref {
        /// Its structure.
        shape: Shape,
        /// Whether the function writes it (an out parameter, which aliases nothing).
        writable: bool,
    },
    /// A byte string of any length, reached as [`crate::Base::Arg`].
    View,
}

/// Bytes of a message of some type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageSize {
    /// The fewest.
    pub min: u32,
    /// The most.
    pub max: u32,
}

/// Where the author wants a lambda to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are the language's
pub enum Side {
    Host,
    Nic,
}

/// A lambda.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Lambda {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it handles chunks of `request.max` bytes.
    pub stream: bool,
    /// What it accepts; any other length is BAD_REQUEST. For a stream: of a chunk.
    pub request: MessageSize,
    /// What it replies with.
    pub reply: MessageSize,
    /// T as the language writes it.
    pub request_type: Arc<str>,
    /// R as the language writes it.
    pub reply_type: Arc<str>,
    /// `@deadline`, nanoseconds.
    pub deadline: Option<u64>,
    /// `@on`
    pub on: Option<Side>,
    /// Values and slots of all parts.
    pub body: Body,
    /// Part 0 is where it starts; there is one only until the await split.
    pub parts: Vec<Part>,
}

impl Lambda {
    /// Slots whose contents outlive a part: those that a continuation keeps, and those that answers are put into.
    pub fn outliving_slots(&self) -> BTreeSet<SlotId> {
        let mut slots = BTreeSet::new();
        for part in &self.parts {
            slots.extend(&part.live_slots);
            part.region.walk_regions(&mut |region| {
                if let Term::Await { call, .. } = &region.term {
                    slots.extend(call.dst);
                }
                for stmt in &region.stmts {
                    if let Op::Await(call) = &stmt.op {
                        slots.extend(call.dst);
                    }
                }
            });
        }
        slots
    }
}

/// A piece of a lambda that runs without waiting.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Part {
    /// What it is entered with. A part that an await continues in has first `ok` and `failed` (`i1` each), then the saved values.
    pub params: Vec<Value>,
    /// Slots whose contents must be as they were where it was entered from; the saved continuation holds just these.
    pub live_slots: Vec<SlotId>,
    /// The code; leaves by reply, drop, punt, trap, await or become.
    pub region: Region,
}

/// What picks a lambda.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Dispatch {
    /// Everything goes to one lambda.
    Only(LambdaId),
    /// Only tests reach the lambdas; on the wire everything is BAD_REQUEST.
    Unreachable,
    /// Rules.
    Match(Match),
}

impl Dispatch {
    /// The lambdas that requests can reach, in source order.
    pub fn lambdas(&self) -> BTreeSet<LambdaId> {
        match self {
            Self::Only(id) => [*id].into(),
            Self::Unreachable => BTreeSet::new(),
            Self::Match(stage) => {
                let target = |rule: &Rule| match rule.target {
                    Target::Lambda(id) => Some(id),
                    Target::Drop | Target::Punt => None,
                };
                stage.rules.iter().filter_map(target).collect()
            }
        }
    }
}

/// `match`: the first rule whose condition holds; none: BAD_REQUEST.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Match {
    /// A request with fewer bytes is BAD_REQUEST.
    pub min_len: u32,
    /// The rules in order.
    pub rules: Vec<Rule>,
}

/// `cond => target`
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Rule {
    /// When it applies.
    pub cond: Cond,
    /// What happens.
    pub target: Target,
    /// Where it is written.
    pub loc: Loc,
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

/// A condition of the match stage. Evaluated left to right, `All` and `Any` stop early.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Cond {
    /// `_`
    True,
    /// `!`
    Not(Box<Cond>),
    /// `&&`
    All(Vec<Cond>),
    /// `||`
    Any(Vec<Cond>),
    /// A field against a constant.
    Cmp {
        /// The field.
        field: Field,
        /// How; the constant is on the right.
        op: CmpOp,
        /// Swapped sides: `constant op field`.
        swapped: bool,
        /// The constant.
        value: u64,
    },
    /// `lo <= field < hi`, unsigned.
    Range {
        /// The field.
        field: Field,
        /// Inclusive.
        lo: u64,
        /// Exclusive.
        hi: u64,
    },
    /// `field & mask == value`
    Masked {
        /// The field.
        field: Field,
        /// Bits that count.
        mask: u64,
        /// What they must be.
        value: u64,
    },
    /// `table.has(k)` with a key of fields.
    Has {
        /// The table.
        table: ObjectId,
        /// One a key part.
        key: Vec<KeyField>,
    },
    /// Anything else: a function without parameters that reads the request and gives an `i1`. It may trap.
    Eval(Box<Func>),
}

/// A part of a key that comes from the packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyField {
    /// An integer.
    Field(Field),
    /// A constant integer.
    Const(u64),
    /// So many whole bytes of the request from a byte offset.
    Bytes {
        /// First byte.
        offset: u32,
        /// How many.
        len: u32,
    },
}

/// An integer that the match stage reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// Bits of the request, big-endian; inside [`Match::min_len`].
    Bits {
        /// First bit; bit 0 is the highest of byte 0.
        bit: u32,
        /// 1 to 64.
        width: u8,
    },
    /// A fact about the packet.
    Pkt(PktField),
    /// `i32`: bytes of the request from `offset` on, at most `max`.
    Rest {
        /// Bytes before it.
        offset: u32,
        /// The most it can be.
        max: u32,
    },
}

impl Field {
    /// Width in bits.
    pub fn width(self) -> u8 {
        match self {
            Self::Bits { width, .. } => width,
            Self::Pkt(field) => field.width(),
            Self::Rest { .. } => 32,
        }
    }
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

    /// Width in bits.
    pub fn width(self) -> u8 {
        match self {
            Self::SrcIp => 32,
            Self::SrcPort | Self::DstPort | Self::Port => 16,
            Self::RequestId => 64,
        }
    }
}
