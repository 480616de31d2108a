//! BTF: the types of maps, variables and functions, and which code comes from which source line.
//!
//! Two sections. `.BTF` holds strings and types (Linux Documentation/bpf/btf.rst); `.BTF.ext` says for each function of a
//! code section its type, and for instructions their file, line and the line's text, so that the kernel's verifier
//! itself names lines of the source in its log. Loaders read maps from `.BTF` too: a map is a variable of section
//! `.maps` whose type is a structure of pointers, each to an array whose length is a number (libbpf's `__uint`) or to the
//! type of keys or values (`__type`).
//!
//! Types come out in the order of first use, each once, so the same object gives the same bytes.

use std::collections::BTreeMap;

use crate::asm::{ParamType, SourceLine};
use crate::elf::Placed;
use crate::insn::Size;
use crate::object::{DataSection, Map, Object, SourceFile, Struct, Type};

/// `BTF_MAGIC` and `BTF_VERSION` of Linux include/uapi/linux/btf.h.
const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// Bytes of the two headers (`struct btf_header`, `struct btf_ext_header` with its part for relocations).
const HEADER_LEN: u32 = 24;
const EXT_HEADER_LEN: u32 = 32;
/// Bytes of a `struct bpf_func_info` and of a `struct bpf_line_info`.
const FUNC_INFO_LEN: u32 = 8;
const LINE_INFO_LEN: u32 = 16;
/// A line number lies above the ten bits of its column.
const LINE_SHIFT: u32 = 10;
/// File named for code that no source line stands behind.
const NO_FILE: &str = "lambdac";

/// `BTF_KIND_…`.
const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;

/// `BTF_INT_SIGNED`, in the word that describes an integer.
const SIGNED: u32 = 1 << 24;
/// `BTF_VAR_GLOBAL_ALLOCATED`.
const GLOBAL: u32 = 1;

/// Number of a type; 0 is `void`.
type Id = u32;

/// Whether a function is one of the programs, or only called by them (`enum btf_func_linkage`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linkage {
    /// Only called.
    Static = 0,
    /// A program.
    Global = 1,
}

/// The two sections.
pub(crate) struct Btf {
    /// `.BTF`.
    pub(crate) types: Vec<u8>,
    /// `.BTF.ext`.
    pub(crate) ext: Vec<u8>,
}

/// Functions of a code section.
pub(crate) struct CodeSection<'a> {
    pub(crate) name: &'static str,
    pub(crate) linkage: Linkage,
    pub(crate) functions: &'a [Placed<'a>],
}

/// Where a map's structure lies in `.maps`.
pub(crate) const MAP_BYTES: u32 = 5 * POINTER;
const POINTER: u32 = 8;

/// Describes an object whose code lies as given.
pub(crate) fn describe(object: &Object, code: &[CodeSection<'_>]) -> Btf {
    let mut builder = Builder::default();
    for section in &object.sections {
        builder.data_section(section);
    }
    if !object.maps.is_empty() {
        builder.maps(&object.maps);
    }
    let mut functions = InfoTable::new(FUNC_INFO_LEN);
    let mut lines = InfoTable::new(LINE_INFO_LEN);
    for section in code.iter().filter(|section| !section.functions.is_empty()) {
        let name = builder.string(section.name);
        let mut infos = Vec::new();
        let mut line_infos = Vec::new();
        for placed in section.functions {
            infos.push([placed.offset, builder.function(placed, section.linkage)]);
            builder.lines(placed, &object.files, &mut line_infos);
        }
        functions.section(name, &infos);
        lines.section(name, &line_infos);
    }
    Btf {
        types: builder.finish(),
        ext: ext(&functions, &lines),
    }
}

/// Types and strings as they grow.
struct Builder {
    strings: Vec<u8>,
    string_offsets: BTreeMap<String, u32>,
    types: Vec<u32>,
    ids: BTreeMap<Vec<u32>, Id>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            // The empty string stands at 0.
            strings: vec![0],
            string_offsets: BTreeMap::from([(String::new(), 0)]),
            types: Vec::new(),
            ids: BTreeMap::new(),
        }
    }
}

impl Builder {
    fn string(&mut self, text: &str) -> u32 {
        if let Some(at) = self.string_offsets.get(text) {
            return *at;
        }
        let at = length(&self.strings);
        self.strings.extend(text.bytes().filter(|byte| *byte != 0));
        self.strings.push(0);
        self.string_offsets.insert(text.to_owned(), at);
        at
    }

