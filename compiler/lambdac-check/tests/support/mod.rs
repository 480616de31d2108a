//! One way to check a source in all tests: the text of its diagnostics, a line each.

#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use lambdac_check::Sources;
use lambdac_diag::render::{MessageFormat, render};
use lambdac_diag::{Diagnostic, Sink, SourceMap};
use lambdac_hir::Workload;
use lambdac_syntax::ast::FileKind;

/// Files by name, as if they lay in one folder.
#[derive(Clone, Debug, Default)]
pub struct Files(pub BTreeMap<String, Vec<u8>>);

impl Files {
    #[allow(dead_code)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self(
            files
                .iter()
                .map(|(name, text)| (name.to_string(), text.as_bytes().to_vec()))
                .collect(),
        )
    }
}

impl Sources for Files {
    fn library(&self, _from: &str, name: &str) -> Result<Option<(String, Vec<u8>)>, String> {
        let file = format!("{name}.lnic");
        Ok(self.0.get(&file).map(|bytes| (file, bytes.clone())))
    }

    fn include(&self, _from: &str, relative: &str) -> Result<Vec<u8>, String> {
        self.0
            .get(relative)
            .cloned()
            .ok_or_else(|| "no such file".to_string())
    }
}

/// Checks a file; its HIR and what was reported, sorted.
pub fn check_file(name: &str, source: &str, files: &Files) -> (Option<Workload>, Vec<Diagnostic>, SourceMap) {
    let mut map = SourceMap::new();
    let mut sink = Sink::new();
    let id = map.add(name, source);
    let workload = lambdac_syntax::parse(id, source, &mut sink).and_then(|file| match file.kind {
        FileKind::Workload => lambdac_check::check(&file, &mut map, files, &mut sink),
        FileKind::Library => {
            lambdac_check::check_library(&file, &mut map, files, &mut sink);
            None
        }
    });
    (workload, sink.into_sorted(), map)
}

/// The diagnostics of a source, a line each.
#[allow(dead_code)]
pub fn check_with(source: &str, files: &Files) -> String {
    let (_, diagnostics, map) = check_file("t.lnic", source, files);
    diagnostics
        .iter()
        .map(|d| render(MessageFormat::Short, false, &map, d))
        .collect()
}

/// The diagnostics of a source of a single file, a line each.
#[allow(dead_code)]
pub fn check(source: &str) -> String {
    check_with(source, &Files::default())
}

/// A whole workload with `items` before a lambda that needs them not.
#[allow(dead_code)]
pub fn check_items(items: &str) -> String {
    check(&format!(
        "workload t;\n{items}\nlambda go() -> bytes<1> {{ reply b\"\"; }}\n"
    ))
}

/// A lambda with a header of all kinds of fields as request, and `body` as its body.
#[allow(dead_code)]
pub fn check_body(body: &str) -> String {
    check(&format!(
        "workload t;\nenum Op: u8 {{ Get = 0, Set = 1 }}\nheader Req {{ op: Op, n: u32, key: [u8; 4], rest: bytes<64> }}\n\
         state level: u32; state seen: counter[2]; state recent: lru<u32, bytes<8>>(16); state known: map<u32, u32>(16);\n\
         table routes: lpm<u32, u16>(4) {{ 10.0.0.0/8 => 1 }}\n\
         service cache = memcached(\"127.0.0.1:11211\", timeout = 5ms);\n\
         lambda go(req: Req) -> bytes<64> {{\n{body}\n}}\n"
    ))
}
