//! Programs: what comes before a lambda (the request's headers, the match stage) and streams.

use std::rc::Rc;

use lambdac_mir::{
    Cond, Dispatch, Field, Func, KeyField, KeyPart, LambdaId, Loc, Match, Module, ObjectKind, Op, PartId,
    Region, Target as RuleTarget,
};

use super::keyed::KeyVal;
use super::leave::Leave;
use super::parts::order;
use super::{Bytes, Emitted, Emitter, Error, HOME, Mem, Ref, Shared, Sink, Val, with_homes};
use crate::abi::{Ended, Wire};
use crate::asm::ParamType;
use crate::finish;
use crate::insn::{self, AluOp, Bits, Size};
use crate::packet::{self, action, wire16, wire32, xdp_md};
use crate::vcode::{Arg, Inst, Mark, Operand, V};
use crate::wait;

/// What a program runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry {
    /// The match stage.
    Dispatch,
    /// A lambda, whatever the match stage says.
    Lambda(LambdaId),
    /// Parts that waited.
    Resume,
    /// The reader of services' answers.
    Answer,
    /// The end of a wait without an answer.
    Expire,
}

/// A program of a workload.
pub(crate) fn program(shared: &Shared<'_>, name: &str, entry: Entry) -> Result<Emitted, Error> {
    with_homes(|homes, deep| {
        // The first word is the stamp counter, which outlives invocations.
        let first = match entry {
            Entry::Dispatch | Entry::Lambda(_) => HOME,
            Entry::Resume | Entry::Answer | Entry::Expire => wait::HAND_END,
        };
        let mut emitter = Emitter::new(shared, name.to_owned(), first, homes);
        emitter.deep = deep;
        emitter.program(entry);
        emitter.finish()
    })
}

/// The lambdas that requests can reach.
fn reachable(module: &Module, entry: Entry) -> Vec<LambdaId> {
    match entry {
        Entry::Lambda(id) => vec![id],
        Entry::Dispatch => module.dispatch.lambdas().into_iter().collect(),
        Entry::Resume | Entry::Answer | Entry::Expire => Vec::new(),
    }
}

/// How messages of a stream are cut: bytes of a chunk, the least bytes of the last one, and bytes of a fragment.
struct Stream {
    chunk: u32,
    min: u32,
    fragment: u32,
}

fn stream(module: &Module, lambdas: &[LambdaId]) -> Option<Stream> {
    let all = || lambdas.iter().filter_map(|id| module.lambdas.get(id.index()));
    let first = all().next().filter(|lambda| lambda.stream)?;
    let chunk = first.request.max.max(1);
    let reply = all().map(|lambda| lambda.reply.max).max().unwrap_or(0).max(1);
    let payload = packet::MAX_PAYLOAD as u32;
    let chunks = (payload / chunk).min(payload / reply).max(1);
    Some(Stream {
        chunk,
        min: all().map(|lambda| lambda.request.min).max().unwrap_or(0),
        fragment: chunks * chunk,
    })
}

impl<'m> Emitter<'m> {
    fn program(&mut self, entry: Entry) {
        let ctx = self.new_reg();
        self.unit.code.params = vec![(ctx, "ctx", ParamType::Context)];
        self.unit.ctx = Some(ctx);
        match entry {
            Entry::Dispatch | Entry::Lambda(_) => self.request(ctx, entry),
            Entry::Resume => self.resume(),
            Entry::Answer => self.answer(),
            Entry::Expire => self.expire(),
        }
        self.program_traps();
    }

    /// From a request's packet to its end.
    fn request(&mut self, ctx: V, entry: Entry) {
        let module = self.shared.module;
        let lambdas = reachable(module, entry);
        let stream = stream(module, &lambdas);
        let len = self.headers(ctx, entry, stream.as_ref());
        self.len_max = packet::MAX_PAYLOAD as u32;
        self.len = self.val(len);
        self.start_piece();
        match &stream {
            Some(stream) => self.stream(entry, &lambdas, stream),
            None => self.run(entry, &lambdas),
        }
        self.end_piece();
    }

