//! One way to check a source in all tests: the text of its diagnostics, a line each.

use std::collections::BTreeMap;

use lambdac_check::Sources;
use lambdac_diag::render::{MessageFormat, render};
use lambdac_diag::{Diagnostic, Sink, SourceMap};
use lambdac_hir::Workload;
use lambdac_syntax::ast::FileKind;

/// Files by name, as if they lay in one folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files(pub(crate) BTreeMap<String, Vec<u8>>);

impl Files {
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
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
pub(crate) fn check_file(
    name: &str,
    source: &str,
    files: &dyn Sources,
) -> (Option<Workload>, Vec<Diagnostic>, SourceMap) {
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
pub(crate) fn check_with(source: &str, files: &Files) -> String {
    let (_, diagnostics, map) = check_file("t.lnic", source, files);
    diagnostics
        .iter()
        .map(|d| render(MessageFormat::Short, false, &map, d))
        .collect()
}

/// The diagnostics of a source of a single file, a line each.
pub(crate) fn check(source: &str) -> String {
    check_with(source, &Files::default())
}

/// A whole workload with `items` before a lambda that needs them not.
pub(crate) fn source_items(items: &str) -> String {
    format!("workload t;\n{items}\nlambda go() -> bytes<1> {{ reply b\"\"; }}\n")
}

/// A workload with something of every kind, and `body` as the body of its lambda, from line 10 on.
pub(crate) fn source_body(body: &str) -> String {
    format!(
        "workload t;
enum Op: u8 {{ Get = 0, Set = 1 }}
header Req {{ op: Op, n: u32, key: [u8; 4], rest: bytes<64> }}
state level: u32; state seen: counter[2];
state recent: lru<u32, bytes<8>>(16);
state known: map<u32, u32>(16);
table routes: lpm<u32, u16>(4) {{ 10.0.0.0/8 => 1 }}
service cache = memcached(\"127.0.0.1:11211\", timeout = 5ms);
lambda go(req: Req) -> bytes<64> {{
{body}
}}
"
    )
}
