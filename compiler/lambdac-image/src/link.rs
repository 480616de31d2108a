//! Linking: workloads' modules become one image, as a naive emission would hold it.
//!
//! Nothing is shared yet. Each workload has a table of its own that is keyed on the id and has one entry, in front of
//! its own match, whose rules are tried one after the other; each lambda has a table without a key that calls it, one
//! that makes the reply's headers, and one, keyed on the kind of packet, that says where packets leave. This is how the
//! λ-NIC project's unoptimised program is built, and what the passes are measured against.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use lambdac_mir::validate::MAX_ITEMS;
use lambdac_mir::{
    Cond, Dispatch, Lambda, LambdaId, Module, Protocol, Region, Rule, ServiceId, Target, Term,
};

use crate::facts::Facts;
use crate::image::{
    Call, Entry, Header, Image, Key, Leaf, Node, NodeId, Plumbing, Pool, Reply, Role, Route, Stage, Way,
    Workload,
};
use crate::rename::{Rename, shifted};

/// Ethernet without a tag, IPv4 without options, UDP, and the λ header (`lang-spec/wire.md`): bits of each.
const PACKET_HEADERS: [(&str, u64); 4] = [("ethernet", 112), ("ipv4", 160), ("udp", 64), ("lambda", 192)];
/// What the parts of the pipeline tell each other of a packet: workload index 16 bits, kind 8, status 8, length 16,
/// port 16.
const METADATA: u64 = 64;
/// memcached's frame in front of its text protocol: request id, sequence, total, reserved.
const MEMCACHED_FRAME: u64 = 64;
/// A request's fixed part is parsed up to what one memory command brings.
const MAX_PARSED: u32 = 128;

/// Why workloads cannot be one image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Two have one name or one id.
    #[error("two workloads are called {0:?}, or have its id")]
    Twice(Arc<str>),
    /// More items than a module holds.
    #[error("{count} {what} in one image, at most {MAX_ITEMS} are allowed")]
    TooMany {
        /// Which items.
        what: &'static str,
        /// How many.
        count: usize,
    },
}

/// Makes an image of workloads, each with its id and its module, whose awaits are split.
///
/// # Errors
/// Names or ids that are not distinct, or more items than a module holds.
pub fn link(name: &str, workloads: &[(u32, Arc<Module>)]) -> Result<Image, LinkError> {
    distinct(workloads.iter().map(|(id, module)| (*id, module)))?;
    let mut naive = Naive::new(name);
    for (id, module) in workloads {
        naive.add(*id, module, None);
    }
    naive.finish()
}

/// Checks that neither ids nor names are twice.
pub(crate) fn distinct<'m>(workloads: impl Iterator<Item = (u32, &'m Arc<Module>)>) -> Result<(), LinkError> {
    let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (id, module) in workloads {
        if !ids.insert(id) || !names.insert(&module.name) {
            return Err(LinkError::Twice(module.name.clone()));
        }
    }
    Ok(())
}

/// A workload's rules in the order in which an image holds their conditions.
pub(crate) fn pooled(module: &Module) -> Vec<&Rule> {
    match &module.dispatch {
        Dispatch::Match(stage) => {
            let rules = stage.rules.iter().rev();
            rules.filter(|rule| rule.cond != Cond::True).collect()
        }
        Dispatch::Only(_) | Dispatch::Unreachable => Vec::new(),
    }
}

/// What two rules say of one name: `workload.item`.
fn prefixed(workload: &str, item: &str) -> Arc<str> {
    format!("{workload}.{item}").into()
}

/// An image as it grows, a workload after the other.
pub(crate) struct Naive {
    image: Image,
    /// Functions and lambdas so far.
    counts: (usize, usize),
    /// Numbers of files.
    files: HashMap<Arc<str>, usize>,
    pool: Pool,
    /// Where each workload's own rules start.
    starts: Vec<(u32, NodeId)>,
}

