//! P4: how long lambdac takes from source to P4, against what p4c takes from there; and how large the program of λ-NIC's
//! own workloads is, against the best that was written for them by hand.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lnic_bmv2::tools::Tools;

use crate::report::{Report, Row, Target};
use crate::{RUNS, Setup};

/// Tables of the last of λ-NIC's hand-made programs, `optimized_server_v3` of github.com/Lambda-NIC/lambda_nic.
const TABLES_BY_HAND: f64 = 8.0;
/// The same workloads in the language.
const ORIGINAL: &str = "examples/lambda-nic-original";
/// What is compiled for its time.
const TIMED: [(&str, &str); 2] = [
    ("examples/lambda-nic-original", "λ-NIC's workloads"),
    ("examples", "all examples"),
];

/// Runs both.
pub fn run(setup: &Setup, report: &mut Report) -> Result<()> {
    let root = setup.folder.join("../..");
    let tools = Tools::find();
    for (index, (path, what)) in TIMED.into_iter().enumerate() {
        let folder = setup.scratch.path().join(format!("p4_{index}"));
        let mut runs = Vec::new();
        let mut ours = Vec::new();
        for _ in 0..RUNS {
            let started = Instant::now();
            build(&setup.lambdac, &root.join(path), &folder)?;
            ours.push(started.elapsed().as_secs_f64() * 1e3);
            if let Ok(tools) = &tools {
                let text = std::fs::read_to_string(folder.join("bmv2/image.p4"))?;
                let started = Instant::now();
                tools.compile(&text, &folder)?;
                runs.push((ours[ours.len() - 1], started.elapsed().as_secs_f64() * 1e3));
            }
        }
        let name = format!("{what}: to P4, against p4c from there");
        match &tools {
            Ok(_) => report.add(Row::versus("p4", &name, "ms", &runs).with_target(Target::AtMost(1.0))),
            Err(missing) => {
                report.add(Row::value("p4", &format!("{what}: to P4"), "ms", &ours));
                report.add(Row::skipped("p4", &name, missing));
            }
        }
    }
    let folder = setup.scratch.path().join("p4_original");
    build(&setup.lambdac, &root.join(ORIGINAL), &folder)?;
    size(&folder, tools.as_ref(), report)
}

fn build(lambdac: &Path, sources: &Path, folder: &Path) -> Result<()> {
    let mut command = Command::new(lambdac);
    command.arg("build").arg(sources);
    command.args(["--target", "bmv2", "-o"]).arg(folder);
    // It would run p4c itself.
    command.env("PATH", "").env_remove("P4C");
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "lambdac build: {said}");
    Ok(())
}

/// Figures of the program of λ-NIC's workloads.
fn size(folder: &Path, tools: Result<&Tools, &String>, report: &mut Report) -> Result<()> {
    let text = std::fs::read_to_string(folder.join("bmv2/image.p4"))?;
    let declared = |word: &str| {
        text.lines()
            .filter(|line| line.trim_start().starts_with(word))
            .count() as f64
    };
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with(['/', '*']);
    let mut add = |name: &str, value: f64| {
        report.add(Row::value(
            "p4",
            &format!("λ-NIC's workloads: {name}"),
            "",
            &[value],
        ));
    };
    add("actions", declared("action "));
    add("lines of code", text.lines().filter(is_code).count() as f64);
    add("bits of headers", f64::from(header_bits(&text)));
    let name = "λ-NIC's workloads: tables, against those by hand";
    report.add(Row::versus(
        "p4",
        name,
        "",
        &[(declared("table "), TABLES_BY_HAND)],
    ));
    let name = "λ-NIC's workloads: tables in p4c's JSON";
    match tools {
        Ok(tools) => {
            let json = std::fs::read(tools.compile(&text, folder)?)?;
            let json: serde_json::Value = serde_json::from_slice(&json)?;
            let pipelines = json["pipelines"]
                .as_array()
                .context("p4c's JSON has no pipelines")?;
            let tables = pipelines
                .iter()
                .filter_map(|pipeline| pipeline["tables"].as_array());
            let count = tables.map(Vec::len).sum::<usize>();
            report.add(Row::value("p4", name, "", &[count as f64]));
        }
        Err(missing) => report.add(Row::skipped("p4", name, missing)),
    }
    Ok(())
}

/// Bits of all headers that a program declares.
fn header_bits(text: &str) -> u32 {
    let mut inside = false;
    let mut bits = 0;
    for line in text.lines() {
        if line.starts_with("header ") || line.starts_with('}') {
            inside = line.starts_with("header ");
        }
        let width = line
            .trim_start()
            .strip_prefix("bit<")
            .and_then(|rest| rest.split('>').next());
        if let Some(width) = width.filter(|_| inside) {
            bits += width.parse().unwrap_or(0);
        }
    }
    bits
}
