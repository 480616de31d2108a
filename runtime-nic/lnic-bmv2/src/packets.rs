//! The switch's packet socket: frames in and out without interfaces.
//!
//! `simple_switch --packet-in ipc://FILE` binds a nanomsg PAIR socket. On the wire that is a greeting of eight bytes in
//! each direction (SP's: zero, `SP`, version 0, the protocol's number, zeros), then messages: a one, the length as eight
//! big-endian bytes, the body (nanomsg, `src/transports/ipc/sipc.c`). A body is a header of three native integers (kind,
//! port, length; behavioral-model, `dev_mgr_packet_in.cpp`) and the frame.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// SP's greeting of a PAIR socket, whose number is 16.
const GREETING: [u8; 8] = [0, b'S', b'P', 0, 0, 16, 0, 0];
/// What stands before each message.
const MESSAGE: u8 = 1;
/// Kinds of body: a frame that comes in, one that goes out.
const PACKET_IN: i32 = 3;
const PACKET_OUT: i32 = 4;
/// Bytes of a body's header.
const HEADER: usize = 12;
/// No frame is longer.
const LONGEST: u64 = 1 << 16;

/// A connection to a switch.
#[derive(Debug)]
pub struct Packets {
    stream: UnixStream,
}

impl Packets {
    /// Connects, once the switch is there.
    ///
    /// # Errors
    /// If it isn't within the time, or speaks something else.
    pub fn connect(socket: &Path, within: Duration) -> io::Result<Self> {
        let end = Instant::now() + within;
        let mut stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() >= end => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        stream.set_read_timeout(Some(within))?;
        stream.set_write_timeout(Some(within))?;
        stream.write_all(&GREETING)?;
        let mut greeting = [0; 8];
        stream.read_exact(&mut greeting)?;
        if greeting != GREETING {
            return Err(io::Error::other(
                "the switch's packet socket speaks something else",
            ));
        }
        Ok(Self { stream })
    }

    /// Lets a frame come in by a port.
    ///
    /// # Errors
    /// If the switch is gone.
    pub fn send(&mut self, port: u16, frame: &[u8]) -> io::Result<()> {
        let mut message = vec![MESSAGE];
        message.extend((HEADER as u64 + frame.len() as u64).to_be_bytes());
        message.extend(PACKET_IN.to_ne_bytes());
        message.extend(i32::from(port).to_ne_bytes());
        message.extend((frame.len() as i32).to_ne_bytes());
        message.extend_from_slice(frame);
        self.stream.write_all(&message)
    }

    /// The next frame that goes out, and by which port.
    ///
    /// # Errors
    /// If there is none within the time of [`Packets::connect`], or the switch is gone.
    pub fn receive(&mut self) -> io::Result<(u16, Vec<u8>)> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head)?;
            let [kind, length @ ..] = head;
            let length = u64::from_be_bytes(length);
            if kind != MESSAGE || length > LONGEST || length < HEADER as u64 {
                return Err(io::Error::other("a message of the packet socket that is none"));
            }
            let mut body = vec![0; length as usize];
            self.stream.read_exact(&mut body)?;
            let number = |at: usize| i32::from_ne_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
            let (kind, port) = (number(0), number(4));
            if kind == PACKET_OUT {
                let port = u16::try_from(port).map_err(io::Error::other)?;
                return Ok((port, body.split_off(HEADER)));
            }
        }
    }
}
