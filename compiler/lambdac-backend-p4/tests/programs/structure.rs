//! The printed text, read back: every workload of the conformance suite and the examples becomes a program that another
//! grammar parses, with all names declared and all widths right. Needs no tool.

use std::sync::Arc;

use lambdac_backend_p4::{Options, Output, print, program};
use lambdac_mir::Module;

use crate::corpus::corpus;
use crate::{check, parser};

fn compiled(module: &Arc<Module>, options: &Options) -> Output {
    let image = lambdac_image::link(&module.name, &[(0x1234_0001, module.clone())]).unwrap();
    program(&image, options).unwrap_or_else(|refusal| panic!("{}: {refusal}", module.name))
}

fn checked(text: &str) -> Result<(), String> {
    check::check(&parser::parse(text)?)
}

#[test]
fn every_program_is_read_back_with_names_and_widths() {
    let mut wrong = Vec::new();
    let mut native = 0;
    let corpus = corpus();
    for program in &corpus {
        let (path, module) = (&program.path, &program.module);
        for test in [false, true] {
            let options = Options {
                test,
                constant_entries: test,
                ..Options::default()
            };
            let output = compiled(module, &options);
            native += output.refused.iter().filter(|refusal| refusal.is_none()).count();
            let text = print::print(&output.program);
            if let Err(why) = checked(&text) {
                wrong.push(format!("{} (test: {test}): {why}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        corpus.len() > 90 && native > 250,
        "{} files, {native} lambdas",
        corpus.len()
    );
}

#[test]
fn the_same_image_gives_the_same_text() {
    for program in corpus().iter().take(20) {
        let text = || print::print(&compiled(&program.module, &Options::default()).program);
        assert_eq!(text(), text());
    }
}

#[test]
fn the_check_sees_what_it_is_there_for() {
    let program = |action: &str, apply: &str| {
        format!(
            "#include <core.p4>\n#include <v1model.p4>\nstruct h {{ }}\nstruct m {{ bit<8> a; bool b; }}\n\
             control c(inout h hdr, inout m meta, inout standard_metadata_t std) {{ register<bit<8>>(4) r; \
             action act() {{ r.read(meta.a, 32w0); {action} }} apply {{ act(); {apply} }} }}\n\
             parser p(packet_in packet, out h hdr) {{ state start {{ transition accept; }} }}\n\
             V1Switch(p(), c(), c(), c(), c(), c()) main;"
        )
    };
    assert_eq!(checked(&program("", "")), Ok(()));
    let wrong = [
        ("", "for (meta.a = 8w0; meta.b; meta.a = 8w1) { }"),
        ("meta.a = 16w1;", ""),
        ("meta.a = 8w256;", ""),
        ("meta.b = meta.a;", ""),
        ("meta.a = nobody;", ""),
        ("meta.a = meta.a << (bit<16>)meta.a;", ""),
        ("meta.a = meta.a / 8w3;", ""),
        ("r.write(8w1, meta.a);", ""),
        ("bit<8> a = 8w0; bit<8> a = 8w1;", ""),
        ("bit<8> r = 8w0;", ""),
        ("break;", ""),
        ("meta.a = 8w1 + (8w1 < 8w2);", ""),
    ];
    for (action, apply) in wrong {
        let text = program(action, apply);
        assert!(checked(&text).is_err(), "{action}{apply}");
    }
}
