//! A body as a routine: what `apply` does to run it, and the actions that this takes.
//!
//! Actions apply no tables. A body that looks in some is cut around them: runs of statements become actions, and what
//! stands around a lookup (an `if`, a loop, a way out) becomes part of `apply`. There are no loops there (see the crate's
//! documentation), so one around a lookup is unrolled: its trips call the same actions, but each has tables of its own,
//! since p4c refuses one that is applied twice. A way out of such a loop can't leave its action alone: it sets the loop's
//! `way`, which what follows asks. So a lookup is done when the body comes to it, with a key of whatever is known by then.
//!
//! Variables that several actions share are the control's; those of one action stay its own.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;

use super::code::MAX_STATEMENTS;
use super::lookup::Site;
use super::unit::{Unit, read};
use crate::ast::{Action, Binary, Entry, Expr, For, Local, Stmt, Table, Trips, Type, names_of, names_of_mut};
use crate::legal::{CODE, Refusal};

/// The most lookups of a lambda, those in loops counted for each trip. p4c takes a second for two or three of them, since
/// it copies an action for each place that calls it.
pub(crate) const MAX_LOOKUPS: usize = 128;

/// Values of a loop's `way`.
const ON: u64 = 0;
const NEXT: u64 = 1;
const OUT: u64 = 2;

/// What runs a body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routine {
    /// Variables, actions and tables.
    pub locals: Vec<Local>,
    /// What is applied.
    pub apply: Vec<Stmt>,
    /// Entries that the control plane adds, with their table.
    pub entries: Vec<(String, Entry)>,
}

impl Routine {
    /// A body that looks in no table: an action.
    pub fn plain(name: &str, body: Vec<Stmt>) -> Self {
        let action = Action {
            name: name.to_owned(),
            params: Vec::new(),
            body,
        };
        Self {
            apply: vec![call(name)],
            locals: vec![Local::Action(action)],
            entries: Vec::new(),
        }
    }

    /// The action, if it is just that.
    pub fn action(&self) -> Option<&Action> {
        match &self.locals[..] {
            [Local::Action(action)] => Some(action),
            _ => None,
        }
    }
}

/// A body, and what it needs.
pub(super) struct Whole {
    /// Declarations of variables, each with zero.
    pub locals: Vec<Stmt>,
    /// Elements of registers that do not change meanwhile: the register, which, and the variable.
    pub preloaded: Vec<(Expr, u64, Expr)>,
    /// The statements; a table's `apply` stands among them as a call.
    pub body: Vec<Stmt>,
    /// What is looked in.
    pub sites: Vec<Site>,
}

/// Makes a routine of a body that looks in tables.
pub(super) fn cut(unit: &mut Unit<'_>, name: &str, whole: Whole) -> Result<Routine, Refusal> {
    let sites = whole.sites.iter();
    let mut cutter = Cutter {
        sites: sites.map(|site| (site.table.name.clone(), site)).collect(),
        applied: BTreeSet::new(),
        tables: Vec::new(),
        entries: Vec::new(),
        pieces: Vec::new(),
        locals: whole.locals,
        once: None,
        ways: Vec::new(),
        depth: 0,
        written: 0,
        name,
        unit,
    };
    let done = cutter.sequence(&whole.body, None)?;
    Ok(cutter.finish(done.stmts, &whole.preloaded))
}

fn call(name: &str) -> Stmt {
    Stmt::Call(Expr::name(name).call(Vec::new()))
}

/// An action, and how often it is called.
struct Piece {
    name: String,
    body: Vec<Stmt>,
    calls: usize,
}

struct Cutter<'c, 'u, 'm> {
    unit: &'u mut Unit<'m>,
    name: &'c str,
    /// By the table's name.
    sites: BTreeMap<String, &'c Site>,
    /// Tables that are applied already.
    applied: BTreeSet<String>,
    tables: Vec<Table>,
    entries: Vec<(String, Entry)>,
    pieces: Vec<Piece>,
    locals: Vec<Stmt>,
    /// What says that a loop of one trip has its trip.
    once: Option<Expr>,
    /// By depth: how the loops around go on.
    ways: Vec<Expr>,
    depth: usize,
    written: usize,
}

