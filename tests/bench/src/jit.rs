//! A lambda as host code, called as directly as its twin: no worker, no engine.

use std::ffi::c_void;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use anyhow::{Result, bail};
use lambdac_backend_host::context::{Context, Object, Runtime, ServiceAnswer, ServiceRequest, status};
use lambdac_backend_host::{JitCode, compile_jit, support};
use lambdac_driver::Input;
use lambdac_mir::{Dispatch, Module, ObjectKind};

/// Code, and what it is called with.
pub struct Lambda {
    code: JitCode,
    module: Arc<Module>,
    context: Box<Context>,
    max_reply: usize,
    /// What the context points to.
    _objects: Box<[*mut u8]>,
    _memory: Vec<Box<[u128]>>,
}

impl Lambda {
    /// Compiles a workload that uses no file but itself, and no objects but counters.
    pub fn compile(path: &Path) -> Result<Lambda> {
        let input = Input::read(path).map_err(anyhow::Error::msg)?;
        let compiled = lambdac_driver::compile(&input).map_err(anyhow::Error::msg)?;
        let code = compile_jit(&compiled.module).map_err(anyhow::Error::msg)?;
        Lambda::new(code, compiled.module)
    }

    fn new(code: JitCode, module: Arc<Module>) -> Result<Lambda> {
        let mut memory = Vec::new();
        let mut zeroed = |bytes: u64| {
            let mut words = vec![0u128; bytes.div_ceil(16) as usize + 1].into_boxed_slice();
            let base: *mut u8 = words.as_mut_ptr().cast();
            memory.push(words);
            base
        };
        let mut bases = Vec::new();
        for object in &module.objects {
            let ObjectKind::Counter { count, .. } = object.kind else {
                bail!("the bench has no memory for object {}", object.name);
            };
            bases.push(zeroed(u64::from(count) * 8));
        }
        let objects = bases.into_boxed_slice();
        let needs = (0..code.lambdas())
            .map(|at| code.needs(at))
            .chain([code.dispatch_needs()]);
        let arena = zeroed(needs.map(|needs| needs.arena_bytes).max().unwrap_or(0));
        let max_reply = module
            .lambdas
            .iter()
            .map(|lambda| lambda.reply.max as usize)
            .max()
            .unwrap_or(0);
        let context = Box::new(context(objects.as_ptr(), arena));
        Ok(Lambda {
            code,
            module,
            context,
            max_reply,
            _objects: objects,
            _memory: memory,
        })
    }

    /// Bytes of its largest reply.
    pub fn max_reply(&self) -> usize {
        self.max_reply
    }

    /// Runs match stage and lambda on a request that fits; gives the reply's length, none where it doesn't reply.
    ///
    /// # Panics
    /// If the reply buffer is shorter than [`Lambda::max_reply`].
    #[inline]
    pub fn call(&mut self, request: &[u8], reply: &mut [u8]) -> Option<usize> {
        assert!(reply.len() >= self.max_reply, "the reply buffer is too short");
        let context = &mut *self.context;
        context.request = request.as_ptr();
        context.request_len = request.len() as u32;
        context.reply = reply.as_mut_ptr();
        context.reply_cap = reply.len() as u32;
        let lambda = match self.module.dispatch {
            Dispatch::Only(lambda) => lambda.index(),
            // SAFETY: every pointer of the context is good for this module: `new` made objects and arena as large
            // as it needs, request and reply live through the call; nothing of it awaits.
            _ => unsafe { self.code.dispatch(context) as usize },
        };
        if lambda >= self.code.lambdas() {
            return None;
        }
        // SAFETY: as above.
        let ended = unsafe { self.code.run(lambda, context) };
        (ended == status::REPLY).then_some(context.reply_len as usize)
    }
}

fn context(objects: *const *mut u8, arena: *mut u8) -> Context {
    Context {
        request: ptr::null(),
        reply: ptr::null_mut(),
        objects,
        params: ptr::null(),
        runtime: &RUNTIME,
        arena,
        save: ptr::null_mut(),
        now: 0,
        random_state: 0,
        random_fixed: 0,
        random_is_fixed: 1,
        request_id: 0,
        src_ip: 0,
        src_port: 0,
        dst_port: 0,
        port: 0,
        trap_cause: 0,
        request_len: 0,
        reply_cap: 0,
        reply_len: 0,
        trap_file: 0,
        trap_line: 0,
        part: 0,
        target: 0,
        save_len: 0,
        call: ServiceRequest::default(),
        answer: ServiceAnswer {
            value: ptr::null(),
            len: 0,
            ok: 0,
            failed: 0,
        },
        user: ptr::null_mut::<c_void>(),
    }
}

/// The back end's own helpers; of keyed objects, which `new` refuses, there are none to find anything in.
static RUNTIME: Runtime = Runtime {
    map_get,
    map_put,
    map_put_bytes,
    map_remove: map_get_nothing,
    map_fetch_add,
    table_get: map_get,
    random: support::random,
    log,
    crc32: support::crc32,
    crc16: support::crc16,
    copy_cells: support::copy_cells,
    zero_cells: support::zero_cells,
    load_bits: support::load_bits,
    store_bits: support::store_bits,
};

unsafe extern "C" fn map_get(_: *mut Context, _: Object, _: *const u8, _: *mut u8) -> u32 {
    0
}

unsafe extern "C" fn map_get_nothing(_: *mut Context, _: Object, _: *const u8) -> u32 {
    0
}

unsafe extern "C" fn map_put(_: *mut Context, _: Object, _: *const u8, _: *const u8) -> u32 {
    0
}

unsafe extern "C" fn map_put_bytes(_: *mut Context, _: Object, _: *const u8, _: *const u8, _: u32) -> u32 {
    0
}

unsafe extern "C" fn map_fetch_add(_: *mut Context, _: Object, _: *const u8, _: u64, _: *mut u64) -> u32 {
    0
}

unsafe extern "C" fn log(
    _: *mut Context,
    _: *const u8,
    _: u32,
    _: *const lambdac_backend_host::context::LogValue,
    _: u32,
) {
}
