//! The stage, and what stands around lambdas: how they are called, how a reply's headers are made, which way packets
//! leave.
//!
//! Every node becomes statements that end in a `return`. A node that several lead to is a function of its own; a test
//! leaves by its first way and goes on with its second, so that a chain of workloads is no deeper than one.

use std::collections::BTreeMap;

use lambdac_image::{Image, Key, Leaf, Node, NodeId};
use lambdac_mir::{Cond, Field, KeyField, KeyPart, LambdaId, Region, Term};

use super::Lowerer;
use super::bits::read_known;
use super::ends::{reply_headers, swap};
use super::func::packet;
use super::keyed::{key_bytes, key_scalar, kind_of};
use super::memory::Addr;
use super::scalar::{compared, negated, truth};
use super::wait;
use crate::ast::{self, Binary, Case, Expr, Local, LocalKind, Name, Stmt, Type};
use crate::dialect::Dialect;
use crate::legal;

/// Entries of a table from which it is a `switch`.
const SWITCH: usize = 4;

/// A condition: what comes first, and the expression.
type Test = (Vec<Stmt>, Expr);

pub(super) fn call_field(name: &str) -> Expr {
    Expr::var("lnic_call").field(name)
}

pub(super) fn packet_field(name: &str) -> Expr {
    Expr::var("lnic_packet").field(name)
}

pub(super) fn status(name: &str) -> Stmt {
    Stmt::Return(Some(Expr::var(name)))
}

/// A function without parameters that gives a status.
pub(super) fn func(name: Name, comment: String, locals: Vec<Local>, body: Vec<Stmt>) -> ast::Func {
    ast::Func {
        comment,
        exported: false,
        once: false,
        frame: None,
        result: Type::U32,
        name,
        params: Vec::new(),
        locals,
        body,
    }
}

/// What is known while the stage is lowered.
#[derive(Default)]
pub(super) struct Walk {
    /// How many lead to a node.
    preds: Vec<u32>,
    /// Functions of shared nodes.
    shared: BTreeMap<NodeId, Name>,
    /// Functions that run entries.
    runs: BTreeMap<usize, Name>,
    /// Functions that make replies, by their place in the plumbing, and that send packets out.
    pub(super) replies: BTreeMap<usize, Name>,
    pub(super) routes: BTreeMap<usize, Name>,
    /// Functions that end an invocation, by entry's reply and route.
    pub(super) ends: BTreeMap<(usize, usize), Name>,
    /// Functions that set what an entry's shared code differs in.
    binds: BTreeMap<usize, Name>,
    refuse: Option<Name>,
    /// Conditions that need a variable, so far.
    temps: u32,
    locals: Vec<Local>,
}

impl<'a> Lowerer<'a> {
    /// The stage with all that it leads to, and the functions that others call.
    pub fn stage(&mut self) {
        let nodes = &self.image.stage.nodes;
        let mut walk = Walk {
            preds: vec![0; nodes.len()],
            ..Walk::default()
        };
        let mut reached = vec![false; nodes.len()];
        let mut todo = vec![self.image.stage.root];
        while let Some(at) = todo.pop() {
            walk.preds[at.index()] += 1;
            if !std::mem::replace(&mut reached[at.index()], true) {
                let mut next = nodes[at.index()].successors();
                next.sort_unstable();
                next.dedup();
                todo.extend(next);
            }
        }
        // Successors have lower numbers, so what is shared is defined before it is called.
        for index in 0..nodes.len() {
            let at = NodeId(index as u32);
            let leaf = matches!(nodes[index], Node::Leaf(_));
            if reached[index] && walk.preds[index] > 1 && !leaf && at != self.image.stage.root {
                let name = self.names.fresh(&format!("stage{index}"));
                let body = self.node(at, &mut walk, true);
                let locals = std::mem::take(&mut walk.locals);
                self.code.push(func(name.clone(), String::new(), locals, body));
                walk.shared.insert(at, name);
            }
        }
        let body = self.node(self.image.stage.root, &mut walk, true);
        let locals = std::mem::take(&mut walk.locals);
        let mut dispatch = func(
            "lnic_dispatch".into(),
            "What picks a lambda.".to_owned(),
            locals,
            body,
        );
        dispatch.exported = true;
        self.code.push(dispatch);
        if self.options.direct {
            self.direct(&mut walk);
        }
        self.resume_all(&mut walk);
        self.streams(&mut walk);
    }

