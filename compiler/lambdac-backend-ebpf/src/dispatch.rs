//! The dispatcher: the program that looks at every packet and hands requests to their workload's program.
//!
//! It holds the rules of the λ wire (design: "What a NIC may answer" and "Malformed") in the host's order, so that a
//! packet is counted under the same reason on both sides. Whatever is not a well-formed request to us goes up the stack
//! untouched or is dropped, and counted; see [`Wire`].
//!
//! Then a tree of comparisons over the low half of the id leads to a tail call with a constant index, which the kernel's
//! compiler turns into a jump. A workload's program is thus entered only with a packet that
//!
//! - is IPv4 without options, unfragmented, with consistent lengths and a right header checksum, from an honest source,
//! - holds a whole λ header of a request, whose length is within the datagram and at most [`packet::MAX_PAYLOAD`],
//!   with fragment < fragments and not empty where fragments > 1,
//! - has the workload's index, though perhaps not its whole id: that comparison, and the rules about the workload's
//!   own fragment size, are the program's.
//!
//! Registers: `r6` context, `r7` first byte, `r8` past the last, `r9` the configuration.

use crate::abi::{self, Config, Wire, WireEnd};
use crate::asm::{AsmError, Assembler, Function};
use crate::finish;
use crate::insn::{AluOp, Bits, Cond, Helper, Insn, Label, Reg, Size};
use crate::packet::{self, action, wire16, wire32, xdp_md};

/// Bits of the IPv4 fragment field that are set in a fragment: "more fragments" and the offset (RFC 791).
const FRAGMENT_BITS: u16 = 0x3fff;
/// First byte of the IPv4 header: version 4, five words.
const VERSION_AND_LENGTH: i32 = 0x45;
/// Bytes of all headers up to UDP's.
const UDP_END: i32 = packet::LAMBDA as i32;

/// The dispatcher for workloads of these ids, by position. Where lambdas wait, it hands the packets to the ports that
/// [`abi::wait::Ports`] names to [`abi::wait::ANSWER`].
pub fn dispatch(ids: &[u32], waits: bool) -> Result<Function, AsmError> {
    let mut dispatcher = Dispatcher::new(waits);
    dispatcher.emit(ids);
    dispatcher.asm.finish()
}

struct Dispatcher {
    asm: Assembler,
    /// Where a packet ends for each reason, by slot.
    ends: Vec<Label>,
    other_type: Label,
    other_ip: Label,
    wrong_start: Label,
    /// Where packets to another UDP port go, if services answer.
    other_port: Option<Label>,
}

impl Dispatcher {
    fn new(waits: bool) -> Dispatcher {
        let mut asm = Assembler::program(abi::DISPATCH);
        Dispatcher {
            ends: Wire::ALL.iter().map(|_| asm.label()).collect(),
            other_type: asm.label(),
            other_ip: asm.label(),
            wrong_start: asm.label(),
            other_port: waits.then(|| asm.label()),
            asm,
        }
    }

    fn emit(&mut self, ids: &[u32]) {
        let (small, several) = (self.asm.label(), self.asm.label());
        let asm = &mut self.asm;
        asm.mov(Reg::R6, Reg::R1);
        asm.load(Size::W, Reg::R7, Reg::R6, xdp_md::DATA);
        asm.load(Size::W, Reg::R8, Reg::R6, xdp_md::DATA_END);
        asm.load_data(Reg::R9, abi::CONFIG, 0);
        asm.mov(Reg::R0, Reg::R7);
        asm.alu(AluOp::Add, Reg::R0, i32::from(packet::PAYLOAD));
        asm.branch(Cond::Gt, Reg::R0, Reg::R8, small);
        self.addressed_to_us();
        self.honest_source();
        self.lengths();
        self.checksum();
        self.lambda_header(several);
        self.lambda_length();
        let tree = self.asm.here();
        self.tree(ids);
        self.several_fragments(several, tree);
        self.small_frame(small);
        self.other_protocols();
        self.wrong_start();
        if let Some(other_port) = self.other_port {
            self.answers(other_port);
        }
        self.ends();
    }

