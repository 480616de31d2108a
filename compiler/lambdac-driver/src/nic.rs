//! Where the lambdas of a workload run on a NIC: what the program decides, what the target can't, and whom that takes
//! along.
//!
//! Lambdas tied by mutable state live on one side (language, section 9). The analysis says which are tied and which the
//! program itself keeps off any NIC; the target's legaliser says what this one lacks. One lambda that stays behind
//! keeps its whole component.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use lambdac_analysis::{Analysis, HostReason, Placement};
use lambdac_backend_ebpf::legalise::{self, Legaliser};
use lambdac_hir::{StateId, Workload};
use lambdac_mir::{Dispatch, LambdaId, Loc, Module, Service};

use crate::session::CheckedWorkload;

/// The code of a lambda that could run on the NIC but for one that shares its state.
const SHARES: &str = "E0790";
/// The target whose legaliser is asked.
const TARGET: &str = "xdp";

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
    lines: Vec<Option<Loc>>,
    any_length: bool,
    on_nic: BTreeSet<Arc<str>>,
}

impl Places {
    /// Asks analysis and legaliser, with services where the source says.
    pub fn of(checked: &CheckedWorkload, module: &Module) -> Self {
        Self::with_services(checked, module, &as_written)
    }

    /// As [`Places::of`], where services may be elsewhere: `unreached` says why one can't be asked from the NIC, if so.
    pub fn with_services(checked: &CheckedWorkload, module: &Module, unreached: &Unreached<'_>) -> Self {
        let device = lambdac_target::builtin(TARGET).expect("a device of this name is built in");
        let unreached: Vec<_> = module.services.iter().map(unreached).collect();
        let legaliser = Legaliser::new(module, &device).without_services(&unreached);
        let check = |id| {
            let refusal = legaliser.check(id).err()?;
            Some((refusal.code, refusal.reason, refusal.loc))
        };
        Self::judged(checked, module, TARGET, &check)
    }

    /// Asks analysis, and for what the target lacks its judge.
    pub fn judged(checked: &CheckedWorkload, module: &Module, target: &str, judge: &Judge<'_>) -> Self {
        let (hir, analysis) = &**checked;
        let all = (0..module.lambdas.len()).map(|index| {
            alone(
                hir,
                analysis,
                module,
                target,
                judge(LambdaId(index as u32)),
                index,
            )
        });
        let (alone, lines): (Vec<_>, Vec<_>) = all.unzip();
        let lambdas = spread(hir, analysis, target, alone);
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
        let any_length = matches!(module.dispatch, Dispatch::Only(id)
            if lambdas[id.index()] == Place::Native && takes_any(analysis, id.index()));
        Self {
            lambdas,
            lines,
            any_length,
            on_nic,
        }
    }

    /// All lambdas, in source order.
    pub fn lambdas(&self) -> &[Place] {
        &self.lambdas
    }

    /// By lambda: whether it runs on the NIC.
    pub fn native(&self) -> Vec<bool> {
        self.lambdas.iter().map(|place| *place == Place::Native).collect()
    }

    /// Whether any lambda is the NIC's.
    pub fn is_native(&self) -> bool {
        self.lambdas.contains(&Place::Native)
    }

    /// The code of why a lambda is the host's, if it is.
    pub fn host_code(&self, lambda: usize) -> Option<&str> {
        match self.lambdas.get(lambda)? {
            Place::Native => None,
            Place::Host { code, .. } => Some(code),
        }
    }

    /// The line that keeps a lambda off the NIC, where it is one.
    pub fn line(&self, lambda: usize) -> Option<Loc> {
        self.lines.get(lambda).copied().flatten()
    }

    /// Whether a message of several packets is the NIC's too, as a request without payload: the workload is one lambda
    /// that takes any message, reads none of it, and has state on the NIC.
    pub fn takes_any_length(&self) -> bool {
        self.any_length
    }

    /// Whether the NIC holds any state.
    pub fn holds_state(&self) -> bool {
        !self.on_nic.is_empty()
    }

    /// Whether the NIC holds the state object of this name. Tables are on both sides.
    pub fn on_nic(&self, object: &str) -> bool {
        self.on_nic.contains(object)
    }
}

/// What a target lacks for a lambda: code, reason as a clause, and line; none if it can run there.
pub type Judge<'a> = dyn Fn(LambdaId) -> Option<(&'static str, String, Option<Loc>)> + 'a;

/// Why a service can't be asked from the NIC, as a clause that can follow its name; none if it can.
pub type Unreached<'a> = dyn Fn(&Service) -> Option<String> + 'a;

/// Services are where the source says: what the NIC sends leaves by the wire, so that the worker's own host is out of
/// reach.
pub fn as_written(service: &Service) -> Option<String> {
    let address = &service.address;
    match address.parse() {
        Ok(SocketAddr::V4(v4)) if v4.ip().is_loopback() || v4.ip().is_unspecified() => Some(format!(
            "is on this host ({address}), where the NIC can't reach it"
        )),
        Ok(SocketAddr::V4(_)) => None,
        _ => Some(format!("has no IPv4 address ({address})")),
    }
}