    /// A type as its words: name, kind and count, size or type, then what the kind has.
    fn add(&mut self, name: &str, kind: u32, count: usize, size_or_type: u32, rest: &[u32]) -> Id {
        let count = u32::try_from(count).expect("fewer than 2^16 members");
        let mut words = vec![self.string(name), kind << 24 | count, size_or_type];
        words.extend_from_slice(rest);
        if let Some(id) = self.ids.get(&words) {
            return *id;
        }
        self.types.extend_from_slice(&words);
        let id = u32::try_from(self.ids.len() + 1).expect("fewer than 2^32 types");
        self.ids.insert(words, id);
        id
    }

    fn int(&mut self) -> Id {
        self.add("int", INT, 0, 4, &[SIGNED | 32])
    }

    fn unsigned(&mut self, size: Size) -> Id {
        let name = match size {
            Size::B => "unsigned char",
            Size::H => "unsigned short",
            Size::W => "unsigned int",
            Size::D => "unsigned long long",
        };
        self.add(name, INT, 0, size.bytes(), &[size.bytes() * 8])
    }

    fn pointer(&mut self, to: Id) -> Id {
        self.add("", PTR, 0, to, &[])
    }

    fn array(&mut self, of: Id, count: u32) -> Id {
        let index = self.unsigned(Size::W);
        self.add("", ARRAY, 0, 0, &[of, index, count])
    }

    fn structure(&mut self, name: &str, size: u32, fields: &[(&str, u32, Id)]) -> Id {
        let mut members = Vec::with_capacity(fields.len() * 3);
        for (name, offset, ty) in fields {
            members.extend([self.string(name), *ty, offset * 8]);
        }
        self.add(name, STRUCT, fields.len(), size, &members)
    }

    fn ty(&mut self, ty: &Type) -> Id {
        match ty {
            Type::Int(size) => self.unsigned(*size),
            Type::Array(of, count) => {
                let of = self.ty(of);
                self.array(of, *count)
            }
            Type::Struct(Struct { name, size, fields }) => {
                let fields: Vec<(&str, u32, Id)> = fields
                    .iter()
                    .map(|field| (field.name.as_str(), field.offset, self.ty(&field.ty)))
                    .collect();
                self.structure(name, *size, &fields)
            }
        }
    }

    fn data_section(&mut self, section: &DataSection) {
        let variables: Vec<[u32; 3]> = section
            .variables
            .iter()
            .map(|variable| {
                let ty = self.ty(&variable.ty);
                let id = self.add(&variable.name, VAR, 0, ty, &[GLOBAL]);
                [id, variable.offset, variable.ty.size()]
            })
            .collect();
        let size = u32::try_from(section.bytes.len()).expect("checked by the writer");
        self.add(
            &section.name,
            DATASEC,
            variables.len(),
            size,
            variables.as_flattened(),
        );
    }

    fn maps(&mut self, maps: &[Map]) {
        let mut variables = Vec::with_capacity(maps.len());
        for (map, at) in maps.iter().zip(0..) {
            let ty = self.map(map);
            let id = self.add(&map.name, VAR, 0, ty, &[GLOBAL]);
            variables.push([id, at * MAP_BYTES, MAP_BYTES]);
        }
        let size = length(&variables) * MAP_BYTES;
        self.add(".maps", DATASEC, variables.len(), size, variables.as_flattened());
    }

    /// The structure that declares a map, as long as the one with most fields.
    fn map(&mut self, map: &Map) -> Id {
        let mut fields = vec![("type", self.number(map.kind.id()))];
        for (typed, sized, ty) in [("key", "key_size", &map.key), ("value", "value_size", &map.value)] {
            let Some(ty) = ty else { continue };
            if map.kind.is_typed() {
                let ty = self.ty(ty);
                fields.push((typed, self.pointer(ty)));
            } else {
                fields.push((sized, self.number(ty.size())));
            }
        }
        fields.push(("max_entries", self.number(map.max_entries)));
        if map.flags != 0 {
            fields.push(("map_flags", self.number(map.flags)));
        }
        let fields: Vec<(&str, u32, Id)> = fields
            .into_iter()
            .zip(0..)
            .map(|((name, ty), at)| (name, at * POINTER, ty))
            .collect();
        self.structure("", MAP_BYTES, &fields)
    }

    /// libbpf's `__uint`.
    fn number(&mut self, value: u32) -> Id {
        let int = self.int();
        let array = self.array(int, value);
        self.pointer(array)
    }

