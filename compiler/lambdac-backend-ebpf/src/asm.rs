//! Functions: building them instruction by instruction, and resolving their labels into code.
//!
//! An [`Assembler`] takes instructions, labels, source lines and notes, and gives a [`Function`]. On the way out it drops
//! instructions that nothing reaches and jumps to the next instruction (the verifier refuses the former), and checks
//! that control can't fall off the end. [`Function::resolve`] then makes machine code: offsets for labels, and a
//! [`Relocation`] for whatever lies outside the function.
//!
//! Distances: a jump holds 16 bits. One that does not reach becomes a `gotol` (cpu v4, Linux 6.6) over a short branch;
//! which jumps do is found by growing until nothing changes, so it ends, and small functions never pay for it.

use crate::encode;
pub use crate::encode::Slot;
use crate::insn::{self, Cond, Imm64, Insn, Label, Reg, Src};

/// A line of a source file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceLine {
    /// Index into [`crate::object::Object::files`].
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
}

/// What a parameter is, as far as debug information says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParamType {
    /// `struct xdp_md *`.
    Context,
    /// `void *`.
    Pointer,
    /// `u32`.
    U32,
    /// `u64`.
    U64,
}

/// A parameter of a function; parameter `i` arrives in register `i + 1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Name; a C identifier.
    pub name: String,
    /// Type.
    pub ty: ParamType,
}

impl Param {
    /// A parameter.
    pub fn new(name: &str, ty: ParamType) -> Param {
        Param {
            name: name.to_owned(),
            ty,
        }
    }
}

/// Why an [`Assembler`] or [`Function::resolve`] can't go on: a bug of whoever emitted the code, or code too long for
/// the machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AsmError {
    /// A jump goes to a label that no place has.
    #[error("function {function}: label {label} is used and never bound")]
    Unbound {
        /// The function.
        function: String,
        /// Number of the label.
        label: u32,
    },
    /// The last instruction reached lets control go on past the end.
    #[error("function {function}: control falls off the end")]
    FallsOff {
        /// The function.
        function: String,
    },
    /// An operand that no instruction can hold.
    #[error("function {function}: {insn} can't be encoded")]
    NoEncoding {
        /// The function.
        function: String,
        /// The instruction, printed for debugging.
        insn: String,
    },
    /// More code than a 32-bit distance spans.
    #[error("function {function}: too long")]
    TooLong {
        /// The function.
        function: String,
    },
}

/// A function under construction.
#[derive(Debug)]
pub struct Assembler {
    name: String,
    params: Vec<Param>,
    insns: Vec<Insn>,
    lines: Vec<(u32, SourceLine)>,
    notes: Vec<(u32, String)>,
    /// Index of the instruction that each label stands before.
    labels: Vec<Option<u32>>,
}

