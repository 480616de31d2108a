//! The switch's ports: frames in and out without interfaces, and so without privileges.
//!
//! `simple_switch --use-files 0 -i PORT@NAME` takes what comes in by a port from the capture `NAME_in.pcap` and writes
//! what goes out to `NAME_out.pcap`, flushed frame by frame (behavioral-model, `pcap_file.cpp`). Both are named pipes
//! here. The switch takes in the frame with the earliest time of all ports, for which it must know the next frame of
//! every port: a frame is read, but not taken in, while some port has none. [`Packets::send`] gives each frame a later
//! time than all before it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use crate::pcap::{self, Capture};

/// Bytes read at once.
const CHUNK: usize = 1 << 16;

/// The ends of a switch's ports.
#[derive(Debug)]
pub struct Packets {
    ports: Vec<Port>,
    /// The time of the last frame, in microseconds.
    clock: u64,
}

#[derive(Debug)]
struct Port {
    number: u16,
    name: PathBuf,
    input: File,
    output: File,
    capture: Capture,
}

impl Packets {
    /// Makes the pipes of some ports in `folder`.
    ///
    /// # Errors
    /// If they can't be made.
    pub fn new(folder: &Path, numbers: &[u16]) -> io::Result<Self> {
        let mut ports = Vec::new();
        for number in numbers {
            let name = folder.join(format!("port_{number}"));
            let mut input = pipe(&with(&name, "_in.pcap"))?;
            input.write_all(&pcap::start())?;
            ports.push(Port {
                number: *number,
                output: pipe(&with(&name, "_out.pcap"))?,
                capture: Capture::default(),
                name,
                input,
            });
        }
        Ok(Self { ports, clock: 0 })
    }

    /// The arguments that make a switch use them.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--use-files".to_owned(), "0".to_owned()];
        for port in &self.ports {
            arguments.push("-i".to_owned());
            arguments.push(format!("{}@{}", port.number, port.name.display()));
        }
        arguments
    }

    /// Puts a frame before a port.
    ///
    /// # Errors
    /// If there is no such port, or the switch takes nothing for so long.
    pub fn send(&mut self, number: u16, frame: &[u8], within: Duration) -> io::Result<()> {
        self.clock += 1;
        let bytes = pcap::frame(self.clock, frame);
        let found = self.ports.iter_mut().find(|port| port.number == number);
        let input = &mut found.ok_or(ErrorKind::NotFound)?.input;
        let mut left = &bytes[..];
        while !left.is_empty() {
            match input.write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(&*input, PollFlags::OUT)];
                    if poll(&mut fds, Some(&timespec(within)))? == 0 {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next frame that went out, and by which port; none if there is none for so long.
    ///
    /// # Errors
    /// If a pipe can't be read, or what comes is no capture.
    pub fn receive(&mut self, within: Duration) -> io::Result<Option<(u16, Vec<u8>)>> {
        if let Some(found) = self.whole()? {
            return Ok(Some(found));
        }
        let outputs = self
            .ports
            .iter()
            .map(|port| PollFd::new(&port.output, PollFlags::IN));
        let mut outputs: Vec<_> = outputs.collect();
        poll(&mut outputs, Some(&timespec(within)))?;
        let mut chunk = vec![0; CHUNK];
        for port in &mut self.ports {
            match port.output.read(&mut chunk) {
                Ok(count) => port.capture.push(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        self.whole()
    }

    fn whole(&mut self) -> io::Result<Option<(u16, Vec<u8>)>> {
        for port in &mut self.ports {
            if let Some(frame) = port.capture.next_frame()? {
                return Ok(Some((port.number, frame)));
            }
        }
        Ok(None)
    }
}

fn with(name: &Path, end: &str) -> PathBuf {
    let mut whole = name.as_os_str().to_owned();
    whole.push(end);
    whole.into()
}

/// A new named pipe, held open at both ends, so that nobody waits for the other when opening it.
fn pipe(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options.custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)
}

fn timespec(within: Duration) -> Timespec {
    Timespec {
        tv_sec: within.as_secs() as i64,
        tv_nsec: within.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Duration;

    use super::{Packets, pipe};
    use crate::pcap::{self, Capture};

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn frames_go_in_and_out_in_their_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut packets = Packets::new(folder.path(), &[1, 510]).expect("pipes");
        let arguments = packets.arguments().join(" ");
        assert!(arguments.starts_with("--use-files 0 -i 1@"), "{arguments}");
        for text in ["a", "b"] {
            packets.send(510, text.as_bytes(), SOON).expect("it is sent");
        }
        assert!(packets.send(7, b"", SOON).is_err());
        let mut input = std::fs::File::open(folder.path().join("port_510_in.pcap")).expect("it is there");
        let mut bytes = vec![0; 24 + 2 * 17];
        input.read_exact(&mut bytes).expect("all of it");
        assert_eq!(Capture::frames(&bytes).expect("frames"), [b"a", b"b"]);

        let mut output = pipe(&folder.path().join("other")).expect("a pipe");
        output.write_all(b"x").expect("it takes it");
        let path = folder.path().join("port_1_out.pcap");
        let mut output = std::fs::OpenOptions::new()
            .write(true)
            .open(path)
            .expect("it is there");
        output.write_all(&pcap::start()).expect("it takes it");
        output.write_all(&pcap::frame(0, b"reply")).expect("it takes it");
        let found = packets.receive(SOON).expect("a capture");
        assert_eq!(found, Some((1, b"reply".to_vec())));
        let none = packets.receive(Duration::from_millis(1)).expect("a capture");
        assert_eq!(none, None);
    }
}
