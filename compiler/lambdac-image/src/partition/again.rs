//! The passes once more over what stays.
//!
//! What was cut was there when code was shared, so what stays may hold functions for one user, or parameters that one way in
//! sets. All passes run again over the image as it was linked, without what was cut, and the smaller of the two images is
//! taken. What that leaves free may hold some of what was cut: the most worth of it whose words fit is tried, by running
//! everything with it, and stays where nothing else has to go. This is repeated until nothing more fits, or [`MAX_TRIES`]
//! times.

use super::{Cut, PARTITION, cut};
use crate::image::Image;
use crate::pass::Report;

/// How often all passes run at most to bring something back.
const MAX_TRIES: usize = 4;

/// What the passes made: an image, what they did, and what they cut of it, the most worth first.
pub(crate) type Run = (Image, Report, Vec<Cut>);

/// Improves on a first run that cut lambdas; `again` runs all passes over the image as it was linked, without some entries.
///
/// # Errors
/// As `again` has.
pub(crate) fn refine<E>(
    first: Run,
    room: u64,
    mut again: impl FnMut(&[usize]) -> Result<Run, E>,
) -> Result<(Image, Report), E> {
    let (image, report, groups) = first;
    let gone = cut(&image);
    if gone.is_empty() {
        return Ok((image, report));
    }
    let (second, of_second, _) = again(&gone)?;
    let (before, after) = (report.end().words(), of_second.end().words());
    if after >= before || cut(&second) != gone {
        return Ok((image, report));
    }
    let mut told = vec![format!(
        "the passes ran again over what stays: {before} words became {after}"
    )];
    let mut best = (second, of_second);
    let mut tries = MAX_TRIES;
    for group in &groups {
        let left = room.saturating_sub(best.1.end().words());
        if tries == 0 || group.words > left {
            continue;
        }
        tries -= 1;
        let mut gone = cut(&best.0);
        gone.retain(|entry| !group.entries.contains(entry));
        let (image, report, _) = again(&gone)?;
        if cut(&image) == gone && report.end().words() <= room {
            let names = group
                .entries
                .iter()
                .map(|entry| format!("`{}`", image.entry_name(*entry)));
            told.push(format!(
                "in the room that this left, {} came back: {} words",
                names.collect::<Vec<_>>().join(", "),
                report.end().words()
            ));
            best = (image, report);
        }
    }
    let (image, mut last) = best;
    tell(&report, &mut last, told);
    Ok((image, last))
}

/// The last run's report, with what the first one found and said of the cut.
fn tell(first: &Report, last: &mut Report, told: Vec<String>) {
    let of = |report: &Report| {
        let mut steps = report.steps.iter();
        steps.position(|step| step.name == PARTITION.name)
    };
    if let (Some(from), Some(to)) = (of(first), of(last)) {
        let mut notes = first.steps[from].notes.clone();
        notes.extend(told);
        last.steps[to].notes = notes;
    }
    last.naive = first.naive.clone();
}
