//! `--nic`: an agent in front of the worker.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use lambdac_driver::Image;
use lnic_host::{Config, Engine, EventLog, LoadedImage, Running};
use lnic_nfp::card;

use super::settings;
use crate::args::{Nic, Run};
use crate::exit::{Exit, Result};

/// What speaks with a NIC: opened, loaded, attached to the worker, and given new images until it stops.
pub enum Agent {
    /// Linux' XDP hook.
    Xdp(lnic_xdp::Agent),
    /// A P4 switch.
    Bmv2(lnic_bmv2::Agent),
    /// A Netronome card.
    Nfp(card::Agent),
}

/// The agent that `--nic` asks for; has the worker listen where the NIC answers.
pub fn open(args: &Run, config: &mut Config, events: &EventLog) -> Result<Option<Agent>> {
    let Some(nic) = &args.nic else {
        return Ok(None);
    };
    let wire = match args.listen.map(|listen| listen.ip()) {
        None => None,
        Some(IpAddr::V4(address)) => Some(address),
        Some(IpAddr::V6(address)) if address.is_unspecified() => None,
        Some(IpAddr::V6(_)) => {
            return Err(Exit::Usage(
                "the NIC answers IPv4: --listen takes an IPv4 address of its interface, 0.0.0.0 or [::]"
                    .into(),
            ));
        }
    };
    let agent = match nic {
        Nic::Xdp(device) => {
            let agent = lnic_xdp::Agent::open(device, wire, &config.trusted, events.clone());
            Agent::Xdp(agent.map_err(environment)?)
        }
        Nic::Bmv2(device) => {
            let agent = lnic_bmv2::Agent::open(device, wire, &config.trusted);
            Agent::Bmv2(agent.map_err(environment)?)
        }
        Nic::Nfp(device) => Agent::Nfp(open_card(*device, wire, args, config)?),
    };
    if args.listen.is_none() {
        config.wire = SocketAddr::new(agent.address().into(), lnic_wire::DEFAULT_PORT);
    }
    Ok(Some(agent))
}

/// A card's worker is where its first virtual function is.
fn open_card(
    device: card::Device,
    wire: Option<Ipv4Addr>,
    args: &Run,
    config: &Config,
) -> Result<card::Agent> {
    let Some(address) = wire.filter(|address| !address.is_unspecified()) else {
        return Err(Exit::Usage(
            "--nic nfp:CARD needs --listen ADDR:PORT, the address of the card's first virtual function"
                .into(),
        ));
    };
    let tools = card::Tools::find(device).map_err(environment)?;
    let function = card::VirtualFunction::open(address).map_err(environment)?;
    let port = args
        .listen
        .map_or(lnic_wire::DEFAULT_PORT, |listen| listen.port());
    let listen = function.listen(port);
    card::Agent::open(
        device,
        Arc::new(tools),
        Arc::new(function),
        listen,
        &config.trusted,
    )
    .map_err(environment)
}

impl Agent {
    /// The image for the worker behind the NIC, where that is another than the NIC's.
    pub fn behind(&self, image: &Image, services: &BTreeMap<String, String>) -> Result<Option<Image>> {
        match self {
            Self::Xdp(_) | Self::Bmv2(_) => Ok(None),
            Self::Nfp(agent) => {
                let behind = agent.behind(image, services);
                behind.map(Some).map_err(|error| Exit::Failed(error.to_string()))
            }
        }
    }

    fn address(&self) -> Ipv4Addr {
        match self {
            Self::Xdp(agent) => agent.address(),
            Self::Bmv2(agent) => agent.address(),
            Self::Nfp(agent) => agent.address(),
        }
    }

    /// Compiles and loads an image for the NIC; gives the engine that knows both sides.
    pub fn load(
        &mut self,
        image: &Image,
        host: &Arc<LoadedImage>,
        services: &BTreeMap<String, String>,
    ) -> Result<Arc<dyn Engine>> {
        match self {
            Self::Xdp(agent) => {
                let contents = lnic_xdp::Contents::compile(image, agent.address(), services)
                    .map_err(|error| Exit::Failed(settings::with_sources(&error)))?;
                agent.load(&contents, host).map_err(environment)
            }
            Self::Bmv2(agent) => agent.load(image, host, services).map_err(|error| match error {
                lnic_bmv2::Error::Image(_) => Exit::Failed(settings::with_sources(&error)),
                error => environment(error),
            }),
            Self::Nfp(agent) => agent.load(image, host, services).map_err(|error| match error {
                card::CardError::Image(_) => Exit::Failed(settings::with_sources(&error)),
                error => environment(error),
            }),
        }
    }

    /// Has the NIC answer from now on, with the worker behind.
    pub fn attach(&mut self, running: &Arc<Running>) -> Result {
        match self {
            Self::Xdp(agent) => agent.attach(running).map_err(environment),
            Self::Bmv2(agent) => agent.attach(running).map_err(environment),
            Self::Nfp(agent) => agent.attach(running).map_err(environment),
        }
    }

    /// Has the image that was loaded last take over.
    pub fn commit(&mut self) -> Result {
        match self {
            Self::Xdp(agent) => agent.commit().map_err(environment),
            Self::Bmv2(agent) => agent.commit().map_err(environment),
            Self::Nfp(agent) => agent.commit().map_err(environment),
        }
    }

    /// Forgets the image that was loaded last and shall not take over.
    pub fn discard(&mut self) {
        match self {
            Self::Xdp(agent) => agent.discard(),
            Self::Bmv2(agent) => agent.discard(),
            Self::Nfp(agent) => agent.discard(),
        }
    }

    /// Has the NIC answer no more.
    pub fn stop(self) {
        match self {
            Self::Xdp(agent) => agent.stop(),
            Self::Bmv2(agent) => agent.stop(),
            Self::Nfp(agent) => agent.stop(),
        }
    }
}

/// The machine's fault, with all causes.
fn environment(error: impl std::error::Error + 'static) -> Exit {
    Exit::Environment(settings::with_sources(&error))
}
