//! Bars: the store, the image after each pass, the memories.

use super::super::text::grouped;
use super::super::{Sizes, StageSize};
use super::{escape, table};

/// A part of a bar.
fn part(class: &str, words: u64, whole: u64, title: &str) -> String {
    if words == 0 || whole == 0 {
        return String::new();
    }
    let width = words as f64 / whole as f64 * 100.0;
    format!(
        "<span class=\"{class}\" style=\"width:{width:.3}%\" title=\"{}: {} words\"></span>",
        escape(title),
        grouped(words)
    )
}

fn key(parts: &[(&str, String)]) -> String {
    let mut out = String::from("<ul class=\"key\">\n");
    for (class, text) in parts {
        out += &format!("<li><i class=\"{class}\"></i>{}</li>\n", escape(text));
    }
    out + "</ul>\n"
}

/// The core's store: firmware, what stands around the lambdas, functions, each lambda, what is free.
pub(super) fn store(sizes: &Sizes) -> String {
    let store = &sizes.store;
    let whole = store.words.max(store.base + store.image);
    let Some(end) = sizes.stages.last() else {
        return String::new();
    };
    let mut out = String::from("<div class=\"bar\" role=\"img\" aria-label=\"the core's store\">");
    out += &part("base", store.base, whole, "fixed firmware");
    out += &part("around", end.around, whole, "headers, tables, branches, actions");
    out += &part("functions", end.functions, whole, "functions that lambdas share");
    let mut left = end.lambda_words;
    for lambda in &sizes.lambdas {
        // Shares of shared code are rounded up; together they are no more than there is.
        let words = lambda.words.last().copied().unwrap_or(0).min(left);
        left -= words;
        out += &part("code", words, whole, &lambda.name);
    }
    out += "</div>\n";
    let free = if store.fits {
        format!("free: {}", grouped(store.distance))
    } else {
        format!("missing: {}", grouped(store.distance))
    };
    out + &key(&[
        ("base", format!("fixed firmware: {}", grouped(store.base))),
        ("around", format!("around the lambdas: {}", grouped(end.around))),
        ("functions", format!("functions: {}", grouped(end.functions))),
        ("code", format!("lambdas: {}", grouped(end.lambda_words))),
        ("free", free),
    ])
}

/// The image as linked and after each pass, and what it holds.
pub(super) fn stages(sizes: &Sizes) -> String {
    let whole = sizes.stages.iter().map(|stage| stage.words).max().unwrap_or(0);
    let mut out = String::from("<div class=\"rows\">\n");
    for stage in &sizes.stages {
        out += &format!("<div>{}</div><div class=\"bar\">", escape(&stage.name));
        out += &part("around", stage.around, whole, "around the lambdas");
        out += &part("functions", stage.functions, whole, "functions");
        out += &part("code", stage.lambda_words, whole, "lambdas");
        out += &format!("</div><div class=\"number\">{}</div>\n", grouped(stage.words));
    }
    out += "</div>\n";
    let head = [
        "pass",
        "words",
        "tables",
        "entries",
        "lambdas",
        "branches",
        "actions",
        "assigned",
        "header bits",
        "worst cycles",
        "expected cycles",
    ];
    let row = |stage: &StageSize| {
        let numbers = [
            stage.words,
            stage.tables,
            stage.table_entries,
            stage.lambdas,
            stage.branches,
            stage.actions,
            stage.assigned_words,
            stage.header_bits,
            stage.worst_cycles,
            stage.expected_cycles,
        ];
        std::iter::once(stage.name.clone())
            .chain(numbers.map(grouped))
            .collect()
    };
    let rows: Vec<Vec<String>> = sizes.stages.iter().map(row).collect();
    out + &table(&head, &rows)
}

/// Each memory, how full it is, and what lies in it.
pub(super) fn memory(sizes: &Sizes) -> String {
    let mut out = String::from("<div class=\"rows\">\n");
    for memory in &sizes.memory {
        let name = format!("{} ({} cycles)", memory.name, memory.latency);
        out += &format!("<div>{}</div><div class=\"bar\">", escape(&name));
        let width = memory.used as f64 / memory.bytes.max(1) as f64 * 100.0;
        if memory.used > 0 {
            out += &format!(
                "<span class=\"code\" style=\"width:{:.3}%\"></span>",
                width.min(100.0)
            );
        }
        out += &format!(
            "</div><div class=\"number\">{} of {} bytes</div>\n",
            grouped(memory.used),
            grouped(memory.bytes)
        );
    }
    out += "</div>\n";
    if sizes.objects.is_empty() {
        return out;
    }
    let rows: Vec<Vec<String>> = sizes
        .objects
        .iter()
        .map(|object| vec![object.name.clone(), object.memory.clone(), grouped(object.bytes)])
        .collect();
    out + &table(&["object or constant", "lies in", "bytes"], &rows)
}