    /// A node and what follows it, ending in a `return`.
    fn node(&mut self, start: NodeId, walk: &mut Walk, inside: bool) -> Vec<Stmt> {
        let image = self.image;
        let mut out = Vec::new();
        let mut at = start;
        let mut inside = inside;
        loop {
            if !inside && let Some(name) = walk.shared.get(&at) {
                out.push(Stmt::Return(Some(Expr::Call(name.clone(), Vec::new()))));
                return out;
            }
            inside = false;
            let (test, then, other) = match &image.stage.nodes[at.index()] {
                Node::Leaf(leaf) => {
                    out.extend(self.leaf(*leaf, walk));
                    return out;
                }
                Node::Workload { id, then, other } => {
                    let same = call_field("workload").binary(Binary::Eq, Expr::int(*id));
                    ((Vec::new(), same), *then, *other)
                }
                Node::Length { min, then, other } => {
                    // The longer way is the way on.
                    let short = call_field("request_len").binary(Binary::Lt, Expr::int(*min));
                    ((Vec::new(), short), *other, *then)
                }
                Node::Test { cond, then, other } => {
                    let rule = &image.pool()[*cond];
                    if let Some(line) = self.line(rule.loc) {
                        out.push(Stmt::Comment(line));
                    }
                    (self.cond(&rule.cond, walk), *then, *other)
                }
                Node::Table { key, entries, miss } => {
                    out.extend(self.table(*key, entries, walk));
                    at = *miss;
                    continue;
                }
            };
            let (stmts, cond) = test;
            out.extend(stmts);
            match cond.as_int() {
                Some(0) => {}
                Some(_) => {
                    at = then;
                    continue;
                }
                None => {
                    let then = self.node(then, walk, false);
                    out.push(Stmt::If(truth(cond), then, Vec::new()));
                }
            }
            at = other;
        }
    }

    fn table(&mut self, key: Key, entries: &[(u64, NodeId)], walk: &mut Walk) -> Vec<Stmt> {
        let (on, ty) = match key {
            Key::Workload => (call_field("workload"), Type::U32),
            Key::Field(field) => (self.stage_field(field), Type::of_width(field.width())),
            Key::Both(field) => return self.by_id(field, entries, walk),
        };
        let mut targets: BTreeMap<NodeId, Vec<u64>> = BTreeMap::new();
        for (value, to) in entries {
            targets.entry(*to).or_default().push(*value);
        }
        let mut sorted: Vec<(NodeId, Vec<u64>)> = targets.into_iter().collect();
        for (_, values) in &mut sorted {
            values.sort_unstable();
        }
        sorted.sort_by_key(|(_, values)| values[0]);
        if entries.len() >= SWITCH {
            let cases = sorted.into_iter().map(|(to, values)| Case {
                labels: values.into_iter().map(|value| Expr::Int(value, ty)).collect(),
                body: self.node(to, walk, false),
            });
            return vec![Stmt::Switch(on, cases.collect())];
        }
        let tests = sorted.into_iter().map(|(to, values)| {
            let same = values
                .into_iter()
                .map(|value| on.clone().binary(Binary::Eq, Expr::Int(value, ty)))
                .reduce(|a, b| a.binary(Binary::LogicalOr, b))
                .unwrap_or_else(|| Expr::int(0));
            Stmt::If(same, self.node(to, walk, false), Vec::new())
        });
        tests.collect()
    }

