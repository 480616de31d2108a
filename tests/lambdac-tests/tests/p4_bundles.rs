//! Bundles for the P4 family: complete, the same bytes every time, taken by the tools that are here, and honest where
//! they are not; and the README's table of what runs where, which is made from a bundle's manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lambdac_tests::peers::{path, root, run, write_program};
use lnic_nfp::{STRICT, Toolchain};
use serde_json::Value;
use tempfile::TempDir;

const ORIGINAL: &str = "examples/lambda-nic-original";
/// What stands around the table in README.md.
const MARKERS: [&str; 2] = ["<!-- what runs where: cargo xtask bless -->\n", "<!-- end -->"];
/// The columns of the table.
const TARGETS: [&str; 4] = ["xdp", "bmv2", "nfp", "host"];

fn built(sources: &str, targets: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().display().to_string();
    run(&["build", &path(sources), "--target", targets, "-o", &out]).good();
    dir
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path.strip_prefix(dir).unwrap().to_path_buf(), bytes);
            }
        }
    }
    found
}

fn text(dir: &TempDir, name: &str) -> String {
    std::fs::read_to_string(dir.path().join(name)).unwrap()
}

fn json(dir: &TempDir, name: &str) -> Value {
    serde_json::from_str(&text(dir, name)).unwrap()
}

#[test]
fn bundles_are_complete_and_the_same_every_time() {
    let (first, second) = (built("examples", "bmv2,nfp"), built("examples", "bmv2,nfp"));
    let files = files(first.path());
    assert_eq!(files, self::files(second.path()));
    let names: BTreeSet<&str> = files.keys().filter_map(|path| path.to_str()).collect();
    let always = [
        "manifest.json",
        "bmv2/image.p4",
        "bmv2/image.p4info.txtpb",
        "bmv2/entries.txtpb",
        "nfp/image.p4",
        "nfp/lambdas.c",
        "nfp/image.p4cfg",
        "nfp/build.sh",
        "nfp/README.md",
        "nfp/lnic_nfp.h",
        "nfp/lnic_plugin.h",
    ];
    for name in always {
        assert!(
            names.contains(name) && !files[Path::new(name)].is_empty(),
            "{name}: {names:?}"
        );
    }
    for (name, bytes) in &files {
        let text = String::from_utf8_lossy(bytes);
        assert!(
            !text.contains('@') || !name.starts_with("nfp") || placeholder(&text).is_none(),
            "{name:?}"
        );
        for line in text.lines().filter_map(|line| line.strip_prefix("#include \"")) {
            let header = Path::new("nfp").join(line.trim_end_matches('"'));
            assert!(files.contains_key(&header), "{name:?} includes {header:?}");
        }
    }
}

/// A `@NAME@` that nothing was put in for.
fn placeholder(text: &str) -> Option<&str> {
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c == '@' || c == '_'));
    let mut found = words.filter(|word| word.len() > 2 && word.starts_with('@') && word.ends_with('@'));
    found.next()
}

#[test]
fn the_units_of_bundles_compile_against_the_shim_with_every_warning_an_error() {
    let compilers: Vec<Toolchain> = ["gcc", "clang"].into_iter().filter_map(Toolchain::find).collect();
    if compilers.is_empty() {
        println!("skipped: gcc and clang not found");
    }
    let shim = root().join("runtime-nic/nfp/shim");
    // Many kinds of lambdas in one unit, and units of one lambda each that leave most of the headers unused.
    for sources in ["examples", ORIGINAL, "examples/counter", "examples/kv"] {
        let dir = built(sources, "nfp");
        let nfp = dir.path().join("nfp");
        for compiler in &compilers {
            let mut command = Command::new(compiler.name());
            // Compiled in earnest: only then is gcc asked for what nothing uses.
            command
                .args(STRICT)
                .args(["-O1", "-DPIF_PLUGIN_INIT", "-c", "-o"]);
            command.arg(dir.path().join("lambdas.o")).arg("-I").arg(&nfp);
            command.arg("-I").arg(&shim).arg(nfp.join("lambdas.c"));
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && said.is_empty(),
                "{}: {said}",
                compiler.name()
            );
        }
    }
}

