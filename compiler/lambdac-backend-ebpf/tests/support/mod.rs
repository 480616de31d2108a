//! What the tests against the kernel share: small objects made by hand, packets, and a loaded object.

pub mod arithmetic;
pub mod kernel;
pub mod missing;
pub mod packet;

use lambdac_backend_ebpf::asm::{Assembler, Function};
use lambdac_backend_ebpf::insn::{AluOp, Cond, Reg, Size};
use lambdac_backend_ebpf::object::{DataSection, Object, SourceFile, Type, Variable};
use lambdac_backend_ebpf::packet::{LAMBDA_LENGTH, PAYLOAD, action, xdp_md};
use lambdac_backend_ebpf::{abi, asm::SourceLine, dispatch, finish, shared};

/// Ids of the workloads of [`sample`], by position.
pub const IDS: [u32; 4] = [0x1111_0001, 0x2222_0002, 0x3333_0003, 0x4444_0204];
pub const ECHO: u32 = IDS[0];
pub const WEB: u32 = IDS[1];
pub const PUNT: u32 = IDS[2];
pub const TRAP: u32 = IDS[3];

/// What `web` answers.
pub const PAGE: &[u8] = b"hello, world: a page of forty bytes. ...";

/// An object with four workloads: `echo` answers its payload, `web` a page, `punt` punts, `trap` traps.
pub fn sample() -> Object {
    let page = DataSection {
        name: ".rodata.web".to_owned(),
        bytes: PAGE.to_vec(),
        variables: vec![Variable {
            name: "page".to_owned(),
            offset: 0,
            ty: Type::bytes(PAGE.len() as u32),
        }],
    };
    let mut sections = shared::sections(true);
    sections.push(page);
    Object {
        files: vec![SourceFile {
            name: "web.lnic".to_owned(),
            text: Some("workload web;\nlambda main() -> bytes<40> { reply PAGE; }\n".to_owned()),
        }],
        maps: shared::maps(IDS.len() as u32),
        sections,
        programs: vec![
            dispatch::dispatch(&IDS, false).unwrap(),
            echo(),
            web(),
            handed_up("_w_punt", finish::PUNT, 2, abi::event::NOBODY.cast_signed()),
            handed_up("_w_trap", finish::TRAP, 3, 2),
        ],
        functions: finish::functions().unwrap(),
    }
}

fn echo() -> Function {
    let mut asm = Assembler::program("_w_echo");
    let out = asm.label();
    asm.load(Size::W, Reg::R6, Reg::R1, xdp_md::DATA);
    asm.load(Size::W, Reg::R2, Reg::R1, xdp_md::DATA_END);
    asm.mov(Reg::R3, Reg::R6);
    asm.alu(AluOp::Add, Reg::R3, i32::from(PAYLOAD));
    asm.branch(Cond::Gt, Reg::R3, Reg::R2, out);
    asm.load(Size::B, Reg::R2, Reg::R6, LAMBDA_LENGTH);
    asm.load(Size::B, Reg::R3, Reg::R6, LAMBDA_LENGTH + 1);
    asm.alu(AluOp::Lsh, Reg::R2, 8);
    asm.alu(AluOp::Or, Reg::R2, Reg::R3);
    asm.mov(Reg::R3, 0);
    asm.mov(Reg::R4, abi::counter_key(0).cast_signed());
    asm.call_func(finish::FINISH);
    asm.alu(AluOp::And, Reg::R0, finish::ACTION);
    asm.exit();
    asm.bind(out);
    asm.ret(action::DROP);
    asm.finish().unwrap()
}

fn web() -> Function {
    let mut asm = Assembler::program("_w_web");
    let out = asm.label();
    asm.at(SourceLine { file: 0, line: 2 });
    asm.mov(Reg::R6, Reg::R1);
    asm.mov(Reg::R2, PAGE.len() as i32);
    asm.mov(Reg::R3, 0);
    asm.mov(Reg::R4, abi::counter_key(1).cast_signed());
    asm.call_func(finish::FINISH);
    asm.branch(Cond::Ne, Reg::R0, finish::STORE, out);
    asm.load(Size::W, Reg::R1, Reg::R6, xdp_md::DATA);
    asm.load(Size::W, Reg::R2, Reg::R6, xdp_md::DATA_END);
    asm.mov(Reg::R3, Reg::R1);
    asm.alu(AluOp::Add, Reg::R3, i32::from(PAYLOAD) + PAGE.len() as i32);
    asm.branch(Cond::Gt, Reg::R3, Reg::R2, out);
    asm.load_data(Reg::R3, ".rodata.web", 0);
    for at in (0..PAGE.len() as i16).step_by(8) {
        asm.load(Size::D, Reg::R4, Reg::R3, at);
        asm.store(Size::D, Reg::R1, PAYLOAD + at, Reg::R4);
    }
    asm.ret(action::TX);
    asm.bind(out);
    asm.alu(AluOp::And, Reg::R0, finish::ACTION);
    asm.exit();
    asm.finish().unwrap()
}

/// A program of a workload at a position that answers so many bytes, whatever they are.
pub fn answer_of(name: &str, position: u32, len: i32) -> Function {
    let mut asm = Assembler::program(name);
    asm.mov(Reg::R2, len);
    asm.mov(Reg::R3, 0);
    asm.mov(Reg::R4, abi::counter_key(position).cast_signed());
    asm.call_func(finish::FINISH);
    asm.alu(AluOp::And, Reg::R0, finish::ACTION);
    asm.exit();
    asm.finish().unwrap()
}

/// A program that ends by a subprogram with (ctx, position, lambda 5, detail, file 1 line 7).
fn handed_up(name: &str, by: &str, position: i32, detail: i32) -> Function {
    let mut asm = Assembler::program(name);
    asm.mov(Reg::R2, position);
    asm.mov(Reg::R3, 5);
    asm.mov(Reg::R4, detail);
    asm.mov(Reg::R5, 1);
    asm.alu(AluOp::Lsh, Reg::R5, 32);
    asm.alu(AluOp::Or, Reg::R5, 7);
    asm.call_func(by);
    asm.exit();
    asm.finish().unwrap()
}
