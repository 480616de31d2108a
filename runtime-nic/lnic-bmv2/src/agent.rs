//! The agent: a worker's image on a switch, from its first load to its end.
//!
//! ```text
//! Agent::open ── load ── attach ───────────────── load ── commit ── … ── stop
//!   │                      │                        │       │
//! the switch obeys     program and entries     compiled   the switch runs the new one
//! ```
//!
//! A switch that already runs the very program goes on with it and with its state, and gets the entries that it lacks; so
//! after a restart of this process nothing is lost, and no entry of before stays. A switch that was restarted gets all
//! anew. Another program starts with the state that its source says.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use lambdac_backend_p4::{FIRST_PORT, TRUSTED_ENTRIES, reason};
use lambdac_driver::Image;
use lambdac_driver::nic::Place as Side;
use lambdac_mir::{Module, Service};
use lnic_host::{Engine, LoadedImage, Prefix, Running, route};
use lnic_wire::{HEADER_LEN, Header, Kind};

use crate::contents::{Contents, Resident};
use crate::device::Device;
use crate::engine::OnSwitch;
use crate::error::{Error, Result};
use crate::frame;
use crate::front::{self, Front};
use crate::metrics::Counters;
use crate::session::{Handed, Punts, Session};
use crate::tap::Tap;
use crate::waiter::Waiter;

/// A worker's switch.
pub struct Agent {
    front: Arc<Front>,
    interface: Tap,
    /// The image that runs, or will once it is attached.
    current: Option<Loaded>,
    /// The image that takes over with [`Agent::commit`].
    next: Option<Loaded>,
    attached: Option<Attached>,
}

/// An image on both sides.
#[derive(Clone)]
struct Loaded {
    contents: Arc<Contents>,
    host: Arc<LoadedImage>,
}

/// What there is while packets are answered.
struct Attached {
    running: Arc<Running>,
    counters: Arc<Counters>,
    waiter: Option<Waiter>,
}

impl Agent {
    /// Connects to a switch, and makes or opens the interface behind it. `wire` is where the worker is to listen; none:
    /// where the interface is.
    ///
    /// # Errors
    /// What is missing, or why the switch does not obey.
    pub fn open(device: &Device, wire: Option<Ipv4Addr>, trusted: &[Prefix]) -> Result<Self> {
        let trusted: Vec<(u32, u32)> = trusted
            .iter()
            .filter_map(Prefix::ipv4)
            .map(|(address, len)| (address.to_bits(), len.into()))
            .collect();
        if trusted.len() > TRUSTED_ENTRIES as usize {
            return Err(Error::Missing(format!(
                "the switch has room for {TRUSTED_ENTRIES} trusted IPv4 prefixes only"
            )));
        }
        let wire = wire.filter(|address| !address.is_unspecified());
        let interface = Tap::open(device.device, wire)?;
        let descriptor = interface.as_fd().try_clone_to_owned();
        let descriptor = descriptor.map_err(|source| Error::System {
            what: "share the interface",
            source,
        })?;
        let session = Session::open(device, descriptor.into())?;
        let front = Front {
            device: device.clone(),
            session,
            listen: OnceLock::new(),
            trusted,
            marks: AtomicU64::new(u64::from(std::process::id()) << 20),
            source: Mutex::default(),
        };
        Ok(Self {
            front: Arc::new(front),
            interface,
            current: None,
            next: None,
            attached: None,
        })
    }

    /// The address that the switch answers at.
    pub fn address(&self) -> Ipv4Addr {
        self.interface.address()
    }

