//! What a dialect can't say of an image: lambdas that stay on the host.
//!
//! Plain C says everything. A Netronome core answers packets, and its threads have little memory each.

use std::collections::BTreeMap;

use lambdac_image::Image;
use lambdac_mir::{Body, FuncId, LambdaId, Region};

use crate::layout;
use crate::{Dialect, Refusal};

/// The code of a lambda whose reply is more than a packet.
pub const REPLY: &str = "E0701";
/// The code of a lambda whose requests are more than a packet.
pub const REQUEST: &str = "E0702";
/// The code of a lambda whose variables are more than a thread has.
pub const VARIABLES: &str = "E0711";
/// The code of an object that is larger, or elsewhere, than the device allows.
pub const STATE: &str = "E0710";

/// Bytes of a packet's payload (`lang-spec/wire.md`).
pub const MAX_PAYLOAD: u32 = 1344;
/// Bytes of a thread's variables: 224 threads then take less than the 1 GiB of EMEM that images may have (NFP notes, 8).
pub const MAX_VARIABLES: u64 = 4 << 20;

/// The entries that a dialect can't run, of those that are not the host's already.
pub fn refusals(image: &Image, dialect: Dialect) -> Vec<Refusal> {
    if dialect == Dialect::Host {
        return Vec::new();
    }
    let native = image.entries.iter().enumerate();
    let native = native.filter(|(_, entry)| entry.on_host.is_none());
    let mut sizes = Sizes {
        image,
        funcs: BTreeMap::new(),
    };
    native
        .filter_map(|(index, entry)| {
            let (code, reason) = sizes.refused(entry.lambda)?;
            Some(Refusal {
                entry: Some(index),
                code,
                reason,
                loc: None,
            })
        })
        .collect()
}

/// Bytes by which a packet grows at a time: what the plugin's headers hold (`lnic_plugin.h`).
pub const MAX_GROWTH: u32 = 124;

/// Bytes of variables along calls.
struct Sizes<'i> {
    image: &'i Image,
    funcs: BTreeMap<FuncId, u64>,
}

impl Sizes<'_> {
    fn refused(&mut self, id: LambdaId) -> Option<(&'static str, String)> {
        let lambda = &self.image.module.lambdas[id.index()];
        if lambda.reply.max > MAX_PAYLOAD {
            let max = lambda.reply.max;
            return Some((
                REPLY,
                format!("its reply takes up to {max} bytes, a packet has {MAX_PAYLOAD}"),
            ));
        }
        if lambda.request.min > MAX_PAYLOAD {
            let min = lambda.request.min;
            return Some((
                REQUEST,
                format!("its request has at least {min} bytes, a packet has {MAX_PAYLOAD}"),
            ));
        }
        // Slots that outlive a part count twice: they may lie apart from the others.
        let regions: Vec<&Region> = lambda.parts.iter().map(|part| &part.region).collect();
        let bytes = slots(&lambda.body) * 2 + self.called(&regions);
        (bytes > MAX_VARIABLES).then(|| {
            let reason = format!("its variables take up to {bytes} bytes, a thread has {MAX_VARIABLES}");
            (VARIABLES, reason)
        })
    }

    /// The most that a function takes that is called in regions.
    fn called(&mut self, regions: &[&Region]) -> u64 {
        let mut callees = Vec::new();
        for region in regions {
            region.for_each_callee(&mut |callee| callees.push(callee));
        }
        callees
            .into_iter()
            .map(|callee| self.func(callee))
            .max()
            .unwrap_or(0)
    }

    /// What a function takes with those that it calls, whose numbers are lower.
    fn func(&mut self, id: FuncId) -> u64 {
        for below in 0..=id.0 {
            let below = FuncId(below);
            if self.funcs.contains_key(&below) {
                continue;
            }
            let func = &self.image.module.funcs[below.index()];
            let mut most = 0;
            func.region.for_each_callee(&mut |callee| {
                most = most.max(self.funcs.get(&callee).copied().unwrap_or(0));
            });
            self.funcs.insert(below, slots(&func.body) + most);
        }
        self.funcs.get(&id).copied().unwrap_or(0)
    }
}

/// Bytes of a body's slots.
fn slots(body: &Body) -> u64 {
    let sizes = body
        .slots
        .iter()
        .map(|slot| layout::size(&slot.shape).next_multiple_of(8));
    sizes.fold(0, u64::saturating_add)
}