impl Assembler {
    /// A function of this name, a C identifier that no other function of the object has.
    pub fn new(name: &str, params: Vec<Param>) -> Assembler {
        Assembler {
            name: name.to_owned(),
            params,
            insns: Vec::new(),
            lines: Vec::new(),
            notes: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// A program: `int name(struct xdp_md *ctx)`.
    pub fn program(name: &str) -> Assembler {
        Assembler::new(name, vec![Param::new("ctx", ParamType::Context)])
    }

    /// A new label, bound nowhere yet.
    pub fn label(&mut self) -> Label {
        let label = Label(u32::try_from(self.labels.len()).expect("fewer labels than 2^32"));
        self.labels.push(None);
        label
    }

    /// Puts a label before the next instruction. Binding it again moves it.
    pub fn bind(&mut self, label: Label) {
        let at = self.position();
        if let Some(slot) = self.labels.get_mut(label.0 as usize) {
            *slot = Some(at);
        }
    }

    /// A new label before the next instruction.
    pub fn here(&mut self) -> Label {
        let label = self.label();
        self.bind(label);
        label
    }

    /// Appends an instruction.
    pub fn emit(&mut self, insn: Insn) {
        self.insns.push(insn);
    }

    /// Says from which line the following instructions come, until the next call.
    pub fn at(&mut self, line: SourceLine) {
        let at = self.position();
        match self.lines.last_mut() {
            Some(last) if last.0 == at => last.1 = line,
            Some(last) if last.1 == line => {}
            _ => self.lines.push((at, line)),
        }
    }

    /// A remark before the next instruction, for readers of the assembly text.
    pub fn note(&mut self, text: impl Into<String>) {
        let at = self.position();
        self.notes.push((at, text.into()));
    }

    /// Number of instructions so far.
    pub fn len(&self) -> usize {
        self.insns.len()
    }

    /// Whether nothing was emitted yet.
    pub fn is_empty(&self) -> bool {
        self.insns.is_empty()
    }

    /// The function, without instructions that can't be reached.
    pub fn finish(self) -> Result<Function, AsmError> {
        let targets = self.targets()?;
        let keep = self.reachable(&targets)?;
        // New index of each instruction, and of the end.
        let mut index = Vec::with_capacity(keep.len() + 1);
        let mut next = 0;
        for kept in &keep {
            index.push(next);
            next += u32::from(*kept);
        }
        index.push(next);
        let remap = |old: u32| index[old as usize];
        let insns = self.insns.into_iter().zip(&keep);
        Ok(Function {
            name: self.name,
            params: self.params,
            insns: insns.filter_map(|(insn, kept)| kept.then_some(insn)).collect(),
            lines: remap_lines(self.lines, next, remap),
            notes: self
                .notes
                .into_iter()
                .map(|(at, text)| (remap(at), text))
                .collect(),
            labels: targets.into_iter().map(remap).collect(),
        })
    }

    fn position(&self) -> u32 {
        u32::try_from(self.insns.len()).expect("fewer instructions than 2^32")
    }

    /// Where each label stands; a label that is neither bound nor used stands at the end.
    fn targets(&self) -> Result<Vec<u32>, AsmError> {
        for insn in &self.insns {
            if let Insn::Jump(label) | Insn::Branch { target: label, .. } = insn
                && self.labels.get(label.0 as usize).copied().flatten().is_none()
            {
                return Err(AsmError::Unbound {
                    function: self.name.clone(),
                    label: label.0,
                });
            }
        }
        let end = self.position();
        Ok(self.labels.iter().map(|at| at.unwrap_or(end)).collect())
    }

    /// Which instructions are kept: those that control reaches, but jumps that go to the next kept instruction.
    fn reachable(&self, targets: &[u32]) -> Result<Vec<bool>, AsmError> {
        let count = self.insns.len();
        let mut reached = vec![false; count];
        let mut work = vec![0];
        while let Some(mut at) = work.pop() {
            while at < count && !reached[at] {
                reached[at] = true;
                at = match &self.insns[at] {
                    Insn::Exit => break,
                    Insn::Jump(label) => targets[label.0 as usize] as usize,
                    Insn::Branch { target, .. } => {
                        work.push(targets[target.0 as usize] as usize);
                        at + 1
                    }
                    _ => at + 1,
                };
            }
            if at >= count {
                return Err(AsmError::FallsOff {
                    function: self.name.clone(),
                });
            }
        }
        let mut next_kept = count;
        for at in (0..count).rev() {
            if let Insn::Jump(label) = self.insns[at] {
                let target = targets[label.0 as usize] as usize;
                reached[at] &= target <= at || target > next_kept;
            }
            if reached[at] {
                next_kept = at;
            }
        }
        Ok(reached)
    }
}

/// Moves line marks to new indexes: of several at one instruction the last holds, and repetitions go.
fn remap_lines(
    lines: Vec<(u32, SourceLine)>,
    end: u32,
    remap: impl Fn(u32) -> u32,
) -> Vec<(u32, SourceLine)> {
    let mut out: Vec<(u32, SourceLine)> = Vec::with_capacity(lines.len());
    for (at, line) in lines {
        let at = remap(at);
        if out.last().is_some_and(|last| last.0 == at) {
            out.pop();
        }
        if at < end && out.last().is_none_or(|last| last.1 != line) {
            out.push((at, line));
        }
    }
    out
}

/// A finished function: every label bound, every instruction reachable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    name: String,
    params: Vec<Param>,
    insns: Vec<Insn>,
    lines: Vec<(u32, SourceLine)>,
    notes: Vec<(u32, String)>,
    labels: Vec<u32>,
}

/// What a relocation fills in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The address of a map, by name.
    Map(String),
    /// The address of a byte in a data section, whose offset the instruction holds.
    Data {
        /// Name of the section.
        section: String,
        /// Offset in it.
        offset: u32,
    },
    /// The address of a subprogram, by name.
    Func(String),
    /// The distance to a subprogram, by name.
    Call(String),
}

