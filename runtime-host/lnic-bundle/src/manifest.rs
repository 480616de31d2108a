//! `manifest.json` as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The schema that this crate writes and reads.
pub const SCHEMA: u32 = 1;

/// `manifest.json`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The workloads, sorted by name.
    pub workloads: Vec<Workload>,
    /// The targets that artifacts were built for, sorted.
    pub targets: Vec<String>,
    /// sha256 in lower-case hex of every other file.
    pub files: BTreeMap<String, String>,
}

/// A workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// Its number in this image: the low 16 bits are a dense index from 1, the high 16 a tag made from the name.
    pub id: u32,
    /// What the workload takes through its match.
    pub request: Message,
    /// Its largest reply.
    pub reply: Message,
    /// Payload bytes of all fragments of a message but the last.
    pub fragment: u32,
    /// Its lambdas, in source order.
    pub lambdas: Vec<Lambda>,
    /// Its state and tables.
    pub state: Vec<Object>,
    /// Its services.
    pub services: Vec<Service>,
    /// What can be set at deploy time.
    pub params: Vec<Param>,
}

/// A message type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// As the language writes it.
    #[serde(rename = "type")]
    pub ty: String,
    /// The fewest bytes.
    pub min: u32,
    /// The most bytes.
    pub max: u32,
}

/// A lambda.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lambda {
    /// Its name.
    pub name: String,
    /// Whether it is a stream lambda.
    pub stream: bool,
    /// T.
    pub request: Message,
    /// R.
    pub reply: Message,
    /// The mutable state that it touches.
    pub state: Vec<String>,
    /// The services that it asks.
    pub services: Vec<String>,
    /// Number of the component (lambdas tied by mutable state) that it belongs to.
    pub component: u32,
    /// Worst case in steps: operators, loads, stores and calls.
    pub worst_case_steps: u64,
    /// For each target of the bundle: native, or on the host and why.
    pub placement: BTreeMap<String, Placement>,
}

/// Where a lambda runs on a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "side", rename_all = "lowercase", deny_unknown_fields)]
pub enum Placement {
    /// On the target itself.
    Native,
    /// On the host behind it.
    Host {
        /// The error page that says more.
        code: String,
        /// Why.
        reason: String,
    },
}

/// Which side of a target holds a state object or table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The target itself.
    Native,
    /// The host behind it.
    Host,
    /// Both: a table, which lambdas only read.
    Both,
}

/// A state object or table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// Its declaration as the language writes it.
    #[serde(rename = "type")]
    pub ty: String,
    /// For each target of the bundle: who holds it.
    pub side: BTreeMap<String, Side>,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// `memcached`
    pub protocol: String,
    /// `address:port` where none is given at deploy.
    pub address: String,
    /// Nanoseconds until a request has failed.
    pub timeout_ns: u64,
}

/// A deploy-time parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Whether it must be set because it has no default.
    pub required: bool,
}
