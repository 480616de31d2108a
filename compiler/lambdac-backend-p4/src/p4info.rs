//! What the control plane is told: p4info, and the entries that it adds, in protobuf's text format.
//!
//! Ids are those that p4c gives the same program (p4c, `control-plane/p4RuntimeSymbolTable.cpp`): the kind in the upper
//! 8 bits, and below it a hash of the name (Jenkins' one-at-a-time), or the next number that is free. Names are tried in
//! their order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::ast::{Action, Bits, Control, Entry, Expr, Item, Key, Local, MatchKind, Program, Table, Type};

/// Kinds of ids (p4runtime, `p4info.proto`, `P4Ids.Prefix`).
const ACTION: u32 = 0x01;
const TABLE: u32 = 0x02;
const CONTROLLER_HEADER: u32 = 0x04;
const COUNTER: u32 = 0x12;
const REGISTER: u32 = 0x16;

/// Entries that a table has room for if it does not say (p4c, `defaultTableSize`).
const DEFAULT_SIZE: u32 = 1024;
/// The core library's action.
const NO_ACTION: &str = "NoAction";

/// The ids of a program's parts.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    ids: BTreeMap<(u32, String), u32>,
}

impl Ids {
    /// Those of a program.
    pub fn of(program: &Program) -> Self {
        let mut names: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
        let mut add = |kind: u32, name: String| {
            names.entry(kind).or_default().insert(name);
        };
        add(ACTION, NO_ACTION.to_owned());
        for item in &program.items {
            match item {
                Item::Control(control) => {
                    for local in &control.locals {
                        match local {
                            Local::Action(action) => add(ACTION, qualified(control, &action.name)),
                            Local::Table(table) => add(TABLE, qualified(control, &table.name)),
                            Local::Instance { ty, name, .. } => add(instance(ty), qualified(control, name)),
                            Local::Comment(_) | Local::Var(..) => {}
                        }
                    }
                }
                // Its name to the controller is another.
                Item::Header {
                    controller: Some(_),
                    name,
                    ..
                } => add(CONTROLLER_HEADER, name.clone()),
                _ => {}
            }
        }
        let mut ids = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for (kind, names) in names {
            for name in names {
                let mut hash = one_at_a_time(&name);
                let id = loop {
                    let id = kind << 24 | hash & 0x00ff_ffff;
                    if taken.insert(id) {
                        break id;
                    }
                    hash = hash.wrapping_add(1);
                };
                ids.insert((kind, name), id);
            }
        }
        Self { ids }
    }

    fn get(&self, kind: u32, name: &str) -> u32 {
        self.ids.get(&(kind, name.to_owned())).copied().unwrap_or(0)
    }

    /// The id of an action named in a control.
    fn action(&self, control: &Control, name: &str) -> u32 {
        match name {
            NO_ACTION => self.get(ACTION, NO_ACTION),
            name => self.get(ACTION, &qualified(control, name)),
        }
    }
}

/// The kind of an extern object.
fn instance(ty: &Type) -> u32 {
    match ty {
        Type::Named(name) if name == "counter" => COUNTER,
        _ => REGISTER,
    }
}

/// Jenkins' one-at-a-time hash.
fn one_at_a_time(name: &str) -> u32 {
    let mut hash = 0_u32;
    for byte in name.bytes() {
        hash = hash.wrapping_add(byte.into());
        hash = hash.wrapping_add(hash << 10);
        hash ^= hash >> 6;
    }
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash.wrapping_add(hash << 15)
}

fn qualified(control: &Control, name: &str) -> String {
    format!("{}.{name}", control.name)
}

/// Protobuf text so far.
#[derive(Default)]
struct Text {
    out: String,
    depth: usize,
}

impl Text {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let indent = self.depth * 2;
        // Writing to a string can't fail.
        let _ = writeln!(self.out, "{:indent$}{line}", "");
    }

    fn message(&mut self, name: &str, inner: impl FnOnce(&mut Self)) {
        self.line(format_args!("{name} {{"));
        self.depth += 1;
        inner(self);
        self.depth -= 1;
        self.line(format_args!("}}"));
    }

    fn number(&mut self, name: &str, value: impl std::fmt::Display) {
        self.line(format_args!("{name}: {value}"));
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        let mut text = String::new();
        for byte in bytes {
            match byte {
                b'\n' => text.push_str("\\n"),
                b'\r' => text.push_str("\\r"),
                b'\t' => text.push_str("\\t"),
                b'"' | b'\'' | b'\\' => {
                    text.push('\\');
                    text.push(char::from(*byte));
                }
                0x20..=0x7e => text.push(char::from(*byte)),
                other => {
                    let _ = write!(text, "\\{other:03o}");
                }
            }
        }
        self.line(format_args!("{name}: \"{text}\""));
    }

    fn preamble(&mut self, id: u32, name: &str, alias: &str, annotations: &[String]) {
        self.message("preamble", |text| {
            text.number("id", id);
            text.bytes("name", name.as_bytes());
            text.bytes("alias", alias.as_bytes());
            for annotation in annotations {
                text.bytes("annotations", annotation.as_bytes());
            }
        });
    }
}

