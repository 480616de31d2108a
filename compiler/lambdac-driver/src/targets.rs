//! The targets that work in this version.

/// A target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Target {
    /// Its name on the command line and in bundles.
    pub name: &'static str,
    /// `reference` (tests only), `host` or `nic`.
    pub kind: &'static str,
    /// What it is.
    pub summary: &'static str,
    /// Whether `build` makes an artifact for it.
    pub builds: bool,
}

const ALL: [Target; 5] = [
    Target {
        name: "interp",
        kind: "reference",
        summary: "the evaluator over typed HIR: the meaning of the language",
        builds: false,
    },
    Target {
        name: "host",
        kind: "host",
        summary: "Cranelift code on this machine: the fallback that always works",
        builds: true,
    },
    Target {
        name: "xdp",
        kind: "nic",
        summary: "eBPF in the driver of any Linux NIC, the host behind it",
        builds: true,
    },
    Target {
        name: "bmv2",
        kind: "nic",
        summary: "P4_16 on the reference switch simple_switch: tests, with p4c and the switch on PATH",
        builds: true,
    },
    Target {
        name: "nfp",
        kind: "nic",
        summary: "P4 and Micro-C for Netronome's NFP; tests on a shim off the card, with gcc or clang on PATH",
        builds: true,
    },
];

/// All of them.
pub fn all() -> &'static [Target] {
    &ALL
}

/// The target of a name.
pub fn find(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
