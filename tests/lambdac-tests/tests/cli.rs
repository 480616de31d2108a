//! The command line's contract: exit statuses, diagnostics, and what each command prints.

use std::collections::BTreeSet;
use std::path::Path;

use lambdac_tests::peers::{Options, Ran, Worker, path, run, run_in};
use serde_json::Value;
use tempfile::TempDir;

const GOOD: &str = r#"workload good;
lambda good(req: bytes<8>) -> bytes<8> { reply req; }
test "it echoes" { expect good(b"a") == b"a"; }
test "it echoes nothing" { expect good(b"") == b""; }
"#;

const WARNED: &str = r#"workload warned;
state n: u32;
lambda warned(req: bytes<8>) -> bytes<8> { n = n + 1; reply req; }
"#;

const WRONG: &str = r#"workload wrong;
lambda wrong(req: bytes<8>) -> bytes<8> { let b = unknown; reply more; }
"#;

const FAILING: &str = r#"workload failing;
lambda failing(req: bytes<8>) -> bytes<8> { reply req; }
test "right" { expect failing(b"a") == b"a"; }
test "not right" { expect failing(b"a") == b"b"; }
"#;

/// A folder with the four programs.
fn programs() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("good", GOOD),
        ("warned", WARNED),
        ("wrong", WRONG),
        ("failing", FAILING),
    ] {
        std::fs::write(dir.path().join(format!("{name}.lnic")), text).unwrap();
    }
    dir
}

