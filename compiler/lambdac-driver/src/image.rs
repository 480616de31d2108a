//! Linking: many workloads become one image.

use std::collections::HashMap;
use std::sync::Arc;

use lambdac_diag::Diagnostic;
use lambdac_mir::Module;

use crate::Compiled;

/// The most workloads of one image: the id has 16 bits for the dense index, and 0 is never given.
pub const MAX_WORKLOADS: usize = 0xffff;

/// A workload with its number in the image.
#[derive(Clone, Debug)]
pub struct Linked {
    /// Low 16 bits: place in the image from 1. High 16: a tag made from the name.
    pub id: u32,
    /// What was compiled.
    pub compiled: Compiled,
}

/// Workloads that share a worker, sorted by name.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// The workloads.
    pub workloads: Vec<Linked>,
}

impl Image {
    /// The workloads' MIR in order.
    pub fn modules(&self) -> Vec<Arc<Module>> {
        self.workloads
            .iter()
            .map(|linked| linked.compiled.module.clone())
            .collect()
    }
}

/// Links workloads, numbering them by sorted name.
///
/// # Errors
/// Two workloads of one name (E0910, with both places), or more than an image holds (E0911).
pub fn link(mut compiled: Vec<Compiled>) -> Result<Image, Vec<Diagnostic>> {
    let mut first = HashMap::new();
    let mut errors = Vec::new();
    for one in &compiled {
        let workload = &one.checked.0;
        if let Some(earlier) = first.insert(workload.name.clone(), workload.span) {
            errors.push(
                Diagnostic::error(
                    "E0910",
                    format!("two workloads of one image are called `{}`", workload.name),
                    workload.span,
                    "this one is called so too",
                )
                .with_label(earlier, "the first one is here")
                .with_help("rename one of them, or build them into two images"),
            );
        }
    }
    if let Some(extra) = compiled.get(MAX_WORKLOADS) {
        let message = format!("an image holds at most {MAX_WORKLOADS} workloads");
        errors.push(Diagnostic::error(
            "E0911",
            message,
            extra.checked.0.span,
            "one too many",
        ));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    compiled.sort_by(|a, b| a.module.name.cmp(&b.module.name));
    let numbered = compiled
        .into_iter()
        .zip(1..=u16::MAX)
        .filter_map(|(compiled, index)| {
            let id = lnic_wire::workload_id(index, &compiled.module.name)?;
            Some(Linked { id, compiled })
        });
    Ok(Image {
        workloads: numbered.collect(),
    })
}
