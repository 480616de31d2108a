//! Requests that wait for memcached's answers, on one packet thread.
//!
//! A pure state machine. A request gets a random id on a random socket; an answer counts only if
//! it came from the server's address to that socket, with that id, and names the key where the
//! protocol has it named. It is taken once. All else is counted and ignored, and the request goes
//! on waiting until its deadline. Since all requests of a client wait equally long, deadlines are
//! a queue.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::MAX_VALUE;
use super::text::{Text, key_is_sendable, read_answer, read_frame, write_request};
use crate::engine_api::{ServiceCall, ServiceOp};

/// Datagrams in an answer at most. One holds the longest value we take; the rest is for servers
/// that cut answers smaller.
const MAX_PARTS: usize = 4;
/// Ended requests that are remembered, to tell late and duplicate answers from strange ones.
const REMEMBERED: usize = 4096;

/// What can happen to a service request or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Event {
    /// A request was sent.
    Sent,
    /// A request was not sent: bad key, long value, no free slot, or the kernel refused it.
    NotSent,
    /// An answer was taken.
    Answered,
    /// A request's time ran out.
    TimedOut,
    /// Part of an answer was kept.
    Part,
    /// An answer came after its request's time had run out.
    Late,
    /// An answer, or part of one, came again.
    Duplicate,
    /// An answer to nothing we asked.
    Unasked,
    /// Not an answer that the protocol knows.
    Malformed,
    /// From another address than the server's.
    WrongPeer,
    /// A value for another key.
    WrongKey,
    /// Larger than promised.
    Oversized,
}

impl Event {
    /// Every event, in declaration order: `ALL[e as usize] == e`.
    pub(crate) const ALL: [Event; 12] = [
        Event::Sent,
        Event::NotSent,
        Event::Answered,
        Event::TimedOut,
        Event::Part,
        Event::Late,
        Event::Duplicate,
        Event::Unasked,
        Event::Malformed,
        Event::WrongPeer,
        Event::WrongKey,
        Event::Oversized,
    ];

    /// The name used as a metric label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Event::Sent => "sent",
            Event::NotSent => "not_sent",
            Event::Answered => "answered",
            Event::TimedOut => "timed_out",
            Event::Part => "part",
            Event::Late => "late",
            Event::Duplicate => "duplicate",
            Event::Unasked => "unasked",
            Event::Malformed => "malformed",
            Event::WrongPeer => "wrong_peer",
            Event::WrongKey => "wrong_key",
            Event::Oversized => "oversized",
        }
    }
}

/// An answer that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// A value; it stands in the caller's buffer.
    Value,
    /// Stored or deleted.
    Done,
    /// No such key, or not stored.
    Missing,
    /// The server refused, or the value is over the limit.
    Failed,
}

/// A socket and an id on it: what finds a request again.
type Id = (u16, u16);

#[derive(Debug, Default)]
struct Waiting {
    /// Who asked.
    token: u32,
    id: Id,
    op: ServiceOp,
    key: Vec<u8>,
    parts: Parts,
    /// Grows when the slot is freed, so that stale deadlines are known.
    generation: u32,
}

/// Pieces of an answer of several datagrams.
#[derive(Debug, Default)]
struct Parts {
    total: u16,
    bytes: [Option<Vec<u8>>; MAX_PARTS],
}

/// How a remembered request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Answered,
    TimedOut,
}

/// Requests of one thread to one server.
#[derive(Debug)]
pub(crate) struct Client {
    server: SocketAddr,
    timeout_ns: u64,
    sockets: u16,
    capacity: usize,
    slots: Vec<Waiting>,
    free: Vec<u32>,
    by_id: HashMap<Id, u32>,
    deadlines: VecDeque<(u64, u32, u32)>,
    remembered: Box<[Option<(Id, Ended)>]>,
}

impl Client {
    /// A client of `server` with that many sockets and at most `capacity` requests waiting.
    pub(crate) fn new(server: SocketAddr, timeout: Duration, sockets: u16, capacity: usize) -> Client {
        Client {
            server,
            timeout_ns: u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
            sockets: sockets.max(1),
            capacity,
            slots: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::with_capacity(capacity),
            deadlines: VecDeque::new(),
            remembered: vec![None; REMEMBERED].into_boxed_slice(),
        }
    }

    /// Requests without an answer yet.
    pub(crate) fn waiting(&self) -> usize {
        self.by_id.len()
    }

