//! A real memcached on loopback.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::{PATIENCE, until};

/// A running memcached that speaks TCP and UDP on one port.
#[derive(Debug)]
pub struct Memcached {
    child: Child,
    /// Its port.
    pub address: SocketAddr,
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
        // Another process may take the port in between, so it is tried a few times.
        (0..5)
            .find_map(|_| Self::try_start())
            .or_else(|| panic!("memcached does not start"))
    }

    fn try_start() -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = free.expect("loopback has a free port");
        let port = address.port().to_string();
        let mut command = Command::new("memcached");
        command.args(["-l", "127.0.0.1", "-p", &port, "-U", &port, "-m", "16", "-t", "1"]);
        // It refuses to run as root unless told a user, and takes no notice of one otherwise.
        command.args(["-u", "nobody"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("memcached starts");
        let mut ended = false;
        until("memcached serves", || {
            ended = matches!(child.try_wait(), Ok(Some(_)));
            ended || TcpStream::connect(address).is_ok()
        });
        (!ended).then_some(Self { child, address })
    }

    /// The first line that it answers to a command, over TCP.
    ///
    /// # Panics
    ///
    /// If it doesn't answer.
    pub fn ask(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("memcached accepts");
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
