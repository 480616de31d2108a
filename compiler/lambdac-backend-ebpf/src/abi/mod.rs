//! What programs and the agent in user space share: names of maps, and every byte of what lies in them.
//!
//! Numbers are little-endian unless a field is said to be in network order. Nothing here touches the kernel; the agent
//! reads and writes the bytes that these types encode.
//!
//! | map or section | kind | content |
//! | --- | --- | --- |
//! | [`CONFIG`] | data section | [`Config`] |
//! | [`TRUSTED`] | LPM trie | [`trusted_key`] → u32, not looked at |
//! | [`PROGRAMS`] | program array | position of a workload → its program |
//! | [`COUNTERS`] | per-CPU array | 0 → [`Wire`] counters, 1 + position → [`Ended`] counters |
//! | [`EVENTS`] | ring buffer | [`event`]s |
//! | [`SCRATCH`] | array | memory of an invocation; nothing in it outlives one |
//! | [`TEST`] | data section | [`Test`]; only in objects for tests |
//!
//! What [`wait`] describes is only there where a lambda awaits.

mod counter;
pub mod event;
pub mod wait;

pub use counter::{COUNTER_SLOTS, Ended, Wire, WireEnd};

use std::net::Ipv4Addr;

use crate::names;

/// Section of the [`Config`].
pub const CONFIG: &str = ".data.config";
/// Map of prefixes whose callers may get replies of any length.
pub const TRUSTED: &str = "trusted";
/// Most prefixes in [`TRUSTED`].
pub const TRUSTED_ENTRIES: u32 = 256;
/// Map of the workloads' programs, by position. The agent fills it; an empty place means that the host answers.
pub const PROGRAMS: &str = "programs";
/// Map of counters.
pub const COUNTERS: &str = "counters";
/// Ring buffer of events.
pub const EVENTS: &str = "events";
/// Bytes of the ring buffer.
pub const EVENTS_BYTES: u32 = 1 << 20;
/// Map of invocations' memory.
pub const SCRATCH: &str = "scratch";
/// Section of [`Test`].
pub const TEST: &str = ".data.test";

/// Name of the program that looks at every packet, the first of the object.
pub const DISPATCH: &str = "dispatch";

/// Name of a workload's program.
pub fn workload_program(workload: &str) -> String {
    names::made("w", workload)
}

/// Name of a lambda's own program, in objects for tests.
pub fn lambda_program(workload: &str, lambda: &str) -> String {
    names::made("l", &names::declared(workload, lambda))
}

/// Key of a workload in [`COUNTERS`].
pub const fn counter_key(position: u32) -> u32 {
    position + 1
}

/// Who we are. All zero, as an object holds it before anyone sets it: every packet passes up.
///
/// | offset | bytes | field |
/// | --- | --- | --- |
/// | 0 | 2 | 1 if packets are answered, else 0 |
/// | 2 | 6 | own Ethernet address |
/// | 8 | 4 | own IPv4 address, network order |
/// | 12 | 2 | UDP port, network order |
/// | 14 | 2 | 0 |
/// | 16 | 4 | broadcast address of the own subnet, network order; 0 if there is none |
/// | 20 | 4 | 0 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether packets are answered.
    pub on: bool,
    /// Own Ethernet address.
    pub mac: [u8; 6],
    /// Own address, a unicast one.
    pub address: Ipv4Addr,
    /// UDP port, not 0.
    pub port: u16,
    /// Broadcast address of the own subnet: no honest packet comes from it.
    pub broadcast: Option<Ipv4Addr>,
}

impl Config {
    /// Bytes of the section.
    pub const BYTES: usize = 24;
    /// Offset of the word that holds the switch (low 16 bits) and the Ethernet address above it.
    pub(crate) const SWITCH_AND_MAC: i16 = 0;
    /// Offset of the Ethernet address.
    pub(crate) const MAC: i16 = 2;
    /// Offset of the own address.
    pub(crate) const ADDRESS: i16 = 8;
    /// Offset of the port.
    pub(crate) const PORT: i16 = 12;
    /// Offset of the broadcast address.
    pub(crate) const BROADCAST: i16 = 16;

