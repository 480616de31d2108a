//! What an image takes on a device that counts words.
//!
//! Code (functions, lambdas, functions that conditions evaluate) is priced by [`Model::module`]; the stage and the
//! plumbing are counted as the items that a P4 program has ([`Shape`]):
//!
//! - a test of a field, of the request's length or of the workload is a branch; `table.has` is a keyed table and a branch;
//!   an evaluated condition is a branch and its code;
//! - a table of the stage is a keyed table with an action for each place that it leads to;
//! - a node or lambda that several ways lead to is entered by a flag: each way assigns a word, one branch asks for it;
//! - a lambda is a call of the plugin, in the action of a keyless table where it has one of its own;
//! - a reply's headers are an action that assigns [`REPLY_WORDS`], in a keyless table behind a branch where it has one;
//! - a route with entries is a keyed table with an action that assigns the port.
//!
//! Code of lambdas that the host runs is not counted.

use std::collections::BTreeSet;

use lambdac_cost::{Model, ModuleCost, Placement, Shape, fields, object_bytes};
use lambdac_mir::{Cond, KeyField, Module, Object, ObjectId, ObjectKind, Rule};
use lambdac_target::Device;

use crate::hash::Set;
use crate::image::{Call, Entry, Header, Image, Leaf, Node, Reply, Role, Route, Stage};
use crate::price::Code;
use crate::touch::Item;

/// Words that make a request's headers a reply's: Ethernet addresses 3, IPv4 addresses 2 and length 1, UDP ports 1 and
/// length with checksum 1, λ kind 1, λ length with status 1.
pub const REPLY_WORDS: u64 = 10;
/// A route's key: the kind of packet and the port that it came in by, 16 bits each.
const ROUTE_KEY: u64 = 32;

/// Words of an address: 40 bits (NFP notes, 2.2).
pub(crate) const ADDRESS_WORDS: u64 = 2;

/// Words of a service's number.
pub(crate) const SERVICE_WORDS: u64 = 1;

/// Words that are assigned to give shared code a parameter: an integer itself, of everything else the address.
pub(crate) fn bound_words(shape: &lambdac_mir::Shape) -> u64 {
    match shape {
        lambdac_mir::Shape::Scalar(width) => u64::from(*width).div_ceil(32),
        _ => ADDRESS_WORDS,
    }
}

/// What an image takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageCost {
    /// Items around the code.
    pub shape: Shape,
    /// Entries of all tables around the code.
    pub table_entries: u64,
    /// Lambdas with code of their own.
    pub lambdas: u64,
    /// Words of the items.
    pub around: u64,
    /// Words and cycles of code.
    pub code: ModuleCost,
    /// By entry.
    pub entries: Vec<EntryCost>,
    /// By memory of the device: bytes of objects and constants there.
    pub memory: Vec<u64>,
    /// Cycles of the dearest evaluated conditions, all together.
    pub worst_stage: u64,
}

/// What a lambda takes; nothing where the host runs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryCost {
    /// Words of its code; of shared code, its share, rounded up. Functions are not in it.
    pub words: u64,
    /// How many entries share the code.
    pub sharers: u64,
    /// Cycles of its dearest path.
    pub worst: u64,
    /// Cycles of an average run.
    pub expected: u64,
    /// By memory of the device: bytes of the objects and constants that it touches; none where the host runs it.
    pub memory: Vec<u64>,
}

/// Calls back with each item that an entry's code names.
type EachItem<'a> = dyn Fn(usize, &mut dyn FnMut(Item)) + 'a;

/// What is touched in memory on the NIC.
pub(crate) struct Touches<'a> {
    pub by_lambda: &'a EachItem<'a>,
    /// What the stage asks.
    pub by_stage: BTreeSet<Item>,
}

impl ImageCost {
    /// Counts an image.
    pub fn of(image: &Image, device: &Device, model: &Model<'_>) -> Self {
        Code::of(image, device, model).cost(image, device, model)
    }

