//! How an invocation ends: subprograms that every workload's program may call.
//!
//! | name | arguments | result |
//! | --- | --- | --- |
//! | [`FINISH`] | ctx, payload length, status, counter key | [`STORE`] or another code, see below |
//! | [`TRAP`] | ctx, position, lambda, cause, place | an XDP action, to be returned |
//! | [`PUNT`] | ctx, position, lambda, to, place | an XDP action, to be returned |
//! | [`COUNT`] | counter key, slot | 0 |
//! | [`LENGTHEN`] | ctx, bytes | 0, or another number if there is no room |
//! | [`POST`] | ctx, bytes of headers, data, its length, position | an XDP action, to be returned |
//!
//! `finish` turns the request in the packet into the reply, all but its payload, and counts it. The caller first has the
//! reply elsewhere: the packet's length changes, and packet pointers are dead afterwards. An error status comes with
//! length 0. The result is
//!
//! - [`STORE`] (= `XDP_TX`): the packet has room for the payload at [`packet::PAYLOAD`]; the caller stores so many bytes
//!   there and returns `XDP_TX`.
//! - [`NO_ROOM`]: the driver leaves no room for so long a packet. All is done but that: the caller hands headers and
//!   payload to [`POST`], and the agent sends them.
//! - else `result & ACTION` is the action that the caller returns at once: there is no payload, or the reply became
//!   TOO_LARGE.
//!
//! A caller that has no payload may return `result & ACTION` without a look. A `place` is `file << 32 | line`, both of the
//! workload's module. A `position` is the workload's; its counter key is one more.
//!
//! The reply is made in place: addresses and ports change sides, so of the IPv4 checksum only the constant fields and
//! the length are new, and no byte of the old header but the addresses is trusted. One test decides whether the reply
//! is small enough for anyone (design: λ wire, "No reflector"); only a larger one costs a look-up of its caller.

use crate::abi::{self, Ended, event};
use crate::asm::{AsmError, Assembler, Function, Param, ParamType};
use crate::insn::{AluOp, Bits, Cond, Endian, Helper, Insn, Label, Reg, Size};
use crate::packet::{self, action, wire32, xdp_md};

/// `u64 finish(ctx, u64 len, u64 status, u64 key)`.
pub const FINISH: &str = "finish";
/// `u64 trap(ctx, u64 position, u64 lambda, u64 cause, u64 place)`.
pub const TRAP: &str = "trap";
/// `u64 punt(ctx, u64 position, u64 lambda, u64 to, u64 place)`.
pub const PUNT: &str = "punt";
/// `u64 count(u64 key, u64 slot)`.
pub const COUNT: &str = "count";

/// `u64 lengthen(ctx, u64 bytes)`: makes a packet longer whose driver leaves no room behind it. The headers move to the
/// front, into the room that every driver leaves there; what follows them is not defined.
pub const LENGTHEN: &str = "lengthen";

/// Result of [`FINISH`]: the caller stores the payload and returns `XDP_TX`.
pub const STORE: i32 = action::TX;
/// Result of [`FINISH`]: the reply is complete.
pub const COMPLETE: i32 = action::TX | 0x100;
/// `u64 post(ctx, u64 headers, u64 data, u64 len, u64 position)`: has the agent send a packet that the driver leaves no
/// room for: so many bytes of this one's start, then `len` bytes that lie elsewhere.
pub const POST: &str = "post";
/// Result of [`FINISH`]: the packet can't be made so long.
pub const NO_ROOM: i32 = action::DROP | 0x200;
/// Bits of [`FINISH`]'s result that are an XDP action.
pub const ACTION: i32 = 0xff;

/// Statuses of the λ wire that are given here.
const STATUS_TRAP: i32 = Ended::Trap.slot() as i32;
const STATUS_OVERLOADED: i32 = Ended::Overloaded.slot() as i32;
const STATUS_TOO_LARGE: i32 = Ended::TooLarge.slot() as i32;

/// A reply to a caller that is not trusted is at most so many times the request (design: λ wire, "No reflector").
const AMPLIFICATION: i32 = 3;

