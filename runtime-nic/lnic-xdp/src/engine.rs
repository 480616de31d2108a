//! The kernel's side of an image, for the worker's [`NicEngine`]: requests are run there by the kernel's test-run call.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use lambdac_backend_ebpf::packet;
use lambdac_driver::testing::ServiceAnswer;
use lnic_engine::control::StateDump;
use lnic_ether::frame::{self, Endpoint};
use lnic_host::{
    Answer, Engine, Io, LoadedImage, Nic, NicEngine, Outcome, Packet, Ran, ServiceOp, Side, replied,
};
use lnic_wire::{Header, MAX_FRAGMENT, Status};

use crate::contents::Resident;
use crate::error::Result;
use crate::events::{Events, Mark, now_ns};
use crate::generation::Generation;
use crate::program::{Action, TestRun};
use crate::state;
use crate::wait::{self, Asked};

/// First byte of the mark of a test run: a unicast address of local administration (IEEE 802).
const MARK: u8 = 0x06;
/// The Ethernet source of test runs; nothing is sent there.
const NOBODY: Mark = [MARK, 0, 0, 0, 0, 0];
/// Datagrams of test runs are padded to this, so that no reply is three times as long: the caller is the worker itself,
/// which applies the rule where it sends.
const DATAGRAM: usize = (lnic_wire::HEADER_LEN + MAX_FRAGMENT).div_ceil(3);

/// An image in the kernel.
pub(crate) struct InKernel {
    host: Arc<LoadedImage>,
    nic: Arc<Generation>,
    events: Arc<Events>,
    marks: Arc<AtomicU64>,
}

impl InKernel {
    /// The worker's engine, with the same image on the host.
    pub(crate) fn engine(
        host: Arc<LoadedImage>,
        nic: Arc<Generation>,
        events: Arc<Events>,
        marks: Arc<AtomicU64>,
    ) -> NicEngine<Self> {
        let side = |resident: &Resident| Side {
            native: resident.places.native(),
            stateful: resident.places.holds_state(),
            any_length: resident.places.takes_any_length(),
        };
        let sides = nic.workloads().iter().map(side).collect();
        let nic = Self {
            host: host.clone(),
            nic,
            events,
            marks,
        };
        NicEngine::new(host, nic, sides)
    }

    /// Index of a workload's first service among all; they stand in the order of its declarations.
    fn first_service(&self, workload: &str) -> usize {
        let mut services = self.host.services().iter();
        let own = |name: &str| {
            name.strip_prefix(workload)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        services.position(|service| own(&service.name)).unwrap_or(0)
    }
}

impl Nic for InKernel {
    /// Services are asked by the worker for lambdas that run here.
    type Waiting = Waiting;

    const NAME: &'static str = "xdp";

    const IS_FAR: bool = false;

    fn run(&self, workload: usize, packet: &Packet, request: &[u8], io: &mut Io<'_>) -> Ran {
        let Some(program) = self.nic.program(workload) else {
            return Ran::Passed;
        };
        let info = &self.host.workloads()[workload];
        let count = self.marks.fetch_add(1, Relaxed).to_be_bytes();
        let mark = [MARK, count[3], count[4], count[5], count[6], count[7]];
        let header = Header::request(info.id, packet.request_id, 0, 1, request.len() as u16);
        let from = Endpoint {
            mac: NOBODY,
            address: Ipv4Addr::from_bits(packet.src_ip),
            port: packet.src_port,
        };
        let to = Endpoint {
            mac: mark,
            address: Ipv4Addr::UNSPECIFIED,
            port: packet.dst_port,
        };
        let sent = frame::request(from, to, &header, request, DATAGRAM);
        let asker = Asker {
            nic: self.nic.clone(),
            events: self.events.clone(),
            workload,
            first_service: self.first_service(&info.name),
            mark,
        };
        asker.ended(program.run(&sent, 1), io)
    }

    fn resume(waiting: Waiting, answer: Answer<'_>, io: &mut Io<'_>) -> Outcome {
        waiting.resume(answer, io)
    }

