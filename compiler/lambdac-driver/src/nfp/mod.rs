//! Images for Netronome's NFP: which lambdas run there, P4 and Micro-C of the image, and the files of a bundle.

mod behind;
mod files;

use std::sync::Arc;

use lambdac_backend_c::{Dialect, Refusal, Source, legal};
use lambdac_backend_p4::{nfp, print};
use lambdac_image::{Image as Linked, LinkError, Report};
use lambdac_mir::{Dispatch, Lambda, LambdaId, Module, Target, Term};
use lambdac_target::Device;

pub use behind::behind_card;
pub use files::files;
pub use lambdac_backend_p4::Listen;
pub use lambdac_backend_p4::nfp::{HOST_PORT, Resident, Rule, SERVICE_PORTS};

use crate::Image;
use crate::nic::{Place, Places, Unreached, as_written};
use crate::session::CheckedWorkload;

/// The name of the target, and of its device.
pub const NAME: &str = "nfp";
/// The code of a lambda that waits for a service out of the card's reach.
const AWAIT: &str = "E0700";
/// The code of a stream lambda whose packets are not the card's alone.
const WHOLE: &str = "E0712";
/// The code of a lambda that runs longer than the device lets one.
const CYCLES: &str = "E0704";
/// The pass that moves lambdas to the host where an image does not fit. Two stores can be pooled instead.
pub(crate) const PARTITION: &str = "partition";
/// What calls the unit on a card.
const ENDING: &str = "lnic_plugin.h";

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The workloads can't be one image.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What stands around the lambdas has no code, or they have none together.
    #[error("{0}")]
    Refused(String),
    /// A file can't be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// What changes an image.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The UDP port that requests come to.
    pub port: u16,
    /// Which services the card can't ask.
    pub unreached: &'a Unreached<'a>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            port: lnic_wire::DEFAULT_PORT,
            unreached: &as_written,
        }
    }
}

/// An image, said in both languages.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// The image, after all passes.
    pub image: Linked,
    /// By workload: where everything is.
    pub places: Vec<Places>,
    /// P4 and its rules.
    pub p4: nfp::Output,
    /// Micro-C and its symbols.
    pub c: Source,
    /// What a core's store holds of it.
    pub store: Store,
    /// The UDP port that requests come to.
    pub port: u16,
}

/// An estimate of the words that an image takes, against the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store {
    /// Words of the image and the firmware around it.
    pub words: u64,
    /// Words of a core.
    pub single: u64,
    /// Words of two cores that pool theirs, and how many such pairs work.
    pub pooled: Option<(u64, u32)>,
}

impl Store {
    /// Whether the stores of two cores must be pooled.
    pub fn is_pooled(&self) -> bool {
        self.words > self.single
    }

    /// What a builder should know, if anything.
    pub fn warning(&self) -> Option<String> {
        let Self { words, single, .. } = self;
        let (pooled, cores) = self.pooled.unwrap_or_default();
        if words <= single {
            return None;
        }
        let why = format!("the image is estimated at {words} words, and a core holds {single}");
        Some(match *words <= pooled {
            true => {
                format!("{why}: the stores of two cores are pooled, which leaves {cores} of them to work")
            }
            false => format!("{why}, two that pool their stores {pooled}: the linker will refuse it"),
        })
    }
}

fn device() -> Result<Device, Error> {
    lambdac_target::builtin(NAME).ok_or_else(|| Error::Refused(format!("no device {NAME} is built in")))
}

/// Where the lambdas of a workload run.
///
/// # Errors
/// If it can't be linked.
pub fn places(
    checked: &CheckedWorkload,
    module: &Arc<Module>,
    unreached: &Unreached<'_>,
) -> Result<Places, Error> {
    // Any id will do.
    let mut image = lambdac_image::link(&module.name, &[(1, module.clone())])?;
    let refused = legal::refusals(&image, Dialect::MicroC);
    // Without passes, this is what the device lets run at all.
    let options = lambdac_image::Options {
        disabled: lambdac_image::passes()
            .iter()
            .map(|pass| pass.name.to_owned())
            .collect(),
        ..lambdac_image::Options::default()
    };
    lambdac_image::optimize(&mut image, &device()?, &options);
    let judge = |id: LambdaId| {
        let of = |refusal: &&Refusal| refusal.entry == Some(id.index());
        if let Some(refusal) = refused.iter().find(of) {
            return Some((refusal.code, refusal.reason.clone(), refusal.loc));
        }
        if let Some(reason) = out_of_reach(module, &module.lambdas[id.index()], unreached) {
            return Some((AWAIT, reason, None));
        }
        let reason = image.entries.get(id.index())?.on_host.as_deref()?;
        Some((CYCLES, reason.to_owned(), None))
    };
    let places = Places::judged(checked, module, NAME, &judge);
    // A packet's chunks go one by one, each to what the match picks for it; where that is the host's, all of them do, and
    // what came before it would run twice.
    let Some(first) = picked(module).into_iter().find(|id| !places.native()[id.index()]) else {
        return Ok(places);
    };
    let name = &module.lambdas[first.index()].name;
    let judge = |id: LambdaId| {
        let whole = || {
            let reason = format!(
                "it answers chunks of packets of which `{name}`, which runs on the host, may answer others"
            );
            Some((WHOLE, reason, None))
        };
        judge(id).or_else(|| (places.native()[id.index()] && picked(module).contains(&id)).then(whole)?)
    };
    Ok(Places::judged(checked, module, NAME, &judge))
}

