//! The language's reference, error pages and standard library as data.
//!
//! The pages are the files of `errors/`, the libraries those of `std/`; both are part of the program that links this
//! crate, so that `lambdac explain` and `use text;` work without any file beside it.

#![forbid(unsafe_code)]

/// Error pages by code, ascending.
static ERROR_PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/error_pages.rs"));

/// The standard library's files by name, ascending.
static STD_LIBRARIES: &[(&str, &str)] = &[
    ("net", include_str!("../std/net.lnic")),
    ("text", include_str!("../std/text.lnic")),
];

/// The source of a library of the standard library.
pub fn std_library(name: &str) -> Option<&'static str> {
    find(STD_LIBRARIES, name)
}

/// The names of the standard library's libraries, ascending.
pub fn std_library_names() -> impl Iterator<Item = &'static str> {
    STD_LIBRARIES.iter().map(|&(name, _)| name)
}

/// The page of an error or warning code, as Markdown.
pub fn error_page(code: &str) -> Option<&'static str> {
    find(ERROR_PAGES, code)
}

/// All codes that have a page, ascending.
pub fn error_codes() -> impl Iterator<Item = &'static str> {
    ERROR_PAGES.iter().map(|&(code, _)| code)
}

fn find(table: &[(&str, &'static str)], key: &str) -> Option<&'static str> {
    table
        .binary_search_by_key(&key, |&(name, _)| name)
        .ok()
        .map(|at| table[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standard_library_file_names_itself() {
        for name in std_library_names() {
            let source = std_library(name).expect("listed");
            assert!(source.contains(&format!("library {name};")), "{name}");
        }
        assert_eq!(std_library("nothing"), None);
    }

    #[test]
    fn every_page_has_its_title_and_its_three_parts() {
        for code in error_codes() {
            let page = error_page(code).expect("listed");
            assert!(page.starts_with(&format!("# {code}: ")), "{code}");
            let parts: Vec<_> = page.lines().filter(|line| line.starts_with("## ")).collect();
            assert_eq!(parts, ["## What", "## Example", "## Mend"], "{code}");
            assert_eq!(page.matches("```lnic\n").count(), 2, "{code}");
        }
    }
}
