//! Loops: the locals that a body assigns become parameters of the loop.

use lambdac_hir::{Block, Expr, LocalId};
use lambdac_mir::{BinOp, CmpOp, Loop, LoopKind, Op, Region, Term, TrapCause, Value};

use crate::body::{Binding, BodyCx, Code, LoopCx, seal};
use crate::facts::Effects;
use crate::options::Want;
use crate::source::Source;

/// The parameters of a loop in the making.
struct Carried {
    locals: Vec<LocalId>,
    params: Vec<(Value, Value)>,
}

impl BodyCx<'_, '_> {
    /// Turns the locals that a loop assigns into its parameters.
    fn carry(&mut self, locals: Vec<LocalId>) -> Carried {
        let before = self.carried_values(&locals);
        let params: Vec<(Value, Value)> = before
            .iter()
            .map(|&init| (self.body.value(self.body.width(init)), init))
            .collect();
        let inside: Vec<Value> = params.iter().map(|(param, _)| *param).collect();
        self.set_carried(&locals, &inside);
        Carried { locals, params }
    }

    /// Adds the loop; its results are the locals' values after it.
    fn finish_loop(&mut self, carried: &Carried, inner: Loop) {
        let results: Vec<Value> = inner
            .params
            .iter()
            .map(|(param, _)| self.body.value(self.body.width(*param)))
            .collect();
        let own = results[..carried.params.len()].to_vec();
        self.define(results, Op::Loop(Box::new(inner)));
        self.set_carried(&carried.locals, &own);
    }

    /// Lowers a body that ends in `continue`.
    fn loop_body(&mut self, around: LoopCx, lower: impl FnOnce(&mut Self)) -> Region {
        self.loops.push(around);
        let (code, ()) = self.in_region(|cx| {
            lower(cx);
            cx.continue_loop();
        });
        self.loops.pop();
        seal(code, Vec::new())
    }

    /// `for var in from..to max n { body }`
    pub(crate) fn for_loop(&mut self, var: LocalId, from: &Expr, to: &Expr, max: u64, body: &Block) {
        let int = self.int_type(&self.locals[var.index()].ty);
        let from = self.scalar(from);
        let to = self.scalar(to);
        let checked = self.most_trips(from, to, int.signed) > u128::from(max);
        let locals = self.visible(&self.facts.assigned_in(body));
        let carried = self.carry(locals);
        let label = self.body.label();
        let counter = self.body.value(int.bits);
        let around = LoopCx {
            label,
            carried: carried.locals.clone(),
            trips: None,
        };
        let region = self.loop_body(around, |cx| {
            cx.bindings[var.index()] = Some(Binding::Direct(Source::Scalar(counter)));
            cx.block(body, &Want::Nothing);
        });
        let kind = LoopKind::For {
            var: counter,
            from,
            to,
            signed: int.signed,
        };
        let params = carried.params.clone();
        self.finish_loop(
            &carried,
            Loop {
                label,
                params,
                kind,
                max,
                checked,
                body: region,
            },
        );
    }

    /// The most trips that bounds of the type allow, exactly where both are constant.
    fn most_trips(&self, from: Value, to: Value, signed: bool) -> u128 {
        let width = self.body.width(from);
        let (sign, top) = (1u128 << (width - 1), 1u128 << width);
        // In the order of the type, shifted to begin at 0.
        let rank = |raw: u64| (u128::from(raw) + if signed { sign } else { 0 }) % top;
        let first = self.constant(from).map_or(0, rank);
        let end = self.constant(to).map_or(top - 1, rank);
        end.saturating_sub(first)
    }

    /// `while cond max n { body }`
    pub(crate) fn while_loop(&mut self, cond: &Expr, max: u64, body: &Block) {
        if self.facts.effects(cond).any(Effects::STATEMENTS) {
            self.while_with_statements(cond, max, body);
            return;
        }
        let locals = self.visible(&self.facts.assigned_in(body));
        let carried = self.carry(locals);
        let label = self.body.label();
        let (test, holds) = self.in_region(|cx| cx.scalar(cond));
        let around = LoopCx {
            label,
            carried: carried.locals.clone(),
            trips: None,
        };
        let region = self.loop_body(around, |cx| {
            cx.block(body, &Want::Nothing);
        });
        let kind = LoopKind::While(seal(test, vec![holds]));
        let params = carried.params.clone();
        self.finish_loop(
            &carried,
            Loop {
                label,
                params,
                kind,
                max,
                checked: true,
                body: region,
            },
        );
    }

