//! Objects as readable assembly, for `--emit bpf` and for tests.
//!
//! One instruction a line, in the notation of LLVM and of the kernel's verifier log: `w` registers are the lower halves,
//! `s` marks signed operations. Maps, sections and subprograms stand by name, jumps go to labels, and where the source
//! line changes it is quoted before the instruction.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use crate::asm::{Function, SourceLine};
use crate::insn::{AluOp, AtomicOp, Bits, Cond, Endian, Imm64, Insn, Label, Reg, Size, Src};
use crate::object::{DataSection, Map, Object, SourceFile};

impl Object {
    /// The whole object: maps, sections, programs, subprograms.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for map in &self.maps {
            push(&mut out, map_line(map));
        }
        for section in &self.sections {
            section_lines(&mut out, section);
        }
        for (kind, functions) in [("program", &self.programs), ("subprogram", &self.functions)] {
            for function in functions {
                push(&mut out, format_args!("\n; {kind}, {} slots", function.slots()));
                out.push_str(&function_text(function, &self.files));
            }
        }
        out
    }
}

fn push(out: &mut String, line: impl Display) {
    // Writing to a string can't fail.
    let _ = writeln!(out, "{line}");
}

fn map_line(map: &Map) -> String {
    let mut line = format!("; map {}: {}", map.name, map.kind.name());
    let sizes = [("key", &map.key), ("value", &map.value)];
    for (what, ty) in sizes {
        if let Some(ty) = ty {
            let _ = write!(line, ", {what} of {} bytes", ty.size());
        }
    }
    let _ = write!(line, ", {} entries", map.max_entries);
    if map.flags != 0 {
        let _ = write!(line, ", flags {:#x}", map.flags);
    }
    line
}

fn section_lines(out: &mut String, section: &DataSection) {
    push(
        out,
        format_args!("; section {}: {} bytes", section.name, section.bytes.len()),
    );
    for variable in &section.variables {
        let (name, at, size) = (&variable.name, variable.offset, variable.ty.size());
        push(out, format_args!(";   {name} at {at}, {size} bytes"));
    }
}

/// One function. `files` gives names and text of its source lines.
pub fn function_text(function: &Function, files: &[SourceFile]) -> String {
    let names = label_names(function);
    let lines: BTreeMap<u32, SourceLine> = function.lines().iter().copied().collect();
    let mut notes = function.notes().iter().peekable();
    let mut out = format!("{}:\n", function.name());
    for (insn, at) in function.insns().iter().zip(0..) {
        if let Some(name) = names.get(&at) {
            push(&mut out, format_args!("L{name}:"));
        }
        if let Some(line) = lines.get(&at) {
            push(&mut out, format_args!("    ; {}", source(*line, files)));
        }
        while let Some((_, text)) = notes.next_if(|(place, _)| *place == at) {
            push(&mut out, format_args!("    ; {text}"));
        }
        let goto = |label: &Label| {
            let name = names.get(&function.target(*label)).copied().unwrap_or_default();
            format!("goto L{name}")
        };
        push(&mut out, format_args!("    {}", instruction(insn, &goto)));
    }
    out
}

/// Numbers of the labels that jumps go to, by the instruction they stand before.
fn label_names(function: &Function) -> BTreeMap<u32, u32> {
    let targets = function.insns().iter().filter_map(|insn| match insn {
        Insn::Jump(target) | Insn::Branch { target, .. } => Some(function.target(*target)),
        _ => None,
    });
    let places: std::collections::BTreeSet<u32> = targets.collect();
    places.into_iter().zip(0..).collect()
}

fn source(line: SourceLine, files: &[SourceFile]) -> String {
    let file = files.get(line.file as usize);
    let name = file.map_or("?", |file| file.name.as_str());
    match file.and_then(|file| file.line(line.line)) {
        Some(text) => format!("{name}:{}: {text}", line.line),
        None => format!("{name}:{}", line.line),
    }
}

fn instruction(insn: &Insn, goto: &dyn Fn(&Label) -> String) -> String {
    match insn {
        Insn::Alu { op, bits, dst, src } => {
            format!("{} {}= {}", reg(*dst, *bits), alu(*op), operand(*src, *bits))
        }
        Insn::Mov { bits, dst, src } => format!("{} = {}", reg(*dst, *bits), operand(*src, *bits)),
        Insn::MovSx { bits, from, dst, src } => {
            let width = from.bytes() * 8;
            format!("{} = (s{width}){}", reg(*dst, *bits), reg(*src, *bits))
        }
        Insn::Neg { bits, dst } => format!("{0} = -{0}", reg(*dst, *bits)),
        Insn::Endian { order, size, dst } => {
            let name = match order {
                Endian::Big => "be",
                Endian::Little => "le",
                Endian::Swap => "bswap",
            };
            format!("{dst} = {name}{} {dst}", size.bytes() * 8)
        }
        Insn::LdImm64 { dst, value } => format!("{dst} = {}", wide(value)),
        Insn::Load { size, dst, base, off } => format!("{dst} = {}", memory('u', *size, *base, *off)),
        Insn::LoadSx { size, dst, base, off } => format!("{dst} = {}", memory('s', *size, *base, *off)),
        Insn::Store { size, base, off, src } => {
            let place = memory('u', *size, *base, *off);
            format!("{place} = {}", operand(*src, Bits::B64))
        }
        Insn::Jump(target) => goto(target),
        Insn::Branch {
            cond: comparison,
            bits,
            dst,
            src,
            target,
        } => format!(
            "if {} {} {} {}",
            reg(*dst, *bits),
            cond(*comparison),
            operand(*src, *bits),
            goto(target)
        ),
        Insn::CallHelper(helper) => format!("call {}", helper.name()),
        Insn::CallFunc(name) => format!("call {name}"),
        Insn::Exit => "exit".to_owned(),
        Insn::Atomic { .. } | Insn::Xchg { .. } | Insn::CmpXchg { .. } => atomic(insn),
    }
}