/// Halves of the reply's IPv4 header that never change, as little-endian loads see them: version and header length,
/// "don't fragment" (a reply fits a packet, so its identification is free to be 0: RFC 6864), time to live 64 and UDP.
const IP_VERSION: i32 = wire32([0x45, 0, 0, 0]);
const IP_NO_FRAGMENT: i32 = wire32([0, 0, 0x40, 0]);
const IP_TTL_UDP: i32 = wire32([64, packet::PROTOCOL_UDP as u8, 0, 0]);
const IP_CONSTANT_SUM: i32 = IP_VERSION + (IP_NO_FRAGMENT >> 16) + IP_TTL_UDP;

/// The subprograms of this module.
pub fn functions() -> Result<Vec<Function>, AsmError> {
    Ok(vec![finish()?, trap()?, punt()?, count()?, lengthen()?, post()?])
}

fn params(names: [&str; 4]) -> Vec<Param> {
    let numbers = names.iter().filter(|name| !name.is_empty());
    let mut params = vec![Param::new("ctx", ParamType::Context)];
    params.extend(numbers.map(|name| Param::new(name, ParamType::U64)));
    params
}

/// `r6` context, `r7` length, `r8` status, `r9` packet; the counter key lies at the stack's top.
fn finish() -> Result<Function, AsmError> {
    let mut asm = Assembler::new(FINISH, params(["len", "status", "key", ""]));
    let (untrusted, go, impossible) = (asm.label(), asm.label(), asm.label());
    asm.mov(Reg::R6, Reg::R1);
    asm.mov(Reg::R7, Reg::R2);
    asm.mov(Reg::R8, Reg::R3);
    asm.store(Size::W, Reg::R10, KEY, Reg::R4);
    asm.load(Size::W, Reg::R9, Reg::R6, xdp_md::DATA);
    asm.load(Size::W, Reg::R2, Reg::R6, xdp_md::DATA_END);
    asm.mov(Reg::R1, Reg::R9);
    asm.alu(AluOp::Add, Reg::R1, i32::from(packet::PAYLOAD));
    asm.branch(Cond::Gt, Reg::R1, Reg::R2, impossible);
    asm.note("small enough for anyone?");
    load_wire16(&mut asm, Reg::R1, packet::UDP_LENGTH);
    asm.alu(AluOp::Sub, Reg::R1, packet::UDP_LEN);
    asm.alu(AluOp::Mul, Reg::R1, AMPLIFICATION);
    asm.mov(Reg::R2, Reg::R7);
    asm.alu(AluOp::Add, Reg::R2, packet::LAMBDA_LEN);
    asm.branch(Cond::SGt, Reg::R2, Reg::R1, untrusted);
    asm.bind(go);
    resize(&mut asm, impossible);
    count_status(&mut asm, impossible);
    ethernet_and_udp(&mut asm);
    ipv4(&mut asm);
    lambda_header(&mut asm);
    let store = asm.label();
    asm.branch(Cond::Ne, Reg::R7, 0, store);
    asm.ret(COMPLETE);
    asm.bind(store);
    asm.load(Size::W, Reg::R0, Reg::R10, ROOM);
    asm.exit();
    asm.bind(impossible);
    asm.ret(action::DROP);
    asm.bind(untrusted);
    look_up_caller(&mut asm, go);
    asm.finish()
}

/// Where `finish` keeps the counter key.
const KEY: i16 = -4;
/// Where it builds the key of a prefix.
const PREFIX: i16 = -16;
/// Where it keeps the bytes that the packet lacks.
const LACKING: i16 = -24;
/// Where it keeps its result for a reply with a payload.
const ROOM: i16 = -28;

fn look_up_caller(asm: &mut Assembler, go: Label) {
    asm.store(Size::W, Reg::R10, PREFIX, 32);
    asm.load(Size::W, Reg::R1, Reg::R9, packet::IP_SOURCE);
    asm.store(Size::W, Reg::R10, PREFIX + 4, Reg::R1);
    look_up(asm, abi::TRUSTED, PREFIX);
    asm.branch(Cond::Ne, Reg::R0, 0, go);
    asm.note("no reflector: TOO_LARGE instead");
    asm.mov(Reg::R7, 0);
    asm.mov(Reg::R8, STATUS_TOO_LARGE);
    asm.jump(go);
}

