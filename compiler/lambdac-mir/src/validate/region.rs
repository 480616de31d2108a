//! Regions and control: statements in order, scopes, labels, terminators.

use super::body::{Checker, LabelState, Owner};
use crate::{
    Base, Label, LambdaId, Loop, LoopKind, Op, PartId, Region, ServiceCall, ServiceOp, Shape, Stmt,
    SwitchRange, Term, Value, View, mask,
};

impl<'m> Checker<'m, '_> {
    /// Checks a region. `yields` is what its `yield` carries; `None` where it must not yield.
    pub(super) fn region(&mut self, region: &'m Region, yields: Option<&[u8]>) {
        for stmt in &region.stmts {
            if !self.count_statement() {
                return;
            }
            self.errors.loc = stmt.loc;
            self.stmt(stmt);
        }
        self.errors.loc = crate::Loc::default();
        self.term(&region.term, yields);
    }

    fn nested(&mut self, region: &'m Region, yields: Option<&[u8]>) {
        if !self.reach_depth(self.depth + 1) {
            return;
        }
        self.depth += 1;
        let mark = self.visible.len();
        self.region(region, yields);
        self.end_scope(mark);
        self.depth -= 1;
    }

    fn stmt(&mut self, stmt: &'m Stmt) {
        let mut operands = true;
        stmt.op.for_each_operand(|value| operands &= self.used(value));
        if operands {
            self.op(stmt);
        }
        for &result in &stmt.results {
            self.define(result);
        }
        if let (Op::Const(0), [result]) = (&stmt.op, stmt.results.as_slice())
            && let Some(zero) = self.zero.get_mut(result.index())
        {
            *zero = true;
        }
    }

    /// Widths of a statement's results.
    pub(super) fn result_widths(&self, stmt: &Stmt) -> Vec<u8> {
        stmt.results.iter().map(|result| self.width(*result)).collect()
    }

    /// Checks operations that hold regions.
    pub(super) fn structured(&mut self, stmt: &'m Stmt) {
        let results = self.result_widths(stmt);
        match &stmt.op {
            Op::If(cond, then, other) => {
                self.want(*cond, 1);
                self.nested(then, Some(&results));
                self.nested(other, Some(&results));
            }
            Op::Switch { on, arms, default } => {
                self.ranges(self.width(*on), arms);
                for (_, region) in arms {
                    self.nested(region, Some(&results));
                }
                self.nested(default, Some(&results));
            }
            Op::Block(label, region) => {
                if self.open(*label, results, None) {
                    self.labelled(region, *label);
                }
            }
            Op::Loop(inner) => self.loop_op(inner, results),
            _ => unreachable!("only operations that hold regions are structured"),
        }
    }

    fn ranges(&mut self, width: u8, arms: &[(Vec<SwitchRange>, Region)]) {
        let end = u128::from(mask(width)) + 1;
        let mut all: Vec<(u128, u128)> = Vec::new();
        for (ranges, _) in arms {
            self.require(!ranges.is_empty(), || "an arm of a switch without values".into());
            let ends = |&(lo, hi): &SwitchRange| (u128::from(lo), hi.map_or(end, u128::from));
            all.extend(ranges.iter().map(ends));
        }
        let within = all.iter().all(|&(lo, hi)| lo < hi && hi <= end);
        self.require(within, || {
            format!("a range of a switch is empty or outside i{width}")
        });
        all.sort_unstable();
        let disjoint = all.windows(2).all(|pair| pair[0].1 <= pair[1].0);
        self.require(disjoint, || "ranges of a switch overlap".into());
    }

    /// Opens a label. False where it cannot be.
    fn open(&mut self, label: Label, results: Vec<u8>, params: Option<Vec<u8>>) -> bool {
        match self.labels.get_mut(label.index()) {
            Some(state @ LabelState::Unused) => {
                *state = LabelState::Open { results, params };
                return true;
            }
            Some(_) => self.error(format!("{label} is given twice")),
            None => self.error(format!("{label} is out of range")),
        }
        false
    }

    /// Checks a label's region and closes it.
    fn labelled(&mut self, region: &'m Region, label: Label) {
        self.labelled_depth += 1;
        self.nested(region, None);
        self.labelled_depth -= 1;
        self.labels[label.index()] = LabelState::Closed;
    }

    fn loop_op(&mut self, inner: &'m Loop, results: Vec<u8>) {
        let params: Vec<u8> = inner.params.iter().map(|(param, _)| self.width(*param)).collect();
        self.require(results == params, || {
            "a loop's results differ from its parameters".into()
        });
        for &(param, init) in &inner.params {
            self.want(init, self.width(param));
        }
        let mark = self.visible.len();
        for &(param, _) in &inner.params {
            self.define(param);
        }
        match &inner.kind {
            LoopKind::For { var, from, to, .. } => {
                self.want(*from, self.width(*var));
                self.want(*to, self.width(*var));
                self.define(*var);
            }
            LoopKind::While(cond) => {
                self.labelled_depth += 1;
                self.nested(cond, Some(&[1]));
                self.labelled_depth -= 1;
            }
        }
        if self.open(inner.label, results, Some(params)) {
            self.labelled(&inner.body, inner.label);
        }
        self.end_scope(mark);
    }

    /// Checks that a value has a width.
    pub(super) fn want(&mut self, value: Value, width: u8) {
        let has = self.width(value);
        self.require(has == width, || {
            format!("{value} is i{has} where i{width} is needed")
        });
    }

    fn carries(&mut self, what: &str, values: &[Value], widths: &[u8]) {
        let has: Vec<u8> = values.iter().map(|value| self.width(*value)).collect();
        self.require(has == widths, || {
            format!(
                "{what} carries {} where {} is needed",
                Widths(&has),
                Widths(widths)
            )
        });
    }

    fn term(&mut self, term: &Term, yields: Option<&[u8]>) {
        let mut operands = true;
        term.for_each_operand(|value| operands &= self.used(value));
        if !operands {
            return;
        }
        match term {
            Term::Yield(values) => match yields {
                Some(widths) => self.carries("yield", values, widths),
                None => self.error("yield where there is nothing to yield to"),
            },
            Term::Break(label, values) => match self.label(*label).map(|(results, _)| results.to_vec()) {
                Some(results) => self.carries("break", values, &results),
                None => self.error(format!("{label} does not enclose its break")),
            },
            Term::Continue(label, values) => {
                match self
                    .label(*label)
                    .and_then(|(_, params)| params.map(<[u8]>::to_vec))
                {
                    Some(params) => self.carries("continue", values, &params),
                    None => self.error(format!("{label} is no loop around its continue")),
                }
            }
            Term::Return(values) => match self.owner {
                Owner::Func(func, _) | Owner::Cond(func) => self.carries("return", values, &func.results),
                Owner::Lambda(_) => self.error("return in a lambda"),
            },
            Term::Trap(..) => {}
            Term::Reply(view) => self.reply(view),
            Term::Drop => self.leaves_plain_lambda("drop"),
            Term::Punt(to) => self.punt(*to),
            Term::Await { call, part, args } => {
                self.leaves_plain_lambda("await");
                self.service_call(call);
                self.goes_to(*part, &[1, 1], args);
            }
            Term::Become { part, args } => self.goes_to(*part, &[], args),
        }
    }

    fn in_lambda(&mut self, what: &str) -> bool {
        let inside = matches!(self.owner, Owner::Lambda(_));
        self.require(inside, || format!("{what} outside a lambda"));
        inside
    }

    /// Checks that this is a lambda and no stream.
    pub(super) fn leaves_plain_lambda(&mut self, what: &str) {
        self.in_lambda(what);
        if let Owner::Lambda(lambda) = self.owner {
            self.require(!lambda.stream, || format!("{what} in a stream"));
        }
    }

    fn punt(&mut self, to: Option<LambdaId>) {
        self.leaves_plain_lambda("punt");
        let Some(to) = to else { return };
        if to.index() < self.module.lambdas.len() {
            self.punts.push(to);
        } else {
            self.error(format!("{to} is out of range"));
        }
    }

    fn reply(&mut self, view: &View) {
        if !self.in_lambda("reply") {
            return;
        }
        self.view(view);
        if let Base::Slot(slot) = view.place.base
            && self.is_reply_buffer(slot)
        {
            let whole = view.place.path.is_empty() && self.zero.get(view.offset.index()) == Some(&true);
            self.require(whole, || {
                "a reply reads the reply buffer, but not from its start".into()
            });
        }
    }

    fn goes_to(&mut self, part: PartId, first: &[u8], args: &[Value]) {
        if !self.in_lambda("going on in another part") {
            return;
        }
        let Owner::Lambda(lambda) = self.owner else { return };
        let Some(target) = lambda.parts.get(part.index()).filter(|_| part.0 != 0) else {
            self.error(format!("{part} cannot be entered"));
            return;
        };
        self.part_edges.push((self.part, part.0));
        let mut has = first.to_vec();
        has.extend(args.iter().map(|arg| self.width(*arg)));
        let wants: Vec<u8> = target.params.iter().map(|param| self.width(*param)).collect();
        self.require(has == wants, || {
            format!("{part} gets {} where it takes {}", Widths(&has), Widths(&wants))
        });
    }

    /// Checks the operation `await`.
    pub(super) fn await_op(&mut self, call: &ServiceCall) {
        self.leaves_plain_lambda("await");
        if let Owner::Lambda(lambda) = self.owner {
            self.require(lambda.parts.len() == 1, || {
                "the operation await after the split".into()
            });
        }
        self.require(self.labelled_depth == 0, || "await in a loop or block".into());
        self.service_call(call);
    }

    fn service_call(&mut self, call: &ServiceCall) {
        let known = call.service.index() < self.module.services.len();
        self.require(known, || format!("{} is out of range", call.service));
        self.view(&call.key);
        if let Some(value) = &call.value {
            self.view(value);
        }
        let shape_ok = match call.op {
            ServiceOp::Get => call.value.is_none() && call.dst.is_some(),
            ServiceOp::Set => call.value.is_some() && call.dst.is_none(),
            ServiceOp::Delete => call.value.is_none() && call.dst.is_none(),
        };
        self.require(shape_ok, || {
            format!("{} with the wrong value or slot", call.op.word())
        });
        if let Some(dst) = call.dst {
            let bytes = self
                .body
                .slots
                .get(dst.index())
                .is_some_and(|slot| matches!(slot.shape, Shape::Bytes(_)));
            let frame = bytes && !self.is_reply_buffer(dst);
            self.require(frame, || {
                format!("{dst} is no bytes<n> slot that an answer can go to")
            });
        }
    }
}

/// Widths as the text form shows them.
pub(super) struct Widths<'a>(pub(super) &'a [u8]);

impl std::fmt::Display for Widths<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(")?;
        for (i, width) in self.0.iter().enumerate() {
            let separator = if i > 0 { ", " } else { "" };
            write!(f, "{separator}i{width}")?;
        }
        f.write_str(")")
    }
}
