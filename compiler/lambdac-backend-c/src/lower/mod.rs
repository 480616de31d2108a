//! From an image to a unit.
//!
//! Memory comes first (constants, parameters, objects), then functions in the order in which they can be called: MIR's
//! functions, lambdas' parts, the stage. Functions are emitted for the spaces that their references are really in, so
//! callers are lowered before callees and their texts put in front of them afterwards.

mod bits;
mod code;
mod control;
mod ends;
mod frames;
mod func;
mod keyed;
mod lambda;
mod locals;
mod memory;
mod scalar;
mod stage;
mod state;
mod stream;
mod wait;

use std::collections::{BTreeMap, BTreeSet};

use lambdac_image::{Bound, Image};
use lambdac_mir::{
    ConstId, Effects, Func, FuncId, LambdaId, Loc, MemoryRegion, ObjectId, ObjectKind, ParamId, ServiceId,
    Shape, func_effects,
};

use crate::ast::{self, Data, Expr, Item, Name, Type, Unit};
use crate::dialect::{Dialect, Region, Scope, Space};
use crate::divide::{Origin, divide};
use crate::layout::{self, Form, Order};
use crate::legal;
use crate::names::Names;
use crate::unread;
use crate::{Options, Refusal, Symbol, SymbolKind, services};
pub(crate) use memory::Addr;
use state::LOCK_REGION;

/// A unit and its symbols.
pub(crate) struct Lowered {
    pub unit: Unit,
    pub symbols: Vec<Symbol>,
    pub saved_bytes: u64,
}

/// Lowers an image.
pub(crate) fn image(image: &Image, options: &Options) -> Result<Lowered, Vec<Refusal>> {
    let divided = match options.dialect {
        Dialect::MicroC => divide(image),
        Dialect::Host => None,
    };
    let (image, origins) = match &divided {
        Some((image, origins)) => (image, &origins[..]),
        None => (image, &[][..]),
    };
    let mut lowerer = Lowerer::new(image, options);
    lowerer.origins = origins;
    lowerer.memory();
    lowerer.stage();
    lowerer.finish()
}

/// A function for certain spaces of its references.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instance {
    pub func: FuncId,
    pub spaces: Vec<Option<Space>>,
}

/// What callers know of an instance.
#[derive(Clone)]
pub(super) struct Signature {
    pub name: Name,
    /// Whether it gives 1 for a trap; then all results stand in `results`.
    pub traps: bool,
    /// Where each result is left; the first of a function that never traps is what it gives.
    pub results: Vec<Name>,
}

/// An object of the image.
pub(super) struct Object {
    pub name: Name,
    pub region: Region,
    pub form: Form,
    /// What every access of its value takes first, where the device has no atomic command for some of them.
    pub lock: Option<Addr>,
    /// Where it and its lock are for the entry that runs, where it is a name that shared code has for several.
    pub reached: Option<(Name, Option<Name>)>,
    /// What the unit does to it, each a function of its own once it is used: by verb.
    pub verbs: BTreeMap<&'static str, Name>,
}

/// How a parameter of the module is reached.
pub(super) enum Param {
    /// In memory, set before the first request.
    Memory(Addr),
    /// A thread's own variable, set where its code is entered.
    Variable(Name),
    /// Behind a thread's own pointer, set where its code is entered.
    Pointer(Name),
}

