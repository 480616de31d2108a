//! Sorts constants, types and fns so that each comes after those it mentions.
//!
//! A depth-first walk with its own stack, so that a chain of any length does no harm. Every item of the checked file
//! is a start; a library's items are met only where something mentions them. An item that mentions itself, directly or
//! through others, is reported where the circle closes.

use lambdac_diag::{Diagnostic, Span};
use lambdac_syntax::ast::{self, ItemKind as K};

use crate::Checker;
use crate::names::{ItemId, ModuleId, ROOT};
use crate::refs::{Ref, RefKind, refs_of};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    OnPath,
    Done,
}

/// An item on the path, and what of it is still to be followed.
struct Frame {
    item: ItemId,
    edges: std::vec::IntoIter<(ItemId, Span)>,
}

impl<'a> Checker<'a> {
    /// All items of the checked file that are constants, types or fns, and those of libraries that the file reaches,
    /// in an order where what is mentioned comes first.
    pub(crate) fn order_items(&mut self) -> Vec<ItemId> {
        let mut marks = vec![Mark::New; self.names.items.len()];
        let mut order = Vec::new();
        let mut path = Vec::new();
        for i in 0..self.names.items.len() {
            if self.names.items[i].module != ROOT {
                break;
            }
            self.visit(ItemId(i as u32), &mut marks, &mut path, &mut order);
        }
        let unnamed: Vec<&'a ast::Item> = self.names.modules[ROOT.0 as usize]
            .file
            .items
            .iter()
            .filter(|item| matches!(item.kind, K::Match { .. } | K::Test { .. }))
            .collect();
        for item in unnamed {
            for (target, _) in self.edges(ROOT, item) {
                self.visit(target, &mut marks, &mut path, &mut order);
            }
        }
        order
    }

    fn visit(&mut self, start: ItemId, marks: &mut [Mark], path: &mut Vec<Frame>, order: &mut Vec<ItemId>) {
        if marks[start.0 as usize] != Mark::New {
            return;
        }
        marks[start.0 as usize] = Mark::OnPath;
        path.push(self.frame(start));
        while let Some(frame) = path.last_mut() {
            let Some((target, span)) = frame.edges.next() else {
                marks[frame.item.0 as usize] = Mark::Done;
                if is_ordered(self.names.items[frame.item.0 as usize].ast) {
                    order.push(frame.item);
                }
                path.pop();
                continue;
            };
            match marks[target.0 as usize] {
                Mark::New => {
                    marks[target.0 as usize] = Mark::OnPath;
                    let next = self.frame(target);
                    path.push(next);
                }
                Mark::OnPath => self.report_circle(path, target, span),
                Mark::Done => {}
            }
        }
    }

    fn frame(&self, item: ItemId) -> Frame {
        let named = self.names.items[item.0 as usize];
        Frame {
            item,
            edges: self.edges(named.module, named.ast).into_iter(),
        }
    }

    fn edges(&self, module: ModuleId, item: &'a ast::Item) -> Vec<(ItemId, Span)> {
        let from_body = !is_ordered(item) || matches!(item.kind, K::Fn { .. });
        refs_of(item)
            .into_iter()
            .filter_map(|reference| {
                let target = self.target(module, reference)?;
                let wanted = match &self.names.items[target.0 as usize].ast.kind {
                    K::Fn { .. } => from_body && reference.1 == RefKind::Call,
                    K::Const { .. } => reference.1 == RefKind::Value,
                    K::Enum { .. } | K::Struct { .. } | K::Header { .. } => true,
                    _ => false,
                };
                wanted.then_some((target, reference.0.span))
            })
            .collect()
    }

    /// The item that a path leads to; `Enum::Variant` leads to the enum.
    fn target(&self, module: ModuleId, (path, _): Ref<'a>) -> Option<ItemId> {
        let segments = &path.segments[..];
        if segments.len() == 2
            && let Some(id) = self.find_item(module, &segments[..1])
        {
            return Some(id);
        }
        self.find_item(module, &segments[..segments.len().min(2)])
    }

    fn report_circle(&mut self, path: &[Frame], target: ItemId, span: Span) {
        let circle: Vec<ItemId> = path
            .iter()
            .map(|f| f.item)
            .skip_while(|&item| item != target)
            .collect();
        let shown: Vec<String> = circle
            .iter()
            .take(6)
            .map(|&id| format!("`{}`", self.qualified_name(id)))
            .collect();
        let names = shown.join(", ") + if circle.len() > shown.len() { ", …" } else { "" };
        let first = self.names.items[target.0 as usize];
        let alone = circle.len() == 1;
        let (code, message, help) = match &first.ast.kind {
            K::Fn { .. } => (
                "E0314",
                if alone {
                    format!("fn {names} calls itself")
                } else {
                    format!("fns call each other: {names}")
                },
                "there is no recursion; use a loop with a `max`",
            ),
            K::Struct { .. } | K::Header { .. } => (
                "E0215",
                if alone {
                    format!("{names} contains itself")
                } else {
                    format!("types contain each other: {names}")
                },
                "a value has a fixed size; hold an index into an array instead",
            ),
            _ => (
                "E0214",
                if alone {
                    format!("{names} is defined by itself")
                } else {
                    format!("constants are defined by each other: {names}")
                },
                "write one of the values out",
            ),
        };
        self.push(
            Diagnostic::error(code, message, span, "this closes the circle")
                .with_label(first.name.span, "it begins here")
                .with_help(help),
        );
    }
}

fn is_ordered(item: &ast::Item) -> bool {
    matches!(
        item.kind,
        K::Const { .. } | K::Enum { .. } | K::Struct { .. } | K::Header { .. } | K::Fn { .. }
    )
}
