//! What tools say, read as a stranger's words.
//!
//! The form of their output is not documented in the open, so that little of it is relied on: of counters a name with
//! numbers beside it, wherever in the JSON they stand; of memory the words that follow an address on each line.

use serde_json::Value;

use super::{CardError, Result};

/// The most counters that are taken.
const MAX_COUNTS: usize = 1 << 16;
/// Keys that a counter's name may have, and its value; whatever else stands beside them is not looked at.
const NAMES: [&str; 2] = ["name", "counter"];
const VALUES: [&str; 5] = ["values", "value", "packets", "count", "pkts"];

/// A counter's number at an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Its name in the program.
    pub name: String,
    /// The index.
    pub index: usize,
    /// How much was counted.
    pub value: u64,
}

fn odd(tool: &str, what: impl Into<String>) -> CardError {
    CardError::Odd {
        tool: tool.to_owned(),
        what: what.into(),
    }
}

/// A number, or a text of one.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        },
        _ => None,
    }
}

/// The counters that a tool's JSON tells of.
pub(super) fn counters(tool: &str, text: &str) -> Result<Vec<Count>> {
    let root: Value = serde_json::from_str(text).map_err(|error| odd(tool, error.to_string()))?;
    let mut counts = Vec::new();
    let mut open = vec![&root];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items.iter().rev()),
            Value::Object(fields) => {
                let pick = |names: &[&str]| names.iter().find_map(|name| fields.get(*name));
                let name = pick(&NAMES).and_then(Value::as_str);
                match (name, pick(&VALUES)) {
                    (Some(name), Some(values)) => {
                        let first = fields.get("index").and_then(number).unwrap_or(0);
                        add(&mut counts, name, first, values);
                    }
                    _ => open.extend(fields.values()),
                }
            }
            _ => {}
        }
        if counts.len() > MAX_COUNTS {
            return Err(odd(tool, format!("more than {MAX_COUNTS} counters")));
        }
    }
    Ok(counts)
}

fn add(counts: &mut Vec<Count>, name: &str, first: u64, values: &Value) {
    // What stands before the name says where it is declared.
    let name = name.rsplit([':', '.']).next().unwrap_or(name);
    let values = match values {
        Value::Array(values) => values.iter().take(MAX_COUNTS).collect(),
        one => vec![one],
    };
    let first = usize::try_from(first).unwrap_or(usize::MAX);
    for (index, value) in values.into_iter().enumerate() {
        if let Some(value) = number(value) {
            counts.push(Count {
                name: name.to_owned(),
                index: first.saturating_add(index),
                value,
            });
        }
    }
}

/// Numbers in a tool's JSON, in order: exactly so many.
pub(super) fn numbers(tool: &str, text: &str, count: usize) -> Result<Vec<u64>> {
    let root: Value = serde_json::from_str(text).map_err(|error| odd(tool, error.to_string()))?;
    let mut found = Vec::new();
    let mut open = vec![&root];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items.iter().rev()),
            other => found.extend(number(other)),
        }
    }
    match found.len() == count {
        true => Ok(found),
        false => Err(odd(
            tool,
            format!("{} numbers, and {count} were asked for", found.len()),
        )),
    }
}

/// Bytes of memory, from lines of `ADDRESS: WORD WORD …`: exactly so many.
pub(super) fn memory(tool: &str, text: &str, len: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len);
    for line in text.lines() {
        let Some((_, words)) = line.split_once(':') else {
            continue;
        };
        let words = words.split_whitespace().map_while(|word| word.strip_prefix("0x"));
        for word in words {
            let word = u32::from_str_radix(word, 16).map_err(|_| odd(tool, "a word that is none"))?;
            bytes.extend(word.to_be_bytes());
        }
        if bytes.len() > len {
            break;
        }
    }
    match bytes.len() == len {
        true => Ok(bytes),
        false => Err(odd(tool, format!("not the {len} bytes that were asked for"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_wherever_they_stand() {
        let text = r#"{"counters": [{"name": "ingress::requests", "type": "packets", "values": ["0x10", 2]},
            {"counter": "LambdaIngress.dropped", "index": 3, "value": "7"}, {"name": "other"}, 5, null]}"#;
        let found = counters("t", text).expect("it is JSON");
        let found: Vec<_> = found
            .iter()
            .map(|count| (&*count.name, count.index, count.value))
            .collect();
        assert_eq!(
            found,
            [("requests", 0, 16), ("requests", 1, 2), ("dropped", 3, 7)]
        );
    }

    #[test]
    fn hostile_output_is_refused_or_ignored() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["", "{", "no JSON", &deep] {
            assert!(counters("t", text).is_err());
        }
        let many = format!("{{\"name\": \"n\", \"values\": [{}0]}}", "0,".repeat(70_000));
        assert_eq!(counters("t", &many).expect("it is JSON").len(), MAX_COUNTS);
        let wrong = r#"[{"name": "n", "value": -1}, {"name": "n", "value": "x"}, {"name": 3, "value": 1}]"#;
        assert_eq!(counters("t", wrong).expect("it is JSON"), []);
        assert!(numbers("t", "[1, 2]", 3).is_err() && numbers("t", "[[1], \"0x2\"]", 2).is_ok());
    }

    #[test]
    fn memory_is_words_behind_addresses_and_exactly_as_much_as_asked() {
        let text = "0x0000000000:  0x00000001 0xdeadbeef\n0x0000000008:  0x2\n";
        let bytes = memory("t", text, 12).expect("twelve bytes");
        assert_eq!(bytes, [0, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 2]);
        for (text, len) in [(text, 8), (text, 16), ("0x0: 0x123456789", 4), ("nothing", 4)] {
            assert!(memory("t", text, len).is_err(), "{text} {len}");
        }
    }
}
