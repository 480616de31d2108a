//! Where the lambdas of a workload run on a NIC: what the program decides, what the target can't, and whom that takes
//! along.
//!
//! Lambdas tied by mutable state live on one side (language, section 9). The analysis says which are tied and which the
//! program itself keeps off any NIC; the target's legaliser says what this one lacks. One lambda that stays behind
//! keeps its whole component.

use std::collections::BTreeSet;
use std::sync::Arc;

use lambdac_analysis::{Analysis, Placement};
use lambdac_hir::{StateId, Workload};
use lambdac_mir::{LambdaId, Module};

use crate::session::CheckedWorkload;

/// The code of a lambda that could run on the NIC but for one that shares its state.
const SHARES: &str = "E0790";
/// The code of one that the program itself keeps on the host for a reason that the target has no code for.
const PROGRAM: &str = "E0791";

/// Where a lambda runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the NIC.
    Native,
    /// On the host.
    Host {
        /// The reason's code.
        code: String,
        /// The reason, as a clause.
        reason: String,
    },
}

/// Where each lambda and object of a workload is.
#[derive(Clone, Debug)]
pub struct Places {
    lambdas: Vec<Place>,
    on_nic: BTreeSet<Arc<str>>,
}

impl Places {
    /// Asks analysis and legaliser.
    pub fn of(checked: &CheckedWorkload, module: &Module) -> Self {
        let (hir, analysis) = &**checked;
        let alone = (0..module.lambdas.len()).map(|index| alone(hir, analysis, module, index));
        let lambdas = spread(hir, analysis, alone.collect());
        let native = |(info, place): &(&lambdac_analysis::LambdaInfo, &Place)| {
            (**place == Place::Native)
                .then(|| info.reads.iter().chain(&info.writes).copied().collect::<Vec<_>>())
        };
        let touched: BTreeSet<StateId> = analysis
            .lambdas
            .iter()
            .zip(&lambdas)
            .filter_map(|pair| native(&pair))
            .flatten()
            .collect();
        let on_nic = touched
            .iter()
            .map(|id| hir.states[id.index()].name.clone())
            .collect();
        Self { lambdas, on_nic }
    }

    /// All lambdas, in source order.
    pub fn lambdas(&self) -> &[Place] {
        &self.lambdas
    }

    /// By lambda: whether it runs on the NIC.
    pub fn native(&self) -> Vec<bool> {
        self.lambdas.iter().map(|place| *place == Place::Native).collect()
    }

    /// The code of why a lambda is the host's, if it is.
    pub fn host_code(&self, lambda: usize) -> Option<&str> {
        match self.lambdas.get(lambda)? {
            Place::Native => None,
            Place::Host { code, .. } => Some(code),
        }
    }

    /// Whether the NIC holds the state object of this name. Tables are on both sides.
    pub fn on_nic(&self, object: &str) -> bool {
        self.on_nic.contains(object)
    }
}

/// What keeps a lambda off the NIC by itself: the target's word where it has one, else the program's.
fn alone(hir: &Workload, analysis: &Analysis, module: &Module, index: usize) -> Place {
    if let Some((code, reason)) = refused(module, LambdaId(index as u32)) {
        return Place::Host { code, reason };
    }
    match &analysis.lambdas[index].placement {
        Placement::Nic { .. } => Place::Native,
        Placement::Host(reason) => Place::Host {
            code: PROGRAM.to_owned(),
            reason: reason.describe(hir),
        },
    }
}

/// What the target lacks for a lambda.
fn refused(module: &Module, id: LambdaId) -> Option<(String, String)> {
    let waits = module.lambdas[id.index()].parts.len() > 1;
    waits.then(|| ("E0700".to_owned(), "it waits for a service".to_owned()))
}

/// Takes along those that share changing state with a lambda that stays behind.
fn spread(hir: &Workload, analysis: &Analysis, alone: Vec<Place>) -> Vec<Place> {
    let mut places = alone.clone();
    for component in &analysis.components {
        let Some(first) = component.iter().find(|id| alone[id.index()] != Place::Native) else {
            continue;
        };
        for id in component {
            if alone[id.index()] == Place::Native {
                let with = &hir.lambdas[first.index()].name;
                places[id.index()] = Place::Host {
                    code: SHARES.to_owned(),
                    reason: format!("it is tied by state to `{with}`, which runs on the host"),
                };
            }
        }
    }
    places
}
