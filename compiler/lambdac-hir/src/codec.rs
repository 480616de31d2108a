//! Messages: values of T and R as bytes on the wire.
//!
//! A `bytes<n>` is itself. A header's fields are packed, big-endian, first bit first; a last `bytes<n>` field is the
//! rest of the message. An array of integers is packed big-endian.

use crate::{Type, Value, Workload};

/// How many bytes a message of a type has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageSize {
    /// The fewest.
    pub min: u32,
    /// The most.
    pub max: u32,
}

/// Why bytes are no message of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecError {
    /// Fewer bytes than the type has.
    TooShort,
    /// More bytes than the type has.
    TooLong,
}

/// Bits of a fixed-size type on the wire; `None` for types that can't be in a message or vary in length.
fn fixed_bits(workload: &Workload, ty: &Type) -> Option<u64> {
    match ty {
        Type::Bool => Some(1),
        Type::Int(int) => Some(u64::from(int.bits)),
        Type::Enum(id) => Some(u64::from(workload.enumeration(*id).repr.bits)),
        Type::Array(elem, n) => Some(fixed_bits(workload, elem)? * u64::from(*n)),
        Type::Struct(id) => workload
            .strukt(*id)
            .fields
            .iter()
            .map(|f| fixed_bits(workload, &f.ty))
            .sum::<Option<u64>>(),
        Type::Bytes(_) | Type::BytesView | Type::Option(_) | Type::Unit | Type::Never => None,
    }
}

/// The size of messages of a type; `None` if it is no message type.
pub fn message_size(workload: &Workload, ty: &Type) -> Option<MessageSize> {
    if let Type::Bytes(n) = ty {
        return Some(MessageSize { min: 0, max: *n });
    }
    let mut rest = 0;
    let bits = match ty {
        Type::Struct(id) => {
            let fields = &workload.strukt(*id).fields;
            let fixed = match fields.split_last() {
                Some((last, before)) if matches!(last.ty, Type::Bytes(_)) => {
                    if let Type::Bytes(n) = last.ty {
                        rest = n;
                    }
                    before
                }
                _ => fields,
            };
            fixed
                .iter()
                .map(|f| fixed_bits(workload, &f.ty))
                .sum::<Option<u64>>()?
        }
        _ => fixed_bits(workload, ty)?,
    };
    if bits % 8 != 0 {
        return None;
    }
    let min = u32::try_from(bits / 8).ok()?;
    Some(MessageSize {
        min,
        max: min.checked_add(rest)?,
    })
}

struct BitWriter {
    bytes: Vec<u8>,
    bits: usize,
}

impl BitWriter {
    fn write(&mut self, value: u64, width: u32) {
        if self.bits.is_multiple_of(8) && width.is_multiple_of(8) {
            let bytes = value.to_be_bytes();
            self.bytes
                .extend_from_slice(&bytes[bytes.len() - width as usize / 8..]);
            self.bits += width as usize;
            return;
        }
        for bit in (0..width).rev() {
            if self.bits.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.len() - 1;
            self.bytes[last] |= ((value >> bit & 1) as u8) << (7 - self.bits % 8);
            self.bits += 1;
        }
    }

    fn write_value(&mut self, workload: &Workload, ty: &Type, value: &Value) {
        match (ty, value) {
            (Type::Array(elem, _), Value::Array(values)) => {
                values.iter().for_each(|v| self.write_value(workload, elem, v));
            }
            (Type::Struct(id), Value::Struct(values)) => {
                let fields = &workload.strukt(*id).fields;
                fields
                    .iter()
                    .zip(values)
                    .for_each(|(f, v)| self.write_value(workload, &f.ty, v));
            }
            (Type::Bytes(_), Value::Bytes(bytes)) => {
                bytes.iter().for_each(|&b| self.write(u64::from(b), 8));
            }
            _ => {
                let bits = workload.scalar_int(ty).map_or(0, |int| u32::from(int.bits));
                self.write(value.as_int(), bits);
            }
        }
    }
}

/// The bytes of a message.
pub fn encode(workload: &Workload, ty: &Type, value: &Value) -> Vec<u8> {
    if let Value::Bytes(bytes) = value {
        return bytes.clone();
    }
    let mut writer = BitWriter {
        bytes: Vec::new(),
        bits: 0,
    };
    writer.write_value(workload, ty, value);
    writer.bytes
}

struct BitReader<'a> {
    bytes: &'a [u8],
    bits: usize,
}

impl BitReader<'_> {
    fn read(&mut self, width: u32) -> u64 {
        (0..width).fold(0, |value, _| {
            let byte = self.bytes.get(self.bits / 8).copied().unwrap_or(0);
            let bit = byte >> (7 - self.bits % 8) & 1;
            self.bits += 1;
            value << 1 | u64::from(bit)
        })
    }

    fn read_value(&mut self, workload: &Workload, ty: &Type) -> Value {
        match ty {
            Type::Bool => Value::Bool(self.read(1) == 1),
            Type::Array(elem, n) => Value::Array((0..*n).map(|_| self.read_value(workload, elem)).collect()),
            Type::Struct(id) => {
                let fields = &workload.strukt(*id).fields;
                Value::Struct(fields.iter().map(|f| self.read_value(workload, &f.ty)).collect())
            }
            Type::Bytes(n) => {
                let rest = self.bytes.get(self.bits / 8..).unwrap_or_default();
                let taken = &rest[..rest.len().min(*n as usize)];
                self.bits += taken.len() * 8;
                Value::Bytes(taken.to_vec())
            }
            _ => Value::Int(self.read(workload.scalar_int(ty).map_or(0, |int| u32::from(int.bits)))),
        }
    }
}

/// The value of a message's bytes.
///
/// # Errors
/// If there are too few or too many bytes for the type.
pub fn decode(workload: &Workload, ty: &Type, bytes: &[u8]) -> Result<Value, CodecError> {
    let size = message_size(workload, ty).unwrap_or(MessageSize { min: 0, max: 0 });
    if bytes.len() < size.min as usize {
        return Err(CodecError::TooShort);
    }
    if bytes.len() > size.max as usize {
        return Err(CodecError::TooLong);
    }
    Ok(BitReader { bytes, bits: 0 }.read_value(workload, ty))
}

/// The value that a `match` sees: the message's first bytes, as many as the type takes; what follows is not its
/// concern. A last `bytes<n>` holds what is there, at most n.
///
/// # Errors
/// If there are too few bytes for the type.
pub fn decode_prefix(workload: &Workload, ty: &Type, bytes: &[u8]) -> Result<Value, CodecError> {
    let max = message_size(workload, ty).map_or(0, |size| size.max as usize);
    decode(workload, ty, &bytes[..bytes.len().min(max)])
}
