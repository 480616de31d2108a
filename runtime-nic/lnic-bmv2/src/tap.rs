//! The worker's interface behind the switch: a TAP device.
//!
//! What the switch does not answer comes to the agent, which writes it into this interface, so that the kernel sees it
//! as if it had come by a wire; what the kernel sends by the interface goes out through the switch. Thus ARP, ICMP, TCP
//! (names are looked up there) and the worker's own sockets work as on any interface, and none of that is written here.
//!
//! An interface that is there already and has an address is taken as it is; whoever owns it needs no privilege. Else it
//! is made, and goes with the process.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

use tokio::io::unix::AsyncFd;

use crate::error::{Error, Result};

/// The call that makes or opens an interface: `_IOW('T', 202, int)` (Linux, `if_tun.h`).
const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
/// The kernel's device for such interfaces.
const CLONE_DEVICE: &str = "/dev/net/tun";
/// The first of the addresses of interfaces that are made, unless others are wanted: of a private range (RFC 1918).
const ADDRESS: [u8; 4] = [10, 43, 69, 1];
/// The first bytes of their Ethernet addresses, before those of the IPv4 address: a unicast address of local
/// administration (IEEE 802). It is the same each time, so that callers find a worker that starts again.
const MAC: [u8; 2] = [0x02, b'l'];
/// Its network: 24 bits.
const NETMASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
/// The longest frame that is read: the largest MTU of such an interface.
const LONGEST: usize = 1 << 16;

/// A TAP interface.
#[derive(Debug)]
pub struct Tap {
    file: File,
    name: String,
    mac: [u8; 6],
    address: Ipv4Addr,
    netmask: Ipv4Addr,
}

/// The union that the kernel's calls on interfaces take, with the interface's name.
struct Request(libc::ifreq);

impl Request {
    fn new(name: &str) -> Self {
        // SAFETY: `ifreq` is plain data, for which all zeros are valid.
        let mut request: libc::ifreq = unsafe { mem::zeroed() };
        for (to, from) in request
            .ifr_name
            .iter_mut()
            .zip(name.bytes().take(libc::IFNAMSIZ - 1))
        {
            *to = from as libc::c_char;
        }
        Self(request)
    }