/// A reference to something outside the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Slot of the instruction.
    pub slot: u32,
    /// What it refers to.
    pub target: Target,
}

/// Machine code of one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// The slots; references outwards hold 0.
    pub slots: Vec<Slot>,
    /// References outwards, by rising slot.
    pub relocations: Vec<Relocation>,
    /// From which slot on code comes from which line, by rising slot.
    pub lines: Vec<(u32, SourceLine)>,
    /// Remarks, each before a slot, by rising slot.
    pub notes: Vec<(u32, String)>,
}

impl Function {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its parameters.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Its instructions.
    pub fn insns(&self) -> &[Insn] {
        &self.insns
    }

    /// From which instruction on code comes from which line, by rising index.
    pub fn lines(&self) -> &[(u32, SourceLine)] {
        &self.lines
    }

    /// Remarks, each before an instruction, by rising index.
    pub fn notes(&self) -> &[(u32, String)] {
        &self.notes
    }

    /// Index of the instruction that a label of this function stands before.
    pub fn target(&self, label: Label) -> u32 {
        self.labels[label.0 as usize]
    }

    /// Number of 8-byte slots where no jump is too long; what size reports count.
    pub fn slots(&self) -> u32 {
        self.insns.iter().map(Insn::slots).sum()
    }

    /// Resolves labels and encodes.
    pub fn resolve(&self) -> Result<Code, AsmError> {
        let starts = self.place()?;
        let start = |index: u32| starts[index as usize];
        let mut code = Code {
            slots: Vec::with_capacity(starts[self.insns.len()] as usize),
            relocations: Vec::new(),
            lines: self.lines.iter().map(|(at, line)| (start(*at), *line)).collect(),
            notes: self
                .notes
                .iter()
                .map(|(at, text)| (start(*at), text.clone()))
                .collect(),
        };
        for (index, insn) in self.insns.iter().enumerate() {
            let (from, to) = (starts[index], starts[index + 1]);
            match insn {
                Insn::Jump(label) => {
                    let distance = i64::from(start(self.target(*label))) - i64::from(to);
                    code.slots.push(self.jump(distance)?);
                }
                Insn::Branch {
                    cond,
                    bits,
                    dst,
                    src,
                    target,
                } => {
                    let distance = i64::from(start(self.target(*target))) - i64::from(to);
                    let short = |off| encode::branch(*cond, *bits, *dst, *src, off);
                    match i16::try_from(distance) {
                        Ok(off) if to - from == 1 => code.slots.push(short(off)),
                        // Over the jump that leads past the long one, then the long one.
                        _ => code
                            .slots
                            .extend([short(1), encode::jump(1), self.jump(distance)?]),
                    }
                }
                Insn::LdImm64 { dst, value } => self.ld_imm64(&mut code, from, *dst, value),
                Insn::CallFunc(name) => {
                    code.relocations.push(Relocation {
                        slot: from,
                        target: Target::Call(name.clone()),
                    });
                    code.slots.push(encode::call_func(0));
                }
                plain => code.slots.push(self.plain(plain)?),
            }
        }
        Ok(code)
    }

