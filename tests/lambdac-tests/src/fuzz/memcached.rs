//! Datagrams that come to the memcached client's sockets.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use lnic_host::ServiceOp;
use lnic_host::testing::{MemcachedClient, TIMEOUT_NS};

use super::dice::Dice;
use super::mutate;

/// Requests at a time.
const CAPACITY: usize = 8;

/// What became of datagrams and of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams in.
    pub datagrams: u64,
    /// Answers that were taken.
    pub taken: u64,
    /// Datagrams that were counted and ignored.
    pub ignored: u64,
    /// Requests that ran out of time.
    pub expired: u64,
    /// Requests sent.
    pub sent: u64,
}

/// A client, and what must hold of it.
#[derive(Debug)]
pub struct Session {
    client: MemcachedClient,
    dice: Dice,
    waiting: BTreeSet<u32>,
    /// Socket and datagram of each of the last requests, to answer.
    asked: Vec<(u16, Vec<u8>)>,
    now: u64,
    counts: Counts,
}

impl Session {
    /// A client that has asked nothing.
    pub fn new(seed: u64) -> Self {
        Self {
            client: MemcachedClient::new(CAPACITY),
            dice: Dice::new(seed),
            waiting: BTreeSet::new(),
            asked: Vec::new(),
            now: 0,
            counts: Counts::default(),
        }
    }

    /// Sends a request where there is room.
    ///
    /// # Panics
    /// Where more are waiting than there is room for.
    pub fn ask(&mut self, op: ServiceOp, key: &[u8]) {
        let token = self.counts.sent as u32;
        let dice = &mut self.dice;
        if let Some(sent) = self.client.ask(token, (op, key), self.now, || dice.roll() as u32) {
            self.counts.sent += 1;
            self.waiting.insert(token);
            self.asked.push(sent);
            self.asked.drain(..self.asked.len().saturating_sub(2 * CAPACITY));
        }
        assert!(self.client.waiting() <= CAPACITY);
    }

    /// Takes a datagram.
    ///
    /// # Panics
    /// Where it answers a request that is not waiting, or brings a value that is too long.
    pub fn take(&mut self, socket: u16, peer: SocketAddr, datagram: &[u8]) {
        self.counts.datagrams += 1;
        match self.client.receive(socket, peer, datagram) {
            Ok((token, value)) => {
                self.counts.taken += 1;
                assert!(
                    value.is_none_or(|value| value.len() <= 1024),
                    "a value over the limit"
                );
                assert_eq!(
                    peer,
                    MemcachedClient::server(),
                    "an answer of a stranger was taken"
                );
                assert!(self.waiting.remove(&token), "an answer was taken twice");
            }
            Err(_) => self.counts.ignored += 1,
        }
        assert_eq!(self.client.waiting(), self.waiting.len());
    }

    /// Lets time pass.
    ///
    /// # Panics
    /// Where a request that is not waiting runs out of time.
    pub fn pass(&mut self, ns: u64) {
        self.now += ns;
        while let Some(token) = self.client.expire(self.now) {
            self.counts.expired += 1;
            assert!(self.waiting.remove(&token), "a request ended twice");
        }
        assert_eq!(self.client.waiting(), self.waiting.len());
    }

    /// Ends it: after the longest wait nothing is waiting, and every datagram and request was counted once.
    ///
    /// # Panics
    /// Where that is not so.
    pub fn end(mut self) -> Counts {
        self.pass(2 * TIMEOUT_NS);
        assert_eq!(self.client.waiting(), 0);
        let counts = self.counts;
        assert_eq!(counts.datagrams, counts.taken + counts.ignored, "{counts:?}");
        assert_eq!(counts.sent, counts.taken + counts.expired, "{counts:?}");
        counts
    }
}

/// Takes bytes as the text of an answer to each operation, in a frame that fits and as a bare datagram.
///
/// # Panics
/// As [`Session`] does.
pub fn run(bytes: &[u8]) -> Counts {
    let mut session = Session::new(bytes.len() as u64);
    for op in [ServiceOp::Get, ServiceOp::Set, ServiceOp::Delete] {
        session.ask(op, b"key");
        let (socket, request) = session.asked[session.asked.len() - 1].clone();
        session.take(socket, MemcachedClient::server(), bytes);
        session.take(
            socket,
            MemcachedClient::server(),
            &[&request[..8], bytes].concat(),
        );
        session.pass(TIMEOUT_NS / 4);
    }
    session.end()
}

/// What a server answers.
const ANSWERS: &[&[u8]] = &[
    b"VALUE key 0 5\r\nhello\r\nEND\r\n",
    b"VALUE key 0 5 99\r\nhello\r\nEND\r\n",
    b"VALUE other 0 2\r\nhi\r\nEND\r\n",
    b"VALUE key 0 5000\r\nhello",
    b"VALUE key 0 0\r\n\r\nEND\r\n",
    b"END\r\n",
    b"STORED\r\n",
    b"NOT_STORED\r\n",
    b"DELETED\r\n",
    b"NOT_FOUND\r\n",
    b"ERROR\r\n",
    b"SERVER_ERROR out of memory\r\n",
    b"",
];

/// Sends requests and mutated answers in turn.
///
/// # Panics
/// As [`Session`] does.
pub fn run_mutated(seed: u64, datagrams: u64) -> Counts {
    let mut session = Session::new(seed);
    let mut dice = Dice::new(!seed);
    for _ in 0..datagrams {
        if dice.chance(50) {
            let op = *dice.pick(&[ServiceOp::Get, ServiceOp::Get, ServiceOp::Set, ServiceOp::Delete]);
            let keys = [&b"key"[..], b"other", b"a b", b"", b"k\r\nflush_all"];
            session.ask(op, keys[dice.below(keys.len())]);
        }
        let mut datagram = vec![0, 0, 0, 0, 0, 1, 0, 0];
        let mut socket = dice.below(4) as u16;
        if !session.asked.is_empty() && dice.chance(90) {
            let (to, request) = dice.pick(&session.asked).clone();
            socket = to;
            datagram[..2].copy_from_slice(&request[..2]);
        }
        if dice.chance(20) {
            (datagram[3], datagram[5]) = (dice.below(5) as u8, dice.below(6) as u8);
        }
        datagram.extend_from_slice(ANSWERS[dice.below(ANSWERS.len())]);
        if dice.chance(40) {
            mutate::bytes(&mut dice, &mut datagram);
        }
        let stranger = SocketAddr::from((Ipv4Addr::LOCALHOST, 11212));
        let peer = if dice.chance(95) {
            MemcachedClient::server()
        } else {
            stranger
        };
        session.take(socket, peer, &datagram);
        if dice.chance(10) {
            session.pass(dice.below(TIMEOUT_NS as usize) as u64);
        }
    }
    session.end()
}
