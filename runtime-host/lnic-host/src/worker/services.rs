//! A packet thread's service clients: their sockets, made at first use, and their source ports.

use std::io;
use std::sync::Arc;

use socket2::{SockAddr, Socket};

use crate::engine_api::{Answer, ServiceCall};
use crate::image::{Image, ServiceAddress};
use crate::memcached::{Accepted, Client, Event};
use crate::metrics::{Metrics, ThreadMetrics, Writer};
use crate::sys::{Epoll, RxBatch, Token, random_bytes, service_socket};

/// Random numbers from the kernel, fetched in blocks.
struct Random {
    bytes: Box<[u8; 4096]>,
    used: usize,
}

impl Random {
    fn next(&mut self) -> u32 {
        if self.used + 4 > self.bytes.len() {
            if let Err(error) = random_bytes(&mut self.bytes[..]) {
                // The old block serves again: ids stay distinct, only less hard to guess.
                tracing::error!(%error, "no random bytes from the kernel");
            }
            self.used = 0;
        }
        let b = &self.bytes[self.used..self.used + 4];
        self.used += 4;
        u32::from_ne_bytes([b[0], b[1], b[2], b[3]])
    }
}

/// A client with its sockets.
struct Peered {
    address: ServiceAddress,
    server: SockAddr,
    client: Client,
    sockets: Vec<Socket>,
}

/// All service clients of a packet thread. Images that name the same address share a client.
pub(super) struct Services {
    clients: Vec<Option<Peered>>,
    ports: u16,
    capacity: usize,
    random: Random,
    datagram: Vec<u8>,
    metrics: Arc<Metrics>,
    index: usize,
}

impl Services {
    pub(super) fn new(
        ports: usize,
        capacity: usize,
        metrics: Arc<Metrics>,
        index: usize,
    ) -> io::Result<Services> {
        let mut bytes = Box::new([0; 4096]);
        random_bytes(&mut bytes[..])?;
        Ok(Services {
            clients: Vec::new(),
            ports: ports.clamp(1, 1024) as u16,
            capacity,
            random: Random { bytes, used: 0 },
            datagram: Vec::with_capacity(2048),
            metrics,
            index,
        })
    }

    fn counters(&self) -> &ThreadMetrics {
        &self.metrics.threads[self.index]
    }

    fn count(&self, event: Event) {
        self.counters().services[event as usize].add(1, Writer::Sole);
    }

    /// Sends `call` for the invocation `token`. False: it has failed already.
    pub(super) fn send(
        &mut self,
        address: ServiceAddress,
        token: u32,
        call: &ServiceCall,
        now: u64,
        epoll: &Epoll,
    ) -> bool {
        let sent = self.try_send(address, token, call, now, epoll);
        self.count(if sent { Event::Sent } else { Event::NotSent });
        sent
    }

    fn try_send(
        &mut self,
        address: ServiceAddress,
        token: u32,
        call: &ServiceCall,
        now: u64,
        epoll: &Epoll,
    ) -> bool {
        let client = match self.client_of(address, epoll) {
            Ok(client) => client,
            Err(error) => {
                tracing::debug!(%error, "no sockets for a service");
                return false;
            }
        };
        let Some(peered) = &mut self.clients[client] else {
            return false;
        };
        let random = &mut self.random;
        let Some(socket) = peered
            .client
            .request(token, call, now, || random.next(), &mut self.datagram)
        else {
            return false;
        };
        let sent = peered.sockets[usize::from(socket)]
            .send_to(&self.datagram, &peered.server)
            .is_ok();
        if !sent {
            peered.client.cancel_last();
        }
        sent
    }

    /// The client for an address, made if need be.
    fn client_of(&mut self, address: ServiceAddress, epoll: &Epoll) -> io::Result<usize> {
        let known = |peered: &Option<Peered>| peered.as_ref().is_some_and(|peered| peered.address == address);
        if let Some(at) = self.clients.iter().position(known) {
            return Ok(at);
        }
        let at = self
            .clients
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.clients.len());
        let mut sockets = Vec::with_capacity(usize::from(self.ports));
        for socket in 0..self.ports {
            let made = service_socket(address.peer)?;
            epoll.add(
                &made,
                Token::Service {
                    client: at as u32,
                    socket,
                },
            )?;
            sockets.push(made);
        }
        let client = Client::new(address.peer, address.timeout, self.ports, self.capacity);
        let peered = Some(Peered {
            address,
            server: address.peer.into(),
            client,
            sockets,
        });
        if at == self.clients.len() {
            self.clients.push(peered)
        } else {
            self.clients[at] = peered
        }
        Ok(at)
    }

    /// Takes the datagrams waiting on a client's socket into `rx`.
    pub(super) fn receive(&self, client: u32, socket: u16, rx: &mut RxBatch) -> usize {
        let peered = self.clients.get(client as usize).and_then(Option::as_ref);
        peered
            .and_then(|peered| peered.sockets.get(usize::from(socket)))
            .map_or(0, |socket| rx.receive(socket))
    }

    /// Looks at datagram `at` of `rx`. An answer gives the invocation that waits for it, and
    /// leaves a value in `value`.
    pub(super) fn accept(
        &mut self,
        (client, socket): (u32, u16),
        rx: &RxBatch,
        at: usize,
        value: &mut Vec<u8>,
    ) -> Option<(u32, Accepted)> {
        let peered = self.clients.get_mut(client as usize)?.as_mut()?;
        let result = peered
            .client
            .receive(socket, rx.peer(at).address(), rx.datagram(at), value);
        self.count(result.map_or_else(|event| event, |_| Event::Answered));
        result.ok()
    }

    /// The next invocation whose service has not answered in time.
    pub(super) fn expire(&mut self, now: u64) -> Option<u32> {
        let token = self
            .clients
            .iter_mut()
            .flatten()
            .find_map(|peered| peered.client.expire(now))?;
        self.count(Event::TimedOut);
        Some(token)
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.clients
            .iter()
            .flatten()
            .filter_map(|peered| peered.client.next_deadline())
            .min()
    }

    /// Closes clients that `image` has no use for and nothing waits on.
    pub(super) fn retire(&mut self, image: &Image) {
        for slot in &mut self.clients {
            let idle = |peered: &mut Peered| {
                !image.services.contains(&peered.address) && peered.client.waiting() == 0
            };
            _ = slot.take_if(idle);
        }
    }
}

/// The answer as a lambda sees it.
pub(super) fn answer(accepted: Accepted, value: &[u8]) -> Answer<'_> {
    match accepted {
        Accepted::Value => Answer::Value(value),
        Accepted::Done => Answer::Done,
        Accepted::Missing => Answer::Missing,
        Accepted::Failed => Answer::Failed,
    }
}
