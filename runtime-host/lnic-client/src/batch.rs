//! Connected sockets, and datagrams sent and received by the batch.
//!
//! All unsafe code of this crate is here.

use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use lnic_wire::HEADER_LEN;
use socket2::{Domain, Protocol, Socket, Type};

/// Datagrams in a batch.
pub(crate) const BATCH: usize = 64;
/// Bytes kept of a datagram that comes in; more than any reply has.
const RECEIVE_LEN: usize = 2048;
/// Receive buffer asked for: replies of many packets, with the kernel's overhead.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A socket that speaks with one worker only.
pub(crate) fn connect(worker: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(worker), Type::DGRAM, Some(Protocol::UDP))?;
    let wanted = RECEIVE_BUFFER as libc::c_int;
    // SAFETY: the descriptor is open, and `wanted` lives through the call with the size given.
    let forced = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const wanted).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if forced != 0 {
        // Only root may go beyond the system's limit.
        _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    }
    socket.connect(&worker.into())?;
    Ok(socket.into())
}

/// Waits until one of `sockets` has something or `timeout` is over; says which have.
pub(crate) struct Poll {
    fds: Vec<libc::pollfd>,
}

impl Poll {
    pub(crate) fn new(sockets: &[UdpSocket]) -> Poll {
        let fd = |socket: &UdpSocket| libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        Poll {
            fds: sockets.iter().map(fd).collect(),
        }
    }

    pub(crate) fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(timeout.subsec_nanos()),
        };
        // SAFETY: pointer and count are those of a live vector; `timeout` lives through the call;
        // no signal mask.
        let ready = unsafe {
            libc::ppoll(
                self.fds.as_mut_ptr(),
                self.fds.len() as libc::nfds_t,
                &timeout,
                std::ptr::null(),
            )
        };
        if ready < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
            self.fds.iter_mut().for_each(|fd| fd.revents = 0);
        }
        Ok(())
    }

    pub(crate) fn is_ready(&self, at: usize) -> bool {
        self.fds[at].revents != 0
    }
}

fn empty_messages() -> Box<[libc::mmsghdr]> {
    // SAFETY: mmsghdr is integers and pointers, for which all zeros is a valid "nothing".
    (0..BATCH).map(|_| unsafe { std::mem::zeroed() }).collect()
}

/// Datagrams that came in.
///
/// The headers point into the boxed slices beside them, which are never replaced, so the pointers
/// stay good when the batch is moved.
pub(crate) struct RxBatch {
    headers: Box<[libc::mmsghdr]>,
    _vectors: Box<[libc::iovec]>,
    buffers: Box<[[u8; RECEIVE_LEN]]>,
    len: usize,
}

// SAFETY: the pointers lead only into what the batch owns.
unsafe impl Send for RxBatch {}

impl RxBatch {
    pub(crate) fn new() -> RxBatch {
        let mut buffers = vec![[0; RECEIVE_LEN]; BATCH].into_boxed_slice();
        let vector = |buffer: &mut [u8; RECEIVE_LEN]| libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: RECEIVE_LEN,
        };
        let mut vectors: Box<[libc::iovec]> = buffers.iter_mut().map(vector).collect();
        let mut headers = empty_messages();
        for (header, vector) in headers.iter_mut().zip(&mut vectors) {
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        RxBatch {
            headers,
            _vectors: vectors,
            buffers,
            len: 0,
        }
    }

    /// Takes what the socket holds, without waiting. An error, such as a refused connection, is
    /// cleared by reading and counts as nothing.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> usize {
        // SAFETY: every header points to one buffer of the length it states, owned by `self`,
        // which is borrowed exclusively. No names, no controls, no time-out.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        self.len = usize::try_from(count).unwrap_or(0);
        self.len
    }

    pub(crate) fn datagram(&self, at: usize) -> &[u8] {
        let len = self.headers[..self.len][at].msg_len as usize;
        &self.buffers[at][..len.min(RECEIVE_LEN)]
    }
}

/// Datagrams to go out: a header of their own each, and a payload that lives as long as `'p`.
pub(crate) struct TxBatch<'p> {
    messages: Box<[libc::mmsghdr]>,
    vectors: Box<[[libc::iovec; 2]]>,
    headers: Box<[[u8; HEADER_LEN]]>,
    len: usize,
    payloads: PhantomData<&'p [u8]>,
}

// SAFETY: the pointers lead only into what the batch owns and into shared payloads of bytes.
unsafe impl Send for TxBatch<'_> {}

impl<'p> TxBatch<'p> {
    pub(crate) fn new() -> TxBatch<'p> {
        let mut headers = vec![[0; HEADER_LEN]; BATCH].into_boxed_slice();
        let nothing = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        let vectors = |header: &mut [u8; HEADER_LEN]| {
            [
                libc::iovec {
                    iov_base: header.as_mut_ptr().cast(),
                    iov_len: HEADER_LEN,
                },
                nothing,
            ]
        };
        let mut vectors: Box<[[libc::iovec; 2]]> = headers.iter_mut().map(vectors).collect();
        let mut messages = empty_messages();
        for (message, vectors) in messages.iter_mut().zip(&mut vectors) {
            message.msg_hdr.msg_iov = vectors.as_mut_ptr();
            message.msg_hdr.msg_iovlen = 2;
        }
        TxBatch {
            messages,
            vectors,
            headers,
            len: 0,
            payloads: PhantomData,
        }
    }

    /// Adds a datagram, sending the batch first where it is full.
    pub(crate) fn push(&mut self, socket: &UdpSocket, header: &[u8; HEADER_LEN], payload: &'p [u8]) {
        if self.len == BATCH {
            self.flush(socket);
        }
        self.headers[self.len] = *header;
        // The kernel only reads it.
        self.vectors[self.len][1] = libc::iovec {
            iov_base: payload.as_ptr().cast_mut().cast(),
            iov_len: payload.len(),
        };
        self.len += 1;
    }

    /// Sends all and empties the batch. What the kernel refuses is lost, as on the network.
    pub(crate) fn flush(&mut self, socket: &UdpSocket) {
        let mut next = 0;
        while next < self.len {
            let rest = &mut self.messages[next..self.len];
            // SAFETY: every message points to a header owned by `self` and to a payload that
            // lives for `'p`, which outlives `self`; the kernel writes only lengths.
            let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0) };
            match usize::try_from(sent) {
                Ok(sent) if sent > 0 => next += sent,
                _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                _ => next += 1,
            }
        }
        self.len = 0;
    }
}