fn count_status(asm: &mut Assembler, missing: Label) {
    look_up(asm, abi::COUNTERS, KEY);
    asm.branch(Cond::Eq, Reg::R0, 0, missing);
    // Eight statuses; the mask shows the verifier that the place is in the value.
    asm.alu(AluOp::And, Reg::R8, 7);
    asm.mov(Reg::R1, Reg::R8);
    asm.alu(AluOp::Lsh, Reg::R1, 3);
    asm.alu(AluOp::Add, Reg::R0, Reg::R1);
    increment(asm, 0);
}

fn ethernet_and_udp(asm: &mut Assembler) {
    asm.note("ends change sides");
    swap(asm, Size::W, packet::ETH_DESTINATION, packet::ETH_SOURCE);
    swap(asm, Size::H, packet::ETH_DESTINATION + 4, packet::ETH_SOURCE + 4);
    swap(asm, Size::H, packet::UDP, packet::UDP_DESTINATION);
    // The upper half of the word is the checksum. RFC 768: 0 means that there is none.
    wire16_of_len(asm, Reg::R1, packet::UDP_LEN + packet::LAMBDA_LEN);
    asm.store(Size::W, Reg::R9, packet::UDP_LENGTH, Reg::R1);
}

fn ipv4(asm: &mut Assembler) {
    asm.note("IPv4 header");
    asm.load(Size::W, Reg::R1, Reg::R9, packet::IP_SOURCE);
    asm.load(Size::W, Reg::R2, Reg::R9, packet::IP_DESTINATION);
    asm.store(Size::W, Reg::R9, packet::IP_DESTINATION, Reg::R1);
    asm.store(Size::W, Reg::R9, packet::IP_SOURCE, Reg::R2);
    wire16_of_len(
        asm,
        Reg::R3,
        packet::IP_LEN + packet::UDP_LEN + packet::LAMBDA_LEN,
    );
    ipv4_checksum(asm);
}

/// The rest of the header of the packet at `r9`, whose addresses are in `r1` and `r2` and whose length, as it stands on
/// the wire, is in `r3`.
pub(crate) fn ipv4_checksum(asm: &mut Assembler) {
    asm.store(Size::H, Reg::R9, packet::IP, IP_VERSION);
    asm.store(Size::H, Reg::R9, packet::IP_LENGTH, Reg::R3);
    asm.store(Size::W, Reg::R9, packet::IP_ID, IP_NO_FRAGMENT);
    // RFC 1071: the sum of all halves; their byte order only turns the result.
    asm.alu(AluOp::Add, Reg::R1, Reg::R2);
    asm.alu(AluOp::Add, Reg::R1, Reg::R3);
    asm.alu(AluOp::Add, Reg::R1, IP_CONSTANT_SUM);
    fold(asm, Reg::R1, Reg::R2);
    fold(asm, Reg::R1, Reg::R2);
    // What can be left over the low half is at most 1, and adding it there makes no new one.
    asm.mov(Reg::R2, Reg::R1);
    asm.alu(AluOp::Rsh, Reg::R2, 16);
    asm.alu(AluOp::Add, Reg::R1, Reg::R2);
    asm.alu(AluOp::Xor, Reg::R1, -1);
    asm.alu(AluOp::Lsh, Reg::R1, 16);
    asm.alu(AluOp::Or, Reg::R1, IP_TTL_UDP);
    asm.store(Size::W, Reg::R9, packet::IP_TTL, Reg::R1);
}

/// `value = (value & 0xffff) + (value >> 16)`.
pub(crate) fn fold(asm: &mut Assembler, value: Reg, scratch: Reg) {
    asm.mov(scratch, value);
    asm.alu(AluOp::Rsh, scratch, 16);
    asm.alu(AluOp::And, value, 0xffff);
    asm.alu(AluOp::Add, value, scratch);
}

fn lambda_header(asm: &mut Assembler) {
    asm.note("λ header");
    let keeps_fragment = asm.label();
    asm.store(
        Size::B,
        Reg::R9,
        packet::LAMBDA_KIND,
        i32::from(packet::KIND_REPLY),
    );
    // Length in the low half; above it the status, then the flags, which are 0.
    wire16_of_len(asm, Reg::R1, 0);
    asm.mov(Reg::R2, Reg::R8);
    asm.alu(AluOp::Lsh, Reg::R2, 16);
    asm.alu(AluOp::Or, Reg::R1, Reg::R2);
    asm.store(Size::W, Reg::R9, packet::LAMBDA_LENGTH, Reg::R1);
    asm.branch(Cond::Eq, Reg::R8, 0, keeps_fragment);
    asm.store(Size::W, Reg::R9, packet::LAMBDA_FRAGMENT, wire32([0, 0, 0, 1]));
    asm.bind(keeps_fragment);
}

