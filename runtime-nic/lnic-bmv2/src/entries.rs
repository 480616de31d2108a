//! Table entries: what the switch should have against what it has.
//!
//! Entries are the same if their tables, patterns and priorities are. New ones and changed ones are written first and
//! old ones removed after, so that a key that stays is never missing; in a table that is too full for that, the old ones
//! go first. Default actions are written each time.

use std::collections::BTreeMap;

use p4runtime_proto::config::P4Info;
use p4runtime_proto::v1::field_match::FieldMatchType;
use p4runtime_proto::v1::{Entity, TableEntry, Update, entity, table_action, update};

/// A number without its leading zeros.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

/// What an entry is known by: its table, its priority, and its patterns by field.
type Key = (u32, i32, BTreeMap<u32, (Vec<u8>, Vec<u8>)>);
/// What it does: an action, and its arguments by number.
type Does = Option<(u32, BTreeMap<u32, Vec<u8>>)>;

fn key(entry: &TableEntry) -> Key {
    let patterns = entry.r#match.iter().filter_map(|field| {
        let (value, more) = match field.field_match_type.as_ref()? {
            FieldMatchType::Exact(exact) => (&exact.value, Vec::new()),
            FieldMatchType::Ternary(ternary) => (&ternary.value, trimmed(&ternary.mask).to_vec()),
            FieldMatchType::Lpm(lpm) => (&lpm.value, lpm.prefix_len.to_be_bytes().to_vec()),
            FieldMatchType::Range(range) => (&range.low, trimmed(&range.high).to_vec()),
            FieldMatchType::Optional(optional) => (&optional.value, Vec::new()),
        };
        Some((field.field_id, (trimmed(value).to_vec(), more)))
    });
    (entry.table_id, entry.priority, patterns.collect())
}

fn does(entry: &TableEntry) -> Does {
    let table_action::Type::Action(action) = entry.action.as_ref()?.r#type.as_ref()?;
    let params = action.params.iter();
    let params = params.map(|param| (param.param_id, trimmed(&param.value).to_vec()));
    Some((action.action_id, params.collect()))
}

fn update(kind: update::Type, entry: &TableEntry) -> Update {
    Update {
        r#type: kind.into(),
        entity: Some(Entity {
            entity: Some(entity::Entity::TableEntry(entry.clone())),
        }),
    }
}

/// The table entry of an entity, if it is one.
pub fn table_entry(entity: &Entity) -> Option<&TableEntry> {
    match entity.entity.as_ref()? {
        entity::Entity::TableEntry(entry) => Some(entry),
        _ => None,
    }
}

/// The tables of a program that the control plane fills, with their sizes.
pub fn tables(info: &P4Info) -> BTreeMap<u32, i64> {
    let filled = info
        .tables
        .iter()
        .filter(|table| !table.is_const_table && !table.match_fields.is_empty());
    let sized = filled.filter_map(|table| Some((table.preamble.as_ref()?.id, table.size)));
    sized.collect()
}

/// Wishes to read all entries of tables.
pub fn wishes(tables: &BTreeMap<u32, i64>) -> Vec<Entity> {
    let wish = |id: &u32| Entity {
        entity: Some(entity::Entity::TableEntry(TableEntry {
            table_id: *id,
            ..TableEntry::default()
        })),
    };
    tables.keys().map(wish).collect()
}

