//! How values lie in memory: shared by generated code, the engine's objects and C programs.
//!
//! | shape | size | alignment |
//! | --- | --- | --- |
//! | scalar of w bits | 1, 2, 4 or 8 bytes, the fewest that hold w; zero-extended | its size |
//! | array | elements one after the other | the element's |
//! | struct | fields in order, each aligned, as in C | the largest field's |
//! | `bytes<n>` | the current length (`u32`), then n bytes, rounded up to 4 | 4 |
//!
//! A scalar of an object is a **cell**: it is read and written by one aligned access, so it never tears. An atomic
//! read-modify-write of a width that fills its cell is one instruction; at any other width it is a compare-exchange
//! loop over the cell, so the bits above the width are always 0. Cells are in the machine's byte order.
//!
//! A **key** is its parts one after the other without padding: a scalar in the bytes of its cell, but big-endian (so
//! keys sort as numbers do, and prefixes are leading bits), a byte part as it is.

use lambdac_mir::{Data, KeyPart, Shape};

use crate::{Error, Result};

/// The most bytes that one value, object or key may take.
pub const MAX_BYTES: u64 = 1 << 30;

/// Bytes before the data of a `bytes<n>`: its length.
pub const BYTES_HEADER: u64 = 4;

/// Size and alignment in bytes; the size is a multiple of the alignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes from one element to the next.
    pub size: u64,
    /// 1, 2, 4 or 8.
    pub align: u64,
}

/// Bytes of the cell of a scalar.
pub fn cell_bytes(width: u8) -> u64 {
    match width {
        0..=8 => 1,
        9..=16 => 2,
        17..=32 => 4,
        _ => 8,
    }
}

/// All ones at a width.
pub fn mask(width: u8) -> u64 {
    if width >= 64 { u64::MAX } else { (1 << width) - 1 }
}

fn too_large(bytes: u64) -> Error {
    Error::TooLarge {
        what: "a value".into(),
        bytes,
        limit: MAX_BYTES,
    }
}

fn bounded(size: Option<u64>) -> Result<u64> {
    match size {
        Some(size) if size <= MAX_BYTES => Ok(size),
        other => Err(too_large(other.unwrap_or(u64::MAX))),
    }
}

/// The layout of a shape.
///
/// # Errors
/// [`Error::TooLarge`] above [`MAX_BYTES`]; [`Error::Invalid`] for a view, which has no memory of its own.
pub fn layout(shape: &Shape) -> Result<Layout> {
    match shape {
        Shape::Scalar(width) => {
            let size = cell_bytes(*width);
            Ok(Layout { size, align: size })
        }
        Shape::Array(element, count) => {
            let element = layout(element)?;
            let size = bounded(element.size.checked_mul(u64::from(*count)))?;
            Ok(Layout {
                size,
                align: element.align,
            })
        }
        Shape::Bytes(capacity) => {
            let size = bounded(Some((BYTES_HEADER + u64::from(*capacity)).next_multiple_of(4)))?;
            Ok(Layout { size, align: 4 })
        }
        Shape::Struct(fields) => {
            let (size, align) = walk_fields(fields, fields.len())?;
            let size = bounded(Some(size.next_multiple_of(align)))?;
            Ok(Layout { size, align })
        }
        Shape::View => Err(Error::Invalid {
            at: "a shape".into(),
            reason: "a view has no layout",
        }),
    }
}

/// Unpadded end of the first `count` fields, and the largest alignment among them.
fn walk_fields(fields: &[Shape], count: usize) -> Result<(u64, u64)> {
    let (mut end, mut align) = (0u64, 1);
    for field in &fields[..count] {
        let layout = layout(field)?;
        end = bounded(Some(end.next_multiple_of(layout.align) + layout.size))?;
        align = layout.align.max(align);
    }
    Ok((end, align))
}

/// Byte offset of a field of a struct.
///
/// # Errors
/// As [`layout`]; [`Error::Invalid`] where there is no such field.
pub fn field_offset(fields: &[Shape], index: u32) -> Result<u64> {
    let index = index as usize;
    let Some(field) = fields.get(index) else {
        return Err(Error::Invalid {
            at: "a struct".into(),
            reason: "no such field",
        });
    };
    let (end, _) = walk_fields(fields, index)?;
    Ok(end.next_multiple_of(layout(field)?.align))
}

