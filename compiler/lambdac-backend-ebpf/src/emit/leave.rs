//! Leaving: jumps to targets of this unit or an outer one, replies, traps.
//!
//! What a unit can't do itself becomes a way out ([`Leave`]): the values go to homes, the way's code to the home of
//! codes, and the callback returns 1, which stops `bpf_loop`. The outer unit then does the same leave, with the values
//! in homes, and may hand it further out.

use lambdac_mir::{LambdaId, TrapCause};

use super::{Bytes, Emitter, Sink, Target, Val};
use crate::abi::event;
use crate::finish;
use crate::packet::action;
use crate::vcode::{Arg, Callee, Inst, Mark, Operand, V};

/// Codes of ways out: on with what follows the loop, a trap (its site is in a home), then the unit's ways.
pub(super) const GOES_ON: u64 = 0;
pub(super) const TRAPPED: u64 = 1;
pub(super) const FIRST_WAY: u64 = 2;

/// Where control goes.
#[derive(Clone, Debug)]
pub(super) enum Leave {
    To(Target, Vec<Val>),
    Reply(Bytes),
    Drop,
    Punt(Option<LambdaId>, u64),
    BadRequest,
}

impl Target {
    fn level(&self) -> usize {
        match self {
            Self::Join { level, .. } | Self::Trip { level, .. } => *level,
        }
    }
}

