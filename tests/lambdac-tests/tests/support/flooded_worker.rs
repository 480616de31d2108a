//! A running worker on loopback that is sent mutated packets, and its counters.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::num::NonZero;
use std::sync::Arc;

use lambdac_tests::fuzz::wire::Packets;
use lambdac_tests::peers::PATIENCE;
use lnic_host::{
    Answer, Config, Continuation, ControlError, Engine, EventLog, Io, Outcome, Packet, Running, Scratch,
    Server, ServiceInfo, Trap, TrapCause, WorkloadInfo,
};
use lnic_wire::{Header, Kind, MAX_MESSAGE, workload_id};

/// Workloads: one echoes whole messages, one streams, one traps or drops, one takes little.
const NAMES: [&str; 4] = ["echo", "stream", "unsteady", "small"];

/// Packets between two that must be answered: few enough for the socket's buffer.
const BURST: u64 = 40;

/// The requests that must be answered have this number and up; those that are invented practically never.
const MARK: u64 = 0x5afe << 48;

struct Flooded(Vec<WorkloadInfo>);

impl Flooded {
    fn new() -> Arc<Self> {
        let info = |(at, name): (usize, &&str)| WorkloadInfo {
            name: (*name).to_owned(),
            id: id(at),
            request: "bytes".to_owned(),
            reply: "bytes".to_owned(),
            lambdas: vec!["main".to_owned()],
            min_request: 0,
            max_request: [MAX_MESSAGE, 8, MAX_MESSAGE, 16][at],
            max_reply: [MAX_MESSAGE, 8, 0, 16][at],
            chunk: (at == 1).then_some(8),
            fragment: 1344,
            awaits: false,
        };
        Arc::new(Self(NAMES.iter().enumerate().map(info).collect()))
    }
}

fn id(at: usize) -> u32 {
    workload_id(at as u16 + 1, NAMES[at]).expect("a dense index")
}

impl Engine for Flooded {
    fn workloads(&self) -> &[WorkloadInfo] {
        &self.0
    }

    fn services(&self) -> &[ServiceInfo] {
        &[]
    }

    fn scratch(&self) -> Scratch {
        Box::new(())
    }

    fn invoke(&self, _: &mut Scratch, at: usize, _: &Packet, request: &[u8], io: &mut Io<'_>) -> Outcome {
        if request.len() > self.0[at].max_request {
            return Outcome::BadRequest;
        }
        match (at, request.first()) {
            (2, Some(0..100)) => Outcome::Drop,
            (2, _) => Outcome::Trap(Trap {
                lambda: 0,
                line: 1,
                cause: TrapCause::Index,
            }),
            _ => {
                io.reply[..request.len()].copy_from_slice(request);
                Outcome::Reply(request.len())
            }
        }
    }

    fn resume(&self, _: &mut Scratch, _: Continuation, _: Answer<'_>, _: u64, _: &mut Io<'_>) -> Outcome {
        unreachable!("nothing awaits")
    }

    fn state(&self, _: usize, _: Option<&str>, _: Option<&str>) -> Result<serde_json::Value, ControlError> {
        Ok(serde_json::Value::Null)
    }

    fn table(&self, _: usize, table: &str) -> Result<serde_json::Value, ControlError> {
        Err(ControlError::NotFound(table.to_owned()))
    }

    fn set_table(&self, _: usize, table: &str, _: &serde_json::Value) -> Result<(), ControlError> {
        Err(ControlError::NotFound(table.to_owned()))
    }

    fn delete_entries(
        &self,
        _: usize,
        table: &str,
        _: Option<&serde_json::Value>,
    ) -> Result<(), ControlError> {
        Err(ControlError::NotFound(table.to_owned()))
    }
}

/// Starts a worker.
pub fn start() -> Running {
    let local = "127.0.0.1:0".parse().expect("an address");
    let config = Config {
        wire: local,
        http: local,
        threads: NonZero::new(2),
        pin: false,
        ..Config::default()
    };
    Server::start(config, Flooded::new(), EventLog::new()).expect("loopback has free ports")
}

/// Sends mutated packets from several sockets, each burst followed by a request that must be answered: packets of one
/// socket are taken in order, so that none is left in a buffer. Gives how many packets were sent.
pub fn flood(worker: &Running, packets: u64) -> u64 {
    let sockets: Vec<UdpSocket> = (0..4).map(|_| socket(worker)).collect();
    let mut invented = Packets::new(11, &[id(0), id(0), id(1), id(2), id(3)]);
    let (mut datagram, mut sent) = (Vec::new(), 0);
    for burst in 0..packets / BURST {
        let socket = &sockets[burst as usize % sockets.len()];
        for _ in 0..BURST {
            invented.next(&mut datagram);
            socket.send(&datagram).expect("loopback takes datagrams");
        }
        let marked = Header::request(id(3), MARK | burst, 0, 1, 4);
        socket
            .send(&[&marked.encode()[..], b"mark"].concat())
            .expect("loopback takes datagrams");
        sent += BURST + 1;
        await_reply(socket, MARK | burst);
    }
    sent
}

fn socket(worker: &Running) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports");
    socket.connect(worker.wire_addr()).expect("it is bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    socket
}

fn await_reply(socket: &UdpSocket, request: u64) {
    let mut buffer = [0; 2048];
    loop {
        let len = socket.recv(&mut buffer).expect("the worker still answers");
        let (header, _) =
            Header::decode(&buffer[..len], Kind::Reply).expect("a worker sends only what it should");
        if header.request == request {
            return;
        }
    }
}

/// The worker's counters.
pub struct Metrics(String);

impl Metrics {
    /// As they are now.
    pub fn of(worker: &Running) -> Self {
        let mut stream = TcpStream::connect(worker.http_addr()).expect("HTTP is served");
        let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).expect("a short request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("text");
        Self(text)
    }

    /// The sum of all series of a name whose labels hold a text.
    pub fn sum(&self, name: &str, label: &str) -> u64 {
        let of_name = |line: &&str| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        let lines: Vec<&str> = self
            .0
            .lines()
            .filter(of_name)
            .filter(|line| line.contains(label))
            .collect();
        assert!(!lines.is_empty(), "no {name} with {label}");
        let value = |line: &&str| {
            line.rsplit(' ')
                .next()
                .and_then(|text| text.parse::<u64>().ok())
                .expect("a number")
        };
        lines.iter().map(value).sum()
    }
}
