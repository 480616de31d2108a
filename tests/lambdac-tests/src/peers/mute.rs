//! A service that takes requests and answers only when told to, as memcached would.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::PATIENCE;

/// Bytes before a memcached command in a datagram: request id, sequence, datagrams, reserved.
const FRAME: usize = 8;

/// A UDP port with nobody who answers behind it.
#[derive(Debug)]
pub struct Mute {
    socket: UdpSocket,
}

/// A request that it got.
#[derive(Debug)]
pub struct Asked {
    from: SocketAddr,
    frame: [u8; FRAME],
    /// The command.
    pub command: Vec<u8>,
}

impl Mute {
    /// Takes a free port.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        Self { socket }
    }

    /// Where it is.
    ///
    /// # Panics
    ///
    /// If the kernel doesn't say.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket has an address")
    }

    /// The next request, waited for.
    ///
    /// # Panics
    ///
    /// If none comes.
    pub fn take(&self) -> Asked {
        self.take_within(PATIENCE).expect("a request comes")
    }

    /// The next request, if one comes soon enough.
    ///
    /// # Panics
    ///
    /// If the time limit can't be set.
    pub fn take_within(&self, limit: Duration) -> Option<Asked> {
        self.socket
            .set_read_timeout(Some(limit))
            .expect("a time limit can be set");
        let mut buffer = [0; 2048];
        let (len, from) = self.socket.recv_from(&mut buffer).ok()?;
        let (frame, command) = buffer[..len].split_first_chunk()?;
        Some(Asked {
            from,
            frame: *frame,
            command: command.to_vec(),
        })
    }

    /// Answers a request after all.
    ///
    /// # Panics
    ///
    /// If it can't be sent.
    pub fn answer(&self, asked: &Asked, text: &[u8]) {
        let mut datagram = vec![asked.frame[0], asked.frame[1], 0, 0, 0, 1, 0, 0];
        datagram.extend_from_slice(text);
        self.socket
            .send_to(&datagram, asked.from)
            .expect("the answer is sent");
    }
}
