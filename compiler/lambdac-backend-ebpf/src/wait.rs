//! Waiting for a service: the maps, and the subprograms that are the same for all workloads.
//!
//! [`CLAIM`] finds a free slot; the workload's code then saves what its continuation needs; [`ASK`] turns the packet
//! into the service's request, but for its text. Either can fail, and then the packet is what it was. [`crate::abi::wait`]
//! says what lies where.

use std::net::SocketAddr;

use lambdac_mir::Module;
use lambdac_mir::memcached::kind;

use crate::abi::{self, Config, Ended, wait};
use crate::asm::{AsmError, Assembler, Function, Param, ParamType};
use crate::finish::{self, look_up, to_wire16};
use crate::insn::{AluOp, Bits, Cond, Helper, Insn, Label, Reg, Size};
use crate::names;
use crate::object::{DataSection, Field, MMAPABLE, Map, MapKind, Struct, Type, Variable};
use crate::packet::{self, wire32, xdp_md};

/// `u64 claim()`: the index of a slot that is now ours, or at least the number of slots.
pub(crate) const CLAIM: &str = "claim";
/// `u64 ask(ctx, u64 slot, u64 len)`: 0 if the packet is now the request with room for a text of that length, and its
/// slot waits; [`finish::NO_ROOM`] if all is so but the room; else the place of the [`Ended`] counter of why not, and the
/// slot is free.
pub(crate) const ASK: &str = "ask";

/// What [`ANSWER`](wait::ANSWER) and [`EXPIRE`](wait::EXPIRE) hand to a continuation program, at these offsets of
/// `scratch`: first the slot.
pub(crate) const HAND_SLOT: i16 = 8;
/// How the wait ended.
pub(crate) const HAND_KIND: i16 = 12;
/// Offset of a value in the text.
pub(crate) const HAND_AT: i16 = 16;
/// Its length.
pub(crate) const HAND_LEN: i16 = 20;
/// The text of the answer.
pub(crate) const HAND_TEXT: u32 = 24;
/// Past all of it.
pub(crate) const HAND_END: u32 = HAND_TEXT + wait::MAX_ANSWER;

/// How a wait ended: time ran out.
pub(crate) const TIMED_OUT: i32 = 0;
// The others are kinds of answers, as immediates.
pub(crate) const MALFORMED: i32 = kind::MALFORMED as i32;
pub(crate) const WRONG_KEY: i32 = kind::WRONG_KEY as i32;
pub(crate) const FAILED: i32 = kind::FAILED as i32;
pub(crate) const MISSING: i32 = kind::MISSING as i32;
pub(crate) const DONE: i32 = kind::DONE as i32;
pub(crate) const VALUE: i32 = kind::VALUE as i32;
pub(crate) const OVERSIZED: i32 = kind::OVERSIZED as i32;

/// Bytes before the text of a request or answer.
pub(crate) const TEXT: i32 = packet::LAMBDA as i32 + wait::FRAME_LEN;
/// Slots that are tried.
const TRIES: i32 = 16;

/// Slots as large as the continuations need, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slots {
    pub(crate) bytes: u32,
    pub(crate) count: u32,
}

impl Slots {
    /// For continuations of at most so many bytes; `None`: nothing waits.
    pub(crate) fn new(most: u32) -> Option<Self> {
        let bytes = most.checked_next_multiple_of(wait::SLOT_STEP)?;
        let count = if bytes <= wait::SMALL_SLOT {
            wait::MANY_SLOTS
        } else {
            wait::FEW_SLOTS
        };
        (most > 0).then_some(Self { bytes, count })
    }
}

/// `AF_INET` of Linux include/linux/socket.h.
const AF_INET: i32 = 2;
/// Offsets in `struct bpf_fib_lookup` (Linux include/uapi/linux/bpf.h).
mod fib {
    pub const BYTES: i32 = 64;
    pub const PROTOCOL: i16 = 1;
    pub const LENGTH: i16 = 6;
    pub const IFINDEX: i16 = 8;
    pub const SOURCE: i16 = 16;
    pub const DESTINATION: i16 = 32;
    pub const OWN_MAC: i16 = 52;
    pub const HOP_MAC: i16 = 58;
    /// `BPF_FIB_LKUP_RET_FWD_DISABLED`.
    pub const FORWARDING_OFF: i32 = 5;
    /// `BPF_FIB_LKUP_RET_NO_NEIGH`.
    pub const NO_NEIGHBOUR: i32 = 7;
}

