//! Code: a region of MIR as the statements of an action.
//!
//! - Values become variables of the action. One that is pure and used once, in the region that defines it, becomes part
//!   of the expression that uses it.
//! - Functions become code where they are called: P4 passes neither registers nor views.
//! - Loops, blocks and ways out of them: see `control`.

use std::collections::BTreeSet;
use std::rc::Rc;

use lambdac_mir::{
    Base, Body, Func, FuncParam, LambdaId, Loc, Op, Operand, Place, Region, ServiceId, Stmt as MirStmt, Term,
    TrapCause, Value,
};

use super::control::{Goal, Target};
use super::fold;
use super::lookup::Site;
use super::memory::{Home, Homes, Reach, Tree, constant, variable_type, zero};
use super::routine::{self, Routine};
use super::unit::{Unit, fits_own};
use super::wait::Waiting;
use crate::ast::{Binary, Expr, Stmt, Type};
use crate::legal::{AWAIT, CODE, Refusal};
use crate::names::Namer;

/// The most statements of an action, or of all that a routine calls.
pub(super) const MAX_STATEMENTS: usize = 20_000;

/// A function or lambda whose code is being written.
pub(super) struct Frame<'m> {
    pub body: &'m Body,
    pub values: Vec<Option<Expr>>,
    /// Values that become part of an expression.
    folded: Vec<bool>,
    pub args: Vec<Argument>,
    pub slots: Vec<Option<Rc<Tree>>>,
}

/// What a parameter of a function is, inside it.
#[derive(Clone)]
pub(super) enum Argument {
    Scalar,
    Spot(Spot),
    Bytes(Bytes),
}

/// Cells of a place: a tree, and which of its elements.
#[derive(Clone)]
pub(super) struct Spot {
    pub tree: Rc<Tree>,
    /// 32 bits.
    pub index: Expr,
}

/// Bytes of a place.
#[derive(Clone)]
pub(super) struct Bytes {
    pub home: Home,
    /// First byte in it, 32 bits.
    pub start: Expr,
    /// How many, 32 bits.
    pub len: Expr,
}

/// How an action ends other than by falling off its end.
pub(super) trait Ends<'m> {
    /// A reply.
    fn reply(&self, code: &mut Code<'_, 'm>, bytes: &Bytes) -> Result<(), Refusal>;
    /// Anything else, as assignments.
    fn ended(&self, how: Ended) -> Vec<Stmt>;
}

/// Ends without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Drop,
    Punt(Option<LambdaId>),
    Trap(TrapCause),
}

/// Code of one action.
pub(super) struct Code<'u, 'm> {
    pub unit: &'u mut Unit<'m>,
    ends: Rc<dyn Ends<'m> + 'm>,
    /// What its registers' names start with.
    prefix: String,
    names: Namer,
    /// Declarations, first of all.
    locals: Vec<Stmt>,
    /// What is read once for all, after the declarations.
    preloaded: Vec<(Expr, u64, Expr)>,
    pub out: Vec<Stmt>,
    /// Lines of the log from inside loops, last of all.
    pub(super) said: Vec<Stmt>,
    pub frames: Vec<Frame<'m>>,
    pub(super) targets: Vec<Target>,
    /// By open P4 loop: numbers of targets further out that are left to from inside.
    pub(super) open: Vec<BTreeSet<u64>>,
    pub(super) leave: Option<Expr>,
    pub(super) next_number: u64,
    written: usize,
    pub(super) loc: Loc,
    /// What it looks in.
    pub(super) sites: Vec<Site>,
    /// The lambda whose parts are being written, if it may wait.
    pub(super) waiting: Option<Waiting<'m>>,
    /// What calls mean.
    pub(super) funcs: &'m [Func],
    /// The first byte of the request in its words, and how many there are.
    pub request: Bytes,
}

impl Homes for Code<'_, '_> {
    fn home(&mut self, name: &str, width: u32, count: u64, reach: Reach) -> Home {
        match reach {
            Reach::Single => Home::Var(self.local(name, width)),
            Reach::Run | Reach::Indexed => {
                let name = format!("{}_{name}", self.prefix);
                Home::Register(self.unit.register(&name, width, count))
            }
        }
    }
}

