//! What the lowering of a body holds: its values as expressions, its slots, the statements so far.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use lambdac_cost::Locals;
use lambdac_mir::{Body, Label, Loc, Module, Shape, SlotId, Storage, Value};

use super::Lowerer;
use super::frames::framed;
use super::memory::Addr;
use crate::ast::{Expr, Local, LocalKind, Name, Stmt, Type};
use crate::dialect::{Region, Scope};
use crate::layout;
use crate::names::letters;
use crate::needed::Needed;

/// Operators and leaves up to which expressions grow.
const MAX_EXPR: usize = 12;

/// A reference or view parameter.
pub(super) struct Arg {
    pub addr: Addr,
    pub shape: Shape,
    /// A view's length.
    pub len: Option<Expr>,
}

/// How a body ends what it is part of.
pub(super) enum Leave {
    /// A function: where its results go, and whether it gives 1 for a trap.
    Func { results: Vec<Name>, traps: bool },
    /// A part of a lambda: what each part is called.
    Part { parts: Vec<Name>, lambda: usize },
}

/// An enclosing loop or block of C.
pub(super) struct Enclosing {
    pub label: Label,
    /// Exits to constructs further out that were taken inside.
    pub crossing: BTreeSet<u32>,
}

/// Who takes what a label's `break` and `continue` carry; no name: nobody.
#[derive(Clone, Default)]
pub(super) struct Takers {
    pub results: Vec<Option<Name>>,
    pub params: Vec<Option<Name>>,
}

/// The lowering of a body.
pub(super) struct Code<'u, 'a> {
    pub unit: &'u mut Lowerer<'a>,
    pub body: &'a Body,
    pub needed: Needed,
    pub args: Vec<Arg>,
    pub leave: Leave,
    /// By value: an expression that stands for it, if that is not its variable.
    exprs: Vec<Option<Expr>>,
    declared: BTreeSet<Name>,
    pub locals: Vec<Local>,
    /// Which slots lie in local memory.
    home: Locals,
    /// The frame, with its bytes.
    frame: Option<(Name, u64)>,
    /// By slot: where it is, once it is used.
    slots: BTreeMap<SlotId, Addr>,
    /// Slots that outlive their part, with their place.
    pub kept: BTreeMap<SlotId, Addr>,
    pub enclosing: Vec<Enclosing>,
    /// Variables that regions hand to.
    pub handed: BTreeSet<Name>,
    pub takers: BTreeMap<Label, Takers>,
    out: Vec<Stmt>,
    at: Loc,
    said: Loc,
}

/// The variable that says which construct further out control is on its way to.
pub(super) const EXIT: &str = "leave";

impl<'u, 'a> Code<'u, 'a> {
    pub fn new(
        unit: &'u mut Lowerer<'a>,
        (body, home): (&'a Body, Locals),
        needed: Needed,
        leave: Leave,
    ) -> Self {
        Self {
            unit,
            body,
            needed,
            args: Vec::new(),
            leave,
            exprs: vec![None; body.values.len()],
            declared: BTreeSet::new(),
            locals: Vec::new(),
            home,
            frame: None,
            slots: BTreeMap::new(),
            kept: BTreeMap::new(),
            enclosing: Vec::new(),
            handed: BTreeSet::new(),
            takers: BTreeMap::new(),
            out: Vec::new(),
            at: Loc::default(),
            said: Loc::default(),
        }
    }

    pub fn module(&self) -> &'a Module {
        &self.unit.image.module
    }

    /// The statements of something nested.
    pub fn nested(&mut self, f: impl FnOnce(&mut Self)) -> Vec<Stmt> {
        let outer = mem::take(&mut self.out);
        f(self);
        mem::replace(&mut self.out, outer)
    }

    /// Where the next statements come from.
    pub fn set_loc(&mut self, loc: Loc) {
        if loc.line > 0 {
            self.at = loc;
        }
    }

    /// Where the current statement comes from.
    pub fn loc(&self) -> Loc {
        self.at
    }

    pub fn push(&mut self, stmt: Stmt) {
        if self.said != self.at {
            self.said = self.at;
            if let Some(line) = self.unit.line(self.at) {
                self.out.push(Stmt::Comment(line));
            }
        }
        self.out.push(stmt);
    }

    /// The statements so far.
    pub fn take(&mut self) -> Vec<Stmt> {
        mem::take(&mut self.out)
    }

    pub fn type_of(&self, value: Value) -> Type {
        Type::of_width(self.body.width(value))
    }

    /// A value's own variable, declared.
    pub fn variable(&mut self, value: Value) -> Name {
        if let Some(Expr::Var(name)) = &self.exprs[value.index()] {
            return name.clone();
        }
        let name: Name = format!("v{}", value.0).into();
        let ty = self.type_of(value);
        self.declare(&name, ty, None);
        name
    }

    /// Declares a variable once.
    pub fn declare(&mut self, name: &Name, ty: Type, first: Option<Expr>) {
        if self.declared.insert(name.clone()) {
            self.locals.push(Local {
                name: name.clone(),
                kind: LocalKind::Scalar(ty, first),
            });
        }
    }

