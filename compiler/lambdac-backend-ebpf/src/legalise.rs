//! What of a module an eBPF program can't do: by lambda, with a code, a reason and a line.
//!
//! A refused lambda is the host's; the program is right all the same. The limits are the device description's
//! (`targets/xdp.toml`). What the program's analysis knows better (mutable state under messages of several packets, and
//! whom a refused lambda takes along) is not asked here.
//!
//! The emitter must be able to do whatever is not refused: an error of [`crate::compile`] on a native lambda is a bug.

use std::collections::BTreeSet;
use std::fmt;

use lambdac_cost::{Model, ModuleCost, Placement};
use lambdac_mir::{
    Cond, Dispatch, Func, Lambda, LambdaId, Loc, LoopKind, Module, ObjectId, ObjectKind, Op, Region, Side,
    TableKind, Term,
};
use lambdac_target::Device;

/// It waits for a service that no packet reaches from the NIC.
pub const AWAIT: &str = "E0700";
/// A reply beyond a packet.
pub const REPLY: &str = "E0701";
/// Requests beyond a packet.
pub const REQUEST: &str = "E0702";
/// A ternary table with too many entries.
pub const TERNARY: &str = "E0703";
/// A worst case that is too long.
pub const CYCLES: &str = "E0704";
/// `@on(host)`
pub const ASKED: &str = "E0705";
/// Somebody punts to it.
pub const PUNTED: &str = "E0706";

/// Too much code.
pub const CODE: &str = "E0707";

/// Instructions that an operation of MIR takes, most of them far fewer: what the verifier's limit is held against before
/// there is code.
const OPERATION: u64 = 10;
/// The most trips of one `bpf_loop` (BPF_MAX_LOOPS of Linux include/linux/bpf_verifier.h).
pub(crate) const MAX_LOOPS: u64 = 1 << 23;

/// Why a lambda is the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code of its page.
    pub code: &'static str,
    /// A clause that can follow "runs on the host:".
    pub reason: String,
    /// The line that it is about; none: the lambda as a whole.
    pub loc: Option<Loc>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} xdp: {}", self.code, self.reason)
    }
}

/// Says whether a lambda can run in an eBPF program.
///
/// # Errors
/// Why not.
pub fn legalise(module: &Module, id: LambdaId, device: &Device) -> Result<(), Refusal> {
    Legaliser::new(module, device).check(id)
}

/// What is found out once for all lambdas of a module.
#[derive(Debug)]
pub struct Legaliser<'m> {
    module: &'m Module,
    device: &'m Device,
    cost: Option<ModuleCost>,
    /// By function: operations of its code, with that of its callees wherever they are called.
    sizes: Vec<u64>,
    /// Who punts to each lambda first.
    punted: Vec<Option<LambdaId>>,
    reachable: BTreeSet<LambdaId>,
    /// By service: why it can't be asked from the NIC.
    unreached: &'m [Option<String>],
}

impl<'m> Legaliser<'m> {
    /// Looks at a module, which went through all passes and the await split.
    pub fn new(module: &'m Module, device: &'m Device) -> Self {
        let model = Model::new(device);
        let cost = model.map(|model| model.module(module, &Placement::far(module, device)));
        Self {
            module,
            device,
            cost,
            sizes: sizes(module),
            punted: punted(module),
            reachable: module.dispatch.lambdas(),
            unreached: &[],
        }
    }

    /// With services that can't be asked from the NIC; by service, why: one on the same machine, say. Others can.
    #[must_use]
    pub fn without_services(mut self, unreached: &'m [Option<String>]) -> Self {
        self.unreached = unreached;
        self
    }