    /// Counts an image whose code takes this, and touches that on the NIC.
    pub(crate) fn with(
        image: &Image,
        (device, model): (&Device, &Model<'_>),
        code: ModuleCost,
        touches: &Touches<'_>,
    ) -> Self {
        let mut count = Count::default();
        count.stage(&image.stage, image.pool(), &image.module.objects);
        count.plumbing(image);
        let sharers = sharers(image);
        let (memory, mut by_entry) = memory(image, device, touches);
        let entries = image.entries.iter().enumerate().map(|(index, entry)| {
            let at = entry.lambda.index();
            if entry.on_host.is_some() {
                return EntryCost::default();
            }
            let cost = &code.lambdas[at];
            EntryCost {
                words: cost.words.div_ceil(sharers[at].max(1)),
                sharers: sharers[at],
                worst: cost.worst,
                expected: cost.expected,
                memory: std::mem::take(&mut by_entry[index]),
            }
        });
        Self {
            shape: count.shape,
            table_entries: count.entries,
            lambdas: sharers.iter().filter(|count| **count > 0).count() as u64,
            around: model.shape(&count.shape),
            entries: entries.collect(),
            memory,
            worst_stage: code.dispatch.worst,
            code,
        }
    }

    /// Tables, with a key and without.
    pub fn tables(&self) -> u64 {
        self.shape.keyed_tables + self.shape.keyless_tables
    }

    /// Words of functions and routines that lambdas share.
    pub fn functions(&self) -> u64 {
        let funcs = self.code.funcs.iter().map(|code| code.words);
        funcs.sum::<u64>() + self.code.once.values().sum::<u64>()
    }

    /// Words of lambdas.
    pub fn lambda_words(&self) -> u64 {
        self.code.lambdas.iter().map(|code| code.words).sum()
    }

    /// All words but the device's base.
    pub fn words(&self) -> u64 {
        self.around + self.functions() + self.lambda_words() + self.code.dispatch.words
    }
}

impl Image {
    /// The model for this image: one that knows how it builds requests to services, and what its merged code is weighed by.
    pub(crate) fn model<'m>(&'m self, model: &Model<'m>) -> Model<'m> {
        model
            .with_shared_requests(self.plumbing.shared_requests)
            .with_merged(&self.merged)
    }

    /// Where objects and constants lie: where a pass put them, else in the largest memory of the device.
    pub fn placement(&self, device: &Device) -> Placement {
        match &self.placed {
            Some(placement) => placement.clone(),
            None => Placement::far(&self.module, device),
        }
    }
}

/// The entries that the NIC calls.
pub(crate) fn called(image: &Image) -> impl Iterator<Item = &Entry> {
    let entries = image.entries.iter().zip(&image.plumbing.calls);
    let called = entries.filter(|(entry, call)| entry.on_host.is_none() && **call != Call::None);
    called.map(|(entry, _)| entry)
}

/// How many entries run each lambda's code on the NIC.
pub(crate) fn sharers(image: &Image) -> Vec<u64> {
    // An image whose code is not there yet has lambdas too.
    let named = image.entries.iter().map(|entry| entry.lambda.index() + 1).max();
    let mut sharers = vec![0; image.module.lambdas.len().max(named.unwrap_or(0))];
    called(image).for_each(|entry| sharers[entry.lambda.index()] += 1);
    sharers
}

/// Bytes in each memory of the device, of everything and by entry; of those that the NIC does not run, none.
fn memory(image: &Image, device: &Device, touches: &Touches<'_>) -> (Vec<u64>, Vec<Vec<u64>>) {
    let placement = image.placement(device);
    let mut seen: Set<Item> = Set::default();
    let mut all = vec![0u64; device.memory.len()];
    let entries = image.entries.iter().zip(&image.plumbing.calls);
    let by_entry = entries.map(|(entry, call)| {
        if entry.on_host.is_some() || *call == Call::None {
            return Vec::new();
        }
        let mut own = vec![0u64; device.memory.len()];
        (touches.by_lambda)(entry.lambda.index(), &mut |item| {
            let item = item.of(entry);
            add_item(&image.module, &placement, item, &mut own);
            if seen.insert(item) {
                add_item(&image.module, &placement, item, &mut all);
            }
        });
        own
    });
    let by_entry = by_entry.collect();
    for item in touches.by_stage.iter().filter(|item| !seen.contains(item)) {
        add_item(&image.module, &placement, *item, &mut all);
    }
    (all, by_entry)
}

/// Adds an item's bytes where it lies.
fn add_item(module: &Module, placement: &Placement, item: Item, bytes: &mut [u64]) {
    let mut add = |memory: usize, size: u64| {
        if let Some(sum) = bytes.get_mut(memory) {
            *sum = sum.saturating_add(size);
        }
    };
    match item {
        Item::Object(id) => {
            let kind = &module.objects[id as usize].kind;
            match (placement.fields.get(&ObjectId(id)), fields(kind)) {
                (Some(memories), Some((shapes, count))) => (memories.iter().zip(shapes))
                    .for_each(|(memory, shape)| add(*memory, shape.packed_size().saturating_mul(count))),
                _ => add(placement.objects[id as usize], object_bytes(kind)),
            }
        }
        Item::Const(id) => add(
            placement.consts[id as usize],
            module.consts[id as usize].shape.packed_size(),
        ),
        // A part of an object.
        Item::Field(..) => {}
    }
}

/// Words of the items of a stage.
pub(crate) fn stage_words(stage: &Stage, pool: &[Rule], model: &Model<'_>) -> u64 {
    let mut count = Count::default();
    count.stage(stage, pool, &[]);
    model.shape(&count.shape)
}

/// Words of the items around the code.
pub(crate) fn around_words(image: &Image, model: &Model<'_>) -> u64 {
    let mut count = Count::default();
    count.stage(&image.stage, image.pool(), &image.module.objects);
    count.plumbing(image);
    model.shape(&count.shape)
}

/// Items counted so far.
#[derive(Default)]
struct Count {
    shape: Shape,
    entries: u64,
}

impl Count {
    fn stage(&mut self, stage: &Stage, pool: &[Rule], objects: &[Object]) {
        let ways = in_edges(stage);
        for (node, ways) in stage.nodes.iter().zip(&ways) {
            if *ways == 0 {
                continue;
            }
            // A verdict is a word that the way's last action assigns; leaving the code behind is free.
            if *ways > 1 && !matches!(node, Node::Leaf(leaf) if !matches!(leaf, Leaf::Run(_))) {
                self.shape.branches += 1;
                self.shape.assigned_words += ways;
            }
            self.node(node, pool, objects);
        }
    }

