//! Puts callees in the place of their calls.
//!
//! Everything that the other passes know (constants, ranges, what a slot holds) ends at a call, and a target without a
//! stack has no calls at all. A callee's region becomes a block whose label its returns break out of; `simplify-cfg`
//! opens the block where there is one return. Scalars are passed by renaming. A reference parameter becomes the place
//! that was passed; a view parameter becomes the viewed place, with its offset added to every index.
//!
//! Functions come in order of their ids and callees have lower ids, so that what is inlined has been inlined into. A
//! callee goes in where `@inline` says so, where it is small, or where this is its only call; in every case only while
//! the caller stays within a bound on size and nesting, as a chain of functions that call twice would double at every
//! link. One pass over each body, so it ends.
//!
//! Functions that nobody calls any more are left to `func-dce`.

use lambdac_mir::{
    Base, BinOp, BitPos, Body, CastOp, Func, FuncId, FuncParam, Label, Loc, Module, Op, Operand, Place,
    Region, SlotId, Step, Stmt, Term, Value, View,
};

use lambdac_mir::validate::MAX_SLOT_BYTES;

use crate::pass::{Changed, Pass, Run, codes};
use crate::visit::Subst;

/// Calls replaced by callees.
pub static INLINE: Pass = Pass {
    name: "inline",
    summary: "Function inlining",
    run: Run::Module(run),
};

/// A callee of at most so many operations is inlined wherever it is called.
const SMALL: usize = 150;
/// A callee that is called once is inlined up to this size.
const ONCE: usize = 20_000;
/// A caller grows by heuristics up to this size, counted after each call.
const MAX_GROWN: usize = 4_000;
/// A caller grows by `@inline` and single calls up to this size.
const MAX_FORCED: usize = 50_000;
/// A caller's slots take at most so many bytes after inlining.
const MAX_SLOTS: u64 = MAX_SLOT_BYTES / 4;
/// Regions nest at most so deep after inlining (the validator's bound leaves room for what lowering nests).
const MAX_DEPTH: usize = 48;

fn run(module: &mut Module) -> Changed {
    let calls = call_counts(module);
    let mut done: Vec<Callee> = Vec::with_capacity(module.funcs.len());
    let mut changed = false;
    for (func, calls) in module.funcs.iter_mut().zip(calls) {
        let slot_bytes = slot_bytes(&func.body);
        let mut caller = Caller {
            slot_bytes,
            body: &mut func.body,
            callees: &done,
            size: func.region.op_count(),
            changed: false,
        };
        caller.region(&mut func.region, 0);
        changed |= caller.changed;
        done.push(Callee::of(func, calls == 1));
    }
    let funcs = std::mem::take(&mut module.funcs);
    for code in codes(module) {
        for entry in code.entries {
            let size = entry.region.op_count();
            let slot_bytes = slot_bytes(code.body);
            let mut caller = Caller {
                slot_bytes,
                body: code.body,
                callees: &done,
                size,
                changed: false,
            };
            caller.region(entry.region, 0);
            changed |= caller.changed;
        }
    }
    module.funcs = funcs;
    Changed::from_bool(changed)
}

/// How often each function is called.
fn call_counts(module: &mut Module) -> Vec<u32> {
    let mut counts = vec![0; module.funcs.len()];
    for code in codes(module) {
        for entry in &code.entries {
            entry
                .region
                .for_each_callee(&mut |func| counts[func.index()] += 1);
        }
    }
    counts
}

/// A function as it is to be inlined.
struct Callee {
    func: Func,
    size: usize,
    depth: usize,
    slot_bytes: u64,
    once: bool,
}

impl Callee {
    fn of(func: &Func, once: bool) -> Self {
        let size = func.region.op_count();
        let depth = depth(&func.region);
        let slot_bytes = slot_bytes(&func.body);
        Self {
            func: func.clone(),
            size,
            depth,
            slot_bytes,
            once,
        }
    }
}

/// Bytes that a body's slots take.
fn slot_bytes(body: &Body) -> u64 {
    body.slots.iter().map(|slot| slot.shape.packed_size()).sum()
}

/// Levels of regions.
fn depth(region: &Region) -> usize {
    let nested = region
        .stmts
        .iter()
        .flat_map(|stmt| stmt.op.regions())
        .map(depth)
        .max();
    1 + nested.unwrap_or(0)
}

struct Caller<'a> {
    body: &'a mut Body,
    callees: &'a [Callee],
    size: usize,
    slot_bytes: u64,
    changed: bool,
}