    fn end(&self, reason: Wire) -> Label {
        self.ends[reason.slot() as usize]
    }

    /// `dst = field`, as a little-endian load sees it.
    fn field(&mut self, size: Size, dst: Reg, off: i16) {
        self.asm.load(size, dst, Reg::R7, off);
    }

    fn wire16(&mut self, dst: Reg, off: i16) {
        self.field(Size::H, dst, off);
        finish::to_wire16(&mut self.asm, dst);
    }

    /// Leaves the own address in `r2`, which is then the packet's destination.
    fn addressed_to_us(&mut self) {
        let not_ours = self.end(Wire::NotOurs);
        self.own_mac(not_ours);
        self.asm.note("UDP over IPv4 to us");
        self.field(Size::H, Reg::R1, packet::ETH_TYPE);
        let ipv4 = wire16(packet::ETHERTYPE_IPV4);
        self.asm.branch(Cond::Ne, Reg::R1, ipv4, self.other_type);
        self.field(Size::B, Reg::R1, packet::IP);
        self.asm
            .branch(Cond::Ne, Reg::R1, VERSION_AND_LENGTH, self.other_ip);
        self.field(Size::B, Reg::R1, packet::IP_PROTOCOL);
        self.asm.branch(Cond::Ne, Reg::R1, packet::PROTOCOL_UDP, not_ours);
        self.field(Size::W, Reg::R1, packet::IP_DESTINATION);
        self.asm.load(Size::W, Reg::R2, Reg::R9, Config::ADDRESS);
        self.asm.branch(Cond::Ne, Reg::R1, Reg::R2, not_ours);
        self.field(Size::H, Reg::R1, packet::IP_FRAGMENT);
        let fragment = self.end(Wire::IpFragment);
        self.asm
            .branch(Cond::Set, Reg::R1, wire16(FRAGMENT_BITS), fragment);
        self.field(Size::H, Reg::R1, packet::UDP_DESTINATION);
        self.asm.load(Size::H, Reg::R3, Reg::R9, Config::PORT);
        let other = self.other_port.unwrap_or(not_ours);
        self.asm.branch(Cond::Ne, Reg::R1, Reg::R3, other);
    }

    /// One comparison for the Ethernet address and the switch below it, see [`Config`].
    fn own_mac(&mut self, not_ours: Label) {
        self.asm.note("on, and our Ethernet address?");
        self.field(Size::D, Reg::R1, packet::ETH_DESTINATION);
        self.asm.alu(AluOp::Lsh, Reg::R1, 16);
        self.asm.alu(AluOp::Or, Reg::R1, 1);
        self.asm.load(Size::D, Reg::R2, Reg::R9, Config::SWITCH_AND_MAC);
        self.asm.branch(Cond::Ne, Reg::R1, Reg::R2, not_ours);
    }

    /// What the stack would drop as martian, this must drop too. Leaves the source address in `r4`.
    fn honest_source(&mut self) {
        let (edge, honest) = (self.asm.label(), self.asm.label());
        let source = self.end(Wire::Source);
        self.asm.note("source: not 0/8, 127/8, multicast, broadcast, own");
        self.field(Size::W, Reg::R4, packet::IP_SOURCE);
        let asm = &mut self.asm;
        asm.mov(Reg::R1, Reg::R4);
        asm.alu(AluOp::And, Reg::R1, 0xff);
        asm.alu(AluOp::Sub, Reg::R1, 1);
        asm.branch(Cond::Gt, Reg::R1, 223 - 1, edge);
        asm.branch(Cond::Eq, Reg::R1, 127 - 1, source);
        asm.branch(Cond::Eq, Reg::R4, Reg::R2, source);
        asm.load(Size::W, Reg::R1, Reg::R9, Config::BROADCAST);
        asm.branch(Cond::Eq, Reg::R4, Reg::R1, source);
        asm.jump(honest);
        asm.bind(edge);
        // 0/8 has become the largest number; 224/4 is multicast; of 240/4 only the last address is special.
        asm.branch(Cond::SLt, Reg::R1, 240 - 1, source);
        asm.emit(Insn::Branch {
            cond: Cond::Eq,
            bits: Bits::B32,
            dst: Reg::R4,
            src: (-1).into(),
            target: source,
        });
        asm.bind(honest);
    }

