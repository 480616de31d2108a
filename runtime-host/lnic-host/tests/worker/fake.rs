//! An engine of hand-written behaviours, and small clients to speak to a worker that runs it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lnic_host::{
    Answer, Config, Continuation, ControlError, Engine, EventLog, Io, Outcome, Packet, Running, Scratch,
    Server, ServiceInfo, ServiceOp, Trap, TrapCause, WorkloadInfo,
};
use lnic_wire::{Header, Kind, MAX_MESSAGE, Status, fragments, workload_id};

/// What a workload of the fake does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Replies with this text.
    Says(&'static str),
    /// Replies with the request.
    Echo,
    /// Replies with the source address, both ports, and the request's number.
    Facts,
    /// Replies with this many bytes.
    Fills(usize),
    Drops,
    Punts,
    Traps,
    /// A stream of four-byte chunks, each reversed.
    Reverses,
    /// Awaits get(request): the value, `miss` or `failed`.
    Gets,
    /// Awaits set(key, value) of a request `key=value`: `done`, `refused` or `failed`.
    Sets,
    /// Awaits delete(request), then get(request).
    Deletes,
    /// Waits in its place, as for a NIC, until the test opens the gate.
    Stalls,
}

use Does::*;

/// Longest wait for what an idle machine does at once; only a test that fails waits as long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// All workloads of [`engine`].
pub const ALL: &[(&str, Does)] = &[
    ("web", Says("hello")),
    ("echo", Echo),
    ("facts", Facts),
    ("fill", Fills(200)),
    ("large", Fills(5000)),
    ("drop", Drops),
    ("punt", Punts),
    ("trap", Traps),
    ("reverse", Reverses),
    ("get", Gets),
    ("set", Sets),
    ("delete", Deletes),
];

pub struct Fake {
    does: Vec<Does>,
    infos: Vec<WorkloadInfo>,
    services: Vec<ServiceInfo>,
    /// Is told which thread freed it.
    freed: Option<Sender<String>>,
    gate: Option<Gate>,
}

/// Where [`Stalls`] waits.
struct Gate {
    reached: Sender<()>,
    opened: Mutex<Receiver<()>>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(freed) = &self.freed {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            // The test may be over.
            _ = freed.send(thread);
        }
    }
}

/// What a lambda of the fake keeps while it waits.
struct Waits {
    does: Does,
    key: Vec<u8>,
}

impl Fake {
    /// Its service may take as long as a test waits.
    pub fn new(workloads: &[(&str, Does)]) -> Arc<Fake> {
        Arc::new(Fake::of(workloads, PATIENCE))
    }

    /// Its service has so much time for an answer.
    pub fn with_timeout(workloads: &[(&str, Does)], timeout: Duration) -> Arc<Fake> {
        Arc::new(Fake::of(workloads, timeout))
    }

    /// It says which thread freed it.
    pub fn watched(workloads: &[(&str, Does)], freed: Sender<String>) -> Arc<Fake> {
        let mut fake = Fake::of(workloads, PATIENCE);
        fake.freed = Some(freed);
        Arc::new(fake)
    }

    /// Its engine may wait: [`Stalls`] says so when it has reached the gate, and goes on once it is opened.
    pub fn gated(workloads: &[(&str, Does)], reached: Sender<()>, opened: Receiver<()>) -> Arc<Fake> {
        let mut fake = Fake::of(workloads, PATIENCE);
        let opened = Mutex::new(opened);
        fake.gate = Some(Gate { reached, opened });
        Arc::new(fake)
    }

    fn of(workloads: &[(&str, Does)], timeout: Duration) -> Fake {
        let info = |(at, &(name, does)): (usize, &(&str, Does))| WorkloadInfo {
            name: name.to_owned(),
            id: workload_id(at as u16 + 1, name).unwrap(),
            request: "bytes".to_owned(),
            reply: "bytes".to_owned(),
            lambdas: vec!["main".to_owned()],
            min_request: if does == Reverses { 4 } else { 0 },
            max_request: match does {
                Reverses => 4,
                Echo => MAX_MESSAGE,
                _ => 1200,
            },
            max_reply: match does {
                Echo => MAX_MESSAGE,
                Fills(n) => n,
                Reverses => 4,
                _ => 1344,
            },
            chunk: (does == Reverses).then_some(4),
            fragment: 1344,
            awaits: matches!(does, Gets | Sets | Deletes),
        };
        let service = ServiceInfo {
            name: "get.cache".to_owned(),
            address: "127.0.0.1:9".to_owned(),
            timeout,
        };
        Fake {
            does: workloads.iter().map(|&(_, does)| does).collect(),
            infos: workloads.iter().enumerate().map(info).collect(),
            services: vec![service],
            freed: None,
            gate: None,
        }
    }
}

