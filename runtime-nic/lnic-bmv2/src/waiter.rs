//! Waits of lambdas on the switch, from the control plane: their timeouts, and the ways to services.
//!
//! The switch takes the slots of waits in turn and counts them ([`ASKED`]), so that its counter tells which were taken
//! since it was read last. For each of these a thread says, when a timeout of the image's services is over, that its time
//! may be up ([`EXPIRE`]). The switch knows until when a slot waits, and whether it does: what is said too early or of a
//! wait that was answered changes nothing, and what is said of a slot that waits anew is said again later.
//!
//! Once a second each service gets an empty datagram, which memcached ignores: so the kernel looks for its next hop by
//! the interface behind the switch, and packets show which port leads there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lambdac_backend_p4::{ASKED, EXPIRE, SLOTS};
use lnic_host::route;
use p4runtime_proto::v1::{CounterEntry, Entity, Index, entity};

use crate::contents::{Contents, Hops};
use crate::error::{Error, Result};
use crate::front::Front;

/// Between two looks at the counter: a wait ends at most so much later than its time, beside what the way to the switch
/// takes. As long as the shortest timeout, within these.
const LOOKS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(50));
/// What is said comes so much after the time: the switch's clock has microseconds.
const AFTER: Duration = Duration::from_millis(1);
/// A packet that says so may be lost: it is said once more, so much later.
const AGAIN: Duration = Duration::from_millis(250);
/// How often next hops are asked after.
const HOPS: Duration = Duration::from_secs(1);

/// The thread of an image.
pub(crate) struct Waiter {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Waiter {
    /// Starts the thread of an image whose worker is at `own`, behind an interface; none where nothing waits.
    pub(crate) fn start(
        (front, contents): (Arc<Front>, Arc<Contents>),
        interface: &str,
        own: Ipv4Addr,
    ) -> Result<Option<Self>> {
        let timeouts: BTreeSet<Duration> = contents.asked.iter().map(|asked| asked.timeout).collect();
        let (Some(least), Some(counter)) = (timeouts.first(), contents.counter(ASKED)) else {
            return Ok(None);
        };
        let system = |what| move |source| Error::System { what, source };
        let socket = UdpSocket::bind((own, 0));
        let socket = socket.map_err(system("get a socket that finds ways to services"))?;
        let stopping = Arc::new(AtomicBool::new(false));
        let pause = (*least).clamp(LOOKS.0, LOOKS.1);
        let mut watch = Watch {
            front,
            contents,
            interface: interface.to_owned(),
            socket,
            counter,
            due: Due::new(timeouts),
            hops: None,
            stopping: stopping.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("lnic-bmv2-wait".to_owned())
            .spawn(move || watch.run(pause))
            .map_err(system("start the thread that ends waits"))?;
        Ok(Some(Self {
            stopping,
            thread: Some(thread),
        }))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.stopping.store(true, SeqCst);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that ends waits on the switch panicked");
        }
    }
}

/// Which slots' time may be up when.
struct Due {
    timeouts: BTreeSet<Duration>,
    /// How many slots had been taken; none: nobody has looked yet, and any may wait.
    seen: Option<u64>,
    at: BTreeMap<Instant, Vec<u8>>,
}

impl Due {
    fn new(timeouts: BTreeSet<Duration>) -> Self {
        Self {
            timeouts,
            seen: None,
            at: BTreeMap::new(),
        }
    }

    /// Notes how many slots have been taken so far.
    fn note(&mut self, count: u64, now: Instant) {
        let all = u64::from(SLOTS);
        // A switch that starts anew counts anew.
        let new = match self.seen.replace(count) {
            Some(seen) if seen <= count => (count - seen).min(all),
            _ => all,
        };
        // The first is slot 0.
        let slots: Vec<u8> = (0..new)
            .map(|back| (count.wrapping_sub(back + 1) % all) as u8)
            .collect();
        if slots.is_empty() {
            return;
        }
        for timeout in &self.timeouts {
            for later in [AFTER, AGAIN] {
                self.at.entry(now + *timeout + later).or_default().extend(&slots);
            }
        }
    }