    /// Leaves UDP's length in `r3`.
    fn lengths(&mut self) {
        let (truncated, length) = (self.end(Wire::Truncated), self.end(Wire::Length));
        self.asm.note("lengths of frame, IPv4 and UDP");
        self.wire16(Reg::R1, packet::IP_LENGTH);
        self.wire16(Reg::R3, packet::UDP_LENGTH);
        let asm = &mut self.asm;
        asm.mov(Reg::R0, Reg::R8);
        asm.alu(AluOp::Sub, Reg::R0, Reg::R7);
        asm.alu(AluOp::Sub, Reg::R0, packet::ETH_LEN);
        asm.branch(Cond::Gt, Reg::R1, Reg::R0, truncated);
        asm.alu(AluOp::Sub, Reg::R1, packet::IP_LEN);
        asm.branch(Cond::Ne, Reg::R1, Reg::R3, length);
    }

    /// RFC 1071: the sum of all halves of a right header is 0xffff. Takes the addresses from `r2` and `r4`.
    fn checksum(&mut self) {
        self.asm.note("IPv4 header checksum");
        self.field(Size::W, Reg::R1, packet::IP);
        self.field(Size::W, Reg::R0, packet::IP_ID);
        self.asm.alu(AluOp::Add, Reg::R1, Reg::R0);
        self.field(Size::W, Reg::R0, packet::IP_TTL);
        self.asm.alu(AluOp::Add, Reg::R1, Reg::R0);
        self.asm.alu(AluOp::Add, Reg::R1, Reg::R2);
        self.asm.alu(AluOp::Add, Reg::R1, Reg::R4);
        // Five words make less than 2^35; after two folds less than 2 * 0xffff is left, and it isn't 0.
        finish::fold(&mut self.asm, Reg::R1, Reg::R0);
        finish::fold(&mut self.asm, Reg::R1, Reg::R0);
        let wrong = self.end(Wire::IpChecksum);
        self.asm.branch(Cond::Ne, Reg::R1, 0xffff, wrong);
    }

    /// Leaves the payload's length in `r5`, and what the datagram has room for in `r3`.
    fn lambda_header(&mut self, several: Label) {
        let (short, start) = (self.end(Wire::Short), self.wrong_start);
        let least = packet::UDP_LEN + packet::LAMBDA_LEN;
        self.asm.note("λ header");
        self.asm.branch(Cond::Lt, Reg::R3, least, short);
        self.asm.alu(AluOp::Sub, Reg::R3, least);
        self.field(Size::W, Reg::R1, packet::LAMBDA);
        self.branch32(wire32(packet::lambda_start(packet::KIND_REQUEST)), start);
        self.field(Size::B, Reg::R1, packet::LAMBDA_FLAGS);
        let flag = self.end(Wire::Flag);
        self.asm.branch(Cond::Ne, Reg::R1, 0, flag);
        self.wire16(Reg::R5, packet::LAMBDA_LENGTH);
        self.field(Size::W, Reg::R1, packet::LAMBDA_FRAGMENT);
        self.branch32(wire32([0, 0, 0, 1]), several);
    }

    /// Goes to `target` if the low half of `r1` is not `value`.
    fn branch32(&mut self, value: i32, target: Label) {
        self.asm.emit(Insn::Branch {
            cond: Cond::Ne,
            bits: Bits::B32,
            dst: Reg::R1,
            src: value.into(),
            target,
        });
    }

    fn lambda_length(&mut self) {
        let beyond = self.end(Wire::LengthBeyondDatagram);
        let over = self.end(Wire::LengthOverFragment);
        self.asm.branch(Cond::Gt, Reg::R5, Reg::R3, beyond);
        self.asm.branch(Cond::Gt, Reg::R5, packet::MAX_PAYLOAD, over);
    }