pub(super) struct Lowerer<'a> {
    pub image: &'a Image,
    pub options: &'a Options,
    pub dialect: Dialect,
    /// What objects were before some were divided; nothing, where none was.
    pub origins: &'a [Origin],
    pub effects: Vec<Effects>,
    /// By function: bytes of local memory that it takes with those that it calls.
    pub chains: Vec<u64>,
    pub names: Names,
    pub items: Vec<Item>,
    pub objects: Vec<Option<Object>>,
    pub consts: Vec<Option<(Name, Region)>>,
    pub params: Vec<Option<Param>>,
    /// By the service that shared code names for several: where its number is for the entry that runs.
    pub services: BTreeMap<ServiceId, Name>,
    pub symbols: Vec<Symbol>,
    pub threads: Vec<Item>,
    pub instances: BTreeMap<Instance, Signature>,
    pub queue: BTreeSet<Instance>,
    /// Functions of MIR, by instance; they call only those of lower numbers.
    pub funcs: BTreeMap<Instance, ast::Func>,
    /// Small functions around objects, which call nothing of the unit.
    pub helpers: Vec<ast::Func>,
    /// Everything else, in order.
    pub code: Vec<ast::Func>,
    /// Name of each lambda's entry, once lowered.
    pub lambdas: BTreeMap<LambdaId, Name>,
    /// Places where a lambda waits: what goes on there.
    pub resumes: Vec<Name>,
    /// The most bytes that a continuation keeps.
    pub saved: u64,
    /// Whether a lambda that runs here waits for a service.
    pub asks: bool,
    /// The most bytes that outlive the parts of a lambda.
    pub kept_bytes: u64,
    /// The most words of a key.
    pub key_words: u32,
    pub refusals: Vec<Refusal>,
}

impl<'a> Lowerer<'a> {
    fn new(image: &'a Image, options: &'a Options) -> Self {
        Self {
            image,
            options,
            dialect: options.dialect,
            origins: &[],
            effects: func_effects(&image.module),
            chains: locals::chains(&image.module, options.local),
            names: Names::default(),
            items: Vec::new(),
            objects: Vec::new(),
            consts: vec![None; image.module.consts.len()],
            params: Vec::new(),
            symbols: Vec::new(),
            threads: Vec::new(),
            services: BTreeMap::new(),
            instances: BTreeMap::new(),
            queue: BTreeSet::new(),
            funcs: BTreeMap::new(),
            helpers: Vec::new(),
            code: Vec::new(),
            lambdas: BTreeMap::new(),
            resumes: Vec::new(),
            saved: 0,
            asks: image
                .entries
                .iter()
                .any(|entry| entry.on_host.is_none() && stage::waits(image, entry.lambda)),
            kept_bytes: 0,
            key_words: 0,
            refusals: Vec::new(),
        }
    }

    pub fn order(&self) -> Order {
        match self.dialect {
            Dialect::Host => Order::Little,
            Dialect::MicroC => Order::Big,
        }
    }

    /// The memory that an index of a placement means, else what the author asked for.
    fn placed(&self, index: Option<usize>, asked: Option<MemoryRegion>) -> MemoryRegion {
        let placed = index.and_then(|index| self.options.memories.get(index).copied());
        placed.or(asked).unwrap_or(MemoryRegion::Emem)
    }

    /// Objects and parameters. Constants follow where they are used.
    fn memory(&mut self) {
        for index in 0..self.image.module.params.len() {
            let param = self.param_memory(index);
            self.params.push(Some(param));
        }
        let parts = self.origins.iter().filter(|(_, field)| field.is_some());
        let in_parts: BTreeSet<usize> = parts.map(|(of, _)| *of).collect();
        for index in 0..self.image.module.objects.len() {
            let object = match in_parts.contains(&index) {
                true => None,
                false => self.object_memory(index),
            };
            self.objects.push(object);
        }
        let image = self.image;
        for instance in image.entries.iter().flat_map(|entry| &entry.services) {
            if !self.services.contains_key(&instance.named) {
                let like = &image.module.services[instance.named.index()].name;
                let name = self.thread(&format!("{like}_service"), Type::U32);
                self.services.insert(instance.named, name);
            }
        }
    }

