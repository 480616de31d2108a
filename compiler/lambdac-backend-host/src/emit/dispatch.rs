//! The match stage: rules in order, the first whose condition holds.

use std::collections::BTreeMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, types};
use lambdac_mir::{BitPos, Body, Cond, Dispatch, Field, Func, FuncId, KeyField, KeyPart, Match, Target};

use super::func::{Exit, FnEmitter, Region, Way, field};
use super::place::Mem;
use super::scalar::ty;
use super::walk::Facts;
use super::{Compiled, EntryNeeds, Env, Making};
use crate::Result;
use crate::context::dispatch;
use crate::layout::{self, Layout, mask};

impl<'m> Env<'m> {
    pub(super) fn compile_dispatch(&mut self, symbol: String) -> Result<Compiled> {
        let module = self.module;
        let mut calls = Vec::new();
        if let Dispatch::Match(stage) = &module.dispatch {
            for rule in &stage.rules {
                collect_calls(&rule.cond, &mut calls);
            }
        }
        calls.sort_unstable();
        calls.dedup();
        let signature = self.entry_signature();
        let at = "the match stage".to_owned();
        let id = self.declare(Some(&symbol), &signature, &at)?;
        let making = Making { at, id, signature };
        let facts = Facts {
            calls,
            ..Facts::default()
        };
        let body = Body::default();
        let (_, frame) = self.make(making, &body, facts, |emitter| {
            emitter.emit_dispatch(&module.dispatch)
        })?;
        let needs = EntryNeeds {
            arena_bytes: frame.arena,
            save_bytes: 0,
        };
        Ok(Compiled { id, symbol, needs })
    }
}

/// Collects the functions that conditions call.
fn collect_calls(cond: &Cond, out: &mut Vec<FuncId>) {
    cond.for_each_func(&mut |func| out.extend(Facts::of(&func.body, [&func.region]).calls));
}

/// Fields that were read before on every path to here.
#[derive(Default)]
struct Stage {
    fields: BTreeMap<(u32, u8), ir::Value>,
}

impl<'m> FnEmitter<'_, '_, 'm> {
    fn emit_dispatch(&mut self, stage: &'m Dispatch) -> Result<()> {
        self.exit = Exit::Dispatch;
        self.arena = Some(self.load_fixed(self.ctx, field!(arena)));
        match stage {
            Dispatch::Only(lambda) => self.leave(lambda.0),
            Dispatch::Unreachable => self.leave(dispatch::BAD_REQUEST),
            Dispatch::Match(stage) => self.rules(stage)?,
        }
        Ok(())
    }

    fn rules(&mut self, stage: &'m Match) -> Result<()> {
        let bad = self.b.create_block();
        self.b.set_cold_block(bad);
        let start = self.b.create_block();
        if stage.min_len == 0 {
            self.jump(start, &[]);
        } else {
            let least = self.const_i32(stage.min_len);
            let short = self
                .b
                .ins()
                .icmp(IntCC::UnsignedLessThan, self.request_len, least);
            self.b.ins().brif(short, bad, &[], start, &[]);
        }
        self.b.seal_block(start);
        self.b.switch_to_block(start);
        let mut state = Stage::default();
        for rule in &stage.rules {
            self.loc = rule.loc;
            let (taken, next) = (self.b.create_block(), self.b.create_block());
            self.cond(&rule.cond, taken, next, &mut state)?;
            self.b.seal_block(taken);
            self.b.switch_to_block(taken);
            self.leave(match rule.target {
                Target::Lambda(lambda) => lambda.0,
                Target::Drop => dispatch::DROP,
                Target::Punt => dispatch::PUNT,
            });
            self.b.seal_block(next);
            self.b.switch_to_block(next);
        }
        self.jump(bad, &[]);
        self.b.seal_block(bad);
        self.b.switch_to_block(bad);
        self.leave(dispatch::BAD_REQUEST);
        Ok(())
    }

    /// Branches by a condition.
    fn cond(&mut self, cond: &'m Cond, yes: ir::Block, no: ir::Block, state: &mut Stage) -> Result<()> {
        let holds = match cond {
            Cond::True => {
                self.jump(yes, &[]);
                return Ok(());
            }
            Cond::Not(inner) => return self.cond(inner, no, yes, state),
            Cond::All(list) => return self.sequence(list, (yes, no), true, state),
            Cond::Any(list) => return self.sequence(list, (yes, no), false, state),
            Cond::Cmp {
                field,
                op,
                swapped,
                value,
            } => {
                let width = field.width();
                let x = self.field(*field, state);
                let y = self.constant(ty(width), value & mask(width));
                let (x, y) = if *swapped { (y, x) } else { (x, y) };
                self.compare(*op, x, y, width)
            }
            Cond::Range { field, lo, hi } => self.in_range(*field, *lo, *hi, state),
            Cond::Masked { field, mask, value } => {
                let x = self.field(*field, state);
                let bits = self.constant(ty(field.width()), *mask);
                let kept = self.b.ins().band(x, bits);
                let wanted = self.constant(ty(field.width()), *value);
                self.b.ins().icmp(IntCC::Equal, kept, wanted)
            }
            Cond::Has { table, key } => {
                let parts = self.table_key(*table)?;
                let key = self.field_key(parts, key, state)?;
                self.table_has(*table, key)?
            }
            Cond::Eval(func) => return self.eval(func, Way { yes, no }),
        };
        self.b.ins().brif(holds, yes, &[], no, &[]);
        Ok(())
    }

