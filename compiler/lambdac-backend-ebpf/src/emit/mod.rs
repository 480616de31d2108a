//! MIR to [`Vcode`].
//!
//! - A **unit** is one eBPF function: a program, or the body of a loop that `bpf_loop` runs. MIR functions are emitted
//!   into their callers' units: the verifier walks a static function once a call anyway.
//! - A **value** is a register of the unit that defines it ([`Val`]). A unit inside another one captures what it uses:
//!   the outer unit stores it to a **home** in the invocation's memory before the loop, the inner one loads it.
//! - **Leaving** a unit for a target outside of it (a break, a return, a reply, a trap) stores what goes along to homes
//!   and a code that says which way, and stops the loop; the outer unit goes on from there ([`leave`]).
//! - **Memory** of an invocation is one value of the `scratch` map: homes, then slots, overlaid along calls. Places are
//!   kept as (what, constant offset, run-time offset) until they are accessed; only there a pointer is made, from a base
//!   and an offset that is compared with its bound just before ([`memory`]): all that the verifier must see.
//! - **The packet** stays as it is until the reply. Constant offsets below the request's least length are checked once,
//!   all others at their access.
//! - A comparison that is only branched on becomes the branch.
//! - A lambda that **waits** is several parts; the ones after an answer start in a program of their own ([`parts`]).

mod answer;
mod bits;
mod calls;
mod control;
mod keyed;
mod leave;
mod loops;
mod memory;
mod message;
mod op;
mod parts;
mod program;
mod resume;
mod scalar;
mod state;
mod table;
mod value;
mod wait;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use lambdac_mir::{Body, FuncParam, Label, LambdaId, Loc, Module, PartId, Shape};

use crate::asm::Function;
use crate::layout;
use crate::regalloc;
use crate::vcode::{Mark, V, Vcode};
use crate::wait::Slots;
pub(crate) use parts::{Site, sites};
pub(crate) use program::{Entry, program};
pub(crate) use value::Val;

/// Bytes of a home.
const HOME: u32 = 8;
/// Bytes of stack that a program keeps for itself: what callbacks find (context and memory), a map's key.
const PROGRAM_STACK: u16 = 24;
/// Where callbacks find the context, relative to the frame pointer.
const STACK_ENV: i16 = -16;
/// And the memory.
const STACK_SCRATCH: i16 = -8;
/// A map's key.
const STACK_KEY: i16 = -24;
/// Stack of `finish` and what it calls, and of the kernel's callbacks, which our call chain must leave.
const STACK_LEFT: u32 = 96;
/// Stack of a whole call chain (MAX_BPF_STACK of Linux include/linux/filter.h).
const STACK: u32 = 512;

/// Why a workload has no code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Registers(#[from] regalloc::Error),
    #[error("more than {0} values cross into loops")]
    Homes(u32),
    #[error("{0}")]
    Invalid(&'static str),
}

/// What the emitter needs to know of a workload.
pub(crate) struct Shared<'m> {
    pub(crate) module: &'m Module,
    /// Place in the image.
    pub(crate) position: u32,
    /// Number that requests carry.
    pub(crate) id: u32,
    /// Which lambdas run here.
    pub(crate) native: &'m [bool],
    /// Whether clock and dice come from the test section.
    pub(crate) test: bool,
    /// Index of the module's first file among the object's.
    pub(crate) first_file: u32,
    /// Offsets of constants.
    pub(crate) consts: Vec<u32>,
    /// Offsets of parameters.
    pub(crate) params: Vec<u32>,
    /// Trips of loops, nested ones multiplied, up to which a loop stays one.
    pub(crate) inline_trips: u64,
    /// Whether `scratch` is an array by processor, as it must be where it is large; else it is per CPU by itself.
    pub(crate) by_cpu: bool,
    /// Where lambdas wait: entries of the continuation program.
    pub(crate) sites: Vec<Site>,
    /// Slots of the image, if anything waits.
    pub(crate) slots: Option<Slots>,
}

/// A program and the callbacks that it needs.
pub(crate) struct Emitted {
    pub(crate) program: Function,
    pub(crate) callbacks: Vec<Function>,
    /// Bytes of `scratch` that it uses.
    pub(crate) scratch: u32,
}

/// A piece of memory, before an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mem {
    /// Bytes of the invocation's memory.
    Slot {
        at: u32,
        size: u32,
    },
    /// A data section.
    Object(u32),
    Const(u32),
    Param(u32),
    Request,
}

