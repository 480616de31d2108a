//! The manifest of an image: what HIR, analysis and MIR say, as the bundle writes it.

use std::collections::BTreeMap;

use lambdac_analysis::{Analysis, LambdaInfo};
use lambdac_hir::{Dispatch, Target, Workload};
use lambdac_mir::{MessageSize, Module};
use lnic_bundle as bundle;

use crate::image::Linked;
use crate::nic::{Place, Places, as_written};
use crate::{Image, bmv2, nfp};

/// The manifest of an image for some targets; file hashes are filled in when it is written.
pub fn manifest(image: &Image, targets: &[&str]) -> bundle::Manifest {
    bundle::Manifest {
        schema: bundle::SCHEMA,
        workloads: image
            .workloads
            .iter()
            .map(|linked| workload(linked, targets))
            .collect(),
        targets: targets.iter().map(|&name| name.to_owned()).collect(),
        files: BTreeMap::new(),
    }
}

fn workload(linked: &Linked, targets: &[&str]) -> bundle::Workload {
    let (hir, analysis) = &*linked.compiled.checked;
    let module = &linked.compiled.module;
    let lambdas = module.lambdas.iter().zip(&analysis.lambdas);
    let facts = lnic_engine::MessageFacts::of(module);
    let places = by_target(linked, targets);
    bundle::Workload {
        name: module.name.to_string(),
        id: linked.id,
        request: message(&request_type(hir, module), facts.request),
        reply: message(&reply_type(hir, module), facts.reply),
        fragment: facts.fragment,
        lambdas: lambdas
            .enumerate()
            .map(|(index, (lambda, info))| bundle::Lambda {
                placement: placement(&places, index),
                ..lambda_entry(hir, analysis, lambda, info)
            })
            .collect(),
        state: module.objects.iter().map(|item| object(item, &places)).collect(),
        services: module.services.iter().map(service).collect(),
        params: module.params.iter().map(param).collect(),
    }
}

/// Where everything is, for each target; none for the host, which runs all.
type ByTarget<'t> = Vec<(&'t str, Option<Places>)>;

fn by_target<'t>(linked: &Linked, targets: &[&'t str]) -> ByTarget<'t> {
    let compiled = &linked.compiled;
    let places = |name: &str| match name {
        "host" => None,
        // Without places there is no program either, and no bundle.
        bmv2::NAME => bmv2::places(&compiled.checked, &compiled.module).ok(),
        nfp::NAME => nfp::places(&compiled.checked, &compiled.module, &as_written).ok(),
        _ => Some(Places::of(&compiled.checked, &compiled.module)),
    };
    targets.iter().map(|&name| (name, places(name))).collect()
}

fn placement(places: &ByTarget<'_>, lambda: usize) -> BTreeMap<String, bundle::Placement> {
    let one = |places: &Option<Places>| match places.as_ref().and_then(|p| p.lambdas().get(lambda)) {
        Some(Place::Host { code, reason }) => bundle::Placement::Host {
            code: code.clone(),
            reason: reason.clone(),
        },
        Some(Place::Native) | None => bundle::Placement::Native,
    };
    let all = places
        .iter()
        .map(|(name, places)| ((*name).to_owned(), one(places)));
    all.collect()
}

fn message(ty: &str, size: MessageSize) -> bundle::Message {
    bundle::Message {
        ty: ty.to_owned(),
        min: size.min,
        max: size.max,
    }
}

/// T of the match, or of the only lambda.
fn request_type(hir: &Workload, module: &Module) -> String {
    match &hir.dispatch {
        Dispatch::Match(stage) => hir.type_name(&stage.request),
        Dispatch::Only(id) => module.lambdas[id.index()].request_type.to_string(),
        Dispatch::Unreachable => "none".to_owned(),
    }
}

/// R of the lambdas that requests can reach, where they agree; else the largest as bytes.
fn reply_type(hir: &Workload, module: &Module) -> String {
    let reached: Vec<_> = match &hir.dispatch {
        Dispatch::Only(id) => vec![id.index()],
        Dispatch::Unreachable => Vec::new(),
        Dispatch::Match(stage) => {
            let lambda = |rule: &lambdac_hir::Rule| match rule.target {
                Target::Lambda(id) => Some(id.index()),
                Target::Drop | Target::Punt => None,
            };
            stage.rules.iter().filter_map(lambda).collect()
        }
    };
    let mut types = reached
        .iter()
        .map(|&index| module.lambdas[index].reply_type.clone());
    match types.next() {
        None => "none".to_owned(),
        Some(first) if types.all(|ty| ty == first) => first.to_string(),
        Some(_) => {
            let max = reached.iter().map(|&index| module.lambdas[index].reply.max).max();
            format!("bytes<{}>", max.unwrap_or(0))
        }
    }
}

fn lambda_entry(
    hir: &Workload,
    analysis: &Analysis,
    lambda: &lambdac_mir::Lambda,
    info: &LambdaInfo,
) -> bundle::Lambda {
    let mut state: Vec<_> = info.reads.iter().chain(&info.writes).copied().collect();
    state.sort_unstable();
    state.dedup();
    debug_assert!(info.component < analysis.components.len());
    bundle::Lambda {
        name: lambda.name.to_string(),
        stream: lambda.stream,
        request: message(&lambda.request_type, lambda.request),
        reply: message(&lambda.reply_type, lambda.reply),
        state: state
            .iter()
            .map(|id| hir.states[id.index()].name.to_string())
            .collect(),
        services: info
            .services
            .iter()
            .map(|id| hir.services[id.index()].name.to_string())
            .collect(),
        component: info.component as u32,
        worst_case_steps: info.steps,
        placement: BTreeMap::new(),
    }
}

fn object(object: &lambdac_mir::Object, places: &ByTarget<'_>) -> bundle::Object {
    let is_table = matches!(object.kind, lambdac_mir::ObjectKind::Table { .. });
    let side = |places: &Option<Places>| match places {
        None => bundle::Side::Native,
        Some(_) if is_table => bundle::Side::Both,
        Some(places) if places.on_nic(&object.name) => bundle::Side::Native,
        Some(_) => bundle::Side::Host,
    };
    let all = places
        .iter()
        .map(|(name, places)| ((*name).to_owned(), side(places)));
    bundle::Object {
        side: all.collect(),
        name: object.name.to_string(),
        ty: object.decl.to_string(),
    }
}

fn service(service: &lambdac_mir::Service) -> bundle::Service {
    bundle::Service {
        name: service.name.to_string(),
        protocol: match service.protocol {
            lambdac_mir::Protocol::Memcached => "memcached".to_owned(),
        },
        address: service.address.to_string(),
        timeout_ns: service.timeout,
    }
}

fn param(param: &lambdac_mir::Param) -> bundle::Param {
    bundle::Param {
        name: param.name.to_string(),
        required: param.default.is_none(),
    }
}
