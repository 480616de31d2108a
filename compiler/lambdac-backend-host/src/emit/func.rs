//! The state of making one function, and MIR functions themselves.

use std::collections::BTreeMap;

use cranelift_codegen::ir::{self, AbiParam, AliasRegionData, InstBuilder, MemFlagsData, types};
use cranelift_frontend::FunctionBuilder;
use lambdac_mir::{self as mir, Value};

use super::branch::Bool;
use super::frame::{Frame, Home};
use super::region::LabelTarget;
use super::scalar::{Linear, ty};
use super::walk::Facts;
use super::{Env, FuncAbi, FuncInfo, Making};
use crate::context::Context;
use crate::{Error, Result, layout};

/// Which memory an access goes to; accesses to different ones never touch the same byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Region {
    /// The context itself.
    Context,
    /// The request's bytes.
    Request,
    /// The reply buffer.
    Reply,
    /// Slots.
    Frame,
    /// Objects.
    Object,
    /// Constants and parameters: nobody writes them.
    Constant,
    /// Behind a reference: any of them.
    Any,
}

/// How a function of any kind leaves.
pub(crate) enum Exit {
    /// A lambda: by a status.
    Lambda,
    /// A function: with results, by its calling shape, the rest through this pointer.
    Func { abi: FuncAbi, rest: Option<ir::Value> },
    /// A match stage: by a lambda's index or another of its statuses.
    Dispatch,
    /// A condition of the match stage: to one of two blocks by its only result; trapped as the match stage.
    Condition(Way),
}

/// Where a condition goes.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    /// If it holds.
    pub(crate) yes: ir::Block,
    /// If not.
    pub(crate) no: ir::Block,
}

/// A parameter that is reached by place.
#[derive(Clone)]
pub(crate) enum Arg {
    Scalar,
    Ref(ir::Value, mir::Shape),
    View(ir::Value, ir::Value),
}

/// Makes one function.
pub(crate) struct FnEmitter<'f, 'e, 'm> {
    pub(crate) b: FunctionBuilder<'f>,
    pub(crate) env: &'e mut Env<'m>,
    pub(crate) body: &'e mir::Body,
    pub(crate) facts: Facts,
    pub(crate) frame: Frame,
    pub(crate) at: String,
    /// By MIR value.
    pub(crate) values: Vec<Option<ir::Value>>,
    /// By MIR value: an upper bound.
    pub(crate) upper: Vec<u64>,
    /// By MIR value: what it is, if constant.
    pub(crate) known: Vec<Option<u64>>,
    /// By MIR value: how an `i1` came to be.
    pub(crate) bools: Vec<Bool>,
    /// By MIR value: what it is of another one.
    pub(crate) linear: Vec<Linear>,
    /// What was loaded for a bit field of whole bytes, before it was put together.
    pub(crate) raws: BTreeMap<Value, Vec<ir::Value>>,
    pub(crate) homes: Vec<Home>,
    pub(crate) labels: Vec<Option<LabelTarget>>,
    pub(crate) args: Vec<Arg>,
    pub(crate) exit: Exit,
    pub(crate) parts: Vec<ir::Block>,
    /// Points where an await goes on: the part and where the answer goes.
    pub(crate) resumes: Vec<(mir::PartId, Option<mir::SlotId>)>,
    pub(crate) live_slots: Vec<Vec<mir::SlotId>>,
    pub(crate) request_max: u32,
    pub(crate) save_bytes: u64,
    pub(crate) ctx: ir::Value,
    pub(crate) request: ir::Value,
    pub(crate) request_len: ir::Value,
    pub(crate) reply: ir::Value,
    pub(crate) arena: Option<ir::Value>,
    pub(crate) loc: mir::Loc,
}

/// Offset of a field of the context.
macro_rules! field {
    ($name:ident) => {
        std::mem::offset_of!($crate::context::Context, $name) as i32
    };
    ($name:ident . $inner:ident) => {
        std::mem::offset_of!($crate::context::Context, $name.$inner) as i32
    };
}
pub(crate) use field;

