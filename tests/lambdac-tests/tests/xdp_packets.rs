//! A million mutated packets into the dispatcher of a real image, by the kernel's test-run call.
//!
//! What becomes of each is held against [`wire_model`], the counters against the sum of all verdicts, and the kernel's
//! log must not have grown by a warning. `LAMBDAC_PACKETS` sets how many, `LAMBDAC_SEED` where they begin.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;

use fastrand::Rng;
use lambdac_backend_ebpf::abi::{self, Config, Ended, Wire};
use lambdac_backend_ebpf::{Options, Workload as NicWorkload, compile};
use lambdac_driver::nic::Places;
use lambdac_driver::{Compiled, Input};
use lambdac_tests::random::{env, no_xdp};
use lambdac_tests::wire_model::{Kind, Verdict, Worker, Workload};
use lnic_wire::Header;
use lnic_xdp::frame::{self, Endpoint};
use lnic_xdp::{Action, Image, LoadOptions, Program};

const PACKETS: u64 = 1_000_000;

/// Name, source and model of each workload, by position in the image.
fn workloads() -> [(&'static str, &'static str, Kind); 4] {
    let mut page = vec![0; 600];
    page[..4].copy_from_slice(b"page");
    [
        (
            "echo",
            "lambda l(req: bytes<64>) -> bytes<64> { reply req; }",
            Kind::Echo(64),
        ),
        (
            "page",
            "lambda l() -> [u8; 600] { reply pad(b\"page\"); }",
            Kind::Page(page),
        ),
        (
            "chunks",
            "stream lambda l(chunk: [u8; 100]) -> [u8; 100] { reply chunk; }",
            Kind::Chunks(100),
        ),
        (
            "host",
            "@on(host) lambda l(req: bytes<64>) -> bytes<64> { reply req; }",
            Kind::Host,
        ),
    ]
}

const CALLER: Endpoint = Endpoint {
    mac: [2, 0, 0, 0, 0, 1],
    address: Ipv4Addr::new(198, 51, 100, 9),
    port: 4000,
};
const SERVED: Endpoint = Endpoint {
    mac: [2, 0, 0, 0, 0, 2],
    address: Ipv4Addr::new(198, 51, 100, 1),
    port: 4369,
};
const BROADCAST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 255);
const TRUSTED: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 0);

struct Nic {
    image: Image,
    worker: Worker,
    /// By counter key and slot.
    expected: BTreeMap<(u32, u32), u64>,
    runs: u64,
}

fn compiled(name: &str, source: &str) -> Compiled {
    let input = Input::new(format!("{name}.lnic"), format!("workload {name}; {source}"));
    lambdac_driver::compile(&input).unwrap_or_else(|error| panic!("{error}"))
}

impl Nic {
    fn new() -> Self {
        let known = workloads();
        let modules: Vec<Compiled> = known
            .iter()
            .map(|(name, source, _)| compiled(name, source))
            .collect();
        let mut model = Vec::new();
        let mut nic = Vec::new();
        for (position, (compiled, (name, _, kind))) in modules.iter().zip(&known).enumerate() {
            let id = lnic_wire::workload_id(position as u16 + 1, name).expect("an index above 0");
            model.push(Workload {
                id,
                kind: kind.clone(),
            });
            nic.push(NicWorkload {
                id,
                module: &compiled.module,
                native: Places::of(&compiled.checked, &compiled.module).native(),
            });
        }
        let object = compile(&nic, &Options::default()).expect("there is code for all of it");
        let elf = object.to_elf().expect("the object can be written");
        let config = Config {
            on: true,
            mac: SERVED.mac,
            address: SERVED.address,
            port: SERVED.port,
            broadcast: Some(BROADCAST),
        };
        let options = LoadOptions {
            sections: [(abi::CONFIG.to_owned(), config.encode().to_vec())].into(),
            ..LoadOptions::default()
        };
        let image = Image::load(&elf, &options).unwrap_or_else(|error| panic!("{error}"));
        let programs = image.map(abi::PROGRAMS).expect("every image has it");
        for (position, (name, ..)) in known.iter().enumerate() {
            let program = image.program(&abi::workload_program(name)).expect("each has one");
            programs.set_program(position as u32, program).expect("it fits");
        }
        let trusted = image.map(abi::TRUSTED).expect("every image has it");
        trusted
            .update(&abi::trusted_key(TRUSTED, 16), &1u32.to_ne_bytes())
            .expect("there is room");
        Self {
            image,
            worker: Worker {
                mac: SERVED.mac,
                address: SERVED.address,
                port: SERVED.port,
                broadcast: BROADCAST,
                trusted: vec![(TRUSTED, 16)],
                workloads: model,
            },
            expected: BTreeMap::new(),
            runs: 0,
        }
    }

