//! The kernel interface of the packet threads: sockets, batches, epoll, eventfd, the clock.
//!
//! All unsafe code of this crate is here. Everything above works on safe types.

mod batch;
mod peer;
mod poll;

pub(crate) use batch::{RxBatch, TxBatch};
pub(crate) use peer::Peer;
pub(crate) use poll::{Epoll, EventFd, Token};

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

/// Receive buffer asked for: several messages of the largest size, with the kernel's overhead.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Send buffer asked for.
const SEND_BUFFER: usize = 4 << 20;
/// Longest that a send may wait for room in the kernel.
const SEND_WAIT: std::time::Duration = std::time::Duration::from_millis(100);

/// Nanoseconds on the monotonic clock.
#[inline]
pub(crate) fn now_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the result, and CLOCK_MONOTONIC always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Fills `bytes` from the kernel's random source.
pub(crate) fn random_bytes(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: pointer and length are those of a live slice.
        match unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) } {
            n if n > 0 => filled += n as usize,
            _ => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => {}
                e => return Err(e),
            },
        }
    }
    Ok(())
}

/// Binds the calling thread to the `index`-th core it may run on, counting around.
pub(crate) fn pin_to_core(index: usize) -> io::Result<()> {
    // SAFETY: cpu_set_t is a plain bit set, for which all zeros is the empty set.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: `allowed` is a valid cpu_set_t of `size` bytes; 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, size, &mut allowed) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: CPU_ISSET reads within the set for every number below CPU_SETSIZE.
    let is_allowed = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &allowed) };
    let cores: Vec<usize> = (0..libc::CPU_SETSIZE as usize).filter(is_allowed).collect();
    let Some(&core) = cores.get(index % cores.len().max(1)) else {
        return Ok(());
    };
    // SAFETY: as above; `core` is below CPU_SETSIZE.
    let status = unsafe {
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut one);
        libc::sched_setaffinity(0, size, &one)
    };
    if status != 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Binds `count` sockets, at least one, to one UDP address that share its packets.
///
/// The kernel lets any process of the same user join such a group, also by chance where it chooses the port. So the
/// first socket takes the address for itself, which fails where somebody has it, and then shares it.
pub(crate) fn wire_sockets(mut address: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<Socket>)> {
    let mut sockets: Vec<Socket> = Vec::with_capacity(count);
    for at in 0..count.max(1) {
        let socket = udp_socket(address)?;
        if address.ip().is_unspecified() {
            ask_for_local_address(&socket, address)?;
        }
        widen_buffers(&socket);
        socket.set_write_timeout(Some(SEND_WAIT))?;
        if at == 0 {
            socket.bind(&address.into())?;
            address = local_address(&socket)?;
            socket.set_reuse_port(true)?;
        } else {
            socket.set_reuse_port(true)?;
            socket.bind(&address.into())?;
        }
        sockets.push(socket);
    }
    Ok((address, sockets))
}

/// A socket from a fresh source port, for talking to services.
pub(crate) fn service_socket(peer: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(peer),
        Type::DGRAM.nonblocking(),
        Some(Protocol::UDP),
    )?;
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    socket.bind(&any.into())?;
    Ok(socket)
}

/// The address that a socket is bound to.
pub(crate) fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn udp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    Ok(socket)
}

/// Asks for the address each packet was sent to, so that the reply can come from it.
fn ask_for_local_address(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let option = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    set_option(socket, option, 1)
}

/// Sets the buffers beyond the system's limit where we may, else up to it.
fn widen_buffers(socket: &Socket) {
    if set_option(
        socket,
        (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE),
        RECEIVE_BUFFER as libc::c_int,
    )
    .is_err()
    {
        _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    }
    if set_option(
        socket,
        (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE),
        SEND_BUFFER as libc::c_int,
    )
    .is_err()
    {
        _ = socket.set_send_buffer_size(SEND_BUFFER);
    }
}

fn set_option(
    socket: &Socket,
    (level, name): (libc::c_int, libc::c_int),
    value: libc::c_int,
) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and `value` lives through the call and has `size` bytes.
    let status =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    if status != 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn the_sockets_of_a_wire_share_its_packets_and_nobody_else_does() {
        const SOURCES: usize = 100;
        let (address, sockets) = wire_sockets(([127, 0, 0, 1], 0).into(), 3).unwrap();
        assert!(wire_sockets(address, 1).is_err());
        for _ in 0..SOURCES {
            let source = UdpSocket::bind("127.0.0.1:0").unwrap();
            source.send_to(b"x", address).unwrap();
        }
        let received = |socket: Socket| {
            let socket = UdpSocket::from(socket);
            socket.set_nonblocking(true).unwrap();
            std::iter::from_fn(|| socket.recv(&mut [0; 8]).ok()).count()
        };
        let counts: Vec<usize> = sockets.into_iter().map(received).collect();
        assert_eq!(counts.iter().sum::<usize>(), SOURCES);
        // By the hash of source and destination: one of them gets none once in 10^17 runs.
        assert!(!counts.contains(&0), "{counts:?}");
    }
}
