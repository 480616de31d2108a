//! Code in memory.

use std::collections::BTreeSet;
use std::sync::Mutex;

use cranelift_jit::{ArenaMemoryProvider, JITBuilder, JITModule};
use lambdac_mir::Module;

use crate::context::{Context, Entry};
use crate::emit::{self, Compiled, EntryNeeds};
use crate::isa::{Use, isa};
use crate::{Error, Result, layout};

unsafe extern "C" {
    fn memcpy(dst: *mut u8, src: *const u8, len: usize) -> *mut u8;
    fn memmove(dst: *mut u8, src: *const u8, len: usize) -> *mut u8;
    fn memset(dst: *mut u8, byte: i32, len: usize) -> *mut u8;
    fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32;
}

/// The code of one workload. It is never writable and executable at once, and is freed when this is dropped; who runs
/// it keeps it alive (the engine by an `Arc`).
pub struct JitCode {
    lambdas: Vec<(Entry, EntryNeeds)>,
    dispatch: (Entry, EntryNeeds),
    /// Owns the memory; only ever taken, by `drop`.
    module: Mutex<Option<JITModule>>,
}

impl JitCode {
    /// How many lambdas there are.
    pub fn lambdas(&self) -> usize {
        self.lambdas.len()
    }

    /// What a lambda needs.
    pub fn needs(&self, lambda: usize) -> EntryNeeds {
        self.lambdas[lambda].1
    }

    /// What the match stage needs.
    pub fn dispatch_needs(&self) -> EntryNeeds {
        self.dispatch.1
    }

    /// Runs a lambda, or a later part of it; gives a [`crate::context::status`].
    ///
    /// # Safety
    /// All pointers of the context are as its fields say, for this module; the memory they reach is nobody else's,
    /// apart from objects. `part`, `save` and `save_len` are 0 or as an earlier call of the same lambda left them.
    #[inline]
    pub unsafe fn run(&self, lambda: usize, ctx: &mut Context) -> u32 {
        // SAFETY: the entry lies in memory that `module` owns; the rest is the caller's promise.
        unsafe { (self.lambdas[lambda].0)(ctx) }
    }

    /// Runs the match stage; gives a lambda's index or one of [`crate::context::dispatch`].
    ///
    /// # Safety
    /// As for [`JitCode::run`].
    #[inline]
    pub unsafe fn dispatch(&self, ctx: &mut Context) -> u32 {
        // SAFETY: as in `run`.
        unsafe { (self.dispatch.0)(ctx) }
    }
}

impl std::fmt::Debug for JitCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JitCode")
            .field("lambdas", &self.lambdas)
            .finish_non_exhaustive()
    }
}

impl Drop for JitCode {
    fn drop(&mut self) {
        let module = self
            .module
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(module) = module.take() {
            // SAFETY: entries are reached through `self` alone, so nobody runs them any more.
            unsafe { module.free_memory() };
        }
    }
}

/// Address space for a module's code and data: they stay near each other, as relative calls need. Only what is used
/// takes memory.
fn reserve(module: &Module) -> Result<usize> {
    let mut bytes = 16 << 20;
    for constant in &module.consts {
        bytes += layout::layout(&constant.shape)?.size.next_multiple_of(16) as usize;
    }
    let mut statements = 0;
    module.for_each_region(&mut |region| {
        emit::walk::walk(region, &mut |_| statements += 1, &mut |_| ());
    });
    Ok(bytes + statements * 2048)
}

/// Compiles a module for this process.
///
/// # Errors
/// [`Error`]: it is too large or deep, breaks MIR's invariants, or there is no memory for it.
pub fn compile_jit(module: &Module) -> Result<JitCode> {
    let mut builder = JITBuilder::with_isa(isa(Use::Jit)?, cranelift_module::default_libcall_names());
    let memory = ArenaMemoryProvider::new_with_size(reserve(module)?);
    builder.memory_provider(Box::new(memory.map_err(|error| Error::Host(error.to_string()))?));
    builder.symbol("memcpy", memcpy as *const u8);
    builder.symbol("memmove", memmove as *const u8);
    builder.symbol("memset", memset as *const u8);
    builder.symbol("memcmp", memcmp as *const u8);
    let mut owned = Unfinished(Some(JITModule::new(builder)));
    let Some(jit) = owned.0.as_mut() else {
        return Err(Error::Host("no code memory".into()));
    };
    let compiled = emit::compile_module(module, jit, &mut BTreeSet::new(), None)?;
    jit.finalize_definitions()
        .map_err(|error| emit::codegen_error(format!("`{}`", module.name), &error))?;
    let entry = |compiled: &Compiled| {
        let address = jit.get_finalized_function(compiled.id);
        // SAFETY: the function was made with exactly this signature.
        let entry = unsafe { std::mem::transmute::<*const u8, Entry>(address) };
        (entry, compiled.needs)
    };
    Ok(JitCode {
        lambdas: compiled.lambdas.iter().map(entry).collect(),
        dispatch: entry(&compiled.dispatch),
        module: Mutex::new(owned.0.take()),
    })
}

/// Frees the memory of a module that did not become code.
struct Unfinished(Option<JITModule>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(module) = self.0.take() {
            // SAFETY: no pointer into it was given out.
            unsafe { module.free_memory() };
        }
    }
}
