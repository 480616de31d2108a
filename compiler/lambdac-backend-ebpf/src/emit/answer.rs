//! Programs for what ends a wait: an answer of a service, or the lack of one.
//!
//! Both find the slot, win it by compare-exchange, leave in the invocation's memory how the wait ended, and go on in the
//! continuation program. What the text of an answer says is decided by the reader that the targets share
//! ([`memcached::reader`]), which is emitted like any other function; so its accesses are bounded for the verifier.

use std::rc::Rc;
use std::sync::LazyLock;

use lambdac_mir::memcached;
use lambdac_mir::{Func, Module, Shape};

use super::{Emitter, Mem, Ref, Shared, Spot, Val};
use crate::abi::{Wire, wait as abi};
use crate::expand::expand;
use crate::insn::{AluOp, Bits, Cond, Helper, Imm64, Size};
use crate::packet::{self, action, xdp_md};
use crate::vcode::{Arg, Callee, Inst, Mark, Operand, V};
use crate::wait::{self, Slots};

/// The reader of answers.
static READER: LazyLock<Module> = LazyLock::new(|| expand(memcached::reader()));

/// Its function, the last: the others are what it calls.
const READ_ANSWER: usize = 5;

impl Shared<'static> {
    /// Of an image's programs for the ends of waits.
    pub(crate) fn of_answers(slots: Slots, test: bool, by_cpu: bool) -> Self {
        Self {
            module: &READER,
            position: 0,
            id: 0,
            native: &[],
            test,
            first_file: 0,
            consts: Vec::new(),
            params: Vec::new(),
            inline_trips: 0,
            by_cpu,
            sites: Vec::new(),
            slots: Some(slots),
        }
    }
}

/// Where packets go that are no answers.
struct Refused {
    unasked: Mark,
    peer: Mark,
    malformed: Mark,
    key: Mark,
    part: Mark,
}

