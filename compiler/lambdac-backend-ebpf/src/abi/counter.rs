//! Counters: which number of a [`COUNTERS`](super::COUNTERS) value counts what.
//!
//! A value is [`COUNTER_SLOTS`] times u64. The names are those of the host's metrics, so that one dashboard shows both.

/// Numbers in a value of [`COUNTERS`](super::COUNTERS).
pub const COUNTER_SLOTS: u32 = 32;

/// What became of a packet that no workload's program took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireEnd {
    /// It went up the stack, untouched.
    Passed,
    /// It is gone.
    Dropped,
}

macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident $end:ident $text:literal;)*) => {
        /// A reason why a packet reached no workload: the place of its counter under key 0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Wire {
            $($(#[$doc])* $name,)*
        }

        impl Wire {
            /// Every reason, by place.
            pub const ALL: &[Wire] = &[$(Wire::$name),*];

            /// Its place in the value.
            pub const fn slot(self) -> u32 {
                self as u32
            }

            /// The label of its metric.
            pub fn name(self) -> &'static str {
                match self {
                    $(Wire::$name => $text,)*
                }
            }

            /// What became of the packet.
            pub fn end(self) -> WireEnd {
                match self {
                    $(Wire::$name => WireEnd::$end,)*
                }
            }
        }
    };
}

wire! {
    /// Another Ethernet or IPv4 address, protocol or port; or nothing is configured yet.
    NotOurs Passed "not_ours";
    /// IPv6: the host's.
    Ipv6 Passed "ipv6";
    /// A VLAN tag.
    Vlan Passed "vlan";
    /// Any other EtherType, or an IPv4 header of another version.
    NotIpv4 Passed "not_ipv4";
    /// An IPv4 header with options, or of a length that can't be.
    IpOptions Passed "ip_options";
    /// A fragment of an IPv4 packet.
    IpFragment Passed "ip_fragment";
    /// The frame ends before its headers or before the length that IPv4 gives.
    Truncated Passed "truncated";
    /// IPv4 and UDP disagree about the length.
    Length Passed "length";
    /// A wrong checksum of the IPv4 header.
    IpChecksum Passed "ip_checksum";
    /// No workload has this id: the host answers NO_WORKLOAD.
    NoWorkload Passed "no_workload";
    /// The workload has no program here now: the host answers.
    NoProgram Passed "no_program";
    /// A source address that no honest packet has.
    Source Dropped "source";
    /// Fewer bytes than a λ header.
    Short Dropped "short";
    /// Wrong magic.
    Magic Dropped "magic";
    /// Wrong version.
    Version Dropped "version";
    /// Not a request.
    Kind Dropped "kind";
    /// An unknown flag.
    Flag Dropped "flag";
    /// A message of zero fragments.
    NoFragments Dropped "no_fragments";
    /// A fragment index at or past the fragment count.
    FragmentIndex Dropped "fragment_index";
    /// A length beyond the end of the datagram.
    LengthBeyondDatagram Dropped "length_beyond_datagram";
    /// A length over the workload's fragment size.
    LengthOverFragment Dropped "length_over_fragment";
    /// An empty fragment of a message that has several.
    EmptyFragment Dropped "empty_fragment";
    /// A fragment before the last that is not full.
    ShortMiddle Dropped "short_middle";
    /// The driver had no room for the packet, and the ring none for handing it to the agent.
    NoTailroom Dropped "send_failed";
    /// A service's answer that nothing waits for, or not any more.
    AnswerUnasked Dropped "answer_unasked";
    /// An answer to what waits, from another address or port than the service's.
    AnswerWrongPeer Dropped "answer_wrong_peer";
    /// An answer that the protocol does not know.
    AnswerMalformed Dropped "answer_malformed";
    /// A value for another key.
    AnswerWrongKey Dropped "answer_wrong_key";
    /// One of several datagrams of an answer.
    AnswerPart Dropped "answer_part";
}

macro_rules! ended {
    ($($(#[$doc:meta])* $name:ident = $slot:literal;)*) => {
        /// How a request to a workload ended, and what happened on the way: the place of its counter under the
        /// workload's key.
        ///
        /// Every request that reaches a program ends in exactly one of the places 0 to 10 (a status, dropped, punted,
        /// passed), so their sum is the number of requests. The first eight are the statuses of the λ wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Ended {
            $($(#[$doc])* $name = $slot,)*
        }

        impl Ended {
            /// Every counter, by place.
            pub const ALL: &[Ended] = &[$(Ended::$name),*];

            /// Its place in the value.
            pub const fn slot(self) -> u32 {
                self as u32
            }
        }
    };
}

ended! {
    /// Answered.
    Ok = 0;
    /// Never counted here: the host answers NO_WORKLOAD.
    NoWorkload = 1;
    /// Answered BAD_REQUEST.
    BadRequest = 2;
    /// Answered TRAP.
    Trap = 3;
    /// Answered OVERLOADED: a punt that found no room in the ring.
    Overloaded = 4;
    /// Answered TIMEOUT.
    Timeout = 5;
    /// Answered PUNTED: never here, punts are the agent's to answer.
    Punted = 6;
    /// Answered TOO_LARGE.
    TooLarge = 7;
    /// The lambda said `drop`.
    Dropped = 8;
    /// Handed to the agent through the ring.
    HandedUp = 9;
    /// Passed up the stack, untouched: a lambda that is not native, or a message of several packets.
    Passed = 10;
    /// Traps by cause: `index`.
    TrapIndex = 11;
    /// `slice`.
    TrapSlice = 12;
    /// `capacity`.
    TrapCapacity = 13;
    /// `narrow`.
    TrapNarrow = 14;
    /// `pad`.
    TrapPad = 15;
    /// `loop-max`.
    TrapLoopMax = 16;
    /// A check that was put in for the verifier alone failed: a bug of the compiler.
    TrapUnreachable = 17;
    /// Log lines and trap reports that found no room in the ring.
    EventsLost = 18;
    /// Requests to a service.
    ServiceSent = 19;
    /// Answers of a service that were taken.
    ServiceAnswered = 20;
    /// Requests to a service whose time ran out.
    ServiceTimedOut = 21;
    /// Requests to a service that were not sent: the key or the value may not be.
    UnsentKey = 22;
    /// Not sent: no slot was free.
    UnsentSlots = 23;
    /// Not sent: the agent holds no ports.
    UnsentPorts = 24;
    /// Not sent: no route, or one by another interface.
    UnsentRoute = 25;
    /// Not sent: the next hop's Ethernet address is not known.
    UnsentNeighbour = 26;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_counters_have_a_place_of_their_own_in_a_value() {
        let wire: Vec<u32> = Wire::ALL.iter().map(|c| c.slot()).collect();
        let ended: Vec<u32> = Ended::ALL.iter().map(|c| c.slot()).collect();
        assert!(wire.iter().copied().eq(0..wire.len() as u32), "{wire:?}");
        assert!(ended.iter().copied().eq(0..ended.len() as u32), "{ended:?}");
        assert!(wire.len().max(ended.len()) <= COUNTER_SLOTS as usize);
    }
}
