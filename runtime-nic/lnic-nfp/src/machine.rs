//! An image as emitted C in a process of its own.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use lambdac_backend_c::layout::{self, Order};
use lambdac_backend_c::stream::Stream;
use lambdac_backend_c::{Dialect, HEADERS, Options, Scope, Source, SymbolKind, print};
use lambdac_image::{Ending, Image, Packet};
use lambdac_mir::interp::{Answer, Outcome, Services, StateDump};
use lambdac_mir::{Data, LambdaId, Loc, MemoryRegion, ServiceOp, TrapCause};
use tempfile::TempDir;

use crate::elf::{self, Sizes};
use crate::process::Process;
use crate::state;
use crate::toolchain::{Build, Toolchain};
use crate::{Error, Result, io};

/// The programs around units, and how they talk.
const HARNESS: [(&str, &str); 4] = [
    ("host.c", include_str!("../harness/host.c")),
    ("lnic_harness.h", include_str!("../harness/nfp.h")),
    ("packet.h", include_str!("../harness/packet.h")),
    ("protocol.h", include_str!("../harness/protocol.h")),
];
/// Words, commands and checks of the NFP for other compilers.
const SHIM: [(&str, &str); 10] = [
    ("nfp.h", include_str!("../../nfp/shim/nfp.h")),
    ("shim.h", include_str!("../../nfp/shim/shim.h")),
    ("pif_common.h", include_str!("../../nfp/shim/pif_common.h")),
    ("pif_plugin.h", include_str!("../../nfp/shim/pif_plugin.h")),
    ("pkt/pkt.h", include_str!("../../nfp/shim/pkt/pkt.h")),
    ("shim.c", include_str!("../../nfp/shim/shim.c")),
    ("nfp/cls.h", include_str!("../../nfp/shim/nfp/cls.h")),
    ("nfp/me.h", include_str!("../../nfp/shim/nfp/me.h")),
    (
        "nfp/mem_atomic.h",
        include_str!("../../nfp/shim/nfp/mem_atomic.h"),
    ),
    ("nfp/mem_bulk.h", include_str!("../../nfp/shim/nfp/mem_bulk.h")),
];
/// What a machine says of a request that is the host's to answer.
pub const HOST: &str = "the host's to run";
/// What a machine says of a request whose reply its caller does not get (`lang-spec/wire.md`, "No reflector").
pub const TOO_LARGE: &str = "a reply that is too large for its caller";
/// Bytes of a packet's payload (`lang-spec/wire.md`).
pub(crate) const MAX_PAYLOAD: usize = lnic_wire::MAX_FRAGMENT;
/// Who asks for the worker itself, and bytes behind the longest message that say for whom (`lnic_plugin.h`).
pub(crate) const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
const CLIENT: usize = 4;
/// Padding of some requests.
const PADDING: usize = 40;
/// Punts from lambda to lambda that are followed; they form no cycle.
const MAX_PUNTS: usize = 64;

/// Statuses of `lnic_c.h`.
mod status {
    pub const REPLY: u32 = 0;
    pub const NO_WORKLOAD: u32 = 1;
    pub const BAD_REQUEST: u32 = 2;
    pub const TRAP: u32 = 3;
    pub const PUNT: u32 = 6;
    pub const TOO_LARGE: u32 = 7;
    pub const DROP: u32 = 256;
    pub const HOST: u32 = 258;
    pub const PUNT_TO: u32 = 259;
}

/// An image's C in a folder.
#[derive(Debug)]
pub struct Code {
    folder: TempDir,
    source: Source,
    dialect: Dialect,
}