    /// Checks what the dispatcher left to check; gives the register of the payload's length.
    fn headers(&mut self, ctx: V, entry: Entry, stream: Option<&Stream>) -> V {
        let start = self.load(Size::W, ctx, xdp_md::DATA);
        let end = self.load(Size::W, ctx, xdp_md::DATA_END);
        let payload = self.new_reg();
        self.mov(payload, start);
        self.alu(AluOp::Add, payload, i32::from(packet::PAYLOAD));
        let (short, other, whole) = (self.mark(), self.mark(), self.mark());
        self.branch(insn::Cond::Gt, payload, end, short);
        if let Entry::Dispatch = entry {
            let id = self.load(Size::W, start, packet::LAMBDA_WORKLOAD);
            self.push(Inst::Branch {
                cond: insn::Cond::Ne,
                bits: Bits::B32,
                a: id,
                b: Operand::Imm(wire32(self.shared.id.to_be_bytes())),
                to: other,
            });
        }
        self.unit.packet = Some((start, end));
        let len = self.load(Size::H, start, packet::LAMBDA_LENGTH);
        self.push(Inst::Swap {
            size: Size::H,
            dst: len,
        });
        let several = self.mark();
        match stream {
            None => {
                let fragments = self.load(Size::H, start, packet::LAMBDA_FRAGMENTS);
                self.branch(insn::Cond::Ne, fragments, wire16(1), several);
            }
            Some(stream) => self.check_fragment(start, len, stream),
        }
        self.jump(whole);
        self.bind(short);
        self.push(Inst::Exit(Operand::Imm(action::PASS)));
        self.bind(other);
        self.wire_end(Wire::NoWorkload, action::PASS);
        self.bind(several);
        if stream.is_none() {
            self.pass();
        } else {
            self.push(Inst::Exit(Operand::Imm(action::PASS)));
        }
        self.bind(whole);
        len
    }

    pub(super) fn wire_end(&mut self, why: Wire, action: i32) {
        let slot = Arg::Imm(why.slot().cast_signed());
        self.call_func(finish::COUNT, vec![Arg::Imm(0), slot]);
        self.push(Inst::Exit(Operand::Imm(action)));
    }

    /// Fragments of a stream are full but for the last.
    fn check_fragment(&mut self, start: V, len: V, stream: &Stream) {
        let (long, full, bad) = (self.mark(), self.mark(), self.mark());
        self.branch(insn::Cond::Gt, len, stream.fragment as i32, long);
        self.branch(insn::Cond::Eq, len, stream.fragment as i32, full);
        let index = self.load(Size::H, start, packet::LAMBDA_FRAGMENT);
        let count = self.load(Size::H, start, packet::LAMBDA_FRAGMENTS);
        for reg in [index, count] {
            self.push(Inst::Swap {
                size: Size::H,
                dst: reg,
            });
        }
        self.alu(AluOp::Add, index, 1);
        self.branch(insn::Cond::Lt, index, count, bad);
        self.jump(full);
        self.bind(long);
        self.wire_end(Wire::LengthOverFragment, action::DROP);
        self.bind(bad);
        self.wire_end(Wire::ShortMiddle, action::DROP);
        self.bind(full);
    }

    /// A piece of a program that looks up the invocation's memory at its start, if it uses it.
    pub(super) fn start_piece(&mut self) {
        self.unit.entry = self.unit.code.insts.len();
        self.unit.scratch = None;
        self.unit.shares = self.deep;
        if self.deep {
            self.scratch();
        }
    }

    pub(super) fn end_piece(&mut self) {
        let (Some(scratch), Some(ctx)) = (self.unit.scratch, self.unit.ctx) else {
            return;
        };
        let entry = self.scratch_entry(scratch, ctx);
        let at = self.unit.entry;
        self.unit.code.insts.splice(at..at, entry);
        self.unit.scratch = None;
    }

