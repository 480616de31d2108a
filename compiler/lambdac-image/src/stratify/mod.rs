//! memory-stratification: objects and constants to memories by expected waits.
//!
//! Each item has a number of expected waits a second: for every lambda that touches it, how often it does in an average
//! run times its workload's rate. Putting it into a memory costs that times the memory's latency; the sum is what is
//! made small, under each memory's capacity:
//!
//! - state that lambdas change, and tables, which the control plane changes while all cores read, lie only in memory that
//!   the whole device shares;
//! - constants may lie anywhere: a memory of a core or island then holds a copy for each, which takes its bytes once in
//!   each memory's own capacity;
//! - objects for which one name stands in shared code ([`crate::Instance`]) lie in one memory, so that what the code takes
//!   does not depend on who runs it;
//! - local memory holds each thread's slots first, by the deepest chain of calls, and constants in what these leave;
//! - what `@memory` says is placed first and holds, or is refused with the reason, and then the item is placed like the
//!   others. What finds no room at all lies in the largest memory, whose bytes are then told to be over.
//!
//! A structure, or an array of structures, that did not get its nearest memory is divided where that makes the sum
//! smaller: its hot fields lie near, each field in one piece, and the cold ones far ([`Placement::fields`]). It stays one
//! object under its name. What goes over all of it waits for each part, which is counted.
//!
//! Up to [`solve::EXACT`] items are placed by branch and bound, which is exact; more greedily by waits saved a byte, and the
//! distance to a lower bound is reported: items that may lie in the same memories fill these from the nearest on, the most
//! waited for a byte first, cut where one is full, as if there were no others.
//!
//! **Why nothing changes.** A memory changes when a value arrives, not what it is: the model of state is the same in each
//! memory that the rules allow, as constants are equal in all copies and everything else has one copy. A field, and so
//! each scalar that an operation changes at once, lies in one piece, divided or not.

mod solve;

use std::collections::{BTreeMap, BTreeSet};

use lambdac_cost::{Placement, fields, local_memory, object_bytes};
use lambdac_mir::{MemoryRegion, ObjectId};
use lambdac_target::{Device, Sharing};

use self::solve::{Placed, Solved, bound, sum};
use crate::cost::called;
use crate::image::{Call, Image, Key, Node};
use crate::pass::{Context, Pass};
use crate::touch::{Item, Touched};

/// The pass.
pub(crate) const MEMORY_STRATIFICATION: Pass = Pass {
    name: "memory-stratification",
    summary: "Objects and constants to memories by expected waits",
    keeps_code: true,
    run,
};

fn run(image: &mut Image, context: &Context<'_>) -> Vec<String> {
    place(image, context)
}

