//! The instruction set: registers and instructions.
//!
//! An [`Insn`] names what it refers to (a label, a map, a section, a function) instead of holding a number; [`crate::asm`]
//! turns names into offsets and relocations. Opcodes are those of RFC 9669 (BPF Instruction Set Architecture); helper
//! ids are those of Linux include/uapi/linux/bpf.h.
//!
//! Instructions marked "cpu v4" need Linux 6.6.

use std::fmt;

/// A machine register. `R0` holds results, `R1` to `R5` arguments (lost at a call), `R6` to `R9` survive calls, and
/// `R10` is the read-only frame pointer (the stack is the 512 bytes below it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)] // The names say it all.
pub enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

impl Reg {
    /// Every register, by number.
    pub const ALL: [Reg; 11] = [
        Reg::R0,
        Reg::R1,
        Reg::R2,
        Reg::R3,
        Reg::R4,
        Reg::R5,
        Reg::R6,
        Reg::R7,
        Reg::R8,
        Reg::R9,
        Reg::R10,
    ];

    /// The registers of the first five arguments.
    pub const ARGS: [Reg; 5] = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5];

    /// Its number.
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.number())
    }
}

/// Width of an operation. A 32-bit operation clears the upper half of its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bits {
    /// The lower halves of registers.
    B32,
    /// Whole registers.
    B64,
}

/// Width of a memory access or of the part of a register that is extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Size {
    /// One byte.
    B,
    /// Two bytes.
    H,
    /// Four bytes.
    W,
    /// Eight bytes.
    D,
}

impl Size {
    /// Bytes.
    pub fn bytes(self) -> u32 {
        match self {
            Size::B => 1,
            Size::H => 2,
            Size::W => 4,
            Size::D => 8,
        }
    }

    /// The size of so many bytes: 1, 2, 4 or 8.
    pub fn of_bytes(bytes: u32) -> Option<Size> {
        match bytes {
            1 => Some(Size::B),
            2 => Some(Size::H),
            4 => Some(Size::W),
            8 => Some(Size::D),
            _ => None,
        }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Size::W => 0x00,
            Size::H => 0x08,
            Size::B => 0x10,
            Size::D => 0x18,
        }
    }
}

/// Second operand: a register, or a constant that is sign-extended to the operation's width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Src {
    /// A register.
    Reg(Reg),
    /// A constant.
    Imm(i32),
}

impl From<Reg> for Src {
    fn from(reg: Reg) -> Src {
        Src::Reg(reg)
    }
}

impl From<i32> for Src {
    fn from(imm: i32) -> Src {
        Src::Imm(imm)
    }
}

/// Arithmetic with two operands: `dst = dst op src`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AluOp {
    /// Sum, modulo the width.
    Add,
    /// Difference.
    Sub,
    /// Product.
    Mul,
    /// Unsigned quotient; 0 when the divisor is 0.
    Div,
    /// Signed quotient, rounded towards 0 (cpu v4); 0 when the divisor is 0.
    SDiv,
    /// Unsigned remainder; `dst` when the divisor is 0.
    Mod,
    /// Signed remainder (cpu v4); `dst` when the divisor is 0.
    SMod,
    /// Bitwise or.
    Or,
    /// Bitwise and.
    And,
    /// Bitwise exclusive or.
    Xor,
    /// Shift left; only the low 5 or 6 bits of a register count. A constant must be below the width.
    Lsh,
    /// Logical shift right.
    Rsh,
    /// Arithmetic shift right.
    Arsh,
}

impl AluOp {
    /// Opcode bits and the offset field that makes the signed forms.
    pub(crate) fn code(self) -> (u8, i16) {
        match self {
            AluOp::Add => (0x00, 0),
            AluOp::Sub => (0x10, 0),
            AluOp::Mul => (0x20, 0),
            AluOp::Div => (0x30, 0),
            AluOp::SDiv => (0x30, 1),
            AluOp::Or => (0x40, 0),
            AluOp::And => (0x50, 0),
            AluOp::Lsh => (0x60, 0),
            AluOp::Rsh => (0x70, 0),
            AluOp::Mod => (0x90, 0),
            AluOp::SMod => (0x90, 1),
            AluOp::Xor => (0xa0, 0),
            AluOp::Arsh => (0xc0, 0),
        }
    }
}

/// Comparison of a conditional jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cond {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Greater, unsigned.
    Gt,
    /// Greater or equal, unsigned.
    Ge,
    /// Less, unsigned.
    Lt,
    /// Less or equal, unsigned.
    Le,
    /// Greater, signed.
    SGt,
    /// Greater or equal, signed.
    SGe,
    /// Less, signed.
    SLt,
    /// Less or equal, signed.
    SLe,
    /// `dst & src` is not 0.
    Set,
}

