//! Where lambdas can run, as far as the program decides: what a NIC's cores lack is the targets' matter.
//!
//! Lambdas tied by mutable state form a component, which lives on one side: one lambda that can't run on the NIC
//! takes its component to the host. `punt name` ties nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lambdac_diag::{Diagnostic, Sink};
use lambdac_hir::{Lambda, LambdaId, Side, StateId, Workload};

use crate::uses::Uses;
use crate::{MAX_PACKET_PAYLOAD, grouped, request_size, type_size};

/// Where a lambda can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On the NIC, if the target can; requests of one packet only where the flag is set, the host takes the rest.
    Nic {
        /// Whether T can be larger than a packet.
        large_on_host: bool,
    },
    /// On the host.
    Host(HostReason),
}

/// Why a lambda runs on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostReason {
    /// `@on(host)`
    Asked,
    /// The largest reply is larger than a packet.
    Reply {
        /// Its bytes.
        bytes: u32,
    },
    /// It is a `punt` target.
    PuntTarget {
        /// Who punts to it.
        by: LambdaId,
    },
    /// It has mutable state and takes requests larger than a packet.
    Request {
        /// The largest request.
        bytes: u32,
        /// The state.
        state: StateId,
    },
    /// It shares mutable state with a lambda that runs on the host.
    Shares {
        /// The state.
        state: StateId,
        /// That lambda.
        with: LambdaId,
    },
}

impl HostReason {
    /// As a clause that can follow "runs on the host:".
    pub fn describe(&self, workload: &Workload) -> String {
        let lambda = |id: &LambdaId| &workload.lambdas[id.index()].name;
        let state = |id: &StateId| &workload.states[id.index()].name;
        let bytes = |bytes: &u32| grouped(u64::from(*bytes));
        match self {
            Self::Asked => "`@on(host)` asks for it".to_owned(),
            Self::Reply { bytes: n } => {
                format!("its largest reply, {} bytes, does not fit a packet", bytes(n))
            }
            Self::PuntTarget { by } => format!("`{}` punts to it", lambda(by)),
            Self::Request { bytes: n, state: s } => format!(
                "it changes state (`{}`) and its largest request, {} bytes, does not fit a packet",
                state(s),
                bytes(n)
            ),
            Self::Shares { state: s, with } => {
                format!(
                    "it shares the state `{}` with `{}`, which runs there",
                    state(s),
                    lambda(with)
                )
            }
        }
    }
}

/// Placements of a workload.
pub struct Places {
    /// By [`LambdaId`].
    pub lambdas: Vec<Placement>,
    /// By [`LambdaId`]: index of its component.
    pub component_of: Vec<usize>,
    /// The lambdas of each component.
    pub components: Vec<Vec<LambdaId>>,
}

/// Places all lambdas, after reporting each `@on(nic)` that can't be.
pub fn check(workload: &Workload, uses: &Uses, sink: &mut Sink) -> Places {
    let ties = Ties::of(workload, uses);
    let mut punted_by = BTreeMap::new();
    for by in ids(workload) {
        uses.lambdas[by.index()].punts.keys().for_each(|&id| {
            punted_by.entry(id).or_insert(by);
        });
    }
    let alone: Vec<_> = ids(workload)
        .map(|id| alone(workload, &punted_by, &ties, id))
        .collect();
    let reasons = spread(&ties, alone);
    let lambdas: Vec<_> = ids(workload)
        .zip(reasons)
        .map(|(id, reason)| match reason {
            Some(reason) => Placement::Host(reason),
            None => Placement::Nic {
                large_on_host: max_request(workload, id) > MAX_PACKET_PAYLOAD,
            },
        })
        .collect();
    for (lambda, placement) in workload.lambdas.iter().zip(&lambdas) {
        if let (Some(Side::Nic), Placement::Host(reason)) = (lambda.on, placement) {
            sink.push(cannot(workload, lambda, reason));
        }
    }
    Places {
        lambdas,
        component_of: ties.component_of,
        components: ties.components,
    }
}

fn cannot(workload: &Workload, lambda: &Lambda, reason: &HostReason) -> Diagnostic {
    let message = format!("`{}` can't run on the NIC", lambda.name);
    let diagnostic = Diagnostic::error("E0750", message, lambda.span, reason.describe(workload))
        .with_help("take away the reason, or `@on(nic)`");
    match reason {
        HostReason::PuntTarget { by: other } | HostReason::Shares { with: other, .. } => {
            diagnostic.with_label(workload.lambdas[other.index()].span, "this lambda")
        }
        HostReason::Request { state, .. } => {
            diagnostic.with_label(workload.states[state.index()].span, "this state")
        }
        HostReason::Asked | HostReason::Reply { .. } => diagnostic,
    }
}