/// The stream lambdas that a match picks from, chunk by chunk.
fn picked(module: &Module) -> Vec<LambdaId> {
    let Dispatch::Match(stage) = &module.dispatch else {
        return Vec::new();
    };
    let targets = stage.rules.iter().filter_map(|rule| match rule.target {
        Target::Lambda(id) if module.lambdas[id.index()].stream => Some(id),
        _ => None,
    });
    targets.collect()
}

/// Why a service that a lambda waits for can't be asked, if there is one.
fn out_of_reach(module: &Module, lambda: &Lambda, unreached: &Unreached<'_>) -> Option<String> {
    let mut found = None;
    for part in &lambda.parts {
        part.region.walk_regions(&mut |region| {
            if let Term::Await { call, .. } = &region.term {
                let service = &module.services[call.service.index()];
                let why = unreached(service).map(|why| format!("the service `{}` {why}", service.name));
                found = found.take().or(why);
            }
        });
    }
    found
}

/// Links workloads for the card and says the image in P4 and Micro-C.
///
/// # Errors
/// If they can't be one image, or the image has no code.
pub fn emit(image: &Image, options: &Options<'_>) -> Result<Emitted, Error> {
    let compiled = image.workloads.iter().map(|linked| &linked.compiled);
    let places: Vec<Places> = compiled
        .map(|compiled| places(&compiled.checked, &compiled.module, options.unreached))
        .collect::<Result<_, _>>()?;
    let modules = image.workloads.iter();
    let modules: Vec<_> = modules
        .map(|linked| (linked.id, linked.compiled.module.clone()))
        .collect();
    let mut whole = lambdac_image::link("image", &modules)?;
    for (workload, places) in places.iter().enumerate() {
        for (entry, place) in whole.entries_of(workload).zip(places.lambdas()) {
            if let Place::Host { code, reason } = place {
                whole.keep_on_host(entry, &format!("{code}: {reason}"));
            }
        }
    }
    let device = device()?;
    let passes = lambdac_image::Options {
        disabled: vec![PARTITION.to_owned()],
        ..lambdac_image::Options::default()
    };
    let report = lambdac_image::optimize(&mut whole, &device, &passes);
    let printing = lambdac_backend_c::Options {
        ending: Some(ENDING.to_owned()),
        ..lambdac_backend_c::Options::new(Dialect::MicroC)
    };
    let c = lambdac_backend_c::print(&whole, &printing).map_err(|refusals| {
        let reasons: Vec<String> = refusals.into_iter().map(|refusal| refusal.reason).collect();
        Error::Refused(reasons.join("; "))
    })?;
    Ok(Emitted {
        p4: nfp::program(&whole, nfp::Options { port: options.port }),
        store: store(&device, report.as_ref()),
        image: whole,
        places,
        c,
        port: options.port,
    })
}

fn store(device: &Device, report: Option<&Report>) -> Store {
    let words = report.map_or(0, |report| report.end().words());
    let store = device.store;
    Store {
        words: words + store.map_or(0, |store| store.base_words),
        single: store.map_or(u64::MAX, |store| store.words),
        pooled: store.and_then(|store| Some((store.pooled_words?, store.pooled_cores?))),
    }
}

impl Emitted {
    /// The text of the P4 program.
    pub fn p4_text(&self) -> String {
        print::print(&self.p4.program)
    }

    /// Rules of tables, for the card's tools.
    ///
    /// # Errors
    /// If they are no JSON.
    pub fn config(&self) -> Result<String, Error> {
        Ok(nfp::config(&self.p4)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Input, compile};

    /// By lambda: the code of why it is the host's.
    fn codes(source: &str) -> Vec<Option<String>> {
        let compiled = compile(&Input::new("w.lnic", source)).unwrap_or_else(|error| panic!("{error}"));
        let places = places(&compiled.checked, &compiled.module, &as_written).expect("it can be linked");
        let code = |index| places.host_code(index).map(str::to_owned);
        (0..places.lambdas().len()).map(code).collect()
    }

    #[test]
    fn a_lambda_that_no_match_picks_keeps_no_stream_off_the_card() {
        let source = "workload w; stream lambda a(c: [u8; 4]) -> [u8; 1] { reply [c[0]]; }
            @on(host) lambda other(req: [u8; 1]) -> [u8; 1] { reply req; }
            match (c: [u8; 4]) { _ => a }";
        assert_eq!(codes(source)[0], None);
    }
}
