//! Captures: frames in the classic file format of libpcap (IETF draft-ietf-opsawg-pcap, version 2.4).
//!
//! A capture may be a file, or a pipe that is read while it is written: [`Capture`] takes bytes as they come and gives
//! the frames that are whole.

use std::io;

/// What a file starts with whose times are in microseconds.
const MAGIC: u32 = 0xa1b2_c3d4;
/// Major and minor version.
const VERSION: (u16, u16) = (2, 4);
/// The link type of Ethernet (LINKTYPE_ETHERNET).
const ETHERNET: u32 = 1;
/// No frame is longer.
const LONGEST: usize = 1 << 16;
/// Bytes of the file's header and of a frame's.
const FILE: usize = 24;
const FRAME: usize = 16;
/// Microseconds in a second.
const SECOND: u64 = 1_000_000;

/// What stands at the start of a file.
pub fn start() -> Vec<u8> {
    let mut bytes = MAGIC.to_le_bytes().to_vec();
    bytes.extend(VERSION.0.to_le_bytes());
    bytes.extend(VERSION.1.to_le_bytes());
    // Two fields that nobody uses any more.
    bytes.extend([0; 8]);
    bytes.extend((LONGEST as u32).to_le_bytes());
    bytes.extend(ETHERNET.to_le_bytes());
    bytes
}

/// A frame, captured at a time in microseconds.
pub fn frame(micros: u64, frame: &[u8]) -> Vec<u8> {
    let length = frame.len() as u32;
    let mut bytes = ((micros / SECOND) as u32).to_le_bytes().to_vec();
    bytes.extend(((micros % SECOND) as u32).to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend_from_slice(frame);
    bytes
}

/// A capture, as far as it came.
#[derive(Debug, Default)]
pub struct Capture {
    bytes: Vec<u8>,
    /// Whether the file's header is behind us, and its numbers are big-endian.
    big_endian: Option<bool>,
}

impl Capture {
    /// Takes what comes next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, once it is whole.
    ///
    /// # Errors
    /// If this is no capture, or a frame in it is cut or too long.
    pub fn next_frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        let big_endian = match self.big_endian {
            Some(known) => known,
            None if self.bytes.len() < FILE => return Ok(None),
            None => {
                let known = match number(&self.bytes, 0, false) {
                    MAGIC => false,
                    _ if number(&self.bytes, 0, true) == MAGIC => true,
                    _ => return Err(io::Error::other("no capture with times in microseconds")),
                };
                self.bytes.drain(..FILE);
                *self.big_endian.insert(known)
            }
        };
        if self.bytes.len() < FRAME {
            return Ok(None);
        }
        let captured = number(&self.bytes, 8, big_endian);
        let length = captured as usize;
        if length > LONGEST || number(&self.bytes, 12, big_endian) != captured {
            return Err(io::Error::other("a frame of the capture is cut or too long"));
        }
        if self.bytes.len() < FRAME + length {
            return Ok(None);
        }
        let frame = self.bytes[FRAME..FRAME + length].to_vec();
        self.bytes.drain(..FRAME + length);
        Ok(Some(frame))
    }

    /// All frames of a whole file.
    ///
    /// # Errors
    /// If it is no capture, or ends within a frame.
    pub fn frames(file: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut capture = Self::default();
        capture.push(file);
        let mut frames = Vec::new();
        while let Some(frame) = capture.next_frame()? {
            frames.push(frame);
        }
        match capture.bytes.is_empty() && capture.big_endian.is_some() {
            true => Ok(frames),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn number(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    let four = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    match big_endian {
        true => u32::from_be_bytes(four),
        false => u32::from_le_bytes(four),
    }
}

#[cfg(test)]
mod tests {
    use super::{Capture, frame, start};

    #[test]
    fn frames_come_once_they_are_whole() {
        let mut file = start();
        file.extend(frame(1, b"first"));
        file.extend(frame(2, b""));
        file.extend(frame(3, b"third"));
        let mut capture = Capture::default();
        let mut found = Vec::new();
        for byte in &file {
            capture.push(&[*byte]);
            found.extend(capture.next_frame().expect("it is one"));
        }
        assert_eq!(found, [&b"first"[..], b"", b"third"]);
        assert_eq!(Capture::frames(&file).expect("it is whole"), found);
    }

    #[test]
    fn what_is_no_capture_or_ends_early_is_refused() {
        let mut file = start();
        file.extend(frame(1, b"first"));
        assert!(Capture::frames(&file[..file.len() - 1]).is_err());
        assert!(Capture::frames(&file[..10]).is_err());
        file[0] ^= 1;
        assert!(Capture::frames(&file).is_err());
        let mut cut = start();
        cut.extend(frame(1, b"first"));
        cut[32] ^= 1;
        assert!(Capture::frames(&cut).is_err());
    }
}
