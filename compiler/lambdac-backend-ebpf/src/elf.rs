//! The object as an ELF file, by libbpf's conventions: what `bpftool`, `ip` and our own loader read.
//!
//! | section | content |
//! | --- | --- |
//! | `xdp` | programs, each a global function; the first is what `ip link set … xdp` takes |
//! | `.text` | subprograms, each a local function |
//! | `.data.…`, `.rodata.…` | data; one map each |
//! | `.maps` | a place for each map, as a handle for relocations; BTF declares it |
//! | `license` | see [`LICENSE`] |
//! | `.BTF`, `.BTF.ext` | types and source lines |
//!
//! Relocations have no addend field: what is added stands in the instruction. They go against sections, with the
//! place in the instruction, except for maps.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use object::elf::{R_BPF_64_32, R_BPF_64_64};
use object::write::{self, Relocation, RelocationFlags, SectionId, Symbol, SymbolId, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

use crate::asm::{AsmError, Code, Function, Target};
use crate::btf::{self, CodeSection, Linkage};
use crate::object::{DataSection, Object};

/// Licence of the programs. `bpf_fib_lookup` and some others are for programs under a licence compatible with the GPL.
pub const LICENSE: &str = "Dual BSD/GPL";

/// Section of programs and section of subprograms.
const PROGRAMS: &str = "xdp";
const SUBPROGRAMS: &str = ".text";
/// Bytes of an instruction slot.
const SLOT: u32 = 8;
/// Where in a slot its immediate stands.
const IMMEDIATE: usize = 4;
/// Most bytes of a data section: what the verifier lets an address reach into (`BPF_MAX_VAR_OFF`).
const MAX_DATA: usize = 1 << 29;

/// Why an object can't be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// A function can't be encoded.
    #[error(transparent)]
    Asm(#[from] AsmError),
    /// A function refers to something that the object does not have.
    #[error("function {function} refers to {what} {name}, which the object does not have")]
    Absent {
        /// The function.
        function: String,
        /// "map", "section" or "subprogram".
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Two things have one name.
    #[error("the name {0} is given twice")]
    Twice(String),
    /// A data section that no map can hold: empty, too large, or with variables outside it or overlapping.
    #[error("section {0} does not hold its variables, or is empty or too large")]
    BadSection(String),
    /// A type with more members than BTF can count.
    #[error("{0} has more members than debug information can describe")]
    TooManyMembers(String),
    /// The file can't be laid out.
    #[error("can't write the object: {0}")]
    Layout(String),
}

/// A function and where its code lies in its section.
pub(crate) struct Placed<'a> {
    pub(crate) function: &'a Function,
    pub(crate) code: Code,
    /// In bytes.
    pub(crate) offset: u32,
}

impl Object {
    /// The object as an ELF file. The same object gives the same bytes.
    ///
    /// # Errors
    ///
    /// What [`ElfError`] lists: bugs of whoever made the object, or code or data beyond the machine's limits.
    pub fn to_elf(&self) -> Result<Vec<u8>, ElfError> {
        self.check()?;
        let programs = place(&self.programs)?;
        let functions = place(&self.functions)?;
        let code = [
            CodeSection {
                name: PROGRAMS,
                linkage: Linkage::Global,
                functions: &programs,
            },
            CodeSection {
                name: SUBPROGRAMS,
                linkage: Linkage::Static,
                functions: &functions,
            },
        ];
        let described = btf::describe(self, &code);
        let mut writer = Writer::new(&functions);
        writer.data(&self.sections);
        writer.maps(self);
        for section in &code {
            writer.code(section)?;
        }
        writer.plain(
            "license",
            SectionKind::Data,
            format!("{LICENSE}\0").into_bytes(),
            1,
        );
        writer.plain(".BTF", SectionKind::Other, described.types, 4);
        writer.plain(".BTF.ext", SectionKind::Other, described.ext, 4);
        writer
            .file
            .write()
            .map_err(|error| ElfError::Layout(error.to_string()))
    }

    fn check(&self) -> Result<(), ElfError> {
        let mut names = BTreeSet::new();
        let functions = self.programs.iter().chain(&self.functions);
        let all = functions
            .map(Function::name)
            .chain(self.maps.iter().map(|map| map.name.as_str()))
            .chain(self.sections.iter().map(|section| section.name.as_str()))
            .chain(
                self.sections
                    .iter()
                    .flat_map(|section| section.variables.iter().map(|variable| variable.name.as_str())),
            );
        for name in all {
            if !names.insert(name) {
                return Err(ElfError::Twice(name.to_owned()));
            }
        }
        self.sections.iter().try_for_each(check_section)
    }
}

/// Most members of a structure or section in BTF: its count has 16 bits.
const MAX_MEMBERS: usize = u16::MAX as usize;

fn check_section(section: &DataSection) -> Result<(), ElfError> {
    if section.variables.len() > MAX_MEMBERS {
        return Err(ElfError::TooManyMembers(section.name.clone()));
    }
    let mut end = 0;
    let mut fits = !section.variables.is_empty() && section.bytes.len() <= MAX_DATA;
    for variable in &section.variables {
        let start = u64::from(variable.offset);
        fits &= start >= end && variable.ty.size() > 0;
        end = start + u64::from(variable.ty.size());
    }
    fits &= end <= section.bytes.len() as u64;
    fits.then_some(())
        .ok_or_else(|| ElfError::BadSection(section.name.clone()))
}

/// Lays functions out one after the other.
fn place(functions: &[Function]) -> Result<Vec<Placed<'_>>, ElfError> {
    let mut offset = 0u32;
    let mut placed = Vec::with_capacity(functions.len());
    for function in functions {
        let code = function.resolve()?;
        let bytes = u32::try_from(code.slots.len())
            .ok()
            .and_then(|n| n.checked_mul(SLOT));
        let end = bytes.and_then(|bytes| offset.checked_add(bytes));
        placed.push(Placed {
            function,
            code,
            offset,
        });
        offset = end.ok_or_else(|| AsmError::TooLong {
            function: function.name().to_owned(),
        })?;
    }
    Ok(placed)
}

