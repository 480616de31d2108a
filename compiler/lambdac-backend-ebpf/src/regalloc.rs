//! Virtual registers to machine registers: a linear scan over live intervals.
//!
//! The emitter writes structured code in order, so the interval of a register is from its first definition to its last
//! use; one that lives into a loop and is used there lives to the loop's end. `r0` and `r1` stay out of it: they carry
//! what lies on the stack for the length of one instruction. An interval over a call gets one of `r6` to `r9`, others
//! get `r2` to `r5` first. Where none is free, the interval with the fewest uses for its length goes to the stack, in
//! slots of 8 bytes, where the verifier keeps track of pointers and ranges.
//!
//! Where the stack is too small and the function keeps the address of the invocation's memory at [`MEMORY_SLOT`], numbers
//! that the verifier need not know ([`Vcode::is_loose`]) go there instead, those with the fewest uses first.

use crate::asm::{AsmError, Assembler, Function, Param};
use crate::insn::{AtomicOp, Bits, Endian, Insn, Label, Reg, Size, Src};
use crate::vcode::{Arg, Base, Callee, Inst, Operand, V, Vcode};

/// Why a function has no code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("function `{0}` needs {1} bytes of stack, there are {2}")]
    Stack(String, u32, u32),
    #[error(transparent)]
    Assembler(#[from] AsmError),
}

/// Registers that a call takes, then those that it spares.
const POOL: [Reg; 8] = [
    Reg::R2,
    Reg::R3,
    Reg::R4,
    Reg::R5,
    Reg::R6,
    Reg::R7,
    Reg::R8,
    Reg::R9,
];
/// How many of the pool a call takes.
const TAKEN: usize = 4;

/// Where a virtual register lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// Nothing uses it.
    None,
    Reg(Reg),
    /// Offset from the frame pointer.
    Stack(i16),
    /// Offset in the invocation's memory.
    Memory(u32),
}

/// Where a function keeps the address of the invocation's memory, relative to the frame pointer.
pub(crate) const MEMORY_SLOT: i16 = -8;

/// Bytes that a function uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) stack: u32,
    pub(crate) memory: u32,
}

#[derive(Clone, Copy, Debug)]
struct Interval {
    reg: V,
    /// Twice the index of the instruction, plus 1 for what it defines.
    start: u32,
    end: u32,
    weight: f64,
    crosses: bool,
    /// The register that it is copied from at its start: a good one to share.
    hint: Option<V>,
}

/// A function of machine instructions; `stack` is what it may use of the stack, and `memory` where it may use the
/// invocation's memory too.
pub(crate) fn allocate(code: &Vcode, stack: u32, memory: Option<u32>) -> Result<(Function, Used), Error> {
    let intervals = intervals(code);
    let (mut homes, spilled) = scan(code, intervals);
    let used = place(code, spilled, &mut homes, stack, memory);
    if used.stack > stack {
        return Err(Error::Stack(code.name.clone(), used.stack, stack));
    }
    let params = code.params.iter().map(|(_, name, ty)| Param::new(name, *ty));
    let asm = Assembler::new(&code.name, params.collect());
    let mut writer = Writer {
        homes,
        labels: Vec::new(),
        asm,
    };
    writer.labels = (0..code.marks()).map(|_| writer.asm.label()).collect();
    let arriving = code.params.iter().zip(Reg::ARGS);
    let moves = arriving.filter_map(|((v, ..), reg)| match writer.home(*v) {
        Home::None => None,
        home => Some((home, reg)),
    });
    writer.receive(moves.collect());
    for inst in &code.insts {
        writer.inst(inst);
    }
    Ok((writer.asm.finish()?, used))
}

