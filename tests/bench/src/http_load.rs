//! A closed loop of HTTP requests on connections that stay open.
//!
//! A thread goes round its connections: it takes the reply of one and sends the next request on it, while the
//! others' requests are on their way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::load::{Schedule, Window};

/// Connections of a thread.
const CONNECTIONS: usize = 32;
/// Bytes kept of a response.
const BUFFER: usize = 4096;

/// What is sent, to whom, for how long.
pub struct Load<'a> {
    pub server: SocketAddr,
    pub path: &'a str,
    pub body: &'a [u8],
    pub reply: &'a [u8],
    pub schedule: Schedule<'a>,
}

impl Load<'_> {
    /// Replies a second, and what `sample` gave when counting began and ended.
    pub fn run<T>(&self, sample: impl FnMut() -> Result<T>) -> Result<(f64, T, T)> {
        self.schedule.run(|window| self.thread(window), sample)
    }

    fn thread(&self, Window { begin, end }: Window) -> Result<u64> {
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
            self.path,
            self.server,
            self.body.len()
        );
        let request = [head.as_bytes(), self.body].concat();
        let mut connections = (0..CONNECTIONS)
            .map(|_| self.connect(&request))
            .collect::<Result<Vec<_>>>()?;
        let mut buffer = [0; BUFFER];
        let mut replies = 0;
        loop {
            for connection in &mut connections {
                let body = response(connection, &mut buffer)?;
                ensure!(body == self.reply, "the response's body is another than expected");
                let now = Instant::now();
                if now >= end {
                    return Ok(replies);
                }
                replies += u64::from(now >= begin);
                connection.write_all(&request)?;
            }
        }
    }

    /// A connection with a request on its way.
    fn connect(&self, request: &[u8]) -> Result<TcpStream> {
        let mut connection = TcpStream::connect(self.server)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        connection.write_all(request)?;
        Ok(connection)
    }
}

/// Reads one response and gives its body.
fn response<'b>(from: &mut impl Read, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
    let mut len = 0;
    loop {
        let more = from.read(&mut buffer[len..])?;
        ensure!(more > 0, "the connection was closed, or the response is too long");
        len += more;
        if let Some(body) = body(&buffer[..len])? {
            return Ok(&buffer[body]);
        }
    }
}

/// Where the body stands, once the response is whole.
fn body(response: &[u8]) -> Result<Option<std::ops::Range<usize>>> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(end) = response.windows(END.len()).position(|window| window == END) else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&response[..end])?;
    ensure!(
        head.starts_with("HTTP/1.1 200"),
        "the response is {:?}",
        head.lines().next()
    );
    let field = |line: &'_ str| -> Option<usize> {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    };
    let len = head.lines().find_map(field).context("no content-length")?;
    let start = end + END.len();
    Ok((response.len() >= start + len).then_some(start..start + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_read_up_to_its_body_s_end() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
        for cut in 0..text.len() {
            assert_eq!(body(&text[..cut]).unwrap(), None);
        }
        assert_eq!(body(text).unwrap(), Some(38..40));
        assert!(body(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").is_err());
    }
}
