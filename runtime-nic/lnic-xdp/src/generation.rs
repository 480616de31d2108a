//! One loaded image of a running worker: its programs, and the maps that it took over from the image before.
//!
//! Which state goes on is the host engine's decision, so that both sides agree: an object whose declaration is
//! unchanged is the same object there, and then its map is kept here. Constants and parameters are kept where they are
//! equal, so that unchanged code refers to the same descriptors, is byte for byte the same, and is not verified again.

use std::collections::BTreeMap;
use std::sync::Arc;

use lambdac_backend_ebpf::abi::{self, wait};
use lambdac_backend_ebpf::layout::{self, Storage};
use lnic_engine::{Image as HostImage, Workload};

use crate::contents::{Contents, Resident, is_table};
use crate::error::Result;
use crate::image::{Image, LoadOptions};
use crate::map::Map;
use crate::program::Program;
use crate::state;

/// A loaded image.
#[derive(Debug)]
pub struct Generation {
    image: Image,
    workloads: Vec<Resident>,
    /// By position, the program of each workload.
    programs: Vec<Arc<Program>>,
    host: Arc<[Arc<Workload>]>,
    ports: wait::Ports,
}

impl Generation {
    /// Loads an image beside the one that runs. Until [`Generation::activate`] no packet meets it.
    ///
    /// `host` is the same image on the host, loaded over the one of `previous`.
    ///
    /// # Errors
    /// What the kernel has against it.
    pub fn load(
        contents: &Contents,
        host: &HostImage,
        ports: wait::Ports,
        previous: Option<&Self>,
    ) -> Result<Self> {
        let host: Arc<[Arc<Workload>]> = host.workloads().into();
        let mut options = LoadOptions {
            previous: previous.map(|previous| &previous.image),
            ..LoadOptions::default()
        };
        for (resident, workload) in contents.workloads.iter().zip(host.iter()) {
            if let Some((name, bytes)) = params(resident, workload) {
                options.sections.insert(name, bytes);
            }
            if !resident.services.is_empty() {
                let bytes = resident.services.iter().flat_map(wait::Service::encode).collect();
                let name = wait::services_section(resident.name());
                options.sections.insert(name, bytes);
            }
        }
        if contents.waits {
            let bytes = ports.encode().to_vec();
            options.sections.insert(wait::PORTS.to_owned(), bytes);
        }
        if let Some(previous) = previous {
            options.keep = previous.kept_for(contents, &host, &options.sections)?;
        }
        let image = Image::load(&contents.elf, &options)?;
        let program = |resident: &Resident| image.program(&abi::workload_program(resident.name())).cloned();
        let programs = contents.workloads.iter().map(program).collect::<Result<_>>()?;
        let generation = Self {
            image,
            workloads: contents.workloads.clone(),
            programs,
            host,
            ports,
        };
        generation.fill(previous)?;
        let names: Vec<&str> = generation.workloads.iter().map(Resident::name).collect();
        crate::wait::fill(&generation.image, &names)?;
        Ok(generation)
    }

    /// Puts table entries and, into an array that is not the running one's, programs in their places.
    fn fill(&self, previous: Option<&Self>) -> Result<()> {
        let is_kept = |name: &str| {
            let old = previous.and_then(|previous| previous.image.maps().get(name));
            let new = self.image.maps().get(name);
            matches!((old, new), (Some(old), Some(new)) if Arc::ptr_eq(old, new))
        };
        for (position, resident) in self.workloads.iter().enumerate() {
            for object in resident.module.objects.iter().filter(|object| is_table(object)) {
                let (Storage::Map(name) | Storage::Section(name)) = layout::storage(resident.name(), object);
                if self.image.maps().contains_key(&name) && !is_kept(&name) {
                    self.set_table(position, &object.name)?;
                }
            }
        }
        if is_kept(abi::PROGRAMS) {
            return Ok(());
        }
        self.set_programs()
    }

    fn set_programs(&self) -> Result<()> {
        let array = self.image.map(abi::PROGRAMS)?;
        for (position, program) in (0..).zip(&self.programs) {
            array.set_program(position, program)?;
        }
        Ok(())
    }

