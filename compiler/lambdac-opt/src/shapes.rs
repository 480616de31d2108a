//! The shape of what a place reaches, seen from inside a pass.

use lambdac_mir::{Base, FuncParam, ObjectKind, Place, Shape};

use crate::pass::{Code, Context};

/// The shape of a place; `None` for the request and view parameters, which have a length instead.
pub(crate) fn shape_of(code: &Code<'_>, cx: &Context, place: &Place) -> Option<Shape> {
    base_shape(&code.body.slots, &code.args, cx, place.base)
        .and_then(|base| place.path.iter().try_fold(base, |shape, step| shape.step(*step)))
        .cloned()
}

/// The shape of what a place starts from.
pub(crate) fn base_shape<'a>(
    slots: &'a [lambdac_mir::Slot],
    args: &'a [FuncParam],
    cx: &'a Context,
    base: Base,
) -> Option<&'a Shape> {
    match base {
        Base::Slot(slot) => slots.get(slot.index()).map(|slot| &slot.shape),
        Base::Arg(arg) => match args.get(arg as usize)? {
            FuncParam::Ref { shape, .. } => Some(shape),
            FuncParam::View | FuncParam::Scalar(_) => None,
        },
        Base::Object(object) => match &cx.objects.get(object.index())?.kind {
            ObjectKind::Value { shape, .. } => Some(shape),
            _ => None,
        },
        Base::Const(id) => cx.consts.get(id.index()).map(|item| &item.shape),
        Base::Param(id) => cx.params.get(id.index()).map(|param| &param.shape),
        Base::Request => None,
    }
}

/// The most bytes that a place with bytes holds; `None` where it holds none. The request and view parameters have no
/// limit of their own.
pub(crate) fn byte_capacity(
    slots: &[lambdac_mir::Slot],
    args: &[FuncParam],
    cx: &Context,
    place: &Place,
) -> Option<u64> {
    let Some(base) = base_shape(slots, args, cx, place.base) else {
        return place.path.is_empty().then_some(u64::MAX);
    };
    match place
        .path
        .iter()
        .try_fold(base, |shape, step| shape.step(*step))?
    {
        Shape::Bytes(capacity) => Some((*capacity).into()),
        shape => shape.byte_array_len().map(u64::from),
    }
}
