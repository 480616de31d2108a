//! Registers, over the switch's Thrift port.
//!
//! Of Thrift's binary protocol (thrift, `doc/specs/thrift-binary-protocol.md`) just one call:
//! `standard:bm_register_read_all(cxt_id, name)` (behavioral-model, `standard.thrift`), whose service is multiplexed by
//! its name before a colon.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Version 1 of the strict protocol.
const VERSION: u32 = 0x8001_0000;
const CALL: u32 = 1;
const REPLY: u32 = 2;
/// Types of fields.
const STOP: u8 = 0;
const I32: u8 = 8;
const I64: u8 = 10;
const STRING: u8 = 11;
const LIST: u8 = 15;
/// The longest list that is believed.
const LONGEST: u32 = 1 << 22;

/// All elements of a register, as far as they are numbers of 63 bits; larger ones read as the largest.
///
/// # Errors
/// If the switch has no such register, or is gone.
pub fn register(address: SocketAddr, name: &str, within: Duration) -> io::Result<Vec<u64>> {
    let mut stream = connect(address, within)?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    let mut call = (VERSION | CALL).to_be_bytes().to_vec();
    string(&mut call, "standard:bm_register_read_all");
    call.extend(0_u32.to_be_bytes());
    // The context, which is the only one.
    call.extend([I32, 0, 1, 0, 0, 0, 0]);
    call.extend([STRING, 0, 2]);
    string(&mut call, name);
    call.push(STOP);
    stream.write_all(&call)?;
    if number(&mut stream)? != VERSION | REPLY {
        return Err(refused(name));
    }
    let method = number(&mut stream)?.min(LONGEST);
    skip(&mut stream, u64::from(method) + 4)?;
    // Field 0 is the result; any other an exception.
    let mut field = [0; 3];
    stream.read_exact(&mut field)?;
    if field != [LIST, 0, 0] {
        return Err(refused(name));
    }
    let mut kind = [0; 1];
    stream.read_exact(&mut kind)?;
    let count = number(&mut stream)?;
    if kind != [I64] || count > LONGEST {
        return Err(refused(name));
    }
    let mut bytes = vec![0; count as usize * 8];
    stream.read_exact(&mut bytes)?;
    let element = |chunk: &[u8]| chunk.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Ok(bytes.chunks_exact(8).map(element).collect())
}

/// Connects, once the switch listens.
fn connect(address: SocketAddr, within: Duration) -> io::Result<TcpStream> {
    let end = Instant::now() + within;
    loop {
        match TcpStream::connect_timeout(&address, within) {
            Err(error) if Instant::now() < end && error.kind() == io::ErrorKind::ConnectionRefused => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

fn refused(name: &str) -> io::Error {
    io::Error::other(format!("the switch does not tell of its register {name:?}"))
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u32).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn number(stream: &mut TcpStream) -> io::Result<u32> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn skip(stream: &mut TcpStream, bytes: u64) -> io::Result<()> {
    let skipped = io::copy(&mut stream.take(bytes), &mut io::sink())?;
    match skipped == bytes {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