/// A byte in memory.
#[derive(Clone, Debug)]
struct Ref {
    mem: Mem,
    off: u32,
    /// Added to `off` at run time.
    index: Option<Val>,
}

/// A resolved place: its first byte, its shape, and for a view its length.
#[derive(Clone, Debug)]
struct Spot<'m> {
    at: Ref,
    shape: &'m Shape,
    len: Option<Val>,
}

/// A resolved view.
#[derive(Clone, Debug)]
struct Bytes {
    at: Ref,
    len: Val,
    /// The most that `len` can be.
    max: u32,
}

/// Where a break, continue or return goes.
#[derive(Clone, Debug)]
enum Target {
    /// Values to registers, then to a mark of the unit.
    Join { level: usize, mark: Mark, regs: Rc<[V]> },
    /// Values to homes, then back to `bpf_loop`: on with the next trip, or the end.
    Trip {
        level: usize,
        homes: Rc<[u32]>,
        again: bool,
    },
}

/// A function or lambda that is being emitted.
struct Instance<'m> {
    body: &'m Body,
    params: &'m [FuncParam],
    values: Vec<Option<Val>>,
    slots: Vec<Mem>,
    args: Vec<Option<Spot<'m>>>,
    breaks: HashMap<Label, Target>,
    continues: HashMap<Label, Target>,
    result: Option<Target>,
    /// Values that are only branched on.
    branched: Vec<bool>,
}

/// What is one a unit.
struct Unit {
    code: Vcode,
    /// The context, where it is in a register.
    ctx: Option<V>,
    /// The base of the invocation's memory, where it is in a register.
    scratch: Option<V>,
    /// Start and end of the packet.
    packet: Option<(V, V)>,
    /// Payload bytes from the start that were found to be there.
    checked: u32,
    /// Where code that loads what the unit starts with goes.
    entry: usize,
    /// What callbacks get, in a callback.
    env: Option<V>,
    /// Whether callbacks need the stack's copy of context and memory.
    shares: bool,
    /// Trap sites by what they say.
    traps: BTreeMap<u64, Mark>,
    /// Homes that outer units must fill before this one runs.
    captures: Vec<(usize, V, u32)>,
    /// Ways out of a callback, by code from `FIRST_WAY` on.
    ways: Vec<leave::Leave>,
    /// Home of the code.
    code_home: u32,
    /// Whether a callback under this unit traps.
    traps_inside: bool,
}

/// Where replies go.
#[derive(Clone, Debug)]
enum Sink {
    /// To the caller.
    Packet,
    /// Appended to the replies of earlier chunks, then on with the next chunk.
    Stream {
        level: usize,
        buffer: Mem,
        /// Home of the bytes in it.
        filled: u32,
    },
}

/// The emitter of one program.
pub(crate) struct Emitter<'m> {
    shared: &'m Shared<'m>,
    name: String,
    unit: Unit,
    outer: Vec<Unit>,
    instances: Vec<Instance<'m>>,
    callbacks: Vec<Vcode>,
    homes: HashMap<(usize, V), u32>,
    next_home: u32,
    max_homes: u32,
    cursor: u32,
    top: u32,
    trips: u64,
    /// The request: bytes before it in the payload at run time, and its length.
    chunk: Option<Val>,
    len: Val,
    len_max: u32,
    lambda: Option<LambdaId>,
    now: Option<Val>,
    /// Entrances of the lambda's parts.
    parts: BTreeMap<PartId, parts::Entrance>,
    /// The interface that the request came in by, where the packet is not the request's own.
    ingress: Option<Val>,
    /// The request's payload, where the packet does not hold it.
    kept: Option<Mem>,
    /// Whether a trap, which can't be, just drops the packet.
    quiet: bool,
    sink: Sink,
    loc: Loc,
    trap_info: Option<V>,
    trap_mark: Option<Mark>,
    trap_home: u32,
    depth: u32,
    /// Callbacks so far, for their names.
    started: u32,
    /// Every unit keeps the memory's address at hand, for values that the stack has no room for.
    deep: bool,
    error: Option<Error>,
}

impl Unit {
    fn new(name: String) -> Self {
        Self {
            code: Vcode::new(name),
            ctx: None,
            scratch: None,
            packet: None,
            checked: 0,
            entry: 0,
            env: None,
            shares: false,
            traps: BTreeMap::new(),
            captures: Vec::new(),
            ways: Vec::new(),
            code_home: 0,
            traps_inside: false,
        }
    }
}

