//! Shapes, data, places, views, operands, positions.

use std::sync::Arc;

use super::{Parser, Result1};
use crate::lexer::Kind;
use crate::{
    Base, BitPos, ConstId, Data, KeyPart, Loc, LogArg, MAX_SHAPE_DEPTH, ObjectId, Operand, ParamId, Place,
    Shape, SlotId, Step, TrapCause, Value, View,
};

/// What an operand without steps may turn out to be.
enum PlaceOrView {
    Place(Place),
    View(View),
}

impl Parser<'_> {
    pub(super) fn shape(&mut self) -> Result1<Shape> {
        self.shape_at(0)
    }

    fn shape_at(&mut self, depth: u32) -> Result1<Shape> {
        if depth > MAX_SHAPE_DEPTH {
            return self.fail(format!("a shape nests deeper than {MAX_SHAPE_DEPTH}"));
        }
        if self.eat_sign("[")? {
            let element = self.shape_at(depth + 1)?;
            self.keyword("x")?;
            let len = self.small()?;
            self.sign("]")?;
            return Ok(Shape::Array(Arc::new(element), len));
        }
        if self.eat_sign("{")? {
            let fields = self.list("}", |p| p.shape_at(depth + 1))?;
            return Ok(Shape::Struct(fields.into()));
        }
        if self.eat_word("view")? {
            return Ok(Shape::View);
        }
        if self.eat_word("bytes")? {
            self.sign("<")?;
            let capacity = self.small()?;
            self.sign(">")?;
            return Ok(Shape::Bytes(capacity));
        }
        if self.peek_id("i").is_none() {
            return self.expected("a shape");
        }
        self.width().map(Shape::Scalar)
    }

    /// `i32` or `[i8 x 16]`.
    pub(super) fn key_part(&mut self) -> Result1<KeyPart> {
        let at = self.token.start;
        match self.shape()? {
            Shape::Scalar(width) => Ok(KeyPart::Scalar(width)),
            shape => match shape.byte_array_len() {
                Some(len) => Ok(KeyPart::Bytes(len)),
                None => Err((at, "a key part is an integer or an array of i8".to_owned())),
            },
        }
    }

    pub(super) fn data(&mut self) -> Result1<Data> {
        self.data_at(0).map(|(data, _)| data)
    }

    /// A datum and how many elements it has when written out.
    fn data_at(&mut self, depth: u32) -> Result1<(Data, u64)> {
        if depth > MAX_SHAPE_DEPTH {
            return self.fail(format!("data nests deeper than {MAX_SHAPE_DEPTH}"));
        }
        self.spend_elements(1)?;
        match self.token.kind {
            Kind::Int(value) => {
                self.advance()?;
                Ok((Data::Int(value), 1))
            }
            Kind::Bytes => Ok((Data::Bytes(self.byte_string()?.into()), 1)),
            Kind::Word if self.word() == "bytes" => Ok((Data::Bytes(self.bytes_with_runs()?.into()), 1)),
            Kind::Sign("[") => self.list_data(depth),
            _ => self.expected("data"),
        }
    }

    fn list_data(&mut self, depth: u32) -> Result1<(Data, u64)> {
        self.sign("[")?;
        let mut items = Vec::new();
        let mut total = 1_u64;
        self.list("]", |p| {
            let (item, count) = p.data_at(depth + 1)?;
            let mut times = 1_u64;
            if p.eat_word("x")? {
                times = p.int()?;
                // The one that was read is paid for.
                p.spend_elements(count.saturating_mul(times.saturating_sub(1)))?;
            }
            total = total.saturating_add(count.saturating_mul(times));
            items.extend((0..times).map(|_| item.clone()));
            Ok(())
        })?;
        Ok((Data::List(items.into()), total))
    }

    /// `bytes[b"ab", 0 x 1000]`
    fn bytes_with_runs(&mut self) -> Result1<Vec<u8>> {
        self.keyword("bytes")?;
        self.sign("[")?;
        let mut out = Vec::new();
        self.list("]", |p| {
            if p.token.kind == Kind::Bytes {
                out.extend(p.byte_string()?);
                return Ok(());
            }
            let byte: u8 = p.small()?;
            p.keyword("x")?;
            let count = p.int()?;
            p.spend_bytes(count)?;
            out.extend((0..count).map(|_| byte));
            Ok(())
        })?;
        Ok(out)
    }

    /// A byte string in either form.
    pub(super) fn any_bytes(&mut self) -> Result1<Vec<u8>> {
        match self.word() {
            "bytes" => self.bytes_with_runs(),
            _ => self.byte_string(),
        }
    }

    /// `@12`, `@1:12`, or nothing.
    pub(super) fn loc(&mut self) -> Result1<Loc> {
        if !self.eat_sign("@")? {
            return Ok(Loc::default());
        }
        let at = self.token.start;
        let first: u32 = self.small()?;
        if !self.eat_sign(":")? {
            return Ok(Loc { file: 0, line: first });
        }
        let file = u16::try_from(first).map_err(|_| (at, format!("{first} is too large for a file")))?;
        Ok(Loc {
            file,
            line: self.small()?,
        })
    }

    fn base(&mut self) -> Result1<Base> {
        let base = if let Some(slot) = self.peek_id("s") {
            Base::Slot(SlotId(slot))
        } else if let Some(arg) = self.peek_id("arg") {
            Base::Arg(arg)
        } else if let Some(object) = self.peek_id("o") {
            Base::Object(ObjectId(object))
        } else if let Some(id) = self.peek_id("c") {
            Base::Const(ConstId(id))
        } else if let Some(id) = self.peek_id("p") {
            Base::Param(ParamId(id))
        } else if self.word() == "req" {
            Base::Request
        } else {
            return self.expected("a place");
        };
        self.advance()?;
        Ok(base)
    }

    fn place_or_view(&mut self) -> Result1<PlaceOrView> {
        let mut place = Place::of(self.base()?);
        loop {
            if self.eat_sign(".")? {
                place.path.push(Step::Field(self.small()?));
            } else if self.eat_sign("[")? {
                let index = self.value()?;
                if self.eat_sign("+:")? {
                    let len = self.value()?;
                    self.sign("]")?;
                    return Ok(PlaceOrView::View(View {
                        place,
                        offset: index,
                        len,
                    }));
                }
                self.sign("]")?;
                place.path.push(Step::Index(index));
            } else {
                return Ok(PlaceOrView::Place(place));
            }
        }
    }

    pub(super) fn place(&mut self) -> Result1<Place> {
        let at = self.token.start;
        match self.place_or_view()? {
            PlaceOrView::Place(place) => Ok(place),
            PlaceOrView::View(_) => Err((at, "expected a place, found a view".to_owned())),
        }
    }

    pub(super) fn view(&mut self) -> Result1<View> {
        let at = self.token.start;
        match self.place_or_view()? {
            PlaceOrView::View(view) => Ok(view),
            PlaceOrView::Place(_) => Err((at, "expected a view, `place[offset +: len]`".to_owned())),
        }
    }

    pub(super) fn operand(&mut self) -> Result1<Operand> {
        if self.peek_id("v").is_some() {
            return self.value().map(Operand::Value);
        }
        Ok(match self.place_or_view()? {
            PlaceOrView::Place(place) => Operand::Place(place),
            PlaceOrView::View(view) => Operand::View(view),
        })
    }

    pub(super) fn operands(&mut self) -> Result1<Vec<Operand>> {
        self.parens(Self::operand)
    }

    /// `bit 12 + v3 * 8`
    pub(super) fn bit_pos(&mut self) -> Result1<BitPos> {
        self.keyword("bit")?;
        let bit = self.small()?;
        if !self.eat_sign("+")? {
            return Ok(BitPos { bit, index: None });
        }
        let index = self.value()?;
        self.sign("*")?;
        Ok(BitPos {
            bit,
            index: Some((index, self.small()?)),
        })
    }

    pub(super) fn log_arg(&mut self) -> Result1<LogArg> {
        match self.word() {
            "unsigned" => {
                self.advance()?;
                self.value().map(LogArg::Unsigned)
            }
            "signed" => {
                self.advance()?;
                self.value().map(LogArg::Signed)
            }
            "bool" => {
                self.advance()?;
                self.value().map(LogArg::Bool)
            }
            "bytes" => {
                self.advance()?;
                self.view().map(LogArg::Bytes)
            }
            _ => self.expected("`unsigned`, `signed`, `bool` or `bytes`"),
        }
    }

    pub(super) fn trap_cause(&mut self) -> Result1<TrapCause> {
        self.named("a trap's cause", |word| {
            TrapCause::ALL.into_iter().find(|cause| cause.name() == word)
        })
    }

    /// Values up to one that no comma follows, or none.
    pub(super) fn bare_values(&mut self) -> Result1<Vec<Value>> {
        let mut values = Vec::new();
        if self.peek_id("v").is_some() {
            values.push(self.value()?);
            while self.eat_sign(",")? {
                values.push(self.value()?);
            }
        }
        Ok(values)
    }
}