impl<'f, 'e, 'm> FnEmitter<'f, 'e, 'm> {
    /// A function with an entry block that has the signature's parameters, of which the first is the context.
    pub(crate) fn new(
        mut b: FunctionBuilder<'f>,
        env: &'e mut Env<'m>,
        body: &'e mir::Body,
        facts: Facts,
        frame: Frame,
        at: String,
    ) -> Self {
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        b.seal_block(entry);
        let ctx = b.block_params(entry)[0];
        let mut emitter = Self {
            b,
            env,
            body,
            facts: Facts::default(),
            frame,
            at,
            values: Vec::new(),
            upper: Vec::new(),
            known: Vec::new(),
            bools: Vec::new(),
            linear: Vec::new(),
            raws: BTreeMap::new(),
            homes: Vec::new(),
            labels: Vec::new(),
            args: Vec::new(),
            exit: Exit::Lambda,
            parts: Vec::new(),
            resumes: Vec::new(),
            live_slots: Vec::new(),
            request_max: 0,
            save_bytes: 0,
            ctx,
            request: ctx,
            request_len: ctx,
            reply: ctx,
            arena: None,
            loc: mir::Loc::default(),
        };
        emitter.start_body(body, facts);
        // They never change during an invocation, so Cranelift moves them to where they are used, if anywhere.
        emitter.request = emitter.load_fixed(ctx, field!(request));
        emitter.request_len = emitter.load_fixed_as(types::I32, ctx, field!(request_len));
        emitter.reply = emitter.load_fixed(ctx, field!(reply));
        emitter
    }

    /// Turns to a body whose code follows; what was known of the one before is forgotten.
    pub(crate) fn start_body(&mut self, body: &'e mir::Body, facts: Facts) {
        let count = body.values.len();
        self.body = body;
        self.facts = facts;
        self.values = vec![None; count];
        self.upper = body.values.iter().map(|width| layout::mask(*width)).collect();
        self.known = vec![None; count];
        self.bools = vec![Bool::Opaque; count];
        self.linear = (0..count as u32).map(|value| Linear::of(Value(value))).collect();
        self.raws = BTreeMap::new();
        self.homes = vec![Home::Nowhere; body.slots.len()];
        self.labels = (0..body.labels).map(|_| None).collect();
        self.args = Vec::new();
    }

    pub(crate) fn invalid<T>(&self, reason: &'static str) -> Result<T> {
        Err(Error::Invalid {
            at: self.at.clone(),
            reason,
        })
    }

    /// The flags of an access.
    pub(crate) fn flags(&mut self, region: Region) -> MemFlagsData {
        let flags = MemFlagsData::new().with_notrap();
        let (id, description) = match region {
            Region::Any => return flags,
            Region::Context => (1, "context"),
            Region::Request => (2, "request"),
            Region::Reply => (3, "reply"),
            Region::Frame => (4, "frame"),
            Region::Object => (5, "object"),
            Region::Constant => return flags.with_readonly().with_can_move(),
        };
        let region = self.b.func.dfg.alias_regions.insert(AliasRegionData {
            user_id: id,
            description: description.into(),
        });
        flags.with_alias_region(Some(region))
    }

    pub(crate) fn load_context(&mut self, ty: ir::Type, offset: i32) -> ir::Value {
        let flags = self.flags(Region::Context);
        self.b.ins().load(ty, flags, self.ctx, offset)
    }

    pub(crate) fn store_context(&mut self, value: ir::Value, offset: i32) {
        let flags = self.flags(Region::Context);
        self.b.ins().store(flags, value, self.ctx, offset);
    }

    /// A pointer that never changes during an invocation.
    pub(crate) fn load_fixed(&mut self, base: ir::Value, offset: i32) -> ir::Value {
        self.load_fixed_as(types::I64, base, offset)
    }

    fn load_fixed_as(&mut self, ty: ir::Type, base: ir::Value, offset: i32) -> ir::Value {
        let flags = self.flags(Region::Constant);
        self.b.ins().load(ty, flags, base, offset)
    }

    pub(crate) fn const_i64(&mut self, value: i64) -> ir::Value {
        self.b.ins().iconst(types::I64, value)
    }

    pub(crate) fn const_i32(&mut self, value: u32) -> ir::Value {
        self.b.ins().iconst(types::I32, i64::from(value))
    }

