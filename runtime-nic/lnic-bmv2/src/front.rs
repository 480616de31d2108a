//! What stays while images come and go: a session with a switch, and where the worker behind it is.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use lambdac_backend_p4::{INGRESS, Listen};
use lnic_engine::control::StateDump;
use lnic_host::LoadedImage;
use lnic_wire::Header;

use crate::contents::{Contents, Hops};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::frame::{self, Endpoint};
use crate::session::{Handed, Mac, Plan, Session};
use crate::{state, thrift};

/// First byte of the mark of an injected request: a unicast address of local administration (IEEE 802).
const MARK: u8 = 0x06;
/// Longest time for reading a register.
const REGISTER: Duration = Duration::from_secs(5);

/// A switch in front of a worker.
pub(crate) struct Front {
    pub(crate) device: Device,
    pub(crate) session: Session,
    /// Where the worker is, once it runs.
    pub(crate) listen: OnceLock<Listen>,
    /// Sources that may be sent long replies.
    pub(crate) trusted: Vec<(u32, u32)>,
    pub(crate) marks: AtomicU64,
    /// What entries are made of. Held while the switch gets them: the last to write them has seen all that others changed.
    pub(crate) source: Mutex<Source>,
}

/// What the entries of the switch's tables are made of, beside what the host's tables hold.
#[derive(Default)]
pub(crate) struct Source {
    /// The image that the switch is to run, here and on the host.
    image: Option<(Arc<Contents>, Arc<LoadedImage>)>,
    /// Ways to services, as far as they are known.
    hops: Hops,
}

impl Front {
    fn listen(&self) -> Result<&Listen> {
        self.listen.get().ok_or_else(no_worker)
    }

    /// Has the switch run an image, with the tables that the host has.
    pub(crate) fn install(&self, contents: &Arc<Contents>, host: &Arc<LoadedImage>) -> Result<()> {
        let mut source = self.source();
        let plan = Plan {
            info: contents.info.clone(),
            json: contents.json.clone(),
            cookie: contents.cookie,
            entries: contents.entries(host, self.listen()?, &self.trusted, &source.hops)?,
        };
        source.image = Some((contents.clone(), host.clone()));
        self.session.install(plan)
    }

    /// Has the switch's tables hold what the host's do. Who changed one through an image that was replaced meanwhile has
    /// changed it in the image that the switch runs, if that has the table still.
    pub(crate) fn mirror(&self) -> Result<()> {
        let source = self.source();
        self.mirror_with(&source.image, &source.hops)
    }

    /// As [`Front::mirror`], if ways to services have changed.
    pub(crate) fn set_hops(&self, hops: Hops) -> Result<()> {
        let mut source = self.source();
        if source.hops == hops {
            return Ok(());
        }
        self.mirror_with(&source.image, &hops)?;
        source.hops = hops;
        Ok(())
    }

    fn mirror_with(&self, image: &Option<(Arc<Contents>, Arc<LoadedImage>)>, hops: &Hops) -> Result<()> {
        let (contents, host) = image.as_ref().ok_or_else(no_worker)?;
        let entries = contents.entries(host, self.listen()?, &self.trusted, hops)?;
        self.session.set_entries(entries)
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a request through the switch, of one packet.
    pub(crate) fn inject(
        &self,
        header: &Header,
        (address, port): (u32, u16),
        request: &[u8],
        within: Duration,
    ) -> Result<Handed> {
        let listen = self.listen()?;
        let [_, _, _, count @ ..] = self.marks.fetch_add(1, Relaxed).to_be_bytes();
        let mark: Mac = [MARK, count[0], count[1], count[2], count[3], count[4]];
        let from = Endpoint {
            mac: mark,
            address: address.into(),
            port,
        };
        let to = Endpoint {
            mac: listen.mac,
            address: listen.address.into(),
            port: listen.port,
        };
        let sent = frame::request(from, to, header, &[], request);
        self.session.inject(mark, sent, within)
    }

    /// What an object of a workload holds on the switch; none where it is not there, or can't be read.
    pub(crate) fn dump(&self, contents: &Arc<Contents>, workload: usize, object: &str) -> Option<StateDump> {
        let resident = contents.workloads.get(workload)?;
        if !resident.places.on_nic(object) {
            return None;
        }
        let id = contents.object(resident.name(), object)?;
        let mut objects = resident.module.objects.iter();
        let kind = &objects.find(|item| *item.name == *object)?.kind;
        let read = || -> Result<Option<StateDump>> {
            let system = |source| Error::System {
                what: "read registers",
                source,
            };
            let address = self.thrift().map_err(system)?;
            let register = |name: &str| thrift::register(address, &format!("{INGRESS}.{name}"), REGISTER);
            state::dump(kind, &contents.state()?, id, &register).map_err(system)
        };
        match read() {
            Ok(dump) => dump,
            Err(error) => {
                tracing::error!(switch = %self.device, object, %error, "state of the switch could not be read");
                None
            }
        }
    }

    fn thrift(&self) -> std::io::Result<SocketAddr> {
        let host = self.device.host.trim_matches(['[', ']']);
        let mut found = (host, self.device.thrift).to_socket_addrs()?;
        let missing = || std::io::Error::other(format!("{host} has no address"));
        found.next().ok_or_else(missing)
    }
}

fn no_worker() -> Error {
    Error::Away("the worker does not run yet".to_owned())
}

/// Where a worker listens, as entries of the switch say it.
pub(crate) fn listen(mac: Mac, address: Ipv4Addr, port: u16, broadcast: Ipv4Addr) -> Listen {
    Listen {
        mac,
        address: address.to_bits(),
        port,
        broadcast: broadcast.to_bits(),
    }
}