impl Cond {
    pub(crate) fn code(self) -> u8 {
        match self {
            Cond::Eq => 0x10,
            Cond::Gt => 0x20,
            Cond::Ge => 0x30,
            Cond::Set => 0x40,
            Cond::Ne => 0x50,
            Cond::SGt => 0x60,
            Cond::SGe => 0x70,
            Cond::Lt => 0xa0,
            Cond::Le => 0xb0,
            Cond::SLt => 0xc0,
            Cond::SLe => 0xd0,
        }
    }

    /// The comparison that holds exactly when this one does not; `Set` has none.
    pub fn negated(self) -> Option<Cond> {
        Some(match self {
            Cond::Eq => Cond::Ne,
            Cond::Ne => Cond::Eq,
            Cond::Gt => Cond::Le,
            Cond::Ge => Cond::Lt,
            Cond::Lt => Cond::Ge,
            Cond::Le => Cond::Gt,
            Cond::SGt => Cond::SLe,
            Cond::SGe => Cond::SLt,
            Cond::SLt => Cond::SGe,
            Cond::SLe => Cond::SGt,
            Cond::Set => return None,
        })
    }
}

/// What [`Insn::Endian`] does to the low bytes of a register. All clear what lies above them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endian {
    /// Between the machine's order and big-endian: a byte swap on a little-endian machine.
    Big,
    /// Between the machine's order and little-endian: only clears the upper bytes on a little-endian machine.
    Little,
    /// Swaps the bytes on every machine (cpu v4).
    Swap,
}

/// Atomic read-modify-write of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtomicOp {
    /// Adds.
    Add,
    /// Bitwise or.
    Or,
    /// Bitwise and.
    And,
    /// Bitwise exclusive or.
    Xor,
}

impl AtomicOp {
    pub(crate) fn code(self) -> i32 {
        match self {
            AtomicOp::Add => 0x00,
            AtomicOp::Or => 0x40,
            AtomicOp::And => 0x50,
            AtomicOp::Xor => 0xa0,
        }
    }
}

/// A value that [`Insn::LdImm64`] loads. Takes two slots of code.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Imm64 {
    /// A constant.
    Const(u64),
    /// A map (`struct bpf_map *`), by name.
    Map(String),
    /// The address of a byte in a data section, by the section's name and the byte's offset.
    Data {
        /// Name of the section, as in [`crate::object::DataSection::name`].
        section: String,
        /// Offset in it.
        offset: u32,
    },
    /// The address of a subprogram, by name: the callback of a helper.
    Func(String),
}

/// A place in a function's code; made by [`crate::asm::Assembler::label`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(pub(crate) u32);

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Insn {
    /// `dst = dst op src`.
    Alu {
        /// Operation.
        op: AluOp,
        /// Width.
        bits: Bits,
        /// First operand and result.
        dst: Reg,
        /// Second operand.
        src: Src,
    },
    /// `dst = src`.
    Mov {
        /// Width; a 32-bit move clears the upper half.
        bits: Bits,
        /// Result.
        dst: Reg,
        /// What is copied.
        src: Src,
    },
    /// `dst = sign-extended low part of src` (cpu v4).
    MovSx {
        /// Width of the result; 32 clears the upper half.
        bits: Bits,
        /// Width of the part: `B`, `H`, or (for a 64-bit result) `W`.
        from: Size,
        /// Result.
        dst: Reg,
        /// Source.
        src: Reg,
    },
    /// `dst = -dst`.
    Neg {
        /// Width.
        bits: Bits,
        /// Operand and result.
        dst: Reg,
    },
    /// Changes the byte order of the low bytes and clears the rest.
    Endian {
        /// How.
        order: Endian,
        /// How many bytes: `H`, `W` or `D`.
        size: Size,
        /// Operand and result.
        dst: Reg,
    },
    /// `dst = value`, 64 bits.
    LdImm64 {
        /// Result.
        dst: Reg,
        /// What is loaded.
        value: Imm64,
    },
    /// `dst = zero-extended memory at base + off`.
    Load {
        /// Width.
        size: Size,
        /// Result.
        dst: Reg,
        /// Address.
        base: Reg,
        /// Added to it.
        off: i16,
    },
    /// `dst = sign-extended memory at base + off`; not for `D` (cpu v4).
    LoadSx {
        /// Width.
        size: Size,
        /// Result.
        dst: Reg,
        /// Address.
        base: Reg,
        /// Added to it.
        off: i16,
    },
    /// `memory at base + off = src`.
    Store {
        /// Width.
        size: Size,
        /// Address.
        base: Reg,
        /// Added to it.
        off: i16,
        /// What is stored.
        src: Src,
    },
    /// `memory at base + off op= src`, at once for all processors; with `fetch`, `src` gets the old value.
    Atomic {
        /// Operation.
        op: AtomicOp,
        /// Whether the old value is wanted (Linux 5.12).
        fetch: bool,
        /// Width of the cell.
        bits: Bits,
        /// Address; must be aligned to the width.
        base: Reg,
        /// Added to it.
        off: i16,
        /// Operand, and old value.
        src: Reg,
    },
    /// Exchanges `src` and the memory at `base + off`.
    Xchg {
        /// Width of the cell.
        bits: Bits,
        /// Address.
        base: Reg,
        /// Added to it.
        off: i16,
        /// New value in, old value out.
        src: Reg,
    },
    /// If the memory at `base + off` equals `R0`, stores `src` there. `R0` gets the old value in either case.
    CmpXchg {
        /// Width of the cell.
        bits: Bits,
        /// Address.
        base: Reg,
        /// Added to it.
        off: i16,
        /// New value.
        src: Reg,
    },
    /// Goes to `target`.
    Jump(Label),
    /// Goes to `target` if `dst cond src`, else on.
    Branch {
        /// Comparison.
        cond: Cond,
        /// Width compared.
        bits: Bits,
        /// First operand.
        dst: Reg,
        /// Second operand.
        src: Src,
        /// Where to.
        target: Label,
    },
    /// Calls a helper of the kernel.
    CallHelper(Helper),
    /// Calls a subprogram of the object, by name.
    CallFunc(String),
    /// Returns `R0` from the function.
    Exit,
}

