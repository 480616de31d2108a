//! Sources made to hurt: each is an error that names the place, or compiles, in memory that grows with the input.

#[path = "support/counting_alloc.rs"]
mod counting_alloc;

use std::collections::BTreeMap;
use std::path::PathBuf;

use counting_alloc::peak;
use lambdac_analysis::analyze;
use lambdac_check::{Sources, check};
use lambdac_diag::render::{MessageFormat, render};
use lambdac_diag::{Sink, SourceMap};
use lambdac_syntax::parse_bytes;
use lambdac_tests::fuzz::{archive, wire};

/// Libraries and included files by name.
#[derive(Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Sources for Files {
    fn library(&self, _: &str, name: &str) -> Result<Option<(String, Vec<u8>)>, String> {
        let name = format!("{name}.lnic");
        Ok(self.0.get(&name).map(|bytes| (name, bytes.clone())))
    }

    fn include(&self, _: &str, relative: &str) -> Result<Vec<u8>, String> {
        self.0.get(relative).cloned().ok_or_else(|| "no such file".into())
    }
}

/// The folder of a source on disk.
struct Disk(PathBuf);

impl Sources for Disk {
    fn library(&self, _: &str, _: &str) -> Result<Option<(String, Vec<u8>)>, String> {
        Ok(None)
    }

    fn include(&self, _: &str, relative: &str) -> Result<Vec<u8>, String> {
        std::fs::read(self.0.join(relative)).map_err(|e| e.to_string())
    }
}

/// The first diagnostics as `CODE file:line`, each rendered in every format, and compiled where it is clean.
fn report(source: &[u8], sources: &dyn Sources) -> Vec<String> {
    let mut map = SourceMap::new();
    let mut sink = Sink::new();
    let file = map.add("h.lnic", String::from_utf8_lossy(source));
    let parsed = parse_bytes(file, source, &mut sink);
    let workload = parsed.and_then(|parsed| check(&parsed, &mut map, sources, &mut sink));
    if let Some(workload) = &workload {
        analyze(workload, &mut sink);
    }
    match &workload {
        Some(workload) if !sink.has_errors() => {
            let mut module = lambdac_lower::lower(workload, &map);
            lambdac_lower::split_awaits(&mut module);
            lambdac_opt::optimize(&mut module, &lambdac_opt::Options::default());
            lambdac_mir::validate(&module).unwrap_or_else(|e| panic!("{e:?}"));
        }
        _ => assert!(sink.has_errors(), "nothing came out, and nothing was said"),
    }
    let diagnostics = sink.into_sorted();
    let told = diagnostics.iter().take(20).map(|d| {
        for format in [MessageFormat::Human, MessageFormat::Short, MessageFormat::Json] {
            assert!(render(format, false, &map, d).contains(d.code));
        }
        let (line, _) = map.line_column(d.span().file, d.span().start);
        format!("{} {}:{line}", d.code, map.name(d.span().file))
    });
    told.collect()
}

/// All that is said of a source of one file.
fn said(source: &str) -> Vec<String> {
    report(source.as_bytes(), &Files::default())
}

/// A workload with a body on line 3.
fn body(text: &str) -> String {
    format!("workload h;\nlambda h(req: bytes<8>) -> bytes<8> {{\n{text}\n    reply req;\n}}\n")
}

fn nested(open: &str, inside: &str, close: &str, times: usize) -> String {
    [&open.repeat(times), inside, &close.repeat(times)].concat()
}

#[test]
fn nesting_without_end_is_an_error_on_its_line() {
    for times in [100, 10_000, 100_000] {
        let bodies = [
            format!("let x = {};", nested("(", "1", ")", times)),
            format!("let x = {};", nested("[", "1", "]", times)),
            format!("let x = {};", nested("min(1, ", "1", ")", times)),
            format!("let x = req[{}];", nested("req[", "0", "] as u32", times)),
            format!("let x = {}true;", "!".repeat(3 * times)),
            format!("let x = 1{};", " + 1".repeat(3 * times)),
            format!("let x = 1{};", " as u8".repeat(3 * times)),
            nested("{", "", "}", times),
            nested("if req.len() == 0 {", "", "}", times),
            nested("for i in 0..2 {", "", "}", times),
            nested("while true max 2 {", "", "}", times),
            nested("match req.len() { 0 => {", "", "} _ => {} }", times),
        ];
        for text in &bodies {
            let said = said(&body(text));
            assert_eq!(
                said.first().map(String::as_str),
                Some("E0105 h.lnic:3"),
                "{} {said:?}",
                &text[..40]
            );
        }
        let ty = format!(
            "workload h;\nstate s: {};\n{}",
            nested("[", "u8", "; 1]", times),
            &body("")[12..]
        );
        assert_eq!(said(&ty).first().map(String::as_str), Some("E0105 h.lnic:2"));
    }
}