    /// Writes the datagram for `call` and gives the socket to send it from. None: it must not or
    /// can't be sent, so the call has failed.
    pub(crate) fn request(
        &mut self,
        token: u32,
        call: &ServiceCall,
        now: u64,
        mut random: impl FnMut() -> u32,
        out: &mut Vec<u8>,
    ) -> Option<u16> {
        let sendable = key_is_sendable(&call.key) && call.value.len() <= MAX_VALUE;
        if !sendable || self.by_id.len() >= self.capacity.min(usize::from(self.sockets) << 15) {
            return None;
        }
        // At most half of all ids are taken, so this soon ends.
        let id = loop {
            let dice = random();
            let id = ((dice >> 16) as u16 % self.sockets, dice as u16);
            if !self.by_id.contains_key(&id) {
                break id;
            }
        };
        write_request(out, id.1, call.op, &call.key, &call.value);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Waiting::default());
            (self.slots.len() - 1) as u32
        });
        let waiting = &mut self.slots[slot as usize];
        (waiting.token, waiting.id, waiting.op) = (token, id, call.op);
        waiting.key.clear();
        waiting.key.extend_from_slice(&call.key);
        self.by_id.insert(id, slot);
        let deadline = now.saturating_add(self.timeout_ns);
        let generation = waiting.generation;
        if self.deadlines.len() > 2 * self.capacity {
            // Behind one that waits long stand those that have long ended.
            let slots = &self.slots;
            self.deadlines
                .retain(|&(_, slot, generation)| slots[slot as usize].generation == generation);
        }
        self.deadlines.push_back((deadline, slot, generation));
        Some(id.0)
    }

    /// Takes a datagram that came to `socket`. An answer gives who asked, and leaves a value in
    /// `value`.
    ///
    /// # Errors
    ///
    /// Why the datagram is no answer, or not the whole of one.
    pub(crate) fn receive(
        &mut self,
        socket: u16,
        peer: SocketAddr,
        datagram: &[u8],
        value: &mut Vec<u8>,
    ) -> Result<(u32, Accepted), Event> {
        if peer != self.server {
            return Err(Event::WrongPeer);
        }
        let (frame, text) = read_frame(datagram).ok_or(Event::Malformed)?;
        let id = (socket, frame.id);
        let Some(&slot) = self.by_id.get(&id) else {
            return Err(self.recall(id));
        };
        let waiting = &mut self.slots[slot as usize];
        let accepted = if frame.total == 1 {
            accept(waiting.op, &waiting.key, text, value)?
        } else if usize::from(frame.total) > MAX_PARTS {
            // Only a value over the limit is that long, and the first datagram proves it.
            if frame.sequence != 0 {
                return Err(Event::Oversized);
            }
            match read_answer(waiting.op, text) {
                Text::Oversized { key } if key == waiting.key => Accepted::Failed,
                Text::Oversized { .. } => return Err(Event::WrongKey),
                _ => return Err(Event::Malformed),
            }
        } else {
            waiting.parts.add(frame.total, frame.sequence, text)?;
            let whole = waiting.parts.take();
            accept(waiting.op, &waiting.key, &whole, value)?
        };
        let token = waiting.token;
        self.end(slot, Ended::Answered);
        Ok((token, accepted))
    }

    /// Why an answer finds no request.
    fn recall(&self, id: Id) -> Event {
        match self.remembered[remembered_at(id)] {
            Some((known, Ended::Answered)) if known == id => Event::Duplicate,
            Some((known, Ended::TimedOut)) if known == id => Event::Late,
            _ => Event::Unasked,
        }
    }

    /// Frees a request's slot.
    fn end(&mut self, slot: u32, how: Ended) {
        let waiting = &mut self.slots[slot as usize];
        waiting.generation = waiting.generation.wrapping_add(1);
        waiting.parts = Parts::default();
        self.by_id.remove(&waiting.id);
        self.remembered[remembered_at(waiting.id)] = Some((waiting.id, how));
        self.free.push(slot);
    }

    /// Ends the request that was asked for by `token` and could not be sent after all.
    pub(crate) fn cancel_last(&mut self) {
        if let Some((_, slot, generation)) = self.deadlines.pop_back()
            && self.slots[slot as usize].generation == generation
        {
            self.end(slot, Ended::TimedOut);
        }
    }

    /// Who asked for the next request whose time is over at `now`.
    pub(crate) fn expire(&mut self, now: u64) -> Option<u32> {
        while let Some(&(deadline, slot, generation)) = self.deadlines.front() {
            let live = self.slots[slot as usize].generation == generation;
            if live && deadline > now {
                return None;
            }
            self.deadlines.pop_front();
            if live {
                let token = self.slots[slot as usize].token;
                self.end(slot, Ended::TimedOut);
                return Some(token);
            }
        }
        None
    }

    /// No request runs out of time before this.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        if self.by_id.is_empty() {
            None
        } else {
            self.deadlines.front().map(|&(deadline, ..)| deadline)
        }
    }
}

