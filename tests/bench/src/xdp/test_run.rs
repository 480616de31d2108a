//! Nanoseconds a packet, by the kernel's test-run call.
//!
//! The kernel doesn't restore the packet between repeats, so each program runs behind a wrapper that does
//! (`c/xdp/restore.bpf.c`), ours and the reflector alike, and the last repeat must still have sent a packet back.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use lambdac_backend_ebpf::abi::{CONFIG, Config, DISPATCH, PROGRAMS, TRUSTED, trusted_key, workload_program};
use lnic_wire::Header;
use lnic_xdp::frame::{self, Endpoint};
use lnic_xdp::{Action, Image, LoadOptions, Program};

use super::{BENCH, build, clang, lambda_nic, web};
use crate::report::{Report, Row, Target};
use crate::{RUNS, Setup, udp};

/// Runs of a program of which the kernel gives the mean.
const REPEAT: u32 = 200_000;
const CLIENT: Endpoint = Endpoint {
    mac: [2, 0, 0, 0, 0, 1],
    address: std::net::Ipv4Addr::new(10, 77, 0, 1),
    port: 40_000,
};
const WORKER: Endpoint = Endpoint {
    mac: [2, 0, 0, 0, 0, 2],
    address: std::net::Ipv4Addr::new(10, 77, 0, 2),
    port: 4369,
};

/// The wrapper, which holds the packet and the program that is measured.
struct Wrapper {
    image: Image,
}

impl Wrapper {
    fn load(setup: &Setup) -> Result<Self> {
        let object = std::fs::read(clang(setup, "restore")?)?;
        let image = Image::load(&object, &LoadOptions::default())?;
        Ok(Self { image })
    }

    /// Mean nanoseconds of a program on a packet.
    fn measure(&self, program: &Program, packet: &[u8]) -> Result<f64> {
        const SECTION: &str = ".data.packet";
        let mut section = vec![0; self.image.section(SECTION)?.len()];
        section[..4].copy_from_slice(&(packet.len() as u32).to_ne_bytes());
        section
            .get_mut(4..4 + packet.len())
            .context("the packet is longer than the wrapper takes")?
            .copy_from_slice(packet);
        self.image.set_section(SECTION, &section)?;
        self.image.map("measured")?.set_program(0, program)?;
        let run = self.image.program("restore")?.run(packet, REPEAT)?;
        ensure!(
            run.action == Action::Tx,
            "{} ended with {:?} instead of sending a packet back",
            program.name(),
            run.action
        );
        Ok(run.duration.as_nanos() as f64)
    }
}

/// What is measured.
struct Case {
    workload: &'static str,
    source: PathBuf,
    request: &'static [u8],
    /// What the row says beside the name.
    note: &'static str,
}

/// Our programs against the reflector.
pub fn run(setup: &Setup, report: &mut Report) -> Result<()> {
    let wrapper = Wrapper::load(setup)?;
    let reflector = std::fs::read(clang(setup, "reflect")?)?;
    let reflector = Image::load(&reflector, &LoadOptions::default())?;
    let reflector = reflector.program("reflect")?;
    for case in cases(setup)? {
        let name = case.workload;
        let (object, manifest) = build(setup, std::slice::from_ref(&case.source), name)?;
        let workload = &manifest["workloads"][0];
        if let Some(reason) = on_host(workload) {
            report.add(Row::skipped(BENCH, name, &format!("host: {reason}")));
            continue;
        }
        let id = workload["id"].as_u64().context("no id in the manifest")? as u32;
        let image = load(&object, name)?;
        let header = Header::request(id, 0x1122_3344_5566_7788, 0, 1, case.request.len() as u16);
        let packet = frame::request(CLIENT, WORKER, &header, case.request, 0);
        let dispatch = image.program(DISPATCH)?;
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            let ours = wrapper.measure(dispatch, &packet)?;
            runs.push((ours, wrapper.measure(reflector, &packet)?));
        }
        let row = Row::versus(BENCH, &format!("{name} in the driver{}", case.note), "ns", &runs);
        report.add(match name {
            "web" => row.with_target(Target::AtMost(2.0)),
            _ => row,
        });
        let programs = || image.programs().values();
        let instructions: usize = programs().map(|program| program.instructions()).sum();
        let machine_code: u32 = programs()
            .map(|program| program.jited_bytes())
            .sum::<Result<_, _>>()?;
        let name = format!("{name} with its dispatcher");
        report.add(Row::value(BENCH, &name, "instructions", &[instructions as f64]));
        report.add(Row::value(
            BENCH,
            &name,
            "bytes of machine code",
            &[machine_code.into()],
        ));
    }
    Ok(())
}

/// The λ-NIC lambdas. There is no interface here, so no route to a service: those that ask one get as far as that.
fn cases(setup: &Setup) -> Result<[Case; 4]> {
    let examples = lambda_nic(setup)?;
    let remote = |workload: &str| -> Result<PathBuf> {
        let text = std::fs::read_to_string(examples.join(format!("{workload}.lnic")))?;
        let copy = setup.scratch.path().join(format!("{workload}.lnic"));
        std::fs::write(&copy, text.replace("127.0.0.1:11211", "10.77.0.9:11211"))?;
        Ok(copy)
    };
    let case = |workload, source, request, note| Case {
        workload,
        source,
        request,
        note,
    };
    let no_route = ", no route to the service";
    Ok([
        case("web", web(setup), udp::REQUEST, ""),
        case(
            "grayscale_stream",
            examples.join("grayscale_stream.lnic"),
            &[77; 1024],
            "",
        ),
        case("kv_get", remote("kv_get")?, b"hey", no_route),
        case("kv_set", remote("kv_set")?, b"hey=dude", no_route),
    ])
}

/// Loads an object as the agent would, for packets to [`WORKER`].
fn load(object: &[u8], workload: &str) -> Result<Image> {
    let config = Config {
        on: true,
        mac: WORKER.mac,
        address: WORKER.address,
        port: WORKER.port,
        broadcast: None,
    };
    let mut options = LoadOptions::default();
    let sections = &mut options.sections;
    sections.insert(CONFIG.to_owned(), config.encode().to_vec());
    let image = Image::load(object, &options)?;
    let program = image.program(&workload_program(workload))?;
    image.map(PROGRAMS)?.set_program(0, program)?;
    // Private addresses may be answered at any length, as the agent sets it.
    let key = trusted_key(std::net::Ipv4Addr::new(10, 0, 0, 0), 8);
    image.map(TRUSTED)?.update(&key, &1u32.to_ne_bytes())?;
    Ok(image)
}

/// Why a lambda of a workload is the host's.
fn on_host(workload: &serde_json::Value) -> Option<String> {
    let lambdas = workload["lambdas"].as_array()?;
    lambdas.iter().find_map(|lambda| {
        let placement = &lambda["placement"]["xdp"];
        (placement["side"] != "native").then(|| placement["reason"].as_str().unwrap_or("?").to_owned())
    })
}
