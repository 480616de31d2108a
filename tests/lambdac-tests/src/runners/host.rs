//! The host's code as a runner.

use std::sync::Arc;

use lambdac_driver::testing::{self, HostInstance, HostOutcome};
use lambdac_mir::{Module, ServiceOp};
use lnic_engine::{Call, Meta};

use super::{SEED, by_name, dump_lines};
use crate::differential::{Mismatch, Outcome, Runner, ServiceAnswer, State, service_answer};
use crate::generate::Request;

/// Host code.
pub struct HostRunner {
    instance: HostInstance,
}

impl HostRunner {
    /// Compiles a module; fresh state.
    ///
    /// # Errors
    /// If the engine refuses it.
    pub fn new(module: Arc<Module>) -> Result<Self, Mismatch> {
        let instance = HostInstance::new(&module, SEED).map_err(|e| Mismatch(format!("host: {e}")))?;
        Ok(Self { instance })
    }
}

fn answer(call: &Call<'_>) -> testing::ServiceAnswer {
    match service_answer(call.op == ServiceOp::Get, call.key) {
        ServiceAnswer::Value(value) => testing::ServiceAnswer::Value(value),
        ServiceAnswer::Done => testing::ServiceAnswer::Done,
        ServiceAnswer::Missing => testing::ServiceAnswer::Missing,
        ServiceAnswer::Failed => testing::ServiceAnswer::Failed,
    }
}

impl Runner for HostRunner {
    fn name(&self) -> &'static str {
        "host"
    }

    fn call(&mut self, request: &Request) -> Outcome {
        let meta = Meta {
            src_ip: request.src_ip,
            src_port: request.src_port,
            dst_port: request.dst_port,
            port: request.port,
            request_id: request.request_id,
            now: request.now,
            random: request.random,
            params: None,
        };
        match self
            .instance
            .call(None, &meta, &request.bytes, &mut |call| answer(call))
        {
            HostOutcome::Reply(bytes) => Outcome::Reply(bytes),
            HostOutcome::Drop => Outcome::Drop,
            HostOutcome::Punt => Outcome::Punt,
            HostOutcome::BadRequest => Outcome::BadRequest,
            HostOutcome::Trap(trap) => Outcome::Trap(trap.cause.name(), trap.line),
        }
    }

    fn state(&mut self, now: u64) -> State {
        let state = self.instance.workload().state(now);
        let module = self.instance.workload().module();
        by_name(
            state
                .iter()
                .map(|(name, dump)| (name.clone(), dump_lines(module, name, dump))),
        )
    }
}