    fn node(&mut self, node: &Node, pool: &[Rule], objects: &[Object]) {
        match node {
            Node::Leaf(_) => {}
            Node::Workload { .. } | Node::Length { .. } => self.shape.branches += 1,
            Node::Test { cond, .. } => pool[*cond].cond.walk(&mut |cond| self.cond(objects, cond)),
            Node::Table { key, entries, .. } => {
                let places: BTreeSet<_> = entries.iter().map(|(_, to)| to).collect();
                self.shape.keyed_tables += 1;
                self.shape.key_bits += key.bits().next_multiple_of(32);
                self.shape.actions += places.len() as u64;
                self.entries += entries.len() as u64;
            }
        }
    }

    /// One condition, without those inside it.
    fn cond(&mut self, objects: &[Object], cond: &Cond) {
        match cond {
            Cond::True | Cond::Not(_) | Cond::All(_) | Cond::Any(_) => {}
            Cond::Cmp { .. } | Cond::Masked { .. } | Cond::Eval(_) => self.shape.branches += 1,
            Cond::Range { lo, hi, field } => {
                // An end that is the field's own needs no test.
                let top = lambdac_mir::mask(field.width());
                let ends = u64::from(*lo != 0) + u64::from(hi.checked_sub(1) != Some(top));
                self.shape.branches += if hi.checked_sub(1) == Some(*lo) { 1 } else { ends };
            }
            Cond::Has { table, key } => {
                self.shape.keyed_tables += 1;
                self.shape.branches += 1;
                self.shape.actions += 1;
                let bits: u64 = key
                    .iter()
                    .map(|part| match part {
                        KeyField::Field(field) => u64::from(field.width()),
                        KeyField::Const(_) => 0,
                        KeyField::Bytes { len, .. } => u64::from(*len) * 8,
                    })
                    .sum();
                self.shape.key_bits += bits.next_multiple_of(32);
                let object = objects.get(table.index()).map(|object| &object.kind);
                if let Some(ObjectKind::Table { entries, .. }) = object {
                    self.entries += entries.len() as u64;
                }
            }
        }
    }