fn ids(workload: &Workload) -> impl Iterator<Item = LambdaId> {
    (0..workload.lambdas.len() as u32).map(LambdaId)
}

fn max_request(workload: &Workload, id: LambdaId) -> u32 {
    // Without a parameter a message of any length is taken, and none of it is read.
    request_size(workload, &workload.lambdas[id.index()].request).map_or(0, |size| size.max)
}

/// What keeps a lambda off the NIC by itself.
fn alone(
    workload: &Workload,
    punted_by: &BTreeMap<LambdaId, LambdaId>,
    ties: &Ties,
    id: LambdaId,
) -> Option<HostReason> {
    let lambda = &workload.lambdas[id.index()];
    if lambda.on == Some(Side::Host) {
        return Some(HostReason::Asked);
    }
    let bytes = type_size(workload, &lambda.reply).max;
    if bytes > MAX_PACKET_PAYLOAD {
        return Some(HostReason::Reply { bytes });
    }
    if let Some(&by) = punted_by.get(&id) {
        return Some(HostReason::PuntTarget { by });
    }
    let bytes = max_request(workload, id);
    match ties.states[id.index()].first() {
        Some(&state) if !lambda.stream && bytes > MAX_PACKET_PAYLOAD => {
            Some(HostReason::Request { bytes, state })
        }
        _ => None,
    }
}

/// Takes along whatever shares state with a lambda that runs on the host, from neighbour to neighbour, so that each
/// reason names a state that both have.
fn spread(ties: &Ties, alone: Vec<Option<HostReason>>) -> Vec<Option<HostReason>> {
    let mut users: BTreeMap<StateId, Vec<LambdaId>> = BTreeMap::new();
    for (number, states) in ties.states.iter().enumerate() {
        states
            .iter()
            .for_each(|&state| users.entry(state).or_default().push(LambdaId(number as u32)));
    }
    let mut reasons = alone;
    let mut waiting: VecDeque<LambdaId> = (0..reasons.len() as u32).map(LambdaId).collect();
    waiting.retain(|id| reasons[id.index()].is_some());
    while let Some(with) = waiting.pop_front() {
        for &state in ties.states[with.index()].iter() {
            // Once its users are taken along, a state has no more to say.
            for id in users.remove(&state).unwrap_or_default() {
                if reasons[id.index()].is_none() {
                    reasons[id.index()] = Some(HostReason::Shares { state, with });
                    waiting.push_back(id);
                }
            }
        }
    }
    reasons
}

/// Which mutable state each lambda touches, and the components that this makes.
struct Ties {
    states: Vec<Vec<StateId>>,
    component_of: Vec<usize>,
    components: Vec<Vec<LambdaId>>,
}

impl Ties {
    fn of(workload: &Workload, uses: &Uses) -> Self {
        // What no lambda writes is a constant.
        let written: BTreeSet<StateId> = uses
            .lambdas
            .iter()
            .flat_map(|lambda| &lambda.writes)
            .copied()
            .collect();
        let mutable = |state: &StateId| written.contains(state);
        let states: Vec<Vec<StateId>> = uses
            .lambdas
            .iter()
            .map(|lambda| {
                lambda
                    .reads
                    .union(&lambda.writes)
                    .copied()
                    .filter(mutable)
                    .collect()
            })
            .collect();
        let mut root: Vec<usize> = (0..states.len()).collect();
        let mut user_of: BTreeMap<StateId, usize> = BTreeMap::new();
        for (number, touched) in states.iter().enumerate() {
            for &state in touched.iter() {
                let other = *user_of.entry(state).or_insert(number);
                let (a, b) = (find(&mut root, other), find(&mut root, number));
                root[a.max(b)] = a.min(b);
            }
        }
        let mut number_of: BTreeMap<usize, usize> = BTreeMap::new();
        let mut components: Vec<Vec<LambdaId>> = Vec::new();
        let mut component_of = Vec::new();
        for id in ids(workload) {
            let component = *number_of.entry(find(&mut root, id.index())).or_insert_with(|| {
                components.push(Vec::new());
                components.len() - 1
            });
            components[component].push(id);
            component_of.push(component);
        }
        Self {
            states,
            component_of,
            components,
        }
    }
}

/// The representative of a set, halving paths on the way.
fn find(root: &mut [usize], mut at: usize) -> usize {
    while root[at] != at {
        root[at] = root[root[at]];
        at = root[at];
    }
    at
}