    /// Says whether a lambda can run in an eBPF program.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, id: LambdaId) -> Result<(), Refusal> {
        let Some(lambda) = self.module.lambdas.get(id.index()) else {
            return Ok(());
        };
        asked(lambda)?;
        self.targets(id)?;
        self.messages(lambda)?;
        self.services(lambda)?;
        self.tables(id, lambda)?;
        self.code(id, lambda)?;
        self.cycles(id, lambda)
    }

    /// Functions become code where they are called.
    fn code(&self, id: LambdaId, lambda: &Lambda) -> Result<(), Refusal> {
        let Some(store) = &self.device.store else {
            return Ok(());
        };
        let own = lambda.parts.iter().map(|part| size(&self.sizes, &part.region));
        let mut operations = own.fold(0, u64::saturating_add);
        if self.reachable.contains(&id)
            && let Dispatch::Match(stage) = &self.module.dispatch
        {
            let conditions = stage.rules.iter().flat_map(|rule| functions_of(&rule.cond));
            let sizes = conditions.map(|func| size(&self.sizes, &func.region));
            operations = sizes.fold(operations, u64::saturating_add);
        }
        let words = operations.saturating_mul(OPERATION);
        if words <= store.words {
            return Ok(());
        }
        let reason = format!(
            "its code may take {words} instructions, more than {}",
            store.words
        );
        Err(refusal(CODE, reason, None))
    }

    fn targets(&self, id: LambdaId) -> Result<(), Refusal> {
        match self.punted[id.index()] {
            Some(by) => {
                let by = &self.module.lambdas[by.index()].name;
                Err(refusal(PUNTED, format!("`{by}` punts to it"), None))
            }
            None => Ok(()),
        }
    }

    fn messages(&self, lambda: &Lambda) -> Result<(), Refusal> {
        let (most, bytes) = (self.device.limits.payload, lambda.reply.max);
        if bytes > most {
            let reason = format!("its largest reply, {bytes} bytes, does not fit a packet of {most}");
            return Err(refusal(REPLY, reason, None));
        }
        let least = lambda.request.min;
        if least > most {
            let reason = format!("its smallest request, {least} bytes, does not fit a packet of {most}");
            return Err(refusal(REQUEST, reason, None));
        }
        Ok(())
    }

    /// A service behind the NIC's own interface is out of its packets' reach.
    fn services(&self, lambda: &Lambda) -> Result<(), Refusal> {
        let mut found = None;
        for part in &lambda.parts {
            part.region.walk_regions(&mut |region| {
                if let Term::Await { call, .. } = &region.term
                    && let Some(Some(why)) = self.unreached.get(call.service.index())
                {
                    let loc = region.stmts.last().map(|stmt| stmt.loc);
                    found.get_or_insert((call.service, why.clone(), loc));
                }
            });
        }
        match found {
            Some((service, why, loc)) => {
                let name = &self.module.services[service.index()].name;
                Err(refusal(AWAIT, format!("the service `{name}` {why}"), loc))
            }
            None => Ok(()),
        }
    }

    fn tables(&self, id: LambdaId, lambda: &Lambda) -> Result<(), Refusal> {
        let Some(most) = self.device.limits.ternary_entries else {
            return Ok(());
        };
        let module = self.module;
        let large = |object: ObjectId| {
            let object = module.objects.get(object.index())?;
            match &object.kind {
                ObjectKind::Table {
                    kind: TableKind::Ternary,
                    capacity,
                    ..
                } if *capacity > most => Some((&object.name, *capacity)),
                _ => None,
            }
        };
        let mut used = Vec::new();
        for region in with_callees(module, lambda.parts.iter().map(|part| &part.region)) {
            tables_of(region, &mut used);
        }
        if self.reachable.contains(&id)
            && let Dispatch::Match(stage) = &module.dispatch
        {
            for rule in &stage.rules {
                condition_tables(&rule.cond, rule.loc, &mut used);
                let regions = functions_of(&rule.cond).into_iter().map(|func| &func.region);
                for region in with_callees(module, regions) {
                    tables_of(region, &mut used);
                }
            }
        }
        let found = used
            .into_iter()
            .find_map(|(object, loc)| Some((large(object)?, loc)));
        match found {
            Some(((name, capacity), loc)) => {
                let reason = format!("the ternary table `{name}` has {capacity} entries, more than {most}");
                Err(refusal(TERNARY, reason, Some(loc)))
            }
            None => Ok(()),
        }
    }

    fn cycles(&self, id: LambdaId, lambda: &Lambda) -> Result<(), Refusal> {
        let mut longest = (0, Loc::default());
        for region in with_callees(self.module, lambda.parts.iter().map(|part| &part.region)) {
            longest_loop(region, &mut longest);
        }
        if longest.0 >= MAX_LOOPS {
            let reason = format!(
                "a loop of up to {} trips, the kernel allows {MAX_LOOPS}",
                longest.0
            );
            return Err(refusal(CYCLES, reason, Some(longest.1)));
        }
        let (Some(cost), Some(most)) = (&self.cost, self.device.limits.max_cycles) else {
            return Ok(());
        };
        let code = &cost.lambdas[id.index()];
        let own = self.device.packet.cycles;
        let worst = own
            .saturating_add(cost.dispatch.worst)
            .saturating_add(code.stretch);
        if worst <= most {
            return Ok(());
        }
        let dearest = code.lines.iter().max_by_key(|(_, line)| line.cycles);
        let loc = dearest.map(|((file, line), _)| Loc {
            file: *file,
            line: *line,
        });
        let reason = format!("it can take {worst} cycles, more than {most}");
        Err(refusal(CYCLES, reason, loc))
    }
}