    fn dump(&self, workload: usize, object: &str) -> Option<StateDump> {
        if !self.nic.holds(workload, object) {
            return None;
        }
        let resident = self.nic.workloads().get(workload)?;
        let found = resident
            .module
            .objects
            .iter()
            .find(|item| *item.name == *object)?;
        match state::dump(self.nic.image(), resident.name(), found, now_ns()) {
            Ok(dump) => dump,
            Err(error) => {
                tracing::error!(%error, "state of the NIC could not be read");
                None
            }
        }
    }

    fn mirror(&self, _: &LoadedImage, workload: usize, table: &str) -> std::result::Result<(), String> {
        let done = self.nic.set_table(workload, table);
        done.map_err(|error| error.to_string())
    }
}

/// Who asked for a test run.
#[derive(Clone)]
struct Asker {
    nic: Arc<Generation>,
    events: Arc<Events>,
    workload: usize,
    first_service: usize,
    mark: Mark,
}

/// A lambda of a test run that waits: the host's client asks the service for it.
pub(crate) struct Waiting {
    asker: Asker,
    asked: Asked,
}

impl Asker {
    /// What came of a run.
    fn ended(self, run: Result<TestRun>, io: &mut Io<'_>) -> Ran {
        let name = self.nic.workloads()[self.workload].name().to_owned();
        let run = match run {
            Ok(run) => run,
            Err(error) => {
                tracing::error!(%error, workload = %name, "a request could not be run on the NIC");
                return Ran::Ended(Outcome::Refused(Status::Overloaded));
            }
        };
        match run.action {
            Action::Pass => Ran::Passed,
            Action::Tx if self.nic.asks(&run.packet) => Ran::Ended(self.wait(&run.packet, io)),
            Action::Tx => {
                let datagram = run.packet.get(packet::LAMBDA as usize..).unwrap_or_default();
                Ran::Ended(replied(datagram, io.reply))
            }
            Action::Drop => match self.events.punt_of(self.mark) {
                None => Ran::Ended(Outcome::Drop),
                Some(None) => Ran::Ended(Outcome::Punt),
                Some(Some(lambda)) => Ran::Handed(lambda as usize),
            },
            other => {
                tracing::error!(workload = %name, action = ?other, "a NIC program ended as none does");
                Ran::Ended(Outcome::Refused(Status::Trap))
            }
        }
    }

    /// Has the host's client ask what a frame asks.
    fn wait(self, frame: &[u8], io: &mut Io<'_>) -> Outcome {
        let asked = match Asked::read(frame) {
            Ok(asked) => asked,
            Err(error) => {
                tracing::error!("a NIC program made a malformed request: {error}");
                return Outcome::Refused(Status::Trap);
            }
        };
        let services = &self.nic.workloads()[self.workload].services;
        let to = Some(asked.service());
        let own = services.iter().position(|service| service.address == to);
        io.call.service = self.first_service + own.unwrap_or(0);
        io.call.op = match asked.command.op {
            lambdac_mir::ServiceOp::Get => ServiceOp::Get,
            lambdac_mir::ServiceOp::Set => ServiceOp::Set,
            lambdac_mir::ServiceOp::Delete => ServiceOp::Delete,
        };
        io.call.key.clone_from(&asked.command.key);
        io.call.value.clone_from(&asked.command.value);
        Outcome::Await(Box::new(Waiting { asker: self, asked }))
    }
}

impl Waiting {
    /// Goes on with the answer, as if it had come to the NIC.
    fn resume(self, answer: Answer<'_>, io: &mut Io<'_>) -> Outcome {
        let answer = match answer {
            Answer::Value(value) => ServiceAnswer::Value(value.to_vec()),
            Answer::Done => ServiceAnswer::Done,
            Answer::Missing => ServiceAnswer::Missing,
            Answer::Failed => ServiceAnswer::Failed,
        };
        let image = self.asker.nic.image();
        let run = match self.asked.command.answer(&answer) {
            Some(text) => wait::run_answer(image, &self.asked.answer(&text)),
            None => wait::run_expire(image, self.asked.id),
        };
        match self.asker.ended(run, io) {
            Ran::Ended(outcome) => outcome,
            Ran::Handed(_) | Ran::Passed => {
                tracing::error!("a lambda that waited ended as none does");
                Outcome::Refused(Status::Trap)
            }
        }
    }
}
