//! Regions, statements, terminators.

use super::Printer;
use super::text::ByteText;
use crate::{
    Loc, Loop, LoopKind, ObjectId, Op, Operand, Place, Region, ServiceCall, Stmt, SwitchRange, Term, Value,
};

impl Printer {
    /// A region with its braces, within a line.
    pub(super) fn braced(&mut self, region: &Region) {
        self.put("{\n");
        self.indent += 1;
        self.region_lines(region);
        self.indent -= 1;
        self.start();
        self.put("}");
    }

    /// A region's lines without braces.
    pub(super) fn region_lines(&mut self, region: &Region) {
        for stmt in &region.stmts {
            self.stmt(stmt);
        }
        self.start();
        self.term(&region.term);
        self.out.push('\n');
    }

    fn stmt(&mut self, stmt: &Stmt) {
        self.start();
        if !stmt.results.is_empty() {
            self.list(&stmt.results, |p, value| p.def(*value));
            self.put(" = ");
        }
        self.op(&stmt.op, stmt.loc);
        self.out.push('\n');
    }

    /// An operation and its position, which stands before the regions where there are some.
    fn op(&mut self, op: &Op, loc: Loc) {
        match op {
            Op::If(..) | Op::Switch { .. } | Op::Block(..) | Op::Loop(_) => self.structured(op, loc),
            _ => {
                self.simple(op);
                self.loc(loc);
            }
        }
    }

    fn structured(&mut self, op: &Op, loc: Loc) {
        match op {
            Op::If(cond, then, other) => {
                self.put(format_args!("if {cond}"));
                self.loc(loc);
                self.put(" ");
                self.braced(then);
                self.put(" else ");
                self.braced(other);
            }
            Op::Switch { on, arms, default } => {
                self.put(format_args!("switch {on}"));
                self.loc(loc);
                self.put(" {\n");
                self.indent += 1;
                for (ranges, region) in arms {
                    self.start();
                    self.put("case ");
                    self.list(ranges, |p, range| p.range(*range));
                    self.put(" ");
                    self.braced(region);
                    self.out.push('\n');
                }
                self.start();
                self.put("default ");
                self.braced(default);
                self.out.push('\n');
                self.indent -= 1;
                self.start();
                self.put("}");
            }
            Op::Block(label, region) => {
                self.put(format_args!("block {label}"));
                self.loc(loc);
                self.put(" ");
                self.braced(region);
            }
            Op::Loop(inner) => self.loop_op(inner, loc),
            _ => unreachable!("only operations that hold regions are structured"),
        }
    }

    fn range(&mut self, (lo, hi): SwitchRange) {
        match hi {
            Some(hi) if lo.checked_add(1) == Some(hi) => self.put(lo),
            Some(hi) => self.put(format_args!("{lo}..{hi}")),
            None => self.put(format_args!("{lo}..")),
        }
    }

    fn loop_op(&mut self, inner: &Loop, loc: Loc) {
        self.put(format_args!("loop {} ", inner.label));
        match &inner.kind {
            LoopKind::For {
                var,
                from,
                to,
                signed,
            } => {
                self.put("for ");
                self.def(*var);
                self.put(format_args!(" in {from}..{to}"));
                self.put(if *signed { " signed" } else { "" });
            }
            LoopKind::While(_) => self.put("while"),
        }
        self.put(format_args!(" max {}", inner.max));
        self.put(if inner.checked { " checked (" } else { " (" });
        self.list(&inner.params, |p, (param, init)| {
            p.def(*param);
            p.put(format_args!(" = {init}"));
        });
        self.put(")");
        self.loc(loc);
        self.put(" ");
        if let LoopKind::While(cond) = &inner.kind {
            self.braced(cond);
            self.put(" do ");
        }
        self.braced(&inner.body);
    }

