//! Places and views: where they are, and what reads, writes and copies them.

use lambdac_mir::{Base, Op, Operand, Place, Shape, Step, Value, View, scalar_bytes};

use super::Param;
use super::code::Code;
use crate::ast::{Binary, Expr, Stmt};
use crate::dialect::{Addressing, Space};
use crate::layout;

/// An address: a base and an offset in bytes, of which a part is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addr {
    pub space: Space,
    /// A pointer or array; for [`Addressing::Offset`] of no meaning.
    base: Expr,
    constant: u64,
    offset: Option<Expr>,
}

impl Addr {
    /// Where something starts.
    pub fn new(space: Space, base: Expr) -> Self {
        Self {
            space,
            base,
            constant: 0,
            offset: None,
        }
    }

    #[must_use]
    pub fn plus(mut self, bytes: u64) -> Self {
        self.constant += bytes;
        self
    }

    #[must_use]
    pub fn plus_expr(mut self, bytes: Expr) -> Self {
        if let Some(known) = bytes.as_int() {
            return self.plus(known);
        }
        self.offset = Some(match self.offset {
            Some(offset) => offset.binary(Binary::Add, bytes),
            None => bytes,
        });
        self
    }

    /// The offset from the base.
    fn bytes(&self) -> Expr {
        match (&self.offset, self.constant) {
            (None, constant) => Expr::int(constant as u32),
            (Some(offset), 0) => offset.clone(),
            (Some(offset), constant) => offset.clone().binary(Binary::Add, Expr::int(constant as u32)),
        }
    }

    /// As arguments of a function.
    pub fn args(&self) -> Vec<Expr> {
        match self.space.addressing() {
            Addressing::Bytes => vec![self.pointer()],
            Addressing::Words => vec![self.base.clone(), self.bytes()],
            Addressing::Offset => vec![self.bytes()],
        }
    }

    /// As one pointer, where the space has pointers to bytes.
    pub fn pointer(&self) -> Expr {
        match self.bytes() {
            Expr::Int(0, _) => self.base.clone(),
            bytes => self.base.clone().binary(Binary::Add, bytes),
        }
    }

    /// A call of what reaches this space: `verb(address, rest)`.
    pub fn call(&self, verb: &str, rest: Vec<Expr>) -> Expr {
        let mut args = self.args();
        args.extend(rest);
        Expr::call(format!("lnic_{}{verb}", self.space.tag()), args)
    }

    /// Whether it is a word of local memory that is known.
    fn is_local_word(&self) -> bool {
        self.space == Space::Local && self.offset.is_none() && self.constant.is_multiple_of(4)
    }

    /// Reads a scalar of 1, 2, 4 or 8 bytes.
    pub fn load(&self, size: u32) -> Expr {
        match (self.space.addressing(), size) {
            (Addressing::Bytes, 1) if self.space == Space::Flat => self.base.clone().index(self.bytes()),
            (Addressing::Words, 4) if self.is_local_word() => {
                self.base.clone().index(Expr::int(self.constant as u32 / 4))
            }
            _ => self.call(&format!("load{}", size * 8), Vec::new()),
        }
    }

    /// Writes a scalar of 1, 2, 4 or 8 bytes.
    pub fn store(&self, size: u32, value: Expr) -> Stmt {
        match (self.space.addressing(), size) {
            (Addressing::Words, 4) if self.is_local_word() => {
                let word = self.base.clone().index(Expr::int(self.constant as u32 / 4));
                Stmt::Assign(word, value)
            }
            _ => Stmt::Expr(self.call(&format!("store{}", size * 8), vec![value])),
        }
    }
}

/// `name` with the tags of two spaces, or of none where both are flat.
pub(super) fn between(verb: &str, a: &Addr, b: &Addr, rest: Vec<Expr>) -> Expr {
    let name = match (a.space, b.space) {
        (Space::Flat, Space::Flat) => format!("lnic_{verb}"),
        (a, b) => format!("lnic_{verb}_{}{}", a.tag(), b.tag().trim_end_matches('_')),
    };
    let mut args = a.args();
    args.extend(b.args());
    args.extend(rest);
    Expr::call(name, args)
}