fn intervals(code: &Vcode) -> Vec<Interval> {
    let loops = loops(code);
    let mut depth = vec![0u8; code.insts.len() + 1];
    for &(from, to) in &loops {
        depth[from..=to]
            .iter_mut()
            .for_each(|depth| *depth = (*depth + 1).min(4));
    }
    let mut found: Vec<Option<Interval>> = vec![None; code.regs()];
    let mut touch = |reg: V, at: u32, weight: f64| {
        let new = Interval {
            reg,
            start: at,
            end: at,
            weight: 0.0,
            crosses: false,
            hint: None,
        };
        let interval = found[reg.0 as usize].get_or_insert(new);
        interval.end = interval.end.max(at);
        interval.weight += weight;
    };
    for (v, ..) in &code.params {
        touch(*v, 0, 0.0);
    }
    for (index, inst) in code.insts.iter().enumerate() {
        // The positions of parameters come before those of the first instruction.
        let at = 2 * index as u32 + 2;
        let weight = 10f64.powi(depth[index].into());
        inst.for_each_use(|reg| touch(reg, at, weight));
        if let Some(reg) = inst.def() {
            touch(reg, at + 1, weight);
        }
    }
    let mut list: Vec<Interval> = found.into_iter().flatten().collect();
    for interval in &mut list {
        if interval.end == interval.start && interval.start > 0 {
            // Written and never read: it still must not hit what lives there.
            interval.end += 1;
        }
    }
    extend_over_loops(&mut list, &loops, code);
    for (index, inst) in code.insts.iter().enumerate() {
        if let Inst::Mov {
            dst,
            src: Operand::Reg(src),
            ..
        } = inst
            && let Ok(at) = list.binary_search_by_key(dst, |interval| interval.reg)
            && list[at].start == 2 * index as u32 + 3
        {
            list[at].hint = Some(*src);
        }
    }
    mark_crossing(&mut list, code);
    for interval in &mut list {
        interval.weight /= f64::from(interval.end - interval.start + 1);
    }
    list.sort_by_key(|interval| (interval.start, interval.reg));
    list
}

/// Indexes of the first and last instruction of each loop: a backward jump and where it goes.
fn loops(code: &Vcode) -> Vec<(usize, usize)> {
    let mut bound = vec![usize::MAX; code.marks()];
    let mut out = Vec::new();
    for (index, inst) in code.insts.iter().enumerate() {
        match inst {
            Inst::Bind(mark) => bound[mark.0 as usize] = index,
            Inst::Jump(to) | Inst::Branch { to, .. } if bound[to.0 as usize] != usize::MAX => {
                out.push((bound[to.0 as usize], index));
            }
            _ => {}
        }
    }
    out
}

/// What lives before a loop and is used in it lives to its end.
fn extend_over_loops(list: &mut [Interval], loops: &[(usize, usize)], code: &Vcode) {
    let slot = |reg: V, list: &[Interval]| list.binary_search_by_key(&reg, |interval| interval.reg).ok();
    for &(from, to) in loops {
        let start = 2 * from as u32 + 2;
        let end = 2 * to as u32 + 3;
        for inst in &code.insts[from..=to] {
            inst.for_each_use(|reg| {
                if let Some(at) = slot(reg, list)
                    && list[at].start < start
                {
                    list[at].end = list[at].end.max(end);
                }
            });
        }
    }
}

fn mark_crossing(list: &mut [Interval], code: &Vcode) {
    let calls: Vec<u32> = code
        .insts
        .iter()
        .enumerate()
        .filter(|(_, inst)| inst.is_call())
        .map(|(index, _)| 2 * index as u32 + 2)
        .collect();
    for interval in list {
        let first = calls.partition_point(|call| *call <= interval.start);
        interval.crosses = calls.get(first).is_some_and(|call| *call < interval.end);
    }
}

/// Gives each interval a register, or leaves it over.
fn scan(code: &Vcode, intervals: Vec<Interval>) -> (Vec<Home>, Vec<Interval>) {
    let mut homes = vec![Home::None; code.regs()];
    let mut active: Vec<(Interval, usize)> = Vec::new();
    let mut spilled: Vec<Interval> = Vec::new();
    for current in intervals {
        active.retain(|(interval, _)| interval.end >= current.start);
        let free = |reg: usize| !active.iter().any(|(_, taken)| *taken == reg);
        let allowed = if current.crosses {
            TAKEN..POOL.len()
        } else {
            0..POOL.len()
        };
        let hinted = current.hint.and_then(|hint| match homes[hint.0 as usize] {
            Home::Reg(reg) => POOL.iter().position(|other| *other == reg),
            _ => None,
        });
        let chosen = hinted
            .filter(|reg| allowed.contains(reg) && free(*reg))
            .or_else(|| allowed.clone().find(|reg| free(*reg)));
        if let Some(reg) = chosen {
            homes[current.reg.0 as usize] = Home::Reg(POOL[reg]);
            active.push((current, reg));
            continue;
        }
        let cheapest = active
            .iter()
            .enumerate()
            .filter(|(_, (_, reg))| allowed.contains(reg))
            .min_by(|(_, (a, _)), (_, (b, _))| a.weight.total_cmp(&b.weight));
        match cheapest {
            Some((at, (other, reg))) if other.weight < current.weight => {
                let (other, reg) = (*other, *reg);
                active.remove(at);
                spilled.push(other);
                homes[current.reg.0 as usize] = Home::Reg(POOL[reg]);
                active.push((current, reg));
            }
            _ => spilled.push(current),
        }
    }
    (homes, spilled)
}

