//! What all code of a program shares: registers, metadata, objects, constants, parameters.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use lambdac_image::{Bound, Image};
use lambdac_mir::{ConstId, Data, ObjectId, ObjectKind, ParamId, PktField, Shape};

use super::initial::{Initial, MAX_RUNS};
use super::keyed::HashedTables;
use super::memory::{Datum, Home, Homes, Reach, Tree, WORD, WORD_BYTES, constant, words};
use super::state::{State, declared};
use super::wait::Waits;
use crate::ast::{Control, Expr, Field, Stmt, Type};
use crate::legal::{CODE, Refusal, STATE};
use crate::names::Namer;

/// Most elements of a register: four million of 8 bits are known to work.
const MAX_ELEMENTS: u64 = 1 << 22;

/// Most elements of a register for a lambda's own variables: what is copied or cleared goes element by element, some 12 µs
/// each on the switch, so that this is about a second.
const MAX_OWN: u64 = 1 << 16;

/// Most elements of a register that come as an action's data.
const MAX_GIVEN: u64 = 64;

/// Name, width and place of a datum.
pub(super) type GivenDatum = (String, u32, Destination);

/// A register that something uses.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    pub name: String,
    pub width: u32,
    pub size: u64,
}

/// A scalar that parameters are made of: set by the control plane, or in tests by the packet.
#[derive(Clone, Debug)]
pub struct ParamDatum {
    /// The parameter.
    pub param: ParamId,
    /// Its name in the program.
    pub name: String,
    /// Bits.
    pub width: u32,
    /// Where it goes.
    to: Destination,
}

/// Where a datum goes.
#[derive(Clone, Debug)]
pub(super) enum Destination {
    Var(Expr),
    Element(String, u64),
}

/// What parameters' data are made of, and where.
#[derive(Clone, Debug)]
pub(crate) struct Params {
    data: Vec<ParamDatum>,
    trees: BTreeMap<ParamId, Rc<Tree>>,
}

impl Params {
    /// The values of the data, by what the parameters are set to.
    pub fn values(&self, value: &dyn Fn(ParamId) -> Option<Data>) -> Vec<Expr> {
        self.data.iter().map(|datum| self.datum(datum, value)).collect()
    }

    fn datum(&self, datum: &ParamDatum, value: &dyn Fn(ParamId) -> Option<Data>) -> Expr {
        match (self.trees.get(&datum.param), value(datum.param)) {
            (Some(tree), Some(data)) => value_of(tree, &data, datum.width, &datum.to),
            _ => Expr::bits(datum.width, 0),
        }
    }
}

/// What of a tree's data goes to a place.
pub(super) fn value_of(tree: &Tree, data: &Data, width: u32, to: &Destination) -> Expr {
    let mut found = Expr::bits(width, 0);
    tree.for_each_datum(data, 0, &mut |cell, at, part| match (to, &cell.home, part) {
        (Destination::Var(place), Home::Var(home), Datum::Int(value)) if place == home => {
            found = Expr::bits(width, value);
        }
        (Destination::Element(name, index), Home::Register(home), Datum::Int(value))
            if name == home && *index == at =>
        {
            found = Expr::bits(width, value);
        }
        (Destination::Element(name, index), Home::Register(home), Datum::Bytes(bytes)) if name == home => {
            let byte = index
                .checked_sub(at)
                .and_then(|offset| bytes.get(offset as usize));
            if let Some(byte) = byte {
                found = Expr::bits(width, (*byte).into());
            }
        }
        (Destination::Element(name, index), Home::Words(home), Datum::Bytes(bytes)) if name == home => {
            if let Some(word) = words(bytes).get(*index as usize) {
                found = word.clone();
            }
        }
        _ => {}
    });
    found
}

/// The statement that puts a datum where it belongs.
pub(super) fn put_datum(width: u32, to: &Destination, value: Expr) -> Stmt {
    match to {
        Destination::Var(place) if width == 1 => {
            let bit = value.binary(crate::ast::Binary::Eq, Expr::bits(1, 1));
            Stmt::Assign(place.clone(), bit)
        }
        Destination::Var(place) => Stmt::Assign(place.clone(), value),
        Destination::Element(name, index) => write(name, Expr::bits(32, *index), value),
    }
}