impl Caller<'_> {
    fn region(&mut self, region: &mut Region, level: usize) {
        let stmts = std::mem::take(&mut region.stmts);
        region.stmts.reserve(stmts.len());
        for mut stmt in stmts {
            for nested in stmt.op.regions_mut() {
                self.region(nested, level + 1);
            }
            match stmt.op {
                Op::Call(func, args) if self.wants(func, level) => {
                    self.changed = true;
                    let callee = &self.callees[func.index()];
                    self.size += callee.size;
                    self.slot_bytes += callee.slot_bytes;
                    let mut inliner = Inliner::new(self.body, &callee.func, args, stmt.loc);
                    let block = inliner.block(&callee.func.region);
                    region.stmts.push(Stmt {
                        results: stmt.results,
                        op: block,
                        loc: stmt.loc,
                    });
                }
                op => region.stmts.push(Stmt { op, ..stmt }),
            }
        }
    }

    fn wants(&self, func: FuncId, level: usize) -> bool {
        let callee = &self.callees[func.index()];
        let grown = self.size + callee.size;
        let by_rule = callee.func.inline || (callee.once && callee.size <= ONCE);
        let fits = if by_rule {
            grown <= MAX_FORCED
        } else {
            callee.size <= SMALL && grown <= MAX_GROWN
        };
        fits && self.slot_bytes + callee.slot_bytes <= MAX_SLOTS && level + 1 + callee.depth <= MAX_DEPTH
    }
}

/// What an aggregate parameter stands for.
#[derive(Clone)]
enum Passed {
    /// All of a place.
    Place(Place),
    /// Some bytes of a place.
    View(View),
}

struct Inliner<'a> {
    body: &'a mut Body,
    passed: Vec<Option<Passed>>,
    /// The callee's values that are parameters.
    params: Subst,
    /// Lengths of views that were passed.
    lens: Subst,
    first_value: u32,
    first_slot: u32,
    first_label: u32,
    /// What a return breaks out of.
    exit: Label,
    loc: Loc,
}

impl<'a> Inliner<'a> {
    /// Makes room for the callee's values, slots and labels in the caller.
    fn new(body: &'a mut Body, callee: &Func, args: Vec<Operand>, loc: Loc) -> Self {
        let (first_value, first_slot) = (body.values.len() as u32, body.slots.len() as u32);
        body.values.extend(&callee.body.values);
        body.slots.extend(callee.body.slots.iter().cloned());
        let first_label = body.labels;
        body.labels += callee.body.labels;
        let exit = body.label();
        let mut params = Subst::new(body.values.len());
        let mut passed = Vec::with_capacity(args.len());
        for (param, arg) in callee.params.iter().zip(args) {
            passed.push(match (param, arg) {
                (FuncParam::Scalar(param), Operand::Value(arg)) => {
                    params.set(Value(first_value + param.0), arg);
                    None
                }
                (_, Operand::Value(_)) => None,
                (_, Operand::Place(place)) => Some(Passed::Place(place)),
                (_, Operand::View(view)) => Some(Passed::View(view)),
            });
        }
        let lens = Subst::new(0);
        Self {
            body,
            passed,
            params,
            lens,
            first_value,
            first_slot,
            first_label,
            exit,
            loc,
        }
    }

    /// The callee's code as a block.
    fn block(&mut self, region: &Region) -> Op {
        let mut region = region.clone();
        let (first_value, first_slot, first_label) = (self.first_value, self.first_slot, self.first_label);
        region.rename_values(&mut |value| self.params.get(Value(first_value + value.0)));
        region.rename_slots(&mut |slot| SlotId(first_slot + slot.0));
        region.rename_labels(&mut |label| Label(first_label + label.0));
        let exit = self.exit;
        region.walk_regions_mut(&mut |inner| {
            if let Term::Return(values) = &mut inner.term {
                inner.term = Term::Break(exit, std::mem::take(values));
            }
        });
        if self.passed.iter().any(Option::is_some) {
            self.rewrite(&mut region);
            region.replace_uses(&mut |value| self.lens.get(value));
        }
        Op::Block(exit, region)
    }

    /// Replaces parameters by what was passed, in a region and those in it.
    fn rewrite(&mut self, region: &mut Region) {
        let stmts = std::mem::take(&mut region.stmts);
        let mut out = Vec::with_capacity(stmts.len());
        for mut stmt in stmts {
            for nested in stmt.op.regions_mut() {
                self.rewrite(nested);
            }
            self.stmt(stmt, &mut out);
        }
        if let Term::Reply(view) = &mut region.term {
            self.view(view, &mut out);
        }
        region.stmts = out;
    }

