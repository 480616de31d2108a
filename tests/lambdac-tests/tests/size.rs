//! `lambdac size`: what it prints, what it compares, what it refuses.

use std::path::Path;

use lambdac_tests::peers::{Ran, has, run, run_in};
use serde_json::Value;

const ORIGINAL: &str = "examples/lambda-nic-original";
/// A program whose lambdas branch.
const BRANCHES: &str = "examples/rate_limit";
/// Names of the passes in the order that they run.
const PASSES: [&str; 5] = [
    "lambda-coalescing",
    "match-reduction",
    "dead-code",
    "memory-stratification",
    "partition",
];

fn size(args: &[&str]) -> Ran {
    let mut line = vec!["size", ORIGINAL, "--target", "nfp"];
    line.extend(args);
    run(&line)
}

fn json(args: &[&str]) -> Value {
    let mut line = vec![ORIGINAL, "--target", "nfp"];
    line.extend(args);
    json_of(&line)
}

fn json_of(args: &[&str]) -> Value {
    let mut line = vec!["size", "--format", "json"];
    line.extend(args);
    let ran = run(&line);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    serde_json::from_str(&ran.text()).expect("it is JSON")
}

fn names(sizes: &Value) -> Vec<String> {
    let stages = sizes["stages"].as_array().expect("there are stages").iter();
    stages
        .map(|stage| stage["name"].as_str().unwrap_or_default().to_owned())
        .collect()
}

fn words(sizes: &Value) -> Vec<u64> {
    let stages = sizes["stages"].as_array().expect("there are stages").iter();
    stages
        .map(|stage| stage["words"].as_u64().unwrap_or_default())
        .collect()
}

#[test]
fn the_table_says_whether_it_fits_and_what_each_pass_did() {
    let ran = size(&[]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let text = ran.text();
    for wanted in PASSES
        .iter()
        .chain(&["linked", "fits", "base 7,150", "original_web.web_server", "imem"])
    {
        assert!(text.contains(wanted), "{wanted:?} is missing:\n{text}");
    }
}

#[test]
fn each_pass_has_a_stage_and_none_makes_the_image_larger() {
    let sizes = json(&[]);
    let mut wanted = vec!["linked"];
    wanted.extend(PASSES);
    assert_eq!(names(&sizes), wanted);
    assert!(words(&sizes).is_sorted_by(|a, b| a >= b), "{:?}", words(&sizes));
    let lambda = &sizes["lambdas"][0];
    assert_eq!(lambda["words"].as_array().map(Vec::len), Some(wanted.len()));
    let regions = lambda["region_bytes"].as_array().expect("bytes by stage");
    assert_eq!(regions.len(), wanted.len());
    let memories = sizes["memory"].as_array().map(Vec::len);
    assert_eq!(regions[0].as_array().map(Vec::len), memories);
    assert_eq!(sizes["store"]["fits"], true);
}

#[test]
fn each_pass_can_be_left_out() {
    for pass in PASSES {
        let sizes = json(&["--no-pass", pass]);
        assert!(!names(&sizes).iter().any(|name| name == pass), "{pass}");
    }
    let ran = size(&["--no-pass", "magic"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("match-reduction"), "{}", ran.stderr);
}

#[test]
fn growth_past_the_limit_fails_and_the_change_is_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let old = dir.path().join("old.json");
    std::fs::write(&old, size(&["--format", "json"]).stdout).expect("it is written");
    let old = old.display().to_string();
    assert_eq!(size(&["--baseline", &old, "--limit", "2%"]).status, 0);
    let ran = size(&[
        "--baseline",
        &old,
        "--limit",
        "2%",
        "--no-pass",
        "match-reduction",
        "--no-pass",
        "partition",
    ]);
    assert_eq!(ran.status, 1, "{}", ran.text());
    assert!(ran.stderr.contains("the limit is 2 %"), "{}", ran.stderr);
    assert!(ran.text().contains("AGAINST THE BASELINE"));
    // What does not fit leaves for the host, and takes its words along: the image did not grow.
    let ran = size(&[
        "--baseline",
        &old,
        "--limit",
        "2%",
        "--no-pass",
        "match-reduction",
    ]);
    assert_eq!(ran.status, 1, "{}", ran.text());
    assert!(
        ran.stderr.contains("no longer on the NIC: original_"),
        "{}",
        ran.stderr
    );
    let other =
        std::fs::read_to_string(&old)
            .expect("it is there")
            .replacen("\"schema\": 1", "\"schema\": 7", 1);
    std::fs::write(&old, other).expect("it is written");
    assert_eq!(size(&["--baseline", &old]).status, 2);
}

#[test]
fn rates_are_names_and_numbers_of_workloads_that_are_there() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("it is written");
        path.display().to_string()
    };
    let lines = file("lines", "# per second\noriginal_web 1000\noriginal_get = 5\n");
    let object = file("object.json", "{\"original_web\": 1000, \"original_get\": 5}");
    assert_eq!(json(&["--rates", &lines]), json(&["--rates", &object]));
    let long = "x".repeat(5000);
    for (wrong, why) in [
        ("nobody 5", "no workload \"nobody\""),
        ("original_web much", "\"much\" is no number"),
        ("original_web -1", "no number from 0 to 1000000000000"),
        ("original_web inf", "no number from 0 to 1000000000000"),
        ("original_web NaN", "no number from 0 to 1000000000000"),
        ("original_web 2e12", "no number from 0 to 1000000000000"),
        ("original_web", "is no name and number"),
        (&long, "…\" is no name and number"),
        ("original_web 1\noriginal_web 2", "\"original_web\" has two rates"),
        (
            "{\"original_web\": 1, \"original_web\": 2}",
            "\"original_web\" has two rates",
        ),
    ] {
        let ran = size(&["--rates", &file("wrong", wrong)]);
        assert_eq!(ran.status, 2, "{wrong:.80}");
        assert!(ran.stderr.contains(why), "{why:?}: {:.400}", ran.stderr);
        assert!(ran.stderr.len() < 400, "{} bytes", ran.stderr.len());
    }
    assert_eq!(size(&["--rates", "no-such-file"]).status, 3);
}

