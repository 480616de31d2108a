//! Memory of threads for what is too large for a core's own.
//!
//! A core has no stack, and a thread runs one lambda at a time, in which no function calls itself. So all large slots
//! of a thread share one array: first what outlives the parts of a lambda, the same bytes for every lambda, then a frame
//! for each function, behind the frames of all that call it. Where each starts is a macro in front of the unit, since
//! functions are lowered before their callers are known.

use std::collections::BTreeMap;

use super::Lowerer;
use super::memory::Addr;
use crate::ast::{self, Data, Expr, Item, Name, Type};
use crate::dialect::{Region, Scope, Space};
use crate::legal;
use crate::{Refusal, ast::Access};
use lambdac_mir::MemoryRegion;

/// The array.
pub(super) const FRAMES: &str = "w_frames";
/// Bytes of it up to which it lies in IMEM: with a reply and a request to a service, 224 threads then take less than
/// the 2 MiB that images may have (NFP notes, 8).
const NEAR: u64 = 6 << 10;

/// So many bytes from the array's start.
fn start() -> Addr {
    let pointer = Type::Pointer(Space::Unit, Access::Write);
    Addr::new(Space::Unit, Expr::var(FRAMES).cast(pointer))
}

/// A place in what outlives a lambda's parts.
pub(super) fn kept(offset: u64) -> Addr {
    start().plus(offset)
}

/// A place in a function's frame.
pub(super) fn framed(frame: &Name, offset: u64) -> Addr {
    start().plus(offset).plus_expr(Expr::Var(frame.clone()))
}

impl Lowerer<'_> {
    /// The macros that say where frames start, and the array; callees stand in front of their callers.
    pub fn frames(&mut self, funcs: &[ast::Func]) -> Vec<Item> {
        let mut starts: BTreeMap<Name, u64> = BTreeMap::new();
        let mut items = Vec::new();
        let mut end = self.kept_bytes;
        for func in funcs.iter().rev() {
            let start = starts.get(&func.name).copied().unwrap_or(self.kept_bytes);
            let behind = start
                + func
                    .frame
                    .as_ref()
                    .map_or(0, |(_, size)| size.next_multiple_of(8));
            end = end.max(behind);
            if let Some((name, _)) = &func.frame {
                items.push(Item::Define(name.clone(), Expr::int(start as u32)));
            }
            for stmt in &func.body {
                stmt.for_each_expr(&mut |expr| {
                    expr.for_each_callee(&mut |callee| {
                        let start = starts.entry(callee.clone()).or_default();
                        *start = (*start).max(behind);
                    });
                });
            }
        }
        if end > legal::MAX_VARIABLES {
            self.refusals.push(Refusal {
                entry: None,
                code: legal::VARIABLES,
                reason: format!(
                    "its variables take {end} bytes of each thread, more than {}",
                    legal::MAX_VARIABLES
                ),
                loc: None,
            });
        }
        if end > 0 {
            let memory = if end <= NEAR {
                MemoryRegion::Imem
            } else {
                MemoryRegion::Emem
            };
            items.push(Item::Data(Data {
                comment: "Variables of each thread.".to_owned(),
                name: FRAMES.into(),
                region: Region {
                    memory,
                    scope: Scope::Thread,
                },
                bytes: Vec::new(),
                size: end.min(legal::MAX_VARIABLES) as u32,
                align: 8,
            }));
        }
        items
    }
}
