//! What a workload's objects hold on a switch, by what its registers hold.
//!
//! Where an object lies is the program's business ([`State`]); registers are read whole, each once.

use std::collections::BTreeMap;
use std::io;

use lambdac_backend_p4::State;
use lambdac_mir::{ObjectId, ObjectKind};
use lnic_engine::control::StateDump;

/// The register that says whether values have been given what they start with, which the first request does.
const READY: &str = "ready";

/// What an object holds; none for a table, and for one that can't be read. `read` gives all elements of a register.
///
/// # Errors
/// As `read`.
pub fn dump(
    kind: &ObjectKind,
    state: &State,
    id: ObjectId,
    read: &dyn Fn(&str) -> io::Result<Vec<u64>>,
) -> io::Result<Option<StateDump>> {
    if let ObjectKind::Counter { count, .. } = kind {
        let counts = state.counter(id).map(read).transpose()?;
        let counts = counts.unwrap_or_else(|| vec![0; *count as usize]);
        return Ok(Some(StateDump::Counters(counts)));
    }
    let mut contents = BTreeMap::new();
    for name in state.registers(id) {
        contents.insert(name, read(name)?);
    }
    let element = |name: &str, at: u64| {
        let elements = contents.get(name);
        elements
            .and_then(|elements| elements.get(at as usize))
            .copied()
            .unwrap_or(0)
    };
    Ok(match kind {
        ObjectKind::Value { init, .. } => {
            let ready = read(READY)?;
            let value = state.value(id, &element).filter(|_| ready != [0]);
            Some(StateDump::Value(value.unwrap_or_else(|| init.clone())))
        }
        ObjectKind::Lru { .. } => state.entries(id, &element).map(StateDump::Entries),
        _ => None,
    })
}