#[test]
fn a_profile_of_tests_weighs_branches_and_changes_no_words() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("branches.json");
    let file = path.to_str().expect("a path of text");
    let ran = run(&["test", BRANCHES, "--target", "interp", "--profile", file]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let expected = |sizes: &Value| -> Vec<Value> {
        let lambdas = sizes["lambdas"].as_array().expect("there are lambdas").iter();
        lambdas.map(|lambda| lambda["expected_cycles"].clone()).collect()
    };
    let (even, weighed) = (json_of(&[BRANCHES]), json_of(&[BRANCHES, "--profile", file]));
    assert_eq!(words(&even), words(&weighed));
    assert_ne!(expected(&even), expected(&weighed));

    let text = std::fs::read_to_string(&path).expect("it was written");
    std::fs::write(&path, text.replace("\"schema\": 1", "\"schema\": 9")).expect("it can be written");
    let ran = size(&["--profile", file]);
    assert_eq!(ran.status, 2);
    assert!(
        ran.stderr.contains("schema 9, this version writes 1"),
        "{}",
        ran.stderr
    );
    assert_eq!(size(&["--profile", "README.md"]).status, 2);
}

#[test]
fn rates_are_read_from_a_workers_metrics() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("metrics");
    let file = path.to_str().expect("a path of text");
    let count = |workload: &str| {
        let line =
            |target: &str| format!("lnic_requests_total{{workload=\"{workload}\",target=\"{target}\"}} 7\n");
        let other = "lnic_requests_total{workload=\"elsewhere\",target=\"host\"} 9\n";
        let text = format!(
            "# TYPE lnic_requests_total counter\n{other}{}{}",
            line("host"),
            line("xdp")
        );
        std::fs::write(&path, text).expect("it can be written");
        size(&["--rates", file])
    };
    let ran = count("original_web");
    assert_eq!((ran.status, &*ran.stderr), (0, ""), "the worker had others too");
    let ran = count("nobody");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("count no requests of these workloads"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_target_is_a_name_or_a_description() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = run(&["targets", "nfp"]).text();
    assert!(text.contains("[store]"), "{text}");
    let small = text.replacen("base_words = 7150", "base_words = 7600", 1);
    assert_ne!(small, text);
    let path = dir.path().join("small.toml");
    std::fs::write(&path, small).expect("it is written");
    let path = path.display().to_string();
    let ran = run(&["size", ORIGINAL, "--target", &path]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.text().contains("to the host"), "{}", ran.text());
    assert_eq!(run(&["size", ORIGINAL, "--target", "abacus"]).status, 2);
    assert_eq!(run(&["targets", "abacus"]).status, 2);
}