/// What keeps a lambda off the NIC by itself: the target's word where it has one, else the program's.
fn alone(
    hir: &Workload,
    analysis: &Analysis,
    module: &Module,
    target: &str,
    refusal: Option<(&'static str, String, Option<Loc>)>,
    index: usize,
) -> (Place, Option<Loc>) {
    if let Some((code, reason, loc)) = refusal {
        return (host(code, format!("{target}: {reason}")), loc);
    }
    let place = match &analysis.lambdas[index].placement {
        // Who picks the lambda for a message of several packets is the host, who then may not run it.
        Placement::Nic { .. }
            if takes_any(analysis, index) && matches!(module.dispatch, Dispatch::Match(_)) =>
        {
            let reason = "behind a match, it has mutable state and takes messages of any length";
            host(legalise::REQUEST, format!("{target}: {reason}"))
        }
        Placement::Nic { .. } => Place::Native,
        Placement::Host(reason) => host(code(reason), format!("{target}: {}", reason.describe(hir))),
    };
    (place, None)
}

fn host(code: &str, reason: String) -> Place {
    let code = code.to_owned();
    Place::Host { code, reason }
}

/// The code of what the program itself says.
fn code(reason: &HostReason) -> &'static str {
    match reason {
        HostReason::Asked => legalise::ASKED,
        HostReason::Reply { .. } => legalise::REPLY,
        HostReason::PuntTarget { .. } => legalise::PUNTED,
        HostReason::Request { .. } => legalise::REQUEST,
        HostReason::Shares { .. } => SHARES,
    }
}

/// Whether a lambda has mutable state and no parameter: messages of any length are its own.
fn takes_any(analysis: &Analysis, index: usize) -> bool {
    let info = &analysis.lambdas[index];
    let written = |state: &StateId| analysis.lambdas.iter().any(|other| other.writes.contains(state));
    info.request.is_none() && info.reads.iter().chain(&info.writes).any(written)
}

/// Takes along those that share changing state with a lambda that stays behind.
fn spread(hir: &Workload, analysis: &Analysis, target: &str, alone: Vec<Place>) -> Vec<Place> {
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
                    reason: format!("{target}: it is tied by state to `{with}`, which runs on the host"),
                };
            }
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Place, Places};
    use crate::{Input, compile};

    /// Name and code of each lambda that is the host's.
    fn kept(source: &str) -> Vec<(String, String)> {
        let compiled = compile(&Input::new("w.lnic", source)).unwrap_or_else(|error| panic!("{error}"));
        let workload = &compiled.checked;
        let places = Places::of(workload, &compiled.module);
        let lambdas = workload.0.lambdas.iter().zip(places.lambdas());
        let kept = lambdas.filter_map(|(lambda, place)| match place {
            Place::Native => None,
            Place::Host { code, reason } => {
                assert!(reason.starts_with("xdp: "), "{reason}");
                Some((lambda.name.to_string(), code.clone()))
            }
        });
        kept.collect()
    }

    #[test]
    fn the_examples_of_the_pages_have_their_code_and_their_mends_are_native() {
        // What other targets than this lack, and what is no target's.
        let elsewhere = ["E0710", "E0711", "E0712", "E0750"];
        let codes =
            lang_spec::error_codes().filter(|code| code.starts_with("E07") && !elsewhere.contains(code));
        let codes: Vec<_> = codes.collect();
        assert_eq!(codes.len(), 9);
        for code in codes {
            let page = lang_spec::error_page(code).expect("listed");
            let blocks = page.split("```lnic\n").skip(1);
            let blocks: Vec<_> = blocks.filter_map(|rest| rest.split("```").next()).collect();
            let [example, mend] = blocks[..] else {
                panic!("{code}: an example and a mend")
            };
            let found: BTreeSet<String> = kept(example).into_iter().map(|(_, code)| code).collect();
            assert!(found.contains(code), "{code}: {found:?}");
            assert_eq!(kept(mend), Vec::new(), "{code}");
        }
    }

    #[test]
    fn only_the_component_of_a_lambda_that_stays_behind_stays_behind() {
        let source = "workload w; state a: u32; state b: u32;
            @on(host) lambda asked(req: [u8; 1]) -> [u32; 1] { reply [a.fetch_add(1)]; }
            lambda tied(req: [u8; 1]) -> [u32; 1] { reply [a]; }
            lambda free(req: [u8; 1]) -> [u32; 1] { reply [b.fetch_add(1)]; }
            match (req: [u8; 1]) { req[0] == 0 => asked, req[0] == 1 => tied, _ => free }";
        let expected = [("asked", "E0705"), ("tied", "E0790")];
        assert_eq!(
            kept(source),
            expected.map(|(name, code)| (name.to_owned(), code.to_owned()))
        );
    }

    #[test]
    fn a_lambda_without_a_parameter_takes_long_messages_on_the_nic_unless_a_match_picks_it() {
        let alone = "workload w; state n: u32; lambda l() -> [u32; 1] { reply [n.fetch_add(1)]; }";
        assert_eq!(kept(alone), Vec::new());
        let picked = format!("{alone} match (req: [u8; 1]) {{ req[0] == 1 => l, _ => drop }}");
        assert_eq!(kept(&picked), [("l".to_owned(), "E0702".to_owned())]);
    }
}
