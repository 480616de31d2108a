//! Real peers for tests: the `lambdac` command, a worker that it serves, memcached, and small servers that misbehave.
//!
//! Every process is killed when its handle is dropped, and listens on loopback at a port that was free.

mod finsy;
mod http;
mod memcached;
mod mute;
pub mod netns;
mod upstream;
mod worker;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use finsy::finsy;
pub use http::Response;
pub use memcached::Memcached;
pub use mute::{Asked, Mute};
pub use upstream::Upstream;
pub use worker::{Options, Worker};

/// Longest wait for something that a process does at once on an idle machine; only a test that fails waits as long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// A path in the workspace, as text for a command line.
pub fn path(relative: &str) -> String {
    root().join(relative).display().to_string()
}

/// The `lambdac` binary beside the test's own: `target/PROFILE/lambdac`.
///
/// # Panics
///
/// If it isn't built. `cargo test --workspace` builds it; a test of this crate alone does not.
pub fn lambdac() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own binary");
    let binary = own.ancestors().nth(2).map(|dir| dir.join("lambdac"));
    match binary {
        Some(binary) if binary.is_file() => binary,
        _ => panic!("`lambdac` is not built: run `cargo build -p lambdac-cli` in the same profile first"),
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit status; -1 where a signal ended it.
    pub status: i32,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Ran {
    /// stdout as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// stdout as text, of a command that has to succeed.
    ///
    /// # Panics
    ///
    /// If it failed.
    pub fn good(&self) -> String {
        assert_eq!(self.status, 0, "{}{}", self.text(), self.stderr);
        self.text()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs `lambdac` in a folder.
///
/// # Panics
///
/// If it can't be started.
pub fn run_in(dir: &Path, args: &[impl AsRef<OsStr>]) -> Ran {
    let mut command = Command::new(lambdac());
    command.args(args).current_dir(dir).stdin(Stdio::null());
    command.output().expect("lambdac starts").into()
}

/// Runs `lambdac` in the root of the workspace.
///
/// # Panics
///
/// If it can't be started.
pub fn run(args: &[impl AsRef<OsStr>]) -> Ran {
    run_in(&root(), args)
}

/// The λ-NIC workloads with as much time for memcached as it needs on a machine that has other things to do.
///
/// # Panics
///
/// If they can't be copied.
pub fn patient_lambda_nic() -> TempDir {
    let dir = tempfile::tempdir().expect("there are temporary folders");
    let sources = std::fs::read_dir(root().join("examples/lambda-nic")).expect("the example is there");
    for entry in sources {
        let from = entry.expect("its files can be listed").path();
        let text = std::fs::read_to_string(&from).expect("they are text");
        let to = dir.path().join(from.file_name().unwrap_or_default());
        std::fs::write(to, text.replace("timeout = 50ms", "timeout = 30s")).expect("they can be copied");
    }
    dir
}

/// Writes a program for a test to run. A process of its own does it: were the file open here, a child that another test
/// starts meanwhile could still hold it when the program is run ("text file busy").
///
/// # Panics
///
/// If it can't be written.
pub fn write_program(path: &Path, text: &str) {
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod +x \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let mut input = writer.stdin.take().expect("stdin is a pipe");
    input.write_all(text.as_bytes()).expect("the shell reads");
    drop(input);
    let ended = writer.wait().expect("the shell ends");
    assert!(ended.success(), "{} can't be written", path.display());
}

/// Whether a program answers to `--version`.
pub fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null());
    command.output().is_ok()
}

/// Waits until `condition` holds.
///
/// # Panics
///
/// If it doesn't within [`PATIENCE`].
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "in vain waited until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
