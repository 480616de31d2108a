//! The memcached client without its sockets, for tests that feed it hostile datagrams.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::engine_api::{ServiceCall, ServiceOp};
use crate::memcached::{Accepted, Client};

/// How long each request waits, in nanoseconds.
pub const TIMEOUT_NS: u64 = 5_000_000;

/// A client of a server that the test plays.
#[derive(Debug)]
pub struct MemcachedClient {
    client: Client,
    value: Vec<u8>,
}

impl MemcachedClient {
    /// With 4 sockets and room for `capacity` requests.
    pub fn new(capacity: usize) -> MemcachedClient {
        let client = Client::new(Self::server(), Duration::from_nanos(TIMEOUT_NS), 4, capacity);
        MemcachedClient {
            client,
            value: Vec::new(),
        }
    }

    /// The address that answers must come from.
    pub fn server() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 11211))
    }

    /// Asks; gives the socket and the datagram, or none where the request must not or can't be sent.
    pub fn ask(
        &mut self,
        token: u32,
        (op, key): (ServiceOp, &[u8]),
        now: u64,
        random: impl FnMut() -> u32,
    ) -> Option<(u16, Vec<u8>)> {
        let call = ServiceCall {
            service: 0,
            op,
            key: key.to_vec(),
            value: b"value".to_vec(),
        };
        let mut datagram = Vec::new();
        let socket = self.client.request(token, &call, now, random, &mut datagram)?;
        Some((socket, datagram))
    }

    /// Takes a datagram: who asked, and the value if it brought one.
    ///
    /// # Errors
    ///
    /// The name of the event under which it is counted.
    pub fn receive(
        &mut self,
        socket: u16,
        peer: SocketAddr,
        datagram: &[u8],
    ) -> Result<(u32, Option<&[u8]>), &'static str> {
        let answer = self.client.receive(socket, peer, datagram, &mut self.value);
        let (token, accepted) = answer.map_err(|event| event.name())?;
        Ok((token, (accepted == Accepted::Value).then_some(&self.value[..])))
    }

    /// Who asked for the next request whose time is over.
    pub fn expire(&mut self, now: u64) -> Option<u32> {
        self.client.expire(now)
    }

    /// Requests without an answer yet.
    pub fn waiting(&self) -> usize {
        self.client.waiting()
    }
}