    /// Injects a frame and compares.
    fn inject(&mut self, dispatch: &Program, sent: &[u8]) {
        let run = dispatch
            .run(sent, 1)
            .unwrap_or_else(|error| panic!("{error}: {sent:02x?}"));
        let verdict = self.worker.verdict(sent);
        let (key, slot) = counter(&verdict);
        *self.expected.entry((key, slot)).or_default() += 1;
        self.runs += 1;
        let holds = match &verdict {
            Verdict::Passed(_) | Verdict::WorkloadPassed(_) => {
                run.action == Action::Pass && run.packet == sent
            }
            Verdict::Dropped(_) => run.action == Action::Drop,
            Verdict::Answered(_, status, payload) => {
                run.action == Action::Tx
                    && frame::reply(sent, &run.packet)
                        .is_ok_and(|(header, bytes)| header.status as u8 == *status && bytes == payload)
            }
        };
        assert!(
            holds,
            "packet {}: {sent:02x?}\n  expected {verdict:?}\n  got {:?} {:02x?}",
            self.runs, run.action, run.packet
        );
    }

    /// What the image counted, over all processors.
    fn counted(&self) -> BTreeMap<(u32, u32), u64> {
        let counters = self.image.map(abi::COUNTERS).expect("every image has it");
        let mut all = BTreeMap::new();
        for key in 0..=self.worker.workloads.len() as u32 {
            let bytes = counters.lookup(&key.to_ne_bytes()).expect("it can be read");
            for (at, word) in bytes.expect("an array has all keys").chunks_exact(8).enumerate() {
                let count = u64::from_le_bytes(word.try_into().expect("8 bytes"));
                *all.entry((key, at as u32 % abi::COUNTER_SLOTS)).or_default() += count;
            }
        }
        all.retain(|_, count| *count > 0);
        all
    }
}

/// Key and slot of what counts a verdict.
fn counter(verdict: &Verdict) -> (u32, u32) {
    match verdict {
        Verdict::Passed(reason) | Verdict::Dropped(reason) => {
            let known = Wire::ALL.iter().find(|known| known.name() == *reason);
            (0, known.expect("the model's reasons are the dispatcher's").slot())
        }
        Verdict::WorkloadPassed(index) => (*index as u32 + 1, Ended::Passed.slot()),
        Verdict::Answered(index, status, _) => (*index as u32 + 1, u32::from(*status)),
    }
}

/// Well-formed requests, and some that are just not.
fn bases(worker: &Worker) -> Vec<Vec<u8>> {
    let mut bases = Vec::new();
    let trusted = Endpoint {
        address: Ipv4Addr::new(10, 1, 2, 3),
        ..CALLER
    };
    let mut add = |from, id, fragment, fragments, len: usize, datagram| {
        let header = Header::request(id, 0x0123_4567_89ab_cdef, fragment, fragments, len as u16);
        let payload: Vec<u8> = (0..len).map(|at| at as u8).collect();
        bases.push(frame::request(from, SERVED, &header, &payload, datagram));
    };
    for workload in &worker.workloads {
        for len in [0, 1, 40, 64, 65, 100, 1300, 1344] {
            add(CALLER, workload.id, 0, 1, len, 0);
        }
        add(trusted, workload.id, 0, 1, 3, 0);
        // Padded, so that a long reply is allowed.
        add(CALLER, workload.id, 0, 1, 3, 400);
        for (fragment, len) in [(0, 1300), (0, 1344), (1, 1300), (2, 100), (2, 64)] {
            add(CALLER, workload.id, fragment, 3, len, 0);
        }
    }
    add(CALLER, worker.workloads[0].id ^ 0x0001_0000, 0, 1, 3, 0);
    add(CALLER, 999, 0, 1, 3, 0);
    bases
}

