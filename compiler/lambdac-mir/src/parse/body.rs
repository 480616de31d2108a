//! Functions, lambdas, regions, structured operations, terminators.

use super::{Parser, Result1};
use crate::lexer::Kind;
use crate::{
    Body, Func, FuncParam, Label, Lambda, LambdaId, Loc, Loop, LoopKind, Op, Part, PartId, Region,
    ServiceCall, ServiceId, ServiceOp, Side, Slot, SlotId, Stmt, Storage, SwitchRange, Term,
};

/// What a line of a region turns out to be.
enum Line {
    Stmt(Stmt),
    End(Term),
}

impl Parser<'_> {
    /// A function, after `func` and its id.
    pub(super) fn func(&mut self) -> Result1<Func> {
        let name = self.text()?;
        let params = self.parens(Self::func_param)?;
        let results = if self.eat_sign("->")? {
            self.parens(Self::width)?
        } else {
            Vec::new()
        };
        let inline = self.eat_word("inline")?;
        self.sign("{")?;
        let (labels, slots) = self.body_head()?;
        let region = self.region_lines()?;
        let body = Body {
            values: self.take_widths()?,
            slots,
            labels,
        };
        Ok(Func {
            name,
            params,
            results,
            body,
            region,
            inline,
        })
    }

    fn func_param(&mut self) -> Result1<FuncParam> {
        if self.eat_word("view")? {
            return Ok(FuncParam::View);
        }
        if self.eat_word("ref")? {
            return Ok(FuncParam::Ref {
                shape: self.shape()?,
                writable: false,
            });
        }
        if self.eat_word("mut")? {
            return Ok(FuncParam::Ref {
                shape: self.shape()?,
                writable: true,
            });
        }
        self.def().map(FuncParam::Scalar)
    }

    /// Labels, values that nothing defines, slots.
    fn body_head(&mut self) -> Result1<(u32, Vec<Slot>)> {
        let labels = if self.eat_word("labels")? {
            self.small()?
        } else {
            0
        };
        if self.eat_word("undefined")? {
            self.def()?;
            while self.eat_sign(",")? {
                self.def()?;
            }
        }
        let mut slots = Vec::new();
        while self.eat_word("slot")? {
            self.next_id("s", slots.len())?;
            let name = self.text()?;
            self.sign(":")?;
            let shape = self.shape()?;
            let storage = if self.eat_word("reply_buffer")? {
                Storage::ReplyBuffer
            } else {
                Storage::Frame
            };
            slots.push(Slot { name, shape, storage });
        }
        Ok((labels, slots))
    }

    /// A lambda, after `lambda` and its id.
    pub(super) fn lambda(&mut self) -> Result1<Lambda> {
        let name = self.text()?;
        let stream = self.eat_word("stream")?;
        let (request_type, request) = self.message("request")?;
        let (reply_type, reply) = self.message("reply")?;
        let deadline = if self.eat_word("deadline")? {
            Some(self.int()?)
        } else {
            None
        };
        let on = if self.eat_word("on")? {
            Some(self.named("`host` or `nic`", Side::from_word)?)
        } else {
            None
        };
        self.sign("{")?;
        let (labels, slots) = self.body_head()?;
        let mut parts = Vec::new();
        while !self.eat_sign("}")? {
            self.next_id("part", parts.len())?;
            parts.push(self.part()?);
        }
        let body = Body {
            values: self.take_widths()?,
            slots,
            labels,
        };
        Ok(Lambda {
            name,
            stream,
            request,
            reply,
            request_type,
            reply_type,
            deadline,
            on,
            body,
            parts,
        })
    }

    fn part(&mut self) -> Result1<Part> {
        let params = self.parens(Self::def)?;
        let live_slots = if self.eat_word("live")? {
            self.parens(|p| p.id("s").map(SlotId))?
        } else {
            Vec::new()
        };
        Ok(Part {
            params,
            live_slots,
            region: self.region()?,
        })
    }

    /// A region with its braces.
    fn region(&mut self) -> Result1<Region> {
        self.sign("{")?;
        self.deeper(Self::region_lines)
    }

    /// A region after its opening brace.
    fn region_lines(&mut self) -> Result1<Region> {
        let mut stmts = Vec::new();
        loop {
            match self.line()? {
                Line::Stmt(stmt) => stmts.push(stmt),
                Line::End(term) => {
                    self.sign("}")?;
                    return Ok(Region { stmts, term });
                }
            }
        }
    }

    fn line(&mut self) -> Result1<Line> {
        if self.peek_id("v").is_some() {
            let mut results = vec![self.def()?];
            while self.eat_sign(",")? {
                results.push(self.def()?);
            }
            self.sign("=")?;
            return self.stmt(results).map(Line::Stmt);
        }
        match self.word() {
            "yield" | "return" | "break" | "continue" | "reply" | "drop" | "punt" | "trap" | "become" => {
                self.term().map(Line::End)
            }
            "await" => self.await_line(),
            _ => self.stmt(Vec::new()).map(Line::Stmt),
        }
    }

    fn stmt(&mut self, results: Vec<crate::Value>) -> Result1<Stmt> {
        let (op, loc) = match self.word() {
            "if" => self.if_op()?,
            "switch" => self.switch_op()?,
            "block" => self.block_op()?,
            "loop" => self.loop_op()?,
            _ => {
                let op = self.simple_op()?;
                (op, self.loc()?)
            }
        };
        Ok(Stmt { results, op, loc })
    }

    /// `await` without results: the operation where `then` does not follow.
    fn await_line(&mut self) -> Result1<Line> {
        self.keyword("await")?;
        let call = self.service_call()?;
        if self.eat_word("then")? {
            let part = PartId(self.id("part")?);
            let args = self.parens(Self::value)?;
            return Ok(Line::End(Term::Await {
                call: Box::new(call),
                part,
                args,
            }));
        }
        Ok(Line::Stmt(Stmt {
            results: Vec::new(),
            op: Op::Await(call),
            loc: self.loc()?,
        }))
    }

    pub(super) fn service_call(&mut self) -> Result1<ServiceCall> {
        let op = self.named("`get`, `set` or `delete`", ServiceOp::from_word)?;
        let service = ServiceId(self.id("svc")?);
        self.keyword("key")?;
        let key = self.view()?;
        let value = if self.eat_word("value")? {
            Some(self.view()?)
        } else {
            None
        };
        let dst = if self.eat_sign("->")? {
            Some(SlotId(self.id("s")?))
        } else {
            None
        };
        Ok(ServiceCall {
            service,
            op,
            key,
            value,
            dst,
        })
    }

    fn if_op(&mut self) -> Result1<(Op, Loc)> {
        self.keyword("if")?;
        let cond = self.value()?;
        let loc = self.loc()?;
        let then = self.region()?;
        self.keyword("else")?;
        Ok((Op::If(cond, then, self.region()?), loc))
    }

    fn switch_op(&mut self) -> Result1<(Op, Loc)> {
        self.keyword("switch")?;
        let on = self.value()?;
        let loc = self.loc()?;
        self.sign("{")?;
        let mut arms = Vec::new();
        while self.eat_word("case")? {
            let mut ranges = Vec::new();
            if !self.is_sign("{") {
                ranges.push(self.range()?);
                while self.eat_sign(",")? {
                    ranges.push(self.range()?);
                }
            }
            arms.push((ranges, self.region()?));
        }
        self.keyword("default")?;
        let default = self.region()?;
        self.sign("}")?;
        Ok((Op::Switch { on, arms, default }, loc))
    }

    /// `5`, `5..9` or `5..`
    fn range(&mut self) -> Result1<SwitchRange> {
        let at = self.token.start;
        let lo = self.int()?;
        if self.eat_sign("..")? {
            return match self.token.kind {
                Kind::Int(_) => Ok((lo, Some(self.int()?))),
                _ => Ok((lo, None)),
            };
        }
        match lo.checked_add(1) {
            Some(hi) => Ok((lo, Some(hi))),
            None => Err((at, format!("write `{lo}..` for the largest value"))),
        }
    }

    fn new_label(&mut self) -> Result1<Label> {
        self.id("b").map(Label)
    }

    fn block_op(&mut self) -> Result1<(Op, Loc)> {
        self.keyword("block")?;
        let label = self.new_label()?;
        let loc = self.loc()?;
        Ok((Op::Block(label, self.region()?), loc))
    }

    fn loop_op(&mut self) -> Result1<(Op, Loc)> {
        self.keyword("loop")?;
        let label = self.new_label()?;
        let counted = if self.eat_word("for")? {
            let var = self.def()?;
            self.keyword("in")?;
            let from = self.value()?;
            self.sign("..")?;
            let to = self.value()?;
            Some(LoopKind::For {
                var,
                from,
                to,
                signed: self.eat_word("signed")?,
            })
        } else {
            self.keyword("while")?;
            None
        };
        self.keyword("max")?;
        let max = self.int()?;
        let checked = self.eat_word("checked")?;
        let params = self.parens(|p| {
            let param = p.def()?;
            p.sign("=")?;
            Ok((param, p.value()?))
        })?;
        let loc = self.loc()?;
        let kind = match counted {
            Some(kind) => kind,
            None => {
                let cond = self.region()?;
                self.keyword("do")?;
                LoopKind::While(cond)
            }
        };
        let body = self.region()?;
        Ok((
            Op::Loop(Box::new(Loop {
                label,
                params,
                kind,
                max,
                checked,
                body,
            })),
            loc,
        ))
    }

    fn term(&mut self) -> Result1<Term> {
        let word = self.word();
        self.advance()?;
        Ok(match word {
            "yield" => Term::Yield(self.bare_values()?),
            "return" => Term::Return(self.bare_values()?),
            "break" => Term::Break(self.new_label()?, self.parens(Self::value)?),
            "continue" => Term::Continue(self.new_label()?, self.parens(Self::value)?),
            "reply" => Term::Reply(self.view()?),
            "drop" => Term::Drop,
            "punt" if self.peek_id("l").is_some() => Term::Punt(Some(LambdaId(self.id("l")?))),
            "punt" => Term::Punt(None),
            "trap" => Term::Trap(self.trap_cause()?, self.loc()?),
            _ => Term::Become {
                part: PartId(self.id("part")?),
                args: self.parens(Self::value)?,
            },
        })
    }
}