impl<'m> Emitter<'m> {
    /// Homes lie from `first_home` on, before the slots.
    fn new(shared: &'m Shared<'m>, name: String, first_home: u32, homes: u32) -> Self {
        let mut unit = Unit::new(name.clone());
        unit.code.reserved = PROGRAM_STACK;
        let max_homes = first_home / HOME + homes;
        let frame = max_homes * HOME;
        Self {
            shared,
            name,
            unit,
            outer: Vec::new(),
            instances: Vec::new(),
            callbacks: Vec::new(),
            homes: HashMap::new(),
            next_home: first_home,
            max_homes,
            cursor: frame,
            top: frame,
            trips: 1,
            chunk: None,
            len: Val::Imm(0),
            len_max: 0,
            lambda: None,
            now: None,
            parts: BTreeMap::new(),
            ingress: None,
            kept: None,
            quiet: false,
            sink: Sink::Packet,
            loc: Loc::default(),
            trap_info: None,
            trap_mark: None,
            trap_home: 0,
            depth: 1,
            started: 0,
            deep: false,
            error: None,
        }
    }

    fn level(&self) -> usize {
        self.outer.len()
    }

    fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    fn invalid(&mut self, what: &'static str) {
        self.fail(Error::Invalid(what));
    }

    fn instance(&self) -> &Instance<'m> {
        self.instances.last().expect("code is emitted for an instance")
    }

    fn instance_mut(&mut self) -> &mut Instance<'m> {
        self.instances
            .last_mut()
            .expect("code is emitted for an instance")
    }

    /// A new home.
    fn home(&mut self) -> u32 {
        let home = self.next_home;
        if home + HOME > self.max_homes * HOME {
            self.fail(Error::Homes(self.max_homes));
            return HOME;
        }
        self.next_home += HOME;
        home
    }

    /// Memory until [`Self::release`].
    fn memory(&mut self, size: u32) -> Mem {
        let at = self.cursor;
        self.cursor = at.saturating_add(size.saturating_add(7) & !7);
        self.top = self.top.max(self.cursor);
        Mem::Slot { at, size }
    }

    fn release(&mut self, cursor: u32) {
        self.cursor = cursor;
    }

    /// Registers for all units; the program comes last.
    fn finish(mut self) -> Result<Emitted, Error> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let left = STACK - STACK_LEFT;
        // Where the stack was too small for all, each unit has its share, and memory beside it.
        let share = if self.deep {
            (left / self.depth) & !(STACK_STEP - 1)
        } else {
            left
        };
        let mut callbacks = Vec::new();
        let mut below = 0;
        for code in &self.callbacks {
            let memory = self.deep.then_some(self.top.next_multiple_of(8));
            let (function, used) = regalloc::allocate(code, share, memory)?;
            below = below.max(round_stack(used.stack));
            self.top = memory.map_or(self.top, |at| at + used.memory);
            callbacks.push(function);
        }
        // The longest chain is at most as deep as callbacks nest, each with the largest frame.
        let chain = below * (self.depth - 1);
        let memory = self.deep.then_some(self.top.next_multiple_of(8));
        let (program, used) = regalloc::allocate(&self.unit.code, left.saturating_sub(chain), memory)?;
        self.top = memory.map_or(self.top, |at| at + used.memory);
        debug_assert!(used.stack <= left);
        Ok(Emitted {
            program,
            callbacks,
            scratch: self.top,
        })
    }
}

/// The verifier counts a frame in steps of so many bytes (check_max_stack_depth of Linux kernel/bpf/verifier.c).
const STACK_STEP: u32 = 32;

fn round_stack(bytes: u32) -> u32 {
    bytes.max(1).next_multiple_of(STACK_STEP)
}

/// Emits with as few homes as do, and with values in memory only where the stack is too small.
fn with_homes<'m>(emit: impl Fn(u32, bool) -> Result<Emitted, Error> + 'm) -> Result<Emitted, Error> {
    let (mut homes, mut deep) = (32, false);
    loop {
        match emit(homes, deep) {
            Err(Error::Homes(had)) if had < 16_384 => homes = had * 8,
            Err(Error::Registers(regalloc::Error::Stack(..))) if !deep => deep = true,
            result => return result,
        }
    }
}

/// The section that holds an object.
fn section(module: &Module, object: u32) -> Option<String> {
    match layout::storage(&module.name, module.objects.get(object as usize)?) {
        layout::Storage::Section(name) => Some(name),
        layout::Storage::Map(_) => None,
    }
}