    fn param_memory(&mut self, index: usize) -> Param {
        let param = &self.image.module.params[index];
        let id = ParamId(index as u32);
        let bound = self
            .image
            .entries
            .iter()
            .any(|entry| entry.bindings.iter().any(|binding| binding.param == id));
        let name = self.names.fresh(&param.name);
        let region = Region {
            memory: MemoryRegion::Emem,
            scope: Scope::Shared,
        };
        let space = self.dialect.space(region);
        if bound {
            return match &param.shape {
                Shape::Scalar(width) => {
                    self.threads
                        .push(Item::Thread(name.clone(), Type::of_width(*width)));
                    Param::Variable(name)
                }
                _ => {
                    let pointer = Type::Pointer(space, ast::Access::Read);
                    self.threads.push(Item::Thread(name.clone(), pointer));
                    Param::Pointer(name)
                }
            };
        }
        let size = layout::size(&param.shape);
        let mut bytes = vec![0; size as usize];
        if let Some(data) = &param.default {
            layout::put(&mut bytes, &param.shape, data, self.order());
        }
        self.items.push(Item::Data(Data {
            comment: format!("param {}", param.name),
            name: name.clone(),
            region,
            bytes,
            size: size as u32,
            align: 8,
        }));
        self.symbols.push(Symbol {
            item: param.name.clone(),
            name: (&*name).into(),
            size,
            kind: SymbolKind::Param(index),
        });
        Param::Memory(self.array(&name, region))
    }

    fn object_memory(&mut self, index: usize) -> Option<Object> {
        let object = &self.image.module.objects[index];
        let Some((form, size)) = layout::form(object) else {
            self.refusals.push(Refusal {
                entry: None,
                code: legal::STATE,
                reason: format!("`{}` takes more than {} bytes", object.name, layout::MAX_OBJECT),
                loc: None,
            });
            return None;
        };
        let placed = self.image.placed.as_ref();
        let placed = placed.and_then(|placed| placed.objects.get(index).copied());
        let table = matches!(object.kind, ObjectKind::Table { .. });
        let memory = self.dialect.object(self.placed(placed, object.memory), !table);
        if self.dialect == Dialect::MicroC && !matches!(memory, MemoryRegion::Imem | MemoryRegion::Emem) {
            self.refusals.push(Refusal {
                entry: None,
                code: legal::STATE,
                reason: format!(
                    "`{}` is changed by lambdas, and lies in memory that not all cores share",
                    object.name
                ),
                loc: None,
            });
        }
        let region = Region {
            memory,
            scope: Scope::Shared,
        };
        let name = self.names.fresh(&object.name);
        self.items.push(Item::Data(Data {
            comment: format!("{} {}", object.name, object.decl),
            name: name.clone(),
            region,
            bytes: layout::contents(object, self.order()),
            size: size as u32,
            align: 8,
        }));
        let (origin, field) = self.origins.get(index).copied().unwrap_or((index, None));
        self.symbols.push(Symbol {
            item: self.image.module.objects[origin].name.clone(),
            name: (&*name).into(),
            size,
            kind: match field {
                Some(field) => SymbolKind::Field(origin, field),
                None => SymbolKind::Object(origin),
            },
        });
        let lock = self.lock(ObjectId(index as u32));
        let reached = self.is_name(ObjectId(index as u32)).then(|| {
            let pointer = Type::Pointer(self.dialect.space(region), ast::Access::Write);
            let at = self.thread(&format!("{}_at", object.name), pointer);
            let pointer = Type::Pointer(self.dialect.space(LOCK_REGION), ast::Access::Write);
            let lock = lock
                .as_ref()
                .map(|_| self.thread(&format!("{}_lock_at", object.name), pointer));
            (at, lock)
        });
        Some(Object {
            name,
            region,
            form,
            lock,
            reached,
            verbs: BTreeMap::new(),
        })
    }

    /// An object and how code reaches it.
    pub fn object(&self, id: ObjectId) -> Option<(&Object, Addr)> {
        let object = self.objects[id.index()].as_ref()?;
        let addr = match &object.reached {
            Some((at, _)) => Addr::new(self.dialect.space(object.region), Expr::Var(at.clone())),
            None => self.array(&object.name, object.region),
        };
        Some((object, addr))
    }

    /// The start of memory that the unit defines.
    pub fn array(&self, name: &Name, region: Region) -> Addr {
        let space = self.dialect.space(region);
        let base = Expr::Var(name.clone());
        match space {
            // It is defined in words and reached by bytes.
            Space::Unit => Addr::new(space, base.cast(Type::Pointer(space, ast::Access::Write))),
            _ => Addr::new(space, base),
        }
    }

