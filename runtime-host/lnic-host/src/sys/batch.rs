//! Batches of datagrams for `recvmmsg` and `sendmmsg`.
//!
//! A batch owns its buffers and the kernel's headers that point into them. The headers are
//! written once; per packet only lengths change. The buffers live in boxed slices that are never
//! replaced, so the pointers stay good when the batch itself is moved.

use std::io;
use std::os::fd::AsRawFd;

use lnic_wire::{HEADER_LEN, MAX_FRAGMENT};

use super::peer::{Local, NAME_LEN, Peer};

/// Bytes kept of a datagram that comes in. A caller may pad beyond any size; what is cut off is
/// padding, since payloads end before it.
const RECEIVE_LEN: usize = 2048;
/// Bytes of the largest datagram that goes out.
pub(super) const SEND_LEN: usize = HEADER_LEN + MAX_FRAGMENT;
/// Room for one control message with an address in it.
const CONTROL_LEN: usize = 64;

/// Control messages must be aligned like their headers.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Control([u8; CONTROL_LEN]);

fn boxed<T: Clone>(value: T, count: usize) -> Box<[T]> {
    vec![value; count].into_boxed_slice()
}

fn empty_message() -> libc::mmsghdr {
    // SAFETY: mmsghdr is integers and pointers, for which all zeros is a valid "nothing".
    unsafe { std::mem::zeroed() }
}

/// Headers, names, vectors and controls common to both directions.
struct Messages {
    headers: Box<[libc::mmsghdr]>,
    names: Box<[[u8; NAME_LEN]]>,
    controls: Box<[Control]>,
    /// Pointed at by `headers`.
    _vectors: Box<[libc::iovec]>,
}

impl Messages {
    /// One message for each buffer in `buffers`.
    fn new<const N: usize>(buffers: &mut [[u8; N]]) -> Messages {
        let count = buffers.len();
        let mut headers = boxed(empty_message(), count);
        let mut names = boxed([0; NAME_LEN], count);
        let mut controls = boxed(Control([0; CONTROL_LEN]), count);
        let vector = |buffer: &mut [u8; N]| libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: N,
        };
        let mut vectors: Box<[libc::iovec]> = buffers.iter_mut().map(vector).collect();
        for at in 0..count {
            let header = &mut headers[at].msg_hdr;
            header.msg_name = names[at].as_mut_ptr().cast();
            header.msg_namelen = NAME_LEN as u32;
            header.msg_iov = &mut vectors[at];
            header.msg_iovlen = 1;
            header.msg_control = controls[at].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_LEN;
        }
        Messages {
            headers,
            names,
            controls,
            _vectors: vectors,
        }
    }
}

/// Datagrams that came in.
pub(crate) struct RxBatch {
    messages: Messages,
    buffers: Box<[[u8; RECEIVE_LEN]]>,
    len: usize,
}

impl RxBatch {
    /// Room for `capacity` datagrams.
    pub(crate) fn new(capacity: usize) -> RxBatch {
        let mut buffers = boxed([0; RECEIVE_LEN], capacity);
        RxBatch {
            messages: Messages::new(&mut buffers),
            buffers,
            len: 0,
        }
    }

    /// Takes what the socket holds, without waiting, and forgets the last batch.
    pub(crate) fn receive(&mut self, socket: &impl AsRawFd) -> usize {
        for header in &mut self.messages.headers[..self.len] {
            header.msg_hdr.msg_namelen = NAME_LEN as u32;
            header.msg_hdr.msg_controllen = CONTROL_LEN;
        }
        self.len = 0;
        let headers = &mut self.messages.headers;
        // SAFETY: every header points to buffers of the lengths it states, owned by `self`, which
        // is borrowed exclusively. No time-out pointer.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        // An error here is "nothing there" or a pending network error that reading has cleared.
        self.len = usize::try_from(count).unwrap_or(0);
        self.len
    }

    /// Bytes of datagram `at`.
    #[inline]
    pub(crate) fn datagram(&self, at: usize) -> &[u8] {
        let len = self.messages.headers[..self.len][at].msg_len as usize;
        &self.buffers[at][..len.min(RECEIVE_LEN)]
    }

