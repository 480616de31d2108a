//! Folds constants and simplifies single operations by algebra.
//!
//! Lowering writes what the source says: widenings of literals, comparisons of bools with `true`, lengths of
//! constants. Inlining and promotion then put constants where parameters stood. Each operation is looked at once, in
//! order, after what it uses: it becomes a constant, another value, or a cheaper operation, until no rule applies.
//! Powers of two turn multiplication and division into shifts and masks.
//!
//! Every rule makes an operation smaller by a fixed order (operation, then constants on the right, then fewer casts
//! in a chain), so each statement is rewritten a bounded number of times. What branches do with constants is the job
//! of `simplify-cfg`; what is no longer used is left to `dce`.

use lambdac_mir::{
    Base, BinOp, BitPos, Body, CastOp, CmpOp, Data, FuncParam, Loc, Op, Place, Region, Shape, Step, Stmt,
    Value, View,
};

use crate::defs::{Def, Defs};
use crate::eval;
use crate::pass::{Changed, Code, Context, Pass, Run};
use crate::shapes::byte_capacity;
use crate::visit::Subst;
use lambdac_mir::mask as ones;

/// Constants, identities and powers of two.
pub static CONST_FOLD: Pass = Pass {
    name: "const-fold",
    summary: "Constant folding and algebraic simplification",
    run: Run::Code(run),
};

/// A statement is given up on after so many rewrites; no chain of rules comes near.
const MAX_REWRITES: usize = 16;

fn run(code: &mut Code<'_>, cx: &Context) -> Changed {
    let request = code.request;
    let args = code.args.clone();
    let fixed_request = (request.min == request.max).then_some(u64::from(request.min));
    let longest_request = u64::from(request.max);
    let mut changed = Changed::No;
    code.for_each_region(|body, region| {
        let values = body.values.len();
        let mut folder = Folder {
            body,
            cx,
            args: &args,
            fixed_request,
            longest_request,
            defs: Defs::new(values),
            subst: Subst::new(values),
            changed: false,
        };
        folder.region(region);
        changed = changed.or(Changed::from_bool(folder.changed));
    });
    changed
}

/// What an operation turns into.
enum Simpler {
    Const(u64),
    Value(Value),
    Op(Op),
    /// A binary operation with a constant on the right, which is made first.
    BinConst(BinOp, Value, u64),
    /// A comparison with a constant on the right.
    CmpConst(CmpOp, Value, u64),
    /// A comparison with a constant on the left.
    ConstCmp(CmpOp, u64, Value),
    /// A comparison of a big-endian field, to be loaded first, with a constant.
    BitsEq(Place, u32, u8, u64),
}

struct Folder<'a> {
    body: &'a mut Body,
    cx: &'a Context,
    args: &'a [FuncParam],
    /// The request's length where it has only one.
    fixed_request: Option<u64>,
    /// The most bytes that the request can have.
    longest_request: u64,
    defs: Defs,
    subst: Subst,
    changed: bool,
}