    /// Anything but fragment 0 of 1.
    fn several_fragments(&mut self, several: Label, tree: Label) {
        self.asm.bind(several);
        self.wire16(Reg::R1, packet::LAMBDA_FRAGMENTS);
        let none = self.end(Wire::NoFragments);
        self.asm.branch(Cond::Eq, Reg::R1, 0, none);
        self.wire16(Reg::R2, packet::LAMBDA_FRAGMENT);
        let index = self.end(Wire::FragmentIndex);
        self.asm.branch(Cond::Ge, Reg::R2, Reg::R1, index);
        self.lambda_length();
        let empty = self.end(Wire::EmptyFragment);
        self.asm.branch(Cond::Eq, Reg::R5, 0, empty);
        self.asm.jump(tree);
    }

    /// Finds the workload among the indexes as they stand on the wire.
    fn tree(&mut self, ids: &[u32]) {
        let mut leaves: Vec<(i32, u32)> = (0..).zip(ids).map(|(at, id)| (wire16(*id as u16), at)).collect();
        leaves.sort_unstable();
        self.asm.note("workload");
        self.field(Size::H, Reg::R1, packet::LAMBDA_INDEX);
        self.subtree(&leaves);
    }

    fn subtree(&mut self, leaves: &[(i32, u32)]) {
        match leaves {
            [] => {
                let unknown = self.end(Wire::NoWorkload);
                self.asm.jump(unknown);
            }
            [(index, position)] => {
                let unknown = self.end(Wire::NoWorkload);
                self.asm.branch(Cond::Ne, Reg::R1, *index, unknown);
                self.enter(*position);
            }
            _ => {
                let (low, high) = leaves.split_at(leaves.len() / 2);
                let upper = self.asm.label();
                self.asm.branch(Cond::Ge, Reg::R1, high[0].0, upper);
                self.subtree(low);
                self.asm.bind(upper);
                self.subtree(high);
            }
        }
    }

    fn enter(&mut self, position: u32) {
        self.asm.mov(Reg::R1, Reg::R6);
        self.asm.load_map(Reg::R2, abi::PROGRAMS);
        self.asm.mov(Reg::R3, position.cast_signed());
        self.asm.call(Helper::TailCall);
        let absent = self.end(Wire::NoProgram);
        self.asm.jump(absent);
    }

    /// A frame too short for a λ header. It can still be ours: then its reason is found by the same rules.
    fn small_frame(&mut self, small: Label) {
        let (tiny, truncated) = (self.asm.label(), self.end(Wire::Truncated));
        self.asm.bind(small);
        self.holds(UDP_END, tiny);
        self.addressed_to_us();
        self.honest_source();
        self.lengths();
        self.checksum();
        let (length, short) = (self.end(Wire::Length), self.end(Wire::Short));
        self.asm.branch(Cond::Lt, Reg::R3, packet::UDP_LEN, length);
        self.asm.jump(short);
        self.asm.bind(tiny);
        self.holds(packet::ETH_LEN, truncated);
        let not_ours = self.end(Wire::NotOurs);
        self.own_mac(not_ours);
        self.field(Size::H, Reg::R1, packet::ETH_TYPE);
        let ipv4 = wire16(packet::ETHERTYPE_IPV4);
        self.asm.branch(Cond::Ne, Reg::R1, ipv4, self.other_type);
        self.asm.jump(truncated);
    }

    fn holds(&mut self, bytes: i32, otherwise: Label) {
        self.asm.mov(Reg::R0, Reg::R7);
        self.asm.alu(AluOp::Add, Reg::R0, bytes);
        self.asm.branch(Cond::Gt, Reg::R0, Reg::R8, otherwise);
    }

