//! Sizes for people: tables of text.

use std::fmt::Write;

use super::{LambdaSize, Sizes, StageSize};

/// A number with a comma between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Rows under a head: the first column to the left, the others to the right, as wide as they need.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let wide = widths[column];
            let _ = if column == 0 {
                write!(line, "{cell:<wide$}")
            } else {
                write!(line, "  {cell:>wide$}")
            };
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

fn stage_row(stage: &StageSize) -> Vec<String> {
    let numbers = [
        stage.words,
        stage.around,
        stage.functions,
        stage.lambda_words,
        stage.tables,
        stage.table_entries,
        stage.lambdas,
        stage.branches,
        stage.actions,
        stage.assigned_words,
        stage.headers,
        stage.worst_cycles,
        stage.expected_cycles,
    ];
    std::iter::once(stage.name.clone())
        .chain(numbers.map(grouped))
        .collect()
}

const STAGE_HEAD: [&str; 14] = [
    "PASS",
    "WORDS",
    "AROUND",
    "FUNCTIONS",
    "CODE",
    "TABLES",
    "ENTRIES",
    "LAMBDAS",
    "BRANCHES",
    "ACTIONS",
    "ASSIGNED",
    "HEADERS",
    "WORST",
    "EXPECTED",
];

fn head(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The whole report.
pub fn text(sizes: &Sizes) -> String {
    let mut out = format!(
        "{} workloads in one image for {}\n\n",
        sizes.workloads, sizes.target
    );
    let mut rows = vec![head(&STAGE_HEAD)];
    rows.extend(sizes.stages.iter().map(stage_row));
    out += &table(&rows);
    out += "\nWords and cycles by the cost model of the target; WORST and EXPECTED are sums over the lambdas.\n\n";
    let store = &sizes.store;
    let _ = writeln!(
        out,
        "base {} (fixed firmware) + image {} = {} of {} words: {}",
        grouped(store.base),
        grouped(store.image),
        grouped(store.base + store.image),
        grouped(store.words),
        if store.fits {
            format!("fits, {} free", grouped(store.distance))
        } else {
            format!("over by {}", grouped(store.distance))
        }
    );
    out.push('\n');
    out += &lambdas(sizes);
    out.push('\n');
    out += &memory(sizes);
    for stage in sizes.stages.iter().filter(|stage| !stage.notes.is_empty()) {
        let _ = writeln!(out, "\n{}", stage.name);
        for note in &stage.notes {
            let _ = writeln!(out, "  {note}");
        }
    }
    out
}

fn lambdas(sizes: &Sizes) -> String {
    let mut names: Vec<&str> = vec!["LAMBDA", "ON", "LINKED"];
    names.extend(sizes.stages.iter().skip(1).map(|stage| short(&stage.name)));
    names.extend(["SHARED BY", "WORST", "EXPECTED", "WORST NS", "BYTES"]);
    let mut rows = vec![head(&names)];
    for lambda in &sizes.lambdas {
        let mut row = vec![lambda.name.clone(), lambda.runs_on.clone()];
        row.extend(lambda.words.iter().map(|words| grouped(*words)));
        let last = |list: &[u64]| grouped(list.last().copied().unwrap_or(0));
        if lambda.runs_on == "nic" {
            row.push(grouped(lambda.sharers));
            row.push(last(&lambda.worst_cycles));
            row.push(last(&lambda.expected_cycles));
            row.push(grouped(lambda.worst_ns));
            row.push(regions(sizes, lambda));
        } else {
            row.extend(["-"; 5].map(str::to_owned));
        }
        rows.push(row);
    }
    let mut out = table(&rows);
    for lambda in &sizes.lambdas {
        if let Some(why) = &lambda.why {
            let _ = writeln!(out, "  {}: host, as {why}", lambda.name);
        }
    }
    out
}

/// Where what a lambda touches lies at the end, and how much of it.
fn regions(sizes: &Sizes, lambda: &LambdaSize) -> String {
    let last = lambda.region_bytes.last().map_or(&[][..], |bytes| bytes);
    let parts = last.iter().zip(&sizes.memory).filter(|(bytes, _)| **bytes > 0);
    let parts: Vec<String> = parts
        .map(|(bytes, memory)| format!("{} {}", memory.name, grouped(*bytes)))
        .collect();
    if parts.is_empty() {
        "-".to_owned()
    } else {
        parts.join(" + ")
    }
}

/// A pass's name as a column's head.
fn short(pass: &str) -> &str {
    match pass {
        "lambda-coalescing" => "COALESCED",
        "match-reduction" => "REDUCED",
        "dead-code" => "SWEPT",
        "memory-stratification" => "STRATIFIED",
        "partition" => "PARTITIONED",
        other => other,
    }
}

fn memory(sizes: &Sizes) -> String {
    let mut rows = vec![head(&["MEMORY", "LATENCY", "BYTES", "LINKED", "USED"])];
    for memory in &sizes.memory {
        let numbers = [memory.latency, memory.bytes, memory.linked, memory.used];
        rows.push(
            std::iter::once(memory.name.clone())
                .chain(numbers.map(grouped))
                .collect(),
        );
    }
    let mut out = table(&rows);
    if sizes.objects.is_empty() {
        return out;
    }
    let mut rows = vec![head(&["OBJECT", "BYTES", "IN"])];
    for object in &sizes.objects {
        rows.push(vec![
            object.name.clone(),
            grouped(object.bytes),
            object.memory.clone(),
        ]);
    }
    out.push('\n');
    out += &table(&rows);
    out
}

/// What changed since a baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// A table for people.
    pub table: String,
    /// By how many per cent the image's words grew; negative: fell.
    pub percent: f64,
    /// Lambdas that the NIC ran and the host runs now: their words are gone from the image, their place on it too.
    pub left: Vec<String>,
}

