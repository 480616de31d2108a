//! From an object to maps and programs.
//!
//! The order is libbpf's: type information, maps (made, or kept from an older image), what data sections hold, the
//! maps' descriptors and the distances of calls into the code, programs. A program whose linked code equals one that is
//! loaded already is not verified again but shared: kept maps have the same descriptors, so a new image in which one
//! workload changed costs the verification of that one.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use aya_obj::btf::BtfFeatures;
use aya_obj::generated::bpf_cmd;
use lambdac_backend_ebpf::abi;

use crate::error::{Error, Result};
use crate::map::{Map, MapDef, MapKind, MapTypes};
use crate::probe;
use crate::program::{Program, Source};
use crate::sys;
use crate::verifier::{LineTable, btf_strings};

/// Sections that start so are constants.
const CONSTANTS: &str = ".rodata";
/// Fewest bytes of an invocation's memory that are made.
const LEAST_SCRATCH: u32 = 8 << 10;
/// Room for the kernel's log about type information.
const BTF_LOG_BYTES: usize = 64 << 10;

/// How to load an object.
#[derive(Default)]
pub struct LoadOptions<'a> {
    /// What data sections hold at first instead of what the object says: bytes by the section's name. Fewer bytes than
    /// the section has replace its start. What the object doesn't have, because no program refers to it, is left out.
    pub sections: BTreeMap<String, Vec<u8>>,
    /// Maps to use instead of new ones, where their declaration is the same. What they hold stays.
    pub keep: BTreeMap<String, Arc<Map>>,
    /// Programs to share where their code comes out the same.
    pub previous: Option<&'a Image>,
    /// Whether constants stay writable for [`Map::update`]. Else they are frozen, and the verifier reads them.
    pub open_constants: bool,
}

impl LoadOptions<'_> {
    /// The constants of the image before, if these are the same.
    fn equal_constants(&self, name: &str, initial: &[u8]) -> Option<&Arc<Map>> {
        let previous = self
            .previous
            .filter(|_| !self.open_constants && name.starts_with(CONSTANTS))?;
        let same = previous.initial.get(name).is_some_and(|old| old == initial);
        previous.maps.get(name).filter(|_| same)
    }
}

/// Maps and programs of one object in the kernel.
#[derive(Debug, Default)]
pub struct Image {
    maps: BTreeMap<String, Arc<Map>>,
    programs: BTreeMap<String, Arc<Program>>,
    /// What data sections held at first.
    initial: BTreeMap<String, Vec<u8>>,
}

impl Image {
    /// Loads an object.
    ///
    /// # Errors
    /// What the machine lacks, a bad object, or what the kernel has against it.
    pub fn load(elf: &[u8], options: &LoadOptions<'_>) -> Result<Self> {
        probe::check()?;
        let mut object = aya_obj::Object::parse(elf)?;
        let btf = load_btf(&mut object)?;
        let mut image = Self::default();
        image.make_maps(&object, btf.as_ref(), options)?;
        link(&mut object, &image.maps)?;
        image.load_programs(&object, btf.as_ref(), options)?;
        Ok(image)
    }

    fn make_maps(
        &mut self,
        object: &aya_obj::Object,
        btf: Option<&OwnedFd>,
        options: &LoadOptions<'_>,
    ) -> Result<()> {
        let declared: BTreeMap<&String, &aya_obj::Map> = object.maps.iter().collect();
        for (name, declared) in declared {
            let mut def = Map::definition(name, declared)?;
            let is_scratch = name == abi::SCRATCH;
            if is_scratch {
                def = scratch(def)?;
            }
            let initial = initial_data(name, declared, options)?;
            let kept = options
                .keep
                .get(name)
                .or_else(|| options.equal_constants(name, &initial));
            let kept = kept.filter(|kept| kept.def() == def);
            let map = match kept {
                Some(kept) => kept.clone(),
                None => {
                    let types = btf
                        .filter(|_| !is_scratch)
                        .and_then(|btf| map_types(declared, def.kind, btf));
                    let map = Map::create(name, def, declared.map_type(), types.as_ref())?;
                    if map.is_section() {
                        map.update(&0u32.to_ne_bytes(), &initial)?;
                    }
                    if name.starts_with(CONSTANTS) && !options.open_constants {
                        map.freeze()?;
                    }
                    Arc::new(map)
                }
            };
            if map.is_section() {
                self.initial.insert(name.clone(), initial);
            }
            self.maps.insert(name.clone(), map);
        }
        Ok(())
    }

    fn load_programs(
        &mut self,
        object: &aya_obj::Object,
        btf: Option<&OwnedFd>,
        options: &LoadOptions<'_>,
    ) -> Result<()> {
        let strings = object.btf.as_ref().map(btf_strings).unwrap_or_default();
        let programs: BTreeMap<&String, &aya_obj::Program> = object.programs.iter().collect();
        for (name, program) in programs {
            let Some(function) = object.functions.get(&program.function_key()) else {
                return Err(Error::Absent {
                    what: "program",
                    name: name.clone(),
                });
            };
            let lines = LineTable::new(function, &strings);
            let source = Source {
                name,
                license: &object.license,
                function,
                btf: btf.map(AsFd::as_fd),
                lines: &lines,
            };
            let old = options.previous.and_then(|image| image.programs.get(name));
            let program = match old.filter(|old| old.code() == source.code()) {
                Some(same) => same.clone(),
                None => Arc::new(Program::load(&source)?),
            };
            self.programs.insert(name.clone(), program);
        }
        Ok(())
    }

