//! Lambdas: each part a function that gives how the invocation ended, or that it waits.

use lambdac_mir::{Lambda, LambdaId, MemoryRegion, PartId, Region, SlotId, Storage, Term};

use super::code::{Code, Leave, reply_buffer};
use super::control::Yield;
use super::memory::Addr;
use super::{Lowerer, frames};
use crate::ast::{self, Binary, Expr, Name, Stmt, Type};
use crate::dialect::{Dialect, Region as Home, Scope};
use crate::layout;
use crate::names::letters;
use crate::needed::Needed;

impl<'a> Lowerer<'a> {
    /// The function that runs a lambda from its start: a request of the wrong length is refused.
    pub fn lambda(&mut self, id: LambdaId) -> Name {
        if let Some(name) = self.lambdas.get(&id) {
            return name.clone();
        }
        let image = self.image;
        let lambda = &image.module.lambdas[id.index()];
        let parts: Vec<Name> = (0..lambda.parts.len())
            .map(|part| match part {
                0 => self.names.fresh(&lambda.name),
                part => self.names.fresh(&format!("{}_part{part}", lambda.name)),
            })
            .collect();
        self.lambdas.insert(id, parts[0].clone());
        let kept = self.kept(lambda);
        let mut order = Vec::new();
        visit(lambda, PartId(0), &mut order);
        for part in order {
            let func = self.part(id, part, &parts, &kept);
            self.code.push(func);
        }
        parts[0].clone()
    }

    /// Memory for the slots that outlive a part.
    fn kept(&mut self, lambda: &Lambda) -> Vec<(SlotId, Addr)> {
        let mut at = 0;
        let place = |id: SlotId| {
            let slot = &lambda.body.slots[id.index()];
            if slot.storage == Storage::ReplyBuffer {
                return (id, reply_buffer(self, &slot.shape));
            }
            let size = layout::size(&slot.shape);
            if self.dialect == Dialect::MicroC {
                let addr = frames::kept(at);
                at += size.next_multiple_of(8);
                self.kept_bytes = self.kept_bytes.max(at);
                return (id, addr);
            }
            let region = Home {
                memory: MemoryRegion::Lmem,
                scope: Scope::Thread,
            };
            let like = format!("{}_{}", lambda.name, letters(&slot.name));
            let name = self.thread_memory(&like, region, size as u32);
            (id, self.array(&name, region))
        };
        lambda.outliving_slots().into_iter().map(place).collect()
    }

    fn part(&mut self, id: LambdaId, part: PartId, parts: &[Name], kept: &[(SlotId, Addr)]) -> ast::Func {
        let image = self.image;
        let lambda = &image.module.lambdas[id.index()];
        let this = &lambda.parts[part.index()];
        let needed = Needed::of(&lambda.body, &[&this.region], &self.effects, self.dialect.logs());
        let leave = Leave::Part {
            parts: parts.to_vec(),
            lambda: id.index(),
        };
        let outlive = kept.iter().map(|(slot, _)| *slot).collect();
        let home = self.locals(&lambda.body, &[&this.region], &outlive);
        let mut code = Code::new(self, (&lambda.body, home), needed, leave);
        code.kept.extend(kept.iter().cloned());
        let mut params = Vec::new();
        for param in &this.params {
            let name: Name = format!("v{}", param.0).into();
            code.is_parameter(&name);
            params.push((name, code.type_of(*param)));
        }
        if part.0 == 0 {
            code.lengths(lambda);
        }
        code.region(&this.region, &Yield::Nothing);
        let body = code.take();
        let locals = code.take_locals();
        let frame = code.take_frame();
        let comment = match part.0 {
            0 => format!(
                "{}: {} -> {}",
                lambda.name, lambda.request_type, lambda.reply_type
            ),
            part => format!("{}, part {part}", lambda.name),
        };
        ast::Func {
            comment,
            exported: false,
            once: false,
            frame,
            result: Type::U32,
            name: parts[part.index()].clone(),
            params,
            locals,
            body,
        }
    }
}

/// Parts in the order in which they can be defined: those that others go on in first.
fn visit(lambda: &Lambda, part: PartId, order: &mut Vec<PartId>) {
    if order.contains(&part) {
        return;
    }
    let mut next = Vec::new();
    lambda.parts[part.index()]
        .region
        .walk_regions(&mut |region: &Region| {
            if let Term::Become { part, .. } | Term::Await { part, .. } = &region.term {
                next.push(*part);
            }
        });
    for part in next {
        visit(lambda, part, order);
    }
    order.push(part);
}

impl Code<'_, '_> {
    /// Refuses a request that does not fit.
    fn lengths(&mut self, lambda: &Lambda) {
        let len = || Expr::var("lnic_call").field("request_len");
        let (min, max) = (lambda.request.min, lambda.request.max);
        let refuse = |code: &mut Self, wrong: Expr| {
            let refused = Stmt::Return(Some(Expr::var("LNIC_BAD_REQUEST")));
            code.push(Stmt::If(wrong, vec![refused], Vec::new()));
        };
        if min == max {
            return refuse(self, len().binary(Binary::Ne, Expr::int(min)));
        }
        let short = (min > 0).then(|| len().binary(Binary::Lt, Expr::int(min)));
        let long = (max < u32::MAX).then(|| Expr::int(max).binary(Binary::Lt, len()));
        match (short, long) {
            (Some(short), Some(long)) => refuse(self, short.binary(Binary::LogicalOr, long)),
            (Some(one), None) | (None, Some(one)) => refuse(self, one),
            (None, None) => {}
        }
    }

    /// Leaves a lambda's part.
    pub fn leave_lambda(&mut self, term: &Term) {
        match term {
            Term::Reply(view) => {
                let in_place = match view.place.base {
                    lambdac_mir::Base::Slot(slot) => {
                        self.body.slots[slot.index()].storage == Storage::ReplyBuffer
                    }
                    _ => false,
                };
                let bytes = self.bytes(view);
                let reply = match in_place {
                    true => Expr::call("lnic_reply_in_place", vec![bytes.len]),
                    false => bytes.addr.call("reply", vec![bytes.len]),
                };
                self.push(Stmt::Return(Some(reply)));
            }
            Term::Drop => self.push(Stmt::Return(Some(Expr::var("LNIC_DROP")))),
            Term::Punt(None) => self.push(Stmt::Return(Some(Expr::var("LNIC_PUNT")))),
            Term::Punt(Some(to)) => {
                let to = Expr::call("lnic_punt_to", vec![Expr::int(to.0)]);
                self.push(Stmt::Return(Some(to)));
            }
            Term::Become { part, args } => {
                let Leave::Part { parts, .. } = &self.leave else {
                    return;
                };
                let name = parts[part.index()].clone();
                let args = args.iter().map(|arg| self.value(*arg)).collect();
                self.push(Stmt::Return(Some(Expr::Call(name, args))));
            }
            Term::Await { call, part, args } => self.wait(call, *part, args),
            Term::Yield(_) | Term::Break(..) | Term::Continue(..) | Term::Return(_) | Term::Trap(..) => {
                unreachable!("handled where its kind is")
            }
        }
    }
}
