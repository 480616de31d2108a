//! Running an image: its stage, then the lambda on the MIR interpreter.
//!
//! This is what translation validation compares: the image as linked and after each pass must answer alike, and as the
//! workloads do alone. Each workload has its own stream of `random`, as it would have alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use lambdac_mir::interp::{Callee, Env, MirInterp, Outcome, Services, StageView, StandFor, StateDump};
use lambdac_mir::{Data, PktField, ValidateError};

use crate::image::{Bound, Call, Image, Key, Leaf, Node, NodeId, Stage, Way};

/// What a request finds around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Facts about the packet, in the order of [`PktField::ALL`].
    pub pkt: [u64; 5],
    /// The clock, nanoseconds.
    pub now: u64,
    /// What every `random` gives; none: the next number of the workload's stream.
    pub random: Option<u32>,
}

/// How a request to an image ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As in a workload.
    Of(Outcome),
    /// Nobody has this id.
    NoWorkload,
}

/// An image and its state.
#[derive(Clone, Debug)]
pub struct ImageInterp {
    image: Arc<Image>,
    interp: MirInterp,
    /// Where each workload's stream of `random` stands.
    dice: Vec<u64>,
    params: Vec<Data>,
}

impl ImageInterp {
    /// An image with fresh state, its parameters at their defaults, all streams of `random` at one seed.
    ///
    /// # Errors
    /// What its module breaks.
    pub fn new(image: Arc<Image>, seed: u64) -> Result<Self, Vec<ValidateError>> {
        let interp = MirInterp::new(Arc::new(image.module.clone()))?;
        Ok(Self {
            params: interp.default_params(),
            dice: vec![seed; image.workloads.len()],
            image,
            interp,
        })
    }

    /// Ends calls that take more steps with [`Outcome::OutOfSteps`].
    pub fn limit_steps(&mut self, max: u64) {
        self.interp.limit_steps(max);
    }

    /// Sets a parameter, by the workload's name, a dot and its own.
    ///
    /// # Errors
    /// If there is none of this name, or the value does not fit it. (A parameter that nothing reads may be gone.)
    pub fn set_param(&mut self, name: &str, value: Data) -> Result<(), String> {
        let found = self
            .image
            .module
            .params
            .iter()
            .position(|param| &*param.name == name);
        let at = found.ok_or_else(|| format!("no parameter {name:?}"))?;
        if !value.fits(&self.image.module.params[at].shape) {
            return Err(format!("the value does not fit {name:?}"));
        }
        self.params[at] = value;
        Ok(())
    }

    /// Runs a request for a workload id to its end.
    pub fn call(&mut self, id: u32, request: &[u8], packet: &Packet, services: Services<'_>) -> Ending {
        let image = Arc::clone(&self.image);
        // Messages are cut before they get here, by who knows the workload.
        let chunk = image
            .workloads
            .iter()
            .find(|workload| workload.id == id)
            .and_then(|workload| workload.chunk);
        let Some(chunk) = chunk else {
            return self.one(id, request, packet, services);
        };
        if request.is_empty() {
            return Ending::Of(if chunk.min == 0 {
                Outcome::Reply(Vec::new())
            } else {
                Outcome::BadRequest
            });
        }
        let mut reply = Vec::new();
        for part in request.chunks(chunk.max as usize) {
            match self.one(id, part, packet, services) {
                Ending::Of(Outcome::Reply(bytes)) => reply.extend(bytes),
                error => return error,
            }
        }
        Ending::Of(Outcome::Reply(reply))
    }

    /// Runs a lambda past the stage, by its entry.
    pub fn enter(&mut self, entry: usize, request: &[u8], packet: &Packet, services: Services<'_>) -> Ending {
        let image = Arc::clone(&self.image);
        self.run(&image, entry, request, packet, services)
    }

    /// One packet's worth.
    fn one(&mut self, id: u32, request: &[u8], packet: &Packet, services: Services<'_>) -> Ending {
        let image = Arc::clone(&self.image);
        let mut leaf = self.leaf(&image.stage, id, request, packet);
        if let (Ok(Leaf::HandUp), Some(host)) = (&leaf, &image.host) {
            leaf = self.leaf(host, id, request, packet);
            if let Ok(Leaf::Run(entry)) = &leaf
                && image.entries[*entry].on_host.is_none()
            {
                let name = image.entry_name(*entry);
                return invalid(format!(
                    "a request for `{name}` is handed up, and the NIC runs it"
                ));
            }
        }
        match leaf {
            Ok(Leaf::HandUp) => invalid("a request is handed up and nobody is there".to_owned()),
            Ok(Leaf::Run(entry))
                if image.plumbing.calls[entry] == Call::None && image.entries[entry].on_host.is_none() =>
            {
                invalid(format!(
                    "the stage leads to `{}`, which is not called",
                    image.entry_name(entry)
                ))
            }
            Ok(Leaf::Run(entry)) => self.run(&image, entry, request, packet, services),
            Ok(Leaf::Drop) => Ending::Of(Outcome::Drop),
            Ok(Leaf::Punt(_)) => Ending::Of(Outcome::Punt),
            Ok(Leaf::BadRequest) => Ending::Of(Outcome::BadRequest),
            Ok(Leaf::NoWorkload) => Ending::NoWorkload,
            Err(outcome) => Ending::Of(outcome),
        }
    }

