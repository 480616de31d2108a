//! Names of P4: made from names of the source, valid, and distinct.

use std::collections::BTreeSet;

/// Words that P4_16 or its core library has taken (specification, appendix "P4 reserved keywords"), and names of
/// v1model and of the programs' fixed parts.
const RESERVED: &[&str] = &[
    "abstract",
    "accept",
    "action",
    "actions",
    "any",
    "apply",
    "bit",
    "bool",
    "break",
    "const",
    "continue",
    "control",
    "counter",
    "default",
    "default_action",
    "digest",
    "direct_counter",
    "else",
    "entries",
    "enum",
    "error",
    "exact",
    "exit",
    "extern",
    "false",
    "for",
    "hash",
    "hdr",
    "header",
    "header_union",
    "hit",
    "if",
    "in",
    "inout",
    "int",
    "key",
    "list",
    "log_msg",
    "lpm",
    "main",
    "mark_to_drop",
    "match_kind",
    "meta",
    "meter",
    "miss",
    "out",
    "package",
    "packet",
    "parser",
    "priority",
    "random",
    "register",
    "reject",
    "return",
    "select",
    "size",
    "standard",
    "start",
    "state",
    "string",
    "struct",
    "switch",
    "table",
    "ternary",
    "this",
    "transition",
    "true",
    "truncate",
    "tuple",
    "type",
    "typedef",
    "value_set",
    "varbit",
    "verify",
    "void",
];

/// Gives out names that nothing else has.
#[derive(Clone, Debug, Default)]
pub struct Namer {
    taken: BTreeSet<String>,
}

impl Namer {
    /// Whether a name is given out.
    pub fn has(&self, name: &str) -> bool {
        self.taken.contains(name)
    }

    /// The name, or with a number behind it where it is taken or reserved.
    pub fn fresh(&mut self, wanted: &str) -> String {
        let mut name = sanitized(wanted);
        if RESERVED.contains(&name.as_str()) || self.taken.contains(&name) {
            let numbered = (2_u32..).map(|number| format!("{name}_{number}"));
            let free = |candidate: &String| !self.taken.contains(candidate);
            name = numbered.into_iter().find(free).unwrap_or(name);
        }
        self.taken.insert(name.clone());
        name
    }
}

/// Letters, digits and underscores of a name; never starts with a digit.
fn sanitized(name: &str) -> String {
    let mut clean: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    if clean.is_empty() || clean.starts_with(|c: char| c.is_ascii_digit()) {
        clean.insert(0, '_');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::Namer;

    #[test]
    fn names_are_distinct_valid_and_not_reserved() {
        let mut names = Namer::default();
        let given = ["kv.seen", "kv_seen", "table", "1st", "ü", ""].map(|name| names.fresh(name));
        assert_eq!(given, ["kv_seen", "kv_seen_2", "table_2", "_1st", "_", "__2"]);
    }
}