/// Gives the packet its new length, or leaves in [`ROOM`] that it can't.
fn resize(asm: &mut Assembler, impossible: Label) {
    let (resized, fits) = (asm.label(), asm.label());
    asm.note("length of the frame");
    asm.store(Size::W, Reg::R10, ROOM, STORE);
    asm.mov(Reg::R2, Reg::R7);
    asm.alu(AluOp::Add, Reg::R2, i32::from(packet::PAYLOAD));
    asm.load(Size::W, Reg::R1, Reg::R6, xdp_md::DATA_END);
    asm.alu(AluOp::Sub, Reg::R1, Reg::R9);
    asm.alu(AluOp::Sub, Reg::R2, Reg::R1);
    asm.branch(Cond::Eq, Reg::R2, 0, fits);
    asm.store(Size::D, Reg::R10, LACKING, Reg::R2);
    asm.mov(Reg::R1, Reg::R6);
    asm.call(Helper::XdpAdjustTail);
    asm.branch(Cond::Eq, Reg::R0, 0, resized);
    asm.note("no room behind: before, then?");
    asm.mov(Reg::R1, Reg::R6);
    asm.load(Size::D, Reg::R2, Reg::R10, LACKING);
    asm.call_func(LENGTHEN);
    asm.branch(Cond::Eq, Reg::R0, 0, resized);
    asm.store(Size::W, Reg::R10, ROOM, NO_ROOM);
    asm.bind(resized);
    asm.load(Size::W, Reg::R9, Reg::R6, xdp_md::DATA);
    asm.load(Size::W, Reg::R2, Reg::R6, xdp_md::DATA_END);
    asm.mov(Reg::R1, Reg::R9);
    asm.alu(AluOp::Add, Reg::R1, i32::from(packet::PAYLOAD));
    asm.branch(Cond::Gt, Reg::R1, Reg::R2, impossible);
    asm.bind(fits);
}

/// Room before a packet (`XDP_PACKET_HEADROOM` of Linux include/uapi/linux/bpf.h), of which the kernel keeps some.
const HEADROOM: i32 = 256;

/// `r6` context, `r7` bytes, `r8` where the headers are, `r9` where they go.
fn lengthen() -> Result<Function, AsmError> {
    let mut asm = Assembler::new(LENGTHEN, params(["bytes", "", "", ""]));
    let none = asm.label();
    asm.mov(Reg::R6, Reg::R1);
    asm.mov(Reg::R7, Reg::R2);
    // As an unsigned number, what makes a packet shorter is large too.
    asm.branch(Cond::Gt, Reg::R7, HEADROOM, none);
    asm.mov(Reg::R2, 0);
    asm.alu(AluOp::Sub, Reg::R2, Reg::R7);
    asm.call(Helper::XdpAdjustHead);
    asm.branch(Cond::Ne, Reg::R0, 0, none);
    asm.load(Size::W, Reg::R9, Reg::R6, xdp_md::DATA);
    asm.load(Size::W, Reg::R2, Reg::R6, xdp_md::DATA_END);
    asm.mov(Reg::R8, Reg::R9);
    asm.alu(AluOp::Add, Reg::R8, Reg::R7);
    for start in [Reg::R8, Reg::R9] {
        asm.mov(Reg::R1, start);
        asm.alu(AluOp::Add, Reg::R1, i32::from(packet::PAYLOAD));
        asm.branch(Cond::Gt, Reg::R1, Reg::R2, none);
    }
    // From the front: what is written lies before what is still to be read.
    let words = (0..packet::PAYLOAD / 8).map(|word| (Size::D, word * 8));
    for (size, at) in words.chain([(Size::H, packet::PAYLOAD / 8 * 8)]) {
        asm.load(size, Reg::R1, Reg::R8, at);
        asm.store(size, Reg::R9, at, Reg::R1);
    }
    asm.ret(0);
    asm.bind(none);
    asm.ret(1);
    asm.finish()
}