/// A place that was found.
pub(super) struct Spot {
    pub addr: Addr,
    pub shape: Shape,
    /// Current length, where the shape is a view.
    pub len: Option<Expr>,
}

/// Some bytes.
pub(super) struct Bytes {
    pub addr: Addr,
    pub len: Expr,
}

impl Spot {
    /// Where the bytes of a byte string, array of bytes or view start.
    pub fn contents(&self) -> Addr {
        match self.shape {
            Shape::Bytes(_) => self.addr.clone().plus(4),
            _ => self.addr.clone(),
        }
    }

    fn scalar_size(&self) -> u32 {
        scalar_bytes(self.shape.scalar().unwrap_or(64))
    }
}

impl Code<'_, '_> {
    fn base(&mut self, base: Base) -> Spot {
        let module = &self.unit.image.module;
        match base {
            Base::Slot(slot) => Spot {
                shape: self.body.slots[slot.index()].shape.clone(),
                addr: self.slot(slot),
                len: None,
            },
            Base::Arg(arg) => {
                let arg = &self.args[arg as usize];
                Spot {
                    addr: arg.addr.clone(),
                    shape: arg.shape.clone(),
                    len: arg.len.clone(),
                }
            }
            Base::Object(id) => {
                let lambdac_mir::ObjectKind::Value { shape, .. } = &module.objects[id.index()].kind else {
                    unreachable!("the validator saw that places start at values")
                };
                let addr = self.unit.object(id).map(|(_, addr)| addr);
                Spot {
                    addr: addr.unwrap_or_else(|| Addr::new(Space::Flat, Expr::int(0))),
                    shape: shape.clone(),
                    len: None,
                }
            }
            Base::Const(id) => Spot {
                shape: module.consts[id.index()].shape.clone(),
                addr: self.unit.constant(id),
                len: None,
            },
            Base::Param(id) => {
                let shape = module.params[id.index()].shape.clone();
                let space = self.unit.dialect.runtime_space();
                let addr = match self.unit.params[id.index()].as_ref() {
                    Some(Param::Memory(addr)) => addr.clone(),
                    Some(Param::Pointer(name) | Param::Variable(name)) => {
                        Addr::new(space, Expr::Var(name.clone()))
                    }
                    None => Addr::new(space, Expr::int(0)),
                };
                Spot {
                    addr,
                    shape,
                    len: None,
                }
            }
            Base::Request => {
                let call = Expr::var("lnic_call");
                Spot {
                    addr: Addr::new(self.unit.dialect.request_space(), call.clone().field("request")),
                    shape: Shape::View,
                    len: Some(call.field("request_len")),
                }
            }
        }
    }

    /// Finds a place.
    pub fn spot(&mut self, place: &Place) -> Spot {
        let mut spot = self.base(place.base);
        for step in &place.path {
            let next = spot.shape.step(*step).expect("the validator saw that steps fit");
            match (&spot.shape, step) {
                (Shape::Struct(fields), Step::Field(field)) => {
                    spot.addr = spot.addr.plus(layout::field(fields, *field as usize));
                }
                (_, Step::Index(index)) => {
                    let index = self.narrow(*index);
                    let stride = match &spot.shape {
                        Shape::Array(element, _) => layout::stride(element),
                        _ => 1,
                    };
                    spot.addr = spot.contents().plus_expr(scaled(index, stride));
                }
                _ => {}
            }
            spot = Spot {
                addr: spot.addr,
                shape: next.clone(),
                len: None,
            };
        }
        spot
    }

    /// An index or length as 32 bits.
    pub fn narrow(&mut self, value: Value) -> Expr {
        let wide = self.body.width(value) > 32;
        let value = self.value(value);
        if wide {
            value.cast(crate::ast::Type::U32)
        } else {
            value
        }
    }

    /// Finds the bytes of a view.
    pub fn bytes(&mut self, view: &View) -> Bytes {
        let spot = self.spot(&view.place);
        let offset = self.value(view.offset);
        Bytes {
            addr: spot.contents().plus_expr(offset),
            len: self.value(view.len),
        }
    }

