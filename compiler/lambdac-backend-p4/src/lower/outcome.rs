//! What became of packets: one counter for all of them, which the control plane reads.
//!
//! Row 0 of the counter is of packets that reach no workload, by the rule that ends them; every other row is the workload
//! of that dense index (the low half of its id), by how requests end. Each packet is counted once, and a trap's cause
//! beside it. Names and meanings are those of the other targets' metrics.

use lambdac_image::Image;
use lambdac_mir::TrapCause;

use super::headers::bit;
use super::lambda::{reason, set, status, verdict};
use crate::ast::{Action, Binary, Expr, Local, Stmt, Type};

/// The counter's name.
pub const COUNTER: &str = "outcomes";
/// The action that counts.
pub(super) const COUNT: &str = "count_outcome";
/// Places of a row.
pub const SLOTS: u32 = 32;
/// Slots of a workload's row, behind those of the λ wire's statuses: the lambda dropped the request.
pub const DROPPED: u32 = 8;
/// It handed the request to the host.
pub const HANDED_UP: u32 = 9;
/// The request is for a lambda of the host's, or of several packets.
pub const PASSED: u32 = 10;
/// The first cause of traps, in the order of [`TrapCause::ALL`].
pub const TRAPS: u32 = 11;

macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident $dropped:literal $text:literal;)*) => {
        /// Why a packet reaches no workload: slots of row 0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Wire {
            $($(#[$doc])* $name,)*
        }

        impl Wire {
            /// Every reason, in the order of their slots.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The label of its metric.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Whether the packet is dropped; else it goes to the host.
            pub fn drops(self) -> bool {
                match self {
                    $(Self::$name => $dropped,)*
                }
            }
        }
    };
}

wire! {
    /// Not UDP over plain IPv4, or to another address.
    NotOurs false "not_ours";
    /// The frame ends before its packet.
    Truncated false "truncated";
    /// IPv4 and UDP disagree about the length.
    Length false "length";
    /// A wrong checksum of the IPv4 header.
    IpChecksum false "ip_checksum";
    /// No workload has this id.
    NoWorkload false "no_workload";
    /// A source address that no honest packet has.
    Source true "source";
    /// Fewer bytes than a λ header.
    Short true "short";
    /// Wrong magic.
    Magic true "magic";
    /// Wrong version.
    Version true "version";
    /// Not a request.
    Kind true "kind";
    /// An unknown flag.
    Flag true "flag";
    /// A message of zero fragments.
    NoFragments true "no_fragments";
    /// A fragment index at or past the fragment count.
    FragmentIndex true "fragment_index";
    /// A length beyond the end of the datagram.
    LengthBeyondDatagram true "length_beyond_datagram";
    /// A length over the workload's fragment size.
    LengthOverFragment true "length_over_fragment";
    /// An empty fragment of a message that has several.
    EmptyFragment true "empty_fragment";
    /// A fragment before the last that is not full.
    ShortMiddle true "short_middle";
}

/// Rows of an image's counter: as many as its largest dense index needs.
fn rows(image: &Image) -> u64 {
    let indexes = image.workloads.iter().map(|workload| workload.id & 0xffff);
    u64::from(indexes.max().unwrap_or(0)) + 1
}

/// Says which rule ends the packet.
pub(super) fn broken(rule: Wire) -> Stmt {
    set("rule", Expr::bits(16, rule as u64))
}

/// Says that the packet is a request that no rule ends.
pub(super) fn taken() -> Stmt {
    set("taken", Expr::bits(1, 1))
}

/// The counter, and the action that counts a packet when its verdict stands.
pub(super) fn locals(image: &Image) -> [Local; 2] {
    let rows = rows(image);
    let counter = Local::Instance {
        ty: Type::named("counter"),
        args: vec![
            Expr::Number(rows * u64::from(SLOTS)),
            Expr::path("CounterType.packets"),
        ],
        name: COUNTER.to_owned(),
    };
    let count = Action {
        name: COUNT.to_owned(),
        params: Vec::new(),
        body: count(rows),
    };
    [counter, Local::Action(count)]
}

fn count(rows: u64) -> Vec<Stmt> {
    let long = |value: u64| Expr::bits(32, value);
    let is = |place: &str, value: Expr| Expr::path(place).binary(Binary::Eq, value);
    let on = |name: &str| is("meta.verdict", Expr::name(name));
    let because = |name: &str| is("meta.reason", Expr::name(name));
    let (row, slot) = (|| Expr::name("row"), || Expr::name("slot"));
    let to = |value: u64| vec![Stmt::Assign(slot(), long(value))];
    let handed_up = because(reason::PUNTED).binary(Binary::OrOr, because(reason::PUNTED_TO));
    let by_end = Stmt::If(
        on(verdict::REPLY),
        vec![Stmt::Assign(slot(), Expr::path("meta.status").cast(bit(32)))],
        vec![Stmt::If(
            on(verdict::DROP),
            to(DROPPED.into()),
            vec![Stmt::If(handed_up, to(HANDED_UP.into()), to(PASSED.into()))],
        )],
    );
    let unknown = on(verdict::TO_HOST)
        .binary(Binary::AndAnd, because(reason::NOT_OURS))
        .binary(Binary::OrOr, row().binary(Binary::Ge, long(rows)));
    let nobody = vec![
        Stmt::Assign(row(), long(0)),
        Stmt::Assign(slot(), long(Wire::NoWorkload as u64)),
    ];
    let index = |slot: Expr| {
        row()
            .binary(Binary::Mul, long(SLOTS.into()))
            .binary(Binary::Add, slot)
    };
    let add = |index: Expr| Stmt::Call(Expr::name(COUNTER).method("count", vec![index]));
    let trapped = on(verdict::REPLY).binary(Binary::AndAnd, is("meta.status", Expr::bits(8, status::TRAP)));
    let cause = Expr::path("meta.cause").cast(bit(32));
    let workload = Expr::path("hdr.lambda.workload").slice(15, 0).cast(bit(32));
    let request = vec![
        Stmt::Assign(row(), workload),
        by_end,
        Stmt::If(unknown, nobody, Vec::new()),
        Stmt::If(
            trapped,
            vec![add(index(cause.binary(Binary::Add, long(TRAPS.into()))))],
            Vec::new(),
        ),
    ];
    vec![
        Stmt::Var(bit(32), "row".to_owned(), Some(long(0))),
        Stmt::Var(
            bit(32),
            "slot".to_owned(),
            Some(Expr::path("meta.rule").cast(bit(32))),
        ),
        Stmt::If(is("meta.taken", Expr::bits(1, 1)), request, Vec::new()),
        add(index(slot())),
    ]
}

// Statuses, ends and causes have places of their own in a row.
const _: () = assert!(TRAPS as usize + TrapCause::ALL.len() <= SLOTS as usize);
const _: () = assert!(Wire::ALL.len() <= SLOTS as usize);