    /// A table of the id and a field: a table of the field for each id, as numbers of 64 bits are dear.
    fn by_id(&mut self, field: Field, entries: &[(u64, NodeId)], walk: &mut Walk) -> Vec<Stmt> {
        let mut tables: BTreeMap<u32, Vec<(u64, NodeId)>> = BTreeMap::new();
        for (value, to) in entries {
            let (id, value) = Key::apart(*value);
            tables.entry(id).or_default().push((value, *to));
        }
        let own = tables.into_iter().map(|(id, entries)| {
            let same = call_field("workload").binary(Binary::Eq, Expr::Int(id.into(), Type::U32));
            Stmt::If(same, self.table(Key::Field(field), &entries, walk), Vec::new())
        });
        own.collect()
    }

    fn leaf(&mut self, leaf: Leaf, walk: &mut Walk) -> Vec<Stmt> {
        match leaf {
            Leaf::Run(entry) => {
                if self.image.entries[entry].on_host.is_some() {
                    return vec![status("LNIC_HOST")];
                }
                let run = self.run(entry, walk);
                vec![Stmt::Return(Some(Expr::Call(run, Vec::new())))]
            }
            Leaf::HandUp => vec![status("LNIC_HOST")],
            Leaf::Drop => vec![status("LNIC_DROP")],
            Leaf::Punt(_) => vec![status("LNIC_PUNT")],
            Leaf::BadRequest => vec![self.refusal("LNIC_BAD_REQUEST", walk)],
            Leaf::NoWorkload => vec![self.refusal("LNIC_NO_WORKLOAD", walk)],
        }
    }

    /// Answers with an error that no lambda gave.
    fn refusal(&mut self, with: &str, walk: &mut Walk) -> Stmt {
        let plumbing = &self.image.plumbing;
        let name = match &walk.refuse {
            Some(name) => name.clone(),
            // What is everybody's is this one's too.
            None if plumbing.replies.len() == 1 && plumbing.routes.len() == 1 => self.end_of(0, 0, walk),
            None => {
                let name = self.names.fresh("refuse");
                let mut body = reply_headers();
                body.push(Stmt::Assign(packet_field("egress"), packet_field("ingress")));
                body.push(status("status"));
                let comment = "An error that no lambda gave.".to_owned();
                let mut refuse = func(name.clone(), comment, swap(), body);
                refuse.params = vec![("status".into(), Type::U32)];
                self.code.push(refuse);
                name
            }
        };
        walk.refuse = Some(name.clone());
        Stmt::Return(Some(Expr::Call(name, vec![Expr::var(with)])))
    }

    /// The function that runs an entry: its bindings, its lambda, its reply, its way out.
    fn run(&mut self, entry: usize, walk: &mut Walk) -> Name {
        if let Some(name) = walk.runs.get(&entry) {
            return name.clone();
        }
        let image = self.image;
        let this = &image.entries[entry];
        let lambda = self.lambda(this.lambda);
        let bind = self.bind(entry, walk);
        let end = self.end(entry, walk);
        let name = self.names.fresh(&format!("run_{}", image.entry_name(entry)));
        let mut body: Vec<Stmt> = self.enough_room(this.lambda).into_iter().collect();
        if self.waits(this.lambda) && self.tells_apart() {
            body.push(Stmt::Assign(call_field("entry"), Expr::int(entry as u32)));
        }
        body.extend(bind.map(|bind| Stmt::Expr(Expr::Call(bind, Vec::new()))));
        let ended = Expr::Call(lambda, Vec::new());
        body.push(Stmt::Return(Some(Expr::Call(end, vec![ended]))));
        self.code
            .push(func(name.clone(), image.entry_name(entry), Vec::new(), body));
        walk.runs.insert(entry, name.clone());
        name
    }