    fn stmt(&mut self, mut stmt: Stmt, out: &mut Vec<Stmt>) {
        self.loc = stmt.loc;
        match &mut stmt.op {
            Op::Load(place) | Op::Store(place, _) | Op::Zero(place) | Op::SetLen(place, _) => {
                self.place(place, out)
            }
            Op::AtomicRmw(_, place, _) | Op::AtomicCas { place, .. } => self.place(place, out),
            Op::Len(place) => match self.passed_whole(place) {
                Some(Passed::View(view)) => {
                    self.lens.set(stmt.results[0], view.len);
                    return;
                }
                _ => self.place(place, out),
            },
            Op::Copy { dst, src } => {
                self.place(dst, out);
                match self.passed_whole(src) {
                    Some(Passed::View(view)) => return self.copy_view(dst.clone(), view, stmt.loc, out),
                    _ => self.place(src, out),
                }
            }
            Op::CopyBytes { dst, src, .. } => {
                self.place(dst, out);
                self.view(src, out);
            }
            Op::EqBytes(a, b) => {
                self.view(a, out);
                self.view(b, out);
            }
            Op::Hash(_, view) => self.view(view, out),
            Op::LoadBits(place, pos) | Op::StoreBits(place, pos, _) => self.bits(place, pos, out),
            Op::MapGet { key, dst, .. } | Op::TableGet { key, dst, .. } => {
                key.iter_mut().for_each(|part| self.operand(part, out));
                if let Some(dst) = dst {
                    self.place(dst, out);
                }
            }
            Op::MapPut { key, value, .. } => {
                key.iter_mut().for_each(|part| self.operand(part, out));
                self.operand(value, out);
            }
            Op::MapRemove { key, .. } | Op::TableHas { key, .. } | Op::MapFetchAdd { key, .. } => {
                key.iter_mut().for_each(|part| self.operand(part, out));
            }
            Op::Log(_, args) => {
                for arg in args {
                    if let lambdac_mir::LogArg::Bytes(view) = arg {
                        self.view(view, out);
                    }
                }
            }
            Op::Call(_, args) => args.iter_mut().for_each(|arg| self.operand(arg, out)),
            Op::Const(_)
            | Op::Bin(..)
            | Op::Cmp(..)
            | Op::Cast(..)
            | Op::Select(..)
            | Op::Now
            | Op::Random
            | Op::Pkt(_)
            | Op::Check(..)
            | Op::CounterAdd(..)
            | Op::CounterRead(..)
            | Op::Await(_)
            | Op::If(..)
            | Op::Switch { .. }
            | Op::Block(..)
            | Op::Loop(_) => {}
        }
        out.push(stmt);
    }

    fn passed(&self, place: &Place) -> Option<Passed> {
        match place.base {
            Base::Arg(arg) => self.passed.get(arg as usize)?.clone(),
            _ => None,
        }
    }

    fn passed_whole(&self, place: &Place) -> Option<Passed> {
        if place.path.is_empty() {
            self.passed(place)
        } else {
            None
        }
    }

    fn define(&mut self, op: Op, width: u8, out: &mut Vec<Stmt>) -> Value {
        let value = self.body.value(width);
        out.push(Stmt {
            results: vec![value],
            op,
            loc: self.loc,
        });
        value
    }

    /// `offset + index` as `i32`; an index in bounds fits.
    fn add(&mut self, offset: Value, index: Value, out: &mut Vec<Stmt>) -> Value {
        let index = match self.body.width(index) {
            32 => index,
            width => {
                let cast = if width < 32 { CastOp::ZExt } else { CastOp::Trunc };
                self.define(Op::Cast(cast, index), 32, out)
            }
        };
        self.define(Op::Bin(BinOp::Add, offset, index), 32, out)
    }

    fn place(&mut self, place: &mut Place, out: &mut Vec<Stmt>) {
        match self.passed(place) {
            None => {}
            Some(Passed::Place(outer)) => {
                let mut path = outer.path;
                path.append(&mut place.path);
                *place = Place {
                    base: outer.base,
                    path,
                };
            }
            Some(Passed::View(view)) => {
                let mut path = view.place.path;
                if let Some(Step::Index(index)) = place.path.first() {
                    path.push(Step::Index(self.add(view.offset, *index, out)));
                }
                *place = Place {
                    base: view.place.base,
                    path,
                };
            }
        }
    }

    fn view(&mut self, view: &mut View, out: &mut Vec<Stmt>) {
        match self.passed_whole(&view.place) {
            Some(Passed::View(outer)) => {
                view.offset = self.add(outer.offset, view.offset, out);
                view.place = outer.place;
            }
            _ => self.place(&mut view.place, out),
        }
    }

    fn operand(&mut self, operand: &mut Operand, out: &mut Vec<Stmt>) {
        match operand {
            Operand::Value(_) => {}
            Operand::Place(place) => match self.passed_whole(place) {
                Some(Passed::View(view)) => *operand = Operand::View(view),
                _ => self.place(place, out),
            },
            Operand::View(view) => self.view(view, out),
        }
    }