impl<'u, 'm> Code<'u, 'm> {
    pub fn new(unit: &'u mut Unit<'m>, prefix: &str, request: Bytes, ends: Rc<dyn Ends<'m> + 'm>) -> Self {
        let funcs = &unit.image.module.funcs;
        Self {
            waiting: None,
            funcs,
            unit,
            ends,
            prefix: prefix.to_owned(),
            names: Namer::default(),
            locals: Vec::new(),
            preloaded: Vec::new(),
            out: Vec::new(),
            said: Vec::new(),
            frames: Vec::new(),
            targets: Vec::new(),
            open: Vec::new(),
            leave: None,
            next_number: 1,
            written: 0,
            loc: Loc::default(),
            sites: Vec::new(),
            request,
        }
    }

    /// The code as a routine.
    pub fn routine(mut self, name: &str) -> Result<Routine, Refusal> {
        if self.sites.is_empty() {
            return Ok(Routine::plain(name, self.finish()));
        }
        let whole = routine::Whole {
            body: std::mem::take(&mut self.out)
                .into_iter()
                .chain(self.said)
                .collect(),
            locals: self.locals,
            preloaded: self.preloaded,
            sites: self.sites,
        };
        routine::cut(self.unit, name, whole)
    }

    /// All statements of the action, which looks in no table. Variables of code that was left out go: p4c warns of them.
    pub fn finish(self) -> Vec<Stmt> {
        let reads = self.preloaded.into_iter().map(|(register, index, to)| {
            Stmt::Call(register.method("read", vec![to, Expr::bits(32, index)]))
        });
        let body: Vec<Stmt> = reads.chain(self.out).chain(self.said).collect();
        let mut used = BTreeSet::new();
        crate::ast::names_of(&body, &mut |name| {
            used.insert(name.to_owned());
        });
        let is_used = |local: &Stmt| !matches!(local, Stmt::Var(_, name, _) if !used.contains(name));
        self.locals.into_iter().filter(is_used).chain(body).collect()
    }

    /// A new variable.
    pub fn local(&mut self, name: &str, width: u32) -> Expr {
        self.typed(name, variable_type(width), zero(width))
    }

    /// A new variable of so many bits, a number even where it is one.
    pub fn wide(&mut self, name: &str, width: u32) -> Expr {
        self.typed(name, Type::Bit(width), Expr::bits(width, 0))
    }

    fn typed(&mut self, name: &str, ty: Type, value: Expr) -> Expr {
        let mut name = self.names.fresh(name);
        while self.unit.names.has(&name) {
            name = self.names.fresh(&name);
        }
        self.locals.push(Stmt::Var(ty, name.clone(), Some(value)));
        Expr::name(name)
    }

    /// Writes a statement.
    pub fn push(&mut self, stmt: Stmt) {
        self.written += 1;
        self.out.push(stmt);
    }

    /// Statements so far.
    pub fn written(&self) -> usize {
        self.written
    }

    /// `place = value;`
    pub fn assign(&mut self, place: Expr, value: Expr) {
        if place != value {
            self.push(Stmt::Assign(place, value));
        }
    }

    /// An element of a register that does not change during the action, read at its start.
    pub fn preload(&mut self, register: &str, index: u64, width: u32) -> Expr {
        let name = Expr::name(register);
        let found = self
            .preloaded
            .iter()
            .find(|(other, at, _)| *other == name && *at == index);
        if let Some((_, _, to)) = found {
            return to.clone();
        }
        let to = self.wide(&format!("{register}_{index}"), width);
        self.preloaded.push((name, index, to.clone()));
        to
    }

    /// What `f` writes, apart.
    pub fn apart(&mut self, f: impl FnOnce(&mut Self) -> Result<(), Refusal>) -> Result<Vec<Stmt>, Refusal> {
        let outer = std::mem::take(&mut self.out);
        let result = f(self);
        let inner = std::mem::replace(&mut self.out, outer);
        result.map(|()| inner)
    }