/// Statements of `apply`.
#[derive(Default)]
struct Done {
    stmts: Vec<Stmt>,
    /// Whether they may set the loop's `way`.
    leaves: bool,
    /// Whether the last one is a test of it that holds for what comes next.
    tested: bool,
}

impl Done {
    /// Statements that leave nothing.
    fn of(stmts: Vec<Stmt>) -> Self {
        Self {
            stmts,
            ..Self::default()
        }
    }

    /// Adds what comes next, unless a way out was taken.
    fn then(&mut self, next: Done, way: Option<&Expr>) {
        if next.stmts.is_empty() {
            return;
        }
        match (way, self.stmts.last_mut()) {
            (Some(_), Some(Stmt::If(_, then, _))) if self.tested => then.extend(next.stmts),
            (Some(way), _) if self.leaves => {
                self.stmts.push(Stmt::If(is(way, ON), next.stmts, Vec::new()));
            }
            _ => self.stmts.extend(next.stmts),
        }
        self.tested = self.leaves && !next.leaves;
        self.leaves |= next.leaves;
    }
}

fn is(way: &Expr, which: u64) -> Expr {
    way.clone().binary(Binary::Eq, Expr::bits(8, which))
}

fn goes(way: &Expr, which: u64) -> Stmt {
    Stmt::Assign(way.clone(), Expr::bits(8, which))
}

