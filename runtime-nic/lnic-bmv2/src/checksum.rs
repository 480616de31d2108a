//! Checksums that a sender has left to its network card.
//!
//! Linux leaves the sum over a datagram to the card, which finds in its place the sum over the addresses alone. Where the
//! sender is on the same machine as the switch, joined by a veth pair, no card comes: the frame arrives as it is, and the
//! kernel behind the interface would drop it. Such a sum is recognised and finished here; one that is wrong in any other
//! way stays wrong.

use lnic_ether::frame::sum;

/// Where IPv4's header begins.
const IP: usize = 14;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Finishes a frame's sum, if it has one that was left unfinished.
pub fn finish(frame: &mut [u8]) {
    // Nothing to finish where a part is missing.
    let _ = try_finish(frame);
}

fn try_finish(frame: &mut [u8]) -> Option<()> {
    let (ethernet, packet) = frame.split_at_mut_checked(IP)?;
    let number =
        |packet: &[u8], at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    // More fragments, or an offset.
    let is_fragment = number(packet, 6)? & 0x3fff != 0;
    if ethernet[12..] != [0x08, 0x00] || packet.first()? >> 4 != 4 || is_fragment {
        return None;
    }
    let header = usize::from(packet[0] & 15) * 4;
    let end = usize::from(number(packet, 2)?);
    let protocol = *packet.get(9)?;
    let at = match protocol {
        TCP => 16,
        UDP => 6,
        _ => return None,
    };
    let length = end.checked_sub(header)?;
    let addresses = sum(u32::from(protocol) + length as u32, packet.get(12..20)?);
    let segment = packet.get_mut(header..end)?;
    if number(segment, at)? != addresses {
        return None;
    }
    // What is in the place counts as the sum over the addresses.
    let whole = !sum(0, segment);
    // RFC 768: 0 means "no checksum".
    let whole = if whole == 0 && protocol == UDP {
        0xffff
    } else {
        whole
    };
    segment[at..at + 2].copy_from_slice(&whole.to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    use crate::frame::{Endpoint, HEADERS, udp};

    fn frame(payload: &[u8]) -> Vec<u8> {
        let end = |last: u8| Endpoint {
            mac: [2, 0, 0, 0, 0, last],
            address: Ipv4Addr::new(10, 0, 0, last),
            port: 4000,
        };
        udp(end(1), end(2), payload)
    }

    /// The sum over addresses, protocol and length, as Linux leaves it.
    fn addresses(frame: &[u8], protocol: u8) -> u16 {
        let length = frame.len() - IP - 20;
        sum(u32::from(protocol) + length as u32, &frame[IP + 12..IP + 20])
    }

    fn is_right(frame: &[u8], protocol: u8) -> bool {
        sum(addresses(frame, protocol).into(), &frame[IP + 20..]) == 0xffff
    }

    #[test]
    fn an_unfinished_sum_is_finished() {
        for payload in [&b""[..], b"a", b"some payload"] {
            let mut datagram = frame(payload);
            let left = addresses(&datagram, UDP).to_be_bytes();
            datagram[40..42].copy_from_slice(&left);
            // Padding of short frames is none of it.
            datagram.extend([0xaa; 3]);
            finish(&mut datagram);
            datagram.truncate(HEADERS + payload.len());
            assert!(is_right(&datagram, UDP), "{payload:?}");
        }
        let mut segment = frame(b"twenty bytes and more of a TCP segment");
        segment[IP + 9] = TCP;
        let left = addresses(&segment, TCP).to_be_bytes();
        segment[IP + 36..IP + 38].copy_from_slice(&left);
        finish(&mut segment);
        assert!(is_right(&segment, TCP));
    }

    #[test]
    fn any_other_frame_is_left_as_it_is() {
        let mut wrong = frame(b"payload");
        wrong[40..42].copy_from_slice(&[1, 2]);
        let mut fragment = frame(b"payload");
        let left = addresses(&fragment, UDP).to_be_bytes();
        fragment[40..42].copy_from_slice(&left);
        fragment[IP + 7] = 1;
        let mut cut = frame(b"payload");
        cut.truncate(HEADERS + 2);
        for mut other in [wrong, fragment, cut, frame(b"no sum"), vec![0; 60], vec![0; 3]] {
            let before = other.clone();
            finish(&mut other);
            assert_eq!(other, before);
        }
    }
}
