//! Workloads to an object.

use lambdac_mir::{LambdaId, Module, Param};

use crate::abi;
use crate::asm::AsmError;
use crate::emit::{self, Entry, Shared, Site};
use crate::layout::{self, Made};
use crate::names;
use crate::object::{DataSection, Map, MapKind, Object, SourceFile, Type, Variable};
use crate::wait::{self, Slots};
use crate::{dispatch, expand, finish, shared};

/// The largest value of a per-CPU array (PCPU_MIN_UNIT_SIZE of Linux include/linux/percpu.h).
const PER_CPU_VALUE: u32 = 32 << 10;
/// Processors that `scratch` has memory for where it is no per-CPU array; the loader sets what the machine has.
const PROCESSORS: u32 = 64;

/// A workload of an image.
#[derive(Clone, Debug)]
pub struct Workload<'a> {
    /// The number that requests carry; its low 16 bits are its own in the image.
    pub id: u32,
    /// Its MIR, after passes and the await split.
    pub module: &'a Module,
    /// By lambda: whether it runs here. A request for another goes up the stack.
    pub native: Vec<bool>,
}

/// What changes an object.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// For `test` items: each lambda also has a program of its own, and clock, dice and ingress port come from
    /// [`abi::TEST`].
    pub test: bool,
    /// Trips, nested loops multiplied, up to which a loop is walked by the verifier.
    pub inline_trips: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            test: false,
            inline_trips: 32,
        }
    }
}

/// Why there is no object: limits that [`crate::legalise`] does not foresee, or a bug.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A workload has no code.
    #[error("workload `{workload}`: {reason}")]
    Workload {
        /// Its name.
        workload: String,
        /// Why.
        reason: String,
    },
    /// A function of the image itself has no code.
    #[error(transparent)]
    Assembler(#[from] AsmError),
}

