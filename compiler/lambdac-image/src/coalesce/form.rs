//! Windows of statements in normal form: equal forms do the same to what they are given.
//!
//! Values, slots and labels are numbered as they come. Values from outside are passed, but for constants, which the form
//! lists apart ([`Site::constants`]): places of one form that have one constant there take it along, where they differ it is
//! passed too.

use std::collections::{HashMap, HashSet};

use lambdac_mir::{
    Access, Base, Body, Func, FuncParam, Label, Lambda, Loc, Op, Region, SlotId, Stmt, Term, Use, Value,
};

use crate::shape::{fixed, for_each_loc};

/// Most parameters and results of a function that is made.
const MAX_PASSED: usize = 12;

/// What a window does, with as many parameters as all its places need.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Form {
    params: Vec<FuncParam>,
    results: Vec<u8>,
    body: Body,
    region: Region,
    /// Constants from outside: what they are inside, their widths, and where they must stay, their values.
    constants: Vec<(Value, u8, Option<u64>)>,
}

/// A place of a window.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// The code.
    pub code: usize,
    pub part: usize,
    /// The region's number in the walk over the part.
    pub number: usize,
    /// Statements that go, the first of which becomes the call.
    pub stmts: Vec<usize>,
    /// References in order; `None` is the request.
    pub references: Vec<Option<SlotId>>,
    pub scalars: Vec<Value>,
    /// Constants in order, with what they are where that is known.
    pub constants: Vec<(Value, Option<u64>)>,
    pub results: Vec<Value>,
    /// Positions of statements and traps, in the order of the walk.
    pub locs: Vec<Loc>,
}

/// What is known of a lambda's values.
pub(super) struct Values {
    /// How often each is used.
    uses: HashMap<Value, u32>,
    /// Constants; those that differ between the lambdas that have this code have no value.
    known: HashMap<Value, Option<u64>>,
}

impl Values {
    pub fn of(lambda: &Lambda, varying: &HashSet<Value>) -> Self {
        let mut known = HashMap::new();
        let mut uses = HashMap::new();
        for part in &lambda.parts {
            count_uses(&part.region, &mut uses);
            part.region.walk(&mut |stmt| {
                if let (Op::Const(value), [result]) = (&stmt.op, &stmt.results[..]) {
                    known.insert(*result, (!varying.contains(result)).then_some(*value));
                }
            });
        }
        Self { uses, known }
    }
}

/// Brings a window into normal form; none where it cannot be a function.
pub(super) fn normal(
    lambda: &Lambda,
    values: &Values,
    region: &Region,
    indexes: &[usize],
    place: (usize, usize, usize),
) -> Option<(Form, Site)> {
    let stmts: Vec<Stmt> = indexes.iter().map(|index| region.stmts[*index].clone()).collect();
    let mut region = wrap(stmts);
    let mut locs = Vec::new();
    for_each_loc(&mut region, &mut |loc| locs.push(std::mem::take(loc)));
    let (defined, inside) = defs_and_uses(&region);
    let top = region.stmts.iter().flat_map(|stmt| stmt.results.iter().copied());
    let count = |uses: &HashMap<Value, u32>, value: &Value| uses.get(value).copied().unwrap_or(0);
    let results: Vec<Value> = top
        .filter(|value| count(&values.uses, value) > count(&inside, value))
        .collect();
    let stay = fixed(&[&region], lambda.body.values.len());
    let mut numbers = Numbers {
        outer: &lambda.body,
        defined: &defined,
        values,
        stay: &stay,
        numbers: HashMap::new(),
        body: Body::default(),
        constants: Vec::new(),
        scalars: Vec::new(),
    };
    region.rename_values(&mut |value| numbers.value(value));
    region.term = Term::Return(results.iter().map(|value| numbers.value(*value)).collect());
    let mut labels: HashMap<Label, Label> = HashMap::new();
    region.rename_labels(&mut |label| {
        let next = Label(labels.len() as u32);
        *labels.entry(label).or_insert(next)
    });
    let mut body = numbers.body;
    body.labels = labels.len() as u32;
    let references = references(&mut region);
    let mut params: Vec<FuncParam> = Vec::new();
    for (slot, writable) in &references.slots {
        params.push(match slot {
            Some(slot) => FuncParam::Ref {
                shape: lambda.body.slots[slot.index()].shape.clone(),
                writable: *writable,
            },
            None => FuncParam::View,
        });
    }
    params.extend(numbers.scalars.iter().map(|(_, inner)| FuncParam::Scalar(*inner)));
    if params.len() > MAX_PASSED || results.len() > MAX_PASSED || references.unfit {
        return None;
    }
    let (code, part, number) = place;
    let site = Site {
        code,
        part,
        number,
        stmts: indexes.to_vec(),
        references: references.slots.iter().map(|(slot, _)| *slot).collect(),
        scalars: numbers.scalars.iter().map(|(outer, _)| *outer).collect(),
        constants: (numbers.constants.iter())
            .map(|(outer, _, content)| (*outer, *content))
            .collect(),
        results: results.clone(),
        locs,
    };
    let inner = |(outer, inner, content): &(Value, Value, Option<u64>)| {
        let stays = stay[outer.index()] && content.is_some();
        (*inner, lambda.body.width(*outer), content.filter(|_| stays))
    };
    let form = Form {
        params,
        results: results.iter().map(|value| lambda.body.width(*value)).collect(),
        constants: numbers.constants.iter().map(inner).collect(),
        body,
        region,
    };
    Some((form, site))
}