/// The p4info of a program.
pub fn p4info(program: &Program) -> String {
    let ids = Ids::of(program);
    let mut text = Text::default();
    text.message("pkg_info", |text| text.bytes("arch", b"v1model"));
    let controls: Vec<&Control> = program
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Control(control) => Some(control),
            _ => None,
        })
        .collect();
    for control in &controls {
        for local in &control.locals {
            if let Local::Table(found) = local {
                table(&mut text, &ids, control, found);
            }
        }
    }
    text.message("actions", |text| {
        let annotation = "@noWarn(\"unused\")".to_owned();
        text.preamble(ids.get(ACTION, NO_ACTION), NO_ACTION, NO_ACTION, &[annotation]);
    });
    for control in &controls {
        for local in &control.locals {
            if let Local::Action(found) = local {
                action(&mut text, &ids, control, found);
            }
        }
    }
    for item in &program.items {
        controller(&mut text, &ids, item);
    }
    for part in [counter, register] {
        for control in &controls {
            for local in &control.locals {
                part(&mut text, &ids, control, local);
            }
        }
    }
    text.out
}

fn table(text: &mut Text, ids: &Ids, control: &Control, table: &Table) {
    text.message("tables", |text| {
        let name = qualified(control, &table.name);
        text.preamble(ids.get(TABLE, &name), &name, &table.name, &[]);
        for (key, id) in table.keys.iter().zip(1..) {
            text.message("match_fields", |text| field(text, key, id));
        }
        for name in &table.actions {
            text.message("action_refs", |text| text.number("id", ids.action(control, name)));
        }
        let default = ids.action(control, &table.default.0);
        if table.const_default {
            text.number("const_default_action_id", default);
        }
        text.message("initial_default_action", |text| {
            text.number("action_id", default);
            arguments(text, "arguments", &table.default.1);
        });
        text.number("size", table.size.unwrap_or(DEFAULT_SIZE));
        if !table.entries.is_empty() {
            text.number("is_const_table", true);
            text.number("has_initial_entries", true);
        }
    });
}

fn field(text: &mut Text, key: &Key, id: u32) {
    text.number("id", id);
    text.bytes("name", key.name.as_bytes());
    text.number("bitwidth", key.width);
    text.number(
        "match_type",
        match key.kind {
            MatchKind::Exact => "EXACT",
            MatchKind::Lpm => "LPM",
            MatchKind::Ternary => "TERNARY",
        },
    );
}

fn arguments(text: &mut Text, name: &str, values: &[Expr]) {
    for (value, id) in values.iter().zip(1_u32..) {
        text.message(name, |text| {
            text.number("param_id", id);
            text.bytes("value", &bytestring(value));
        });
    }
}

/// The shortest form of a number (P4Runtime specification, "Bytestrings").
fn bytestring(value: &Expr) -> Vec<u8> {
    match value {
        Expr::Bits(Bits { bytes, .. }) if !bytes.is_empty() => bytes.clone(),
        _ => vec![0],
    }
}

fn action(text: &mut Text, ids: &Ids, control: &Control, action: &Action) {
    text.message("actions", |text| {
        let name = qualified(control, &action.name);
        text.preamble(ids.get(ACTION, &name), &name, &action.name, &[]);
        for (param, id) in action.params.iter().zip(1_u32..) {
            text.message("params", |text| {
                text.number("id", id);
                text.bytes("name", param.name.as_bytes());
                text.number("bitwidth", width(&param.ty));
            });
        }
    });
}

fn width(ty: &Type) -> u32 {
    match ty {
        Type::Bit(width) | Type::Int(width) => *width,
        Type::Kept(_, ty) => self::width(ty),
        Type::Bool | Type::Named(_) | Type::Stack(..) | Type::Generic(..) => 1,
    }
}

fn controller(text: &mut Text, ids: &Ids, item: &Item) {
    let Item::Header {
        controller: Some(name),
        name: declared,
        fields,
    } = item
    else {
        return;
    };
    text.message("controller_packet_metadata", |text| {
        let annotation = format!("@controller_header(\"{name}\")");
        text.preamble(ids.get(CONTROLLER_HEADER, declared), name, name, &[annotation]);
        for ((ty, name), id) in fields.iter().zip(1_u32..) {
            text.message("metadata", |text| {
                text.number("id", id);
                text.bytes("name", name.as_bytes());
                text.number("bitwidth", width(ty));
            });
        }
    });
}

