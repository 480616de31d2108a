//! A unit's process: a pipe in, a pipe out, and an end to waiting.

use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Error, Result, io};

/// How long a process may say nothing.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of one piece of output.
const PIECE: usize = 64 << 10;
/// Pieces of output that wait.
const PIECES: usize = 64;
/// The longest field that is believed.
const MAX_FIELD: usize = 1 << 31;

/// A process that talks.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    input: Option<BufWriter<ChildStdin>>,
    output: Receiver<Vec<u8>>,
    errors: Option<JoinHandle<String>>,
    left: Vec<u8>,
    at: usize,
}

impl Process {
    pub fn start(program: &Path) -> Result<Self> {
        let mut child = Command::new(program)
            .env("ASAN_OPTIONS", "detect_leaks=0:abort_on_error=0")
            .env("UBSAN_OPTIONS", "print_stacktrace=1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io("starting a unit"))?;
        let input = child.stdin.take().map(BufWriter::new);
        let (send, output) = sync_channel(PIECES);
        if let Some(mut stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                let mut piece = vec![0; PIECE];
                while let Ok(count @ 1..) = stdout.read(&mut piece) {
                    if send.send(piece[..count].to_vec()).is_err() {
                        break;
                    }
                }
            });
        }
        let errors = child.stderr.take().map(|mut stderr| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                let _ = stderr.read_to_end(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        Ok(Self {
            child,
            input,
            output,
            errors,
            left: Vec::new(),
            at: 0,
        })
    }

    /// What became of it, as an error.
    pub fn failed(&mut self, what: &str) -> Error {
        self.input = None;
        let _ = self.child.kill();
        let ended = self.child.wait();
        let text = self.errors.take().and_then(|errors| errors.join().ok());
        Error::Process {
            what: match ended {
                Ok(status) => format!("{what} ({status})"),
                Err(error) => format!("{what} ({error})"),
            },
            text: text.unwrap_or_default(),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = match &mut self.input {
            Some(input) => input.write_all(bytes).and_then(|()| input.flush()),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        sent.map_err(|_| self.failed("takes nothing more"))
    }

    pub fn take(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < count {
            if self.at == self.left.len() {
                self.left = match self.output.recv_timeout(PATIENCE) {
                    Ok(piece) => piece,
                    Err(RecvTimeoutError::Timeout) => return Err(self.failed("says nothing")),
                    Err(RecvTimeoutError::Disconnected) => return Err(self.failed("ended")),
                };
                self.at = 0;
            }
            let take = (count - out.len()).min(self.left.len() - self.at);
            out.extend_from_slice(&self.left[self.at..self.at + take]);
            self.at += take;
        }
        Ok(out)
    }

    pub fn take_u32(&mut self) -> Result<u32> {
        let raw = self.take(4)?;
        Ok(u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]))
    }

    pub fn take_u64(&mut self) -> Result<u64> {
        let (low, high) = (self.take_u32()?, self.take_u32()?);
        Ok(u64::from(high) << 32 | u64::from(low))
    }

    pub fn take_bytes(&mut self) -> Result<Vec<u8>> {
        let count = self.take_u32()? as usize;
        if count > MAX_FIELD {
            return Err(self.failed("gave a field of an absurd length"));
        }
        self.take(count)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
