//! Between the evaluator's values, which tests are written in, and MIR's data, which targets hold.

use lambdac_hir::{
    GivenResult, PktField, PlaceBase, Projection, ServiceId, ServiceOp, StatePlace, Type, Value, Workload,
};
use lambdac_interp::{Env, Givens, ServiceOracle};
use lambdac_mir::{Data, Module, Shape};
use lnic_engine::control::StateDump;
use lnic_engine::{Call, Meta};

use super::instance::ServiceAnswer;

/// The values of a module's parameters in a call.
pub fn param_values<'m>(module: &'m Module, env: &Env) -> Vec<(&'m str, Data)> {
    let params = module.params.iter().zip(&env.params);
    params
        .map(|(param, value)| (&*param.name, to_data(&param.shape, value)))
        .collect()
}

/// The facts of a call as the engine takes them, without parameters.
pub fn meta(env: &Env) -> Meta<'static> {
    Meta {
        src_ip: env.pkt.get(PktField::SrcIp) as u32,
        src_port: env.pkt.get(PktField::SrcPort) as u16,
        dst_port: env.pkt.get(PktField::DstPort) as u16,
        port: env.pkt.get(PktField::Port) as u16,
        request_id: env.pkt.get(PktField::RequestId),
        now: env.now,
        random: env.random,
        params: None,
    }
}

/// What a test gives for a request to a service.
pub fn answer(call: &Call<'_>, givens: &mut Givens) -> ServiceAnswer {
    let op = match call.op {
        lambdac_mir::ServiceOp::Get => ServiceOp::Get,
        lambdac_mir::ServiceOp::Set => ServiceOp::Set,
        lambdac_mir::ServiceOp::Delete => ServiceOp::Delete,
    };
    let value = (op == ServiceOp::Set).then_some(call.value);
    match givens.request(ServiceId(call.service as u32), op, call.key, value) {
        GivenResult::Value(value) => ServiceAnswer::Value(value),
        GivenResult::Done => ServiceAnswer::Done,
        GivenResult::None => ServiceAnswer::Missing,
        GivenResult::Fail => ServiceAnswer::Failed,
    }
}

/// What a place of state holds, read from the objects that `dump` gives by name.
///
/// # Errors
/// With the reason, if `dump` has one or the object is of another kind.
pub fn read_place(
    hir: &Workload,
    place: &StatePlace,
    dump: &mut dyn FnMut(&str) -> Result<StateDump, String>,
) -> Result<Value, String> {
    match place {
        StatePlace::Counter(id, index) => match dump(&hir.states[id.index()].name)? {
            StateDump::Counters(counts) => {
                let count = counts.get(index.unwrap_or(0) as usize);
                count
                    .map(|&count| Value::Int(count))
                    .ok_or_else(|| "the index is out of bounds".to_owned())
            }
            _ => Err("there is no counter there".to_owned()),
        },
        StatePlace::Value(place) => {
            let PlaceBase::State(id) = place.base else {
                return Err("the place is no state".to_owned());
            };
            let object = &hir.states[id.index()];
            let lambdac_hir::StateKind::Value { ty, .. } = &object.kind else {
                return Err("the object holds no value".to_owned());
            };
            let StateDump::Value(data) = dump(&object.name)? else {
                return Err("there is no value there".to_owned());
            };
            walk(hir, ty, &data, &place.projections)
        }
    }
}

/// What a path of constant steps leads to.
fn walk(hir: &Workload, ty: &Type, data: &Data, path: &[Projection]) -> Result<Value, String> {
    let Some((step, rest)) = path.split_first() else {
        return Ok(to_value(hir, ty, data));
    };
    let index = match step {
        Projection::Field(index) => *index as usize,
        Projection::Index(index) => constant(index)? as usize,
    };
    let inner = match ty {
        Type::Array(elem, _) => (**elem).clone(),
        Type::Struct(id) => hir.strukt(*id).fields[index].ty.clone(),
        _ => return Err("a step into a scalar".to_owned()),
    };
    let element = match data {
        Data::List(list) => list.get(index).cloned(),
        Data::Bytes(bytes) => bytes.get(index).map(|&byte| Data::Int(byte.into())),
        Data::Int(_) => None,
    };
    walk(
        hir,
        &inner,
        &element.ok_or_else(|| "the index is out of bounds".to_owned())?,
        rest,
    )
}

/// An index of a place that a test looks at, which the checker has made a value.
fn constant(index: &lambdac_hir::Expr) -> Result<u64, String> {
    match &index.kind {
        lambdac_hir::ExprKind::Value(value) => Ok(value.as_int()),
        _ => Err("the index is no constant".to_owned()),
    }
}

/// MIR's data as a value of a type.
fn to_value(hir: &Workload, ty: &Type, data: &Data) -> Value {
    match (ty, data) {
        (Type::Bool, Data::Int(value)) => Value::Bool(*value != 0),
        (_, Data::Int(value)) => Value::Int(*value),
        (Type::Array(..), Data::Bytes(bytes)) => {
            Value::Array(bytes.iter().map(|&byte| Value::Int(byte.into())).collect())
        }
        (_, Data::Bytes(bytes)) => Value::Bytes(bytes.to_vec()),
        (Type::Array(elem, _), Data::List(list)) => {
            Value::Array(list.iter().map(|data| to_value(hir, elem, data)).collect())
        }
        (Type::Struct(id), Data::List(list)) => {
            let fields = hir.strukt(*id).fields.iter().zip(list.iter());
            Value::Struct(
                fields
                    .map(|(field, data)| to_value(hir, &field.ty, data))
                    .collect(),
            )
        }
        (_, Data::List(_)) => Value::Unit,
    }
}

/// A value as MIR's data.
fn to_data(shape: &Shape, value: &Value) -> Data {
    match (shape, value) {
        (Shape::Array(elem, _), Value::Array(values)) if **elem == Shape::Scalar(8) => {
            Data::Bytes(values.iter().map(|value| value.as_int() as u8).collect())
        }
        (Shape::Array(elem, _), Value::Array(values)) => {
            Data::List(values.iter().map(|value| to_data(elem, value)).collect())
        }
        (Shape::Struct(fields), Value::Struct(values)) => Data::List(
            fields
                .iter()
                .zip(values)
                .map(|(shape, value)| to_data(shape, value))
                .collect(),
        ),
        (_, Value::Bytes(bytes)) => Data::Bytes(bytes.as_slice().into()),
        (_, Value::Array(_) | Value::Struct(_) | Value::None | Value::Some(_) | Value::Unit) => Data::Int(0),
        (_, scalar) => Data::Int(scalar.as_int()),
    }
}
