//! finsy: a Python package with P4Runtime's messages and a server for tests, generated from the specification's own
//! definitions.

use std::process::{Command, Stdio};

/// An interpreter that has finsy: `$LNIC_FINSY_PYTHON`, or `python3` if that has it. None: then it says so.
pub fn finsy() -> Option<String> {
    let python = std::env::var("LNIC_FINSY_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python)
        .args(["-c", "import finsy.test.p4runtime_server"])
        .stderr(Stdio::null())
        .status();
    if has.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    println!("skipped: {python} has no package finsy");
    None
}