    /// The slots whose time may be up now.
    fn over(&mut self, now: Instant) -> Vec<u8> {
        let later = self.at.split_off(&now);
        std::mem::replace(&mut self.at, later)
            .into_values()
            .flatten()
            .collect()
    }
}

/// What the thread works with.
struct Watch {
    front: Arc<Front>,
    contents: Arc<Contents>,
    interface: String,
    socket: UdpSocket,
    counter: u32,
    due: Due,
    /// When next hops were looked after last.
    hops: Option<Instant>,
    stopping: Arc<AtomicBool>,
}

impl Watch {
    fn run(&mut self, pause: Duration) {
        while !self.stopping.load(SeqCst) {
            if self.front.session.is_up() {
                self.look();
            }
            std::thread::sleep(pause);
        }
    }

    fn look(&mut self) {
        match self.taken() {
            Ok(count) => self.due.note(count, Instant::now()),
            // The session says so itself when the switch is away.
            Err(error) => tracing::debug!(%error, "the counter of waits could not be read"),
        }
        for slot in self.due.over(Instant::now()) {
            self.front.session.tell(EXPIRE | u16::from(slot));
        }
        if self.hops.is_none_or(|last| last.elapsed() >= HOPS) {
            self.hops = Some(Instant::now());
            self.look_after_hops();
        }
    }

    /// How many slots were taken.
    fn taken(&self) -> Result<u64> {
        let wish = CounterEntry {
            counter_id: self.counter,
            index: Some(Index { index: 0 }),
            data: None,
        };
        let wish = Entity {
            entity: Some(entity::Entity::CounterEntry(wish)),
        };
        let entities = self.front.session.read(vec![wish])?;
        let counts = entities.iter().find_map(|entity| match &entity.entity {
            Some(entity::Entity::CounterEntry(entry)) => entry.data.as_ref(),
            _ => None,
        });
        let count = counts.map_or(0, |data| data.packet_count);
        Ok(u64::try_from(count).unwrap_or(0))
    }

    fn look_after_hops(&self) {
        let mut hops = Hops::new();
        for asked in &self.contents.asked {
            // Whether anyone hears it does not matter.
            let _ = self.socket.send_to(&[], asked.address);
            let mac = route::hop(&self.interface, *asked.address.ip());
            let hop = mac.and_then(|mac| Some((mac, self.front.session.port_of(mac)?)));
            if let Some(hop) = hop {
                hops.insert(*asked.address.ip(), hop);
            }
        }
        if let Err(error) = self.front.set_hops(hops) {
            tracing::error!(%error, "the way to a service could not be told to the switch");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due() -> Due {
        Due::new([Duration::from_millis(5), Duration::from_secs(1)].into())
    }

    #[test]
    fn a_slot_is_due_at_every_timeout_and_once_more() {
        let (mut due, start) = (due(), Instant::now());
        due.note(0, start);
        assert_eq!(due.over(start + Duration::from_secs(9)).len(), 4 * SLOTS as usize);
        due.note(3, start);
        assert!(due.over(start + Duration::from_millis(5)).is_empty());
        assert_eq!(due.over(start + Duration::from_millis(7)), [2, 1, 0]);
        assert_eq!(due.over(start + Duration::from_millis(300)), [2, 1, 0]);
        due.note(3, start);
        assert_eq!(due.over(start + Duration::from_secs(9)), [2, 1, 0, 2, 1, 0]);
    }

    #[test]
    fn slots_are_taken_in_turn_and_a_switch_may_start_anew() {
        let (mut due, start) = (due(), Instant::now());
        due.seen = Some(255);
        due.note(257, start);
        assert_eq!(due.over(start + Duration::from_millis(7)), [0, 255]);
        due.note(1, start);
        assert_eq!(due.over(start + Duration::from_millis(7)).len(), SLOTS as usize);
        due.note(1000, start);
        assert_eq!(due.over(start + Duration::from_millis(7)).len(), SLOTS as usize);
    }
}