/// Places everything that the NIC's lambdas touch; what it did.
pub(crate) fn place(image: &mut Image, context: &Context<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    let device = &beside_slots(image, context, &mut notes);
    let together = Together::of(image);
    let waits = together.joined(expected(image, context));
    let mut items: Vec<Placed> = Vec::new();
    for (item, waits) in &waits {
        if !matches!(item, Item::Field(..)) {
            let mut item = candidate(image, device, *item, *waits, &mut notes);
            item.bytes = item.bytes.saturating_mul(together.count(item.item));
            items.push(item);
        }
    }
    let mut placement = Placement::far(&image.module, device);
    let far = sum(&items, device, |item| match item.item {
        Item::Object(id) | Item::Field(id, _) => placement.objects[id as usize],
        Item::Const(id) => placement.consts[id as usize],
    });
    let count = items.len();
    let mut solved = Solved::of(items, device);
    if let Some(better) = divided(image, device, &solved, (&waits, &together)) {
        notes.extend(better.told(image, device, solved.sum(device) - better.sum(device)));
        solved = better;
    }
    for (item, memory) in solved.items.iter().zip(&solved.chosen) {
        let Some(memory) = *memory else {
            notes.push(format!(
                "{} fits no memory that it may lie in, and lies in the largest",
                describe(image, item.item)
            ));
            continue;
        };
        match item.item {
            Item::Object(id) => {
                let all = together.with(id);
                all.for_each(|id| placement.objects[id as usize] = memory);
            }
            Item::Const(id) => placement.consts[id as usize] = memory,
            Item::Field(..) => {}
        }
    }
    for (id, memories) in solved.fields() {
        // Whoever does not divide it has it where its cold fields are.
        let cold = memories
            .iter()
            .copied()
            .max_by_key(|memory| device.memory[*memory].latency);
        let divided = memories.iter().any(|memory| *memory != memories[0]);
        for id in together.with(id) {
            placement.objects[id as usize] = cold.unwrap_or_default();
            if divided {
                placement.fields.insert(ObjectId(id), memories.clone());
            }
        }
    }
    if count > 0 {
        let now = solved.sum(device);
        let bound = bound(&solved.items, device);
        let homeless = solved.chosen.iter().filter(|memory| memory.is_none()).count();
        let gap = if bound > 0.0 {
            (now - bound) / bound * 100.0
        } else {
            0.0
        };
        let how = if homeless > 0 {
            format!("{homeless} of them without room")
        } else if solved.exact {
            "the best there is".to_owned()
        } else {
            format!("at most {gap:.0} % over the best")
        };
        notes.push(format!(
            "{count} objects and constants placed: {far:.0} cycles of waiting became {now:.0}, {how}"
        ));
    }
    image.placed = Some(placement);
    notes
}

/// The device with what slots leave of local memory.
fn beside_slots(image: &Image, context: &Context<'_>, notes: &mut Vec<String>) -> Device {
    let mut device = context.device.clone();
    let each = context.code().priced.local(image);
    if let Some(local) = local_memory(&device).filter(|_| each > 0) {
        let threads = device.core.threads;
        let memory = &mut device.memory[local];
        let (name, of) = (memory.name.clone(), memory.bytes);
        memory.bytes = of.saturating_sub(each * u64::from(threads));
        notes.push(format!(
            "variables of {threads} threads take {} of {of} bytes of {name}",
            of - memory.bytes
        ));
    }
    device
}

/// Objects for which one name stands: they are one item.
struct Together {
    /// By object of which there are several under one name: the name.
    names: BTreeMap<u32, u32>,
    /// By name: the objects that lambdas on the NIC reach by it.
    objects: BTreeMap<u32, BTreeSet<u32>>,
}

impl Together {
    fn of(image: &Image) -> Self {
        let mut objects: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for instance in called(image).flat_map(|entry| &entry.instances) {
            let own = objects.entry(instance.named.0).or_default();
            own.insert(instance.own.0);
        }
        let names = objects
            .iter()
            .flat_map(|(name, own)| own.iter().map(|own| (*own, *name)))
            .collect();
        Self { names, objects }
    }

    /// Waits, those of objects under one name together.
    fn joined(&self, waits: Touched) -> Touched {
        let name = |id: u32| self.names.get(&id).copied().unwrap_or(id);
        let mut all = Touched::new();
        for (item, waits) in waits {
            let item = match item {
                Item::Object(id) => Item::Object(name(id)),
                Item::Field(id, field) => Item::Field(name(id), field),
                Item::Const(_) => item,
            };
            *all.entry(item).or_default() += waits;
        }
        all
    }

    /// How many objects an item is.
    fn count(&self, item: Item) -> u64 {
        match item {
            Item::Object(id) | Item::Field(id, _) => self.objects.get(&id).map_or(1, |own| own.len() as u64),
            Item::Const(_) => 1,
        }
    }

    /// An item's object, and those that lie where it does.
    fn with(&self, id: u32) -> impl Iterator<Item = u32> {
        let own = self.objects.get(&id).into_iter().flatten().copied();
        own.chain([id])
    }
}

