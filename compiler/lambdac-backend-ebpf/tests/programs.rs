//! The kernel's verifier against objects of real programs: every workload of the conformance suite and the examples
//! loads with `bpftool`, which is libbpf's own loader, with the lambdas that the target takes.

#[path = "support/missing.rs"]
mod missing;

use std::path::Path;
use std::process::Command;

use lambdac_analysis::Placement;
use lambdac_backend_ebpf::{Legaliser, Options, Workload, compile};
use lambdac_check::check;
use lambdac_check::disk::{self, Disk};
use lambdac_diag::{Sink, SourceMap};
use lambdac_mir::LambdaId;

/// The object of a file; none for a library.
fn object(path: &Path) -> Option<Vec<u8>> {
    let text = std::fs::read_to_string(path).unwrap();
    let (mut map, mut sink) = (SourceMap::new(), Sink::new());
    let file = map.add(path.display().to_string(), text.as_str());
    let parsed = lambdac_syntax::parse(file, &text, &mut sink)?;
    if parsed.kind == lambdac_syntax::ast::FileKind::Library {
        return None;
    }
    let checked = check(&parsed, &mut map, &Disk::default(), &mut sink)?;
    let analysis = lambdac_analysis::analyze(&checked, &mut sink);
    let mut module = lambdac_lower::lower(&checked, &map);
    lambdac_lower::split_awaits(&mut module);
    lambdac_opt::optimize(&mut module, &lambdac_opt::Options::default());
    let device = lambdac_target::builtin("xdp").unwrap();
    let legaliser = Legaliser::new(&module, &device);
    let taken = |id| legaliser.check(LambdaId(id)).is_ok();
    let lambdas = (0..).zip(&analysis.lambdas);
    let workload = Workload {
        id: 0x1234_0000,
        module: &module,
        native: lambdas
            .map(|(id, info)| taken(id) && matches!(info.placement, Placement::Nic { .. }))
            .collect(),
    };
    let options = Options {
        test: true,
        ..Options::default()
    };
    let object = compile(&[workload], &options).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Some(object.to_elf().unwrap())
}

/// What the kernel has against an object.
fn rejection(elf: &[u8], number: usize) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.bpf.o");
    std::fs::write(&file, elf).unwrap();
    let pins = format!("/sys/fs/bpf/lnic_programs_{}_{number}", std::process::id());
    let run = Command::new("bpftool")
        .args(["prog", "loadall"])
        .arg(&file)
        .arg(&pins)
        .output()
        .unwrap();
    // The pins are this test's own.
    let _ = std::fs::remove_dir_all(&pins);
    (!run.status.success()).then(|| String::from_utf8_lossy(&run.stderr).into_owned())
}

#[test]
fn the_verifier_takes_every_program() {
    if missing::missing().is_some() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = ["lang-spec/conformance", "examples"].map(|folder| root.join(folder));
    let paths = disk::find(&folders).expect("there are programs");
    let mut rejected = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let Some(elf) = object(path) else { continue };
        if let Some(why) = rejection(&elf, number) {
            let lines: Vec<&str> = why.lines().collect();
            let tail = lines[lines.len().saturating_sub(12)..].join("\n");
            rejected.push(format!("{}:\n{tail}", path.display()));
        }
    }
    assert!(
        rejected.is_empty(),
        "{} rejected\n{}",
        rejected.len(),
        rejected.join("\n\n")
    );
}