fn atomic(insn: &Insn) -> String {
    match *insn {
        Insn::Atomic {
            op,
            fetch,
            bits,
            base,
            off,
            src,
        } => {
            let cell = memory('u', cell(bits), base, off);
            let (name, sign) = match op {
                AtomicOp::Add => ("add", "+"),
                AtomicOp::Or => ("or", "|"),
                AtomicOp::And => ("and", "&"),
                AtomicOp::Xor => ("xor", "^"),
            };
            if fetch {
                let pointer = &cell[1..];
                format!("{0} = atomic_fetch_{name}({pointer}, {0})", reg(src, bits))
            } else {
                format!("lock {cell} {sign}= {}", reg(src, bits))
            }
        }
        Insn::Xchg { bits, base, off, src } => {
            let (src, width) = (reg(src, bits), width(bits));
            format!("{src} = xchg_{width}({}, {src})", address(base, off))
        }
        Insn::CmpXchg { bits, base, off, src } => {
            let (old, width) = (reg(Reg::R0, bits), width(bits));
            let src = reg(src, bits);
            format!("{old} = cmpxchg_{width}({}, {old}, {src})", address(base, off))
        }
        ref other => unreachable!("{other:?} is not atomic"),
    }
}

fn width(bits: Bits) -> u32 {
    cell(bits).bytes() * 8
}

fn cell(bits: Bits) -> Size {
    match bits {
        Bits::B32 => Size::W,
        Bits::B64 => Size::D,
    }
}

fn reg(reg: Reg, bits: Bits) -> String {
    let letter = match bits {
        Bits::B32 => 'w',
        Bits::B64 => 'r',
    };
    format!("{letter}{}", reg.number())
}

fn operand(src: Src, bits: Bits) -> String {
    match src {
        Src::Reg(register) => reg(register, bits),
        Src::Imm(value) => value.to_string(),
    }
}

fn memory(sign: char, size: Size, base: Reg, off: i16) -> String {
    format!("*({sign}{} *)({})", size.bytes() * 8, address(base, off))
}

fn address(base: Reg, off: i16) -> String {
    let sign = if off < 0 { '-' } else { '+' };
    format!("{base} {sign} {}", off.unsigned_abs())
}

fn wide(value: &Imm64) -> String {
    match value {
        Imm64::Const(value) => format!("{value:#x} ll"),
        Imm64::Map(name) => format!("{name} ll"),
        Imm64::Data { section, offset } => format!("{section} + {offset} ll"),
        Imm64::Func(name) => format!("{name} ll"),
    }
}

fn alu(op: AluOp) -> &'static str {
    match op {
        AluOp::Add => "+",
        AluOp::Sub => "-",
        AluOp::Mul => "*",
        AluOp::Div => "/",
        AluOp::SDiv => "s/",
        AluOp::Mod => "%",
        AluOp::SMod => "s%",
        AluOp::Or => "|",
        AluOp::And => "&",
        AluOp::Xor => "^",
        AluOp::Lsh => "<<",
        AluOp::Rsh => ">>",
        AluOp::Arsh => "s>>",
    }
}

fn cond(cond: Cond) -> &'static str {
    match cond {
        Cond::Eq => "==",
        Cond::Ne => "!=",
        Cond::Gt => ">",
        Cond::Ge => ">=",
        Cond::Lt => "<",
        Cond::Le => "<=",
        Cond::SGt => "s>",
        Cond::SGe => "s>=",
        Cond::SLt => "s<",
        Cond::SLe => "s<=",
        Cond::Set => "&",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asm::Assembler;
    use crate::insn::Helper;

    #[test]
    fn a_function_reads_like_the_verifiers_log() {
        let mut asm = Assembler::program("f");
        let (end, unused) = (asm.label(), asm.label());
        asm.bind(unused);
        asm.at(SourceLine { file: 0, line: 2 });
        asm.load(Size::W, Reg::R2, Reg::R1, 4);
        asm.emit(Insn::Branch {
            cond: Cond::SLt,
            bits: Bits::B32,
            dst: Reg::R2,
            src: 7.into(),
            target: end,
        });
        asm.note("a remark");
        asm.load_data(Reg::R3, ".data.x", 8);
        for fetch in [false, true] {
            asm.emit(Insn::Atomic {
                op: AtomicOp::Add,
                fetch,
                bits: Bits::B64,
                base: Reg::R3,
                off: -8,
                src: Reg::R2,
            });
        }
        asm.at(SourceLine { file: 0, line: 9 });
        asm.alu(AluOp::Arsh, Reg::R2, 3);
        asm.call(Helper::KtimeGetNs);
        asm.bind(end);
        asm.ret(2);
        let files = [SourceFile {
            name: "a.lnic".to_owned(),
            text: Some("workload a;\n  let x = 1;\n".to_owned()),
        }];
        let expected = "\
f:
    ; a.lnic:2: let x = 1;
    r2 = *(u32 *)(r1 + 4)
    if w2 s< 7 goto L0
    ; a remark
    r3 = .data.x + 8 ll
    lock *(u64 *)(r3 - 8) += r2
    r2 = atomic_fetch_add((u64 *)(r3 - 8), r2)
    ; a.lnic:9
    r2 s>>= 3
    call ktime_get_ns
L0:
    r0 = 2
    exit
";
        assert_eq!(function_text(&asm.finish().unwrap(), &files), expected);
    }
}