/// Runs a command line of plain words in the folder.
fn lambdac(dir: &TempDir, line: &str) -> Ran {
    run_in(dir.path(), &line.split_whitespace().collect::<Vec<_>>())
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_exit_status_says_who_is_to_blame() {
    let dir = programs();
    let blocked = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = blocked.local_addr().unwrap();
    let cases = [
        ("check good.lnic", 0),
        ("check warned.lnic", 0),
        ("check wrong.lnic", 1),
        ("check good.lnic wrong.lnic", 1),
        ("check .", 1),
        ("test good.lnic", 0),
        ("test failing.lnic", 1),
        ("test wrong.lnic", 1),
        ("build good.lnic --emit mir", 0),
        ("build warned.lnic -o warned", 0),
        ("build wrong.lnic -o wrong", 1),
        ("build wrong.lnic --emit hir", 1),
        ("run wrong.lnic --listen 127.0.0.1:0 --http 127.0.0.1:0", 1),
        ("", 2),
        ("nonsense", 2),
        ("check", 2),
        ("check good.lnic --nonsense", 2),
        ("check good.lnic --message-format xml", 2),
        ("test good.lnic --target toaster", 2),
        ("build good.lnic", 2),
        ("build good.lnic --target toaster -o out", 2),
        ("build good.lnic --emit mir --no-pass nonsense", 2),
        ("build good.lnic --emit mir --dump-after nonsense", 2),
        (
            "run good.lnic --param good.x=1 --listen 127.0.0.1:0 --http 127.0.0.1:0",
            2,
        ),
        (
            "run good.lnic --service good.none=127.0.0.1:1 --listen 127.0.0.1:0 --http 127.0.0.1:0",
            2,
        ),
        (
            "run good.lnic --fallback good=https://127.0.0.1/ --listen 127.0.0.1:0 --http 127.0.0.1:0",
            2,
        ),
        (
            "run good.lnic --fallback none=http://127.0.0.1/ --listen 127.0.0.1:0 --http 127.0.0.1:0",
            2,
        ),
        ("run good.lnic --trusted nonsense", 2),
        ("run good.lnic --service nonsense", 2),
        ("explain E9999", 2),
        ("new Not-A-Name", 2),
        ("invoke good --hex xyz --http 127.0.0.1:1 --data a", 2),
        ("check missing.lnic", 3),
        ("test missing.lnic", 3),
        ("run missing.lnic", 3),
        ("build good.lnic -o good.lnic/out", 3),
        ("invoke good --to 127.0.0.1:1 --http 127.0.0.1:1", 3),
        ("state dump good --http 127.0.0.1:1", 3),
    ];
    for (line, status) in cases {
        let ran = lambdac(&dir, line);
        assert_eq!(ran.status, status, "lambdac {line}\n{}", ran.stderr);
        // And stderr says why.
        assert!(ran.status == 0 || !ran.stderr.is_empty(), "lambdac {line}");
    }
    let refused = lambdac(
        &dir,
        &format!("run good.lnic --listen 127.0.0.1:0 --http {taken}"),
    );
    assert_eq!(refused.status, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains(&taken.to_string()), "{}", refused.stderr);
}

#[test]
fn help_and_version_are_no_failure() {
    let dir = programs();
    for line in ["--help", "--version", "check --help", "help run"] {
        assert_eq!(lambdac(&dir, line).status, 0, "{line}");
    }
}

#[test]
fn a_json_diagnostic_is_one_object_a_line_with_the_contracts_keys() {
    let dir = programs();
    let ran = lambdac(&dir, "check wrong.lnic warned.lnic --message-format json");
    let keys = |value: &Value| -> Vec<String> {
        let object = value.as_object().expect("an object");
        object.keys().cloned().collect()
    };
    let mut seen = Vec::new();
    for line in ran.stderr.lines() {
        let diagnostic: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let mut found = keys(&diagnostic);
        found.sort();
        assert_eq!(found, ["code", "help", "message", "severity", "spans"], "{line}");
        let spans = diagnostic["spans"].as_array().unwrap();
        assert_eq!(spans.iter().filter(|span| span["primary"] == true).count(), 1);
        for span in spans {
            let mut found = keys(span);
            found.sort();
            assert_eq!(
                found,
                ["column", "end", "file", "label", "line", "primary", "start"]
            );
        }
        seen.push((
            diagnostic["severity"].as_str().unwrap().to_owned(),
            spans[0]["file"].as_str().unwrap().to_owned(),
            spans[0]["line"].as_u64().unwrap(),
        ));
        let file = read(&dir.path().join(spans[0]["file"].as_str().unwrap()));
        let at = |key: &str| spans[0][key].as_u64().unwrap() as usize;
        let line_start = file[..at("start")].rfind('\n').map_or(0, |newline| newline + 1);
        assert_eq!(at("column"), at("start") - line_start + 1);
        assert!(["unknown", "more", "n = n + 1;"].contains(&&file[at("start")..at("end")]));
    }
    let expect = |severity: &str, file: &str, line| (severity.to_owned(), file.to_owned(), line);
    let expected = [
        expect("error", "wrong.lnic", 2),
        expect("error", "wrong.lnic", 2),
        expect("warning", "warned.lnic", 3),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_short_diagnostic_is_one_line_with_its_place() {
    let dir = programs();
    let ran = lambdac(&dir, "check wrong.lnic warned.lnic --message-format short");
    let found = lines(&ran.stderr);
    assert_eq!(found.len(), 3, "{}", ran.stderr);
    assert!(
        found[0].starts_with("wrong.lnic:2:51: error[E0201]: "),
        "{}",
        found[0]
    );
    assert!(
        found[2].starts_with("warned.lnic:3:44: warning[W0"),
        "{}",
        found[2]
    );
}

#[test]
fn nothing_is_coloured_where_there_is_no_terminal() {
    let dir = programs();
    for line in [
        "check wrong.lnic warned.lnic",
        "test failing.lnic",
        "check --nonsense",
        "--help",
        "run good.lnic --listen 127.0.0.1:0 --http 192.0.2.1:1",
    ] {
        let ran = lambdac(&dir, line);
        assert!(!ran.stdout.contains(&0x1b), "lambdac {line}");
        assert!(!ran.stderr.contains('\x1b'), "lambdac {line}");
    }
    let worker = Worker::start_with_names(&[&dir.path().join("good.lnic").display().to_string()]);
    let wire = worker.wire.to_string();
    let ran = run(&["bench", "good", "--to", &wire, "-n", "100"]);
    assert!(!ran.good().contains('\x1b') && !ran.stderr.contains('\x1b'));
    worker.terminate();
    assert!(!worker.wait().1.contains('\x1b'));
}

#[test]
fn a_load_that_nothing_answers_is_no_success() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("mute.lnic");
    std::fs::write(&file, "workload mute; lambda mute() -> bytes<1> { drop; }").expect("it is written");
    let worker = Worker::start_with_names(&[&file.display().to_string()]);
    let wire = worker.wire.to_string();
    let ran = run(&[
        "bench", "mute", "--to", &wire, "-n", "2", "-c", "1", "--format", "json",
    ]);
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("answered no request"), "{}", ran.stderr);
    let measured: serde_json::Value = serde_json::from_str(&ran.text()).expect("the result is still written");
    assert_eq!((&measured["replies"], &measured["lost"]), (&0.into(), &2.into()));
}

#[test]
fn a_terminal_gets_colours_unless_no_color_is_set() {
    // `script` gives the command a terminal.
    if !lambdac_tests::peers::has("script") {
        println!("skipped: script not found");
        return;
    }
    let dir = programs();
    let line = format!("{} check wrong.lnic", lambdac_tests::peers::lambdac().display());
    let on_terminal = |no_color: Option<&str>| {
        let mut command = std::process::Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).current_dir(dir.path());
        command.stdin(std::process::Stdio::null()).env_remove("NO_COLOR");
        command.envs(no_color.map(|value| ("NO_COLOR", value)));
        Ran::from(command.output().unwrap()).text()
    };
    assert!(on_terminal(None).contains('\x1b'));
    assert!(!on_terminal(Some("1")).contains('\x1b'));
}