/// The object of an image.
///
/// # Errors
/// [`Error`].
pub fn compile(workloads: &[Workload<'_>], options: &Options) -> Result<Object, Error> {
    let (object, scratch) = image(workloads, options, false)?;
    if scratch <= PER_CPU_VALUE {
        return Ok(object);
    }
    // Too much for a per-CPU array, which nobody knows before: then all programs find their memory by processor.
    Ok(image(workloads, options, true)?.0)
}

/// The object, and how much memory an invocation needs; whether programs look for it by processor.
fn image(workloads: &[Workload<'_>], options: &Options, by_cpu: bool) -> Result<(Object, u32), Error> {
    let count = workloads.len() as u32;
    let ids: Vec<u32> = workloads.iter().map(|workload| workload.id).collect();
    let mut object = Object {
        maps: shared::maps(count),
        sections: shared::sections(options.test),
        ..Object::default()
    };
    // What emits a workload looks into its continuations, so they are laid out after it is expanded.
    let expanded: Vec<Module> = workloads
        .iter()
        .map(|workload| expand::expand(workload.module))
        .collect();
    let sites = workloads.iter().zip(&expanded);
    let sites: Vec<Vec<Site>> = sites
        .map(|(workload, module)| emit::sites(module, &workload.native))
        .collect();
    let slots = Slots::new(sites.iter().flatten().map(|site| site.bytes).max().unwrap_or(0));
    object.programs.push(dispatch::dispatch(&ids, slots.is_some())?);
    object.functions = finish::functions()?;
    let mut scratch = 8;
    if let Some(slots) = slots {
        scratch = waits(&mut object, slots, (count, by_cpu), options)?;
    }
    let modules = workloads.iter().zip(&expanded).zip(sites);
    for (position, ((workload, module), sites)) in modules.enumerate() {
        let shared = Shared::new(
            module,
            position as u32,
            workload,
            options,
            object.files.len() as u32,
        );
        let shared = Shared {
            sites,
            slots,
            by_cpu,
            ..shared
        };
        scratch = scratch.max(add(&mut object, &shared, options)?);
    }
    let scratch = scratch.next_multiple_of(8);
    object.maps.push(scratch_map(scratch, by_cpu));
    Ok((object, scratch))
}

fn scratch_map(bytes: u32, by_cpu: bool) -> Map {
    Map {
        name: abi::SCRATCH.to_owned(),
        kind: if by_cpu {
            MapKind::Array
        } else {
            MapKind::PercpuArray
        },
        key: Some(Type::U32),
        value: Some(Type::bytes(bytes)),
        max_entries: if by_cpu { PROCESSORS } else { 1 },
        flags: 0,
    }
}

/// Adds what an image has in which lambdas wait; gives the memory that its programs need.
fn waits(
    object: &mut Object,
    slots: Slots,
    (workloads, by_cpu): (u32, bool),
    options: &Options,
) -> Result<u32, Error> {
    object.maps.extend(wait::maps(slots, workloads));
    object.sections.push(wait::ports());
    object.functions.extend(wait::functions(slots)?);
    let shared = Shared::of_answers(slots, options.test, by_cpu);
    let mut scratch = 0;
    for (name, entry) in [
        (abi::wait::ANSWER, Entry::Answer),
        (abi::wait::EXPIRE, Entry::Expire),
    ] {
        let emitted = emit::program(&shared, name, entry).map_err(|error| Error::Workload {
            workload: name.to_owned(),
            reason: error.to_string(),
        })?;
        scratch = scratch.max(emitted.scratch);
        object.programs.push(emitted.program);
        object.functions.extend(emitted.callbacks);
    }
    Ok(scratch)
}

/// Adds a workload; gives the memory that its invocations need.
fn add(object: &mut Object, shared: &Shared<'_>, options: &Options) -> Result<u32, Error> {
    let module = shared.module;
    object.files.extend(module.files.iter().map(|name| SourceFile {
        name: name.to_string(),
        text: None,
    }));
    for item in &module.objects {
        match layout::make(&module.name, item) {
            Made::Section(section) => object.sections.push(section),
            Made::Map(map) => object.maps.push(map),
        }
    }
    object.sections.extend(consts(module));
    object.sections.extend(params(&module.name, &module.params));
    let mut entries = vec![(abi::workload_program(&module.name), Entry::Dispatch)];
    if !shared.sites.is_empty() {
        object.sections.extend(wait::services(module));
        entries.push((abi::wait::resume_program(&module.name), Entry::Resume));
    }
    if options.test {
        for (index, lambda) in module.lambdas.iter().enumerate() {
            if shared.native.get(index) == Some(&true) {
                let name = abi::lambda_program(&module.name, &lambda.name);
                entries.push((name, Entry::Lambda(LambdaId(index as u32))));
            }
        }
    }
    let mut scratch = 0;
    for (name, entry) in entries {
        let emitted = emit::program(shared, &name, entry).map_err(|error| Error::Workload {
            workload: module.name.to_string(),
            reason: format!("{name}: {error}"),
        })?;
        scratch = scratch.max(emitted.scratch);
        object.programs.push(emitted.program);
        object.functions.extend(emitted.callbacks);
    }
    Ok(scratch)
}

/// The section of a workload's constants.
fn consts(module: &Module) -> Option<DataSection> {
    if module.consts.is_empty() {
        return None;
    }
    let sizes = module.consts.iter().map(|item| layout::value_bytes(&item.shape));
    let (offsets, size) = layout::packed(sizes);
    let mut bytes = vec![0; size as usize];
    for (item, offset) in module.consts.iter().zip(offsets) {
        let len = layout::value_bytes(&item.shape) as usize;
        layout::encode_value(&item.shape, &item.data, &mut bytes[offset as usize..][..len]);
    }
    Some(section(
        layout::consts_section(&module.name),
        names::made("consts", &module.name),
        bytes,
    ))
}

/// The section of a workload's parameters, with their defaults.
fn params(workload: &str, params: &[Param]) -> Option<DataSection> {
    if params.is_empty() {
        return None;
    }
    let (offsets, size) = layout::params(params);
    let mut bytes = vec![0; size as usize];
    for (param, offset) in params.iter().zip(offsets) {
        let len = layout::value_bytes(&param.shape) as usize;
        if let Some(data) = &param.default {
            layout::encode_value(&param.shape, data, &mut bytes[offset as usize..][..len]);
        }
    }
    Some(section(
        layout::params_section(workload),
        names::made("params", workload),
        bytes,
    ))
}

fn section(name: String, variable: String, bytes: Vec<u8>) -> DataSection {
    let ty = Type::bytes(bytes.len() as u32);
    DataSection {
        name,
        bytes,
        variables: vec![Variable {
            name: variable,
            offset: 0,
            ty,
        }],
    }
}

impl<'m> Shared<'m> {
    fn new(
        module: &'m Module,
        position: u32,
        workload: &'m Workload<'_>,
        options: &Options,
        first_file: u32,
    ) -> Self {
        let (consts, _) = layout::packed(module.consts.iter().map(|item| layout::value_bytes(&item.shape)));
        let (params, _) = layout::params(&module.params);
        Self {
            module,
            position,
            id: workload.id,
            native: &workload.native,
            test: options.test,
            first_file,
            consts,
            params,
            inline_trips: options.inline_trips,
            by_cpu: false,
            sites: Vec::new(),
            slots: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insn::{Helper, Insn};

    /// A lambda that has so many words of memory and uses them.
    fn with_words(words: u32) -> Module {
        let text = format!(
            r#"
module "m"
lambda l0 "f" request "[u32; 1]" 4..4 reply "[u32; 1]" 4..4 {{
  slot s0 "words": [i64 x {words}]
  part0() {{
    zero s0
    v0: i32 = const 0
    v1: i32 = const 4
    reply req[v0 +: v1]
  }}
}}
dispatch only l0
"#
        );
        lambdac_mir::parse(&text).unwrap()
    }

    #[test]
    fn memory_beyond_what_a_per_cpu_array_holds_is_found_by_processor() {
        for (words, kind, entries) in [(100, MapKind::PercpuArray, 1), (5000, MapKind::Array, PROCESSORS)] {
            let module = with_words(words);
            let workload = Workload {
                id: 0x0001_0001,
                module: &module,
                native: vec![true],
            };
            let object = compile(&[workload], &Options::default()).unwrap();
            let scratch = object.maps.iter().find(|map| map.name == abi::SCRATCH).unwrap();
            assert_eq!((scratch.kind, scratch.max_entries), (kind, entries));
            let mut insns = object.programs.iter().flat_map(|program| program.insns());
            let asks = insns.any(|insn| *insn == Insn::CallHelper(Helper::GetSmpProcessorId));
            assert_eq!(asks, kind == MapKind::Array);
        }
    }
}
