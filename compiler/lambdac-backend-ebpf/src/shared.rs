//! Maps and sections that every object has, whatever its workloads: what [`crate::abi`] describes, as declarations.

use crate::abi::{self, COUNTER_SLOTS, Config, Test};
use crate::object::{DataSection, Field, Map, MapKind, NO_PREALLOC, Struct, Type, Variable};

/// The maps of an object with so many workloads.
pub fn maps(workloads: u32) -> Vec<Map> {
    vec![trusted(), programs(workloads), counters(workloads), events()]
}

/// The sections of an object; `test` adds the one that stands in for clock and dice.
pub fn sections(test: bool) -> Vec<DataSection> {
    let mut sections = vec![config()];
    sections.extend(test.then(test_section));
    sections
}

fn trusted() -> Map {
    let prefix = Struct {
        name: "lpm_prefix".to_owned(),
        size: 8,
        fields: vec![
            Field::new("prefixlen", 0, Type::U32),
            Field::new("address", 4, Type::bytes(4)),
        ],
    };
    Map {
        name: abi::TRUSTED.to_owned(),
        kind: MapKind::LpmTrie,
        key: Some(Type::Struct(prefix)),
        value: Some(Type::U32),
        max_entries: abi::TRUSTED_ENTRIES,
        flags: NO_PREALLOC,
    }
}

fn programs(workloads: u32) -> Map {
    Map {
        name: abi::PROGRAMS.to_owned(),
        kind: MapKind::ProgArray,
        key: Some(Type::U32),
        value: Some(Type::U32),
        max_entries: workloads.max(1),
        flags: 0,
    }
}

fn counters(workloads: u32) -> Map {
    Map {
        name: abi::COUNTERS.to_owned(),
        kind: MapKind::PercpuArray,
        key: Some(Type::U32),
        value: Some(Type::U64.array(COUNTER_SLOTS)),
        max_entries: workloads + 1,
        flags: 0,
    }
}

fn events() -> Map {
    Map {
        name: abi::EVENTS.to_owned(),
        kind: MapKind::Ringbuf,
        key: None,
        value: None,
        max_entries: abi::EVENTS_BYTES,
        flags: 0,
    }
}

fn config() -> DataSection {
    let fields = vec![
        Field::new("on", 0, Type::U16),
        Field::new("mac", 2, Type::bytes(6)),
        Field::new("address", 8, Type::bytes(4)),
        Field::new("port", 12, Type::bytes(2)),
        Field::new("broadcast", 16, Type::bytes(4)),
    ];
    section(abi::CONFIG, "config", Config::BYTES, fields)
}

fn test_section() -> DataSection {
    let fields = vec![
        Field::new("now", Test::NOW, Type::U64),
        Field::new("is_fixed", Test::IS_FIXED, Type::U32),
        Field::new("fixed", Test::FIXED, Type::U32),
        Field::new("dice", Test::DICE, Type::U64),
        Field::new("port", Test::PORT, Type::U16),
    ];
    section(abi::TEST, "test", Test::BYTES, fields)
}

/// A section of zeros that is one structure.
fn section(name: &str, variable: &str, bytes: usize, fields: Vec<Field>) -> DataSection {
    let of = Struct {
        name: variable.to_owned(),
        size: u32::try_from(bytes).expect("a few bytes"),
        fields,
    };
    DataSection {
        name: name.to_owned(),
        bytes: vec![0; bytes],
        variables: vec![Variable {
            name: variable.to_owned(),
            offset: 0,
            ty: Type::Struct(of),
        }],
    }
}