    /// Lets packets meet this image's programs, where it shares its array of programs with the one that runs: each
    /// workload changes from one packet to the next. An image with an array of its own is met by replacing the
    /// dispatcher.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn activate(&self, previous: &Self) -> Result<()> {
        let array = self.image.map(abi::PROGRAMS)?;
        if !Arc::ptr_eq(array, previous.image.map(abi::PROGRAMS)?) {
            return Ok(());
        }
        for (position, program) in (0..).zip(&self.programs) {
            let old = previous.programs.get(position as usize);
            if !old.is_some_and(|old| Arc::ptr_eq(old, program)) {
                array.set_program(position, program)?;
            }
        }
        Ok(())
    }

    /// The maps that an image after this one goes on with.
    fn kept_for(
        &self,
        contents: &Contents,
        host: &[Arc<Workload>],
        sections: &BTreeMap<String, Vec<u8>>,
    ) -> Result<BTreeMap<String, Arc<Map>>> {
        let mut keep = self.image.maps().clone();
        // What waits goes on in the programs that it began in.
        for own in [wait::WAITS, wait::RESUMES] {
            keep.remove(own);
        }
        if !self.has_positions_of(contents) {
            for shared in [abi::PROGRAMS, abi::COUNTERS, abi::EVENTS] {
                keep.remove(shared);
            }
        }
        for (resident, old) in self.workloads.iter().zip(self.host.iter()) {
            let new = host.iter().find(|new| new.name() == old.name());
            // Equal constants are kept by the loader.
            keep.remove(&layout::consts_section(resident.name()));
            keep.remove(&wait::services_section(resident.name()));
            let params = layout::params_section(resident.name());
            if let (Some(held), Some(wanted)) = (keep.get(&params), sections.get(&params)) {
                let held = held.lookup(&0u32.to_ne_bytes())?.unwrap_or_default();
                if held != *wanted {
                    keep.remove(&params);
                }
            }
            for (object, state) in resident.module.objects.iter().zip(old.objects().list()) {
                let goes_on =
                    new.is_some_and(|new| new.objects().list().iter().any(|other| Arc::ptr_eq(other, state)));
                let (Storage::Map(name) | Storage::Section(name)) = layout::storage(resident.name(), object);
                if !goes_on {
                    keep.remove(&name);
                }
            }
        }
        Ok(keep)
    }

    /// Whether an image has the same workloads and lambdas in the same places: then counts, events and tail calls mean
    /// the same in both.
    fn has_positions_of(&self, contents: &Contents) -> bool {
        let same = |(a, b): (&Resident, &Resident)| {
            let lambdas = |w: &Resident| {
                w.module
                    .lambdas
                    .iter()
                    .map(|l| l.name.clone())
                    .collect::<Vec<_>>()
            };
            a.id == b.id && lambdas(a) == lambdas(b)
        };
        self.workloads.len() == contents.workloads.len()
            && self.workloads.iter().zip(&contents.workloads).all(same)
    }

    /// Whether a frame that a program sent goes to a service.
    pub(crate) fn asks(&self, frame: &[u8]) -> bool {
        crate::wait::is_from(frame, self.ports)
    }

    /// The workloads, by position.
    pub fn workloads(&self) -> &[Resident] {
        &self.workloads
    }

    /// Maps and programs.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The program that looks at every packet.
    ///
    /// # Errors
    /// If the object has none.
    pub fn dispatcher(&self) -> Result<&Arc<Program>> {
        self.image.program(abi::DISPATCH)
    }

    /// The program of a workload, by position.
    pub fn program(&self, position: usize) -> Option<&Arc<Program>> {
        self.programs.get(position)
    }

    /// Whether the NIC holds a state object: then it is in this image's maps.
    pub fn holds(&self, position: usize, object: &str) -> bool {
        let Some(resident) = self.workloads.get(position) else {
            return false;
        };
        let mut objects = resident.module.objects.iter();
        let Some(object) = objects.find(|item| *item.name == *object) else {
            return false;
        };
        let (Storage::Map(name) | Storage::Section(name)) = layout::storage(resident.name(), object);
        !is_table(object) && resident.places.on_nic(&object.name) && self.image.maps().contains_key(&name)
    }

    /// Makes a table hold here what it holds on the host, where the NIC has it.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn set_table(&self, position: usize, table: &str) -> Result<()> {
        let (Some(resident), Some(host)) = (self.workloads.get(position), self.host.get(position)) else {
            return Ok(());
        };
        let mut objects = resident.module.objects.iter();
        let (Some(object), Ok(rows)) = (objects.find(|item| *item.name == *table), host.table(table)) else {
            return Ok(());
        };
        let (Storage::Map(name) | Storage::Section(name)) = layout::storage(resident.name(), object);
        if !self.image.maps().contains_key(&name) {
            return Ok(());
        }
        state::set_table(&self.image, resident.name(), object, &rows.entries())
    }
}

/// Section and content of a workload's parameters, if it has any.
fn params(resident: &Resident, workload: &Workload) -> Option<(String, Vec<u8>)> {
    let params = &resident.module.params;
    if params.is_empty() {
        return None;
    }
    let (offsets, bytes) = layout::params(params);
    let mut section = vec![0; bytes as usize];
    for ((param, at), data) in params.iter().zip(offsets).zip(workload.params().values()) {
        let len = layout::value_bytes(&param.shape) as usize;
        layout::encode_value(&param.shape, data, &mut section[at as usize..][..len]);
    }
    Some((layout::params_section(resident.name()), section))
}