/// The maps of an image in which lambdas wait.
pub(crate) fn maps(slots: Slots, workloads: u32) -> Vec<Map> {
    vec![
        Map {
            name: wait::WAITS.to_owned(),
            kind: MapKind::Array,
            key: Some(Type::U32),
            value: Some(Type::U64.array(slots.bytes / 8)),
            max_entries: slots.count,
            flags: MMAPABLE,
        },
        Map {
            name: wait::RESUMES.to_owned(),
            kind: MapKind::ProgArray,
            key: Some(Type::U32),
            value: Some(Type::U32),
            max_entries: wait::FIRST_RESUME + workloads,
            flags: 0,
        },
    ]
}

/// The section of the ports.
pub(crate) fn ports() -> DataSection {
    let of = Struct {
        name: "ports".to_owned(),
        size: wait::Ports::BYTES as u32,
        fields: vec![
            Field::new("first", wait::Ports::FIRST, Type::U16),
            Field::new("count", wait::Ports::COUNT, Type::U16),
        ],
    };
    DataSection {
        name: wait::PORTS.to_owned(),
        bytes: vec![0; wait::Ports::BYTES],
        variables: vec![Variable {
            name: "ports".to_owned(),
            offset: 0,
            ty: Type::Struct(of),
        }],
    }
}

/// The section of a workload's services, as the source has them.
pub(crate) fn services(module: &Module) -> Option<DataSection> {
    let services = module.services.iter().map(|service| wait::Service {
        address: match service.address.parse() {
            Ok(SocketAddr::V4(address)) => Some(address),
            _ => None,
        },
        hop: None,
        timeout: service.timeout,
    });
    let bytes: Vec<u8> = services.flat_map(|service| service.encode()).collect();
    let ty = Type::U64.array(bytes.len() as u32 / 8);
    (!bytes.is_empty()).then(|| DataSection {
        name: wait::services_section(&module.name),
        bytes,
        variables: vec![Variable {
            name: names::made("services", &module.name),
            offset: 0,
            ty,
        }],
    })
}

/// The subprograms.
pub(crate) fn functions(slots: Slots) -> Result<Vec<Function>, AsmError> {
    Ok(vec![claim(slots)?, ask(slots)?])
}

/// Where the index of a slot lies on the stack.
const INDEX: i16 = -4;

/// `r6` tries that are left.
fn claim(slots: Slots) -> Result<Function, AsmError> {
    let mut asm = Assembler::new(CLAIM, Vec::new());
    let next = asm.label();
    asm.mov(Reg::R6, TRIES);
    let again = asm.here();
    asm.call(Helper::GetPrandomU32);
    asm.alu(AluOp::And, Reg::R0, slots.count as i32 - 1);
    asm.store(Size::W, Reg::R10, INDEX, Reg::R0);
    look_up(&mut asm, wait::WAITS, INDEX);
    asm.branch(Cond::Eq, Reg::R0, 0, next);
    asm.mov(Reg::R1, Reg::R0);
    asm.load(Size::D, Reg::R0, Reg::R1, 0);
    asm.branch(Cond::Set, Reg::R0, 0xff, next);
    asm.note("free: the next generation, claimed");
    asm.mov(Reg::R2, Reg::R0);
    asm.mov(Reg::R3, Reg::R0);
    asm.alu(AluOp::Add, Reg::R3, 0x100 + i32::from(wait::CLAIMED));
    compare_exchange(&mut asm, Reg::R1, Reg::R3);
    asm.branch(Cond::Ne, Reg::R0, Reg::R2, next);
    asm.load(Size::W, Reg::R0, Reg::R10, INDEX);
    asm.exit();
    asm.bind(next);
    asm.alu(AluOp::Sub, Reg::R6, 1);
    asm.branch(Cond::Ne, Reg::R6, 0, again);
    asm.ret(slots.count as i32);
    asm.finish()
}

