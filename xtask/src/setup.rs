//! Installs what the tests and the demo use beside Rust: Debian packages, when we are root, and a Python package.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::shell;

/// A program and the Debian package that has it.
pub struct Tool {
    /// What is looked for on PATH.
    pub program: &'static str,
    /// The package.
    pub package: &'static str,
}

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

/// The real peer of the `memcached` service.
pub const MEMCACHED: Tool = tool("memcached", "memcached");
/// Compiles the C programs that link a lambda, and the C twins of the benches.
pub const GCC: Tool = tool("gcc", "gcc");
/// The HTTP client of the end-to-end tests that is not ours.
pub const CURL: Tool = tool("curl", "curl");
/// The λ-NIC project's bare-metal baseline is a Python server.
pub const PYTHON: Tool = tool("python3", "python3");
/// Makes network namespaces and pairs of interfaces for the tests of the NIC path.
pub const IP: Tool = tool("ip", "iproute2");
/// libbpf's loader: a second opinion on our objects.
pub const BPFTOOL: Tool = tool("bpftool", "bpftool");
/// Wireshark's dissector: a second opinion on our replies' headers.
pub const TSHARK: Tool = tool("tshark", "tshark");
/// Shows the page of `lambdac size`, of which a test takes screenshots.
pub const CHROMIUM: Tool = tool("chromium", "chromium");
/// Compiles the XDP programs in C that ours are measured against.
pub const CLANG: Tool = tool("clang", "clang");

/// Installs those of `tools` that are missing. Without root or apt it prints the one command to run and goes on: what
/// needs the tool then says `skipped`.
pub fn install(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&str> = tools
        .iter()
        .filter(|tool| !shell::has(tool.program))
        .map(|tool| tool.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !shell::is_root() || !shell::has("apt-get") {
        eprintln!("missing: {}. To have everything, run:", missing.join(", "));
        eprintln!(
            "    sudo apt-get update && sudo apt-get install -y {}",
            missing.join(" ")
        );
        return Ok(());
    }
    install_packages(&missing)
}

fn install_packages(packages: &[&str]) -> Result<()> {
    shell::run("apt-get", &["-qq", "update"])?;
    let mut install = shell::command("apt-get", &["-qq", "install", "-y", "--no-install-recommends"]);
    install
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null());
    shell::run_command(&mut install)
}

/// The Python package with a P4Runtime switch and messages that are not ours, from PyPI.
const FINSY: &str = "finsy==0.30.0";

/// A Python interpreter that has [`FINSY`], in an environment of its own in the target folder. None, with a word about
/// it, if it can't be had: then the tests that need it say `skipped`.
pub fn finsy() -> Option<PathBuf> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| shell::root().join("target"), PathBuf::from);
    let folder = target.join("finsy");
    let python = folder.join("bin/python");
    let is_there = || {
        let mut import = Command::new(&python);
        import.args(["-c", "import finsy.test.p4runtime_server"]);
        let quiet = import.stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    };
    if is_there() {
        return Some(python);
    }
    let make = || -> Result<()> {
        let folder = folder.to_string_lossy();
        if shell::run("python3", &["-m", "venv", "--clear", &folder]).is_err() {
            // Debian's Python comes without the module.
            install_packages(&["python3-venv"])?;
            shell::run("python3", &["-m", "venv", "--clear", &folder])?;
        }
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            FINSY,
        ];
        shell::run(&python.to_string_lossy(), &pip)
    };
    if let Err(error) = make() {
        eprintln!("missing: {FINSY} ({error})");
    }
    is_there().then_some(python)
}
