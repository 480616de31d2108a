//! What a part computes again instead of having it saved: constants, facts of the packet, fields of the request and
//! parameters, and little arithmetic on them. All of them are the same whenever the invocation looks.

use std::collections::{BTreeSet, HashMap};

use lambdac_mir::{Base, Body, Lambda, Loc, Op, Stmt, Value};

/// The most operations that one value may take to compute again; saving and loading it costs about as much.
const MOST_OPERATIONS: u32 = 4;

/// The values that can be computed again.
pub(super) struct Remat {
    cheap: HashMap<Value, (Op, u32)>,
}

/// How a part is entered.
#[derive(Default)]
pub(super) struct Entry {
    /// Parameters for the saved values.
    pub(super) params: Vec<Value>,
    /// The saved values where it is entered from.
    pub(super) args: Vec<Value>,
    /// What is computed again.
    pub(super) stmts: Vec<Stmt>,
    renamed: HashMap<Value, Value>,
}

impl Entry {
    /// What a value of before is called in the part.
    pub(super) fn renamed(&self, value: Value) -> Value {
        self.renamed.get(&value).copied().unwrap_or(value)
    }
}

impl Remat {
    /// Finds them in a lambda.
    pub(super) fn of_lambda(lambda: &Lambda) -> Self {
        let mut remat = Self {
            cheap: HashMap::new(),
        };
        for part in &lambda.parts {
            // Definitions come before uses in this order.
            part.region.walk(&mut |stmt| {
                if let [result] = stmt.results[..] {
                    remat.learn(result, &stmt.op);
                }
            });
        }
        remat
    }

    fn learn(&mut self, result: Value, op: &Op) {
        if let Some(cost) = self.cost(op) {
            self.cheap.insert(result, (op.clone(), cost));
        }
    }

    /// How many operations it takes to compute an operation's result again.
    fn cost(&self, op: &Op) -> Option<u32> {
        match op {
            Op::Const(_) | Op::Pkt(_) => {}
            Op::Len(place) if place.base == Base::Request => {}
            Op::LoadBits(place, pos) if place.base == Base::Request && pos.index.is_none() => {}
            Op::Load(place) if matches!(place.base, Base::Param(_)) && place.path.is_empty() => {}
            Op::Bin(..) | Op::Cmp(..) | Op::Cast(..) | Op::Select(..) => {}
            _ => return None,
        }
        let mut cost = Some(1);
        op.for_each_operand(|operand| {
            cost = cost
                .zip(self.cheap.get(&operand))
                .map(|(sum, (_, own))| sum + own);
        });
        cost.filter(|&cost| cost <= MOST_OPERATIONS)
    }

    /// Makes names for the free values of a part.
    pub(super) fn enter(&mut self, free: &BTreeSet<Value>, body: &mut Body) -> Entry {
        let mut entry = Entry::default();
        for &value in free {
            if self.cheap.contains_key(&value) {
                self.again(value, body, &mut entry);
            } else {
                let param = body.value(body.width(value));
                entry.params.push(param);
                entry.args.push(value);
                entry.renamed.insert(value, param);
            }
        }
        entry
    }

    /// Computes a value again, its operands first; at most [`MOST_OPERATIONS`] deep.
    fn again(&mut self, value: Value, body: &mut Body, entry: &mut Entry) -> Value {
        if let Some(&known) = entry.renamed.get(&value) {
            return known;
        }
        let Some((mut op, cost)) = self.cheap.get(&value).cloned() else {
            unreachable!("operands of cheap operations are cheap")
        };
        op.map_values(|operand| self.again(operand, body, entry));
        let new = body.value(body.width(value));
        entry.renamed.insert(value, new);
        entry.stmts.push(Stmt {
            results: vec![new],
            op: op.clone(),
            loc: Loc::default(),
        });
        self.cheap.insert(new, (op, cost));
        new
    }
}
