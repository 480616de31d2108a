//! Expected cycles by what runs went through.

use std::sync::Arc;

use lambdac_cost::{CodeCost, Model, ModuleCost, Placement, Profile};
use lambdac_mir::interp::{Answer, Callee, Env, MirInterp};
use lambdac_mir::{Module, ServiceOp, parse};
use lambdac_target::builtin;

/// A lambda that draws lots where the first byte is 0, for first bytes under 128, and one for all others.
const TEXT: &str = r#"module "m"
file "m.lnic"

lambda l0 "draws" request "bytes<1>" 1..1 reply "bytes<0>" 0..0 {
  part0() {
    v0: i32 = const 0
    v1: i8 = load_bits req, bit 0 @2
    v3: i8 = const 0
    v2: i1 = eq v1, v3
    if v2 @3 {
      v4: i32 = random @4
      v5: i32 = random @4
      v6: i32 = random @4
      yield
    } else {
      yield
    }
    reply req[v0 +: v0]
  }
}

lambda l1 "rest" request "bytes<8>" 0..8 reply "bytes<8>" 0..8 {
  part0() {
    v0: i32 = const 0
    reply req[v0 +: v0]
  }
}

dispatch match min 1 {
  bits(0, i8) ult 128 => l0
  true => l1
}
"#;

fn module() -> Arc<Module> {
    parsed(TEXT)
}

fn parsed(text: &str) -> Arc<Module> {
    Arc::new(parse(text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

fn counted(module: &Arc<Module>, requests: &[u8]) -> Profile {
    let mut interp = MirInterp::new(Arc::clone(module)).unwrap_or_else(|errors| panic!("{errors:#?}"));
    interp.count();
    let env = Env {
        pkt: [0; 5],
        now: 0,
        random: None,
        params: Vec::new(),
    };
    let mut nobody = |_: &lambdac_mir::Service, _: ServiceOp, _: &[u8], _: Option<&[u8]>| Answer::Failed;
    for byte in requests {
        interp.call(Callee::Dispatch, &[*byte], &env, &mut nobody);
    }
    let mut profile = Profile::default();
    profile.add(module, &interp.take_counts());
    profile
}

fn cost(module: &Module, profile: Option<&Profile>) -> ModuleCost {
    let device = builtin("nfp").expect("built in");
    let model = Model::new(&device)
        .expect("it counts words")
        .with_profile(profile);
    model.module(module, &Placement::far(module, &device))
}

fn draws(module: &Module, profile: Option<&Profile>) -> CodeCost {
    cost(module, profile).lambdas[0].clone()
}

#[test]
fn a_branch_weighs_as_it_went() {
    let module = module();
    let even = draws(&module, None);
    let always = draws(&module, Some(&counted(&module, &[0, 0])));
    let never = draws(&module, Some(&counted(&module, &[1, 2, 3])));
    let sometimes = draws(&module, Some(&counted(&module, &[0, 1, 2, 3])));
    let side = always.expected - never.expected;
    assert!(side > 0);
    assert_eq!(even.expected, never.expected + side / 2);
    assert_eq!(sometimes.expected, never.expected + side / 4);
    for other in [&always, &never, &sometimes] {
        assert_eq!(
            (even.words, even.worst),
            (other.words, other.worst),
            "a profile weighs, and adds nothing"
        );
    }
}

#[test]
fn lambdas_share_their_workloads_requests_as_the_match_shared_them() {
    let module = module();
    let profile = counted(&module, &[0, 200, 201, 202]);
    assert_eq!(profile.workloads["m"].rules, [1, 3]);
    assert_eq!(
        profile.shares("m", &["draws", "rest", "third"]),
        [0.25, 0.75, 0.0]
    );
    assert_eq!(profile.shares("other", &["a", "b"]), [0.5, 0.5]);
}

#[test]
fn a_rule_is_asked_about_what_no_rule_before_it_took() {
    let module = parsed(&TEXT.replace("  true => l1", "  not(bits(0, i8) ult 128) => l1"));
    let dispatch = |requests: &[u8]| cost(&module, Some(&counted(&module, requests))).dispatch;
    let (first, second) = (dispatch(&[0; 4]), dispatch(&[200; 4]));
    assert!(first.expected < second.expected);
    assert_eq!(second.expected, second.worst);
    assert_eq!(first.worst, second.worst);
}

#[test]
fn what_a_profile_does_not_know_is_taken_evenly() {
    let module = module();
    let mut other = counted(&module, &[0]);
    let files = std::mem::take(&mut other.files);
    other.files = files
        .into_values()
        .map(|lines| ("other.lnic".to_owned(), lines))
        .collect();
    assert_eq!(draws(&module, Some(&other)), draws(&module, None));
}

#[test]
fn a_path_is_the_same_with_the_folder_it_starts_from() {
    let module = module();
    let profile = counted(&module, &[0, 0]);
    let dotted = parsed(&TEXT.replace("m.lnic", "./m.lnic"));
    assert_eq!(counted(&dotted, &[0, 0]), profile, "it is written without");
    assert_eq!(draws(&dotted, Some(&profile)), draws(&module, Some(&profile)));
    assert_ne!(draws(&dotted, Some(&profile)), draws(&dotted, None));

    let line = "{\"branches\":{\"2\":[2,0]}}";
    let json = format!(
        "{{\"schema\":1,\"files\":{{\"././m.lnic\":{{\"3\":{line}}},\"m.lnic\":{{\"3\":{line}}}}},\"workloads\":{{}}}}"
    );
    let read: Profile = serde_json::from_str(&json).expect("a profile");
    assert_eq!(read.files["m.lnic"][&3].branches[&2], [4, 0]);
    assert_eq!(read.files.len(), 1);
}

#[test]
fn a_profile_of_other_files_is_told_from_one_of_these() {
    let profile = counted(&module(), &[0]);
    assert_eq!(profile.stranger(["./m.lnic", "other.lnic"]), None);
    assert_eq!(profile.stranger(["other.lnic"]), Some("m.lnic"));
    assert_eq!(
        Profile::default().stranger(["other.lnic"]),
        None,
        "it counted no branch"
    );
}
