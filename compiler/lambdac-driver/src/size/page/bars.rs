//! Bars: the store, the image after each pass, the memories.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::super::text::grouped;
use super::super::{HOST, MemorySize, ObjectSize, Sizes, StageSize};
use super::{escape, table};

/// Colours of parts that are told apart; `style.css` has a class for each.
const COLOURS: usize = 12;
/// Parts of a bar that are drawn one by one.
const MAX_PARTS: usize = 400;

/// A part of a bar.
fn part(class: &str, size: u64, whole: u64, title: &str) -> String {
    if size == 0 || whole == 0 {
        return String::new();
    }
    let width = size as f64 / whole as f64 * 100.0;
    format!(
        "<span class=\"{class}\" style=\"width:{width:.3}%\" title=\"{}\"></span>",
        escape(title)
    )
}

/// A part of so many words.
fn words(class: &str, words: u64, whole: u64, title: &str) -> String {
    part(class, words, whole, &format!("{title}: {} words", grouped(words)))
}

fn key(parts: &[(String, String)]) -> String {
    let mut out = String::from("<ul class=\"key\">\n");
    for (class, text) in parts {
        out += &format!("<li><i class=\"{class}\"></i>{}</li>\n", escape(text));
    }
    out + "</ul>\n"
}

/// Parts with a name and a size, the largest first: spans of a bar, and what its key says. Those beyond the colours
/// share the last one; those beyond [`MAX_PARTS`] share a span.
fn named(mut parts: Vec<(&str, u64)>, whole: u64, unit: &str) -> (String, Vec<(String, String)>) {
    parts.retain(|(_, size)| *size > 0);
    parts.sort_by_key(|(name, size)| (Reverse(*size), *name));
    let told = |name: &str, size: u64| format!("{name}: {} {unit}", grouped(size));
    let (mut spans, mut keys) = (String::new(), Vec::new());
    for (index, (name, size)) in parts.iter().take(MAX_PARTS).enumerate() {
        let class = format!("c{}", index.min(COLOURS));
        spans += &part(&class, *size, whole, &told(name, *size));
        if index < COLOURS {
            keys.push((class, told(name, *size)));
        }
    }
    let sum = |from: usize| parts.iter().skip(from).map(|(_, size)| size).sum::<u64>();
    let others = |from: usize| told(&format!("{} others", parts.len() - from), sum(from));
    if parts.len() > MAX_PARTS {
        spans += &part(&format!("c{COLOURS}"), sum(MAX_PARTS), whole, &others(MAX_PARTS));
    }
    if parts.len() > COLOURS {
        keys.push((format!("c{COLOURS}"), others(COLOURS)));
    }
    (spans, keys)
}

/// The core's store: firmware, what stands around the lambdas, functions, each lambda, what is free.
pub(super) fn store(sizes: &Sizes) -> String {
    let store = &sizes.store;
    let whole = store.words.max(store.base + store.image);
    let Some(end) = sizes.stages.last() else {
        return String::new();
    };
    let mut out = String::from("<div class=\"bar\" role=\"img\" aria-label=\"the core's store\">");
    out += &words("base", store.base, whole, "fixed firmware");
    out += &words("around", end.around, whole, "headers, tables, branches, actions");
    out += &words("functions", end.functions, whole, "functions that lambdas share");
    let (spans, lambdas) = named(shares(sizes, end), whole, "words");
    out += &spans;
    out += "</div>\n";
    let free = if store.fits {
        format!("free: {}", grouped(store.distance))
    } else {
        format!("missing: {}", grouped(store.distance))
    };
    let mut all = vec![
        (
            "base".to_owned(),
            format!("fixed firmware: {}", grouped(store.base)),
        ),
        (
            "around".to_owned(),
            format!("around the lambdas: {}", grouped(end.around)),
        ),
        (
            "functions".to_owned(),
            format!("functions: {}", grouped(end.functions)),
        ),
    ];
    all.extend(lambdas);
    all.push(("free".to_owned(), free));
    out + &key(&all)
}

/// Words of each lambda at the end. Shares of shared code are rounded up; together they are no more than there is.
fn shares<'s>(sizes: &'s Sizes, end: &StageSize) -> Vec<(&'s str, u64)> {
    let mut left = end.lambda_words;
    let mut share = |words: u64| {
        let words = words.min(left);
        left -= words;
        words
    };
    let lambdas = sizes.lambdas.iter();
    lambdas
        .map(|lambda| (&*lambda.name, share(lambda.words.last().copied().unwrap_or(0))))
        .collect()
}

/// The image as linked and after each pass, and what it holds.
pub(super) fn stages(sizes: &Sizes) -> String {
    let whole = sizes.stages.iter().map(|stage| stage.words).max().unwrap_or(0);
    let mut out = String::from("<div class=\"rows\">\n");
    for stage in &sizes.stages {
        out += &format!("<div>{}</div><div class=\"bar\">", escape(&stage.name));
        out += &words("around", stage.around, whole, "around the lambdas");
        out += &words("functions", stage.functions, whole, "functions");
        out += &words("code", stage.lambda_words, whole, "lambdas");
        out += &format!("</div><div class=\"number\">{}</div>\n", grouped(stage.words));
    }
    out += "</div>\n";
    let kinds = [
        ("around", "around the lambdas"),
        ("functions", "functions"),
        ("code", "lambdas"),
    ];
    out += &key(&kinds.map(|(class, text)| (class.to_owned(), text.to_owned())));
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

/// Each memory: how full it is, and what lies in it.
pub(super) fn memory(sizes: &Sizes) -> String {
    let mut lies: BTreeMap<&str, Vec<(&str, u64)>> = BTreeMap::new();
    for object in &sizes.objects {
        let inside = lies.entry(&object.memory).or_default();
        inside.push((&object.name, object.bytes));
    }
    let mut out = String::from("<div class=\"rows\">\n");
    for memory in &sizes.memory {
        out += &one_memory(memory, lies.remove(&*memory.name).unwrap_or_default());
    }
    out += "</div>\n";
    if sizes.objects.is_empty() {
        return out;
    }
    out += "<p class=\"quiet\">The thin bar is how full a memory is; the bar under it is what lies in it, to the scale of what is taken.</p>\n";
    let place = |object: &ObjectSize| match &*object.memory {
        HOST => "the host".to_owned(),
        memory => memory.to_owned(),
    };
    let row = |object: &ObjectSize| vec![object.name.clone(), place(object), grouped(object.bytes)];
    let rows: Vec<Vec<String>> = sizes.objects.iter().map(row).collect();
    out += &format!(
        "<details><summary>{} objects and constants</summary>\n",
        sizes.objects.len()
    );
    out += &table(&["object or constant", "lies in", "bytes"], &rows);
    out + "</details>\n"
}

fn one_memory(memory: &MemorySize, objects: Vec<(&str, u64)>) -> String {
    let name = format!("{} ({} cycles)", memory.name, memory.latency);
    let whole = memory.bytes.max(memory.used);
    let full = format!("{} of {} bytes", grouped(memory.used), grouped(memory.bytes));
    let mut out = format!(
        "<div>{}</div><div><div class=\"bar thin\">{}</div>",
        escape(&name),
        part("used", memory.used, whole, &full)
    );
    let (spans, keys) = named(objects, memory.used, "bytes");
    if !keys.is_empty() {
        out += &format!("<div class=\"bar\">{spans}</div>\n{}", key(&keys));
    }
    out + &format!("</div><div class=\"number\">{}</div>\n", escape(&full))
}
