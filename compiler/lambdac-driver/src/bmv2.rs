//! The program for bmv2, the P4 reference switch: which lambdas run there, and the files of a bundle.

use lambdac_backend_p4::{Options, Output, Reach, Refusal, ServicePlace, p4info, print, program};
use lambdac_image::LinkError;
use lambdac_mir::{LambdaId, Module, Service};

use crate::Image;
use crate::nic::{Places, as_written};
use crate::session::CheckedWorkload;

/// The name of the target.
pub const NAME: &str = "bmv2";

/// Why there is no program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What stands around the lambdas has no code.
    #[error(transparent)]
    Code(#[from] Refusal),
    /// The workloads can't be one image.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Services are where the source says; by which way is told to the switch when it runs.
fn written(_: &Module, service: &Service) -> Reach {
    as_written(service).map_or(Ok(ServicePlace::default()), Err)
}

/// Where the lambdas of a workload run, with services where the source says.
///
/// # Errors
/// If its match stage has no code.
pub fn places(checked: &CheckedWorkload, module: &Module) -> Result<Places, Error> {
    places_with(checked, module, &written)
}

/// As [`places`], where services may be elsewhere.
///
/// # Errors
/// As [`places`].
pub fn places_with(
    checked: &CheckedWorkload,
    module: &Module,
    reach: &dyn Fn(&Module, &Service) -> Reach,
) -> Result<Places, Error> {
    // Any id will do.
    let image = lambdac_image::link(&module.name, &[(1, module.clone().into())])?;
    let options = Options {
        services: reaches(module, reach),
        ..Options::default()
    };
    let output = program(&image, &options)?;
    let judge = |id: LambdaId| {
        let refusal = output.refused.get(id.index()).cloned().flatten()?;
        Some((refusal.code, refusal.reason, refusal.loc))
    };
    Ok(Places::judged(checked, module, NAME, &judge))
}

fn reaches(module: &Module, reach: &dyn Fn(&Module, &Service) -> Reach) -> Vec<Reach> {
    module
        .services
        .iter()
        .map(|service| reach(module, service))
        .collect()
}

/// An image for the switch.
#[derive(Clone, Debug)]
pub struct Placed {
    /// As linked: the switch counts no words, so no pass runs for it. What is the host's says so.
    pub image: lambdac_image::Image,
    /// By workload, where its lambdas run.
    pub places: Vec<Places>,
    /// Of all workloads, where services are.
    pub services: Vec<Reach>,
}

/// Links an image and says what of it is the switch's.
///
/// # Errors
/// If a match stage has no code, or the workloads can't be one image.
pub fn place(image: &Image, reach: &dyn Fn(&Module, &Service) -> Reach) -> Result<Placed, Error> {
    let modules = image.workloads.iter();
    let modules: Vec<_> = modules
        .map(|linked| (linked.id, linked.compiled.module.clone()))
        .collect();
    let mut whole = lambdac_image::link("image", &modules)?;
    let (mut all, mut services) = (Vec::new(), Vec::new());
    for (index, linked) in image.workloads.iter().enumerate() {
        let module = &linked.compiled.module;
        let places = places_with(&linked.compiled.checked, module, reach)?;
        services.extend(reaches(module, reach));
        let entries = whole.entries_of(index);
        for (entry, native) in whole.entries[entries].iter_mut().zip(places.native()) {
            if !native {
                entry.on_host = Some("it runs on the host".into());
            }
        }
        all.push(places);
    }
    Ok(Placed {
        image: whole,
        places: all,
        services,
    })
}

/// The program of an image, with services where the sources say.
///
/// # Errors
/// As [`place`].
pub fn output(image: &Image) -> Result<Output, Error> {
    let placed = place(image, &written)?;
    let options = Options {
        services: placed.services,
        ..Options::default()
    };
    Ok(program(&placed.image, &options)?)
}

/// The files of a bundle, by name in its folder.
///
/// # Errors
/// As [`output`].
pub fn files(image: &Image) -> Result<[(&'static str, String); 3], Error> {
    let output = output(image)?;
    Ok([
        ("image.p4", print::print(&output.program)),
        ("image.p4info.txtpb", p4info::p4info(&output.program)),
        ("entries.txtpb", p4info::entries(&output.program, &output.entries)),
    ])
}

#[cfg(test)]
mod tests {
    use super::{files, places};
    use crate::nic::Place;
    use crate::{Input, compile, link};

    /// Why lambdas of a program are the host's, by code.
    fn kept(source: &str) -> Vec<String> {
        let compiled = compile(&Input::new("w.lnic", source)).expect("it is right");
        let places = places(&compiled.checked, &compiled.module).expect("its match has code");
        let files = files(&link(vec![compiled]).expect("it is one")).expect("it has a program");
        assert!(files.iter().all(|(_, text)| !text.is_empty()));
        let codes = places.lambdas().iter().filter_map(|place| match place {
            Place::Native => None,
            Place::Host { code, .. } => Some(code.clone()),
        });
        codes.collect()
    }

    #[test]
    fn the_example_of_the_page_has_its_code_and_its_mend_is_native() {
        let page = lang_spec::error_page("E0710").expect("it is listed");
        let blocks = page.split("```lnic\n").skip(1);
        let blocks: Vec<_> = blocks.filter_map(|rest| rest.split("```").next()).collect();
        assert_eq!(kept(blocks[0]), ["E0710"]);
        assert!(kept(blocks[1]).is_empty());
    }

    #[test]
    fn lookups_are_counted_with_the_trips_of_their_loops() {
        let walk = |trips: u32| {
            format!(
                "workload w; table t: exact<u8, u8>(4) {{ 1 => 2, }}
                lambda f(req: [u8; 1]) -> [u8; 1] {{
                    let mut at = req[0];
                    for i in 0..{trips} {{
                        let to = t.get(at) else {{ reply [at]; }};
                        at = to;
                    }}
                    reply [at];
                }}"
            )
        };
        assert!(kept(&walk(128)).is_empty());
        assert_eq!(kept(&walk(129)), ["E0707"]);
    }

    #[test]
    fn a_reply_longer_than_a_packet_may_grow_is_the_hosts() {
        let message = |request: &str, reply: u32| {
            kept(&format!(
                "workload w; lambda f(req: {request}) -> bytes<{reply}> {{ reply b\"\"; }}"
            ))
        };
        assert!(message("[u8; 2]", 508).is_empty());
        assert_eq!(message("[u8; 2]", 509), ["E0701"]);
        assert!(message("bytes<600>", 506).is_empty());
        assert_eq!(message("bytes<600>", 507), ["E0701"]);
        // The most chunks of a packet: 1,344 bytes of replies.
        let stream = |reply: u32| {
            kept(&format!(
                "workload w; stream lambda f(chunk: [u8; 5]) -> [u8; {reply}] {{ reply [0; {reply}]; }}"
            ))
        };
        assert!(stream(8).is_empty());
        assert_eq!(stream(11), ["E0701"]);
    }

    #[test]
    fn streams_of_one_match_are_on_one_side() {
        let pair = |host: &str| {
            format!(
                "workload w;
                {host} stream lambda a(chunk: [u8; 4]) -> [u8; 4] {{ reply chunk; }}
                stream lambda b(chunk: [u8; 4]) -> [u8; 4] {{ reply chunk; }}
                match (req: bytes<1>) {{ req == b\"a\" => a, _ => b, }}"
            )
        };
        assert!(kept(&pair("")).is_empty());
        assert_eq!(kept(&pair("@on(host)")), ["E0705", "E0702"]);
    }
}