/// Everything that is not one action's own.
#[derive(Clone, Debug)]
pub(crate) struct Unit<'m> {
    pub image: &'m Image,
    /// Whether facts of a call come with the packet.
    pub test: bool,
    /// Whether entries of tables stand in the program.
    pub constant_entries: bool,
    pub names: Namer,
    pub registers: Vec<Register>,
    /// Fields of the metadata beside the fixed ones.
    pub meta: Vec<Field>,
    /// What is written before the first packet.
    pub initial: Initial,
    pub params: Vec<ParamDatum>,
    objects: BTreeMap<ObjectId, Rc<Tree>>,
    consts: BTreeMap<ConstId, Rc<Tree>>,
    param_trees: BTreeMap<ParamId, Rc<Tree>>,
    /// Parameters of shared code, which its entries set.
    bound: BTreeSet<ParamId>,
    counters: BTreeMap<ObjectId, String>,
    pub hashed_tables: HashedTables,
    pub waits: Waits,
}

/// Places for state: all in registers.
struct Lasting<'u, 'm>(&'u mut Unit<'m>);

/// Places for constants: scalars are known, bytes lie in words.
struct Constant<'u, 'm>(&'u mut Unit<'m>);

/// Places for parameters.
struct Parameter<'u, 'm>(&'u mut Unit<'m>);

impl Homes for Lasting<'_, '_> {
    fn home(&mut self, name: &str, width: u32, count: u64, _: Reach) -> Home {
        Home::Register(self.0.register(name, width, count))
    }
}

impl Homes for Constant<'_, '_> {
    fn home(&mut self, name: &str, width: u32, count: u64, reach: Reach) -> Home {
        match (reach, width) {
            // Filled in once the value is looked at.
            (Reach::Single, width) => Home::Known(constant(width, 0)),
            (Reach::Run, _) => Home::Words(self.0.word_register(name, count)),
            (Reach::Indexed, width) => Home::Register(self.0.register(name, width, count)),
        }
    }
}

impl Homes for Parameter<'_, '_> {
    fn home(&mut self, name: &str, width: u32, count: u64, reach: Reach) -> Home {
        match (reach, width) {
            (Reach::Single, width) => Home::Var(self.0.meta(name, super::memory::variable_type(width))),
            (Reach::Run, _) => Home::Words(self.0.word_register(name, count)),
            (Reach::Indexed, width) => Home::Register(self.0.register(name, width, count)),
        }
    }
}

impl<'m> Unit<'m> {
    pub fn new(image: &'m Image, test: bool, constant_entries: bool) -> Self {
        let bindings = image.entries.iter().flat_map(|entry| &entry.bindings);
        Self {
            image,
            test,
            constant_entries,
            names: Namer::default(),
            registers: Vec::new(),
            meta: Vec::new(),
            initial: Initial::default(),
            params: Vec::new(),
            objects: BTreeMap::new(),
            consts: BTreeMap::new(),
            param_trees: BTreeMap::new(),
            bound: bindings.map(|binding| binding.param).collect(),
            counters: BTreeMap::new(),
            hashed_tables: HashedTables::new(),
            waits: Waits::default(),
        }
    }

    /// A new register.
    pub fn register(&mut self, name: &str, width: u32, size: u64) -> String {
        let name = self.names.fresh(name);
        self.registers.push(Register {
            name: name.clone(),
            width,
            size: size.max(1),
        });
        name
    }

    /// A register of words for so many bytes, and one word more, so that bits can be read across words.
    pub fn word_register(&mut self, name: &str, bytes: u64) -> String {
        self.register(name, WORD, bytes.div_ceil(WORD_BYTES.into()) + 1)
    }

    /// The size of a register.
    pub fn size(&self, name: &str) -> u64 {
        let found = self.registers.iter().find(|register| register.name == name);
        found.map_or(1, |register| register.size)
    }

    /// A new field of the metadata.
    pub fn meta(&mut self, name: &str, ty: Type) -> Expr {
        let name = self.names.fresh(name);
        self.meta.push((ty, name.clone()));
        Expr::name("meta").member(name)
    }

    /// The cells of an object of kind value.
    pub fn object(&mut self, id: ObjectId) -> Result<Rc<Tree>, Refusal> {
        if let Some(tree) = self.objects.get(&id) {
            return Ok(tree.clone());
        }
        let object = &self.image.module.objects[id.index()];
        let ObjectKind::Value { shape, init } = &object.kind else {
            return Err(Refusal::new(STATE, format!("`{}` is no value", object.name)));
        };
        fits(&object.name, shape)?;
        let tree = Rc::new(Tree::of(shape, &object.name, &mut Lasting(self)));
        self.initialise(&object.name, &tree, init)?;
        self.objects.insert(id, tree.clone());
        Ok(tree)
    }

