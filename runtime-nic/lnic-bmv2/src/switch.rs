//! A running switch.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lambdac_backend_p4::INGRESS;

use crate::packets::Packets;
use crate::thrift;
use crate::tools::Tools;

/// How long it may take for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// A switch with a program; it ends when this is dropped.
#[derive(Debug)]
pub struct Switch {
    child: Child,
    thrift: u16,
    packets: Packets,
}

impl Switch {
    /// Starts a switch with what p4c made, with its sockets and its log in `folder`.
    ///
    /// # Errors
    /// If it does not start, or takes too long.
    pub fn start(tools: &Tools, json: &Path, folder: &Path) -> io::Result<Self> {
        let (packets, notifications) = (folder.join("packets.ipc"), folder.join("notifications.ipc"));
        let address = |path: &Path| format!("ipc://{}", path.display());
        let _ = std::fs::remove_file(&packets);
        let log = File::create(folder.join("switch.log"))?;
        let port = free_port()?;
        let mut command = Command::new(&tools.switch);
        command.args(["--packet-in", &address(&packets)]);
        command.args(["--notifications-addr", &address(&notifications)]);
        command.args(["--thrift-port", &port.to_string()]);
        command.arg(json).stdin(Stdio::null());
        let child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut guard = Guard(Some(child));
        let packets = Packets::connect(&packets, PATIENCE)?;
        match guard.0.take() {
            Some(child) => Ok(Self {
                child,
                thrift: port,
                packets,
            }),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Its packet socket.
    pub fn packets(&mut self) -> &mut Packets {
        &mut self.packets
    }

    /// All elements of a register of the ingress control.
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
        end(&mut self.child);
    }
}

/// Ends a process that nobody else has yet.
struct Guard(Option<Child>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// A port that nobody listens on now.
fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
