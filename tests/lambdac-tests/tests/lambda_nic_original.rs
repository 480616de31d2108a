//! The λ-NIC project's unoptimised program: what the linker makes of it, what the passes make of that, and the four
//! kinds of packet whose behaviour the authors' hand optimisation changed.

use std::path::PathBuf;
use std::sync::Arc;

use lambdac_cost::Model;
use lambdac_image::{Ending, Image, ImageCost, ImageInterp, Options, Packet, optimize};
use lambdac_mir::interp::{Answer, Outcome};
use lambdac_mir::{Service, ServiceOp};
use lambdac_tests::images::{Member, device, linked, run_tests};

/// The jobs in order of their names.
const JOBS: [&str; 4] = ["original_get", "original_image", "original_set", "original_web"];

fn members() -> Vec<Member> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/lambda-nic-original");
    let member = |name: &&str| {
        let path = folder.join(format!("{name}.lnic"));
        let source = std::fs::read_to_string(&path).expect("the example is there");
        Member::new(name, &source, |_| Vec::new()).expect("it compiles")
    };
    JOBS.iter().map(member).collect()
}

/// The image as linked and as optimised, with what each takes.
fn images(members: &[Member]) -> [(Image, ImageCost); 2] {
    let members: Vec<&Member> = members.iter().collect();
    let naive = linked(&members).expect("it links");
    let device = device();
    let model = Model::new(&device).expect("it counts words");
    let mut small = naive.clone();
    let options = Options {
        validate: true,
        ..Options::default()
    };
    optimize(&mut small, &device, &options).expect("the device counts words");
    [naive, small].map(|image| {
        let cost = ImageCost::of(&image, &device, &model);
        (image, cost)
    })
}

#[test]
fn linked_it_has_the_originals_tables_entries_and_lambdas() {
    let [(_, naive), _] = images(&members());
    assert_eq!((naive.tables(), naive.table_entries, naive.lambdas), (16, 10, 4));
}

#[test]
fn the_passes_leave_at_most_4_tables_and_entries_and_two_thirds_of_the_words() {
    let [(_, naive), (_, small)] = images(&members());
    assert!(small.tables() <= 4, "{} tables", small.tables());
    assert!(small.table_entries <= 4, "{} entries", small.table_entries);
    let (before, after) = (naive.words(), small.words());
    assert!(after * 100 <= before * 65, "{before} words became {after}");
}

#[test]
fn its_tests_pass_before_and_after() {
    let members = members();
    for (image, _) in images(&members) {
        let image = Arc::new(image);
        for member in &members {
            run_tests(&image, member).unwrap_or_else(|failures| panic!("{failures:?}"));
        }
    }
}

/// What a request got, and what it asked services for.
type Seen = (Ending, Vec<(String, ServiceOp, Vec<u8>, Option<Vec<u8>>)>);

fn send(image: &Image, id: u32, payload: &[u8], pkt: [u64; 5]) -> Seen {
    let mut interp = ImageInterp::new(Arc::new(image.clone()), 7).expect("it is valid");
    let mut asked = Vec::new();
    let mut services = |service: &Service, op, key: &[u8], value: Option<&[u8]>| {
        asked.push((
            service.name.to_string(),
            op,
            key.to_vec(),
            value.map(<[u8]>::to_vec),
        ));
        match op {
            ServiceOp::Get => Answer::Value(b"dude".to_vec()),
            ServiceOp::Set | ServiceOp::Delete => Answer::Done,
        }
    };
    let packet = Packet {
        pkt,
        now: 1_000_000_000,
        random: None,
    };
    let ending = interp.call(id, payload, &packet, &mut services);
    (ending, asked)
}

const PAYLOAD: &[u8] = b"                ";
/// From 10.0.0.9, port 4369, as λ-NIC's gateway sends.
const CALLER: [u64; 5] = [0x0a00_0009, 4369, 4369, 0, 1];

fn id(image: &Image, name: &str) -> u32 {
    let found = image.workloads.iter().find(|workload| &*workload.name == name);
    found.expect("it is in the image").id
}

/// Since v1, GET packets bear SET's IPv4 length: a length that was set before the branch and belongs behind it.
#[test]
fn get_asks_with_its_own_key_and_no_value() {
    for (image, _) in images(&members()) {
        let (ending, asked) = send(&image, id(&image, "original_get"), PAYLOAD, CALLER);
        assert_eq!(ending, Ending::Of(Outcome::Reply(b"dude".to_vec())));
        let wanted = (
            "original_get.cache".to_owned(),
            ServiceOp::Get,
            b"hey".to_vec(),
            None,
        );
        assert_eq!(asked, [wanted]);
    }
}

/// Since v1, SET's frame starts with GET's first word: it was hoisted above the branch.
#[test]
fn set_asks_its_own_service_with_its_own_value() {
    for (image, _) in images(&members()) {
        let (ending, asked) = send(&image, id(&image, "original_set"), PAYLOAD, CALLER);
        assert_eq!(ending, Ending::Of(Outcome::Reply(b"STORED".to_vec())));
        let value = Some(b"dude".to_vec());
        let wanted = (
            "original_set.cache".to_owned(),
            ServiceOp::Set,
            b"hey".to_vec(),
            value,
        );
        assert_eq!(asked, [wanted]);
    }
}

/// In v3, packets with source port 4369 or destination port 11211 are reflected, whoever they are for.
#[test]
fn ports_alone_make_no_packet_a_reply() {
    for (image, _) in images(&members()) {
        for pkt in [[1, 4369, 80, 0, 1], [1, 5000, 11211, 0, 1]] {
            let (ending, asked) = send(&image, 0x7777_0001, PAYLOAD, pkt);
            assert_eq!((ending, asked.len()), (Ending::NoWorkload, 0));
            let (ending, _) = send(&image, id(&image, "original_web"), PAYLOAD, pkt);
            assert_eq!(ending, Ending::Of(Outcome::Reply(b"hi:             ".to_vec())));
        }
    }
}

/// In v3, a job that nobody has leaves by the default way; before, it matched nothing.
#[test]
fn a_workload_that_nobody_has_stays_unknown() {
    for (image, _) in images(&members()) {
        let known: Vec<u32> = image.workloads.iter().map(|workload| workload.id).collect();
        // The same index with another tag, an index past the last, and none.
        for unknown in [known[0] ^ 0x0001_0000, known[3] + 1, 0] {
            assert!(!known.contains(&unknown));
            let (ending, asked) = send(&image, unknown, PAYLOAD, CALLER);
            assert_eq!((ending, asked.len()), (Ending::NoWorkload, 0));
        }
    }
}
