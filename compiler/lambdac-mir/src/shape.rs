//! Shapes and their data: sizes, zero values, fit, and the shape that a place has.

use std::sync::Arc;

use crate::{Base, Body, Data, FuncParam, Module, ObjectKind, Place, Shape, Step};

/// The deepest nesting of a valid [`Shape`].
pub const MAX_SHAPE_DEPTH: u32 = 64;

/// The largest value of a width, all its bits set.
///
/// # Panics
///
/// Panics in debug builds where the width is not 1 to 64.
pub fn mask(width: u8) -> u64 {
    debug_assert!((1..=64).contains(&width), "a width of {width}");
    u64::MAX >> (64 - u32::from(width))
}

/// A value of a width as a signed number.
pub fn sign_extend(value: u64, width: u8) -> i64 {
    let unused = 64 - u32::from(width);
    ((value << unused) as i64) >> unused
}

/// Bytes that hold a scalar of a width: 1, 2, 4 or 8.
pub fn scalar_bytes(width: u8) -> u32 {
    match width {
        0..=8 => 1,
        9..=16 => 2,
        17..=32 => 4,
        _ => 8,
    }
}

impl Shape {
    /// An array of `len` bytes.
    pub fn byte_array(len: u32) -> Self {
        Self::Array(Arc::new(Self::Scalar(8)), len)
    }

    /// The width of a scalar; `None` for an aggregate.
    pub fn scalar(&self) -> Option<u8> {
        match self {
            Self::Scalar(width) => Some(*width),
            _ => None,
        }
    }

    /// The length of an array of `i8`; `None` for anything else.
    pub fn byte_array_len(&self) -> Option<u32> {
        match self {
            Self::Array(element, len) if **element == Self::Scalar(8) => Some(*len),
            _ => None,
        }
    }

    /// Whether a [`crate::View`] may be taken of it.
    pub fn is_viewable(&self) -> bool {
        matches!(self, Self::Bytes(_) | Self::View) || self.byte_array_len().is_some()
    }

    /// Whether it is or holds a byte string of varying length.
    pub fn has_bytes(&self) -> bool {
        match self {
            Self::Scalar(_) => false,
            Self::Bytes(_) | Self::View => true,
            Self::Array(element, _) => element.has_bytes(),
            Self::Struct(fields) => fields.iter().any(Self::has_bytes),
        }
    }

    /// Bytes that it takes when packed without padding: a scalar in 1, 2, 4 or 8, a byte string with 4 for its length.
    /// A hint for limits and costs; targets lay memory out as they like. Saturates. A view takes none.
    pub fn packed_size(&self) -> u64 {
        match self {
            Self::Scalar(width) => u64::from(scalar_bytes(*width)),
            Self::Array(element, len) => element.packed_size().saturating_mul(u64::from(*len)),
            Self::Bytes(len) => u64::from(*len) + 4,
            Self::Struct(fields) => fields
                .iter()
                .fold(0, |sum: u64, field| sum.saturating_add(field.packed_size())),
            Self::View => 0,
        }
    }

    /// How many scalars and byte strings it is made of. Saturates.
    pub fn leaves(&self) -> u64 {
        match self {
            Self::Scalar(_) | Self::Bytes(_) | Self::View => 1,
            Self::Array(element, len) => element.leaves().saturating_mul(u64::from(*len)),
            Self::Struct(fields) => fields
                .iter()
                .fold(0, |sum: u64, field| sum.saturating_add(field.leaves())),
        }
    }

    /// The value that all zeros make: scalars 0, byte strings empty. The size must have been bounded.
    ///
    /// # Panics
    ///
    /// Panics for a [`Shape::View`], which has no values of its own.
    pub fn zero(&self) -> Data {
        match self {
            Self::Scalar(_) => Data::Int(0),
            Self::Bytes(_) => Data::Bytes(Arc::from([])),
            Self::Array(element, len) => match **element {
                Self::Scalar(8) => Data::Bytes(vec![0; *len as usize].into()),
                _ => Data::List(vec![element.zero(); *len as usize].into()),
            },
            Self::Struct(fields) => Data::List(fields.iter().map(Self::zero).collect()),
            Self::View => unreachable!("a view has no zero value"),
        }
    }

    /// The shape of a field or element; `None` where the step does not fit.
    pub fn step(&self, step: Step) -> Option<&Shape> {
        const BYTE: &Shape = &Shape::Scalar(8);
        match (self, step) {
            (Self::Struct(fields), Step::Field(field)) => fields.get(field as usize),
            (Self::Array(element, _), Step::Index(_)) => Some(element),
            (Self::Bytes(_) | Self::View, Step::Index(_)) => Some(BYTE),
            _ => None,
        }
    }
}

impl Data {
    /// Whether it is a value of a shape: integers fit their width, an array of `i8` is [`Data::Bytes`] of exactly its
    /// length, a byte string is [`Data::Bytes`] of at most its capacity, everything else is a list of the right length.
    pub fn fits(&self, shape: &Shape) -> bool {
        match (self, shape) {
            (Self::Int(value), Shape::Scalar(width)) => (1..=64).contains(width) && *value <= mask(*width),
            (Self::Bytes(bytes), Shape::Bytes(capacity)) => bytes.len() as u64 <= u64::from(*capacity),
            (Self::Bytes(bytes), Shape::Array(..)) => shape
                .byte_array_len()
                .is_some_and(|len| bytes.len() as u64 == u64::from(len)),
            (Self::List(items), Shape::Array(element, len)) => {
                **element != Shape::Scalar(8)
                    && items.len() as u64 == u64::from(*len)
                    && items.iter().all(|item| item.fits(element))
            }
            (Self::List(items), Shape::Struct(fields)) => {
                items.len() == fields.len()
                    && items
                        .iter()
                        .zip(fields.iter())
                        .all(|(item, field)| item.fits(field))
            }
            _ => false,
        }
    }

    /// The integer; `None` for an aggregate.
    pub fn int(&self) -> Option<u64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }
}

/// The shape of what a place's base is; the request and view parameters are [`Shape::View`]. `None` where the base is
/// out of range or not something that a place can start from.
pub fn base_shape<'a>(
    module: &'a Module,
    func_params: &'a [FuncParam],
    body: &'a Body,
    base: Base,
) -> Option<&'a Shape> {
    const VIEW: &Shape = &Shape::View;
    match base {
        Base::Slot(slot) => body.slots.get(slot.index()).map(|slot| &slot.shape),
        Base::Arg(arg) => match func_params.get(arg as usize)? {
            FuncParam::Scalar(_) => None,
            FuncParam::Ref { shape, .. } => Some(shape),
            FuncParam::View => Some(VIEW),
        },
        Base::Object(object) => match &module.objects.get(object.index())?.kind {
            ObjectKind::Value { shape, .. } => Some(shape),
            _ => None,
        },
        Base::Const(id) => module.consts.get(id.index()).map(|item| &item.shape),
        Base::Param(id) => module.params.get(id.index()).map(|param| &param.shape),
        Base::Request => Some(VIEW),
    }
}

/// The shape of a place in a function with these parameters (none in a lambda), or `None` where it does not fit.
pub fn place_shape<'a>(
    module: &'a Module,
    func_params: &'a [FuncParam],
    body: &'a Body,
    place: &Place,
) -> Option<&'a Shape> {
    let base = base_shape(module, func_params, body, place.base)?;
    place.path.iter().try_fold(base, |shape, step| shape.step(*step))
}
