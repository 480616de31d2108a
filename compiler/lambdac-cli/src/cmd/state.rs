//! `lambdac state`

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::args::{State, StateCommand};
use crate::exit::{Exit, Result};
use crate::report;

/// How long a worker may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads a running worker's state over HTTP.
pub fn run(args: &State) -> Result {
    let (read, dump) = match &args.command {
        StateCommand::Get(read) => (read, false),
        StateCommand::Dump(read) => (read, true),
    };
    let place = Place::parse(&read.place)?;
    if !dump && place.object.is_none() {
        return Err(Exit::Usage("name an object: W.OBJECT or W.OBJECT[INDEX]".into()));
    }
    let value = fetch(read.http, &place.path())?;
    match (&value, dump) {
        (Value::Object(objects), true) if place.object.is_none() => report::print(
            objects
                .iter()
                .map(|(name, value)| format!("{name} = {value}\n"))
                .collect::<String>(),
        ),
        (Value::String(text), _) => report::print(format!("{text}\n")),
        _ => report::print(format!("{value}\n")),
    }
}

/// W, W.OBJECT, W.OBJECT[INDEX], W.OBJECT.FIELD
#[derive(Debug, PartialEq, Eq)]
struct Place {
    workload: String,
    object: Option<String>,
    index: Option<String>,
}

impl Place {
    fn parse(text: &str) -> Result<Self> {
        let wrong = || Exit::Usage(format!("{text:?} is not W, W.OBJECT or W.OBJECT[INDEX]"));
        let (workload, rest) = match text.split_once('.') {
            Some((workload, rest)) => (workload, Some(rest)),
            None => (text, None),
        };
        let (object, index) = match rest {
            None => (None, None),
            Some(rest) => {
                let end = rest.find(['[', '.']).unwrap_or(rest.len());
                let (object, steps) = rest.split_at(end);
                let steps: Vec<&str> = steps
                    .split(['[', ']', '.'])
                    .filter(|step| !step.is_empty())
                    .collect();
                (
                    Some(object.to_owned()),
                    (!steps.is_empty()).then(|| steps.join(".")),
                )
            }
        };
        if workload.is_empty() || object.as_ref().is_some_and(String::is_empty) {
            return Err(wrong());
        }
        Ok(Self {
            workload: workload.to_owned(),
            object,
            index,
        })
    }

    fn path(&self) -> String {
        let parts = [Some(&self.workload), self.object.as_ref(), self.index.as_ref()];
        parts
            .into_iter()
            .flatten()
            .map(|part| format!("/{}", encode(part)))
            .collect()
    }
}

/// Percent-encodes what may not stand in a path (RFC 3986, section 2.3).
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn fetch(http: SocketAddr, path: &str) -> Result<Value> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .build()
        .into();
    let url = format!("http://{http}/system/state{path}");
    let mut response = agent.get(&url).call().map_err(Exit::environment(&url))?;
    let body = response
        .body_mut()
        .read_to_string()
        .map_err(Exit::environment(&url))?;
    if !response.status().is_success() {
        return Err(Exit::Failed(body.trim().to_owned()));
    }
    serde_json::from_str(&body).map_err(Exit::environment(&url))
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn places_are_paths() {
        let path = |text| Place::parse(text).map(|place| place.path()).unwrap_or_default();
        assert_eq!(path("kv"), "/kv");
        assert_eq!(path("kv.seen"), "/kv/seen");
        assert_eq!(path("kv.seen[3]"), "/kv/seen/3");
        assert_eq!(path("kv.grid[3][4]"), "/kv/grid/3.4");
        assert_eq!(path("kv.urls[a b]"), "/kv/urls/a%20b");
        assert!(Place::parse(".x").is_err() && Place::parse("kv.").is_err());
    }
}
