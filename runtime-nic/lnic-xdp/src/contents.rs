//! What an image for the NIC consists of: an object, and what is to be known of its workloads beside their code.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use lambdac_backend_ebpf::abi::wait;
use lambdac_driver::nic::Places;
use lambdac_driver::{Image, xdp};
use lambdac_mir::{Module, Service};
use lnic_host::route;

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
                route::reached(own, given.map_or(&*service.address, String::as_str))
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