    /// Cells for values of a keyed object.
    pub fn lasting(&mut self, shape: &Shape, name: &str) -> Result<Tree, Refusal> {
        fits(name, shape)?;
        Ok(Tree::of(shape, name, &mut Lasting(self)))
    }

    /// The register of a counter.
    pub fn counter(&mut self, id: ObjectId) -> Result<String, Refusal> {
        if let Some(name) = self.counters.get(&id) {
            return Ok(name.clone());
        }
        let object = &self.image.module.objects[id.index()];
        let ObjectKind::Counter { count, .. } = object.kind else {
            return Err(Refusal::new(STATE, format!("`{}` is no counter", object.name)));
        };
        let name = self.register(&object.name, 64, count.into());
        self.counters.insert(id, name.clone());
        Ok(name)
    }

    /// The cells of a constant.
    pub fn constant(&mut self, id: ConstId) -> Result<Rc<Tree>, Refusal> {
        if let Some(tree) = self.consts.get(&id) {
            return Ok(tree.clone());
        }
        let item = &self.image.module.consts[id.index()];
        fits(&item.name, &item.shape)?;
        let tree = Tree::of(&item.shape, &item.name, &mut Constant(self));
        let tree = Rc::new(known(&tree, &item.data));
        self.initialise(&item.name, &tree, &item.data)?;
        self.consts.insert(id, tree.clone());
        Ok(tree)
    }

    /// The cells of a parameter.
    pub fn param(&mut self, id: ParamId) -> Result<Rc<Tree>, Refusal> {
        if let Some(tree) = self.param_trees.get(&id) {
            return Ok(tree.clone());
        }
        let param = &self.image.module.params[id.index()];
        fits(&param.name, &param.shape)?;
        let first = self.registers.len();
        let tree = Rc::new(Tree::of(&param.shape, &param.name, &mut Parameter(self)));
        self.param_trees.insert(id, tree.clone());
        if !self.bound.contains(&id) {
            self.deployed(id, &tree, first)?;
        }
        Ok(tree)
    }

    /// Makes the control plane set a parameter.
    fn deployed(&mut self, id: ParamId, tree: &Tree, first: usize) -> Result<(), Refusal> {
        let name = self.image.module.params[id.index()].name.clone();
        for (name, width, to) in self.data(tree, first, &name)? {
            self.params.push(ParamDatum {
                param: id,
                name,
                width,
                to,
            });
        }
        Ok(())
    }

    /// Cells of a value that comes as an action's data: the tree, and name, width and place of each datum.
    pub fn given(&mut self, shape: &Shape, name: &str) -> Result<(Rc<Tree>, Vec<GivenDatum>), Refusal> {
        fits(name, shape)?;
        let first = self.registers.len();
        let tree = Rc::new(Tree::of(shape, name, &mut Parameter(self)));
        let data = self.data(&tree, first, name)?;
        Ok((tree, data))
    }

    /// What the data of a tree are whose registers are those from `first` on.
    fn data(&mut self, tree: &Tree, first: usize, what: &str) -> Result<Vec<GivenDatum>, Refusal> {
        let mut data = Vec::new();
        scalars(tree, &mut |home, width| {
            if let Home::Var(place) = home {
                data.push((place_name(place), width, Destination::Var(place.clone())));
            }
        });
        let registers: Vec<Register> = self.registers[first..].to_vec();
        for register in registers {
            // A register of words has one more than it holds.
            let used = register.size - u64::from(register.width == WORD);
            if used > MAX_GIVEN {
                return Err(Refusal::new(
                    CODE,
                    format!("`{what}` is too large for an action's data"),
                ));
            }
            for index in 0..used {
                let name = self.names.fresh(&format!("{}_{index}", register.name));
                data.push((
                    name,
                    register.width,
                    Destination::Element(register.name.clone(), index),
                ));
            }
        }
        Ok(data)
    }

    /// What parameters' data are made of.
    pub fn param_places(&self) -> Params {
        Params {
            data: self.params.clone(),
            trees: self.param_trees.clone(),
        }
    }

    /// Statements that put a parameter's data where they belong; `value` gives each.
    pub fn set_params(&self, value: &dyn Fn(&ParamDatum) -> Expr) -> Vec<Stmt> {
        let set = |datum: &ParamDatum| put_datum(datum.width, &datum.to, value(datum));
        self.params.iter().map(set).collect()
    }

