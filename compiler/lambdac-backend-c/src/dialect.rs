//! What differs between plain C and Micro-C.
//!
//! Memory is the difference. Plain C has one kind, of bytes. A Netronome core has several, each with its own pointers
//! and commands (`facts` 2.1 and 2.2 in the project's notes on the NFP), so there every address belongs to a [`Space`],
//! and a function that takes memory by reference is emitted once for each combination of spaces that it is called with.
//!
//! In all spaces memory is laid out by [`crate::layout`]. What reads and writes it are macros and functions of the
//! dialect's header, named by space and width.

use lambdac_mir::MemoryRegion;

use crate::ast::{Access, Type};

/// A kind of C.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// For gcc and clang: `lnic_c.h`. Memory is bytes, scalars in it little-endian; regions are empty macros.
    Host,
    /// For the Netronome compiler: `lnic_nfp.h`. Memory is 32-bit words, big-endian.
    MicroC,
}

/// How memory is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// Plain memory.
    Flat,
    /// A core's local memory: words without commands.
    Local,
    /// The memory units: CTM, IMEM and EMEM.
    Unit,
    /// An island's cluster scratch.
    Cluster,
    /// The request in its packet buffers, by offset alone.
    Packet,
}

/// How an address of a [`Space`] is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// A pointer to a byte.
    Bytes,
    /// A pointer to words, and an offset in bytes.
    Words,
    /// An offset in bytes.
    Offset,
}

impl Space {
    /// How its addresses are passed.
    pub fn addressing(self) -> Addressing {
        match self {
            Self::Flat | Self::Unit => Addressing::Bytes,
            Self::Local | Self::Cluster => Addressing::Words,
            Self::Packet => Addressing::Offset,
        }
    }

    /// Its part of the names of what reaches it.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Flat => "",
            Self::Local => "lm_",
            Self::Unit => "mem_",
            Self::Cluster => "cls_",
            Self::Packet => "pkt_",
        }
    }
}

/// Who has its own copy of some memory, and who writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// A function's own.
    Function,
    /// Each thread's own.
    Thread,
    /// All threads', and seen from outside.
    Shared,
    /// All threads', and never written.
    Constant,
}

/// Where memory lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region {
    /// The kind of memory.
    pub memory: MemoryRegion,
    /// Whose it is.
    pub scope: Scope,
}

/// Bytes of a slot from which plain C keeps it off the stack.
const STACK_SLOT: u64 = 4096;

