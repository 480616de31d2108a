//! One thread of a load test: its sockets, and the requests it has on their way.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use lnic_wire::{Fragment, Header, Kind, Status, fragments};

use super::{LANE_SLOTS, Load, Shared};
use crate::batch::{Poll, RxBatch, TxBatch, connect};
use crate::random::Random;
use crate::{Error, Result};

/// Sockets of a thread, so that a worker's threads share the load: it is by source port.
const SOCKETS: usize = 4;
/// Longest wait between two looks at the end and at the timeouts.
const MAX_WAIT: Duration = Duration::from_millis(50);

/// What a thread has measured, in nanoseconds.
pub(super) struct Tally {
    pub(super) latency: Histogram<u64>,
    pub(super) errors: BTreeMap<Status, u64>,
    pub(super) lost: u64,
    pub(super) sent: u64,
    /// When the last counted reply came.
    pub(super) last_reply: Option<Instant>,
    failure: Option<io::Error>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            latency: Histogram::new(3).expect("3 digits are allowed"),
            errors: BTreeMap::new(),
            lost: 0,
            sent: 0,
            last_reply: None,
            failure: None,
        }
    }
}

impl Tally {
    /// Both as one.
    pub(super) fn merge(mut self, other: Tally) -> Tally {
        // Both grow as needed, so nothing is out of range.
        _ = self.latency.add(&other.latency);
        for (status, count) in other.errors {
            *self.errors.entry(status).or_default() += count;
        }
        self.lost += other.lost;
        self.sent += other.sent;
        self.last_reply = self.last_reply.max(other.last_reply);
        self.failure = self.failure.or(other.failure);
        self
    }

    /// What made a thread give up, if anything did.
    pub(super) fn check(&self, worker: SocketAddr) -> Result<()> {
        match &self.failure {
            Some(error) => Err(Error::Network {
                worker,
                source: io::Error::new(error.kind(), error.to_string()),
            }),
            None => Ok(()),
        }
    }
}

/// A request on its way.
#[derive(Debug, Clone, Default)]
struct Slot {
    /// Its number; 0 marks a free slot, and no request has it.
    number: u64,
    due: Option<Instant>,
    /// Reply packets still missing; 0 before the first one says how many there are.
    missing: u16,
    fragments: u16,
    /// A bit for each reply packet that came.
    seen: Vec<u64>,
}

/// One thread's part of the load.
pub(super) struct Lane<'s> {
    shared: &'s Shared<'s>,
    sockets: Vec<UdpSocket>,
    outgoing: Vec<TxBatch<'s>>,
    incoming: RxBatch,
    poll: Poll,
    parts: Vec<Fragment<'s>>,
    slots: Vec<Slot>,
    free: Vec<u16>,
    deadlines: VecDeque<(Instant, u16, u64)>,
    /// In an open loop: when the next request is due, and the time between two.
    schedule: Option<(Instant, Duration)>,
    random: Random,
    tally: Tally,
}

