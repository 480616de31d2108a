//! Installs what the tests and the demo use beside Rust: Debian packages, when we are root.

use anyhow::Result;

use crate::shell;

/// A program and the Debian package that has it.
pub struct Tool {
    /// What is looked for on PATH.
    pub program: &'static str,
    /// The package.
    pub package: &'static str,
}

/// The real peer of the `memcached` service.
pub const MEMCACHED: Tool = Tool {
    program: "memcached",
    package: "memcached",
};
/// Compiles the C programs that link a lambda, and the C twins of the benches.
pub const GCC: Tool = Tool {
    program: "gcc",
    package: "gcc",
};
/// The HTTP client of the end-to-end tests that is not ours.
pub const CURL: Tool = Tool {
    program: "curl",
    package: "curl",
};
/// The λ-NIC project's bare-metal baseline is a Python server.
pub const PYTHON: Tool = Tool {
    program: "python3",
    package: "python3",
};

/// Makes network namespaces and pairs of interfaces for the tests of the NIC path.
pub const IP: Tool = Tool {
    program: "ip",
    package: "iproute2",
};
/// libbpf's loader: a second opinion on our objects.
pub const BPFTOOL: Tool = Tool {
    program: "bpftool",
    package: "bpftool",
};
/// Wireshark's dissector: a second opinion on our replies' headers.
pub const TSHARK: Tool = Tool {
    program: "tshark",
    package: "tshark",
};
/// Shows the page of `lambdac size`, of which a test takes screenshots.
pub const CHROMIUM: Tool = Tool {
    program: "chromium",
    package: "chromium",
};
/// Compiles the XDP programs in C that ours are measured against.
pub const CLANG: Tool = Tool {
    program: "clang",
    package: "clang",
};

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
    shell::run("apt-get", &["-qq", "update"])?;
    let mut install = shell::command("apt-get", &["-qq", "install", "-y", "--no-install-recommends"]);
    install
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(std::process::Stdio::null());
    shell::run_command(&mut install)
}