    /// Sender of datagram `at`.
    #[inline]
    pub(crate) fn peer(&self, at: usize) -> Peer {
        let header = &self.messages.headers[..self.len][at].msg_hdr;
        let local = if header.msg_controllen == 0 {
            Local::Bound
        } else {
            self.local(at)
        };
        let name_len = header.msg_namelen.min(NAME_LEN as u32) as u8;
        Peer {
            name: self.messages.names[at],
            name_len,
            local,
        }
    }

    /// The address of ours that datagram `at` was sent to.
    fn local(&self, at: usize) -> Local {
        let header = &self.messages.headers[at].msg_hdr;
        // SAFETY: the kernel filled `msg_controllen` bytes of the control buffer, which is
        // aligned for cmsghdr; the macros stay within that length. The data of the two kinds
        // asked for are plain structs, read without regard to alignment.
        unsafe {
            let mut control = libc::CMSG_FIRSTHDR(header);
            while let Some(found) = control.as_ref() {
                match (found.cmsg_level, found.cmsg_type) {
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                        let info: libc::in_pktinfo = libc::CMSG_DATA(control)
                            .cast::<libc::in_pktinfo>()
                            .read_unaligned();
                        return Local::V4(info.ipi_spec_dst.s_addr.to_ne_bytes());
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                        let info: libc::in6_pktinfo = libc::CMSG_DATA(control)
                            .cast::<libc::in6_pktinfo>()
                            .read_unaligned();
                        return Local::V6(info.ipi6_addr.s6_addr);
                    }
                    _ => control = libc::CMSG_NXTHDR(header, control),
                }
            }
        }
        Local::Bound
    }
}

/// Datagrams to go out.
pub(crate) struct TxBatch {
    messages: Messages,
    buffers: Box<[[u8; SEND_LEN]]>,
    len: usize,
}