impl<'s> Lane<'s> {
    /// Lane `at` of `count`.
    pub(super) fn new(shared: &'s Shared<'s>, at: usize, count: usize) -> Result<Lane<'s>> {
        let config = shared.config;
        let (capacity, schedule) = match config.load {
            Load::Closed { concurrency } => {
                let share = concurrency.get() / count + usize::from(at < concurrency.get() % count);
                (share, None)
            }
            Load::Open { rate } => {
                let start = shared.begin - config.warm_up;
                let every = Duration::from_secs_f64((1.0 / rate).min(1e9));
                (
                    LANE_SLOTS,
                    Some((start + every * at as u32, every * count as u32)),
                )
            }
        };
        let network = |source| Error::Network {
            worker: config.worker,
            source,
        };
        let sockets = (0..SOCKETS.min(capacity))
            .map(|_| connect(config.worker))
            .collect::<io::Result<Vec<_>>>()
            .map_err(network)?;
        let parts = fragments(&config.request, config.workload.fragment)
            .into_iter()
            .flatten()
            .collect();
        Ok(Lane {
            shared,
            outgoing: sockets.iter().map(|_| TxBatch::new()).collect(),
            incoming: RxBatch::new(),
            poll: Poll::new(&sockets),
            sockets,
            parts,
            slots: vec![Slot::default(); capacity],
            free: (0..capacity).rev().map(|slot| slot as u16).collect(),
            deadlines: VecDeque::new(),
            schedule,
            random: Random::new(),
            tally: Tally::default(),
        })
    }

    /// Sends and receives until the test is over and nothing is on its way.
    pub(super) fn run(mut self) -> Tally {
        let mut sending = true;
        loop {
            let now = Instant::now();
            self.expire(now);
            if sending {
                sending = self.send_due(now);
            }
            if !sending && self.free.len() == self.slots.len() {
                return self.tally;
            }
            for (batch, socket) in self.outgoing.iter_mut().zip(&self.sockets) {
                batch.flush(socket);
            }
            if let Err(error) = self.poll.wait(self.wait_time(now, sending)) {
                self.tally.failure = Some(error);
                return self.tally;
            }
            self.receive();
        }
    }

    /// Sends what is due. False when no more will be.
    fn send_due(&mut self, now: Instant) -> bool {
        loop {
            let due = match self.schedule {
                Some((due, _)) if due > now => return true,
                Some((due, _)) => due,
                None => now,
            };
            let Some(slot) = self.free.pop() else { return true };
            if !self.shared.may_send(due) {
                self.free.push(slot);
                return false;
            }
            if let Some((due, every)) = &mut self.schedule {
                *due += *every;
            }
            self.send(slot, due, now);
        }
    }

    fn send(&mut self, slot: u16, due: Instant, now: Instant) {
        let config = self.shared.config;
        // The low bits find the slot, the others must match; a 0 above would make it free.
        let number = (self.random.next() | 1 << 16) & !0xffff | u64::from(slot);
        let at = usize::from(slot) % self.sockets.len();
        for part in &self.parts {
            let len = part.payload.len() as u16;
            let header = Header::request(config.workload.id, number, part.index, part.count, len);
            self.outgoing[at].push(&self.sockets[at], &header.encode(), part.payload);
        }
        let place = &mut self.slots[usize::from(slot)];
        (place.number, place.due, place.missing) = (number, Some(due), 0);
        self.deadlines.push_back((now + config.timeout, slot, number));
        if due >= self.shared.begin {
            self.tally.sent += 1;
        }
    }

    /// How long nothing can become due.
    fn wait_time(&self, now: Instant, sending: bool) -> Duration {
        let next = self
            .schedule
            .filter(|_| sending && !self.free.is_empty())
            .map(|(due, _)| due);
        let expiry = self.deadlines.front().map(|&(deadline, ..)| deadline);
        let until = next.into_iter().chain(expiry).min();
        until
            .map_or(MAX_WAIT, |until| until.saturating_duration_since(now))
            .min(MAX_WAIT)
    }

    fn receive(&mut self) {
        for at in 0..self.sockets.len() {
            if !self.poll.is_ready(at) {
                continue;
            }
            let received = self.incoming.receive(&self.sockets[at]);
            let now = Instant::now();
            for packet in 0..received {
                if let Ok((header, _)) = Header::decode(self.incoming.datagram(packet), Kind::Reply) {
                    self.take(&header, now);
                }
            }
        }
    }

    /// Takes a reply packet.
    fn take(&mut self, header: &Header, now: Instant) {
        let slot = header.request as u16;
        let Some(place) = self.slots.get_mut(usize::from(slot)) else {
            return;
        };
        if place.number != header.request || header.workload != self.shared.config.workload.id {
            return;
        }
        if header.status == Status::Ok && !place.is_whole_with(header) {
            return;
        }
        let due = place.due.take();
        place.number = 0;
        self.free.push(slot);
        let counter = if header.status == Status::Ok {
            &self.shared.replies
        } else {
            &self.shared.errors
        };
        counter.fetch_add(1, Relaxed);
        let Some(due) = due.filter(|&due| due >= self.shared.begin) else {
            return;
        };
        self.tally.last_reply = Some(now);
        if header.status == Status::Ok {
            let nanoseconds = now.saturating_duration_since(due).as_nanos();
            // The histogram grows as needed; what it can't hold is centuries.
            _ = self
                .tally
                .latency
                .record(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        } else {
            *self.tally.errors.entry(header.status).or_default() += 1;
        }
    }

    /// Gives up requests that have waited too long.
    fn expire(&mut self, now: Instant) {
        while let Some(&(deadline, slot, number)) = self.deadlines.front() {
            let place = &mut self.slots[usize::from(slot)];
            let waits = place.number == number;
            if waits && deadline > now {
                return;
            }
            self.deadlines.pop_front();
            if waits {
                place.number = 0;
                self.free.push(slot);
                self.shared.lost.fetch_add(1, Relaxed);
                if place.due.is_some_and(|due| due >= self.shared.begin) {
                    self.tally.lost += 1;
                }
            }
        }
    }
}

impl Slot {
    /// Notes a packet of the reply; true when none is missing any more.
    fn is_whole_with(&mut self, header: &Header) -> bool {
        if self.missing == 0 {
            (self.missing, self.fragments) = (header.fragments, header.fragments);
            self.seen.clear();
            self.seen.resize(usize::from(header.fragments).div_ceil(64), 0);
        }
        if self.fragments != header.fragments {
            return false;
        }
        let (word, bit) = (usize::from(header.fragment) / 64, 1 << (header.fragment % 64));
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            self.missing -= 1;
        }
        self.missing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_whole_when_every_packet_came() {
        let mut slot = Slot::default();
        let header = |at, of| Header::request(1, 2, 0, 1, 0).reply(Status::Ok, at, of, 0);
        assert!(!slot.is_whole_with(&header(69, 70)));
        assert!(!slot.is_whole_with(&header(69, 70)), "a duplicate adds nothing");
        assert!(
            !slot.is_whole_with(&header(0, 71)),
            "nor does a packet of another reply"
        );
        for at in 0..68 {
            assert!(!slot.is_whole_with(&header(at, 70)));
        }
        assert!(slot.is_whole_with(&header(68, 70)));
    }
}
