//! How instructions are encoded: eight bytes a slot, by RFC 9669 (BPF Instruction Set Architecture).
//!
//! What depends on where things lie (jumps, calls of subprograms, addresses) has a function of its own here, for
//! [`crate::asm`], which knows the distances.

use crate::insn::{Bits, Cond, Endian, Insn, Reg, Size, Src};

/// Instruction classes, RFC 9669 section 3.
const CLASS_LD: u8 = 0x00;
const CLASS_LDX: u8 = 0x01;
const CLASS_ST: u8 = 0x02;
const CLASS_STX: u8 = 0x03;
const CLASS_ALU: u8 = 0x04;
const CLASS_JMP: u8 = 0x05;
const CLASS_JMP32: u8 = 0x06;
const CLASS_ALU64: u8 = 0x07;

/// Source is a register (bit of arithmetic and jumps).
const SOURCE_REG: u8 = 0x08;

/// Modes of loads and stores, RFC 9669 section 5.
const MODE_IMM: u8 = 0x00;
const MODE_MEM: u8 = 0x60;
const MODE_MEMSX: u8 = 0x80;
const MODE_ATOMIC: u8 = 0xc0;

/// Modifiers and complex atomic operations, RFC 9669 section 5.3.
const ATOMIC_FETCH: i32 = 0x01;
const ATOMIC_XCHG: i32 = 0xe0 | ATOMIC_FETCH;
const ATOMIC_CMPXCHG: i32 = 0xf0 | ATOMIC_FETCH;

const OP_MOV: u8 = 0xb0;
const OP_NEG: u8 = 0x80;
const OP_END: u8 = 0xd0;
const OP_JA: u8 = 0x00;
const OP_CALL: u8 = 0x80;
const OP_EXIT: u8 = 0x90;

/// Source registers that say what an address is or what is called (bpf.h: `BPF_PSEUDO_…`).
pub(crate) const PSEUDO_MAP_FD: u8 = 1;
pub(crate) const PSEUDO_MAP_VALUE: u8 = 2;
pub(crate) const PSEUDO_FUNC: u8 = 4;
pub(crate) const PSEUDO_CALL: u8 = 1;

/// An encoded slot: opcode, registers, offset, immediate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Opcode byte.
    pub opcode: u8,
    /// Destination register.
    pub dst: u8,
    /// Source register or pseudo source.
    pub src: u8,
    /// Offset.
    pub off: i16,
    /// Immediate.
    pub imm: i32,
}

impl Slot {
    /// The eight bytes, little-endian (RFC 9669 section 3: the registers are swapped on big-endian machines).
    pub fn bytes(self) -> [u8; 8] {
        let [o0, o1] = self.off.to_le_bytes();
        let [i0, i1, i2, i3] = self.imm.to_le_bytes();
        [self.opcode, self.dst | self.src << 4, o0, o1, i0, i1, i2, i3]
    }

    fn new(opcode: u8, dst: Reg) -> Slot {
        Slot {
            opcode,
            dst: dst.number(),
            src: 0,
            off: 0,
            imm: 0,
        }
    }

    fn with_src(mut self, src: Src) -> Slot {
        match src {
            Src::Reg(reg) => {
                self.opcode |= SOURCE_REG;
                self.src = reg.number();
            }
            Src::Imm(imm) => self.imm = imm,
        }
        self
    }

    fn memory(opcode: u8, dst: Reg, src: u8, off: i16, imm: i32) -> Slot {
        Slot {
            opcode,
            dst: dst.number(),
            src,
            off,
            imm,
        }
    }
}

fn alu_class(bits: Bits) -> u8 {
    match bits {
        Bits::B32 => CLASS_ALU,
        Bits::B64 => CLASS_ALU64,
    }
}

fn atomic_opcode(bits: Bits) -> u8 {
    let size = match bits {
        Bits::B32 => Size::W,
        Bits::B64 => Size::D,
    };
    CLASS_STX | MODE_ATOMIC | size.code()
}