    /// A constant, put down where it is first used.
    pub fn constant(&mut self, id: ConstId) -> Addr {
        if self.consts[id.index()].is_none() {
            let item = &self.image.module.consts[id.index()];
            let placed = self.image.placed.as_ref();
            let placed = placed.and_then(|placed| placed.consts.get(id.index()).copied());
            let memory = self.placed(placed, item.memory);
            let (name, shape, data) = (item.name.clone(), item.shape.clone(), item.data.clone());
            let region = Region {
                memory,
                scope: Scope::Constant,
            };
            let name = self.read_only(&name, &shape, &data, region);
            self.consts[id.index()] = Some((name, region));
        }
        let (name, region) = self.consts[id.index()].clone().expect("just put there");
        self.array(&name, region)
    }

    /// Memory that nobody writes.
    fn read_only(&mut self, like: &str, shape: &Shape, data: &lambdac_mir::Data, region: Region) -> Name {
        let name = self.names.fresh(like);
        let size = layout::size(shape);
        let mut bytes = vec![0; size as usize];
        layout::put(&mut bytes, shape, data, self.order());
        self.items.push(Item::Data(Data {
            comment: String::new(),
            name: name.clone(),
            region,
            bytes,
            size: size as u32,
            align: 8,
        }));
        name
    }

    /// What a binding gives a parameter that is not a scalar: an address.
    pub fn bound_address(&mut self, shape: &Shape, value: &Bound) -> Expr {
        let addr = match value {
            Bound::Data(data) => {
                let region = Region {
                    memory: MemoryRegion::Emem,
                    scope: Scope::Constant,
                };
                let name = self.read_only("bound", shape, data, region);
                return self.array(&name, region).pointer();
            }
            Bound::Param(param) => match &self.params[param.index()] {
                Some(Param::Memory(addr)) => addr.clone(),
                Some(Param::Pointer(name) | Param::Variable(name)) => {
                    return Expr::Var(name.clone());
                }
                None => return Expr::int(0),
            },
        };
        addr.pointer()
    }

    /// A variable that each thread has its own of.
    pub fn thread(&mut self, like: &str, ty: Type) -> Name {
        let name = self.names.fresh(like);
        self.threads.push(Item::Thread(name.clone(), ty));
        name
    }

    /// The C function for a function of MIR and the spaces of its references.
    pub fn instance(&mut self, instance: Instance) -> Signature {
        if let Some(signature) = self.instances.get(&instance) {
            return signature.clone();
        }
        let image = self.image;
        let func = &image.module.funcs[instance.func.index()];
        let traps = self.effects[instance.func.index()].traps;
        let signature = self.signature(func, traps);
        self.instances.insert(instance.clone(), signature.clone());
        self.queue.insert(instance);
        signature
    }

    /// Names for a function's code and results.
    pub fn signature(&mut self, func: &Func, traps: bool) -> Signature {
        let name = self.names.fresh(&func.name);
        let results = func.results.iter().enumerate().map(|(i, width)| {
            if i == 0 && !traps {
                return Name::from("");
            }
            self.thread(&format!("{}_r{i}", func.name), Type::of_width(*width))
        });
        let results = results.collect();
        Signature { name, traps, results }
    }

    /// What the core has to know of services, a row for each (`lnic_wait.h`): where it is, as far as the source says so,
    /// and how long it may take. The way there is the host's to say.
    fn services(&self) -> Option<Item> {
        if self.dialect != Dialect::MicroC || !self.asks {
            return None;
        }
        let mut bytes = Vec::new();
        for service in &self.image.module.services {
            bytes.extend(services::row(service));
        }
        Some(Item::Data(Data {
            comment: "Services: address, port, Ethernet address, port that leads there, known, time-out."
                .to_owned(),
            name: services::SYMBOL.into(),
            region: Region {
                memory: MemoryRegion::Emem,
                scope: Scope::Shared,
            },
            size: bytes.len() as u32,
            bytes,
            align: 8,
        }))
    }

    /// `file:line`, if lines are asked for and this one is known.
    pub fn line(&self, loc: Loc) -> Option<String> {
        let file = self.image.module.files.get(usize::from(loc.file))?;
        (self.options.lines && loc.line > 0).then(|| format!("{file}:{}", loc.line))
    }