    /// First slot of each instruction, and of the end.
    fn place(&self) -> Result<Vec<u32>, AsmError> {
        let mut long = vec![false; self.insns.len()];
        loop {
            let mut starts = Vec::with_capacity(self.insns.len() + 1);
            let mut next = 0;
            for (insn, long) in self.insns.iter().zip(&long) {
                starts.push(next);
                next += match insn {
                    Insn::Branch { .. } if *long => 3,
                    other => other.slots(),
                };
            }
            starts.push(next);
            if i32::try_from(next).is_err() {
                return Err(AsmError::TooLong {
                    function: self.name.clone(),
                });
            }
            let mut grew = false;
            for (index, insn) in self.insns.iter().enumerate() {
                if let Insn::Branch { target, .. } = insn {
                    let distance =
                        i64::from(starts[self.target(*target) as usize]) - i64::from(starts[index + 1]);
                    if !long[index] && i16::try_from(distance).is_err() {
                        long[index] = true;
                        grew = true;
                    }
                }
            }
            if !grew {
                return Ok(starts);
            }
        }
    }

    fn jump(&self, distance: i64) -> Result<Slot, AsmError> {
        if let Ok(off) = i16::try_from(distance) {
            return Ok(encode::jump(off));
        }
        let off = i32::try_from(distance).map_err(|_| AsmError::TooLong {
            function: self.name.clone(),
        })?;
        Ok(encode::long_jump(off))
    }

    fn ld_imm64(&self, code: &mut Code, slot: u32, dst: Reg, value: &Imm64) {
        let (src, target) = match value {
            Imm64::Const(value) => {
                let (low, high) = (*value as u32, (*value >> 32) as u32);
                code.slots.extend(encode::ld_imm64(dst, 0, low, high));
                return;
            }
            Imm64::Map(name) => (encode::PSEUDO_MAP_FD, Target::Map(name.clone())),
            Imm64::Data { section, offset } => {
                let (section, offset) = (section.clone(), *offset);
                (encode::PSEUDO_MAP_VALUE, Target::Data { section, offset })
            }
            Imm64::Func(name) => (encode::PSEUDO_FUNC, Target::Func(name.clone())),
        };
        code.relocations.push(Relocation { slot, target });
        code.slots.extend(encode::ld_imm64(dst, src, 0, 0));
    }

    fn plain(&self, insn: &Insn) -> Result<Slot, AsmError> {
        encode::encode(insn).ok_or_else(|| AsmError::NoEncoding {
            function: self.name.clone(),
            insn: format!("{insn:?}"),
        })
    }
}

/// Short forms of the commonest instructions, on 64 bits unless the name says otherwise.
impl Assembler {
    /// `dst = src`.
    pub fn mov(&mut self, dst: Reg, src: impl Into<Src>) {
        self.emit(Insn::Mov {
            bits: insn::Bits::B64,
            dst,
            src: src.into(),
        });
    }

    /// `dst = dst op src`.
    pub fn alu(&mut self, op: insn::AluOp, dst: Reg, src: impl Into<Src>) {
        self.emit(Insn::Alu {
            op,
            bits: insn::Bits::B64,
            dst,
            src: src.into(),
        });
    }

    /// `dst = memory at base + off`.
    pub fn load(&mut self, size: insn::Size, dst: Reg, base: Reg, off: i16) {
        self.emit(Insn::Load { size, dst, base, off });
    }

    /// `memory at base + off = src`.
    pub fn store(&mut self, size: insn::Size, base: Reg, off: i16, src: impl Into<Src>) {
        self.emit(Insn::Store {
            size,
            base,
            off,
            src: src.into(),
        });
    }

    /// Goes to `target` if `dst cond src`.
    pub fn branch(&mut self, cond: Cond, dst: Reg, src: impl Into<Src>, target: Label) {
        self.emit(Insn::Branch {
            cond,
            bits: insn::Bits::B64,
            dst,
            src: src.into(),
            target,
        });
    }

    /// Goes to `target`.
    pub fn jump(&mut self, target: Label) {
        self.emit(Insn::Jump(target));
    }

    /// `dst = value`.
    pub fn load_imm64(&mut self, dst: Reg, value: Imm64) {
        self.emit(Insn::LdImm64 { dst, value });
    }