/// A jump over `off` slots, counted from the next instruction; `off` must fit 16 bits or [`long_jump`] is needed.
pub(crate) fn jump(off: i16) -> Slot {
    Slot {
        off,
        ..Slot::new(CLASS_JMP | OP_JA, Reg::R0)
    }
}

/// `gotol`: a jump whose distance is in the immediate (cpu v4).
pub(crate) fn long_jump(off: i32) -> Slot {
    Slot {
        imm: off,
        ..Slot::new(CLASS_JMP32 | OP_JA, Reg::R0)
    }
}

/// A conditional jump over `off` slots.
pub(crate) fn branch(cond: Cond, bits: Bits, dst: Reg, src: Src, off: i16) -> Slot {
    let class = match bits {
        Bits::B32 => CLASS_JMP32,
        Bits::B64 => CLASS_JMP,
    };
    let slot = Slot::new(class | cond.code(), dst).with_src(src);
    Slot { off, ..slot }
}

/// The two slots of a 64-bit load; `src` says what the immediates are.
pub(crate) fn ld_imm64(dst: Reg, src: u8, low: u32, high: u32) -> [Slot; 2] {
    let first = Slot {
        src,
        imm: low.cast_signed(),
        ..Slot::new(CLASS_LD | MODE_IMM | Size::D.code(), dst)
    };
    let second = Slot {
        imm: high.cast_signed(),
        ..Slot::new(0, Reg::R0)
    };
    [first, second]
}

/// A call of a subprogram, `distance` slots from the next instruction.
pub(crate) fn call_func(distance: i32) -> Slot {
    Slot {
        src: PSEUDO_CALL,
        imm: distance,
        ..Slot::new(CLASS_JMP | OP_CALL, Reg::R0)
    }
}

