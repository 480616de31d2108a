//! The image for Linux' XDP hook: which workloads and lambdas go to the NIC, and the object that holds them.

use std::collections::BTreeSet;

use lambdac_backend_ebpf::insn::{Imm64, Insn};
use lambdac_backend_ebpf::object::Object;
use lambdac_backend_ebpf::{Options, Workload, abi, compile, elf::ElfError};

use crate::Image;
use crate::image::Linked;
use crate::nic::Places;

/// The name of the target.
pub const NAME: &str = "xdp";

/// Why there is no object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The code generator refused.
    #[error(transparent)]
    Code(#[from] lambdac_backend_ebpf::Error),
    /// The object can't be written.
    #[error(transparent)]
    Elf(#[from] ElfError),
}

/// The object of an image. A workload's position in it is its position in the image.
///
/// # Errors
/// If the code generator refuses a workload that the legaliser let through.
pub fn image(image: &Image) -> Result<Object, Error> {
    let places = image.workloads.iter().map(|linked| {
        let compiled = &linked.compiled;
        Places::of(&compiled.checked, &compiled.module)
    });
    image_of(image, &places.collect::<Vec<_>>())
}

/// The object of an image whose workloads' lambdas are where `places` says.
///
/// # Errors
/// As [`image`].
pub fn image_of(image: &Image, places: &[Places]) -> Result<Object, Error> {
    let workloads = image.workloads.iter().zip(places);
    let workloads: Vec<_> = workloads
        .map(|(linked, places)| Workload {
            id: linked.id,
            module: &linked.compiled.module,
            native: places.native(),
        })
        .collect();
    let mut object = compile(&workloads, &Options::default())?;
    name_lines(&mut object, &image.workloads);
    drop_unused(&mut object);
    Ok(object)
}

/// The bytes of an object.
///
/// # Errors
/// If it can't be written: a bug, or an object beyond what the file format holds.
pub fn elf(object: &Object) -> Result<Vec<u8>, Error> {
    Ok(object.to_elf()?)
}

/// Puts the text of its files into an object, so that assembly and the verifier's log quote them.
fn name_lines(object: &mut Object, workloads: &[Linked]) {
    // An object's files are those of its workloads one after the other.
    let modules = workloads.iter().flat_map(|linked| {
        let files = linked.compiled.module.files.iter();
        files.map(move |_| &linked.compiled.sources)
    });
    for (file, sources) in object.files.iter_mut().zip(modules) {
        let found = sources.iter().find(|(name, _)| **name == *file.name);
        file.text = found.map(|(_, text)| text.to_string());
    }
}

/// Drops what no program refers to: the state that the host holds.
fn drop_unused(object: &mut Object) {
    let functions = object.programs.iter().chain(&object.functions);
    let values = functions
        .flat_map(|function| function.insns())
        .filter_map(|insn| match insn {
            Insn::LdImm64 { value, .. } => Some(value),
            _ => None,
        });
    let used: BTreeSet<String> = values
        .filter_map(|value| match value {
            Imm64::Map(name) => Some(name.clone()),
            Imm64::Data { section, .. } => Some(section.clone()),
            Imm64::Const(_) | Imm64::Func(_) => None,
        })
        .collect();
    // The agent fills and reads these whether or not a program does.
    let shared = [
        abi::CONFIG,
        abi::TRUSTED,
        abi::PROGRAMS,
        abi::COUNTERS,
        abi::EVENTS,
        abi::SCRATCH,
    ];
    let keep = |name: &str| shared.contains(&name) || used.contains(name);
    object.maps.retain(|map| keep(&map.name));
    object.sections.retain(|section| keep(&section.name));
}