    /// Whether what goes on after a wait depends on the entry.
    fn tells_apart(&self) -> bool {
        let plumbing = &self.image.plumbing;
        let waiting = self.image.entries.iter().enumerate();
        let mut ways = waiting
            .filter(|(_, entry)| self.waits(entry.lambda))
            .map(|(index, entry)| {
                let ends = (plumbing.reply_of[index], plumbing.route_of[index]);
                (ends, entry.is_plain())
            });
        let first = ways.next();
        first.is_some_and(|(ends, plain)| !plain || ways.any(|other| other != (ends, true)))
    }

    fn waits(&self, lambda: LambdaId) -> bool {
        waits(self.image, lambda)
    }

    /// Has a packet come back longer that could not hold what the lambda makes of it. What is a stream's the plugin sees
    /// to, chunk by chunk.
    fn enough_room(&self, lambda: LambdaId) -> Option<Stmt> {
        let lambda = &self.image.module.lambdas[lambda.index()];
        let wanted = lambda.reply.max.max(wait::asked_bytes(lambda));
        let sure = wanted <= lambda.request.min + legal::MAX_GROWTH && wait::asked_bytes(lambda) == 0;
        if self.dialect == Dialect::Host || lambda.stream || sure {
            return None;
        }
        let short = Expr::call("lnic_short", vec![Expr::int(wanted)]).binary(Binary::Ne, Expr::int(0));
        Some(Stmt::If(short, vec![status("LNIC_AGAIN")], Vec::new()))
    }

    /// The function that sets what shared code differs in for an entry.
    fn bind(&mut self, entry: usize, walk: &mut Walk) -> Option<Name> {
        if let Some(name) = walk.binds.get(&entry) {
            return Some(name.clone());
        }
        let image = self.image;
        if image.entries[entry].is_plain() {
            return None;
        }
        let mut body = self.bound_objects(entry);
        for instance in &image.entries[entry].services {
            let number = Expr::Var(self.services[&instance.named].clone());
            body.push(Stmt::Assign(number, Expr::int(instance.own.0)));
        }
        for binding in &image.entries[entry].bindings {
            let shape = &image.module.params[binding.param.index()].shape;
            let value = match (&binding.value, shape.scalar()) {
                (lambdac_image::Bound::Data(data), Some(width)) => {
                    Expr::Int(data.int().unwrap_or(0), Type::of_width(width))
                }
                (lambdac_image::Bound::Param(param), Some(width)) => match &self.params[param.index()] {
                    Some(super::Param::Memory(addr)) => addr.load(lambdac_mir::scalar_bytes(width)),
                    Some(super::Param::Variable(name) | super::Param::Pointer(name)) => {
                        Expr::Var(name.clone())
                    }
                    None => Expr::int(0),
                },
                (bound, None) => self.bound_address(shape, bound),
            };
            let name = match &self.params[binding.param.index()] {
                Some(super::Param::Variable(name) | super::Param::Pointer(name)) => name.clone(),
                _ => continue,
            };
            body.push(Stmt::Assign(Expr::Var(name), value));
        }
        let name = self.names.fresh(&format!("bind_{}", image.entry_name(entry)));
        let mut bind = func(name.clone(), String::new(), Vec::new(), body);
        bind.result = Type::Void;
        self.code.push(bind);
        walk.binds.insert(entry, name.clone());
        Some(name)
    }

    /// Sets where the objects of an entry are that its code has other names for.
    fn bound_objects(&self, entry: usize) -> Vec<Stmt> {
        let mut body = Vec::new();
        for instance in &self.image.entries[entry].instances {
            let named = self.objects[instance.named.index()].as_ref();
            let own = self.objects[instance.own.index()].as_ref();
            let (Some(own), Some((at, lock_at))) = (own, named.and_then(|named| named.reached.as_ref()))
            else {
                continue;
            };
            let place = self.array(&own.name, own.region).pointer();
            body.push(Stmt::Assign(Expr::Var(at.clone()), place));
            if let (Some(lock_at), Some(lock)) = (lock_at, &own.lock) {
                body.push(Stmt::Assign(Expr::Var(lock_at.clone()), lock.pointer()));
            }
        }
        body
    }