/// Encodes an instruction that refers to nothing outside itself. `None` for jumps, calls of subprograms and 64-bit
/// loads, whose slots depend on where things lie.
pub(crate) fn encode(insn: &Insn) -> Option<Slot> {
    Some(match *insn {
        Insn::Alu { op, bits, dst, src } => {
            let (code, off) = op.code();
            let slot = Slot::new(alu_class(bits) | code, dst).with_src(src);
            Slot { off, ..slot }
        }
        Insn::Mov { bits, dst, src } => Slot::new(alu_class(bits) | OP_MOV, dst).with_src(src),
        Insn::MovSx { bits, from, dst, src } => {
            let slot = Slot::new(alu_class(bits) | OP_MOV, dst).with_src(src.into());
            let off = i16::try_from(from.bytes() * 8).ok()?;
            Slot { off, ..slot }
        }
        Insn::Neg { bits, dst } => Slot::new(alu_class(bits) | OP_NEG, dst),
        Insn::Endian { order, size, dst } => {
            let opcode = match order {
                Endian::Little => CLASS_ALU | OP_END,
                Endian::Big => CLASS_ALU | OP_END | SOURCE_REG,
                Endian::Swap => CLASS_ALU64 | OP_END,
            };
            let imm = (size.bytes() * 8).cast_signed();
            Slot {
                imm,
                ..Slot::new(opcode, dst)
            }
        }
        Insn::Load { size, dst, base, off } => {
            Slot::memory(CLASS_LDX | MODE_MEM | size.code(), dst, base.number(), off, 0)
        }
        Insn::LoadSx { size, dst, base, off } => {
            Slot::memory(CLASS_LDX | MODE_MEMSX | size.code(), dst, base.number(), off, 0)
        }
        Insn::Store { size, base, off, src } => match src {
            Src::Reg(src) => Slot::memory(CLASS_STX | MODE_MEM | size.code(), base, src.number(), off, 0),
            Src::Imm(imm) => Slot::memory(CLASS_ST | MODE_MEM | size.code(), base, 0, off, imm),
        },
        Insn::Atomic {
            op,
            fetch,
            bits,
            base,
            off,
            src,
        } => {
            let imm = op.code() | if fetch { ATOMIC_FETCH } else { 0 };
            Slot::memory(atomic_opcode(bits), base, src.number(), off, imm)
        }
        Insn::Xchg { bits, base, off, src } => {
            Slot::memory(atomic_opcode(bits), base, src.number(), off, ATOMIC_XCHG)
        }
        Insn::CmpXchg { bits, base, off, src } => {
            Slot::memory(atomic_opcode(bits), base, src.number(), off, ATOMIC_CMPXCHG)
        }
        Insn::CallHelper(helper) => Slot {
            imm: helper.id().cast_signed(),
            ..Slot::new(CLASS_JMP | OP_CALL, Reg::R0)
        },
        Insn::Exit => Slot::new(CLASS_JMP | OP_EXIT, Reg::R0),
        Insn::LdImm64 { .. } | Insn::CallFunc(_) | Insn::Jump(_) | Insn::Branch { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insn::{AluOp, AtomicOp, Helper};

    fn hex(insn: Insn) -> String {
        let slot = encode(&insn).unwrap();
        slot.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The expected bytes are put together by hand from the tables of RFC 9669.
    #[test]
    fn instructions_are_encoded_as_the_rfc_says() {
        use Bits::{B32, B64};
        use Reg::{R1, R2, R3};
        let alu = |op, bits, src: Src| Insn::Alu {
            op,
            bits,
            dst: R1,
            src,
        };
        let (base, off) = (R2, -8);
        let cases = [
            (alu(AluOp::Add, B64, R2.into()), "0f21000000000000"),
            (alu(AluOp::SDiv, B32, R2.into()), "3c21010000000000"),
            (alu(AluOp::SMod, B64, 3.into()), "9701010003000000"),
            (alu(AluOp::Arsh, B64, 7.into()), "c701000007000000"),
            (
                Insn::Mov {
                    bits: B32,
                    dst: R1,
                    src: R2.into(),
                },
                "bc21000000000000",
            ),
            (
                Insn::MovSx {
                    bits: B64,
                    from: Size::W,
                    dst: R1,
                    src: R2,
                },
                "bf21200000000000",
            ),
            (
                Insn::MovSx {
                    bits: B32,
                    from: Size::B,
                    dst: R1,
                    src: R2,
                },
                "bc21080000000000",
            ),
            (Insn::Neg { bits: B64, dst: R1 }, "8701000000000000"),
            (
                Insn::Endian {
                    order: Endian::Big,
                    size: Size::W,
                    dst: R1,
                },
                "dc01000020000000",
            ),
            (
                Insn::Endian {
                    order: Endian::Swap,
                    size: Size::D,
                    dst: R1,
                },
                "d701000040000000",
            ),
            (
                Insn::Load {
                    size: Size::H,
                    dst: R1,
                    base,
                    off,
                },
                "6921f8ff00000000",
            ),
            (
                Insn::LoadSx {
                    size: Size::B,
                    dst: R1,
                    base,
                    off,
                },
                "9121f8ff00000000",
            ),
            (
                Insn::Store {
                    size: Size::D,
                    base,
                    off,
                    src: R3.into(),
                },
                "7b32f8ff00000000",
            ),
            (
                Insn::Store {
                    size: Size::B,
                    base,
                    off,
                    src: 5.into(),
                },
                "7202f8ff05000000",
            ),
            (
                Insn::Atomic {
                    op: AtomicOp::Or,
                    fetch: true,
                    bits: B32,
                    base,
                    off,
                    src: R3,
                },
                "c332f8ff41000000",
            ),
            (
                Insn::Atomic {
                    op: AtomicOp::Add,
                    fetch: false,
                    bits: B64,
                    base,
                    off,
                    src: R3,
                },
                "db32f8ff00000000",
            ),
            (
                Insn::Xchg {
                    bits: B64,
                    base,
                    off,
                    src: R3,
                },
                "db32f8ffe1000000",
            ),
            (
                Insn::CmpXchg {
                    bits: B32,
                    base,
                    off,
                    src: R3,
                },
                "c332f8fff1000000",
            ),
            (Insn::CallHelper(Helper::Loop), "85000000b5000000"),
            (Insn::Exit, "9500000000000000"),
        ];
        for (insn, expected) in cases {
            assert_eq!(hex(insn.clone()), expected, "{insn:?}");
        }
    }
}