    /// A MIR value.
    pub(crate) fn value(&self, value: mir::Value) -> Result<ir::Value> {
        match self.values.get(value.index()) {
            Some(Some(value)) => Ok(*value),
            _ => self.invalid("a value is used where it is not defined"),
        }
    }

    pub(crate) fn values_of(&self, values: &[mir::Value]) -> Result<Vec<ir::Value>> {
        values.iter().map(|value| self.value(*value)).collect()
    }

    pub(crate) fn define(&mut self, result: mir::Value, value: ir::Value) {
        self.values[result.index()] = Some(value);
    }

    pub(crate) fn width(&self, value: mir::Value) -> u8 {
        self.body.values[value.index()]
    }

    /// A jump with arguments.
    pub(crate) fn jump(&mut self, block: ir::Block, args: &[ir::Value]) {
        let args: Vec<ir::BlockArg> = args.iter().map(|value| (*value).into()).collect();
        self.b.ins().jump(block, &args);
    }

    /// A block with a parameter for each value.
    pub(crate) fn block_for(&mut self, values: &[mir::Value]) -> ir::Block {
        let block = self.b.create_block();
        for value in values {
            let width = self.width(*value);
            self.b.append_block_param(block, ty(width));
        }
        block
    }

    /// Goes on in a block whose parameters are these values.
    pub(crate) fn enter_defining(&mut self, block: ir::Block, values: &[mir::Value]) {
        self.b.switch_to_block(block);
        for (index, value) in values.iter().enumerate() {
            let param = self.b.block_params(block)[index];
            self.define(*value, param);
        }
    }

    /// Emits a trap; ends the block.
    pub(crate) fn trap(&mut self, cause: mir::TrapCause, loc: mir::Loc) {
        let index = mir::TrapCause::ALL
            .iter()
            .position(|each| *each == cause)
            .unwrap_or(0);
        let cause = self.b.ins().iconst(types::I16, index as i64);
        self.store_context(cause, field!(trap_cause));
        let file = self.const_i32(loc.file.into());
        self.store_context(file, field!(trap_file));
        let line = self.const_i32(loc.line);
        self.store_context(line, field!(trap_line));
        self.leave_trapped();
    }

    /// Leaves after a trap was noted.
    pub(crate) fn leave_trapped(&mut self) {
        match &self.exit {
            Exit::Lambda => self.leave(crate::context::status::TRAP),
            Exit::Dispatch | Exit::Condition(_) => self.leave(crate::context::dispatch::TRAP),
            Exit::Func { abi, .. } => {
                let returns: Vec<ir::Type> = abi.signature.returns.iter().map(|p| p.value_type).collect();
                let mut out = Vec::with_capacity(returns.len());
                for (index, ty) in returns.into_iter().enumerate() {
                    out.push(self.b.ins().iconst(ty, i64::from(index == 0)));
                }
                self.b.ins().return_(&out);
            }
        }
    }

    /// Leaves a lambda or match stage with a status.
    pub(crate) fn leave(&mut self, status: u32) {
        let status = self.const_i32(status);
        self.b.ins().return_(&[status]);
    }

    /// Traps unless a condition holds.
    pub(crate) fn check(&mut self, condition: ir::Value, cause: mir::TrapCause) {
        let way = self.new_way();
        self.b.ins().brif(condition, way.yes, &[], way.no, &[]);
        self.check_way(way, cause);
    }

    /// Traps where a condition went to `no`, goes on at `yes`.
    pub(crate) fn check_way(&mut self, way: Way, cause: mir::TrapCause) {
        self.b.set_cold_block(way.no);
        self.b.seal_block(way.yes);
        self.b.seal_block(way.no);
        self.b.switch_to_block(way.no);
        let loc = self.loc;
        self.trap(cause, loc);
        self.b.switch_to_block(way.yes);
    }

    /// Two new blocks for a condition to go to.
    pub(crate) fn new_way(&mut self) -> Way {
        Way {
            yes: self.b.create_block(),
            no: self.b.create_block(),
        }
    }
}

