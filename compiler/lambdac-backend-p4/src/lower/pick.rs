//! One of several routines, picked by a number in the metadata: the actions among them by a table, the others by tests.

use super::routine::Routine;
use crate::ast::{Action, Binary, Entry, Expr, Key, Local, MatchKind, Stmt, Table};

/// How one of several routines is picked: by a field of the metadata, and with a table where they are actions.
pub(super) struct Picked {
    /// The table.
    pub table: &'static str,
    /// The field.
    pub field: &'static str,
}

/// What runs one of several routines, by the number that each is picked by.
pub(super) fn runs(picked: &Picked, routines: Vec<(usize, Routine)>) -> Routine {
    let mut all = Routine::default();
    let mut actions: Vec<(usize, Action)> = Vec::new();
    let mut several: Vec<(Expr, Vec<Stmt>)> = Vec::new();
    for (number, routine) in routines {
        let known = match routine.action() {
            Some(action) => {
                let known = actions.iter().any(|(_, other)| other.name == action.name);
                actions.push((number, action.clone()));
                known
            }
            None => {
                let field = Expr::name("meta").member(picked.field);
                let own = field.binary(Binary::Eq, Expr::bits(16, number as u64));
                match several.iter_mut().find(|(_, apply)| *apply == routine.apply) {
                    Some((cond, _)) => {
                        *cond = cond.clone().binary(Binary::OrOr, own);
                        true
                    }
                    None => {
                        several.push((own, routine.apply));
                        false
                    }
                }
            }
        };
        if !known {
            all.locals.extend(routine.locals);
            all.entries.extend(routine.entries);
        }
    }
    let one = |(cond, apply)| Stmt::If(cond, apply, Vec::new());
    all.apply.extend(several.into_iter().map(one));
    if !actions.is_empty() {
        all.locals.push(Local::Table(by_number(picked, &actions)));
        let apply = Expr::name(picked.table).method("apply", Vec::new());
        all.apply.push(Stmt::Call(apply));
    }
    all
}

/// A table that calls the action of a number.
fn by_number(picked: &Picked, actions: &[(usize, Action)]) -> Table {
    let mut names: Vec<String> = Vec::new();
    for (_, action) in actions {
        if !names.contains(&action.name) {
            names.push(action.name.clone());
        }
    }
    names.push("NoAction".to_owned());
    Table {
        name: picked.table.to_owned(),
        keys: vec![Key {
            expr: Expr::name("meta").member(picked.field),
            kind: MatchKind::Exact,
            name: picked.field.to_owned(),
            width: 16,
        }],
        actions: names,
        default: ("NoAction".to_owned(), Vec::new()),
        const_default: true,
        entries: actions
            .iter()
            .map(|(index, action)| Entry {
                keys: vec![Expr::bits(16, *index as u64)],
                action: action.name.clone(),
                args: Vec::new(),
            })
            .collect(),
        size: None,
    }
}
