//! A program that checks instructions against known results, step by step.

use lambdac_backend_ebpf::asm::{Assembler, Param, ParamType};
use lambdac_backend_ebpf::insn::{AluOp, AtomicOp, Bits, Cond, Endian, Helper, Imm64, Insn, Reg, Size};
use lambdac_backend_ebpf::object::{DataSection, Object, Type, Variable};
use lambdac_backend_ebpf::shared;

/// What the program returns if every step was right; else the step's number, from 1.
pub const ALL_RIGHT: u32 = 0xffff;

const CELL: &str = ".data.cell";
const MINUS_SEVEN: u64 = 7u64.wrapping_neg();

struct Steps {
    asm: Assembler,
    step: i32,
}

impl Steps {
    /// `r1 = a; r2 = b; insn`, after which `r1` must hold `expected`.
    fn step(&mut self, a: u64, b: u64, insn: Insn, expected: u64) {
        self.asm.load_imm64(Reg::R1, Imm64::Const(a));
        self.asm.load_imm64(Reg::R2, Imm64::Const(b));
        self.asm.emit(insn);
        self.expect(Reg::R1, expected);
    }

    fn alu(&mut self, op: AluOp, bits: Bits, a: u64, b: u64, expected: u64) {
        let src = Reg::R2.into();
        let dst = Reg::R1;
        self.step(a, b, Insn::Alu { op, bits, dst, src }, expected);
    }

    /// The cell at `r6` holds `cell`, `r1` the operand, `r0` what is compared; then `r1` and the cell are checked.
    fn atomic(&mut self, cell: u64, operand: u64, insn: Insn, expected: u64, then: u64) {
        self.asm.load_imm64(Reg::R2, Imm64::Const(cell));
        self.asm.store(Size::D, Reg::R6, 0, Reg::R2);
        self.asm.load_imm64(Reg::R1, Imm64::Const(operand));
        self.asm.mov(Reg::R0, 5);
        self.asm.emit(insn);
        self.expect(Reg::R1, expected);
        self.asm.load(Size::D, Reg::R1, Reg::R6, 0);
        self.expect(Reg::R1, then);
    }

    fn expect(&mut self, reg: Reg, expected: u64) {
        self.step += 1;
        let right = self.asm.label();
        self.asm.load_imm64(Reg::R3, Imm64::Const(expected));
        self.asm.branch(Cond::Eq, reg, Reg::R3, right);
        self.asm.ret(self.step);
        self.asm.bind(right);
    }
}

/// The object, with the program `arithmetic` and the callback that it gives to `bpf_loop`.
pub fn object() -> Object {
    let mut steps = Steps {
        asm: Assembler::program("arithmetic"),
        step: 0,
    };
    divisions(&mut steps);
    extensions(&mut steps);
    steps.asm.load_data(Reg::R6, CELL, 8);
    atomics(&mut steps);
    loops(&mut steps);
    far_jump(&mut steps);
    steps.asm.ret(ALL_RIGHT.cast_signed());
    let mut callback = Assembler::new(
        "add_index",
        vec![
            Param::new("index", ParamType::U32),
            Param::new("sum", ParamType::Pointer),
        ],
    );
    callback.load(Size::D, Reg::R3, Reg::R2, 0);
    callback.alu(AluOp::Add, Reg::R3, Reg::R1);
    callback.store(Size::D, Reg::R2, 0, Reg::R3);
    callback.ret(0);
    let cell = Variable {
        name: "cell".to_owned(),
        offset: 8,
        ty: Type::U64,
    };
    let mut sections = shared::sections(false);
    sections.push(DataSection {
        name: CELL.to_owned(),
        bytes: vec![0; 16],
        variables: vec![cell],
    });
    Object {
        maps: shared::maps(1),
        sections,
        programs: vec![steps.asm.finish().unwrap()],
        functions: vec![callback.finish().unwrap()],
        ..Object::default()
    }
}

fn divisions(steps: &mut Steps) {
    use Bits::{B32, B64};
    steps.alu(AluOp::SDiv, B64, MINUS_SEVEN, 2, 3u64.wrapping_neg());
    steps.alu(AluOp::SMod, B64, MINUS_SEVEN, 2, u64::MAX);
    steps.alu(AluOp::SDiv, B32, MINUS_SEVEN, 2, 0xffff_fffd);
    steps.alu(AluOp::Div, B32, MINUS_SEVEN, 2, 0x7fff_fffc);
    steps.alu(AluOp::Div, B64, 7, 0, 0);
    steps.alu(AluOp::Mod, B64, 7, 0, 7);
    steps.alu(AluOp::SDiv, B64, 7, 0, 0);
    steps.alu(AluOp::SMod, B64, MINUS_SEVEN, 0, MINUS_SEVEN);
    steps.alu(AluOp::SDiv, B64, 1 << 63, u64::MAX, 1 << 63);
    steps.alu(AluOp::Arsh, B32, 0x8000_0000, 31, 0xffff_ffff);
    steps.alu(AluOp::Lsh, B64, 1, 65, 2);
    steps.alu(AluOp::Mul, B32, 0x1_0000_0003, 5, 15);
}

