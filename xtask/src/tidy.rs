//! Rules of the repository that no compiler checks. Each is a function that returns what is wrong.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

/// A source file may be longer only if it is a table of data.
const MAX_LINES: usize = 800;

/// Crates that call generated code or the kernel; all others forbid unsafe code.
const MAY_BE_UNSAFE: &[&str] = &[
    "compiler/lambdac-backend-host",
    "runtime-host/lnic-client",
    "runtime-host/lnic-engine",
    "runtime-host/lnic-host",
    "runtime-nic/lnic-bmv2",
    "runtime-nic/lnic-ether",
    "runtime-nic/lnic-xdp",
    "tests/bench",
    "tests/lambdac-tests",
];

/// Where packets go: nothing there takes a lock. (What the engine's `map` and `lru` do instead stands in `entries.rs`.)
const PACKET_PATH: &[&str] = &[
    "runtime-host/lnic-host/src/worker/",
    "runtime-host/lnic-host/src/sys/",
    "runtime-host/lnic-host/src/memcached/",
    "runtime-host/lnic-engine/src/invoke.rs",
    "runtime-host/lnic-engine/src/runtime.rs",
    "runtime-host/lnic-engine/src/scratch.rs",
    "runtime-host/lnic-wire/src/",
];

/// What a crate may depend on: only crates further up in this list.
const LAYERS: &[&str] = &[
    "lang-spec",
    "lambdac-diag",
    "lambdac-syntax",
    "lambdac-hir",
    "lambdac-check",
    "lambdac-analysis",
    "lambdac-interp",
    "lambdac-mir",
    "lambdac-lower",
    "lambdac-opt",
    "lambdac-target",
    "lambdac-cost",
    "lambdac-image",
    "lambdac-backend-c",
    "lambdac-backend-host",
    "lambdac-backend-ebpf",
    "lambdac-backend-p4",
    "lnic-wire",
    "lnic-bundle",
    "lnic-engine",
    "lambdac-driver",
    "lnic-host",
    "lnic-client",
    "lnic-ether",
    "p4runtime-proto",
    "lnic-bmv2",
    "lnic-xdp",
    "lnic-nfp",
    "lambdac-cli",
    "lambdac-tests",
    "lambdac-bench",
];

/// Checks them all and prints every finding.
pub fn run() -> Result<()> {
    let sources = rust_files(&shell::root())?;
    let mut findings = Vec::new();
    for file in &sources {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let name = relative(file);
        findings.extend(module_doc(&name, &text));
        findings.extend(length(&name, &text));
        findings.extend(forbids_unsafe(&name, &text));
        findings.extend(locks(&name, &text));
    }
    findings.extend(error_pages(&sources)?);
    findings.extend(layers()?);
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    if !findings.is_empty() {
        bail!("tidy found {} things", findings.len());
    }
    eprintln!("==> tidy: {} files in order", sources.len());
    Ok(())
}

fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn relative(file: &Path) -> String {
    file.strip_prefix(shell::root())
        .unwrap_or(file)
        .display()
        .to_string()
}

fn module_doc(name: &str, text: &str) -> Option<String> {
    (!text.starts_with("//!")).then(|| format!("{name}: no module doc (`//!`) at the top"))
}

fn length(name: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MAX_LINES).then(|| format!("{name}: {lines} lines; split it by idea (at most {MAX_LINES})"))
}

fn forbids_unsafe(name: &str, text: &str) -> Option<String> {
    let is_root = name.ends_with("src/lib.rs") || name.ends_with("src/main.rs");
    let may = MAY_BE_UNSAFE.iter().any(|crate_dir| name.starts_with(crate_dir));
    (is_root && !may && !text.contains("#![forbid(unsafe_code)]"))
        .then(|| format!("{name}: `#![forbid(unsafe_code)]` is missing"))
}

fn locks(name: &str, text: &str) -> Option<String> {
    let is_on_path = PACKET_PATH.iter().any(|path| name.starts_with(path));
    let lock = ["Mutex", "RwLock", "Condvar"]
        .into_iter()
        .find(|lock| text.contains(lock))?;
    is_on_path.then(|| format!("{name}: a {lock} on the path of packets"))
}

/// Codes in the compiler's sources and pages of `lang-spec/errors/` are the same set.
fn error_pages(sources: &[PathBuf]) -> Result<Vec<String>> {
    let mut used = BTreeSet::new();
    for file in sources.iter().filter(|file| is_compiler_source(file)) {
        used.extend(codes_in(&std::fs::read_to_string(file)?));
    }
    let mut pages = BTreeSet::new();
    for entry in std::fs::read_dir(shell::root().join("lang-spec/errors"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        pages.extend(name.strip_suffix(".md").map(str::to_owned));
    }
    let unwritten = used
        .difference(&pages)
        .map(|code| format!("{code}: no page in lang-spec/errors"));
    let unused = pages
        .difference(&used)
        .map(|code| format!("{code}: a page, but no check reports it"));
    Ok(unwritten.chain(unused).collect())
}

fn is_compiler_source(file: &Path) -> bool {
    let name = relative(file);
    name.starts_with("compiler/")
        && name.contains("/src/")
        && !name.ends_with("tests.rs")
        && !name.contains("/tests/")
}

/// String literals that are a code: `"E0101"`, `"W0003"`.
fn codes_in(text: &str) -> impl Iterator<Item = String> {
    text.split('"').filter(|word| is_code(word)).map(str::to_owned)
}

fn is_code(word: &str) -> bool {
    let mut chars = word.chars();
    matches!(chars.next(), Some('E' | 'W')) && word.len() == 5 && chars.all(|c| c.is_ascii_digit())
}

/// Dependencies point one way.
fn layers() -> Result<Vec<String>> {
    let manifest = std::fs::read_to_string(shell::root().join("Cargo.toml"))?;
    let members = manifest
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","));
    let mut findings = Vec::new();
    for member in members.filter(|member| *member != "xtask") {
        let text = std::fs::read_to_string(shell::root().join(member).join("Cargo.toml"))?;
        findings.extend(layer_findings(&text));
    }
    Ok(findings)
}

fn layer_findings(manifest: &str) -> Vec<String> {
    let rank = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let name = manifest
        .lines()
        .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    let Some((name, own)) = name.and_then(|name| Some((name, rank(name)?))) else {
        return vec![format!(
            "{}: not in the list of layers of `xtask tidy`",
            name.unwrap_or("a crate")
        )];
    };
    let normal = manifest.split("[dev-dependencies]").next().unwrap_or_default();
    let names = normal
        .lines()
        .filter_map(|line| line.strip_suffix(".workspace = true"));
    let higher = names.filter(|dependency| rank(dependency).is_some_and(|other| other >= own));
    higher
        .map(|dependency| format!("{name}: depends on {dependency}, which is a layer above it"))
        .collect()
}