    /// The variables of the body. Where exits cross constructs, compilers can't see that what a region hands out is
    /// always set, so it starts as 0.
    pub fn take_locals(&mut self) -> Vec<Local> {
        let mut locals = mem::take(&mut self.locals);
        if self.declared.contains(EXIT) {
            for local in &mut locals {
                if let LocalKind::Scalar(ty @ (Type::U32 | Type::U64), first @ None) = &mut local.kind
                    && self.handed.contains(&local.name)
                {
                    *first = Some(Expr::Int(0, *ty));
                }
            }
        }
        locals
    }

    /// Says that a variable is a parameter of the function.
    pub fn is_parameter(&mut self, name: &Name) {
        self.declared.insert(name.clone());
    }

    /// Reads a value.
    pub fn value(&mut self, value: Value) -> Expr {
        if let Some(expr) = &self.exprs[value.index()] {
            return expr.clone();
        }
        let name: Name = format!("v{}", value.0).into();
        if !self.declared.contains(&name) {
            // Nothing defines it: any number will do, the same each time.
            let zero = Expr::Int(0, self.type_of(value));
            self.declare(&name, self.type_of(value), Some(zero));
        }
        Expr::Var(name)
    }

    /// Lets an expression stand for a value.
    pub fn alias(&mut self, value: Value, expr: Expr) {
        self.exprs[value.index()] = Some(expr);
    }

    /// Defines a value that has no effect: in its reader's expression, or in a variable.
    pub fn define_pure(&mut self, value: Value, expr: Expr) {
        let small = expr.size() <= MAX_EXPR;
        let known = expr.as_int().is_some();
        if known || (small && self.needed.is_read_once_here(value)) {
            self.alias(value, expr);
        } else {
            self.define(value, expr);
        }
    }

    /// Defines a value here and now.
    pub fn define(&mut self, value: Value, expr: Expr) {
        let name = self.variable(value);
        self.push(Stmt::Assign(Expr::Var(name), expr));
    }

    /// Assigns at once: no target is read after it was written.
    pub fn assign(&mut self, moves: Vec<(Name, Expr)>) {
        let mut rest = Vec::new();
        for (i, (name, expr)) in moves.iter().enumerate() {
            if *expr == Expr::Var(name.clone()) {
                continue;
            }
            let mut read_later = false;
            for (_, later) in &moves[i + 1..] {
                later.for_each_var(&mut |var| read_later |= var == name);
            }
            if read_later {
                let kept: Name = format!("{name}_next").into();
                let ty = self.local_type(name);
                self.declare(&kept, ty, None);
                self.push(Stmt::Assign(Expr::Var(kept.clone()), expr.clone()));
                rest.push((name.clone(), Expr::Var(kept)));
            } else {
                self.push(Stmt::Assign(Expr::Var(name.clone()), expr.clone()));
            }
        }
        for (name, expr) in rest {
            self.push(Stmt::Assign(Expr::Var(name), expr));
        }
    }

    fn local_type(&self, name: &Name) -> Type {
        let local = self.locals.iter().find(|local| local.name == *name);
        match local.map(|local| &local.kind) {
            Some(LocalKind::Scalar(ty, _)) => *ty,
            _ => Type::U64,
        }
    }

    /// Where a slot is.
    pub fn slot(&mut self, id: SlotId) -> Addr {
        if let Some(addr) = self.kept.get(&id).or_else(|| self.slots.get(&id)) {
            return addr.clone();
        }
        let slot = &self.body.slots[id.index()];
        let addr = match slot.storage {
            Storage::ReplyBuffer => reply_buffer(self.unit, &slot.shape),
            Storage::Frame => {
                let size = layout::size(&slot.shape);
                match self.unit.dialect.slot(size, self.home.is_local(id)) {
                    Some(region) => self.local_slot(id, region, size),
                    None => self.framed_slot(size),
                }
            }
        };
        self.slots.insert(id, addr.clone());
        addr
    }

    /// An array of the function, or of the thread.
    fn local_slot(&mut self, id: SlotId, region: Region, size: u64) -> Addr {
        let slot = &self.body.slots[id.index()];
        let like = format!("s{}_{}", id.0, letters(&slot.name));
        if region.scope != Scope::Function {
            let name = self.unit.thread_memory(&like, region, size as u32);
            return self.unit.array(&name, region);
        }
        let name: Name = like.into();
        // Where a part of a word is written, the rest of it is read.
        let zeroed = self.unit.dialect.has_words() && layout::has_parts(&slot.shape);
        let kind = LocalKind::Memory(region, size as u32, zeroed);
        self.locals.push(Local {
            name: name.clone(),
            kind,
        });
        self.unit.array(&name, region)
    }

    /// A place in the function's frame.
    fn framed_slot(&mut self, size: u64) -> Addr {
        if self.frame.is_none() {
            self.frame = Some((self.unit.names.fresh("frame"), 0));
        }
        let Some((name, end)) = &mut self.frame else {
            unreachable!("it was just made")
        };
        let at = *end;
        *end += size.next_multiple_of(8);
        framed(name, at)
    }

    /// What the function needs of its thread's memory.
    pub fn take_frame(&mut self) -> Option<(Name, u64)> {
        self.frame.take()
    }
}

/// A slot that is the reply itself. In front of the reply's bytes there is room for a length.
pub(super) fn reply_buffer(unit: &Lowerer<'_>, shape: &Shape) -> Addr {
    let area = Addr::new(unit.dialect.runtime_space(), Expr::var("lnic_reply_area"));
    match shape {
        Shape::Bytes(_) => area,
        _ => area.plus(4),
    }
}