fn extensions(steps: &mut Steps) {
    let (dst, src) = (Reg::R1, Reg::R2);
    let sx = |bits, from| Insn::MovSx { bits, from, dst, src };
    steps.step(0, 0x1_8000_0080, sx(Bits::B64, Size::B), 0x80u64.wrapping_neg());
    steps.step(0, 0x1_8000_8000, sx(Bits::B32, Size::H), 0xffff_8000);
    steps.step(0, 0x1_8000_0000, sx(Bits::B64, Size::W), 0xffff_ffff_8000_0000);
    let order = |order, size| Insn::Endian { order, size, dst };
    steps.step(0x1122_3344_5566_7788, 0, order(Endian::Big, Size::H), 0x8877);
    steps.step(
        0x1122_3344_5566_7788,
        0,
        order(Endian::Little, Size::W),
        0x5566_7788,
    );
    steps.step(
        0x1122_3344_5566_7788,
        0,
        order(Endian::Swap, Size::D),
        0x8877_6655_4433_2211,
    );
    steps.step(5, 0, Insn::Neg { bits: Bits::B32, dst }, 0xffff_fffb);
}

fn atomics(steps: &mut Steps) {
    let (base, off, src) = (Reg::R6, 0, Reg::R1);
    let rmw = |op, fetch, bits| Insn::Atomic {
        op,
        fetch,
        bits,
        base,
        off,
        src,
    };
    steps.atomic(40, 2, rmw(AtomicOp::Add, false, Bits::B64), 2, 42);
    steps.atomic(40, 2, rmw(AtomicOp::Add, true, Bits::B64), 40, 42);
    steps.atomic(
        0xffff_ffff,
        1,
        rmw(AtomicOp::Add, true, Bits::B32),
        0xffff_ffff,
        0,
    );
    steps.atomic(
        0b1100,
        0b1010,
        rmw(AtomicOp::And, true, Bits::B64),
        0b1100,
        0b1000,
    );
    steps.atomic(0b1100, 0b1010, rmw(AtomicOp::Or, true, Bits::B64), 0b1100, 0b1110);
    steps.atomic(
        0b1100,
        0b1010,
        rmw(AtomicOp::Xor, true, Bits::B32),
        0b1100,
        0b0110,
    );
    steps.atomic(
        1,
        2,
        Insn::Xchg {
            bits: Bits::B64,
            base,
            off,
            src,
        },
        1,
        2,
    );
    let cas = |bits| Insn::CmpXchg { bits, base, off, src };
    steps.atomic(5, 9, cas(Bits::B64), 9, 9);
    steps.expect(Reg::R0, 5);
    steps.atomic(6, 9, cas(Bits::B32), 9, 6);
    steps.expect(Reg::R0, 6);
    steps.asm.store(Size::W, Reg::R6, 0, -2);
    let size = Size::H;
    let dst = Reg::R1;
    steps.asm.emit(Insn::LoadSx { size, dst, base, off });
    steps.expect(Reg::R1, 2u64.wrapping_neg());
}

/// The sum of 0 to 999, by a callback.
fn loops(steps: &mut Steps) {
    steps.asm.store(Size::D, Reg::R10, -8, 0);
    steps.asm.mov(Reg::R1, 1000);
    steps.asm.load_imm64(Reg::R2, Imm64::Func("add_index".to_owned()));
    steps.asm.mov(Reg::R3, Reg::R10);
    steps.asm.alu(AluOp::Add, Reg::R3, -8);
    steps.asm.mov(Reg::R4, 0);
    steps.asm.call(Helper::Loop);
    steps.expect(Reg::R0, 1000);
    steps.asm.load(Size::D, Reg::R1, Reg::R10, -8);
    steps.expect(Reg::R1, 499_500);
}

/// Over 40,000 instructions, which a short jump does not reach.
fn far_jump(steps: &mut Steps) {
    let far = steps.asm.label();
    steps.asm.load(Size::D, Reg::R1, Reg::R6, 0);
    steps.asm.mov(Reg::R2, 1);
    steps.asm.branch(Cond::Ne, Reg::R1, 77, far);
    for _ in 0..40_000 {
        steps.asm.alu(AluOp::Add, Reg::R2, 1);
    }
    steps.asm.bind(far);
    steps.expect(Reg::R2, 1);
}
