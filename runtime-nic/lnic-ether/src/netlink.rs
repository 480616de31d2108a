//! Questions to the kernel about interfaces, over a route netlink socket (RFC 3549).
//!
//! Only what this crate needs: one link by index, also in another network namespace that a veth pair leads to, and the
//! IPv4 addresses of all links. Numbers are those of `include/uapi/linux/{netlink,rtnetlink,if_link,if_addr}.h`.

use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// `NETLINK_ROUTE`.
const ROUTE: i32 = 0;
/// The kernel answers at once; this bounds a wait for an answer that is never sent.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Room for a datagram: `NLMSG_GOODSIZE` is a page or 8 KiB, and one link's facts stay below this.
const ROOM: usize = 64 << 10;
/// Datagrams of one answer at most.
const MAX_DATAGRAMS: usize = 4096;

const HEADER: usize = 16;
const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
const GET_ADDRESS: u16 = 22;
const NEW_ADDRESS: u16 = 20;

/// Bytes of `struct ifinfomsg` and `struct ifaddrmsg`.
const LINK_BODY: usize = 16;
const ADDRESS_BODY: usize = 8;

const LINK_ADDRESS: u16 = 1;
const LINK_LINK: u16 = 5;
const LINK_INFO: u16 = 18;
const LINK_NETNS: u16 = 37;
const LINK_XDP: u16 = 43;
const LINK_TARGET_NETNS: u16 = 46;
const INFO_KIND: u16 = 1;
const XDP_ATTACHED: u16 = 2;
const ADDRESS_LOCAL: u16 = 2;
const ADDRESS_BROADCAST: u16 = 4;
/// The flags in an attribute's type.
const TYPE_MASK: u16 = 0x3fff;

/// What the kernel knows of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkFacts {
    /// Its Ethernet address, where it has one.
    pub(crate) mac: Option<[u8; 6]>,
    /// `veth` and the like; empty for hardware.
    pub(crate) kind: String,
    /// The link that it leads to.
    pub(crate) link: Option<u32>,
    /// The namespace of that link, by our number for it; none: our own.
    pub(crate) link_netns: Option<i32>,
    /// Whether an XDP program is attached.
    pub(crate) has_program: bool,
}

/// An IPv4 address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkAddress {
    pub(crate) address: Ipv4Addr,
    pub(crate) broadcast: Option<Ipv4Addr>,
}

/// A link of our namespace, or of another by our number for it.
pub(crate) fn link(index: u32, netns: Option<i32>) -> io::Result<LinkFacts> {
    let mut body = vec![0; LINK_BODY];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    if let Some(netns) = netns {
        attribute(&mut body, LINK_TARGET_NETNS, &netns.to_ne_bytes());
    }
    let mut found = None;
    ask(GET_LINK, 0, &body, &mut |kind, message| {
        if kind == NEW_LINK && message.len() >= LINK_BODY {
            found = Some(read_link(&message[LINK_BODY..]));
        }
    })?;
    found.ok_or_else(|| io::Error::other("the kernel says nothing of the interface"))
}

fn read_link(attributes: &[u8]) -> LinkFacts {
    let mut facts = LinkFacts::default();
    for (kind, value) in Attributes(attributes) {
        match kind {
            LINK_ADDRESS => facts.mac = value.try_into().ok(),
            LINK_LINK => facts.link = word(value),
            LINK_NETNS => facts.link_netns = word(value).map(u32::cast_signed),
            LINK_INFO => {
                for (kind, value) in Attributes(value) {
                    if kind == INFO_KIND {
                        facts.kind = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
                    }
                }
            }
            LINK_XDP => {
                let attached = Attributes(value).find(|(kind, _)| *kind == XDP_ATTACHED);
                facts.has_program = attached.is_some_and(|(_, value)| value.first() != Some(&0));
            }
            _ => {}
        }
    }
    facts
}