    /// A map or data section.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn map(&self, name: &str) -> Result<&Arc<Map>> {
        self.maps.get(name).ok_or_else(|| Error::Absent {
            what: "map",
            name: name.to_owned(),
        })
    }

    /// All maps, by name.
    pub fn maps(&self) -> &BTreeMap<String, Arc<Map>> {
        &self.maps
    }

    /// A program.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn program(&self, name: &str) -> Result<&Arc<Program>> {
        self.programs.get(name).ok_or_else(|| Error::Absent {
            what: "program",
            name: name.to_owned(),
        })
    }

    /// All programs, by name.
    pub fn programs(&self) -> &BTreeMap<String, Arc<Program>> {
        &self.programs
    }

    /// Replaces what a data section holds.
    ///
    /// # Errors
    /// If there is none of this name, its size is another, or it is frozen.
    pub fn set_section(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.map(name)?.update(&0u32.to_ne_bytes(), bytes)
    }

    /// What a data section holds now.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn section(&self, name: &str) -> Result<Vec<u8>> {
        let value = self.map(name)?.lookup(&0u32.to_ne_bytes())?;
        value.ok_or_else(|| Error::Absent {
            what: "section",
            name: name.to_owned(),
        })
    }

    /// Makes maps and writable sections hold again what they held at first, which for maps is nothing. Programs in
    /// arrays stay, and so does what invocations leave behind and never read.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn reset(&self) -> Result<()> {
        for (name, map) in &self.maps {
            match self.initial.get(name) {
                Some(_) if name.starts_with(CONSTANTS) => {}
                Some(initial) => map.update(&0u32.to_ne_bytes(), initial)?,
                None if matches!(name.as_str(), abi::SCRATCH | abi::wait::WAITS) => {}
                None if map.def().kind == MapKind::ProgArray => {}
                None => map.clear()?,
            }
        }
        Ok(())
    }
}

/// The kernel's idea of the object's types. Everything that this crate needs of it is older than the helpers that
/// [`probe`] asks for.
fn load_btf(object: &mut aya_obj::Object) -> Result<Option<OwnedFd>> {
    let all = BtfFeatures::new(true, true, true, true, true, true, true, true);
    let Some(btf) = object.fixup_and_sanitize_btf(&all)? else {
        return Ok(None);
    };
    let bytes = btf.to_bytes();
    let mut log = vec![0; BTF_LOG_BYTES];
    let mut attr = sys::attr();
    // SAFETY: writing plain integers of a union whose bytes are all initialised.
    let load = unsafe { &mut attr.__bindgen_anon_7 };
    load.btf = sys::address(&bytes);
    load.btf_size = bytes.len() as u32;
    load.btf_log_buf = sys::address_mut(&mut log);
    load.btf_log_size = log.len() as u32;
    // Level 4 tells of errors only.
    load.btf_log_level = 4;
    // SAFETY: both buffers have the lengths that are given.
    let loaded = unsafe { sys::bpf_fd(bpf_cmd::BPF_BTF_LOAD, &mut attr) };
    let loaded = loaded.map_err(|source| {
        let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
        Error::BtfRefused {
            log: String::from_utf8_lossy(&log[..end]).trim().to_owned(),
            source,
        }
    })?;
    Ok(Some(loaded))
}

/// The memory of invocations as it is made: of few sizes, so that an image which needs a little more still fits the map
/// of the one before, and unchanged programs stay the same.
fn scratch(mut def: MapDef) -> Result<MapDef> {
    let at_least = def.value_size.max(LEAST_SCRATCH);
    def.value_size = at_least.checked_next_power_of_two().unwrap_or(def.value_size);
    if def.kind == MapKind::Array {
        let cpus = sys::possible_cpus().map_err(|source| Error::System {
            what: "cannot count the CPUs",
            source,
        })?;
        // An entry for each CPU; the object was made for no machine in particular.
        def.max_entries = cpus as u32;
    }
    Ok(def)
}

fn map_types<'a>(declared: &aya_obj::Map, kind: MapKind, btf: &'a OwnedFd) -> Option<MapTypes<'a>> {
    let aya_obj::Map::Btf(map) = declared else {
        return None;
    };
    // The kernel takes no types for the other kinds.
    let typed = !matches!(kind, MapKind::ProgArray | MapKind::DevMap | MapKind::RingBuf);
    let (key, value) = (map.def.btf_key_type_id, map.def.btf_value_type_id);
    (typed && key != 0 && value != 0).then(|| MapTypes {
        btf: btf.as_fd(),
        key,
        value,
    })
}

/// What a data section holds at first.
fn initial_data(name: &str, declared: &aya_obj::Map, options: &LoadOptions<'_>) -> Result<Vec<u8>> {
    let mut data = declared.data().to_vec();
    if let Some(given) = options.sections.get(name) {
        let size = data.len();
        let place = data.get_mut(..given.len()).ok_or_else(|| Error::Size {
            map: name.to_owned(),
            part: "value",
            expected: size,
            given: given.len(),
        })?;
        place.copy_from_slice(given);
    }
    Ok(data)
}

fn link(object: &mut aya_obj::Object, maps: &BTreeMap<String, Arc<Map>>) -> Result<()> {
    let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    let declared = std::mem::take(&mut object.maps);
    let references = maps.iter().filter_map(|(name, map)| {
        let declared = declared.get(name)?;
        Some((name.as_str(), map.as_fd().as_raw_fd(), declared))
    });
    object.relocate_maps(references, &text)?;
    object.relocate_calls(&text)?;
    Ok(())
}