#[test]
fn p4c_takes_the_cards_program_without_a_warning() {
    let named = std::env::var_os("P4C").map(PathBuf::from);
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&folders).map(|folder| folder.join("p4c-bm2-ss"));
    let Some(p4c) = named.into_iter().chain(on_path).find(|path| path.is_file()) else {
        println!("skipped: p4c-bm2-ss not found");
        return;
    };
    for sources in ["examples", ORIGINAL, "examples/counter"] {
        let dir = built(sources, "nfp");
        let nfp = dir.path().join("nfp");
        let mut command = Command::new(&p4c);
        command
            .args(["--emit-externs", "-o"])
            .arg(nfp.join("image.json"))
            .arg(nfp.join("image.p4"));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{sources}: {said}");
        assert!(nfp.join("image.json").is_file());
    }
}

/// Runs a bundle's script with nothing but the ordinary tools on the path, and `folder`.
fn build_sh(dir: &TempDir, folder: Option<&Path>) -> Output {
    let usual = ["/usr/bin", "/bin"].map(PathBuf::from);
    let folders = folder.into_iter().map(Path::to_path_buf).chain(usual);
    let mut command = Command::new("sh");
    command.arg(dir.path().join("nfp/build.sh"));
    command.env("PATH", std::env::join_paths(folders).unwrap());
    command.env("SDK", dir.path().join("no-sdk")).env_remove("OUT");
    command.output().unwrap()
}

/// A folder with an SDK that only writes down what it is asked.
fn stand_in(dir: &TempDir) -> PathBuf {
    let folder = dir.path().join("stand-in");
    std::fs::create_dir(&folder).unwrap();
    let tool = folder.join("nfp4build");
    write_program(&tool, "#!/bin/sh\nprintf '%s\\n' \"$@\"\n");
    folder
}

#[test]
fn the_cards_script_names_what_is_missing() {
    let dir = built("examples/counter", "nfp");
    let output = build_sh(&dir, None);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("missing: nfp4build") && said.contains("SDK"),
        "{said}"
    );
    std::fs::remove_file(dir.path().join("nfp/lnic_plugin.h")).unwrap();
    let output = build_sh(&dir, None);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(3) && said.contains("lnic_plugin.h"),
        "{said}"
    );
}

#[test]
fn the_cards_script_calls_the_sdk_with_the_flags_that_an_image_needs() {
    let dir = built("examples/counter", "nfp");
    let tool = stand_in(&dir);
    let output = build_sh(&dir, Some(&tool));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let args: Vec<&str> = said.lines().collect();
    let after = |flag: &str| {
        args.iter()
            .position(|arg| *arg == flag)
            .and_then(|at| args.get(at + 1))
    };
    let nfp = dir.path().join("nfp");
    let own = |name: &str| nfp.join(name).display().to_string();
    for (flag, value) in [
        ("--incl-p4-build", own("image.p4")),
        ("--sandbox-c", own("lambdas.c")),
        ("--output-nffw-filename", own("out/lambdas.nffw")),
        ("--pif-output-dir", own("out/pif")),
        ("--nfp4c_p4_version", "16".to_owned()),
        ("--nfp4c_p4_compiler", "p4c-nfp".to_owned()),
        ("--disable-component", "flowcache".to_owned()),
        ("--define", "PIF_PLUGIN_INIT".to_owned()),
        ("--sku", "AMDA0096-0001:0".to_owned()),
        ("--platform", "lithium".to_owned()),
    ] {
        assert_eq!(after(flag).copied(), Some(&*value), "{flag}");
    }
    for flag in [
        "--reduced-thread-usage",
        "--no-shared-codestore",
        "--nfirc_implicit_header_valid",
    ] {
        assert!(args.contains(&flag), "{flag}");
    }
    assert!(nfp.join("out/pif").is_dir());
}

/// So much code that an image of it can't be in one core's store.
fn large() -> String {
    let mut source = "workload large; state n: u32;\n".to_owned();
    let mut rules = String::new();
    for lambda in 0..60 {
        let sums: String = (0..12)
            .map(|at| {
                format!(
                    " sum = (sum ^ {}) * {} + n;",
                    lambda * 7919 + at * 31,
                    at * 2 + 1001 + lambda
                )
            })
            .collect();
        writeln!(
            source,
            "lambda l{lambda}(req: [u8; 4]) -> [u32; 1] {{ let mut sum = req[1] as u32;{sums} reply [sum]; }}"
        )
        .unwrap();
        write!(rules, "req[0] == {lambda} => l{lambda}, ").unwrap();
    }
    format!("{source}match (req: [u8; 4]) {{ {rules}_ => drop }}\n")
}

