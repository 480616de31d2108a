//! A datagram's sender in the kernel's own form, so that it is copied and never converted on
//! the fast path.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of the largest socket address we use, `sockaddr_in6`.
pub(super) const NAME_LEN: usize = 28;

/// The address of ours that a packet was sent to, known only on sockets bound to any address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Local {
    /// The socket has only one.
    Bound,
    /// An IPv4 address.
    V4([u8; 4]),
    /// An IPv6 address, maybe a mapped IPv4 one.
    V6([u8; 16]),
}

/// Who sent a datagram, and which address of ours the answer must come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// A `sockaddr_in` or `sockaddr_in6`.
    pub(super) name: [u8; NAME_LEN],
    pub(super) name_len: u8,
    pub(super) local: Local,
}

impl Peer {
    /// The sender as an address; IPv4 mapped into IPv6 comes out as IPv4.
    #[inline]
    pub(crate) fn address(&self) -> SocketAddr {
        let n = &self.name;
        let port = u16::from_be_bytes([n[2], n[3]]);
        let ip = if usize::from(self.name_len) == NAME_LEN {
            let mut octets = [0; 16];
            octets.copy_from_slice(&n[8..24]);
            IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
        } else {
            IpAddr::V4(Ipv4Addr::new(n[4], n[5], n[6], n[7]))
        };
        SocketAddr::new(ip, port)
    }
}

impl Peer {
    /// A sender whose answer must come from this address of ours.
    pub(crate) fn answered_from(address: SocketAddr, local: Ipv4Addr) -> Peer {
        Peer {
            local: Local::V4(local.octets()),
            ..Peer::from(address)
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Peer {
        let mut name = [0; NAME_LEN];
        name[2..4].copy_from_slice(&address.port().to_be_bytes());
        let (family, name_len) = match address {
            SocketAddr::V4(v4) => {
                name[4..8].copy_from_slice(&v4.ip().octets());
                (libc::AF_INET, size_of::<libc::sockaddr_in>())
            }
            SocketAddr::V6(v6) => {
                name[8..24].copy_from_slice(&v6.ip().octets());
                name[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                (libc::AF_INET6, NAME_LEN)
            }
        };
        name[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        Peer {
            name,
            name_len: name_len as u8,
            local: Local::Bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_kernel_form() {
        for text in ["192.0.2.7:4369", "[2001:db8::7]:80"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Peer::from(address).address(), address);
        }
        let mapped: SocketAddr = "[::ffff:192.0.2.7]:80".parse().unwrap();
        assert_eq!(Peer::from(mapped).address(), "192.0.2.7:80".parse().unwrap());
    }
}
