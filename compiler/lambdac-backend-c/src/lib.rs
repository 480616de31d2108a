//! C from MIR: a whole image as one translation unit.
//!
//! [`print`] takes an [`Image`](lambdac_image::Image), naive or optimised, and gives C in the safe subset that a
//! compiler for network processors takes: C89 with declarations at the start of blocks, no recursion, no pointers to
//! functions, no arrays of varying size, no `goto`, shifts and divisions guarded, every integer kept within its width.
//! Comments say which source line a statement comes from. What differs between plain C and Micro-C is decided by a
//! [`Dialect`].
//!
//! The unit reaches what is not the lambdas' own (clock, dice, log, services, packet) through the functions and
//! variables of the dialect's header; [`HEADERS`] are the files that it includes.
//!
//! ```text
//! Image ── lower ──▶ ast::Unit ── print ──▶ text
//!            │ places, values, control, keyed objects, stage, plumbing
//!            └ layout: what memory looks like, for the unit and for who reads its state
//! ```

#![forbid(unsafe_code)]

pub mod ast;
mod dialect;
mod divide;
pub mod layout;
pub mod legal;
mod lower;
mod names;
mod needed;
mod print;
pub mod services;
pub mod stream;
mod unread;

use std::sync::Arc;

use lambdac_image::Image;
use lambdac_mir::{Loc, MemoryRegion};

pub use dialect::{Addressing, Dialect, Region, Scope, Space};

/// What a unit includes, by name.
pub const HEADERS: [(&str, &str); 7] = [
    ("lnic_c.h", include_str!("../include/lnic_c.h")),
    ("lnic_nfp.h", include_str!("../include/lnic_nfp.h")),
    ("lnic_plugin.h", include_str!("../include/lnic_plugin.h")),
    ("lnic_wait.h", include_str!("../include/lnic_wait.h")),
    ("lnic_ends.h", include_str!("../include/lnic_ends.h")),
    ("lnic_scalar.h", include_str!("../include/lnic_scalar.h")),
    ("lnic_keyed.h", include_str!("../include/lnic_keyed.h")),
];

/// How to print.
#[derive(Clone, Debug)]
pub struct Options {
    /// The kind of C.
    pub dialect: Dialect,
    /// The memory that each number of a placement means.
    pub memories: Vec<MemoryRegion>,
    /// Entries of an lru that a key may be in; a new one takes the place of the least recently used of them. All of them
    /// make it forget exactly the least recently used, at the price of looking at all.
    pub lru_window: u32,
    /// Bytes of its core's local memory that a thread's slots may take.
    pub local: u64,
    /// Whether lambdas can be entered past the stage, one by one, as tests do.
    pub direct: bool,
    /// What the unit includes at its end: what calls it and what it needs from there.
    pub ending: Option<String>,
    /// Whether statements bear their source lines.
    pub lines: bool,
}

impl Options {
    /// As a device gets it: no ways past the stage, with source lines.
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            memories: memories(),
            local: lambdac_target::builtin("nfp").map_or(0, |device| lambdac_cost::local_share(&device)),
            lru_window: layout::LRU_WINDOW,
            direct: false,
            ending: None,
            lines: true,
        }
    }
}

/// The memories of the built-in device that images are placed for, by name.
fn memories() -> Vec<MemoryRegion> {
    let device = lambdac_target::builtin("nfp");
    let named = |memory: &lambdac_target::Memory| match &*memory.name {
        "lmem" => MemoryRegion::Lmem,
        "cls" => MemoryRegion::Cls,
        "ctm" => MemoryRegion::Ctm,
        "imem" => MemoryRegion::Imem,
        _ => MemoryRegion::Emem,
    };
    device
        .iter()
        .flat_map(|device| &device.memory)
        .map(named)
        .collect()
}

/// C, and what stands where in its memory.
#[derive(Clone, Debug)]
pub struct Source {
    /// The unit.
    pub text: String,
    /// Objects and parameters in memory, in the order of their numbers for [`Symbol::index`].
    pub symbols: Vec<Symbol>,
    /// All memory that the unit defines outside functions.
    pub memory: Vec<Memory>,
    /// The most bytes that a waiting invocation keeps.
    pub saved_bytes: u64,
}

impl Source {
    /// The symbols of an object, by their numbers: its own, or that of each of its fields that code reaches. Their memory
    /// makes the object's ([`layout::assembled`]).
    pub fn pieces(&self, object: usize) -> Vec<(usize, Option<usize>)> {
        let symbols = self.symbols.iter().enumerate();
        let piece = |(number, symbol): (usize, &Symbol)| match symbol.kind {
            SymbolKind::Object(of) if of == object => Some((number, None)),
            SymbolKind::Field(of, field) if of == object => Some((number, Some(field))),
            _ => None,
        };
        symbols.filter_map(piece).collect()
    }
}

/// Something in memory that the outside may look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name in the image: the workload's, a dot, its own.
    pub item: Arc<str>,
    /// Its name in C.
    pub name: Arc<str>,
    /// Its bytes.
    pub size: u64,
    /// What it is.
    pub kind: SymbolKind,
}

/// Memory of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Its name in C.
    pub name: Arc<str>,
    /// Its bytes.
    pub size: u64,
    /// Where it lies.
    pub region: Region,
}

/// What a [`Symbol`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolKind {
    /// An object, by its place in the module.
    Object(usize),
    /// A field of an object whose fields lie apart, by the object's place in the module and its own in the structure.
    Field(usize, usize),
    /// A parameter, by its place in the module.
    Param(usize),
}

/// What can't be said in a dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The entry that it is about, or none for the whole image.
    pub entry: Option<usize>,
    /// The code of its page.
    pub code: &'static str,
    /// Why, as a clause.
    pub reason: String,
    /// Where.
    pub loc: Option<Loc>,
}

/// Prints an image.
///
/// # Errors
/// What the dialect can't say.
pub fn print(image: &Image, options: &Options) -> Result<Source, Vec<Refusal>> {
    let refused = legal::refusals(image, options.dialect);
    if !refused.is_empty() {
        return Err(refused);
    }
    let lowered = lower::image(image, options)?;
    let memory = lowered.unit.items.iter().filter_map(|item| match item {
        ast::Item::Data(data) => Some(Memory {
            name: (&*data.name).into(),
            size: data.size.into(),
            region: data.region,
        }),
        _ => None,
    });
    Ok(Source {
        memory: memory.collect(),
        text: print::unit(&lowered.unit, options.dialect),
        symbols: lowered.symbols,
        saved_bytes: lowered.saved_bytes,
    })
}
