//! Messages: where fields lie in the request, and how replies are put together.
//!
//! Headers are packed and big-endian, first bit first; arrays of integers too. Fields are read where they lie; a whole
//! header or array is decoded only where it is used as a value.

use lambdac_hir::{Expr, ExprKind, Type};
use lambdac_mir::{Base, BinOp, BitPos, Op, Place, Step, Value, View};

use crate::body::BodyCx;
use crate::facts::Effects;
use crate::source::Source;

/// Bits of the request: `bit + index * stride`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RequestPath {
    /// The constant part.
    pub(crate) bit: u32,
    /// An `i32` index and the bits from one element to the next.
    pub(crate) index: Option<(Value, u32)>,
}

impl RequestPath {
    /// The whole request.
    pub(crate) const WHOLE: Self = Self { bit: 0, index: None };

    fn pos(&self) -> BitPos {
        BitPos {
            bit: self.bit,
            index: self.index,
        }
    }

    fn is_byte_aligned(&self) -> bool {
        self.bit.is_multiple_of(8) && self.index.is_none_or(|(_, stride)| stride.is_multiple_of(8))
    }
}

impl BodyCx<'_, '_> {
    /// A field of a header in the request.
    pub(crate) fn request_field(&mut self, path: RequestPath, ty: &Type, field: u32) -> RequestPath {
        RequestPath {
            bit: path.bit + self.cx.field_bit(ty, field),
            index: path.index,
        }
    }

    /// An element of an array in the request, known to be in bounds.
    pub(crate) fn request_element(&mut self, path: RequestPath, elem: &Type, index: Value) -> RequestPath {
        let stride = self.cx.bits(elem);
        self.shifted(path, index, stride)
    }

    /// The path moved on by `index * stride` bits.
    fn shifted(&mut self, path: RequestPath, index: Value, stride: u32) -> RequestPath {
        if let Some(index) = self.constant(index) {
            return RequestPath {
                bit: path.bit + index as u32 * stride,
                index: path.index,
            };
        }
        let index = self.resize(index, 32, false);
        debug_assert!(path.index.is_none(), "arrays in messages hold scalars");
        RequestPath {
            bit: path.bit,
            index: Some((index, stride)),
        }
    }

    fn scaled(&mut self, value: Value, factor: u32) -> Value {
        if factor == 1 {
            return value;
        }
        let factor = self.int32(factor);
        self.bin(BinOp::Mul, value, factor)
    }

    /// Reads an integer of the request.
    pub(crate) fn request_scalar(&mut self, path: &RequestPath, width: u8) -> Value {
        self.op1(Op::LoadBits(Place::of(Base::Request), path.pos()), width)
    }

    /// First byte of a path that lies on bytes.
    fn request_offset(&mut self, path: &RequestPath) -> Value {
        let first = self.int32(path.bit / 8);
        let Some((index, stride)) = path.index else {
            return first;
        };
        let index = self.scaled(index, stride / 8);
        self.add32(first, index)
    }

    /// The bytes of a `bytes<n>` or a byte array in the request; `None` where they don't lie on bytes.
    pub(crate) fn request_view(&mut self, path: &RequestPath, ty: &Type) -> Option<View> {
        let place = Place::of(Base::Request);
        match ty {
            Type::Bytes(max) => {
                let offset = self.request_offset(path);
                let whole = self.op1(Op::Len(place.clone()), 32);
                let mut len = self.sub32(whole, offset);
                if self.prefix {
                    let max = self.int32(*max);
                    len = self.bin(BinOp::UMin, len, max);
                }
                Some(View { place, offset, len })
            }
            Type::Array(elem, n) if self.cx.bits(elem) == 8 && path.is_byte_aligned() => {
                let offset = self.request_offset(path);
                let len = self.int32(*n);
                Some(View { place, offset, len })
            }
            _ => None,
        }
    }

    /// Decodes a part of the request into memory.
    pub(crate) fn decode(&mut self, dst: &Place, path: &RequestPath, ty: &Type) {
        match ty {
            Type::Struct(id) => {
                for field in 0..self.cx.workload.strukt(*id).fields.len() as u32 {
                    let fields = &self.cx.workload.strukt(*id).fields;
                    let field_ty = &fields[field as usize].ty;
                    let from = self.request_field(path.clone(), ty, field);
                    self.decode(&dst.clone().step(Step::Field(field)), &from, field_ty);
                }
            }
            Type::Bytes(_) => {
                if let Some(view) = self.request_view(path, ty) {
                    self.copy_bytes(dst, view);
                }
            }
            Type::Array(elem, n) => {
                if let Some(src) = self.request_view(path, ty) {
                    let offset = self.int32(0);
                    self.op0(Op::CopyBytes {
                        dst: dst.clone(),
                        offset,
                        src,
                    });
                    return;
                }
                self.repeat(*n, |cx, i| {
                    let from = cx.request_element(path.clone(), elem, i);
                    cx.decode(&dst.clone().step(Step::Index(i)), &from, elem);
                });
            }
            _ => {
                let value = self.request_scalar(path, self.cx.width(ty));
                self.op0(Op::Store(dst.clone(), value));
            }
        }
    }

