//! The printed text, read back: every workload of the conformance suite and the examples becomes a program that another
//! grammar parses, with all names declared and all widths right. Needs no tool.

#[path = "structure/check.rs"]
mod check;
#[path = "structure/lexer.rs"]
mod lexer;
#[path = "structure/parser.rs"]
mod parser;
#[path = "structure/tree.rs"]
mod tree;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lambdac_backend_p4::{Options, Output, print, program};
use lambdac_check::Sources;
use lambdac_diag::{Sink, SourceMap};
use lambdac_mir::Module;

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "lnic") {
            out.push(path);
        }
    }
}

/// Libraries and included files beside the source.
struct Beside;

impl Sources for Beside {
    fn library(&self, from: &str, name: &str) -> Result<Option<(String, Vec<u8>)>, String> {
        let path = Path::new(from).with_file_name(format!("{name}.lnic"));
        let text = std::fs::read(&path).ok();
        Ok(text.map(|bytes| (path.display().to_string(), bytes)))
    }

    fn include(&self, from: &str, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(Path::new(from).with_file_name(path)).map_err(|error| error.to_string())
    }
}

/// The optimised module of a file; none for a library.
fn module(path: &Path) -> Option<Module> {
    let text = std::fs::read_to_string(path).unwrap();
    let (mut map, mut sink) = (SourceMap::new(), Sink::new());
    let file = map.add(path.display().to_string(), text.as_str());
    let parsed = lambdac_syntax::parse(file, &text, &mut sink)?;
    if parsed.kind == lambdac_syntax::ast::FileKind::Library {
        return None;
    }
    let checked = lambdac_check::check(&parsed, &mut map, &Beside, &mut sink)?;
    let mut module = lambdac_lower::lower(&checked, &map);
    lambdac_lower::split_awaits(&mut module);
    lambdac_opt::optimize(&mut module, &lambdac_opt::Options::default());
    Some(module)
}

fn corpus() -> Vec<(PathBuf, Arc<Module>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths = Vec::new();
    for folder in ["lang-spec/conformance", "examples"] {
        files(&root.join(folder), &mut paths);
    }
    let modules = paths
        .into_iter()
        .filter_map(|path| Some((path.clone(), Arc::new(module(&path)?))));
    modules.collect()
}

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
    for (path, module) in &corpus {
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
    for (_, module) in corpus().iter().take(20) {
        let text = || print::print(&compiled(module, &Options::default()).program);
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