#[test]
fn a_test_has_a_line_for_each_target_and_the_last_line_counts() {
    let dir = programs();
    let ran = lambdac(&dir, "test good.lnic failing.lnic --target interp,host");
    let expected = [
        "passed  interp good: it echoes",
        "passed  host   good: it echoes",
        "passed  interp good: it echoes nothing",
        "passed  host   good: it echoes nothing",
        "passed  interp failing: right",
        "passed  host   failing: right",
        "failed  interp failing: not right",
        "failed  host   failing: not right",
        "6 passed, 2 failed, 0 skipped",
    ];
    let text = ran.text();
    let sorted = |lines: &[&str]| {
        lines
            .iter()
            .map(|line| (*line).to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(sorted(&lines(&text)), sorted(&expected));
    assert_eq!(lines(&text).last(), expected.last());
    assert!(
        ran.stderr.contains(r#"expected b"b", got b"a""#),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_failed_test_says_what_came_in_one_line_too() {
    let dir = programs();
    let ran = lambdac(&dir, "--message-format short test failing.lnic");
    assert!(
        lines(&ran.stderr)
            .iter()
            .any(|line| line.contains("E0850") && line.ends_with(r#"expected b"b", got b"a""#)),
        "{}",
        ran.stderr
    );
}

#[test]
fn tests_are_chosen_by_target_and_by_text() {
    let dir = programs();
    let one = lambdac(&dir, "test good.lnic failing.lnic --target host --filter nothing");
    assert_eq!(
        one.good(),
        "passed  host   good: it echoes nothing\n1 passed, 0 failed, 0 skipped\n"
    );
    let both = lambdac(&dir, "test good.lnic --target interp,host --filter nothing");
    assert_eq!(lines(&both.good()).last(), Some(&"2 passed, 0 failed, 0 skipped"));
    let none = lambdac(&dir, "test good.lnic --filter unheard-of");
    assert_eq!(none.good(), "0 passed, 0 failed, 0 skipped\n");
}

#[test]
fn every_test_of_the_examples_passes_on_every_target_that_can_run_it() {
    let ran = run(&["test", "examples"]);
    let text = ran.good();
    assert!(!text.lines().any(|line| line.starts_with("failed ")), "{text}");
    // The evaluator and the host run everything; the rest says why not.
    let mut skipped = text.lines().filter(|line| line.starts_with("skipped "));
    assert!(
        skipped
            .all(|line| ["xdp", "nfp", "bmv2"].contains(&line.split_whitespace().nth(1).unwrap_or_default())),
        "{text}"
    );
    for target in ["interp", "host"] {
        let passed = text
            .lines()
            .filter(|line| line.starts_with(&format!("passed  {target:<6} ")));
        assert!(passed.count() > 20, "{text}");
    }
}

/// Every file below a folder, by its path there.
fn files_below(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                found.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_same_input_gives_the_same_bundle_and_it_reads_back() {
    let dir = programs();
    let examples = path("examples");
    for out in ["first", "second", "first.tar", "second.tar"] {
        let ran = run_in(dir.path(), &["build", &examples, "--target", "host", "-o", out]);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
    }
    let first = files_below(&dir.path().join("first"));
    assert!(
        first == files_below(&dir.path().join("second")),
        "the folders differ"
    );
    let names: Vec<_> = first.iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "manifest.json",
        "host/image.o",
        "host/image.h",
        "workloads/web.mir",
    ] {
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
    let tar = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    assert!(tar("first.tar") == tar("second.tar"), "the tars differ");
    let read =
        |name: &str| lnic_bundle::read(&dir.path().join(name), lnic_bundle::Limits::default()).unwrap();
    let (folder, tar) = (read("first"), read("first.tar"));
    assert_eq!(folder.manifest, tar.manifest);
    let workloads: Vec<_> = folder
        .manifest
        .workloads
        .iter()
        .map(|w| w.name.as_str())
        .collect();
    assert!(
        workloads.is_sorted() && workloads.contains(&"kv_get"),
        "{workloads:?}"
    );
}

#[test]
fn a_bundle_that_was_changed_is_refused() {
    let dir = programs();
    assert_eq!(lambdac(&dir, "build good.lnic -o out").status, 0);
    let mir = dir.path().join("out/workloads/good.mir");
    std::fs::write(&mir, read(&mir) + "\n").unwrap();
    let error = lnic_bundle::read(&dir.path().join("out"), lnic_bundle::Limits::default()).unwrap_err();
    assert!(error.to_string().contains("good.mir"), "{error}");
}

#[test]
fn each_stage_can_be_printed() {
    let dir = programs();
    for (stage, expected) in [
        ("ast", "File {"),
        ("hir", "Workload {"),
        ("mir", "module \"good\"\n"),
        ("clif", "function u0:0("),
    ] {
        let ran = lambdac(&dir, &format!("build good.lnic --emit {stage}"));
        assert!(ran.good().contains(expected), "{stage}: {}", ran.text());
    }
    let all = lambdac(&dir, "build good.lnic --emit ast,hir,mir,clif").good();
    let at = |text: &str| all.find(text).unwrap();
    assert!(at("File {") < at("module ") && at("module ") < at("function "));
    lambdac_mir::parse(&lambdac(&dir, "build good.lnic --emit mir").good()).expect("printed MIR parses");
    let broken = lambdac(&dir, "build wrong.lnic --emit ast");
    assert!(
        broken.status == 1 && broken.text().contains("File {"),
        "{}",
        broken.stderr
    );
}

#[test]
fn a_pass_can_be_left_out_and_its_result_dumped() {
    let dir = programs();
    let source = dir.path().join("folds.lnic");
    let text = "workload folds;\nfn twice(x: u8) -> u8 { return x * 2; }\nlambda folds(req: [u8; 1]) -> [u8; 1] { reply [twice(21) + req[0]]; }\n";
    std::fs::write(source, text).unwrap();
    let folded = lambdac(&dir, "build folds.lnic --emit mir").good();
    let unfolded = lambdac(&dir, "build folds.lnic --emit mir --no-pass inline").good();
    assert!(
        !folded.contains("call ") && unfolded.contains("call "),
        "{folded}{unfolded}"
    );
    let dumped = lambdac(&dir, "build folds.lnic --emit mir --dump-after inline");
    assert_eq!(dumped.good(), folded);
    assert!(
        dumped.stderr.contains("// folds after inline\nmodule \"folds\""),
        "{}",
        dumped.stderr
    );
    let all = lambdac(&dir, "build folds.lnic --emit mir --dump-after all");
    let dumps = all
        .stderr
        .lines()
        .filter(|line| line.starts_with("// folds after "));
    assert!(dumps.count() > 5, "{}", all.stderr);
}

#[test]
fn two_workloads_of_one_name_are_an_error_with_both_places() {
    let dir = programs();
    std::fs::create_dir(dir.path().join("other")).unwrap();
    std::fs::copy(dir.path().join("good.lnic"), dir.path().join("other/good.lnic")).unwrap();
    let both = "good.lnic other/good.lnic --message-format json";
    let run_both = format!("run {both} --listen 127.0.0.1:0 --http 127.0.0.1:0");
    for line in [format!("build {both} -o out"), run_both] {
        let ran = lambdac(&dir, &line);
        assert_eq!(ran.status, 1, "{line}");
        let diagnostic: Value = serde_json::from_str(ran.stderr.trim()).unwrap();
        assert_eq!(diagnostic["code"], "E0910");
        let spans = diagnostic["spans"].as_array().unwrap();
        let files: Vec<_> = spans.iter().map(|span| span["file"].as_str().unwrap()).collect();
        assert_eq!(files, ["other/good.lnic", "good.lnic"]);
    }
    for alone in ["check", "test"] {
        assert_eq!(
            lambdac(&dir, &format!("{alone} good.lnic other/good.lnic")).status,
            0
        );
    }
}

#[test]
fn a_new_workload_passes_its_test_and_answers() {
    let dir = tempfile::tempdir().unwrap();
    let made = lambdac(&dir, "new hello_there");
    assert!(
        made.good().contains("lambdac test hello_there"),
        "{}",
        made.text()
    );
    let tested = lambdac(&dir, "test hello_there --target interp,host");
    assert_eq!(
        lines(&tested.good()).last(),
        Some(&"2 passed, 0 failed, 0 skipped")
    );
    assert_eq!(tested.stderr, "");
    let stack = read(&dir.path().join("hello_there/stack.yaml"));
    assert!(
        stack.contains("hello-there:") && stack.contains("provider:"),
        "{stack}"
    );
    let worker = Worker::start(&[&dir.path().join("hello_there").display().to_string()], &[]);
    assert_eq!(worker.ask("hello_there", "world"), "hello, world");
    assert_eq!(lambdac(&dir, "new hello_there").status, 2);
    for wrong in ["match", "Ünd", "a-b", "../up", "a/b"] {
        assert_eq!(lambdac(&dir, &format!("new {wrong}")).status, 2, "{wrong}");
    }
}

#[test]
fn every_code_is_explained() {
    let list = run(&["explain"]).good();
    let codes: Vec<_> = list.lines().filter_map(|line| line.split_once(':')).collect();
    assert!(codes.len() > 80, "{list}");
    let pages = std::fs::read_dir(path("lang-spec/errors")).unwrap();
    assert_eq!(codes.len(), pages.count());
    for (code, title) in codes {
        let page = run(&["explain", code]).good();
        assert!(page.starts_with(&format!("# {code}:{title}\n")), "{code}");
        for heading in ["\n## What", "\n## Example", "\n## Mend"] {
            assert!(page.contains(heading), "{code} has no {heading:?}");
        }
    }
    assert_eq!(
        run(&["explain", "e0201"]).good(),
        run(&["explain", "E0201"]).good()
    );
}

#[test]
fn the_targets_are_listed_for_people_and_for_scripts() {
    let table = run(&["targets"]).good();
    assert!(table.starts_with("TARGET"), "{table}");
    let json: Value = serde_json::from_str(&run(&["targets", "--format", "json"]).good()).unwrap();
    let names: Vec<_> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"interp") && names.contains(&"host"), "{names:?}");
    for name in names {
        assert!(table.lines().any(|line| line.starts_with(name)), "{table}");
    }
}

#[test]
fn shells_complete_the_commands() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]).good();
        for word in ["invoke", "message-format", "explain"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
        if !lambdac_tests::peers::has(shell) {
            println!("skipped: {shell} not found, so its script is not read by it");
            continue;
        }
        let file = dir.path().join(shell);
        std::fs::write(&file, script).unwrap();
        let read = std::process::Command::new(shell)
            .arg("-n")
            .arg(&file)
            .output()
            .unwrap();
        assert!(
            read.status.success(),
            "{shell}: {}",
            String::from_utf8_lossy(&read.stderr)
        );
    }
}

/// The commands by the names that `--help` lists, sub-commands included.
fn commands() -> Vec<Vec<String>> {
    let mut found = vec![vec![]];
    let mut at = 0;
    while let Some(command) = found.get(at).cloned() {
        let mut args: Vec<_> = command.clone();
        args.push("--help".into());
        let help = run(&args).good();
        let list = help.split("\nCommands:\n").nth(1).unwrap_or_default();
        let names = list.lines().take_while(|line| !line.is_empty());
        let names = names.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        for name in names.filter_map(|line| line.split_whitespace().next()) {
            if name != "help" {
                found.push(command.iter().cloned().chain([name.to_owned()]).collect());
            }
        }
        at += 1;
    }
    found
}

#[test]
fn every_command_has_help_and_a_man_page() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(lambdac(&dir, "man -o pages").status, 0);
    let commands = commands();
    assert!(commands.len() > 12, "{commands:?}");
    for command in commands {
        let mut args = command.clone();
        args.push("--help".into());
        let help = run(&args).good();
        let (summary, rest) = help.split_once("\n\n").unwrap_or_default();
        assert!(
            summary.len() > 10 && rest.starts_with("Usage: lambdac"),
            "{command:?}: {help}"
        );
        // Each flag and argument says what it does: on its line or on the next.
        let lines: Vec<_> = rest.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let word = line.trim_start();
            let flag = word.starts_with("--") || (word.starts_with('-') && !word.starts_with("- "));
            let here = line
                .trim_start()
                .split_once("  ")
                .is_some_and(|(_, text)| !text.trim().is_empty());
            let next = lines
                .get(at + 1)
                .is_some_and(|next| next.starts_with("          "));
            assert!(!flag || here || next, "{command:?}: {line}");
        }
        let page = std::iter::once("lambdac".to_owned())
            .chain(command)
            .collect::<Vec<_>>()
            .join("-");
        let page = read(&dir.path().join(format!("pages/{page}.1")));
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
}

#[test]
fn a_worker_that_cannot_listen_says_where() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let options = Options {
        wire: Some(&taken),
        ..Options::default()
    };
    let error = Worker::try_start(&["examples/counter"], &options).unwrap_err();
    assert!(error.contains(&taken), "{error}");
}