impl Emitter<'_> {
    /// Mark of a counted end.
    fn refused(&mut self) -> Refused {
        Refused {
            unasked: self.mark(),
            peer: self.mark(),
            malformed: self.mark(),
            key: self.mark(),
            part: self.mark(),
        }
    }

    fn bind_refused(&mut self, ctx: V, refused: &Refused) {
        self.bind(refused.unasked);
        // It may be for what began to wait in the image before. Where it comes back from, there is none.
        let programs = Arg::Wide(Imm64::Map(abi::RESUMES.to_owned()));
        self.push(Inst::Call {
            callee: Callee::Helper(Helper::TailCall),
            args: vec![Arg::Reg(ctx), programs, Arg::Imm(abi::PREVIOUS.cast_signed())],
            result: None,
        });
        self.wire_end(Wire::AnswerUnasked, action::DROP);
        for (mark, why) in [
            (refused.peer, Wire::AnswerWrongPeer),
            (refused.malformed, Wire::AnswerMalformed),
            (refused.key, Wire::AnswerWrongKey),
            (refused.part, Wire::AnswerPart),
        ] {
            self.bind(mark);
            self.wire_end(why, action::DROP);
        }
    }

    /// A packet to one of our ports; the dispatcher has looked at everything up to UDP's header.
    pub(super) fn answer(&mut self) {
        let Some(slots) = self.shared.slots else {
            return self.invalid("answers without slots");
        };
        let ctx = self.ctx();
        self.quiet = true;
        self.start_piece();
        let refused = self.refused();
        let start = self.load(Size::W, ctx, xdp_md::DATA);
        let end = self.load(Size::W, ctx, xdp_md::DATA_END);
        let text = self.new_reg();
        self.mov(text, start);
        self.alu(AluOp::Add, text, wait::TEXT);
        self.branch(Cond::Gt, text, end, refused.malformed);
        let len = self.wire16(start, packet::UDP_LENGTH);
        self.branch(Cond::Lt, len, packet::UDP_LEN + abi::FRAME_LEN, refused.malformed);
        self.alu(AluOp::Sub, len, packet::UDP_LEN + abi::FRAME_LEN);
        self.branch(Cond::Gt, len, abi::MAX_ANSWER as i32, refused.malformed);
        let sequence = self.wire16(start, packet::LAMBDA + 2);
        let total = self.wire16(start, packet::LAMBDA + 4);
        self.branch(Cond::Ge, sequence, total, refused.malformed);
        let (slot, word) = self.find(ctx, start, slots, &refused);
        let kind = self.read_text(ctx, slot, len, &refused);
        let (whole, fits) = (self.mark(), self.mark());
        self.branch(Cond::Eq, total, 1, whole);
        // Only a value over the limit is that long, and the first datagram proves it.
        self.branch(Cond::Ne, sequence, 0, refused.part);
        self.branch(Cond::Ne, kind, wait::OVERSIZED, refused.part);
        self.bind(whole);
        self.branch(Cond::Ne, kind, wait::OVERSIZED, fits);
        self.constant(kind, wait::FAILED as u64);
        self.bind(fits);
        self.win(slot, word, refused.unasked);
        self.hand_over(ctx, slot, kind);
        self.bind_refused(ctx, &refused);
        self.end_piece();
    }

    /// A big-endian number of the packet.
    pub(super) fn wire16(&mut self, start: V, off: i16) -> V {
        let reg = self.load(Size::H, start, off);
        self.push(Inst::Swap {
            size: Size::H,
            dst: reg,
        });
        reg
    }

    /// The slot that an answer is for, and its word.
    fn find(&mut self, ctx: V, start: V, slots: Slots, refused: &Refused) -> (V, V) {
        let index = self.wire16(start, packet::LAMBDA);
        self.alu(AluOp::And, index, slots.count as i32 - 1);
        let slot = self.slot(index, refused.unasked);
        let word = self.load(Size::D, slot, 0);
        let state = self.new_reg();
        self.mov(state, word);
        self.alu(AluOp::And, state, 0xff);
        self.branch(Cond::Ne, state, i32::from(abi::WAITING), refused.unasked);
        // What is in the slot is what it was when it began to wait, if the word is the same in the end.
        let ingress = self.load(Size::W, ctx, xdp_md::INGRESS_IFINDEX);
        let kept = self.load(Size::W, slot, abi::IFINDEX);
        self.branch(Cond::Ne, ingress, kept, refused.unasked);
        for (size, off, kept, other) in [
            (Size::H, packet::UDP_DESTINATION, abi::OWN_PORT, refused.unasked),
            (Size::H, packet::LAMBDA, abi::ID, refused.unasked),
            (Size::W, packet::IP_SOURCE, abi::PEER, refused.peer),
            (Size::H, packet::UDP, abi::PEER_PORT, refused.peer),
        ] {
            let there = self.load(size, start, off);
            let kept = self.load(size, slot, kept);
            self.branch(Cond::Ne, there, kept, other);
        }
        (slot, word)
    }

    /// Reads the text: the kind, and for a value where it is, which goes to the memory that is handed over.
    fn read_text(&mut self, ctx: V, slot: V, len: V, refused: &Refused) -> V {
        let scratch = self.scratch();
        let text = Mem::Slot {
            at: wait::HAND_TEXT,
            size: abi::MAX_ANSWER,
        };
        self.branch(Cond::Lt, len, 1, refused.malformed);
        let to = self.address(&Ref::new(text, 0), 0);
        let from = Arg::Imm(wait::TEXT);
        let loaded = self.call(
            Helper::XdpLoadBytes,
            vec![Arg::Reg(ctx), from, Arg::Reg(to), Arg::Reg(len)],
        );
        self.branch(Cond::Ne, loaded, 0, refused.malformed);
        let key = self.memory(abi::KEY_ROOM);
        let to = self.address(&Ref::new(key, 0), abi::KEY_ROOM);
        let from = self.new_reg();
        self.mov(from, slot);
        self.alu(AluOp::Add, from, i32::from(abi::KEY));
        let room = Arg::Imm(abi::KEY_ROOM as i32);
        self.call(Helper::ProbeReadKernel, vec![Arg::Reg(to), room, Arg::Reg(from)]);
        let key_len = self.load(Size::W, slot, abi::KEY_LEN);
        self.branch(Cond::Gt, key_len, abi::MAX_KEY as i32, refused.unasked);
        let op = self.load(Size::B, slot, abi::OP);
        let result = self.new_reg();
        let view = |emitter: &Self, mem, len| Spot {
            at: Ref::new(mem, 0),
            shape: &Shape::View,
            len: Some(emitter.val(len)),
        };
        let args = vec![None, Some(view(self, text, len)), Some(view(self, key, key_len))];
        let reader: &'static Func = &READER.funcs[READ_ANSWER];
        let lambdac_mir::FuncParam::Scalar(param) = reader.params[0] else {
            self.invalid("a reader without an operation");
            return result;
        };
        let op = self.val(op);
        self.run_func(reader, args, vec![(param, op)], Rc::new([result]));
        let piece = |emitter: &mut Self, shift: i32, mask: i32| {
            let reg = emitter.new_reg();
            emitter.mov(reg, result);
            emitter.alu(AluOp::Rsh, reg, shift);
            emitter.alu(AluOp::And, reg, mask);
            reg
        };
        let (at, value_len) = (piece(self, 16, 0xffff), piece(self, 0, 0xffff));
        self.store(Size::W, scratch, wait::HAND_AT, at);
        self.store(Size::W, scratch, wait::HAND_LEN, value_len);
        let kind = piece(self, 32, 0xff);
        self.branch(Cond::Eq, kind, wait::MALFORMED, refused.malformed);
        self.branch(Cond::Eq, kind, wait::WRONG_KEY, refused.key);
        kind
    }

    /// From waiting to running, unless another did.
    fn win(&mut self, slot: V, word: V, lost: Mark) {
        let new = self.new_reg();
        self.mov(new, word);
        self.alu(AluOp::Add, new, i32::from(abi::RUNNING - abi::WAITING));
        let found = self.new_reg();
        self.push(Inst::CompareExchange {
            bits: Bits::B64,
            base: slot,
            off: 0,
            expected: word,
            new,
            dst: found,
        });
        self.branch(Cond::Ne, found, word, lost);
    }

    /// On in the continuation program. The slot's index is on the stack still.
    fn hand_over(&mut self, ctx: V, slot: V, kind: V) {
        let scratch = self.scratch();
        let index = self.new_reg();
        self.push(Inst::Load {
            size: Size::W,
            dst: index,
            base: crate::vcode::Base::Stack,
            off: super::STACK_KEY,
        });
        self.store(Size::W, scratch, wait::HAND_SLOT, index);
        self.store(Size::W, scratch, wait::HAND_KIND, kind);
        let programs = Arg::Wide(Imm64::Map(abi::RESUMES.to_owned()));
        let resume = self.load(Size::W, slot, abi::RESUME);
        // Where it comes back from, the verifier sees no result.
        self.push(Inst::Call {
            callee: Callee::Helper(Helper::TailCall),
            args: vec![Arg::Reg(ctx), programs, Arg::Reg(resume)],
            result: None,
        });
        self.lose(slot);
    }

    /// The program that ends a wait whose time ran out, if it still is the same wait.
    pub(super) fn expire(&mut self) {
        let ctx = self.ctx();
        self.start_piece();
        let late = self.mark();
        // Looked up before the slot, whose index must be what is left on the stack.
        self.scratch();
        let start = self.load(Size::W, ctx, xdp_md::DATA);
        let end = self.load(Size::W, ctx, xdp_md::DATA_END);
        let last = self.new_reg();
        self.mov(last, start);
        self.alu(AluOp::Add, last, abi::EXPIRE_BYTES as i32);
        self.branch(Cond::Gt, last, end, late);
        let index = self.load(Size::W, start, abi::EXPIRE_SLOT);
        let word = self.load(Size::D, start, abi::EXPIRE_WORD);
        let slot = self.slot(index, late);
        let state = self.new_reg();
        self.mov(state, word);
        self.alu(AluOp::And, state, 0xff);
        self.branch(Cond::Ne, state, i32::from(abi::WAITING), late);
        self.win(slot, word, late);
        let kind = self.copy_of(&Val::Imm(wait::TIMED_OUT as u64));
        self.hand_over(ctx, slot, kind);
        self.bind(late);
        self.push(Inst::Exit(Operand::Imm(action::DROP)));
        self.end_piece();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lambdac_mir::interp::{Answer, Callee, Env, MirInterp, Outcome};
    use lambdac_mir::{Base, BitPos, Body, Dispatch, Lambda, LambdaId, Loc, MessageSize, Op, Operand, Part};
    use lambdac_mir::{FuncId, Module, Place, Region, Stmt, Storage, Term, View};

    use super::READ_ANSWER;

    const GET: u64 = 0;
    const SET: u64 = 1;
    const DELETE: u64 = 2;

    fn reader() -> Module {
        lambdac_mir::memcached::reader().clone()
    }

    /// The reader with a lambda that replies with its result for the key `k`: operation first, then the text.
    fn with_lambda(op: u64) -> Module {
        let mut module = reader();
        let mut body = Body::default();
        let out = body.slot(
            "out",
            lambdac_mir::Shape::Array(lambdac_mir::Shape::Scalar(8).into(), 8),
        );
        body.slots[out.index()].storage = Storage::Frame;
        let mut stmts = Vec::new();
        let mut push = |body: &mut Body, width: u8, op: Op| {
            let results = if width > 0 {
                vec![body.value(width)]
            } else {
                Vec::new()
            };
            let result = results.first().copied();
            stmts.push(Stmt {
                results,
                op,
                loc: Loc::default(),
            });
            result
        };
        let request = Place::of(Base::Request);
        let zero = push(&mut body, 32, Op::Const(0)).unwrap();
        let one = push(&mut body, 32, Op::Const(1)).unwrap();
        let eight = push(&mut body, 32, Op::Const(8)).unwrap();
        let op = push(&mut body, 8, Op::Const(op)).unwrap();
        let len = push(&mut body, 32, Op::Len(request.clone())).unwrap();
        let rest = push(&mut body, 32, Op::Bin(lambdac_mir::BinOp::Sub, len, one)).unwrap();
        let view = |offset, len| View {
            place: request.clone(),
            offset,
            len,
        };
        // The key is the first byte of the request.
        let args = vec![
            Operand::Value(op),
            Operand::View(view(one, rest)),
            Operand::View(view(zero, one)),
        ];
        let result = push(&mut body, 64, Op::Call(FuncId(READ_ANSWER as u32), args)).unwrap();
        let bit = BitPos { bit: 0, index: None };
        let place = Place::of(Base::Slot(out));
        push(&mut body, 0, Op::StoreBits(place.clone(), bit, result));
        let reply = View {
            place,
            offset: zero,
            len: eight,
        };
        module.lambdas.push(Lambda {
            name: "read".into(),
            stream: false,
            request: MessageSize { min: 1, max: 1344 },
            reply: MessageSize { min: 8, max: 8 },
            request_type: "bytes<1344>".into(),
            reply_type: "[u64; 1]".into(),
            deadline: None,
            on: None,
            body,
            parts: vec![Part {
                params: Vec::new(),
                live_slots: Vec::new(),
                region: Region {
                    stmts,
                    term: Term::Reply(reply),
                },
            }],
        });
        module.dispatch = Dispatch::Only(LambdaId(0));
        lambdac_mir::validate(&module).unwrap();
        module
    }

    fn read(op: u64, text: &[u8]) -> u64 {
        let mut interp = MirInterp::new(Arc::new(with_lambda(op))).unwrap();
        let env = Env {
            pkt: [0; 5],
            now: 0,
            random: None,
            params: Vec::new(),
        };
        let request = [b"k", text].concat();
        let mut nobody = |_: &lambdac_mir::Service, _, _: &[u8], _: Option<&[u8]>| Answer::Failed;
        match interp.call(Callee::Dispatch, &request, &env, &mut nobody) {
            Outcome::Reply(bytes) => u64::from_be_bytes(bytes.try_into().unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_reader_is_valid_and_its_last_function_is_the_one_that_is_called() {
        let module = reader();
        lambdac_mir::validate(&module).unwrap();
        assert_eq!(module.funcs.len(), READ_ANSWER + 1);
        assert_eq!(&*module.funcs[READ_ANSWER].name, "read_answer");
    }

    #[test]
    fn answers_are_read_to_the_letter() {
        const MALFORMED: u64 = 0;
        const WRONG_KEY: u64 = 1 << 32;
        const ERROR: u64 = 2 << 32;
        const MISSING: u64 = 3 << 32;
        const DONE: u64 = 4 << 32;
        const OVERSIZED: u64 = 6 << 32;
        let value = |at: u64, len: u64| 5 << 32 | at << 16 | len;
        // As the host reads them, see `answers_are_read_to_the_letter` of lnic-host.
        let cases: &[(u64, &[u8], u64)] = &[
            (GET, b"END\r\n", MISSING),
            (GET, b"VALUE k 0 3\r\nabc\r\nEND\r\n", value(13, 3)),
            (GET, b"VALUE k 0 0\r\n\r\nEND\r\n", value(13, 0)),
            (GET, b"VALUE k 0 5\r\nEND\r\n\r\nEND\r\n", value(13, 5)),
            (GET, b"VALUE k 0 3 77\r\nabc\r\nEND\r\n", value(16, 3)),
            (GET, b"VALUE k  3\r\nabc\r\nEND\r\n", value(12, 3)),
            (GET, b"VALUE k a\rb 3\r\nabc\r\nEND\r\n", value(15, 3)),
            (GET, b"VALUE k 0 0000000003\r\nabc\r\nEND\r\n", value(22, 3)),
            (GET, b"VALUE k 0 00000000003\r\nabc\r\nEND\r\n", MALFORMED),
            (GET, b"VALUE k 0 3\r\nab\r\nEND\r\n", MALFORMED),
            (GET, b"VALUE k 0 3\r\nabc\r\n", MALFORMED),
            (GET, b"VALUE k 0 3\r\nabc\r\nEND\r\nx", MALFORMED),
            (GET, b"VALUE k 0 3\r\nabc\r\nEND\n\r", MALFORMED),
            (GET, b"VALUE k 0 -1\r\n", MALFORMED),
            (GET, b"VALUE k 0 3x\r\nabc\r\nEND\r\n", MALFORMED),
            (GET, b"VALUE k 0 99999999999\r\n", MALFORMED),
            (GET, b"VALUE k 0\r\n", MALFORMED),
            (GET, b"VALUE k 0 \r\n", MALFORMED),
            (GET, b"VALUE k 0 3", MALFORMED),
            (GET, b"VALUE k", WRONG_KEY),
            (GET, b"VALUE ", MALFORMED),
            (GET, b"VALUE l 0 3\r\nabc\r\nEND\r\n", WRONG_KEY),
            (GET, b"VALUE kk 0 3\r\nabc\r\nEND\r\n", WRONG_KEY),
            (GET, b"VALUE k 0 1025\r\nabc", OVERSIZED),
            (GET, b"VALUE k 0 9999999999\r\n", OVERSIZED),
            (GET, b"STORED\r\n", MALFORMED),
            (GET, b"SERVER_ERROR out of memory\r\n", ERROR),
            (GET, b"CLIENT_ERROR \r\n", ERROR),
            (GET, b"CLIENT_ERROR x", MALFORMED),
            (GET, b"OTHERS_ERROR x\r\n", MALFORMED),
            (GET, b"", MALFORMED),
            (GET, b"\r\n", MALFORMED),
            (SET, b"STORED\r\n", DONE),
            (SET, b"NOT_STORED\r\n", MISSING),
            (SET, b"EXISTS\r\n", MISSING),
            (SET, b"NOT_FOUND\r\n", MISSING),
            (SET, b"ERROR\r\n", ERROR),
            (SET, b"ERROR\n\n", MALFORMED),
            (SET, b"END\r\n", MALFORMED),
            (SET, b"STORED\r\n ", MALFORMED),
            (DELETE, b"DELETED\r\n", DONE),
            (DELETE, b"DELETED\n\n", MALFORMED),
            (DELETE, b"NOT_FOUND\r\n", MISSING),
            (DELETE, b"STORED\r\n", MALFORMED),
        ];
        for (op, text, expected) in cases {
            assert_eq!(read(*op, text), *expected, "{op} {}", text.escape_ascii());
        }
    }
}