/// Writes a constant in its layout; `out` has the layout's size and is zeroed.
///
/// # Errors
/// [`Error::Invalid`] where the constant is not of the shape; as [`layout`].
pub fn encode(shape: &Shape, data: &Data, out: &mut [u8]) -> Result<()> {
    let mismatch = || Error::Invalid {
        at: "a constant".into(),
        reason: "the value is not of its shape",
    };
    match (shape, data) {
        (Shape::Scalar(width), Data::Int(value)) => write_cell(out, *width, *value),
        (Shape::Bytes(capacity), Data::Bytes(bytes)) if bytes.len() <= *capacity as usize => {
            out[..4].copy_from_slice(&(bytes.len() as u32).to_ne_bytes());
            out[4..4 + bytes.len()].copy_from_slice(bytes);
        }
        (Shape::Array(element, count), Data::Bytes(bytes))
            if **element == Shape::Scalar(8) && bytes.len() == *count as usize =>
        {
            out.copy_from_slice(bytes);
        }
        (Shape::Array(element, count), Data::List(items)) if items.len() == *count as usize => {
            let step = layout(element)?.size as usize;
            for (index, item) in items.iter().enumerate() {
                encode(element, item, &mut out[index * step..][..step])?;
            }
        }
        (Shape::Struct(fields), Data::List(items)) if items.len() == fields.len() => {
            for (index, (field, item)) in fields.iter().zip(items.iter()).enumerate() {
                let offset = field_offset(fields, index as u32)? as usize;
                let size = layout(field)?.size as usize;
                encode(field, item, &mut out[offset..][..size])?;
            }
        }
        _ => return Err(mismatch()),
    }
    Ok(())
}

/// [`encode`] into new memory.
///
/// # Errors
/// As [`encode`].
pub fn encoded(shape: &Shape, data: &Data) -> Result<Vec<u8>> {
    let mut out = vec![0; layout(shape)?.size as usize];
    encode(shape, data, &mut out)?;
    Ok(out)
}

/// Reads a value back from its layout.
///
/// # Errors
/// As [`layout`]; [`Error::Invalid`] where the memory is shorter than the layout.
pub fn decode(shape: &Shape, memory: &[u8]) -> Result<Data> {
    let short = || Error::Invalid {
        at: "a value".into(),
        reason: "its memory is too short",
    };
    let size = layout(shape)?.size as usize;
    let memory = memory.get(..size).ok_or_else(short)?;
    Ok(match shape {
        Shape::Scalar(width) => Data::Int(read_cell(memory, *width)),
        Shape::Bytes(capacity) => {
            let len = u32::from_ne_bytes([memory[0], memory[1], memory[2], memory[3]]);
            Data::Bytes(memory[4..][..len.min(*capacity) as usize].into())
        }
        Shape::Array(element, _) if **element == Shape::Scalar(8) => Data::Bytes(memory.into()),
        Shape::Array(element, count) => {
            let step = layout(element)?.size as usize;
            let items = (0..*count as usize).map(|index| decode(element, &memory[index * step..]));
            Data::List(items.collect::<Result<Vec<_>>>()?.into())
        }
        Shape::Struct(fields) => {
            let items = fields.iter().enumerate().map(|(index, field)| {
                let offset = field_offset(fields, index as u32)? as usize;
                decode(field, &memory[offset..])
            });
            Data::List(items.collect::<Result<Vec<_>>>()?.into())
        }
        Shape::View => return Err(short()),
    })
}

fn write_cell(out: &mut [u8], width: u8, value: u64) {
    let value = value & mask(width);
    match cell_bytes(width) {
        1 => out[0] = value as u8,
        2 => out[..2].copy_from_slice(&(value as u16).to_ne_bytes()),
        4 => out[..4].copy_from_slice(&(value as u32).to_ne_bytes()),
        _ => out[..8].copy_from_slice(&value.to_ne_bytes()),
    }
}

fn read_cell(memory: &[u8], width: u8) -> u64 {
    let size = cell_bytes(width) as usize;
    let mut bytes = [0; 8];
    if cfg!(target_endian = "little") {
        bytes[..size].copy_from_slice(&memory[..size]);
    } else {
        bytes[8 - size..].copy_from_slice(&memory[..size]);
    }
    u64::from_ne_bytes(bytes) & mask(width)
}

/// Bytes of a key part.
pub fn key_part_bytes(part: KeyPart) -> u64 {
    match part {
        KeyPart::Scalar(width) => cell_bytes(width),
        KeyPart::Bytes(len) => u64::from(len),
    }
}

