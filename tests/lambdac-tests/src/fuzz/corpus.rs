//! What mutations start from, and the regressions that are replayed.

use std::path::{Path, PathBuf};

use lambdac_driver::disk;

use super::source;
use crate::generate;

/// Programs of the generator in the corpus.
const GENERATED: u64 = 120;

/// The largest MIR text that mutations start from: larger ones take longer and find no more.
const MAX_MIR: usize = 12_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Examples, conformance programs, the standard library, the programs of the error pages, generated ones.
pub fn sources() -> Vec<Vec<u8>> {
    let folders = ["examples", "lang-spec/conformance"].map(|folder| root().join(folder));
    let files = disk::find(&folders).expect("there are programs");
    let mut found: Vec<Vec<u8>> = files.iter().map(|path| read(path)).collect();
    let std = lang_spec::std_library_names().filter_map(lang_spec::std_library);
    found.extend(std.map(|text| text.as_bytes().to_vec()));
    let pages = lang_spec::error_codes().filter_map(lang_spec::error_page);
    for page in pages {
        let blocks = page
            .split("```lnic\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next());
        found.extend(blocks.map(|block| block.as_bytes().to_vec()));
    }
    found.extend((0..GENERATED).map(|seed| generate::program(seed).source.into_bytes()));
    found
}

/// MIR of those of [`sources`] that compile: as lowered, where lambdas still await, and after all passes.
pub fn mir_texts() -> Vec<Vec<u8>> {
    let compiled = sources().into_iter().filter_map(|text| source::compile(&text));
    let texts = compiled.flat_map(|stages| [stages.lowered.to_string(), stages.optimised.to_string()]);
    texts
        .filter(|text| text.len() <= MAX_MIR)
        .map(String::into_bytes)
        .collect()
}

/// The inputs of `regressions/KIND` by name, each of which once broke a promise.
pub fn regressions(kind: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<PathBuf> = match std::fs::read_dir(regression_folder(kind)) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(_) => Vec::new(),
    };
    files.sort();
    files
        .into_iter()
        .map(|path| (path.clone(), read(&path)))
        .collect()
}

/// Where a new input that breaks a promise is kept.
pub fn regression_folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("regressions")
        .join(kind)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
