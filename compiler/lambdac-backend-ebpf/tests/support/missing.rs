//! Whether the kernel can be asked here.

use std::process::Command;

/// Why the kernel can't be asked here, or `None`.
///
/// `LAMBDAC_REQUIRE` with `ebpf` in its list makes that a failure.
pub fn missing() -> Option<String> {
    let why = probe()?;
    let required = std::env::var("LAMBDAC_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name == "ebpf"), "{why}");
    eprintln!("skipped: {why}");
    Some(why)
}

fn probe() -> Option<String> {
    match Command::new("bpftool").args(["prog", "list"]).output() {
        Err(error) => Some(format!("bpftool: {error}")),
        Ok(output) if !output.status.success() => Some("bpftool may not look at programs".to_owned()),
        Ok(_) => None,
    }
}
