//! How small and how large the numbers of a description may be.
//!
//! Devices are orders of magnitude below these bounds; sums and products of numbers within them do not overflow where
//! costs are counted. Every number has bounds: what is not listed by its path may be 0 to [`MOST`], so that a new field is
//! bounded before anybody thinks of it.

use toml::Value;

/// The most of a number that is not listed: words and cycles of operations and items, latencies, entries.
const MOST: u64 = 1_000_000;

/// Paths, and the least and the most of the number there.
const BOUNDS: [(&str, u64, u64); 15] = [
    ("core.cores", 1, 100_000),
    ("core.threads", 1, 100_000),
    // 100,000 MHz.
    ("core.clock_hz", 1, 100_000_000_000),
    ("store.words", 1, 1_000_000_000),
    ("store.base_words", 0, 1_000_000_000),
    ("store.pooled_words", 1, 1_000_000_000),
    ("store.pooled_cores", 1, 100_000),
    // A message of the λ wire is at most 1 MiB (lang-spec/wire.md).
    ("limits.payload", 1, 1 << 20),
    ("limits.max_cycles", 1, 1_000_000_000_000_000),
    ("limits.stack", 1, 1 << 30),
    ("limits.inline_trips", 0, 1 << 32),
    ("limits.per_cpu_value", 0, 1 << 30),
    ("packet.cycles", 0, 1_000_000_000),
    ("memory.bytes", 0, 1 << 48),
    ("memory.word", 1, 1 << 12),
];

/// Checks every number of a description.
///
/// # Errors
/// The first that is out of bounds, by its path.
pub(crate) fn check(description: &Value) -> Result<(), String> {
    walk(description, "", "")
}

/// `path` is as in [`BOUNDS`]; `shown` tells elements of arrays apart.
fn walk(value: &Value, path: &str, shown: &str) -> Result<(), String> {
    let under = |at: &str, key: &str| match at {
        "" => key.to_owned(),
        at => format!("{at}.{key}"),
    };
    match value {
        Value::Table(fields) => fields
            .iter()
            .try_for_each(|(key, value)| walk(value, &under(path, key), &under(shown, key))),
        Value::Array(elements) => (elements.iter().enumerate())
            .try_for_each(|(index, value)| walk(value, path, &format!("{shown}[{index}]"))),
        Value::Integer(number) => {
            let listed = BOUNDS.iter().find(|(name, ..)| *name == path);
            let (least, most) = listed.map_or((0, MOST), |(_, least, most)| (*least, *most));
            match u64::try_from(*number) {
                Ok(number) if (least..=most).contains(&number) => Ok(()),
                _ => Err(format!("`{shown}` is {number}: {least} to {most} are allowed")),
            }
        }
        Value::Float(_) | Value::String(_) | Value::Boolean(_) | Value::Datetime(_) => Ok(()),
    }
}
