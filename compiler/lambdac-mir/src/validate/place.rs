//! Places, views, bit fields, keys, arguments.

use super::body::{Checker, Owner};
use crate::{
    Base, BitPos, FuncParam, KeyPart, ObjectId, ObjectKind, Operand, Place, Shape, Value, View, base_shape,
};

impl<'m> Checker<'m, '_> {
    /// The shape of a place; notes an error where there is none.
    pub(super) fn place(&mut self, place: &Place) -> Option<&'m Shape> {
        match place.base {
            Base::Request => {
                let may = !matches!(self.owner, Owner::Func(..));
                self.require(may, || "a function reaches for the request".into());
            }
            Base::Object(_) => self.facts.touches_state = true,
            Base::Slot(_) | Base::Arg(_) | Base::Const(_) | Base::Param(_) => {}
        }
        let Some(base) = base_shape(self.module, self.params, self.body, place.base) else {
            self.error(format!("no place starts at {}", place.base));
            return None;
        };
        let shape = place.path.iter().try_fold(base, |shape, step| shape.step(*step));
        self.require(shape.is_some(), || {
            format!("the steps of {place} do not fit its shape")
        });
        shape
    }

    /// The shape of a place that is written.
    pub(super) fn target(&mut self, place: &Place) -> Option<&'m Shape> {
        let shape = self.place(place)?;
        let writable = match place.base {
            Base::Slot(_) | Base::Object(_) => true,
            Base::Arg(arg) => self.is_writable_arg(arg),
            Base::Const(_) | Base::Param(_) | Base::Request => false,
        };
        self.require(writable, || format!("{place} is read-only"));
        Some(shape)
    }

    fn is_writable_arg(&self, arg: u32) -> bool {
        matches!(
            self.params.get(arg as usize),
            Some(FuncParam::Ref { writable: true, .. })
        )
    }

    /// The width of a scalar place; notes an error where it is an aggregate.
    pub(super) fn scalar(&mut self, shape: Option<&Shape>, place: &Place) -> Option<u8> {
        let shape = shape?;
        if shape.scalar().is_none() {
            self.error(format!("{place} is {shape}, not a scalar"));
        }
        shape.scalar()
    }

    /// Checks a view.
    pub(super) fn view(&mut self, view: &View) {
        if let Some(shape) = self.place(&view.place) {
            self.require(shape.is_viewable(), || {
                format!("{} is {shape}, not bytes", view.place)
            });
        }
        self.want(view.offset, 32);
        self.want(view.len, 32);
    }

    /// Checks a bit field of a place, with the width of what is read or written.
    pub(super) fn bits(&mut self, shape: Option<&Shape>, place: &Place, pos: BitPos, width: u8) {
        let Some(shape) = shape else { return };
        self.require(shape.is_viewable(), || format!("{place} is {shape}, not bytes"));
        let bytes = match (shape, place.base, self.owner) {
            (Shape::Bytes(len), ..) => Some(*len),
            (Shape::View, Base::Request, Owner::Lambda(lambda)) => Some(lambda.request.max),
            _ => shape.byte_array_len(),
        };
        if let Some(bytes) = bytes {
            let inside = u64::from(pos.bit) + u64::from(width) <= u64::from(bytes) * 8;
            self.require(inside, || format!("{pos} of i{width} is outside {place}"));
        }
    }

    /// Checks a key against an object's parts.
    pub(super) fn key(&mut self, parts: &[KeyPart], key: &[Operand]) {
        self.require(parts.len() == key.len(), || {
            format!("a key of {} parts, not {}", parts.len(), key.len())
        });
        for (part, operand) in parts.iter().zip(key) {
            match (part, operand) {
                (KeyPart::Scalar(width), Operand::Value(value)) => self.want(*value, *width),
                (KeyPart::Bytes(_), Operand::View(view)) => self.view(view),
                _ => self.error(format!("{operand} is no key part {part}")),
            }
        }
    }

    /// Key parts and value of an lru or map (or with `table` of a table); notes an error where it is neither.
    pub(super) fn keyed(&mut self, object: ObjectId, table: bool) -> Option<(&'m [KeyPart], &'m Shape)> {
        self.facts.touches_state |= !table;
        match self.module.objects.get(object.index()).map(|object| &object.kind) {
            Some(ObjectKind::Lru { key, value, .. } | ObjectKind::Map { key, value, .. }) if !table => {
                Some((key, value))
            }
            Some(ObjectKind::Table { key, value, .. }) if table => Some((key, value)),
            _ => {
                let wanted = if table { "table" } else { "lru or map" };
                self.error(format!("{object} is no {wanted}"));
                None
            }
        }
    }

    /// Checks where the value of a `get` goes; gives the widths of the results.
    pub(super) fn get_result(&mut self, value: &Shape, dst: Option<&Place>) -> Vec<u8> {
        match (value.scalar(), dst) {
            (Some(width), None) => return vec![1, width],
            (None, Some(dst)) => {
                if let Some(shape) = self.target(dst) {
                    let state = matches!(dst.base, Base::Object(_));
                    self.require(!state && holds(shape, value), || {
                        format!("{dst} cannot take a {value}")
                    });
                }
            }
            (Some(_), Some(_)) => self.error("a scalar value goes to a result, not to a place"),
            (None, None) => self.error("an aggregate value goes to a place"),
        }
        vec![1]
    }

    /// Checks a value that is put into an lru or map.
    pub(super) fn put_value(&mut self, value: &Shape, operand: &Operand) {
        match (value, operand) {
            (Shape::Scalar(width), Operand::Value(scalar)) => self.want(*scalar, *width),
            (Shape::Bytes(_), Operand::View(view)) => self.view(view),
            (Shape::Array(..) | Shape::Struct(_), Operand::Place(place)) => {
                if let Some(shape) = self.place(place) {
                    self.require(shape == value, || format!("{place} is {shape}, not {value}"));
                }
            }
            _ => self.error(format!("{operand} is no {value}")),
        }
    }

    /// Checks a counter and its index.
    pub(super) fn counter(&mut self, object: ObjectId, index: Option<Value>) {
        self.facts.touches_state = true;
        match self.module.objects.get(object.index()).map(|object| &object.kind) {
            Some(ObjectKind::Counter { array, .. }) => {
                let array = *array;
                self.require(array == index.is_some(), || {
                    format!("{object} with an index too many or too few")
                });
            }
            _ => self.error(format!("{object} is no counter")),
        }
        if let Some(index) = index {
            self.want(index, 32);
        }
    }

    /// Checks a call's arguments.
    pub(super) fn args(&mut self, params: &[FuncParam], param_widths: &[u8], args: &[Operand]) {
        self.require(params.len() == args.len(), || {
            format!("{} arguments, not {}", params.len(), args.len())
        });
        for (param, arg) in params.iter().zip(args) {
            match (param, arg) {
                (FuncParam::Scalar(of), Operand::Value(value)) => {
                    self.want(*value, param_widths.get(of.index()).copied().unwrap_or(0));
                }
                (FuncParam::View, Operand::View(view)) => self.view(view),
                (FuncParam::Ref { shape, writable }, Operand::Place(place)) => {
                    self.ref_arg(shape, *writable, place)
                }
                _ => self.error(format!("{arg} is an argument of the wrong kind")),
            }
        }
        self.aliases(params, args);
    }

    fn ref_arg(&mut self, wanted: &Shape, writable: bool, place: &Place) {
        let shape = if writable {
            self.target(place)
        } else {
            self.place(place)
        };
        if let Some(shape) = shape {
            let state = matches!(place.base, Base::Object(_));
            self.require(!state && shape == wanted, || {
                format!("{place} is no {wanted} to pass by reference")
            });
        }
    }

    /// Checks that nothing writable shares memory with another argument.
    fn aliases(&mut self, params: &[FuncParam], args: &[Operand]) {
        let place = |arg: &'_ Operand| match arg {
            Operand::Place(place) => Some(place.clone()),
            Operand::View(view) => Some(view.place.clone()),
            Operand::Value(_) => None,
        };
        for (i, (param, arg)) in params.iter().zip(args).enumerate() {
            let (FuncParam::Ref { writable: true, .. }, Some(out)) = (param, place(arg)) else {
                continue;
            };
            let shared = args
                .iter()
                .enumerate()
                .any(|(j, other)| i != j && place(other).is_some_and(|other| out.may_overlap(&other)));
            self.require(!shared, || {
                format!("{out} is passed as writable and also otherwise")
            });
        }
    }
}

/// Whether a value of a shape can be put where another shape is.
pub(super) fn holds(dst: &Shape, src: &Shape) -> bool {
    match (dst, src) {
        (Shape::Bytes(to), Shape::Bytes(from)) => to >= from,
        _ => dst == src,
    }
}