#[test]
fn unclosed_nesting_is_an_error() {
    for open in ["(", "[", "{", "if x {", "match x { 0 => {", "/*", "b\"", "f("] {
        for times in [1, 100, 50_000] {
            let said = said(&format!("workload h;\nfn f() {{ {}", open.repeat(times)));
            assert!(
                said.first().is_some_and(|first| first.starts_with("E01")),
                "{open} {said:?}"
            );
        }
    }
}

#[test]
fn huge_literals_are_errors_on_their_line() {
    let cases = [
        (format!("let x = {};", "9".repeat(1_000_000)), "E0104 h.lnic:3"),
        (format!("let x = 0x{};", "f".repeat(1_000_000)), "E0104 h.lnic:3"),
        ("let x = 18446744073709551616;".to_owned(), "E0205 h.lnic:3"),
        ("let x: u8 = 256;".to_owned(), "E0205 h.lnic:3"),
        (format!("let x = {}s;", "9".repeat(30)), "E0104 h.lnic:3"),
    ];
    for (text, expected) in &cases {
        let said = said(&body(text));
        assert_eq!(
            said.first().map(String::as_str),
            Some(*expected),
            "{} {said:?}",
            &text[..20.min(text.len())]
        );
    }
}

#[test]
fn lines_of_a_megabyte_are_read_and_errors_in_them_are_shown() {
    let million = 1 << 20;
    assert_eq!(
        said(&body(&format!("// {}", "é".repeat(million / 2)))),
        Vec::<String>::new()
    );
    assert_eq!(said(&body(&" ".repeat(million))), Vec::<String>::new());
    let late = format!("{} let x = nothing; {}", " ".repeat(million), " ".repeat(million));
    assert_eq!(said(&body(&late)), ["E0201 h.lnic:3"]);
    let bytes = format!("const A: bytes<1048576> = b\"{}\";", "x".repeat(million));
    assert_eq!(
        said(&format!(
            "workload h;\n{bytes}\n{}",
            &body("let n = A.len(); log(b\"n\", n);")[12..]
        )),
        Vec::<String>::new()
    );
    let name = format!("let {} = 1;", "x".repeat(million));
    assert_eq!(said(&body(&name)), ["E0103 h.lnic:3"]);
}

#[test]
fn libraries_that_use_each_other_in_a_circle_are_an_error_at_the_use_that_closes_it() {
    let mut files = Files::default();
    for i in 0..100 {
        let text = format!("library l{i};\nuse l{};\nconst A: u32 = 1;\n", (i + 1) % 100);
        files.0.insert(format!("l{i}.lnic"), text.into_bytes());
    }
    let source = format!("workload h;\nuse l0;{}", &body("")[11..]);
    assert_eq!(report(source.as_bytes(), &files)[0], "E0902 l99.lnic:2");
}

#[test]
fn a_chain_of_a_thousand_libraries_is_loaded_and_one_missing_at_its_end_is_an_error_there() {
    let mut files = Files::default();
    for i in 0..1_000 {
        let value = if i == 999 {
            "7".to_owned()
        } else {
            format!("l{}::A", i + 1)
        };
        let next = if i == 999 {
            String::new()
        } else {
            format!("use l{};", i + 1)
        };
        let text = format!("library l{i};\n{next}\nconst A: u32 = {value};\n");
        files.0.insert(format!("l{i}.lnic"), text.into_bytes());
    }
    let source = format!(
        "workload h;\nuse l0;{}",
        &body("let x = l0::A; log(b\"x\", x);")[11..]
    );
    assert_eq!(report(source.as_bytes(), &files), Vec::<String>::new());
    files.0.remove("l999.lnic");
    assert_eq!(report(source.as_bytes(), &files)[0], "E0901 l998.lnic:2");
}

