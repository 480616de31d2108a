//! `size`: instruction words of images, by the cost model and the passes of `lambdac size`.
//!
//! λ-NIC's unoptimised program, as linked and as optimised; 64 generated workloads that share helpers, likewise; how many
//! of these fit a core; and how long 1,000 workloads take to link, at first and after one changed. Ratios are of an image
//! after all passes to the same image as linked.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::report::{Report, Row, Target};
use crate::{RUNS, Setup, relink, size_original as original};

/// Workloads that share helpers.
const SHARING: usize = 64;
/// Flags that keep everything on the NIC, whether it fits or not.
const WHOLE: [&str; 2] = ["--no-pass", "partition"];
/// Workloads of a large image.
const MANY: usize = 1_000;

/// Runs the bench.
pub fn run(setup: &Setup, report: &mut Report) -> Result<()> {
    original::run(setup, report)?;
    let sharing = setup.scratch.path().join("sharing");
    write_sharing(&sharing, SHARING)?;
    // What does not fit goes to the host; here all of it is counted.
    let sizes = self::sizes(setup, &sharing, &WHOLE)?;
    let [linked, end] = ends(&sizes)?;
    words(report, "64 workloads that share helpers", linked, end, 0.40)?;
    fits(report, SHARING, &self::sizes(setup, &sharing, &[])?)?;
    let many = setup.scratch.path().join("many");
    write_sharing(&many, MANY)?;
    let mut timed = |name: &str, flags: &[&str]| -> Result<Value> {
        let (mut seconds, mut last) = (Vec::new(), Value::Null);
        for _ in 0..RUNS {
            let start = Instant::now();
            last = self::sizes(setup, &many, flags)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        report.add(Row::value("size", name, "s", &seconds));
        Ok(last)
    };
    timed("1,000 workloads: compile, link, all passes but the cut", &WHOLE)?;
    let cut = timed("1,000 workloads: compile, link, all passes and the cut", &[])?;
    fits(report, MANY, &cut)?;
    // The helpers stand in each file, where they are compiled from memory.
    let helpers = HELPERS.replace("library helpers;", "");
    relink::run(report, MANY, &|index, variant| {
        let workload = sharing_with(index, index * 7919 + 13 + variant);
        let workload = workload.replace("use helpers;\n", "").replace("helpers::", "");
        format!(
            "{workload}\n{}",
            helpers.replace("//! What many workloads do alike.", "")
        )
    })
}

/// How many lambdas of workloads that share helpers stay on the NIC, where the others are cut.
fn fits(report: &mut Report, workloads: usize, sizes: &Value) -> Result<()> {
    let on_nic = sizes["lambdas"].as_array().into_iter().flatten();
    let on_nic = on_nic.filter(|lambda| lambda["runs_on"] == "nic").count();
    ensure!(sizes["store"]["fits"] == true, "what is left does not fit");
    report.add(Row::value(
        "size",
        &format!(
            "lambdas of {} that fit a core, the others on the host",
            workloads * 3
        ),
        "",
        &[on_nic as f64],
    ));
    Ok(())
}

/// The words after all passes against those as linked, and what is asked of them.
pub fn words(report: &mut Report, name: &str, linked: &Value, end: &Value, most: f64) -> Result<()> {
    let runs = [(number(end, "words")?, number(linked, "words")?)];
    report.add(Row::versus("size", name, "words", &runs).with_target(Target::AtMost(most)));
    Ok(())
}

/// A number of a stage.
pub fn number(stage: &Value, name: &str) -> Result<f64> {
    stage[name]
        .as_f64()
        .with_context(|| format!("no number {name:?}"))
}

/// The first and the last stage.
pub fn ends(sizes: &Value) -> Result<[&Value; 2]> {
    let stages = sizes["stages"].as_array().context("no stages")?;
    let first = stages.first().context("no stage")?;
    Ok([first, stages.last().unwrap_or(first)])
}

/// What `lambdac size --format json` says.
pub fn sizes(setup: &Setup, files: &Path, flags: &[&str]) -> Result<Value> {
    let output = Command::new(&setup.lambdac)
        .arg("size")
        .arg(files)
        .args(["--target", "nfp", "--format", "json"])
        .args(flags)
        .output()?;
    ensure!(
        output.status.success(),
        "lambdac size: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Workloads with a library of helpers, each with its own names, constants and state.
fn write_sharing(folder: &Path, count: usize) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("helpers.lnic"), HELPERS)?;
    for index in 0..count {
        std::fs::write(folder.join(format!("s{index:04}.lnic")), sharing(index))?;
    }
    Ok(())
}

const HELPERS: &str = "//! What many workloads do alike.
library helpers;

fn mix(data: bytes, salt: u32) -> u32 {
    let mut hash = salt;
    for i in 0..data.len() max 64 {
        hash = (hash ^ data[i] as u32) * 16777619;
    }
    return hash ^ (hash >> 15);
}

fn word(data: bytes, at: u32) -> u32 {
    if at + 4 > data.len() {
        return 0;
    }
    return (data[at] as u32) << 24 | (data[at + 1] as u32) << 16 | (data[at + 2] as u32) << 8 | data[at + 3] as u32;
}

fn framed(code: u8, value: u32) -> bytes<16> {
    let mut out: bytes<16>;
    out.push(b'=');
    out.push(code);
    out.push((value >> 24) as u8);
    out.push((value >> 16) as u8);
    out.push((value >> 8) as u8);
    out.push(value as u8);
    return out;
}
";

fn sharing(index: usize) -> String {
    sharing_with(index, index * 7919 + 13)
}

fn sharing_with(index: usize, salt: usize) -> String {
    format!(
        "//! Generated workload {index}.
workload s{index:04};

use helpers;

header Request {{ op: u8, key: bytes<64> }}

state seen: counter;

lambda hash(req: Request) -> bytes<16> {{
    reply helpers::framed(b'h', helpers::mix(req.key, {salt}));
}}

lambda first(req: Request) -> bytes<16> {{
    let value = helpers::word(req.key, 0) ^ {salt};
    reply helpers::framed(b'f', value);
}}

lambda count(req: Request) -> bytes<16> {{
    seen.add(1);
    reply helpers::framed(b'c', helpers::mix(req.key, {salt}));
}}

match (req: Request) {{
    req.op == 0 => hash,
    req.op == 1 => first,
    req.op == 2 => count,
    _ => drop,
}}
"
    )
}
