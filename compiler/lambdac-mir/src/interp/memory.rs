//! Memory with a record of what was written, bit by bit.
//!
//! The layout is packed: scalars little-endian in 1, 2, 4 or 8 bytes, byte strings as a length in 4 bytes and then their
//! capacity. It is this interpreter's own; nothing outside sees it.

use std::sync::Arc;

use crate::{Data, Shape, scalar_bytes};

/// Bytes of a byte string's length.
pub(super) const LEN_BYTES: usize = 4;

/// Bytes, and for each the bits that were written.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    bytes: Vec<u8>,
    written: Vec<u8>,
}

/// Something was read before it was written.
pub(super) struct Unwritten;

impl Memory {
    /// Unwritten memory for a shape.
    pub(super) fn for_shape(shape: &Shape) -> Self {
        let size = shape.packed_size() as usize;
        Self {
            bytes: vec![0; size],
            written: vec![0; size],
        }
    }

    /// Memory that holds a value.
    pub(super) fn of_data(shape: &Shape, data: &Data) -> Self {
        let mut memory = Self::for_shape(shape);
        memory.put_data(0, shape, data);
        memory
    }

    /// Memory that holds just these bytes.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            written: vec![0xff; bytes.len()],
        }
    }

    pub(super) fn read(&self, at: usize, len: usize) -> Result<&[u8], Unwritten> {
        if self.written[at..at + len].iter().any(|written| *written != 0xff) {
            return Err(Unwritten);
        }
        Ok(&self.bytes[at..at + len])
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.written[at..at + bytes.len()].fill(0xff);
    }

    pub(super) fn forget(&mut self, at: usize, len: usize) {
        self.written[at..at + len].fill(0);
    }

    pub(super) fn load(&self, at: usize, width: u8) -> Result<u64, Unwritten> {
        let size = scalar_bytes(width) as usize;
        let mut raw = [0; 8];
        raw[..size].copy_from_slice(self.read(at, size)?);
        Ok(u64::from_le_bytes(raw))
    }

    pub(super) fn store(&mut self, at: usize, width: u8, value: u64) {
        self.write(at, &value.to_le_bytes()[..scalar_bytes(width) as usize]);
    }

    /// The big-endian bit field of a width from a bit on, counted from byte `at`.
    pub(super) fn load_bits(&self, at: usize, bit: u64, width: u8) -> Result<u64, Unwritten> {
        (bit..bit + u64::from(width)).try_fold(0, |value, bit| {
            let (byte, mask) = bit_of(at, bit);
            if self.written[byte] & mask == 0 {
                return Err(Unwritten);
            }
            Ok(value << 1 | u64::from(self.bytes[byte] & mask != 0))
        })
    }

    pub(super) fn store_bits(&mut self, at: usize, bit: u64, width: u8, value: u64) {
        for i in 0..u64::from(width) {
            let (byte, mask) = bit_of(at, bit + i);
            let set = value >> (u64::from(width) - 1 - i) & 1 == 1;
            self.bytes[byte] = if set {
                self.bytes[byte] | mask
            } else {
                self.bytes[byte] & !mask
            };
            self.written[byte] |= mask;
        }
    }

    /// A stretch as it is, with what was written of it.
    pub(super) fn snapshot(&self, at: usize, len: usize) -> Self {
        Self {
            bytes: self.bytes[at..at + len].to_vec(),
            written: self.written[at..at + len].to_vec(),
        }
    }

    pub(super) fn restore(&mut self, at: usize, snapshot: &Self) {
        let end = at + snapshot.bytes.len();
        self.bytes[at..end].copy_from_slice(&snapshot.bytes);
        self.written[at..end].copy_from_slice(&snapshot.written);
    }

    pub(super) fn put_data(&mut self, at: usize, shape: &Shape, data: &Data) {
        match (shape, data) {
            (Shape::Scalar(width), Data::Int(value)) => self.store(at, *width, *value),
            (Shape::Bytes(_), Data::Bytes(bytes)) => {
                self.write(at, &(bytes.len() as u32).to_le_bytes());
                self.write(at + LEN_BYTES, bytes);
            }
            (Shape::Array(..), Data::Bytes(bytes)) => self.write(at, bytes),
            (Shape::Array(element, _), Data::List(items)) => {
                let size = element.packed_size() as usize;
                for (i, item) in items.iter().enumerate() {
                    self.put_data(at + i * size, element, item);
                }
            }
            (Shape::Struct(fields), Data::List(items)) => {
                let mut at = at;
                for (field, item) in fields.iter().zip(items.iter()) {
                    self.put_data(at, field, item);
                    at += field.packed_size() as usize;
                }
            }
            _ => unreachable!("the validator saw that the data fits its shape"),
        }
    }

    pub(super) fn data(&self, at: usize, shape: &Shape) -> Result<Data, Unwritten> {
        Ok(match shape {
            Shape::Scalar(width) => Data::Int(self.load(at, *width)?),
            Shape::Bytes(_) => {
                let len = self.load(at, 32)? as usize;
                Data::Bytes(self.read(at + LEN_BYTES, len)?.into())
            }
            Shape::Array(element, len) => match shape.byte_array_len() {
                Some(len) => Data::Bytes(self.read(at, len as usize)?.into()),
                None => {
                    let size = element.packed_size() as usize;
                    let items: Result<Arc<[Data]>, Unwritten> = (0..*len as usize)
                        .map(|i| self.data(at + i * size, element))
                        .collect();
                    Data::List(items?)
                }
            },
            Shape::Struct(fields) => {
                let mut at = at;
                let mut items = Vec::with_capacity(fields.len());
                for field in fields.iter() {
                    items.push(self.data(at, field)?);
                    at += field.packed_size() as usize;
                }
                Data::List(items.into())
            }
            Shape::View => unreachable!("nothing stored is a view"),
        })
    }
}

fn bit_of(at: usize, bit: u64) -> (usize, u8) {
    (at + (bit / 8) as usize, 0x80 >> (bit % 8))
}
