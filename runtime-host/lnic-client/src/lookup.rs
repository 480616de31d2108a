//! Names to ids, over the worker's HTTP.

use std::time::Duration;

use serde::Deserialize;

use crate::{Error, Result};

/// Longest wait for the list.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a caller must know of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// Its id on the wire.
    pub id: u32,
    /// Type of the request, for people.
    pub request: String,
    /// Type of the reply, for people.
    pub reply: String,
    /// Payload bytes of all packets of a request but the last.
    pub fragment: u16,
}

/// All workloads of the worker whose HTTP is at `http`, an `ADDR:PORT`.
///
/// # Errors
///
/// [`Error::Lookup`] and [`Error::List`].
pub fn workloads(http: &str) -> Result<Vec<Workload>> {
    let unreachable = |source| Error::Lookup {
        http: http.to_owned(),
        source: Box::new(source),
    };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .build()
        .into();
    let mut response = agent
        .get(format!("http://{http}/system/workloads"))
        .call()
        .map_err(unreachable)?;
    let text = response.body_mut().read_to_string().map_err(unreachable)?;
    serde_json::from_str(&text).map_err(|source| Error::List {
        http: http.to_owned(),
        source,
    })
}

/// The workload `name` of the worker whose HTTP is at `http`.
///
/// # Errors
///
/// As [`workloads`], and [`Error::NoSuchWorkload`].
pub fn lookup(http: &str, name: &str) -> Result<Workload> {
    let all = workloads(http)?;
    match all.iter().find(|workload| workload.name == name) {
        Some(workload) => Ok(workload.clone()),
        None => {
            let known = all.into_iter().map(|workload| workload.name).collect();
            Err(Error::NoSuchWorkload {
                name: name.to_owned(),
                known,
            })
        }
    }
}
