//! Removes what nothing uses: operations, results of branches and loops, loop parameters, writes to slots that are
//! never read.
//!
//! Substitution leaves the old definitions behind, promotion the stores that kept memory up to date, and structured
//! merges carry values that nobody asks for. Deleting one thing makes others dead, around loops too, so the pass
//! marks what is live rather than deletes what looks dead.
//!
//! Things that can be live are values, slots' contents, slots' lengths and statements. First a walk draws an edge
//! from each to whatever it needs: a value to its definition, a branch's result to what each arm yields, a loop
//! parameter to its first and next values, a slot to every statement that writes it, a statement to its operands and
//! to the statement around it, and that one to the nested statements that leave it early. Statements with effects,
//! and replies, are live. Marking follows the edges, each once: linear, and it ends. A second walk in the same order
//! deletes what was not reached.

use std::collections::HashMap;

use lambdac_mir::{FuncParam, Label, LoopKind, Op, Region, SlotId, Stmt, Term, Value};

use crate::pass::{Changed, Code, Context, Pass, Run};
use crate::visit::{Touch, slot_of, term_touches, touches};

/// Dead code.
pub static DCE: Pass = Pass {
    name: "dce",
    summary: "Dead code and dead store elimination",
    run: Run::Code(run),
};

fn run(code: &mut Code<'_>, cx: &Context) -> Changed {
    let mut marker = Marker::new(code, cx);
    for entry in &code.entries {
        marker.region(entry.region, &Yields::None, None);
        for slot in &entry.live_slots {
            // What another part stored must be there: its saving is a read of all of it.
            let (content, len) = (marker.content(*slot), marker.len(*slot));
            marker.root(content);
            marker.root(len);
        }
    }
    let live = marker.mark();
    let mut sweeper = Sweeper {
        live,
        next_stmt: 0,
        masks: HashMap::new(),
        changed: false,
    };
    for entry in &mut code.entries {
        sweeper.region(entry.region, None);
    }
    Changed::from_bool(sweeper.changed)
}

/// A thing that can be live, by number: values, then contents and lengths of slots, then statements in walk order.
type Node = u32;

struct Marker<'a> {
    cx: &'a Context,
    values: u32,
    slots: u32,
    /// Statements seen.
    stmts: u32,
    /// Edges of each node, as a linked list in `edges`.
    first: Vec<u32>,
    edges: Vec<(Node, u32)>,
    roots: Vec<Node>,
    /// By label: what a break's values go to, and what a continue's.
    targets: HashMap<Label, (Vec<Value>, Vec<Value>)>,
    /// By label: the statement that gives it.
    holders: HashMap<Label, Node>,
}

/// Where a `yield` of a region goes.
enum Yields<'r> {
    /// There is none.
    None,
    /// To these results.
    Results(&'r [Value]),
    /// It is the condition of a loop: always needed by this statement.
    Condition(Node),
}

const NO_EDGE: u32 = u32::MAX;

impl<'a> Marker<'a> {
    fn new(code: &Code<'_>, cx: &'a Context) -> Self {
        let (values, slots) = (code.body.values.len() as u32, code.body.slots.len() as u32);
        Self {
            cx,
            values,
            slots,
            stmts: 0,
            first: vec![NO_EDGE; (values + 2 * slots) as usize],
            edges: Vec::new(),
            roots: Vec::new(),
            targets: HashMap::new(),
            holders: HashMap::new(),
        }
    }

    fn content(&self, slot: SlotId) -> Node {
        self.values + slot.0
    }

    fn len(&self, slot: SlotId) -> Node {
        self.values + self.slots + slot.0
    }

    fn stmt_node(&mut self) -> Node {
        let node = self.values + 2 * self.slots + self.stmts;
        self.stmts += 1;
        self.first.push(NO_EDGE);
        node
    }

    fn root(&mut self, node: Node) {
        self.roots.push(node);
    }

    /// Where `node` is live, so is `needs`.
    fn edge(&mut self, node: Node, needs: Node) {
        let first = &mut self.first[node as usize];
        self.edges.push((needs, *first));
        *first = self.edges.len() as u32 - 1;
    }

