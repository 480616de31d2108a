//! Workloads, and sets of them.

use std::sync::Arc;

use lambdac_backend_host::{JitCode, compile_jit};
use lambdac_mir::{Data, LambdaId, Module};

use crate::error::{Error, Result};
use crate::facts::MessageFacts;
use crate::objects::Objects;
use crate::params::Params;

/// A value for a parameter of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamOverride {
    /// The workload.
    pub workload: String,
    /// The parameter.
    pub param: String,
    /// Its value.
    pub value: Data,
}

/// Code, parameters and objects of one workload.
#[derive(Debug)]
pub struct Workload {
    pub(crate) module: Arc<Module>,
    pub(crate) code: Arc<JitCode>,
    pub(crate) objects: Arc<Objects>,
    pub(crate) params: Params,
    /// Lambdas that the match can reach.
    pub(crate) reachable: Vec<LambdaId>,
    pub(crate) max_reply: usize,
    pub(crate) facts: MessageFacts,
}

impl Workload {
    fn load(module: &Arc<Module>, overrides: &[ParamOverride], previous: Option<&Workload>) -> Result<Self> {
        if let Err(errors) = lambdac_mir::validate(module) {
            return Err(Error::Invalid {
                workload: module.name.to_string(),
                reason: errors.first().map_or_else(String::new, ToString::to_string),
            });
        }
        let values: Vec<(&str, Data)> = overrides
            .iter()
            .filter(|each| *each.workload == *module.name)
            .map(|each| (each.param.as_str(), each.value.clone()))
            .collect();
        let params = Params::new(module, &values)?;
        let unchanged = previous.filter(|old| Arc::ptr_eq(&old.module, module) || old.module == *module);
        let code = match unchanged {
            Some(old) => old.code.clone(),
            None => Arc::new(compile_jit(module).map_err(|source| Error::Compile {
                workload: module.name.to_string(),
                source,
            })?),
        };
        let objects = Objects::new(module, previous.map(|old| &*old.objects))?.into();
        Ok(Self {
            module: module.clone(),
            code,
            objects,
            params,
            reachable: module.dispatch.lambdas().into_iter().collect(),
            facts: MessageFacts::of(module),
            max_reply: module
                .lambdas
                .iter()
                .map(|lambda| lambda.reply.max as usize)
                .max()
                .unwrap_or(0),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.module.name
    }

    /// What it was loaded from.
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// Its state and tables.
    pub fn objects(&self) -> &Arc<Objects> {
        &self.objects
    }

    /// Its parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The most bytes that any of its lambdas replies with (a stream lambda: to one chunk).
    pub fn max_reply(&self) -> usize {
        self.max_reply
    }

    /// Lambdas that the match can reach, in source order; those that only `punt name` reaches are not among them.
    pub fn reachable(&self) -> &[LambdaId] {
        &self.reachable
    }

    /// Sizes of its messages.
    pub fn facts(&self) -> &MessageFacts {
        &self.facts
    }
}

/// A set of workloads, loaded together. Its order is the modules'.
#[derive(Clone, Debug, Default)]
pub struct Image {
    workloads: Vec<Arc<Workload>>,
}

impl Image {
    /// Compiles modules. Objects of `previous` whose declaration is unchanged are shared with it, and so is code of
    /// modules that are unchanged; both images may run at the same time.
    ///
    /// # Errors
    /// The first workload that cannot be loaded.
    pub fn load(
        modules: &[Arc<Module>],
        overrides: &[ParamOverride],
        previous: Option<&Image>,
    ) -> Result<Self> {
        let mut names = std::collections::BTreeSet::new();
        for module in modules {
            if !names.insert(&module.name) {
                return Err(Error::Duplicate(module.name.to_string()));
            }
        }
        if let Some(each) = overrides
            .iter()
            .find(|each| !names.iter().any(|name| ***name == *each.workload))
        {
            return Err(Error::UnknownParam {
                workload: each.workload.clone(),
                param: each.param.clone(),
            });
        }
        let old = |name: &str| previous.and_then(|image| image.find(name));
        let load = |module: &Arc<Module>| {
            Workload::load(module, overrides, old(&module.name).map(|old| &**old)).map(Arc::new)
        };
        let workloads = modules.iter().map(load).collect::<Result<_>>()?;
        Ok(Self { workloads })
    }

    /// The workloads.
    pub fn workloads(&self) -> &[Arc<Workload>] {
        &self.workloads
    }

    /// The workload of a name.
    pub fn find(&self, name: &str) -> Option<&Arc<Workload>> {
        self.workloads.iter().find(|workload| workload.name() == name)
    }
}