impl Solved {
    /// By object whose fields are items: the memory of each.
    fn fields(&self) -> BTreeMap<u32, Vec<usize>> {
        let mut fields: BTreeMap<u32, BTreeMap<u32, usize>> = BTreeMap::new();
        for (item, memory) in self.items.iter().zip(&self.chosen) {
            if let (Item::Field(id, field), Some(memory)) = (item.item, memory) {
                fields.entry(id).or_default().insert(field, *memory);
            }
        }
        let list = |(id, fields): (u32, BTreeMap<u32, usize>)| (id, fields.into_values().collect());
        fields.into_iter().map(list).collect()
    }

    /// What was divided, a line each, and what all of it saves.
    fn told(&self, image: &Image, device: &Device, saved: f64) -> Vec<String> {
        let mut lines = Vec::new();
        for (id, memories) in self.fields() {
            let mut by_memory: BTreeMap<usize, Vec<String>> = BTreeMap::new();
            for (field, memory) in memories.iter().enumerate() {
                by_memory.entry(*memory).or_default().push(field.to_string());
            }
            if by_memory.len() > 1 {
                let parts = by_memory.iter().map(|(memory, fields)| {
                    let word = if fields.len() == 1 { "field" } else { "fields" };
                    format!("{word} {} in {}", fields.join(", "), device.memory[*memory].name)
                });
                let parts: Vec<String> = parts.collect();
                lines.push(format!(
                    "{} is divided: {}",
                    describe(image, Item::Object(id)),
                    parts.join(", ")
                ));
            }
        }
        lines.push(format!("dividing saves {saved:.0} cycles of waiting"));
        lines
    }
}

/// The items with objects divided that did not get their nearest memory, if that makes the waiting shorter.
fn divided(
    image: &Image,
    device: &Device,
    whole: &Solved,
    (waits, together): (&Touched, &Together),
) -> Option<Solved> {
    let mut items = Vec::new();
    let mut any = false;
    for (item, chosen) in whole.items.iter().zip(&whole.chosen) {
        let parts = match item.item {
            Item::Object(id) if !item.asked && item.allowed.first() != chosen.as_ref() => {
                fields(&image.module.objects[id as usize].kind).map(|parts| (id, parts))
            }
            _ => None,
        };
        let Some((id, (shapes, count))) = parts else {
            items.push(item.clone());
            continue;
        };
        any = true;
        items.extend((0u32..).zip(shapes).map(|(field, shape)| {
            let part = Item::Field(id, field);
            Placed {
                item: part,
                bytes: (shape.packed_size().saturating_mul(count)).saturating_mul(together.count(part)),
                waits: waits.get(&part).copied().unwrap_or(0.0),
                allowed: item.allowed.clone(),
                asked: false,
            }
        }));
    }
    if !any {
        return None;
    }
    let parts = Solved::of(items, device);
    let placed = |solved: &Solved| solved.chosen.iter().all(Option::is_some);
    let better = !placed(whole) || parts.sum(device) < whole.sum(device);
    (placed(&parts) && better).then_some(parts)
}

/// Expected waits of everything that lambdas on the NIC and the stage touch, by how often requests reach them.
fn expected(image: &Image, context: &Context<'_>) -> Touched {
    let (module, code) = (&image.module, context.code());
    let mut all = Touched::new();
    let entries = image.entries.iter().zip(&image.plumbing.calls);
    for ((entry, call), rate) in entries.zip(&context.entry_rates) {
        if entry.on_host.is_some() || *call == Call::None {
            continue;
        }
        for (item, count) in code.touched(entry.lambda) {
            *all.entry(*item).or_default() += count * rate;
        }
    }
    for (node, reached) in image.stage.nodes.iter().zip(reached(image, &context.rates)) {
        if let Node::Test { cond, .. } = node {
            let funcs = code.touched_by_funcs();
            crate::canon::for_each_touched(module, image.cond(*cond), funcs, &mut |item, count| {
                *all.entry(item).or_default() += count * reached;
            });
        }
    }
    all
}