impl Folder<'_> {
    fn region(&mut self, region: &mut Region) {
        let stmts = std::mem::take(&mut region.stmts);
        let mut out = Vec::with_capacity(stmts.len());
        for mut stmt in stmts {
            self.subst.op(&mut stmt.op);
            for nested in stmt.op.regions_mut() {
                self.region(nested);
            }
            self.stmt(stmt, &mut out);
        }
        region.stmts = out;
        self.subst.term(&mut region.term);
    }

    fn stmt(&mut self, mut stmt: Stmt, out: &mut Vec<Stmt>) {
        if let [result] = stmt.results[..] {
            let width = self.body.width(result);
            for _ in 0..MAX_REWRITES {
                let Some(simpler) = self.simplify(&stmt.op, width) else {
                    break;
                };
                self.changed = true;
                stmt.op = match simpler {
                    Simpler::Value(value) => return self.subst.set(result, value),
                    Simpler::Const(c) => Op::Const(c & ones(width)),
                    Simpler::Op(op) => op,
                    Simpler::BinConst(op, a, c) => Op::Bin(op, a, self.constant(c, width, stmt.loc, out)),
                    Simpler::CmpConst(op, a, c) => {
                        let width = self.body.width(a);
                        Op::Cmp(op, a, self.constant(c, width, stmt.loc, out))
                    }
                    Simpler::ConstCmp(op, c, b) => {
                        let width = self.body.width(b);
                        Op::Cmp(op, self.constant(c, width, stmt.loc, out), b)
                    }
                    Simpler::BitsEq(place, bit, width, c) => {
                        let field = self.body.value(width);
                        let op = Op::LoadBits(place, BitPos { bit, index: None });
                        out.push(Stmt {
                            results: vec![field],
                            op,
                            loc: stmt.loc,
                        });
                        Op::Cmp(CmpOp::Eq, field, self.constant(c, width, stmt.loc, out))
                    }
                };
            }
        }
        if let Op::StoreBits(place, pos, value) = &mut stmt.op
            && let Some(constant) = self.bit_pos(place, *pos, self.body.width(*value))
        {
            *pos = constant;
            self.changed = true;
        }
        self.defs.record(&stmt);
        out.push(stmt);
    }

    /// Defines a constant before the statement at hand.
    fn constant(&mut self, c: u64, width: u8, loc: Loc, out: &mut Vec<Stmt>) -> Value {
        let value = self.body.value(width);
        let c = c & ones(width);
        self.defs.set(value, Def::Const(c));
        out.push(Stmt {
            results: vec![value],
            op: Op::Const(c),
            loc,
        });
        value
    }

    fn simplify(&self, op: &Op, width: u8) -> Option<Simpler> {
        match op {
            Op::Bin(op, a, b) => self.bin(*op, *a, *b, width),
            Op::Cmp(op, a, b) => self.cmp(*op, *a, *b),
            Op::Cast(op, a) => self.cast(*op, *a, width),
            Op::Select(c, a, b) => self.select(*c, *a, *b, width),
            Op::Len(place) => self.len(place).map(Simpler::Const),
            Op::Load(place) => self.load(place).map(Simpler::Const),
            Op::EqBytes(a, b) => self.eq_bytes(a, b),
            Op::LoadBits(place, pos) => {
                let pos = self.bit_pos(place, *pos, width)?;
                Some(Simpler::Op(Op::LoadBits(place.clone(), pos)))
            }
            _ => None,
        }
    }

    fn bin(&self, op: BinOp, a: Value, b: Value, width: u8) -> Option<Simpler> {
        match (self.defs.constant(a), self.defs.constant(b)) {
            (Some(x), Some(y)) => Some(Simpler::Const(eval::bin(op, x, y, width))),
            (Some(_), None) if is_commutative(op) => Some(Simpler::Op(Op::Bin(op, b, a))),
            (Some(0), None) if is_zero_from_zero(op) => Some(Simpler::Const(0)),
            (None, Some(c)) => self.bin_const(op, a, c, width),
            _ if a == b => bin_same(op, a),
            _ => None,
        }
    }

    /// `a op c`
    fn bin_const(&self, op: BinOp, a: Value, c: u64, width: u8) -> Option<Simpler> {
        let all = ones(width);
        let bits = u64::from(width);
        let log2 = c.is_power_of_two().then(|| u64::from(c.trailing_zeros()));
        let keep = Some(Simpler::Value(a));
        match (op, c) {
            (BinOp::Add | BinOp::Sub | BinOp::Or | BinOp::Xor | BinOp::UMax, 0) => keep,
            (BinOp::Shl | BinOp::LShr | BinOp::AShr, 0) => keep,
            (BinOp::Mul | BinOp::And | BinOp::UDiv | BinOp::SDiv | BinOp::UMin, 0) => Some(Simpler::Const(0)),
            (BinOp::URem | BinOp::SRem, 0) => keep,
            (BinOp::Mul | BinOp::UDiv, 1) => keep,
            (BinOp::URem, 1) => Some(Simpler::Const(0)),
            (BinOp::SDiv, 1) if width > 1 => keep,
            (BinOp::SRem, 1) if width > 1 => Some(Simpler::Const(0)),
            (BinOp::And | BinOp::UMin, c) if c == all => keep,
            (BinOp::Or | BinOp::UMax, c) if c == all => Some(Simpler::Const(all)),
            (BinOp::Shl | BinOp::LShr, c) if c >= bits => Some(Simpler::Const(0)),
            (BinOp::AShr, c) if c >= bits && bits - 1 < ones(width) => {
                Some(Simpler::BinConst(BinOp::AShr, a, bits - 1))
            }
            (BinOp::Mul, _) if let Some(shift) = log2 => Some(Simpler::BinConst(BinOp::Shl, a, shift)),
            (BinOp::UDiv, _) if let Some(shift) = log2 => Some(Simpler::BinConst(BinOp::LShr, a, shift)),
            (BinOp::URem, _) if log2.is_some() => Some(Simpler::BinConst(BinOp::And, a, c - 1)),
            _ => self.bin_chain(op, a, c, width),
        }
    }

    /// `(x inner d) op c`
    fn bin_chain(&self, op: BinOp, a: Value, c: u64, width: u8) -> Option<Simpler> {
        if let (BinOp::And, Def::Cast(CastOp::ZExt, x)) = (op, self.defs.get(a)) {
            let all = ones(self.body.width(*x));
            return (c & all == all).then_some(Simpler::Value(a));
        }
        if let (BinOp::Xor, 1, 1, Def::Cmp(cmp, x, y)) = (op, c, width, self.defs.get(a)) {
            return Some(Simpler::Op(negated(*cmp, *x, *y)));
        }
        let Def::Bin(inner, x, d) = *self.defs.get(a) else {
            return None;
        };
        let d = self.defs.constant(d)?;
        let bits = u64::from(width);
        match (inner, op) {
            (BinOp::Add, BinOp::Add) => Some(Simpler::BinConst(BinOp::Add, x, c.wrapping_add(d))),
            (BinOp::Sub, BinOp::Sub) => Some(Simpler::BinConst(BinOp::Sub, x, c.wrapping_add(d))),
            (BinOp::Add, BinOp::Sub) | (BinOp::Sub, BinOp::Add) => {
                let (plus, minus) = if op == BinOp::Add { (c, d) } else { (d, c) };
                Some(if plus >= minus {
                    Simpler::BinConst(BinOp::Add, x, plus - minus)
                } else {
                    Simpler::BinConst(BinOp::Sub, x, minus - plus)
                })
            }
            (BinOp::And, BinOp::And) => Some(Simpler::BinConst(BinOp::And, x, c & d)),
            (BinOp::Or, BinOp::Or) => Some(Simpler::BinConst(BinOp::Or, x, c | d)),
            (BinOp::Xor, BinOp::Xor) => Some(Simpler::BinConst(BinOp::Xor, x, c ^ d)),
            (BinOp::Shl, BinOp::Shl) | (BinOp::LShr, BinOp::LShr) => {
                // Both shifts are below the width here, so the sum fits.
                let sum = c + d;
                if sum >= bits {
                    Some(Simpler::Const(0))
                } else {
                    (sum <= ones(width)).then_some(Simpler::BinConst(op, x, sum))
                }
            }
            _ => None,
        }
    }

    fn cmp(&self, op: CmpOp, a: Value, b: Value) -> Option<Simpler> {
        let width = self.body.width(a);
        match (self.defs.constant(a), self.defs.constant(b)) {
            (Some(x), Some(y)) => Some(Simpler::Const(u64::from(eval::cmp(op, x, y, width)))),
            _ if a == b => Some(Simpler::Const(u64::from(matches!(
                op,
                CmpOp::Eq | CmpOp::Ule | CmpOp::Sle
            )))),
            (Some(_), None) if matches!(op, CmpOp::Eq | CmpOp::Ne) => Some(Simpler::Op(Op::Cmp(op, b, a))),
            (None, Some(c)) => self.cmp_const(op, a, c, width),
            (Some(c), None) => self.const_cmp(op, c, b, width),
            (None, None) => match (self.defs.get(a), self.defs.get(b)) {
                (Def::Cast(CastOp::ZExt, x), Def::Cast(CastOp::ZExt, y))
                    if self.body.width(*x) == self.body.width(*y) =>
                {
                    // Zero-extended values are never negative where they got wider.
                    let grew = self.body.width(*x) < width;
                    let unsigned = match op {
                        CmpOp::Slt if grew => CmpOp::Ult,
                        CmpOp::Sle if grew => CmpOp::Ule,
                        other => other,
                    };
                    Some(Simpler::Op(Op::Cmp(unsigned, *x, *y)))
                }
                _ => None,
            },
        }
    }

    /// `a op c`
    fn cmp_const(&self, op: CmpOp, a: Value, c: u64, width: u8) -> Option<Simpler> {
        let all = ones(width);
        match (op, c) {
            (CmpOp::Ult, 0) => return Some(Simpler::Const(0)),
            (CmpOp::Ule, c) if c == all => return Some(Simpler::Const(1)),
            (CmpOp::Ult, 1) => return Some(Simpler::CmpConst(CmpOp::Eq, a, 0)),
            (CmpOp::Ule, 0) => return Some(Simpler::CmpConst(CmpOp::Eq, a, 0)),
            (CmpOp::Eq, 1) | (CmpOp::Ne, 0) if width == 1 => return Some(Simpler::Value(a)),
            (CmpOp::Eq, 0) | (CmpOp::Ne, 1) if width == 1 => {
                return Some(Simpler::BinConst(BinOp::Xor, a, 1));
            }
            _ => {}
        }
        let Def::Cast(CastOp::ZExt, x) = *self.defs.get(a) else {
            return None;
        };
        let narrow = ones(self.body.width(x));
        match op {
            CmpOp::Eq | CmpOp::Ne if c > narrow => Some(Simpler::Const(u64::from(op == CmpOp::Ne))),
            CmpOp::Ult | CmpOp::Ule if c > narrow => Some(Simpler::Const(1)),
            CmpOp::Eq | CmpOp::Ne | CmpOp::Ult | CmpOp::Ule => Some(Simpler::CmpConst(op, x, c)),
            CmpOp::Slt | CmpOp::Sle => None,
        }
    }

    /// `c op b`, unsigned or signed orders only
    fn const_cmp(&self, op: CmpOp, c: u64, b: Value, width: u8) -> Option<Simpler> {
        match (op, c) {
            (CmpOp::Ule, 0) => return Some(Simpler::Const(1)),
            (CmpOp::Ult, c) if c == ones(width) => return Some(Simpler::Const(0)),
            (CmpOp::Ult, 0) => return Some(Simpler::CmpConst(CmpOp::Ne, b, 0)),
            _ => {}
        }
        let Def::Cast(CastOp::ZExt, y) = *self.defs.get(b) else {
            return None;
        };
        let narrow = ones(self.body.width(y));
        match op {
            CmpOp::Ult | CmpOp::Ule if c > narrow => Some(Simpler::Const(0)),
            CmpOp::Ult | CmpOp::Ule => Some(Simpler::ConstCmp(op, c, y)),
            _ => None,
        }
    }

    fn cast(&self, op: CastOp, a: Value, width: u8) -> Option<Simpler> {
        let from = self.body.width(a);
        if from == width {
            return Some(Simpler::Value(a));
        }
        match (op, self.defs.get(a)) {
            (_, Def::Const(c)) => Some(Simpler::Const(eval::cast(op, *c, from, width))),
            (CastOp::ZExt, Def::Cast(CastOp::ZExt, x)) => Some(Simpler::Op(Op::Cast(CastOp::ZExt, *x))),
            (CastOp::SExt, Def::Cast(CastOp::SExt, x)) => Some(Simpler::Op(Op::Cast(CastOp::SExt, *x))),
            (CastOp::SExt, Def::Cast(CastOp::ZExt, x)) => Some(Simpler::Op(Op::Cast(CastOp::ZExt, *x))),
            (CastOp::Trunc, Def::Cast(CastOp::Trunc, x)) => Some(Simpler::Op(Op::Cast(CastOp::Trunc, *x))),
            (CastOp::Trunc, Def::Cast(inner, x)) => {
                let narrow = self.body.width(*x);
                Some(match narrow.cmp(&width) {
                    std::cmp::Ordering::Equal => Simpler::Value(*x),
                    std::cmp::Ordering::Less => Simpler::Op(Op::Cast(*inner, *x)),
                    std::cmp::Ordering::Greater => Simpler::Op(Op::Cast(CastOp::Trunc, *x)),
                })
            }
            (CastOp::ZExt, Def::Cast(CastOp::Trunc, x)) if self.body.width(*x) == width => {
                Some(Simpler::BinConst(BinOp::And, *x, ones(from)))
            }
            (CastOp::Trunc, Def::Bin(BinOp::And, x, mask)) => {
                let all = ones(width);
                let covers = self.defs.constant(*mask)? & all == all;
                covers.then_some(Simpler::Op(Op::Cast(CastOp::Trunc, *x)))
            }
            _ => None,
        }
    }

    fn select(&self, c: Value, a: Value, b: Value, width: u8) -> Option<Simpler> {
        if a == b {
            return Some(Simpler::Value(a));
        }
        if let Some(c) = self.defs.constant(c) {
            return Some(Simpler::Value(if c == 1 { a } else { b }));
        }
        if let Some(positive) = self.defs.negated(c) {
            return Some(Simpler::Op(Op::Select(positive, b, a)));
        }
        if let Def::Cmp(order, x, y) = *self.defs.get(c)
            && let Some(op) = min_or_max(order, (a, b) == (x, y), (a, b) == (y, x))
        {
            return Some(Simpler::Op(Op::Bin(op, a, b)));
        }
        if width != 1 {
            return None;
        }
        match (self.defs.constant(a), self.defs.constant(b)) {
            (Some(1), Some(0)) => Some(Simpler::Value(c)),
            (Some(0), Some(1)) => Some(Simpler::BinConst(BinOp::Xor, c, 1)),
            (None, Some(0)) => Some(Simpler::Op(Op::Bin(BinOp::And, c, a))),
            (Some(1), None) => Some(Simpler::Op(Op::Bin(BinOp::Or, c, b))),
            _ => None,
        }
    }

    /// A length that is always the same.
    fn len(&self, place: &Place) -> Option<u64> {
        match place.base {
            Base::Request if place.path.is_empty() => self.fixed_request,
            Base::Const(_) => match self.const_data(place)? {
                (Shape::Bytes(_), Data::Bytes(bytes)) => Some(bytes.len() as u64),
                _ => None,
            },
            _ => None,
        }
    }

    /// A scalar of read-only data.
    fn load(&self, place: &Place) -> Option<u64> {
        match self.const_data(place)?.1 {
            Data::Int(value) => Some(value),
            _ => None,
        }
    }

    /// Read-only data at a place whose indexes are constants.
    fn const_data(&self, place: &Place) -> Option<(Shape, Data)> {
        let Base::Const(id) = place.base else { return None };
        let constant = self.cx.consts.get(id.index())?;
        let (mut shape, mut data) = (&constant.shape, &constant.data);
        let mut steps = place.path.iter();
        while let Some(step) = steps.next() {
            let at = match step {
                Step::Field(field) => *field as usize,
                Step::Index(index) => usize::try_from(self.defs.constant(*index)?).ok()?,
            };
            match (shape, data) {
                (Shape::Struct(shapes), Data::List(list)) => (shape, data) = (shapes.get(at)?, list.get(at)?),
                (Shape::Array(inner, _), Data::List(list)) => (shape, data) = (inner, list.get(at)?),
                (Shape::Array(..) | Shape::Bytes(_), Data::Bytes(bytes)) if steps.len() == 0 => {
                    return Some((Shape::Scalar(8), Data::Int(u64::from(*bytes.get(at)?))));
                }
                _ => return None,
            }
        }
        Some((shape.clone(), data.clone()))
    }

    /// A bit position whose index is a constant, as one constant.
    fn bit_pos(&self, place: &Place, pos: BitPos, width: u8) -> Option<BitPos> {
        let (index, stride) = pos.index?;
        let bit = self
            .defs
            .constant(index)?
            .checked_mul(stride.into())?
            .checked_add(pos.bit.into())?;
        self.has_bits(place, bit, width).then_some(BitPos {
            bit: u32::try_from(bit).ok()?,
            index: None,
        })
    }

    /// Whether a bit field lies in a place; one in code that is never reached may not.
    fn has_bits(&self, place: &Place, bit: u64, width: u8) -> bool {
        let capacity = match place.base {
            Base::Request if place.path.is_empty() => self.longest_request,
            _ => byte_capacity(&self.body.slots, self.args, self.cx, place).unwrap_or(0),
        };
        bit.saturating_add(width.into()) <= capacity.saturating_mul(8)
    }

    /// Byte strings of constant lengths; up to eight bytes against a constant become one load and compare.
    fn eq_bytes(&self, a: &View, b: &View) -> Option<Simpler> {
        if a == b {
            return Some(Simpler::Const(1));
        }
        let (len, other) = (self.defs.constant(a.len)?, self.defs.constant(b.len)?);
        if len != other {
            return Some(Simpler::Const(0));
        }
        if len == 0 {
            return Some(Simpler::Const(1));
        }
        if len > 8 {
            return None;
        }
        let (bytes, place, offset) = match (self.const_bytes(a, len), self.const_bytes(b, len)) {
            (Some(x), Some(y)) => return Some(Simpler::Const(u64::from(x == y))),
            (Some(x), None) => (x, &b.place, b.offset),
            (None, Some(y)) => (y, &a.place, a.offset),
            (None, None) => return None,
        };
        let bit = u32::try_from(self.defs.constant(offset)?.checked_mul(8)?).ok()?;
        let value = bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let width = len as u8 * 8;
        self.has_bits(place, bit.into(), width)
            .then(|| Simpler::BitsEq(place.clone(), bit, width, value))
    }

    fn const_bytes(&self, view: &View, len: u64) -> Option<Vec<u8>> {
        let Data::Bytes(bytes) = self.const_data(&view.place)?.1 else {
            return None;
        };
        let from = usize::try_from(self.defs.constant(view.offset)?).ok()?;
        Some(bytes.get(from..from.checked_add(len as usize)?)?.to_vec())
    }
}

