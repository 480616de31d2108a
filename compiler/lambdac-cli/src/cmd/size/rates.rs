//! `--rates`: requests by workload, in one of three shapes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use lambdac_driver::Image;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::files::bounded;
use crate::exit::{Exit, Result};

/// What a worker's `/metrics` counts requests under.
const REQUESTS: &str = "lnic_requests_total{";
/// Most characters of a file that a message quotes.
const MAX_QUOTE: usize = 60;

/// Requests by workload.
type ByWorkload = BTreeMap<String, f64>;

/// What a file of rates says.
pub enum Rates {
    /// What an author wrote: each is meant for a workload of the image.
    Given(ByWorkload),
    /// What a worker counted, whatever workloads it had.
    Counted(ByWorkload),
}

impl Rates {
    /// Reads a JSON object, lines of a name and a number, or a worker's metrics.
    pub fn read(path: &Path) -> Result<Self> {
        let text = bounded(path)?;
        let rates = if text.trim_start().starts_with('{') {
            serde_json::from_str(&text)
                .map(|Object(rates)| Self::Given(rates))
                .map_err(|error| error.to_string())
        } else if text.lines().any(|line| line.starts_with(REQUESTS)) {
            counted(&text)
                .map(Self::Counted)
                .ok_or_else(|| "these are no metrics of a worker".to_owned())
        } else {
            lines(&text).map(Self::Given)
        };
        rates.map_err(|what| Exit::Usage(format!("{}: {what}", path.display())))
    }

    /// Those for an image: what a worker counted for other workloads is not its business.
    pub fn of(self, image: &Image) -> ByWorkload {
        match self {
            Self::Given(rates) => rates,
            Self::Counted(mut rates) => {
                let mut workloads = image.workloads.iter();
                rates.retain(|name, _| workloads.clone().any(|one| *one.compiled.module.name == **name));
                if rates.is_empty() && workloads.next().is_some() {
                    eprintln!("lambdac: warning: the metrics count no requests of these workloads");
                }
                rates
            }
        }
    }
}

/// A JSON object, each of whose names stands there once.
struct Object(ByWorkload);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names and numbers")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> std::result::Result<Object, M::Error> {
                let mut rates = ByWorkload::new();
                while let Some((name, rate)) = map.next_entry()? {
                    add(&mut rates, name, rate).map_err(M::Error::custom)?;
                }
                Ok(Object(rates))
            }
        }

        from.deserialize_map(Names)
    }
}

/// Adds the rate of a workload that has none yet.
fn add(rates: &mut ByWorkload, name: String, rate: f64) -> std::result::Result<(), String> {
    let quoted = quote(&name);
    match rates.insert(name, rate) {
        Some(_) => Err(format!("{quoted} has two rates")),
        None => Ok(()),
    }
}

/// Lines of a name and a number.
fn lines(text: &str) -> std::result::Result<ByWorkload, String> {
    let mut rates = ByWorkload::new();
    let lines = text.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, rate) = line
            .split_once([' ', '\t', '='])
            .ok_or_else(|| format!("{} is no name and number", quote(line)))?;
        let rate = rate.trim().trim_start_matches('=').trim();
        let rate = rate
            .parse()
            .map_err(|_| format!("{} is no number", quote(rate)))?;
        add(&mut rates, name.trim().to_owned(), rate)?;
    }
    Ok(rates)
}

/// Text of a file in a message: its start, without control characters.
fn quote(text: &str) -> String {
    let mut start: String = text.chars().take(MAX_QUOTE).collect();
    if start.len() < text.len() {
        start.pop();
        start.push('…');
    }
    format!("{start:?}")
}

/// Requests by workload, of all targets, from a worker's metrics.
fn counted(metrics: &str) -> Option<ByWorkload> {
    let mut rates = ByWorkload::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix(REQUESTS)) {
        let (labels, count) = line.split_once('}')?;
        let label = |label: &str| {
            label
                .strip_prefix("workload=\"")?
                .strip_suffix('"')
                .map(str::to_owned)
        };
        let workload = labels.split(',').find_map(label)?;
        let count: f64 = count.trim().parse().ok()?;
        *rates.entry(workload).or_default() += count;
    }
    Some(rates)
}
