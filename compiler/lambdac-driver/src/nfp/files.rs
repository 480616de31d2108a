//! The files of a bundle.

use std::fmt::Write;

use lambdac_backend_c::{HEADERS, Symbol, SymbolKind};
use lambdac_backend_p4::nfp::Rule;

use super::{Emitted, Error, Listen};
use crate::Image;
use crate::nic::Place;

const BUILD: &str = include_str!("build.sh");
const README: &str = include_str!("README.md");
const UNIT: &str = "lambdas.c";
/// Addresses of the example in README.md: of TEST-NET-1 (RFC 5737), and of local administration (IEEE 802).
const EXAMPLE: Listen = Listen {
    mac: [2, 0, 0, 0, 0, 1],
    address: 0xc000_0201,
    port: lnic_wire::DEFAULT_PORT,
    broadcast: 0xc000_02ff,
};

/// The files of a bundle, by name in its folder.
///
/// # Errors
/// If a rule is no JSON.
pub fn files(image: &Image, emitted: &Emitted) -> Result<Vec<(String, String)>, Error> {
    let headers = included(&emitted.c.text);
    let mut files = vec![
        ("image.p4".to_owned(), emitted.p4_text()),
        (UNIT.to_owned(), emitted.c.text.clone()),
        ("image.p4cfg".to_owned(), emitted.config()?),
        ("build.sh".to_owned(), build(emitted, &headers)),
        ("README.md".to_owned(), readme(image, emitted, &headers)?),
    ];
    files.extend(
        headers
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text.to_owned())),
    );
    Ok(files)
}

type Header = (&'static str, &'static str);

/// The headers that a unit includes, and those that they include.
fn included(unit: &str) -> Vec<Header> {
    let mut found: Vec<Header> = Vec::new();
    let mut texts = vec![unit];
    while let Some(text) = texts.pop() {
        for header in HEADERS {
            if text.contains(&format!("#include \"{}\"", header.0)) && !found.contains(&header) {
                found.push(header);
                texts.push(header.1);
            }
        }
    }
    found.sort_unstable();
    found
}

fn build(emitted: &Emitted, headers: &[Header]) -> String {
    let mut sources = vec![UNIT];
    sources.extend(headers.iter().map(|(name, _)| *name));
    let store = match emitted.store.is_pooled() {
        true => "--shared-codestore",
        false => "--no-shared-codestore",
    };
    let warning = emitted.store.warning();
    let warning = warning.map(|text| format!("echo 'build.sh: warning: {text}' >&2\n\n"));
    BUILD
        .replace("@SOURCES@", &sources.join(" "))
        .replace("@STORE@", store)
        .replace("@WARNING@", &warning.unwrap_or_default())
}

fn readme(image: &Image, emitted: &Emitted, headers: &[Header]) -> Result<String, Error> {
    let names: Vec<String> = headers.iter().map(|(name, _)| format!("`{name}`")).collect();
    let rule = Rule::listen(&EXAMPLE);
    Ok(README
        .replace("@HEADERS@", &names.join(", "))
        .replace("@SIZE@", &size(emitted))
        .replace("@LISTEN_TABLE@", &rule.table_name())
        .replace("@LISTEN_NAME@", &rule.name)
        .replace("@LISTEN_MATCH@", &rule.match_json()?)
        .replace("@LISTEN_ACTION@", &rule.action_json()?)
        .replace("@PORT@", &emitted.port.to_string())
        .replace("@PLACES@", &places(image, emitted))
        .replace("@SYMBOLS@", &symbols(emitted)))
}

fn size(emitted: &Emitted) -> String {
    let store = emitted.store;
    match store.warning() {
        Some(warning) => format!("Warning: {warning}."),
        None => format!(
            "The image is estimated at {} of a core's {} words, so that no stores of two cores are pooled.",
            store.words, store.single
        ),
    }
}

fn places(image: &Image, emitted: &Emitted) -> String {
    let mut table = "| lambda | runs | because |\n| --- | --- | --- |".to_owned();
    for (linked, places) in image.workloads.iter().zip(&emitted.places) {
        let module = &linked.compiled.module;
        for (lambda, place) in module.lambdas.iter().zip(places.lambdas()) {
            let (side, why) = match place {
                Place::Native => ("on the card", String::new()),
                Place::Host { code, reason } => {
                    ("on the host", format!("{code}: {}", reason.replace('|', "\\|")))
                }
            };
            // Writing to a string never fails.
            let _ = write!(table, "\n| `{}.{}` | {side} | {why} |", module.name, lambda.name);
        }
    }
    table
}

fn symbols(emitted: &Emitted) -> String {
    let objects = emitted.c.symbols.iter();
    let line = |symbol: &Symbol| {
        let field = match symbol.kind {
            SymbolKind::Object(_) => String::new(),
            SymbolKind::Field(_, field) => format!(", field {field}"),
            SymbolKind::Param(_) => return None,
        };
        let (name, item, size) = (&symbol.name, &symbol.item, symbol.size);
        Some(format!("- `_{name}`: `{item}`{field}, {size} bytes"))
    };
    let lines: Vec<String> = objects.filter_map(line).collect();
    match lines.is_empty() {
        true => "(there are none)".to_owned(),
        false => lines.join("\n"),
    }
}
