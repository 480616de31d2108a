//! Walking over what stands above a region: the conditions of a match stage, the parts of a lambda, and all code of a
//! module.
//!
//! Code stands in three places: functions, parts of lambdas, and the functions that conditions evaluate. The last are
//! easily forgotten, so whoever wants all code asks [`Module::for_each_region`]. The nesting of a valid module's
//! conditions is bounded, and with it the recursion.

use std::collections::BTreeSet;

use crate::{Base, Cond, Dispatch, Func, FuncId, Lambda, Module, Op, PartId, Region, Term, Use};

impl Cond {
    /// The conditions right inside.
    pub fn inner(&self) -> &[Cond] {
        match self {
            Self::Not(inner) => std::slice::from_ref(inner),
            Self::All(list) | Self::Any(list) => list,
            Self::True
            | Self::Cmp { .. }
            | Self::Range { .. }
            | Self::Masked { .. }
            | Self::Has { .. }
            | Self::Eval(_) => &[],
        }
    }

    /// The conditions right inside, to be changed.
    pub fn inner_mut(&mut self) -> &mut [Cond] {
        match self {
            Self::Not(inner) => std::slice::from_mut(inner),
            Self::All(list) | Self::Any(list) => list,
            Self::True
            | Self::Cmp { .. }
            | Self::Range { .. }
            | Self::Masked { .. }
            | Self::Has { .. }
            | Self::Eval(_) => &mut [],
        }
    }

    /// Calls `f` for this condition and every nested one, outer ones first.
    pub fn walk<'c>(&'c self, f: &mut dyn FnMut(&'c Cond)) {
        f(self);
        self.inner().iter().for_each(|cond| cond.walk(f));
    }

    /// Calls `f` for this condition and every nested one, which it may change, outer ones first.
    pub fn walk_mut(&mut self, f: &mut dyn FnMut(&mut Cond)) {
        f(self);
        self.inner_mut().iter_mut().for_each(|cond| cond.walk_mut(f));
    }

    /// Calls `f` for each function that it evaluates.
    pub fn for_each_func<'c>(&'c self, f: &mut dyn FnMut(&'c Func)) {
        self.walk(&mut |cond| {
            if let Self::Eval(func) = cond {
                f(func);
            }
        });
    }

    /// Calls `f` for each function that it evaluates, which `f` may change.
    pub fn for_each_func_mut<'c>(&'c mut self, f: &mut dyn FnMut(&'c mut Func)) {
        match self {
            Self::Eval(func) => f(func),
            other => other
                .inner_mut()
                .iter_mut()
                .for_each(|cond| cond.for_each_func_mut(f)),
        }
    }

    /// Whether it evaluates a function.
    pub fn evaluates(&self) -> bool {
        let mut evaluates = false;
        self.for_each_func(&mut |_| evaluates = true);
        evaluates
    }
}

impl Region {
    /// Calls `f` for the function of each call in it and its nested regions.
    pub fn for_each_callee(&self, f: &mut dyn FnMut(FuncId)) {
        self.walk(&mut |stmt| {
            if let Op::Call(func, _) = &stmt.op {
                f(*func);
            }
        });
    }
}

impl Lambda {
    /// Whether a part, or one that it leads to, reads bytes of the request; how many there are is no byte of it.
    pub fn reads_request(&self, from: PartId) -> bool {
        let mut reads = false;
        let mut look = |used: Use<'_>| reads |= used.place().is_some_and(|place| place.base == Base::Request);
        let mut todo = vec![from];
        let mut seen = BTreeSet::new();
        while let Some(part) = todo.pop() {
            let Some(part) = self.parts.get(part.index()).filter(|_| seen.insert(part)) else {
                continue;
            };
            part.region.walk_regions(&mut |region| {
                let stmts = region.stmts.iter().filter(|stmt| !matches!(stmt.op, Op::Len(_)));
                stmts.for_each(|stmt| stmt.op.for_each_use(&mut look));
                region.term.for_each_use(&mut look);
                if let Term::Become { part, .. } | Term::Await { part, .. } = &region.term {
                    todo.push(*part);
                }
            });
        }
        reads
    }
}