/// `r6` context, `r7` counter key, `r8` cause.
fn trap() -> Result<Function, AsmError> {
    let mut asm = Assembler::new(TRAP, params(["position", "lambda", "cause", "place"]));
    let (known, lost, counted) = (asm.label(), asm.label(), asm.label());
    asm.mov(Reg::R6, Reg::R1);
    asm.mov(Reg::R7, Reg::R2);
    asm.mov(Reg::R8, Reg::R4);
    let unreachable = event::CAUSE_UNREACHABLE.cast_signed();
    asm.branch(Cond::Lt, Reg::R8, unreachable, known);
    asm.mov(Reg::R8, unreachable);
    asm.bind(known);
    reserve(&mut asm, event::HEADER, lost);
    event_head(&mut asm, event::TRAP, Reg::R8);
    asm.store(Size::W, Reg::R0, EVENT_LEN, 0);
    asm.mov(Reg::R1, Reg::R0);
    asm.mov(Reg::R2, 0);
    asm.call(Helper::RingbufSubmit);
    asm.jump(counted);
    asm.bind(lost);
    count_own(&mut asm, Ended::EventsLost);
    asm.bind(counted);
    asm.mov(Reg::R1, Reg::R7);
    asm.alu(AluOp::Add, Reg::R1, 1);
    asm.mov(Reg::R2, Reg::R8);
    asm.alu(AluOp::Add, Reg::R2, Ended::TrapIndex.slot().cast_signed());
    asm.call_func(COUNT);
    finish_error(&mut asm, STATUS_TRAP);
    asm.finish()
}

/// `r6` context, `r7` position, `r8` lambda it is handed to, then `r9` the record.
fn punt() -> Result<Function, AsmError> {
    let mut asm = Assembler::new(PUNT, params(["position", "lambda", "to", "place"]));
    let (full, fits, failed) = (asm.label(), asm.label(), asm.label());
    asm.mov(Reg::R6, Reg::R1);
    asm.mov(Reg::R7, Reg::R2);
    asm.mov(Reg::R8, Reg::R4);
    reserve(&mut asm, event::PACKET_BYTES, full);
    event_head(&mut asm, event::PUNT, Reg::R8);
    asm.mov(Reg::R9, Reg::R0);
    asm.note("the packet, but for padding past the longest request");
    asm.load(Size::W, Reg::R4, Reg::R6, xdp_md::DATA_END);
    asm.load(Size::W, Reg::R1, Reg::R6, xdp_md::DATA);
    asm.alu(AluOp::Sub, Reg::R4, Reg::R1);
    asm.branch(Cond::Le, Reg::R4, packet::MAX_FRAME, fits);
    asm.mov(Reg::R4, packet::MAX_FRAME);
    asm.bind(fits);
    // The helper takes no length of 0, and a request has a header.
    asm.branch(Cond::Lt, Reg::R4, i32::from(packet::PAYLOAD), failed);
    asm.store(Size::W, Reg::R9, EVENT_LEN, Reg::R4);
    asm.mov(Reg::R1, Reg::R6);
    asm.mov(Reg::R2, 0);
    asm.mov(Reg::R3, Reg::R9);
    asm.alu(AluOp::Add, Reg::R3, event::HEADER.cast_signed());
    asm.call(Helper::XdpLoadBytes);
    asm.branch(Cond::Ne, Reg::R0, 0, failed);
    asm.mov(Reg::R1, Reg::R9);
    asm.mov(Reg::R2, 0);
    asm.call(Helper::RingbufSubmit);
    count_own(&mut asm, Ended::HandedUp);
    asm.ret(action::DROP);
    asm.bind(failed);
    asm.mov(Reg::R1, Reg::R9);
    asm.mov(Reg::R2, 0);
    asm.call(Helper::RingbufDiscard);
    asm.bind(full);
    finish_error(&mut asm, STATUS_OVERLOADED);
    asm.finish()
}

