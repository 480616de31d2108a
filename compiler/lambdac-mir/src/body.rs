//! Bodies: values, slots, regions, statements.

use std::sync::Arc;

use crate::module::ids;
use crate::{ConstId, FuncId, LambdaId, ObjectId, ParamId, PktField, ServiceId, Shape};

ids! {
    /// An SSA scalar of a body.
    Value = "v";
    /// An aggregate of a body.
    SlotId = "s";
    /// A label of an enclosing block or loop; unique in its body.
    Label = "b";
    /// Index into [`crate::Lambda::parts`].
    PartId = "part";
}

/// Values and slots of a function or of all parts of a lambda.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub struct Body {
    /// Width in bits of each [`Value`].
    pub values: Vec<u8>,
    /// Each [`SlotId`].
    pub slots: Vec<Slot>,
    /// How many [`Label`]s were given out.
    pub labels: u32,
}

impl Body {
    /// A new value of a width.
    pub fn value(&mut self, width: u8) -> Value {
        self.values.push(width);
        Value(self.values.len() as u32 - 1)
    }

    /// A new slot.
    pub fn slot(&mut self, name: impl Into<Arc<str>>, shape: Shape) -> SlotId {
        self.slots.push(Slot {
            name: name.into(),
            shape,
            storage: Storage::Frame,
        });
        SlotId(self.slots.len() as u32 - 1)
    }

    /// A new label.
    pub fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    /// A value's width in bits.
    pub fn width(&self, value: Value) -> u8 {
        self.values[value.index()]
    }
}

/// An aggregate of a body. Its contents are undefined until it is written ([`Op::Zero`] included).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The variable's name, for reading.
    pub name: Arc<str>,
    /// Its structure; never [`Shape::View`].
    pub shape: Shape,
    /// Where it lies.
    pub storage: Storage,
}

/// Where a slot lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// In the invocation's own memory.
    Frame,
    /// A `bytes<n>` or `[i8 x n]` slot whose bytes are the reply buffer itself. At most one slot of a lambda, and each reply of
    /// the lambda either replies with exactly this slot or does not read it.
    ReplyBuffer,
}

/// Source position of a statement: a file of [`crate::Module::files`] and a line from 1; line 0 is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Loc {
    /// Index into [`crate::Module::files`].
    pub file: u16,
    /// Line, from 1.
    pub line: u32,
}

/// Statements and how control leaves.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Region {
    /// In order.
    pub stmts: Vec<Stmt>,
    /// The end.
    pub term: Term,
}

/// An operation and the values that it defines.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Stmt {
    /// The values, none to many.
    pub results: Vec<Value>,
    /// What is done.
    pub op: Op,
    /// Where from.
    pub loc: Loc,
}

/// Something in memory: a base and steps into it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Where it starts.
    pub base: Base,
    /// Steps into it.
    pub path: Vec<Step>,
}

impl Place {
    /// A base without steps.
    pub fn of(base: Base) -> Self {
        Self {
            base,
            path: Vec::new(),
        }
    }

    /// With one more step.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }
}

/// Start of a [`Place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// A slot of this body.
    Slot(SlotId),
    /// A reference or view parameter of this function, by number.
    Arg(u32),
    /// An object of kind value.
    Object(ObjectId),
    /// Read-only data.
    Const(ConstId),
    /// A deploy-time parameter; read-only.
    Param(ParamId),
    /// The request: read-only bytes of the message's length.
    Request,
}

/// A step into a [`Place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A field of a struct.
    Field(u32),
    /// An element of an array, a byte of a byte string (any width; in bounds).
    Index(Value),
}

/// `len` bytes from `offset` of a place whose shape is bytes, an array of `i8`, or a view. Both are `i32` and in bounds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// The whole.
    pub place: Place,
    /// First byte.
    pub offset: Value,
    /// How many.
    pub len: Value,
}

/// A bit field's position: `bit + index * stride`, bit 0 is the highest of byte 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BitPos {
    /// The constant part.
    pub bit: u32,
    /// An index and the bits from one element to the next.
    pub index: Option<(Value, u32)>,
}

/// Something passed to a call or an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A scalar.
    Value(Value),
    /// An aggregate.
    Place(Place),
    /// A byte string.
    View(View),
}

/// An argument of a log line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogArg {
    /// Printed in decimal.
    Unsigned(Value),
    /// Printed in decimal, two's complement.
    Signed(Value),
    /// `true` or `false`.
    Bool(Value),
    /// Printed as text with escapes.
    Bytes(View),
}

