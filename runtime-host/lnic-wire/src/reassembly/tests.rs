//! Reassembly: whole messages, caps, and who goes first when a cap is reached.

use super::*;

fn source(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 1000))
}

struct Sender {
    reassembler: Reassembler,
    now: u64,
    whole: Vec<u8>,
}

impl Sender {
    fn new(limits: Limits) -> Sender {
        Sender {
            reassembler: Reassembler::new(limits),
            now: 0,
            whole: Vec::new(),
        }
    }

    /// Sends fragment `at` of `of`, all bytes `fill`; the last has 5 bytes.
    fn send(&mut self, from: SocketAddr, request: u64, (at, of): (u16, u16), fill: u8) -> Offer {
        let len = if at + 1 == of { 5 } else { MAX_FRAGMENT };
        let header = Header::request(1, request, at, of, len as u16);
        self.reassembler
            .offer(self.now, from, &header, &vec![fill; len], &mut self.whole)
    }
}

const ONE: usize = MESSAGE_COST + GROUP_COST + BLOCK_COST;

/// Room for the first fragments of so many messages and one fragment more.
fn room(messages: usize) -> usize {
    messages * ONE + BLOCK_COST
}

#[test]
fn fragments_in_any_order_make_the_message() {
    let mut s = Sender::new(Limits::default());
    assert_eq!(s.send(source(1), 7, (2, 3), 3), Offer::Stored);
    assert_eq!(s.send(source(1), 7, (0, 3), 1), Offer::Stored);
    assert_eq!(s.send(source(1), 7, (0, 3), 1), Offer::Duplicate);
    assert_eq!(s.send(source(1), 7, (1, 3), 2), Offer::Complete);
    let mut expected = vec![1; MAX_FRAGMENT];
    expected.extend(vec![2; MAX_FRAGMENT]);
    expected.extend([3; 5]);
    assert_eq!(s.whole, expected);
    assert_eq!(
        (
            s.reassembler.bytes(),
            s.reassembler.fragments_held(),
            s.reassembler.waiting()
        ),
        (0, 0, 0)
    );
}

#[test]
fn messages_of_other_ports_workloads_and_numbers_are_others() {
    let mut s = Sender::new(Limits::default());
    s.send(source(1), 7, (0, 2), 1);
    assert_eq!(s.send(source(1), 8, (1, 2), 2), Offer::Stored);
    assert_eq!(
        s.send(SocketAddr::from(([192, 0, 2, 1], 1001)), 7, (1, 2), 2),
        Offer::Stored
    );
    assert_eq!(s.reassembler.waiting(), 3);
    assert_eq!(s.send(source(1), 7, (1, 2), 9), Offer::Complete);
}

#[test]
fn fragments_that_disagree_drop_the_message() {
    for (at, of, fill) in [(0, 3, 9), (1, 4, 1)] {
        let mut s = Sender::new(Limits::default());
        s.send(source(1), 7, (0, 3), 1);
        assert_eq!(s.send(source(1), 7, (at, of), fill), Offer::Disagrees);
        assert_eq!((s.reassembler.waiting(), s.reassembler.bytes()), (0, 0));
        assert_eq!(s.reassembler.stats().disagreements, 1);
    }
}

#[test]
fn a_message_is_given_up_one_second_after_its_first_fragment() {
    let mut s = Sender::new(Limits::default());
    s.send(source(1), 7, (0, 3), 1);
    s.now = 900_000_000;
    s.send(source(1), 7, (1, 3), 1);
    assert_eq!(s.reassembler.next_expiry(), Some(1_000_000_000));
    s.reassembler.expire(999_999_999);
    assert_eq!(s.reassembler.waiting(), 1);
    s.reassembler.expire(1_000_000_000);
    assert_eq!((s.reassembler.waiting(), s.reassembler.stats().expired), (0, 1));
}