/// Bytes of a key.
///
/// # Errors
/// [`Error::TooLarge`] above [`MAX_BYTES`].
pub fn key_bytes(parts: &[KeyPart]) -> Result<u64> {
    bounded(Some(parts.iter().map(|part| key_part_bytes(*part)).sum()))
}

/// Appends a key part to a key.
///
/// # Errors
/// [`Error::Invalid`] where the value is not of the part's type.
pub fn encode_key_part(part: KeyPart, data: &Data, out: &mut Vec<u8>) -> Result<()> {
    match (part, data) {
        (KeyPart::Scalar(width), Data::Int(value)) => {
            let bytes = (value & mask(width)).to_be_bytes();
            out.extend_from_slice(&bytes[8 - cell_bytes(width) as usize..]);
            Ok(())
        }
        (KeyPart::Bytes(len), Data::Bytes(bytes)) if bytes.len() == len as usize => {
            out.extend_from_slice(bytes);
            Ok(())
        }
        _ => Err(Error::Invalid {
            at: "a key".into(),
            reason: "a part is not of its type",
        }),
    }
}

/// Splits a key into its parts; `key` has [`key_bytes`] bytes.
pub fn decode_key(parts: &[KeyPart], mut key: &[u8]) -> Vec<Data> {
    let mut out = Vec::with_capacity(parts.len());
    for part in parts {
        let (head, rest) = key.split_at(key_part_bytes(*part) as usize);
        key = rest;
        out.push(match part {
            KeyPart::Scalar(_) => Data::Int(head.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))),
            KeyPart::Bytes(_) => Data::Bytes(head.into()),
        });
    }
    out
}

/// Offsets of a module's parameters in the block that the context points to, and the block's size. Each is 8-aligned.
///
/// # Errors
/// As [`layout`].
pub fn params(params: &[lambdac_mir::Param]) -> Result<(Vec<u64>, u64)> {
    let mut end = 0u64;
    let mut offsets = Vec::with_capacity(params.len());
    for param in params {
        offsets.push(end);
        end = bounded(Some(end + layout(&param.shape)?.size.next_multiple_of(8)))?;
    }
    Ok((offsets, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shape: Shape, data: Data, size: u64) {
        let bytes = encoded(&shape, &data).unwrap();
        assert_eq!(bytes.len() as u64, size);
        assert_eq!(decode(&shape, &bytes).unwrap(), data);
    }

    #[test]
    fn values_come_back_from_their_layout() {
        check(Shape::Scalar(33), Data::Int(0x1_2345_6789), 8);
        check(Shape::Bytes(5), Data::Bytes((*b"abc").into()), 12);
        check(
            Shape::Array(Shape::Scalar(8).into(), 3),
            Data::Bytes((*b"abc").into()),
            3,
        );
        let fields = [
            Shape::Scalar(1),
            Shape::Scalar(17),
            Shape::Array(Shape::Scalar(12).into(), 3),
        ];
        let items = [
            Data::Int(1),
            Data::Int(0x1_0001),
            Data::List([Data::Int(1), Data::Int(2), Data::Int(0xfff)].into()),
        ];
        check(Shape::Struct(fields.into()), Data::List(items.into()), 16);
    }

    #[test]
    fn a_value_past_the_limit_is_an_error() {
        let wide = Shape::Array(Shape::Array(Shape::Scalar(64).into(), u32::MAX).into(), u32::MAX);
        assert!(matches!(layout(&wide), Err(Error::TooLarge { .. })));
        assert!(matches!(
            layout(&Shape::Bytes(u32::MAX)),
            Err(Error::TooLarge { .. })
        ));
    }

    #[test]
    fn keys_sort_as_their_numbers_do() {
        let parts = [KeyPart::Scalar(12), KeyPart::Bytes(2)];
        let key = |n: u64| {
            let mut out = Vec::new();
            encode_key_part(parts[0], &Data::Int(n), &mut out).unwrap();
            encode_key_part(parts[1], &Data::Bytes((*b"xy").into()), &mut out).unwrap();
            out
        };
        assert!(key(0x0ff) < key(0x100));
        assert_eq!(
            decode_key(&parts, &key(0x123)),
            [Data::Int(0x123), Data::Bytes((*b"xy").into())]
        );
    }
}