#[test]
fn fns_that_call_each_other_in_a_circle_are_an_error() {
    for count in [1, 2, 10_000] {
        let mut source = String::from("workload h;\n");
        for i in 0..count {
            source += &format!("fn f{i}(a: u32) -> u32 {{ return f{}(a); }}\n", (i + 1) % count);
        }
        source += &body("let x = f0(1); log(b\"x\", x);")[12..];
        let said = said(&source);
        assert_eq!(
            said,
            [format!("E0314 h.lnic:{}", count + 1)],
            "at the call that closes the circle"
        );
    }
}

#[test]
fn ten_thousand_items_compile_and_the_one_wrong_among_them_is_named() {
    let items = |wrong: Option<usize>| {
        let mut source = String::from("workload h;\n");
        for i in 0..10_000 {
            let value = if wrong == Some(i) {
                "nothing".to_owned()
            } else {
                i.to_string()
            };
            source += &format!("const C{i}: u32 = {value};\n");
        }
        source + &body("")[12..]
    };
    let clean = said(&items(None));
    assert!(clean.iter().all(|line| line.starts_with('W')), "{clean:?}");
    assert_eq!(said(&items(Some(8_000))), ["E0201 h.lnic:8002"]);
}

#[test]
fn what_is_not_utf8_is_an_error_where_it_stands() {
    for (odd, line) in [
        (&b"\xff"[..], 2),
        (b"\n\n\xc3(", 4),
        (b"\xed\xa0\x80", 2),
        (b"b\"\xe2\x82\"", 2),
    ] {
        let source = [
            b"workload h;\n",
            odd,
            b"\nlambda h() -> bytes<1> { reply b\"\"; }",
        ]
        .concat();
        assert_eq!(
            report(&source, &Files::default()),
            [format!("E0108 h.lnic:{line}")]
        );
    }
    assert_eq!(
        report(&vec![0xff; 4 << 20], &Files::default()),
        ["E0108 h.lnic:1"]
    );
    assert_eq!(
        report(&vec![b' '; (4 << 20) + 1], &Files::default()),
        ["E0108 h.lnic:1"]
    );
}

#[test]
fn arrays_of_a_hundred_thousand_elements_compile_and_a_wrong_element_is_named() {
    let array = |wrong: &str| {
        let elements = "1,\n".repeat(50_000) + wrong + &"2,".repeat(50_000);
        format!(
            "workload h;\nconst A: [u8; 100000] = [\n{elements}];\n{}",
            &body("log(b\"x\", A[req.len()]);")[12..]
        )
    };
    assert_eq!(said(&array("")), Vec::<String>::new());
    assert_eq!(said(&array("256,"))[0], "E0205 h.lnic:50003");
}

#[test]
fn includes_of_folders_missing_and_huge_files_are_errors_where_they_stand() {
    let kept = tempfile::tempdir().expect("there are temporary folders");
    let folder = kept.path();
    std::fs::create_dir_all(folder.join("sub")).expect("the folder for temporary files is writable");
    std::fs::write(folder.join("most.bin"), vec![1; 1 << 20]).expect("writable");
    std::fs::write(folder.join("large.bin"), vec![1; (1 << 20) + 1]).expect("writable");
    // The largest value there is, and the one that takes the most room in MIR.
    let most = format!(
        "workload h;\nconst A: [bytes<1>; 1048576] = [b\"x\"; 1048576];\n{}",
        &body("log(b\"n\", A[0].len());")[12..]
    );
    assert_eq!(said(&most), Vec::<String>::new());
    let including = |name: &str| body(&format!("let x = include(\"{name}\"); log(b\"x\", x.len());"));
    let disk = Disk(folder.to_path_buf());
    let results = [
        "sub",
        "missing.bin",
        "large.bin",
        "../etc/passwd",
        "/etc/passwd",
        "",
        "most.bin",
    ]
    .map(|name| report(including(name).as_bytes(), &disk));
    let (good, bad) = results.split_last().expect("seven");
    for said in bad {
        assert_eq!(*said, ["E0906 h.lnic:3"]);
    }
    assert_eq!(*good, Vec::<String>::new());
}

