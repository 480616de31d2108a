//! A closed loop of datagrams, as light as it can be: the server under it is to be the limit.
//!
//! Each thread has a core and some connected sockets; each socket keeps a number of requests on their way. What comes
//! in by one batched receive is answered by as many new requests in one batched send. Replies are checked for their
//! length, for status OK, and the first of each socket byte for byte.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::load::{Schedule, Window};

const BATCH: usize = 64;
const BUFFER: usize = 2048;
/// Sockets of a thread: enough source ports that SO_REUSEPORT spreads them over the server's sockets.
const SOCKETS: usize = 8;
/// Requests that a socket keeps on their way.
const IN_FLIGHT: usize = 32;
/// After so long without any reply, what is on its way counts as lost and is sent again.
const LOST_AFTER: Duration = Duration::from_millis(50);
/// Offset of the status in a reply.
const STATUS: usize = 22;

/// What is sent, to whom, for how long.
pub struct Load<'a> {
    pub server: SocketAddr,
    pub datagram: &'a [u8],
    /// The reply's bytes; of an echo only their number is checked.
    pub reply: &'a [u8],
    pub compare: bool,
    pub schedule: Schedule<'a>,
}

impl Load<'_> {
    /// Replies a second, and what `sample` gave when counting began and ended.
    pub fn run<T>(&self, sample: impl FnMut() -> Result<T>) -> Result<(f64, T, T)> {
        self.schedule.run(|window| self.thread(window), sample)
    }

    fn thread(&self, Window { begin, end }: Window) -> Result<u64> {
        let mut lanes = (0..SOCKETS)
            .map(|_| Lane::new(self))
            .collect::<Result<Vec<_>>>()?;
        let mut replies = 0;
        let mut last_reply = Instant::now();
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(replies);
            }
            let mut received = 0;
            for lane in &mut lanes {
                received += lane.turn(self)?;
            }
            if received > 0 {
                last_reply = now;
                replies += if now >= begin { received as u64 } else { 0 };
            } else if now - last_reply > LOST_AFTER {
                lanes.iter_mut().for_each(|lane| lane.send(IN_FLIGHT));
                last_reply = now;
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

/// A socket with its batches. The message headers point into the boxed slices beside them, which are never replaced.
struct Lane {
    socket: UdpSocket,
    receive: Box<[libc::mmsghdr]>,
    send: Box<[libc::mmsghdr]>,
    _vectors: Box<[libc::iovec]>,
    buffers: Box<[[u8; BUFFER]]>,
    _datagram: Box<[u8]>,
}

impl Lane {
    fn new(load: &Load<'_>) -> Result<Lane> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(load.server)?;
        let mut datagram: Box<[u8]> = load.datagram.into();
        let mut buffers = vec![[0; BUFFER]; BATCH].into_boxed_slice();
        let into = |bytes: &mut [u8]| libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: bytes.len(),
        };
        let vectors = buffers
            .iter_mut()
            .map(|buffer| into(buffer))
            .chain([into(&mut datagram)]);
        let mut vectors: Box<[libc::iovec]> = vectors.collect();
        let message = |vector: &mut libc::iovec| {
            // SAFETY: a message header is integers and pointers, for which all zeros is a valid "nothing".
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            message
        };
        let receive = vectors[..BATCH].iter_mut().map(message).collect();
        let send = (0..BATCH).map(|_| message(&mut vectors[BATCH])).collect();
        let mut lane = Lane {
            socket,
            receive,
            send,
            _vectors: vectors,
            buffers,
            _datagram: datagram,
        };
        lane.greet(load)?;
        lane.send(IN_FLIGHT);
        Ok(lane)
    }

    /// One request and its reply, compared whole.
    fn greet(&mut self, load: &Load<'_>) -> Result<()> {
        self.socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        self.send(1);
        let len = self
            .socket
            .recv(&mut self.buffers[0])
            .context("no reply to the first request")?;
        let reply = &self.buffers[0][..len];
        ensure!(
            reply.len() == load.reply.len(),
            "a reply of {len} bytes instead of {}",
            load.reply.len()
        );
        ensure!(
            !load.compare || reply == load.reply,
            "the first reply is another than expected"
        );
        Ok(())
    }

    /// Takes what has come and sends as many again; gives how many.
    fn turn(&mut self, load: &Load<'_>) -> Result<usize> {
        // SAFETY: every header points to one buffer of the length it states, owned by `self`, borrowed exclusively.
        let count = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                self.receive.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            ensure!(error.kind() == io::ErrorKind::WouldBlock, "receiving: {error}");
            return Ok(0);
        };
        for (message, buffer) in self.receive.iter().zip(&self.buffers[..count]) {
            let good = message.msg_len as usize == load.reply.len() && buffer[STATUS] == 0;
            ensure!(
                good,
                "a reply of {} bytes with status {}",
                message.msg_len,
                buffer[STATUS]
            );
        }
        self.send(count);
        Ok(count)
    }

    /// Sends the request so many times. What the kernel refuses is lost, as on a network.
    fn send(&mut self, count: usize) {
        let mut sent = 0;
        while sent < count {
            let part = (count - sent).min(BATCH);
            // SAFETY: every header points to the datagram that `self` owns; the kernel only writes lengths, into
            // headers that nobody reads.
            let more =
                unsafe { libc::sendmmsg(self.socket.as_raw_fd(), self.send.as_mut_ptr(), part as u32, 0) };
            sent += usize::try_from(more).unwrap_or(0).max(1);
        }
    }
}