    /// Compiles an image: the first, or one that takes over from the running one with [`Agent::commit`]. `host` is the
    /// same image on the host. `services` are addresses by `WORKLOAD.SERVICE`, instead of the source's. Gives the engine
    /// for the worker.
    ///
    /// # Errors
    /// If it has no program; then all is as before.
    pub fn load(
        &mut self,
        image: &Image,
        host: &Arc<LoadedImage>,
        services: &BTreeMap<String, String>,
    ) -> Result<Arc<dyn Engine>> {
        let own = self.interface.address();
        let find = |module: &Module, service: &Service| {
            let given = services.get(&format!("{}.{}", module.name, service.name));
            route::reached(own, given.map_or(&*service.address, String::as_str))
        };
        let contents = Arc::new(Contents::compile(image, host, &find)?);
        let engine = OnSwitch::engine(host.clone(), contents.clone(), self.front.clone());
        let loaded = Loaded {
            contents,
            host: host.clone(),
        };
        match self.current {
            None => self.current = Some(loaded),
            Some(_) => self.next = Some(loaded),
        }
        Ok(Arc::new(engine))
    }

    /// Has the switch answer from now on, with `running` behind, and says so in the log.
    ///
    /// # Errors
    /// If the switch refuses, or no image was loaded.
    pub fn attach(&mut self, running: &Arc<Running>) -> Result<()> {
        let Some(current) = self.current.clone() else {
            return Err(Error::Missing("no image was loaded".to_owned()));
        };
        let (address, port) = (self.interface.address(), running.wire_addr().port());
        if port >= FIRST_PORT && !current.contents.asked.is_empty() {
            return Err(Error::Missing(format!(
                "lambdas on the switch ask services from the ports from {FIRST_PORT} on: the worker can't listen at {port}"
            )));
        }
        let (mac, broadcast) = (self.interface.mac(), self.interface.broadcast());
        // Only the first worker is attached.
        _ = self
            .front
            .listen
            .set(front::listen(mac, address, port, broadcast));
        self.set_punts(&current.contents, running);
        self.front.install(&current.contents, &current.host)?;
        let counters = Arc::new(Counters::new(self.front.clone(), current.contents.clone()));
        running.set_nic(counters.clone());
        self.attached = Some(Attached {
            running: running.clone(),
            counters,
            waiter: self.waiter(&current)?,
        });
        let wire = SocketAddr::new(address.into(), port);
        let (switch, interface) = (&self.front.device, self.interface.name());
        tracing::info!(%switch, %interface, %wire, "the switch answers");
        current.contents.workloads.iter().for_each(announce);
        Ok(())
    }

    fn waiter(&self, loaded: &Loaded) -> Result<Option<Waiter>> {
        let parts = (self.front.clone(), loaded.contents.clone());
        Waiter::start(parts, self.interface.name(), self.interface.address())
    }

    fn set_punts(&self, contents: &Arc<Contents>, running: &Arc<Running>) {
        self.front.session.set_punts(Some(Arc::new(ToWorker {
            contents: contents.clone(),
            running: running.clone(),
            address: self.interface.address(),
        })));
    }

    /// Has the image that was loaded last take over. The worker already has its engine.
    ///
    /// # Errors
    /// If the switch refuses.
    pub fn commit(&mut self) -> Result<()> {
        let (Some(next), Some(current)) = (self.next.take(), self.current.take()) else {
            return Ok(());
        };
        self.current = Some(next.clone());
        // It would speak for the image of before.
        self.attached
            .iter_mut()
            .for_each(|attached| attached.waiter = None);
        let Some(attached) = &self.attached else {
            return Ok(());
        };
        if next.contents.cookie != current.contents.cookie {
            announce_loss(&current.contents);
        }
        self.set_punts(&next.contents, &attached.running);
        let install = || self.front.install(&next.contents, &next.host);
        attached.counters.change(next.contents.clone(), install)?;
        let waiter = self.waiter(&next)?;
        if let Some(attached) = &mut self.attached {
            attached.waiter = waiter;
        }
        Ok(())
    }

    /// Forgets the image that was loaded last and shall not take over.
    pub fn discard(&mut self) {
        self.next = None;
    }