fn refusal(code: &'static str, reason: String, loc: Option<Loc>) -> Refusal {
    let loc = loc.filter(|loc| loc.line > 0);
    Refusal { code, reason, loc }
}

fn asked(lambda: &Lambda) -> Result<(), Refusal> {
    match lambda.on {
        Some(Side::Host) => Err(refusal(ASKED, "`@on(host)` asks for it".to_owned(), None)),
        _ => Ok(()),
    }
}

fn punted(module: &Module) -> Vec<Option<LambdaId>> {
    let mut punted = vec![None; module.lambdas.len()];
    for (by, lambda) in module.lambdas.iter().enumerate() {
        for part in &lambda.parts {
            part.region.walk_regions(&mut |region| {
                if let Term::Punt(Some(to)) = region.term
                    && let Some(first) = punted.get_mut(to.index())
                {
                    first.get_or_insert(LambdaId(by as u32));
                }
            });
        }
    }
    punted
}

/// Operations of each function. A callee's number is below its caller's.
fn sizes(module: &Module) -> Vec<u64> {
    let mut sizes = Vec::new();
    for func in &module.funcs {
        let size = size(&sizes, &func.region);
        sizes.push(size);
    }
    sizes
}

fn size(sizes: &[u64], region: &Region) -> u64 {
    let mut operations = region.op_count() as u64;
    region.for_each_callee(&mut |callee| {
        let inside = sizes.get(callee.index()).copied().unwrap_or(0);
        operations = operations.saturating_add(inside);
    });
    operations
}

/// Code and that of all functions that it calls, each once.
fn with_callees<'m>(module: &'m Module, regions: impl Iterator<Item = &'m Region>) -> Vec<&'m Region> {
    let mut all: Vec<&Region> = regions.collect();
    let mut called = BTreeSet::new();
    let mut next = 0;
    while let Some(region) = all.get(next).copied() {
        next += 1;
        region.for_each_callee(&mut |callee| {
            if let Some(func) = module.funcs.get(callee.index())
                && called.insert(callee)
            {
                all.push(&func.region);
            }
        });
    }
    all
}

/// Tables that code looks in.
fn tables_of(region: &Region, used: &mut Vec<(ObjectId, Loc)>) {
    region.walk(&mut |stmt| {
        if let Op::TableGet { object, .. } | Op::TableHas { object, .. } = &stmt.op {
            used.push((*object, stmt.loc));
        }
    });
}

/// Tables that a condition looks in itself.
fn condition_tables(cond: &Cond, loc: Loc, used: &mut Vec<(ObjectId, Loc)>) {
    cond.walk(&mut |cond| {
        if let Cond::Has { table, .. } = cond {
            used.push((*table, loc));
        }
    });
}

/// The functions that a condition evaluates.
fn functions_of(cond: &Cond) -> Vec<&Func> {
    let mut funcs = Vec::new();
    cond.for_each_func(&mut |func| funcs.push(func));
    funcs
}

/// The most trips of any one loop, and where it is.
fn longest_loop(region: &Region, longest: &mut (u64, Loc)) {
    region.walk(&mut |stmt| {
        if let Op::Loop(inner) = &stmt.op {
            // Where a condition or a trap ends the loop, one more trip starts.
            let extra = u64::from(inner.checked || matches!(inner.kind, LoopKind::While(_)));
            let trips = inner.max.saturating_add(extra);
            if trips > longest.0 {
                *longest = (trips, stmt.loc);
            }
        }
    });
}
