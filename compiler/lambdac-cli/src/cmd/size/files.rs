//! What `lambdac size` reads beside programs: descriptions, profiles, baselines.

use std::io::Read;
use std::path::Path;

use lambdac_driver::size::{SCHEMA, Sizes};
use lambdac_driver::target::{self, Device};
use lambdac_driver::{PROFILE_SCHEMA, Profile};
use serde::de::DeserializeOwned;

use crate::exit::{Exit, Result};

/// The largest file that is read.
const MAX_FILE: u64 = 64 << 20;

/// A device that is built in, or a description by its path.
pub fn device(name: &str) -> Result<Device> {
    if let Some(device) = target::builtin(name) {
        return Ok(device);
    }
    let path = Path::new(name);
    if !path.exists() {
        let known: Vec<&str> = target::BUILTIN.iter().map(|(name, _)| *name).collect();
        return Err(Exit::Usage(format!(
            "there is no target {name:?}; there is: {}, or a description's path",
            known.join(", ")
        )));
    }
    let text = bounded(path)?;
    Device::parse(&text).map_err(|error| Exit::Usage(format!("{name}: {error}")))
}

/// What an earlier run wrote as JSON.
pub fn baseline(path: &Path) -> Result<Sizes> {
    let sizes: Sizes = json(path)?;
    written_by_this(path, sizes.schema, SCHEMA)?;
    Ok(sizes)
}

/// What `lambdac test --profile` wrote.
pub fn profile(path: &Path) -> Result<Profile> {
    let profile: Profile = json(path)?;
    written_by_this(path, profile.schema, PROFILE_SCHEMA)?;
    Ok(profile)
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = bounded(path)?;
    serde_json::from_str(&text).map_err(|error| Exit::Usage(format!("{}: {error}", path.display())))
}

fn written_by_this(path: &Path, schema: u32, expected: u32) -> Result {
    if schema == expected {
        return Ok(());
    }
    Err(Exit::Usage(format!(
        "{}: schema {schema}, this version writes {expected}",
        path.display()
    )))
}

/// The text of a file that is no larger than [`MAX_FILE`].
pub fn bounded(path: &Path) -> Result<String> {
    let file = std::fs::File::open(path).map_err(Exit::environment(path.display()))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(Exit::environment(path.display()))?;
    if bytes.len() as u64 > MAX_FILE {
        let most = MAX_FILE >> 20;
        return Err(Exit::Usage(format!(
            "{}: it is larger than the {most} MiB that are read",
            path.display()
        )));
    }
    String::from_utf8(bytes).map_err(Exit::environment(path.display()))
}