    /// As the section holds it.
    pub fn encode(&self) -> [u8; Config::BYTES] {
        let mut bytes = [0; Config::BYTES];
        bytes[0] = u8::from(self.on);
        bytes[2..8].copy_from_slice(&self.mac);
        bytes[8..12].copy_from_slice(&self.address.octets());
        bytes[12..14].copy_from_slice(&self.port.to_be_bytes());
        let broadcast = self.broadcast.unwrap_or(Ipv4Addr::UNSPECIFIED);
        bytes[16..20].copy_from_slice(&broadcast.octets());
        bytes
    }
}

/// Key of a prefix in [`TRUSTED`]: u32 length in bits, then the address in network order (`struct bpf_lpm_trie_key`).
pub fn trusted_key(address: Ipv4Addr, len: u8) -> [u8; 8] {
    let mut key = [0; 8];
    key[0] = len.min(32);
    key[4..].copy_from_slice(&address.octets());
    key
}

/// What test programs take instead of clock, dice and ingress port.
///
/// | offset | bytes | field |
/// | --- | --- | --- |
/// | 0 | 8 | `now()` |
/// | 8 | 4 | 1 if every `random()` gives the next field, else 0 |
/// | 12 | 4 | that number |
/// | 16 | 8 | state of splitmix64 |
/// | 24 | 2 | `pkt.port` |
/// | 26 | 6 | 0 |
///
/// The state of the dice starts at the seed. A draw adds 0x9e3779b97f4a7c15 to it, and gives the high half of
/// `z ^ (z >> 31)` where `z` is the state after the two multiplications of splitmix64; the program writes it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// `now()` in nanoseconds.
    pub now: u64,
    /// What every `random()` gives; `None`: the dice.
    pub random: Option<u32>,
    /// State of the dice.
    pub dice: u64,
    /// `pkt.port`.
    pub port: u16,
}

impl Test {
    /// Bytes of the section.
    pub const BYTES: usize = 32;
    /// Offset of the clock.
    pub const NOW: u32 = 0;
    /// Offset of the switch between a fixed number and the dice.
    pub const IS_FIXED: u32 = 8;
    /// Offset of the fixed number.
    pub const FIXED: u32 = 12;
    /// Offset of the dice.
    pub const DICE: u32 = 16;
    /// Offset of the ingress port.
    pub const PORT: u32 = 24;

    /// As the section holds it.
    pub fn encode(&self) -> [u8; Test::BYTES] {
        let mut bytes = [0; Test::BYTES];
        bytes[..8].copy_from_slice(&self.now.to_le_bytes());
        bytes[8] = u8::from(self.random.is_some());
        bytes[12..16].copy_from_slice(&self.random.unwrap_or(0).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.dice.to_le_bytes());
        bytes[24..26].copy_from_slice(&self.port.to_le_bytes());
        bytes
    }

    /// Reads the section; `None` if it has another size.
    pub fn decode(bytes: &[u8]) -> Option<Test> {
        let bytes: &[u8; Test::BYTES] = bytes.try_into().ok()?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        Some(Test {
            now: u64_at(0),
            random: (u32_at(8) != 0).then(|| u32_at(12)),
            dice: u64_at(16),
            port: u16::from_le_bytes([bytes[24], bytes[25]]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_lies_as_its_table_says() {
        let config = Config {
            on: true,
            mac: [2, 0, 0, 0, 0, 7],
            address: Ipv4Addr::new(10, 0, 0, 1),
            port: 4369,
            broadcast: Some(Ipv4Addr::new(10, 0, 0, 255)),
        };
        let expected = [
            1, 0, 2, 0, 0, 0, 0, 7, 10, 0, 0, 1, 0x11, 0x11, 0, 0, 10, 0, 0, 255, 0, 0, 0, 0,
        ];
        assert_eq!(config.encode(), expected);
    }

    #[test]
    fn a_test_section_reads_back() {
        let test = Test {
            now: 1_000_000_000,
            random: Some(7),
            dice: 0x0123_4567_89ab_cdef,
            port: 3,
        };
        assert_eq!(Test::decode(&test.encode()), Some(test));
        assert_eq!(Test::decode(&[0; 31]), None);
    }

    #[test]
    fn a_trusted_prefix_is_length_then_address() {
        assert_eq!(
            trusted_key(Ipv4Addr::new(192, 168, 0, 0), 16),
            [16, 0, 0, 0, 192, 168, 0, 0]
        );
    }
}
