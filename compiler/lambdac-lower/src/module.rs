//! The module: what is shared by its bodies, and the order in which it is put together.

use std::collections::HashMap;
use std::sync::Arc;

use lambdac_diag::{FileId, SourceMap, Span};
use lambdac_hir::{self as hir, FnId, Request, StateId, TableId, Type, Value as Datum, Workload};
use lambdac_mir::{
    Const, ConstId, Data, Func, Lambda, Loc, MessageSize, Module, ObjectId, Param, Part, Protocol, Service,
    Shape, Side,
};

use crate::body::{Binding, BodyCx};
use crate::facts::{Effects, Facts};
use crate::message::RequestPath;
use crate::options::Want;
use crate::source::Source;
use crate::{dispatch, table};

/// Messages that no type limits: up to the language's largest value.
const ANY_REQUEST: MessageSize = MessageSize { min: 0, max: 1 << 20 };

/// The workload, and what its bodies share.
pub(crate) struct ModuleCx<'w> {
    /// What is lowered.
    pub(crate) workload: &'w Workload,
    map: &'w SourceMap,
    structs: Vec<Arc<[Shape]>>,
    /// Bit offsets of the fields of each struct on the wire.
    field_bits: Vec<Vec<u32>>,
    files: Vec<FileId>,
    consts: Vec<Const>,
    literals: HashMap<(Shape, Data), ConstId>,
    items: Vec<Option<ConstId>>,
    fn_effects: Vec<Effects>,
}

/// Lowers a workload.
pub fn lower(workload: &Workload, map: &SourceMap) -> Module {
    let mut cx = ModuleCx::new(workload, map);
    let params = workload
        .params
        .iter()
        .map(|param| lower_param(&cx, param))
        .collect();
    let states = workload
        .states
        .iter()
        .map(|state| table::state_object(&cx, state));
    let tables = workload.tables.iter().map(|item| table::table_object(&cx, item));
    let objects = states.chain(tables).collect();
    let funcs = workload.fns.iter().map(|item| lower_fn(&mut cx, item)).collect();
    let lambdas = workload
        .lambdas
        .iter()
        .map(|item| lower_lambda(&mut cx, item))
        .collect();
    let dispatch = dispatch::lower_dispatch(&mut cx, &workload.dispatch);
    Module {
        name: workload.name.clone(),
        files: cx.files.iter().map(|file| map.name(*file).clone()).collect(),
        consts: cx.consts,
        params,
        objects,
        services: workload.services.iter().map(lower_service).collect(),
        funcs,
        lambdas,
        dispatch,
    }
}

impl<'w> ModuleCx<'w> {
    fn new(workload: &'w Workload, map: &'w SourceMap) -> Self {
        let mut cx = Self {
            workload,
            map,
            structs: Vec::new(),
            field_bits: Vec::new(),
            files: vec![workload.file],
            consts: Vec::new(),
            literals: HashMap::new(),
            items: vec![None; workload.consts.len()],
            fn_effects: Vec::new(),
        };
        let mut shapes = Shapes {
            workload,
            known: vec![None; workload.structs.len()],
        };
        cx.structs = (0..workload.structs.len()).map(|i| shapes.fields(i)).collect();
        cx.field_bits = workload.structs.iter().map(|item| cx.offsets(item)).collect();
        cx
    }

    fn offsets(&self, item: &hir::Struct) -> Vec<u32> {
        let mut at = 0;
        item.fields
            .iter()
            .map(|field| {
                let here = at;
                at += self.bits(&field.ty);
                here
            })
            .collect()
    }

    /// The structure of values of a type; of the T of a `T?`.
    pub(crate) fn shape(&self, ty: &Type) -> Shape {
        match ty {
            Type::Struct(id) => Shape::Struct(self.structs[id.0 as usize].clone()),
            Type::Array(elem, n) => Shape::Array(Arc::new(self.shape(elem)), *n),
            Type::Option(inner) => self.shape(inner),
            Type::Bytes(n) => Shape::Bytes(*n),
            Type::BytesView => Shape::View,
            _ => Shape::Scalar(self.width(ty)),
        }
    }

    /// Bits of a scalar.
    pub(crate) fn width(&self, ty: &Type) -> u8 {
        self.workload.scalar_int(ty).map_or(1, |int| int.bits)
    }

