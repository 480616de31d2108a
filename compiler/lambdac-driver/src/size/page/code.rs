//! Sources with what each line costs, beside the MIR.

use std::collections::BTreeMap;

use lambdac_cost::LineCost;
use lambdac_image::ImageCost;

use super::super::text::grouped;
use super::escape;
use crate::Image;

/// Most lambdas whose code is shown.
const MAX_SHOWN: usize = 64;

/// All lambdas' code, each once with the lambdas that share it.
pub(super) fn all(optimised: &lambdac_image::Image, image: &Image, cost: &ImageCost) -> String {
    let mut out = String::new();
    let mut shared: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, entry) in optimised.entries.iter().enumerate() {
        shared.entry(entry.lambda.0).or_default().push(index);
    }
    let count = shared.len();
    for (lambda, entries) in shared.into_iter().take(MAX_SHOWN) {
        let names: Vec<String> = entries.iter().map(|entry| optimised.entry_name(*entry)).collect();
        let Some(code) = cost.code.lambdas.get(lambda as usize) else {
            continue;
        };
        out += &format!(
            "<details{}>\n<summary>{}: {} words</summary>\n<div class=\"pair\">\n",
            if lambda == 0 { " open" } else { "" },
            escape(&names.join(", ")),
            grouped(code.words)
        );
        let workload = optimised.entries[entries[0]].workload;
        out += &source(optimised, image, workload, &code.lines);
        let mir = lambdac_mir::print_lambda(&optimised.module.lambdas[lambda as usize]);
        out += &format!(
            "<pre class=\"listing\">{}</pre>\n</div>\n</details>\n",
            escape(&mir)
        );
    }
    if count > MAX_SHOWN {
        out += &format!(
            "<p class=\"quiet\">{} more lambdas are not shown.</p>\n",
            count - MAX_SHOWN
        );
    }
    out
}

/// The files of a workload that have lines with a cost.
fn source(
    optimised: &lambdac_image::Image,
    image: &Image,
    workload: usize,
    lines: &BTreeMap<(u16, u32), LineCost>,
) -> String {
    let mut out = String::from("<div class=\"listing\">\n");
    let most = lines.values().map(|line| line.cycles).max().unwrap_or(0).max(1);
    let Some(linked) = image.workloads.get(workload) else {
        return out + "</div>\n";
    };
    for (name, text) in &linked.compiled.sources {
        let Some(file) = optimised.module.files.iter().position(|file| file == name) else {
            continue;
        };
        let cost = |line: u32| lines.get(&(file as u16, line));
        let numbers = 1u32..;
        let costly: Vec<u32> = lines
            .keys()
            .filter(|(of, _)| usize::from(*of) == file)
            .map(|(_, line)| *line)
            .collect();
        let (Some(first), Some(last)) = (costly.first(), costly.last()) else {
            continue;
        };
        // A few lines around what costs.
        let shown = first.saturating_sub(4)..=last.saturating_add(2);
        out += &format!(
            "<div class=\"quiet\">{}</div>\n<table>\n<tr><td class=\"n\">words</td><td class=\"n\">cycles</td><td></td><td></td></tr>\n",
            escape(name)
        );
        for (number, line) in numbers
            .zip(text.lines())
            .filter(|(number, _)| shown.contains(number))
        {
            let (words, cycles, heat) = match cost(number) {
                Some(cost) => (
                    grouped(cost.words),
                    grouped(cost.cycles),
                    // A root, so that one hot line does not hide the rest.
                    (cost.cycles as f64 / most as f64).sqrt() * 0.45,
                ),
                None => (String::new(), String::new(), 0.0),
            };
            out += &format!(
                "<tr style=\"background:rgba(var(--heat),{heat:.2})\"><td class=\"n\">{words}</td><td class=\"n\">{cycles}</td><td class=\"n\">{number}</td><td>{}</td></tr>\n",
                escape(line)
            );
        }
        out += "</table>\n";
    }
    out + "</div>\n"
}
