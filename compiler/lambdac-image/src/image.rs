//! What an image is.
//!
//! All workloads' items stand in one [`Module`], so that the validator, the interpreter, the passes and the cost model
//! of single workloads work on images. What picks a lambda is the [`Stage`]: a graph without cycles of tests and tables
//! that starts at the workload id of a request and ends at an [`Entry`] or a verdict. Conditions stand in the module's
//! own match as a pool (see [`Image::pool`]); the stage names them by their place there. [`Plumbing`] is what a packet
//! needs around its lambda: headers, the call, the reply's headers, the way out.

use std::sync::Arc;

use lambdac_cost::LineProfile;
use lambdac_mir::{
    Cond, Data, Dispatch, Field, LambdaId, Loc, Match, MessageSize, Module, ObjectId, ParamId, Rule,
    ServiceId, Target,
};

/// Workloads that share a core.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Their items, names prefixed with the workload's and a dot; its match is the pool of conditions.
    pub module: Module,
    /// The workloads in order.
    pub workloads: Vec<Workload>,
    /// The ways into lambdas: one for each lambda of each workload, in order.
    pub entries: Vec<Entry>,
    /// What picks an entry.
    pub stage: Stage,
    /// What the host decides by, where the stage hands requests up ([`Leaf::HandUp`]): all workloads' rules. Its code is
    /// the host's and takes nothing here.
    pub host: Option<Stage>,
    /// What stands around the lambdas.
    pub plumbing: Plumbing,
    /// Where objects and constants lie, once a pass has decided it.
    pub placed: Option<lambdac_cost::Placement>,
    /// What branches and loops of code that was made of several are weighed by ([`lambdac_cost::Weights`]), where a profile
    /// knows those.
    pub merged: Arc<[LineProfile]>,
    /// The lines that each of these was added up from.
    pub merged_from: Arc<[Arc<[Line]>]>,
}

/// A file, by its number, and a line of it.
pub type Line = (u16, u32);

/// A workload of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The number in requests.
    pub id: u32,
    /// Its name.
    pub name: Arc<str>,
    /// Where it stands in its own source's group: how many entries before it.
    pub first_entry: usize,
    /// How many lambdas it was written with.
    pub entries: usize,
    /// How a message is cut, if it is a stream: the size of a chunk.
    pub chunk: Option<MessageSize>,
    /// The files that its code is from, by number.
    pub files: Vec<u16>,
}

/// A lambda of a workload, and the code that runs it: workloads may share code.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The workload.
    pub workload: usize,
    /// The lambda's name, without the workload's.
    pub name: Arc<str>,
    /// The code.
    pub lambda: LambdaId,
    /// What the code's own parameters are set to when it is entered here.
    pub bindings: Vec<Binding>,
    /// What objects that the code names stand for here, by what is named.
    pub instances: Vec<Instance>,
    /// What services that the code names stand for here, by what is named.
    pub services: Vec<Instance<ServiceId>>,
    /// Why the host runs it, if it does.
    pub on_host: Option<Arc<str>>,
    /// Whether its author wants it on the NIC: it does not leave for want of room.
    pub asked: bool,
}

/// A parameter of shared code, and its value for one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The parameter.
    pub param: ParamId,
    /// Its value.
    pub value: Bound,
}

/// A value of a [`Binding`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Known when the image is linked.
    Data(Data),
    /// What a parameter of the workload is set to.
    Param(ParamId),
}

/// An object or service that shared code names, and the one of the entry's own workload that it reaches there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance<I = ObjectId> {
    /// What the code names.
    pub named: I,
    /// What it reaches.
    pub own: I,
}

impl Entry {
    /// Whether its code is entered as it is.
    pub fn is_plain(&self) -> bool {
        self.bindings.is_empty() && self.instances.is_empty() && self.services.is_empty()
    }

    /// The object that one which its code names stands for.
    pub fn object(&self, named: ObjectId) -> ObjectId {
        own(&self.instances, named)
    }

    /// The service that one which its code names stands for.
    pub fn service(&self, named: ServiceId) -> ServiceId {
        own(&self.services, named)
    }
}