/// Gives what has no register a place on the stack, or in memory where that is not enough.
fn place(
    code: &Vcode,
    mut spilled: Vec<Interval>,
    homes: &mut [Home],
    stack: u32,
    memory: Option<u32>,
) -> Used {
    let reserved = u32::from(code.reserved);
    let bytes = |slots: &[(V, u32)]| 8 * slots.iter().map(|(_, slot)| slot + 1).max().unwrap_or(0);
    let mut moved = Vec::new();
    let mut slots = share_slots(&mut spilled);
    while memory.is_some() && reserved + bytes(&slots) > stack {
        let Some(cheapest) = spilled_to_move(code, &spilled) else {
            break;
        };
        moved.push(spilled.remove(cheapest));
        slots = share_slots(&mut spilled);
    }
    for (reg, slot) in &slots {
        let below = reserved + 8 * (slot + 1);
        homes[reg.0 as usize] = Home::Stack(i16::try_from(below).map_or(i16::MIN, |below| -below));
    }
    let in_memory = share_slots(&mut moved);
    for (reg, slot) in &in_memory {
        homes[reg.0 as usize] = Home::Memory(memory.unwrap_or(0) + 8 * slot);
    }
    Used {
        stack: reserved + bytes(&slots),
        memory: bytes(&in_memory),
    }
}

/// Numbers slots of 8 bytes for intervals, sharing those whose intervals are over.
fn share_slots(intervals: &mut [Interval]) -> Vec<(V, u32)> {
    intervals.sort_by_key(|interval| (interval.start, interval.reg));
    let mut ends: Vec<u32> = Vec::new();
    let mut slots = Vec::new();
    for interval in intervals {
        let slot = match ends.iter().position(|end| *end < interval.start) {
            Some(slot) => slot,
            None => {
                ends.push(0);
                ends.len() - 1
            }
        };
        ends[slot] = interval.end;
        slots.push((interval.reg, slot as u32));
    }
    slots
}

/// The interval with the fewest uses for its length among those that may lie in memory.
fn spilled_to_move(code: &Vcode, spilled: &[Interval]) -> Option<usize> {
    let loose = spilled
        .iter()
        .enumerate()
        .filter(|(_, interval)| code.is_loose(interval.reg));
    loose
        .min_by(|(_, a), (_, b)| a.weight.total_cmp(&b.weight).then(a.reg.cmp(&b.reg)))
        .map(|(at, _)| at)
}

struct Writer {
    homes: Vec<Home>,
    labels: Vec<Label>,
    asm: Assembler,
}

impl Writer {
    fn home(&self, reg: V) -> Home {
        self.homes[reg.0 as usize]
    }

    /// The machine register that holds a virtual one, loading it to `temp` where it lies on the stack.
    fn read(&mut self, reg: V, temp: Reg) -> Reg {
        match self.home(reg) {
            Home::Reg(reg) => reg,
            Home::Stack(off) => {
                self.asm.load(Size::D, temp, Reg::R10, off);
                temp
            }
            Home::Memory(off) => {
                let off = self.memory(temp, off);
                self.asm.load(Size::D, temp, temp, off);
                temp
            }
            Home::None => temp,
        }
    }

    /// Loads the base of an offset in the invocation's memory; gives what is left of the offset.
    fn memory(&mut self, base: Reg, off: u32) -> i16 {
        self.asm.load(Size::D, base, Reg::R10, MEMORY_SLOT);
        i16::try_from(off).unwrap_or_else(|_| {
            self.asm.alu(crate::insn::AluOp::Add, base, off.cast_signed());
            0
        })
    }

    fn read_operand(&mut self, operand: Operand, temp: Reg) -> Src {
        match operand {
            Operand::Reg(reg) => Src::Reg(self.read(reg, temp)),
            Operand::Imm(imm) => Src::Imm(imm),
        }
    }

    /// The machine register to write a virtual one to; [`Self::written`] must follow.
    fn target(&self, reg: V) -> Reg {
        match self.home(reg) {
            Home::Reg(reg) => reg,
            Home::Stack(_) | Home::Memory(_) | Home::None => Reg::R0,
        }
    }