    /// The bytes of a reply.
    pub(crate) fn reply_view(&mut self, expr: &Expr, ty: &Type) -> View {
        if matches!(ty, Type::Bytes(_)) {
            return self.view(expr, Effects::NONE);
        }
        if let Some(value) = self.cx.folded(expr) {
            let bytes = lambdac_hir::encode(self.cx.workload, ty, &value);
            let source = self.literal(&lambdac_hir::Value::Bytes(bytes), ty);
            return self.as_view(&source, ty);
        }
        if let ExprKind::Struct(_, fields) = &expr.kind {
            return self.reply_fields(fields, ty);
        }
        let source = self.source(expr, Effects::NONE);
        if let Source::Request(path) = &source
            && path.is_byte_aligned()
            && let Some(view) = self.encoded_part(path, ty)
        {
            return view;
        }
        if let (Source::Place(place), Type::Array(elem, n)) = (&source, ty)
            && self.cx.bits(elem) == 8
        {
            let (offset, len) = (self.int32(0), self.int32(*n));
            return View {
                place: place.clone(),
                offset,
                len,
            };
        }
        let buffer = self.reply_buffer(ty);
        let rest = self.encode(&buffer, &RequestPath::WHOLE, &source, ty);
        self.sized_reply(buffer, ty, rest)
    }

    /// A part of the request as it stands there.
    fn encoded_part(&mut self, path: &RequestPath, ty: &Type) -> Option<View> {
        let size = lambdac_hir::message_size(self.cx.workload, ty)?;
        let place = Place::of(Base::Request);
        let offset = self.request_offset(path);
        let len = if size.min == size.max {
            self.int32(size.max)
        } else {
            let whole = self.op1(Op::Len(place.clone()), 32);
            self.sub32(whole, offset)
        };
        Some(View { place, offset, len })
    }

    fn reply_buffer(&mut self, ty: &Type) -> Place {
        let max = lambdac_hir::message_size(self.cx.workload, ty).map_or(0, |size| size.max);
        self.slot("reply", &Type::Bytes(max))
    }

    /// Sets the length: the fixed part and the rest.
    fn sized_reply(&mut self, buffer: Place, ty: &Type, rest: Option<Value>) -> View {
        let fixed = lambdac_hir::message_size(self.cx.workload, ty).map_or(0, |size| size.min);
        let mut len = self.int32(fixed);
        if let Some(rest) = rest {
            len = self.add32(len, rest);
        }
        self.op0(Op::SetLen(buffer.clone(), len));
        let offset = self.int32(0);
        View {
            place: buffer,
            offset,
            len,
        }
    }

    /// A header that is written field by field: each goes to its bits as soon as it is evaluated.
    fn reply_fields(&mut self, fields: &[(u32, Expr)], ty: &Type) -> View {
        let buffer = self.reply_buffer(ty);
        let mut rest = None;
        for (field, value) in fields {
            let Type::Struct(id) = ty else {
                unreachable!("a header is a struct")
            };
            let field_ty = &self.cx.workload.strukt(*id).fields[*field as usize].ty;
            let at = self.request_field(RequestPath::WHOLE, ty, *field);
            let source = if field_ty.is_scalar() {
                Source::Scalar(self.scalar(value))
            } else {
                self.source(value, Effects::NONE)
            };
            let written = self.encode(&buffer, &at, &source, field_ty);
            rest = rest.or(written);
        }
        self.sized_reply(buffer, ty, rest)
    }

    /// Writes a value at bits of a buffer; gives the length of the rest of the message, where there is one.
    fn encode(&mut self, dst: &Place, at: &RequestPath, source: &Source, ty: &Type) -> Option<Value> {
        match ty {
            Type::Struct(id) => {
                let mut rest = None;
                for field in 0..self.cx.workload.strukt(*id).fields.len() as u32 {
                    let fields = &self.cx.workload.strukt(*id).fields;
                    let field_ty = &fields[field as usize].ty;
                    let to = self.request_field(at.clone(), ty, field);
                    let from = self.field(source.clone(), ty, field);
                    rest = self.encode(dst, &to, &from, field_ty);
                }
                rest
            }
            Type::Bytes(_) => {
                let src = self.as_view(source, ty);
                let (offset, len) = (self.request_offset(at), src.len);
                self.op0(Op::CopyBytes {
                    dst: dst.clone(),
                    offset,
                    src,
                });
                Some(len)
            }
            Type::Array(elem, n) => {
                if self.cx.bits(elem) == 8 && at.is_byte_aligned() {
                    let src = self.as_view(source, ty);
                    let offset = self.request_offset(at);
                    self.op0(Op::CopyBytes {
                        dst: dst.clone(),
                        offset,
                        src,
                    });
                    return None;
                }
                self.repeat(*n, |cx, i| {
                    let to = cx.request_element(at.clone(), elem, i);
                    let from = cx.array_element(source.clone(), elem, i);
                    cx.encode(dst, &to, &from, elem);
                });
                None
            }
            _ => {
                let value = self.read(source.clone(), ty);
                self.op0(Op::StoreBits(dst.clone(), at.pos(), value));
                None
            }
        }
    }
}