/// Binary operations; both operands and the result have one width, except a shift's right side, which may have any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // LLVM's names
pub enum BinOp {
    Add,
    Sub,
    Mul,
    /// By 0 gives 0.
    UDiv,
    /// By 0 gives 0; MIN / -1 is MIN.
    SDiv,
    /// By 0 gives the dividend.
    URem,
    /// By 0 gives the dividend; MIN % -1 is 0.
    SRem,
    And,
    Or,
    Xor,
    /// By the width or more gives 0.
    Shl,
    /// By the width or more gives 0.
    LShr,
    /// By the width or more gives the sign fill.
    AShr,
    UMin,
    UMax,
    SMin,
    SMax,
}

/// Comparisons: operands of one width, the result an `i1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // LLVM's names
pub enum CmpOp {
    Eq,
    Ne,
    Ult,
    Ule,
    Slt,
    Sle,
}

/// Width changes; the result's width says to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // LLVM's names
pub enum CastOp {
    ZExt,
    SExt,
    Trunc,
}

/// Atomic read-modify-writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // LLVM's names
pub enum RmwOp {
    Add,
    Sub,
    Swap,
}

/// Checksums over bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashOp {
    /// CRC-32 (check value 0xcbf43926), gives an `i32`.
    Crc32,
    /// CRC-16/ARC (check value 0xbb3d), gives an `i16`.
    Crc16,
}

/// Why an invocation trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrapCause {
    /// An index at or past the length.
    Index,
    /// A slice outside the length, or with its ends reversed.
    Slice,
    /// `push` or `append` past the capacity.
    Capacity,
    /// `as bytes<n>` of a longer value.
    Narrow,
    /// `pad` of a longer value.
    Pad,
    /// A loop past its `max`.
    LoopMax,
}

impl TrapCause {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Index,
        Self::Slice,
        Self::Capacity,
        Self::Narrow,
        Self::Pad,
        Self::LoopMax,
    ];

    /// Its name in text, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Slice => "slice",
            Self::Capacity => "capacity",
            Self::Narrow => "narrow",
            Self::Pad => "pad",
            Self::LoopMax => "loop-max",
        }
    }
}

/// Operations of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // memcached's commands
pub enum ServiceOp {
    Get,
    Set,
    Delete,
}

/// A request to a service.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct ServiceCall {
    /// The service.
    pub service: ServiceId,
    /// The operation.
    pub op: ServiceOp,
    /// The key.
    pub key: View,
    /// The value, for `set`.
    pub value: Option<View>,
    /// Where the answer to `get` goes: a `bytes<n>` slot; a longer value has failed.
    pub dst: Option<SlotId>,
}