impl Naive {
    pub fn new(name: &str) -> Self {
        let headers = PACKET_HEADERS.iter().chain(&[("metadata", METADATA)]);
        let headers = headers.map(|(name, bits)| Header {
            name: (*name).into(),
            bits: *bits,
            role: Role::Packet,
        });
        let module = Module {
            name: name.into(),
            files: Vec::new(),
            consts: Vec::new(),
            params: Vec::new(),
            objects: Vec::new(),
            services: Vec::new(),
            funcs: Vec::new(),
            lambdas: Vec::new(),
            dispatch: Dispatch::Unreachable,
        };
        let stage = Stage {
            nodes: vec![Node::Leaf(Leaf::NoWorkload)],
            root: NodeId(0),
        };
        let plumbing = Plumbing {
            headers: headers.collect(),
            ..Plumbing::default()
        };
        Self {
            image: Image {
                module,
                workloads: Vec::new(),
                entries: Vec::new(),
                stage,
                host: None,
                plumbing,
                placed: None,
                merged: Arc::from([]),
                merged_from: Arc::from([]),
            },
            counts: (0, 0),
            files: HashMap::new(),
            pool: Pool::default(),
            starts: Vec::new(),
        }
    }

    /// Adds a workload behind the others; the ids that its items got. With facts, which say what has to be known of its
    /// code, the code itself is left out.
    pub fn add(&mut self, id: u32, module: &Module, facts: Option<&Facts>) -> Rename {
        let rename = self.shift(module);
        let first_entry = self.image.entries.len();
        self.items(module, &rename, facts);
        self.counts.0 += module.funcs.len();
        self.counts.1 += module.lambdas.len();
        self.image.workloads.push(Workload {
            id,
            name: module.name.clone(),
            first_entry,
            entries: module.lambdas.len(),
            chunk: module.chunk(),
            files: rename.files.clone(),
        });
        let start = self.rules(module, &rename, first_entry);
        self.starts.push((id, start));
        rename
    }

    /// The ids that a workload's items get.
    fn shift(&mut self, module: &Module) -> Rename {
        let into = &self.image.module;
        Rename {
            consts: shifted(into.consts.len(), module.consts.len()),
            params: shifted(into.params.len(), module.params.len()),
            objects: shifted(into.objects.len(), module.objects.len()),
            services: shifted(into.services.len(), module.services.len()),
            funcs: shifted(self.counts.0, module.funcs.len()),
            lambdas: shifted(self.counts.1, module.lambdas.len()),
            files: module.files.iter().map(|file| self.file(file)).collect(),
        }
    }