fn remembered_at((socket, id): Id) -> usize {
    (usize::from(id) ^ usize::from(socket) << 8) % REMEMBERED
}

/// Reads the text of a whole answer to a request for `key`.
fn accept(op: ServiceOp, key: &[u8], text: &[u8], value: &mut Vec<u8>) -> Result<Accepted, Event> {
    match read_answer(op, text) {
        Text::Value { key: theirs, .. } | Text::Oversized { key: theirs } if theirs != key => {
            Err(Event::WrongKey)
        }
        Text::Value { value: bytes, .. } => {
            value.clear();
            value.extend_from_slice(bytes);
            Ok(Accepted::Value)
        }
        Text::Done => Ok(Accepted::Done),
        Text::Missing => Ok(Accepted::Missing),
        Text::Oversized { .. } | Text::Error => Ok(Accepted::Failed),
        Text::Malformed => Err(Event::Malformed),
    }
}

impl Parts {
    /// Keeps a part; an error unless all are here now.
    fn add(&mut self, total: u16, sequence: u16, text: &[u8]) -> Result<(), Event> {
        if self.total != 0 && self.total != total {
            return Err(Event::Malformed);
        }
        self.total = total;
        let place = &mut self.bytes[usize::from(sequence)];
        if place.is_some() {
            return Err(Event::Duplicate);
        }
        *place = Some(text.to_vec());
        if self.bytes.iter().flatten().count() < usize::from(total) {
            Err(Event::Part)
        } else {
            Ok(())
        }
    }