impl TxBatch {
    /// Room for `capacity` datagrams.
    pub(crate) fn new(capacity: usize) -> TxBatch {
        let mut buffers = boxed([0; SEND_LEN], capacity);
        TxBatch {
            messages: Messages::new(&mut buffers),
            buffers,
            len: 0,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == self.buffers.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The payload part of the next datagram, to be filled before [`TxBatch::push`]. The batch
    /// must not be full.
    #[inline]
    pub(crate) fn next_payload(&mut self) -> &mut [u8] {
        &mut self.buffers[self.len][HEADER_LEN..]
    }

    /// Adds a datagram whose payload of `payload_len` bytes is in place already.
    #[inline]
    pub(crate) fn push(&mut self, peer: &Peer, header: &[u8; HEADER_LEN], payload_len: usize) {
        let at = self.len;
        self.buffers[at][..HEADER_LEN].copy_from_slice(header);
        self.messages.names[at] = peer.name;
        let control_len = match peer.local {
            Local::Bound => 0,
            local => self.write_control(at, local),
        };
        let message = &mut self.messages.headers[at].msg_hdr;
        message.msg_namelen = u32::from(peer.name_len);
        message.msg_controllen = control_len as _;
        // SAFETY: `msg_iov` points at the one vector of this message, owned by `self.messages`
        // and borrowed by nobody else.
        unsafe { (*message.msg_iov).iov_len = HEADER_LEN + payload_len.min(MAX_FRAGMENT) };
        self.len += 1;
    }

    /// Writes the control message that sets a datagram's source address; gives its length.
    fn write_control(&mut self, at: usize, local: Local) -> usize {
        // SAFETY: CMSG_LEN and CMSG_SPACE only compute. The buffer is aligned for cmsghdr and
        // larger than the space of either message; the data is written without regard to
        // alignment.
        unsafe {
            let control: *mut libc::cmsghdr = self.messages.controls[at].0.as_mut_ptr().cast();
            match local {
                Local::Bound => 0,
                Local::V4(address) => {
                    let s_addr = u32::from_ne_bytes(address);
                    let any = libc::in_addr { s_addr: 0 };
                    let info = libc::in_pktinfo {
                        ipi_ifindex: 0,
                        ipi_spec_dst: libc::in_addr { s_addr },
                        ipi_addr: any,
                    };
                    let size = size_of_val(&info) as u32;
                    (*control).cmsg_len = libc::CMSG_LEN(size) as _;
                    (*control).cmsg_level = libc::IPPROTO_IP;
                    (*control).cmsg_type = libc::IP_PKTINFO;
                    libc::CMSG_DATA(control)
                        .cast::<libc::in_pktinfo>()
                        .write_unaligned(info);
                    libc::CMSG_SPACE(size) as usize
                }
                Local::V6(s6_addr) => {
                    let info = libc::in6_pktinfo {
                        ipi6_addr: libc::in6_addr { s6_addr },
                        ipi6_ifindex: 0,
                    };
                    let size = size_of_val(&info) as u32;
                    (*control).cmsg_len = libc::CMSG_LEN(size) as _;
                    (*control).cmsg_level = libc::IPPROTO_IPV6;
                    (*control).cmsg_type = libc::IPV6_PKTINFO;
                    libc::CMSG_DATA(control)
                        .cast::<libc::in6_pktinfo>()
                        .write_unaligned(info);
                    libc::CMSG_SPACE(size) as usize
                }
            }
        }
    }

    /// Sends all and empties the batch. Gives how many went and how many the kernel refused.
    pub(crate) fn flush(&mut self, socket: &impl AsRawFd) -> (u64, u64) {
        let (mut next, mut failed) = (0, 0);
        while next < self.len {
            let rest = &mut self.messages.headers[next..self.len];
            // SAFETY: every header points to buffers of at least the lengths it states, owned by
            // `self`, which is borrowed exclusively.
            let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0) };
            match usize::try_from(sent) {
                Ok(sent) if sent > 0 => next += sent,
                _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                _ => {
                    // The first of the rest was refused: it is lost, the others may still go.
                    next += 1;
                    failed += 1;
                }
            }
        }
        let sent = self.len as u64 - failed;
        self.len = 0;
        (sent, failed)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::{local_address, wire_sockets};
    use super::*;

    fn echo_from_any_address(bind: &str, target: &str) {
        let (address, sockets) = wire_sockets(bind.parse().unwrap(), 1).unwrap();
        let ip = target.parse().unwrap();
        let client = std::net::UdpSocket::bind(SocketAddr::new(
            if bind.starts_with('[') && target.contains(':') {
                "::1".parse().unwrap()
            } else {
                "127.0.0.1".parse().unwrap()
            },
            0,
        ))
        .unwrap();
        client.connect(SocketAddr::new(ip, address.port())).unwrap();
        client.send(b"hello").unwrap();
        let (mut rx, mut tx) = (RxBatch::new(4), TxBatch::new(4));
        assert_eq!(rx.receive(&sockets[0]), 1);
        assert_eq!(rx.datagram(0), b"hello");
        let peer = rx.peer(0);
        assert_eq!(peer.address(), client.local_addr().unwrap());
        tx.next_payload()[..2].copy_from_slice(b"hi");
        tx.push(&peer, &[7; HEADER_LEN], 2);
        assert_eq!(tx.flush(&sockets[0]), (1, 0));
        // The client is connected: it takes the reply only from the address it sent to.
        client
            .set_read_timeout(Some(std::time::Duration::from_secs(2)))
            .unwrap();
        let mut buffer = [0; 64];
        let len = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[HEADER_LEN..len], b"hi");
        assert_eq!(rx.receive(&sockets[0]), 0);
    }

    #[test]
    fn replies_come_from_the_address_that_was_asked() {
        echo_from_any_address("0.0.0.0:0", "127.0.0.3");
        echo_from_any_address("127.0.0.1:0", "127.0.0.1");
        if std::net::UdpSocket::bind("[::1]:0").is_ok() {
            echo_from_any_address("[::]:0", "::1");
            echo_from_any_address("[::]:0", "127.0.0.3");
        }
    }

    #[test]
    fn a_taken_address_is_refused() {
        let (address, sockets) = wire_sockets("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        assert_eq!(local_address(&sockets[1]).unwrap(), address);
        let error = wire_sockets(address, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_refused_datagram_does_not_take_the_others_with_it() {
        let (address, sockets) = wire_sockets("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let mut tx = TxBatch::new(3);
        // Port 0 can't be sent to.
        for to in ["127.0.0.1:0".parse().unwrap(), address] {
            tx.push(&Peer::from(to), &[0; HEADER_LEN], 0);
        }
        assert_eq!(tx.flush(&sockets[0]), (1, 1));
        assert!(tx.is_empty() && !tx.is_full());
    }
}
