//! Whole Ethernet frames in and out of an interface, and packet captures of them.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use lnic_ether::interface_index;

/// `ETH_P_ALL` of `include/uapi/linux/if_ether.h`, as the kernel takes it.
const ALL: u16 = 0x0003u16.to_be();
/// Longest frame that is read.
const ROOM: usize = 4096;

/// A packet socket on one interface.
pub struct Raw(OwnedFd);

impl Raw {
    /// Opens one on an interface of the calling thread's namespace.
    pub fn open(interface: &str) -> io::Result<Self> {
        let index = interface_index(interface).map_err(io::Error::other)?;
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, ALL.into()) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just made it for us.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: a struct of integers, for which zero bytes are a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = ALL;
        address.sll_ifindex = index.cast_signed();
        // SAFETY: an address of the length that is given.
        let bound = unsafe {
            libc::bind(
                socket.0.as_raw_fd(),
                std::ptr::from_ref(&address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        match bound {
            0 => Ok(socket),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: a buffer of the length that is given.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        match usize::try_from(sent) {
            Ok(len) if len == frame.len() => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The next frame within a time.
    fn receive(&self, limit: Duration) -> Option<Vec<u8>> {
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one entry, as given.
        if unsafe { libc::poll(&mut poll, 1, limit.as_millis() as libc::c_int) } <= 0 {
            return None;
        }
        let mut room = vec![0; ROOM];
        // SAFETY: a buffer of the length that is given.
        let len = unsafe { libc::recv(self.0.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), 0) };
        room.truncate(usize::try_from(len).ok()?);
        Some(room)
    }

    /// The next frame that is wanted; none if it doesn't come in time.
    pub fn find(&self, limit: Duration, mut wanted: impl FnMut(&[u8]) -> bool) -> Option<Vec<u8>> {
        let end = Instant::now() + limit;
        loop {
            let left = end.checked_duration_since(Instant::now())?;
            if let Some(frame) = self.receive(left)
                && wanted(&frame)
            {
                return Some(frame);
            }
        }
    }
}

/// Frames as a capture file (the classic format of libpcap, Ethernet).
pub fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65_535, 1] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    for (second, frame) in (1u32..).zip(frames) {
        let len = frame.len() as u32;
        for word in [second, 0, len, len] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(frame);
    }
    out
}

/// The one's complement sum of RFC 1071.
pub fn sum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
