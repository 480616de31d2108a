//! The printed text, read back: every workload of the conformance suite and the examples becomes a program that another
//! grammar parses, with all names declared and all widths right. Needs no tool.

use std::sync::Arc;

use lambdac_backend_p4::ast::{Expr, Item, Local, MatchKind, Table, Type};
use lambdac_backend_p4::{Listen, Options, Output, ServicePlace, nfp, p4info, print, program};
use lambdac_mir::{Module, ObjectId};

use crate::corpus::corpus;
use crate::{check, parser};

/// Where all services are.
const SERVICE: ServicePlace = ServicePlace {
    mac: [2, 0, 0, 0, 0, 9],
    address: 0x0a00_0009,
    port: 11_211,
    egress: 1,
};

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
                services: vec![Ok(SERVICE); module.services.len()],
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

/// The program of a workload of the conformance suite, with its entries beside it.
fn conformance(name: &str) -> Output {
    let mut corpus = corpus().into_iter();
    let found = corpus.find(|program| *program.module.name == *name);
    let module = found.unwrap_or_else(|| panic!("no {name}")).module;
    compiled(&module, &Options::default())
}

/// What the controls of a program declare.
fn locals(output: &Output) -> impl Iterator<Item = &Local> {
    let items = output.program.items.iter();
    items.flat_map(|item| match item {
        Item::Control(control) => &control.locals[..],
        _ => &[],
    })
}

fn tables(output: &Output) -> impl Iterator<Item = &Table> {
    locals(output).filter_map(|local| match local {
        Local::Table(table) => Some(table),
        _ => None,
    })
}

#[test]
fn prefixes_count_from_the_first_bit_of_whole_bytes() {
    let output = conformance("c_lpm_odd_widths");
    let keys = tables(&output).flat_map(|table| &table.keys);
    let widths: Vec<u32> = keys
        .filter(|key| key.kind == MatchKind::Lpm && key.name.starts_with("key_"))
        .map(|key| key.width)
        .collect();
    // In code and in the match: keys of 1, 13 and 57 bits.
    for width in [8, 16, 64] {
        assert_eq!(
            widths.iter().filter(|other| **other == width).count(),
            2,
            "{widths:?}"
        );
    }
    assert_eq!(widths.len(), 6, "{widths:?}");
    let entries = p4info::entries(&output.program, &output.entries);
    let own = entries
        .lines()
        .filter_map(|line| line.trim().strip_prefix("prefix_len: "));
    let mut found = std::collections::BTreeMap::<&str, usize>::new();
    own.for_each(|len| *found.entry(len).or_default() += 1);
    // Keys of 13 bits: 1, 2 and 13 behind three zeros; of 57: 1, 9 and 57 behind seven; of one: 0 and 1; and who is trusted.
    for (len, count) in [("4", 2), ("5", 2), ("7", 2), ("8", 5), ("16", 5), ("64", 2)] {
        assert_eq!(found.get(len), Some(&count), "{len} of {found:?}");
    }
}

#[test]
fn no_key_of_a_table_is_a_constant() {
    let output = conformance("c_constant_keys");
    let keys: Vec<_> = tables(&output).flat_map(|table| &table.keys).collect();
    let known = |expr: &Expr| matches!(expr, Expr::Bits(_) | Expr::Number(_) | Expr::Bool(_));
    assert!(keys.len() > 6 && keys.iter().all(|key| !known(&key.expr)));
}

#[test]
fn registers_of_state_are_those_that_the_program_has() {
    for program in corpus() {
        let output = compiled(&program.module, &Options::default());
        for id in 0..program.module.objects.len() {
            let id = ObjectId(id as u32);
            for name in output
                .state
                .registers(id)
                .into_iter()
                .chain(output.state.counter(id))
            {
                let declared =
                    |local: &Local| matches!(local, Local::Instance { name: own, .. } if own == name);
                assert!(
                    locals(&output).any(declared),
                    "{name} in {}",
                    program.path.display()
                );
            }
        }
    }
    let output = conformance("c_unwritten_parts");
    // Two fields of the first that nothing touches start as zeros; those of the second don't.
    let count = |id| output.state.registers(ObjectId(id)).len();
    assert_eq!([count(0), count(1)], [1, 3]);
}

#[test]
fn what_stands_around_the_nfps_plugin_is_read_back_and_no_field_crosses_a_word() {
    let options = nfp::Options { port: 4369 };
    for program in corpus() {
        let module = &program.module;
        let image = lambdac_image::link(&module.name, &[(0x1234_0001, module.clone())]).unwrap();
        let output = nfp::program(&image, options);
        let text = print::print(&output.program);
        checked(&text).unwrap_or_else(|why| panic!("{}: {why}\n{text}", program.path.display()));
        for item in &output.program.items {
            let Item::Header { name, fields, .. } = item else {
                continue;
            };
            let mut at = 0;
            for (ty, field) in fields {
                let Type::Bit(width) = ty else {
                    panic!("{name}.{field}")
                };
                assert!(at % 32 + width <= 32, "{name}.{field}");
                at += width;
            }
        }
    }
}

#[test]
fn each_rule_of_the_nfp_names_a_table_its_action_and_its_keys() {
    for program in corpus() {
        let module = &program.module;
        let image = lambdac_image::link(&module.name, &[(0x1234_0001, module.clone())]).unwrap();
        let output = nfp::program(&image, nfp::Options { port: 4369 });
        let controls = output.program.items.iter().filter_map(|item| match item {
            Item::Control(control) if control.name == "LambdaIngress" => Some(control),
            _ => None,
        });
        let locals: Vec<&Local> = controls.flat_map(|control| &control.locals).collect();
        let tables = |name: &str| {
            locals.iter().find_map(|local| match local {
                Local::Table(table) if table.name == name => Some(table),
                _ => None,
            })
        };
        let listen = nfp::Rule::listen(&Listen {
            mac: [2, 0, 0, 0, 0, 1],
            address: 0x0a00_0001,
            port: 4369,
            broadcast: 0x0aff_ffff,
        });
        for rule in output.rules.iter().chain([&listen]) {
            let table = tables(rule.table).unwrap_or_else(|| panic!("{rule:?}"));
            assert!(
                table.actions.iter().any(|action| action == rule.action),
                "{rule:?}"
            );
            let asked = table.keys.iter().map(|key| key.expr.to_string());
            let asked: Vec<String> = asked
                .map(|name| name.trim_start_matches("hdr.").to_owned())
                .collect();
            let given: Vec<&str> = rule.keys.iter().map(|(name, _)| *name).collect();
            assert_eq!(given, asked, "{rule:?}");
            let data = locals.iter().find_map(|local| match local {
                Local::Action(action) if action.name == rule.action => Some(&action.params),
                _ => None,
            });
            let wanted: Vec<&str> = data.unwrap().iter().map(|param| &*param.name).collect();
            assert_eq!(
                rule.data.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
                wanted
            );
        }
    }
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