/// The updates that make `tables` hold `wanted` (inserts, and default actions) where they hold `held`.
pub fn difference(tables: &BTreeMap<u32, i64>, wanted: &[Update], held: &[Entity]) -> Vec<Update> {
    let wanted = wanted
        .iter()
        .filter_map(|update| table_entry(update.entity.as_ref()?));
    let (defaults, wanted): (Vec<_>, Vec<_>) = wanted.partition(|entry| entry.is_default_action);
    let wanted: Vec<(Key, &TableEntry)> = wanted.into_iter().map(|entry| (key(entry), entry)).collect();
    let held = held.iter().filter_map(table_entry);
    let held: BTreeMap<Key, &TableEntry> = held
        .filter(|entry| tables.contains_key(&entry.table_id) && !entry.is_const)
        .map(|entry| (key(entry), entry))
        .collect();
    let defaults = defaults.into_iter();
    let mut updates: Vec<Update> = defaults
        .map(|entry| update(update::Type::Modify, entry))
        .collect();
    for (table, size) in tables {
        let of_table = |key: &Key| key.0 == *table;
        let writes = wanted.iter().filter(|(key, _)| of_table(key));
        let writes = writes.filter_map(|(key, entry)| match held.get(key) {
            None => Some(update(update::Type::Insert, entry)),
            Some(old) if does(old) != does(entry) => Some(update(update::Type::Modify, entry)),
            Some(_) => None,
        });
        let writes: Vec<Update> = writes.collect();
        let own: Vec<_> = held.iter().filter(|(key, _)| of_table(key)).collect();
        let old = own
            .iter()
            .filter(|(key, _)| !wanted.iter().any(|(other, _)| other == *key));
        let removes: Vec<Update> = old
            .map(|(_, entry)| update(update::Type::Delete, entry))
            .collect();
        let room = *size - own.len() as i64;
        let new = writes
            .iter()
            .filter(|update| update.r#type == i32::from(update::Type::Insert));
        let (first, then) = match (new.count() as i64) <= room {
            true => (writes, removes),
            false => (removes, writes),
        };
        updates.extend(first);
        updates.extend(then);
    }
    updates
}

#[cfg(test)]
mod tests {
    use p4runtime_proto::v1::{Action, FieldMatch, TableAction, action, field_match};

    use super::*;

    fn entry(table: u32, value: &[u8], argument: u8) -> TableEntry {
        let exact = field_match::Exact {
            value: value.to_vec(),
        };
        TableEntry {
            table_id: table,
            r#match: vec![FieldMatch {
                field_id: 1,
                field_match_type: Some(FieldMatchType::Exact(exact)),
            }],
            action: Some(TableAction {
                r#type: Some(table_action::Type::Action(Action {
                    action_id: 5,
                    params: vec![action::Param {
                        param_id: 1,
                        value: vec![argument],
                    }],
                })),
            }),
            ..TableEntry::default()
        }
    }

    fn held(entries: &[TableEntry]) -> Vec<Entity> {
        let entity = |entry: &TableEntry| update(update::Type::Insert, entry).entity;
        entries.iter().filter_map(entity).collect()
    }

    fn kinds(size: i64, wanted: &[TableEntry], there: &[TableEntry]) -> Vec<(update::Type, u8)> {
        let wanted: Vec<Update> = wanted
            .iter()
            .map(|entry| update(update::Type::Insert, entry))
            .collect();
        let updates = difference(&[(1, size)].into(), &wanted, &held(there));
        let one = |update: &Update| {
            let entry = table_entry(update.entity.as_ref().unwrap()).unwrap();
            let value = *key(entry).2[&1].0.last().unwrap();
            (update::Type::try_from(update.r#type).unwrap(), value)
        };
        updates.iter().map(one).collect()
    }

    #[test]
    fn what_is_new_is_written_before_what_is_old_is_removed_if_there_is_room() {
        use update::Type::{Delete, Insert, Modify};
        let there = [entry(1, &[1], 0), entry(1, &[0, 2], 0), entry(1, &[3], 0)];
        let wanted = [entry(1, &[2], 0), entry(1, &[3], 9), entry(1, &[4], 0)];
        let changes = [(Modify, 3), (Insert, 4), (Delete, 1)];
        assert_eq!(kinds(8, &wanted, &there), changes);
        assert_eq!(kinds(3, &wanted, &there), [(Delete, 1), (Modify, 3), (Insert, 4)]);
        assert_eq!(kinds(8, &there, &there), []);
    }

    #[test]
    fn a_default_action_is_changed_whatever_there_was() {
        let default = TableEntry {
            r#match: Vec::new(),
            is_default_action: true,
            ..entry(9, &[], 3)
        };
        let wanted = [update(update::Type::Modify, &default)];
        assert_eq!(difference(&[(1, 8)].into(), &wanted, &[]), wanted);
    }

    #[test]
    fn tables_that_are_not_ours_to_fill_are_left_alone() {
        assert_eq!(kinds(8, &[], &[entry(2, &[1], 0)]), []);
        let constant = TableEntry {
            is_const: true,
            ..entry(1, &[1], 0)
        };
        assert_eq!(kinds(8, &[], &[constant]), []);
    }
}