impl Insn {
    /// How many 8-byte slots it takes: 2 for [`Insn::LdImm64`], else 1.
    pub fn slots(&self) -> u32 {
        match self {
            Insn::LdImm64 { .. } => 2,
            _ => 1,
        }
    }
}

macro_rules! helpers {
    ($($(#[$doc:meta])* $name:ident = $id:literal $text:literal;)*) => {
        /// A helper function of the kernel, by its id in include/uapi/linux/bpf.h.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Helper {
            $($(#[$doc])* $name = $id,)*
        }

        impl Helper {
            /// Every helper we may call, by id.
            pub const ALL: &[Helper] = &[$(Helper::$name),*];

            /// Its number in the kernel's interface.
            pub fn id(self) -> u32 {
                self as u32
            }

            /// Its name in the kernel, without `bpf_`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Helper::$name => $text,)*
                }
            }
        }
    };
}

helpers! {
    /// `void *(map, const void *key)`.
    MapLookupElem = 1 "map_lookup_elem";
    /// `long (map, const void *key, const void *value, u64 flags)`.
    MapUpdateElem = 2 "map_update_elem";
    /// `long (map, const void *key)`.
    MapDeleteElem = 3 "map_delete_elem";
    /// `u64 ()`: monotonic, without the time of suspension.
    KtimeGetNs = 5 "ktime_get_ns";
    /// `u32 ()`.
    GetPrandomU32 = 7 "get_prandom_u32";
    /// `u32 ()`.
    GetSmpProcessorId = 8 "get_smp_processor_id";
    /// `long (ctx, prog array map, u32 index)`: returns only if it fails.
    TailCall = 12 "tail_call";
    /// `long (xdp_md, int delta)`: moves the front of the packet; packet pointers die.
    XdpAdjustHead = 44 "xdp_adjust_head";
    /// `long (xdp_md, int delta)`: moves the end of the packet; packet pointers die.
    XdpAdjustTail = 65 "xdp_adjust_tail";
    /// `long (ctx, struct bpf_fib_lookup *params, int plen, u32 flags)`; GPL only.
    FibLookup = 69 "fib_lookup";
    /// `long (void *dst, u32 size, const void *address)`: a bad address clears `dst`; GPL only.
    ProbeReadKernel = 113 "probe_read_kernel";
    /// `long (ringbuf, void *data, u64 size, u64 flags)`.
    RingbufOutput = 130 "ringbuf_output";
    /// `void *(ringbuf, u64 size, u64 flags)`; the size is a constant.
    RingbufReserve = 131 "ringbuf_reserve";
    /// `void (void *data, u64 flags)`.
    RingbufSubmit = 132 "ringbuf_submit";
    /// `void (void *data, u64 flags)`.
    RingbufDiscard = 133 "ringbuf_discard";
    /// `long (u32 count, callback, void *callback_ctx, u64 flags)`.
    Loop = 181 "loop";
    /// `long (xdp_md, u32 offset, void *buf, u32 len)`.
    XdpLoadBytes = 189 "xdp_load_bytes";
    /// `long (xdp_md, u32 offset, void *buf, u32 len)`.
    XdpStoreBytes = 190 "xdp_store_bytes";
}