    /// Lowers what was called, callers first, and puts everything in order.
    fn finish(mut self) -> Result<Lowered, Vec<Refusal>> {
        while let Some(instance) = self.queue.pop_last() {
            let func = self.func(&instance);
            self.funcs.insert(instance, func);
        }
        let funcs = std::mem::take(&mut self.funcs).into_values();
        let mut funcs: Vec<ast::Func> = std::mem::take(&mut self.helpers)
            .into_iter()
            .chain(funcs)
            .chain(std::mem::take(&mut self.code))
            .collect();
        funcs.iter_mut().for_each(unread::take_off);
        share(&mut funcs);
        let mut frames = self.frames(&funcs);
        if !self.refusals.is_empty() {
            return Err(self.refusals);
        }
        let mut items = vec![Item::Comment(format!(
            "Image {}: {}.\nMade by lambdac; changes are lost.",
            self.image.module.name,
            self.image
                .workloads
                .iter()
                .map(|workload| format!("{} ({})", workload.name, workload.id))
                .collect::<Vec<_>>()
                .join(", ")
        ))];
        if self.key_words > 0 {
            items.push(Item::Define("LNIC_KEY_WORDS".into(), Expr::int(self.key_words)));
        }
        if self.asks {
            let (services, saved) = (self.image.module.services.len(), self.saved.max(8));
            items.push(Item::Define("LNIC_SERVICES".into(), Expr::int(services as u32)));
            items.push(Item::Define("LNIC_SAVED_BYTES".into(), Expr::int(saved as u32)));
        }
        if self.dialect == Dialect::MicroC && self.has_streams() {
            items.push(Item::Define("LNIC_STREAMS".into(), Expr::int(1)));
        }
        items.push(Item::Include(self.dialect.header().into()));
        if self.key_words > 0 {
            items.push(Item::Include("lnic_keyed.h".into()));
        }
        items.append(&mut self.items);
        items.append(&mut self.threads);
        items.append(&mut frames);
        keep_used(&mut items, &mut self.symbols, &funcs, self.dialect);
        items.extend(self.services());
        items.extend(funcs.into_iter().map(Item::Func));
        items.extend(
            self.options
                .ending
                .iter()
                .map(|file| Item::Include(file.as_str().into())),
        );
        Ok(Lowered {
            unit: Unit { items },
            symbols: self.symbols,
            saved_bytes: self.saved,
        })
    }
}

/// Takes off memory that no function reaches: compilers reject what nobody else can reach either, and a device has
/// little, where what is left to the host is the host's.
fn keep_used(items: &mut Vec<Item>, symbols: &mut Vec<Symbol>, funcs: &[ast::Func], dialect: Dialect) {
    let mut used = BTreeSet::new();
    for func in funcs {
        for stmt in &func.body {
            stmt.for_each_expr(&mut |expr| {
                expr.for_each_var(&mut |name| {
                    used.insert(name.clone());
                });
            });
        }
    }
    let all_state = dialect == Dialect::Host;
    items.retain(|item| match item {
        Item::Data(data) => used.contains(&data.name) || (all_state && data.region.scope == Scope::Shared),
        Item::Thread(name, _) => used.contains(name),
        _ => true,
    });
    symbols.retain(|symbol| all_state || used.contains(&*symbol.name));
}

/// Statements of a function from which a copy for each caller is more than a call.
const SHARED_STATEMENTS: usize = 3;

/// Says of functions with several callers that there is to be one copy of them.
fn share(funcs: &mut [ast::Func]) {
    let mut calls: BTreeMap<Name, u32> = BTreeMap::new();
    for func in &*funcs {
        for stmt in &func.body {
            stmt.for_each_expr(&mut |expr| {
                expr.for_each_callee(&mut |name| *calls.entry(name.clone()).or_default() += 1);
            });
        }
    }
    for func in funcs {
        let several = calls.get(&func.name).is_some_and(|count| *count > 1);
        func.once = several && func.body.len() >= SHARED_STATEMENTS;
    }
}