    /// Where a stage leads a packet.
    fn leaf(&mut self, stage: &Stage, id: u32, request: &[u8], packet: &Packet) -> Result<Leaf, Outcome> {
        let len = request.len();
        match ahead(stage, stage.root, id, len) {
            Ok(leaf) => Ok(leaf),
            Err(at) => {
                let env = self.env(packet);
                self.interp
                    .stage(request, &env, |view| decide(stage, at, id, len, view))
            }
        }
    }

    fn run(
        &mut self,
        image: &Image,
        entry: usize,
        request: &[u8],
        packet: &Packet,
        services: Services<'_>,
    ) -> Ending {
        let this = &image.entries[entry];
        let mut env = self.env(packet);
        for binding in &this.bindings {
            env.params[binding.param.index()] = match &binding.value {
                Bound::Data(data) => data.clone(),
                Bound::Param(param) => self.params[param.index()].clone(),
            };
        }
        if let Some(why) = stuck(image, entry) {
            return invalid(why);
        }
        self.interp.stand_for(StandFor {
            objects: this.instances.iter().map(|one| (one.named, one.own)).collect(),
            services: this.services.iter().map(|one| (one.named, one.own)).collect(),
        });
        self.interp.seed(self.dice[this.workload]);
        let outcome = self
            .interp
            .call(Callee::Lambda(this.lambda), request, &env, services);
        self.dice[this.workload] = self.interp.dice();
        Ending::Of(outcome)
    }

    fn env(&self, packet: &Packet) -> Env {
        debug_assert_eq!(packet.pkt.len(), PktField::ALL.len());
        Env {
            pkt: packet.pkt,
            now: packet.now,
            random: packet.random,
            params: self.params.clone(),
        }
    }

    /// All state, by name (the workload's, a dot, the object's).
    pub fn state(&self, now: u64) -> Vec<(Arc<str>, StateDump)> {
        self.interp.state(now)
    }
}

/// What an entry that the NIC calls sends must have a way out and, for a reply, headers.
fn stuck(image: &Image, entry: usize) -> Option<String> {
    let this = &image.entries[entry];
    let plumbing = &image.plumbing;
    if plumbing.calls[entry] == Call::None {
        return None;
    }
    let route = &plumbing.routes[plumbing.route_of[entry]];
    let ways: BTreeSet<&Way> = route.entries.iter().chain(&route.default).collect();
    if !ways.contains(&Way::Reply) || plumbing.reply_of[entry] >= plumbing.replies.len() {
        return Some(format!("`{}` cannot reply", image.entry_name(entry)));
    }
    let asked = crate::link::services_of(&image.module.lambdas[this.lambda.index()]);
    let reached = |service| ways.contains(&Way::Service(service));
    (!asked
        .into_iter()
        .map(|service| this.service(service))
        .all(reached))
    .then(|| format!("`{}` cannot reach its service", image.entry_name(entry)))
}

fn invalid(why: String) -> Ending {
    Ending::Of(Outcome::Invalid(why))
}

/// A step of the stage: the end, the next node, or a node that has to look at the packet.
enum Step {
    End(Leaf),
    Go(NodeId),
    Look,
}

/// What a node does by the id and the length alone.
fn step(stage: &Stage, at: NodeId, id: u32, len: usize) -> Step {
    let branch = |holds: bool, then: &NodeId, other: &NodeId| Step::Go(if holds { *then } else { *other });
    match &stage.nodes[at.index()] {
        Node::Leaf(leaf) => Step::End(*leaf),
        Node::Workload {
            id: wanted,
            then,
            other,
        } => branch(id == *wanted, then, other),
        Node::Length { min, then, other } => branch(len as u64 >= u64::from(*min), then, other),
        Node::Table {
            key: Key::Workload,
            entries,
            miss,
        } => Step::Go(found(entries, id.into()).unwrap_or(*miss)),
        Node::Test { .. } | Node::Table { .. } => Step::Look,
    }
}

fn found(entries: &[(u64, NodeId)], key: u64) -> Option<NodeId> {
    entries
        .iter()
        .find(|(wanted, _)| *wanted == key)
        .map(|(_, to)| *to)
}

/// Walks the stage as far as the id and the length lead. Successors have lower numbers, so this ends.
fn ahead(stage: &Stage, mut at: NodeId, id: u32, len: usize) -> Result<Leaf, NodeId> {
    loop {
        at = match step(stage, at, id, len) {
            Step::End(leaf) => return Ok(leaf),
            Step::Go(to) => to,
            Step::Look => return Err(at),
        };
    }
}

/// Walks the stage to its end.
fn decide(
    stage: &Stage,
    mut at: NodeId,
    id: u32,
    len: usize,
    view: &mut StageView<'_>,
) -> Result<Leaf, Outcome> {
    loop {
        at = match ahead(stage, at, id, len) {
            Ok(leaf) => return Ok(leaf),
            Err(at) => match &stage.nodes[at.index()] {
                Node::Test { cond, then, .. } if view.rule(*cond)? => *then,
                Node::Test { other, .. } => *other,
                Node::Table { key, entries, miss } => {
                    let value = match key {
                        Key::Workload => id.into(),
                        Key::Field(field) => view.field(*field)?,
                        Key::Both(field) => Key::both(id, view.field(*field)?),
                    };
                    found(entries, value).unwrap_or(*miss)
                }
                _ => return Err(Outcome::Invalid("the stage has lost its way".to_owned())),
            },
        };
    }
}
