//! Requests for lambdas of the host are handed up as early as that is known.
//!
//! A node that leads to lambdas of the host and to none of the NIC hands the request up itself: nothing below it has to
//! be decided here. Once any request is handed up, so is one whose id nobody has here, and then ids whose requests are
//! all handed up need no test of their own: a workload whose lambdas all left takes nothing of the stage. What is
//! dropped or refused among requests that the NIC runs is still dropped or refused here.
//!
//! **Why nothing changes.** The host decides over all workloads' rules ([`Image::host`]) about the request as it came.
//! Conditions have no effects, so it does not matter that some were asked before; one that traps on the NIC traps on the
//! host. A node is replaced only where each way below it ends on the host or has no effect, and ids are distinct: a
//! request whose own test went fails all other ids' tests and reaches the end, which hands it up.

use crate::image::{Call, Image, Key, Leaf, Node, NodeId, Stage};
use crate::reduce::fold;

const UP: Node = Node::Leaf(Leaf::HandUp);

/// Hands up what the NIC has no lambda for; how many nodes went. `quiet` tells which conditions cannot trap.
pub(crate) fn hand_up(image: &mut Image, quiet: &[bool]) -> usize {
    let on_nic: Vec<bool> = (image.entries.iter().zip(&image.plumbing.calls))
        .map(|(entry, call)| entry.on_host.is_none() && *call != Call::None)
        .collect();
    let before = image.stage.nodes.len();
    let mut stage = image.stage.clone();
    if !replace(&mut stage, &on_nic) {
        return 0;
    }
    let host = std::mem::replace(&mut image.stage, stage);
    image.host.get_or_insert(host);
    skip_ids(&mut image.stage);
    fold(&mut image.stage, quiet);
    before.saturating_sub(image.stage.nodes.len())
}

/// Puts the leaf in place of nodes that lead to lambdas of the host alone; whether there were any.
fn replace(stage: &mut Stage, on_nic: &[bool]) -> bool {
    // By node: whether it leads to the NIC, and whether to the host.
    let mut leads: Vec<(bool, bool)> = Vec::with_capacity(stage.nodes.len());
    let mut any = false;
    for node in &mut stage.nodes {
        let ends = match node {
            Node::Leaf(Leaf::Run(entry)) => (on_nic[*entry], !on_nic[*entry]),
            Node::Leaf(leaf) => (false, *leaf == Leaf::HandUp),
            _ => node.successors().iter().fold((false, false), |all, to| {
                let (nic, host) = leads[to.index()];
                (all.0 || nic, all.1 || host)
            }),
        };
        if ends == (false, true) {
            *node = UP;
            any = true;
        }
        leads.push(ends);
    }
    if any {
        let nobody = |node: &&mut Node| **node == Node::Leaf(Leaf::NoWorkload);
        stage.nodes.iter_mut().filter(nobody).for_each(|node| *node = UP);
    }
    any
}

/// Leaves out ids whose requests are handed up anyway, as those of nobody are.
fn skip_ids(stage: &mut Stage) {
    let mut front: Vec<NodeId> = Vec::new();
    let mut at = stage.root;
    while let Node::Workload { other: next, .. }
    | Node::Table {
        key: Key::Workload,
        miss: next,
        ..
    } = &stage.nodes[at.index()]
    {
        front.push(at);
        at = *next;
    }
    if stage.nodes[at.index()] != UP {
        return;
    }
    let mut up: Vec<bool> = stage.nodes.iter().map(|node| *node == UP).collect();
    // The last first: what stands before it looks at what became of it.
    for at in front.into_iter().rev() {
        match &mut stage.nodes[at.index()] {
            Node::Workload { then, other, .. } if up[then.index()] => {
                let other = other.index();
                stage.nodes[at.index()] = stage.nodes[other].clone();
                up[at.index()] = up[other];
            }
            Node::Table { entries, .. } => entries.retain(|(_, to)| !up[to.index()]),
            _ => {}
        }
    }
}
