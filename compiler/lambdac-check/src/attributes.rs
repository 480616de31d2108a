//! Attributes: which may stand where, and what they say.

use lambdac_hir::{MemoryRegion, Side, Type};
use lambdac_syntax::ast::{self, ExprKind as E, ItemKind as K};

use crate::body::BodyCx;
use crate::names::{ItemId, ROOT, kind_of};
use crate::{Checker, suggest};

const KNOWN: [&str; 4] = ["deadline", "inline", "memory", "on"];

/// An attribute by name, if the item has it.
fn find<'i>(item: &'i ast::Item, name: &str) -> Option<&'i ast::Attr> {
    item.attrs.iter().find(|attr| &*attr.name.text == name)
}

/// The single word that an attribute holds.
fn word(attr: &ast::Attr) -> Option<&str> {
    match &attr.args[..] {
        [
            ast::Expr {
                kind: E::Path(path), ..
            },
        ] => match &path.segments[..] {
            [name] => Some(&name.text),
            _ => None,
        },
        _ => None,
    }
}

fn region(word: &str) -> Option<MemoryRegion> {
    Some(match word {
        "lmem" => MemoryRegion::Lmem,
        "cls" => MemoryRegion::Cls,
        "ctm" => MemoryRegion::Ctm,
        "imem" => MemoryRegion::Imem,
        "emem" => MemoryRegion::Emem,
        _ => return None,
    })
}

impl Checker<'_> {
    /// `@memory(…)` of an item; a wrong one is reported by [`Self::check_attributes`].
    pub(crate) fn memory_of(&self, item: &ast::Item) -> Option<MemoryRegion> {
        region(word(find(item, "memory")?)?)
    }

    /// Whether an item has `@inline`.
    pub(crate) fn inline_of(&self, item: &ast::Item) -> bool {
        find(item, "inline").is_some()
    }

    /// `@deadline(…)` in nanoseconds and `@on(…)` of a lambda.
    pub(crate) fn lambda_attributes(&mut self, item: &ast::Item) -> (Option<u64>, Option<Side>) {
        self.body = BodyCx::constant();
        let deadline = find(item, "deadline").and_then(|attr| match &attr.args[..] {
            [arg] => self.deadline(arg),
            _ => None,
        });
        let on = find(item, "on").and_then(word).and_then(|word| match word {
            "host" => Some(Side::Host),
            "nic" => Some(Side::Nic),
            _ => None,
        });
        (deadline, on)
    }

    fn deadline(&mut self, arg: &ast::Expr) -> Option<u64> {
        let ns = self.const_as(arg, &Type::U64).ok()?.as_int();
        if ns == 0 {
            self.error_help(
                "E0316",
                "nothing can be done by a deadline of 0",
                arg.span,
                "this is 0",
                "write a duration such as `20us`",
            );
        }
        Some(ns)
    }

    /// Checks the attributes of all items of the file, and of library items that it reaches.
    pub(crate) fn check_attributes(&mut self, reached: &[ItemId]) {
        let root = self.names.modules[ROOT.0 as usize].file;
        for item in &root.items {
            self.item_attributes(item);
        }
        for &id in reached {
            let item = self.names.items[id.0 as usize];
            if item.module != ROOT {
                self.module = item.module;
                self.item_attributes(item.ast);
            }
        }
    }

    fn item_attributes(&mut self, item: &ast::Item) {
        for (at, attr) in item.attrs.iter().enumerate() {
            if item.attrs[..at]
                .iter()
                .any(|other| other.name.text == attr.name.text)
            {
                let message = format!("`@{}` is given twice", attr.name.text);
                self.error_help(
                    "E0316",
                    message,
                    attr.span,
                    "given again here",
                    "remove one of the two",
                );
                return;
            }
            self.attribute(item, attr);
        }
    }

    fn attribute(&mut self, item: &ast::Item, attr: &ast::Attr) {
        let name = &*attr.name.text;
        let (fits, on, form) = match name {
            "memory" => (
                matches!(item.kind, K::State { .. } | K::Table(_) | K::Const { .. }),
                "state, tables and const",
                "`@memory(lmem)`, or cls, ctm, imem, emem",
            ),
            "deadline" => (
                matches!(item.kind, K::Lambda { .. }),
                "lambdas",
                "`@deadline(20us)`",
            ),
            "on" => (
                matches!(item.kind, K::Lambda { .. }),
                "lambdas",
                "`@on(host)` or `@on(nic)`",
            ),
            "inline" => (matches!(item.kind, K::Fn { .. }), "fns", "`@inline`"),
            _ => {
                let message = format!("there is no attribute `@{name}`");
                let help = match suggest::nearest(name, KNOWN) {
                    Some(near) => format!("did you mean `@{near}`?"),
                    None => format!("there are @{}", KNOWN.join(", @")),
                };
                self.error_help("E0316", message, attr.name.span, "not known", help);
                return;
            }
        };
        if !fits {
            let message = format!("`@{name}` can't stand on {}", kind_of(item));
            self.error_help(
                "E0316",
                message,
                attr.span,
                format!("it is for {on}"),
                "remove it",
            );
            return;
        }
        let well_formed = match name {
            "memory" => word(attr).and_then(region).is_some(),
            "on" => matches!(word(attr), Some("host" | "nic")),
            "inline" => attr.args.is_empty(),
            _ => attr.args.len() == 1,
        };
        if !well_formed {
            let message = format!("`@{name}` can't be read");
            self.error_help(
                "E0316",
                message,
                attr.span,
                "wrong argument",
                format!("write {form}"),
            );
        }
    }
}