/// The word at `base` becomes `new` if it is `r0`, which then holds what it was.
fn compare_exchange(asm: &mut Assembler, base: Reg, new: Reg) {
    asm.emit(Insn::CmpXchg {
        bits: Bits::B64,
        base,
        off: 0,
        src: new,
    });
}

/// Adds to the state of our slot at `r7`. An exchange, so that what was written before is seen before.
fn move_state(asm: &mut Assembler, by: i32) {
    asm.load(Size::D, Reg::R1, Reg::R7, 0);
    asm.alu(AluOp::Add, Reg::R1, by);
    asm.emit(Insn::Xchg {
        bits: Bits::B64,
        base: Reg::R7,
        off: 0,
        src: Reg::R1,
    });
}

/// Ways that [`ASK`] fails.
struct Unsent {
    ports: Label,
    route: Label,
    neighbour: Label,
}

/// `r6` context, `r7` slot, `r8` length of the text, `r9` ports, then configuration, then packet.
fn ask(slots: Slots) -> Result<Function, AsmError> {
    let params = vec![
        Param::new("ctx", ParamType::Context),
        Param::new("slot", ParamType::U64),
        Param::new("len", ParamType::U64),
    ];
    let mut asm = Assembler::new(ASK, params);
    let unsent = Unsent {
        ports: asm.label(),
        route: asm.label(),
        neighbour: asm.label(),
    };
    let (free, missing) = (asm.label(), asm.label());
    asm.mov(Reg::R6, Reg::R1);
    asm.mov(Reg::R8, Reg::R3);
    asm.store(Size::W, Reg::R10, INDEX, Reg::R2);
    look_up(&mut asm, wait::WAITS, INDEX);
    asm.branch(Cond::Eq, Reg::R0, 0, missing);
    asm.mov(Reg::R7, Reg::R0);
    name_request(&mut asm, slots, unsent.ports);
    asm.load_data(Reg::R9, abi::CONFIG, 0);
    asm.load(Size::W, Reg::R1, Reg::R9, Config::ADDRESS);
    next_hop(&mut asm, &unsent);
    resize(&mut asm, missing);
    headers(&mut asm);
    move_state(&mut asm, i32::from(wait::WAITING - wait::CLAIMED));
    asm.load(Size::W, Reg::R0, Reg::R10, ROOM);
    asm.exit();
    for (label, why) in [
        (unsent.ports, Ended::UnsentPorts),
        (unsent.route, Ended::UnsentRoute),
        (unsent.neighbour, Ended::UnsentNeighbour),
    ] {
        asm.bind(label);
        asm.mov(Reg::R8, why.slot().cast_signed());
        asm.jump(free);
    }
    asm.bind(free);
    move_state(&mut asm, -i32::from(wait::CLAIMED));
    asm.mov(Reg::R0, Reg::R8);
    asm.exit();
    asm.bind(missing);
    asm.ret(Ended::UnsentSlots.slot().cast_signed());
    asm.finish()
}

/// A random port of ours, and an id whose low bits are the slot's index.
fn name_request(asm: &mut Assembler, slots: Slots, no_ports: Label) {
    asm.load_data(Reg::R9, wait::PORTS, 0);
    asm.load(Size::H, Reg::R1, Reg::R9, wait::Ports::COUNT as i16);
    asm.branch(Cond::Eq, Reg::R1, 0, no_ports);
    asm.note("port and id");
    asm.call(Helper::GetPrandomU32);
    asm.load(Size::H, Reg::R1, Reg::R9, wait::Ports::COUNT as i16);
    asm.alu(AluOp::Sub, Reg::R1, 1);
    asm.alu(AluOp::And, Reg::R1, Reg::R0);
    asm.load(Size::H, Reg::R2, Reg::R9, wait::Ports::FIRST as i16);
    asm.alu(AluOp::Add, Reg::R1, Reg::R2);
    to_wire16(asm, Reg::R1);
    asm.store(Size::H, Reg::R7, wait::OWN_PORT, Reg::R1);
    asm.alu(AluOp::Rsh, Reg::R0, 16);
    asm.alu(AluOp::And, Reg::R0, 0xffff & !(slots.count as i32 - 1));
    asm.load(Size::W, Reg::R1, Reg::R10, INDEX);
    asm.alu(AluOp::Or, Reg::R0, Reg::R1);
    to_wire16(asm, Reg::R0);
    asm.store(Size::H, Reg::R7, wait::ID, Reg::R0);
}