    /// Bits of a fixed-size type on the wire; 0 for `bytes`.
    pub(crate) fn bits(&self, ty: &Type) -> u32 {
        match ty {
            Type::Array(elem, n) => self.bits(elem).saturating_mul(*n),
            Type::Struct(id) => {
                let fields = &self.workload.strukt(*id).fields;
                fields
                    .iter()
                    .fold(0, |sum: u32, field| sum.saturating_add(self.bits(&field.ty)))
            }
            Type::Bool | Type::Int(_) | Type::Enum(_) => u32::from(self.width(ty)),
            Type::Bytes(_) | Type::BytesView | Type::Option(_) | Type::Unit | Type::Never => 0,
        }
    }

    /// First bit of a header's field.
    pub(crate) fn field_bit(&self, ty: &Type, field: u32) -> u32 {
        match ty {
            Type::Struct(id) => self.field_bits[id.0 as usize][field as usize],
            _ => unreachable!("only a header has fields"),
        }
    }

    /// A constant as data.
    pub(crate) fn data(&self, ty: &Type, value: &Datum) -> Data {
        match (ty, value) {
            (Type::Array(elem, _), Datum::Array(values)) if elem.is_scalar() && self.width(elem) == 8 => {
                Data::Bytes(values.iter().map(|v| v.as_int() as u8).collect())
            }
            (Type::Array(elem, _), Datum::Array(values)) => {
                Data::List(values.iter().map(|v| self.data(elem, v)).collect())
            }
            (Type::Struct(id), Datum::Struct(values)) => {
                let fields = self.workload.strukt(*id).fields.iter();
                Data::List(
                    fields
                        .zip(values)
                        .map(|(field, v)| self.data(&field.ty, v))
                        .collect(),
                )
            }
            (_, Datum::Bytes(bytes)) => Data::Bytes(bytes.as_slice().into()),
            (_, value) => Data::Int(value.as_int()),
        }
    }

    /// Read-only data, each content once.
    fn literal(&mut self, shape: Shape, data: Data) -> ConstId {
        if let Some(id) = self.literals.get(&(shape.clone(), data.clone())) {
            return *id;
        }
        let id = ConstId(self.consts.len() as u32);
        let name = format!("lit{}", self.literals.len()).into();
        self.literals.insert((shape.clone(), data.clone()), id);
        self.consts.push(Const {
            name,
            shape,
            data,
            memory: None,
        });
        id
    }

    /// A byte string.
    pub(crate) fn bytes_const(&mut self, bytes: &[u8]) -> ConstId {
        self.literal(Shape::Bytes(bytes.len() as u32), Data::Bytes(bytes.into()))
    }

    /// Any other aggregate.
    pub(crate) fn data_const(&mut self, value: &Datum, ty: &Type) -> ConstId {
        let data = self.data(ty, value);
        self.literal(self.shape(ty), data)
    }

    /// A `const` item of an aggregate type, from its first use on.
    pub(crate) fn const_item(&mut self, id: hir::ConstId) -> ConstId {
        if let Some(known) = self.items[id.index()] {
            return known;
        }
        let item = &self.workload.consts[id.index()];
        let new = ConstId(self.consts.len() as u32);
        self.consts.push(Const {
            name: item.name.clone(),
            shape: self.shape(&item.ty),
            data: self.data(&item.ty, &item.value),
            memory: table::memory(item.memory),
        });
        self.items[id.index()] = Some(new);
        new
    }

    /// The object of a state.
    pub(crate) fn state_object(&self, state: StateId) -> ObjectId {
        ObjectId(state.0)
    }

    /// The object of a table: they follow the states.
    pub(crate) fn table_object(&self, table: TableId) -> ObjectId {
        ObjectId(self.workload.states.len() as u32 + table.0)
    }

    /// What calling a fn may do.
    pub(crate) fn fn_effects(&self, id: FnId) -> Effects {
        self.fn_effects[id.index()]
    }

    /// The effects of the fns that were lowered so far: all that a body can call.
    pub(crate) fn callees(&self) -> &[Effects] {
        &self.fn_effects
    }

    /// The file and line of a span.
    pub(crate) fn loc(&mut self, span: Span) -> Loc {
        let known = self.files.iter().position(|file| *file == span.file);
        let file = known.unwrap_or_else(|| {
            self.files.push(span.file);
            self.files.len() - 1
        });
        let (line, _) = self.map.line_column(span.file, span.start);
        Loc {
            file: file as u16,
            line,
        }
    }
}

/// Shapes of structs, each made once; fields may name structs that are declared later.
struct Shapes<'w> {
    workload: &'w Workload,
    known: Vec<Option<Arc<[Shape]>>>,
}

