//! What an image for a switch consists of: a program, its description, and what is to be known of its workloads.
//!
//! The entries of its tables follow from the image and from what the tables hold: the image is lowered anew with the
//! contents of now, which gives the same program and other entries. So does where state lies, when somebody asks.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lambdac_backend_p4::ast::Program;
use lambdac_backend_p4::{self as p4, Listen, Options, Output, Reach, ServicePlace, p4info};
use lambdac_driver::nic::Places;
use lambdac_driver::{Image, bmv2};
use lambdac_mir::{Module, ObjectId, ObjectKind, Service, ServiceId};
use lnic_engine::Table;
use lnic_host::LoadedImage;
use p4runtime_proto::config::P4Info;
use p4runtime_proto::text;
use p4runtime_proto::v1::{Update, WriteRequest};

use crate::error::{Error, Result};
use crate::session::Mac;
use crate::tools;

/// Next hop and the switch's port on the way to an address.
pub type Hops = BTreeMap<Ipv4Addr, (Mac, u16)>;

/// Finds a service; else says why the switch can't reach it, as a clause that can follow "which".
pub type Find<'a> = dyn Fn(&Module, &Service) -> std::result::Result<SocketAddrV4, String> + 'a;

/// A workload of an image.
#[derive(Clone, Debug)]
pub struct Resident {
    /// Its id on the wire.
    pub id: u32,
    /// Its MIR.
    pub module: Arc<Module>,
    /// Who runs and holds what.
    pub places: Places,
}

impl Resident {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.module.name
    }
}

/// An image for a switch.
pub struct Contents {
    /// What p4c made of the program, for the switch.
    pub json: Vec<u8>,
    /// The program's description.
    pub info: P4Info,
    /// A number for both.
    pub cookie: u64,
    /// In the order of the image.
    pub workloads: Vec<Resident>,
    /// Services that the program asks.
    pub asked: Vec<Asked>,
    image: lambdac_image::Image,
    options: Options,
    program: Program,
}

/// A service that a program asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    id: ServiceId,
    /// Where it is.
    pub address: SocketAddrV4,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// Services by their number in an image.
fn asked(image: &lambdac_image::Image, output: &Output, addresses: &[Option<SocketAddrV4>]) -> Vec<Asked> {
    let asked = output.asked.iter().filter_map(|id| {
        Some(Asked {
            id: *id,
            address: addresses.get(id.index()).copied().flatten()?,
            timeout: Duration::from_nanos(image.module.services[id.index()].timeout),
        })
    });
    asked.collect()
}

impl Contents {
    /// Compiles a linked image, which `host` holds too. p4c works in a folder of its own. `reach` finds services, or says
    /// why the switch can't reach one.
    ///
    /// # Errors
    /// If p4c is not here, or there is no program.
    pub fn compile(image: &Image, host: &LoadedImage, reach: &Find<'_>) -> Result<Self> {
        let p4c = tools::p4c().map_err(Error::Missing)?;
        let mut contents = Self::lower(image, host, reach)?;
        let folder = tempfile::TempDir::new().map_err(|source| Error::System {
            what: "make a folder for p4c",
            source,
        })?;
        contents.translate(&p4c, folder.path())?;
        Ok(contents)
    }

    /// The program, which p4c has not seen.
    ///
    /// # Errors
    /// If there is none.
    pub fn lower(image: &Image, host: &LoadedImage, find: &Find<'_>) -> Result<Self> {
        // By which way is told to the switch when it runs.
        let known = |module: &Module, service: &Service| -> Reach {
            find(module, service).map(|_| ServicePlace::default())
        };
        let placed = bmv2::place(image, &known)?;
        let modules = image.workloads.iter().map(|linked| &linked.compiled.module);
        let addresses = modules.flat_map(|module| {
            let services = module.services.iter();
            services.map(|service| find(module, service).ok())
        });
        let addresses: Vec<Option<SocketAddrV4>> = addresses.collect();
        let workloads = image.workloads.iter().zip(placed.places);
        let workloads = workloads.map(|(linked, places)| Resident {
            id: linked.id,
            module: linked.compiled.module.clone(),
            places,
        });
        let workloads = workloads.collect();
        let whole = placed.image;
        let options = Options {
            params: params(&whole, host),
            services: placed.services,
            ..Options::default()
        };
        let output = p4::program(&whole, &options).map_err(bmv2::Error::from)?;
        Ok(Self {
            asked: asked(&whole, &output, &addresses),
            json: Vec::new(),
            info: text::parse(&p4info::p4info(&output.program))?,
            cookie: 0,
            workloads,
            image: whole,
            options,
            program: output.program,
        })
    }

