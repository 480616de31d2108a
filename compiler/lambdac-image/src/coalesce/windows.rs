//! Regions of code, and what in them is taken.

use std::collections::HashSet;

use lambdac_mir::{Lambda, Region};

/// A region of some code.
pub(super) struct Flat<'m> {
    pub code: usize,
    pub part: usize,
    /// Its number in the walk over the part.
    pub number: usize,
    pub region: &'m Region,
    /// The region and statement that hold it.
    pub parent: Option<(usize, usize)>,
}

pub(super) fn flatten_code<'m>(code: usize, lambda: &'m Lambda, flats: &mut Vec<Flat<'m>>) {
    for (part, entered) in lambda.parts.iter().enumerate() {
        let mut number = 0;
        flatten(&entered.region, (code, part), None, &mut number, flats);
    }
}

fn flatten<'m>(
    region: &'m Region,
    (code, part): (usize, usize),
    parent: Option<(usize, usize)>,
    number: &mut usize,
    flats: &mut Vec<Flat<'m>>,
) {
    let own = flats.len();
    flats.push(Flat {
        code,
        part,
        number: *number,
        region,
        parent,
    });
    *number += 1;
    for (index, stmt) in region.stmts.iter().enumerate() {
        for inner in stmt.op.regions() {
            flatten(inner, (code, part), Some((own, index)), number, flats);
        }
    }
}

/// What is in a function already.
#[derive(Default)]
pub(super) struct Taken {
    /// Statements, by region.
    stmts: HashSet<(usize, usize)>,
    /// Whole regions.
    regions: HashSet<usize>,
}

/// Something that was taken, and can be given back.
pub(super) enum Took {
    Stmt((usize, usize)),
    Region(usize),
}

impl Taken {
    /// Takes statements of a region, unless some are taken or lie in or around some that are.
    pub fn take(&mut self, flats: &[Flat<'_>], flat: usize, stmts: &[usize], undo: &mut Vec<Took>) -> bool {
        let mut at = flat;
        if self.regions.contains(&flat) {
            return false;
        }
        while let Some((parent, stmt)) = flats[at].parent {
            if self.regions.contains(&at) || self.stmts.contains(&(parent, stmt)) {
                return false;
            }
            at = parent;
        }
        if stmts.iter().any(|stmt| self.stmts.contains(&(flat, *stmt))) {
            return false;
        }
        // Statements that hold the region are no longer what they were.
        let mut at = flat;
        while let Some((parent, stmt)) = flats[at].parent {
            self.stmt((parent, stmt), undo);
            at = parent;
        }
        stmts.iter().for_each(|stmt| self.stmt((flat, *stmt), undo));
        for (index, other) in flats.iter().enumerate().skip(flat + 1) {
            if (other.code, other.part) != (flats[flat].code, flats[flat].part) {
                break;
            }
            let inside = other.parent.is_some_and(|(parent, stmt)| {
                (parent == flat && stmts.contains(&stmt)) || self.regions.contains(&parent)
            });
            if inside && self.regions.insert(index) {
                undo.push(Took::Region(index));
            }
        }
        true
    }

    fn stmt(&mut self, stmt: (usize, usize), undo: &mut Vec<Took>) {
        if self.stmts.insert(stmt) {
            undo.push(Took::Stmt(stmt));
        }
    }

    pub fn give_back(&mut self, undo: Vec<Took>) {
        for took in undo {
            match took {
                Took::Stmt(stmt) => self.stmts.remove(&stmt),
                Took::Region(region) => self.regions.remove(&region),
            };
        }
    }
}