    /// Statements that set the parameters of shared code for one of its entries; they stand in an action.
    pub fn bind(&mut self, entry: usize) -> Result<Vec<Stmt>, Refusal> {
        let image = self.image;
        let mut stmts = Vec::new();
        for binding in &image.entries[entry].bindings {
            let tree = self.param(binding.param)?;
            match &binding.value {
                Bound::Data(data) => {
                    tree.for_each_datum(&data.clone(), 0, &mut |cell, at, part| {
                        stmts.extend(put(cell, at, part));
                    });
                    // What is zero must be written too: another entry has been here.
                    stmts.splice(0..0, zeroed(&tree));
                }
                Bound::Param(from) => {
                    let from = self.param(*from)?;
                    stmts.extend(self.copied(&tree, &from));
                }
            }
        }
        Ok(stmts)
    }

    /// Statements that copy a parameter's cells to those of another of its shape.
    fn copied(&mut self, to: &Tree, from: &Tree) -> Vec<Stmt> {
        let homes = |tree: &Tree| {
            let mut homes = Vec::new();
            scalars(tree, &mut |home, _| homes.push(home.clone()));
            homes
        };
        let mut stmts = Vec::new();
        for (to, from) in homes(to).into_iter().zip(homes(from)) {
            match (to, from) {
                (Home::Var(to), Home::Var(from)) => stmts.push(Stmt::Assign(to, from)),
                (Home::Register(to), Home::Register(from)) | (Home::Words(to), Home::Words(from)) => {
                    let found = self.registers.iter().find(|register| register.name == from);
                    let (width, size) = found.map_or((1, 0), |register| (register.width, register.size));
                    let kept = self.names.fresh("kept");
                    stmts.push(Stmt::Var(
                        Type::Bit(width),
                        kept.clone(),
                        Some(Expr::bits(width, 0)),
                    ));
                    for index in 0..size {
                        let at = Expr::bits(32, index);
                        stmts.push(read(&from, Expr::name(kept.clone()), at.clone()));
                        stmts.push(write(&to, at, Expr::name(kept.clone())));
                    }
                }
                _ => {}
            }
        }
        stmts
    }

    fn initialise(&mut self, name: &str, tree: &Tree, data: &Data) -> Result<(), Refusal> {
        let initial = &mut self.initial;
        tree.for_each_datum(data, 0, &mut |cell, at, part| {
            for (register, index, value) in writes(cell, at, part) {
                initial.add(register, index, value);
            }
        });
        if self.initial.is_too_much() {
            let reason = format!("what `{name}` starts with takes more than {MAX_RUNS} writes");
            return Err(Refusal::new(CODE, reason));
        }
        Ok(())
    }

    /// Where state lies, if this control holds it.
    pub fn state(&self, control: &Control) -> State {
        State {
            values: self.objects.clone(),
            counters: self.counters.clone(),
            hashed: self.hashed_tables.clone(),
            declared: declared(control),
        }
    }

    /// A fact about the packet.
    pub fn pkt(&self, field: PktField) -> Expr {
        let path = match (self.test, field) {
            (_, PktField::RequestId) => "hdr.lambda.request",
            (true, PktField::SrcIp) => "hdr.test.src_ip",
            (true, PktField::SrcPort) => "hdr.test.src_port",
            (true, PktField::DstPort) => "hdr.test.dst_port",
            (true, PktField::Port) => "hdr.test.port",
            (false, PktField::SrcIp) => "hdr.ipv4.src",
            (false, PktField::SrcPort) => "hdr.udp.src",
            (false, PktField::DstPort) => "hdr.udp.dst",
            (false, PktField::Port) => "meta.port",
        };
        Expr::path(path)
    }
}

fn place_name(place: &Expr) -> String {
    match place {
        Expr::Member(_, name) | Expr::Name(name) => name.clone(),
        _ => String::new(),
    }
}

/// `name.write(index, value)`
pub(crate) fn write(name: &str, index: Expr, value: Expr) -> Stmt {
    Stmt::Call(Expr::name(name).method("write", vec![index, value]))
}

/// `name.read(to, index)`
pub(crate) fn read(name: &str, to: Expr, index: Expr) -> Stmt {
    Stmt::Call(Expr::name(name).method("read", vec![to, index]))
}

