//! What a description holds.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A device that lambdas can run on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its name, kebab-case.
    pub name: String,
    /// What makes code for it.
    pub family: Family,
    /// A sentence about it.
    pub summary: String,
    /// What its cores run.
    #[serde(default)]
    pub programs: Programs,
    /// Its cores.
    pub core: Core,
    /// Where code lies; none where code is not scarce.
    pub store: Option<Store>,
    /// What it can't do.
    pub limits: Limits,
    /// What a packet costs besides its lambda.
    pub packet: Packet,
    /// Its memories, nearest first; one of them at least is of the whole device.
    pub memory: Vec<Memory>,
    /// What operations cost; none where nobody counts.
    pub ops: Option<Ops>,
    /// What the parts of an image around the lambdas cost.
    pub items: Option<Items>,
    /// What of a kernel programs use; none where there is no kernel.
    pub kernel: Option<Kernel>,
}

/// What programs use of a kernel: names in its own words, and the release that first had each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Helper functions.
    pub helpers: BTreeMap<String, Release>,
    /// Kinds of maps.
    pub maps: BTreeMap<String, Release>,
}

/// A release, such as `5.18`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Release {
    /// Number before the point.
    pub major: u16,
    /// Number after it.
    pub minor: u16,
}

impl TryFrom<String> for Release {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let numbers = text.split_once('.').and_then(|(major, minor)| {
            Some(Self {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
            })
        });
        numbers.ok_or_else(|| format!("`{text}` is no release: two numbers with a point between are"))
    }
}

impl From<Release> for String {
    fn from(release: Release) -> Self {
        release.to_string()
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The emitter that serves a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Cranelift.
    Host,
    /// eBPF.
    Xdp,
    /// P4_16 for the reference switch.
    Bmv2,
    /// P4 and Micro-C.
    Nfp,
}

/// What a core runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Programs {
    /// One program for all workloads: an image.
    #[default]
    One,
    /// A program of its own for each workload. Passes over images decline.
    Each,
}

/// The cores of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Core {
    /// Cores that run lambdas, all the same image.
    pub cores: u32,
    /// Hardware threads of each.
    pub threads: u32,
    /// Cycles a second.
    pub clock_hz: u64,
}

/// The code store of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// Instruction words that it holds.
    pub words: u64,
    /// Words that cores hold which pool their stores.
    pub pooled_words: Option<u64>,
    /// Cores that are left when stores are pooled.
    pub pooled_cores: Option<u32>,
    /// Words that are taken before the first lambda.
    pub base_words: u64,
}

/// What a device can't do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Largest request and reply in bytes; a stream's chunk.
    pub payload: u32,
    /// The longest worst case of a lambda, in cycles; none: any.
    pub max_cycles: Option<u64>,
    /// Bytes of stack of a call chain.
    pub stack: Option<u32>,
    /// Trips up to which loops stay loops in the code.
    pub inline_trips: Option<u64>,
    /// The largest ternary table.
    pub ternary_entries: Option<u32>,
    /// The largest value of memory that each core has its own of, in bytes.
    pub per_cpu_value: Option<u32>,
    /// Whether code reaches objects by addresses that it is given, and services by numbers, so that workloads can share code
    /// over objects and services of their own.
    #[serde(default)]
    pub object_addresses: bool,
}

/// What a packet costs besides its lambda.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packet {
    /// Cycles of the device's own code for each packet.
    pub cycles: u64,
    /// The memory that packets lie in, by its name; none where reading one waits for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
}

/// A memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Its name, as `@memory` says it where the language can.
    pub name: String,
    /// Bytes of it that lambdas may have.
    pub bytes: u64,
    /// Cycles of a read.
    pub latency: u64,
    /// Bytes of the smallest access.
    pub word: u32,
    /// Who sees one copy.
    pub shared: Sharing,
}

/// Who sees one copy of a memory. State that lambdas change lies only in memory of the whole device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// The threads of a core.
    Core,
    /// The cores of an island.
    Island,
    /// Everyone.
    Device,
}

/// What an operation costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Instruction words.
    pub words: u64,
    /// Cycles, without waiting for memory; none: as many as words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycles: Option<u64>,
    /// Words that an image has once if it has the operation at all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub once: u64,
}

impl Cost {
    /// Its cycles.
    pub fn cycles(&self) -> u64 {
        self.cycles.unwrap_or(self.words)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's calling shape
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// What operations cost. Names end in the width of the operands in bits; what has none works on a word of 32.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the names say it; the NFP's description explains each
pub struct Ops {
    pub load_const16: Cost,
    pub load_const32: Cost,
    pub load_const64: Cost,
    pub alu32: Cost,
    pub alu64: Cost,
    pub shift32_const: Cost,
    pub shift32_var: Cost,
    pub asr32_const: Cost,
    pub asr32_var: Cost,
    pub shift64_const: Cost,
    pub asr64_const: Cost,
    pub shift64_var: Cost,
    pub mul16: Cost,
    pub mul32: Cost,
    pub mul64: Cost,
    pub div32_pow2: Cost,
    pub div32_const: Cost,
    pub div32_const_wide: Cost,
    pub div32_const_large: Cost,
    pub rem32_const: Cost,
    pub div32_var: Cost,
    pub div64_var: Cost,
    pub byte_swap16: Cost,
    pub byte_swap32: Cost,
    pub byte_swap64: Cost,
    pub branch32: Cost,
    pub branch64: Cost,
    pub branch_bit: Cost,
    pub jump: Cost,
    pub bool: Cost,
    pub call: Cost,
    pub lmem_word: Cost,
    pub lmem_pointer: Cost,
    pub field: Cost,
    pub address: Cost,
    pub command: Cost,
    pub move_word: Cost,
    pub run_time_length: Cost,
    pub atomic: Cost,
    pub atomic_fetch: Cost,
    pub lock: Cost,
    pub crc_seed: Cost,
    pub crc_word: Cost,
    pub random: Cost,
    pub clock: Cost,
}

/// Words of the parts of an image around the lambdas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Items {
    /// A header that is parsed and deparsed.
    pub header: u64,
    /// Each word of it.
    pub header_word: u64,
    /// A branch of the control flow.
    pub branch_node: u64,
    /// A table without a key.
    pub keyless_table: u64,
    /// A table with a key.
    pub keyed_table: u64,
    /// Each word of the key.
    pub key_word: u64,
    /// An action.
    pub action: u64,
    /// Each word that it assigns.
    pub assigned_word: u64,
    /// A call of the plugin.
    pub plugin_call: u64,
}

impl Device {
    /// The memory of a name.
    pub fn memory(&self, name: &str) -> Option<&Memory> {
        self.memory.iter().find(|memory| memory.name == name)
    }

    /// The memory that packets lie in.
    pub fn packet_memory(&self) -> Option<&Memory> {
        self.memory(self.packet.memory.as_deref()?)
    }

    /// Nanoseconds of a number of cycles, rounded up.
    pub fn nanoseconds(&self, cycles: u64) -> u64 {
        let ns = u128::from(cycles) * 1_000_000_000;
        ns.div_ceil(u128::from(self.core.clock_hz))
            .try_into()
            .unwrap_or(u64::MAX)
    }
}