    /// Has the switch answer no more, and leaves it. The worker still runs.
    pub fn stop(mut self) {
        self.front.session.set_punts(None);
        if self.attached.take().is_some()
            && self.front.session.is_up()
            && let Err(error) = self.front.session.set_entries(Vec::new())
        {
            tracing::warn!(%error, "the switch goes on answering");
        }
        tracing::debug!(switch = %self.front.device, "the switch answers no more");
    }
}

/// Says which lambdas of a workload are where.
fn announce(resident: &Resident) {
    let lambdas = resident.module.lambdas.iter().zip(resident.places.lambdas());
    for (lambda, side) in lambdas {
        let workload = resident.name();
        match side {
            Side::Native => tracing::debug!(%workload, lambda = %lambda.name, "on the switch"),
            Side::Host { code, reason } => {
                tracing::info!(%workload, lambda = %lambda.name, %code, "on the host: {reason}");
            }
        }
    }
}

/// Says which workloads lose what the switch holds of them.
fn announce_loss(contents: &Contents) {
    for resident in contents
        .workloads
        .iter()
        .filter(|resident| resident.places.holds_state())
    {
        tracing::warn!(
            workload = resident.name(),
            "the switch gets another program: its state starts anew"
        );
    }
}

/// Hands punted requests to the worker.
struct ToWorker {
    contents: Arc<Contents>,
    running: Arc<Running>,
    address: Ipv4Addr,
}

impl Punts for ToWorker {
    fn take(&self, packet: &Handed) -> bool {
        let lambda = match reason::ALL.get(usize::from(packet.reason)) {
            Some(&reason::PUNTED) => None,
            Some(&reason::PUNTED_TO) => Some(packet.lambda),
            _ => return false,
        };
        let Some((from, datagram)) = datagram(&packet.frame) else {
            return false;
        };
        let Ok((header, _)) = Header::decode(datagram, Kind::Request) else {
            return false;
        };
        let Some(workload) = self.contents.by_id(header.workload) else {
            return false;
        };
        let lambda = match lambda.map(|number| self.contents.lambda(number)) {
            None => None,
            Some(Some((owner, name))) if owner == workload => Some(name),
            Some(_) => return false,
        };
        let target = (self.contents.workloads[workload].name(), lambda);
        if !self
            .running
            .punted(target, from.into(), self.address, datagram.to_vec())
        {
            tracing::debug!(workload = target.0, "the worker has no room for a punt");
        }
        true
    }
}

/// Sender and datagram of a frame that the switch took for a request.
fn datagram(bytes: &[u8]) -> Option<(SocketAddrV4, &[u8])> {
    let (head, _) = bytes.split_first_chunk::<{ frame::HEADERS + HEADER_LEN }>()?;
    let number = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let source = Ipv4Addr::new(head[26], head[27], head[28], head[29]);
    let end = usize::from(number(38)).checked_add(frame::HEADERS - 8)?;
    let datagram = bytes.get(frame::HEADERS..end)?;
    Some((SocketAddrV4::new(source, number(34)), datagram))
}

#[cfg(test)]
mod tests {
    use crate::frame::{Endpoint, request};

    use super::*;

    #[test]
    fn the_datagram_of_a_request_is_found_and_a_cut_one_is_not() {
        let end = |last: u8| Endpoint {
            mac: [2, 0, 0, 0, 0, last],
            address: Ipv4Addr::new(10, 0, 0, last),
            port: 4000 + u16::from(last),
        };
        let header = Header::request(7, 9, 0, 1, 3);
        let mut whole = request(end(1), end(2), &header, &[], b"abc");
        whole.push(0xee);
        let (from, bytes) = datagram(&whole).unwrap();
        assert_eq!(from.to_string(), "10.0.0.1:4001");
        assert_eq!(bytes, [&header.encode()[..], b"abc"].concat());
        assert!(datagram(&whole[..whole.len() - 2]).is_none());
        whole[39] = 255;
        assert!(datagram(&whole).is_none());
    }
}
