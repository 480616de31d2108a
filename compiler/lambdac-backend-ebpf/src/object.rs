//! What an object file is made of, as data: programs, subprograms, maps, data sections, source files.
//!
//! The conventions are libbpf's. Programs lie in section `xdp`, subprograms in `.text`; maps are described by BTF in
//! `.maps`; each data section becomes an array map of one entry, which code addresses directly.

use crate::asm::Function;
use crate::insn::Size;

/// A type, for maps and variables: it gives their size and lets `bpftool map dump` print them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// An unsigned integer.
    Int(Size),
    /// So many of one type.
    Array(Box<Type>, u32),
    /// A structure.
    Struct(Struct),
}

impl Type {
    /// `u8`.
    pub const U8: Type = Type::Int(Size::B);
    /// `u16`.
    pub const U16: Type = Type::Int(Size::H);
    /// `u32`.
    pub const U32: Type = Type::Int(Size::W);
    /// `u64`.
    pub const U64: Type = Type::Int(Size::D);

    /// So many of this type.
    pub fn array(self, count: u32) -> Type {
        Type::Array(Box::new(self), count)
    }

    /// So many bytes.
    pub fn bytes(count: u32) -> Type {
        Type::U8.array(count)
    }

    /// Size in bytes.
    pub fn size(&self) -> u32 {
        match self {
            Type::Int(size) => size.bytes(),
            Type::Array(of, count) => of.size().saturating_mul(*count),
            Type::Struct(of) => of.size,
        }
    }
}

/// A structure with explicit offsets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Struct {
    /// Name; a C identifier. Structures of one name are the same.
    pub name: String,
    /// Size in bytes.
    pub size: u32,
    /// Fields by rising offset.
    pub fields: Vec<Field>,
}

/// A field of a structure.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// Name; a C identifier.
    pub name: String,
    /// Offset in bytes.
    pub offset: u32,
    /// Type.
    pub ty: Type,
}

impl Field {
    /// A field.
    pub fn new(name: &str, offset: u32, ty: Type) -> Field {
        Field {
            name: name.to_owned(),
            offset,
            ty,
        }
    }
}

/// Kind of a map, by its number in Linux include/uapi/linux/bpf.h (`enum bpf_map_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum MapKind {
    /// Hash table.
    Hash = 1,
    /// Array; keys are indexes of 32 bits.
    Array = 2,
    /// Programs to tail-call.
    ProgArray = 3,
    /// Array with a value per processor.
    PercpuArray = 6,
    /// Hash table that forgets what was used least recently.
    LruHash = 9,
    /// Longest prefix match.
    LpmTrie = 11,
    /// Ring buffer towards user space; `max_entries` is its size in bytes.
    Ringbuf = 27,
}

impl MapKind {
    /// Every kind.
    pub const ALL: &[MapKind] = &[
        MapKind::Hash,
        MapKind::Array,
        MapKind::ProgArray,
        MapKind::PercpuArray,
        MapKind::LruHash,
        MapKind::LpmTrie,
        MapKind::Ringbuf,
    ];

    /// Its number in the kernel's interface.
    pub fn id(self) -> u32 {
        self as u32
    }

    /// Its name, as bpftool prints it.
    pub fn name(self) -> &'static str {
        match self {
            MapKind::Hash => "hash",
            MapKind::Array => "array",
            MapKind::ProgArray => "prog_array",
            MapKind::PercpuArray => "percpu_array",
            MapKind::LruHash => "lru_hash",
            MapKind::LpmTrie => "lpm_trie",
            MapKind::Ringbuf => "ringbuf",
        }
    }

    /// Whether the kernel takes BTF types of its key and value; it refuses them for maps of programs.
    pub fn is_typed(self) -> bool {
        !matches!(self, MapKind::ProgArray | MapKind::Ringbuf)
    }
}

/// `BPF_F_NO_PREALLOC`: elements are allocated when needed; an LPM trie demands it.
pub const NO_PREALLOC: u32 = 1;
/// `BPF_F_MMAPABLE`: user space may map an array into its memory.
pub const MMAPABLE: u32 = 1 << 10;

/// A map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Name; a C identifier. The kernel shows its first 15 characters.
    pub name: String,
    /// Kind.
    pub kind: MapKind,
    /// Type of keys; `None` for a ring buffer.
    pub key: Option<Type>,
    /// Type of values; `None` for a ring buffer.
    pub value: Option<Type>,
    /// Entries, or bytes of a ring buffer.
    pub max_entries: u32,
    /// `BPF_F_…` flags.
    pub flags: u32,
}

/// A variable in a data section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Name; a C identifier that no other variable of the object has.
    pub name: String,
    /// Offset in the section.
    pub offset: u32,
    /// Type.
    pub ty: Type,
}

/// A data section: a global array map of one entry, whose name is the section's.
///
/// A `.rodata.` section is frozen at load, and the verifier takes its content for constants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSection {
    /// `.data.NAME` or `.rodata.NAME`.
    pub name: String,
    /// Content at load; not empty.
    pub bytes: Vec<u8>,
    /// What lies where, by rising offset and without overlap; at least one.
    pub variables: Vec<Variable>,
}

impl DataSection {
    /// Whether programs can't write it.
    pub fn is_read_only(&self) -> bool {
        self.name.starts_with(".rodata")
    }
}

/// A source file, for debug information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Name as it should be shown.
    pub name: String,
    /// Content, where it is known.
    pub text: Option<String>,
}

impl SourceFile {
    /// The text of a line (from 1) without surrounding blanks, where it is known.
    pub fn line(&self, line: u32) -> Option<&str> {
        let index = usize::try_from(line.checked_sub(1)?).ok()?;
        self.text.as_deref()?.lines().nth(index).map(str::trim)
    }
}

/// An object: all that one file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Source files, for [`crate::asm::SourceLine::file`].
    pub files: Vec<SourceFile>,
    /// Maps.
    pub maps: Vec<Map>,
    /// Data sections.
    pub sections: Vec<DataSection>,
    /// Programs of section `xdp`, in this order.
    pub programs: Vec<Function>,
    /// Subprograms of section `.text`, in this order. The loader gives each program only those that it calls.
    pub functions: Vec<Function>,
}