/// A source that grows with a number.
type Growing = fn(usize) -> String;

/// What grows, and how.
const GROWING: &[(&str, Growing)] = &[
    ("items", |n| {
        (0..n).fold(String::from("workload h;\n"), |s, i| {
            s + &format!("const C{i}: u32 = {i};\n")
        }) + &body("")[12..]
    }),
    ("statements", |n| {
        body(&(0..n).map(|i| format!("let x{i} = {i};\n")).collect::<String>())
    }),
    ("errors", |n| {
        body(&(0..n).map(|i| format!("let x{i} = y{i};\n")).collect::<String>())
    }),
    ("broken statements", |n| body(&"let = ;\n".repeat(n))),
    ("elements", |n| {
        format!(
            "workload h;\nconst A: [u32; {n}] = [{}];\n{}",
            "7,".repeat(n),
            &body("")[12..]
        )
    }),
    ("brackets", |n| body(&"(".repeat(n))),
    ("one line", |n| body(&format!("let x = {};", "1 + ".repeat(n)))),
    ("digits", |n| body(&format!("let x = {};", "9".repeat(10 * n)))),
    ("comments", |n| body(&"/* é */".repeat(n))),
    ("else if", |n| {
        body(&format!(
            "if req.len() == 0 {{ }}{}",
            " else if req.len() == 1 { }".repeat(n)
        ))
    }),
    ("rules", |n| {
        let rules: String = (0..n).map(|i| format!("req[0] == {} => h,\n", i % 256)).collect();
        format!(
            "{}match (req: bytes<8>) {{\n{rules}_ => drop,\n}}\n",
            body("").replace("lambda h", "lambda g").replace("=> h", "=> g")
        )
    }),
];

#[test]
fn memory_grows_no_faster_than_the_source() {
    let sizes = [1_500, 3_000, 6_000];
    for (what, source) in GROWING {
        let peaks = sizes.map(|n| {
            let text = source(n);
            let used = peak(|| drop(said(&text)));
            println!("{what}: {n}: {} bytes of source, {used} of memory", text.len());
            used
        });
        // Tables double as they grow, so one step may be a little over two; two steps together are not.
        assert!(
            peaks[2] < peaks[0] * 5 + (1 << 20),
            "{what}: {peaks:?} bytes for {sizes:?}"
        );
    }
}

#[test]
fn half_arrived_messages_hold_no_more_memory_than_the_caps_say() {
    let mut receiver = wire::Receiver::new(wire::SMALL);
    let mut packets = wire::Packets::new(9, &[1, 2]);
    let mut datagram = Vec::with_capacity(4096);
    let used = peak(|| {
        for _ in 0..200_000 {
            let source = packets.next(&mut datagram);
            receiver.take(packets.now_ns(), source, &datagram);
        }
    });
    // The largest message that was completed, and what indexes and free lists take beside the accounts.
    let most = wire::SMALL.total + (1 << 20) + wire::SMALL.total;
    println!("{used} bytes under a cap of {}", wire::SMALL.total);
    assert!(used < most, "{used} bytes under a cap of {}", wire::SMALL.total);
}

#[test]
fn a_tar_that_claims_much_takes_little() {
    let sample = archive::sample();
    let size_of_first = 124..136;
    for claim in [
        &b"77777777777\0"[..],
        b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
    ] {
        for kind in [b'0', b'L', b'K', b'x', b'g', b'5', b'S'] {
            let mut header = sample[..512].to_vec();
            header[size_of_first.clone()].copy_from_slice(claim);
            header[156] = kind;
            archive::correct_checksums(&mut header);
            // Endless bytes follow, so that only the limits end it.
            let tar = std::io::Read::chain(&header[..], std::io::repeat(b'a'));
            let taken = peak(|| {
                let read = lnic_bundle::from_tar(tar, archive::LIMITS);
                assert!(read.is_err(), "{:?} was taken", char::from(kind));
            });
            let most = 4 * archive::LIMITS.bytes as usize;
            assert!(taken < most, "{taken} bytes for {:?}", char::from(kind));
        }
    }
}
