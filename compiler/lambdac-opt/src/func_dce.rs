//! Removes functions that nothing calls.
//!
//! Inlining leaves callees without callers, and a library has more functions than one workload uses. Marks what
//! lambdas and conditions of the match stage reach, then renumbers; callees keep lower ids than their callers.

use lambdac_mir::{FuncId, Module, Op, Region};

use crate::pass::{Changed, Pass, Run, codes};

/// Unused functions.
pub static FUNC_DCE: Pass = Pass {
    name: "func-dce",
    summary: "Unused function elimination",
    run: Run::Module(run),
};

fn run(module: &mut Module) -> Changed {
    let mut funcs = std::mem::take(&mut module.funcs);
    let mut used = vec![false; funcs.len()];
    for code in codes(module) {
        code.entries
            .iter()
            .for_each(|entry| mark(entry.region, &mut used));
    }
    // Callers have higher ids: one way down is enough.
    for id in (0..funcs.len()).rev() {
        if used[id] {
            mark(&funcs[id].region, &mut used);
        }
    }
    let ids: Vec<u32> = used
        .iter()
        .scan(0, |next, used| {
            let id = *next;
            *next += u32::from(*used);
            Some(id)
        })
        .collect();
    let changed = used.contains(&false);
    let mut used = used.iter();
    funcs.retain(|_| used.next().is_some_and(|used| *used));
    module.funcs = funcs;
    if changed {
        for code in codes(module) {
            code.entries
                .into_iter()
                .for_each(|entry| renumber(entry.region, &ids));
        }
    }
    Changed::from_bool(changed)
}

fn mark(region: &Region, used: &mut [bool]) {
    region.for_each_callee(&mut |func| used[func.index()] = true);
}

fn renumber(region: &mut Region, ids: &[u32]) {
    region.walk_mut(&mut |stmt| {
        if let Op::Call(func, _) = &mut stmt.op {
            *func = FuncId(ids[func.index()]);
        }
    });
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::FUNC_DCE;
    use crate::testing::run_pass;

    #[test]
    fn ids_close_up_over_functions_that_nobody_calls() {
        assert_snapshot!(run_pass(&FUNC_DCE, r#"
module "m"

func f0 "unused"() -> () {
  return
}

func f1 "used"() -> (i32) {
  v0: i32 = random
  return v0
}

lambda l0 "l" request "bytes<64>" 4..64 reply "bytes<64>" 0..64 {
  part0() {
    v0: i32 = call f1()
    drop
  }
}

dispatch only l0
"#), @r#"
          module "m"

        - func f0 "unused"() {
        -   return
        - }
        -
        - func f1 "used"() -> (i32) {
        + func f0 "used"() -> (i32) {
            v0: i32 = random
            return v0
          }

          lambda l0 "l" request "bytes<64>" 4..64 reply "bytes<64>" 0..64 {
            part0() {
        -     v0: i32 = call f1()
        +     v0: i32 = call f0()
              drop
            }
        "#);
    }
}
