//! A real memcached on loopback.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use super::{PATIENCE, until};

/// A running memcached that speaks TCP and UDP, each on a port of the kernel's choice.
#[derive(Debug)]
pub struct Memcached {
    child: Child,
    /// Where it speaks UDP.
    pub address: SocketAddr,
    tcp: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Memcached {
    /// Starts one; none, with a word on why, where it isn't installed.
    ///
    /// # Panics
    ///
    /// If it is installed and doesn't serve.
    pub fn start() -> Option<Self> {
        if !super::has("memcached") {
            println!("skipped: memcached not found");
            return None;
        }
        let folder = tempfile::tempdir().expect("there are temporary folders");
        // It writes down which ports it was given.
        let ports = folder.path().join("ports");
        let mut command = Command::new("memcached");
        // Run by root it wants to be told a user, who must be able to write there; by others it takes no notice.
        command.args("-l 127.0.0.1 -p -1 -U -1 -m 16 -t 1 -u root".split(' '));
        command
            .env("MEMCACHED_PORT_FILENAME", &ports)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut started = Self {
            child: command.spawn().expect("memcached starts"),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            tcp: SocketAddr::from(([127, 0, 0, 1], 0)),
            _folder: folder,
        };
        until("memcached says its ports", || {
            let text = std::fs::read_to_string(&ports).unwrap_or_default();
            let port = |kind: &str| {
                text.lines()
                    .find_map(|line| line.strip_prefix(kind)?.parse().ok())
            };
            let (Some(tcp), Some(udp)) = (port("TCP INET: "), port("UDP INET: ")) else {
                return false;
            };
            started.tcp.set_port(tcp);
            started.address.set_port(udp);
            true
        });
        Some(started)
    }

    /// The first line that it answers to a command, over TCP.
    ///
    /// # Panics
    ///
    /// If it doesn't answer.
    pub fn ask(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(self.tcp).expect("memcached accepts");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit can be set");
        stream
            .write_all(format!("{command}\r\n").as_bytes())
            .expect("memcached reads");
        let mut line = String::new();
        BufReader::new(stream)
            .read_line(&mut line)
            .expect("memcached answers");
        line.trim_end().to_owned()
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
