//! λ-NIC's unoptimised program: as linked, after each pass alone, after all passes.
//!
//! A lambda that leaves for the host takes its words along, and that is no saving: where a pass sends lambdas away, the
//! numbers are those of the stage before it, and the last column says how many would leave.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::Setup;
use crate::report::{Grid, Report, Row, Target};
use crate::size::{ends, number, sizes, words};

const NAME: &str = "lambda-nic-original";
/// Numbers of a stage, as `lambdac size` calls them, and as they are called here.
const NUMBERS: [(&str, &str); 7] = [
    ("tables", "tables"),
    ("table_entries", "entries"),
    ("lambdas", "lambdas"),
    ("assigned_words", "assigned words"),
    ("words", "words"),
    ("worst_cycles", "worst cycles"),
    ("expected_cycles", "expected cycles"),
];

/// Measures and reports.
pub fn run(setup: &Setup, report: &mut Report) -> Result<()> {
    let folder = setup.folder.join("../../examples").join(NAME);
    let all = sizes(setup, &folder, &[])?;
    let [linked, end] = ends(&all)?;
    words(report, &format!("{NAME}, all passes"), linked, end, 0.65)?;
    for (name, limit) in [("tables", 4.0), ("table_entries", 4.0)] {
        let row = Row::value("size", &format!("{NAME}, {name}"), "", &[number(end, name)?]);
        report.add(row.with_target(Target::AtMost(limit)));
    }
    let mut columns: Vec<&str> = NUMBERS.iter().map(|(_, shown)| *shown).collect();
    columns.push("leave for the host");
    let mut lines = vec![("naive".to_owned(), line(linked, 0)?)];
    let passes: Vec<String> = stages(&all)?.iter().skip(1).filter_map(name_of).collect();
    for alone in &passes {
        let others = passes.iter().filter(|pass| *pass != alone);
        let flags: Vec<&str> = others.flat_map(|pass| ["--no-pass", pass.as_str()]).collect();
        let sizes = sizes(setup, &folder, &flags)?;
        let (stage, left) = kept(&sizes)?;
        let ratio = number(stage, "words")? / number(linked, "words")?;
        report.add(Row::ratio("size", &format!("{NAME}, {alone} alone"), ratio));
        lines.push((format!("{alone} alone"), line(stage, left)?));
    }
    let (stage, left) = kept(&all)?;
    lines.push(("all passes".to_owned(), line(stage, left)?));
    let name = NAME.to_owned();
    report.add_grid("size", &Grid { name, columns, lines });
    Ok(())
}

fn stages(sizes: &Value) -> Result<&Vec<Value>> {
    sizes["stages"].as_array().context("no stages")
}

fn name_of(stage: &Value) -> Option<String> {
    stage["name"].as_str().map(str::to_owned)
}

/// The last stage with all lambdas that the NIC had when the image was linked, and how many leave after it.
fn kept(sizes: &Value) -> Result<(&Value, usize)> {
    let stages = stages(sizes)?;
    let lambdas = sizes["lambdas"].as_array().context("no lambdas")?;
    // The host's lambdas have no words.
    let leaves = |lambda: &&Value| lambda["runs_on"] == "host" && lambda["words"][0] != 0;
    let left = lambdas.iter().filter(leaves).count();
    let before = match left {
        0 => stages.len(),
        _ => (stages.iter())
            .position(|stage| stage["name"] == "partition")
            .context("lambdas left, and nothing sent them")?,
    };
    let stage = before.checked_sub(1).and_then(|index| stages.get(index));
    Ok((stage.context("no stage")?, left))
}

fn line(stage: &Value, left: usize) -> Result<Vec<f64>> {
    let numbers = NUMBERS.iter().map(|(name, _)| number(stage, name));
    numbers.chain([Ok(left as f64)]).collect()
}