    fn simple(&mut self, op: &Op) {
        match op {
            Op::Const(value) => self.put(format_args!("const {value}")),
            Op::Bin(op, a, b) => self.put(format_args!("{} {a}, {b}", op.word())),
            Op::Cmp(op, a, b) => self.put(format_args!("{} {a}, {b}", op.word())),
            Op::Cast(op, a) => self.put(format_args!("{} {a}", op.word())),
            Op::Select(c, a, b) => self.put(format_args!("select {c}, {a}, {b}")),
            Op::Load(place) => self.put(format_args!("load {place}")),
            Op::Store(place, value) => self.put(format_args!("store {place}, {value}")),
            Op::Zero(place) => self.put(format_args!("zero {place}")),
            Op::Copy { dst, src } => self.put(format_args!("copy {dst}, {src}")),
            Op::Len(place) => self.put(format_args!("len {place}")),
            Op::SetLen(place, value) => self.put(format_args!("set_len {place}, {value}")),
            Op::CopyBytes { dst, offset, src } => self.put(format_args!("copy_bytes {dst}, {offset}, {src}")),
            Op::EqBytes(a, b) => self.put(format_args!("eq_bytes {a}, {b}")),
            Op::LoadBits(place, pos) => self.put(format_args!("load_bits {place}, {pos}")),
            Op::StoreBits(place, pos, value) => self.put(format_args!("store_bits {place}, {pos}, {value}")),
            Op::Hash(op, view) => self.put(format_args!("{} {view}", op.word())),
            Op::Now => self.put("now"),
            Op::Random => self.put("random"),
            Op::Pkt(field) => self.put(format_args!("pkt {}", field.name())),
            Op::Check(value, cause) => self.put(format_args!("check {value}, {}", cause.name())),
            Op::AtomicRmw(op, place, value) => self.put(format_args!("{} {place}, {value}", op.word())),
            Op::AtomicCas { place, old, new } => self.put(format_args!("atomic_cas {place}, {old}, {new}")),
            Op::CounterAdd(..)
            | Op::CounterRead(..)
            | Op::MapGet { .. }
            | Op::MapPut { .. }
            | Op::MapRemove { .. }
            | Op::MapFetchAdd { .. }
            | Op::TableGet { .. }
            | Op::TableHas { .. } => self.object_op(op),
            Op::Log(text, args) => {
                self.put(format_args!("log {} (", ByteText(text)));
                self.list(args, |p, arg| p.put(arg));
                self.put(")");
            }
            Op::Call(func, args) => {
                self.put(format_args!("call {func}"));
                self.operands(args);
            }
            Op::Await(call) => {
                self.put("await ");
                self.service_call(call);
            }
            Op::If(..) | Op::Switch { .. } | Op::Block(..) | Op::Loop(_) => {
                unreachable!("structured operations are printed with their regions")
            }
        }
    }

    fn object_op(&mut self, op: &Op) {
        match op {
            Op::CounterAdd(object, index, value) => {
                self.counter("counter_add", *object, *index);
                self.put(format_args!(", {value}"));
            }
            Op::CounterRead(object, index) => self.counter("counter_read", *object, *index),
            Op::MapGet { object, key, dst } => self.keyed_get("map_get", *object, key, dst.as_ref()),
            Op::MapPut { object, key, value } => {
                self.keyed("map_put", *object, key);
                self.put(format_args!(", {value}"));
            }
            Op::MapRemove { object, key } => self.keyed("map_remove", *object, key),
            Op::MapFetchAdd { object, key, value } => {
                self.keyed("map_fetch_add", *object, key);
                self.put(format_args!(", {value}"));
            }
            Op::TableGet { object, key, dst } => self.keyed_get("table_get", *object, key, dst.as_ref()),
            Op::TableHas { object, key } => self.keyed("table_has", *object, key),
            _ => unreachable!("not an operation on an object"),
        }
    }

    fn counter(&mut self, word: &str, object: ObjectId, index: Option<Value>) {
        self.put(format_args!("{word} {object}"));
        if let Some(index) = index {
            self.put(format_args!("[{index}]"));
        }
    }

    fn keyed(&mut self, word: &str, object: ObjectId, key: &[Operand]) {
        self.put(format_args!("{word} {object}"));
        self.operands(key);
    }

    fn keyed_get(&mut self, word: &str, object: ObjectId, key: &[Operand], dst: Option<&Place>) {
        self.keyed(word, object, key);
        if let Some(dst) = dst {
            self.put(format_args!(" -> {dst}"));
        }
    }

    fn operands(&mut self, operands: &[Operand]) {
        self.put("(");
        self.list(operands, |p, operand| p.put(operand));
        self.put(")");
    }

    fn service_call(&mut self, call: &ServiceCall) {
        self.put(format_args!(
            "{} {} key {}",
            call.op.word(),
            call.service,
            call.key
        ));
        if let Some(value) = &call.value {
            self.put(format_args!(" value {value}"));
        }
        if let Some(dst) = call.dst {
            self.put(format_args!(" -> {dst}"));
        }
    }

    fn term(&mut self, term: &Term) {
        match term {
            Term::Yield(values) => self.leave("yield", values),
            Term::Return(values) => self.leave("return", values),
            Term::Break(label, values) => self.jump(format_args!("break {label}"), values),
            Term::Continue(label, values) => self.jump(format_args!("continue {label}"), values),
            Term::Reply(view) => self.put(format_args!("reply {view}")),
            Term::Drop => self.put("drop"),
            Term::Punt(None) => self.put("punt"),
            Term::Punt(Some(lambda)) => self.put(format_args!("punt {lambda}")),
            Term::Trap(cause, loc) => {
                self.put(format_args!("trap {}", cause.name()));
                self.loc(*loc);
            }
            Term::Await { call, part, args } => {
                self.put("await ");
                self.service_call(call);
                self.jump(format_args!(" then {part}"), args);
            }
            Term::Become { part, args } => self.jump(format_args!("become {part}"), args),
        }
    }

    fn leave(&mut self, word: &str, values: &[Value]) {
        self.put(word);
        if !values.is_empty() {
            self.put(" ");
            self.list(values, |p, value| p.put(value));
        }
    }

    fn jump(&mut self, head: std::fmt::Arguments<'_>, values: &[Value]) {
        self.put(head);
        self.put("(");
        self.list(values, |p, value| p.put(value));
        self.put(")");
    }
}