    /// A condition that assigns or leaves is evaluated in the body, which then counts its trips itself: the trap comes
    /// only where the condition holds once more after `max` trips.
    fn while_with_statements(&mut self, cond: &Expr, max: u64, body: &Block) {
        let mut locals = self.facts.assigned_in(body).to_vec();
        locals.extend_from_slice(&self.facts.assigned_in_operand(cond));
        locals.sort_unstable();
        locals.dedup();
        let locals = self.visible(&locals);
        let none = self.int(0, 64);
        let carried = self.carry(locals);
        let label = self.body.label();
        let trips = self.body.value(64);
        let around = LoopCx {
            label,
            carried: carried.locals.clone(),
            trips: Some(trips),
        };
        let (mut code, goes_on) = self.in_region(|cx| cx.scalar(cond));
        let rest = self.loop_body(around, |cx| {
            cx.branch(
                goes_on,
                &[],
                |_| Vec::new(),
                |cx| {
                    cx.break_loop();
                    Vec::new()
                },
            );
            let most = cx.int(max, 64);
            let below = cx.cmp(CmpOp::Ult, trips, most);
            cx.op0(Op::Check(below, TrapCause::LoopMax));
            cx.block(body, &Want::Nothing);
        });
        if code.term.is_none() {
            code.stmts.extend(rest.stmts);
            code.term = Some(rest.term);
        }
        let region = seal(code, Vec::new());
        let (test, always) = self.in_region(|cx| cx.int(1, 1));
        let kind = LoopKind::While(seal(test, vec![always]));
        let params = carried.params.iter().copied().chain([(trips, none)]).collect();
        let max = max.saturating_add(1);
        self.finish_loop(
            &carried,
            Loop {
                label,
                params,
                kind,
                max,
                checked: false,
                body: region,
            },
        );
    }

    fn loop_around(&self) -> LoopCx {
        self.loops
            .last()
            .cloned()
            .unwrap_or_else(|| unreachable!("the checker saw a loop"))
    }

    /// `break;`
    pub(crate) fn break_loop(&mut self) {
        let LoopCx {
            label,
            carried,
            trips,
        } = self.loop_around();
        let values = self.carried_values(&carried).into_iter().chain(trips).collect();
        self.leave(Term::Break(label, values));
    }

    /// `continue;`
    pub(crate) fn continue_loop(&mut self) {
        let LoopCx {
            label,
            carried,
            trips,
        } = self.loop_around();
        let mut values = self.carried_values(&carried);
        if let Some(trips) = trips {
            let one = self.int(1, 64);
            values.push(self.bin(BinOp::Add, trips, one));
        }
        self.leave(Term::Continue(label, values));
    }

    /// Runs code for each index below `n`, without carrying anything.
    pub(crate) fn counted(&mut self, n: u32, each: impl FnOnce(&mut Self, Value)) {
        self.counted_loop(n, Vec::new(), |cx, label, i| {
            each(cx, i);
            cx.leave(Term::Continue(label, Vec::new()));
        });
    }

    /// Whether a condition holds for each index below `n`; stops at the first where it does not.
    pub(crate) fn search(&mut self, n: u32, holds: impl FnOnce(&mut Self, Value) -> Value) -> Value {
        let yes = self.int(1, 1);
        let param = self.body.value(1);
        let results = self.counted_loop(n, vec![(param, yes)], |cx, label, i| {
            let holds = holds(cx, i);
            cx.branch(
                holds,
                &[],
                |_| Vec::new(),
                |cx| {
                    let no = cx.int(0, 1);
                    cx.leave(Term::Break(label, vec![no]));
                    Vec::new()
                },
            );
            cx.leave(Term::Continue(label, vec![param]));
        });
        results[0]
    }

    fn counted_loop(
        &mut self,
        n: u32,
        params: Vec<(Value, Value)>,
        lower: impl FnOnce(&mut Self, lambdac_mir::Label, Value),
    ) -> Vec<Value> {
        let (from, to) = (self.int32(0), self.int32(n));
        let label = self.body.label();
        let var = self.body.value(32);
        let (code, ()): (Code, ()) = self.in_region(|cx| lower(cx, label, var));
        let widths: Vec<u8> = params.iter().map(|(param, _)| self.body.width(*param)).collect();
        let kind = LoopKind::For {
            var,
            from,
            to,
            signed: false,
        };
        let body = seal(code, Vec::new());
        let inner = Loop {
            label,
            params,
            kind,
            max: u64::from(n),
            checked: false,
            body,
        };
        self.op(Op::Loop(Box::new(inner)), &widths)
    }
}