/// Whether the operands may be swapped.
pub(crate) fn is_commutative(op: BinOp) -> bool {
    matches!(
        op,
        BinOp::Add
            | BinOp::Mul
            | BinOp::And
            | BinOp::Or
            | BinOp::Xor
            | BinOp::UMin
            | BinOp::UMax
            | BinOp::SMin
            | BinOp::SMax
    )
}

/// Whether `0 op x` is 0 for every `x`.
fn is_zero_from_zero(op: BinOp) -> bool {
    matches!(
        op,
        BinOp::UDiv | BinOp::SDiv | BinOp::URem | BinOp::SRem | BinOp::Shl | BinOp::LShr | BinOp::AShr
    )
}

/// What choosing between the two sides of a comparison by it gives.
fn min_or_max(order: CmpOp, left_if_less: bool, right_if_less: bool) -> Option<BinOp> {
    let (min, max) = match order {
        CmpOp::Ult | CmpOp::Ule => (BinOp::UMin, BinOp::UMax),
        CmpOp::Slt | CmpOp::Sle => (BinOp::SMin, BinOp::SMax),
        CmpOp::Eq | CmpOp::Ne => return None,
    };
    match (left_if_less, right_if_less) {
        (true, _) => Some(min),
        (_, true) => Some(max),
        _ => None,
    }
}

