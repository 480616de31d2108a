//! `--nic`: an agent in front of the worker.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lambdac_driver::Image;
use lnic_host::{Config, Engine, EventLog, LoadedImage};
use lnic_xdp::{Agent, Contents, Error};

use super::settings;
use crate::args::Run;
use crate::exit::{Exit, Result};

/// The agent that `--nic` asks for; has the worker listen where the NIC answers.
pub fn open(args: &Run, config: &mut Config, events: &EventLog) -> Result<Option<Agent>> {
    let Some(device) = &args.nic else {
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
    let agent = Agent::open(device, wire, &config.trusted, events.clone()).map_err(exit)?;
    if args.listen.is_none() {
        config.wire = SocketAddr::new(agent.address().into(), lnic_wire::DEFAULT_PORT);
    }
    Ok(Some(agent))
}

/// Compiles and loads an image for the NIC; gives the engine that knows both sides.
pub fn load(
    agent: &mut Agent,
    image: &Image,
    host: &Arc<LoadedImage>,
    services: &BTreeMap<String, String>,
) -> Result<Arc<dyn Engine>> {
    let contents = Contents::compile(image, agent.address(), services)
        .map_err(|error| Exit::Failed(settings::with_sources(&error)))?;
    agent.load(&contents, host).map_err(exit)
}

/// The machine's fault, with all causes.
pub fn exit(error: Error) -> Exit {
    Exit::Environment(settings::with_sources(&error))
}