impl<'m> Env<'m> {
    /// The calling shape of a function.
    fn func_abi(&self, func: &mir::Func, facts: &Facts) -> FuncAbi {
        let traps = facts.traps || facts.calls.iter().any(|id| self.funcs[id.index()].abi.traps);
        let mut signature = self.clif.make_signature();
        // The context and the arena.
        signature.params.push(AbiParam::new(types::I64));
        signature.params.push(AbiParam::new(types::I64));
        for param in &func.params {
            match param {
                mir::FuncParam::Scalar(value) => {
                    let width = func.body.values[value.index()];
                    signature.params.push(AbiParam::new(ty(width)));
                }
                mir::FuncParam::Ref { .. } => signature.params.push(AbiParam::new(types::I64)),
                mir::FuncParam::View => {
                    signature.params.push(AbiParam::new(types::I64));
                    signature.params.push(AbiParam::new(types::I32));
                }
            }
        }
        if traps {
            signature.returns.push(AbiParam::new(types::I32));
        }
        let direct = func.results.len().min(2 - usize::from(traps));
        for width in &func.results[..direct] {
            signature.returns.push(AbiParam::new(ty(*width)));
        }
        if direct < func.results.len() {
            signature.params.push(AbiParam::new(types::I64));
        }
        FuncAbi {
            signature,
            traps,
            direct,
        }
    }

    pub(super) fn compile_func(&mut self, func: &'m mir::Func) -> Result<FuncInfo> {
        let facts = Facts::of(&func.body, [&func.region]);
        let abi = self.func_abi(func, &facts);
        let at = format!("function `{}`", func.name);
        let id = self.declare(None, &abi.signature, &at)?;
        let making = Making {
            at,
            id,
            signature: abi.signature.clone(),
        };
        let shape = abi.clone();
        let (_, frame) = self.make(making, &func.body, facts, |emitter| {
            emitter.emit_func(func, shape)
        })?;
        Ok(FuncInfo {
            id,
            abi,
            arena: frame.arena,
            stack: frame.stack,
            depth: frame.depth,
        })
    }
}

impl<'m> FnEmitter<'_, '_, 'm> {
    fn emit_func(&mut self, func: &'m mir::Func, abi: FuncAbi) -> Result<()> {
        let Some(entry) = self.b.current_block() else {
            return self.invalid("no entry block");
        };
        let incoming = self.b.block_params(entry).to_vec();
        let mut incoming = incoming.into_iter().skip(1);
        let mut next = || incoming.next();
        self.arena = next();
        for param in &func.params {
            let arg = match (param, next()) {
                (mir::FuncParam::Scalar(value), Some(incoming)) => {
                    self.define(*value, incoming);
                    Arg::Scalar
                }
                (mir::FuncParam::Ref { shape, .. }, Some(incoming)) => Arg::Ref(incoming, shape.clone()),
                (mir::FuncParam::View, Some(incoming)) => match next() {
                    Some(len) => Arg::View(incoming, len),
                    None => return self.invalid("a parameter is missing"),
                },
                (_, None) => return self.invalid("a parameter is missing"),
            };
            self.args.push(arg);
        }
        let rest = next();
        self.exit = Exit::Func { abi, rest };
        self.place_slots()?;
        self.region(&func.region)
    }

    /// Leaves a function with results.
    pub(crate) fn return_results(&mut self, results: &[mir::Value]) -> Result<()> {
        if let (Exit::Condition(way), [holds]) = (&self.exit, results) {
            return self.branch_on(*holds, *way);
        }
        let values = self.values_of(results)?;
        match &self.exit {
            Exit::Lambda | Exit::Dispatch | Exit::Condition(_) => self.invalid("a lambda returns"),
            Exit::Func { abi, rest } => {
                let (traps, direct, rest) = (abi.traps, abi.direct, *rest);
                for (index, value) in values.iter().enumerate().skip(direct) {
                    if let Some(rest) = rest {
                        let flags = self.flags(Region::Any);
                        self.b
                            .ins()
                            .store(flags, *value, rest, (index - direct) as i32 * 8);
                    }
                }
                let mut out = Vec::with_capacity(2);
                if traps {
                    out.push(self.const_i32(0));
                }
                out.extend(&values[..direct]);
                self.b.ins().return_(&out);
                Ok(())
            }
        }
    }
}

const _: () = assert!(size_of::<Context>() < 4096);