    /// `&&` (`all`) or `||` of conditions.
    fn sequence(
        &mut self,
        list: &'m [Cond],
        (yes, no): (ir::Block, ir::Block),
        all: bool,
        state: &mut Stage,
    ) -> Result<()> {
        // What the first condition reads, every path has read; the others may be skipped.
        let mut known = None;
        for cond in list {
            let next = self.b.create_block();
            let (yes, no) = if all { (next, no) } else { (yes, next) };
            self.cond(cond, yes, no, state)?;
            known.get_or_insert_with(|| state.fields.clone());
            self.b.seal_block(next);
            self.b.switch_to_block(next);
        }
        if let Some(known) = known {
            state.fields = known;
        }
        self.jump(if all { yes } else { no }, &[]);
        Ok(())
    }

    fn in_range(&mut self, field: Field, lo: u64, hi: u64, state: &mut Stage) -> ir::Value {
        let width = field.width();
        let x = self.field(field, state);
        if hi <= lo || lo > mask(width) {
            return self.constant(types::I8, 0);
        }
        let base = self.constant(ty(width), lo);
        let above = self.b.ins().isub(x, base);
        let last = self.constant(ty(width), (hi - 1).min(mask(width)) - lo);
        // Below `lo` the difference wraps, at an odd width to a number that is out of range as well.
        self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, above, last)
    }

    fn field(&mut self, field: Field, state: &mut Stage) -> ir::Value {
        match field {
            Field::Bits { bit, width } => {
                if let Some(value) = state.fields.get(&(bit, width)) {
                    return *value;
                }
                let value = self.request_field(bit, width);
                state.fields.insert((bit, width), value);
                value
            }
            Field::Pkt(field) => self.packet_field(field),
            Field::Rest { offset, max } => {
                let offset = self.const_i32(offset);
                let least = self.b.ins().umax(self.request_len, offset);
                let rest = self.b.ins().isub(least, offset);
                let most = self.const_i32(max);
                self.b.ins().umin(rest, most)
            }
        }
    }

    fn request_field(&mut self, bit: u32, width: u8) -> ir::Value {
        let pos = BitPos { bit, index: None };
        let mem = Mem {
            ptr: self.request,
            offset: i64::from(pos.bit / 8),
            region: Region::Request,
        };
        self.load_field(mem, pos.bit % 8, width)
    }

    fn field_key(&mut self, parts: &[KeyPart], key: &[KeyField], state: &mut Stage) -> Result<ir::Value> {
        let size = layout::key_bytes(parts)?;
        let buffer = self.temporary(Layout { size, align: 8 })?;
        let mut at = Mem {
            ptr: buffer,
            offset: 0,
            region: Region::Frame,
        };
        for (part, source) in parts.iter().zip(key) {
            match (part, source) {
                (KeyPart::Scalar(width), KeyField::Field(field)) => {
                    let value = self.field(*field, state);
                    let value = self.resize(value, ty(*width));
                    self.store_key_scalar(value, at);
                }
                (KeyPart::Scalar(width), KeyField::Const(value)) => {
                    let value = self.constant(ty(*width), value & mask(*width));
                    self.store_key_scalar(value, at);
                }
                (KeyPart::Bytes(_), KeyField::Bytes { offset, len }) => {
                    let from = Mem {
                        ptr: self.request,
                        offset: i64::from(*offset),
                        region: Region::Request,
                    };
                    let bytes = self.const_i32(*len);
                    self.copy_bytes_to(at, from, bytes, Some(u64::from(*len)));
                }
                _ => return self.invalid("a key field that is not of its part's type"),
            }
            at = at.plus(layout::key_part_bytes(*part) as i64);
        }
        Ok(buffer)
    }

    /// Emits a condition's function where it stands.
    fn eval(&mut self, func: &'m Func, way: Way) -> Result<()> {
        self.start_body(&func.body, Facts::of(&func.body, [&func.region]));
        self.exit = Exit::Condition(way);
        self.place_slots()?;
        self.region(&func.region)?;
        self.exit = Exit::Dispatch;
        Ok(())
    }
}