#[test]
fn the_stores_of_two_cores_are_pooled_only_where_an_image_needs_it_and_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("large.lnic");
    std::fs::write(&source, large()).unwrap();
    let (source, out) = (source.display().to_string(), dir.path().display().to_string());
    run(&["build", &source, "--target", "nfp", "-o", &out]).good();
    let tool = stand_in(&dir);
    let output = build_sh(&dir, Some(&tool));
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(out.lines().any(|arg| arg == "--shared-codestore"), "{out}{err}");
    assert!(err.contains("warning") && err.contains("28"), "{err}");
    assert!(text(&dir, "nfp/README.md").contains("Warning: "));
}

#[test]
fn the_cards_rules_have_a_default_for_each_table_and_a_rule_for_each_native_workload() {
    let dir = built("examples", "nfp");
    let (config, manifest) = (json(&dir, "nfp/image.p4cfg"), json(&dir, "manifest.json"));
    let tables = config["tables"].as_object().unwrap();
    for (name, table) in tables {
        assert!(name.starts_with("ingress::"), "{name}");
        let action = table["default_rule"]["action"]["type"].as_str().unwrap();
        assert!(action.starts_with("ingress::"), "{action}");
    }
    assert_eq!(tables["ingress::ports"]["rules"].as_array().unwrap().len(), 2);
    assert!(tables["ingress::listen"]["rules"].as_array().unwrap().is_empty());
    let rules = tables["ingress::workloads"]["rules"].as_array().unwrap();
    let named: BTreeSet<(String, String)> = rules
        .iter()
        .map(|rule| {
            let id = rule["match"]["lambda.workload"]["value"].as_str().unwrap();
            (rule["name"].as_str().unwrap().to_owned(), id.to_owned())
        })
        .collect();
    let native = |workload: &&Value| {
        let lambdas = workload["lambdas"].as_array().unwrap();
        lambdas
            .iter()
            .any(|lambda| lambda["placement"]["nfp"]["side"] == "native")
    };
    let workloads = manifest["workloads"].as_array().unwrap();
    let wanted: BTreeSet<(String, String)> = workloads
        .iter()
        .filter(native)
        .map(|workload| {
            let id = workload["id"].as_u64().unwrap();
            (workload["name"].as_str().unwrap().to_owned(), format!("0x{id:x}"))
        })
        .collect();
    assert_eq!(named, wanted);
    assert!(!wanted.is_empty());
}

/// Where a workload's lambdas are on a target, in few words.
fn cell(workload: &Value, target: &str) -> String {
    let mut sides: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for lambda in workload["lambdas"].as_array().unwrap() {
        let place = &lambda["placement"][target];
        let side = match place["code"].as_str() {
            Some(code) => format!("host ({code})"),
            None => "native".to_owned(),
        };
        sides
            .entry(side)
            .or_default()
            .push(lambda["name"].as_str().unwrap());
    }
    if sides.len() == 1 {
        return sides.into_keys().next().unwrap();
    }
    let side = |(side, lambdas): (String, Vec<&str>)| format!("{side}: `{}`", lambdas.join("`, `"));
    sides.into_iter().rev().map(side).collect::<Vec<_>>().join("; ")
}

fn table() -> String {
    let dir = built("examples", &TARGETS.join(","));
    let manifest = json(&dir, "manifest.json");
    let mut table = format!(
        "| workload | {} |\n|{}\n",
        TARGETS.join(" | "),
        " --- |".repeat(TARGETS.len() + 1)
    );
    for workload in manifest["workloads"].as_array().unwrap() {
        let cells: Vec<String> = TARGETS.iter().map(|target| cell(workload, target)).collect();
        writeln!(
            table,
            "| `{}` | {} |",
            workload["name"].as_str().unwrap(),
            cells.join(" | ")
        )
        .unwrap();
    }
    table
}

