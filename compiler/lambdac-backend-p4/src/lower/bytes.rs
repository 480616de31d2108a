//! Byte strings and bit fields.

use std::rc::Rc;

use lambdac_mir::{Base, BitPos, HashOp, Place, Step, Value, View};

use super::code::{Argument, Bytes, Code, Spot};
use super::memory::{Cell, Home, Tree, WORD, WORD_BYTES};
use super::op::{element, sum};
use super::scalar::{bit_of, bool_of, resized};
use super::unit;
use crate::ast::{Binary, Bits, Expr, For, Stmt, Trips, Type, Unary};
use crate::legal::{CODE, Refusal};

impl<'m> Code<'_, 'm> {
    /// The bytes of a place that are known as such: the request, or what a function was given.
    pub(super) fn whole_view(&mut self, place: &Place) -> Option<Bytes> {
        match (place.base, &place.path[..]) {
            (Base::Request, []) => Some(self.request.clone()),
            (Base::Arg(arg), []) => match &self.frame().args[arg as usize] {
                Argument::Bytes(bytes) => Some(bytes.clone()),
                Argument::Scalar | Argument::Spot(_) => None,
            },
            _ => None,
        }
    }

    /// Such bytes and the index of one of them.
    pub(super) fn byte_of_view(&mut self, place: &Place) -> Result<Option<(Bytes, Expr)>, Refusal> {
        let [Step::Index(index)] = place.path[..] else {
            return Ok(None);
        };
        let whole = Place::of(place.base);
        match self.whole_view(&whole) {
            Some(bytes) => {
                let index = self.index(index);
                Ok(Some((bytes, index)))
            }
            None => Ok(None),
        }
    }

    /// Where the bytes of a place are, and the first of them.
    fn run(&mut self, place: &Place) -> Result<(Home, Expr), Refusal> {
        if let Some(bytes) = self.whole_view(place) {
            return Ok((bytes.home, bytes.start));
        }
        let spot = self.spot(place)?;
        let bytes = self.bytes_of(&spot);
        match bytes.home {
            Home::Register(_) | Home::Words(_) => Ok((bytes.home, bytes.start)),
            Home::Var(_) | Home::Known(_) => Err(Refusal::new(CODE, format!("no bytes: {place:?}"))),
        }
    }

    /// All bytes of a spot: up to its length, or of an array all.
    pub(super) fn bytes_of(&mut self, spot: &Spot) -> Bytes {
        let zero = Expr::bits(32, 0);
        let (home, start, len) = match &*spot.tree {
            Tree::Bytes { len, data, capacity } => {
                let start = element(spot.index.clone(), (*capacity).into(), zero);
                (data.home.clone(), start, self.read(len, &spot.index))
            }
            Tree::Array(inner, count) => match &**inner {
                Tree::Scalar(cell) => {
                    let start = element(spot.index.clone(), (*count).into(), zero);
                    (cell.home.clone(), start, Expr::bits(32, (*count).into()))
                }
                _ => (Home::Known(zero.clone()), zero.clone(), zero),
            },
            _ => (Home::Known(zero.clone()), zero.clone(), zero),
        };
        let start = self.settled(start, 32);
        Bytes { home, start, len }
    }

    /// Some bytes of a place.
    pub(super) fn view(&mut self, view: &View) -> Result<Bytes, Refusal> {
        let (home, start) = self.run(&view.place)?;
        let offset = self.get(view.offset);
        let len = self.atom(view.len);
        let start = self.settled(sum(start, offset), 32);
        Ok(Bytes { home, start, len })
    }

    /// A byte of a run.
    pub(super) fn byte(&mut self, home: &Home, index: &Expr) -> Expr {
        let cell = Cell {
            width: 8,
            home: home.clone(),
            count: 0,
        };
        self.read(&cell, index)
    }

    /// A word of a register that does not change while a lambda runs.
    pub(super) fn word(&mut self, name: &str, index: Expr) -> Expr {
        if let Some(index) = index.number() {
            return self.preload(name, index, WORD);
        }
        let to = self.wide("word", WORD);
        let index = self.within(index, name);
        self.push(unit::read(name, to.clone(), index));
        to
    }

    fn within(&mut self, index: Expr, name: &str) -> Expr {
        let index = self.settled(index, 32);
        let inside = index
            .clone()
            .binary(Binary::Lt, Expr::bits(32, self.unit.size(name)));
        inside.select(index, Expr::bits(32, 0))
    }

    pub(super) fn byte_in_words(&mut self, name: &str, index: &Expr) -> Expr {
        if let Some(index) = index.number() {
            let word = self.word(name, Expr::bits(32, index / u64::from(WORD_BYTES)));
            let low = WORD - 8 - (index % u64::from(WORD_BYTES)) as u32 * 8;
            return word.slice(low + 7, low);
        }
        let index = self.settled(index.clone(), 32);
        let word = self.word(name, index.clone().binary(Binary::Shr, Expr::Number(5)));
        // Eight times the index modulo 32: what 8 bits keep of it.
        let before = index.cast(Type::Bit(8)).binary(Binary::Shl, Expr::Number(3));
        let amount = Expr::bits(8, (WORD - 8).into()).binary(Binary::Sub, before);
        let byte = word.binary(Binary::Shr, amount).cast(Type::Bit(8));
        self.settled(byte, 8)
    }

    /// Copies so many bytes.
    fn copy_run(&mut self, to: &Home, at: Expr, from: &Bytes) {
        let (home, start) = (from.home.clone(), from.start.clone());
        let to = Cell {
            width: 8,
            home: to.clone(),
            count: 0,
        };
        self.count(from.len.clone(), |code, index| {
            let byte = code.byte(&home, &sum(start, index.clone()));
            code.write(&to, &sum(at, index), byte);
        });
    }

    pub(super) fn copy_bytes(&mut self, dst: &Place, offset: Value, src: &View) -> Result<(), Refusal> {
        let from = self.view(src)?;
        let (home, start) = self.run(dst)?;
        let offset = self.get(offset);
        let at = self.settled(sum(start, offset), 32);
        self.copy_run(&home, at, &from);
        Ok(())
    }

    /// Sets a byte string, or the bytes of an array.
    pub(super) fn set_bytes(&mut self, to: &Spot, bytes: &Bytes) {
        let whole = self.run_of(to);
        self.copy_run(&whole.0, whole.1, bytes);
        if let Tree::Bytes { len, .. } = &*to.tree {
            self.write(len, &to.index, bytes.len.clone());
        }
    }

    /// Where the bytes of a spot are, without their length.
    fn run_of(&mut self, spot: &Spot) -> (Home, Expr) {
        let zero = Expr::bits(32, 0);
        let (cell, len) = match &*spot.tree {
            Tree::Bytes { data, capacity, .. } => (data.clone(), *capacity),
            Tree::Array(inner, len) => match &**inner {
                Tree::Scalar(cell) => (cell.clone(), *len),
                _ => return (Home::Known(zero.clone()), zero),
            },
            _ => return (Home::Known(zero.clone()), zero),
        };
        let start = element(spot.index.clone(), len.into(), zero);
        (cell.home, self.settled(start, 32))
    }

    /// Whether two byte strings are alike.
    pub(super) fn equal(&mut self, a: &Bytes, b: &Bytes) -> Expr {
        let (index, equal) = (self.wide("i", 32), self.local("equal", 1));
        self.assign(equal.clone(), a.len.clone().binary(Binary::Eq, b.len.clone()));
        let body = self.apart(|code| {
            let x = code.byte(&a.home, &sum(a.start.clone(), index.clone()));
            let y = code.byte(&b.home, &sum(b.start.clone(), index.clone()));
            code.assign(equal.clone(), x.binary(Binary::Eq, y));
            Ok(())
        });
        let more = index.clone().binary(Binary::Lt, a.len.clone());
        self.push(Stmt::For(Box::new(For {
            first: Some(Stmt::Assign(index.clone(), Expr::bits(32, 0))),
            cond: equal.clone().binary(Binary::AndAnd, more),
            step: Some(Stmt::Assign(
                index.clone(),
                index.binary(Binary::Add, Expr::bits(32, 1)),
            )),
            body: body.unwrap_or_default(),
            trips: Trips::Any,
        })));
        equal
    }

    /// A position in bits, where the run starts at a byte: the constant part and the rest.
    fn position(&mut self, start: &Expr, at: &BitPos) -> (Option<u64>, Expr) {
        let mut pos = match start.number() {
            Some(start) => Expr::bits(32, start.wrapping_mul(8).wrapping_add(at.bit.into())),
            None => {
                let bits = start.clone().binary(Binary::Shl, Expr::Number(3));
                sum(bits, Expr::bits(32, at.bit.into()))
            }
        };
        if let Some((index, stride)) = at.index {
            let index = self.index(index);
            pos = sum(pos, element(index, stride.into(), Expr::bits(32, 0)));
        }
        (pos.number(), pos)
    }

    /// A bit field of so many bits.
    pub(super) fn load_bits(&mut self, place: &Place, at: &BitPos, width: u32) -> Result<Expr, Refusal> {
        let (home, start) = self.run(place)?;
        let (known, pos) = self.position(&start, at);
        let field = match (&home, known) {
            (Home::Words(name), Some(bit)) => self.known_bits_of_words(name, bit, width),
            (Home::Words(name), None) => self.bits_of_words(name, pos, width),
            (_, Some(bit)) => self.bits_of_bytes(&home, Expr::bits(32, bit / 8), (bit % 8) as u32, width),
            (_, None) if aligned(at) => {
                let first = self.settled(pos.binary(Binary::Shr, Expr::Number(3)), 32);
                self.bits_of_bytes(&home, first, at.bit % 8, width)
            }
            (_, None) => {
                let pos = self.settled(pos, 32);
                let (window, total) = self.window(&home, &pos, width);
                let below = Expr::bits(8, u64::from(total - width)).binary(Binary::Sub, low_bits(&pos));
                window.binary(Binary::Shr, below).cast(Type::Bit(width))
            }
        };
        Ok(match width {
            1 => bool_of(field),
            _ => field,
        })
    }

    fn known_bits_of_words(&mut self, name: &str, bit: u64, width: u32) -> Expr {
        let (first, last) = (
            bit / u64::from(WORD),
            (bit + u64::from(width) - 1) / u64::from(WORD),
        );
        let within = (bit % u64::from(WORD)) as u32;
        let word = self.preload(name, first, WORD);
        if first == last {
            return word.slice(WORD - 1 - within, WORD - within - width);
        }
        let next = self.preload(name, last, WORD);
        let inside = WORD - within;
        let high = word.slice(inside - 1, 0);
        high.binary(Binary::Concat, next.slice(WORD - 1, WORD - (width - inside)))
    }

    fn bits_of_words(&mut self, name: &str, pos: Expr, width: u32) -> Expr {
        let pos = self.settled(pos, 32);
        let first = self.settled(pos.clone().binary(Binary::Shr, Expr::Number(8)), 32);
        let amount = self.settled(pos.cast(Type::Bit(8)), 8);
        let a = self.word(name, first.clone());
        let b = self.word(name, first.binary(Binary::Add, Expr::bits(32, 1)));
        // In two steps, as the amount of one could be 256.
        let rest = Expr::bits(8, 255).binary(Binary::Sub, amount.clone());
        let low = b.binary(Binary::Shr, Expr::Number(1)).binary(Binary::Shr, rest);
        let joined = self.wide("joined", WORD);
        self.assign(
            joined.clone(),
            a.binary(Binary::Shl, amount).binary(Binary::Or, low),
        );
        joined.slice(WORD - 1, WORD - width)
    }

    /// Bits that start `sub` bits into a byte.
    fn bits_of_bytes(&mut self, home: &Home, first: Expr, sub: u32, width: u32) -> Expr {
        let count = (sub + width).div_ceil(8);
        let bytes = self.concatenated(home, &first, count);
        if count * 8 == width {
            return bytes;
        }
        let all = self.wide("bits", count * 8);
        self.assign(all.clone(), bytes);
        all.slice(count * 8 - 1 - sub, count * 8 - sub - width)
    }

    fn concatenated(&mut self, home: &Home, first: &Expr, count: u32) -> Expr {
        let bytes = (0..count).map(|offset| {
            let index = sum(first.clone(), Expr::bits(32, offset.into()));
            self.byte(home, &index)
        });
        let bytes: Vec<Expr> = bytes.collect();
        let joined = bytes.into_iter().reduce(|a, b| a.binary(Binary::Concat, b));
        joined.unwrap_or(Expr::bits(8, 0))
    }

    /// The bytes that hold a field wherever in its first byte it starts, and how many bits they are.
    fn window(&mut self, home: &Home, pos: &Expr, width: u32) -> (Expr, u32) {
        let count = (7 + width).div_ceil(8);
        let first = self.settled(pos.clone().binary(Binary::Shr, Expr::Number(3)), 32);
        let bytes = self.concatenated(home, &first, count);
        let all = self.wide("bits", count * 8);
        self.assign(all.clone(), bytes);
        (all, count * 8)
    }

    pub(super) fn store_bits(
        &mut self,
        place: &Place,
        at: &BitPos,
        value: Expr,
        width: u32,
    ) -> Result<(), Refusal> {
        let (home, start) = self.run(place)?;
        let value = match width {
            1 => bit_of(value),
            _ => value,
        };
        let value = self.settled_bits(value, width);
        let (known, pos) = self.position(&start, at);
        let (first, sub) = match known {
            Some(bit) => (Expr::bits(32, bit / 8), Some((bit % 8) as u32)),
            None => {
                let pos = self.settled(pos.clone(), 32);
                let first = self.settled(pos.binary(Binary::Shr, Expr::Number(3)), 32);
                (first, aligned(at).then_some(at.bit % 8))
            }
        };
        let Some(sub) = sub else {
            self.store_anywhere(&home, pos, &first, value, width);
            return Ok(());
        };
        let count = (sub + width).div_ceil(8);
        let all = if count * 8 == width {
            value
        } else {
            let bytes = self.concatenated(&home, &first, count);
            let (before, after) = (sub, count * 8 - sub - width);
            let all = self.wide("bits", count * 8);
            self.assign(all.clone(), bytes);
            let mut parts = Vec::new();
            if before > 0 {
                parts.push(all.clone().slice(count * 8 - 1, count * 8 - before));
            }
            parts.push(value);
            if after > 0 {
                parts.push(all.clone().slice(after - 1, 0));
            }
            let joined = parts.into_iter().reduce(|a, b| a.binary(Binary::Concat, b));
            self.assign(all.clone(), joined.unwrap_or(Expr::bits(8, 0)));
            all
        };
        let all = self.settled_bits(all, count * 8);
        self.spread(&home, &first, &all, count, None);
        Ok(())
    }

    /// Writes the bytes of a number, those up to a byte that varies.
    fn spread(&mut self, home: &Home, first: &Expr, all: &Expr, count: u32, last: Option<&Expr>) {
        let cell = Cell {
            width: 8,
            home: home.clone(),
            count: 0,
        };
        for offset in 0..count {
            let low = (count - 1 - offset) * 8;
            let byte = match (count, all.number()) {
                (1, _) => all.clone(),
                (_, Some(value)) => Expr::bits(8, value >> low & 0xff),
                (_, None) => all.clone().slice(low + 7, low),
            };
            let index = sum(first.clone(), Expr::bits(32, offset.into()));
            match last {
                Some(last) if offset + 1 == count => {
                    let inside = last.clone().binary(Binary::Ge, index.clone());
                    let write = self.apart(|code| {
                        code.write(&cell, &index, byte);
                        Ok(())
                    });
                    self.push(Stmt::If(inside, write.unwrap_or_default(), Vec::new()));
                }
                _ => self.write(&cell, &index, byte),
            }
        }
    }

    fn store_anywhere(&mut self, home: &Home, pos: Expr, first: &Expr, value: Expr, width: u32) {
        let pos = self.settled(pos, 32);
        let (window, total) = self.window(home, &pos, width);
        let below = Expr::bits(8, u64::from(total - width)).binary(Binary::Sub, low_bits(&pos));
        let below = self.settled(below, 8);
        let ones = vec![0xff; total.div_ceil(8) as usize];
        let ones = Expr::Bits(Bits::new(total, &Bits::new(width, &ones).bytes));
        let mask = Expr::Unary(
            Unary::Complement,
            Box::new(ones.binary(Binary::Shl, below.clone())),
        );
        let placed = resized(value, width, total).binary(Binary::Shl, below);
        let kept = window.clone().binary(Binary::And, mask);
        self.assign(window.clone(), kept.binary(Binary::Or, placed));
        // The last byte of the window may be past the field, and past the array.
        let end = sum(pos, Expr::bits(32, u64::from(width) - 1));
        let last = self.settled(end.binary(Binary::Shr, Expr::Number(3)), 32);
        self.spread(home, first, &window, total / 8, Some(&last));
    }

    /// A checksum, bit by bit: `hash` of v1model takes fields, not byte strings of any length.
    pub(super) fn crc(&mut self, op: HashOp, bytes: &Bytes) -> Expr {
        let (width, start, polynomial) = match op {
            HashOp::Crc32 => (32, u64::MAX, 0xedb8_8320),
            HashOp::Crc16 => (16, 0, 0xa001),
        };
        let sum_ = self.wide("crc", width);
        let bit = self.wide("bit", 8);
        self.assign(sum_.clone(), Expr::bits(width, start));
        let (home, first) = (bytes.home.clone(), bytes.start.clone());
        let low = sum_.clone().slice(0, 0).binary(Binary::Eq, Expr::bits(1, 1));
        let halved = sum_.clone().binary(Binary::Shr, Expr::Number(1));
        let with = halved.clone().binary(Binary::Xor, Expr::bits(width, polynomial));
        let divide = Stmt::If(
            low,
            vec![Stmt::Assign(sum_.clone(), with)],
            vec![Stmt::Assign(sum_.clone(), halved)],
        );
        let crc = sum_.clone();
        self.count(bytes.len.clone(), |code, index| {
            let byte = code.byte(&home, &sum(first, index));
            code.assign(
                crc.clone(),
                crc.clone().binary(Binary::Xor, resized(byte, 8, width)),
            );
            code.push(Stmt::For(Box::new(For {
                first: Some(Stmt::Assign(bit.clone(), Expr::bits(8, 0))),
                cond: bit.clone().binary(Binary::Lt, Expr::bits(8, 8)),
                step: Some(Stmt::Assign(
                    bit.clone(),
                    bit.binary(Binary::Add, Expr::bits(8, 1)),
                )),
                body: vec![divide],
                trips: Trips::Most(8),
            })));
        });
        match op {
            HashOp::Crc32 => Expr::Unary(Unary::Complement, Box::new(sum_)),
            HashOp::Crc16 => sum_,
        }
    }

    /// A spot of one scalar in a tree.
    pub(super) fn at(tree: &Tree, index: &Expr) -> Spot {
        Spot {
            tree: Rc::new(tree.clone()),
            index: index.clone(),
        }
    }
}

/// Whether a field starts in the same place of its first byte, whatever its index is.
fn aligned(at: &BitPos) -> bool {
    at.index.is_none_or(|(_, stride)| stride % 8 == 0)
}

/// The place of a bit in its byte.
fn low_bits(pos: &Expr) -> Expr {
    pos.clone()
        .cast(Type::Bit(8))
        .binary(Binary::And, Expr::bits(8, 7))
}