    /// The number of a file; libraries are many workloads'.
    fn file(&mut self, name: &Arc<str>) -> u16 {
        let files = &mut self.image.module.files;
        let at = *self.files.entry(Arc::clone(name)).or_insert_with(|| {
            files.push(Arc::clone(name));
            files.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    fn items(&mut self, module: &Module, rename: &Rename, facts: Option<&Facts>) {
        let name = |item: &str| prefixed(&module.name, item);
        let into = &mut self.image.module;
        into.consts.extend(module.consts.iter().cloned().map(|mut item| {
            item.name = name(&item.name);
            item
        }));
        into.params.extend(module.params.iter().cloned().map(|mut item| {
            item.name = name(&item.name);
            item
        }));
        into.objects
            .extend(module.objects.iter().cloned().map(|mut item| {
                item.name = name(&item.name);
                item
            }));
        into.services
            .extend(module.services.iter().cloned().map(|mut item| {
                item.name = name(&item.name);
                item
            }));
        if facts.is_none() {
            into.funcs.extend(module.funcs.iter().cloned().map(|mut item| {
                item.name = name(&item.name);
                rename.func(&mut item);
                item
            }));
        }
        for service in &module.services {
            let header = service_header(name(&service.name), service.protocol);
            self.image.plumbing.headers.push(header);
        }
        for (index, lambda) in module.lambdas.iter().enumerate() {
            let ways = match facts {
                Some(facts) => facts.ways(index, rename),
                None => {
                    let mut code = lambda.clone();
                    code.name = name(&lambda.name);
                    rename.code(&mut code);
                    let ways = ways(&code);
                    self.image.module.lambdas.push(code);
                    ways
                }
            };
            let id = LambdaId((self.counts.1 + index) as u32);
            self.lambda(name(&lambda.name), lambda, id, ways);
        }
    }

    /// A lambda's entry, and the tables around it.
    fn lambda(&mut self, name: Arc<str>, lambda: &Lambda, id: LambdaId, ways: Vec<Way>) {
        let image = &mut self.image;
        let entry = image.entries.len();
        let plumbing = &mut image.plumbing;
        let parsed = lambda.request.min.min(MAX_PARSED);
        if parsed > 0 {
            plumbing.headers.push(Header {
                name: prefixed(&name, "request"),
                bits: u64::from(parsed) * 8,
                role: Role::Request(Some(entry)),
            });
        }
        plumbing.calls.push(Call::Table);
        plumbing.reply_of.push(plumbing.replies.len());
        plumbing.replies.push(Reply {
            name: prefixed(&name, "reply"),
            table: true,
        });
        plumbing.route_of.push(plumbing.routes.len());
        plumbing.routes.push(Route {
            name: prefixed(&name, "route"),
            entries: ways,
            default: Vec::new(),
        });
        image.entries.push(Entry {
            workload: image.workloads.len(),
            name: lambda.name.clone(),
            lambda: id,
            bindings: Vec::new(),
            instances: Vec::new(),
            services: Vec::new(),
            on_host: None,
            asked: false,
        });
    }

    fn node(&mut self, node: Node) -> NodeId {
        let nodes = &mut self.image.stage.nodes;
        nodes.push(node);
        NodeId(nodes.len() as u32 - 1)
    }

    /// A workload's own match, rule after rule.
    fn rules(&mut self, module: &Module, rename: &Rename, first_entry: usize) -> NodeId {
        let workload = self.image.workloads.len() - 1;
        let run = |lambda: LambdaId| Leaf::Run(first_entry + lambda.index());
        let stage = match &module.dispatch {
            Dispatch::Unreachable => return self.node(Node::Leaf(Leaf::BadRequest)),
            Dispatch::Only(lambda) => return self.node(Node::Leaf(run(*lambda))),
            Dispatch::Match(stage) => stage,
        };
        self.pool.min_len = self.pool.min_len.max(stage.min_len);
        let refused = self.node(Node::Leaf(Leaf::BadRequest));
        let mut next = refused;
        for rule in stage.rules.iter().rev() {
            let then = self.node(Node::Leaf(match rule.target {
                Target::Lambda(lambda) => run(lambda),
                Target::Drop => Leaf::Drop,
                Target::Punt => Leaf::Punt(workload),
            }));
            if rule.cond == Cond::True {
                next = then;
                continue;
            }
            let mut cond = rule.cond.clone();
            rename.cond(&mut cond);
            let cond = self.pool.add(cond, rename.loc(rule.loc));
            next = self.node(Node::Test {
                cond,
                then,
                other: next,
            });
        }
        match stage.min_len {
            0 => next,
            min => self.node(Node::Length {
                min,
                then: next,
                other: refused,
            }),
        }
    }

    /// Puts the tables that are keyed on the id in front, the first workload's first.
    pub fn finish(mut self) -> Result<Image, LinkError> {
        let mut miss = NodeId(0);
        for (id, start) in std::mem::take(&mut self.starts).into_iter().rev() {
            miss = self.node(Node::Table {
                key: Key::Workload,
                entries: vec![(id.into(), start)],
                miss,
            });
        }
        self.image.stage.root = miss;
        let module = &mut self.image.module;
        let counts = [
            ("constants", module.consts.len()),
            ("parameters", module.params.len()),
            ("objects", module.objects.len()),
            ("services", module.services.len()),
            ("functions", self.counts.0),
            ("lambdas", self.counts.1),
            ("files", module.files.len()),
            ("rules", self.pool.rules.len()),
        ];
        for (what, count) in counts {
            if count > MAX_ITEMS {
                return Err(LinkError::TooMany { what, count });
            }
        }
        module.dispatch = self.pool.into_dispatch();
        Ok(self.image)
    }
}

fn service_header(name: Arc<str>, protocol: Protocol) -> Header {
    Header {
        name,
        bits: match protocol {
            Protocol::Memcached => MEMCACHED_FRAME,
        },
        role: Role::Service(protocol),
    }
}

/// The kinds of packet that a lambda sends.
fn ways(lambda: &Lambda) -> Vec<Way> {
    let mut ways = BTreeSet::new();
    let mut look = |region: &Region| match &region.term {
        Term::Reply(_) => ways.extend([Way::Reply]),
        Term::Await { call, .. } => ways.extend([Way::Service(call.service)]),
        _ => {}
    };
    for part in &lambda.parts {
        part.region.walk_regions(&mut look);
    }
    // An error is answered too.
    ways.insert(Way::Reply);
    ways.into_iter().collect()
}

/// The services that a lambda asks.
pub(crate) fn services_of(lambda: &Lambda) -> BTreeSet<ServiceId> {
    let ways = ways(lambda).into_iter();
    ways.filter_map(|way| match way {
        Way::Service(service) => Some(service),
        Way::Reply => None,
    })
    .collect()
}
