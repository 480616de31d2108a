//! What every image keeps to, checked after each pass in tests.

use std::collections::BTreeSet;

use lambdac_mir::{ObjectId, ServiceId};

use crate::coalesce::structure;
use crate::image::{Bound, Image, Leaf, Node, Stage};

impl Image {
    /// Checks that the module is valid, that the stage has no cycle and names only what is there, and that entries,
    /// bindings and plumbing fit each other.
    ///
    /// # Errors
    /// What is wrong, a line each.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        if let Err(errors) = lambdac_mir::validate(&self.module) {
            wrong.extend(errors.iter().map(ToString::to_string));
        }
        self.check_stage(&self.stage, &mut wrong);
        let hands_up = |stage: &Stage| stage.nodes.contains(&Node::Leaf(Leaf::HandUp));
        match &self.host {
            Some(host) => {
                self.check_stage(host, &mut wrong);
                if hands_up(host) {
                    wrong.push("the host hands requests up".to_owned());
                }
            }
            None if hands_up(&self.stage) => {
                wrong.push("requests are handed up and nobody is there".to_owned());
            }
            None => {}
        }
        self.check_entries(&mut wrong);
        if let Some(placed) = &self.placed
            && (placed.objects.len() != self.module.objects.len()
                || placed.consts.len() != self.module.consts.len())
        {
            wrong.push("the placement is of another module".to_owned());
        }
        for (id, memories) in self.placed.iter().flat_map(|placed| &placed.fields) {
            let object = self.module.objects.get(id.index());
            let parts = object.and_then(|object| lambdac_cost::fields(&object.kind));
            if parts.is_none_or(|(shapes, _)| shapes.len() != memories.len()) {
                wrong.push(format!("{id} is divided into what it does not have"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn check_stage(&self, stage: &Stage, wrong: &mut Vec<String>) {
        let nodes = &stage.nodes;
        if stage.root.index() >= nodes.len() {
            wrong.push("the stage starts nowhere".to_owned());
        }
        for (index, node) in nodes.iter().enumerate() {
            if node.successors().iter().any(|to| to.index() >= index) {
                wrong.push(format!("node {index} leads to a node that is not below it"));
            }
            match node {
                Node::Leaf(Leaf::Run(entry)) if *entry >= self.entries.len() => {
                    wrong.push(format!("node {index} runs an entry that there is none of"));
                }
                Node::Test { cond, .. } if *cond >= self.pool().len() => {
                    wrong.push(format!("node {index} tests a condition that there is none of"));
                }
                Node::Table { entries, .. } => {
                    let keys: BTreeSet<u64> = entries.iter().map(|(key, _)| *key).collect();
                    if keys.len() != entries.len() {
                        wrong.push(format!("node {index} has a key twice"));
                    }
                }
                _ => {}
            }
        }
    }

    fn check_entries(&self, wrong: &mut Vec<String>) {
        let plumbing = &self.plumbing;
        let count = self.entries.len();
        let by_entry = [
            plumbing.calls.len(),
            plumbing.reply_of.len(),
            plumbing.route_of.len(),
        ];
        if by_entry.iter().any(|len| *len != count) {
            wrong.push("the plumbing is of other entries".to_owned());
        }
        let inside = plumbing
            .reply_of
            .iter()
            .all(|reply| *reply < plumbing.replies.len())
            && plumbing
                .route_of
                .iter()
                .all(|route| *route < plumbing.routes.len());
        if !inside {
            wrong.push("an entry's reply or route is not there".to_owned());
        }
        for (index, entry) in self.entries.iter().enumerate() {
            if entry.lambda.index() >= self.module.lambdas.len() || entry.workload >= self.workloads.len() {
                wrong.push(format!("entry {index} has no lambda or no workload"));
            }
            self.check_instances(index, wrong);
            let params = &self.module.params;
            for binding in &entry.bindings {
                let fits = params
                    .get(binding.param.index())
                    .is_some_and(|param| match &binding.value {
                        Bound::Data(data) => data.fits(&param.shape),
                        Bound::Param(other) => params
                            .get(other.index())
                            .is_some_and(|other| other.shape == param.shape),
                    });
                if !fits {
                    wrong.push(format!("entry {index} binds {} to what it is not", binding.param));
                }
            }
        }
    }

    /// What an entry's code names stands for objects of its own workload, of the same structure, and for services of its
    /// own, of the same protocol.
    fn check_instances(&self, index: usize, wrong: &mut Vec<String>) {
        let entry = &self.entries[index];
        let service = |id: ServiceId| self.module.services.get(id.index());
        let fit = entry.services.iter().all(|instance| {
            let pair = service(instance.named).zip(service(instance.own));
            pair.is_some_and(|(named, own)| {
                named.protocol == own.protocol && self.owner(&own.name) == Some(entry.workload)
            })
        });
        if !fit || !entry.services.is_sorted_by(|a, b| a.named < b.named) {
            wrong.push(format!("entry {index} asks services that are not its own"));
        }
        let object = |id: ObjectId| self.module.objects.get(id.index());
        let sorted = entry.instances.is_sorted_by(|a, b| a.named < b.named);
        let fit = entry.instances.iter().all(|instance| {
            let pair = object(instance.named).zip(object(instance.own));
            pair.is_some_and(|(named, own)| {
                structure(named) == structure(own)
                    && named.memory == own.memory
                    && self.owner(&own.name) == Some(entry.workload)
            })
        });
        if !sorted || !fit {
            wrong.push(format!("entry {index} reaches objects that are not its own"));
        }
    }
}