struct Writer<'a> {
    file: write::Object<'static>,
    /// Where each subprogram starts in `.text`, in bytes.
    subprograms: BTreeMap<&'a str, u32>,
    /// `.text`, where there is any.
    text: Option<SectionId>,
    /// Symbols of data sections and of maps.
    symbols: BTreeMap<String, SymbolId>,
}

impl<'a> Writer<'a> {
    fn new(functions: &[Placed<'a>]) -> Writer<'a> {
        let mut file = write::Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        let text = (!functions.is_empty()).then(|| {
            let name = SUBPROGRAMS.as_bytes().to_vec();
            file.add_section(Vec::new(), name, SectionKind::Text)
        });
        let starts = functions
            .iter()
            .map(|placed| (placed.function.name(), placed.offset));
        Writer {
            file,
            subprograms: starts.collect(),
            text,
            symbols: BTreeMap::new(),
        }
    }

    fn plain(&mut self, name: &str, kind: SectionKind, bytes: Vec<u8>, align: u64) -> SectionId {
        let id = self.file.add_section(Vec::new(), name.as_bytes().to_vec(), kind);
        self.file.set_section_data(id, bytes, align);
        id
    }

    fn symbol(
        &mut self,
        section: SectionId,
        name: &str,
        kind: SymbolKind,
        place: Range<u64>,
        scope: SymbolScope,
    ) -> SymbolId {
        self.file.add_symbol(Symbol {
            name: name.as_bytes().to_vec(),
            value: place.start,
            size: place.end - place.start,
            kind,
            scope,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        })
    }

    /// A global symbol for a piece of data.
    fn data_symbol(&mut self, section: SectionId, name: &str, offset: u32, size: u32) -> SymbolId {
        let start = u64::from(offset);
        let place = start..start + u64::from(size);
        self.symbol(section, name, SymbolKind::Data, place, SymbolScope::Dynamic)
    }

    fn data(&mut self, sections: &[DataSection]) {
        for section in sections {
            let kind = if section.is_read_only() {
                SectionKind::ReadOnlyData
            } else {
                SectionKind::Data
            };
            let id = self.plain(&section.name, kind, section.bytes.clone(), 8);
            let symbol = self.file.section_symbol(id);
            self.symbols.insert(section.name.clone(), symbol);
            for variable in &section.variables {
                self.data_symbol(id, &variable.name, variable.offset, variable.ty.size());
            }
        }
    }

    fn maps(&mut self, object: &Object) {
        if object.maps.is_empty() {
            return;
        }
        let bytes = vec![0; object.maps.len() * btf::MAP_BYTES as usize];
        let id = self.plain(".maps", SectionKind::Data, bytes, 8);
        for (map, at) in object.maps.iter().zip(0..) {
            let symbol = self.data_symbol(id, &map.name, at * btf::MAP_BYTES, btf::MAP_BYTES);
            self.symbols.insert(map.name.clone(), symbol);
        }
    }

    fn code(&mut self, section: &CodeSection<'_>) -> Result<(), ElfError> {
        if section.functions.is_empty() {
            return Ok(());
        }
        let (id, scope) = match (section.linkage, self.text) {
            (Linkage::Static, Some(text)) => (text, SymbolScope::Compilation),
            _ => {
                let name = section.name.as_bytes().to_vec();
                let id = self.file.add_section(Vec::new(), name, SectionKind::Text);
                (id, SymbolScope::Dynamic)
            }
        };
        let mut bytes = Vec::new();
        for placed in section.functions {
            let start = bytes.len() as u64;
            for slot in &placed.code.slots {
                bytes.extend(slot.bytes());
            }
            let place = start..bytes.len() as u64;
            self.symbol(id, placed.function.name(), SymbolKind::Text, place, scope);
        }
        let relocations = self.relocations(section, &mut bytes)?;
        self.file.set_section_data(id, bytes, 8);
        for relocation in relocations {
            self.file
                .add_relocation(id, relocation)
                .map_err(|error| ElfError::Layout(error.to_string()))?;
        }
        Ok(())
    }

    /// The relocations of a section, whose immediates go into the code.
    fn relocations(
        &mut self,
        section: &CodeSection<'_>,
        bytes: &mut [u8],
    ) -> Result<Vec<Relocation>, ElfError> {
        let mut relocations = Vec::new();
        for placed in section.functions {
            for relocation in &placed.code.relocations {
                let (symbol, r_type, imm) = self.target(placed.function, &relocation.target)?;
                let offset = placed.offset + relocation.slot * SLOT;
                let at = offset as usize + IMMEDIATE;
                bytes[at..at + 4].copy_from_slice(&imm.to_le_bytes());
                relocations.push(Relocation {
                    offset: u64::from(offset),
                    symbol,
                    addend: 0,
                    flags: RelocationFlags::Elf { r_type },
                });
            }
        }
        Ok(relocations)
    }

    /// Symbol, type and immediate of a reference.
    fn target(&mut self, function: &Function, target: &Target) -> Result<(SymbolId, u32, i32), ElfError> {
        let absent = |what, name: &str| ElfError::Absent {
            function: function.name().to_owned(),
            what,
            name: name.to_owned(),
        };
        let symbol = |what, name: &str| self.symbols.get(name).copied().ok_or_else(|| absent(what, name));
        match target {
            Target::Map(name) => Ok((symbol("map", name)?, R_BPF_64_64, 0)),
            Target::Data { section, offset } => {
                Ok((symbol("section", section)?, R_BPF_64_64, offset.cast_signed()))
            }
            Target::Func(name) => {
                let (symbol, start) = self.subprogram(name).ok_or_else(|| absent("subprogram", name))?;
                Ok((symbol, R_BPF_64_64, start.cast_signed()))
            }
            Target::Call(name) => {
                let (symbol, start) = self.subprogram(name).ok_or_else(|| absent("subprogram", name))?;
                // A call counts slots from the one after it.
                Ok((symbol, R_BPF_64_32, (start / SLOT).cast_signed() - 1))
            }
        }
    }

    /// The symbol of `.text`, and where in it a subprogram starts.
    fn subprogram(&mut self, name: &str) -> Option<(SymbolId, u32)> {
        let start = *self.subprograms.get(name)?;
        Some((self.file.section_symbol(self.text?), start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asm::Assembler;
    use crate::insn::Reg;
    use crate::object::{Type, Variable};

    fn with(emit: impl FnOnce(&mut Assembler)) -> Object {
        let mut asm = Assembler::program("f");
        emit(&mut asm);
        asm.ret(2);
        Object {
            programs: vec![asm.finish().unwrap()],
            ..Object::default()
        }
    }

    #[test]
    fn a_reference_to_nothing_is_an_error() {
        let cases = [
            (with(|asm| asm.load_map(Reg::R1, "m")), "map m"),
            (
                with(|asm| asm.load_data(Reg::R1, ".data.x", 0)),
                "section .data.x",
            ),
            (with(|asm| asm.call_func("g")), "subprogram g"),
        ];
        for (object, what) in cases {
            let message = object.to_elf().unwrap_err().to_string();
            assert_eq!(
                message,
                format!("function f refers to {what}, which the object does not have")
            );
        }
    }

    #[test]
    fn a_section_holds_its_variables() {
        let variable = |offset| Variable {
            name: format!("v{offset}"),
            offset,
            ty: Type::U32,
        };
        let cases = [
            (vec![0, 4], true),
            (vec![4], true),
            (vec![], false),
            (vec![0, 3], false),
            (vec![5], false),
        ];
        for (offsets, fits) in cases {
            let mut object = with(|_| ());
            object.sections.push(DataSection {
                name: ".data.x".to_owned(),
                bytes: vec![0; 8],
                variables: offsets.iter().copied().map(variable).collect(),
            });
            assert_eq!(object.to_elf().is_ok(), fits, "{offsets:?}");
        }
    }

    #[test]
    fn a_name_stands_for_one_thing() {
        let mut object = with(|_| ());
        object.functions = object.programs.clone();
        assert_eq!(object.to_elf(), Err(ElfError::Twice("f".to_owned())));
    }
}
