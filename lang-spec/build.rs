//! Makes the table of error pages from `errors/*.md`, sorted by code.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=errors");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("error_pages.rs");
    fs::write(out, page_table(&root.join("errors"))?)
}

/// A slice literal of `(code, page)`; the pages themselves are read by the compiler.
fn page_table(folder: &Path) -> io::Result<String> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    let mut table = String::from("&[\n");
    for path in &pages {
        println!("cargo::rerun-if-changed={}", path.display());
        let code = path.file_stem().unwrap_or_default().to_string_lossy();
        table += &format!(
            "    ({code:?}, include_str!({:?})),\n",
            path.display().to_string()
        );
    }
    table += "]\n";
    Ok(table)
}
