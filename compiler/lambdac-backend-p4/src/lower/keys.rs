//! Keys of tables: what a program gives the switch for a table of the source, and its entries' patterns.
//!
//! An `lpm` table has one key, its parts one after the other, in whole bytes: simple_switch keeps a key in whole bytes, with
//! zeros on the left, but counts a prefix from the first bit of these (behavioral-model, `bm_sim/match_units.cpp`,
//! `match_params_to_entry`). So the zeros are part of the key here, and of every prefix.

use lambdac_mir::{Data, EntryKey, KeyPart, TableKind};

use crate::ast::{Binary, Bits, Expr, Key, MatchKind};

/// Bits of a part of a key.
pub(super) fn part_bits(part: KeyPart) -> u32 {
    match part {
        KeyPart::Scalar(width) => width.into(),
        KeyPart::Bytes(len) => len * 8,
    }
}

/// Zeros in front of the parts of a key that is one, and its bits with them.
fn whole(parts: &[KeyPart]) -> (u32, u32) {
    let bits: u32 = parts.iter().map(|part| part_bits(*part)).sum();
    let width = bits.next_multiple_of(8);
    (width - bits, width)
}

/// The keys of a table whose parts have these values.
pub(super) fn of_table(kind: TableKind, parts: &[KeyPart], values: Vec<Expr>) -> Vec<Key> {
    let widths = parts.iter().map(|part| part_bits(*part));
    let (kind, all) = match kind {
        TableKind::Exact => (MatchKind::Exact, values.into_iter().zip(widths).collect()),
        TableKind::Ternary => (MatchKind::Ternary, values.into_iter().zip(widths).collect()),
        TableKind::Lpm => (MatchKind::Lpm, vec![joined(parts, values)]),
    };
    let key = |(index, (expr, width))| Key {
        expr,
        kind,
        name: format!("key_{index}"),
        width,
    };
    all.into_iter().enumerate().map(key).collect()
}

/// Parts as one key, and its bits.
fn joined(parts: &[KeyPart], values: Vec<Expr>) -> (Expr, u32) {
    let (zeros, width) = whole(parts);
    let zeros = (zeros > 0).then(|| Expr::bits(zeros, 0));
    let all = zeros.into_iter().chain(values);
    let all = all.reduce(|a, b| a.binary(Binary::Concat, b));
    (all.unwrap_or(Expr::bits(8, 0)), width)
}

/// The bytes of a key's parts.
fn part_value(data: &Data, part: KeyPart) -> Expr {
    let width = part_bits(part);
    match data {
        Data::Int(value) => Expr::bits(width, *value),
        Data::Bytes(bytes) => Expr::Bits(Bits::new(width, bytes)),
        Data::List(_) => Expr::bits(width, 0),
    }
}

/// What an entry matches, by key.
pub(super) fn patterns(kind: TableKind, parts: &[KeyPart], key: &EntryKey) -> Vec<Expr> {
    let values = |data: &[Data]| -> Vec<Expr> {
        data.iter()
            .zip(parts)
            .map(|(data, part)| part_value(data, *part))
            .collect()
    };
    match key {
        EntryKey::Exact(data) => values(data),
        EntryKey::Masked(data, masks) => values(data)
            .into_iter()
            .zip(values(masks))
            .map(|(value, mask)| Expr::Masked(Box::new(value), Box::new(mask)))
            .collect(),
        EntryKey::Any => {
            let count = if kind == TableKind::Lpm { 1 } else { parts.len() };
            vec![Expr::Any; count]
        }
        EntryKey::Prefix(data, len) => {
            let (zeros, width) = whole(parts);
            let value = concatenated(&values(data), width);
            let mask = prefix_mask(width, zeros + *len);
            vec![Expr::Masked(Box::new(value), Box::new(mask))]
        }
    }
}

/// Numbers one after the other as one number.
fn concatenated(values: &[Expr], width: u32) -> Expr {
    let mut bits = Vec::new();
    for value in values {
        if let Expr::Bits(value) = value {
            bits.extend((0..value.width).rev().map(|at| bit_at(value, at)));
        }
    }
    Expr::Bits(from_bits(width, &bits))
}

/// A bit of a number, counted from the lowest.
fn bit_at(bits: &Bits, at: u32) -> bool {
    let byte = bits.bytes.len().checked_sub(1 + at as usize / 8);
    byte.is_some_and(|byte| bits.bytes[byte] >> (at % 8) & 1 == 1)
}

/// A number of bits, the highest first.
fn from_bits(width: u32, bits: &[bool]) -> Bits {
    let mut bytes = vec![0_u8; bits.len().div_ceil(8)];
    let last = bytes.len() * 8;
    for (index, _) in bits.iter().enumerate().filter(|(_, bit)| **bit) {
        let at = last - bits.len() + index;
        bytes[at / 8] |= 0x80 >> (at % 8);
    }
    Bits::new(width, &bytes)
}

/// So many ones, then zeros.
fn prefix_mask(width: u32, len: u32) -> Expr {
    let bits: Vec<bool> = (0..width).map(|at| at < len).collect();
    Expr::Bits(from_bits(width, &bits))
}
