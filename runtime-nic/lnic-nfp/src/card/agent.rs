//! The agent: a worker's image on a card, from its first load to its end.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use lambdac_driver::Image;
use lambdac_driver::nfp::{self, Emitted, Listen, Options, Rule, SERVICE_PORTS};
use lambdac_driver::nic::Place;
use lambdac_mir::Service;
use lnic_ether::PortRow;
use lnic_host::{Engine, LoadedImage, Prefix, Running};
use tempfile::TempDir;

use super::ask::Asks;
use super::engine::OnCard;
use super::metrics::Counters;
use super::services::{self, Services};
use super::{Card, CardError, Device, Port, Result};

/// What `build.sh` makes, below its folder.
const FIRMWARE: &str = "out/lambdas.nffw";
const DESIGN: &str = "out/pif/pif_design.json";
/// Whom the plugin trusts: pairs of a value and a mask (`lnic_plugin.h`).
const TRUSTED: &str = "lnic_trusted";
const TRUSTED_ENTRIES: usize = 8;

/// A worker's card.
pub struct Agent {
    device: Device,
    card: Arc<dyn Card>,
    port: Arc<dyn Port>,
    listen: Listen,
    trusted: Vec<(Ipv4Addr, u8)>,
    /// Where services answer to, once a lambda of the card's waits for one.
    ports: Option<Arc<PortRow>>,
    /// What asks the card for callers over HTTP.
    asks: Arc<Asks>,
    /// The image that runs, or will once it is attached.
    current: Option<Loaded>,
    /// The image that takes over with [`Agent::commit`].
    next: Option<Loaded>,
    counters: Option<Arc<Counters>>,
    /// What looks after the services of the image that runs.
    services: Option<Services>,
}

/// An image that was built.
struct Loaded {
    folder: TempDir,
    emitted: Arc<Emitted>,
}

impl Agent {
    /// An agent for a card that answers at `listen`: the address of its first virtual function, which is `port`.
    ///
    /// # Errors
    /// If more prefixes are trusted than the card has room for, or no thread can be started.
    pub fn open(
        device: Device,
        card: Arc<dyn Card>,
        port: Arc<dyn Port>,
        listen: Listen,
        trusted: &[Prefix],
    ) -> Result<Self> {
        let trusted: Vec<_> = trusted.iter().filter_map(Prefix::ipv4).collect();
        // From the wire nobody has a loopback address.
        let trusted: Vec<_> = trusted
            .into_iter()
            .filter(|(address, _)| !address.is_loopback())
            .collect();
        if trusted.len() > TRUSTED_ENTRIES {
            return Err(CardError::Missing(format!(
                "room for more than {TRUSTED_ENTRIES} trusted IPv4 prefixes on the card"
            )));
        }
        Ok(Self {
            device,
            card,
            asks: Arc::new(Asks::start(port.clone(), &listen)?),
            port,
            listen,
            trusted,
            ports: None,
            current: None,
            next: None,
            counters: None,
            services: None,
        })
    }