    /// Match stage and lambdas, on the request or chunk.
    fn run(&mut self, entry: Entry, lambdas: &[LambdaId]) {
        let module = self.shared.module;
        let marks: Vec<(LambdaId, Mark)> = lambdas.iter().map(|id| (*id, self.mark())).collect();
        match (entry, &module.dispatch) {
            (Entry::Dispatch, Dispatch::Match(stage)) => self.stage(stage, &marks),
            (Entry::Dispatch, Dispatch::Unreachable) => self.leave(Leave::BadRequest),
            _ => {}
        }
        for (id, mark) in marks {
            // Each lambda of a program looks memory up for itself, so that one that needs none pays nothing.
            let own = self.level() == 0;
            if own {
                self.end_piece();
            }
            self.bind(mark);
            if own {
                self.start_piece();
            }
            self.lambda(id);
        }
    }

    fn lambda(&mut self, id: LambdaId) {
        let module = self.shared.module;
        let (Some(lambda), native) = (module.lambdas.get(id.index()), self.shared.native.get(id.index()))
        else {
            return self.invalid("a lambda that is not there");
        };
        if native != Some(&true) {
            return self.pass();
        }
        self.loc = Loc::default();
        let size = lambda.request;
        let bad = self.mark();
        let len = self.len.clone();
        let len = self.reg(&len);
        let most = packet::MAX_PAYLOAD as u32;
        if size.min > 0 {
            self.branch(insn::Cond::Lt, len, size.min.min(most + 1) as i32, bad);
        }
        if size.max < most {
            self.branch(insn::Cond::Gt, len, size.max as i32, bad);
        }
        if size.min <= most {
            self.lambda = Some(id);
            let before = std::mem::replace(&mut self.len_max, size.max.min(most));
            self.lambda_body(id);
            self.len_max = before;
            self.lambda = None;
        }
        self.bind(bad);
        self.leave(Leave::BadRequest);
    }

    fn lambda_body(&mut self, id: LambdaId) {
        let module = self.shared.module;
        let lambda = &module.lambdas[id.index()];
        let order = order(lambda, &[PartId(0)]);
        let regions: Vec<&Region> = order.iter().map(|id| &lambda.parts[id.index()].region).collect();
        if self.unit.packet.is_some() {
            self.check_payload(lambda.request.min);
        }
        if self.now.is_none() && regions.iter().any(|region| reads_clock(module, region)) {
            self.read_clock();
        }
        let cursor = self.cursor;
        self.enter_body(&lambda.body, &[], &regions);
        self.entrances(lambda, &order);
        self.parts(lambda, &order);
        self.instances.pop();
        self.release(cursor);
        if self.level() == 0 {
            self.now = None;
        }
        self.unit.checked = 0;
    }

    /// Lets the verifier see that so many bytes of payload are there.
    pub(super) fn check_payload(&mut self, bytes: u32) {
        let Some((start, end)) = self.unit.packet else {
            return;
        };
        if bytes == 0 || bytes > packet::MAX_PAYLOAD as u32 {
            return;
        }
        let last = self.new_reg();
        self.mov(last, start);
        self.alu(AluOp::Add, last, i32::from(packet::PAYLOAD) + bytes as i32);
        let beyond = self.unreachable();
        self.branch(insn::Cond::Gt, last, end, beyond);
        self.unit.checked = bytes;
    }

    fn stage(&mut self, stage: &'m Match, marks: &[(LambdaId, Mark)]) {
        let bad = self.mark();
        if stage.min_len > 0 {
            let len = self.len.clone();
            let len = self.reg(&len);
            let least = stage.min_len.min(packet::MAX_PAYLOAD as u32 + 1);
            self.branch(insn::Cond::Lt, len, least as i32, bad);
            self.check_payload(stage.min_len);
        }
        if stage
            .rules
            .iter()
            .any(|rule| cond_reads_clock(self.shared.module, &rule.cond))
        {
            self.read_clock();
        }
        let cursor = self.cursor;
        for rule in &stage.rules {
            self.at(rule.loc);
            let next = self.mark();
            self.condition(&rule.cond, false, next);
            match rule.target {
                RuleTarget::Lambda(id) => match marks.iter().find(|(other, _)| *other == id) {
                    Some((_, mark)) => self.jump(*mark),
                    None => self.invalid("a rule for no lambda"),
                },
                RuleTarget::Drop => self.leave(Leave::Drop),
                RuleTarget::Punt => {
                    let place = self.place();
                    self.leave(Leave::Punt(None, place));
                }
            }
            self.bind(next);
        }
        self.release(cursor);
        self.bind(bad);
        self.leave(Leave::BadRequest);
        self.unit.checked = 0;
        if self.level() == 0 {
            self.now = None;
        }
    }

