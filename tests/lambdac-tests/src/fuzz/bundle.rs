//! Files of a bundle that nobody vouches for.

use lnic_bundle::{
    Files, Lambda, MANIFEST, Manifest, Message, Object, Param, Placement, SCHEMA, Service, Side, Workload,
    from_files, with_hashes,
};

use super::dice::Dice;
use super::mutate;

/// Reads files as a bundle. Whether they are one.
///
/// # Panics
/// Where files are taken that the manifest does not list, or that it says something impossible of.
pub fn run(files: Files) -> bool {
    let count = files.len();
    let Ok(bundle) = from_files(files) else {
        return false;
    };
    assert_eq!(bundle.files.len() + 1, count, "a file was lost");
    assert!(
        bundle.files.keys().eq(bundle.manifest.files.keys()),
        "files and manifest differ"
    );
    for name in bundle.files.keys() {
        let plain = !name.is_empty() && !name.starts_with('/') && !name.split('/').any(|part| part == "..");
        assert!(plain, "{name:?} leaves the bundle");
    }
    for workload in &bundle.manifest.workloads {
        assert!(
            bundle
                .files
                .contains_key(&format!("workloads/{}.mir", workload.name))
        );
        assert!(
            workload.id & 0xffff != 0 && workload.request.max <= 1 << 20 && workload.reply.max <= 1 << 20
        );
    }
    // What was taken is written and read again as it is.
    let again = from_files(with_hashes(bundle.manifest.clone(), bundle.files.clone()));
    let again = again.unwrap_or_else(|e| panic!("it does not read back: {e}"));
    assert!(again.manifest == bundle.manifest && again.files == bundle.files);
    true
}

/// Reads bytes as the manifest of a bundle with the files of [`sample`].
///
/// # Panics
/// As [`run`] does.
pub fn run_manifest(bytes: &[u8]) -> bool {
    let mut files = sample();
    files.insert(MANIFEST.into(), bytes.to_vec());
    run(files)
}

/// A small whole bundle that uses every part of the manifest.
pub fn sample() -> Files {
    let message = |ty: &str, max| Message {
        ty: ty.into(),
        min: 0,
        max,
    };
    let lambda = Lambda {
        name: "get".into(),
        stream: false,
        request: message("bytes<8>", 8),
        reply: message("bytes<1344>", 1344),
        state: vec!["seen".into()],
        services: vec!["cache".into()],
        component: 0,
        worst_case_steps: 12,
        placement: [
            ("host".to_owned(), Placement::Native),
            (
                "xdp".to_owned(),
                Placement::Host {
                    code: "E0703".into(),
                    reason: "its reply is larger than a packet".into(),
                },
            ),
        ]
        .into(),
    };
    let workload = |name: &str, id| Workload {
        name: name.into(),
        id,
        request: message("bytes<8>", 8),
        reply: message("bytes<1344>", 1344),
        fragment: 1344,
        lambdas: vec![lambda.clone()],
        state: vec![Object {
            name: "seen".into(),
            ty: "counter[2]".into(),
            side: [("host".to_owned(), Side::Native), ("xdp".to_owned(), Side::Host)].into(),
        }],
        services: vec![Service {
            name: "cache".into(),
            protocol: "memcached".into(),
            address: "127.0.0.1:11211".into(),
            timeout_ns: 5_000_000,
        }],
        params: vec![Param {
            name: "ttl".into(),
            required: true,
        }],
    };
    let manifest = Manifest {
        schema: SCHEMA,
        workloads: vec![workload("kv", 0x1234_0001), workload("web", 0x4321_0002)],
        targets: vec!["host".into(), "xdp".into()],
        files: Default::default(),
    };
    let files = [
        ("workloads/kv.mir", "module \"kv\"\n"),
        ("workloads/web.mir", "module \"web\"\n"),
        ("host/image.o", ""),
    ];
    with_hashes(
        manifest,
        files.map(|(name, text)| (name.to_owned(), text.into())).into(),
    )
}

/// A mutated bundle: its manifest as text, its contents, or its names.
pub fn mutated(dice: &mut Dice) -> Files {
    let mut files = sample();
    let names: Vec<String> = files.keys().cloned().collect();
    let name = dice.pick(&names).clone();
    match dice.below(10) {
        0..6 => {
            let json = files.get_mut(MANIFEST).expect("a sample has one");
            let other = json.clone();
            mutate::text(dice, json, &other);
        }
        6 | 7 => mutate::bytes(dice, files.get_mut(&name).expect("one of them")),
        8 => {
            let contents = files.remove(&name).expect("one of them");
            let mut renamed = name.into_bytes();
            mutate::bytes(dice, &mut renamed);
            files.insert(String::from_utf8_lossy(&renamed).into_owned(), contents);
        }
        _ => rehashed(dice, &mut files),
    }
    files
}

/// Changes contents and manifest, and hashes them anew: what only a careful forger gets past the hashes.
fn rehashed(dice: &mut Dice, files: &mut Files) {
    let json = files.remove(MANIFEST).expect("a sample has one");
    let Ok(mut manifest) = serde_json::from_slice::<Manifest>(&json) else {
        return;
    };
    let names = [
        "",
        "..",
        "../x",
        "/etc/passwd",
        "a//b",
        "workloads/kv.mir/x",
        ".hidden",
        "é",
        "a\0b",
        "kv",
        "ok",
    ];
    let name = (*dice.pick(&names)).to_owned();
    match dice.below(5) {
        0 => drop(files.insert(name, b"x".to_vec())),
        1 => manifest.workloads[0].name = name,
        2 => manifest.workloads.swap(0, 1),
        3 => manifest.workloads[1].id = dice.roll() as u32 & 0xffff_0001,
        _ => {
            (manifest.workloads[0].request.min, manifest.workloads[1].reply.max) =
                (dice.below(12) as u32, dice.below(1 << 21) as u32)
        }
    }
    *files = with_hashes(manifest, std::mem::take(files));
}