    /// Operations on memory that define nothing.
    pub fn memory_stmt(&mut self, op: &Op) {
        match op {
            Op::Store(place, value) => {
                let spot = self.spot(place);
                let value = self.value(*value);
                self.push(spot.addr.store(spot.scalar_size(), value));
            }
            Op::Zero(place) => self.zero(place),
            Op::Copy { dst, src } => {
                let (to, from) = (self.spot(dst), self.spot(src));
                self.copy(&to, &from);
            }
            Op::SetLen(place, len) => {
                let spot = self.spot(place);
                let len = self.value(*len);
                self.push(spot.addr.store(4, len));
            }
            Op::CopyBytes { dst, offset, src } => {
                let to = self.spot(dst);
                let offset = self.value(*offset);
                let from = self.bytes(src);
                let to = to.contents().plus_expr(offset);
                self.push(Stmt::Expr(between("copy", &to, &from.addr, vec![from.len])));
            }
            _ => unreachable!("only operations on memory get here"),
        }
    }

    /// Reads a scalar.
    pub fn load(&mut self, place: &Place) -> Expr {
        if let (Base::Param(id), []) = (place.base, &place.path[..])
            && let Some(Param::Variable(name)) = &self.unit.params[id.index()]
        {
            return Expr::Var(name.clone());
        }
        let spot = self.spot(place);
        spot.addr.load(spot.scalar_size())
    }

    fn zero(&mut self, place: &Place) {
        let spot = self.spot(place);
        match &spot.shape {
            Shape::Bytes(_) => self.push(spot.addr.store(4, Expr::int(0))),
            Shape::Scalar(width) => {
                let zero = Expr::Int(0, crate::ast::Type::of_width(*width));
                self.push(spot.addr.store(spot.scalar_size(), zero));
            }
            shape => {
                let size = layout::size(shape);
                if size > 0 {
                    let zero = spot.addr.call("zero", vec![Expr::int(size as u32)]);
                    self.push(Stmt::Expr(zero));
                }
            }
        }
    }

    /// Copies a whole value: of a byte string only what is there.
    pub fn copy(&mut self, to: &Spot, from: &Spot) {
        let copied = match &from.shape {
            Shape::Bytes(_) => between("copy_string", &to.addr, &from.addr, Vec::new()),
            Shape::Scalar(_) => {
                let value = from.addr.load(from.scalar_size());
                let store = to.addr.store(from.scalar_size(), value);
                return self.push(store);
            }
            shape => match layout::size(shape) {
                0 => return,
                size => between("copy", &to.addr, &from.addr, vec![Expr::int(size as u32)]),
            },
        };
        self.push(Stmt::Expr(copied));
    }

    /// Whether two views hold the same bytes.
    pub fn same(&mut self, a: &View, b: &View) -> Expr {
        let same_len = a.len == b.len;
        let (a, b) = (self.bytes(a), self.bytes(b));
        let equal = between("equal", &a.addr, &b.addr, vec![a.len.clone()]);
        match (a.len.as_int(), b.len.as_int()) {
            _ if same_len => equal,
            (Some(a), Some(b)) if a == b => equal,
            (Some(_), Some(_)) => Expr::int(0),
            _ => {
                let lens = a.len.binary(Binary::Eq, b.len);
                lens.binary(Binary::LogicalAnd, equal.binary(Binary::Ne, Expr::int(0)))
            }
        }
    }

    /// What a function is given for a parameter.
    pub fn operand(&mut self, operand: &Operand) -> (Option<Space>, Vec<Expr>) {
        match operand {
            Operand::Value(value) => (None, vec![self.value(*value)]),
            Operand::Place(place) => {
                let spot = self.spot(place);
                (Some(spot.addr.space), spot.addr.args())
            }
            Operand::View(view) => {
                let bytes = self.bytes(view);
                let mut args = bytes.addr.args();
                args.push(bytes.len);
                (Some(bytes.addr.space), args)
            }
        }
    }
}

/// `index * stride`
pub(super) fn scaled(index: Expr, stride: u64) -> Expr {
    match (index.as_int(), stride) {
        (Some(known), _) => Expr::int((known * stride) as u32),
        (None, 1) => index,
        (None, stride) => index.binary(Binary::Mul, Expr::int(stride as u32)),
    }
}