fn copy_mac(asm: &mut Assembler, to: (Reg, i16), from: (Reg, i16)) {
    for at in [0, 2, 4] {
        asm.load(Size::H, Reg::R2, from.0, from.1 + at);
        asm.store(Size::H, to.0, to.1 + at, Reg::R2);
    }
}

/// The kernel's route, which must lead out where the request came in; the own address is in `r1`. A test run comes in by
/// [`wait::NO_WIRE`]: who made it takes the request from its packet.
fn next_hop(asm: &mut Assembler, unsent: &Unsent) {
    let (known, off, given) = (asm.label(), asm.label(), asm.label());
    for word in (0..fib::BYTES as i16).step_by(8) {
        asm.store(Size::D, Reg::R7, wait::ROUTE + word, 0);
    }
    asm.store(Size::W, Reg::R7, wait::ROUTE + fib::SOURCE, Reg::R1);
    asm.store(Size::B, Reg::R7, wait::ROUTE, AF_INET);
    asm.store(
        Size::B,
        Reg::R7,
        wait::ROUTE + fib::PROTOCOL,
        packet::PROTOCOL_UDP,
    );
    asm.mov(Reg::R1, Reg::R8);
    asm.alu(AluOp::Add, Reg::R1, TEXT - packet::ETH_LEN);
    asm.store(Size::H, Reg::R7, wait::ROUTE + fib::LENGTH, Reg::R1);
    asm.load(Size::W, Reg::R1, Reg::R7, wait::IFINDEX);
    asm.branch(Cond::Eq, Reg::R1, wait::NO_WIRE.cast_signed(), given);
    asm.store(Size::W, Reg::R7, wait::ROUTE + fib::IFINDEX, Reg::R1);
    asm.load(Size::W, Reg::R1, Reg::R7, wait::PEER);
    asm.branch(Cond::Eq, Reg::R1, 0, unsent.route);
    asm.store(Size::W, Reg::R7, wait::ROUTE + fib::DESTINATION, Reg::R1);
    asm.mov(Reg::R1, Reg::R6);
    asm.mov(Reg::R2, Reg::R7);
    asm.alu(AluOp::Add, Reg::R2, i32::from(wait::ROUTE));
    asm.mov(Reg::R3, fib::BYTES);
    asm.mov(Reg::R4, 0);
    asm.call(Helper::FibLookup);
    asm.branch(Cond::Eq, Reg::R0, fib::FORWARDING_OFF, off);
    asm.branch(Cond::Eq, Reg::R0, fib::NO_NEIGHBOUR, unsent.neighbour);
    asm.branch(Cond::Ne, Reg::R0, 0, unsent.route);
    asm.load(Size::W, Reg::R1, Reg::R7, wait::ROUTE + fib::IFINDEX);
    asm.load(Size::W, Reg::R2, Reg::R7, wait::IFINDEX);
    asm.branch(Cond::Ne, Reg::R1, Reg::R2, unsent.route);
    asm.jump(known);
    asm.bind(off);
    asm.note("the kernel looks up no routes: the agent's, if it has one");
    asm.load(Size::H, Reg::R1, Reg::R7, wait::HOP);
    for at in [2, 4] {
        asm.load(Size::H, Reg::R2, Reg::R7, wait::HOP + at);
        asm.alu(AluOp::Or, Reg::R1, Reg::R2);
    }
    asm.branch(Cond::Eq, Reg::R1, 0, unsent.route);
    asm.bind(given);
    copy_mac(asm, (Reg::R7, wait::ROUTE + fib::HOP_MAC), (Reg::R7, wait::HOP));
    copy_mac(asm, (Reg::R7, wait::ROUTE + fib::OWN_MAC), (Reg::R9, Config::MAC));
    asm.bind(known);
}

/// Where [`ASK`] keeps its result for a request that is complete but for its text.
const ROOM: i16 = -8;