impl Dialect {
    /// What includes the header.
    pub fn header(self) -> &'static str {
        match self {
            Self::Host => "lnic_c.h",
            Self::MicroC => "lnic_nfp.h",
        }
    }

    /// How memory of a region is reached.
    pub fn space(self, region: Region) -> Space {
        match (self, region.memory) {
            (Self::Host, _) => Space::Flat,
            (Self::MicroC, MemoryRegion::Lmem) => Space::Local,
            (Self::MicroC, MemoryRegion::Cls) => Space::Cluster,
            (Self::MicroC, MemoryRegion::Ctm | MemoryRegion::Imem | MemoryRegion::Emem) => Space::Unit,
        }
    }

    /// How the request is reached.
    pub fn request_space(self) -> Space {
        match self {
            Self::Host => Space::Flat,
            Self::MicroC => Space::Packet,
        }
    }

    /// How the reply and saved continuations are reached.
    pub fn runtime_space(self) -> Space {
        match self {
            Self::Host => Space::Flat,
            Self::MicroC => Space::Unit,
        }
    }

    /// Where a slot of a size lies, which has room in local memory or none; none where it lies in its thread's frames.
    pub fn slot(self, size: u64, local: bool) -> Option<Region> {
        let scope = match self {
            Self::Host if size > STACK_SLOT => Scope::Thread,
            Self::Host => Scope::Function,
            Self::MicroC if local => Scope::Function,
            Self::MicroC => return None,
        };
        Some(Region {
            memory: MemoryRegion::Lmem,
            scope,
        })
    }

    /// A pointer type.
    pub fn pointer(self, space: Space, access: Access) -> &'static str {
        match (self, space, access) {
            (Self::Host, _, Access::Read) => "const uint8_t *",
            (Self::Host, _, Access::Write) => "uint8_t *",
            (Self::MicroC, Space::Local, _) => "__lmem uint32_t *",
            (Self::MicroC, Space::Cluster, _) => "__cls uint32_t *",
            (Self::MicroC, _, _) => "__mem40 uint8_t *",
        }
    }

    /// The type of an address's first part where it is passed to a function.
    pub fn address_type(space: Space, access: Access) -> Type {
        match space.addressing() {
            Addressing::Offset => Type::U32,
            Addressing::Bytes | Addressing::Words => Type::Pointer(space, access),
        }
    }

    /// The words in front of a definition of memory.
    pub fn region_words(self, region: Region) -> &'static str {
        match self {
            Self::Host => host_words(region),
            Self::MicroC => micro_c_words(region),
        }
    }

    /// Where an object lies that a placement or its author put into a memory: what lambdas or the control plane change
    /// has one copy for all, and the code of keyed objects reaches memory units alone.
    pub fn object(self, memory: MemoryRegion, written: bool) -> MemoryRegion {
        match (self, memory) {
            (Self::MicroC, MemoryRegion::Lmem | MemoryRegion::Cls | MemoryRegion::Ctm) if !written => {
                MemoryRegion::Imem
            }
            (_, memory) => memory,
        }
    }

    /// Whether log lines are written; a Netronome core has nobody to tell.
    pub fn logs(self) -> bool {
        self == Self::Host
    }

    /// Whether memory is written down in words rather than bytes.
    pub fn has_words(self) -> bool {
        self == Self::MicroC
    }
}

fn host_words(region: Region) -> &'static str {
    match (region.scope, region.memory) {
        (Scope::Function, _) => "",
        (Scope::Thread, _) => "static ",
        (Scope::Constant, MemoryRegion::Lmem) => "static const LNIC_LMEM ",
        (Scope::Constant, MemoryRegion::Cls) => "static const LNIC_CLS ",
        (Scope::Constant, MemoryRegion::Ctm) => "static const LNIC_CTM ",
        (Scope::Constant, MemoryRegion::Imem) => "static const LNIC_IMEM ",
        (Scope::Constant, MemoryRegion::Emem) => "static const LNIC_EMEM ",
        (Scope::Shared, MemoryRegion::Lmem) => "LNIC_LMEM ",
        (Scope::Shared, MemoryRegion::Cls) => "LNIC_CLS ",
        (Scope::Shared, MemoryRegion::Ctm) => "LNIC_CTM ",
        (Scope::Shared, MemoryRegion::Imem) => "LNIC_IMEM ",
        (Scope::Shared, MemoryRegion::Emem) => "LNIC_EMEM ",
    }
}

/// State is exported and global; what is only read may lie once in each island.
fn micro_c_words(region: Region) -> &'static str {
    match (region.scope, region.memory) {
        (Scope::Function, _) => "__lmem ",
        (Scope::Thread, MemoryRegion::Lmem) => "static __lmem ",
        (Scope::Thread, MemoryRegion::Cls) => "static __cls ",
        (Scope::Thread, MemoryRegion::Ctm) => "static __ctm ",
        (Scope::Thread, MemoryRegion::Imem) => "static __imem ",
        (Scope::Thread, MemoryRegion::Emem) => "static __emem ",
        (Scope::Shared | Scope::Constant, MemoryRegion::Lmem) => "__shared __lmem ",
        (Scope::Shared | Scope::Constant, MemoryRegion::Cls) => "__export __cls ",
        (Scope::Shared | Scope::Constant, MemoryRegion::Ctm) => "__export __ctm ",
        (Scope::Shared | Scope::Constant, MemoryRegion::Imem) => "__export __imem ",
        (Scope::Shared | Scope::Constant, MemoryRegion::Emem) => "__export __emem ",
    }
}