#[test]
fn the_readme_says_what_runs_where() {
    let readme = root().join("README.md");
    let text = std::fs::read_to_string(&readme).unwrap();
    let parts = text.split_once(MARKERS[0]).and_then(|(before, rest)| {
        let (old, after) = rest.split_once(MARKERS[1])?;
        Some((before, old, after))
    });
    let (before, old, after) = parts.expect("README.md has the markers of the table");
    let table = table();
    if std::env::var_os("LAMBDAC_BLESS").is_some() {
        std::fs::write(
            &readme,
            format!("{before}{}{table}{}{after}", MARKERS[0], MARKERS[1]),
        )
        .unwrap();
        return;
    }
    assert_eq!(
        old, table,
        "the table in README.md is old: `cargo xtask bless` writes it anew"
    );
}

/// λ-NIC's own program, its services where a NIC can reach them.
fn original() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(root().join(ORIGINAL)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "lnic") {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.replace("127.0.0.1:11211", "192.0.2.9:11211");
            std::fs::write(dir.path().join(path.file_name().unwrap()), text).unwrap();
        }
    }
    dir
}

#[test]
fn the_original_as_a_whole_runs_on_the_card_with_fewer_tables_than_when_written_by_hand() {
    // Tables of λ-NIC's third version, counted in its released source.
    const BY_HAND: usize = 8;
    let sources = original();
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (
        sources.path().display().to_string(),
        dir.path().display().to_string(),
    );
    run(&["build", &from, "--target", "nfp", "-o", &to]).good();
    let manifest = json(&dir, "manifest.json");
    for workload in manifest["workloads"].as_array().unwrap() {
        assert_eq!(cell(workload, "nfp"), "native", "{}", workload["name"]);
    }
    let program = text(&dir, "nfp/image.p4");
    let lines = |mark: &str| {
        program
            .lines()
            .filter(|line| line.trim_start().starts_with(mark))
            .count()
    };
    let entries: usize = json(&dir, "nfp/image.p4cfg")["tables"]
        .as_object()
        .unwrap()
        .values()
        .map(|table| table["rules"].as_array().unwrap().len())
        .sum();
    let (tables, actions) = (lines("table "), lines("action "));
    println!("{tables} tables, {entries} entries, {actions} actions");
    assert!(tables < BY_HAND, "{tables} tables");
    assert!(
        program.contains("go_on()"),
        "answers of services reach the plugin"
    );
    // What both sides must know alike.
    let plugin = text(&dir, "nfp/lnic_plugin.h");
    for (p4, c) in [
        ("16w0x7fc0", "#define LNIC_FIRST_PORT 0x7fc0u"),
        ("& 16w0xffc0", "#define LNIC_PORT_MASK 0xffc0u"),
        ("void lnic_lambdas()", "int pif_plugin_lnic_lambdas("),
        ("bit<32> lnic_again;", "scalars__metadata__lnic_again("),
        ("bit<32> lnic_ingress;", "scalars__metadata__lnic_ingress("),
        ("header grow_4_t", "LNIC_GROW(4)"),
        ("header grow_64_t", "LNIC_GROW(64)"),
    ] {
        assert!(program.contains(p4) && plugin.contains(c), "{p4}, {c}");
    }
}

#[test]
fn run_names_what_a_card_needs() {
    let counter = path("examples/counter");
    let without = run(&["run", &counter, "--nic", "nfp:0"]);
    assert!(
        without.status == 2 && without.stderr.contains("--listen"),
        "{}",
        without.stderr
    );
    let none = run(&["run", &counter, "--nic", "nfp:7"]);
    assert!(
        none.status == 2 && none.stderr.contains("no number of a card"),
        "{}",
        none.stderr
    );
    if Path::new("/opt/netronome").exists() {
        println!("skipped: there may be a card here");
        return;
    }
    let missing = run(&["run", &counter, "--nic", "nfp:0", "--listen", "192.0.2.1:4369"]);
    assert!(
        missing.status == 3 && missing.stderr.contains("missing: rtecli"),
        "{}",
        missing.stderr
    );
}

#[test]
fn programs_of_the_p4_family_can_be_printed_alone() {
    let counter = path("examples/counter");
    let p4 = run(&["build", &counter, "--emit", "p4"]).good();
    assert!(p4.contains("V1Switch(") && p4.contains("counter.add"), "{p4}");
    let microc = run(&["build", &counter, "--emit", "microc"]).good();
    assert!(
        microc.contains("#include \"lnic_nfp.h\"") && microc.contains("__export"),
        "{microc}"
    );
}
