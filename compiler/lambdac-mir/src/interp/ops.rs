//! Operations without regions.

use super::eval::{binary, compare, reflected_crc, roll};
use super::memory::{LEN_BYTES, Memory, Unwritten};
use super::run::{Owner, Run, Spot, Stop};
use super::state::Object;
use crate::{
    Base, BitPos, CastOp, HashOp, LogArg, Op, Place, RmwOp, Shape, Step, Stmt, Value, View, mask, sign_extend,
};

fn invalid<T>(message: String) -> Result<T, Stop> {
    Err(Stop::Invalid(message))
}

impl<'m> Run<'m, '_> {
    /// Runs an operation that holds no regions; gives its results.
    pub(super) fn op(&mut self, stmt: &'m Stmt) -> Result<Vec<u64>, Stop> {
        let width = |value: &Value| self.frame().body.width(*value);
        let one = |value: u64| Ok(vec![value]);
        match &stmt.op {
            Op::Const(value) => one(*value),
            Op::Bin(op, a, b) => one(binary(*op, width(a), self.get(*a), self.get(*b))),
            Op::Cmp(op, a, b) => one(u64::from(compare(*op, width(a), self.get(*a), self.get(*b)))),
            Op::Cast(op, a) => {
                let (from, to) = (width(a), width(&stmt.results[0]));
                let value = self.get(*a);
                one(match op {
                    CastOp::ZExt => value,
                    CastOp::SExt => sign_extend(value, from) as u64 & mask(to),
                    CastOp::Trunc => value & mask(to),
                })
            }
            Op::Select(c, a, b) => one(self.get(if self.get(*c) == 1 { *a } else { *b })),
            Op::Now => one(self.env.now),
            Op::Random => {
                let rolled = match self.env.random {
                    Some(fixed) => fixed,
                    None => roll(&mut self.dice),
                };
                one(rolled.into())
            }
            Op::Pkt(field) => one(self.env.pkt(*field) & mask(field.width())),
            Op::Check(value, cause) => match self.get(*value) {
                1 => Ok(Vec::new()),
                _ => Err(Stop::Trap(*cause, stmt.loc)),
            },
            Op::Log(text, args) => self.log(text, args),
            Op::Call(callee, args) => self.func(&self.module.funcs[callee.index()], args),
            Op::Await(call) => {
                let (ok, failed) = self.ask(call)?;
                Ok(vec![ok.into(), failed.into()])
            }
            Op::CounterAdd(..)
            | Op::CounterRead(..)
            | Op::MapGet { .. }
            | Op::MapPut { .. }
            | Op::MapRemove { .. }
            | Op::MapFetchAdd { .. }
            | Op::TableGet { .. }
            | Op::TableHas { .. } => self.object_op(&stmt.op),
            _ => self.memory_op(stmt),
        }
    }

    fn memory_op(&mut self, stmt: &'m Stmt) -> Result<Vec<u64>, Stop> {
        match &stmt.op {
            Op::Load(place) => {
                let spot = self.spot(place)?;
                let value = self.memory(spot.owner).load(spot.at, scalar(spot));
                return Ok(vec![self.written(value, place)?]);
            }
            Op::Store(place, value) => {
                let (spot, value) = (self.spot(place)?, self.get(*value));
                self.memory_mut(spot.owner)?.store(spot.at, scalar(spot), value);
            }
            Op::Zero(place) => {
                let spot = self.spot(place)?;
                self.memory_mut(spot.owner)?
                    .put_data(spot.at, spot.shape, &spot.shape.zero());
                if let Shape::Bytes(capacity) = spot.shape {
                    self.memory_mut(spot.owner)?
                        .forget(spot.at + LEN_BYTES, *capacity as usize);
                }
            }
            Op::Copy { dst, src } => self.copy(dst, src)?,
            Op::Len(place) => return Ok(vec![self.len(place)?.into()]),
            Op::SetLen(place, len) => self.set_len(place, *len)?,
            Op::CopyBytes { dst, offset, src } => self.copy_bytes(dst, *offset, src)?,
            Op::EqBytes(a, b) => {
                let (a, b) = (self.bytes(a)?, self.bytes(b)?);
                return Ok(vec![u64::from(a == b)]);
            }
            Op::LoadBits(place, pos) => {
                let width = self.frame().body.width(stmt.results[0]);
                let (spot, bit) = self.bits(place, *pos, width)?;
                let value = self.memory(spot.owner).load_bits(spot.at, bit, width);
                return Ok(vec![self.written(value, place)?]);
            }
            Op::StoreBits(place, pos, value) => {
                let width = self.frame().body.width(*value);
                let (spot, bit) = self.bits(place, *pos, width)?;
                let value = self.get(*value);
                self.memory_mut(spot.owner)?
                    .store_bits(spot.at, bit, width, value);
            }
            Op::Hash(op, view) => {
                let bytes = self.bytes(view)?;
                return Ok(vec![match op {
                    HashOp::Crc32 => u64::from(!reflected_crc(&bytes, 0xedb8_8320, u32::MAX)),
                    HashOp::Crc16 => u64::from(reflected_crc(&bytes, 0xa001, 0)),
                }]);
            }
            Op::AtomicRmw(op, place, value) => {
                let by = self.get(*value);
                return self.replace(place, |width, old| {
                    Some(match op {
                        RmwOp::Add => old.wrapping_add(by) & mask(width),
                        RmwOp::Sub => old.wrapping_sub(by) & mask(width),
                        RmwOp::Swap => by,
                    })
                });
            }
            Op::AtomicCas { place, old, new } => {
                let (wanted, new) = (self.get(*old), self.get(*new));
                let found = self.replace(place, |_, old| (old == wanted).then_some(new))?;
                return Ok(vec![u64::from(found == [wanted])]);
            }
            _ => return invalid("an operation in the wrong place".to_owned()),
        }
        Ok(Vec::new())
    }

    /// Replaces a scalar where `f` gives something new; gives the old value.
    fn replace(&mut self, place: &Place, f: impl FnOnce(u8, u64) -> Option<u64>) -> Result<Vec<u64>, Stop> {
        let spot = self.spot(place)?;
        let old = self.memory(spot.owner).load(spot.at, scalar(spot));
        let old = self.written(old, place)?;
        if let Some(new) = f(scalar(spot), old) {
            self.memory_mut(spot.owner)?.store(spot.at, scalar(spot), new);
        }
        Ok(vec![old])
    }

    fn written<T>(&self, value: Result<T, Unwritten>, place: &Place) -> Result<T, Stop> {
        value.or_else(|Unwritten| invalid(format!("{place} is read before it is written")))
    }

    pub(super) fn memory(&self, owner: Owner) -> &Memory {
        match owner {
            Owner::Slot(frame, slot) => &self.frames[frame].slots[slot],
            Owner::Object(object) => match &self.state.objects[object] {
                Object::Value(memory) => memory,
                _ => unreachable!("the validator saw that places start at values"),
            },
            Owner::Const(id) => &self.consts[id],
            Owner::Param(id) => &self.params[id],
            Owner::Request => &self.request,
        }
    }

    pub(super) fn memory_mut(&mut self, owner: Owner) -> Result<&mut Memory, Stop> {
        match owner {
            Owner::Slot(frame, slot) => Ok(&mut self.frames[frame].slots[slot]),
            Owner::Object(object) => match &mut self.state.objects[object] {
                Object::Value(memory) => Ok(memory),
                _ => invalid("an object that is no value is written".to_owned()),
            },
            Owner::Const(_) | Owner::Param(_) | Owner::Request => {
                invalid("read-only memory is written".to_owned())
            }
        }
    }

    fn base(&self, base: Base) -> Option<Spot<'m>> {
        let shape: &'m Shape;
        let (owner, view_len) = match base {
            Base::Slot(slot) => {
                shape = &self.frame().body.slots[slot.index()].shape;
                (Owner::Slot(self.frames.len() - 1, slot.index()), 0)
            }
            Base::Arg(arg) => return self.frame().args.get(arg as usize).copied().flatten(),
            Base::Object(object) => {
                let crate::ObjectKind::Value { shape: of, .. } = &self.module.objects[object.index()].kind
                else {
                    return None;
                };
                shape = of;
                (Owner::Object(self.object(object).index()), 0)
            }
            Base::Const(id) => {
                shape = &self.module.consts[id.index()].shape;
                (Owner::Const(id.index()), 0)
            }
            Base::Param(id) => {
                shape = &self.module.params[id.index()].shape;
                (Owner::Param(id.index()), 0)
            }
            Base::Request => {
                shape = &Shape::View;
                (Owner::Request, self.request_len)
            }
        };
        Some(Spot {
            owner,
            at: 0,
            shape,
            view_len,
        })
    }

    /// Finds a place; out of bounds is invalid.
    pub(super) fn spot(&self, place: &Place) -> Result<Spot<'m>, Stop> {
        let Some(mut spot) = self.base(place.base) else {
            return invalid(format!("no place starts at {}", place.base));
        };
        for step in &place.path {
            let (skip, len) = match (spot.shape, step) {
                (Shape::Struct(fields), Step::Field(field)) => {
                    let before = fields[..*field as usize]
                        .iter()
                        .map(|field| field.packed_size() as usize);
                    spot.at += before.sum::<usize>();
                    spot.shape = &fields[*field as usize];
                    continue;
                }
                (Shape::Array(_, len), _) => (0, *len),
                (Shape::Bytes(capacity), _) => (LEN_BYTES, *capacity),
                _ => (0, spot.view_len),
            };
            let (Step::Index(index), Some(element)) = (step, spot.shape.step(*step)) else {
                return invalid(format!("the steps of {place} do not fit"));
            };
            let index = self.get(*index);
            if index >= u64::from(len) {
                return invalid(format!("{place} is out of bounds: {index} of {len}"));
            }
            spot.at += skip + index as usize * element.packed_size() as usize;
            spot.shape = element;
        }
        Ok(spot)
    }

    /// First byte and capacity of a byte string, array of bytes, or view.
    fn extent(spot: Spot<'_>) -> (usize, u32) {
        match spot.shape {
            Shape::Bytes(capacity) => (spot.at + LEN_BYTES, *capacity),
            Shape::View => (spot.at, spot.view_len),
            shape => (spot.at, shape.byte_array_len().unwrap_or(0)),
        }
    }

    /// Finds the bytes of a view.
    pub(super) fn view_spot(&self, view: &View) -> Result<Spot<'m>, Stop> {
        let spot = self.spot(&view.place)?;
        let (start, capacity) = Self::extent(spot);
        let (offset, len) = (self.get(view.offset), self.get(view.len));
        if offset + len > u64::from(capacity) {
            return invalid(format!(
                "{view} is out of bounds: {offset} +: {len} of {capacity}"
            ));
        }
        Ok(Spot {
            owner: spot.owner,
            at: start + offset as usize,
            shape: &Shape::View,
            view_len: len as u32,
        })
    }

    /// Reads a view.
    pub(super) fn bytes(&self, view: &View) -> Result<Vec<u8>, Stop> {
        let spot = self.view_spot(view)?;
        let bytes = self.memory(spot.owner).read(spot.at, spot.view_len as usize);
        Ok(self.written(bytes, &view.place)?.to_vec())
    }

    fn bits(&self, place: &Place, pos: BitPos, width: u8) -> Result<(Spot<'m>, u64), Stop> {
        let mut spot = self.spot(place)?;
        let (start, capacity) = Self::extent(spot);
        let moved = pos.index.map_or(0, |(index, stride)| {
            u128::from(self.get(index)) * u128::from(stride)
        });
        let bit = u128::from(pos.bit) + moved;
        if bit + u128::from(width) > u128::from(capacity) * 8 {
            return invalid(format!("i{width} at bit {bit} of {place} is out of bounds"));
        }
        spot.at = start;
        Ok((spot, bit as u64))
    }

    fn len(&self, place: &Place) -> Result<u32, Stop> {
        let spot = self.spot(place)?;
        match spot.shape {
            Shape::View => Ok(spot.view_len),
            _ => self
                .written(self.memory(spot.owner).load(spot.at, 32), place)
                .map(|len| len as u32),
        }
    }

    fn set_len(&mut self, place: &Place, len: Value) -> Result<(), Stop> {
        let (spot, len) = (self.spot(place)?, self.get(len));
        let (start, capacity) = Self::extent(spot);
        if len > u64::from(capacity) {
            return invalid(format!("{place} gets a length of {len}"));
        }
        let below = self.memory(spot.owner).read(start, len as usize).map(|_| ());
        self.written(below, place)?;
        let memory = self.memory_mut(spot.owner)?;
        memory.store(spot.at, 32, len);
        // What is past the end is as good as never written.
        memory.forget(start + len as usize, (u64::from(capacity) - len) as usize);
        Ok(())
    }

    fn copy(&mut self, dst: &Place, src: &Place) -> Result<(), Stop> {
        let (to, from) = (self.spot(dst)?, self.spot(src)?);
        let size = from.shape.packed_size() as usize;
        let apart = to.at + to.shape.packed_size() as usize <= from.at || from.at + size <= to.at;
        if to.owner == from.owner && !apart && size > 0 {
            return invalid(format!("copy of {src} to {dst} overlaps"));
        }
        let snapshot = self.memory(from.owner).snapshot(from.at, size);
        self.memory_mut(to.owner)?.restore(to.at, &snapshot);
        Ok(())
    }

    fn copy_bytes(&mut self, dst: &Place, offset: Value, src: &View) -> Result<(), Stop> {
        let bytes = self.bytes(src)?;
        let (from, to) = (self.view_spot(src)?, self.spot(dst)?);
        let (start, capacity) = Self::extent(to);
        let offset = self.get(offset);
        if offset + bytes.len() as u64 > u64::from(capacity) {
            return invalid(format!("{} bytes at {offset} do not fit {dst}", bytes.len()));
        }
        let at = start + offset as usize;
        let apart = at + bytes.len() <= from.at || from.at + bytes.len() <= at;
        if to.owner == from.owner && !apart && at != from.at && !bytes.is_empty() {
            return invalid(format!("copy_bytes of {src} to {dst} overlaps"));
        }
        self.memory_mut(to.owner)?.write(at, &bytes);
        Ok(())
    }

    fn log(&mut self, text: &[u8], args: &[LogArg]) -> Result<Vec<u64>, Stop> {
        let mut line = text.escape_ascii().to_string();
        for arg in args {
            line.push(' ');
            line += &match arg {
                LogArg::Unsigned(value) => self.get(*value).to_string(),
                LogArg::Signed(value) => {
                    sign_extend(self.get(*value), self.frame().body.width(*value)).to_string()
                }
                LogArg::Bool(value) => (self.get(*value) == 1).to_string(),
                LogArg::Bytes(view) => self.bytes(view)?.escape_ascii().to_string(),
            };
        }
        self.logs.push(line);
        Ok(Vec::new())
    }
}

/// The width of a spot that the validator saw to be a scalar.
fn scalar(spot: Spot<'_>) -> u8 {
    spot.shape.scalar().unwrap_or(64)
}