impl Module {
    /// Calls `f` for the outermost region of all code: of functions, parts of lambdas, and what conditions evaluate.
    pub fn for_each_region<'m>(&'m self, f: &mut dyn FnMut(&'m Region)) {
        self.funcs.iter().for_each(|func| f(&func.region));
        let parts = self.lambdas.iter().flat_map(|lambda| &lambda.parts);
        parts.for_each(|part| f(&part.region));
        if let Dispatch::Match(stage) = &self.dispatch {
            let conds = stage.rules.iter().map(|rule| &rule.cond);
            conds.for_each(|cond| cond.for_each_func(&mut |func| f(&func.region)));
        }
    }

    /// Calls `f` for the outermost region of all code, which it may change.
    pub fn for_each_region_mut(&mut self, f: &mut dyn FnMut(&mut Region)) {
        self.funcs.iter_mut().for_each(|func| f(&mut func.region));
        let parts = self.lambdas.iter_mut().flat_map(|lambda| &mut lambda.parts);
        parts.for_each(|part| f(&mut part.region));
        if let Dispatch::Match(stage) = &mut self.dispatch {
            let conds = stage.rules.iter_mut().map(|rule| &mut rule.cond);
            conds.for_each(|cond| cond.for_each_func_mut(&mut |func| f(&mut func.region)));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Cond, Dispatch, Module, Op, PartId, parse};

    /// Each piece of code has a constant of its own.
    const MODULE: &str = r#"module "m"
service svc0 "kv" = memcached "127.0.0.1:11211" timeout 5000000
func f0 "helper"() -> (i32) {
  v0: i32 = const 1
  return v0
}
lambda l0 "a" request "bytes<8>" 4..8 reply "bytes<8>" 0..8 {
  slot s0 "answer": bytes<8>
  part0() {
    v0: i32 = const 0
    v1: i32 = const 2
    v2: i32 = call f0()
    await get svc0 key req[v0 +: v1] -> s0 then part1()
  }
  part1(v3: i1, v4: i1) live (s0) {
    v5: i32 = const 3
    v6: i32 = len req
    reply s0[v5 +: v6]
  }
}
dispatch match min 4 {
  any(bits(0, i8) eq 1, not(eval func "deep"() -> (i1) {
    v0: i32 = const 4
    v1: i1 = eq v0, v0
    return v1
  })) => l0
  true => drop
}
"#;

    fn module() -> Module {
        parse(MODULE).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn all_code_is_that_of_functions_parts_and_conditions() {
        let mut module = module();
        module.for_each_region_mut(&mut |region| {
            region.walk_mut(&mut |stmt| {
                if let Op::Const(value) = &mut stmt.op {
                    *value += 10;
                }
            });
        });
        let mut consts = Vec::new();
        module.for_each_region(&mut |region| {
            region.walk(&mut |stmt| {
                if let Op::Const(value) = stmt.op {
                    consts.push(value);
                }
            });
        });
        assert_eq!(consts, [11, 10, 12, 13, 14]);
    }

    #[test]
    fn conditions_are_met_outer_ones_first() {
        let module = module();
        let Dispatch::Match(stage) = &module.dispatch else {
            panic!("there are rules");
        };
        let mut met = Vec::new();
        stage.rules[0].cond.walk(&mut |cond| {
            met.push(match cond {
                Cond::Any(_) => "any",
                Cond::Not(_) => "not",
                Cond::Cmp { .. } => "eq",
                Cond::Eval(_) => "eval",
                _ => "other",
            });
        });
        assert_eq!(met, ["any", "eq", "not", "eval"]);
        assert!(stage.rules[0].cond.evaluates());
        assert!(!stage.rules[1].cond.evaluates());
    }

    #[test]
    fn the_request_is_read_up_to_the_part_that_reads_it_last() {
        let module = module();
        assert!(module.lambdas[0].reads_request(PartId(0)));
        assert!(!module.lambdas[0].reads_request(PartId(1)));
    }

    #[test]
    fn callees_are_found() {
        let mut callees = Vec::new();
        module().for_each_region(&mut |region| region.for_each_callee(&mut |func| callees.push(func.0)));
        assert_eq!(callees, [0]);
    }
}
