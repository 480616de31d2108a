//! MIR to MIR: what eBPF has no instruction for becomes loops over what it has.
//!
//! - Checksums go byte by byte through a table, which is added to the constants.
//! - A comparison of two byte strings whose length is long or not constant goes 8 bytes at a time.
//! - What a service may not be asked is found out before the await: then the part after it is entered at once.
//! - State lies in cells, not in bytes ([`crate::layout`]): aggregates are copied to and from it scalar by scalar, and
//!   whatever wants to see its bytes sees those of a copy.

use lambdac_mir::{
    Base, BinOp, BitPos, Body, CastOp, CmpOp, Const, ConstId, Data, Dispatch, HashOp, Label, Loc, Loop,
    LoopKind, Module, ObjectKind, Op, PartId, Place, Region, ServiceCall, Shape, Step, Stmt, Term, Value,
    View,
};

use crate::abi::wait;

/// Longest constant length that is compared without a loop.
const INLINE_COMPARE: u64 = 128;
/// Most scalars that are copied without a loop.
const UNROLL: u64 = 8;
/// The most bytes of any value (language, section 2): a bound for views whose capacity is not known.
const MAX_VALUE: u64 = 1 << 20;

/// The module without the operations that the emitter has no code for.
pub(crate) fn expand(module: &Module) -> Module {
    let mut out = module.clone();
    let tables = Tables::add(&mut out);
    let shapes = out.clone();
    let expander = |body: &mut Body, params: &[lambdac_mir::FuncParam], region: &mut Region| {
        let mut consts = vec![None; body.values.len()];
        region.walk(&mut |stmt| {
            if let (Op::Const(value), [result]) = (&stmt.op, &stmt.results[..]) {
                consts[result.index()] = Some(*value);
            }
        });
        Expander {
            module: &shapes,
            params,
            body,
            tables,
            consts,
        }
        .region(region);
    };
    for func in &mut out.funcs {
        expander(&mut func.body, &func.params, &mut func.region);
    }
    for lambda in &mut out.lambdas {
        for part in &mut lambda.parts {
            expander(&mut lambda.body, &[], &mut part.region);
        }
    }
    if let Dispatch::Match(stage) = &mut out.dispatch {
        for rule in &mut stage.rules {
            rule.cond.for_each_func_mut(&mut |func| {
                expander(&mut func.body, &func.params, &mut func.region);
            });
        }
    }
    out
}

/// Tables of the checksums that a module uses.
#[derive(Clone, Copy)]
struct Tables {
    crc32: ConstId,
    crc16: ConstId,
}

impl Tables {
    fn add(module: &mut Module) -> Self {
        let mut uses = [false; 2];
        let mut look = |region: &Region| {
            region.walk(&mut |stmt| {
                if let Op::Hash(op, _) = stmt.op {
                    uses[usize::from(op == HashOp::Crc16)] = true;
                }
            });
        };
        module.for_each_region(&mut look);
        let mut add = |used: bool, name: &str, polynomial: u32| {
            let id = ConstId(module.consts.len() as u32);
            if used {
                let entries: Vec<Data> = (0..256)
                    .map(|byte| Data::Int(crc_entry(byte, polynomial).into()))
                    .collect();
                module.consts.push(Const {
                    name: name.into(),
                    shape: Shape::Array(Shape::Scalar(32).into(), 256),
                    data: Data::List(entries.into()),
                    memory: None,
                });
            }
            id
        };
        Self {
            crc32: add(uses[0], "crc32_table", 0xedb8_8320),
            crc16: add(uses[1], "crc16_table", 0xa001),
        }
    }
}

/// What a byte does to a checksum whose bits go in lowest first.
fn crc_entry(byte: u32, polynomial: u32) -> u32 {
    (0..8).fold(byte, |crc, _| {
        crc >> 1 ^ if crc & 1 == 1 { polynomial } else { 0 }
    })
}

struct Expander<'e> {
    module: &'e Module,
    params: &'e [lambdac_mir::FuncParam],
    body: &'e mut Body,
    tables: Tables,
    consts: Vec<Option<u64>>,
}