fn reply(io: &mut Io<'_>, bytes: &[u8]) -> Outcome {
    io.reply[..bytes.len()].copy_from_slice(bytes);
    Outcome::Reply(bytes.len())
}

fn call(io: &mut Io<'_>, op: ServiceOp, key: &[u8], value: &[u8], does: Does) -> Outcome {
    (io.call.service, io.call.op) = (0, op);
    io.call.key.clear();
    io.call.key.extend_from_slice(key);
    io.call.value.clear();
    io.call.value.extend_from_slice(value);
    Outcome::Await(Box::new(Waits {
        does,
        key: key.to_vec(),
    }))
}

impl Engine for Fake {
    fn workloads(&self) -> &[WorkloadInfo] {
        &self.infos
    }

    fn services(&self) -> &[ServiceInfo] {
        &self.services
    }

    fn scratch(&self) -> Scratch {
        Box::new(())
    }

    fn may_wait(&self) -> bool {
        self.gate.is_some()
    }

    fn invoke(
        &self,
        _: &mut Scratch,
        workload: usize,
        packet: &Packet,
        request: &[u8],
        io: &mut Io<'_>,
    ) -> Outcome {
        let info = &self.infos[workload];
        if !(info.min_request..=info.max_request).contains(&request.len()) {
            return Outcome::BadRequest;
        }
        match self.does[workload] {
            Says(text) => reply(io, text.as_bytes()),
            Echo => reply(io, request),
            Facts => {
                let Packet {
                    src_ip,
                    src_port,
                    dst_port,
                    request_id,
                    ..
                } = packet;
                let ip = std::net::Ipv4Addr::from_bits(*src_ip);
                reply(io, format!("{ip} {src_port} {dst_port} {request_id}").as_bytes())
            }
            Fills(len) => reply(io, &vec![7; len]),
            Drops => Outcome::Drop,
            Punts => Outcome::Punt,
            Traps => Outcome::Trap(Trap {
                lambda: 0,
                line: 7,
                cause: TrapCause::Index,
            }),
            Reverses => {
                let reversed: Vec<u8> = request.iter().rev().copied().collect();
                reply(io, &reversed)
            }
            Gets => call(io, ServiceOp::Get, request, b"", Gets),
            Sets => {
                let at = request
                    .iter()
                    .position(|&byte| byte == b'=')
                    .unwrap_or(request.len());
                let value = request.get(at + 1..).unwrap_or_default();
                call(io, ServiceOp::Set, &request[..at], value, Sets)
            }
            Deletes => call(io, ServiceOp::Delete, request, b"", Deletes),
            Stalls => {
                let gate = self.gate.as_ref().unwrap();
                gate.reached.send(()).unwrap();
                // It opens with the test's end as well.
                _ = gate.opened.lock().unwrap().recv();
                reply(io, b"opened")
            }
        }
    }

    fn resume(
        &self,
        _: &mut Scratch,
        continuation: Continuation,
        answer: Answer<'_>,
        _: u64,
        io: &mut Io<'_>,
    ) -> Outcome {
        let Waits { does, key } = *continuation.downcast::<Waits>().unwrap();
        match (does, answer) {
            (Deletes, Answer::Done) => call(io, ServiceOp::Get, &key, b"", Gets),
            (_, Answer::Value(value)) => reply(io, value),
            (_, Answer::Done) => reply(io, b"done"),
            (_, Answer::Missing) => reply(io, b"missing"),
            (_, Answer::Failed) => reply(io, b"failed"),
        }
    }

    fn state(
        &self,
        _: usize,
        object: Option<&str>,
        index: Option<&str>,
    ) -> Result<serde_json::Value, ControlError> {
        match (object, index) {
            (None, _) => Ok(serde_json::json!({"hits": [1, 2]})),
            (Some("hits"), None) => Ok(serde_json::json!([1, 2])),
            (Some("hits"), Some("1")) => Ok(serde_json::json!(2)),
            _ => Err(ControlError::NotFound("no such object".to_owned())),
        }
    }

    fn table(&self, _: usize, table: &str) -> Result<serde_json::Value, ControlError> {
        let missing = || ControlError::NotFound("no such table".to_owned());
        (table == "routes")
            .then(|| serde_json::json!([]))
            .ok_or_else(missing)
    }

    fn set_table(&self, _: usize, _: &str, entries: &serde_json::Value) -> Result<(), ControlError> {
        if entries.is_array() {
            Ok(())
        } else {
            Err(ControlError::Invalid("entries must be a list".to_owned()))
        }
    }

    fn delete_entries(&self, _: usize, _: &str, _: Option<&serde_json::Value>) -> Result<(), ControlError> {
        Ok(())
    }
}

