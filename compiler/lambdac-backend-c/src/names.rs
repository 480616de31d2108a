//! Names in C.
//!
//! What comes from a program bears the prefix `w_`, so that it can't be a keyword, a macro, an intrinsic, or anything
//! that begins with `pif_`, `nfp_`, `pkt` or two underscores; what the header gives bears `lnic_`.

use std::collections::BTreeSet;

use crate::ast::Name;

/// Letters that a name keeps of its source.
const MAX_LEN: usize = 48;

/// Gives out names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    /// A name like another that nobody has yet.
    pub fn fresh(&mut self, like: &str) -> Name {
        let base = format!("w_{}", letters(like));
        let mut name = base.clone();
        let mut number = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{base}_{number}");
            number += 1;
        }
        name.into()
    }
}

/// A name's letters and digits, everything else as `_`.
pub(crate) fn letters(name: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().take(MAX_LEN).map(keep).collect()
}