    fn flow(&mut self, to: &[Value], from: &[Value]) {
        for (to, from) in to.iter().zip(from) {
            self.edge(to.0, from.0);
        }
    }

    /// Walks a region; `holder` is the statement that holds it.
    fn region(&mut self, region: &Region, yields: &Yields<'_>, holder: Option<Node>) {
        for stmt in &region.stmts {
            self.stmt(stmt, holder);
        }
        match (&region.term, yields) {
            (Term::Yield(values), Yields::Results(results)) => self.flow(results, values),
            (Term::Yield(values), Yields::Condition(node)) => {
                values.iter().for_each(|value| self.edge(*node, value.0));
            }
            (Term::Yield(_), Yields::None) => {}
            (Term::Break(label, values), _) => {
                let to = self.targets[label].0.clone();
                self.flow(&to, values);
                self.leave(*label, holder);
            }
            (Term::Continue(label, values), _) => {
                let to = self.targets[label].1.clone();
                self.flow(&to, values);
                self.leave(*label, holder);
            }
            (term, _) => {
                term.for_each_operand(|value| self.roots.push(value.0));
                term_touches(term, &mut |place, touch| {
                    if let Some(slot) = slot_of(place) {
                        self.roots.push(self.values + slot.0);
                        if touch != Touch::ReadBytes {
                            self.roots.push(self.values + self.slots + slot.0);
                        }
                    }
                });
                self.roots.extend(holder);
            }
        }
    }

    /// The statement that gives the label needs every statement that leaves to it.
    fn leave(&mut self, label: Label, holder: Option<Node>) {
        let to = self.holders[&label];
        if let Some(holder) = holder
            && holder != to
        {
            self.edge(to, holder);
        }
    }

    fn stmt(&mut self, stmt: &Stmt, holder: Option<Node>) {
        let node = self.stmt_node();
        for result in &stmt.results {
            self.edge(result.0, node);
        }
        if let Some(holder) = holder {
            self.edge(node, holder);
        }
        match &stmt.op {
            Op::If(cond, then, other) => {
                self.edge(node, cond.0);
                for region in [then, other] {
                    self.region(region, &Yields::Results(&stmt.results), Some(node));
                }
            }
            Op::Switch { on, arms, default } => {
                self.edge(node, on.0);
                for region in arms.iter().map(|(_, region)| region).chain([default]) {
                    self.region(region, &Yields::Results(&stmt.results), Some(node));
                }
            }
            Op::Block(label, region) => {
                self.targets.insert(*label, (stmt.results.clone(), Vec::new()));
                self.holders.insert(*label, node);
                self.region(region, &Yields::None, Some(node));
            }
            Op::Loop(inner) => {
                if inner.checked {
                    self.root(node);
                }
                let (params, inits): (Vec<Value>, Vec<Value>) = inner.params.iter().copied().unzip();
                self.flow(&params, &inits);
                // They pair up: what a break carries for a result stays where the parameter does.
                self.flow(&stmt.results, &params);
                self.flow(&params, &stmt.results);
                self.targets.insert(inner.label, (stmt.results.clone(), params));
                self.holders.insert(inner.label, node);
                match &inner.kind {
                    LoopKind::For { var, from, to, .. } => {
                        self.edge(var.0, node);
                        self.edge(node, from.0);
                        self.edge(node, to.0);
                    }
                    LoopKind::While(cond) => self.region(cond, &Yields::Condition(node), Some(node)),
                }
                self.region(&inner.body, &Yields::None, Some(node));
            }
            op => self.plain(op, node),
        }
    }

    /// A statement without regions.
    fn plain(&mut self, op: &Op, node: Node) {
        op.for_each_operand(|value| self.edge(node, value.0));
        let mut essential = !removable(op, self.cx);
        touches(op, &mut |place, touch| {
            let writes = match touch {
                Touch::Arg(func, index) => self.is_out_param(func, index),
                touch => touch.writes(),
            };
            let Some(slot) = slot_of(place) else {
                essential |= writes;
                return;
            };
            let (content, len) = (self.content(slot), self.len(slot));
            if touch.reads() {
                if touch != Touch::Len {
                    self.edge(node, content);
                }
                if touch != Touch::ReadBytes {
                    self.edge(node, len);
                }
            }
            if writes {
                if touch == Touch::SetLen {
                    // A length may only take in bytes that were written.
                    self.edge(node, content);
                } else {
                    self.edge(content, node);
                }
                if touch != Touch::WriteBytes {
                    self.edge(len, node);
                }
            }
        });
        if essential {
            self.root(node);
        }
    }