/// A function and the places that it stands for.
pub(super) struct Group {
    pub func: Func,
    pub sites: Vec<Site>,
    /// How many of the last parameters are constants at each place.
    pub constants: usize,
}

impl Form {
    /// The function for places of this form: constants that are the same at all of them stand in it, others are passed.
    /// None where that is too much to pass.
    pub fn group(&self, mut sites: Vec<Site>) -> Option<Group> {
        let mut code = Vec::new();
        let mut params = self.params.clone();
        let mut passed = Vec::new();
        for (number, (inner, _, _)) in self.constants.iter().enumerate() {
            let first = sites[0].constants[number].1;
            match first.filter(|_| sites.iter().all(|site| site.constants[number].1 == first)) {
                Some(content) => code.push(Stmt {
                    results: vec![*inner],
                    op: Op::Const(content),
                    loc: Loc::default(),
                }),
                None => {
                    params.push(FuncParam::Scalar(*inner));
                    passed.push(number);
                }
            }
        }
        if params.len() > MAX_PASSED {
            return None;
        }
        for site in &mut sites {
            let constants = passed.iter().map(|number| site.constants[*number].0);
            site.scalars.extend(constants);
        }
        code.extend(self.region.stmts.iter().cloned());
        let func = Func {
            name: "image.sequence".into(),
            params,
            results: self.results.clone(),
            body: self.body.clone(),
            region: Region {
                stmts: code,
                term: self.region.term.clone(),
            },
            inline: false,
        };
        Some(Group {
            func,
            sites,
            constants: passed.len(),
        })
    }
}

pub(super) fn wrap(stmts: Vec<Stmt>) -> Region {
    Region {
        stmts,
        term: Term::Yield(Vec::new()),
    }
}

fn count_uses(region: &Region, uses: &mut HashMap<Value, u32>) {
    region.walk_regions(&mut |inner| {
        let mut used = |value| *uses.entry(value).or_default() += 1;
        inner
            .stmts
            .iter()
            .for_each(|stmt| stmt.op.for_each_operand(&mut used));
        inner.term.for_each_operand(&mut used);
    });
}

fn defs_and_uses(region: &Region) -> (HashSet<Value>, HashMap<Value, u32>) {
    let mut defined = HashSet::new();
    region.walk(&mut |stmt| {
        defined.extend(stmt.results.iter().copied());
        stmt.op.for_each_inner_def(|value| defined.extend([value]));
    });
    let mut inside = HashMap::new();
    count_uses(region, &mut inside);
    (defined, inside)
}

/// The values of a function that is being made.
struct Numbers<'m> {
    outer: &'m Body,
    defined: &'m HashSet<Value>,
    values: &'m Values,
    stay: &'m [bool],
    numbers: HashMap<Value, Value>,
    body: Body,
    /// Constants from outside: outside, inside, and what they are.
    constants: Vec<(Value, Value, Option<u64>)>,
    /// Values from outside and what they are inside.
    scalars: Vec<(Value, Value)>,
}

impl Numbers<'_> {
    fn value(&mut self, value: Value) -> Value {
        if let Some(inner) = self.numbers.get(&value) {
            return *inner;
        }
        let inner = self.body.value(self.outer.width(value));
        self.numbers.insert(value, inner);
        if self.defined.contains(&value) {
            return inner;
        }
        match self.values.known.get(&value) {
            // One that must be known and is not the same everywhere is any value.
            Some(None) if self.stay[value.index()] => self.scalars.push((value, inner)),
            Some(content) => self.constants.push((value, inner, *content)),
            None => self.scalars.push((value, inner)),
        }
        inner
    }
}

/// What memory from outside a window reaches, in order; `None` is the request.
#[derive(Default)]
struct References {
    slots: Vec<(Option<SlotId>, bool)>,
    unfit: bool,
}

/// Turns slots and the request into parameters.
fn references(region: &mut Region) -> References {
    let mut found = References::default();
    region.walk(&mut |stmt| {
        stmt.op.for_each_use(&mut |used| {
            let (place, access) = match used {
                Use::Place(place, access) => (place, access),
                Use::View(view) => (&view.place, Access::Read),
                Use::Slot(_) => {
                    found.unfit = true;
                    return;
                }
                Use::Value(_) => return,
            };
            let key = match place.base {
                Base::Slot(slot) => Some(slot),
                Base::Request => None,
                Base::Arg(_) => {
                    found.unfit = true;
                    return;
                }
                Base::Object(_) | Base::Const(_) | Base::Param(_) => return,
            };
            match found.slots.iter_mut().find(|(other, _)| *other == key) {
                Some((_, writable)) => *writable |= access.writes(),
                None => found.slots.push((key, access.writes())),
            }
        });
    });
    let number = |key: Option<SlotId>| {
        let at = found.slots.iter().position(|(other, _)| *other == key);
        Base::Arg(at.unwrap_or_default() as u32)
    };
    region.walk_mut(&mut |stmt| {
        stmt.op.for_each_use_mut(&mut |used| {
            let Some(place) = used.into_place() else { return };
            match place.base {
                Base::Slot(slot) => place.base = number(Some(slot)),
                Base::Request => place.base = number(None),
                _ => {}
            }
        });
    });
    found
}