impl Code {
    /// Prints an image into a folder of its own.
    ///
    /// # Errors
    /// What can't be said in C, or written.
    pub fn new(image: &Image, options: &Options) -> Result<Self> {
        let source = print(image, options).map_err(|refusals| {
            let reasons: Vec<String> = refusals.into_iter().map(|refusal| refusal.reason).collect();
            Error::Refused(reasons.join("; "))
        })?;
        let folder = TempDir::new().map_err(io("making a folder"))?;
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).map_err(io(&format!("writing {name}")))
        };
        for inner in ["nfp", "pkt"] {
            std::fs::create_dir(folder.path().join(inner)).map_err(io("making a folder"))?;
        }
        write("lambdas.c", &source.text)?;
        for (name, text) in HEADERS.into_iter().chain(HARNESS).chain(SHIM) {
            write(name, text)?;
        }
        write("memory.h", &memory(&source))?;
        let dialect = options.dialect;
        Ok(Self {
            folder,
            source,
            dialect,
        })
    }

    /// The unit.
    pub fn text(&self) -> &str {
        &self.source.text
    }

    /// Compiles the unit alone, all warnings errors; gives the object.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn compile(&self, toolchain: &Toolchain, build: &Build) -> Result<PathBuf> {
        let to = self.path(&format!("lambdas.{}.{build:?}.o", toolchain.name()));
        toolchain.object(&self.path("lambdas.c"), &[self.folder.path()], build, true, &to)?;
        Ok(to)
    }

    /// Bytes of code and constants that the unit takes in a build.
    ///
    /// # Errors
    /// What the compiler says, or that it made something odd.
    pub fn sizes(&self, toolchain: &Toolchain, build: &Build) -> Result<Sizes> {
        let object = self.compile(toolchain, build)?;
        let bytes = std::fs::read(object).map_err(io("reading an object"))?;
        elf::sizes(&bytes).ok_or_else(|| Error::Compiler {
            compiler: toolchain.name().to_owned(),
            text: "what it made is no 64-bit little-endian ELF object".to_owned(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program that runs the unit.
    fn program(&self, toolchain: &Toolchain, build: Build) -> Result<PathBuf> {
        let around = |name: &str, to: PathBuf| -> Result<PathBuf> {
            let include = [self.folder.path()];
            toolchain.object(&self.path(name), &include, &build, true, &to)?;
            Ok(to)
        };
        let around = match self.dialect {
            // It knows the unit's memory.
            Dialect::Host => around("host.c", self.path("host.o"))?,
            Dialect::MicroC => toolchain.common(build, |folder| around("shim.c", folder.join("shim.o")))?,
        };
        let unit = self.compile(toolchain, &build)?;
        let program = self.path("lambdas");
        toolchain.link(&[&unit, &around], &build, &program)?;
        Ok(program)
    }

    /// The order of bytes in its scalars.
    fn order(&self) -> Order {
        match self.dialect {
            Dialect::Host => Order::Little,
            Dialect::MicroC => Order::Big,
        }
    }
}

/// What the harness knows of a unit's memory, as macros.
fn memory(source: &Source) -> String {
    let mut out = String::from("/* The unit's memory. */\n");
    for symbol in &source.symbols {
        out += &format!("extern HARNESS_UNIT {}[];\n", symbol.name);
    }
    out += "#define HARNESS_SYMBOLS \\\n";
    for symbol in &source.symbols {
        out += &format!("  {{{}, {}u}}, \\\n", symbol.name, symbol.size);
    }
    out += "\n#define HARNESS_MEMORY \\\n";
    for memory in &source.memory {
        let region = match memory.region.memory {
            MemoryRegion::Lmem => "SHIM_LMEM",
            MemoryRegion::Cls => "SHIM_CLS",
            MemoryRegion::Ctm => "SHIM_CTM",
            MemoryRegion::Imem => "SHIM_IMEM",
            MemoryRegion::Emem => "SHIM_EMEM",
        };
        let scope = match memory.region.scope {
            Scope::Function | Scope::Thread => "SHIM_THREAD",
            Scope::Shared => "SHIM_SHARED",
            Scope::Constant => "SHIM_CONSTANT",
        };
        let (name, size) = (&memory.name, memory.size);
        out += &format!("  {{\"{name}\", {name}, {size}u, {region}, {scope}}}, \\\n");
    }
    out += &format!("\n#define HARNESS_SAVED {}u\n", source.saved_bytes.max(8));
    out += &format!("#define HARNESS_RESUMES {}\n", u8::from(source.saved_bytes > 0));
    out
}

/// How a unit that a machine runs is printed: lambdas can be entered one by one, and an lru forgets exactly the least
/// recently used entry.
pub fn options(dialect: Dialect) -> Options {
    Options {
        direct: true,
        lru_window: u32::MAX,
        ending: (dialect == Dialect::MicroC).then(|| "lnic_harness.h".to_owned()),
        ..Options::new(dialect)
    }
}

/// What a call enters.
#[derive(Clone, Copy)]
enum Way {
    Stage(u32),
    Entry(usize),
    Punted(LambdaId),
}

/// A packet's worth of a message.
#[derive(Clone, Copy)]
struct Part<'r> {
    bytes: &'r [u8],
    stream: Option<Stream>,
    index: usize,
    count: usize,
}

impl Part<'_> {
    /// What the harness is told: how the message is cut, which packet it is, and how much padding it has. Some have
    /// none, so that replies have to grow; those of the worker itself have room for all.
    fn numbers(&self, packet: &Packet) -> [u32; 6] {
        let [chunk, fragment, reply] = match self.stream {
            Some(stream) => [stream.chunk.max, stream.fragment, stream.reply],
            None => [0; 3],
        };
        let room = MAX_PAYLOAD.saturating_sub(self.bytes.len());
        let padding = match self.bytes.len() % 3 {
            _ if packet.pkt[0] == u64::from(NOBODY.to_bits()) => room + CLIENT,
            1 => PADDING.min(room),
            _ => 0,
        };
        [
            chunk,
            fragment,
            reply,
            self.index as u32,
            self.count as u32,
            padding as u32,
        ]
    }
}

/// How a packet's worth ended.
enum Ended {
    Of(Ending),
    PuntTo(LambdaId),
}

/// An image that runs as emitted C.
#[derive(Debug)]
pub struct Machine {
    image: Arc<Image>,
    code: Code,
    process: Process,
    /// Where each workload's stream of `random` stands.
    dice: Vec<u64>,
    /// The entry that the last call was punted to, where the host runs it.
    punted: Option<usize>,
}

impl Machine {
    /// Compiles an image and starts it, an lru forgetting exactly the least recently used entry, all streams of `random` at one seed, parameters at their defaults.
    ///
    /// # Errors
    /// What can't be said, compiled or started.
    pub fn new(image: Arc<Image>, dialect: Dialect, toolchain: &Toolchain, seed: u64) -> Result<Self> {
        Self::built(image, dialect, (toolchain, Build::Checked), seed)
    }

    /// As [`Machine::new`], compiled in some way.
    ///
    /// # Errors
    /// What can't be said, compiled or started.
    pub fn built(
        image: Arc<Image>,
        dialect: Dialect,
        (toolchain, build): (&Toolchain, Build),
        seed: u64,
    ) -> Result<Self> {
        let options = options(dialect);
        let code = Code::new(&image, &options)?;
        let process = Process::start(&code.program(toolchain, build)?)?;
        Ok(Self {
            dice: vec![seed; image.workloads.len()],
            image,
            code,
            process,
            punted: None,
        })
    }

    /// Puts all memory back as it was at the start, and seeds the streams of `random`.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn reset(&mut self, seed: u64) -> Result<()> {
        self.dice.fill(seed);
        self.process.send(b"z")
    }

    /// Has long replies go to everybody, or to callers in the private ranges alone (`lang-spec/wire.md`, "No reflector").
    ///
    /// # Errors
    /// If the process is gone.
    pub fn trust(&mut self, all: bool) -> Result<()> {
        let mut message = vec![b't'];
        put32(&mut message, all.into());
        self.process.send(&message)
    }

    /// Where a workload's stream of `random` stands.
    pub fn dice(&self, workload: usize) -> u64 {
        self.dice[workload]
    }

    /// Puts a workload's stream of `random` somewhere.
    pub fn set_dice(&mut self, workload: usize, dice: u64) {
        self.dice[workload] = dice;
    }

    /// The entry that the last call was punted to, if it ended so and that entry is the host's.
    pub fn punted(&self) -> Option<usize> {
        self.punted
    }

    /// Sets a parameter, by the workload's name, a dot and its own. One that nothing reads may be gone; so be it.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn set_param(&mut self, name: &str, value: &Data) -> Result<()> {
        let Some((index, symbol)) = self.symbol(name) else {
            return Ok(());
        };
        let SymbolKind::Param(param) = symbol.kind else {
            return Ok(());
        };
        let mut memory = vec![0; symbol.size as usize];
        layout::put(
            &mut memory,
            &self.image.module.params[param].shape,
            value,
            self.code.order(),
        );
        let mut message = vec![b'w'];
        put32(&mut message, index as u32);
        put32(&mut message, memory.len() as u32);
        message.extend(memory);
        self.process.send(&message)
    }

    fn symbol(&self, name: &str) -> Option<(usize, &lambdac_backend_c::Symbol)> {
        let mut symbols = self.code.source.symbols.iter().enumerate();
        symbols.find(|(_, symbol)| *symbol.item == *name)
    }

    /// Runs a request for a workload id to its end.
    ///
    /// # Errors
    /// What the process, or a sanitizer in it, says.
    pub fn call(
        &mut self,
        id: u32,
        request: &[u8],
        packet: &Packet,
        services: Services<'_>,
    ) -> Result<Ending> {
        let mut workloads = self.image.workloads.iter();
        let workload = workloads.position(|workload| workload.id == id);
        match workload.and_then(|workload| Stream::of(&self.image, workload)) {
            Some(stream) => self.message(Way::Stage(id), stream, request, packet, services),
            None => self.one(Way::Stage(id), request, packet, services),
        }
    }

    /// Runs a lambda past the stage, by its entry; a stream's gets its chunks.
    ///
    /// # Errors
    /// What the process, or a sanitizer in it, says.
    pub fn enter(
        &mut self,
        entry: usize,
        request: &[u8],
        packet: &Packet,
        services: Services<'_>,
    ) -> Result<Ending> {
        let lambda = self.image.entries[entry].lambda;
        self.lambda(Way::Entry(entry), lambda, request, packet, services)
    }

    fn lambda(
        &mut self,
        way: Way,
        lambda: LambdaId,
        request: &[u8],
        packet: &Packet,
        services: Services<'_>,
    ) -> Result<Ending> {
        let lambda = &self.image.module.lambdas[lambda.index()];
        match lambda.stream {
            true => {
                let stream = Stream::new(lambda.request, lambda.reply.max);
                self.message(way, stream, request, packet, services)
            }
            false => self.one(way, request, packet, services),
        }
    }

    /// A stream's message: plain C gets it chunk by chunk, a plugin in packets.
    fn message(
        &mut self,
        way: Way,
        stream: Stream,
        request: &[u8],
        packet: &Packet,
        services: Services<'_>,
    ) -> Result<Ending> {
        if request.is_empty() {
            return Ok(Ending::Of(match stream.chunk.min {
                0 => Outcome::Reply(Vec::new()),
                _ => Outcome::BadRequest,
            }));
        }
        let size = match self.code.dialect {
            Dialect::Host => stream.chunk.max,
            Dialect::MicroC => stream.fragment,
        };
        let mut reply = Vec::new();
        let parts = request.chunks(size as usize);
        let count = parts.len();
        for (index, bytes) in parts.enumerate() {
            let part = Part {
                bytes,
                stream: Some(stream),
                index,
                count,
            };
            match self.part(way, part, packet, services)? {
                Ending::Of(Outcome::Reply(bytes)) => reply.extend(bytes),
                error => return Ok(error),
            }
        }
        Ok(Ending::Of(Outcome::Reply(reply)))
    }

    /// A message that is one packet.
    fn one(&mut self, way: Way, bytes: &[u8], packet: &Packet, services: Services<'_>) -> Result<Ending> {
        let part = Part {
            bytes,
            stream: None,
            index: 0,
            count: 1,
        };
        self.part(way, part, packet, services)
    }

    /// One packet's worth, and what it is punted to.
    fn part(&mut self, way: Way, part: Part<'_>, packet: &Packet, services: Services<'_>) -> Result<Ending> {
        let mut way = way;
        self.punted = None;
        for _ in 0..MAX_PUNTS {
            match self.exchange(way, part, packet, services)? {
                Ended::Of(ending) => return Ok(ending),
                Ended::PuntTo(lambda) => {
                    let next = Way::Punted(lambda);
                    if self.image.module.lambdas[lambda.index()].stream {
                        return self.lambda(next, lambda, part.bytes, packet, services);
                    }
                    way = next;
                }
            }
        }
        Err(self.process.failed("punts without end"))
    }

    fn exchange(
        &mut self,
        way: Way,
        part: Part<'_>,
        packet: &Packet,
        services: Services<'_>,
    ) -> Result<Ended> {
        let request = part.bytes;
        if self.code.dialect == Dialect::MicroC && request.len() > MAX_PAYLOAD {
            return Ok(Ended::Of(Ending::Of(Outcome::Invalid(HOST.to_owned()))));
        }
        let (how, number, id) = match way {
            Way::Stage(id) => (0, 0, id),
            Way::Entry(entry) => (1, entry as u32, 0),
            Way::Punted(lambda) => (2, lambda.0, 0),
        };
        let workload = self.workload(way);
        let mut message = vec![b'c'];
        for number in [how, number, id] {
            put32(&mut message, number);
        }
        for fact in &packet.pkt[..4] {
            put32(&mut message, *fact as u32);
        }
        message.extend(packet.pkt[4].to_le_bytes());
        message.extend(packet.now.to_le_bytes());
        put32(&mut message, packet.random.is_some().into());
        put32(&mut message, packet.random.unwrap_or(0));
        let dice = workload.map_or(0, |workload| self.dice[workload]);
        message.extend(dice.to_le_bytes());
        for number in part.numbers(packet) {
            put32(&mut message, number);
        }
        put32(&mut message, request.len() as u32);
        message.extend_from_slice(request);
        self.process.send(&message)?;
        loop {
            match self.process.take(1)?[0] {
                b'a' => self.ask(services)?,
                b'e' => {
                    let (ended, dice) = self.ended()?;
                    if let Some(workload) = workload {
                        self.dice[workload] = dice;
                    }
                    return Ok(ended);
                }
                b'x' => {
                    let text = self.process.take_bytes()?;
                    let text = String::from_utf8_lossy(&text).into_owned();
                    return Err(self.process.failed(&text));
                }
                _ => return Err(self.process.failed("said something odd")),
            }
        }
    }

    /// Whose stream of `random` a call throws.
    fn workload(&self, way: Way) -> Option<usize> {
        let image = &self.image;
        match way {
            Way::Stage(id) => image.workloads.iter().position(|workload| workload.id == id),
            Way::Entry(entry) => Some(image.entries[entry].workload),
            Way::Punted(lambda) => {
                let entry = image.entries.iter().find(|entry| entry.lambda == lambda);
                entry.map(|entry| entry.workload)
            }
        }
    }

    fn ask(&mut self, services: Services<'_>) -> Result<()> {
        let op = match self.process.take_u32()? {
            0 => ServiceOp::Get,
            1 => ServiceOp::Set,
            _ => ServiceOp::Delete,
        };
        let service = self.process.take_u32()? as usize;
        let (key, value) = (self.process.take_bytes()?, self.process.take_bytes()?);
        let image = self.image.clone();
        let Some(service) = image.module.services.get(service) else {
            return Err(self.process.failed("asked a service that there is not"));
        };
        let value = (op == ServiceOp::Set).then_some(&value[..]);
        let (kind, bytes) = match services(service, op, &key, value) {
            Answer::Value(bytes) => (0, bytes),
            Answer::Done => (1, Vec::new()),
            Answer::Missing => (2, Vec::new()),
            Answer::Failed => (3, Vec::new()),
        };
        let mut message = Vec::new();
        put32(&mut message, kind);
        put32(&mut message, bytes.len() as u32);
        message.extend(bytes);
        self.process.send(&message)
    }

    fn ended(&mut self) -> Result<(Ended, u64)> {
        let (status, trap, punted) = (
            self.process.take_u32()?,
            self.process.take_u32()?,
            self.process.take_u32()?,
        );
        let dice = self.process.take_u64()?;
        let reply = self.process.take_bytes()?;
        let of = |outcome| Ended::Of(Ending::Of(outcome));
        let ended = match status {
            status::REPLY => of(Outcome::Reply(reply)),
            status::NO_WORKLOAD => Ended::Of(Ending::NoWorkload),
            status::BAD_REQUEST => of(Outcome::BadRequest),
            status::DROP => of(Outcome::Drop),
            status::PUNT => of(Outcome::Punt),
            status::PUNT_TO if self.code.dialect == Dialect::MicroC => of(Outcome::Invalid(HOST.to_owned())),
            status::PUNT_TO if (punted as usize) < self.image.module.lambdas.len() => {
                Ended::PuntTo(LambdaId(punted))
            }
            status::TRAP => {
                let cause = TrapCause::ALL.get((trap >> 24) as usize).copied();
                let line = trap & 0x00ff_ffff;
                match cause {
                    Some(cause) => of(Outcome::Trap(cause, Loc { file: 0, line })),
                    None => return Err(self.process.failed("trapped without a cause")),
                }
            }
            status::TOO_LARGE => of(Outcome::Invalid(TOO_LARGE.to_owned())),
            status::HOST => of(Outcome::Invalid(HOST.to_owned())),
            _ => return Err(self.process.failed("ended with an odd status")),
        };
        Ok((ended, dice))
    }

    /// The memory of a symbol.
    fn read(&mut self, index: usize) -> Result<Vec<u8>> {
        let mut message = vec![b'r'];
        put32(&mut message, index as u32);
        self.process.send(&message)?;
        if self.process.take(1)? != b"m" {
            return Err(self.process.failed("said something odd"));
        }
        self.process.take_bytes()
    }

    /// All state, by name (the workload's, a dot, the object's), entries past their time at `now` left out.
    ///
    /// # Errors
    /// If the process is gone, or its memory makes no sense.
    pub fn state(&mut self, now: u64) -> Result<Vec<(Arc<str>, StateDump)>> {
        let image = self.image.clone();
        let mut out = Vec::new();
        for (number, object) in image.module.objects.iter().enumerate() {
            if matches!(object.kind, lambdac_mir::ObjectKind::Table { .. }) {
                continue;
            }
            let mut pieces = Vec::new();
            for (symbol, field) in self.code.source.pieces(number) {
                pieces.push((field, self.read(symbol)?));
            }
            // What no code reaches is not there, and as it was.
            let memory = layout::assembled(object, &pieces, self.code.order());
            match state::dump(object, &memory, now, self.code.order()) {
                Some(dump) => out.push((object.name.clone(), dump)),
                None => return Err(self.process.failed("holds state that makes no sense")),
            }
        }
        Ok(out)
    }
}

fn put32(to: &mut Vec<u8>, value: u32) {
    to.extend(value.to_le_bytes());
}
