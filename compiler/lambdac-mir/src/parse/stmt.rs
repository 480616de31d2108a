//! Operations without regions.

use super::{Parser, Result1};
use crate::{BinOp, CastOp, CmpOp, FuncId, HashOp, ObjectId, Op, Place, RmwOp, Value};

impl Parser<'_> {
    pub(super) fn simple_op(&mut self) -> Result1<Op> {
        let word = self.word();
        if let Some(op) = self.operator(word)? {
            return Ok(op);
        }
        if let Some(op) = self.memory_op(word)? {
            return Ok(op);
        }
        if let Some(op) = self.object_op(word)? {
            return Ok(op);
        }
        self.expected("an operation or a terminator")
    }

    fn comma_value(&mut self) -> Result1<Value> {
        self.sign(",")?;
        self.value()
    }

    fn comma_place(&mut self) -> Result1<Place> {
        self.sign(",")?;
        self.place()
    }

    /// Operations on values alone.
    fn operator(&mut self, word: &str) -> Result1<Option<Op>> {
        if let Some(op) = BinOp::from_word(word) {
            self.advance()?;
            return Ok(Some(Op::Bin(op, self.value()?, self.comma_value()?)));
        }
        if let Some(op) = CmpOp::from_word(word) {
            self.advance()?;
            return Ok(Some(Op::Cmp(op, self.value()?, self.comma_value()?)));
        }
        if let Some(op) = CastOp::from_word(word) {
            self.advance()?;
            return Ok(Some(Op::Cast(op, self.value()?)));
        }
        if !matches!(
            word,
            "const" | "select" | "now" | "random" | "pkt" | "check" | "log" | "call" | "await"
        ) {
            return Ok(None);
        }
        self.advance()?;
        Ok(Some(match word {
            "const" => Op::Const(self.int()?),
            "select" => Op::Select(self.value()?, self.comma_value()?, self.comma_value()?),
            "now" => Op::Now,
            "random" => Op::Random,
            "pkt" => Op::Pkt(self.pkt_field()?),
            "check" => {
                let value = self.value()?;
                self.sign(",")?;
                Op::Check(value, self.trap_cause()?)
            }
            "log" => {
                let text = self.any_bytes()?;
                Op::Log(text.into(), self.parens(Self::log_arg)?)
            }
            "call" => Op::Call(FuncId(self.id("f")?), self.operands()?),
            _ => Op::Await(self.service_call()?),
        }))
    }

    /// Operations on places and views.
    fn memory_op(&mut self, word: &str) -> Result1<Option<Op>> {
        if let Some(op) = HashOp::from_word(word) {
            self.advance()?;
            return Ok(Some(Op::Hash(op, self.view()?)));
        }
        if let Some(op) = RmwOp::from_word(word) {
            self.advance()?;
            return Ok(Some(Op::AtomicRmw(op, self.place()?, self.comma_value()?)));
        }
        let known = [
            "load",
            "store",
            "zero",
            "copy",
            "len",
            "set_len",
            "copy_bytes",
            "eq_bytes",
            "load_bits",
            "store_bits",
            "atomic_cas",
        ];
        if !known.contains(&word) {
            return Ok(None);
        }
        self.advance()?;
        Ok(Some(match word {
            "load" => Op::Load(self.place()?),
            "store" => Op::Store(self.place()?, self.comma_value()?),
            "zero" => Op::Zero(self.place()?),
            "copy" => Op::Copy {
                dst: self.place()?,
                src: self.comma_place()?,
            },
            "len" => Op::Len(self.place()?),
            "set_len" => Op::SetLen(self.place()?, self.comma_value()?),
            "copy_bytes" => {
                let (dst, offset) = (self.place()?, self.comma_value()?);
                self.sign(",")?;
                Op::CopyBytes {
                    dst,
                    offset,
                    src: self.view()?,
                }
            }
            "eq_bytes" => {
                let a = self.view()?;
                self.sign(",")?;
                Op::EqBytes(a, self.view()?)
            }
            "load_bits" => {
                let place = self.place()?;
                self.sign(",")?;
                Op::LoadBits(place, self.bit_pos()?)
            }
            "store_bits" => {
                let place = self.place()?;
                self.sign(",")?;
                let pos = self.bit_pos()?;
                Op::StoreBits(place, pos, self.comma_value()?)
            }
            _ => Op::AtomicCas {
                place: self.place()?,
                old: self.comma_value()?,
                new: self.comma_value()?,
            },
        }))
    }

    /// Operations on objects by key or index.
    fn object_op(&mut self, word: &str) -> Result1<Option<Op>> {
        let known = [
            "counter_add",
            "counter_read",
            "map_get",
            "map_put",
            "map_remove",
            "map_fetch_add",
            "table_get",
            "table_has",
        ];
        if !known.contains(&word) {
            return Ok(None);
        }
        self.advance()?;
        let object = ObjectId(self.id("o")?);
        if word.starts_with("counter") {
            let mut index = None;
            if self.eat_sign("[")? {
                index = Some(self.value()?);
                self.sign("]")?;
            }
            return Ok(Some(match word {
                "counter_add" => Op::CounterAdd(object, index, self.comma_value()?),
                _ => Op::CounterRead(object, index),
            }));
        }
        let key = self.operands()?;
        Ok(Some(match word {
            "map_get" => Op::MapGet {
                object,
                key,
                dst: self.get_dst()?,
            },
            "map_put" => {
                self.sign(",")?;
                Op::MapPut {
                    object,
                    key,
                    value: self.operand()?,
                }
            }
            "map_remove" => Op::MapRemove { object, key },
            "map_fetch_add" => Op::MapFetchAdd {
                object,
                key,
                value: self.comma_value()?,
            },
            "table_get" => Op::TableGet {
                object,
                key,
                dst: self.get_dst()?,
            },
            _ => Op::TableHas { object, key },
        }))
    }

    fn get_dst(&mut self) -> Result1<Option<Place>> {
        if self.eat_sign("->")? {
            self.place().map(Some)
        } else {
            Ok(None)
        }
    }
}
