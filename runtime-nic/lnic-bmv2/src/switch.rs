//! A running switch.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lambdac_backend_p4::{CPU_PORT, INGRESS};

use crate::packets::Packets;
use crate::thrift;
use crate::tools::Tools;

/// How long it may take for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it is waited before looking whether the switch still runs.
const LOOK: Duration = Duration::from_millis(50);
/// The port that callers and services are behind.
pub const PORT: u16 = 1;
/// An EtherType for experiments (IEEE 802, local experimental 1): frames that say how far the switch is.
const MARK: [u8; 2] = [0x88, 0xb5];
/// The largest number that a register is seen to hold.
pub const LARGEST: u64 = i64::MAX as u64;
/// Bytes of the header in front of what goes to the host.
pub const PACKET_IN: usize = 8;

/// A switch with a program; it ends when this is dropped.
#[derive(Debug)]
pub struct Switch {
    child: Child,
    thrift: u16,
    packets: Packets,
    marks: u64,
}

impl Switch {
    /// Starts a switch with what p4c made, with its pipes and its log in `folder`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(tools: &Tools, json: &Path, folder: &Path) -> io::Result<Self> {
        let packets = Packets::new(folder, &[PORT, CPU_PORT])?;
        let log = File::create(folder.join("switch.log"))?;
        let port = free_port()?;
        let mut command = Command::new(&tools.switch);
        command.args(packets.arguments());
        command.args(["--thrift-port", &port.to_string()]);
        command.arg(json).stdin(Stdio::null());
        let child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Self {
            child,
            thrift: port,
            packets,
            marks: 0,
        })
    }

    /// Lets frames come in by ports ([`PORT`] or the host's), and gives all that goes out before the switch is done with
    /// them, with the ports.
    ///
    /// Behind them come two marks, one that leaves by the host's port and one by [`PORT`]: the switch hands out the
    /// frames of a port in order, so that nobody has to wait to see that it dropped something. A third makes the
    /// switch take in the second (see [`Packets`]), and leaves it some time later.
    ///
    /// # Errors
    /// If the switch ends, or is not done in time.
    pub fn exchange(&mut self, frames: &[(u16, Vec<u8>)]) -> io::Result<Vec<(u16, Vec<u8>)>> {
        for (port, frame) in frames {
            self.packets.send(*port, frame, PATIENCE)?;
        }
        let (up, out, behind) = (self.mark(), self.mark(), self.mark());
        self.packets.send(PORT, &up, PATIENCE)?;
        let by_port = [&PORT.to_be_bytes()[..], &out].concat();
        self.packets.send(CPU_PORT, &by_port, PATIENCE)?;
        self.packets.send(PORT, &behind, PATIENCE)?;
        let end = Instant::now() + PATIENCE;
        let mut found = Vec::new();
        let mut seen = 0;
        while seen < 2 {
            let Some((port, frame)) = self.packets.receive(LOOK)? else {
                if let Some(status) = self.child.try_wait()? {
                    return Err(io::Error::other(format!("it has ended: {status}")));
                }
                if Instant::now() >= end {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                continue;
            };
            let inner = match port {
                CPU_PORT => frame.get(PACKET_IN..).unwrap_or_default(),
                _ => &frame[..],
            };
            match inner.get(12..14) == Some(&MARK) {
                true => seen += usize::from(inner == up || inner == out),
                false => found.push((port, frame)),
            }
        }
        Ok(found)
    }

    /// A frame like no other.
    fn mark(&mut self) -> Vec<u8> {
        self.marks += 1;
        let mut frame = vec![0; 60];
        frame[12..14].copy_from_slice(&MARK);
        frame[14..22].copy_from_slice(&self.marks.to_be_bytes());
        frame
    }

    /// All elements of a register of the ingress control. Those past [`LARGEST`] read as that.
    ///
    /// # Errors
    /// If it has no such register, or is gone.
    pub fn register(&self, name: &str) -> io::Result<Vec<u64>> {
        thrift::register(
            (Ipv4Addr::LOCALHOST, self.thrift).into(),
            &format!("{INGRESS}.{name}"),
            PATIENCE,
        )
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on now.
fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