    /// Puts what was written to `R0` in its place; `R1` is free then.
    fn written(&mut self, reg: V) {
        match self.home(reg) {
            Home::Stack(off) => self.asm.store(Size::D, Reg::R10, off, Reg::R0),
            Home::Memory(off) => {
                let off = self.memory(Reg::R1, off);
                self.asm.store(Size::D, Reg::R1, off, Reg::R0);
            }
            Home::Reg(_) | Home::None => {}
        }
    }

    fn base(&mut self, base: Base, temp: Reg) -> Reg {
        match base {
            Base::Reg(reg) => self.read(reg, temp),
            Base::Stack => Reg::R10,
        }
    }

    fn label(&self, mark: crate::vcode::Mark) -> Label {
        self.labels[mark.0 as usize]
    }

    fn inst(&mut self, inst: &Inst) {
        match inst {
            Inst::Mov { bits, dst, src } => self.mov(*bits, *dst, *src),
            Inst::LdImm64 { dst, value } => {
                let reg = self.target(*dst);
                self.asm.load_imm64(reg, value.clone());
                self.written(*dst);
            }
            Inst::Alu { op, bits, dst, src } => {
                let src = self.read_operand(*src, Reg::R1);
                let reg = self.read(*dst, Reg::R0);
                self.asm.emit(Insn::Alu {
                    op: *op,
                    bits: *bits,
                    dst: reg,
                    src,
                });
                self.written(*dst);
            }
            Inst::Neg { bits, dst } => {
                let reg = self.read(*dst, Reg::R0);
                self.asm.emit(Insn::Neg {
                    bits: *bits,
                    dst: reg,
                });
                self.written(*dst);
            }
            Inst::Swap { size, dst } => {
                let reg = self.read(*dst, Reg::R0);
                self.asm.emit(Insn::Endian {
                    order: Endian::Big,
                    size: *size,
                    dst: reg,
                });
                self.written(*dst);
            }
            Inst::Load { size, dst, base, off } => {
                let base = self.base(*base, Reg::R1);
                let reg = self.target(*dst);
                self.asm.load(*size, reg, base, *off);
                self.written(*dst);
            }
            Inst::Store { size, base, off, src } => {
                let base = self.base(*base, Reg::R1);
                let src = self.read_operand(*src, Reg::R0);
                self.asm.store(*size, base, *off, src);
            }
            Inst::Branch { cond, bits, a, b, to } => {
                let dst = self.read(*a, Reg::R0);
                let src = self.read_operand(*b, Reg::R1);
                self.asm.emit(Insn::Branch {
                    cond: *cond,
                    bits: *bits,
                    dst,
                    src,
                    target: self.label(*to),
                });
            }
            Inst::Jump(to) => self.asm.jump(self.label(*to)),
            Inst::Bind(mark) => self.asm.bind(self.label(*mark)),
            Inst::Line(line) => self.asm.at(*line),
            Inst::Exit(value) => {
                let value = self.read_operand(*value, Reg::R0);
                if value != Src::Reg(Reg::R0) {
                    self.asm.mov(Reg::R0, value);
                }
                self.asm.exit();
            }
            Inst::Call { callee, args, result } => self.call(callee, args, *result),
            Inst::FetchAdd { .. }
            | Inst::AtomicAdd { .. }
            | Inst::Exchange { .. }
            | Inst::CompareExchange { .. } => self.atomic(inst),
        }
    }

    fn mov(&mut self, bits: Bits, dst: V, src: Operand) {
        match (self.home(dst), src) {
            (Home::None, _) => {}
            (Home::Stack(off), Operand::Imm(imm)) if bits == Bits::B64 => {
                // A register keeps what the verifier knows of it; a constant stored at once might not.
                self.asm.mov(Reg::R0, imm);
                self.asm.store(Size::D, Reg::R10, off, Reg::R0);
            }
            _ => {
                let target = self.target(dst);
                let src = match src {
                    // Loads straight to the target.
                    Operand::Reg(from) => match self.home(from) {
                        Home::Stack(off) if bits == Bits::B64 => {
                            self.asm.load(Size::D, target, Reg::R10, off);
                            self.written(dst);
                            return;
                        }
                        _ => Src::Reg(self.read(from, Reg::R1)),
                    },
                    Operand::Imm(imm) => Src::Imm(imm),
                };
                if bits == Bits::B32 || src != Src::Reg(target) {
                    self.asm.emit(Insn::Mov {
                        bits,
                        dst: target,
                        src,
                    });
                }
                self.written(dst);
            }
        }
    }

