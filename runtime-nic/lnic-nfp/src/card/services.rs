//! What the card needs from the host for lambdas that wait for services: the way to each, and the time.
//!
//! - The unit has a row for each service ([`lambdac_backend_c::services`]). The kernel knows the next hop to it, or finds
//!   out when it sends something there; once it does, its Ethernet address is written into the row, and again when it
//!   changes. Until then a lambda's request has failed at once.
//! - A packet that the host sends to one of the ports that services answer to makes a core look at some of what waits,
//!   and end the first wait whose time is over (`lnic_wait.h`). Some are sent at a time, many times in a time-out.
//!
//! The card takes what comes to these ports, so that no other socket on this host may have them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lambdac_backend_c::services::{KNOWN, ROW, SYMBOL, WAY, way};
use lambdac_driver::nfp::{Emitted, Listen, SERVICE_PORTS};
use lnic_ether::PortRow;
use lnic_ether::frame::{self, Endpoint};

use super::task::Task;
use super::{Card, Port, Result};
use crate::machine::NOBODY;

/// The number of the card's first physical port, by which services are reached (NFP notes, 3.6).
const WIRE: u32 = 0;
/// How often ways are looked after.
const WAYS: Duration = Duration::from_secs(1);
/// How often waits are: a part of the shortest time-out, within bounds.
const PARTS: u32 = 4;
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(50);
/// Packets at a time: a packet looks at 64 of at most 1,024 slots and ends at most one wait, so that this is twice what
/// it takes to look at all.
const PACKETS: usize = 32;
/// The port that they come from: nobody answers to it (RFC 863).
const DISCARD: u16 = 9;

/// A service that lambdas of the card may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    /// Its row.
    row: u64,
    address: SocketAddrV4,
    /// The next hop that its row has.
    hop: Option<[u8; 6]>,
}

/// The threads that look after an image's services.
#[derive(Debug)]
pub(super) struct Services {
    _ways: Task,
    _clock: Task,
}

/// Whether lambdas of an image wait on the card.
pub(super) fn waits(emitted: &Emitted) -> bool {
    emitted.c.memory.iter().any(|memory| *memory.name == *SYMBOL)
}

impl Services {
    /// Looks after the services of an image that is on the card.
    pub(super) fn start(
        emitted: &Emitted,
        card: &Arc<dyn Card>,
        port: &Arc<dyn Port>,
        ports: &Arc<PortRow>,
        listen: &Listen,
    ) -> Result<Self> {
        let all = &emitted.image.module.services;
        let least = all.iter().map(|service| service.timeout).min().unwrap_or(0);
        let pause = (Duration::from_nanos(least) / PARTS).clamp(SHORTEST, LONGEST);
        let mut ways = Ways {
            // What is out of reach has no lambdas on the card.
            asked: (0..)
                .zip(all)
                .filter_map(|(row, service)| {
                    let address = port.reach(&service.address).ok()?;
                    Some(Asked {
                        row,
                        address,
                        hop: None,
                    })
                })
                .collect(),
            card: card.clone(),
            port: port.clone(),
            ports: ports.clone(),
        };
        ways.look();
        let mut looked = Instant::now();
        let look = move || {
            if looked.elapsed() >= WAYS {
                ways.look();
                looked = Instant::now();
            }
            std::thread::sleep(LONGEST);
        };
        let clock = Clock {
            port: port.clone(),
            frame: tick(listen),
        };
        let tick = move || {
            clock.tick();
            std::thread::sleep(pause);
        };
        Ok(Self {
            _ways: Task::start("lnic-nfp-ways", look)?,
            _clock: Task::start("lnic-nfp-clock", tick)?,
        })
    }
}

/// Ways to services.
struct Ways {
    asked: Vec<Asked>,
    card: Arc<dyn Card>,
    port: Arc<dyn Port>,
    ports: Arc<PortRow>,
}

impl Ways {
    fn look(&mut self) {
        for asked in &mut self.asked {
            self.ports.nudge(asked.address);
            let Some(hop) = self.port.hop(*asked.address.ip()) else {
                continue;
            };
            if asked.hop == Some(hop) {
                continue;
            }
            match tell(&*self.card, asked, hop) {
                Ok(()) => {
                    tracing::debug!(service = %asked.address, "the card knows the way");
                    asked.hop = Some(hop);
                }
                Err(error) => {
                    tracing::error!(%error, service = %asked.address, "the card can't be told the way to a service");
                }
            }
        }
    }
}

/// Writes the way to a service, which is not known while it changes.
fn tell(card: &dyn Card, asked: &Asked, hop: [u8; 6]) -> Result<()> {
    let row = asked.row * ROW;
    let known = |yes: u32| card.write(SYMBOL, row + KNOWN, &yes.to_be_bytes());
    if asked.hop.is_some() {
        known(0)?;
    }
    card.write(SYMBOL, row + WAY, &way(hop, WIRE))?;
    known(1)
}

/// The card's time.
struct Clock {
    port: Arc<dyn Port>,
    frame: Vec<u8>,
}

impl Clock {
    fn tick(&self) {
        for _ in 0..PACKETS {
            if let Err(error) = self.port.send(&self.frame) {
                tracing::debug!(%error, "the card can't be told that time goes by");
                return;
            }
        }
    }
}

/// The packet that says so: to a service port of the worker's address.
fn tick(listen: &Listen) -> Vec<u8> {
    let end = |address, port| Endpoint {
        mac: listen.mac,
        address,
        port,
    };
    let to = end(Ipv4Addr::from_bits(listen.address), SERVICE_PORTS);
    frame::udp(end(NOBODY, DISCARD), to, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_the_ports_that_are_kept_free_and_who_asks() {
        let header = |wanted: &str| {
            lambdac_backend_c::HEADERS
                .iter()
                .find(|(name, _)| *name == wanted)
        };
        let (_, plugin) = header("lnic_plugin.h").expect("it is one of them");
        for line in [
            format!("#define LNIC_FIRST_PORT {SERVICE_PORTS:#x}u\n"),
            format!(
                "#define LNIC_PORT_MASK {:#x}u\n",
                0u16.wrapping_sub(PortRow::PORTS)
            ),
            format!("#define LNIC_NOBODY {:#x}u\n", NOBODY.to_bits()),
        ] {
            assert!(plugin.contains(&line), "{line}");
        }
    }
}
