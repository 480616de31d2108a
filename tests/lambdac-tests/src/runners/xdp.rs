//! The NIC's programs as a runner, by the kernel's test-run call, with the host's code behind them as in a worker.

use std::sync::Arc;

use lambdac_driver::CheckedWorkload;
use lambdac_mir::{Module, ObjectKind};
use lnic_xdp::instance::{self, Instance, Message};

use super::{SEED, answer, by_name, dump_lines, meta};
use crate::differential::{Mismatch, Outcome, Runner, State};
use crate::generate::Request;

/// XDP programs.
pub struct XdpRunner {
    instance: Instance,
    module: Arc<Module>,
    by_nic: u64,
}

impl XdpRunner {
    /// Compiles a workload and has the kernel verify it; fresh state.
    ///
    /// # Errors
    /// If there is no code or the kernel refuses it.
    pub fn new(checked: &CheckedWorkload, module: Arc<Module>) -> Result<Self, Mismatch> {
        let refused = |why: String| Mismatch(format!("xdp: {why}"));
        let mut instance = Instance::new(checked, &module).map_err(refused)?;
        instance.reset(SEED).map_err(refused)?;
        Ok(Self {
            instance,
            module,
            by_nic: 0,
        })
    }

    /// Requests that the NIC dealt with.
    pub fn by_nic(&self) -> u64 {
        self.by_nic
    }
}

impl Runner for XdpRunner {
    fn name(&self) -> &'static str {
        "xdp"
    }

    fn call(&mut self, request: &Request) -> Outcome {
        let message = Message {
            lambda: None,
            meta: meta(request),
            params: &[],
            request: &request.bytes,
        };
        let ended = self.instance.call(&message, &mut |call| answer(call));
        self.by_nic += u64::from(ended.by_nic);
        match ended.outcome {
            instance::Outcome::Reply(bytes) => Outcome::Reply(bytes),
            instance::Outcome::Drop => Outcome::Drop,
            instance::Outcome::Punt => Outcome::Punt,
            instance::Outcome::BadRequest => Outcome::BadRequest,
            instance::Outcome::Trap { cause, line } => Outcome::Trap(cause, line),
            instance::Outcome::Wrong(why) => Outcome::Bug(why),
        }
    }

    fn state(&mut self, now: u64) -> State {
        let objects = self.module.objects.iter();
        let stateful = objects.filter(|object| !matches!(object.kind, ObjectKind::Table { .. }));
        let lines = |name: &str| match self.instance.dump(name, now) {
            Ok(dump) => dump_lines(&self.module, name, &dump),
            Err(why) => vec![why],
        };
        by_name(stateful.map(|object| (object.name.to_string(), lines(&object.name))))
    }
}