fn own<I: Copy + PartialEq>(instances: &[Instance<I>], named: I) -> I {
    let found = instances.iter().find(|instance| instance.named == named);
    found.map_or(named, |instance| instance.own)
}

/// Index into [`Stage::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a request meets on its way to a lambda: a graph without cycles.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stage {
    /// The nodes; successors have lower numbers.
    pub nodes: Vec<Node>,
    /// Where a request starts.
    pub root: NodeId,
}

/// A step of the way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// The end.
    Leaf(Leaf),
    /// Whether the request is for this workload.
    Workload {
        /// The id.
        id: u32,
        /// If so.
        then: NodeId,
        /// If not.
        other: NodeId,
    },
    /// Whether the request has at least so many bytes.
    Length {
        /// So many.
        min: u32,
        /// If so.
        then: NodeId,
        /// If not.
        other: NodeId,
    },
    /// Whether a condition of the pool holds.
    Test {
        /// Its place in the pool.
        cond: usize,
        /// If so.
        then: NodeId,
        /// If not.
        other: NodeId,
    },
    /// A table with one key.
    Table {
        /// What is looked up.
        key: Key,
        /// Keys, all distinct, and where they lead.
        entries: Vec<(u64, NodeId)>,
        /// Where all others lead.
        miss: NodeId,
    },
}

impl Node {
    /// Where it leads.
    pub fn successors(&self) -> Vec<NodeId> {
        match self {
            Self::Leaf(_) => Vec::new(),
            Self::Workload { then, other, .. }
            | Self::Length { then, other, .. }
            | Self::Test { then, other, .. } => vec![*then, *other],
            Self::Table { entries, miss, .. } => entries.iter().map(|(_, to)| *to).chain([*miss]).collect(),
        }
    }

    /// Calls `f` with where it leads.
    pub fn for_each_successor(&self, f: &mut dyn FnMut(NodeId)) {
        match self {
            Self::Leaf(_) => {}
            Self::Workload { then, other, .. }
            | Self::Length { then, other, .. }
            | Self::Test { then, other, .. } => {
                f(*then);
                f(*other);
            }
            Self::Table { entries, miss, .. } => {
                entries.iter().for_each(|(_, to)| f(*to));
                f(*miss);
            }
        }
    }

    /// Where it leads, to be changed.
    pub fn for_each_successor_mut(&mut self, f: &mut dyn FnMut(&mut NodeId)) {
        match self {
            Self::Leaf(_) => {}
            Self::Workload { then, other, .. }
            | Self::Length { then, other, .. }
            | Self::Test { then, other, .. } => {
                f(then);
                f(other);
            }
            Self::Table { entries, miss, .. } => {
                entries.iter_mut().for_each(|(_, to)| f(to));
                f(miss);
            }
        }
    }
}

/// Key of a table of the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The workload id.
    Workload,
    /// An integer of the packet.
    Field(Field),
    /// The workload id, and an integer of the packet of at most 32 bits. In a key's value the id stands over the integer
    /// (see [`Key::both`]).
    Both(Field),
}

impl Key {
    /// Its width.
    pub fn bits(self) -> u64 {
        match self {
            Self::Workload => 32,
            Self::Field(field) => field.width().into(),
            Self::Both(field) => 32 + u64::from(field.width()),
        }
    }

    /// The integer of the packet that is in it.
    pub fn field(self) -> Option<Field> {
        match self {
            Self::Workload => None,
            Self::Field(field) | Self::Both(field) => Some(field),
        }
    }

    /// The value of a [`Key::Both`].
    pub fn both(id: u32, value: u64) -> u64 {
        u64::from(id) << 32 | value
    }

    /// The id and the integer of a [`Key::Both`]'s value.
    pub fn apart(both: u64) -> (u32, u64) {
        ((both >> 32) as u32, both & u64::from(u32::MAX))
    }
}

/// How the stage ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leaf {
    /// In an entry, by its place in [`Image::entries`].
    Run(usize),
    /// Without an answer.
    Drop,
    /// With the fallback of a workload.
    Punt(usize),
    /// No rule took it, or it is too short for the match.
    BadRequest,
    /// Nobody has this id.
    NoWorkload,
    /// To the host, untouched: it decides by [`Image::host`].
    HandUp,
}

