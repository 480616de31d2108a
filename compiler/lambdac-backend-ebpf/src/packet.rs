//! Where things stand in a request: Ethernet, IPv4 without options, UDP, the λ header, the payload.
//!
//! All offsets are constants, from the first byte of the frame, because the dispatcher lets nothing else through.
//! Numbers on the wire are big-endian; [`wire16`] and [`wire32`] give the constants that a little-endian load of them
//! compares with.

/// Ethernet: destination address.
pub const ETH_DESTINATION: i16 = 0;
/// Ethernet: source address.
pub const ETH_SOURCE: i16 = 6;
/// Ethernet: type of what follows.
pub const ETH_TYPE: i16 = 12;
/// IPv4: version and header length, then type of service.
pub const IP: i16 = 14;
/// IPv4: total length.
pub const IP_LENGTH: i16 = 16;
/// IPv4: identification, then flags and fragment offset.
pub const IP_ID: i16 = 18;
/// IPv4: flags and fragment offset.
pub const IP_FRAGMENT: i16 = 20;
/// IPv4: time to live, protocol, header checksum.
pub const IP_TTL: i16 = 22;
/// IPv4: protocol.
pub const IP_PROTOCOL: i16 = 23;
/// IPv4: source address.
pub const IP_SOURCE: i16 = 26;
/// IPv4: destination address.
pub const IP_DESTINATION: i16 = 30;
/// UDP: source port, then destination port.
pub const UDP: i16 = 34;
/// UDP: destination port.
pub const UDP_DESTINATION: i16 = 36;
/// UDP: length, then checksum.
pub const UDP_LENGTH: i16 = 38;
/// λ: magic, version, kind.
pub const LAMBDA: i16 = 42;
/// λ: kind.
pub const LAMBDA_KIND: i16 = 45;
/// λ: workload's id.
pub const LAMBDA_WORKLOAD: i16 = 46;
/// λ: low half of the workload's id.
pub const LAMBDA_INDEX: i16 = 48;
/// λ: request number.
pub const LAMBDA_REQUEST: i16 = 50;
/// λ: fragment, then fragments.
pub const LAMBDA_FRAGMENT: i16 = 58;
/// λ: fragments.
pub const LAMBDA_FRAGMENTS: i16 = 60;
/// λ: length, then status and flags.
pub const LAMBDA_LENGTH: i16 = 62;
/// λ: status.
pub const LAMBDA_STATUS: i16 = 64;
/// λ: flags.
pub const LAMBDA_FLAGS: i16 = 65;
/// First byte of the payload.
pub const PAYLOAD: i16 = 66;

/// Bytes of an Ethernet header.
pub const ETH_LEN: i32 = 14;
/// Bytes of an IPv4 header without options.
pub const IP_LEN: i32 = 20;
/// Bytes of a UDP header.
pub const UDP_LEN: i32 = 8;
/// Bytes of a λ header (design: λ wire, version 1).
pub const LAMBDA_LEN: i32 = 24;
/// Most payload bytes in a packet (design: λ wire, version 1).
pub const MAX_PAYLOAD: i32 = 1344;
/// Bytes of the longest request or reply, without Ethernet padding.
pub const MAX_FRAME: i32 = PAYLOAD as i32 + MAX_PAYLOAD;

/// EtherType of IPv4 (IEEE 802 numbers).
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// EtherTypes of VLAN tags (802.1Q, 802.1ad).
pub const ETHERTYPE_VLAN: [u16; 2] = [0x8100, 0x88a8];
/// Protocol number of UDP (RFC 768).
pub const PROTOCOL_UDP: i32 = 17;

/// First four bytes of a λ header: magic, version 1, and the kind.
pub const fn lambda_start(kind: u8) -> [u8; 4] {
    [0xce, 0xbb, 1, kind]
}

/// Kind of a request.
pub const KIND_REQUEST: u8 = 0;
/// Kind of a reply.
pub const KIND_REPLY: u8 = 1;

/// Offsets in `struct xdp_md` (Linux include/uapi/linux/bpf.h); each field has 32 bits.
pub mod xdp_md {
    /// First byte of the packet.
    pub const DATA: i16 = 0;
    /// Past its last byte.
    pub const DATA_END: i16 = 4;
    /// Interface it came in by.
    pub const INGRESS_IFINDEX: i16 = 12;
    /// Receive queue it came in by.
    pub const RX_QUEUE_INDEX: i16 = 16;
}

/// What a program returns (`enum xdp_action` of Linux include/uapi/linux/bpf.h).
pub mod action {
    /// The program failed.
    pub const ABORTED: i32 = 0;
    /// The packet is gone.
    pub const DROP: i32 = 1;
    /// Up the stack.
    pub const PASS: i32 = 2;
    /// Out by the interface it came in by.
    pub const TX: i32 = 3;
    /// To where a redirect helper said.
    pub const REDIRECT: i32 = 4;
}

/// What a little-endian load gives where this number stands on the wire.
pub const fn wire16(value: u16) -> i32 {
    value.swap_bytes() as i32
}

/// What a little-endian 32-bit load gives where these bytes stand; for 32-bit comparisons and stores.
pub const fn wire32(bytes: [u8; 4]) -> i32 {
    i32::from_le_bytes(bytes)
}
