//! Functions, emitted where they are called, and what a body starts with.

use std::collections::HashMap;

use lambdac_mir::{Body, Func, FuncId, FuncParam, Operand, Region, Shape, Value};

use super::control::branched;
use super::{Emitter, Instance, Spot, Target, Val};
use crate::layout;

/// How deep functions may call each other.
const CALL_DEPTH: usize = 200;

impl<'m> Emitter<'m> {
    /// Starts a body: its slots get memory, on top of what is in use.
    pub(super) fn enter_body(&mut self, body: &'m Body, params: &'m [FuncParam], regions: &[&'m Region]) {
        let slots = body
            .slots
            .iter()
            .map(|slot| self.memory(layout::value_bytes(&slot.shape)));
        let slots = slots.collect();
        self.instances.push(Instance {
            body,
            params,
            values: vec![None; body.values.len()],
            slots,
            args: vec![None; params.len()],
            breaks: HashMap::new(),
            continues: HashMap::new(),
            result: None,
            branched: branched(body.values.len(), regions),
        });
    }

    pub(super) fn call_op(&mut self, results: &[Value], callee: FuncId, args: &[Operand]) {
        let Some(func) = self.shared.module.funcs.get(callee.index()) else {
            return self.invalid("a call of no function");
        };
        if self.instances.len() > CALL_DEPTH {
            return self.invalid("functions call each other too deeply");
        }
        let mut scalars = Vec::new();
        let mut spots = Vec::new();
        for (param, arg) in func.params.iter().zip(args) {
            spots.push(match arg {
                Operand::Value(value) => {
                    if let FuncParam::Scalar(param) = param {
                        scalars.push((*param, self.get(*value)));
                    }
                    None
                }
                Operand::Place(place) => Some(self.spot(place)),
                Operand::View(view) => {
                    let bytes = self.view(view);
                    Some(Spot {
                        at: bytes.at,
                        shape: &Shape::View,
                        len: Some(bytes.len),
                    })
                }
            });
        }
        let regs = self.result_regs(results);
        let loc = self.loc;
        let cursor = self.cursor;
        self.run_func(func, spots, scalars, regs);
        self.release(cursor);
        self.at(loc);
    }

    /// Emits a function's body; its results go to registers.
    pub(super) fn run_func(
        &mut self,
        func: &'m Func,
        args: Vec<Option<Spot<'m>>>,
        scalars: Vec<(Value, Val)>,
        regs: std::rc::Rc<[crate::vcode::V]>,
    ) {
        self.enter_body(&func.body, &func.params, &[&func.region]);
        for (param, val) in scalars {
            self.set(param, val);
        }
        let mark = self.mark();
        let target = Target::Join {
            level: self.level(),
            mark,
            regs,
        };
        let instance = self.instance_mut();
        instance.args = args;
        instance.result = Some(target);
        if self.region(&func.region).is_some() {
            self.invalid("a function that yields");
        }
        self.bind(mark);
        self.instances.pop();
    }
}
