//! Bit fields of bytes, highest bit first.

use lambdac_mir::{BitPos, Place, Value, mask};

use super::code::Code;
use super::memory::{Addr, scaled};
use super::state::wrapped;
use crate::ast::{Binary, Expr, Stmt, Type};

/// A bit field that was found.
struct Field {
    /// The byte that its first bit is in, or the first byte of all where that isn't known.
    addr: Addr,
    /// The first bit from there.
    bit: Expr,
    /// The same, where it is known.
    known: Option<u32>,
}

impl Code<'_, '_> {
    fn field(&mut self, place: &Place, pos: BitPos) -> Field {
        let addr = self.spot(place).contents();
        let (index, stride) = match pos.index {
            Some((index, stride)) => (self.narrow(index), stride),
            None => (Expr::int(0), 0),
        };
        if stride.is_multiple_of(8) {
            let addr = addr
                .plus(u64::from(pos.bit / 8))
                .plus_expr(scaled(index, u64::from(stride / 8)));
            let bit = pos.bit % 8;
            return Field {
                addr,
                bit: Expr::int(bit),
                known: Some(bit),
            };
        }
        let bit = match (scaled(index, stride.into()), pos.bit) {
            (Expr::Int(known, _), bit) => Expr::int(known as u32 + bit),
            (moved, 0) => moved,
            (moved, bit) => moved.binary(Binary::Add, Expr::int(bit)),
        };
        match bit.as_int() {
            Some(known) => Field {
                addr: addr.plus(known / 8),
                bit: Expr::int(known as u32 % 8),
                known: Some(known as u32 % 8),
            },
            None => Field {
                addr,
                bit,
                known: None,
            },
        }
    }

    /// Reads a bit field.
    pub fn load_bits(&mut self, place: &Place, pos: BitPos, width: u8) -> Expr {
        let field = self.field(place, pos);
        read(&field.addr, field.known, field.bit, width)
    }

    /// Writes a bit field.
    pub fn store_bits(&mut self, place: &Place, pos: BitPos, value: Value) {
        let width = self.body.width(value);
        let field = self.field(place, pos);
        let value = self.value(value);
        let stmt = match (field.known, width) {
            (Some(0), 8) => field.addr.store(1, value),
            (Some(0), 16 | 32 | 64) => Stmt::Expr(field.addr.call(&format!("put_be{width}"), vec![value])),
            _ => {
                let value = value.cast(Type::U64);
                let args = vec![field.bit, Expr::int(width.into()), value];
                Stmt::Expr(field.addr.call("put_bits", args))
            }
        };
        self.push(stmt);
    }
}

/// Reads `width` bits from bit `known` of an address on.
pub(super) fn read_known(addr: &Addr, bit: u32, width: u8) -> Expr {
    read(addr, Some(bit), Expr::int(bit), width)
}

fn read(addr: &Addr, known: Option<u32>, bit: Expr, width: u8) -> Expr {
    let whole = |addr: &Addr, size: u32| match size {
        1 => addr.load(1),
        size => addr.call(&format!("be{}", size * 8), Vec::new()),
    };
    let span = known.map(|bit| (bit + u32::from(width)).div_ceil(8));
    match (known, span) {
        (Some(bit), Some(span @ (1 | 2 | 4 | 8))) => {
            let below = span * 8 - bit - u32::from(width);
            let mut found = whole(addr, span);
            if below > 0 {
                found = found.binary(Binary::Shr, Expr::int(below));
            }
            if span == 8 && width <= 32 {
                found = found.cast(Type::U32);
            }
            let cut = bit > 0 || (span == 8 && width < 32);
            match cut && width != 32 {
                true => found.binary(Binary::And, Expr::Int(mask(width), Type::of_width(width))),
                false => found,
            }
        }
        _ => {
            let found = addr.call("bits", vec![bit, Expr::int(width.into())]);
            match width {
                0..=32 => found.cast(Type::U32),
                _ => wrapped(found, 64),
            }
        }
    }
}
