//! What the verifier said against a program, and which line of the source it is about.
//!
//! The verifier's log goes over the instructions one by one (`17: (71) r1 = *(u8 *)(r1 +14)`) and ends in the reason.
//! The number of the last instruction, with the line table that the compiler put into the object, gives the line of the
//! lambda that a person knows.

use std::fmt;
use std::io;

use aya_obj::btf::Btf;

/// Lines of the log's end that are shown.
const SHOWN_LINES: usize = 12;

/// The low bits of a position are its column, the rest the line (`include/uapi/linux/bpf.h`, `BPF_LINE_INFO_LINE_NUM`).
const COLUMN_BITS: u32 = 10;

/// A line of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as the compiler named it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

/// The source lines of a linked program.
#[derive(Debug, Default)]
pub(crate) struct LineTable(Vec<(u32, Place)>);

impl LineTable {
    pub(crate) fn new(function: &aya_obj::Function, strings: &[u8]) -> Self {
        let lines = function.line_info.line_info.iter();
        let places = lines.map(|info| {
            let file = string_at(strings, info.file_name_off);
            let line = info.line_col >> COLUMN_BITS;
            (info.insn_off, Place { file, line })
        });
        let mut places: Vec<_> = places.collect();
        places.sort_by_key(|(at, _)| *at);
        Self(places)
    }

    fn at(&self, instruction: u32) -> Option<&Place> {
        let after = self.0.partition_point(|(at, _)| *at <= instruction);
        let (_, place) = self.0.get(after.checked_sub(1)?)?;
        (place.line > 0).then_some(place)
    }
}

/// The strings of type information, from its bytes: the header (`struct btf_header`) says where they are.
pub(crate) fn btf_strings(btf: &Btf) -> Vec<u8> {
    const HEADER_LEN: usize = 4;
    const STRINGS_OFFSET: usize = 16;
    const STRINGS_LEN: usize = 20;
    let bytes = btf.to_bytes();
    let word = |at: usize| {
        let word = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(word) as usize)
    };
    let strings = || {
        let start = word(HEADER_LEN)?.checked_add(word(STRINGS_OFFSET)?)?;
        bytes.get(start..start.checked_add(word(STRINGS_LEN)?)?)
    };
    strings().unwrap_or_default().to_vec()
}

fn string_at(strings: &[u8], offset: u32) -> String {
    let from = strings.get(offset as usize..).unwrap_or_default();
    let end = from.iter().position(|&byte| byte == 0).unwrap_or(from.len());
    String::from_utf8_lossy(&from[..end]).into_owned()
}

/// A program that the verifier refused.
#[derive(Debug)]
pub struct Rejection {
    /// The program.
    pub program: String,
    /// The source line of the instruction that it is about, where that is known.
    pub place: Option<Place>,
    /// The last lines of the log.
    pub log: Vec<String>,
    /// The kernel's error.
    pub error: io::Error,
}

impl Rejection {
    pub(crate) fn new(program: &str, error: io::Error, log: &str, lines: &LineTable) -> Self {
        let place = last_instruction(log).and_then(|at| lines.at(at)).cloned();
        let all: Vec<&str> = log.lines().filter(|line| !is_statistics(line)).collect();
        let shown = &all[all.len().saturating_sub(SHOWN_LINES)..];
        Self {
            program: program.to_owned(),
            place,
            log: shown.iter().map(|&line| line.to_owned()).collect(),
            error,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel refuses program `{}`", self.program)?;
        if let Some(Place { file, line }) = &self.place {
            write!(f, " at {file}:{line}")?;
        }
        write!(f, ": {}", self.error)?;
        self.log.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

impl std::error::Error for Rejection {}

/// What the kernel counts after the reason.
fn is_statistics(line: &str) -> bool {
    line.starts_with("processed ")
        || line.starts_with("verification time ")
        || line.starts_with("stack depth ")
}

/// The number of the last instruction that the log shows.
fn last_instruction(log: &str) -> Option<u32> {
    log.lines().rev().find_map(|line| {
        let (number, rest) = line.split_once(": ")?;
        let number = number.parse().ok()?;
        rest.starts_with('(').then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
0: R1=ctx() R10=fp0
; let x = table[i]; @ kv.lnic:12
0: (61) r2 = *(u32 *)(r1 +0)          ; R1=ctx() R2_w=pkt(r=0)
1: (71) r0 = *(u8 *)(r2 +0)
invalid access to packet, off=0 size=1, R2(id=0,off=0,r=0)
R2 offset is outside of the packet
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";

    fn table() -> LineTable {
        let place = |line| Place {
            file: "kv.lnic".to_owned(),
            line,
        };
        LineTable(vec![(0, place(12)), (2, place(13))])
    }

    #[test]
    fn the_last_instruction_leads_to_a_line() {
        assert_eq!(last_instruction(LOG), Some(1));
        let rejection = Rejection::new("w_kv", io::Error::from_raw_os_error(libc::EACCES), LOG, &table());
        let text = rejection.to_string();
        assert!(
            text.starts_with("the kernel refuses program `w_kv` at kv.lnic:12: "),
            "{text}"
        );
        assert!(
            text.ends_with("\n    R2 offset is outside of the packet"),
            "{text}"
        );
    }

    #[test]
    fn instructions_before_the_first_line_have_none() {
        let table = LineTable(vec![(
            5,
            Place {
                file: "a".to_owned(),
                line: 1,
            },
        )]);
        assert_eq!(table.at(4), None);
        assert!(table.at(5).is_some());
    }
}
