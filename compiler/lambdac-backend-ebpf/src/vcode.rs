//! Code over virtual registers: what the emitter writes and [`crate::regalloc`] turns into instructions.
//!
//! A [`Vcode`] is one eBPF function. Its virtual registers are unlimited and may be written more than once (results of
//! branches, values that loops carry). Instructions are those of [`crate::insn`], except that a call takes its
//! arguments in any registers, and that places on the stack are named by their offset from the frame pointer.

use std::collections::BTreeSet;

use crate::asm::{ParamType, SourceLine};
use crate::insn::{AluOp, Bits, Cond, Helper, Imm64, Size};

/// A virtual register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct V(pub(crate) u32);

/// A label of a [`Vcode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Mark(pub(crate) u32);

/// A register or a small constant, which is sign-extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    Reg(V),
    Imm(i32),
}

impl From<V> for Operand {
    fn from(reg: V) -> Self {
        Self::Reg(reg)
    }
}

impl From<i32> for Operand {
    fn from(imm: i32) -> Self {
        Self::Imm(imm)
    }
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Arg {
    Reg(V),
    Imm(i32),
    Wide(Imm64),
    /// The frame pointer plus this.
    Stack(i16),
}

/// What is called.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Callee {
    Helper(Helper),
    Func(String),
}

/// Where a memory access starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    Reg(V),
    /// The frame pointer.
    Stack,
}

/// An instruction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Inst {
    Mov {
        bits: Bits,
        dst: V,
        src: Operand,
    },
    LdImm64 {
        dst: V,
        value: Imm64,
    },
    Alu {
        op: AluOp,
        bits: Bits,
        dst: V,
        src: Operand,
    },
    Neg {
        bits: Bits,
        dst: V,
    },
    /// Between the machine's order and big-endian.
    Swap {
        size: Size,
        dst: V,
    },
    Load {
        size: Size,
        dst: V,
        base: Base,
        off: i16,
    },
    Store {
        size: Size,
        base: Base,
        off: i16,
        src: Operand,
    },
    /// `src` gets the old value.
    FetchAdd {
        bits: Bits,
        base: V,
        off: i16,
        src: V,
    },
    /// Adds without giving the old value.
    AtomicAdd {
        bits: Bits,
        base: V,
        off: i16,
        src: V,
    },
    /// `src` gets the old value.
    Exchange {
        bits: Bits,
        base: V,
        off: i16,
        src: V,
    },
    /// `dst` gets the old value. Takes the argument registers as a call does.
    CompareExchange {
        bits: Bits,
        base: V,
        off: i16,
        expected: V,
        new: V,
        dst: V,
    },
    Branch {
        cond: Cond,
        bits: Bits,
        a: V,
        b: Operand,
        to: Mark,
    },
    Jump(Mark),
    Bind(Mark),
    Call {
        callee: Callee,
        args: Vec<Arg>,
        result: Option<V>,
    },
    /// Returns from the function.
    Exit(Operand),
    Line(SourceLine),
}

/// A function under construction.
#[derive(Clone, Debug)]
pub(crate) struct Vcode {
    pub(crate) name: String,
    /// Registers that the parameters arrive in, and what they are.
    pub(crate) params: Vec<(V, &'static str, ParamType)>,
    pub(crate) insts: Vec<Inst>,
    /// Bytes just below the frame pointer that the emitter uses itself.
    pub(crate) reserved: u16,
    regs: u32,
    marks: u32,
    /// Registers that hold values of the program: numbers of which the verifier has to know nothing.
    loose: BTreeSet<V>,
    /// Registers that count trips, which the verifier has to follow.
    pinned: BTreeSet<V>,
}

impl Vcode {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            params: Vec::new(),
            insts: Vec::new(),
            reserved: 0,
            regs: 0,
            marks: 0,
            loose: BTreeSet::new(),
            pinned: BTreeSet::new(),
        }
    }

    /// Says that a register may lie in the invocation's memory, where the verifier forgets what it knows of it.
    pub(crate) fn loosen(&mut self, reg: V) {
        self.loose.insert(reg);
    }

    /// Says that it may not, whatever else is said.
    pub(crate) fn pin(&mut self, reg: V) {
        self.pinned.insert(reg);
    }

    /// Whether a register may lie in the invocation's memory.
    pub(crate) fn is_loose(&self, reg: V) -> bool {
        let arrives = self.params.iter().any(|(param, ..)| *param == reg);
        self.loose.contains(&reg) && !self.pinned.contains(&reg) && !arrives
    }

    pub(crate) fn reg(&mut self) -> V {
        self.regs += 1;
        V(self.regs - 1)
    }

    pub(crate) fn regs(&self) -> usize {
        self.regs as usize
    }

    pub(crate) fn mark(&mut self) -> Mark {
        self.marks += 1;
        Mark(self.marks - 1)
    }

    pub(crate) fn marks(&self) -> usize {
        self.marks as usize
    }

    pub(crate) fn push(&mut self, inst: Inst) {
        self.insts.push(inst);
    }
}

impl Inst {
    /// Calls `f` for each register that is read.
    pub(crate) fn for_each_use(&self, mut f: impl FnMut(V)) {
        let mut operand = |operand: &Operand| {
            if let Operand::Reg(reg) = operand {
                f(*reg);
            }
        };
        match self {
            Self::Mov { src, .. } | Self::Exit(src) => operand(src),
            Self::Alu { dst, src, .. } => {
                operand(src);
                f(*dst);
            }
            Self::Neg { dst, .. } | Self::Swap { dst, .. } => f(*dst),
            Self::Load { base, .. } => {
                if let Base::Reg(base) = base {
                    f(*base);
                }
            }
            Self::Store { base, src, .. } => {
                operand(src);
                if let Base::Reg(base) = base {
                    f(*base);
                }
            }
            Self::FetchAdd { base, src, .. }
            | Self::AtomicAdd { base, src, .. }
            | Self::Exchange { base, src, .. } => {
                f(*base);
                f(*src);
            }
            Self::CompareExchange {
                base, expected, new, ..
            } => {
                f(*base);
                f(*expected);
                f(*new);
            }
            Self::Branch { a, b, .. } => {
                operand(b);
                f(*a);
            }
            Self::Call { args, .. } => {
                for arg in args {
                    if let Arg::Reg(reg) = arg {
                        f(*reg);
                    }
                }
            }
            Self::LdImm64 { .. } | Self::Jump(_) | Self::Bind(_) | Self::Line(_) => {}
        }
    }

    /// The register that is written.
    pub(crate) fn def(&self) -> Option<V> {
        match self {
            Self::Mov { dst, .. }
            | Self::LdImm64 { dst, .. }
            | Self::Alu { dst, .. }
            | Self::Neg { dst, .. }
            | Self::Swap { dst, .. }
            | Self::Load { dst, .. }
            | Self::FetchAdd { src: dst, .. }
            | Self::Exchange { src: dst, .. }
            | Self::CompareExchange { dst, .. } => Some(*dst),
            Self::Call { result, .. } => *result,
            Self::Store { .. }
            | Self::AtomicAdd { .. }
            | Self::Branch { .. }
            | Self::Jump(_)
            | Self::Bind(_)
            | Self::Exit(_)
            | Self::Line(_) => None,
        }
    }

    /// Whether the registers of arguments are lost.
    pub(crate) fn is_call(&self) -> bool {
        matches!(self, Self::Call { .. } | Self::CompareExchange { .. })
    }
}