/// What an image holds around its lambdas. It decides nothing; it is counted, and emitters write it out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plumbing {
    /// Headers that are parsed and deparsed.
    pub headers: Vec<Header>,
    /// By entry: how its code is called.
    pub calls: Vec<Call>,
    /// What makes the request's headers the reply's: tables without a key, or one piece of code for all.
    pub replies: Vec<Reply>,
    /// By entry: its part of `replies`.
    pub reply_of: Vec<usize>,
    /// The ways out.
    pub routes: Vec<Route>,
    /// By entry: its part of `routes`.
    pub route_of: Vec<usize>,
    /// Whether one piece of code builds all requests to services, which lambdas call; else each builds its own.
    pub shared_requests: bool,
}

/// A header, or metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: Arc<str>,
    /// Its width.
    pub bits: u64,
    /// What it is for.
    pub role: Role,
}

/// What a header is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Every packet has it.
    Packet,
    /// The fixed part of an entry's request, or what the stage reads of any.
    Request(Option<usize>),
    /// The frame of a service's requests and answers.
    Service(lambdac_mir::Protocol),
}

/// How code is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// By the action of a table of its own, without a key.
    Table,
    /// At the end of the way through the stage.
    Direct,
    /// Not at all: the host runs it, or nothing leads to it.
    None,
}

/// A reply's headers being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its name.
    pub name: Arc<str>,
    /// Whether a table of its own applies it, or the stage's end falls into it.
    pub table: bool,
}

/// A table that says which port packets leave by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name.
    pub name: Arc<str>,
    /// The kinds of packet that it has an entry for.
    pub entries: Vec<Way>,
    /// The kinds that go by its default: back through the port they came in by.
    pub default: Vec<Way>,
}

/// A kind of packet that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// To the caller.
    Reply,
    /// To a service.
    Service(lambdac_mir::ServiceId),
}

impl Image {
    /// The conditions that the stage names. As rules, they say nothing about order or targets; the largest `min_len`
    /// of all matches stands over them so that their fields are valid, and passes that draw conclusions from it must
    /// not run on an image.
    pub fn pool(&self) -> &[Rule] {
        match &self.module.dispatch {
            Dispatch::Match(pool) => &pool.rules,
            Dispatch::Only(_) | Dispatch::Unreachable => &[],
        }
    }

    /// A condition of the pool.
    pub fn cond(&self, index: usize) -> &Cond {
        &self.pool()[index].cond
    }

    /// The entries of a workload.
    pub fn entries_of(&self, workload: usize) -> std::ops::Range<usize> {
        let workload = &self.workloads[workload];
        workload.first_entry..workload.first_entry + workload.entries
    }

    /// The stage, and the host's where there is one.
    pub fn stages(&self) -> impl Iterator<Item = &Stage> {
        [&self.stage].into_iter().chain(&self.host)
    }

    /// An entry's name with its workload's.
    pub fn entry_name(&self, entry: usize) -> String {
        let entry = &self.entries[entry];
        format!("{}.{}", self.workloads[entry.workload].name, entry.name)
    }

    /// Which workload each parameter, object and service is of, by its name's prefix.
    pub fn owner(&self, name: &str) -> Option<usize> {
        let prefix = name.split_once('.')?.0;
        self.workloads
            .iter()
            .position(|workload| &*workload.name == prefix)
    }
}

/// The pool of conditions as a module's match.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pub min_len: u32,
    pub rules: Vec<Rule>,
}

impl Pool {
    /// The place of a condition: where an equal one stands that needs no evaluation, or a new one.
    pub fn add(&mut self, cond: Cond, loc: Loc) -> usize {
        self.rules.push(Rule {
            cond,
            target: Target::Drop,
            loc,
        });
        self.rules.len() - 1
    }

    pub fn into_dispatch(self) -> Dispatch {
        Dispatch::Match(Match {
            min_len: self.min_len,
            rules: self.rules,
        })
    }
}