    fn is_out_param(&self, func: lambdac_mir::FuncId, index: usize) -> bool {
        let param = self
            .cx
            .sigs
            .get(func.index())
            .and_then(|sig| sig.params.get(index));
        !matches!(
            param,
            Some(FuncParam::Ref { writable: false, .. } | FuncParam::View)
        )
    }

    /// Follows the edges from the roots.
    fn mark(self) -> Live {
        let mut live = vec![false; self.first.len()];
        let mut todo = self.roots;
        while let Some(node) = todo.pop() {
            if std::mem::replace(&mut live[node as usize], true) {
                continue;
            }
            let mut edge = self.first[node as usize];
            while edge != NO_EDGE {
                let (needs, next) = self.edges[edge as usize];
                if !live[needs as usize] {
                    todo.push(needs);
                }
                edge = next;
            }
        }
        Live {
            live,
            stmts_from: (self.values + 2 * self.slots) as usize,
        }
    }
}

/// Whether an operation without regions may go once nothing reads its results or the slots that it writes.
fn removable(op: &Op, cx: &Context) -> bool {
    let mut effects = match op {
        Op::Call(func, _) => match cx.sigs.get(func.index()) {
            Some(sig) => sig.effects,
            None => return false,
        },
        op => op.effects(),
    };
    effects.writes_memory = false;
    effects.is_removable()
}

/// What marking found.
struct Live {
    live: Vec<bool>,
    stmts_from: usize,
}

impl Live {
    fn value(&self, value: Value) -> bool {
        self.live[value.index()]
    }

    fn stmt(&self, number: usize) -> bool {
        self.live[self.stmts_from + number]
    }

    fn mask(&self, values: &[Value]) -> Vec<bool> {
        values.iter().map(|value| self.value(*value)).collect()
    }
}

struct Sweeper {
    live: Live,
    next_stmt: usize,
    /// By label: which values of a break stay, and of a continue.
    masks: HashMap<Label, (Vec<bool>, Vec<bool>)>,
    changed: bool,
}

impl Sweeper {
    /// `yields`: which of the yielded values stay; `None`: all.
    fn region(&mut self, region: &mut Region, yields: Option<&[bool]>) {
        let stmts = std::mem::take(&mut region.stmts);
        region.stmts.reserve(stmts.len());
        for mut stmt in stmts {
            let number = self.next_stmt;
            if self.live.stmt(number) {
                self.next_stmt += 1;
                self.stmt(&mut stmt);
                region.stmts.push(stmt);
            } else {
                self.changed = true;
                self.next_stmt += count(&stmt);
            }
        }
        match &mut region.term {
            Term::Yield(values) => {
                if let Some(mask) = yields {
                    retain(values, mask);
                }
            }
            Term::Break(label, values) => retain(values, &self.masks[label].0),
            Term::Continue(label, values) => retain(values, &self.masks[label].1),
            _ => {}
        }
    }

    fn stmt(&mut self, stmt: &mut Stmt) {
        let mask = self.live.mask(&stmt.results);
        match &mut stmt.op {
            Op::If(_, then, other) => {
                self.region(then, Some(&mask));
                self.region(other, Some(&mask));
            }
            Op::Switch { arms, default, .. } => {
                for (_, region) in arms {
                    self.region(region, Some(&mask));
                }
                self.region(default, Some(&mask));
            }
            Op::Block(label, region) => {
                self.masks.insert(*label, (mask.clone(), Vec::new()));
                self.region(region, None);
            }
            Op::Loop(inner) => {
                self.masks.insert(inner.label, (mask.clone(), mask.clone()));
                if let LoopKind::While(cond) = &mut inner.kind {
                    self.region(cond, None);
                }
                self.region(&mut inner.body, None);
                retain(&mut inner.params, &mask);
            }
            _ => return,
        }
        self.changed |= mask.contains(&false);
        retain(&mut stmt.results, &mask);
    }
}

