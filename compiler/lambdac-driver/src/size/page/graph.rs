//! The decision structure as a drawing: nodes in columns by their distance from the root.

use lambdac_image::{Image, Key, Leaf, Node, NodeId};
use lambdac_mir::{CmpOp, Cond, Field};

use super::escape;

/// Most nodes that are drawn; a larger structure is told in numbers.
const MAX_NODES: usize = 160;
/// A node's box, and the room between boxes.
const BOX: (usize, usize) = (190, 26);
const GAP: (usize, usize) = (56, 12);

/// An SVG of the stage.
pub(super) fn draw(image: &Image) -> String {
    let stage = &image.stage;
    let mut depth: Vec<Option<usize>> = vec![None; stage.nodes.len()];
    depth[stage.root.index()] = Some(0);
    for index in (0..=stage.root.index()).rev() {
        if let Some(own) = depth[index] {
            for to in stage.nodes[index].successors() {
                let at = &mut depth[to.index()];
                *at = Some(at.unwrap_or(0).max(own + 1));
            }
        }
    }
    let count = depth.iter().flatten().count();
    if count > MAX_NODES {
        return format!("<p class=\"quiet\">{count} nodes: too many to draw.</p>\n");
    }
    let columns = depth.iter().flatten().max().map_or(0, |depth| depth + 1);
    let mut filled = vec![0usize; columns];
    let mut place = vec![(0, 0); stage.nodes.len()];
    for index in (0..stage.nodes.len()).rev() {
        if let Some(column) = depth[index] {
            place[index] = (
                GAP.1 + column * (BOX.0 + GAP.0),
                GAP.1 + filled[column] * (BOX.1 + GAP.1),
            );
            filled[column] += 1;
        }
    }
    let width = 2 * GAP.1 + columns * (BOX.0 + GAP.0);
    let height = 2 * GAP.1 + filled.iter().max().unwrap_or(&0) * (BOX.1 + GAP.1);
    let mut out = format!(
        "<div class=\"drawing\"><svg width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"decision structure\">\n"
    );
    for (index, node) in stage.nodes.iter().enumerate() {
        if depth[index].is_some() {
            out += &edges(node, place[index], &place);
        }
    }
    for (index, node) in stage.nodes.iter().enumerate() {
        if depth[index].is_some() {
            out += &boxed(image, node, place[index]);
        }
    }
    out + "</svg></div>\n"
}

/// Lines to where a node leads: dashed where its condition does not hold.
fn edges(node: &Node, from: (usize, usize), place: &[(usize, usize)]) -> String {
    let line = |to: NodeId, class: &str| {
        let (x, y) = (from.0 + BOX.0, from.1 + BOX.1 / 2);
        let (to_x, to_y) = (place[to.index()].0, place[to.index()].1 + BOX.1 / 2);
        let bend = GAP.0 / 2;
        format!(
            "<path class=\"{class}\" d=\"M{x} {y}C{} {y} {} {to_y} {to_x} {to_y}\"/>\n",
            x + bend,
            to_x.saturating_sub(bend)
        )
    };
    match node {
        Node::Leaf(_) => String::new(),
        Node::Workload { then, other, .. }
        | Node::Length { then, other, .. }
        | Node::Test { then, other, .. } => line(*then, "yes") + &line(*other, "no"),
        Node::Table { entries, miss, .. } => {
            let hits: String = entries.iter().map(|(_, to)| line(*to, "yes")).collect();
            hits + &line(*miss, "no")
        }
    }
}

fn boxed(image: &Image, node: &Node, (x, y): (usize, usize)) -> String {
    let (class, text) = match node {
        Node::Leaf(leaf) => ("leaf", leaf_text(image, *leaf)),
        Node::Workload { id, .. } => ("test", format!("{}?", workload(image, *id))),
        Node::Length { min, .. } => ("test", format!("at least {min} bytes?")),
        Node::Test { cond, .. } => ("test", format!("{}?", cond_text(image, image.cond(*cond)))),
        Node::Table { key, entries, .. } => {
            let key = match key {
                Key::Workload => "workload".to_owned(),
                Key::Field(field) => field_text(*field),
                Key::Both(field) => format!("workload, {}", field_text(*field)),
            };
            let rows = match entries.len() {
                1 => "1 entry".to_owned(),
                count => format!("{count} entries"),
            };
            ("keyed", format!("table {key}: {rows}"))
        }
    };
    const FITS: usize = 25;
    let short: String = if text.chars().count() > FITS {
        text.chars().take(FITS - 1).chain(['…']).collect()
    } else {
        text.clone()
    };
    format!(
        "<g><title>{}</title><rect class=\"box {class}\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"4\"/>\
         <text x=\"{}\" y=\"{}\">{}</text></g>\n",
        escape(&text),
        BOX.0,
        BOX.1,
        x + 8,
        y + BOX.1 - 9,
        escape(&short)
    )
}

fn workload(image: &Image, id: u32) -> String {
    let found = image.workloads.iter().find(|workload| workload.id == id);
    found.map_or_else(|| id.to_string(), |workload| workload.name.to_string())
}

fn leaf_text(image: &Image, leaf: Leaf) -> String {
    match leaf {
        Leaf::Run(entry) if image.entries[entry].on_host.is_some() => {
            format!("{} (host)", image.entry_name(entry))
        }
        Leaf::Run(entry) => image.entry_name(entry),
        Leaf::Drop => "drop".to_owned(),
        Leaf::Punt(workload) => format!("punt of {}", image.workloads[workload].name),
        Leaf::BadRequest => "bad request".to_owned(),
        Leaf::NoWorkload => "no workload".to_owned(),
        Leaf::HandUp => "to the host".to_owned(),
    }
}

fn field_text(field: Field) -> String {
    match field {
        Field::Bits { bit, width } if bit % 8 == 0 && width % 8 == 0 => {
            format!("req[{}..{}]", bit / 8, bit / 8 + u32::from(width) / 8)
        }
        Field::Bits { bit, width } => format!("req bits {bit}..{}", bit + u32::from(width)),
        Field::Pkt(field) => format!("pkt.{}", field.name()),
        Field::Rest { offset, .. } => format!("length from {offset}"),
    }
}

fn cond_text(image: &Image, cond: &Cond) -> String {
    let list = |list: &[Cond], word: &str| {
        let texts: Vec<String> = list.iter().map(|cond| cond_text(image, cond)).collect();
        texts.join(word)
    };
    match cond {
        Cond::True => "always".to_owned(),
        Cond::Not(inner) => format!("!({})", cond_text(image, inner)),
        Cond::All(conds) => list(conds, " && "),
        Cond::Any(conds) => list(conds, " || "),
        Cond::Cmp {
            field,
            op,
            swapped,
            value,
        } => {
            let sign = match (op, swapped) {
                (CmpOp::Eq, _) => "==",
                (CmpOp::Ne, _) => "!=",
                (CmpOp::Ult | CmpOp::Slt, false) => "<",
                (CmpOp::Ult | CmpOp::Slt, true) => ">",
                (CmpOp::Ule | CmpOp::Sle, false) => "<=",
                (CmpOp::Ule | CmpOp::Sle, true) => ">=",
            };
            format!("{} {sign} {value}", field_text(*field))
        }
        Cond::Range { field, lo, hi } => format!("{} in {lo}..{hi}", field_text(*field)),
        Cond::Masked { field, mask, value } => format!("{} & {mask:#x} == {value:#x}", field_text(*field)),
        Cond::Has { table, .. } => format!("{}.has", image.module.objects[table.index()].name),
        Cond::Eval(func) => func.name.to_string(),
    }
}