    fn plumbing(&mut self, image: &Image) {
        let plumbing = &image.plumbing;
        let on_nic =
            |entry: &usize| plumbing.calls[*entry] != Call::None && image.entries[*entry].on_host.is_none();
        let is_used: Vec<bool> = (0..image.entries.len()).map(|entry| on_nic(&entry)).collect();
        let used: Vec<usize> = (0..image.entries.len()).filter(|entry| is_used[*entry]).collect();
        // The host parses what it runs.
        let parsed = plumbing.headers.iter().filter(|header| match header.role {
            Role::Request(Some(entry)) => is_used[entry],
            Role::Request(None) | Role::Packet | Role::Service(_) => true,
        });
        parsed.for_each(|header| self.shape += header_items(header));
        let mut called = BTreeSet::new();
        for (index, entry) in image.entries.iter().enumerate() {
            self.shape += entry_items(image, index);
            if plumbing.calls[index] == Call::Direct {
                // Entries of one lambda are one call, with what they bind assigned before.
                self.shape.plugin_calls += u64::from(called.insert(entry.lambda));
            }
        }
        let replies: BTreeSet<usize> = used.iter().map(|entry| plumbing.reply_of[*entry]).collect();
        for reply in replies {
            self.shape += reply_items(&plumbing.replies[reply]);
        }
        let routes: BTreeSet<usize> = used.iter().map(|entry| plumbing.route_of[*entry]).collect();
        for route in routes {
            self.shape += route_items(&plumbing.routes[route]);
            self.entries += plumbing.routes[route].entries.len() as u64;
        }
    }
}

/// A node of the stage, however many ways lead to it.
pub(crate) fn node_items(image: &Image, node: &Node) -> Shape {
    let mut count = Count::default();
    count.node(node, image.pool(), &image.module.objects);
    count.shape
}

/// A header. Each starts at a word.
pub(crate) fn header_items(header: &Header) -> Shape {
    Shape {
        headers: 1,
        header_bits: header.bits.next_multiple_of(32),
        ..Shape::default()
    }
}

/// What an entry that is called has for itself: its table, and what is assigned before its code runs.
pub(crate) fn entry_items(image: &Image, index: usize) -> Shape {
    let entry = &image.entries[index];
    let bound = entry.bindings.iter();
    let bound = bound.map(|binding| bound_words(&image.module.params[binding.param.index()].shape));
    let assigned_words = bound.sum::<u64>()
        + entry.instances.len() as u64 * ADDRESS_WORDS
        + entry.services.len() as u64 * SERVICE_WORDS;
    let direct = Shape {
        assigned_words,
        ..Shape::default()
    };
    match image.plumbing.calls[index] {
        Call::None => Shape::default(),
        Call::Direct => direct,
        Call::Table => Shape {
            branches: 1,
            keyless_tables: 1,
            actions: 1,
            plugin_calls: 1,
            ..direct
        },
    }
}

/// What makes a request's headers the reply's.
pub(crate) fn reply_items(reply: &Reply) -> Shape {
    Shape {
        actions: 1,
        branches: 1,
        assigned_words: REPLY_WORDS,
        keyless_tables: u64::from(reply.table),
        ..Shape::default()
    }
}

/// What says where packets leave.
pub(crate) fn route_items(route: &Route) -> Shape {
    let assigned = Shape {
        assigned_words: 1,
        ..Shape::default()
    };
    match route.entries.is_empty() {
        true => assigned,
        false => Shape {
            actions: 1,
            keyed_tables: 1,
            key_bits: ROUTE_KEY,
            ..assigned
        },
    }
}

/// How many ways lead to each node that can be reached.
pub(crate) fn in_edges(stage: &Stage) -> Vec<u64> {
    let mut ways = vec![0u64; stage.nodes.len()];
    ways[stage.root.index()] = 1;
    let mut next = Vec::new();
    for index in (0..=stage.root.index()).rev() {
        if ways[index] == 0 {
            continue;
        }
        stage.nodes[index].for_each_successor(&mut |to| next.push(to));
        next.sort_unstable();
        // A table's entries of one target are one action.
        next.dedup();
        next.drain(..).for_each(|to| ways[to.index()] += 1);
    }
    ways
}