/// Settings for a worker on free loopback ports.
pub fn config() -> Config {
    Config {
        wire: "127.0.0.1:0".parse().unwrap(),
        http: "127.0.0.1:0".parse().unwrap(),
        threads: std::num::NonZero::new(2),
        ..Config::default()
    }
}

/// A worker that runs all behaviours.
pub fn start(config: Config) -> Running {
    start_with(config, Fake::new(ALL))
}

/// A worker that runs these behaviours.
pub fn start_with(config: Config, fake: Arc<Fake>) -> Running {
    Server::start(config, fake, EventLog::new()).unwrap()
}

/// The id of a workload of [`ALL`].
pub fn id(name: &str) -> u32 {
    let at = ALL.iter().position(|&(known, _)| known == name).unwrap();
    workload_id(at as u16 + 1, name).unwrap()
}

/// A caller on the wire.
pub struct Caller {
    pub socket: UdpSocket,
    request: u64,
}

impl Caller {
    pub fn new(worker: SocketAddr) -> Caller {
        let any = if worker.is_ipv4() {
            "127.0.0.1:0"
        } else {
            "[::1]:0"
        };
        let socket = UdpSocket::bind(any).unwrap();
        socket.connect(worker).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Caller { socket, request: 0 }
    }

    /// Sends one message; gives its number.
    pub fn send(&mut self, workload: u32, message: &[u8]) -> u64 {
        self.request += 1;
        for (sent, part) in fragments(message, 1344).unwrap().enumerate() {
            let header = Header::request(
                workload,
                self.request,
                part.index,
                part.count,
                part.payload.len() as u16,
            );
            self.socket
                .send(&[&header.encode()[..], part.payload].concat())
                .unwrap();
            if sent % 32 == 31 {
                // Loopback has room for so much at a time.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.request
    }

    /// The next packet, checked.
    pub fn packet(&mut self) -> Option<(Header, Vec<u8>)> {
        let mut buffer = [0; 2048];
        let len = self.socket.recv(&mut buffer).ok()?;
        let (header, payload) = Header::decode(&buffer[..len], Kind::Reply).expect("a sound reply");
        Some((header, payload.to_vec()))
    }

    /// Sends a message and waits for the reply to it.
    pub fn call(&mut self, workload: u32, message: &[u8]) -> Result<Vec<u8>, Status> {
        let request = self.send(workload, message);
        let mut parts: Vec<Option<Vec<u8>>> = Vec::new();
        loop {
            let (header, payload) = self.packet().expect("a reply in time");
            if header.request != request {
                continue;
            }
            assert_eq!(header.workload, workload);
            if header.status != Status::Ok {
                return Err(header.status);
            }
            parts.resize(usize::from(header.fragments), None);
            parts[usize::from(header.fragment)] = Some(payload);
            if parts.iter().all(Option::is_some) {
                return Ok(parts.into_iter().flatten().flatten().collect());
            }
        }
    }

    /// Sends raw bytes.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.socket.send(bytes).unwrap();
    }

    /// Reads away what has come.
    pub fn forget(&mut self) {
        self.socket.set_nonblocking(true).unwrap();
        while self.socket.recv(&mut [0; 2048]).is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
    }

    /// No packet comes within a short while.
    pub fn assert_silent(&mut self) {
        self.socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        assert_eq!(self.packet(), None);
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
}

/// A response to an HTTP request.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Sends one HTTP request with some extra header lines, each ending in CR LF.
pub fn http(to: SocketAddr, method: &str, path: &str, extra: &str, body: &[u8]) -> Response {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let len = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{extra}content-length: {len}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let end = all
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a whole head");
    let head = String::from_utf8(all[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Response {
        status,
        head,
        body: all[end + 4..].to_vec(),
    }
}

/// One value of `/metrics`.
pub fn metric(worker: &Running, series: &str) -> u64 {
    let response = http(worker.http_addr(), "GET", "/metrics", "", b"");
    let text = String::from_utf8(response.body).unwrap();
    let line = text.lines().find(|line| {
        line.strip_prefix(series)
            .is_some_and(|rest| rest.starts_with(' '))
    });
    line.unwrap_or_else(|| panic!("no {series}"))
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

/// Waits until a metric has a value.
pub fn await_metric(worker: &Running, series: &str, value: u64) {
    let last = std::cell::Cell::new(0);
    until(
        || {
            last.set(metric(worker, series));
            last.get() == value
        },
        || format!("{series} is {}, not {value}", last.get()),
    );
}

/// Waits until something holds; `else_` says what does instead.
pub fn until(mut holds: impl FnMut() -> bool, else_: impl Fn() -> String) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{}", else_());
        std::thread::sleep(Duration::from_millis(5));
    }
}
