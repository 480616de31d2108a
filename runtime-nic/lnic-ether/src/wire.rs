//! Whole frames out of an interface, and those that come in by it (packet(7)).

use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

use crate::{Error, Result, interface_index, system};

/// `ETH_P_IP` of `include/uapi/linux/if_ether.h`: IPv4 that comes in, and nothing that goes out.
const IPV4: u16 = libc::ETH_P_IP as u16;
/// Where IPv4's source and destination stand in a frame.
const SOURCE: u32 = 26;
const DESTINATION: u32 = 30;
/// The longest frame that is read: a jumbo frame of 9,000 bytes, and headers.
const LONGEST: usize = 9216;

/// An interface, for sending whole frames and taking some that come in.
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
    address: SockAddr,
}

impl Wire {
    /// The interface of this name, for sending.
    ///
    /// # Errors
    /// If there is none, or this process may not.
    pub fn open(interface: &str) -> Result<Self> {
        let socket =
            Socket::new(Domain::PACKET, Type::RAW, None).map_err(|source| match source.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => {
                    let what = "sending frames needs a privilege that is missing here: CAP_NET_RAW, or root";
                    Error::Missing(what.to_owned())
                }
                _ => system("cannot open a socket for frames")(source),
            })?;
        let address = packet_address(interface_index(interface)?);
        Ok(Self { socket, address })
    }

    /// As [`Wire::open`]; and IPv4 frames that come in from an address, or to it, can be received.
    ///
    /// # Errors
    /// As [`Wire::open`].
    pub fn listen(interface: &str, address: Ipv4Addr) -> Result<Self> {
        let wire = Self::open(interface)?;
        let listening = wire
            .socket
            .attach_filter(&filter(address))
            .and_then(|()| wire.socket.bind(&wire.address));
        listening.map_err(system("cannot listen for frames"))?;
        Ok(wire)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// If the kernel does not take it.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let sent = self
            .socket
            .send_to_with_flags(frame, &self.address, libc::MSG_DONTWAIT);
        sent.map(drop)
    }

    /// The next frame that is listened for; none if it does not come within a time.
    ///
    /// # Errors
    /// If the interface is gone, or the kernel does not answer.
    pub fn receive(&self, within: Duration) -> io::Result<Option<Vec<u8>>> {
        self.socket.set_read_timeout(Some(within))?;
        let mut frame = vec![0; LONGEST];
        match (&self.socket).read(&mut frame) {
            Ok(len) => {
                frame.truncate(len);
                Ok(Some(frame))
            }
            Err(error) if is_late(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_late(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// IPv4 on an interface.
fn packet_address(index: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a struct of integers, for which zero bytes are a value, and smaller than the storage of any address.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = IPV4.to_be();
    address.sll_ifindex = index.cast_signed();
    // SAFETY: the storage holds such an address, which has this length.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}

/// Whole frames from an address or to it, in the kernel's classic filter language (`linux/filter.h`).
fn filter(address: Ipv4Addr) -> [SockFilter; 6] {
    let op = |code: u32, yes: u8, no: u8, value: u32| SockFilter::new(code as u16, yes, no, value);
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let end = libc::BPF_RET | libc::BPF_K;
    [
        op(load, 0, 0, SOURCE),
        op(equal, 3, 0, address.to_bits()),
        op(load, 0, 0, DESTINATION),
        op(equal, 1, 0, address.to_bits()),
        op(end, 0, 0, 0),
        op(end, 0, 0, u32::MAX),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_known_by_its_name() {
        let error = Wire::open("no such").unwrap_err();
        assert!(matches!(error, Error::Missing(_)), "{error}");
    }

    #[test]
    fn frames_of_an_address_come_in_and_others_do_not() {
        let near = Ipv4Addr::new(127, 7, 7, 7);
        let wire = match Wire::listen("lo", near) {
            Ok(wire) => wire,
            Err(error) => {
                println!("skipped: {error}");
                return;
            }
        };
        let sender = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sender.send_to(b"no", (Ipv4Addr::LOCALHOST, 9)).unwrap();
        sender.send_to(b"yes", (near, 9)).unwrap();
        let frame = wire.receive(Duration::from_secs(60)).unwrap();
        assert!(frame.is_some_and(|frame| frame.ends_with(b"yes")));
        // Of TEST-NET-1 (RFC 5737): nobody's.
        let quiet = Wire::listen("lo", Ipv4Addr::new(192, 0, 2, 1)).unwrap();
        assert_eq!(quiet.receive(Duration::from_millis(1)).unwrap(), None);
    }
}
