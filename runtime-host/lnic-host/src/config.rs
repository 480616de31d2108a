//! What a worker is told at start.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::time::Duration;

use crate::prefix::Prefix;

/// Settings of a [`Server`](crate::Server). [`Config::default`] is a good worker.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the λ wire. Port 0 takes a free one; `[::]` answers IPv6 and IPv4.
    pub wire: SocketAddr,
    /// Address of the HTTP server. Port 0 takes a free one.
    pub http: SocketAddr,
    /// Packet threads; one per usable core unless given.
    pub threads: Option<NonZero<usize>>,
    /// Threads that serve HTTP; one per usable core unless given.
    pub http_threads: Option<NonZero<usize>>,
    /// Whether each packet thread is bound to a core.
    pub pin: bool,
    /// Callers whose replies may be larger than their requests.
    pub trusted: Vec<Prefix>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Prefix>,
    /// `WORKLOAD.SERVICE` to the address to use instead of the source's.
    pub services: BTreeMap<String, String>,
    /// Workload to the `http://` URL that takes its punted requests.
    pub fallbacks: BTreeMap<String, String>,
    /// How long a fallback may take.
    pub fallback_timeout: Duration,
    /// Most invocations that wait for a service, on each packet thread.
    pub max_waiting: usize,
    /// Most HTTP requests queued for each packet thread.
    pub max_queued: usize,
    /// Source ports that each packet thread uses towards each service.
    pub service_ports: usize,
    /// Caps on half-arrived messages, for the whole worker.
    pub reassembly: lnic_wire::Limits,
    /// When an unfinished HTTP request is cut off.
    pub http_timeout: Duration,
    /// How long [`stop`](crate::Running::stop) waits for what is in flight.
    pub drain_timeout: Duration,
    /// Namespace that may follow a function's name after a dot.
    pub namespace: String,
}

impl Default for Config {
    fn default() -> Config {
        let any = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        Config {
            wire: any(lnic_wire::DEFAULT_PORT),
            http: any(8081),
            threads: None,
            http_threads: None,
            pin: true,
            trusted: Prefix::private(),
            trusted_proxies: Vec::new(),
            services: BTreeMap::new(),
            fallbacks: BTreeMap::new(),
            fallback_timeout: Duration::from_secs(10),
            max_waiting: 4096,
            max_queued: 1024,
            service_ports: 16,
            reassembly: lnic_wire::Limits::default(),
            http_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(5),
            namespace: "openfaas-fn".to_owned(),
        }
    }
}

/// Threads to use where none were asked for: the usable cores.
pub(crate) fn cores() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}