    /// Goes to `to` if the condition is (or is not) true, else on.
    fn condition(&mut self, cond: &'m Cond, when: bool, to: Mark) {
        match cond {
            Cond::True => {
                if when {
                    self.jump(to);
                }
            }
            Cond::Not(inner) => self.condition(inner, !when, to),
            Cond::All(items) | Cond::Any(items) => {
                // `All` fails at the first that is false, `Any` holds at the first that is true.
                let stops = matches!(cond, Cond::Any(_));
                if stops == when {
                    items.iter().for_each(|item| self.condition(item, when, to));
                    return;
                }
                let Some((last, first)) = items.split_last() else {
                    return if when != stops {
                        self.jump(to)
                    };
                };
                let out = self.mark();
                first.iter().for_each(|item| self.condition(item, stops, out));
                self.condition(last, when, to);
                self.bind(out);
            }
            Cond::Cmp {
                field,
                op,
                swapped,
                value,
            } => {
                let (found, constant) = (self.field(*field), Val::Imm(*value));
                let (a, b) = if *swapped {
                    (&constant, &found)
                } else {
                    (&found, &constant)
                };
                self.branch_compare(*op, field.width(), (a, b), when, to);
            }
            Cond::Range { field, lo, hi } => {
                let found = self.field(*field);
                let reg = self.reg(&found);
                if when {
                    return self.range(reg, (*lo, Some(*hi)), to);
                }
                let inside = self.mark();
                self.range(reg, (*lo, Some(*hi)), inside);
                self.jump(to);
                self.bind(inside);
            }
            Cond::Masked { field, mask, value } => {
                let found = self.field(*field);
                let reg = self.copy_of(&found);
                let mask = self.operand(&Val::Imm(*mask));
                self.alu(AluOp::And, reg, mask);
                let val = self.val(reg);
                self.branch_compare(lambdac_mir::CmpOp::Eq, 64, (&val, &Val::Imm(*value)), when, to);
            }
            Cond::Has { table, key } => {
                let cursor = self.cursor;
                let vals = self.key_fields(*table, key);
                let found = self.table_get(*table, &vals, None, false);
                self.release(cursor);
                if let Some(there) = found.first() {
                    self.branch_if(there, when, to);
                }
            }
            Cond::Eval(func) => {
                let holds = self.eval(func);
                self.branch_if(&holds, when, to);
            }
        }
    }

    fn eval(&mut self, func: &'m Func) -> Val {
        let result = self.new_reg();
        let (cursor, loc) = (self.cursor, self.loc);
        self.run_func(func, Vec::new(), Vec::new(), Rc::new([result]));
        self.release(cursor);
        self.at(loc);
        self.val(result)
    }

    fn field(&mut self, field: Field) -> Val {
        match field {
            Field::Bits { bit, width } => self.request_field(bit, width),
            Field::Pkt(field) => self.pkt(field),
            Field::Rest { offset, max } => {
                let len = self.len.clone();
                let least = self.bin(lambdac_mir::BinOp::UMax, 32, &len, &Val::Imm(offset.into()));
                let rest = self.binary(AluOp::Sub, &least, &Val::Imm(offset.into()));
                self.bin(lambdac_mir::BinOp::UMin, 32, &rest, &Val::Imm(max.into()))
            }
        }
    }

    fn key_fields(&mut self, table: lambdac_mir::ObjectId, key: &[KeyField]) -> Vec<KeyVal> {
        let parts: &[KeyPart] = self.key_parts(table);
        debug_assert_eq!(parts.len(), key.len());
        let mut vals = Vec::new();
        for part in key {
            vals.push(match part {
                KeyField::Field(field) => KeyVal::Scalar(self.field(*field)),
                KeyField::Const(value) => KeyVal::Scalar(Val::Imm(*value)),
                KeyField::Bytes { offset, len } => {
                    let mut at = Ref::new(Mem::Request, *offset);
                    at.index = self.chunk.clone();
                    KeyVal::Bytes(Bytes {
                        at,
                        len: Val::Imm((*len).into()),
                        max: *len,
                    })
                }
            });
        }
        vals
    }