/// The table that a statement applies.
fn applied(stmt: &Stmt) -> Option<&str> {
    let Stmt::Call(Expr::Call(callee, _)) = stmt else {
        return None;
    };
    match &**callee {
        Expr::Member(table, method) if method == "apply" => match &**table {
            Expr::Name(name) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a statement applies a table, itself or inside.
fn applies(stmt: &Stmt) -> bool {
    match stmt {
        Stmt::If(_, then, other) => then.iter().chain(other).any(applies),
        Stmt::For(inner) => inner.body.iter().any(applies),
        stmt => applied(stmt).is_some(),
    }
}

fn size(stmts: &[Stmt]) -> usize {
    let one = |stmt: &Stmt| match stmt {
        Stmt::If(_, then, other) => 1 + size(then) + size(other),
        Stmt::For(inner) => 1 + size(&inner.body),
        Stmt::Comment(_) => 0,
        _ => 1,
    };
    stmts.iter().map(one).sum()
}

/// Ways out of a loop among statements that are an action now: they set `way`. Whether one of them is not the last thing
/// that is done, so that it has to leave a loop of the action's own.
fn redirect(stmts: &mut Vec<Stmt>, way: &Expr, tail: bool) -> bool {
    let mut amid = false;
    let last = stmts.len().saturating_sub(1);
    for (index, stmt) in stmts.iter_mut().enumerate() {
        if let Stmt::If(_, then, other) = stmt {
            let tail = tail && index == last;
            amid |= redirect(then, way, tail);
            amid |= redirect(other, way, tail);
        }
    }
    let at = stmts
        .iter()
        .position(|stmt| matches!(stmt, Stmt::Break | Stmt::Continue));
    if let Some(at) = at {
        let which = if stmts[at] == Stmt::Break { OUT } else { NEXT };
        stmts.truncate(at);
        stmts.extend([goes(way, which), Stmt::Break]);
        amid |= !tail;
    }
    amid
}

/// Takes away what `redirect` has left of the ways out, where they are the last thing that is done.
fn fall(stmts: &mut Vec<Stmt>) {
    if stmts.last() == Some(&Stmt::Break) {
        stmts.pop();
    }
    if let Some(Stmt::If(_, then, other)) = stmts.last_mut() {
        fall(then);
        fall(other);
    }
}

/// Whether statements leave the loop around them.
fn leaves(stmts: &[Stmt]) -> bool {
    stmts.iter().any(|stmt| match stmt {
        Stmt::Break | Stmt::Continue => true,
        Stmt::If(_, then, other) => leaves(then) || leaves(other),
        _ => false,
    })
}

impl Cutter<'_, '_, '_> {
    /// A new variable; named anew where it turns out to be the control's.
    fn local(&mut self, name: &str, ty: Type, zero: Expr) -> Expr {
        let name = self.unit.names.fresh(&format!("{}_{name}", self.name));
        self.locals.push(Stmt::Var(ty, name.clone(), Some(zero)));
        Expr::name(name)
    }

    /// What says how a loop at this depth goes on, and whether another one had it, so that it is not zero any more.
    fn way(&mut self) -> (Expr, bool) {
        if let Some(way) = self.ways.get(self.depth) {
            return (way.clone(), true);
        }
        let way = self.local("way", Type::Bit(8), Expr::bits(8, ON));
        self.ways.push(way.clone());
        (way, false)
    }

    fn sequence(&mut self, stmts: &[Stmt], way: Option<&Expr>) -> Result<Done, Refusal> {
        let (mut done, mut run) = (Done::default(), Vec::new());
        for stmt in stmts {
            if !applies(stmt) {
                run.push(stmt.clone());
                continue;
            }
            if let Stmt::For(inner) = stmt {
                let (own, used) = self.way();
                if inner.trips != Trips::One {
                    run.extend(inner.first.clone());
                }
                if used || way.is_some() {
                    run.push(goes(&own, ON));
                }
                done.then(self.run(take(&mut run), way)?, way);
                self.depth += 1;
                let trips = self.unrolled(inner, &own);
                self.depth -= 1;
                done.then(Done::of(trips?), way);
                continue;
            }
            done.then(self.run(take(&mut run), way)?, way);
            let next = match stmt {
                Stmt::If(cond, then, other) => {
                    let (then, other) = (self.sequence(then, way)?, self.sequence(other, way)?);
                    Done {
                        leaves: then.leaves || other.leaves,
                        ..Done::of(vec![Stmt::If(cond.clone(), then.stmts, other.stmts)])
                    }
                }
                stmt => Done::of(vec![self.lookup(stmt)?]),
            };
            done.then(next, way);
        }
        done.then(self.run(run, way)?, way);
        Ok(done)
    }

    /// The table that a statement applies, or one like it where that is taken.
    fn lookup(&mut self, stmt: &Stmt) -> Result<Stmt, Refusal> {
        let Some(site) = applied(stmt).and_then(|name| self.sites.get(name).copied()) else {
            return Err(Refusal::new(CODE, "a table that nobody knows"));
        };
        if self.tables.len() == MAX_LOOKUPS {
            let reason = format!("it looks in tables more than {MAX_LOOKUPS} times, loops unrolled");
            return Err(Refusal::new(CODE, reason));
        }
        let mut table = site.table.clone();
        if !self.applied.insert(table.name.clone()) {
            table.name = self.unit.names.fresh(&table.name);
        }
        let lines = site.entries.iter();
        self.entries
            .extend(lines.map(|entry| (table.name.clone(), entry.clone())));
        let apply = Expr::name(table.name.clone()).method("apply", Vec::new());
        self.tables.push(table);
        Ok(Stmt::Call(apply))
    }

    /// All trips of a loop.
    fn unrolled(&mut self, inner: &For, way: &Expr) -> Result<Vec<Stmt>, Refusal> {
        let trips = match inner.trips {
            Trips::One => return Ok(self.sequence(&inner.body, Some(way))?.stmts),
            Trips::Most(trips) => trips,
            Trips::Any => return Err(Refusal::new(CODE, "a loop without an end that looks in tables")),
        };
        let (mut stmts, mut left) = (Vec::new(), false);
        for _ in 0..trips {
            let mut trip = self.sequence(&inner.body, Some(way))?;
            let mut last: Vec<Stmt> = inner.step.clone().into_iter().collect();
            if trip.leaves {
                let next = Stmt::If(is(way, NEXT), vec![goes(way, ON)], Vec::new());
                last = match last.is_empty() {
                    true => vec![next],
                    false => vec![next, Stmt::If(is(way, ON), last, Vec::new())],
                };
            }
            trip.stmts.extend(self.run(last, None)?.stmts);
            let cond = match left {
                true => is(way, ON).binary(Binary::AndAnd, inner.cond.clone()),
                false => inner.cond.clone(),
            };
            stmts.push(Stmt::If(cond, trip.stmts, Vec::new()));
            left = trip.leaves;
        }
        Ok(stmts)
    }

    /// Statements without lookups: a call of their action, which others may call as well.
    fn run(&mut self, mut body: Vec<Stmt>, way: Option<&Expr>) -> Result<Done, Refusal> {
        if body.iter().all(|stmt| matches!(stmt, Stmt::Comment(_))) {
            return Ok(Done::default());
        }
        let leaves = leaves(&body);
        if let Some(way) = way.filter(|_| leaves) {
            body = self.redirected(body, way);
        }
        self.written += size(&body);
        if self.written > MAX_STATEMENTS {
            let reason = format!(
                "its code takes more than {MAX_STATEMENTS} statements, loops that look in tables unrolled"
            );
            return Err(Refusal::new(CODE, reason));
        }
        let name = match self.pieces.iter_mut().find(|piece| piece.body == body) {
            Some(piece) => {
                piece.calls += 1;
                piece.name.clone()
            }
            None => {
                let name = self
                    .unit
                    .names
                    .fresh(&format!("{}_{}", self.name, self.pieces.len() + 1));
                self.pieces.push(Piece {
                    name: name.clone(),
                    body,
                    calls: 1,
                });
                name
            }
        };
        Ok(Done {
            leaves,
            ..Done::of(vec![call(&name)])
        })
    }

    fn redirected(&mut self, mut body: Vec<Stmt>, way: &Expr) -> Vec<Stmt> {
        if !redirect(&mut body, way, true) {
            fall(&mut body);
            return body;
        }
        let once = match &self.once {
            Some(once) => once.clone(),
            None => {
                let once = self.local("once", Type::Bool, Expr::Bool(false));
                self.once.insert(once).clone()
            }
        };
        vec![Stmt::For(Box::new(For {
            first: Some(Stmt::Assign(once.clone(), Expr::Bool(true))),
            cond: once.clone(),
            step: Some(Stmt::Assign(once, Expr::Bool(false))),
            body,
            trips: Trips::One,
        }))]
    }

    /// Declares each variable where it is needed, and puts all together.
    fn finish(mut self, mut apply: Vec<Stmt>, preloaded: &[(Expr, u64, Expr)]) -> Routine {
        let begins = match &apply[..] {
            [first, ..] => self
                .pieces
                .iter()
                .position(|piece| piece.calls == 1 && *first == call(&piece.name)),
            [] => None,
        };
        let begins = begins.unwrap_or_else(|| {
            let name = self.unit.names.fresh(&format!("{}_begins", self.name));
            apply.insert(0, call(&name));
            self.pieces.push(Piece {
                name,
                body: Vec::new(),
                calls: 1,
            });
            self.pieces.len() - 1
        });
        let mut homes = Homes::of(&self.pieces, &self.tables, &apply);
        let (mut shared, mut renamed) = (Vec::new(), BTreeMap::new());
        for (register, index, to) in preloaded {
            homes.preload(&mut self.pieces, begins, (register, *index, to));
        }
        for local in take(&mut self.locals) {
            let Stmt::Var(ty, name, zero) = &local else {
                continue;
            };
            let known = preloaded.iter().map(|(_, _, to)| to).chain(&self.once);
            let fixed = known.into_iter().any(|to| *to == Expr::name(name));
            for at in homes.own(name, &self.pieces, fixed) {
                self.pieces[at].body.insert(0, local.clone());
            }
            if homes.is_shared(name, &self.pieces, fixed) {
                let new = self.shared_name(name);
                renamed.insert(name.clone(), new.clone());
                shared.push((ty.clone(), new, zero.clone()));
            }
        }
        let mut rename = |name: &mut String| {
            if let Some(new) = renamed.get(name) {
                name.clone_from(new);
            }
        };
        self.pieces
            .iter_mut()
            .for_each(|piece| names_of_mut(&mut piece.body, &mut rename));
        names_of_mut(&mut apply, &mut rename);
        let keys = self.tables.iter_mut().flat_map(|table| &mut table.keys);
        keys.for_each(|key| key.expr.for_each_name_mut(&mut rename));
        let zeros = shared
            .iter()
            .filter_map(|(_, name, zero)| Some(Stmt::Assign(Expr::name(name), zero.clone()?)));
        let zeros: Vec<Stmt> = zeros.collect();
        // Behind the action's own declarations.
        let body = &mut self.pieces[begins].body;
        let at = body
            .iter()
            .position(|stmt| !matches!(stmt, Stmt::Var(..)))
            .unwrap_or(body.len());
        body.splice(at..at, zeros);
        self.routine(shared, apply)
    }

    /// The name of a variable that is the control's.
    fn shared_name(&mut self, name: &str) -> String {
        match name.starts_with(&format!("{}_", self.name)) && self.unit.names.has(name) {
            true => name.to_owned(),
            false => self.unit.names.fresh(&format!("{}_{name}", self.name)),
        }
    }

    fn routine(self, shared: Vec<(Type, String, Option<Expr>)>, apply: Vec<Stmt>) -> Routine {
        let mut locals: Vec<Local> = shared
            .into_iter()
            .map(|(ty, name, _)| Local::Var(ty, name))
            .collect();
        locals.extend(self.pieces.into_iter().map(|piece| {
            Local::Action(Action {
                name: piece.name,
                params: Vec::new(),
                body: piece.body,
            })
        }));
        locals.extend(self.sites.values().map(|site| Local::Action(site.action.clone())));
        locals.extend(self.tables.into_iter().map(Local::Table));
        Routine {
            locals,
            apply,
            entries: self.entries,
        }
    }
}

/// By name: the actions that name it, and whether `apply` or a table does.
#[derive(Default)]
struct Homes {
    by_name: BTreeMap<String, (BTreeSet<usize>, bool)>,
}

impl Homes {
    fn of(pieces: &[Piece], tables: &[Table], apply: &[Stmt]) -> Self {
        let mut homes = Self::default();
        for (index, piece) in pieces.iter().enumerate() {
            names_of(&piece.body, &mut |name| {
                homes.by_name.entry(name.to_owned()).or_default().0.insert(index);
            });
        }
        let mut outside = |name: &str| homes.by_name.entry(name.to_owned()).or_default().1 = true;
        names_of(apply, &mut outside);
        let keys = tables.iter().flat_map(|table| &table.keys);
        keys.for_each(|key| key.expr.for_each_name(&mut outside));
        homes
    }

    /// Reads an element in every action that needs it, and in the first one where `apply` does.
    fn preload(&mut self, pieces: &mut [Piece], begins: usize, (register, index, to): (&Expr, u64, &Expr)) {
        let Expr::Name(name) = to else { return };
        let Some((users, outside)) = self.by_name.get_mut(name) else {
            return;
        };
        users.extend(outside.then_some(begins));
        if let Expr::Name(register) = register {
            for at in &*users {
                pieces[*at]
                    .body
                    .insert(0, read(register, to.clone(), Expr::bits(32, index)));
            }
        }
    }

    /// The actions that have a variable of their own. `fixed`: each of them sets it first.
    fn own(&self, name: &str, pieces: &[Piece], fixed: bool) -> Vec<usize> {
        match self.by_name.get(name) {
            Some((users, false))
                if fixed || users.len() == 1 && users.iter().all(|at| pieces[*at].calls == 1) =>
            {
                users.iter().copied().collect()
            }
            _ => Vec::new(),
        }
    }

    fn is_shared(&self, name: &str, pieces: &[Piece], fixed: bool) -> bool {
        self.by_name.contains_key(name) && self.own(name, pieces, fixed).is_empty()
    }
}
