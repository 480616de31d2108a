//! How large the numbers of a description may be.
//!
//! Devices are orders of magnitude below these bounds; sums and products of numbers within them do not overflow where
//! costs are counted. Every number has one: what is not listed by its path has [`MOST`], so that a new field is bounded
//! before anybody thinks of it.

use toml::Value;

/// The most of a number that is not listed: words and cycles of operations and items, latencies.
const MOST: u64 = 1_000_000;

/// Paths, and the most of the number there.
const BOUNDS: [(&str, u64); 14] = [
    ("core.cores", 100_000),
    ("core.threads", 100_000),
    // 100,000 MHz.
    ("core.clock_hz", 100_000_000_000),
    ("store.words", 1_000_000_000),
    ("store.base_words", 1_000_000_000),
    ("store.pooled_words", 1_000_000_000),
    ("limits.payload", 1 << 30),
    ("limits.max_cycles", 1_000_000_000_000_000),
    ("limits.stack", 1 << 30),
    ("limits.inline_trips", 1 << 32),
    ("limits.per_cpu_value", 1 << 30),
    ("packet.cycles", 1_000_000_000),
    ("memory.bytes", 1 << 48),
    ("memory.word", 1 << 12),
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
            let listed = BOUNDS.iter().find(|(name, _)| *name == path);
            let most = listed.map_or(MOST, |(_, most)| *most);
            match u64::try_from(*number) {
                Ok(number) if number <= most => Ok(()),
                _ => Err(format!("`{shown}` is {number}: 0 to {most} are allowed")),
            }
        }
        Value::Float(_) | Value::String(_) | Value::Boolean(_) | Value::Datetime(_) => Ok(()),
    }
}