/// `r6` context, `r7` bytes of headers, `r8` data, `r9` its length, then the record.
fn post() -> Result<Function, AsmError> {
    let mut asm = Assembler::new(POST, params(["headers", "data", "len", "position"]));
    let (full, failed) = (asm.label(), asm.label());
    asm.mov(Reg::R6, Reg::R1);
    asm.mov(Reg::R7, Reg::R2);
    asm.mov(Reg::R8, Reg::R3);
    asm.mov(Reg::R9, Reg::R4);
    asm.store(Size::D, Reg::R10, POSITION, Reg::R5);
    asm.branch(Cond::Gt, Reg::R7, i32::from(packet::PAYLOAD), full);
    asm.branch(Cond::Gt, Reg::R9, packet::MAX_PAYLOAD, full);
    asm.mov(Reg::R3, event::NOBODY.cast_signed());
    asm.mov(Reg::R5, 0);
    reserve(&mut asm, event::PACKET_BYTES, full);
    asm.store(Size::D, Reg::R10, RECORD, Reg::R0);
    asm.mov(Reg::R2, Reg::R7);
    asm.alu(AluOp::Add, Reg::R2, Reg::R9);
    asm.store(Size::W, Reg::R0, EVENT_LEN, Reg::R2);
    asm.mov(Reg::R1, 0);
    asm.store(Size::D, Reg::R10, DATA_LEN, Reg::R9);
    asm.mov(Reg::R9, Reg::R7);
    asm.load(Size::D, Reg::R7, Reg::R10, POSITION);
    event_head(&mut asm, event::FRAME, Reg::R1);
    asm.note("headers, which the helper takes at least one byte of");
    asm.branch(Cond::Lt, Reg::R9, 1, failed);
    asm.mov(Reg::R1, Reg::R6);
    asm.mov(Reg::R2, 0);
    asm.load(Size::D, Reg::R3, Reg::R10, RECORD);
    asm.alu(AluOp::Add, Reg::R3, event::HEADER.cast_signed());
    asm.mov(Reg::R4, Reg::R9);
    asm.call(Helper::XdpLoadBytes);
    asm.branch(Cond::Ne, Reg::R0, 0, failed);
    asm.load(Size::D, Reg::R1, Reg::R10, RECORD);
    asm.alu(AluOp::Add, Reg::R1, event::HEADER.cast_signed());
    asm.alu(AluOp::Add, Reg::R1, Reg::R9);
    asm.load(Size::D, Reg::R2, Reg::R10, DATA_LEN);
    asm.mov(Reg::R3, Reg::R8);
    asm.call(Helper::ProbeReadKernel);
    asm.branch(Cond::Ne, Reg::R0, 0, failed);
    asm.load(Size::D, Reg::R1, Reg::R10, RECORD);
    asm.mov(Reg::R2, 0);
    asm.call(Helper::RingbufSubmit);
    asm.ret(action::DROP);
    asm.bind(failed);
    asm.load(Size::D, Reg::R1, Reg::R10, RECORD);
    asm.mov(Reg::R2, 0);
    asm.call(Helper::RingbufDiscard);
    asm.bind(full);
    asm.mov(Reg::R1, 0);
    asm.mov(Reg::R2, abi::Wire::NoTailroom.slot().cast_signed());
    asm.call_func(COUNT);
    asm.ret(action::DROP);
    asm.finish()
}

/// Where `post` keeps the workload's position, the record and the length of the data.
const POSITION: i16 = -24;
const RECORD: i16 = -32;
const DATA_LEN: i16 = -40;

/// Offset of the length in an event.
const EVENT_LEN: i16 = 24;
/// Where `trap` and `punt` keep the lambda and the place.
const LAMBDA: i16 = -8;
const PLACE: i16 = -16;

/// Reserves a record of the ring in `r0`; keeps lambda (`r3`) and place (`r5`) on the stack.
fn reserve(asm: &mut Assembler, bytes: u32, full: Label) {
    asm.store(Size::D, Reg::R10, LAMBDA, Reg::R3);
    asm.store(Size::D, Reg::R10, PLACE, Reg::R5);
    asm.load_map(Reg::R1, abi::EVENTS);
    asm.mov(Reg::R2, bytes.cast_signed());
    asm.mov(Reg::R3, 0);
    asm.call(Helper::RingbufReserve);
    asm.branch(Cond::Eq, Reg::R0, 0, full);
}