/// `a op a`
fn bin_same(op: BinOp, a: Value) -> Option<Simpler> {
    match op {
        BinOp::Sub | BinOp::Xor | BinOp::URem | BinOp::SRem => Some(Simpler::Const(0)),
        BinOp::And | BinOp::Or | BinOp::UMin | BinOp::UMax | BinOp::SMin | BinOp::SMax => {
            Some(Simpler::Value(a))
        }
        _ => None,
    }
}

/// The comparison that holds where this one doesn't.
fn negated(op: CmpOp, a: Value, b: Value) -> Op {
    match op {
        CmpOp::Eq => Op::Cmp(CmpOp::Ne, a, b),
        CmpOp::Ne => Op::Cmp(CmpOp::Eq, a, b),
        CmpOp::Ult => Op::Cmp(CmpOp::Ule, b, a),
        CmpOp::Ule => Op::Cmp(CmpOp::Ult, b, a),
        CmpOp::Slt => Op::Cmp(CmpOp::Sle, b, a),
        CmpOp::Sle => Op::Cmp(CmpOp::Slt, b, a),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::CONST_FOLD;
    use crate::testing::run_pass;

    #[test]
    fn a_constant_index_past_the_request_stays_an_index() {
        assert_snapshot!(run_pass(&CONST_FOLD, "
  part0() {
    v0: i32 = const 64
    v1: i32 = const 4
    v2: i1 = ult v0, v1
    check v2, index
    v3: i8 = load_bits req, bit 0 + v0 * 8
    log b\"x\" (unsigned v3)
    drop
  }
"), @r#"
            part0() {
              v0: i32 = const 64
              v1: i32 = const 4
        -     v2: i1 = ult v0, v1
        +     v2: i1 = const 0
              check v2, index
              v3: i8 = load_bits req, bit 0 + v0 * 8
              log b"x" (unsigned v3)
              drop
            }
        "#);
    }

    #[test]
    fn a_product_with_a_power_of_two_becomes_a_shift() {
        assert_snapshot!(run_pass(&CONST_FOLD, "
  part0() {
    v0: i32 = len req
    v1: i32 = const 4
    v2: i32 = mul v1, v0
    v3: i32 = urem v0, v1
    v4: i32 = const 0
    reply req[v4 +: v3]
  }
"), @"
            part0() {
              v0: i32 = len req
              v1: i32 = const 4
        -     v2: i32 = mul v1, v0
        -     v3: i32 = urem v0, v1
        +     v5: i32 = const 2
        +     v2: i32 = shl v0, v5
        +     v6: i32 = const 3
        +     v3: i32 = and v0, v6
              v4: i32 = const 0
              reply req[v4 +: v3]
            }
        ");
    }

    #[test]
    fn a_comparison_of_widened_values_is_one_of_narrow_values() {
        assert_snapshot!(run_pass(&CONST_FOLD, "
  part0() {
    v0: i8 = load_bits req, bit 0
    v1: i32 = zext v0
    v2: i32 = const 300
    v3: i1 = ult v1, v2
    check v3, index
    v4: i32 = const 7
    v5: i1 = eq v1, v4
    check v5, index
    drop
  }
"), @"
            part0() {
              v0: i8 = load_bits req, bit 0
              v1: i32 = zext v0
              v2: i32 = const 300
        -     v3: i1 = ult v1, v2
        +     v3: i1 = const 1
              check v3, index
              v4: i32 = const 7
        -     v5: i1 = eq v1, v4
        +     v6: i8 = const 7
        +     v5: i1 = eq v0, v6
              check v5, index
              drop
            }
        ");
    }

    #[test]
    fn a_short_constant_is_compared_by_one_load() {
        assert_snapshot!(run_pass(&CONST_FOLD, r#"
module "m"
const c0 "get": bytes<4> = b"get "

lambda l0 "l" request "bytes<64>" 4..64 reply "bytes<64>" 0..64 {
  part0() {
    v0: i32 = const 0
    v1: i32 = const 4
    v2: i1 = eq_bytes req[v0 +: v1], c0[v0 +: v1]
    check v2, slice
    drop
  }
}

dispatch only l0
"#), @r#"
          module "m"
          const c0 "get": bytes<4> = b"get "

          lambda l0 "l" request "bytes<64>" 4..64 reply "bytes<64>" 0..64 {
            part0() {
              v0: i32 = const 0
              v1: i32 = const 4
        -     v2: i1 = eq_bytes req[v0 +: v1], c0[v0 +: v1]
        +     v3: i32 = load_bits req, bit 0
        +     v4: i32 = const 1734702112
        +     v2: i1 = eq v3, v4
              check v2, slice
              drop
            }
        "#);
    }

    #[test]
    fn a_bit_field_that_would_leave_its_place_keeps_its_index() {
        assert_snapshot!(run_pass(&CONST_FOLD, r#"
  slot s0 "a": [i8 x 2]
  part0() {
    zero s0
    v0: i32 = const 5
    v1: i1 = const 0
    check v1, index
    v2: i8 = load_bits s0, bit 0 + v0 * 8
    drop
  }
"#), @"
        unchanged
        ");
    }
}
