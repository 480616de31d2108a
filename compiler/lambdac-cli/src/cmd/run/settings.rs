//! The flags of `run` as the worker's configuration and the image's parameters.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;

use lambdac_driver::Image;
use lnic_engine::{ParamOverride, parse_param};
use lnic_host::{Config, Prefix};

use crate::args::Run;
use crate::exit::{Exit, Result};

/// Where the λ wire is served unless told otherwise.
const WIRE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), lnic_wire::DEFAULT_PORT);

/// What the worker is told.
pub fn config(args: &Run) -> Result<Config> {
    let mut config = Config {
        wire: args.listen.unwrap_or(WIRE),
        http: args.http,
        ..Config::default()
    };
    config.threads = args
        .threads
        .and_then(|threads| NonZero::new(usize::from(threads)));
    if !args.trusted.is_empty() {
        config.trusted = prefixes(&args.trusted)?;
    }
    config.trusted_proxies = prefixes(&args.trusted_proxy)?;
    for text in &args.service {
        let (name, address) = pair(text, "W.NAME=ADDR:PORT")?;
        dotted(name, "W.NAME=ADDR:PORT")?;
        config.services.insert(name.to_owned(), address.to_owned());
    }
    for text in &args.fallback {
        let (workload, url) = pair(text, "W=URL")?;
        config.fallbacks.insert(workload.to_owned(), url.to_owned());
    }
    Ok(config)
}

fn prefixes(texts: &[String]) -> Result<Vec<Prefix>> {
    let one = |text: &String| {
        text.parse()
            .map_err(|error| Exit::Usage(format!("{text:?}: {error}")))
    };
    texts.iter().map(one).collect()
}

fn pair<'t>(text: &'t str, form: &str) -> Result<(&'t str, &'t str)> {
    text.split_once('=')
        .ok_or_else(|| Exit::Usage(format!("{text:?} is not of the form {form}")))
}

fn dotted<'t>(text: &'t str, form: &str) -> Result<(&'t str, &'t str)> {
    text.split_once('.')
        .ok_or_else(|| Exit::Usage(format!("{text:?} is not of the form {form}")))
}

/// Params from the environment (LNIC_PARAM_WORKLOAD_NAME), and over them those from the command line. One that is no
/// workload's is an error for the `first` image; of a later one its workload may have gone.
pub fn params(args: &Run, image: &Image, first: bool) -> Result<Vec<ParamOverride>> {
    let mut overrides = Vec::new();
    for linked in &image.workloads {
        let module = &linked.compiled.module;
        for param in &module.params {
            let variable = format!("LNIC_PARAM_{}_{}", module.name, param.name).to_uppercase();
            if let Ok(text) = std::env::var(&variable) {
                overrides.extend(value(image, &module.name, &param.name, &text, &variable)?);
            }
        }
    }
    for text in &args.param {
        let (name, given) = pair(text, "W.NAME=V")?;
        let (workload, param) = dotted(name, "W.NAME=V")?;
        match value(image, workload, param, given, text)? {
            Some(value) => overrides.push(value),
            None if first => {
                return Err(Exit::Usage(format!(
                    "{text:?}: there is no param {workload}.{param}"
                )));
            }
            None => tracing::warn!(%workload, %param, "the param that was given is no workload's any more"),
        }
    }
    Ok(overrides)
}

/// A param's value; none if there is no such param.
fn value(
    image: &Image,
    workload: &str,
    param: &str,
    text: &str,
    source: &str,
) -> Result<Option<ParamOverride>> {
    let mut modules = image.workloads.iter().map(|linked| &linked.compiled.module);
    let module = modules.find(|module| &*module.name == workload);
    let Some(found) = module.and_then(|module| module.params.iter().find(|item| &*item.name == param)) else {
        return Ok(None);
    };
    let value = parse_param(found, text).map_err(|error| Exit::Usage(format!("{source:?}: {error}")))?;
    Ok(Some(ParamOverride {
        workload: workload.to_owned(),
        param: param.to_owned(),
        value,
    }))
}

/// An error with all its causes on one line.
pub fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}
