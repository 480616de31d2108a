//! Walking: what an operation uses, which regions it holds, every statement of a region.
//!
//! [`Op::for_each_use`] is the one place that knows where operands stand; everything else here is made of it. None of
//! the `Op` and `Term` visitors enters nested regions; the `Region` ones do.

use crate::{
    Base, Label, LogArg, LoopKind, Op, Operand, Place, Region, ServiceCall, SlotId, Step, Stmt, Term, Value,
    View,
};

/// How a statement touches memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Only reads.
    Read,
    /// Only writes (all or a part of it).
    Write,
    /// Reads and writes.
    ReadWrite,
}

impl Access {
    /// Whether it reads.
    pub fn reads(self) -> bool {
        self != Self::Write
    }

    /// Whether it writes.
    pub fn writes(self) -> bool {
        self != Self::Read
    }
}

macro_rules! uses {
    ($use:ident, $op_fn:ident, $term_fn:ident, $call_fn:ident, $operand_fn:ident, $lt:lifetime, ($($mut:tt)?), $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug)]
        pub enum $use<$lt> {
            /// A scalar.
            Value(&$lt $($mut)? Value),
            /// A place, with its index values inside.
            Place(&$lt $($mut)? Place, Access),
            /// Bytes, with their offset, length and index values inside; always read.
            View(&$lt $($mut)? View),
            /// A whole slot, where a service's answer goes.
            Slot(&$lt $($mut)? SlotId),
        }

        fn $operand_fn(operand: & $($mut)? Operand, access: Access, f: &mut dyn FnMut($use<'_>)) {
            match operand {
                Operand::Value(value) => f($use::Value(value)),
                Operand::Place(place) => f($use::Place(place, access)),
                Operand::View(view) => f($use::View(view)),
            }
        }

        fn $call_fn(call: & $($mut)? ServiceCall, f: &mut dyn FnMut($use<'_>)) {
            f($use::View(& $($mut)? call.key));
            if let Some(value) = & $($mut)? call.value {
                f($use::View(value));
            }
            if let Some(slot) = & $($mut)? call.dst {
                f($use::Slot(slot));
            }
        }

        impl Op {
            /// Calls `f` for every operand, in the order of the text form, without those of nested regions. A place
            /// passed to a function counts as read and written.
            pub fn $op_fn(& $($mut)? self, f: &mut dyn FnMut($use<'_>)) {
                match self {
                    Op::Const(_) | Op::Now | Op::Random | Op::Pkt(_) | Op::Block(..) => {}
                    Op::Bin(_, a, b) | Op::Cmp(_, a, b) => {
                        f($use::Value(a));
                        f($use::Value(b));
                    }
                    Op::Cast(_, a) | Op::Check(a, _) | Op::If(a, ..) | Op::Switch { on: a, .. } => f($use::Value(a)),
                    Op::Select(c, a, b) => {
                        f($use::Value(c));
                        f($use::Value(a));
                        f($use::Value(b));
                    }
                    Op::Load(place) | Op::Len(place) => f($use::Place(place, Access::Read)),
                    Op::Store(place, value) | Op::SetLen(place, value) => {
                        f($use::Place(place, Access::Write));
                        f($use::Value(value));
                    }
                    Op::Zero(place) => f($use::Place(place, Access::Write)),
                    Op::Copy { dst, src } => {
                        f($use::Place(dst, Access::Write));
                        f($use::Place(src, Access::Read));
                    }
                    Op::CopyBytes { dst, offset, src } => {
                        f($use::Place(dst, Access::Write));
                        f($use::Value(offset));
                        f($use::View(src));
                    }
                    Op::EqBytes(a, b) => {
                        f($use::View(a));
                        f($use::View(b));
                    }
                    Op::LoadBits(place, pos) => {
                        f($use::Place(place, Access::Read));
                        if let Some((index, _)) = & $($mut)? pos.index {
                            f($use::Value(index));
                        }
                    }
                    Op::StoreBits(place, pos, value) => {
                        f($use::Place(place, Access::ReadWrite));
                        if let Some((index, _)) = & $($mut)? pos.index {
                            f($use::Value(index));
                        }
                        f($use::Value(value));
                    }
                    Op::Hash(_, view) => f($use::View(view)),
                    Op::AtomicRmw(_, place, value) => {
                        f($use::Place(place, Access::ReadWrite));
                        f($use::Value(value));
                    }
                    Op::AtomicCas { place, old, new } => {
                        f($use::Place(place, Access::ReadWrite));
                        f($use::Value(old));
                        f($use::Value(new));
                    }
                    Op::CounterAdd(_, index, value) => {
                        if let Some(index) = index {
                            f($use::Value(index));
                        }
                        f($use::Value(value));
                    }
                    Op::CounterRead(_, index) => {
                        if let Some(index) = index {
                            f($use::Value(index));
                        }
                    }
                    Op::MapGet { key, dst, .. } | Op::TableGet { key, dst, .. } => {
                        for part in key {
                            $operand_fn(part, Access::Read, f);
                        }
                        if let Some(dst) = dst {
                            f($use::Place(dst, Access::Write));
                        }
                    }
                    Op::MapPut { key, value, .. } => {
                        for part in key {
                            $operand_fn(part, Access::Read, f);
                        }
                        $operand_fn(value, Access::Read, f);
                    }
                    Op::MapRemove { key, .. } | Op::TableHas { key, .. } => {
                        for part in key {
                            $operand_fn(part, Access::Read, f);
                        }
                    }
                    Op::MapFetchAdd { key, value, .. } => {
                        for part in key {
                            $operand_fn(part, Access::Read, f);
                        }
                        f($use::Value(value));
                    }
                    Op::Log(_, args) => {
                        for arg in args {
                            match arg {
                                LogArg::Unsigned(value) | LogArg::Signed(value) | LogArg::Bool(value) => {
                                    f($use::Value(value));
                                }
                                LogArg::Bytes(view) => f($use::View(view)),
                            }
                        }
                    }
                    Op::Call(_, args) => {
                        for arg in args {
                            $operand_fn(arg, Access::ReadWrite, f);
                        }
                    }
                    Op::Await(call) => $call_fn(call, f),
                    Op::Loop(inner) => {
                        let inner = & $($mut)? **inner;
                        match & $($mut)? inner.kind {
                            LoopKind::For { from, to, .. } => {
                                f($use::Value(from));
                                f($use::Value(to));
                            }
                            LoopKind::While(_) => {}
                        }
                        for (_, init) in & $($mut)? inner.params {
                            f($use::Value(init));
                        }
                    }
                }
            }
        }

        impl Term {
            /// Calls `f` for every operand, in the order of the text form.
            pub fn $term_fn(& $($mut)? self, f: &mut dyn FnMut($use<'_>)) {
                match self {
                    Term::Yield(values)
                    | Term::Break(_, values)
                    | Term::Continue(_, values)
                    | Term::Return(values)
                    | Term::Become { args: values, .. } => {
                        for value in values {
                            f($use::Value(value));
                        }
                    }
                    Term::Reply(view) => f($use::View(view)),
                    Term::Drop | Term::Punt(_) | Term::Trap(..) => {}
                    Term::Await { call, args, .. } => {
                        $call_fn(call, f);
                        for value in args {
                            f($use::Value(value));
                        }
                    }
                }
            }
        }
    };
}

uses!(Use, for_each_use, for_each_use, call_uses, operand_uses, 'a, (), "An operand of an operation or terminator.");
uses!(UseMut, for_each_use_mut, for_each_use_mut, call_uses_mut, operand_uses_mut, 'a, (mut), "An operand that may be changed.");

impl<'a> Use<'a> {
    /// The place that it leads to, a view's included; none for a scalar and a slot as a whole.
    pub fn place(&self) -> Option<&'a Place> {
        match self {
            Self::Place(place, _) => Some(place),
            Self::View(view) => Some(&view.place),
            Self::Value(_) | Self::Slot(_) => None,
        }
    }

    /// Calls `f` for every value in it.
    pub fn for_each_value(&self, f: &mut dyn FnMut(Value)) {
        match self {
            Self::Value(value) => f(**value),
            Self::Place(place, _) => place.for_each_value(f),
            Self::View(view) => view.for_each_value(f),
            Self::Slot(_) => {}
        }
    }
}

impl<'a> UseMut<'a> {
    /// The place that it leads to, a view's included; none for a scalar and a slot as a whole.
    pub fn into_place(self) -> Option<&'a mut Place> {
        match self {
            Self::Place(place, _) => Some(place),
            Self::View(view) => Some(&mut view.place),
            Self::Value(_) | Self::Slot(_) => None,
        }
    }

    /// Replaces every value in it.
    pub fn map_values(&mut self, f: &mut dyn FnMut(Value) -> Value) {
        match self {
            Self::Value(value) => **value = f(**value),
            Self::Place(place, _) => place.map_values(f),
            Self::View(view) => view.map_values(f),
            Self::Slot(_) => {}
        }
    }
}

impl Place {
    /// Calls `f` for every index value.
    pub fn for_each_value(&self, f: &mut dyn FnMut(Value)) {
        for step in &self.path {
            if let Step::Index(index) = step {
                f(*index);
            }
        }
    }

    /// Replaces every index value.
    pub fn map_values(&mut self, f: &mut dyn FnMut(Value) -> Value) {
        for step in &mut self.path {
            if let Step::Index(index) = step {
                *index = f(*index);
            }
        }
    }

    /// Whether two places may share memory: false only where the bases differ or a field does. Two parameters of one
    /// function differ only where one is writable, which the caller must know; here they count as apart.
    pub fn may_overlap(&self, other: &Place) -> bool {
        let apart = |pair: (&Step, &Step)| matches!(pair, (Step::Field(a), Step::Field(b)) if a != b);
        self.base == other.base && !self.path.iter().zip(&other.path).any(apart)
    }
}

impl View {
    /// Calls `f` for every index value, the offset and the length.
    pub fn for_each_value(&self, f: &mut dyn FnMut(Value)) {
        self.place.for_each_value(f);
        f(self.offset);
        f(self.len);
    }

    /// Replaces every index value, the offset and the length.
    pub fn map_values(&mut self, f: &mut dyn FnMut(Value) -> Value) {
        self.place.map_values(f);
        self.offset = f(self.offset);
        self.len = f(self.len);
    }
}

impl Op {
    /// Calls `f` for every value that it uses, without those of nested regions.
    pub fn for_each_operand(&self, mut f: impl FnMut(Value)) {
        self.for_each_use(&mut |used| used.for_each_value(&mut f));
    }

    /// Replaces every value that it uses, without those of nested regions. Definitions (a loop's variable and
    /// parameters) stay.
    pub fn map_values(&mut self, mut f: impl FnMut(Value) -> Value) {
        self.for_each_use_mut(&mut |mut used| used.map_values(&mut f));
    }

    /// Calls `f` for every place that it touches, views' places included, without those of nested regions.
    pub fn for_each_place(&self, mut f: impl FnMut(&Place, Access)) {
        self.for_each_use(&mut |used| match used {
            Use::Place(place, access) => f(place, access),
            Use::View(view) => f(&view.place, Access::Read),
            Use::Slot(slot) => f(&Place::of(Base::Slot(*slot)), Access::Write),
            Use::Value(_) => {}
        });
    }

    /// Calls `f` for every value that it defines for its regions: a loop's variable and parameters. (What it defines
    /// for the statements after it stands in [`Stmt::results`].)
    pub fn for_each_inner_def(&self, mut f: impl FnMut(Value)) {
        if let Op::Loop(inner) = self {
            if let LoopKind::For { var, .. } = inner.kind {
                f(var);
            }
            for (param, _) in &inner.params {
                f(*param);
            }
        }
    }

    /// Replaces the values that it defines for its regions.
    pub fn map_inner_defs(&mut self, mut f: impl FnMut(Value) -> Value) {
        if let Op::Loop(inner) = self {
            if let LoopKind::For { var, .. } = &mut inner.kind {
                *var = f(*var);
            }
            for (param, _) in &mut inner.params {
                *param = f(*param);
            }
        }
    }

    /// The regions right inside, in order of the text form.
    pub fn regions(&self) -> Vec<&Region> {
        match self {
            Op::If(_, then, other) => vec![then, other],
            Op::Switch { arms, default, .. } => {
                arms.iter().map(|(_, region)| region).chain([default]).collect()
            }
            Op::Block(_, region) => vec![region],
            Op::Loop(inner) => match &inner.kind {
                LoopKind::For { .. } => vec![&inner.body],
                LoopKind::While(cond) => vec![cond, &inner.body],
            },
            _ => Vec::new(),
        }
    }

    /// The regions right inside, to be changed.
    pub fn regions_mut(&mut self) -> Vec<&mut Region> {
        match self {
            Op::If(_, then, other) => vec![then, other],
            Op::Switch { arms, default, .. } => arms
                .iter_mut()
                .map(|(_, region)| region)
                .chain([default])
                .collect(),
            Op::Block(_, region) => vec![region],
            Op::Loop(inner) => match &mut inner.kind {
                LoopKind::For { .. } => vec![&mut inner.body],
                LoopKind::While(cond) => vec![cond, &mut inner.body],
            },
            _ => Vec::new(),
        }
    }

    /// The label that it gives to its region.
    pub fn label(&self) -> Option<Label> {
        match self {
            Op::Block(label, _) => Some(*label),
            Op::Loop(inner) => Some(inner.label),
            _ => None,
        }
    }

    /// The label that it gives to its region, to be changed.
    pub fn label_mut(&mut self) -> Option<&mut Label> {
        match self {
            Op::Block(label, _) => Some(label),
            Op::Loop(inner) => Some(&mut inner.label),
            _ => None,
        }
    }
}

impl Term {
    /// Calls `f` for every value that it uses.
    pub fn for_each_operand(&self, mut f: impl FnMut(Value)) {
        self.for_each_use(&mut |used| used.for_each_value(&mut f));
    }

    /// Replaces every value that it uses.
    pub fn map_values(&mut self, mut f: impl FnMut(Value) -> Value) {
        self.for_each_use_mut(&mut |mut used| used.map_values(&mut f));
    }

    /// The label that it names.
    pub fn label(&self) -> Option<Label> {
        match self {
            Term::Break(label, _) | Term::Continue(label, _) => Some(*label),
            _ => None,
        }
    }

    /// The label that it names, to be changed.
    pub fn label_mut(&mut self) -> Option<&mut Label> {
        match self {
            Term::Break(label, _) | Term::Continue(label, _) => Some(label),
            _ => None,
        }
    }
}

impl Region {
    /// Calls `f` for every statement, nested ones after the one that holds them. The nesting of a valid module is
    /// bounded, and with it the recursion.
    pub fn walk(&self, f: &mut dyn FnMut(&Stmt)) {
        for stmt in &self.stmts {
            f(stmt);
            for region in stmt.op.regions() {
                region.walk(f);
            }
        }
    }

    /// Calls `f` for every statement, which it may change, before its nested ones.
    pub fn walk_mut(&mut self, f: &mut dyn FnMut(&mut Stmt)) {
        for stmt in &mut self.stmts {
            f(stmt);
            for region in stmt.op.regions_mut() {
                region.walk_mut(f);
            }
        }
    }

    /// Calls `f` for this region and every nested one, outer ones first.
    pub fn walk_regions(&self, f: &mut dyn FnMut(&Region)) {
        f(self);
        for stmt in &self.stmts {
            for region in stmt.op.regions() {
                region.walk_regions(f);
            }
        }
    }

    /// Calls `f` for this region and every nested one, which it may change, outer ones first.
    pub fn walk_regions_mut(&mut self, f: &mut dyn FnMut(&mut Region)) {
        f(self);
        for stmt in &mut self.stmts {
            for region in stmt.op.regions_mut() {
                region.walk_regions_mut(f);
            }
        }
    }

    /// Replaces every value in it and its nested regions, uses and definitions alike.
    pub fn rename_values(&mut self, f: &mut dyn FnMut(Value) -> Value) {
        self.walk_regions_mut(&mut |region| {
            for stmt in &mut region.stmts {
                stmt.op.map_values(&mut *f);
                stmt.op.map_inner_defs(&mut *f);
                for result in &mut stmt.results {
                    *result = f(*result);
                }
            }
            region.term.map_values(&mut *f);
        });
    }

    /// Replaces the values that are used (not those defined) in it and its nested regions.
    pub fn replace_uses(&mut self, f: &mut dyn FnMut(Value) -> Value) {
        self.walk_regions_mut(&mut |region| {
            for stmt in &mut region.stmts {
                stmt.op.map_values(&mut *f);
            }
            region.term.map_values(&mut *f);
        });
    }

    /// Replaces every label in it and its nested regions, where it is given and where it is named.
    pub fn rename_labels(&mut self, f: &mut dyn FnMut(Label) -> Label) {
        self.walk_regions_mut(&mut |region| {
            for stmt in &mut region.stmts {
                if let Some(label) = stmt.op.label_mut() {
                    *label = f(*label);
                }
            }
            if let Some(label) = region.term.label_mut() {
                *label = f(*label);
            }
        });
    }

    /// Replaces every slot in it and its nested regions.
    pub fn rename_slots(&mut self, f: &mut dyn FnMut(SlotId) -> SlotId) {
        let mut rename = |used: UseMut<'_>| {
            let place = match used {
                UseMut::Place(place, _) => place,
                UseMut::View(view) => &mut view.place,
                UseMut::Slot(slot) => {
                    *slot = f(*slot);
                    return;
                }
                UseMut::Value(_) => return,
            };
            if let Base::Slot(slot) = &mut place.base {
                *slot = f(*slot);
            }
        };
        self.walk_regions_mut(&mut |region| {
            for stmt in &mut region.stmts {
                stmt.op.for_each_use_mut(&mut rename);
            }
            region.term.for_each_use_mut(&mut rename);
        });
    }

    /// How many statements it and its nested regions hold, terminators included.
    pub fn op_count(&self) -> usize {
        let mut count = 0;
        self.walk_regions(&mut |region| count += region.stmts.len() + 1);
        count
    }
}