    /// A fragment of a stream, chunk by chunk: each is a trip of a loop, which appends its reply.
    fn stream(&mut self, entry: Entry, lambdas: &[LambdaId], stream: &Stream) {
        let total = self.len.clone();
        let total_reg = self.reg(&total);
        let some = self.mark();
        self.branch(insn::Cond::Ne, total_reg, 0, some);
        if stream.min == 0 {
            self.error_reply(Ended::Ok);
        } else {
            self.error_reply(Ended::BadRequest);
        }
        self.bind(some);
        if self.stream_reads_clock(entry, lambdas) {
            self.read_clock();
        }
        let buffer = self.memory(packet::MAX_PAYLOAD as u32);
        let filled = self.home();
        self.store_home(filled, &Val::Imm(0));
        let chunk = u64::from(stream.chunk);
        let trips = self.binary(AluOp::Add, &total, &Val::Imm(chunk - 1));
        let trips = self.copy_of(&trips);
        self.alu(AluOp::Div, trips, stream.chunk as i32);
        let trips = self.val(trips);
        let index = self.enter_callback();
        let index = self.val(index);
        let offset = self.binary(AluOp::Mul, &index, &Val::Imm(chunk));
        let offset = self.settled(&offset);
        let rest = self.binary(AluOp::Sub, &total, &offset);
        let len = self.bin(lambdac_mir::BinOp::UMin, 64, &rest, &Val::Imm(chunk));
        let outer = (self.len.clone(), self.len_max);
        self.chunk = Some(offset);
        self.len = self.settled(&len);
        self.len_max = stream.chunk;
        self.sink = Sink::Stream {
            level: self.level(),
            buffer,
            filled,
        };
        self.run(entry, lambdas);
        self.sink = Sink::Packet;
        self.chunk = None;
        (self.len, self.len_max) = outer;
        let ended = self.leave_callback();
        self.call_loop(&trips, ended);
        let reply = Bytes {
            at: Ref::new(buffer, 0),
            len: Val::Home(filled),
            max: packet::MAX_PAYLOAD as u32,
        };
        let reply = Bytes {
            len: self.settled(&reply.len),
            ..reply
        };
        self.reply(&reply);
    }

    fn stream_reads_clock(&self, entry: Entry, lambdas: &[LambdaId]) -> bool {
        let module = self.shared.module;
        let lambda = |id: &LambdaId| {
            let parts = module.lambdas[id.index()].parts.iter();
            parts.into_iter().any(|part| reads_clock(module, &part.region))
        };
        let stage = match (entry, &module.dispatch) {
            (Entry::Dispatch, Dispatch::Match(stage)) => stage
                .rules
                .iter()
                .any(|rule| cond_reads_clock(module, &rule.cond)),
            _ => false,
        };
        stage || lambdas.iter().any(lambda)
    }
}

/// Whether code reads the clock: by `now`, or for the life of an entry.
pub(super) fn reads_clock(module: &Module, region: &Region) -> bool {
    let mut reads = false;
    region.walk(&mut |stmt| {
        reads |= match &stmt.op {
            Op::Now => true,
            Op::MapGet { object, .. }
            | Op::MapPut { object, .. }
            | Op::MapRemove { object, .. }
            | Op::MapFetchAdd { object, .. } => matches!(
                module.objects[object.index()].kind,
                ObjectKind::Lru { ttl: Some(_), .. }
            ),
            // A callee's number is below its caller's.
            Op::Call(callee, _) => reads_clock(module, &module.funcs[callee.index()].region),
            _ => false,
        };
    });
    reads
}

fn cond_reads_clock(module: &Module, cond: &Cond) -> bool {
    let mut reads = false;
    cond.for_each_func(&mut |func| reads |= reads_clock(module, &func.region));
    reads
}