    fn translate(&mut self, p4c: &Path, folder: &Path) -> Result<()> {
        let program = p4::print::print(&self.program);
        let json = tools::compile(p4c, &program, folder)?;
        let json = std::fs::read(json).map_err(|source| Error::System {
            what: "read what p4c wrote",
            source,
        })?;
        self.set_program(json);
        Ok(())
    }

    /// Sets what the switch runs. The cookie follows from the program and its description: what p4c makes of them names
    /// the folder that it was made in.
    pub fn set_program(&mut self, json: Vec<u8>) {
        let mut hasher = DefaultHasher::new();
        (p4::print::print(&self.program), text::print(&self.info)).hash(&mut hasher);
        // 0 is no cookie.
        self.cookie = hasher.finish().max(1);
        self.json = json;
    }

    /// The entries that the control plane adds, as inserts: where the switch is, whom it trusts, and what the tables of
    /// `host` hold now. `hops` lead to services.
    ///
    /// # Errors
    /// A bug: if they would need another program.
    pub fn entries(
        &self,
        host: &LoadedImage,
        listen: &Listen,
        trusted: &[(u32, u32)],
        hops: &Hops,
    ) -> Result<Vec<Update>> {
        let mut image = self.image.clone();
        for object in &mut image.module.objects {
            let Some((workload, name)) = object.name.split_once('.') else {
                continue;
            };
            let workload = host.image().find(workload);
            let rows = workload.and_then(|workload| workload.table(name).ok().map(Table::entries));
            if let (ObjectKind::Table { entries, .. }, Some(rows)) = (&mut object.kind, rows) {
                *entries = rows;
            }
        }
        let output = p4::program(&image, &self.options).map_err(bmv2::Error::from)?;
        if output.program != self.program {
            return Err(Error::Entries);
        }
        let mut entries = p4::places(listen, trusted);
        let lookups = output.entries.into_iter();
        entries.extend(lookups.filter(|(table, _)| *table != p4::TRUSTED));
        entries.extend(p4::services_entry(&output.asked, &|id| self.place(id, hops)));
        let text = p4info::entries(&output.program, &entries);
        Ok(text::parse::<WriteRequest>(&text)?.updates)
    }

    /// Where a service is, as far as it is known.
    fn place(&self, id: ServiceId, hops: &Hops) -> ServicePlace {
        let asked = self.asked.iter().find(|asked| asked.id == id);
        let known = asked.and_then(|asked| Some((asked.address, *hops.get(asked.address.ip())?)));
        known.map_or_else(ServicePlace::default, |(address, (mac, egress))| ServicePlace {
            mac,
            address: address.ip().to_bits(),
            port: address.port(),
            egress,
        })
    }

    /// Where the program's state lies.
    ///
    /// # Errors
    /// A bug: if there is no program after all.
    pub fn state(&self) -> Result<p4::State> {
        let output = p4::program(&self.image, &self.options).map_err(bmv2::Error::from)?;
        Ok(output.state)
    }

    /// The object of a workload in the program.
    pub fn object(&self, workload: &str, name: &str) -> Option<ObjectId> {
        let whole = format!("{workload}.{name}");
        let mut objects = self.image.module.objects.iter();
        let found = objects.position(|object| *object.name == whole)?;
        Some(ObjectId(found as u32))
    }

    /// The workload of an id, by position.
    pub fn by_id(&self, id: u32) -> Option<usize> {
        self.workloads.iter().position(|resident| resident.id == id)
    }

    /// Name of a lambda that the program names by its number, with its workload's position.
    pub fn lambda(&self, number: u16) -> Option<(usize, &str)> {
        let mut entries = self.image.entries.iter();
        let entry = entries.find(|entry| entry.lambda.index() == usize::from(number))?;
        Some((entry.workload, &entry.name))
    }

    /// The number of a counter in the description.
    pub fn counter(&self, name: &str) -> Option<u32> {
        let counters = self.info.counters.iter();
        let mut preambles = counters.filter_map(|counter| counter.preamble.as_ref());
        let found = preambles.find(|preamble| preamble.alias == name);
        found.map(|preamble| preamble.id)
    }
}

/// Values of an image's parameters, as the host has them.
fn params(image: &lambdac_image::Image, host: &LoadedImage) -> Vec<Option<lambdac_mir::Data>> {
    let value = |param: &lambdac_mir::Param| {
        let (workload, name) = param.name.split_once('.')?;
        let workload = host.image().find(workload)?;
        let mut own = workload.module().params.iter();
        let at = own.position(|own| *own.name == *name)?;
        workload.params().values().get(at).cloned()
    };
    image.module.params.iter().map(value).collect()
}
