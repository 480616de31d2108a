//! The program for bmv2, the P4 reference switch: which lambdas run there, and the files of a bundle.

use lambdac_backend_p4::{Options, Output, Refusal, p4info, print, program};
use lambdac_image::LinkError;
use lambdac_mir::{LambdaId, Module};

use crate::Image;
use crate::image::Linked;
use crate::nic::Places;
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

/// Where the lambdas of a workload run.
///
/// # Errors
/// If its match stage has no code.
pub fn places(checked: &CheckedWorkload, module: &Module) -> Result<Places, Error> {
    // Any id will do.
    let image = lambdac_image::link(&module.name, &[(1, module.clone().into())])?;
    let output = program(&image, &Options::default())?;
    let judge = |id: LambdaId| {
        let refusal = output.refused.get(id.index()).cloned().flatten()?;
        Some((refusal.code, refusal.reason, refusal.loc))
    };
    Ok(Places::judged(checked, module, NAME, &judge))
}

fn places_of(linked: &Linked) -> Result<Places, Error> {
    places(&linked.compiled.checked, &linked.compiled.module)
}

/// The program of an image, as linked: the switch counts no words, so no pass runs for it.
///
/// # Errors
/// If a match stage has no code, or the workloads can't be one image.
pub fn output(image: &Image, options: &Options) -> Result<Output, Error> {
    let modules = image.workloads.iter();
    let modules: Vec<_> = modules
        .map(|linked| (linked.id, linked.compiled.module.clone()))
        .collect();
    let mut whole = lambdac_image::link("image", &modules)?;
    for (index, linked) in image.workloads.iter().enumerate() {
        let places = places_of(linked)?;
        let entries = whole.entries_of(index);
        for (entry, native) in whole.entries[entries].iter_mut().zip(places.native()) {
            if !native {
                entry.on_host = Some("it runs on the host".into());
            }
        }
    }
    Ok(program(&whole, options)?)
}

/// The files of a bundle, by name in its folder.
///
/// # Errors
/// As [`output`].
pub fn files(image: &Image) -> Result<[(&'static str, String); 3], Error> {
    let output = output(image, &Options::default())?;
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
    use crate::{Input, NoSources, Options, Session, link};

    #[test]
    fn the_example_of_the_page_has_its_code_and_its_mend_is_native() {
        let page = lang_spec::error_page("E0710").expect("it is listed");
        let blocks = page.split("```lnic\n").skip(1);
        let blocks: Vec<_> = blocks.filter_map(|rest| rest.split("```").next()).collect();
        let kept = |source: &str| {
            let mut session = Session::new(Box::new(NoSources));
            let input = Input {
                name: "w.lnic".into(),
                bytes: source.into(),
            };
            let workload = session.check(&input).workload.expect("it is right");
            let compiled = session
                .compile(&workload, &Options::default())
                .expect("all passes exist");
            let places = places(&workload, &compiled.module).expect("it has no match");
            let files = files(&link(vec![compiled]).expect("it is one")).expect("it has a program");
            assert!(files.iter().all(|(_, text)| !text.is_empty()));
            let codes = places.lambdas().iter().filter_map(|place| match place {
                Place::Native => None,
                Place::Host { code, .. } => Some(code.clone()),
            });
            codes.collect::<Vec<_>>()
        };
        assert_eq!(kept(blocks[0]), ["E0710"]);
        assert!(kept(blocks[1]).is_empty());
    }
}