    /// A bit field of a view: the view's offset counts as eight bits each.
    fn bits(&mut self, place: &mut Place, pos: &mut BitPos, out: &mut Vec<Stmt>) {
        let Some(Passed::View(view)) = self.passed_whole(place) else {
            return self.place(place, out);
        };
        *place = view.place;
        pos.index = Some(match pos.index {
            None => (view.offset, 8),
            Some((index, 8)) => (self.add(view.offset, index, out), 8),
            Some((index, stride)) => {
                // Offset and index in bits: both are below 2^23, as a message has at most 2^20 bytes.
                let eight = self.define(Op::Const(8), 32, out);
                let offset = self.define(Op::Bin(BinOp::Mul, view.offset, eight), 32, out);
                let stride = self.define(Op::Const(u64::from(stride)), 32, out);
                let zero = self.define(Op::Const(0), 32, out);
                let index = self.add(zero, index, out);
                let index = self.define(Op::Bin(BinOp::Mul, index, stride), 32, out);
                (self.define(Op::Bin(BinOp::Add, offset, index), 32, out), 1)
            }
        });
    }

    /// A copy of all of a view sets length and bytes.
    fn copy_view(&mut self, dst: Place, src: View, loc: Loc, out: &mut Vec<Stmt>) {
        let offset = self.define(Op::Const(0), 32, out);
        let len = src.len;
        let copy = Op::CopyBytes {
            dst: dst.clone(),
            offset,
            src,
        };
        out.push(Stmt {
            results: Vec::new(),
            op: copy,
            loc,
        });
        out.push(Stmt {
            results: Vec::new(),
            op: Op::SetLen(dst, len),
            loc,
        });
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::INLINE;
    use crate::testing::run_pass;

    #[test]
    fn a_view_parameter_becomes_the_bytes_that_were_passed() {
        assert_snapshot!(run_pass(&INLINE, r#"
module "m"

func f0 "second"(v0: i32, view) -> (i8) {
  v1: i32 = len arg1
  v2: i1 = ult v0, v1
  check v2, index
  v3: i8 = load arg1[v0]
  return v3
}

lambda l0 "l" request "bytes<64>" 4..64 reply "bytes<64>" 0..64 {
  part0() {
    v0: i32 = const 2
    v1: i32 = const 1
    v2: i8 = call f0(v1, req[v0 +: v0])
    log b"x" (unsigned v2)
    drop
  }
}

dispatch only l0
"#), @r#"
          module "m"

          func f0 "second"(v0: i32, view) -> (i8) {
            v1: i32 = len arg1
            v2: i1 = ult v0, v1
            check v2, index
            v3: i8 = load arg1[v0]
            return v3
          }

          lambda l0 "l" request "bytes<64>" 4..64 reply "bytes<64>" 0..64 {
        +   labels 1
        +   undefined v3: i32, v4: i32
            part0() {
              v0: i32 = const 2
              v1: i32 = const 1
        -     v2: i8 = call f0(v1, req[v0 +: v0])
        +     v2: i8 = block b0 {
        +       v5: i1 = ult v1, v0
        +       check v5, index
        +       v7: i32 = add v0, v1
        +       v6: i8 = load req[v7]
        +       break b0(v6)
        +     }
              log b"x" (unsigned v2)
              drop
            }
        "#);
    }

    #[test]
    fn an_out_parameter_becomes_the_place_that_was_passed() {
        assert_snapshot!(run_pass(&INLINE, r#"
module "m"

func f0 "set"(v0: i8, mut [i8 x 4]) -> () {
  v1: i32 = const 1
  store arg1[v1], v0
  return
}

lambda l0 "l" request "bytes<64>" 4..64 reply "bytes<64>" 0..64 {
  slot s0 "p": {i32, [i8 x 4]}
  part0() {
    zero s0
    v0: i8 = load_bits req, bit 0
    call f0(v0, s0.1)
    v1: i32 = const 0
    v2: i32 = const 4
    reply s0.1[v1 +: v2]
  }
}

dispatch only l0
"#), @r#"
          module "m"

          func f0 "set"(v0: i8, mut [i8 x 4]) {
            v1: i32 = const 1
            store arg1[v1], v0
            return
          }

          lambda l0 "l" request "bytes<64>" 4..64 reply "bytes<64>" 0..64 {
        +   labels 1
        +   undefined v3: i8
            slot s0 "p": {i32, [i8 x 4]}
            part0() {
              zero s0
              v0: i8 = load_bits req, bit 0
        -     call f0(v0, s0.1)
        +     block b0 {
        +       v4: i32 = const 1
        +       store s0.1[v4], v0
        +       break b0()
        +     }
              v1: i32 = const 0
              v2: i32 = const 4
              reply s0.1[v1 +: v2]
            }
        "#);
    }
}