/// Gives the packet the request's length, or leaves in [`ROOM`] that it can't; leaves it in `r9`, as long as the verifier
/// must see.
fn resize(asm: &mut Assembler, refused: Label) {
    let same = asm.label();
    asm.store(Size::W, Reg::R10, ROOM, 0);
    asm.load(Size::W, Reg::R9, Reg::R6, xdp_md::DATA);
    asm.load(Size::W, Reg::R1, Reg::R6, xdp_md::DATA_END);
    asm.alu(AluOp::Sub, Reg::R1, Reg::R9);
    asm.mov(Reg::R2, Reg::R8);
    asm.alu(AluOp::Add, Reg::R2, TEXT);
    asm.alu(AluOp::Sub, Reg::R2, Reg::R1);
    asm.branch(Cond::Eq, Reg::R2, 0, same);
    asm.mov(Reg::R9, Reg::R2);
    asm.mov(Reg::R1, Reg::R6);
    asm.call(Helper::XdpAdjustTail);
    asm.branch(Cond::Eq, Reg::R0, 0, same);
    asm.note("no room behind, then before: what is in the packet does not matter");
    asm.mov(Reg::R1, Reg::R6);
    asm.mov(Reg::R2, 0);
    asm.alu(AluOp::Sub, Reg::R2, Reg::R9);
    asm.call(Helper::XdpAdjustHead);
    asm.branch(Cond::Eq, Reg::R0, 0, same);
    asm.store(Size::W, Reg::R10, ROOM, finish::NO_ROOM);
    asm.bind(same);
    asm.load(Size::W, Reg::R9, Reg::R6, xdp_md::DATA);
    asm.load(Size::W, Reg::R1, Reg::R6, xdp_md::DATA_END);
    asm.mov(Reg::R2, Reg::R9);
    asm.alu(AluOp::Add, Reg::R2, TEXT);
    asm.branch(Cond::Gt, Reg::R2, Reg::R1, refused);
}

fn headers(asm: &mut Assembler) {
    asm.note("Ethernet");
    copy_mac(
        asm,
        (Reg::R9, packet::ETH_DESTINATION),
        (Reg::R7, wait::ROUTE + fib::HOP_MAC),
    );
    copy_mac(
        asm,
        (Reg::R9, packet::ETH_SOURCE),
        (Reg::R7, wait::ROUTE + fib::OWN_MAC),
    );
    let ipv4 = packet::wire16(packet::ETHERTYPE_IPV4);
    asm.store(Size::H, Reg::R9, packet::ETH_TYPE, ipv4);
    asm.note("IPv4");
    asm.load(Size::W, Reg::R1, Reg::R7, wait::ROUTE + fib::SOURCE);
    asm.load(Size::W, Reg::R2, Reg::R7, wait::PEER);
    asm.store(Size::W, Reg::R9, packet::IP_SOURCE, Reg::R1);
    asm.store(Size::W, Reg::R9, packet::IP_DESTINATION, Reg::R2);
    asm.mov(Reg::R3, Reg::R8);
    asm.alu(AluOp::Add, Reg::R3, TEXT - packet::ETH_LEN);
    to_wire16(asm, Reg::R3);
    finish::ipv4_checksum(asm);
    asm.note("UDP, without a checksum");
    asm.load(Size::H, Reg::R1, Reg::R7, wait::OWN_PORT);
    asm.store(Size::H, Reg::R9, packet::UDP, Reg::R1);
    asm.load(Size::H, Reg::R1, Reg::R7, wait::PEER_PORT);
    asm.store(Size::H, Reg::R9, packet::UDP_DESTINATION, Reg::R1);
    asm.mov(Reg::R3, Reg::R8);
    asm.alu(AluOp::Add, Reg::R3, packet::UDP_LEN + wait::FRAME_LEN);
    to_wire16(asm, Reg::R3);
    asm.store(Size::W, Reg::R9, packet::UDP_LENGTH, Reg::R3);
    asm.note("memcached's frame: datagram 0 of 1");
    asm.load(Size::H, Reg::R1, Reg::R7, wait::ID);
    asm.store(Size::H, Reg::R9, packet::LAMBDA, Reg::R1);
    asm.store(Size::W, Reg::R9, packet::LAMBDA + 2, wire32([0, 0, 0, 1]));
    asm.store(Size::H, Reg::R9, packet::LAMBDA + 6, 0);
}
