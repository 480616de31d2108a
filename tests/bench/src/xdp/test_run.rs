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

use super::{BENCH, build, clang};
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

/// Our programs against the reflector.
pub fn run(setup: &Setup, report: &mut Report) -> Result<()> {
    let wrapper = Wrapper::load(setup)?;
    let reflector = std::fs::read(clang(setup, "reflect")?)?;
    let reflector = Image::load(&reflector, &LoadOptions::default())?;
    let reflector = reflector.program("reflect")?;
    let examples = setup
        .folder
        .ancestors()
        .nth(2)
        .context("no root")?
        .join("examples/lambda-nic");
    for (name, source, request) in workloads(setup, &examples) {
        let (object, manifest) = build(setup, &[source], name)?;
        let workload = &manifest["workloads"][0];
        if let Some(reason) = on_host(workload) {
            report.add(Row::skipped(BENCH, name, &format!("host: {reason}")));
            continue;
        }
        let id = workload["id"].as_u64().context("no id in the manifest")? as u32;
        let mut options = LoadOptions::default();
        let config = Config {
            on: true,
            mac: WORKER.mac,
            address: WORKER.address,
            port: WORKER.port,
            broadcast: None,
        };
        options
            .sections
            .insert(CONFIG.to_owned(), config.encode().to_vec());
        let image = Image::load(&object, &options)?;
        let workload = image.program(&workload_program(name_of(workload)?))?;
        image.map(PROGRAMS)?.set_program(0, workload)?;
        // Private addresses may be answered at any length, as the agent sets it.
        let key = trusted_key(std::net::Ipv4Addr::new(10, 0, 0, 0), 8);
        image.map(TRUSTED)?.update(&key, &1u32.to_ne_bytes())?;
        let header = Header::request(id, 0x1122_3344_5566_7788, 0, 1, request.len() as u16);
        let packet = frame::request(CLIENT, WORKER, &header, &request, 0);
        let dispatch = image.program(DISPATCH)?;
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            runs.push((
                wrapper.measure(dispatch, &packet)?,
                wrapper.measure(reflector, &packet)?,
            ));
        }
        let row = Row::versus(BENCH, &format!("{name} in the driver"), "ns", &runs);
        report.add(if name == "web" {
            row.with_target(Target::AtMost(2.0))
        } else {
            row
        });
        let instructions: usize = image
            .programs()
            .values()
            .map(|program| program.instructions())
            .sum();
        report.add(Row::value(
            BENCH,
            &format!("{name} with its dispatcher"),
            "instructions",
            &[instructions as f64],
        ));
    }
    Ok(())
}

/// Name, source and request of each workload.
fn workloads(setup: &Setup, examples: &std::path::Path) -> [(&'static str, PathBuf, Vec<u8>); 4] {
    [
        (
            "web",
            setup.folder.join("lambdas/web.lnic"),
            udp::REQUEST.to_vec(),
        ),
        (
            "grayscale_stream",
            examples.join("grayscale_stream.lnic"),
            vec![77; 1024],
        ),
        ("kv_get", examples.join("kv_get.lnic"), b"hey".to_vec()),
        ("kv_set", examples.join("kv_set.lnic"), b"\x03heydude".to_vec()),
    ]
}

fn name_of(workload: &serde_json::Value) -> Result<&str> {
    workload["name"].as_str().context("no name in the manifest")
}

/// Why a lambda of a workload is the host's.
fn on_host(workload: &serde_json::Value) -> Option<String> {
    let lambdas = workload["lambdas"].as_array()?;
    lambdas.iter().find_map(|lambda| {
        let placement = &lambda["placement"]["xdp"];
        (placement["side"] != "native").then(|| placement["reason"].as_str().unwrap_or("?").to_owned())
    })
}
