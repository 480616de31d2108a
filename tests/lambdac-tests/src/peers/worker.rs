//! A worker: `lambdac run` on free ports of loopback.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use lnic_client::{InvokeOptions, Workload};
use lnic_wire::MAX_FRAGMENT;

use super::http::{self, Response};
use super::netns::{Net, Side};
use super::{PATIENCE, Ran, lambdac, root, run, until};

/// How a worker is started, besides its sources.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// Further flags.
    pub flags: &'a [&'a str],
    /// Environment variables.
    pub env: &'a [(&'a str, &'a str)],
    /// Address of the wire, instead of a free port of 127.0.0.1.
    pub wire: Option<&'a str>,
    /// Address of HTTP, instead of a free port of 127.0.0.1.
    pub http: Option<&'a str>,
    /// The namespace that it runs in, instead of the test's own.
    pub inside: Option<(&'a Net, Side)>,
}

/// A running `lambdac run`.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    /// Its λ wire.
    pub wire: SocketAddr,
    /// Its HTTP.
    pub http: SocketAddr,
    log: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Worker {
    /// Serves sources, which are paths in the workspace or absolute, with further flags.
    ///
    /// # Panics
    ///
    /// If it doesn't say that it is ready.
    pub fn start(sources: &[&str], flags: &[&str]) -> Self {
        let options = Options {
            flags,
            ..Options::default()
        };
        Self::try_start(sources, &options).unwrap_or_else(|log| panic!("the worker is not ready: {log}"))
    }

    /// Serves sources at a wire port whose TCP twin gives the names too. A free UDP port may be taken on TCP; then it is
    /// tried again.
    ///
    /// # Panics
    ///
    /// If it doesn't say that it is ready, or finds no such port.
    pub fn start_with_names(sources: &[&str]) -> Self {
        (0..10)
            .map(|_| Self::start(sources, &[]))
            .find(|worker| TcpStream::connect(worker.wire).is_ok())
            .expect("a port that is free on UDP and TCP")
    }

    /// Serves sources.
    ///
    /// # Errors
    ///
    /// What it wrote to stderr, if it ended instead.
    ///
    /// # Panics
    ///
    /// If it can't be started.
    pub fn try_start(sources: &[&str], options: &Options<'_>) -> Result<Self, String> {
        let any = "127.0.0.1:0";
        let mut command = match options.inside {
            Some((net, side)) => net.command(side, lambdac()),
            None => Command::new(lambdac()),
        };
        command.arg("run").args(sources).args(options.flags);
        command.args(["--listen", options.wire.unwrap_or(any)]);
        command.args(["--http", options.http.unwrap_or(any)]);
        command.envs(options.env.iter().copied()).current_dir(root());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("lambdac starts");
        let (log, reader) = collect(child.stderr.take().expect("stderr is a pipe"));
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is a pipe");
        // Ends at the line or, where the worker ends, at the end of the pipe.
        let _ = BufReader::new(stdout).read_line(&mut line);
        let Some((wire, http)) = ready(&line) else {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
            let _ = reader.join();
            return Err(log.lock().unwrap_or_else(PoisonError::into_inner).clone());
        };
        Ok(Self {
            child,
            wire,
            http,
            log,
            reader: Some(reader),
        })
    }

    /// `lambdac invoke NAME` with further arguments.
    pub fn invoke(&self, name: &str, args: &[&str]) -> Ran {
        let (wire, http) = (self.wire.to_string(), self.http.to_string());
        let mut all = vec!["invoke", name, "--to", &wire, "--http", &http, "--timeout", "60s"];
        all.extend(args);
        run(&all)
    }

    /// The reply to one request over the wire, as text.
    ///
    /// # Panics
    ///
    /// If it is an error, or no text.
    pub fn ask(&self, name: &str, data: &str) -> String {
        let reply = self.send(&self.workload(name), data.as_bytes());
        let reply = reply.unwrap_or_else(|error| panic!("{name}: {error}"));
        String::from_utf8(reply).expect("the reply is text")
    }

    /// What a caller on the wire must know of a workload.
    ///
    /// # Panics
    ///
    /// If it isn't there.
    pub fn workload(&self, name: &str) -> Workload {
        lnic_client::lookup(&self.http.to_string(), name).expect("the workload is listed")
    }

    /// One request over the wire, in this process. One of a single packet is sent once, so that it runs once however
    /// long it takes; loopback loses a packet only where a buffer is full.
    ///
    /// # Errors
    ///
    /// As [`lnic_client::invoke`].
    pub fn send(&self, workload: &Workload, request: &[u8]) -> Result<Vec<u8>, lnic_client::Error> {
        let mut options = InvokeOptions {
            timeout: PATIENCE,
            ..InvokeOptions::default()
        };
        if request.len() <= MAX_FRAGMENT {
            options.resend = PATIENCE;
        }
        lnic_client::invoke(self.wire, workload, request, &options).map(|reply| reply.payload)
    }

    /// One HTTP request.
    pub fn fetch(&self, method: &str, path: &str, body: &[u8]) -> Response {
        http::request(self.http, (method, path), &[], body)
    }

    /// `POST /function/NAME` with further headers.
    pub fn call_with(&self, name: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        http::request(self.http, ("POST", &format!("/function/{name}")), headers, body)
    }

    /// `POST /function/NAME`.
    pub fn call(&self, name: &str, body: &[u8]) -> Response {
        self.fetch("POST", &format!("/function/{name}"), body)
    }

    /// A value of `/metrics` by the name and labels that stand before it; 0 where there is none.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.fetch("GET", "/metrics", b"").text();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// What it has written to stderr so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the log holds a text.
    ///
    /// # Panics
    ///
    /// If it doesn't come.
    pub fn until_log(&self, text: &str) {
        until(&format!("the log says {text:?}"), || self.log().contains(text));
    }

    /// Sends it SIGTERM.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.is_ok_and(|status| status.success()), "no SIGTERM sent");
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it at once, as a crash would.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }

    /// Waits for its end: exit status and log.
    ///
    /// # Panics
    ///
    /// If it doesn't end.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let mut status = None;
        until("the worker ends", || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        if let Some(reader) = self.reader.take() {
            // The log is complete once its reader has ended.
            let _ = reader.join();
        }
        (status.and_then(|status| status.code()), self.log())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `ready wire=ADDR:PORT http=ADDR:PORT`
fn ready(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (wire, http) = line
        .trim_end()
        .strip_prefix("ready wire=")?
        .split_once(" http=")?;
    Some((wire.parse().ok()?, http.parse().ok()?))
}

/// Reads a pipe into a text until it ends.
fn collect(mut pipe: impl Read + Send + 'static) -> (Arc<Mutex<String>>, std::thread::JoinHandle<()>) {
    let log = Arc::new(Mutex::new(String::new()));
    let shared = log.clone();
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = pipe.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..len]);
            shared
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_str(&text);
        }
    });
    (log, reader)
}
