//! Sizes for people: tables of text.
//!
//! Names come from programs, descriptions and baselines; no cell brings control characters to a terminal.

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

/// Text without control characters: what a file says does nothing to a terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// Rows under a head: the first column to the left, the others to the right, as wide as they need.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = (rows.iter())
        .map(|row| row.iter().map(|cell| clean(cell)).collect())
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &rows {
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

pub(super) fn head(names: &[&str]) -> Vec<String> {
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
        sizes.verdict()
    );
    out.push('\n');
    out += &lambdas(sizes);
    out.push('\n');
    out += &memory(sizes);
    for stage in sizes.stages.iter().filter(|stage| !stage.notes.is_empty()) {
        let _ = writeln!(out, "\n{}", stage.name);
        for note in &stage.notes {
            let _ = writeln!(out, "  {}", clean(note));
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
        if lambda.on_nic() {
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
            let _ = writeln!(out, "  {}: host, as {}", clean(&lambda.name), clean(why));
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