    /// `dst = address of a map`.
    pub fn load_map(&mut self, dst: Reg, map: &str) {
        self.load_imm64(dst, Imm64::Map(map.to_owned()));
    }

    /// `dst = address of a byte in a data section`.
    pub fn load_data(&mut self, dst: Reg, section: &str, offset: u32) {
        let section = section.to_owned();
        self.load_imm64(dst, Imm64::Data { section, offset });
    }

    /// Calls a helper.
    pub fn call(&mut self, helper: insn::Helper) {
        self.emit(Insn::CallHelper(helper));
    }

    /// Calls a subprogram.
    pub fn call_func(&mut self, name: &str) {
        self.emit(Insn::CallFunc(name.to_owned()));
    }

    /// Returns `R0`.
    pub fn exit(&mut self) {
        self.emit(Insn::Exit);
    }

    /// `R0 = value`, then returns.
    pub fn ret(&mut self, value: i32) {
        self.mov(Reg::R0, value);
        self.exit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insn::{AluOp, Size};
    use crate::text::function_text;

    fn words(function: &Function) -> Vec<String> {
        let slots = function.resolve().unwrap().slots;
        let hex = |slot: &Slot| slot.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        slots.iter().map(hex).collect()
    }

    #[test]
    fn jumps_count_slots_and_wide_loads_take_two() {
        let mut asm = Assembler::program("f");
        let (back, out) = (asm.here(), asm.label());
        asm.branch(Cond::Eq, Reg::R1, 0, out);
        asm.load_imm64(Reg::R2, Imm64::Const(0x1122_3344_5566_7788));
        asm.alu(AluOp::Sub, Reg::R1, 1);
        asm.jump(back);
        asm.bind(out);
        asm.ret(0);
        let expected = [
            "1501040000000000",
            "1802000088776655",
            "0000000044332211",
            "1701000001000000",
            "0500fbff00000000",
            "b700000000000000",
            "9500000000000000",
        ];
        assert_eq!(words(&asm.finish().unwrap()), expected);
    }

    #[test]
    fn what_nothing_reaches_is_left_out_and_marks_move() {
        let mut asm = Assembler::program("f");
        let (next, end) = (asm.label(), asm.label());
        asm.at(SourceLine { file: 0, line: 1 });
        asm.jump(next);
        asm.at(SourceLine { file: 0, line: 2 });
        asm.store(Size::B, Reg::R1, 0, 1);
        asm.at(SourceLine { file: 0, line: 3 });
        asm.bind(next);
        asm.jump(end);
        asm.bind(end);
        asm.ret(4);
        let function = asm.finish().unwrap();
        assert_eq!(function.lines(), [(0, SourceLine { file: 0, line: 3 })]);
        assert_eq!(
            function_text(&function, &[]),
            "f:\n    ; ?:3\n    r0 = 4\n    exit\n"
        );
    }

    #[test]
    fn a_branch_too_far_for_16_bits_leads_to_a_long_jump() {
        let mut asm = Assembler::program("f");
        let end = asm.label();
        asm.mov(Reg::R0, 0);
        asm.branch(Cond::Eq, Reg::R1, 0, end);
        for _ in 0..40_000 {
            asm.alu(AluOp::Add, Reg::R0, 1);
        }
        asm.bind(end);
        asm.exit();
        let words = words(&asm.finish().unwrap());
        let expected = ["1501010000000000", "0500010000000000", "06000000409c0000"];
        assert_eq!(words[1..4], expected);
        assert_eq!(words.len(), 40_005);
    }

    #[test]
    fn bugs_of_an_emitter_are_errors() {
        let mut unbound = Assembler::program("f");
        let label = unbound.label();
        unbound.jump(label);
        assert!(matches!(
            unbound.finish(),
            Err(AsmError::Unbound { label: 0, .. })
        ));
        let mut falls = Assembler::program("f");
        falls.mov(Reg::R0, 0);
        assert!(matches!(falls.finish(), Err(AsmError::FallsOff { .. })));
        assert!(matches!(
            Assembler::program("f").finish(),
            Err(AsmError::FallsOff { .. })
        ));
    }
}