impl Shapes<'_> {
    fn fields(&mut self, index: usize) -> Arc<[Shape]> {
        if let Some(known) = &self.known[index] {
            return known.clone();
        }
        let workload = self.workload;
        let fields = workload.structs[index].fields.iter();
        let shapes: Arc<[Shape]> = fields.map(|field| self.of(&field.ty)).collect();
        self.known[index] = Some(shapes.clone());
        shapes
    }

    fn of(&mut self, ty: &Type) -> Shape {
        match ty {
            Type::Struct(id) => Shape::Struct(self.fields(id.0 as usize)),
            Type::Array(elem, n) => Shape::Array(Arc::new(self.of(elem)), *n),
            Type::Bytes(n) => Shape::Bytes(*n),
            Type::Option(inner) => self.of(inner),
            Type::BytesView => Shape::View,
            Type::Bool | Type::Int(_) | Type::Enum(_) | Type::Unit | Type::Never => {
                Shape::Scalar(self.workload.scalar_int(ty).map_or(1, |int| int.bits))
            }
        }
    }
}

fn lower_param(cx: &ModuleCx<'_>, param: &hir::Param) -> Param {
    Param {
        name: param.name.clone(),
        shape: cx.shape(&param.ty),
        signed: cx.workload.scalar_int(&param.ty).is_some_and(|int| int.signed),
        default: param.default.as_ref().map(|value| cx.data(&param.ty, value)),
    }
}

fn lower_service(service: &hir::Service) -> Service {
    let protocol = match service.protocol {
        hir::Protocol::Memcached => Protocol::Memcached,
    };
    Service {
        name: service.name.clone(),
        protocol,
        address: service.address.clone(),
        timeout: service.timeout,
    }
}

fn lower_fn<'w>(cx: &mut ModuleCx<'w>, item: &'w hir::Fn) -> Func {
    let (facts, effects) = Facts::of_body(&item.body, cx.callees());
    let mut body = BodyCx::new(cx, &item.body.locals, facts);
    body.at(item.span);
    let (params, results) = body.declare_params(item.params, &item.ret);
    let block = &item.body.block;
    body.statements(block);
    if !body.left() {
        match &block.tail {
            Some(tail) if item.ret == Type::Unit => {
                body.discard(tail);
                body.return_value(None);
            }
            Some(tail) => body.return_value(Some(tail)),
            None if item.ret == Type::Unit => body.return_value(None),
            None => {}
        }
    }
    let (body, region) = body.finish();
    cx.fn_effects.push(effects.of_callee());
    Func {
        name: item.name.clone(),
        params,
        results,
        body,
        region,
        inline: item.inline,
    }
}

fn message_size(workload: &Workload, ty: &Type) -> MessageSize {
    match hir::message_size(workload, ty) {
        Some(size) => MessageSize {
            min: size.min,
            max: size.max,
        },
        None => ANY_REQUEST,
    }
}

fn lower_lambda<'w>(cx: &mut ModuleCx<'w>, item: &'w hir::Lambda) -> Lambda {
    let workload = cx.workload;
    let (facts, _) = Facts::of_body(&item.body, cx.callees());
    let mut body = BodyCx::new(cx, &item.body.locals, facts);
    body.at(item.span);
    body.reply = Some(item.reply.clone());
    let (request, request_type) = match &item.request {
        Request::Any => (ANY_REQUEST, "any".to_owned()),
        Request::Typed(ty) => {
            body.bindings[0] = Some(Binding::Direct(Source::Request(RequestPath::WHOLE)));
            let mut size = message_size(workload, ty);
            if item.stream && !matches!(ty, Type::Bytes(_)) {
                // Only a `bytes<n>` takes a short last chunk.
                size.min = size.max;
            }
            (size, workload.type_name(ty))
        }
    };
    body.block(&item.body.block, &Want::Nothing);
    let (body, region) = body.finish();
    Lambda {
        name: item.name.clone(),
        stream: item.stream,
        request,
        reply: message_size(workload, &item.reply),
        request_type: request_type.into(),
        reply_type: workload.type_name(&item.reply).into(),
        deadline: item.deadline,
        on: item.on.map(|side| match side {
            hir::Side::Host => Side::Host,
            hir::Side::Nic => Side::Nic,
        }),
        body,
        parts: vec![Part {
            params: Vec::new(),
            live_slots: Vec::new(),
            region,
        }],
    }
}