/// How many requests reach each node of the stage: by the workloads' rates where ids are told apart, else evenly.
fn reached(image: &Image, rates: &[f64]) -> Vec<f64> {
    let stage = &image.stage;
    let by_id: BTreeMap<u32, f64> = (image.workloads.iter().zip(rates))
        .map(|(workload, rate)| (workload.id, *rate))
        .collect();
    let rate = |id: u32| by_id.get(&id).copied().unwrap_or(0.0);
    let mut reached = vec![0.0; stage.nodes.len()];
    reached[stage.root.index()] = rates.iter().sum();
    // Successors have lower numbers.
    for (index, node) in stage.nodes.iter().enumerate().rev() {
        let all = reached[index];
        match node {
            Node::Workload { id, then, other } => {
                let own = rate(*id).min(all);
                reached[then.index()] += own;
                reached[other.index()] += all - own;
            }
            Node::Table {
                key: Key::Workload,
                entries,
                miss,
            } => {
                let mut left = all;
                for (id, to) in entries {
                    let own = rate(*id as u32).min(left);
                    reached[to.index()] += own;
                    left -= own;
                }
                reached[miss.index()] += left;
            }
            Node::Leaf(_) | Node::Length { .. } | Node::Test { .. } | Node::Table { .. } => {
                let to = node.successors();
                let share = all / to.len().max(1) as f64;
                to.into_iter().for_each(|to| reached[to.index()] += share);
            }
        }
    }
    reached
}

/// An item with the memories that it may lie in.
fn candidate(image: &Image, device: &Device, item: Item, waits: f64, notes: &mut Vec<String>) -> Placed {
    let module = &image.module;
    let (bytes, asked, everywhere) = match item {
        Item::Object(id) | Item::Field(id, _) => {
            let object = &module.objects[id as usize];
            (object_bytes(&object.kind), object.memory, false)
        }
        Item::Const(id) => {
            let constant = &module.consts[id as usize];
            (constant.shape.packed_size(), constant.memory, true)
        }
    };
    let may = |index: &usize| everywhere || device.memory[*index].shared == Sharing::Device;
    let mut allowed: Vec<usize> = (0..device.memory.len()).filter(may).collect();
    allowed.sort_by_key(|index| device.memory[*index].latency);
    let mut honoured = false;
    if let Some(asked) = asked {
        let name = region_name(asked);
        match device.memory.iter().position(|memory| memory.name == name) {
            Some(index) if !may(&index) => notes.push(format!(
                "{} cannot lie in {name}: it can change, and each {} has a {name} of its own",
                describe(image, item),
                if device.memory[index].shared == Sharing::Core {
                    "core"
                } else {
                    "island"
                }
            )),
            Some(index) if bytes > device.memory[index].bytes => notes.push(format!(
                "{} cannot lie in {name}: it takes {bytes} bytes of {}",
                describe(image, item),
                device.memory[index].bytes
            )),
            Some(index) => {
                allowed = vec![index];
                honoured = true;
            }
            None => notes.push(format!(
                "{} cannot lie in {name}: {} has none",
                describe(image, item),
                device.name
            )),
        }
    }
    Placed {
        item,
        bytes,
        waits,
        allowed,
        asked: honoured,
    }
}

/// The name of a memory in descriptions.
fn region_name(region: MemoryRegion) -> &'static str {
    match region {
        MemoryRegion::Lmem => "lmem",
        MemoryRegion::Cls => "cls",
        MemoryRegion::Ctm => "ctm",
        MemoryRegion::Imem => "imem",
        MemoryRegion::Emem => "emem",
    }
}

fn describe(image: &Image, item: Item) -> String {
    match item {
        Item::Object(id) | Item::Field(id, _) => format!("`{}`", image.module.objects[id as usize].name),
        Item::Const(id) => format!("constant `{}`", image.module.consts[id as usize].name),
    }
}