#[test]
fn what_does_not_fit_is_told_with_what_takes_the_room() {
    let dir = tempfile::tempdir().expect("a folder");
    let full = run(&["targets", "nfp"])
        .text()
        .replacen("base_words = 7150", "base_words = 8192", 1);
    let path = dir.path().join("full.toml");
    std::fs::write(&path, full).expect("it is written");
    let path = path.display().to_string();
    let ran = run(&["size", ORIGINAL, "--target", &path]);
    assert_eq!(ran.status, 1, "{}", ran.text());
    for text in [ran.text(), ran.stderr] {
        assert!(text.contains("not even an image without lambdas fits"), "{text}");
        assert!(!text.contains("the most that fits"), "{text}");
    }
    // Whoever asks for the whole image is told of it, and nothing is wrong.
    let mut whole = vec!["--format", "table"];
    PASSES.iter().for_each(|pass| whole.extend(["--no-pass", pass]));
    let ran = size(&whole);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(
        ran.text()
            .contains("of the lambdas on the NIC take most words `original_image.transform_img`"),
        "{}",
        ran.text()
    );
}

#[test]
fn the_page_needs_nothing_from_outside() {
    let ran = size(&["--format", "html"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let page = ran.text();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    for outside in ["http:", "https:", "src=", "@import", "<script", "<link"] {
        assert!(!page.contains(outside), "{outside:?} in the page");
    }
    for wanted in [
        "prefers-color-scheme: dark",
        "<svg",
        "original_web.web_server",
        "transform_img",
        "answer[0]",
    ] {
        assert!(page.contains(wanted), "{wanted:?} is missing");
    }
    let opened = page.matches("<div").count();
    assert_eq!(opened, page.matches("</div>").count(), "every <div> is closed");
}

/// Browsers that take a picture without a screen.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The pixels of the page, as wide and high as asked for, in a colour scheme.
fn picture(browser: &str, dir: &Path, scheme: &str) -> Vec<u8> {
    let out = dir.join(format!("{scheme}.png"));
    let mut args = vec![
        "--headless".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--hide-scrollbars".to_owned(),
        "--window-size=1200,1600".to_owned(),
        format!("--user-data-dir={}", dir.join("profile").display()),
        format!("--screenshot={}", out.display()),
    ];
    if scheme == "dark" {
        args.push("--blink-settings=preferredColorScheme=0".to_owned());
    }
    args.push(format!("file://{}", dir.join("size.html").display()));
    let mut command = std::process::Command::new("timeout");
    command.arg("60").arg(browser).args(&args).current_dir(dir);
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let status = command.status().expect("timeout starts");
    assert!(status.success(), "{browser} made no picture: {status}");
    let file = std::io::BufReader::new(std::fs::File::open(out).expect("it made a picture"));
    let mut reader = png::Decoder::new(file).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("it is small")];
    reader.next_frame(&mut pixels).expect("a frame");
    pixels
}

#[test]
fn a_browser_draws_the_page_light_and_dark() {
    let Some(browser) = BROWSERS.into_iter().find(|browser| has(browser)) else {
        println!("skipped: no browser found");
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let ran = run_in(
        Path::new(env!("CARGO_MANIFEST_DIR")),
        &["size", "../../examples/lambda-nic-original", "--format", "html"],
    );
    std::fs::write(dir.path().join("size.html"), ran.stdout).expect("it is written");
    let [light, dark] = ["light", "dark"].map(|scheme| picture(browser, dir.path(), scheme));
    let mean = |pixels: &[u8]| pixels.iter().map(|byte| u64::from(*byte)).sum::<u64>() / pixels.len() as u64;
    assert!(mean(&light) > 200, "a light page: {}", mean(&light));
    assert!(mean(&dark) < mean(&light), "dark is darker: {}", mean(&dark));
    // Text, bars and lines: the page has many colours, not one.
    let colours: std::collections::BTreeSet<&[u8]> = light.chunks(4).collect();
    assert!(colours.len() > 50, "{} colours", colours.len());
}

/// Workloads in a folder of their own.
fn folder(sources: &[(&str, String)]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, source) in sources {
        std::fs::write(dir.path().join(format!("{name}.lnic")), source).expect("it is written");
    }
    let path = dir.path().display().to_string();
    (dir, path)
}

#[test]
fn a_lambda_that_shared_code_makes_late_is_told() {
    // Alone each is in time; as one code for all with what differs as parameters they are not.
    let source = |number: usize| {
        format!(
            "workload a{number};
@memory(emem)
state n: u32;
@deadline(6200ns)
lambda f(x: [u8; 16]) -> [u8; 16] {{
    let mut o = x;
    let k = n.fetch_add(1);
    for i in 0..16 {{ o[i] = (x[i] ^ (k as u8)) + {number}; }}
    o[3] = o[1] ^ o[2];
    o[7] = o[5] & o[6];
    reply o;
}}
"
        )
    };
    let names: Vec<String> = (1..=6).map(|number| format!("a{number}")).collect();
    let sources: Vec<(&str, String)> = names
        .iter()
        .map(String::as_str)
        .zip((1..=6).map(source))
        .collect();
    let (_dir, path) = folder(&sources);
    assert_eq!(run(&["check", &path]).status, 0);
    assert_eq!(run(&["size", &path, "--no-pass", "lambda-coalescing"]).status, 0);
    let ran = run(&["size", &path]);
    assert_eq!(ran.status, 1, "{}", ran.text());
    assert!(
        ran.stderr.contains("`a1.f` can take") && ran.stderr.contains("deadline of 6200 ns"),
        "{}",
        ran.stderr
    );
}

#[test]
fn what_is_asked_for_on_the_nic_and_cannot_be_there_is_an_error() {
    let (dir, path) = folder(&[(
        "long",
        "workload long;
@on(nic)
lambda long(x: [u8; 64]) -> [u32; 1] {
    let mut sum: u32 = 0;
    for i in 0..64 { sum += x[i] as u32 * sum; }
    reply [sum];
}
"
        .to_owned(),
    )]);
    let text = run(&["targets", "nfp"]).text();
    let device = dir.path().join("short.toml");
    std::fs::write(
        &device,
        text.replace("max_cycles = 800_000_000", "max_cycles = 100"),
    )
    .expect("it is written");
    let device = device.display().to_string();
    assert_eq!(run(&["size", &path]).status, 0);
    let ran = run(&["size", &path, "--target", &device]);
    assert_eq!(ran.status, 1, "{}", ran.text());
    assert!(
        ran.stderr
            .contains("`long.long` is `@on(nic)`, but its worst case"),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_passes_over_images_leave_host_and_xdp_as_they_are() {
    let dir = tempfile::tempdir().expect("a folder");
    let build = |name: &str, disabled: &[&str]| {
        let to = dir.path().join(name);
        let path = to.display().to_string();
        let mut args = vec![
            "build",
            "examples/lambda-nic",
            "--target",
            "host,xdp",
            "-o",
            &path,
        ];
        args.extend(disabled.iter().flat_map(|pass| ["--no-pass", *pass]));
        let ran = run(&args);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        ["host/image.o", "xdp/image.bpf.o"].map(|file| std::fs::read(to.join(file)).expect("it was built"))
    };
    assert!(
        build("with", &[]) == build("without", &PASSES),
        "the passes changed code that they are not for"
    );
}

#[test]
fn the_image_is_written_out_after_a_pass() {
    let title = |pass: &str| format!("// the image after {pass}\nmodule \"image\"");
    let ran = size(&["--dump-after", "match-reduction"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    for pass in PASSES {
        let dumped = ran.stderr.contains(&title(pass));
        assert_eq!(dumped, pass == "match-reduction", "{pass}");
    }
    let all = size(&["--dump-after", "all"]);
    for pass in PASSES {
        assert!(all.stderr.contains(&title(pass)), "{pass}");
    }
    assert_eq!(all.text(), size(&[]).text(), "the result stays on stdout");
}

#[test]
fn where_workloads_are_programs_of_their_own_all_passes_decline() {
    let sizes = json_of(&[ORIGINAL, "--target", "xdp"]);
    let stages = sizes["stages"].as_array().expect("there are stages");
    assert_eq!(stages.len(), 1 + PASSES.len());
    for stage in &stages[1..] {
        let note = stage["notes"][0].as_str().expect("it says so");
        assert!(note.starts_with("declined: "), "{note}");
        for number in ["words", "tables", "actions", "lambdas"] {
            assert_eq!(stage[number], stages[0][number], "{number}");
        }
    }
}

#[test]
fn objects_lie_on_the_nic_or_on_the_host_and_sum_up_to_what_is_used() {
    let source = "workload both;

struct Entry { hot: u32, cold: [u8; 60] }

state near: counter;
state far: map<u32, u32>(64);
state rows: [Entry; 8192];

lambda count(x: [u8; 4]) -> [u32; 1] {
    near.add(1);
    let at = x[0] as u32;
    reply [rows[at].hot];
}

@on(host)
lambda look(x: [u8; 4]) -> [u32; 1] {
    let found = far.get(x[0] as u32) else { drop; };
    reply [found];
}

match (req: bytes<4>) {
    req.len() == 4 && req[0] == 1 => look,
    req.len() == 4 => count,
    _ => drop,
}
";
    let (_dir, path) = folder(&[("both", source.to_owned())]);
    let text = run(&["targets", "nfp"]).text();
    let device = |from: &str, to: &str| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        let device = Path::new(&path).join("device.toml");
        std::fs::write(&device, changed).expect("it is written");
        device.display().to_string()
    };
    // The rows as a whole do not fit the nearer memory of the whole device.
    let sizes = json_of(&[&path, "--target", &device("bytes = 2097152", "bytes = 131072")]);
    let objects = sizes["objects"].as_array().expect("there are objects");
    let of = |name: &str| {
        let found = objects.iter().filter(|object| object["name"] == *name);
        found
            .map(|object| object["memory"].as_str().unwrap_or_default())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("both.far"), ["host"]);
    assert_ne!(of("both.near"), ["host"]);
    assert!(
        of("both.rows").len() > 1,
        "its fields lie apart: {:?}",
        of("both.rows")
    );
    sums_agree(&sizes);
    // Everything leaves for the host where there is no room.
    let full = device("base_words = 7150", "base_words = 7880");
    let sizes = json_of(&[ORIGINAL, "--target", &full]);
    sums_agree(&sizes);
    let objects = sizes["objects"].as_array().expect("there are objects");
    assert!(
        objects.iter().all(|object| object["memory"] == "host"),
        "{objects:?}"
    );
}

/// Bytes of the objects of each memory are the bytes that are used of it.
fn sums_agree(sizes: &Value) {
    let objects = sizes["objects"].as_array().expect("there are objects");
    for memory in sizes["memory"].as_array().expect("there are memories") {
        let inside = objects.iter().filter(|object| object["memory"] == memory["name"]);
        let sum: u64 = inside.filter_map(|object| object["bytes"].as_u64()).sum();
        assert_eq!(Some(sum), memory["used"].as_u64(), "{}", memory["name"]);
    }
}

/// A workload of one lambda.
fn single(name: &str) -> String {
    format!("workload {name};\nlambda f(x: [u8; 1]) -> [u8; 1] {{ reply x; }}\n")
}

/// What `lambdac size` says of a folder, as a file of it.
fn written(path: &str, flags: &[&str]) -> String {
    let mut line = vec!["size", path, "--format", "json"];
    line.extend(flags);
    let ran = run(&line);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let file = Path::new(path).join("old.json");
    std::fs::write(&file, ran.stdout).expect("it is written");
    file.display().to_string()
}

#[test]
fn a_baseline_is_of_the_same_target_and_its_names_do_nothing_to_a_terminal() {
    let (_dir, path) = folder(&[("one", single("one")), ("two", single("two"))]);
    let old = written(&path, &[]);
    let ran = run(&["size", &path, "--baseline", &old, "--target", "xdp"]);
    assert_eq!(ran.status, 2, "{}", ran.text());
    assert!(
        ran.stderr.contains("\"nfp-4000\"") && ran.stderr.contains("\"xdp\""),
        "{}",
        ran.stderr
    );
    let text = std::fs::read_to_string(&old).expect("it is there");
    std::fs::write(&old, text.replace("two.f", "\\u001b[31mgone.f")).expect("it is written");
    let ran = run(&["size", &path, "--baseline", &old, "--limit", "100%"]);
    let text = ran.text();
    assert!(
        !text.contains('\u{1b}') && text.contains("[31mgone.f (removed)"),
        "{text}"
    );
    assert!(text.contains("removed workload: "), "{text}");
    assert!(
        text.contains("two.f (new)") && text.contains("new workload: two"),
        "{text}"
    );
}

#[test]
fn a_new_lambda_without_room_fails_and_one_of_the_host_does_not() {
    let (dir, path) = folder(&[("one", single("one"))]);
    let text = run(&["targets", "nfp"]).text();
    let sizes = json_of(&[&path]);
    // So much room as the one takes.
    let base = 8192 - sizes["store"]["image"].as_u64().expect("a number");
    let device = dir.path().join("small.toml");
    std::fs::write(
        &device,
        text.replacen("base_words = 7150", &format!("base_words = {base}"), 1),
    )
    .expect("it is written");
    let device = device.display().to_string();
    let old = written(&path, &["--target", &device]);
    let compare = || {
        run(&[
            "size",
            &path,
            "--target",
            &device,
            "--baseline",
            &old,
            "--limit",
            "100%",
        ])
    };
    assert_eq!(compare().status, 0);
    let second = dir.path().join("two.lnic");
    let long = single("two").replace("reply x;", "reply [x[0] * 3 ^ (x[0] >> 2)];");
    std::fs::write(&second, &long).expect("it is written");
    let ran = compare();
    assert_eq!(ran.status, 1, "{}", ran.text());
    assert!(
        ran.stderr.contains("the NIC has no room for it: two.f"),
        "{}",
        ran.stderr
    );
    std::fs::write(&second, long.replace("lambda", "@on(host)\nlambda")).expect("it is written");
    let ran = compare();
    assert!(!ran.stderr.contains("no room"), "{}", ran.stderr);
}

#[test]
fn a_profile_of_other_programs_is_warned_of() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("branches.json");
    let file = path.to_str().expect("a path of text");
    let ran = run(&["test", BRANCHES, "--target", "interp", "--profile", file]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let ran = run(&["size", BRANCHES, "--profile", file]);
    assert_eq!((ran.status, &*ran.stderr), (0, ""));
    let ran = size(&["--profile", file]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    for wanted in ["warning", "rate_limit.lnic", "original_"] {
        assert!(ran.stderr.contains(wanted), "{wanted}: {}", ran.stderr);
    }
}

#[test]
fn a_file_beyond_the_limit_is_refused_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("large");
    let file = std::fs::File::create(&path).expect("it is made");
    file.set_len((64 << 20) + 1).expect("it is long and empty");
    let path = path.display().to_string();
    for flag in ["--rates", "--profile", "--baseline", "--target"] {
        let ran = run(&["size", BRANCHES, flag, &path]);
        assert_eq!(ran.status, 2, "{flag}");
        assert!(ran.stderr.contains("larger than the 64 MiB"), "{}", ran.stderr);
    }
}