/// Fills the header of the event in `r0`, all but its length, from position `r7` and the stack.
fn event_head(asm: &mut Assembler, kind: u32, detail: Reg) {
    asm.store(Size::W, Reg::R0, 0, kind.cast_signed());
    asm.store(Size::W, Reg::R0, 4, Reg::R7);
    asm.load(Size::D, Reg::R1, Reg::R10, LAMBDA);
    asm.store(Size::W, Reg::R0, 8, Reg::R1);
    asm.store(Size::W, Reg::R0, 12, detail);
    asm.load(Size::D, Reg::R1, Reg::R10, PLACE);
    asm.store(Size::W, Reg::R0, 20, Reg::R1);
    asm.alu(AluOp::Rsh, Reg::R1, 32);
    asm.store(Size::W, Reg::R0, 16, Reg::R1);
    asm.store(Size::W, Reg::R0, 28, 0);
}

/// Adds one to a counter of the workload at position `r7`.
fn count_own(asm: &mut Assembler, what: Ended) {
    asm.mov(Reg::R1, Reg::R7);
    asm.alu(AluOp::Add, Reg::R1, 1);
    asm.mov(Reg::R2, what.slot().cast_signed());
    asm.call_func(COUNT);
}

/// Answers with an error, from context `r6` and position `r7`, and returns the action.
fn finish_error(asm: &mut Assembler, status: i32) {
    asm.mov(Reg::R1, Reg::R6);
    asm.mov(Reg::R2, 0);
    asm.mov(Reg::R3, status);
    asm.mov(Reg::R4, Reg::R7);
    asm.alu(AluOp::Add, Reg::R4, 1);
    asm.call_func(FINISH);
    asm.alu(AluOp::And, Reg::R0, ACTION);
    asm.exit();
}

fn count() -> Result<Function, AsmError> {
    let params = ["key", "slot"].map(|name| Param::new(name, ParamType::U64));
    let mut asm = Assembler::new(COUNT, params.to_vec());
    let done = asm.label();
    asm.branch(Cond::Ge, Reg::R2, abi::COUNTER_SLOTS.cast_signed(), done);
    asm.mov(Reg::R6, Reg::R2);
    asm.store(Size::W, Reg::R10, KEY, Reg::R1);
    look_up(&mut asm, abi::COUNTERS, KEY);
    asm.branch(Cond::Eq, Reg::R0, 0, done);
    asm.alu(AluOp::Lsh, Reg::R6, 3);
    asm.alu(AluOp::Add, Reg::R0, Reg::R6);
    increment(&mut asm, 0);
    asm.bind(done);
    asm.ret(0);
    asm.finish()
}

/// `r0 = map_lookup_elem(map, r10 + key)`.
pub(crate) fn look_up(asm: &mut Assembler, map: &str, key: i16) {
    asm.mov(Reg::R2, Reg::R10);
    asm.alu(AluOp::Add, Reg::R2, i32::from(key));
    asm.load_map(Reg::R1, map);
    asm.call(Helper::MapLookupElem);
}

/// Adds one to the u64 at `r0 + off`, which belongs to this processor alone: nothing interrupts an XDP program that
/// could run another.
pub(crate) fn increment(asm: &mut Assembler, off: i16) {
    asm.load(Size::D, Reg::R1, Reg::R0, off);
    asm.alu(AluOp::Add, Reg::R1, 1);
    asm.store(Size::D, Reg::R0, off, Reg::R1);
}

/// Exchanges two fields of the packet at `r9`.
fn swap(asm: &mut Assembler, size: Size, one: i16, other: i16) {
    asm.load(size, Reg::R1, Reg::R9, one);
    asm.load(size, Reg::R2, Reg::R9, other);
    asm.store(size, Reg::R9, other, Reg::R1);
    asm.store(size, Reg::R9, one, Reg::R2);
}

/// `dst = the big-endian number at r9 + off`.
fn load_wire16(asm: &mut Assembler, dst: Reg, off: i16) {
    asm.load(Size::H, dst, Reg::R9, off);
    to_wire16(asm, dst);
}

/// Turns the low 16 bits around and clears the rest.
pub(crate) fn to_wire16(asm: &mut Assembler, dst: Reg) {
    asm.emit(Insn::Endian {
        order: Endian::Big,
        size: Size::H,
        dst,
    });
}

/// `dst = payload length + extra`, as it stands on the wire.
fn wire16_of_len(asm: &mut Assembler, dst: Reg, extra: i32) {
    asm.emit(Insn::Mov {
        bits: Bits::B32,
        dst,
        src: Reg::R7.into(),
    });
    if extra != 0 {
        asm.alu(AluOp::Add, dst, extra);
    }
    to_wire16(asm, dst);
}
