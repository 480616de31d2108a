//! Waiting for a service: what is asked, what is kept, and what goes on.
//!
//! `lnic_ask` gives memory for a continuation, or says that nothing can be sent; then the lambda goes on at once, as
//! failed. The memory holds the saved values, eight bytes each, and behind them the slots that stay live. For each
//! place that waits there is a function that takes the answer, puts all of it back, and enters the next part. On the
//! NFP the packet of the request becomes that to the service, so there the request is kept too if it is read again.

use lambdac_mir::{Base, Lambda, PartId, ServiceCall, ServiceOp, Shape, SlotId, Term, Value, View};

use super::code::{Code, Leave};
use super::memory::{Addr, Spot, between};
use crate::ast::{self, Access, Binary, Expr, Local, LocalKind, Name, Stmt, Type};
use crate::dialect::Dialect;
use crate::{layout, legal};

/// Bytes of memcached's frame header and of each command but its key and value; the most of a key and of a value
/// (`lnic_wait.h`, language section 7).
const GET: u32 = 8 + 6;
const DELETE: u32 = 8 + 9;
const SET: u32 = 8 + 17;
const MAX_KEY: u32 = 250;
const MAX_VALUE: u32 = 1024;

/// Bytes that the packet needs room for in which a lambda asks its services; 0 if it asks none.
pub(super) fn asked_bytes(lambda: &Lambda) -> u32 {
    let mut most = 0;
    for part in &lambda.parts {
        part.region.walk_regions(&mut |region| {
            if let Term::Await { call, .. } = &region.term {
                let key = bytes_of(lambda, &call.key).min(MAX_KEY);
                let value = call.value.as_ref().map_or(0, |value| bytes_of(lambda, value));
                most = most.max(match call.op {
                    ServiceOp::Get => GET + key,
                    ServiceOp::Delete => DELETE + key,
                    ServiceOp::Set => SET + key + value.min(MAX_VALUE),
                });
            }
        });
    }
    most
}

/// The most bytes of a view, as far as its place says.
fn bytes_of(lambda: &Lambda, view: &View) -> u32 {
    match view.place.base {
        Base::Request => lambda.request.max,
        Base::Slot(slot) => {
            let size = layout::size(&lambda.body.slots[slot.index()].shape);
            u32::try_from(size).unwrap_or(u32::MAX)
        }
        _ => u32::MAX,
    }
}

impl Code<'_, '_> {
    /// Asks, keeps what is live, and leaves.
    pub fn wait(&mut self, call: &ServiceCall, part: PartId, args: &[Value]) {
        let Leave::Part { parts, lambda } = &self.leave else {
            return;
        };
        let (next, lambda) = (parts[part.index()].clone(), *lambda);
        let key = self.bytes(&call.key);
        let value = call.value.as_ref().map(|value| self.bytes(value));
        let verb = match call.op {
            ServiceOp::Get => "get",
            ServiceOp::Set => "set",
            ServiceOp::Delete => "delete",
        };
        let service = match self.unit.services.get(&call.service) {
            Some(number) => Expr::Var(number.clone()),
            None => Expr::int(call.service.0),
        };
        let site = Expr::int(self.unit.resumes.len() as u32);
        let asked = match value {
            Some(value) => between(
                &format!("ask_{verb}"),
                &key.addr,
                &value.addr,
                vec![key.len, value.len, service, site],
            ),
            None => key
                .addr
                .call(&format!("ask_{verb}"), vec![key.len, service, site]),
        };
        let saved: Name = "saved".into();
        let space = self.unit.dialect.runtime_space();
        self.declare(&saved, Type::Pointer(space, Access::Write), None);
        self.push(Stmt::Assign(Expr::Var(saved.clone()), asked));
        let values: Vec<Expr> = args.iter().map(|arg| self.value(*arg)).collect();
        let mut now = vec![Expr::int(0), Expr::int(1)];
        now.extend(values.iter().cloned());
        let none = Expr::Var(saved.clone()).binary(Binary::Eq, Expr::var("LNIC_NOTHING"));
        let at_once = Stmt::Return(Some(Expr::Call(next.clone(), now)));
        self.push(Stmt::If(none, vec![at_once], Vec::new()));
        let memory = Addr::new(space, Expr::Var(saved));
        for (i, (value, arg)) in values.into_iter().zip(args).enumerate() {
            let size = if self.body.width(*arg) > 32 { 8 } else { 4 };
            let store = memory.clone().plus(i as u64 * 8).store(size, value);
            self.push(store);
        }
        let live = self.module().lambdas[lambda].parts[part.index()]
            .live_slots
            .clone();
        let mut at = args.len() as u64 * 8;
        for slot in &live {
            let from = self.slot_spot(*slot, None);
            let to = self.slot_spot(*slot, Some(memory.clone().plus(at)));
            self.copy(&to, &from);
            at += layout::size(&to.shape).next_multiple_of(8);
        }
        let request = self.keep_request(lambda, part, &memory, &mut at);
        self.push(Stmt::Return(Some(Expr::var("LNIC_WAIT"))));
        self.unit.saved = self.unit.saved.max(at.max(8));
        self.resume(call, &next, args, &live, request);
    }