/// Statements that put something into cells.
fn put(cell: &super::memory::Cell, at: u64, part: Datum<'_>) -> Vec<Stmt> {
    match (&cell.home, part) {
        (Home::Var(place), Datum::Int(value)) => {
            vec![Stmt::Assign(place.clone(), constant(cell.width, value))]
        }
        _ => {
            let all = writes(cell, at, part).into_iter();
            all.map(|(register, index, value)| write(register, Expr::bits(32, index), value))
                .collect()
        }
    }
}

/// What goes where, of something that is put into registers.
fn writes<'c>(cell: &'c super::memory::Cell, at: u64, part: Datum<'_>) -> Vec<(&'c str, u64, Expr)> {
    match (&cell.home, part) {
        (Home::Register(name), Datum::Int(value)) => vec![(name, at, Expr::bits(cell.width, value))],
        (Home::Register(name), Datum::Bytes(bytes)) => {
            let filled = bytes.iter().zip(at..).filter(|(byte, _)| **byte != 0);
            filled
                .map(|(byte, at)| (&**name, at, Expr::bits(8, (*byte).into())))
                .collect()
        }
        (Home::Words(name), Datum::Bytes(bytes)) => {
            let all = words(bytes).into_iter().zip(0..);
            all.map(|(word, at)| (&**name, at, word)).collect()
        }
        (Home::Var(_) | Home::Known(_), _) | (Home::Words(_), Datum::Int(_)) => Vec::new(),
    }
}

/// Statements that set the scalars of a parameter to zero.
fn zeroed(tree: &Tree) -> Vec<Stmt> {
    let mut stmts = Vec::new();
    scalars(tree, &mut |home, width| {
        if let Home::Var(place) = home {
            stmts.push(Stmt::Assign(place.clone(), constant(width, 0)));
        }
    });
    stmts
}

/// Calls `f` with the home of each cell.
fn scalars(tree: &Tree, f: &mut dyn FnMut(&Home, u32)) {
    match tree {
        Tree::Scalar(cell) => f(&cell.home, cell.width),
        Tree::Bytes { len, data, .. } => {
            f(&len.home, len.width);
            f(&data.home, data.width);
        }
        Tree::Array(inner, _) => scalars(inner, f),
        Tree::Struct(fields) => fields.iter().for_each(|field| scalars(field, f)),
    }
}

/// Puts a constant's scalars into its tree.
fn known(tree: &Tree, data: &Data) -> Tree {
    match (tree, data) {
        (Tree::Scalar(cell), Data::Int(value)) if matches!(cell.home, Home::Known(_)) => {
            let mut cell = cell.clone();
            cell.home = Home::Known(constant(cell.width, *value));
            Tree::Scalar(cell)
        }
        (
            Tree::Bytes {
                len,
                data: cell,
                capacity,
            },
            Data::Bytes(bytes),
        ) if matches!(len.home, Home::Known(_)) => {
            let mut len = len.clone();
            len.home = Home::Known(constant(32, bytes.len() as u64));
            Tree::Bytes {
                len,
                data: cell.clone(),
                capacity: *capacity,
            }
        }
        (Tree::Struct(fields), Data::List(items)) => {
            let pairs = fields.iter().zip(items.iter());
            Tree::Struct(pairs.map(|(field, item)| known(field, item)).collect())
        }
        (tree, _) => tree.clone(),
    }
}

/// Whether a lambda's own variables can have a shape.
pub(super) fn fits_own(name: &str, shape: &Shape) -> Result<(), Refusal> {
    let most = elements(shape);
    if most > MAX_OWN {
        let reason = format!("its variable `{name}` has {most} elements, more than {MAX_OWN}");
        return Err(Refusal::new(CODE, reason));
    }
    Ok(())
}

/// Whether registers can hold a shape.
fn fits(name: &str, shape: &Shape) -> Result<(), Refusal> {
    let most = elements(shape);
    if most > MAX_ELEMENTS {
        let reason = format!("`{name}` takes {most} elements of a register, more than {MAX_ELEMENTS}");
        return Err(Refusal::new(STATE, reason));
    }
    Ok(())
}

/// Elements of the largest register of a shape.
pub(crate) fn elements(shape: &Shape) -> u64 {
    match shape {
        Shape::Scalar(_) | Shape::View => 1,
        Shape::Bytes(capacity) => (*capacity).into(),
        Shape::Array(inner, len) => elements(inner).saturating_mul((*len).into()),
        Shape::Struct(fields) => fields.iter().map(elements).max().unwrap_or(0),
    }
}
