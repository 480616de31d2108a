//! The match stage.

use super::body::{FuncFacts, Owner, check_func};
use super::item::body_head;
use super::{Errors, MAX_DEPTH, MAX_ITEMS, MAX_VALUE_BYTES};
use crate::{
    Cond, Dispatch, Field, Func, KeyField, KeyPart, Lambda, LambdaId, Match, Module, ObjectId, ObjectKind,
    Target, mask,
};

/// Checks what picks a lambda.
pub(super) fn check(module: &Module, funcs: &[FuncFacts], errors: &mut Errors) {
    errors.enter("dispatch");
    match &module.dispatch {
        Dispatch::Unreachable => {}
        Dispatch::Only(lambda) => in_range(module, *lambda, errors),
        Dispatch::Match(rules) => {
            let mut checker = Rules {
                module,
                funcs,
                errors,
                min_len: rules.min_len,
            };
            checker.rules(rules);
        }
    }
}

fn in_range(module: &Module, lambda: LambdaId, errors: &mut Errors) {
    errors.require(lambda.index() < module.lambdas.len(), || {
        format!("{lambda} is out of range")
    });
}

struct Rules<'m, 'e> {
    module: &'m Module,
    funcs: &'e [FuncFacts],
    errors: &'e mut Errors,
    min_len: u32,
}

impl<'m> Rules<'m, '_> {
    fn rules(&mut self, rules: &'m Match) {
        self.errors
            .require(u64::from(self.min_len) <= MAX_VALUE_BYTES, || {
                "min is over 1 MiB".into()
            });
        self.errors.require(rules.rules.len() <= MAX_ITEMS, || {
            format!("{} rules", rules.rules.len())
        });
        for (i, rule) in rules.rules.iter().enumerate() {
            if self.errors.full() {
                return;
            }
            self.errors.enter(format!("rule {i}"));
            self.errors.loc = rule.loc;
            if let Target::Lambda(lambda) = rule.target {
                in_range(self.module, lambda, self.errors);
            }
            self.cond(&rule.cond, 0);
        }
        self.errors.enter("dispatch");
        self.streams(rules);
    }

    /// What rules reach is all streams of one chunk size, or no stream.
    fn streams(&mut self, rules: &Match) {
        let lambda = |target: Target| match target {
            Target::Lambda(id) => self.module.lambdas.get(id.index()),
            Target::Drop | Target::Punt => None,
        };
        let chunk = |lambda: &Lambda| lambda.stream.then_some(lambda.request.max);
        let mut chunks: Vec<Option<u32>> = rules
            .rules
            .iter()
            .filter_map(|rule| lambda(rule.target))
            .map(chunk)
            .collect();
        chunks.dedup();
        self.errors.require(chunks.len() <= 1, || {
            "streams beside others, or of several chunk sizes".into()
        });
        if chunks.first().is_some_and(Option::is_some) {
            let plain = rules
                .rules
                .iter()
                .any(|rule| matches!(rule.target, Target::Drop | Target::Punt));
            self.errors
                .require(!plain, || "drop or punt beside streams".into());
        }
    }

    fn cond(&mut self, cond: &'m Cond, depth: u32) {
        if depth > MAX_DEPTH {
            self.errors
                .add(format!("a condition nests deeper than {MAX_DEPTH}"));
            return;
        }
        match cond {
            Cond::True => {}
            Cond::Not(inner) => self.cond(inner, depth + 1),
            Cond::All(items) | Cond::Any(items) => {
                for item in items {
                    self.cond(item, depth + 1);
                }
            }
            Cond::Cmp { field, value, .. } => {
                if self.field(*field) {
                    self.constant(*value, *field);
                }
            }
            Cond::Range { field, lo, hi } => {
                if self.field(*field) {
                    let end = u128::from(mask(field.width())) + 1;
                    let within = u128::from(*lo) < end && u128::from(*hi) <= end;
                    self.errors
                        .require(within, || format!("{lo}..{hi} is outside its field"));
                }
            }
            Cond::Masked { field, mask, value } => {
                if self.field(*field) {
                    self.constant(*mask, *field);
                    self.constant(*value, *field);
                }
            }
            Cond::Has { table, key } => self.has(*table, key),
            Cond::Eval(func) => self.eval(func),
        }
    }

    fn constant(&mut self, value: u64, field: Field) {
        let width = field.width();
        self.errors
            .require(value <= mask(width), || format!("{value} does not fit i{width}"));
    }

    /// Checks a field; false where its width cannot be relied on.
    fn field(&mut self, field: Field) -> bool {
        let min_bits = u64::from(self.min_len) * 8;
        match field {
            Field::Bits { bit, width } => {
                let good = (1..=64).contains(&width);
                let inside = good && u64::from(bit) + u64::from(width) <= min_bits;
                self.errors.require(inside, || {
                    format!("i{width} at bit {bit} is outside the first bytes")
                });
                good
            }
            Field::Pkt(_) => true,
            Field::Rest { offset, .. } => {
                let inside = offset <= self.min_len;
                self.errors
                    .require(inside, || format!("a rest from byte {offset} on"));
                true
            }
        }
    }

    fn has(&mut self, table: ObjectId, key: &[KeyField]) {
        let Some(ObjectKind::Table { key: parts, .. }) =
            self.module.objects.get(table.index()).map(|object| &object.kind)
        else {
            self.errors.add(format!("{table} is no table"));
            return;
        };
        self.errors.require(parts.len() == key.len(), || {
            format!("a key of {} parts", key.len())
        });
        for (part, field) in parts.iter().zip(key) {
            let fits = match (*part, field) {
                (KeyPart::Scalar(width), KeyField::Field(field)) => {
                    self.field(*field) && field.width() == width
                }
                (KeyPart::Scalar(width), KeyField::Const(value)) => *value <= mask(width),
                (KeyPart::Bytes(bytes), KeyField::Bytes { offset, len }) => {
                    *len == bytes && u64::from(*offset) + u64::from(*len) <= u64::from(self.min_len)
                }
                _ => false,
            };
            self.errors
                .require(fits, || format!("a key part does not fit {part}"));
        }
    }

    fn eval(&mut self, func: &'m Func) {
        let before = self.errors.found.len();
        body_head(&func.body, self.errors);
        let plain = func.params.is_empty() && func.results == [1];
        self.errors.require(plain, || {
            "a condition's function takes nothing and returns one i1".into()
        });
        let reply = func
            .body
            .slots
            .iter()
            .any(|slot| slot.storage == crate::Storage::ReplyBuffer);
        self.errors
            .require(!reply, || "a function has no reply buffer".into());
        if self.errors.found.len() > before {
            return;
        }
        let loc = self.errors.loc;
        let facts = check_func(self.module, Owner::Cond(func), self.funcs, self.errors);
        self.errors.loc = loc;
        self.errors
            .require(!facts.touches_state, || "a condition touches state".into());
    }
}