/// Makes the IPv4 header's checksum right again.
fn mend_sum(frame: &mut [u8]) {
    if frame.len() < 34 {
        return;
    }
    frame[24..26].fill(0);
    let mut sum: u32 = frame[14..34]
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[24..26].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// Offsets of 16-bit fields that are lengths or counts: IPv4, UDP, λ fragment, fragments and length.
const LENGTHS: [usize; 5] = [16, 38, 58, 60, 62];

/// Changes a frame in one way.
fn mutate(frame: &mut Vec<u8>, dice: &mut Rng) {
    let len = frame.len();
    match dice.usize(..12) {
        0..=3 => {
            // Headers more often than payload.
            let anywhere = dice.usize(..4) == 0;
            let at = dice.usize(..if anywhere { len } else { len.min(66) });
            frame[at] ^= 1 << dice.usize(..8);
        }
        4 => {
            let at = dice.usize(..len.min(66));
            frame[at] = dice.u8(..);
        }
        5 => frame.truncate(14 + dice.usize(..len - 13)),
        6 => {
            let more = dice.usize(..200);
            frame.extend(std::iter::repeat_n(0xee, more));
        }
        7 | 8 => {
            let at = LENGTHS[dice.usize(..LENGTHS.len())];
            if at + 2 <= len {
                let old = u16::from_be_bytes([frame[at], frame[at + 1]]);
                let edges = [
                    0,
                    1,
                    old.wrapping_sub(1),
                    old.wrapping_add(1),
                    1344,
                    1345,
                    0xffff,
                    dice.u16(..),
                ];
                frame[at..at + 2].copy_from_slice(&edges[dice.usize(..edges.len())].to_be_bytes());
            }
        }
        9 => {
            let tag = [0x81, 0, 0, 7];
            frame.splice(12..12, tag);
        }
        10 if len >= 22 => {
            let bits = [0x2000u16, 0x4000, 0x8000, 0x00b9, 0x20b9][dice.usize(..5)];
            frame[20..22].copy_from_slice(&bits.to_be_bytes());
        }
        _ if len >= 30 => {
            let sources = [
                [0, 1, 2, 3],
                [127, 0, 0, 1],
                [224, 0, 0, 1],
                [240, 0, 0, 1],
                [255; 4],
                [10, 1, 9, 9],
            ];
            let own = [SERVED.address.octets(), BROADCAST.octets()];
            let source = sources
                .iter()
                .chain(&own)
                .nth(dice.usize(..8))
                .copied()
                .unwrap_or_default();
            frame[26..30].copy_from_slice(&source);
        }
        _ => {}
    }
}

/// The kernel's messages from now on; none, and why, where they can't be read.
fn kernel_log() -> std::io::Result<File> {
    let mut options = File::options();
    let mut log = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")?;
    log.seek(SeekFrom::End(0))?;
    Ok(log)
}

/// Warnings and worse since then that are about programs, or of unknown origin in the kernel itself.
fn warnings(log: &mut File) -> Vec<String> {
    const WARNING: u32 = 4;
    let mut found = Vec::new();
    let mut record = [0; 8192];
    while let Ok(len) = log.read(&mut record) {
        let text = String::from_utf8_lossy(&record[..len]);
        let Some((head, message)) = text.split_once(';') else {
            continue;
        };
        let priority = head.split(',').next().and_then(|n| n.parse::<u32>().ok());
        let about = [
            "bpf", "BPF", "xdp", "XDP", "WARNING", "BUG", "Oops", "lockup", "stall",
        ];
        if priority.is_some_and(|priority| priority % 8 <= WARNING)
            && about.iter().any(|w| message.contains(w))
        {
            found.push(message.trim_end().to_owned());
        }
    }
    found
}

#[test]
fn mutated_packets_end_as_the_wires_rules_say() {
    if no_xdp() {
        return;
    }
    let mut log = kernel_log();
    let mut nic = Nic::new();
    let dispatch = nic
        .image
        .program(abi::DISPATCH)
        .expect("every image has it")
        .clone();
    let bases = bases(&nic.worker);
    for base in &bases {
        nic.inject(&dispatch, base);
        for at in 0..base.len().min(80) {
            for bit in 0..8 {
                let mut frame = base.clone();
                frame[at] ^= 1 << bit;
                nic.inject(&dispatch, &frame);
            }
        }
        for len in 14..base.len().min(120) {
            nic.inject(&dispatch, &base[..len]);
        }
    }
    let packets = env("LAMBDAC_PACKETS", PACKETS);
    let mut dice = Rng::with_seed(env("LAMBDAC_SEED", 1));
    while nic.runs < packets {
        let mut frame = bases[dice.usize(..bases.len())].clone();
        for _ in 0..=dice.usize(..3) {
            mutate(&mut frame, &mut dice);
        }
        if dice.usize(..2) == 0 {
            mend_sum(&mut frame);
        }
        for _ in 0..=dice.usize(..2) {
            nic.inject(&dispatch, &frame);
        }
    }
    let counted = nic.counted();
    assert_eq!(counted, nic.expected);
    assert_eq!(counted.values().sum::<u64>(), nic.runs);
    let reasons = Wire::ALL
        .iter()
        .filter(|reason| counted.contains_key(&(0, reason.slot())));
    println!(
        "{} packets, {} reasons to pass or drop them",
        nic.runs,
        reasons.count()
    );
    match &mut log {
        Ok(log) => assert_eq!(warnings(log), Vec::<String>::new()),
        Err(error) => eprintln!("skipped: the kernel's log can't be read: {error}"),
    }
}
