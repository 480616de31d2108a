//! Other programs: compilers that run once, servers that say `ready ADDRESS` and are killed at the end.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cores;

/// How long a server may take until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// Whether a program can be started.
pub fn exists(program: &str) -> bool {
    let started = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    started.is_ok_and(|status| status.success())
}

/// Compiles a C file with `gcc -O2` and more flags.
pub fn gcc(source: &Path, output: &Path, flags: &[&str]) -> Result<()> {
    let done = Command::new("gcc")
        .args(["-O2", "-Wall", "-Wextra"])
        .args(flags)
        .arg("-o")
        .args([output, source])
        .output()?;
    ensure!(
        done.status.success(),
        "gcc {}:\n{}",
        source.display(),
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(())
}

/// A server that runs on its own cores until this is dropped.
pub struct Server {
    child: Child,
    ready: String,
}

impl Server {
    /// Starts a program and waits for its `ready` line. It dies with this process, whatever ends that.
    pub fn start(program: &Path, args: &[impl AsRef<OsStr>], on: &[usize]) -> Result<Server> {
        let mut server = Server::spawn(program, args, on)?;
        let output = server.child.stdout.take().context("no stdout")?;
        server.ready = first_line(output)
            .with_context(|| format!("{} did not say that it is ready", program.display()))?;
        ensure!(
            server.ready.starts_with("ready "),
            "{} said {:?}",
            program.display(),
            server.ready
        );
        Ok(server)
    }

    /// Starts a program that says nothing when it is ready.
    pub fn spawn(program: &Path, args: &[impl AsRef<OsStr>], on: &[usize]) -> Result<Server> {
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let on = on.to_vec();
        let prepare = move || {
            // SAFETY: asks the kernel for a signal when the parent ends; touches no memory.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            cores::bind(&on)
        };
        // SAFETY: between fork and exec `prepare` makes two system calls and allocates nothing.
        unsafe { command.pre_exec(prepare) };
        let child = command
            .spawn()
            .with_context(|| format!("can't start {}", program.display()))?;
        Ok(Server {
            child,
            ready: String::new(),
        })
    }

    /// Starts `lambdac run` on programs, on free ports.
    pub fn lambdac(lambdac: &Path, programs: &[PathBuf], on: &[usize]) -> Result<Server> {
        let mut args: Vec<&OsStr> = vec![OsStr::new("run")];
        args.extend(programs.iter().map(|program| program.as_os_str()));
        args.extend(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"].map(OsStr::new));
        Server::start(lambdac, &args, on)
    }

    /// The address that the `ready` line gives after `key`, or alone where the key is empty.
    pub fn address(&self, key: &str) -> Result<SocketAddr> {
        let word = self
            .ready
            .split_whitespace()
            .skip(1)
            .find_map(|word| word.strip_prefix(key));
        word.and_then(|word| word.parse().ok())
            .with_context(|| format!("no {key}ADDRESS in {:?}", self.ready))
    }

    /// Processor time that its threads have used so far, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let mut nanoseconds = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread that has ended meanwhile is no error.
            let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            nanoseconds += text
                .split_whitespace()
                .next()
                .and_then(|n| n.parse::<u64>().ok())
                .unwrap_or(0);
        }
        ensure!(
            nanoseconds > 0,
            "the kernel does not tell processor time of threads"
        );
        Ok(nanoseconds as f64 / 1e9)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to mend then.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn first_line(output: impl Read + Send + 'static) -> Result<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(output).lines();
        if let Some(Ok(line)) = lines.next() {
            // Nobody listens any more once it took too long.
            _ = send.send(line);
        }
        // What follows is read, so that the server never waits for room in the pipe.
        lines.for_each(drop);
    });
    Ok(receive.recv_timeout(READY_TIMEOUT)?)
}
