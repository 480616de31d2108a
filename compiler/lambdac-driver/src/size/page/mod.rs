//! Sizes for a browser: one page that needs nothing else, readable in light and dark.
//!
//! From top to bottom: whether the image fits and by how much; the core's store as one stacked bar; the image after each
//! pass, by kind of code; each memory with what lies in it; the decision structure as linked and as it is now; and each
//! lambda's source with what each line costs, beside its MIR.

mod bars;
mod code;
mod graph;

use lambdac_cost::Model;
use lambdac_image::ImageCost;
use lambdac_target::Device;

use super::text::grouped;
use super::{Measured, Sizes};
use crate::Image;

/// Text in a page.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            c => out.push(c),
        }
    }
    out
}

const STYLE: &str = include_str!("style.css");

/// The page.
pub fn page(measured: &Measured, image: &Image, device: &Device) -> String {
    let sizes = &measured.sizes;
    let cost = Model::new(device).map(|model| ImageCost::of(&measured.optimised, device, &model));
    let cost = cost.unwrap_or_default();
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    out += &format!("<title>lambdac size: {}</title>\n", escape(&sizes.target));
    out += &format!("<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n");
    out += &head(sizes);
    out += &section("The core's store", &bars::store(sizes));
    out += &section("After each pass", &bars::stages(sizes));
    out += &section("What each pass did", &notes(sizes));
    out += &section("Lambdas", &lambdas(sizes));
    out += &section("Memory", &bars::memory(sizes));
    // It was linked before, so it can be again.
    let linked = super::naive(image, device).map(|linked| graph::draw(&linked));
    let graphs = format!(
        "<h3>As linked</h3>{}<h3>Now</h3>{}",
        linked.unwrap_or_default(),
        graph::draw(&measured.optimised)
    );
    out += &section("What picks a lambda", &graphs);
    out += &section("Code", &code::all(&measured.optimised, image, &cost));
    out += "</main>\n</body>\n</html>\n";
    out
}

fn section(title: &str, content: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n{content}</section>\n")
}

fn head(sizes: &Sizes) -> String {
    let store = &sizes.store;
    let class = if store.fits { "good" } else { "bad" };
    let verdict = escape(&sizes.verdict());
    let linked = sizes.stages.first().map_or(0, |stage| stage.words);
    let fell = if linked == 0 {
        0.0
    } else {
        (1.0 - store.image as f64 / linked as f64) * 100.0
    };
    format!(
        "<header>\n<h1>{} workloads on one core of {}</h1>\n<p class=\"verdict\"><strong class=\"{class}\">{verdict}</strong> \
         of {}: {} are the firmware's, {} the image's ({} as linked, {fell:.0} % less).</p>\n</header>\n",
        sizes.workloads,
        escape(&sizes.target),
        grouped(store.words),
        grouped(store.base),
        grouped(store.image),
        grouped(linked)
    )
}

fn notes(sizes: &Sizes) -> String {
    let mut out = String::from("<dl>\n");
    for stage in sizes.stages.iter().skip(1) {
        out += &format!("<dt>{}</dt>\n", escape(&stage.name));
        if stage.notes.is_empty() {
            out += "<dd class=\"quiet\">nothing</dd>\n";
        }
        for note in &stage.notes {
            out += &format!("<dd>{}</dd>\n", escape(note));
        }
    }
    out + "</dl>\n"
}

/// A table: the first column is text, the others numbers.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |row: &[String], tag: &str| -> String {
        let cells = row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)));
        cells.collect()
    };
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let mut out = format!(
        "<div class=\"wide\"><table>\n<thead><tr>{}</tr></thead>\n<tbody>\n",
        cells(&head, "th")
    );
    for row in rows {
        out += &format!("<tr>{}</tr>\n", cells(row, "td"));
    }
    out + "</tbody></table></div>\n"
}

fn lambdas(sizes: &Sizes) -> String {
    let head = [
        "lambda",
        "runs on",
        "words linked",
        "words now",
        "shared by",
        "worst cycles",
        "expected cycles",
        "worst ns",
    ];
    let ends = |list: &[u64], first: bool| {
        let number = if first { list.first() } else { list.last() };
        grouped(number.copied().unwrap_or(0))
    };
    let rows: Vec<Vec<String>> = sizes
        .lambdas
        .iter()
        .map(|lambda| {
            let place = match &lambda.why {
                Some(why) => format!("{}: {why}", lambda.runs_on),
                None => lambda.runs_on.clone(),
            };
            vec![
                lambda.name.clone(),
                place,
                ends(&lambda.words, true),
                ends(&lambda.words, false),
                grouped(lambda.sharers),
                ends(&lambda.worst_cycles, false),
                ends(&lambda.expected_cycles, false),
                grouped(lambda.worst_ns),
            ]
        })
        .collect();
    table(&head, &rows)
}