    fn atomic(&mut self, inst: &Inst) {
        match *inst {
            Inst::FetchAdd { bits, base, off, src } | Inst::AtomicAdd { bits, base, off, src } => {
                let fetch = matches!(inst, Inst::FetchAdd { .. });
                let base = self.read(base, Reg::R1);
                let reg = self.read(src, Reg::R0);
                self.asm.emit(Insn::Atomic {
                    op: AtomicOp::Add,
                    fetch,
                    bits,
                    base,
                    off,
                    src: reg,
                });
                if fetch {
                    self.written(src);
                }
            }
            Inst::Exchange { bits, base, off, src } => {
                let base = self.read(base, Reg::R1);
                let reg = self.read(src, Reg::R0);
                self.asm.emit(Insn::Xchg {
                    bits,
                    base,
                    off,
                    src: reg,
                });
                self.written(src);
            }
            Inst::CompareExchange {
                bits,
                base,
                off,
                expected,
                new,
                dst,
            } => {
                self.arguments(&[Arg::Reg(base), Arg::Reg(new), Arg::Reg(expected)]);
                self.asm.mov(Reg::R0, Reg::R3);
                self.asm.emit(Insn::CmpXchg {
                    bits,
                    base: Reg::R1,
                    off,
                    src: Reg::R2,
                });
                self.give(Some(dst));
            }
            _ => {}
        }
    }

    fn call(&mut self, callee: &Callee, args: &[Arg], result: Option<V>) {
        self.arguments(args);
        match callee {
            Callee::Helper(helper) => self.asm.call(*helper),
            Callee::Func(name) => self.asm.call_func(name),
        }
        self.give(result);
    }

    /// Moves `R0` to where a result lies.
    fn give(&mut self, result: Option<V>) {
        match result.map(|reg| (reg, self.home(reg))) {
            Some((_, Home::Reg(reg))) => self.asm.mov(reg, Reg::R0),
            Some((reg, _)) => self.written(reg),
            None => {}
        }
    }

    /// Moves arguments to their registers, all at once as far as the values go.
    fn arguments(&mut self, args: &[Arg]) {
        let mut moves = Vec::new();
        let mut loads = Vec::new();
        for (arg, dst) in args.iter().zip(Reg::ARGS) {
            match arg {
                Arg::Reg(reg) => match self.home(*reg) {
                    Home::Reg(src) => moves.push((dst, src)),
                    Home::Stack(_) | Home::Memory(_) | Home::None => loads.push((arg, dst)),
                },
                _ => loads.push((arg, dst)),
            }
        }
        self.parallel(moves);
        for (arg, dst) in loads {
            match arg {
                Arg::Reg(reg) => {
                    self.read(*reg, dst);
                }
                Arg::Imm(imm) => self.asm.mov(dst, *imm),
                Arg::Wide(value) => self.asm.load_imm64(dst, value.clone()),
                Arg::Stack(off) => {
                    self.asm.mov(dst, Reg::R10);
                    self.asm.alu(crate::insn::AluOp::Add, dst, i32::from(*off));
                }
            }
        }
    }

    /// Copies registers as if at once; `R0` is free.
    fn parallel(&mut self, mut moves: Vec<(Reg, Reg)>) {
        moves.retain(|(dst, src)| dst != src);
        while !moves.is_empty() {
            let ready = moves
                .iter()
                .position(|(dst, _)| !moves.iter().any(|(_, src)| src == dst));
            match ready {
                Some(at) => {
                    let (dst, src) = moves.remove(at);
                    self.asm.mov(dst, src);
                }
                None => {
                    // A cycle: its first source waits in R0.
                    let (_, src) = moves[0];
                    self.asm.mov(Reg::R0, src);
                    for other in &mut moves {
                        if other.1 == src {
                            other.1 = Reg::R0;
                        }
                    }
                }
            }
        }
    }

    /// Moves parameters from the registers that they arrive in.
    fn receive(&mut self, params: Vec<(Home, Reg)>) {
        let mut moves = Vec::new();
        for (home, reg) in params {
            match home {
                Home::Reg(dst) => moves.push((dst, reg)),
                Home::Stack(off) => self.asm.store(Size::D, Reg::R10, off, reg),
                // What arrives is never loose.
                Home::Memory(_) | Home::None => {}
            }
        }
        self.parallel(moves);
    }
}