impl Emitter<'_> {
    pub(super) fn leave(&mut self, leave: Leave) {
        let level = match (&leave, &self.sink) {
            (Leave::To(target, _), _) => target.level(),
            (Leave::Reply(_), Sink::Stream { level, .. }) => *level,
            _ => 0,
        };
        if level < self.level() {
            return self.hand_out(leave);
        }
        match leave {
            Leave::To(Target::Join { mark, regs, .. }, values) => {
                self.move_all(&regs, &values);
                self.jump(mark);
            }
            Leave::To(Target::Trip { homes, again, .. }, values) => {
                let settled: Vec<Val> = values.iter().map(|val| self.settled(val)).collect();
                for (home, val) in homes.iter().zip(&settled) {
                    self.store_home(*home, val);
                }
                self.push(Inst::Exit(Operand::Imm(i32::from(!again))));
            }
            Leave::Reply(bytes) => self.reply(&bytes),
            Leave::Drop => self.drop_request(),
            Leave::Punt(to, place) => self.punt(to, place),
            Leave::BadRequest => self.error_reply(crate::abi::Ended::BadRequest),
        }
    }

    /// Stops the loop that this callback is a trip of.
    fn hand_out(&mut self, mut leave: Leave) {
        match &mut leave {
            Leave::To(_, values) => values.iter_mut().for_each(|val| *val = self.homed(val)),
            Leave::Reply(bytes) => {
                bytes.len = self.homed(&bytes.len);
                if let Some(index) = &bytes.at.index {
                    bytes.at.index = Some(self.homed(index));
                }
            }
            Leave::Drop | Leave::Punt(..) | Leave::BadRequest => {}
        }
        let code = FIRST_WAY + self.unit.ways.len() as u64;
        self.unit.ways.push(leave);
        self.stop(code);
    }

    fn homed(&mut self, val: &Val) -> Val {
        match val {
            Val::Imm(_) | Val::Home(_) => val.clone(),
            _ => {
                let settled = self.settled(val);
                let home = self.home();
                self.store_home(home, &settled);
                Val::Home(home)
            }
        }
    }

    fn stop(&mut self, code: u64) {
        let home = self.unit.code_home;
        self.store_home(home, &Val::Imm(code));
        self.push(Inst::Exit(Operand::Imm(1)));
    }

    /// Moves values to registers as if at once.
    pub(super) fn move_all(&mut self, regs: &[V], values: &[Val]) {
        let is_target =
            |val: &Val, but: V| matches!(val, Val::Reg { reg, .. } if *reg != but && regs.contains(reg));
        let moves: Vec<(V, Val)> = regs
            .iter()
            .zip(values)
            .map(|(reg, val)| {
                let waits = matches!(val, Val::Cmp(_)) || is_target(val, *reg);
                let val = if waits {
                    let copy = self.copy_of(val);
                    self.val(copy)
                } else {
                    val.clone()
                };
                (*reg, val)
            })
            .collect();
        for (reg, val) in moves {
            self.load_into(reg, &val);
        }
    }

    /// After a loop's call: does what its trips could not. Control goes on after this if the loop ended by itself.
    pub(super) fn take_ways(&mut self, code_home: u32, ways: Vec<Leave>, traps: bool) {
        if ways.is_empty() && !traps {
            return;
        }
        let goes_on = self.mark();
        let code = self.copy_of(&Val::Home(code_home));
        self.branch(crate::insn::Cond::Eq, code, GOES_ON as i32, goes_on);
        for (index, way) in ways.into_iter().enumerate() {
            let next = self.mark();
            self.branch(
                crate::insn::Cond::Ne,
                code,
                (FIRST_WAY + index as u64) as i32,
                next,
            );
            self.leave(way);
            self.bind(next);
        }
        if traps {
            self.trap_from_home();
        } else {
            let beyond = self.unreachable();
            self.jump(beyond);
        }
        self.bind(goes_on);
    }

    /// Where an access that only the verifier thinks possible goes.
    pub(super) fn unreachable(&mut self) -> Mark {
        self.trap_site(u64::from(event::CAUSE_UNREACHABLE))
    }

    pub(super) fn trap(&mut self, cause: TrapCause) -> Mark {
        let index = TrapCause::ALL.iter().position(|other| *other == cause);
        self.trap_site(index.unwrap_or_default() as u64)
    }

    /// Where a trap of a cause at the current line goes. The site is lambda, cause, file, line in 12, 8, 16, 24 bits.
    fn trap_site(&mut self, cause: u64) -> Mark {
        let lambda = self.lambda.map_or(0xfff, |id| u64::from(id.0).min(0xfff));
        let (file, line) = (u64::from(self.loc.file), u64::from(self.loc.line) & 0xff_ffff);
        let site = lambda << 48 | cause << 40 | file << 24 | line;
        if let Some(mark) = self.unit.traps.get(&site) {
            return *mark;
        }
        let mark = self.mark();
        self.unit.traps.insert(site, mark);
        mark
    }

    /// Goes on with the trap that an inner unit left in its home.
    fn trap_from_home(&mut self) {
        if self.level() == 0 {
            let info = self.trap_register();
            let home = self.trap_home;
            self.load_home(info, home);
            let mark = self.trap_common();
            self.jump(mark);
        } else {
            self.stop(TRAPPED);
        }
    }

    fn trap_register(&mut self) -> V {
        if let Some(reg) = self.trap_info {
            return reg;
        }
        let reg = self.new_reg();
        self.trap_info = Some(reg);
        reg
    }

    fn trap_common(&mut self) -> Mark {
        if let Some(mark) = self.trap_mark {
            return mark;
        }
        let mark = self.mark();
        self.trap_mark = Some(mark);
        mark
    }

    /// The trap sites of a callback, at its end; whether there are any.
    pub(super) fn callback_traps(&mut self) -> bool {
        let sites = std::mem::take(&mut self.unit.traps);
        let any = !sites.is_empty();
        for (site, mark) in sites {
            self.bind(mark);
            let home = self.trap_home;
            self.store_home(home, &Val::Imm(site));
            self.stop(TRAPPED);
        }
        any
    }

    /// The trap sites of a program, at its end.
    pub(super) fn program_traps(&mut self) {
        let sites = std::mem::take(&mut self.unit.traps);
        if sites.is_empty() && self.trap_mark.is_none() {
            return;
        }
        let info = self.trap_register();
        let common = self.trap_common();
        for (site, mark) in sites {
            self.bind(mark);
            self.constant(info, site);
            self.jump(common);
        }
        self.bind(common);
        self.report_trap(info);
    }

    fn report_trap(&mut self, info: V) {
        use crate::insn::{AluOp, Cond};
        if self.quiet {
            return self.push(Inst::Exit(Operand::Imm(action::DROP)));
        }
        let piece = |emitter: &mut Self, shift: i32, mask: i32| {
            let reg = emitter.new_reg();
            emitter.mov(reg, info);
            emitter.alu(AluOp::Rsh, reg, shift);
            emitter.alu(AluOp::And, reg, mask);
            reg
        };
        let cause = piece(self, 40, 0xff);
        let lambda = piece(self, 48, 0xfff);
        let known = self.mark();
        self.branch(Cond::Ne, lambda, 0xfff, known);
        self.constant(lambda, event::NOBODY.into());
        self.bind(known);
        let file = piece(self, 24, 0xffff);
        self.alu(AluOp::Lsh, file, 32);
        let line = piece(self, 0, 0xff_ffff);
        self.alu(AluOp::Or, file, line);
        let ctx = self.ctx();
        let position = Arg::Imm(self.shared.position.cast_signed());
        let args = vec![
            Arg::Reg(ctx),
            position,
            Arg::Reg(lambda),
            Arg::Reg(cause),
            Arg::Reg(file),
        ];
        let result = self.call_func(finish::TRAP, args);
        self.push(Inst::Exit(result.into()));
    }

    pub(super) fn call_func(&mut self, name: &str, args: Vec<Arg>) -> V {
        let result = self.new_reg();
        self.push(Inst::Call {
            callee: Callee::Func(name.to_owned()),
            args,
            result: Some(result),
        });
        result
    }

    pub(super) fn count(&mut self, what: crate::abi::Ended) {
        let key = Arg::Imm(crate::abi::counter_key(self.shared.position).cast_signed());
        let slot = Arg::Imm(what.slot().cast_signed());
        self.call_func(finish::COUNT, vec![key, slot]);
    }

    fn drop_request(&mut self) {
        self.count(crate::abi::Ended::Dropped);
        self.push(Inst::Exit(Operand::Imm(action::DROP)));
    }

    /// Up the stack, untouched.
    pub(super) fn pass(&mut self) {
        self.count(crate::abi::Ended::Passed);
        self.push(Inst::Exit(Operand::Imm(action::PASS)));
    }

    fn punt(&mut self, to: Option<LambdaId>, place: u64) {
        let ctx = self.ctx();
        let somebody = |id: Option<LambdaId>| Arg::Imm(id.map_or(event::NOBODY, |id| id.0).cast_signed());
        let place = self.copy_of(&Val::Imm(place));
        let args = vec![
            Arg::Reg(ctx),
            Arg::Imm(self.shared.position.cast_signed()),
            somebody(self.lambda),
            somebody(to),
            Arg::Reg(place),
        ];
        let result = self.call_func(finish::PUNT, args);
        self.push(Inst::Exit(result.into()));
    }
}