#[test]
fn when_all_is_full_the_heaviest_address_loses_its_oldest() {
    let mut s = Sender::new(Limits {
        total: room(4),
        ..Limits::default()
    });
    s.send(source(1), 1, (0, 2), 1);
    s.send(source(2), 2, (0, 2), 1);
    s.send(source(2), 3, (0, 2), 1);
    s.send(source(3), 4, (0, 2), 1);
    assert_eq!(s.send(source(4), 5, (0, 2), 1), Offer::Stored);
    assert_eq!(s.reassembler.stats().evicted, 1);
    // Message 2 went: its second half starts anew, the others complete.
    assert_eq!(s.send(source(1), 1, (1, 2), 1), Offer::Complete);
    assert_eq!(s.send(source(2), 3, (1, 2), 1), Offer::Complete);
    assert_eq!(s.send(source(3), 4, (1, 2), 1), Offer::Complete);
    assert_eq!(s.send(source(2), 2, (1, 2), 1), Offer::Stored);
}

#[test]
fn an_address_over_its_cap_loses_its_own_oldest() {
    let mut s = Sender::new(Limits {
        per_address: room(2),
        ..Limits::default()
    });
    for request in 1..=3 {
        assert_eq!(s.send(source(1), request, (0, 2), 1), Offer::Stored);
    }
    s.send(source(2), 9, (0, 2), 1);
    assert_eq!(s.reassembler.waiting(), 3);
    assert_eq!(
        s.send(source(1), 1, (1, 2), 1),
        Offer::Stored,
        "1 went first and starts anew"
    );
    assert_eq!(s.send(source(2), 9, (1, 2), 1), Offer::Complete);
}

#[test]
fn a_network_over_its_cap_loses_from_its_heaviest_address() {
    let limits = Limits {
        per_network: room(3),
        ..Limits::default()
    };
    let mut s = Sender::new(limits);
    let other = SocketAddr::from(([198, 51, 100, 1], 1));
    for (from, request) in [
        (other, 1),
        (other, 2),
        (other, 3),
        (source(1), 4),
        (source(2), 5),
        (source(2), 6),
    ] {
        assert_eq!(s.send(from, request, (0, 2), 1), Offer::Stored);
    }
    assert_eq!(s.send(source(3), 7, (0, 2), 1), Offer::Stored);
    assert_eq!(s.reassembler.stats().evicted, 1);
    for (from, request) in [(other, 1), (source(1), 4), (source(2), 6), (source(3), 7)] {
        assert_eq!(s.send(from, request, (1, 2), 1), Offer::Complete);
    }
}

#[test]
fn ipv6_counts_by_64_and_48_and_mapped_addresses_as_ipv4() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(
        address_key(ip("2001:db8::1")),
        address_key(ip("2001:db8::ffff:2"))
    );
    assert_ne!(address_key(ip("2001:db8:0:1::1")), address_key(ip("2001:db8::1")));
    assert_eq!(network_key(ip("2001:db8:0:1::1")), network_key(ip("2001:db8::1")));
    assert_ne!(network_key(ip("2001:db8:1::1")), network_key(ip("2001:db8::1")));
    assert_eq!(address_key(ip("::ffff:10.0.0.1")), address_key(ip("10.0.0.1")));
    assert_eq!(network_key(ip("10.0.0.1")), network_key(ip("10.0.0.255")));
    assert_ne!(network_key(ip("10.0.1.1")), network_key(ip("10.0.0.1")));
}

#[test]
fn a_message_larger_than_its_own_cap_is_dropped_not_looped_over() {
    let mut s = Sender::new(Limits {
        total: ONE,
        ..Limits::default()
    });
    assert_eq!(s.send(source(1), 1, (0, 3), 1), Offer::Stored);
    assert_eq!(s.send(source(1), 1, (1, 3), 1), Offer::Refused);
    assert_eq!((s.reassembler.waiting(), s.reassembler.bytes()), (0, 0));
    let mut s = Sender::new(Limits {
        total: 10,
        ..Limits::default()
    });
    assert_eq!(s.send(source(1), 1, (0, 3), 1), Offer::Refused);
}

#[test]
fn a_share_of_the_caps_always_holds_a_whole_message() {
    let mut s = Sender::new(Limits::default().split(1000));
    for at in 0..780 {
        assert_eq!(s.send(source(1), 1, (at, 781), 1), Offer::Stored);
    }
    assert_eq!(s.send(source(1), 1, (780, 781), 1), Offer::Complete);
    assert_eq!(s.whole.len(), 780 * MAX_FRAGMENT + 5);
    assert_eq!(Limits::default().split(2).per_address, 4 << 20);
}