/// The IPv4 addresses of a link, in the kernel's order: primary ones first.
pub(crate) fn addresses(index: u32) -> io::Result<Vec<LinkAddress>> {
    let mut body = vec![0; ADDRESS_BODY];
    body[0] = libc::AF_INET as u8;
    let mut found = Vec::new();
    ask(GET_ADDRESS, DUMP, &body, &mut |kind, message| {
        let Some((head, attributes)) = message.split_first_chunk::<ADDRESS_BODY>() else {
            return;
        };
        if kind != NEW_ADDRESS || word(&head[4..]) != Some(index) || head[0] != libc::AF_INET as u8 {
            return;
        }
        let ipv4 = |wanted| {
            let (_, value) = Attributes(attributes).find(|(kind, _)| *kind == wanted)?;
            <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
        };
        if let Some(address) = ipv4(ADDRESS_LOCAL) {
            let broadcast = ipv4(ADDRESS_BROADCAST).or_else(|| last_of(address, head[1]));
            found.push(LinkAddress { address, broadcast });
        }
    })?;
    Ok(found)
}

/// The last address of a subnet, which is its broadcast address where nobody says otherwise (RFC 919); a subnet of one or
/// two addresses has none (RFC 3021).
fn last_of(address: Ipv4Addr, prefix: u8) -> Option<Ipv4Addr> {
    let hosts = u32::MAX.checked_shr(prefix.into()).filter(|_| prefix < 31)?;
    Some(Ipv4Addr::from_bits(address.to_bits() | hosts))
}

/// Sends a request and hands on the messages of the answer, without their headers.
fn ask(kind: u16, flags: u16, body: &[u8], each: &mut dyn FnMut(u16, &[u8])) -> io::Result<()> {
    let mut socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(ROUTE)),
    )?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend_from_slice(&((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(body);
    // An unconnected netlink socket sends to the kernel.
    socket.write_all(&message)?;
    let mut room = vec![0; ROOM];
    for _ in 0..MAX_DATAGRAMS {
        let len = socket.read(&mut room)?;
        if read_datagram(&room[..len], each)? || flags & DUMP == 0 {
            return Ok(());
        }
    }
    Err(io::Error::other("the kernel's answer has no end"))
}

/// Hands on the messages of one datagram; whether the answer ends with it.
fn read_datagram(mut rest: &[u8], each: &mut dyn FnMut(u16, &[u8])) -> io::Result<bool> {
    while let Some((head, _)) = rest.split_first_chunk::<HEADER>() {
        let len = word(head).unwrap_or(0) as usize;
        let kind = u16::from_ne_bytes([head[4], head[5]]);
        let Some(message) = rest.get(HEADER..len) else {
            return Err(io::Error::other("the kernel's answer is cut off"));
        };
        match kind {
            DONE => return Ok(true),
            ERROR => {
                let code = word(message).map_or(0, u32::cast_signed);
                if code != 0 {
                    return Err(io::Error::from_raw_os_error(-code));
                }
            }
            kind => each(kind, message),
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

/// Types and values of a row of attributes; ends where one is cut off.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, _) = self.0.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & TYPE_MASK;
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_with_its_address() {
        let facts = link(1, None).unwrap();
        assert_eq!((facts.mac, facts.has_program), (Some([0; 6]), false));
        let found = addresses(1).unwrap();
        // It is down in a fresh namespace.
        assert!(
            found.is_empty() || found[0].address == Ipv4Addr::LOCALHOST,
            "{found:?}"
        );
    }

    #[test]
    fn a_subnet_ends_in_its_broadcast_address() {
        let last = |text: &str, prefix| last_of(text.parse().unwrap(), prefix).map(|a| a.to_string());
        assert_eq!(last("10.77.0.2", 24).as_deref(), Some("10.77.0.255"));
        assert_eq!(last("10.77.0.2", 30).as_deref(), Some("10.77.0.3"));
        assert_eq!((last("10.77.0.2", 31), last("10.77.0.2", 32)), (None, None));
    }

    #[test]
    fn no_such_link_is_an_error() {
        assert!(link(u32::MAX >> 2, None).is_err());
    }

    #[test]
    fn attributes_that_are_cut_off_end_the_row() {
        let mut row = Vec::new();
        attribute(&mut row, LINK_LINK, &7u32.to_ne_bytes());
        attribute(&mut row, INFO_KIND, b"veth");
        row.truncate(row.len() - 1);
        let kinds: Vec<u16> = Attributes(&row).map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [LINK_LINK]);
        assert_eq!(Attributes(&[3, 0, 1, 0]).next(), None);
    }
}
