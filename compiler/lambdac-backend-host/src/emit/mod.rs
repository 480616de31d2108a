//! MIR to Cranelift IR.
//!
//! - A function becomes a local function `(ctx, arena, arguments…, results*?) -> (status?, result?, result?)`: a
//!   reference is a pointer to its layout, a view a pointer and a length. The status is there only where it can trap,
//!   results that don't fit two registers go through memory.
//! - A lambda becomes one exported function. Its parts are blocks of it: `become` is a jump, and an await returns after
//!   saving what the next part lives on, compactly, in the context's save area.
//! - A scalar slot is a Cranelift variable unless its address is needed; so is the length of a byte string. Other slots
//!   lie on the native stack up to [`STACK_SLOT`] bytes, else in the context's arena. Stack and arena use are summed
//!   over calls at compile time (there is no recursion), so nothing is checked or allocated at run time.
//! - A scalar is held zero-extended to 8, 16, 32 or 64 bits; operations that could set higher bits mask them.

mod branch;
mod bytes;
mod call;
mod copy;
mod dispatch;
mod divide;
mod frame;
mod func;
mod part;
mod place;
mod region;
mod scalar;
mod state;
pub(crate) mod walk;

use cranelift_codegen::Context as CodegenContext;
use cranelift_codegen::ir::{AbiParam, Signature, UserFuncName, types};
use cranelift_codegen::isa::TargetFrontendConfig;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{DataDescription, DataId, FuncId as ClifFuncId, Linkage, Module as ClifModule};
use lambdac_mir as mir;

use crate::{Error, Result, layout};
use frame::Frame;
use func::FnEmitter;

/// The largest slot that lies on the native stack.
pub(crate) const STACK_SLOT: u64 = 4 << 10;
/// Native stack for slots, summed over calls.
pub(crate) const STACK_TOTAL: u64 = 64 << 10;
/// Arena that one invocation may use.
pub(crate) const ARENA_TOTAL: u64 = 256 << 20;
/// How deep functions may call each other.
const CALL_DEPTH: usize = 1000;
/// How deep regions and conditions may nest.
const REGION_DEPTH: usize = 5000;
/// From this depth on, a thread with a large stack compiles.
const DEEP: usize = 50;
/// Its stack: about 16 KiB a level, of which only what is touched takes memory.
const DEEP_STACK: usize = REGION_DEPTH * (16 << 10);

/// What the caller of an entry must provide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryNeeds {
    /// Bytes of `Context::arena`.
    pub arena_bytes: u64,
    /// Bytes of `Context::save`.
    pub save_bytes: u64,
}

/// An entry that was compiled.
pub(crate) struct Compiled {
    pub(crate) id: ClifFuncId,
    pub(crate) symbol: String,
    pub(crate) needs: EntryNeeds,
}

/// All entries of a module.
pub(crate) struct CompiledModule {
    pub(crate) lambdas: Vec<Compiled>,
    pub(crate) dispatch: Compiled,
}

/// What callers must know of a compiled function.
pub(crate) struct FuncInfo {
    pub(crate) id: ClifFuncId,
    pub(crate) abi: FuncAbi,
    pub(crate) arena: u64,
    pub(crate) stack: u64,
    pub(crate) depth: usize,
}

/// The calling shape of a function.
#[derive(Clone)]
pub(crate) struct FuncAbi {
    pub(crate) signature: Signature,
    pub(crate) traps: bool,
    /// How many results come in registers; the others through memory.
    pub(crate) direct: usize,
}

/// Everything that is one per module.
pub(crate) struct Env<'m> {
    pub(crate) module: &'m mir::Module,
    pub(crate) clif: &'m mut dyn ClifModule,
    pub(crate) config: TargetFrontendConfig,
    pub(crate) consts: Vec<DataId>,
    pub(crate) params: Vec<u64>,
    pub(crate) funcs: Vec<FuncInfo>,
    /// Receives the text of each function where it is wanted.
    pub(crate) text: Option<&'m mut String>,
    codegen: CodegenContext,
    builder: FunctionBuilderContext,
}

/// A function to be made: what is common to functions, lambdas and the match stage.
struct Making {
    at: String,
    id: ClifFuncId,
    signature: Signature,
}

