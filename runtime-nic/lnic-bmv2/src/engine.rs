//! The switch's side of an image, for the worker's [`NicEngine`]: requests are run there by packet-outs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use lambdac_backend_p4::reason;
use lnic_engine::control::StateDump;
use lnic_host::{Answer, Engine, Io, LoadedImage, Nic, NicEngine, Outcome, Packet, Ran, Side, replied};
use lnic_wire::{Header, Status};

use crate::contents::{Contents, Resident};
use crate::frame;
use crate::front::Front;
use crate::session::Handed;

/// Longest time for what needs no service.
const ANSWER: Duration = Duration::from_secs(2);

/// An image on a switch.
pub(crate) struct OnSwitch {
    host: Arc<LoadedImage>,
    contents: Arc<Contents>,
    front: Arc<Front>,
}

impl OnSwitch {
    /// The worker's engine, with the same image on the host.
    pub(crate) fn engine(
        host: Arc<LoadedImage>,
        contents: Arc<Contents>,
        front: Arc<Front>,
    ) -> NicEngine<Self> {
        let side = |resident: &Resident| Side {
            native: resident.places.native(),
            stateful: resident.places.holds_state(),
            any_length: resident.places.takes_any_length(),
        };
        let sides = contents.workloads.iter().map(side).collect();
        let nic = Self {
            host: host.clone(),
            contents,
            front,
        };
        NicEngine::new(host, nic, sides)
    }

    fn ended(&self, workload: usize, handed: &Handed, reply: &mut [u8]) -> Ran {
        match reason::ALL.get(usize::from(handed.reason)).copied() {
            Some(reason::REPLIED) => {
                let datagram = handed.frame.get(frame::HEADERS..).unwrap_or_default();
                Ran::Ended(replied(datagram, reply))
            }
            Some(reason::DROPPED) => Ran::Ended(Outcome::Drop),
            Some(reason::PUNTED) => Ran::Ended(Outcome::Punt),
            Some(reason::PUNTED_TO) => {
                let lambdas = &self.host.workloads()[workload].lambdas;
                let named = self.contents.lambda(handed.lambda);
                let named = named.filter(|(owner, _)| *owner == workload);
                let found = named.and_then(|(_, name)| lambdas.iter().position(|other| other == name));
                found.map_or(Ran::Ended(Outcome::Refused(Status::Punted)), Ran::Handed)
            }
            _ => Ran::Passed,
        }
    }
}

/// How long a workload's answer may take.
fn within(resident: &Resident) -> Duration {
    let services = resident.module.services.iter();
    let longest = services.map(|service| service.timeout).max().unwrap_or(0);
    ANSWER + Duration::from_nanos(longest)
}

impl Nic for OnSwitch {
    /// The switch waits for services itself.
    type Waiting = Infallible;

    const NAME: &'static str = lambdac_driver::bmv2::NAME;

    const IS_FAR: bool = true;

    fn run(&self, workload: usize, packet: &Packet, request: &[u8], io: &mut Io<'_>) -> Ran {
        let resident = &self.contents.workloads[workload];
        let header = Header::request(resident.id, packet.request_id, 0, 1, request.len() as u16);
        let from = (packet.src_ip, packet.src_port);
        match self.front.inject(&header, from, request, within(resident)) {
            Ok(handed) => self.ended(workload, &handed, io.reply),
            Err(error) => {
                let workload = resident.name();
                tracing::debug!(workload, %error, "a request could not be run on the switch");
                let status = match self.front.session.is_up() {
                    true => Status::Timeout,
                    false => Status::Overloaded,
                };
                Ran::Ended(Outcome::Refused(status))
            }
        }
    }

    fn resume(waiting: Infallible, _: Answer<'_>, _: &mut Io<'_>) -> Outcome {
        match waiting {}
    }

    fn dump(&self, workload: usize, object: &str) -> Option<StateDump> {
        self.front.dump(&self.contents, workload, object)
    }

    fn mirror(&self, _: &LoadedImage, _: usize, _: &str) -> Result<(), String> {
        self.front.mirror().map_err(|error| error.to_string())
    }
}