/// What a statement does. `→` says what it defines.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Op {
    /// → the constant
    Const(u64),
    /// → `a op b`
    Bin(BinOp, Value, Value),
    /// → `i1`
    Cmp(CmpOp, Value, Value),
    /// → the value at another width
    Cast(CastOp, Value),
    /// → `if c { a } else { b }`, both already there
    Select(Value, Value, Value),
    /// → the scalar at a place
    Load(Place),
    /// Writes a scalar.
    Store(Place, Value),
    /// Fills a place with zeros (bytes: length 0).
    Zero(Place),
    /// `dst = src`, whole aggregates of one shape, or bytes into bytes of a capacity that suffices. They may not overlap.
    Copy {
        /// To.
        dst: Place,
        /// From.
        src: Place,
    },
    /// → `i32`: current length of a byte string (bytes, view, request)
    Len(Place),
    /// Sets the length of a `bytes<n>`; the bytes below it must have been written. At most n.
    SetLen(Place, Value),
    /// Copies bytes into a `bytes<n>` or an array of `i8` at `offset` (`i32`); never changes a length. In bounds; `src` may overlap `dst` only where they are the same bytes.
    CopyBytes {
        /// To.
        dst: Place,
        /// First byte in `dst`.
        offset: Value,
        /// From.
        src: View,
    },
    /// → `i1`: same length and bytes
    EqBytes(View, View),
    /// → a big-endian bit field of bytes (bytes, view, array of `i8`, request)
    LoadBits(Place, BitPos),
    /// Writes a big-endian bit field of a `bytes<n>` slot or array of `i8`; other bits stay.
    StoreBits(Place, BitPos, Value),
    /// → `i32` or `i16`
    Hash(HashOp, View),
    /// → `i64` nanoseconds
    Now,
    /// → `i32`
    Random,
    /// → the field
    Pkt(PktField),
    /// Traps unless the `i1` holds.
    Check(Value, TrapCause),
    /// → the old value of an integer of an object, atomically replaced
    AtomicRmw(RmwOp, Place, Value),
    /// → `i1`: whether it held `old` and now holds `new`
    AtomicCas {
        /// The integer.
        place: Place,
        /// What it must hold.
        old: Value,
        /// What it then holds.
        new: Value,
    },
    /// Adds an `i64` to a counter; the index (`i32`, in bounds) where it is an array.
    CounterAdd(ObjectId, Option<Value>, Value),
    /// → `i64`
    CounterRead(ObjectId, Option<Value>),
    /// → `i1` found, and then the value where V is a scalar (0 where not found). Else it goes to `dst` (untouched where not found).
    MapGet {
        /// An lru or map.
        object: ObjectId,
        /// One a key part; byte parts are views of exactly their length.
        key: Vec<Operand>,
        /// Where an aggregate value goes.
        dst: Option<Place>,
    },
    /// → `i1`: stored (an lru always stores)
    MapPut {
        /// An lru or map.
        object: ObjectId,
        /// As in `MapGet`.
        key: Vec<Operand>,
        /// A scalar, a place, or for bytes a view.
        value: Operand,
    },
    /// → `i1`: was there
    MapRemove {
        /// An lru or map.
        object: ObjectId,
        /// As in `MapGet`.
        key: Vec<Operand>,
    },
    /// → `i1` whether the key was there, and the old value (0 where not)
    MapFetchAdd {
        /// An lru or map.
        object: ObjectId,
        /// As in `MapGet`.
        key: Vec<Operand>,
        /// What is added.
        value: Value,
    },
    /// → as `MapGet`
    TableGet {
        /// A table.
        object: ObjectId,
        /// As in `MapGet`.
        key: Vec<Operand>,
        /// Where an aggregate value goes.
        dst: Option<Place>,
    },
    /// → `i1`
    TableHas {
        /// A table.
        object: ObjectId,
        /// As in `MapGet`.
        key: Vec<Operand>,
    },
    /// A line for the worker's log.
    Log(Arc<[u8]>, Vec<LogArg>),
    /// → the function's results
    Call(FuncId, Vec<Operand>),
    /// → `i1` ok, `i1` failed. Only before the await split; not inside a loop, block or function.
    Await(ServiceCall),
    /// → what the taken region yields
    If(Value, Region, Region),
    /// → what the taken region yields
    Switch {
        /// What is looked at.
        on: Value,
        /// Half-open ranges of raw unsigned bits (the end `None`: up to the top), disjoint within the switch, and their region.
        arms: Vec<(Vec<SwitchRange>, Region)>,
        /// Everything else.
        default: Region,
    },
    /// → what a `break` of its label carries; its region leaves only that way (or further out).
    Block(Label, Region),
    /// → what a `break` of its label carries, or for the normal end the parameters' last values
    Loop(Box<Loop>),
}

/// A half-open range of raw unsigned bits; the end `None` is past the largest.
pub type SwitchRange = (u64, Option<u64>);

/// A bounded loop.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Loop {
    /// Its label: `break` and `continue` name it.
    pub label: Label,
    /// What it carries from trip to trip, with what the first trip gets. The results have the same widths.
    pub params: Vec<(Value, Value)>,
    /// When there is another trip.
    pub kind: LoopKind,
    /// The most trips.
    pub max: u64,
    /// Whether a trip past `max` can happen, and then traps; `false` after it is proved not to.
    pub checked: bool,
    /// A trip; ends in `continue` with the next parameters, or leaves.
    pub body: Region,
}

/// When a loop has another trip.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum LoopKind {
    /// Counts `var` from `from` up to but not including `to`; unsigned or signed.
    For {
        /// Defined for the body.
        var: Value,
        /// First.
        from: Value,
        /// End.
        to: Value,
        /// Signed comparison.
        signed: bool,
    },
    /// While the region, which sees the parameters, yields true.
    While(Region),
}

/// How control leaves a region.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Term {
    /// To the end of the enclosing `if`, `switch` or `while` condition, with its results.
    Yield(Vec<Value>),
    /// To the end of an enclosing block or loop.
    Break(Label, Vec<Value>),
    /// To the next trip of an enclosing loop.
    Continue(Label, Vec<Value>),
    /// Out of a function.
    Return(Vec<Value>),
    /// Ends the invocation with a reply.
    Reply(View),
    /// Ends it without one.
    Drop,
    /// Hands the request to the fallback, or to a lambda.
    Punt(Option<LambdaId>),
    /// Ends it with status TRAP.
    Trap(TrapCause, Loc),
    /// Waits for a service, then enters the part with `ok`, `failed` and the arguments.
    Await {
        /// What is asked.
        call: Box<ServiceCall>,
        /// Where it goes on.
        part: PartId,
        /// Saved values.
        args: Vec<Value>,
    },
    /// Goes on in another part at once.
    Become {
        /// The part.
        part: PartId,
        /// Its parameters.
        args: Vec<Value>,
    },
}