/// Statements in one and its regions, in the order of the marker's walk.
fn count(stmt: &Stmt) -> usize {
    let mut count = 1;
    for region in stmt.op.regions() {
        region.walk(&mut |_| count += 1);
    }
    count
}

fn retain<T>(list: &mut Vec<T>, mask: &[bool]) {
    let mut keep = mask.iter().copied().chain(std::iter::repeat(true));
    list.retain(|_| keep.next().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::DCE;
    use crate::testing::run_pass;

    #[test]
    fn bytes_below_a_length_that_is_read_stay_written() {
        assert_snapshot!(run_pass(&DCE, r#"
  slot s0 "b": bytes<4>
  part0() {
    v0: i32 = const 0
    v1: i32 = const 1
    copy_bytes s0, v0, req[v0 +: v1]
    set_len s0, v1
    v2: i32 = len s0
    reply req[v0 +: v2]
  }
"#), @"
        unchanged
        ");
    }

    #[test]
    fn a_loop_parameter_that_only_feeds_itself_goes() {
        assert_snapshot!(run_pass(&DCE, "
  labels 1
  part0() {
    v0: i32 = const 0
    v1: i32 = len req
    v2: i32, v3: i32 = loop b0 for v4: i32 in v0..v1 max 64 (v5: i32 = v0, v6: i32 = v0) {
      v7: i32 = add v5, v4
      v8: i32 = xor v6, v4
      continue b0(v7, v8)
    }
    reply req[v0 +: v3]
  }
"), @"
            labels 1
        +   undefined v2: i32, v5: i32, v7: i32
            part0() {
              v0: i32 = const 0
              v1: i32 = len req
        -     v2: i32, v3: i32 = loop b0 for v4: i32 in v0..v1 max 64 (v5: i32 = v0, v6: i32 = v0) {
        -       v7: i32 = add v5, v4
        +     v3: i32 = loop b0 for v4: i32 in v0..v1 max 64 (v6: i32 = v0) {
                v8: i32 = xor v6, v4
        -       continue b0(v7, v8)
        +       continue b0(v8)
              }
              reply req[v0 +: v3]
            }
        ");
    }

    #[test]
    fn stores_to_a_slot_that_is_never_read_go_with_what_computed_them() {
        assert_snapshot!(run_pass(&DCE, r#"
  slot s0 "a": [i8 x 4]
  slot s1 "b": [i8 x 4]
  part0() {
    v0: i32 = const 1
    v1: i8 = load_bits req, bit 8
    zero s0
    store s0[v0], v1
    zero s1
    store s1[v0], v1
    v2: i32 = const 4
    v3: i32 = const 0
    reply s1[v3 +: v2]
  }
"#), @r#"
            slot s0 "a": [i8 x 4]
            slot s1 "b": [i8 x 4]
            part0() {
              v0: i32 = const 1
              v1: i8 = load_bits req, bit 8
        -     zero s0
        -     store s0[v0], v1
              zero s1
              store s1[v0], v1
              v2: i32 = const 4
              v3: i32 = const 0
              reply s1[v3 +: v2]
            }
        "#);
    }

    #[test]
    fn an_early_exit_keeps_its_condition() {
        assert_snapshot!(run_pass(&DCE, r#"
  labels 1
  part0() {
    v0: i1 = load_bits req, bit 0
    block b0 {
      if v0 {
        break b0()
      } else {
        yield
      }
      log b"late" ()
      break b0()
    }
    v1: i64 = now
    v2: i32 = random
    drop
  }
"#), @r#"
            labels 1
        +   undefined v1: i64
            part0() {
              v0: i1 = load_bits req, bit 0
              block b0 {
                if v0 {
                  break b0()
                } else {
                  yield
                }
                log b"late" ()
                break b0()
              }
        -     v1: i64 = now
              v2: i32 = random
              drop
            }
        "#);
    }
}
