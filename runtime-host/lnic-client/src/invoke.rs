//! One request, until a reply fits it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use lnic_wire::{HEADER_LEN, Header, Kind, MAX_FRAGMENT, Status, fragment_count, fragments};

use crate::batch::connect;
use crate::random::Random;
use crate::{Error, Result, Workload};

/// Packets sent in one go; then replies are looked for, so that neither side's buffers overflow.
const BURST: usize = 32;
/// Pause between two bursts, times the number of the attempt.
const BURST_PAUSE: Duration = Duration::from_micros(100);

/// How patient [`invoke`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvokeOptions {
    /// Longest wait for the whole reply.
    pub timeout: Duration,
    /// Silence after which the request is sent again; doubles with every attempt.
    pub resend: Duration,
}

impl Default for InvokeOptions {
    fn default() -> InvokeOptions {
        InvokeOptions {
            timeout: Duration::from_secs(5),
            resend: Duration::from_millis(200),
        }
    }
}

/// The reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its bytes.
    pub payload: Vec<u8>,
    /// From the first packet out to the last packet in.
    pub latency: Duration,
    /// How often the request was sent.
    pub attempts: u32,
}

/// Sends `request` to `workload` on the worker whose wire is at `worker`, and waits for the reply.
///
/// # Errors
///
/// [`Error::Status`] where the worker answers with an error, [`Error::TimedOut`] where nothing
/// answers, [`Error::TooLarge`] and [`Error::Network`].
pub fn invoke(
    worker: SocketAddr,
    workload: &Workload,
    request: &[u8],
    options: &InvokeOptions,
) -> Result<Reply> {
    if fragment_count(request.len(), workload.fragment).is_none() {
        return Err(Error::TooLarge(request.len()));
    }
    let network = |source| Error::Network { worker, source };
    let socket = connect(worker).map_err(network)?;
    let mut call = Call {
        socket,
        workload,
        request,
        number: Random::new().next(),
        answer: Answer::default(),
    };
    let start = Instant::now();
    let deadline = start + options.timeout;
    let (mut attempts, mut patience) = (0, options.resend.max(Duration::from_millis(1)));
    while Instant::now() < deadline {
        attempts += 1;
        if call.send(attempts).map_err(network)? || call.wait(patience, deadline).map_err(network)? {
            let latency = start.elapsed();
            return match call.answer.status {
                Some(status) => Err(Error::Status(status)),
                None => Ok(Reply {
                    payload: call.answer.join(),
                    latency,
                    attempts,
                }),
            };
        }
        patience = patience.saturating_mul(2);
    }
    Err(Error::TimedOut {
        worker,
        timeout: options.timeout,
        attempts,
    })
}

struct Call<'a> {
    socket: UdpSocket,
    workload: &'a Workload,
    request: &'a [u8],
    number: u64,
    answer: Answer,
}

impl Call<'_> {
    /// Sends the request, looking for replies in between. True when the answer is whole.
    fn send(&mut self, attempt: u32) -> io::Result<bool> {
        self.socket.set_nonblocking(true)?;
        let mut datagram = [0; HEADER_LEN + MAX_FRAGMENT];
        for part in fragments(self.request, self.workload.fragment)
            .into_iter()
            .flatten()
        {
            let len = part.payload.len();
            let header = Header::request(self.workload.id, self.number, part.index, part.count, len as u16);
            datagram[..HEADER_LEN].copy_from_slice(&header.encode());
            datagram[HEADER_LEN..HEADER_LEN + len].copy_from_slice(part.payload);
            match self.socket.send(&datagram[..HEADER_LEN + len]) {
                // A worker that is just starting: the next attempt may find it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                // A full buffer loses the packet, as the network may.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => _ = result?,
            }
            if usize::from(part.index) % BURST == BURST - 1 {
                std::thread::sleep(BURST_PAUSE.saturating_mul(attempt));
                while self.receive()?.is_some() {
                    if self.answer.is_whole() {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Waits until the answer is whole, or no packet of it came for `patience`.
    fn wait(&mut self, patience: Duration, deadline: Instant) -> io::Result<bool> {
        self.socket.set_nonblocking(false)?;
        let mut quiet_at = Instant::now() + patience;
        loop {
            let left = quiet_at.min(deadline).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.socket.set_read_timeout(Some(left))?;
            if self.receive()? == Some(true) {
                if self.answer.is_whole() {
                    return Ok(true);
                }
                quiet_at = Instant::now() + patience;
            }
        }
    }

    /// Takes one packet: none where none is there, true where it is part of the answer.
    fn receive(&mut self) -> io::Result<Option<bool>> {
        let mut buffer = [0; 2048];
        let len = match self.socket.recv(&mut buffer) {
            Ok(len) => len,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {
                        Ok(None)
                    }
                    io::ErrorKind::ConnectionRefused => {
                        // Nobody listens (yet). Don't spin on what the kernel reports at once.
                        std::thread::sleep(Duration::from_millis(1));
                        Ok(None)
                    }
                    _ => Err(error),
                };
            }
        };
        let Ok((header, payload)) = Header::decode(&buffer[..len], Kind::Reply) else {
            return Ok(Some(false));
        };
        if header.request != self.number || header.workload != self.workload.id {
            return Ok(Some(false));
        }
        Ok(Some(self.answer.add(&header, payload)))
    }
}

/// What has come of the reply.
#[derive(Debug, Default)]
struct Answer {
    /// An error, which ends the message at once.
    status: Option<Status>,
    parts: Vec<Option<Vec<u8>>>,
    missing: usize,
}

impl Answer {
    /// Takes a packet; false where it adds nothing. The first packet decides how many there are,
    /// and the first packet of each index wins.
    fn add(&mut self, header: &Header, payload: &[u8]) -> bool {
        if header.status != Status::Ok {
            self.status = Some(header.status);
            return true;
        }
        if self.parts.is_empty() {
            self.missing = usize::from(header.fragments);
            self.parts.resize(self.missing, None);
        }
        if self.parts.len() != usize::from(header.fragments) {
            return false;
        }
        let part = &mut self.parts[usize::from(header.fragment)];
        let is_new = part.is_none();
        if is_new {
            *part = Some(payload.to_vec());
            self.missing -= 1;
        }
        is_new
    }

    fn is_whole(&self) -> bool {
        self.status.is_some() || (!self.parts.is_empty() && self.missing == 0)
    }

    fn join(self) -> Vec<u8> {
        self.parts.into_iter().flatten().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_packet_of_each_index_wins() {
        let mut answer = Answer::default();
        let header = |at, of| Header::request(1, 2, 0, 1, 0).reply(Status::Ok, at, of, 1);
        assert!(answer.add(&header(1, 2), b"b"));
        assert!(!answer.add(&header(1, 2), b"x"));
        assert!(
            !answer.add(&header(0, 3), b"x"),
            "another reply to the same number"
        );
        assert!(!answer.is_whole());
        assert!(answer.add(&header(0, 2), b"a"));
        assert!(answer.is_whole());
        assert_eq!(answer.join(), b"ab");
    }

    #[test]
    fn an_error_ends_the_message() {
        let mut answer = Answer::default();
        let request = Header::request(1, 2, 0, 1, 0);
        answer.add(&request.reply(Status::Ok, 0, 2, 0), b"");
        assert!(answer.add(&request.error(Status::Trap), b""));
        assert!(answer.is_whole());
        assert_eq!(answer.status, Some(Status::Trap));
    }
}
