//! Recordings: what a switch answered once, as captures that tests hold against the other targets wherever they run.
//!
//! `LAMBDAC_RECORD=DIR lambdac test … --target bmv2` writes `DIR/WORKLOAD.pcap` for each workload of which the switch
//! ended a request, with all requests of its tests in order, a test's header behind the λ header, and behind each request
//! what came out: the reply, or the packet to the host with the header in front of it. `DIR/versions.txt` says which
//! p4c and simple_switch it was.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use lnic_wire::{HEADER_LEN, Header, Kind, Status};

use crate::frame::HEADERS;
use crate::pcap::{self, Capture};
use crate::testing::{CALLER, PUNTED, WORKER};
use crate::tools::Tools;

/// The variable that names the folder.
const FOLDER: &str = "LAMBDAC_RECORD";

/// Writes the recording of a workload.
#[derive(Debug)]
pub(crate) struct Recorder {
    folder: PathBuf,
    name: String,
    versions: String,
    file: Option<File>,
    /// What is not in the file yet.
    kept: Vec<u8>,
    clock: u64,
}

impl Recorder {
    /// A recorder, if one is asked for.
    pub fn asked(tools: &Tools, workload: &str) -> Option<Self> {
        let folder = PathBuf::from(std::env::var_os(FOLDER)?);
        Some(Self {
            folder,
            name: format!("{workload}.pcap"),
            versions: tools.versions(),
            file: None,
            kept: Vec::new(),
            clock: 0,
        })
    }

    /// Adds the frames of a packet that went in, and of what came out. A recording begins with what the switch ends
    /// itself: of packets that it only hands to the host there is nothing to say.
    pub fn add<'f>(&mut self, frames: impl Iterator<Item = &'f [u8]>, handed_up: bool) -> io::Result<()> {
        for frame in frames {
            self.clock += 1;
            self.kept.extend(pcap::frame(self.clock, frame));
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None if handed_up => return Ok(()),
            None => self.start()?,
        };
        file.write_all(&std::mem::take(&mut self.kept))?;
        self.file = Some(file);
        Ok(())
    }

    fn start(&self) -> io::Result<File> {
        fs::create_dir_all(&self.folder)?;
        fs::write(self.folder.join("versions.txt"), &self.versions)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let mut file = options.open(self.folder.join(&self.name))?;
        file.write_all(&pcap::start())?;
        Ok(file)
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing came out.
    Dropped,
    /// A reply.
    Replied(Status, Vec<u8>),
    /// To the configured fallback.
    Punted,
    /// Handed to the host, who ends it.
    HandedUp,
}

/// A message, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The entry whose lambda was meant, or [`lambdac_backend_p4::BY_MATCH`].
    pub entry: u16,
    /// The request.
    pub request: Vec<u8>,
    /// What became of it.
    pub outcome: Outcome,
}

/// Reads a recording.
///
/// # Errors
/// If it is no capture, or holds what no recorder writes.
pub fn read(file: &[u8]) -> io::Result<Vec<Exchange>> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for frame in Capture::frames(file)? {
        let (to, from) = (frame.get(..6), frame.get(6..12));
        if to == Some(&WORKER.mac) && from == Some(&CALLER.mac) {
            ask(&mut exchanges, &frame)?;
        } else if let Some(last) = exchanges.last_mut() {
            end(last, to, &frame)?;
        }
    }
    Ok(exchanges)
}

/// A packet of a request: a new exchange, or more of the last.
fn ask(exchanges: &mut Vec<Exchange>, frame: &[u8]) -> io::Result<()> {
    let datagram = frame.get(HEADERS..).unwrap_or_default();
    let header = Header::decode(datagram, Kind::Request)
        .map_err(|rule| strange(rule.name()))?
        .0;
    let payload = datagram
        .len()
        .checked_sub(header.length.into())
        .ok_or_else(|| strange("length"))?;
    let entry = datagram
        .get(HEADER_LEN..HEADER_LEN + 2)
        .ok_or_else(|| strange("no entry"))?;
    let payload = &datagram[payload..];
    match exchanges.last_mut() {
        Some(last) if header.fragment > 0 => last.request.extend_from_slice(payload),
        _ => exchanges.push(Exchange {
            entry: u16::from_be_bytes([entry[0], entry[1]]),
            request: payload.to_vec(),
            outcome: Outcome::Dropped,
        }),
    }
    Ok(())
}

/// What came out behind a request.
fn end(exchange: &mut Exchange, to: Option<&[u8]>, frame: &[u8]) -> io::Result<()> {
    if to == Some(&CALLER.mac) {
        let datagram = frame.get(HEADERS..).unwrap_or_default();
        let (header, payload) = Header::decode(datagram, Kind::Reply).map_err(|rule| strange(rule.name()))?;
        match &mut exchange.outcome {
            Outcome::Replied(status, before) if header.status == Status::Ok => {
                *status = Status::Ok;
                before.extend_from_slice(payload);
            }
            outcome => *outcome = Outcome::Replied(header.status, payload.to_vec()),
        }
    } else if frame.get(8..14) == Some(&WORKER.mac) {
        exchange.outcome = match u16::from_be_bytes([frame[2], frame[3]]) {
            PUNTED => Outcome::Punted,
            _ => Outcome::HandedUp,
        };
    }
    Ok(())
}

fn strange(what: &str) -> io::Error {
    io::Error::other(format!("a frame of the recording is none: {what}"))
}
