//! Sending on the λ wire, and the rule that keeps a worker from being a reflector.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use lnic_wire::{HEADER_LEN, Header, MAX_FRAGMENT, Status, fragments};
use socket2::Socket;

use crate::metrics::{Metrics, ThreadMetrics, Writer};
use crate::prefix::{Prefix, any_contains};
use crate::sys::{Peer, TxBatch};

/// A reply datagram to an unvalidated source is at most this many times the request's.
const AMPLIFICATION: usize = 3;

/// What is kept of a request in order to answer it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WireOrigin {
    pub(crate) peer: Peer,
    pub(crate) header: Header,
    /// Bytes of the datagram that completed the request, padding included.
    pub(crate) datagram_len: usize,
}

/// A packet thread's socket with the batch that waits to be sent.
pub(crate) struct Outlet {
    socket: Socket,
    tx: TxBatch,
    metrics: Arc<Metrics>,
    index: usize,
    trusted: Arc<[Prefix]>,
}

impl AsRawFd for Outlet {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Outlet {
    pub(super) fn new(socket: Socket, metrics: Arc<Metrics>, index: usize, trusted: Arc<[Prefix]>) -> Outlet {
        Outlet {
            socket,
            tx: TxBatch::new(super::BATCH),
            metrics,
            index,
            trusted,
        }
    }

    fn counters(&self) -> &ThreadMetrics {
        &self.metrics.threads[self.index]
    }

    /// Where a one-packet reply can be written in place, before [`Outlet::reply_in_place`].
    #[inline]
    pub(super) fn next_payload(&mut self) -> &mut [u8] {
        if self.tx.is_full() {
            self.flush();
        }
        self.tx.next_payload()
    }

    /// Sends what the batch holds.
    pub(super) fn flush(&mut self) {
        if self.tx.is_empty() {
            return;
        }
        let (sent, failed) = self.tx.flush(&self.socket);
        self.counters().sent.add(sent, Writer::Sole);
        if failed > 0 {
            self.counters().send_failed.add(failed, Writer::Sole);
        }
    }

    /// Answers with the `len` bytes that stand in [`Outlet::next_payload`]. The packet is the
    /// whole reply, or the reply to one fragment of a stream. Gives the status that was sent.
    #[inline]
    pub(super) fn reply_in_place(&mut self, origin: &WireOrigin, len: usize, is_stream: bool) -> Status {
        if HEADER_LEN + len > AMPLIFICATION * origin.datagram_len && !self.is_trusted(origin) {
            return self.error(origin, Status::TooLarge);
        }
        let (at, of) = if is_stream {
            (origin.header.fragment, origin.header.fragments)
        } else {
            (0, 1)
        };
        let header = origin.header.reply(Status::Ok, at, of, len as u16);
        self.tx.push(&origin.peer, &header.encode(), len);
        Status::Ok
    }

    /// Answers with a reply of any length. Gives the status that was sent.
    pub(super) fn reply(&mut self, origin: &WireOrigin, reply: &[u8]) -> Status {
        let Some(packets) = fragments(reply, MAX_FRAGMENT as u16) else {
            return self.error(origin, Status::TooLarge);
        };
        let grows = HEADER_LEN + reply.len() > AMPLIFICATION * origin.datagram_len;
        if (packets.len() > 1 || grows) && !self.is_trusted(origin) {
            return self.error(origin, Status::TooLarge);
        }
        for packet in packets {
            let len = packet.payload.len();
            self.next_payload()[..len].copy_from_slice(packet.payload);
            let header = origin
                .header
                .reply(Status::Ok, packet.index, packet.count, len as u16);
            self.tx.push(&origin.peer, &header.encode(), len);
        }
        Status::Ok
    }

    /// Answers with an error status, which it gives back.
    pub(super) fn error(&mut self, origin: &WireOrigin, status: Status) -> Status {
        if self.tx.is_full() {
            self.flush();
        }
        self.tx
            .push(&origin.peer, &origin.header.error(status).encode(), 0);
        status
    }

    #[cold]
    fn is_trusted(&self, origin: &WireOrigin) -> bool {
        any_contains(&self.trusted, origin.peer.address().ip())
    }
}