    pub fn frame(&self) -> &Frame<'m> {
        self.frames.last().expect("code has a frame")
    }

    pub(super) fn frame_mut(&mut self) -> &mut Frame<'m> {
        self.frames.last_mut().expect("code has a frame")
    }

    /// Width of a value.
    pub fn width(&self, value: Value) -> u32 {
        self.frame().body.width(value).into()
    }

    /// A value as an expression.
    pub fn get(&mut self, value: Value) -> Expr {
        let width = self.width(value);
        let found = self.frame().values[value.index()].clone();
        found.unwrap_or_else(|| constant(width, 0))
    }

    /// A value as something that can stand twice.
    pub fn atom(&mut self, value: Value) -> Expr {
        let width = self.width(value);
        let expr = self.get(value);
        self.settled(expr, width)
    }

    /// An expression as something that can stand twice.
    pub fn settled(&mut self, expr: Expr, width: u32) -> Expr {
        if expr.is_atom() {
            return expr;
        }
        let place = self.local("t", width);
        self.assign(place.clone(), expr);
        place
    }

    /// As `settled`, of a number even where it has one bit.
    pub fn settled_bits(&mut self, expr: Expr, width: u32) -> Expr {
        if expr.is_atom() {
            return expr;
        }
        let place = self.wide("t", width);
        self.assign(place.clone(), expr);
        place
    }

    /// Sets a value that is defined once.
    pub fn define(&mut self, value: Value, expr: Expr, pure: bool) {
        let fold = pure && self.frame().folded[value.index()] && fold::size(&expr) <= fold::MAX_SIZE;
        // A name is a variable of this action that is set just once.
        let expr = if expr.number().is_some() || matches!(expr, Expr::Bool(_) | Expr::Name(_)) || fold {
            expr
        } else {
            let place = self.local("v", self.width(value));
            self.assign(place.clone(), expr);
            place
        };
        self.frame_mut().values[value.index()] = Some(expr);
    }

    /// A new frame.
    pub fn enter(&mut self, body: &'m Body, region: &'m Region, args: Vec<Argument>) {
        self.frames.push(Frame {
            body,
            values: vec![None; body.values.len()],
            folded: fold::folded(body, region),
            args,
            slots: vec![None; body.slots.len()],
        });
    }

    /// Assigns all at once.
    pub(super) fn parallel(&mut self, places: Vec<Expr>, values: Vec<Expr>) {
        let mut pairs: Vec<(Expr, Expr)> = places
            .into_iter()
            .zip(values)
            .filter(|(place, value)| place != value)
            .collect();
        for index in 1..pairs.len() {
            let written: Vec<String> = pairs[..index]
                .iter()
                .map(|(place, _)| place.to_string())
                .collect();
            let mut reads = false;
            pairs[index]
                .1
                .for_each_name(&mut |name| reads |= written.iter().any(|other| other == name));
            if reads {
                let kept = self.wide_like(&pairs[index].0.clone());
                let value = std::mem::replace(&mut pairs[index].1, kept.clone());
                self.assign(kept, value);
            }
        }
        for (place, value) in pairs {
            self.assign(place, value);
        }
    }

    /// A new variable of another's type.
    fn wide_like(&mut self, other: &Expr) -> Expr {
        let found = self.locals.iter().find_map(|local| match local {
            Stmt::Var(ty, name, value) if Expr::name(name) == *other => Some((ty.clone(), value.clone())),
            _ => None,
        });
        let (ty, value) = found.unwrap_or((Type::Bit(64), None));
        self.typed("t", ty, value.unwrap_or(Expr::bits(64, 0)))
    }

    /// The statements of a region and how it ends. `tail`: what follows its end.
    pub fn region(&mut self, region: &'m Region, tail: Option<Goal>) -> Result<(), Refusal> {
        for stmt in &region.stmts {
            let before = self.out.len();
            let ends = fold::diverges(&stmt.op);
            self.stmt(stmt, if ends { tail } else { None })
                .map_err(|refusal| refusal.at(stmt.loc))?;
            self.comment(before, stmt.loc);
            if self.written > MAX_STATEMENTS {
                let reason = format!("its code takes more than {MAX_STATEMENTS} statements");
                return Err(Refusal::new(CODE, reason));
            }
            if ends {
                return Ok(());
            }
        }
        self.term(&region.term, tail)
    }

    /// Says which line the statements from `at` on come from, unless that was said last.
    fn comment(&mut self, at: usize, loc: Loc) {
        if self.out.len() == at || loc.line == 0 || loc == self.loc {
            return;
        }
        self.loc = loc;
        let file = self.unit.image.module.files.get(usize::from(loc.file));
        let file = file.map_or("", |file| &**file);
        let file = file.rsplit('/').next().unwrap_or_default();
        self.out.insert(at, Stmt::Comment(format!("{file}:{}", loc.line)));
    }

    fn term(&mut self, term: &'m Term, tail: Option<Goal>) -> Result<(), Refusal> {
        match term {
            Term::Yield(_) => {}
            Term::Break(label, values) => {
                let values = self.exprs(values);
                self.leave(Goal::Break(*label), values, tail);
            }
            Term::Continue(label, values) => {
                let values = self.exprs(values);
                self.leave(Goal::Continue(*label), values, tail);
            }
            Term::Return(values) => {
                let values = self.exprs(values);
                self.leave(Goal::Return, values, tail);
            }
            Term::Reply(view) => {
                let bytes = self.view(view)?;
                let ends = self.ends.clone();
                ends.reply(self, &bytes)?;
                self.leave(Goal::End, Vec::new(), tail);
            }
            Term::Drop => self.end(Ended::Drop, tail),
            Term::Punt(to) => self.end(Ended::Punt(*to), tail),
            Term::Trap(cause, _) => self.end(Ended::Trap(*cause), tail),
            Term::Await { call, part, args } => self.wait(call, *part, args, tail)?,
            Term::Become { part, args } => {
                let values = args.iter().map(|arg| self.atom(*arg)).collect::<Vec<_>>();
                let region = self.enter_part(*part, &values)?;
                self.region(region, tail)?;
            }
        }
        Ok(())
    }

    fn waits(&self, service: ServiceId) -> Refusal {
        let name = &self.unit.image.module.services[service.index()].name;
        Refusal::new(AWAIT, format!("it waits for the service `{name}`"))
    }

    /// Ends the invocation without a reply.
    pub fn end(&mut self, how: Ended, tail: Option<Goal>) {
        for stmt in self.ends.clone().ended(how) {
            self.push(stmt);
        }
        self.leave(Goal::End, Vec::new(), tail);
    }

    pub(super) fn exprs(&mut self, values: &[Value]) -> Vec<Expr> {
        values.iter().map(|value| self.get(*value)).collect()
    }

    /// Variables for the results of a statement.
    fn results(&mut self, stmt: &'m MirStmt) -> Vec<Expr> {
        let mut places = Vec::new();
        for value in &stmt.results {
            let place = self.local("v", self.width(*value));
            self.frame_mut().values[value.index()] = Some(place.clone());
            places.push(place);
        }
        places
    }

    fn stmt(&mut self, stmt: &'m MirStmt, tail: Option<Goal>) -> Result<(), Refusal> {
        match &stmt.op {
            Op::If(cond, then, other) => {
                let cond = self.get(*cond);
                let results = self.results(stmt);
                let then = self.apart(|code| code.branch(then, &results, tail))?;
                let other = self.apart(|code| code.branch(other, &results, tail))?;
                self.push_if(cond, then, other);
                Ok(())
            }
            Op::Switch { on, arms, default } => {
                let (on, width) = (self.atom(*on), self.width(*on));
                let results = self.results(stmt);
                let mut rest = self.apart(|code| code.branch(default, &results, tail))?;
                for (ranges, region) in arms.iter().rev() {
                    let holds = ranges
                        .iter()
                        .map(|range| super::scalar::in_range(&on, width, range));
                    let holds = holds
                        .reduce(|a, b| a.binary(Binary::OrOr, b))
                        .unwrap_or(Expr::Bool(false));
                    let then = self.apart(|code| code.branch(region, &results, tail))?;
                    rest = self.apart(|code| {
                        code.push_if(holds, then, rest);
                        Ok(())
                    })?;
                }
                self.out.append(&mut rest);
                Ok(())
            }
            Op::Block(label, region) => {
                let results = self.results(stmt);
                let goal = Goal::Break(*label);
                self.scope(goal, region, results, fold::leaves_early(region, goal))
            }
            Op::Loop(inner) => self.loop_op(inner, stmt),
            Op::Call(func, args) => self.call(func.index(), args, stmt),
            Op::Check(cond, cause) => {
                let cond = self.get(*cond).negated();
                let cause = *cause;
                let trap = self.apart(|code| {
                    code.end(Ended::Trap(cause), None);
                    Ok(())
                })?;
                self.push_if(cond, trap, Vec::new());
                Ok(())
            }
            Op::Await(call) => Err(self.waits(call.service)),
            _ => self.op(stmt),
        }
    }

    pub(super) fn push_if(&mut self, cond: Expr, then: Vec<Stmt>, other: Vec<Stmt>) {
        let empty = |stmts: &[Stmt]| stmts.iter().all(|stmt| matches!(stmt, Stmt::Comment(_)));
        match (cond, empty(&then), empty(&other)) {
            (_, true, true) => {}
            (Expr::Bool(true), ..) => self.out.extend(then),
            (Expr::Bool(false), ..) => self.out.extend(other),
            (cond, true, false) => self.push(Stmt::If(cond.negated(), other, Vec::new())),
            (cond, false, true) => self.push(Stmt::If(cond, then, Vec::new())),
            (cond, false, false) => self.push(Stmt::If(cond, then, other)),
        }
    }

    /// A region that may yield.
    pub(super) fn branch(
        &mut self,
        region: &'m Region,
        results: &[Expr],
        tail: Option<Goal>,
    ) -> Result<(), Refusal> {
        self.loc = Loc::default();
        self.region(region, tail)?;
        if let Term::Yield(values) = &region.term
            && !fold::has_divergence(region)
        {
            let values = self.exprs(values);
            self.parallel(results.to_vec(), values);
            if !results.is_empty() {
                self.otherwise();
            }
        }
        Ok(())
    }

    /// Puts what follows the last way out of the statements into its `else`. p4c does not see that nothing comes past
    /// such a way: it takes what is set behind it for perhaps not set, and warns.
    fn otherwise(&mut self) {
        let is_way_out = |stmt: &Stmt| match stmt {
            Stmt::If(_, then, other) => {
                other.is_empty() && matches!(then.last(), Some(Stmt::Break | Stmt::Continue))
            }
            _ => false,
        };
        let Some(at) = self.out.iter().rposition(is_way_out) else {
            return;
        };
        let rest = self.out.split_off(at + 1);
        if let Some(Stmt::If(_, _, other)) = self.out.last_mut() {
            *other = rest;
        }
    }

    fn call(&mut self, func: usize, args: &'m [Operand], stmt: &'m MirStmt) -> Result<(), Refusal> {
        let funcs = self.funcs;
        let func = &funcs[func];
        let mut values = Vec::new();
        let mut bound = Vec::new();
        for (param, arg) in func.params.iter().zip(args) {
            bound.push(match (param, arg) {
                (FuncParam::Scalar(value), Operand::Value(arg)) => {
                    values.push((*value, self.atom(*arg)));
                    Argument::Scalar
                }
                (_, Operand::Place(place)) => Argument::Spot(self.spot(place)?),
                (_, Operand::View(view)) => Argument::Bytes(self.view(view)?),
                (_, Operand::Value(_)) => Argument::Scalar,
            });
        }
        let results = self.results(stmt);
        self.enter(&func.body, &func.region, bound);
        for (value, expr) in values {
            self.frame_mut().values[value.index()] = Some(expr);
        }
        let result = self.whole(Goal::Return, &func.region, results);
        self.frames.pop();
        self.loc = Loc::default();
        result
    }

    /// Counts the uses in another region of the frame's body: values that are used once become parts of expressions.
    pub(super) fn fold_more(&mut self, region: &'m Region) {
        let frame = self.frame_mut();
        let more = fold::folded(frame.body, region);
        for (folded, more) in frame.folded.iter_mut().zip(more) {
            *folded |= more;
        }
    }

    /// The cells of a slot.
    pub fn slot(&mut self, index: usize) -> Result<Rc<Tree>, Refusal> {
        if let Some(tree) = &self.frame().slots[index] {
            return Ok(tree.clone());
        }
        let slot = &self.frame().body.slots[index];
        fits_own(&slot.name, &slot.shape)?;
        let tree = Rc::new(Tree::of(&slot.shape, &slot.name, self));
        self.frame_mut().slots[index] = Some(tree.clone());
        Ok(tree)
    }

    /// The spot that a place starts from, if it has cells.
    pub fn base(&mut self, place: &Place) -> Result<Spot, Refusal> {
        let tree = match place.base {
            Base::Slot(slot) => self.slot(slot.index())?,
            Base::Object(id) => self.unit.object(id)?,
            Base::Const(id) => self.unit.constant(id)?,
            Base::Param(id) => self.unit.param(id)?,
            Base::Arg(arg) => match &self.frame().args[arg as usize] {
                Argument::Spot(spot) => return Ok(spot.clone()),
                Argument::Scalar | Argument::Bytes(_) => {
                    return Err(Refusal::new(CODE, "a reference to bytes that have no cells"));
                }
            },
            Base::Request => return Err(Refusal::new(CODE, "a reference to the request")),
        };
        Ok(Spot {
            tree,
            index: Expr::bits(32, 0),
        })
    }
}
