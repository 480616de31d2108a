//! What one is told of a program that the verifier refuses. The compiler makes none, so this one is written by hand.

use lambdac_backend_ebpf::asm::{Assembler, SourceLine};
use lambdac_backend_ebpf::insn::{Reg, Size};
use lambdac_backend_ebpf::object::{Object, SourceFile};
use lambdac_backend_ebpf::packet::{action, xdp_md};
use lnic_xdp::{Error, Image, LoadOptions, probe};

/// Reads the first byte of the packet without a look at where it ends, on line 3 of its source.
fn careless() -> Object {
    let mut asm = Assembler::program("w_careless");
    let line = |line| SourceLine { file: 0, line };
    asm.at(line(2));
    asm.load(Size::W, Reg::R2, Reg::R1, xdp_md::DATA);
    asm.at(line(3));
    asm.load(Size::B, Reg::R0, Reg::R2, 0);
    asm.at(line(4));
    asm.mov(Reg::R0, action::PASS);
    asm.exit();
    Object {
        programs: vec![asm.finish().expect("all labels are bound")],
        files: vec![SourceFile {
            name: "careless.lnic".to_owned(),
            text: Some(
                "workload careless;\nlambda l(req: [u8; 1]) -> [u8; 1] {\n    reply req;\n}\n".to_owned(),
            ),
        }],
        ..Object::default()
    }
}

#[test]
fn a_rejection_shows_the_end_of_the_verifiers_log_and_the_line_of_the_source() {
    if let Err(missing) = probe::check() {
        eprintln!("skipped: {missing}");
        return;
    }
    let elf = careless().to_elf().expect("the object can be written");
    let error = Image::load(&elf, &LoadOptions::default()).expect_err("no kernel takes it");
    let text = error.to_string();
    let Error::Rejected(rejection) = error else {
        panic!("another error: {text}")
    };
    assert_eq!(rejection.program, "w_careless");
    let place = rejection.place.as_ref().expect("the line is known");
    assert_eq!((place.file.as_str(), place.line), ("careless.lnic", 3));
    // The verifier quotes the line itself, from the same table.
    assert!(
        rejection.log.iter().any(|line| line.contains("reply req;")),
        "{text}"
    );
    let reason = rejection.log.last().map(String::as_str).unwrap_or_default();
    assert!(reason.contains("outside of the packet"), "{text}");
    let head = "the kernel refuses program `w_careless` at careless.lnic:3: ";
    assert!(text.starts_with(head) && text.contains(reason), "{text}");
}
