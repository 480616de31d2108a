//! What stands around the lambdas, shared by all.

use std::collections::BTreeSet;

use crate::image::{Call, Image, Reply, Route, Way};

/// Calls without tables, one reply epilogue, one table of ways out.
pub(super) fn share(image: &mut Image) -> Vec<String> {
    let plumbing = &mut image.plumbing;
    let mut notes = Vec::new();
    let calls = plumbing.calls.iter_mut().filter(|call| **call == Call::Table);
    let count = calls.map(|call| *call = Call::Direct).count();
    if count > 0 {
        notes.push(format!(
            "{count} lambdas are called where the stage ends, without a table"
        ));
    }
    if plumbing.replies.len() > 1 || plumbing.replies.iter().any(|reply| reply.table) {
        notes.push(format!("{} reply epilogues became one", plumbing.replies.len()));
        plumbing.replies = vec![Reply {
            name: "reply".into(),
            table: false,
        }];
        plumbing.reply_of.fill(0);
    }
    let ways: BTreeSet<Way> = plumbing
        .routes
        .iter()
        .flat_map(|route| route.entries.iter().chain(&route.default))
        .copied()
        .collect();
    if !plumbing.routes.is_empty() {
        let before: usize = plumbing.routes.iter().map(|route| route.entries.len()).sum();
        let (default, entries): (Vec<Way>, Vec<Way>) = ways.into_iter().partition(|way| *way == Way::Reply);
        notes.push(format!(
            "{} tables of ways out with {before} entries became one with {}",
            plumbing.routes.len(),
            entries.len()
        ));
        plumbing.routes = vec![Route {
            name: "route".into(),
            entries,
            default,
        }];
        plumbing.route_of.fill(0);
    }
    notes
}
