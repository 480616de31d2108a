//! Deadlines: a lambda's worst case on a NIC against its `@deadline`.
//!
//! The NIC is the NFP, whose cost model is the one that counts cycles ([`DEVICE`]). The time is that of a packet:
//! the device's own code, the match stage and the lambda's dearest path, with its state where no placement has moved
//! it nearer. What an `await` waits for is not in it: that time is the service's `timeout`.

use lambdac_cost::{CodeCost, Model, Placement};
use lambdac_diag::{Diagnostic, FileId, Sink, SourceMap, Span};
use lambdac_hir::Workload;
use lambdac_mir::Module;

/// The device whose cost model deadlines are held against.
const DEVICE: &str = "nfp-4000";
/// Lines of the dearest path that a diagnostic shows.
const LINES: usize = 3;

/// Whether a workload has a deadline at all.
pub fn any(workload: &Workload) -> bool {
    workload.lambdas.iter().any(|lambda| lambda.deadline.is_some())
}

/// Checks the lambdas of a workload, whose module went through all passes.
pub fn check(workload: &Workload, module: &Module, map: &SourceMap, sink: &mut Sink) {
    let device = lambdac_target::builtin(DEVICE).expect("a device of this name is built in");
    let model = Model::new(&device).expect("the device counts words");
    let cost = model.module(module, &Placement::far(module, &device));
    for (lambda, code) in workload.lambdas.iter().zip(&cost.lambdas) {
        let Some(deadline) = lambda.deadline else {
            continue;
        };
        let around = device.packet.cycles.saturating_add(cost.dispatch.worst);
        let cycles = around.saturating_add(code.worst);
        let worst = device.nanoseconds(cycles);
        if worst <= deadline {
            continue;
        }
        let message = format!(
            "`{}` can take {}, longer than its deadline of {}",
            lambda.name,
            duration(worst),
            duration(deadline)
        );
        let label = format!(
            "{} cycles on {DEVICE}: {around} before it starts, {} of its own",
            cycles, code.worst
        );
        let error = Diagnostic::error("E0553", message, lambda.span, label);
        let error =
            dearest(code)
                .into_iter()
                .fold(error, |error, (line, cycles)| match span_of(module, map, line) {
                    Some(span) => error.with_label(span, format!("up to {cycles} cycles here")),
                    None => error,
                });
        sink.push(error.with_help("lower the loops' bounds, do less, or give it more time"));
    }
}

/// The lines that take most of the dearest path, in order of position.
fn dearest(code: &CodeCost) -> Vec<((u16, u32), u64)> {
    let mut lines: Vec<_> = code
        .lines
        .iter()
        .map(|(line, cost)| (*line, cost.cycles))
        .collect();
    lines.sort_by_key(|&(line, cycles)| (std::cmp::Reverse(cycles), line));
    lines.truncate(LINES);
    lines.retain(|&(_, cycles)| cycles > 0);
    lines.sort_unstable();
    lines
}

/// The text of a line of a module's file, without the blanks at its start.
fn span_of(module: &Module, map: &SourceMap, (file, line): (u16, u32)) -> Option<Span> {
    let name = module.files.get(usize::from(file))?;
    let file: FileId = map.files().find(|&id| map.name(id) == name)?;
    let text = map.text(file);
    let start = match line.checked_sub(2) {
        None => 0,
        Some(breaks) => text.match_indices('\n').nth(breaks as usize)?.0 + 1,
    };
    let rest = &text[start..];
    let content = rest.lines().next()?;
    let blanks = content.len() - content.trim_start().len();
    let from = u32::try_from(start + blanks).ok()?;
    let to = u32::try_from(start + content.trim_end().len()).ok()?;
    (from < to).then(|| Span::new(file, from, to))
}

/// Nanoseconds as the language would write them, rounded up to a tenth of their unit.
fn duration(ns: u64) -> String {
    let (unit, size) = match ns {
        0..1_000 => return format!("{ns}ns"),
        1_000..1_000_000 => ("us", 1_000),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    let tenths = ns.div_ceil(size / 10);
    if tenths.is_multiple_of(10) {
        format!("{}{unit}", tenths / 10)
    } else {
        format!("{}.{}{unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Input, NoSources, Session};

    /// Codes and messages of a program's errors, with the labels' line and text.
    fn errors(source: &str) -> Vec<String> {
        let mut session = Session::new(Box::new(NoSources));
        let checked = session.check(&Input {
            name: "late.lnic".into(),
            bytes: source.into(),
        });
        let mut lines = Vec::new();
        for error in &checked.diagnostics {
            lines.push(format!("{}: {}", error.code, error.message));
            for label in &error.labels {
                let (line, _) = session.map().line_column(label.span.file, label.span.start);
                lines.push(format!(
                    "  {line} {:?}: {}",
                    session.map().slice(label.span),
                    label.message
                ));
            }
        }
        lines
    }

    /// The block of the page under a heading.
    fn block(heading: &str) -> String {
        let page = include_str!("../../../lang-spec/errors/E0553.md");
        let after = page.split_once(heading).map_or("", |(_, rest)| rest);
        let code = after.split_once("```lnic\n").map_or("", |(_, rest)| rest);
        code.split("```").next().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_lambda_that_can_take_longer_is_told_by_which_lines() {
        insta::assert_snapshot!(errors(&block("## Example")).join("\n"), @r#"
        E0553: `late` can take 203.5us, longer than its deadline of 20us
          6 "late": 162723 cycles on nfp-4000: 2000 before it starts, 160723 of its own
          7 "for i in 0..req.len() max 256 {": up to 1539 cycles here
          8 "total.fetch_add(req[i] as u32);": up to 158464 cycles here
          10 "reply b\"done\";": up to 616 cycles here
        "#);
    }

    #[test]
    fn what_the_page_mends_is_in_time() {
        assert_eq!(errors(&block("## Mend")), Vec::<String>::new());
    }

    #[test]
    fn times_are_rounded_up_to_tenths_of_a_unit() {
        let text = [0, 999, 1_000, 1_001, 20_000, 1_500_001, 2_500_000_000].map(super::duration);
        insta::assert_snapshot!(text.join(" "), @"0ns 999ns 1us 1.1us 20us 1.6ms 2.5s");
    }
}
