//! Warns about constants, types and `use` lines that nothing mentions.
//!
//! They are folded away before HIR, so that the analyses over HIR can't see them. A mention in a test counts, and so
//! does one in something that is itself unused: then that is the cause and is warned about.

use std::collections::HashSet;

use lambdac_syntax::ast::{self, ItemKind as K};

use crate::Checker;
use crate::names::{ROOT, kind_of, name_of};
use crate::refs::refs_of;

impl Checker<'_> {
    /// Warns, unless there were errors: what could not be read may mention anything.
    pub(crate) fn warn_of_unused(&mut self) {
        let root = self.names.modules[ROOT.0 as usize].file;
        if self.failed || self.had_errors_before || root.kind == ast::FileKind::Library {
            return;
        }
        let mentioned = mentioned_in(root);
        for name in &root.uses {
            if !mentioned.contains(&*name.text) {
                let message = format!("the library `{}` is never used", name.text);
                self.warn("W0052", message, name.span, "nothing uses this", "take it away");
            }
        }
        for item in &root.items {
            let folded = matches!(
                item.kind,
                K::Const { .. } | K::Enum { .. } | K::Struct { .. } | K::Header { .. }
            );
            let Some(name) = name_of(item).filter(|_| folded) else {
                continue;
            };
            if !mentioned.contains(&*name.text) {
                let what = kind_of(item).split_once(' ').map_or("item", |(_, kind)| kind);
                let message = format!("the {what} `{}` is never used", name.text);
                self.warn("W0052", message, name.span, "nothing uses this", "take it away");
            }
        }
    }
}

/// The first names of all paths of a file; an item's mention of itself is an error of its own.
fn mentioned_in(file: &ast::File) -> HashSet<&str> {
    (file.items.iter())
        .flat_map(refs_of)
        .filter_map(|(path, _)| path.segments.first())
        .map(|name| &*name.text)
        .collect()
}