    /// The address that the card answers at.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.listen.address)
    }

    /// The image for the worker behind the card. `services` are addresses by `WORKLOAD.SERVICE`, instead of the source's.
    ///
    /// # Errors
    /// If a workload can't be linked.
    pub fn behind(&self, image: &Image, services: &BTreeMap<String, String>) -> Result<Image> {
        let image = self.with_services(image, services);
        Ok(nfp::behind_card(&image, &|service| self.unreached(service))?)
    }

    /// Builds an image with the SDK: the first, or one that takes over from the running one with [`Agent::commit`]. `host`
    /// is what [`Agent::behind`] gave. Gives the engine for the worker.
    ///
    /// # Errors
    /// If the image has no code for the card, or the SDK refuses or lacks something.
    pub fn load(
        &mut self,
        image: &Image,
        host: &Arc<LoadedImage>,
        services: &BTreeMap<String, String>,
    ) -> Result<Arc<dyn Engine>> {
        let image = with_params(&self.with_services(image, services), host);
        let options = Options {
            port: self.listen.port,
            unreached: &|service| self.unreached(service),
        };
        let mut emitted = nfp::emit(&image, &options)?;
        if services::waits(&emitted) {
            self.reserve()?;
        }
        emitted.p4.rules.push(Rule::listen(&self.listen));
        if let Some(warning) = emitted.store.warning() {
            tracing::warn!("{warning}");
        }
        announce(&image, &emitted);
        let folder = TempDir::new().map_err(io("a folder can't be made"))?;
        for (name, text) in nfp::files(&image, &emitted)? {
            std::fs::write(folder.path().join(name), text).map_err(io("a file can't be written"))?;
        }
        tracing::info!(card = %self.device, "the SDK builds the card's firmware; this takes minutes");
        self.card.build(folder.path())?;
        for made in [FIRMWARE, DESIGN] {
            if !folder.path().join(made).is_file() {
                return Err(CardError::Missing(format!(
                    "{made}, which build.sh should have made"
                )));
            }
        }
        let emitted = Arc::new(emitted);
        let engine = OnCard::engine(
            host.clone(),
            emitted.clone(),
            self.card.clone(),
            self.asks.clone(),
        );
        let loaded = Loaded { folder, emitted };
        match self.current {
            None => self.current = Some(loaded),
            Some(_) => self.next = Some(loaded),
        }
        Ok(Arc::new(engine))
    }

    /// Puts the image on the card, with `running` behind.
    ///
    /// # Errors
    /// What the tools say, or that no image was loaded.
    pub fn attach(&mut self, running: &Running) -> Result<()> {
        let Some(current) = &self.current else {
            return Err(CardError::Missing("an image to load".to_owned()));
        };
        self.services = self.put(current)?;
        let counters = Arc::new(Counters::new(
            self.device,
            self.card.clone(),
            current.emitted.clone(),
        ));
        running.set_nic(counters.clone());
        self.counters = Some(counters);
        Ok(())
    }

    /// Puts an image on the card; gives what looks after its services.
    fn put(&self, loaded: &Loaded) -> Result<Option<Services>> {
        let at = |name: &str| -> PathBuf { loaded.folder.path().join(name) };
        tracing::info!(card = %self.device, "the card loads; its ports are down for many seconds");
        self.card.load(&at(FIRMWARE), &at(DESIGN), &at("image.p4cfg"))?;
        self.card.write(TRUSTED, 0, &trusted(&self.trusted))?;
        let wire = std::net::SocketAddrV4::new(self.address(), self.listen.port);
        tracing::info!(card = %self.device, %wire, "the card answers (this loader was not run on hardware)");
        match &self.ports {
            Some(ports) if services::waits(&loaded.emitted) => {
                let emitted = &loaded.emitted;
                Services::start(emitted, &self.card, &self.port, ports, &self.listen).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Keeps the ports that services answer to from everybody else.
    fn reserve(&mut self) -> Result<()> {
        let last = SERVICE_PORTS + (PortRow::PORTS - 1);
        if (SERVICE_PORTS..=last).contains(&self.listen.port) {
            let port = self.listen.port;
            return Err(CardError::Missing(format!(
                "another port to listen at than {port}: services answer the card at {SERVICE_PORTS} to {last}"
            )));
        }
        if self.ports.is_none() {
            self.ports = Some(Arc::new(self.port.reserve(SERVICE_PORTS)?));
        }
        Ok(())
    }

    /// Why the card can't ask a service, as a clause that can follow its name.
    fn unreached(&self, service: &Service) -> Option<String> {
        self.port.reach(&service.address).err()
    }

    /// An image whose services are where they are looked for: numbers instead of names, as far as the card gets there.
    fn with_services(&self, image: &Image, services: &BTreeMap<String, String>) -> Image {
        let mut image = image.clone();
        for linked in &mut image.workloads {
            let module = Arc::make_mut(&mut linked.compiled.module);
            for service in &mut module.services {
                if let Some(given) = services.get(&format!("{}.{}", module.name, service.name)) {
                    service.address = given.as_str().into();
                }
                if let Ok(address) = self.port.reach(&service.address) {
                    service.address = address.to_string().into();
                }
            }
        }
        image
    }

    /// Has the image that was loaded last take over. The worker already has its engine. State on the card starts anew: a
    /// new design takes the place of all memory.
    ///
    /// # Errors
    /// What the tools say.
    pub fn commit(&mut self) -> Result<()> {
        let Some(next) = self.next.take() else {
            return Ok(());
        };
        if next.emitted.places.iter().any(|places| places.holds_state()) {
            tracing::warn!(card = %self.device, "state on the card starts anew");
        }
        self.services = None;
        self.services = self.put(&next)?;
        if let Some(counters) = &self.counters {
            counters.set(next.emitted.clone());
        }
        self.current = Some(next);
        Ok(())
    }

    /// Forgets the image that was loaded last and shall not take over.
    pub fn discard(&mut self) {
        self.next = None;
    }

    /// Has the card answer no more: what comes goes to the host. The design stays, as unloading takes the ports down.
    pub fn stop(mut self) {
        self.services = None;
        if self.counters.is_none() {
            return;
        }
        match self.card.delete_rule(&Rule::listen(&self.listen)) {
            Ok(()) => tracing::debug!(card = %self.device, "the card answers no more"),
            Err(error) => tracing::error!(%error, card = %self.device, "the card still answers"),
        }
    }
}

fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> CardError {
    move |source| CardError::Io { what, source }
}

/// An image whose parameters have the values that the host's have.
fn with_params(image: &Image, host: &LoadedImage) -> Image {
    let mut image = image.clone();
    for (linked, workload) in image.workloads.iter_mut().zip(host.image().workloads()) {
        let module = Arc::make_mut(&mut linked.compiled.module);
        for (param, value) in module.params.iter_mut().zip(workload.params().values()) {
            param.default = Some(value.clone());
        }
    }
    image
}

/// The plugin's list of whom it trusts. What is left over matches nobody: no value has bits outside its mask.
fn trusted(prefixes: &[(Ipv4Addr, u8)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(TRUSTED_ENTRIES * 8);
    for (address, len) in prefixes {
        let mask = u32::MAX.checked_shl(32 - u32::from(*len)).unwrap_or(0);
        bytes.extend((address.to_bits() & mask).to_be_bytes());
        bytes.extend(mask.to_be_bytes());
    }
    while bytes.len() < TRUSTED_ENTRIES * 8 {
        bytes.extend(1u32.to_be_bytes());
        bytes.extend(0u32.to_be_bytes());
    }
    bytes
}

fn announce(image: &Image, emitted: &Emitted) {
    for (linked, places) in image.workloads.iter().zip(&emitted.places) {
        let module = &linked.compiled.module;
        let workload = &*module.name;
        for (lambda, place) in module.lambdas.iter().zip(places.lambdas()) {
            match place {
                Place::Native => tracing::debug!(%workload, lambda = %lambda.name, "on the card"),
                Place::Host { code, reason } => {
                    tracing::info!(%workload, lambda = %lambda.name, %code, "on the host: {reason}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_over_of_the_trusted_matches_nobody() {
        let bytes = trusted(&[(Ipv4Addr::new(10, 0, 0, 0), 8)]);
        assert_eq!(bytes[..8], [10, 0, 0, 0, 255, 0, 0, 0]);
        assert_eq!(bytes.len(), TRUSTED_ENTRIES * 8);
        for entry in bytes[8..].as_chunks::<8>().0 {
            let (value, mask) = entry.split_at(4);
            assert!(mask == [0; 4] && value != [0; 4]);
        }
    }
}
