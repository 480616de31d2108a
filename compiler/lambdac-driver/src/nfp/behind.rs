//! The worker's copy of an image whose NIC hands requests up as they came, without saying which lambda was meant.

use std::sync::Arc;

use lambdac_mir::{LambdaId, Module, Part, Region, Term};

use super::{Error, places};
use crate::nic::{Place, Places, Unreached};
use crate::session::CheckedWorkload;
use crate::{Image, Linked};

/// The image for the worker behind a card: lambdas whose state changes and is on the card only punt, as the card itself
/// would have answered all but a punt. A lambda that punts to one other lambda does so here too.
///
/// # Errors
/// If a workload can't be linked.
pub fn behind_card(image: &Image, unreached: &Unreached<'_>) -> Result<Image, Error> {
    let mut image = image.clone();
    for linked in &mut image.workloads {
        let places = places(&linked.compiled.checked, &linked.compiled.module, unreached)?;
        leave(linked, &places);
    }
    Ok(image)
}

fn leave(linked: &mut Linked, places: &Places) {
    let kept: Vec<usize> = (0..places.lambdas().len())
        .filter(|index| {
            places.lambdas()[*index] == Place::Native && changes(&linked.compiled.checked, *index)
        })
        .collect();
    if kept.is_empty() {
        return;
    }
    let module = Arc::make_mut(&mut linked.compiled.module);
    for index in kept {
        let to = target(module, index);
        let lambda = &mut module.lambdas[index];
        lambda.parts = vec![Part {
            params: Vec::new(),
            live_slots: Vec::new(),
            region: Region {
                stmts: Vec::new(),
                term: Term::Punt(to),
            },
        }];
    }
}

/// Whether a lambda has to do with state that some lambda changes.
fn changes(checked: &CheckedWorkload, lambda: usize) -> bool {
    let analysis = &checked.1;
    let info = &analysis.lambdas[lambda];
    let mut touched = info.reads.iter().chain(&info.writes);
    touched.any(|state| analysis.lambdas.iter().any(|other| other.writes.contains(state)))
}

/// The one lambda that a lambda punts to; none if it punts to the fallback, or to several.
fn target(module: &Module, lambda: usize) -> Option<LambdaId> {
    let mut targets = Vec::new();
    for part in &module.lambdas[lambda].parts {
        part.region.walk_regions(&mut |region| {
            if let Term::Punt(to) = region.term
                && !targets.contains(&to)
            {
                targets.push(to);
            }
        });
    }
    match targets[..] {
        [only] => only,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::behind_card;
    use crate::nic::as_written;
    use crate::{Input, compile, link};

    #[test]
    fn what_the_card_holds_only_punts_on_the_host_and_the_module_is_valid() {
        let source = "workload w; state n: u32;
            lambda count(req: [u8; 1]) -> [u32; 1] { reply [n.fetch_add(req[0] as u32)]; }
            lambda twice(req: [u8; 1]) -> [u8; 2] { reply [req[0], req[0]]; }
            match (req: [u8; 1]) { req[0] == 0 => count, _ => twice }";
        let compiled = compile(&Input::new("w.lnic", source)).expect("it is right");
        let before = compiled.module.to_string();
        let image = link(vec![compiled]).expect("it is one");
        let behind = behind_card(&image, &as_written).expect("it can be linked");
        let module = &behind.workloads[0].compiled.module;
        assert_eq!(lambdac_mir::validate(module), Ok(()));
        let text = module.to_string();
        assert!(text.contains("punt") && !before.contains("punt"), "{text}");
        assert!(!text.contains("fetch_add"), "{text}");
    }
}