    fn context(&mut self) -> Id {
        let word = self.unsigned(Size::W);
        // Linux include/uapi/linux/bpf.h.
        let names = [
            "data",
            "data_end",
            "data_meta",
            "ingress_ifindex",
            "rx_queue_index",
            "egress_ifindex",
        ];
        let fields: Vec<(&str, u32, Id)> = names
            .into_iter()
            .zip(0..)
            .map(|(name, at)| (name, at * 4, word))
            .collect();
        let of = self.structure("xdp_md", length(&fields) * 4, &fields);
        self.pointer(of)
    }

    fn function(&mut self, placed: &Placed<'_>, linkage: Linkage) -> Id {
        let function = placed.function;
        let result = match linkage {
            Linkage::Global => self.int(),
            Linkage::Static => self.unsigned(Size::D),
        };
        let mut params = Vec::with_capacity(function.params().len() * 2);
        for param in function.params() {
            let ty = match param.ty {
                ParamType::Context => self.context(),
                ParamType::Pointer => self.pointer(0),
                ParamType::U32 => self.unsigned(Size::W),
                ParamType::U64 => self.unsigned(Size::D),
            };
            params.extend([self.string(&param.name), ty]);
        }
        let proto = self.add("", FUNC_PROTO, function.params().len(), result, &params);
        self.add(function.name(), FUNC, linkage as usize, proto, &[])
    }

    /// The kernel wants a mark at the first instruction of each function, whether or not a line is known there. Code that
    /// has no lines at all shows its remarks instead.
    fn lines(&mut self, placed: &Placed<'_>, files: &[SourceFile], out: &mut Vec<[u32; 4]>) {
        let first = placed.code.lines.first();
        if first.is_none_or(|(slot, _)| *slot != 0) {
            let mark = [
                placed.offset,
                self.string(NO_FILE),
                self.string(placed.function.name()),
                0,
            ];
            out.push(mark);
        }
        let marks = placed.code.lines.iter().map(|(slot, line)| (*slot, *line));
        for (slot, line) in marks {
            let mark = self.line(placed.offset + slot * SLOT, line, files);
            out.push(mark);
        }
        if first.is_none() {
            for (slot, text) in &placed.code.notes {
                let mark = [
                    placed.offset + slot * SLOT,
                    self.string(NO_FILE),
                    self.string(text),
                    0,
                ];
                if *slot == 0 || out.last().is_some_and(|last| last[0] == mark[0]) {
                    out.pop();
                }
                out.push(mark);
            }
        }
    }

    fn line(&mut self, offset: u32, line: SourceLine, files: &[SourceFile]) -> [u32; 4] {
        let file = files.get(line.file as usize);
        let name = file.map_or(NO_FILE, |file| file.name.as_str());
        let text = file.and_then(|file| file.line(line.line)).unwrap_or("");
        let number = line.line.min(u32::MAX >> LINE_SHIFT);
        [offset, self.string(name), self.string(text), number << LINE_SHIFT]
    }

    fn finish(self) -> Vec<u8> {
        let types = length(&self.types) * 4;
        let header = [HEADER_LEN, 0, types, types, length(&self.strings)];
        let mut out = start();
        out.extend(
            header
                .iter()
                .chain(&self.types)
                .flat_map(|word| word.to_le_bytes()),
        );
        out.extend_from_slice(&self.strings);
        out
    }
}

/// Bytes of an instruction slot.
const SLOT: u32 = 8;

/// A part of `.BTF.ext`: records of one size, by section.
struct InfoTable {
    words: Vec<u32>,
}

impl InfoTable {
    fn new(record: u32) -> InfoTable {
        InfoTable { words: vec![record] }
    }

    fn section<const N: usize>(&mut self, name: u32, records: &[[u32; N]]) {
        self.words.extend([name, length(records)]);
        self.words.extend_from_slice(records.as_flattened());
    }

    fn bytes(&self) -> u32 {
        length(&self.words) * 4
    }
}

fn ext(functions: &InfoTable, lines: &InfoTable) -> Vec<u8> {
    let end = functions.bytes() + lines.bytes();
    let header = [
        EXT_HEADER_LEN,
        0,
        functions.bytes(),
        functions.bytes(),
        lines.bytes(),
        // No relocations against the kernel's types.
        end,
        0,
    ];
    let mut out = start();
    let words = header.iter().chain(&functions.words).chain(&lines.words);
    out.extend(words.flat_map(|word| word.to_le_bytes()));
    out
}

fn start() -> Vec<u8> {
    let [low, high] = MAGIC.to_le_bytes();
    vec![low, high, VERSION, 0]
}

fn length<T>(of: &[T]) -> u32 {
    u32::try_from(of.len()).expect("an object is far below 4 GiB")
}
