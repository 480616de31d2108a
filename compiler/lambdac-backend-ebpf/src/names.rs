//! Names of what is linked into one object, each of which nothing else in it has.
//!
//! Maps, variables and programs are C identifiers in debug information (btf_name_valid_identifier of Linux
//! kernel/bpf/btf.c), and so are the names that they are made of: what joins a workload's name with that of something
//! in it may stand in both. In [`declared`] the first odd run of underscores ends with the one that joins, as those of
//! the workload's name are doubled and the other part never starts with one. No name of [`declared`] starts with a
//! single underscore, and all of [`made`] do. What is there once has a name without underscores.

/// The name of what a workload's source calls `name`.
pub(crate) fn declared(workload: &str, name: &str) -> String {
    // No identifier starts with a digit.
    let zero = if name.starts_with('_') { "0" } else { "" };
    format!("{}_{zero}{name}", workload.replace('_', "__"))
}

/// The name of what the compiler makes for something: `what` has letters and digits only.
pub(crate) fn made(what: &str, of: &str) -> String {
    format!("_{what}_{of}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// All identifiers of up to `most` letters of a small alphabet.
    fn identifiers(most: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut from = 0;
        for _ in 0..most {
            let to = all.len();
            for at in from..to {
                all.extend(["a", "_", "0"].map(|letter| format!("{}{letter}", all[at])));
            }
            from = to;
        }
        all.retain(|word| !word.is_empty() && !word.starts_with('0'));
        all
    }

    #[test]
    fn no_two_things_have_one_name() {
        let identifiers = identifiers(5);
        let mut names = HashMap::new();
        let mut add = |joined: String, of: [&str; 2]| {
            if let Some(other) = names.insert(joined.clone(), of.map(str::to_owned)) {
                panic!("{joined} is of {other:?} and of {of:?}");
            }
        };
        for workload in &identifiers {
            for what in ["a", "aa", "a0"] {
                add(made(what, workload), [what, workload]);
            }
            for name in &identifiers {
                add(declared(workload, name), [workload, name]);
            }
        }
    }
}