/// Compiles a module into `clif`; symbols are `lnic_` + workload + `_` + lambda, made unique against `symbols`.
pub(crate) fn compile_module<'m>(
    module: &'m mir::Module,
    clif: &'m mut (dyn ClifModule + Send),
    symbols: &mut std::collections::BTreeSet<String>,
    text: Option<&'m mut String>,
) -> Result<CompiledModule> {
    let depth = walk::depth(module);
    if depth > REGION_DEPTH {
        return Err(Error::TooDeep {
            what: format!("`{}`", module.name),
            depth,
            limit: REGION_DEPTH,
        });
    }
    if depth <= DEEP {
        return Env::compile(module, clif, symbols, text);
    }
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new()
            .stack_size(DEEP_STACK)
            .spawn_scoped(scope, || Env::compile(module, clif, symbols, text))
            .map_err(|error| Error::Host(error.to_string()))?;
        match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

impl<'m> Env<'m> {
    fn compile(
        module: &'m mir::Module,
        clif: &'m mut dyn ClifModule,
        symbols: &mut std::collections::BTreeSet<String>,
        text: Option<&'m mut String>,
    ) -> Result<CompiledModule> {
        let config = clif.target_config();
        if config.pointer_width.bits() != 64 || cfg!(target_endian = "big") {
            return Err(Error::Host("only 64-bit little-endian machines are".into()));
        }
        let mut env = Env {
            module,
            clif,
            config,
            consts: Vec::new(),
            params: layout::params(&module.params)?.0,
            funcs: Vec::new(),
            text,
            codegen: CodegenContext::new(),
            builder: FunctionBuilderContext::new(),
        };
        env.define_consts()?;
        for func in &module.funcs {
            let info = env.compile_func(func)?;
            env.funcs.push(info);
        }
        let mut unique = |name: &str| {
            let wanted = format!("lnic_{}_{name}", module.name);
            let mut symbol = wanted.clone();
            let mut suffix = 2;
            while !symbols.insert(symbol.clone()) {
                symbol = format!("{wanted}__{suffix}");
                suffix += 1;
            }
            symbol
        };
        let mut lambdas = Vec::new();
        for lambda in &module.lambdas {
            lambdas.push(env.compile_lambda(lambda, unique(&lambda.name))?);
        }
        let dispatch = env.compile_dispatch(unique("_dispatch"))?;
        Ok(CompiledModule { lambdas, dispatch })
    }

    fn define_consts(&mut self) -> Result<()> {
        for constant in &self.module.consts {
            let bytes = layout::encoded(&constant.shape, &constant.data)?;
            let id = self.data(&bytes)?;
            self.consts.push(id);
        }
        Ok(())
    }

    /// Read-only data with these bytes.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> Result<DataId> {
        let id = self.clif.declare_anonymous_data(false, false);
        let id = id.map_err(|error| codegen_error("a constant".into(), &error))?;
        let mut data = DataDescription::new();
        data.set_align(16);
        // Linkers and loaders want no empty data.
        data.define(if bytes.is_empty() {
            [0].into()
        } else {
            bytes.into()
        });
        self.clif
            .define_data(id, &data)
            .map_err(|error| codegen_error("a constant".into(), &error))?;
        Ok(id)
    }

    /// The signature of entries.
    fn entry_signature(&self) -> Signature {
        let mut signature = self.clif.make_signature();
        signature.params.push(AbiParam::new(types::I64));
        signature.returns.push(AbiParam::new(types::I32));
        signature
    }

    /// Makes one function: `emit` fills it in, given an emitter with an empty frame.
    fn make<T>(
        &mut self,
        making: Making,
        body: &mir::Body,
        facts: walk::Facts,
        emit: impl FnOnce(&mut FnEmitter<'_, '_, 'm>) -> Result<T>,
    ) -> Result<(T, Frame)> {
        let mut codegen = std::mem::replace(&mut self.codegen, CodegenContext::new());
        let mut builder = std::mem::take(&mut self.builder);
        codegen.clear();
        codegen.func.signature = making.signature;
        codegen.func.name = UserFuncName::user(0, making.id.as_u32());
        let below = self.frame_below(&making.at, &facts.calls)?;
        let config = self.config;
        let function = FunctionBuilder::new(&mut codegen.func, &mut builder);
        let mut emitter = FnEmitter::new(function, self, body, facts, below, making.at.clone());
        let out = emit(&mut emitter)?;
        emitter.b.seal_all_blocks();
        let FnEmitter { b, frame, .. } = emitter;
        b.finalize(config);
        if let Some(text) = self.text.as_deref_mut() {
            use std::fmt::Write;
            let _ = write!(text, "; {}\n{}\n", making.at, codegen.func.display());
        }
        self.clif
            .define_function(making.id, &mut codegen)
            .map_err(|error| codegen_error(making.at, &error))?;
        self.codegen = codegen;
        self.builder = builder;
        Ok((out, frame))
    }

    /// What calls take of the frame, as the start of the caller's own.
    fn frame_below(&self, at: &str, calls: &[mir::FuncId]) -> Result<Frame> {
        let callees = || calls.iter().map(|id| &self.funcs[id.index()]);
        let depth = 1 + callees().map(|info| info.depth).max().unwrap_or(0);
        if depth > CALL_DEPTH {
            return Err(Error::TooDeep {
                what: at.into(),
                depth,
                limit: CALL_DEPTH,
            });
        }
        Ok(Frame {
            stack: callees().map(|info| info.stack).max().unwrap_or(0),
            arena: callees().map(|info| info.arena).max().unwrap_or(0),
            depth,
        })
    }

    fn declare(&mut self, symbol: Option<&str>, signature: &Signature, at: &str) -> Result<ClifFuncId> {
        match symbol {
            Some(symbol) => self.clif.declare_function(symbol, Linkage::Export, signature),
            None => self.clif.declare_anonymous_function(signature),
        }
        .map_err(|error| codegen_error(at.into(), &error))
    }
}

pub(crate) fn codegen_error(at: String, error: &cranelift_module::ModuleError) -> Error {
    let reason = match error {
        cranelift_module::ModuleError::Compilation(inner) => inner.to_string(),
        other => other.to_string(),
    };
    Error::Codegen { at, reason }
}