/// The change from a baseline.
pub fn change(old: &Sizes, new: &Sizes) -> Change {
    let percent = |old: u64, new: u64| {
        if old == 0 {
            if new == 0 { 0.0 } else { 100.0 }
        } else {
            (new as f64 - old as f64) / old as f64 * 100.0
        }
    };
    let mut rows = vec![head(&["AGAINST THE BASELINE", "OLD", "NEW", "CHANGE"])];
    let mut row = |name: &str, old: u64, new: u64| {
        let change = format!("{:+.1} %", percent(old, new));
        rows.push(vec![name.to_owned(), grouped(old), grouped(new), change]);
    };
    row("words", old.store.image, new.store.image);
    let end = |sizes: &Sizes| {
        sizes
            .stages
            .last()
            .map_or((0, 0), |stage| (stage.tables, stage.worst_cycles))
    };
    row("tables", end(old).0, end(new).0);
    row("worst cycles", end(old).1, end(new).1);
    let before = |name: &str| old.lambdas.iter().find(|lambda| lambda.name == name);
    let last = |lambda: &super::LambdaSize| lambda.words.last().copied().unwrap_or(0);
    for lambda in &new.lambdas {
        let before = before(&lambda.name).map_or(0, last);
        if before != last(lambda) {
            row(&lambda.name, before, last(lambda));
        }
    }
    for gone in old
        .lambdas
        .iter()
        .filter(|old| new.lambdas.iter().all(|lambda| lambda.name != old.name))
    {
        row(&gone.name, last(gone), 0);
    }
    let left = new.lambdas.iter().filter(|lambda| {
        let was_on_nic = before(&lambda.name).is_some_and(|old| old.runs_on == "nic");
        was_on_nic && lambda.runs_on == "host"
    });
    Change {
        left: left.map(|lambda| lambda.name.clone()).collect(),
        table: table(&rows),
        percent: percent(old.store.image, new.store.image),
    }
}