fn counter(text: &mut Text, ids: &Ids, control: &Control, local: &Local) {
    let Local::Instance { ty, args, name } = local else {
        return;
    };
    if instance(ty) != COUNTER {
        return;
    }
    text.message("counters", |text| {
        let full = qualified(control, name);
        text.preamble(ids.get(COUNTER, &full), &full, name, &[]);
        text.message("spec", |text| text.number("unit", "PACKETS"));
        text.number("size", args.first().and_then(Expr::number).unwrap_or(1));
    });
}

fn register(text: &mut Text, ids: &Ids, control: &Control, local: &Local) {
    let Local::Instance {
        ty: Type::Generic(_, elements),
        args,
        name,
    } = local
    else {
        return;
    };
    text.message("registers", |text| {
        let full = qualified(control, name);
        text.preamble(ids.get(REGISTER, &full), &full, name, &[]);
        text.message("type_spec", |text| {
            text.message("bitstring", |text| {
                text.message("bit", |text| {
                    text.number("bitwidth", elements.first().map_or(1, width));
                });
            });
        });
        text.number("size", args.first().and_then(Expr::number).unwrap_or(1));
    });
}

/// The entries that the control plane adds, as a P4Runtime `WriteRequest`: by table, in order.
pub fn entries(program: &Program, entries: &[(String, Entry)]) -> String {
    let ids = Ids::of(program);
    let mut text = Text::default();
    for item in &program.items {
        let Item::Control(control) = item else { continue };
        for local in &control.locals {
            let Local::Table(table) = local else { continue };
            let own: Vec<&Entry> = entries
                .iter()
                .filter(|(name, _)| *name == table.name)
                .map(|(_, entry)| entry)
                .collect();
            // The first of those that match wins, and the highest priority.
            for (entry, priority) in own.iter().zip((1..=own.len()).rev()) {
                insert(&mut text, &ids, (control, table), entry, priority);
            }
        }
    }
    text.out
}

fn insert(text: &mut Text, ids: &Ids, (control, table): (&Control, &Table), entry: &Entry, priority: usize) {
    let ternary = table.keys.iter().any(|key| key.kind == MatchKind::Ternary);
    let default = table.keys.is_empty();
    text.message("updates", |text| {
        // A table without a key has nothing but a default action.
        text.number("type", if default { "MODIFY" } else { "INSERT" });
        text.message("entity", |text| {
            text.message("table_entry", |text| {
                text.number("table_id", ids.get(TABLE, &qualified(control, &table.name)));
                for ((key, pattern), id) in table.keys.iter().zip(&entry.keys).zip(1_u32..) {
                    pattern_of(text, key, pattern, id);
                }
                text.message("action", |text| {
                    text.message("action", |text| {
                        text.number("action_id", ids.action(control, &entry.action));
                        arguments(text, "params", &entry.args);
                    });
                });
                if ternary {
                    text.number("priority", priority);
                }
                if default {
                    text.number("is_default_action", true);
                }
            });
        });
    });
}

/// A pattern; one that takes everything is left out, as P4Runtime wants it.
fn pattern_of(text: &mut Text, key: &Key, pattern: &Expr, id: u32) {
    let (value, mask) = match pattern {
        Expr::Masked(value, mask) => (bytestring(value), Some(&**mask)),
        Expr::Any => return,
        value => (bytestring(value), None),
    };
    let ones = mask.map(|mask| match mask {
        Expr::Bits(bits) => bits.bytes.iter().map(|byte| byte.count_ones()).sum(),
        _ => 0,
    });
    if ones == Some(0) {
        return;
    }
    text.message("match", |text| {
        text.number("field_id", id);
        match key.kind {
            MatchKind::Exact => text.message("exact", |text| text.bytes("value", &value)),
            MatchKind::Lpm => text.message("lpm", |text| {
                text.bytes("value", &value);
                text.number("prefix_len", ones.unwrap_or(key.width));
            }),
            MatchKind::Ternary => text.message("ternary", |text| {
                text.bytes("value", &value);
                let all = vec![0xff; key.width.div_ceil(8) as usize];
                let all = Expr::Bits(Bits::new(key.width, &all));
                text.bytes("mask", &bytestring(mask.unwrap_or(&all)));
            }),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::one_at_a_time;

    #[test]
    fn the_hash_gives_the_ids_that_p4c_gives() {
        // As p4c prints them: for every v1model program, and for a controller's header that is declared so.
        assert_eq!(0x0100_0000 | one_at_a_time("NoAction") & 0x00ff_ffff, 21_257_015);
        assert_eq!(
            0x0400_0000 | one_at_a_time("packet_in_header_t") & 0x00ff_ffff,
            81_826_293
        );
    }
}