    fn call(&mut self, fd: RawFd, number: libc::Ioctl) -> io::Result<()> {
        // SAFETY: every number that this module passes takes a pointer to an `ifreq`, which this is.
        match unsafe { libc::ioctl(fd, number, &mut self.0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn with_address(mut self, address: Ipv4Addr) -> Self {
        // SAFETY: `sockaddr_in` is plain data of the size of `sockaddr`.
        let mut place: libc::sockaddr_in = unsafe { mem::zeroed() };
        place.sin_family = libc::AF_INET as libc::sa_family_t;
        place.sin_addr.s_addr = u32::from_ne_bytes(address.octets());
        // SAFETY: both are plain data of 16 bytes, of which the first says which it is.
        self.0.ifr_ifru.ifru_addr = unsafe { mem::transmute::<libc::sockaddr_in, libc::sockaddr>(place) };
        self
    }

    fn with_mac(mut self, address: Ipv4Addr) -> Self {
        let bytes = MAC.into_iter().chain(address.octets());
        let mut place = libc::sockaddr {
            sa_family: libc::ARPHRD_ETHER,
            sa_data: [0; 14],
        };
        for (to, from) in place.sa_data.iter_mut().zip(bytes) {
            *to = from as libc::c_char;
        }
        self.0.ifr_ifru.ifru_hwaddr = place;
        self
    }

    /// Bytes of the address that a call gave.
    fn data(&self) -> [libc::c_char; 14] {
        // SAFETY: only called after a call that fills an address in.
        unsafe { self.0.ifr_ifru.ifru_addr.sa_data }
    }

    fn ipv4(&self) -> Ipv4Addr {
        let data = self.data();
        // Behind the port, which is none.
        Ipv4Addr::from([data[2], data[3], data[4], data[5]].map(|byte| byte as u8))
    }
}

/// What an interface is asked by a socket; none where the kernel has no answer.
fn ask(socket: &UdpSocket, name: &str, number: libc::Ioctl) -> Option<Request> {
    let mut request = Request::new(name);
    request.call(socket.as_raw_fd(), number).ok()?;
    Some(request)
}

fn system(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::System { what, source }
}

impl Tap {
    /// Opens or makes the interface of a device. `address` is where the worker is to be; none: where the interface is,
    /// else 10.43.69.1 for the first device, 10.43.70.1 for the next.
    ///
    /// # Errors
    /// If this process may not, another has it, or it has another address.
    pub fn open(device: u64, address: Option<Ipv4Addr>) -> Result<Self> {
        let name = &format!("lnic{device}");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(CLONE_DEVICE)
            .map_err(|error| Error::Missing(format!("{CLONE_DEVICE} cannot be opened: {error}")))?;
        let mut request = Request::new(name);
        request.0.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
        request
            .call(file.as_raw_fd(), TUNSETIFF)
            .map_err(|error| refused(name, &error))?;
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(system("open a socket"))?;
        let own = ask(&socket, name, libc::SIOCGIFADDR).map(|request| request.ipv4());
        match (own, address) {
            (None, wanted) => configure(&socket, name, wanted.unwrap_or_else(|| own_address(device)))?,
            (Some(own), Some(wanted)) if own != wanted => {
                return Err(Error::Missing(format!(
                    "`{name}` has the address {own}, not {wanted}"
                )));
            }
            (Some(_), _) => {}
        }
        let mac = ask(&socket, name, libc::SIOCGIFHWADDR);
        let address = ask(&socket, name, libc::SIOCGIFADDR);
        let netmask = ask(&socket, name, libc::SIOCGIFNETMASK);
        let (Some(mac), Some(address), Some(netmask)) = (mac, address, netmask) else {
            return Err(Error::Missing(format!("`{name}` has no addresses")));
        };
        let [a, b, c, d, e, f, ..] = mac.data().map(|byte| byte as u8);
        Ok(Self {
            file,
            name: name.to_owned(),
            mac: [a, b, c, d, e, f],
            address: address.ipv4(),
            netmask: netmask.ipv4(),
        })
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its Ethernet address.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Its IPv4 address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The broadcast address of its network.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | !self.netmask.to_bits())
    }

    /// The next frame that the kernel sends.
    ///
    /// # Errors
    /// `WouldBlock` where there is none now.
    pub fn receive(&self) -> io::Result<Vec<u8>> {
        let mut frame = vec![0; LONGEST];
        let len = (&self.file).read(&mut frame)?;
        frame.truncate(len);
        Ok(frame)
    }

    /// Has a frame come in.
    ///
    /// # Errors
    /// If the kernel does not take it.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        (&self.file).write(frame).map(drop)
    }
}

impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl std::os::fd::AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A descriptor that the runtime watches.
///
/// # Errors
/// If there is no runtime, or the kernel can't watch it.
pub fn watched(file: File) -> io::Result<AsyncFd<File>> {
    // SAFETY: a `File` has one descriptor for as long as it lives, and nothing takes it out.
    unsafe { AsyncFd::register(file) }.map_err(io::Error::from)
}

fn refused(name: &str, error: &io::Error) -> Error {
    let text = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => format!(
            "making the interface `{name}` needs a privilege that is missing here: CAP_NET_ADMIN, or root; or \
             somebody who has it makes it: ip tuntap add mode tap user USER name {name}"
        ),
        Some(libc::EBUSY) => format!("another process has the interface `{name}`"),
        _ => format!("the interface `{name}` cannot be made: {error}"),
    };
    Error::Missing(text)
}

/// The address of a device's interface: devices have networks of their own.
fn own_address(device: u64) -> Ipv4Addr {
    let [a, b, c, d] = ADDRESS;
    Ipv4Addr::new(a, b, c.wrapping_add(device as u8), d)
}

/// Gives an interface its addresses and takes it up.
fn configure(socket: &UdpSocket, name: &str, address: Ipv4Addr) -> Result<()> {
    let fd = socket.as_raw_fd();
    let denied = system("give the interface an address");
    Request::new(name)
        .with_mac(address)
        .call(fd, libc::SIOCSIFHWADDR)
        .map_err(&denied)?;
    Request::new(name)
        .with_address(address)
        .call(fd, libc::SIOCSIFADDR)
        .map_err(&denied)?;
    Request::new(name)
        .with_address(NETMASK)
        .call(fd, libc::SIOCSIFNETMASK)
        .map_err(&denied)?;
    let mut flags = Request::new(name);
    flags.0.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    flags
        .call(fd, libc::SIOCSIFFLAGS)
        .map_err(system("take the interface up"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_networks_of_their_own() {
        assert_eq!(own_address(0), Ipv4Addr::new(10, 43, 69, 1));
        assert_eq!(own_address(7), Ipv4Addr::new(10, 43, 76, 1));
        assert_eq!(own_address(255), Ipv4Addr::new(10, 43, 68, 1));
    }
}
