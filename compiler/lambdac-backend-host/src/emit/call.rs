//! Calls of functions, and of the runtime.

use cranelift_codegen::ir::{self, AbiParam, InstBuilder, types};
use lambdac_mir::{FuncId, FuncParam, Operand, Shape, Value};

use super::func::{FnEmitter, Region, field};
use super::scalar::ty;
use crate::Result;
use crate::context::Runtime;
use crate::layout::Layout;

/// Offset of a function of [`Runtime`] in it.
macro_rules! runtime {
    ($name:ident) => {
        std::mem::offset_of!($crate::context::Runtime, $name) as i32
    };
}
pub(crate) use runtime;

const _: () = assert!(size_of::<Runtime>() < 4096);

impl FnEmitter<'_, '_, '_> {
    /// Calls a function of the runtime.
    pub(crate) fn call_runtime(
        &mut self,
        offset: i32,
        args: &[ir::Value],
        returns: Option<ir::Type>,
    ) -> Option<ir::Value> {
        let runtime = self.load_fixed(self.ctx, field!(runtime));
        let target = self.load_fixed(runtime, offset);
        let mut signature = self.env.clif.make_signature();
        for arg in args {
            let ty = self.b.func.dfg.value_type(*arg);
            signature.params.push(AbiParam::new(ty));
        }
        signature.returns.extend(returns.map(AbiParam::new));
        let signature = self.b.import_signature(signature);
        let call = self.b.ins().call_indirect(signature, target, args);
        self.b.inst_results(call).first().copied()
    }

    pub(super) fn call(&mut self, results: &[Value], func: FuncId, args: &[Operand]) -> Result<()> {
        let module = self.env.module;
        let Some(callee) = module
            .funcs
            .get(func.index())
            .filter(|_| func.index() < self.env.funcs.len())
        else {
            return self.invalid("a call of a function that is not below its caller");
        };
        let info = &self.env.funcs[func.index()];
        let (id, abi) = (info.id, info.abi.clone());
        let Some(arena) = self.arena else {
            return self.invalid("a call without an arena");
        };
        let mut values = vec![self.ctx, arena];
        for (param, arg) in callee.params.iter().zip(args) {
            self.argument(param, arg, &mut values)?;
        }
        let spilled = results.len().saturating_sub(abi.direct);
        let mut rest = None;
        if spilled > 0 {
            let memory = self.allocate(Layout {
                size: spilled as u64 * 8,
                align: 8,
            })?;
            let (base, offset) = self.memory_base(memory);
            let address = self.b.ins().iadd_imm_s(base, offset);
            values.push(address);
            rest = Some(address);
        }
        let target = self.env.clif.declare_func_in_func(id, self.b.func);
        let call = self.b.ins().call(target, &values);
        let mut returned = self.b.inst_results(call).to_vec();
        if abi.traps {
            let status = returned.remove(0);
            self.propagate(status);
        }
        for (index, result) in results.iter().enumerate() {
            let value = match (returned.get(index), rest) {
                (Some(value), _) => *value,
                (None, Some(rest)) => {
                    let flags = self.flags(Region::Any);
                    let ty = ty(self.width(*result));
                    self.b
                        .ins()
                        .load(ty, flags, rest, (index - abi.direct) as i32 * 8)
                }
                (None, None) => return self.invalid("a call with too many results"),
            };
            self.define(*result, value);
        }
        Ok(())
    }

    /// Leaves if a call trapped.
    pub(crate) fn propagate(&mut self, status: ir::Value) {
        let (good, bad) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(bad);
        self.b.ins().brif(status, bad, &[], good, &[]);
        self.b.seal_block(good);
        self.b.seal_block(bad);
        self.b.switch_to_block(bad);
        self.leave_trapped();
        self.b.switch_to_block(good);
    }

    fn argument(&mut self, param: &FuncParam, arg: &Operand, out: &mut Vec<ir::Value>) -> Result<()> {
        match (param, arg) {
            (FuncParam::Scalar(_), Operand::Value(value)) => out.push(self.value(*value)?),
            (FuncParam::Ref { .. }, Operand::Place(place)) => {
                let place = self.resolve(place)?;
                out.push(self.address(place.mem));
            }
            (FuncParam::View, Operand::View(view)) => {
                let view = self.view(view)?;
                out.push(self.address(view.mem));
                out.push(view.len);
            }
            (FuncParam::View, Operand::Place(place)) => {
                let view = self.whole_view(place)?;
                out.push(self.address(view.mem));
                out.push(view.len);
            }
            _ => return self.invalid("an argument that is not of its parameter's kind"),
        }
        Ok(())
    }

    /// Memory for a value on its way, and its address.
    pub(crate) fn temporary(&mut self, layout: Layout) -> Result<ir::Value> {
        let memory = self.allocate(layout)?;
        let (base, offset) = self.memory_base(memory);
        Ok(self.b.ins().iadd_imm_s(base, offset))
    }

    /// Memory for a value of a shape on its way.
    pub(crate) fn temporary_for(&mut self, shape: &Shape) -> Result<ir::Value> {
        self.temporary(crate::layout::layout(shape)?)
    }

    /// A 32-bit length at 64 bits.
    pub(crate) fn length64(&mut self, len: ir::Value) -> ir::Value {
        self.b.ins().uextend(types::I64, len)
    }
}
