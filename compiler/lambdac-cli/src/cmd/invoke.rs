//! `lambdac invoke`

use std::net::SocketAddr;

use lnic_client::{Error, InvokeOptions, Workload};

use crate::args::{Invoke, Payload, Worker};
use crate::exit::{Exit, Result};
use crate::report;

/// The largest message (language, section 2).
const MAX_MESSAGE: u64 = 1 << 20;

/// Sends one request and prints the reply.
pub fn run(args: &Invoke) -> Result {
    let workload = lookup(&args.worker, &args.name)?;
    let request = payload(&args.payload)?;
    let options = InvokeOptions {
        timeout: args.timeout,
        ..InvokeOptions::default()
    };
    let reply = lnic_client::invoke(args.worker.to, &workload, &request, &options).map_err(|e| failed(&e))?;
    if args.timing {
        eprintln!("{} µs", reply.latency.as_micros());
    }
    report::print(&reply.payload)
}

/// Finds a workload by name at the worker's HTTP.
pub fn lookup(worker: &Worker, name: &str) -> Result<Workload> {
    let candidates = match worker.http {
        Some(http) => vec![http],
        // Where only the wire is given: its own number on TCP, which no other worker has, else the default port there.
        None => vec![worker.to, SocketAddr::new(worker.to.ip(), 8081)],
    };
    let mut first = None;
    for http in candidates {
        match lnic_client::lookup(&http.to_string(), name) {
            Ok(workload) => return Ok(workload),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    Err(first.map_or_else(|| Exit::Failed("no worker".into()), |error| failed(&error)))
}

/// What a client's error means for the exit status.
pub fn failed(error: &Error) -> Exit {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    match error {
        Error::Lookup { .. } | Error::List { .. } | Error::Network { .. } => Exit::Environment(text),
        _ => Exit::Failed(text),
    }
}

/// The request's bytes.
pub fn payload(payload: &Payload) -> Result<Vec<u8>> {
    if let Some(text) = &payload.data {
        return Ok(text.clone().into_bytes());
    }
    if let Some(hex) = &payload.hex {
        return from_hex(hex).ok_or_else(|| Exit::Usage(format!("{hex:?} is not hexadecimal")));
    }
    let Some(file) = &payload.file else {
        return Ok(Vec::new());
    };
    let bytes = if file.as_os_str() == "-" {
        read_bounded(std::io::stdin().lock())
    } else {
        std::fs::File::open(file).and_then(read_bounded)
    };
    let bytes = bytes.map_err(Exit::environment(file.display()))?;
    if bytes.len() as u64 > MAX_MESSAGE {
        return Err(Exit::Usage(format!(
            "{}: a message is at most 1 MiB",
            file.display()
        )));
    }
    Ok(bytes)
}

fn read_bounded(reader: impl std::io::Read) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    reader.take(MAX_MESSAGE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Hexadecimal digits, with blanks between bytes if wanted.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|value| value as u8);
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::from_hex;

    #[test]
    fn hexadecimal_may_have_blanks_and_needs_whole_bytes() {
        assert_eq!(from_hex("00 fF"), Some(vec![0, 255]));
        assert_eq!(from_hex(""), Some(vec![]));
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("0g"), None);
        assert_eq!(from_hex("ää"), None);
    }
}
