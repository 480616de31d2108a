//! The examples and the conformance programs as members of images.

use std::path::Path;

use lambdac_cost::{Model, Placement};
use lambdac_driver::disk;
use lambdac_mir::Module;

use super::{Member, device, more_requests};

/// Cycles that the requests of a lambda may take together at worst: those of a lambda over whole images are few.
const CYCLES: u64 = 20_000_000;
/// Fewest requests of a lambda.
const FEWEST: u64 = 2;

/// The workloads of a folder of the project, with up to so many requests a lambda; distinct names only.
///
/// # Panics
/// If a program does not compile.
pub fn folder(name: &str, requests: u64) -> Vec<Member> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    let files = disk::find(&[root]).expect("there are programs");
    let mut members: Vec<Member> = Vec::new();
    for file in files {
        let source = std::fs::read_to_string(&file).expect("sources are text");
        if !source.lines().any(|line| line.starts_with("workload ")) {
            continue;
        }
        let name = file.display().to_string();
        let member = Member::new(&name, &source, |module| {
            more_requests(module, &[], wanted(module, requests))
        });
        let member = member.unwrap_or_else(|error| panic!("{error}"));
        if members
            .iter()
            .all(|other| other.module.name != member.module.name)
        {
            members.push(member);
        }
    }
    members
}

/// A workload without its tests, so many times under names of their own: code that is the same but for its objects.
///
/// # Panics
/// If it is not there or does not compile.
pub fn copies(file: &str, count: usize, requests: u64) -> Vec<Member> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    let source = std::fs::read_to_string(&file).expect("sources are text");
    let source = source.split("\ntest ").next().unwrap_or_default();
    let name = source
        .lines()
        .find_map(|line| line.strip_prefix("workload ")?.strip_suffix(';'));
    let name = name.expect("it is a workload");
    let copy = |number: usize| {
        let own = format!("{name}{number}");
        let source = source.replacen(&format!("workload {name};"), &format!("workload {own};"), 1);
        let member = Member::new(&file.display().to_string(), &source, |module| {
            more_requests(module, &[], wanted(module, requests))
        });
        member.unwrap_or_else(|error| panic!("{error}"))
    };
    (0..count).map(copy).collect()
}

/// How many requests a workload gets: fewer where its lambdas take long.
fn wanted(module: &Module, requests: u64) -> usize {
    let device = device();
    let cost = Model::new(&device).map(|model| model.module(module, &Placement::far(module, &device)));
    let worst = cost
        .iter()
        .flat_map(|cost| &cost.lambdas)
        .map(|code| code.worst)
        .max()
        .unwrap_or(1);
    let each = (CYCLES / worst.max(1)).clamp(FEWEST, requests);
    each as usize * module.lambdas.len()
}
