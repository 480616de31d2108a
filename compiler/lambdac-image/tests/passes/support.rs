//! Images from MIR text, single passes, and the decision structure as text.

use std::collections::BTreeMap;
use std::sync::Arc;

use lambdac_cost::Model;
use lambdac_image::{Image, ImageCost, Key, Leaf, Node, NodeId, Options, link, optimize, passes};
use lambdac_target::{Device, builtin};

pub fn nfp() -> Device {
    builtin("nfp").expect("it is built in")
}

/// Workloads, numbered from 1.
pub fn linked(texts: &[String]) -> Image {
    let modules: Vec<_> = (1u32..)
        .zip(texts)
        .map(|(id, text)| {
            let module = lambdac_mir::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            (id, Arc::new(module))
        })
        .collect();
    let image = link("image", &modules).expect("names are distinct");
    image.validate().unwrap_or_else(|errors| panic!("{errors:#?}"));
    image
}

/// Runs one pass on a device; the image, and what the pass told.
pub fn run(pass: &str, device: &Device, rates: &[(&str, f64)], mut image: Image) -> (Image, Vec<String>) {
    assert!(
        passes().iter().any(|other| other.name == pass),
        "there is a pass {pass}"
    );
    let others = passes().iter().filter(|other| other.name != pass);
    let rates = rates.iter().map(|(name, rate)| ((*name).to_owned(), *rate));
    let options = Options {
        disabled: others.map(|other| other.name.to_owned()).collect(),
        rates: rates.collect::<BTreeMap<_, _>>(),
        validate: true,
        ..Options::default()
    };
    let report = optimize(&mut image, device, &options).expect("the device counts words");
    let notes = report.steps.into_iter().flat_map(|step| step.notes).collect();
    (image, notes)
}

/// What an image takes on the NFP.
pub fn cost(image: &Image) -> ImageCost {
    let device = nfp();
    let model = Model::new(&device).expect("it counts words");
    ImageCost::of(image, &device, &model)
}

/// The decision structure, a node a line, from the root on.
pub fn stage(image: &Image) -> String {
    let mut out = String::new();
    let name = |to: NodeId| match &image.stage.nodes[to.index()] {
        Node::Leaf(Leaf::Run(entry)) => image.entry_name(*entry),
        Node::Leaf(leaf) => format!("{leaf:?}"),
        _ => format!("n{}", to.0),
    };
    for (index, node) in image.stage.nodes.iter().enumerate().rev() {
        out += &match node {
            Node::Leaf(_) => continue,
            Node::Workload { id, then, other } => {
                format!("n{index}: id {id} ? {} : {}\n", name(*then), name(*other))
            }
            Node::Length { min, then, other } => {
                format!("n{index}: len >= {min} ? {} : {}\n", name(*then), name(*other))
            }
            Node::Test { cond, then, other } => {
                let mut pool = image.module.clone();
                if let lambdac_mir::Dispatch::Match(stage) = &mut pool.dispatch {
                    stage.rules = vec![stage.rules[*cond].clone()];
                }
                let text = pool.to_string();
                let rule = text.rsplit_once("dispatch match").map_or("", |(_, rest)| rest);
                let rule = rule.lines().nth(1).unwrap_or_default().trim();
                let cond = rule.split(" => ").next().unwrap_or_default();
                format!("n{index}: {cond} ? {} : {}\n", name(*then), name(*other))
            }
            Node::Table { key, entries, miss } => {
                let both = matches!(key, Key::Both(_));
                let key = match key {
                    Key::Workload => "id".to_owned(),
                    Key::Field(field) => format!("{field:?}"),
                    Key::Both(field) => format!("id and {field:?}"),
                };
                let shown = |value: u64| match both {
                    true => format!("{}/{}", Key::apart(value).0, Key::apart(value).1),
                    false => value.to_string(),
                };
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(value, to)| format!("{} {}", shown(*value), name(*to)))
                    .collect();
                format!(
                    "n{index}: table {key} [{}] : {}\n",
                    entries.join(", "),
                    name(*miss)
                )
            }
        };
    }
    out
}

/// A workload of one lambda that replies with its request, behind rules.
pub fn behind(name: &str, min: u32, rules: &str) -> String {
    format!(
        "module \"{name}\"

lambda l0 \"a\" request \"bytes<8>\" 0..8 reply \"bytes<8>\" 0..8 {{
  part0() {{
    v0: i32 = const 0
    v1: i32 = len req
    reply req[v0 +: v1]
  }}
}}

lambda l1 \"b\" request \"bytes<8>\" 0..8 reply \"bytes<8>\" 0..8 {{
  part0() {{
    v0: i32 = const 0
    reply req[v0 +: v0]
  }}
}}

dispatch match min {min} {{
{rules}
}}
"
    )
}
