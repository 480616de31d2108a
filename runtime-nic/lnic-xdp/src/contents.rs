//! What an image for the NIC consists of: an object, and what is to be known of its workloads beside their code.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, ToSocketAddrs, UdpSocket};
use std::sync::Arc;

use lambdac_backend_ebpf::abi::wait;
use lambdac_driver::nic::Places;
use lambdac_driver::{Image, xdp};
use lambdac_mir::{Module, Service};

/// A workload of an image. Its place in [`Contents::workloads`] is its position in the object.
#[derive(Clone, Debug)]
pub struct Resident {
    /// Its id on the wire.
    pub id: u32,
    /// Its MIR.
    pub module: Arc<Module>,
    /// Who runs and holds what.
    pub places: Places,
    /// Where its services are, if lambdas of the NIC wait for any.
    pub services: Vec<wait::Service>,
}

impl Resident {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.module.name
    }
}

pub(crate) fn is_table(object: &lambdac_mir::Object) -> bool {
    matches!(object.kind, lambdac_mir::ObjectKind::Table { .. })
}

/// An image for the NIC.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The object file.
    pub elf: Vec<u8>,
    /// By position.
    pub workloads: Vec<Resident>,
    /// Whether lambdas of the NIC wait for services.
    pub waits: bool,
}

impl Contents {
    /// Compiles a linked image for the NIC at `own`. `overrides` are addresses by `WORKLOAD.SERVICE`, instead of the
    /// source's.
    ///
    /// # Errors
    /// If the code generator refuses what the legaliser let through.
    pub fn compile(
        image: &Image,
        own: Ipv4Addr,
        overrides: &BTreeMap<String, String>,
    ) -> Result<Self, xdp::Error> {
        let resident = |linked: &lambdac_driver::Linked| {
            let (checked, module) = (&linked.compiled.checked, &linked.compiled.module);
            let address = |service: &Service| {
                let given = overrides.get(&format!("{}.{}", module.name, service.name));
                let address = resolve(given.map_or(&*service.address, String::as_str))?;
                leaves_from(own, address).map(|()| address)
            };
            let services = module.services.iter().map(|service| wait::Service {
                address: address(service).ok(),
                hop: None,
                timeout: service.timeout,
            });
            Resident {
                id: linked.id,
                module: module.clone(),
                places: Places::with_services(checked, module, &|service| address(service).err()),
                services: services.collect(),
            }
        };
        let mut workloads: Vec<Resident> = image.workloads.iter().map(resident).collect();
        let places: Vec<Places> = workloads.iter().map(|resident| resident.places.clone()).collect();
        let object = xdp::image_of(image, &places)?;
        let has = |name: &str| object.sections.iter().any(|section| section.name == name);
        for resident in &mut workloads {
            if !has(&wait::services_section(resident.name())) {
                resident.services.clear();
            }
        }
        Ok(Self {
            elf: xdp::elf(&object)?,
            workloads,
            waits: has(wait::PORTS),
        })
    }
}

/// The address that a text means, if packets from the NIC get there; else why not. What they leave by is the wire, so
/// this machine's own addresses are out of their reach.
fn resolve(text: &str) -> Result<SocketAddrV4, String> {
    let found = text.to_socket_addrs().map(|mut found| found.next());
    let Ok(Some(SocketAddr::V4(address))) = found else {
        return Err(format!("has no IPv4 address ({text})"));
    };
    // Only own addresses can be bound.
    let is_own = address.ip().is_unspecified() || UdpSocket::bind((*address.ip(), 0)).is_ok();
    match is_own {
        true => Err(format!("is on this host ({text}), where the NIC can't reach it")),
        false => Ok(address),
    }
}

/// Whether packets to a service leave by the interface that the NIC answers at: its programs send by no other.
fn leaves_from(own: Ipv4Addr, service: SocketAddrV4) -> Result<(), String> {
    // Connecting sends nothing; the kernel looks for a route and takes the address of its interface.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
    let local = socket.and_then(|socket| socket.connect(service).and_then(|()| socket.local_addr()));
    match local {
        Ok(local) if local.ip() == own => Ok(()),
        Ok(_) => Err(format!("is reached by another interface ({service})")),
        Err(error) => Err(format!("cannot be reached ({service}: {error})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_that_packets_leave_from_decides() {
        let loopback = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 11211);
        assert_eq!(leaves_from(Ipv4Addr::LOCALHOST, loopback), Ok(()));
        let other = leaves_from(Ipv4Addr::new(192, 0, 2, 1), loopback).unwrap_err();
        assert_eq!(other, "is reached by another interface (127.0.0.1:11211)");
    }

    #[test]
    fn own_addresses_are_out_of_reach() {
        assert!(resolve("127.0.0.1:11211").is_err());
        assert!(resolve("0.0.0.0:11211").is_err());
        assert!(resolve("[::1]:11211").is_err());
        // Of TEST-NET-1 (RFC 5737): nobody's.
        let far = "192.0.2.77:11211";
        assert_eq!(resolve(far), Ok(far.parse().unwrap()));
    }
}
