//! What of an image's memory the NIC has: what code there touches. The host has the rest.

use std::collections::BTreeSet;

use lambdac_cost::Weights;
use lambdac_mir::{ConstId, ObjectId};

use crate::canon::for_each_touched;
use crate::cost::called;
use crate::image::{Image, Node};
use crate::touch::{self, Item};

/// Objects and constants on the NIC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnNic {
    /// Objects that code there touches.
    pub objects: BTreeSet<ObjectId>,
    /// Constants that code there reads.
    pub consts: BTreeSet<ConstId>,
}

impl OnNic {
    fn add(&mut self, item: Item) {
        match item {
            Item::Object(id) => drop(self.objects.insert(ObjectId(id))),
            Item::Const(id) => drop(self.consts.insert(ConstId(id))),
            // A part of an object.
            Item::Field(..) => {}
        }
    }
}

impl Image {
    /// What lambdas on the NIC and conditions of the stage touch: what [`crate::ImageCost::memory`] counts.
    pub fn on_nic(&self) -> OnNic {
        let module = &self.module;
        // Weights change how often something is touched, not whether.
        let funcs = touch::of_funcs(module, Weights::default());
        let mut all = OnNic::default();
        let lambdas = module.lambdas.iter();
        let touched: Vec<_> = lambdas
            .map(|lambda| touch::of_lambda(module, lambda, &funcs, Weights::default()))
            .collect();
        for entry in called(self) {
            let items = touched[entry.lambda.index()].keys();
            items.for_each(|item| all.add(item.of(entry)));
        }
        for node in &self.stage.nodes {
            if let Node::Test { cond, .. } = node {
                for_each_touched(module, self.cond(*cond), &funcs, &mut |item, _| all.add(item));
            }
        }
        all
    }
}