    /// Keeps the request behind the rest, where it is gone once a service is asked, and something that follows reads it;
    /// gives where.
    fn keep_request(&mut self, lambda: usize, part: PartId, memory: &Addr, at: &mut u64) -> Option<u64> {
        let lambda = &self.module().lambdas[lambda];
        if self.unit.dialect == Dialect::Host || !lambda.reads_request(part) {
            return None;
        }
        let kept = *at;
        let size = lambda.request.max.min(legal::MAX_PAYLOAD);
        *at += u64::from(size).next_multiple_of(8);
        let to = memory.clone().plus(kept).pointer();
        self.push(Stmt::Expr(Expr::call("lnic_keep_request", vec![to])));
        Some(kept)
    }

    /// A slot, where it is or where it is kept.
    fn slot_spot(&mut self, slot: SlotId, at: Option<Addr>) -> Spot {
        let shape = self.body.slots[slot.index()].shape.clone();
        let addr = match at {
            Some(addr) => addr,
            None => self.slot(slot),
        };
        Spot {
            addr,
            shape,
            len: None,
        }
    }

    /// The function that goes on with an answer.
    fn resume(
        &mut self,
        call: &ServiceCall,
        next: &Name,
        args: &[Value],
        live: &[SlotId],
        request: Option<u64>,
    ) {
        let site = self.unit.resumes.len();
        let name = self.unit.names.fresh(&format!("resume{site}"));
        self.unit.resumes.push(name.clone());
        let answer = |field: &str| Expr::var("lnic_call").field(field);
        let memory = Addr::new(self.unit.dialect.runtime_space(), answer("saved"));
        let widths: Vec<u8> = args.iter().map(|arg| self.body.width(*arg)).collect();
        let stmts = self.nested(|code| {
            let mut at = args.len() as u64 * 8;
            for slot in live {
                let to = code.slot_spot(*slot, None);
                let from = code.slot_spot(*slot, Some(memory.clone().plus(at)));
                code.copy(&to, &from);
                at += layout::size(&to.shape).next_multiple_of(8);
            }
            if let Some(kept) = request {
                let from = memory.clone().plus(kept).pointer();
                code.push(Stmt::Expr(Expr::call("lnic_request_again", vec![from])));
            }
            let ok = Expr::var("ok");
            code.push(Stmt::Assign(ok.clone(), answer("ok")));
            code.push(Stmt::Assign(Expr::var("failed"), answer("failed")));
            if let Some(dst) = call.dst {
                code.take_answer(dst);
            }
            let mut passed = vec![ok, Expr::var("failed")];
            for (i, width) in widths.iter().enumerate() {
                let size = if *width > 32 { 8 } else { 4 };
                passed.push(memory.clone().plus(i as u64 * 8).load(size));
            }
            code.push(Stmt::Return(Some(Expr::Call(next.clone(), passed))));
        });
        let flag = |name: &str| Local {
            name: name.into(),
            kind: LocalKind::Scalar(Type::U32, None),
        };
        self.unit.code.push(ast::Func {
            comment: String::new(),
            exported: false,
            once: false,
            frame: None,
            result: Type::U32,
            name,
            params: Vec::new(),
            locals: vec![flag("ok"), flag("failed")],
            body: stmts,
        });
    }

    /// Puts the value of an answer into a slot; one that is too long has failed.
    fn take_answer(&mut self, dst: SlotId) {
        let answer = |field: &str| Expr::var("lnic_call").field(field);
        let slot = self.slot_spot(dst, None);
        let Shape::Bytes(capacity) = slot.shape else {
            return;
        };
        let (ok, failed) = (Expr::var("ok"), Expr::var("failed"));
        let value = Addr::new(self.unit.dialect.runtime_space(), answer("answer"));
        let long = Expr::int(capacity).binary(Binary::Lt, answer("answer_len"));
        let refuse = vec![
            Stmt::Assign(ok.clone(), Expr::int(0)),
            Stmt::Assign(failed, Expr::int(1)),
        ];
        let contents = slot.contents();
        let take = vec![
            slot.addr.store(4, answer("answer_len")),
            Stmt::Expr(between("copy", &contents, &value, vec![answer("answer_len")])),
        ];
        let there = ok.binary(Binary::Ne, Expr::int(0));
        self.push(Stmt::If(there, vec![Stmt::If(long, refuse, take)], Vec::new()));
    }
}