    /// Entering lambdas past the stage: by entry, and by lambda for those that others punt to.
    fn direct(&mut self, walk: &mut Walk) {
        let entries = 0..self.image.entries.len();
        let native = entries.filter(|entry| self.image.entries[*entry].on_host.is_none());
        let cases: Vec<Case> = native
            .collect::<Vec<_>>()
            .into_iter()
            .map(|entry| Case {
                labels: vec![Expr::int(entry as u32)],
                body: vec![Stmt::Return(Some(Expr::Call(self.run(entry, walk), Vec::new())))],
            })
            .collect();
        self.by_number("lnic_enter", "An entry past the stage.", cases);
        let lambdas = 0..self.image.module.lambdas.len();
        let cases: Vec<Case> = lambdas
            .filter(|lambda| self.runs_here(LambdaId(*lambda as u32)))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|lambda| Case {
                labels: vec![Expr::int(lambda as u32)],
                body: vec![Stmt::Return(Some(Expr::Call(
                    self.lambda(LambdaId(lambda as u32)),
                    Vec::new(),
                )))],
            })
            .collect();
        self.by_number("lnic_punted", "A lambda that another one punts to.", cases);
    }

    /// Whether some entry of a lambda is not the host's.
    fn runs_here(&self, lambda: LambdaId) -> bool {
        let mut entries = self.image.entries.iter();
        entries.any(|entry| entry.lambda == lambda && entry.on_host.is_none())
    }

    fn by_number(&mut self, name: &str, comment: &str, cases: Vec<Case>) {
        let mut body = vec![Stmt::Switch(Expr::var("number"), cases)];
        body.push(status("LNIC_HOST"));
        let mut func = func(name.into(), comment.to_owned(), Vec::new(), body);
        func.exported = true;
        func.params = vec![("number".into(), Type::U32)];
        self.code.push(func);
    }

    /// What goes on when a service has answered, or not in time.
    fn resume_all(&mut self, walk: &mut Walk) {
        if !self.asks {
            return;
        }
        let waiting: Vec<usize> = walk
            .runs
            .keys()
            .copied()
            .filter(|entry| self.waits(self.image.entries[*entry].lambda))
            .collect();
        let mut body = Vec::new();
        let binds = waiting.iter().filter_map(|entry| {
            let bind = walk.binds.get(entry)?.clone();
            Some(Case {
                labels: vec![Expr::int(*entry as u32)],
                body: vec![Stmt::Expr(Expr::Call(bind, Vec::new())), Stmt::Break],
            })
        });
        let binds: Vec<Case> = binds.collect();
        if !binds.is_empty() {
            body.push(Stmt::Switch(call_field("entry"), binds));
        }
        let ended = Expr::var("status");
        body.push(Stmt::Assign(ended.clone(), Expr::var("LNIC_DROP")));
        let sites = self.resumes.iter().enumerate().map(|(site, name)| Case {
            labels: vec![Expr::int(site as u32)],
            body: vec![
                Stmt::Assign(ended.clone(), Expr::Call(name.clone(), Vec::new())),
                Stmt::Break,
            ],
        });
        body.push(Stmt::Switch(call_field("site"), sites.collect()));
        let mut ends: BTreeMap<Name, Vec<Expr>> = BTreeMap::new();
        for entry in waiting {
            let end = self.end(entry, walk);
            ends.entry(end).or_default().push(Expr::int(entry as u32));
        }
        let ending = |end: &Name| Stmt::Return(Some(Expr::Call(end.clone(), vec![ended.clone()])));
        match ends.len() {
            1 => body.extend(ends.keys().map(ending)),
            _ => {
                let cases = ends.iter().map(|(end, labels)| Case {
                    labels: labels.clone(),
                    body: vec![ending(end)],
                });
                body.push(Stmt::Switch(call_field("entry"), cases.collect()));
                body.push(Stmt::Return(Some(ended.clone())));
            }
        }
        let comment = "A service has answered, or not in time.".to_owned();
        let locals = vec![Local {
            name: "status".into(),
            kind: LocalKind::Scalar(Type::U32, None),
        }];
        let mut resume = func("lnic_resume".into(), comment, locals, body);
        resume.exported = true;
        self.code.push(resume);
    }

    /// An integer that the stage reads.
    fn stage_field(&mut self, field: Field) -> Expr {
        match field {
            Field::Bits { bit, width } => {
                let request = self.request().plus(u64::from(bit / 8));
                let read = read_known(&request, bit % 8, width);
                // A byte is an `int` where it stands, and a comparison with it would be signed.
                if width <= 8 { read.cast(Type::U32) } else { read }
            }
            Field::Pkt(field) => packet(field),
            Field::Rest { offset, max } => Expr::call("lnic_rest", vec![Expr::int(offset), Expr::int(max)]),
        }
    }

    fn request(&self) -> Addr {
        Addr::new(self.dialect.request_space(), call_field("request"))
    }

    /// A condition of the pool.
    fn cond(&mut self, cond: &'a Cond, walk: &mut Walk) -> Test {
        match cond {
            Cond::True => (Vec::new(), Expr::int(1)),
            Cond::Not(inner) => {
                let (stmts, cond) = self.cond(inner, walk);
                let not = match cond.as_int() {
                    Some(known) => Expr::int(u32::from(known == 0)),
                    None => negated(truth(cond)),
                };
                (stmts, not)
            }
            Cond::All(items) => self.joined(items, true, walk),
            Cond::Any(items) => self.joined(items, false, walk),
            Cond::Cmp {
                field,
                op,
                swapped,
                value,
            } => {
                let width = field.width();
                let (found, value) = (self.stage_field(*field), Expr::Int(*value, Type::of_width(width)));
                let (a, b) = if *swapped { (value, found) } else { (found, value) };
                (Vec::new(), compared(*op, a, b, width))
            }
            Cond::Range { field, lo, hi } => (Vec::new(), self.range(*field, *lo, *hi)),
            Cond::Masked { field, mask, value } => {
                let ty = Type::of_width(field.width());
                let masked = self.stage_field(*field).binary(Binary::And, Expr::Int(*mask, ty));
                (Vec::new(), masked.binary(Binary::Eq, Expr::Int(*value, ty)))
            }
            Cond::Has { table, key } => self.has(*table, key),
            Cond::Eval(func) => self.eval(func, walk),
        }
    }

    fn range(&mut self, field: Field, lo: u64, hi: u64) -> Expr {
        let width = field.width();
        let ty = Type::of_width(width);
        let above = compared(
            lambdac_mir::CmpOp::Ule,
            Expr::Int(lo, ty),
            self.stage_field(field),
            width,
        );
        if hi > lambdac_mir::mask(width) {
            return above;
        }
        let below = compared(
            lambdac_mir::CmpOp::Ult,
            self.stage_field(field),
            Expr::Int(hi, ty),
            width,
        );
        match (above.as_int(), below.as_int()) {
            (Some(0), _) | (_, Some(0)) => Expr::int(0),
            (Some(_), _) => below,
            (_, Some(_)) => above,
            (None, None) => above.binary(Binary::LogicalAnd, below),
        }
    }

    /// `&&` or `||`; where an item is more than an expression, nested tests into a variable.
    fn joined(&mut self, items: &'a [Cond], all: bool, walk: &mut Walk) -> Test {
        let mut tests = Vec::new();
        for item in items {
            let (stmts, cond) = self.cond(item, walk);
            match cond.as_int() {
                // What changes nothing is left out; what decides ends the list.
                Some(known) if stmts.is_empty() && (known != 0) == all => {}
                Some(_) => {
                    tests.push((stmts, cond));
                    break;
                }
                None => tests.push((stmts, truth(cond))),
            }
        }
        let op = if all {
            Binary::LogicalAnd
        } else {
            Binary::LogicalOr
        };
        if tests
            .iter()
            .all(|(stmts, cond)| stmts.is_empty() && cond.as_int().is_none())
        {
            let joined = tests
                .into_iter()
                .map(|(_, cond)| cond)
                .reduce(|a, b| a.binary(op, b));
            return (Vec::new(), joined.unwrap_or_else(|| Expr::int(all.into())));
        }
        let name: Name = format!("holds{}", walk.temps).into();
        walk.temps += 1;
        walk.locals.push(Local {
            name: name.clone(),
            kind: LocalKind::Scalar(Type::U32, None),
        });
        let holds = Expr::Var(name);
        let mut inner = vec![Stmt::Assign(holds.clone(), Expr::int(all.into()))];
        for (stmts, cond) in tests.into_iter().rev() {
            let go_on = match (cond.as_int(), all) {
                (Some(known), _) => Expr::int(u32::from((known != 0) == all)),
                (None, true) => cond,
                (None, false) => negated(cond),
            };
            let mut outer = stmts;
            match go_on.as_int() {
                Some(0) => {}
                Some(_) => outer.extend(inner),
                None => outer.push(Stmt::If(go_on, inner, Vec::new())),
            }
            inner = outer;
        }
        let mut out = vec![Stmt::Assign(holds.clone(), Expr::int((!all).into()))];
        out.extend(inner);
        (out, holds)
    }

    fn has(&mut self, table: lambdac_mir::ObjectId, key: &[KeyField]) -> Test {
        let parts = kind_of(&self.image.module.objects[table.index()].kind).0;
        let mut index = 0;
        let mut stmts = Vec::new();
        for (part, field) in parts.iter().zip(key) {
            let width = match part {
                KeyPart::Scalar(width) => *width,
                KeyPart::Bytes(_) => 8,
            };
            match field {
                KeyField::Field(field) => {
                    let value = self.stage_field(*field);
                    stmts.extend(key_scalar(&mut index, width, value));
                }
                KeyField::Const(value) => {
                    let value = Expr::Int(*value, Type::of_width(width));
                    stmts.extend(key_scalar(&mut index, width, value));
                }
                KeyField::Bytes { offset, len } => {
                    let addr = self.request().plus((*offset).into());
                    stmts.extend(key_bytes(&mut index, &addr, *len));
                }
            }
        }
        match self.verb(table, "find") {
            Some(name) => {
                let found = Expr::Call(name, Vec::new()).binary(Binary::Ne, Expr::int(0));
                (stmts, found)
            }
            None => (stmts, Expr::int(0)),
        }
    }

    /// A condition in code.
    fn eval(&mut self, func: &'a lambdac_mir::Func, walk: &mut Walk) -> Test {
        let mut traps = false;
        func.region
            .walk(&mut |stmt| traps |= stmt.op.effects_with(&self.effects).traps);
        func.region
            .walk_regions(&mut |region| traps |= matches!(region.term, Term::Trap(..)));
        let signature = self.signature(func, traps);
        let code = self.func_body(func, &signature, &[]);
        self.code.push(code);
        let call = Expr::Call(signature.name.clone(), Vec::new());
        if !traps {
            return (Vec::new(), call);
        }
        let trapped = call.binary(Binary::Ne, Expr::int(0));
        let stop = Stmt::If(trapped, vec![self.refusal("LNIC_TRAP", walk)], Vec::new());
        let holds = signature.results.first().cloned().unwrap_or_else(|| "0".into());
        (vec![stop], Expr::Var(holds))
    }
}

/// Whether a lambda waits for a service.
pub(super) fn waits(image: &Image, lambda: LambdaId) -> bool {
    let mut waits = false;
    for part in &image.module.lambdas[lambda.index()].parts {
        part.region
            .walk_regions(&mut |region: &Region| waits |= matches!(region.term, Term::Await { .. }));
    }
    waits
}