    /// All parts, joined; none is left.
    fn take(&mut self) -> Vec<u8> {
        std::mem::take(self)
            .bytes
            .into_iter()
            .flatten()
            .flatten()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    struct Bench {
        client: Client,
        server: SocketAddr,
        dice: u32,
        sent: Vec<u8>,
        value: Vec<u8>,
    }

    impl Bench {
        fn new() -> Bench {
            let server = "127.0.0.1:11211".parse().unwrap();
            let client = Client::new(server, Duration::from_millis(5), 4, 8);
            Bench {
                client,
                server,
                dice: 0,
                sent: Vec::new(),
                value: Vec::new(),
            }
        }

        fn ask(&mut self, token: u32, op: ServiceOp, key: &[u8], now: u64) -> Option<u16> {
            let call = ServiceCall {
                service: 0,
                op,
                key: key.to_vec(),
                value: Vec::new(),
            };
            let dice = &mut self.dice;
            let random = || {
                *dice += 0x0001_0003;
                *dice
            };
            self.client.request(token, &call, now, random, &mut self.sent)
        }

        /// An answer to the request sent last.
        fn answer(
            &mut self,
            socket: u16,
            (sequence, total): (u16, u16),
            text: &[u8],
        ) -> Result<(u32, Accepted), Event> {
            let mut datagram = self.sent[..2].to_vec();
            datagram.extend_from_slice(&sequence.to_be_bytes());
            datagram.extend_from_slice(&total.to_be_bytes());
            datagram.extend_from_slice(&[0, 0]);
            datagram.extend_from_slice(text);
            self.client
                .receive(socket, self.server, &datagram, &mut self.value)
        }
    }

    #[test]
    fn an_answer_is_taken_once_and_then_a_duplicate() {
        let mut b = Bench::new();
        let socket = b.ask(7, ServiceOp::Get, b"k", 0).unwrap();
        assert_eq!(
            b.answer(socket, (0, 1), b"VALUE k 0 2\r\nhi\r\nEND\r\n"),
            Ok((7, Accepted::Value))
        );
        assert_eq!(b.value, b"hi");
        assert_eq!(b.answer(socket, (0, 1), b"END\r\n"), Err(Event::Duplicate));
        assert_eq!((b.client.waiting(), b.client.next_deadline()), (0, None));
    }

    #[test]
    fn what_does_not_fit_what_waits_is_ignored() {
        let mut b = Bench::new();
        let socket = b.ask(7, ServiceOp::Get, b"k", 0).unwrap();
        assert_eq!(
            b.answer((socket + 1) % 4, (0, 1), b"END\r\n"),
            Err(Event::Unasked)
        );
        assert_eq!(
            b.answer(socket, (0, 1), b"VALUE other 0 2\r\nhi\r\nEND\r\n"),
            Err(Event::WrongKey)
        );
        assert_eq!(
            b.answer(socket, (0, 1), b"VALUE other 0 2000\r\n"),
            Err(Event::WrongKey)
        );
        assert_eq!(b.answer(socket, (0, 1), b"nonsense"), Err(Event::Malformed));
        assert_eq!(b.answer(socket, (1, 1), b"END\r\n"), Err(Event::Malformed));
        let server = b.server;
        b.server = "127.0.0.1:11212".parse().unwrap();
        assert_eq!(b.answer(socket, (0, 1), b"END\r\n"), Err(Event::WrongPeer));
        b.server = server;
        assert_eq!(b.answer(socket, (0, 1), b"END\r\n"), Ok((7, Accepted::Missing)));
    }

    #[test]
    fn a_deadline_ends_the_request_and_its_answer_is_late() {
        let mut b = Bench::new();
        let first = b.ask(1, ServiceOp::Get, b"a", 0).unwrap();
        assert_eq!(b.answer(first, (0, 1), b"END\r\n"), Ok((1, Accepted::Missing)));
        let second = b.ask(2, ServiceOp::Set, b"b", MS).unwrap();
        assert_eq!(b.client.expire(6 * MS - 1), None);
        assert_eq!(b.client.expire(6 * MS), Some(2));
        assert_eq!(b.client.expire(6 * MS), None);
        assert_eq!(b.answer(second, (0, 1), b"STORED\r\n"), Err(Event::Late));
    }

    #[test]
    fn answers_of_several_datagrams_are_joined_in_order() {
        let mut b = Bench::new();
        let socket = b.ask(1, ServiceOp::Get, b"k", 0).unwrap();
        assert_eq!(b.answer(socket, (1, 2), b"cd\r\nEND\r\n"), Err(Event::Part));
        assert_eq!(b.answer(socket, (1, 2), b"cd\r\nEND\r\n"), Err(Event::Duplicate));
        assert_eq!(b.answer(socket, (0, 3), b"x"), Err(Event::Malformed));
        assert_eq!(
            b.answer(socket, (0, 2), b"VALUE k 0 4\r\nab"),
            Ok((1, Accepted::Value))
        );
        assert_eq!(b.value, b"abcd");
    }

    #[test]
    fn a_value_larger_than_promised_fails_at_its_first_datagram() {
        let mut b = Bench::new();
        let socket = b.ask(1, ServiceOp::Get, b"k", 0).unwrap();
        assert_eq!(b.answer(socket, (5, 70), b"data"), Err(Event::Oversized));
        assert_eq!(
            b.answer(socket, (0, 70), b"VALUE k 0 100000\r\ndata"),
            Ok((1, Accepted::Failed))
        );
        assert_eq!(b.answer(socket, (6, 70), b"data"), Err(Event::Duplicate));
    }

    #[test]
    fn bad_keys_long_values_and_full_tables_are_not_sent() {
        let mut b = Bench::new();
        for key in [&b""[..], b"x\r\nflush_all", &[b'k'; 251]] {
            assert_eq!(b.ask(1, ServiceOp::Get, key, 0), None);
        }
        let call = ServiceCall {
            op: ServiceOp::Set,
            key: b"k".to_vec(),
            value: vec![0; 1025],
            service: 0,
        };
        assert_eq!(b.client.request(1, &call, 0, || 1, &mut Vec::new()), None);
        for token in 0..8 {
            assert!(b.ask(token, ServiceOp::Get, b"k", 0).is_some());
        }
        assert_eq!(b.ask(8, ServiceOp::Get, b"k", 0), None);
        assert!(b.sent.starts_with(&[0]) || b.client.waiting() == 8);
    }

    #[test]
    fn a_cancelled_request_leaves_nothing_waiting() {
        let mut b = Bench::new();
        b.ask(1, ServiceOp::Get, b"k", 0).unwrap();
        b.client.cancel_last();
        assert_eq!((b.client.waiting(), b.client.expire(u64::MAX)), (0, None));
    }

    #[test]
    fn labels_are_in_order() {
        for (at, event) in Event::ALL.into_iter().enumerate() {
            assert_eq!(event as usize, at);
        }
    }
}