/// Statements under construction.
struct Block {
    stmts: Vec<Stmt>,
    loc: Loc,
}

impl Block {
    fn new(loc: Loc) -> Self {
        Self {
            stmts: Vec::new(),
            loc,
        }
    }

    fn push(&mut self, results: Vec<Value>, op: Op) {
        self.stmts.push(Stmt {
            results,
            op,
            loc: self.loc,
        });
    }

    fn ends(self, term: Term) -> Region {
        Region {
            stmts: self.stmts,
            term,
        }
    }
}

/// Whether a place is in state and more than a scalar can be there.
fn in_state(place: &Place) -> bool {
    matches!(place.base, Base::Object(_))
}

impl Expander<'_> {
    fn region(&mut self, region: &mut Region) {
        let stmts = std::mem::take(&mut region.stmts);
        for mut stmt in stmts {
            for inner in stmt.op.regions_mut() {
                self.region(inner);
            }
            self.stmt(stmt, &mut region.stmts);
        }
        let mut before = Block::new(Loc::default());
        let mut after = Block::new(Loc::default());
        region
            .term
            .for_each_use_mut(&mut |used| self.use_of_state(used, &mut before, &mut after));
        region.stmts.append(&mut before.stmts);
        if let Term::Await { call, part, args } = &region.term {
            let mut block = Block::new(region.stmts.last().map_or(Loc::default(), |stmt| stmt.loc));
            let failed = |this: &mut Self, block: &mut Block, cond: Value| {
                this.enter_failed(block, cond, *part, args);
            };
            self.check_call(&mut block, call, &failed);
            region.stmts.append(&mut block.stmts);
        }
    }

    fn stmt(&mut self, mut stmt: Stmt, out: &mut Vec<Stmt>) {
        let mut block = Block::new(stmt.loc);
        let mut after = Block::new(stmt.loc);
        match &mut stmt.op {
            Op::Zero(place) if in_state(place) => {
                let (place, shape) = (place.clone(), self.shape(place));
                self.zero(&mut block, &place, &shape);
                out.append(&mut block.stmts);
                return;
            }
            Op::Copy { dst, src } if in_state(dst) || in_state(src) => {
                let (dst, src, shape) = (dst.clone(), src.clone(), self.shape(dst));
                self.copy(&mut block, &dst, &src, &shape);
                out.append(&mut block.stmts);
                return;
            }
            // Scalars of state are reached as they are.
            Op::Load(_) | Op::Store(..) | Op::AtomicRmw(..) | Op::AtomicCas { .. } | Op::Len(_) => {}
            op => op.for_each_use_mut(&mut |used| self.use_of_state(used, &mut block, &mut after)),
        }
        match stmt.op {
            Op::Hash(op, view) => self.hash(&mut block, stmt.results[0], op, &view),
            Op::EqBytes(a, b) if !self.short(&a) && !self.short(&b) => {
                self.equal(&mut block, stmt.results[0], &a, &b);
            }
            op => block.stmts.push(Stmt { op, ..stmt }),
        }
        out.append(&mut block.stmts);
        out.append(&mut after.stmts);
    }

    /// Enters a part as one whose await failed, if a condition holds.
    fn enter_failed(&mut self, block: &mut Block, cond: Value, part: PartId, args: &[Value]) {
        let mut fails = Block::new(block.loc);
        let ok = self.constant(&mut fails, 1, 0);
        let failed = self.constant(&mut fails, 1, 1);
        let args = [ok, failed].into_iter().chain(args.iter().copied()).collect();
        let fails = fails.ends(Term::Become { part, args });
        let goes_on = Block::new(block.loc).ends(Term::Yield(Vec::new()));
        block.push(Vec::new(), Op::If(cond, fails, goes_on));
    }

    /// A key is 1 to 250 bytes, none of them a blank or a control byte, and a value at most 1024 bytes (language,
    /// section 7): anything else could start another command, or is refused anyway.
    fn check_call(
        &mut self,
        block: &mut Block,
        call: &ServiceCall,
        failed: &dyn Fn(&mut Self, &mut Block, Value),
    ) {
        let zero = self.constant(block, 32, 0);
        let empty = self.compare(block, CmpOp::Eq, call.key.len, zero);
        failed(self, block, empty);
        for (view, most) in [
            (Some(&call.key), wait::MAX_KEY),
            (call.value.as_ref(), wait::MAX_VALUE),
        ] {
            if let Some(view) = view.filter(|view| self.capacity(view) > most.into()) {
                let most = self.constant(block, 32, most.into());
                let long = self.compare(block, CmpOp::Ult, most, view.len);
                failed(self, block, long);
            }
        }
        let bad = self.bad_bytes(block, &call.key);
        failed(self, block, bad);
    }

    fn compare(&mut self, block: &mut Block, op: CmpOp, a: Value, b: Value) -> Value {
        let result = self.body.value(1);
        block.push(vec![result], Op::Cmp(op, a, b));
        result
    }

    /// Whether a key has a byte below 0x21 or 0x7f: eight at a time, then the rest.
    fn bad_bytes(&mut self, block: &mut Block, key: &View) -> Value {
        let most = self.capacity(key).min(wait::MAX_KEY.into());
        let (zero, three) = (self.constant(block, 32, 0), self.constant(block, 32, 3));
        let none = self.constant(block, 64, 0);
        let words = self.binary(block, BinOp::LShr, key.len, three);
        let (seen, in_words) = (self.body.value(64), self.body.value(64));
        self.count(
            block,
            (zero, words, most / 8),
            vec![(seen, none)],
            vec![in_words],
            &mut |this, block, var| {
                let at = this.binary(block, BinOp::Shl, var, three);
                let word = this.load(block, key, at, 64);
                vec![this.bad_in_word(block, word, seen)]
            },
        );
        let whole = self.binary(block, BinOp::Shl, words, three);
        let (seen, last) = (self.body.value(64), self.body.value(64));
        self.count(
            block,
            (whole, key.len, most.min(7)),
            vec![(seen, in_words)],
            vec![last],
            &mut |this, block, var| {
                let byte = this.load(block, key, var, 8);
                let word = this.body.value(64);
                block.push(vec![word], Op::Cast(CastOp::ZExt, byte));
                // Letters in the other places.
                let letters = this.constant(block, 64, 0x4141_4141_4141_4100);
                let word = this.binary(block, BinOp::Or, word, letters);
                vec![this.bad_in_word(block, word, seen)]
            },
        );
        self.compare(block, CmpOp::Ne, last, none)
    }

    /// Adds bits to `seen` if a byte of a word is below 0x21 or 0x7f.
    fn bad_in_word(&mut self, block: &mut Block, word: Value, seen: Value) -> Value {
        let each = |byte: u64| byte * 0x0101_0101_0101_0101;
        let delete = self.constant(block, 64, each(0x7f));
        let delete = self.binary(block, BinOp::Xor, word, delete);
        let control = self.below(block, word, each(0x21));
        let delete = self.below(block, delete, each(1));
        let either = self.binary(block, BinOp::Or, control, delete);
        self.binary(block, BinOp::Or, seen, either)
    }

    /// The high bits of bytes that are below those of a bound, each at most 0x80; and perhaps of some above such a one.
    fn below(&mut self, block: &mut Block, word: Value, bound: u64) -> Value {
        let bound = self.constant(block, 64, bound);
        let ones = self.constant(block, 64, u64::MAX);
        let high = self.constant(block, 64, 0x8080_8080_8080_8080);
        let less = self.binary(block, BinOp::Sub, word, bound);
        let not = self.binary(block, BinOp::Xor, word, ones);
        let both = self.binary(block, BinOp::And, less, not);
        self.binary(block, BinOp::And, both, high)
    }

    fn short(&self, view: &View) -> bool {
        let len = self.consts.get(view.len.index()).copied().flatten();
        len.is_some_and(|len| len <= INLINE_COMPARE)
    }

    fn shape(&self, place: &Place) -> Shape {
        let shape = lambdac_mir::place_shape(self.module, self.params, self.body, place);
        shape.cloned().unwrap_or(Shape::Scalar(64))
    }

    /// Replaces a place of state by a copy of it, where more than a scalar is meant.
    fn use_of_state(&mut self, used: lambdac_mir::UseMut<'_>, before: &mut Block, after: &mut Block) {
        use lambdac_mir::{Access, UseMut};
        let (place, access) = match used {
            UseMut::View(view) => (&mut view.place, Access::Read),
            UseMut::Place(place, access) => (place, access),
            UseMut::Value(_) | UseMut::Slot(_) => return,
        };
        if !in_state(place) {
            return;
        }
        let shape = self.shape(place);
        let copy = Place::of(Base::Slot(self.body.slot("state copy", shape.clone())));
        let state = std::mem::replace(place, copy.clone());
        // What is only partly written must hold the rest.
        self.copy(before, &copy, &state, &shape);
        if access.writes() && self.is_writable(&state) {
            self.copy(after, &state, &copy, &shape);
        }
    }

    fn is_writable(&self, place: &Place) -> bool {
        let Base::Object(object) = place.base else {
            return false;
        };
        matches!(self.module.objects[object.index()].kind, ObjectKind::Value { .. })
    }

    fn constant(&mut self, block: &mut Block, width: u8, value: u64) -> Value {
        let result = self.body.value(width);
        block.push(vec![result], Op::Const(value));
        result
    }

    fn binary(&mut self, block: &mut Block, op: BinOp, a: Value, b: Value) -> Value {
        let result = self.body.value(self.body.width(a));
        block.push(vec![result], Op::Bin(op, a, b));
        result
    }

    /// A loop over `from..to`; `f` makes a trip from its counter and gives the next parameters.
    fn count(
        &mut self,
        block: &mut Block,
        (from, to, max): (Value, Value, u64),
        params: Vec<(Value, Value)>,
        results: Vec<Value>,
        f: &mut dyn FnMut(&mut Self, &mut Block, Value) -> Vec<Value>,
    ) {
        let var = self.body.value(32);
        let label = self.body.label();
        let mut body = Block::new(block.loc);
        let next = f(self, &mut body, var);
        let inner = Loop {
            label,
            params,
            kind: LoopKind::For {
                var,
                from,
                to,
                signed: false,
            },
            max,
            checked: false,
            body: body.ends(Term::Continue(label, next)),
        };
        block.push(results, Op::Loop(Box::new(inner)));
    }

    fn each_element(
        &mut self,
        block: &mut Block,
        count: u32,
        leaves: u64,
        f: &mut dyn FnMut(&mut Self, &mut Block, Value),
    ) {
        if u64::from(count).saturating_mul(leaves) <= UNROLL {
            for index in 0..count {
                let index = self.constant(block, 32, index.into());
                f(self, block, index);
            }
            return;
        }
        let from = self.constant(block, 32, 0);
        let to = self.constant(block, 32, count.into());
        self.count(
            block,
            (from, to, count.into()),
            Vec::new(),
            Vec::new(),
            &mut |this, block, var| {
                f(this, block, var);
                Vec::new()
            },
        );
    }

    fn copy(&mut self, block: &mut Block, dst: &Place, src: &Place, shape: &Shape) {
        match shape {
            Shape::Scalar(width) => {
                let value = self.body.value(*width);
                block.push(vec![value], Op::Load(src.clone()));
                block.push(Vec::new(), Op::Store(dst.clone(), value));
            }
            Shape::Array(element, count) => {
                self.each_element(block, *count, element.leaves(), &mut |this, block, index| {
                    let step = Step::Index(index);
                    this.copy(block, &dst.clone().step(step), &src.clone().step(step), element);
                });
            }
            Shape::Struct(fields) => {
                for (index, field) in fields.iter().enumerate() {
                    let step = Step::Field(index as u32);
                    self.copy(block, &dst.clone().step(step), &src.clone().step(step), field);
                }
            }
            // State holds none.
            Shape::Bytes(_) | Shape::View => {}
        }
    }

    fn zero(&mut self, block: &mut Block, place: &Place, shape: &Shape) {
        match shape {
            Shape::Scalar(width) => {
                let zero = self.constant(block, *width, 0);
                block.push(Vec::new(), Op::Store(place.clone(), zero));
            }
            Shape::Array(element, count) => {
                self.each_element(block, *count, element.leaves(), &mut |this, block, index| {
                    this.zero(block, &place.clone().step(Step::Index(index)), element);
                });
            }
            Shape::Struct(fields) => {
                for (index, field) in fields.iter().enumerate() {
                    self.zero(block, &place.clone().step(Step::Field(index as u32)), field);
                }
            }
            Shape::Bytes(_) | Shape::View => {}
        }
    }

    /// The most bytes that a view can have.
    fn capacity(&self, view: &View) -> u64 {
        match self.shape(&view.place) {
            Shape::Bytes(capacity) => capacity.into(),
            shape => shape.byte_array_len().map_or(MAX_VALUE, u64::from),
        }
    }

    /// Bytes of a view from a byte that `at` says.
    fn load(&mut self, block: &mut Block, view: &View, at: Value, width: u8) -> Value {
        let index = self.binary(block, BinOp::Add, view.offset, at);
        let value = self.body.value(width);
        let pos = BitPos {
            bit: 0,
            index: Some((index, 8)),
        };
        block.push(vec![value], Op::LoadBits(view.place.clone(), pos));
        value
    }

    fn hash(&mut self, block: &mut Block, result: Value, op: HashOp, view: &View) {
        let (table, start) = match op {
            HashOp::Crc32 => (self.tables.crc32, u64::from(u32::MAX)),
            HashOp::Crc16 => (self.tables.crc16, 0),
        };
        let from = self.constant(block, 32, 0);
        let init = self.constant(block, 32, start);
        let (crc, last) = (self.body.value(32), self.body.value(32));
        let bounds = (from, view.len, self.capacity(view));
        self.count(
            block,
            bounds,
            vec![(crc, init)],
            vec![last],
            &mut |this, block, var| {
                let byte = this.load(block, view, var, 8);
                let wide = this.body.value(32);
                block.push(vec![wide], Op::Cast(CastOp::ZExt, byte));
                let mixed = this.binary(block, BinOp::Xor, crc, wide);
                let low = this.constant(block, 32, 0xff);
                let index = this.binary(block, BinOp::And, mixed, low);
                let entry = this.body.value(32);
                let place = Place::of(Base::Const(table)).step(Step::Index(index));
                block.push(vec![entry], Op::Load(place));
                let eight = this.constant(block, 32, 8);
                let rest = this.binary(block, BinOp::LShr, crc, eight);
                vec![this.binary(block, BinOp::Xor, rest, entry)]
            },
        );
        match op {
            HashOp::Crc32 => {
                let ones = self.constant(block, 32, u32::MAX.into());
                block.push(vec![result], Op::Bin(BinOp::Xor, last, ones));
            }
            HashOp::Crc16 => block.push(vec![result], Op::Cast(CastOp::Trunc, last)),
        }
    }

    /// Leaves `label` with 0 unless two values are equal.
    fn break_unless_equal(&mut self, block: &mut Block, label: Label, a: Value, b: Value) {
        let differ = self.body.value(1);
        block.push(vec![differ], Op::Cmp(CmpOp::Ne, a, b));
        let mut leaves = Block::new(block.loc);
        let zero = self.constant(&mut leaves, 1, 0);
        let leaves = leaves.ends(Term::Break(label, vec![zero]));
        let stays = Block::new(block.loc).ends(Term::Yield(Vec::new()));
        block.push(Vec::new(), Op::If(differ, leaves, stays));
    }

    fn equal(&mut self, block: &mut Block, result: Value, a: &View, b: &View) {
        let label = self.body.label();
        let mut inner = Block::new(block.loc);
        self.break_unless_equal(&mut inner, label, a.len, b.len);
        let three = self.constant(&mut inner, 32, 3);
        let words = self.binary(&mut inner, BinOp::LShr, a.len, three);
        let capacity = self.capacity(a).min(self.capacity(b));
        let zero = self.constant(&mut inner, 32, 0);
        self.count(
            &mut inner,
            (zero, words, capacity / 8),
            Vec::new(),
            Vec::new(),
            &mut |this, block, var| {
                let at = this.binary(block, BinOp::Shl, var, three);
                let (x, y) = (this.load(block, a, at, 64), this.load(block, b, at, 64));
                this.break_unless_equal(block, label, x, y);
                Vec::new()
            },
        );
        let whole = self.binary(&mut inner, BinOp::Shl, words, three);
        self.count(
            &mut inner,
            (whole, a.len, 7),
            Vec::new(),
            Vec::new(),
            &mut |this, block, var| {
                let (x, y) = (this.load(block, a, var, 8), this.load(block, b, var, 8));
                this.break_unless_equal(block, label, x, y);
                Vec::new()
            },
        );
        let one = self.constant(&mut inner, 1, 1);
        let region = inner.ends(Term::Break(label, vec![one]));
        block.push(vec![result], Op::Block(label, region));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn tables_are_those_of_the_checksums() {
        // Entry 1 of each is the polynomial moved through all 8 bits.
        assert_eq!(crc_entry(1, 0xedb8_8320), 0x7707_3096);
        assert_eq!(crc_entry(1, 0xa001), 0xc0c1);
    }

    #[test]
    fn what_was_expanded_is_valid_and_means_the_same() {
        let text = r#"
module "expanded"
object o0 "kept" "[u8; 20]" = value [i8 x 20] = b"abcdefghijklmnopqrst"

lambda l0 "f" request "bytes<64>" 0..64 reply "[u32; 1]" 4..4 {
  slot s0 "out": [i8 x 4]
  part0() {
    v0: i32 = const 0
    v1: i32 = len req
    v2: i32 = crc32 req[v0 +: v1]
    v3: i32 = const 20
    v4: i1 = eq_bytes o0[v0 +: v3], req[v0 +: v1]
    v5: i16 = crc16 o0[v0 +: v3]
    v6: i32 = zext v5
    v7: i1 = eq_bytes req[v0 +: v1], req[v0 +: v1]
    v8: i32 = zext v4
    v9: i32 = zext v7
    v10: i32 = xor v2, v6
    v11: i32 = shl v8, v9
    v12: i32 = add v10, v11
    store_bits s0, bit 0, v12
    v13: i32 = const 4
    reply s0[v0 +: v13]
  }
}

dispatch only l0
"#;
        let module = lambdac_mir::parse(text).unwrap();
        let expanded = expand(&module);
        lambdac_mir::validate(&expanded).unwrap();
        let mut outcomes = Vec::new();
        for module in [module, expanded] {
            let mut interp = lambdac_mir::interp::MirInterp::new(Arc::new(module)).unwrap();
            let env = lambdac_mir::interp::Env {
                pkt: [0; 5],
                now: 0,
                random: None,
                params: Vec::new(),
            };
            let requests: [&[u8]; 4] = [b"", b"abc", b"abcdefghijklmnopqrst", &[7; 64]];
            let mut services =
                |_: &lambdac_mir::Service, _, _: &[u8], _: Option<&[u8]>| lambdac_mir::interp::Answer::Failed;
            let run = requests.map(|request| {
                interp.call(
                    lambdac_mir::interp::Callee::Dispatch,
                    request,
                    &env,
                    &mut services,
                )
            });
            outcomes.push(run);
        }
        assert_eq!(outcomes[0], outcomes[1]);
        assert!(matches!(outcomes[0][3], lambdac_mir::interp::Outcome::Reply(_)));
    }
}