    /// A packet to another port than ours, in `r1`: an answer of a service if the port is one of those.
    fn answers(&mut self, other_port: Label) {
        let not_ours = self.end(Wire::NotOurs);
        let asm = &mut self.asm;
        asm.bind(other_port);
        asm.note("an answer of a service?");
        finish::to_wire16(asm, Reg::R1);
        asm.load_data(Reg::R3, abi::wait::PORTS, 0);
        asm.load(Size::H, Reg::R0, Reg::R3, abi::wait::Ports::FIRST as i16);
        asm.load(Size::H, Reg::R3, Reg::R3, abi::wait::Ports::COUNT as i16);
        asm.alu(AluOp::Sub, Reg::R1, Reg::R0);
        asm.branch(Cond::Ge, Reg::R1, Reg::R3, not_ours);
        self.honest_source();
        self.lengths();
        self.checksum();
        let asm = &mut self.asm;
        asm.mov(Reg::R1, Reg::R6);
        asm.load_map(Reg::R2, abi::wait::RESUMES);
        asm.mov(Reg::R3, 0);
        asm.call(Helper::TailCall);
        let absent = self.end(Wire::NoProgram);
        self.asm.jump(absent);
    }

    /// Reasons that need another look at `r1`.
    fn other_protocols(&mut self) {
        let not_ipv4 = self.end(Wire::NotIpv4);
        self.asm.bind(self.other_type);
        let ipv6 = self.end(Wire::Ipv6);
        self.asm
            .branch(Cond::Eq, Reg::R1, wire16(packet::ETHERTYPE_IPV6), ipv6);
        let vlan = self.end(Wire::Vlan);
        for tag in packet::ETHERTYPE_VLAN {
            self.asm.branch(Cond::Eq, Reg::R1, wire16(tag), vlan);
        }
        self.asm.jump(not_ipv4);
        self.asm.bind(self.other_ip);
        self.asm.alu(AluOp::Rsh, Reg::R1, 4);
        self.asm.branch(Cond::Ne, Reg::R1, 4, not_ipv4);
        let options = self.end(Wire::IpOptions);
        self.asm.jump(options);
    }

    /// The first four bytes of the λ header in `r1` are not a request's: which of them?
    fn wrong_start(&mut self) {
        self.asm.bind(self.wrong_start);
        let magic = self.end(Wire::Magic);
        self.asm.mov(Reg::R2, Reg::R1);
        self.asm.alu(AluOp::And, Reg::R2, 0xffff);
        let [first, second, version, _] = packet::lambda_start(packet::KIND_REQUEST);
        let expected = wire32([first, second, 0, 0]);
        self.asm.branch(Cond::Ne, Reg::R2, expected, magic);
        self.asm.alu(AluOp::Rsh, Reg::R1, 16);
        self.asm.alu(AluOp::And, Reg::R1, 0xff);
        let other = self.end(Wire::Version);
        self.asm.branch(Cond::Ne, Reg::R1, i32::from(version), other);
        let kind = self.end(Wire::Kind);
        self.asm.jump(kind);
    }

    /// Where packets end that reach no workload: the reason is counted, then the packet is passed or dropped.
    fn ends(&mut self) {
        let (pass, drop) = (self.asm.label(), self.asm.label());
        let (count, done) = (self.asm.label(), self.asm.label());
        for reason in Wire::ALL {
            self.asm.bind(self.ends[reason.slot() as usize]);
            self.asm.note(format!("{}: {:?}", reason.name(), reason.end()));
            // Nobody looks at the packet's end any more.
            self.asm.mov(Reg::R8, (reason.slot() * 8).cast_signed());
            self.asm.jump(match reason.end() {
                WireEnd::Passed => pass,
                WireEnd::Dropped => drop,
            });
        }
        let asm = &mut self.asm;
        asm.bind(pass);
        asm.mov(Reg::R7, action::PASS);
        asm.jump(count);
        asm.bind(drop);
        asm.mov(Reg::R7, action::DROP);
        asm.bind(count);
        asm.store(Size::W, Reg::R10, -4, 0);
        finish::look_up(asm, abi::COUNTERS, -4);
        asm.branch(Cond::Eq, Reg::R0, 0, done);
        asm.alu(AluOp::Add, Reg::R0, Reg::R8);
        finish::increment(asm, 0);
        asm.bind(done);
        asm.mov(Reg::R0, Reg::R7);
        asm.exit();
    }
}
