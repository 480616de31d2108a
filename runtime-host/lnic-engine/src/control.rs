//! The control plane's view: state read by path, tables listed and changed.
//!
//! Values go in and out as [`Tree`]s, which JSON or text can be made from and read into without loss: integers, text
//! for byte strings where they are printable, lists for arrays and structs. The engine knows shapes, not names of
//! fields: a struct is a list of its fields in order.

use lambdac_backend_host::layout;
use lambdac_mir::{Data, EntryKey, KeyPart, ObjectKind, Shape, TableKind};

use crate::error::ControlError;
use crate::image::Workload;
use crate::objects::{ObjectData, ObjectState, read_cells};
use crate::params::parse_scalar;
use crate::sign::{Sign, Signs};
use crate::table::{Row, Table};

/// A value for people and machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// A number.
    Int(u64),
    /// A number below 0.
    Negative(i64),
    /// Bytes of a byte string, array of bytes or key.
    Bytes(Vec<u8>),
    /// Elements, or fields in order.
    List(Vec<Tree>),
    /// Named members.
    Map(Vec<(String, Tree)>),
    /// Text as it came; read as what is expected in its place.
    Text(String),
}

/// The content of an object in a canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateDump {
    /// A value.
    Value(Data),
    /// A counter (one), or an array of them.
    Counters(Vec<u64>),
    /// The entries of an lru or map: keys part by part, and values, sorted by key.
    Entries(Vec<(Vec<Data>, Data)>),
}

impl Workload {
    /// Everything but tables, by name in order of the module: entries past their ttl at `now` are left out.
    pub fn state(&self, now: u64) -> Vec<(String, StateDump)> {
        let objects = self.objects.list().iter();
        objects
            .filter_map(|object| Some((object.name().to_owned(), object.dump(now)?)))
            .collect()
    }

    /// Reads an object, or what `path` leads to in it: an index of an array or counter, a field by number, or the key of
    /// an lru or map (its parts in order).
    ///
    /// # Errors
    /// [`ControlError::NoObject`], [`ControlError::IsTable`], [`ControlError::NoElement`].
    pub fn read(&self, object: &str, path: &[&str], now: u64) -> Result<Tree, ControlError> {
        let Some(state) = self.objects.find(object) else {
            return Err(ControlError::NoObject(object.into()));
        };
        let Some(dump) = state.dump(now) else {
            return Err(ControlError::IsTable(object.into()));
        };
        find(state, &dump, path).ok_or_else(|| ControlError::NoElement {
            object: object.into(),
            path: path.join("."),
        })
    }

    /// As [`Workload::read`], of an object whose content is elsewhere, such as on a NIC.
    ///
    /// # Errors
    /// As [`Workload::read`].
    pub fn read_from(&self, object: &str, dump: &StateDump, path: &[&str]) -> Result<Tree, ControlError> {
        let Some(state) = self.objects.find(object) else {
            return Err(ControlError::NoObject(object.into()));
        };
        find(state, dump, path).ok_or_else(|| ControlError::NoElement {
            object: object.into(),
            path: path.join("."),
        })
    }

    /// The table of a name.
    ///
    /// # Errors
    /// [`ControlError::NoObject`], [`ControlError::NoTable`].
    pub fn table(&self, name: &str) -> Result<&Table, ControlError> {
        let object = self
            .objects
            .find(name)
            .ok_or_else(|| ControlError::NoObject(name.into()))?;
        object.table().ok_or_else(|| ControlError::NoTable(name.into()))
    }
}

impl ObjectState {
    /// The content; none for a table.
    pub fn dump(&self, now: u64) -> Option<StateDump> {
        match (self.data(), self.kind()) {
            (ObjectData::Cells(words), ObjectKind::Value { shape, .. }) => {
                Some(StateDump::Value(read_cells(words, shape)?))
            }
            (ObjectData::Cells(words), ObjectKind::Counter { count, .. }) => {
                let cells = words.iter().take(*count as usize);
                Some(StateDump::Counters(
                    cells
                        .map(|cell| cell.load(std::sync::atomic::Ordering::Relaxed))
                        .collect(),
                ))
            }
            (
                ObjectData::Entries(entries),
                ObjectKind::Lru { key, value, .. } | ObjectKind::Map { key, value, .. },
            ) => {
                let entries = entries.all(now).into_iter();
                let decoded = entries.map(|(bytes, memory)| {
                    let value = layout::decode(value, &memory).unwrap_or(Data::Int(0));
                    (layout::decode_key(key, &bytes), value)
                });
                Some(StateDump::Entries(decoded.collect()))
            }
            _ => None,
        }
    }
}

impl Tree {
    fn of(data: &Data, sign: &Sign) -> Self {
        match data {
            Data::Int(value) => sign.negative(*value).map_or(Self::Int(*value), Self::Negative),
            Data::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            Data::List(items) => {
                let items = items.iter().enumerate();
                Self::List(
                    items
                        .map(|(index, item)| Self::of(item, sign.at(index)))
                        .collect(),
                )
            }
        }
    }

    fn of_entries(entries: &[(Vec<Data>, Data)], signs: &Signs) -> Self {
        let pair = |(key, value): &(Vec<Data>, Data)| {
            let value = Self::of(value, &signs.value);
            Self::Map(vec![("key".into(), parts(key, signs)), ("value".into(), value)])
        };
        Self::List(entries.iter().map(pair).collect())
    }
}

/// A key of one part as that part, else as a list.
fn parts(key: &[Data], signs: &Signs) -> Tree {
    let mut trees = key
        .iter()
        .enumerate()
        .map(|(index, part)| Tree::of(part, signs.part(index)));
    match key.len() {
        1 => trees.next().unwrap_or(Tree::List(Vec::new())),
        _ => Tree::List(trees.collect()),
    }
}

/// What a path leads to in an object's content.
fn find(object: &ObjectState, dump: &StateDump, path: &[&str]) -> Option<Tree> {
    match dump {
        StateDump::Value(data) => walk(data, &object.signs().value, path),
        StateDump::Counters(values) => counter(object.kind(), values, path),
        StateDump::Entries(entries) => entry(object, entries, path),
    }
}

fn walk(data: &Data, sign: &Sign, path: &[&str]) -> Option<Tree> {
    let Some((first, rest)) = path.split_first() else {
        return Some(Tree::of(data, sign));
    };
    let index: usize = first.parse().ok()?;
    match data {
        Data::List(items) => walk(items.get(index)?, sign.at(index), rest),
        Data::Bytes(bytes) => walk(&Data::Int((*bytes.get(index)?).into()), &Sign::None, rest),
        Data::Int(_) => None,
    }
}

fn counter(kind: &ObjectKind, values: &[u64], path: &[&str]) -> Option<Tree> {
    let array = matches!(kind, ObjectKind::Counter { array: true, .. });
    match (path, array) {
        ([], true) => Some(Tree::List(values.iter().copied().map(Tree::Int).collect())),
        ([], false) => values.first().copied().map(Tree::Int),
        ([index], true) => values.get(index.parse::<usize>().ok()?).copied().map(Tree::Int),
        _ => None,
    }
}

fn entry(object: &ObjectState, entries: &[(Vec<Data>, Data)], path: &[&str]) -> Option<Tree> {
    let (ObjectKind::Lru { key, .. } | ObjectKind::Map { key, .. }) = object.kind() else {
        return None;
    };
    if path.is_empty() {
        return Some(Tree::of_entries(entries, object.signs()));
    }
    let (wanted, rest) = (path.get(..key.len())?, &path[key.len()..]);
    let texts = key.iter().zip(wanted).enumerate().map(|(index, (part, text))| {
        key_part(*part, object.signs().part(index), &Tree::Text((*text).into()))
    });
    let wanted = texts.collect::<Result<Vec<_>, _>>().ok()?;
    let found = entries.iter().find(|(key, _)| *key == wanted)?;
    walk(&found.1, &object.signs().value, rest)
}

/// Reads an integer or bytes for a key part. Text is a number as the language writes it, or bytes: as they are, or in
/// hexadecimal after `0x`; bytes that are fewer than the part's are followed by zeros.
fn key_part(part: KeyPart, sign: &Sign, tree: &Tree) -> Result<Data, String> {
    let signed = matches!(sign, Sign::Signed(_));
    match (part, tree) {
        (KeyPart::Scalar(width), Tree::Int(value)) => {
            parse_scalar(width, signed, &value.to_string()).map(Data::Int)
        }
        (KeyPart::Scalar(width), Tree::Negative(value)) => {
            parse_scalar(width, signed, &value.to_string()).map(Data::Int)
        }
        (KeyPart::Scalar(width), Tree::Text(text)) => parse_scalar(width, signed, text).map(Data::Int),
        (KeyPart::Bytes(len), tree) => {
            let mut bytes = bytes_of(tree)?;
            if bytes.len() > len as usize {
                return Err(format!("{} bytes do not fit [u8; {len}]", bytes.len()));
            }
            bytes.resize(len as usize, 0);
            Ok(Data::Bytes(bytes.into()))
        }
        (KeyPart::Scalar(width), _) => Err(format!("an integer of {width} bits is expected")),
    }
}

fn bytes_of(tree: &Tree) -> Result<Vec<u8>, String> {
    match tree {
        Tree::Bytes(bytes) => Ok(bytes.clone()),
        Tree::Text(text) => match text.strip_prefix("0x") {
            Some(hex) => from_hex(hex).ok_or_else(|| format!("`{text}` is no hexadecimal byte string")),
            None => Ok(text.clone().into_bytes()),
        },
        Tree::List(items) => items
            .iter()
            .map(|item| match item {
                Tree::Int(value) => u8::try_from(*value).map_err(|_| format!("{value} is no byte")),
                _ => Err("a byte is expected".to_owned()),
            })
            .collect(),
        Tree::Int(_) | Tree::Negative(_) | Tree::Map(_) => Err("a byte string is expected".into()),
    }
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return None;
    }
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok())
        .collect()
}

/// Reads a value of a shape.
fn value_of(shape: &Shape, sign: &Sign, tree: &Tree) -> Result<Data, String> {
    match (shape, tree) {
        (Shape::Scalar(width), tree) => key_part(KeyPart::Scalar(*width), sign, tree),
        (Shape::Bytes(capacity), tree) => {
            let bytes = bytes_of(tree)?;
            if bytes.len() > *capacity as usize {
                return Err(format!("{} bytes do not fit bytes<{capacity}>", bytes.len()));
            }
            Ok(Data::Bytes(bytes.into()))
        }
        (Shape::Array(element, count), tree) if **element == Shape::Scalar(8) => {
            let bytes = bytes_of(tree)?;
            if bytes.len() != *count as usize {
                return Err(format!("{count} bytes are expected, not {}", bytes.len()));
            }
            Ok(Data::Bytes(bytes.into()))
        }
        (Shape::Array(element, count), Tree::List(items)) if items.len() == *count as usize => {
            let items = items.iter().map(|item| value_of(element, sign.at(0), item));
            Ok(Data::List(items.collect::<Result<Vec<_>, _>>()?.into()))
        }
        (Shape::Struct(fields), Tree::List(items)) if items.len() == fields.len() => {
            let items = fields
                .iter()
                .zip(items)
                .enumerate()
                .map(|(index, (field, item))| value_of(field, sign.at(index), item));
            Ok(Data::List(items.collect::<Result<Vec<_>, _>>()?.into()))
        }
        (Shape::Array(_, count), _) => Err(format!("a list of {count} elements is expected")),
        (Shape::Struct(fields), _) => Err(format!("a list of {} fields is expected", fields.len())),
        (Shape::View, _) => Err("no such value".into()),
    }
}

impl Table {
    /// Reads an entry `{key, mask?, prefix?, value, priority?}`. A key is an integer, bytes, or a list of its parts; of
    /// an lpm table also text `KEY/LENGTH`; of a ternary table `_` or nothing for any key.
    ///
    /// # Errors
    /// [`ControlError::BadEntry`], which names the member.
    pub fn parse_row(&self, tree: &Tree) -> Result<Row, ControlError> {
        let bad = |what: &str, reason: String| ControlError::BadEntry {
            what: what.into(),
            reason,
        };
        let Tree::Map(members) = tree else {
            return Err(bad(
                "entry",
                "an object with `key` and `value` is expected".into(),
            ));
        };
        let known = ["key", "mask", "prefix", "value", "priority"];
        if let Some((name, _)) = members.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            return Err(bad(name, "no such member".into()));
        }
        let member = |wanted: &str| {
            members
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, tree)| tree)
        };
        let value = member("value").ok_or_else(|| bad("value", "is missing".into()))?;
        let priority = match member("priority") {
            None => 0,
            Some(Tree::Int(priority)) => {
                u32::try_from(*priority).map_err(|_| bad("priority", "is out of range".into()))?
            }
            Some(_) => return Err(bad("priority", "an integer is expected".into())),
        };
        Ok(Row {
            key: self.parse_key_members(member("key"), member("mask"), member("prefix"))?,
            value: value_of(self.value(), &self.signs().value, value)
                .map_err(|reason| bad("value", reason))?,
            priority,
        })
    }

    /// Reads a key alone, as in [`Table::parse_row`], to delete its entry.
    ///
    /// # Errors
    /// As [`Table::parse_row`].
    pub fn parse_key(&self, tree: &Tree) -> Result<EntryKey, ControlError> {
        match tree {
            Tree::Map(members) => {
                let member = |wanted: &str| {
                    members
                        .iter()
                        .find(|(name, _)| name == wanted)
                        .map(|(_, tree)| tree)
                };
                self.parse_key_members(member("key"), member("mask"), member("prefix"))
            }
            key => self.parse_key_members(Some(key), None, None),
        }
    }

    fn parse_key_members(
        &self,
        key: Option<&Tree>,
        mask: Option<&Tree>,
        prefix: Option<&Tree>,
    ) -> Result<EntryKey, ControlError> {
        let bad = |what: &str, reason: &str| ControlError::BadEntry {
            what: what.into(),
            reason: reason.into(),
        };
        let any =
            matches!(key, None | Some(Tree::Text(_))) && key.is_none_or(|key| *key == Tree::Text("_".into()));
        match self.kind() {
            TableKind::Ternary if any && mask.is_none() => return Ok(EntryKey::Any),
            TableKind::Exact | TableKind::Lpm if mask.is_some() => {
                return Err(bad("mask", "only ternary tables have masks"));
            }
            TableKind::Exact | TableKind::Ternary if prefix.is_some() => {
                return Err(bad("prefix", "only lpm tables have prefixes"));
            }
            TableKind::Exact | TableKind::Lpm | TableKind::Ternary => (),
        }
        let key = key.ok_or_else(|| bad("key", "is missing"))?;
        match (self.kind(), mask) {
            (TableKind::Exact, _) | (TableKind::Ternary, None) => {
                Ok(EntryKey::Exact(self.key_data("key", key, self.signs())?))
            }
            (TableKind::Ternary, Some(mask)) => Ok(EntryKey::Masked(
                self.key_data("key", key, self.signs())?,
                self.key_data("mask", mask, &Signs::none())?,
            )),
            (TableKind::Lpm, _) => self.parse_prefix(key, prefix),
        }
    }

    fn parse_prefix(&self, key: &Tree, prefix: Option<&Tree>) -> Result<EntryKey, ControlError> {
        let bad = |reason: String| ControlError::BadEntry {
            what: "prefix".into(),
            reason,
        };
        let (key, len) = match (key, prefix) {
            (Tree::Text(text), None) => match text.rsplit_once('/') {
                Some((key, len)) => (
                    Tree::Text(key.into()),
                    len.parse().map_err(|_| bad(format!("`{len}` is no length")))?,
                ),
                None => (key.clone(), self.key_bits()),
            },
            (key, Some(Tree::Int(len))) => (
                key.clone(),
                u32::try_from(*len).map_err(|_| bad("is out of range".into()))?,
            ),
            (key, None) => (key.clone(), self.key_bits()),
            (_, Some(_)) => return Err(bad("an integer is expected".into())),
        };
        Ok(EntryKey::Prefix(self.key_data("key", &key, self.signs())?, len))
    }

    fn key_data(&self, what: &str, tree: &Tree, signs: &Signs) -> Result<Vec<Data>, ControlError> {
        let bad = |reason: String| ControlError::BadEntry {
            what: what.into(),
            reason,
        };
        match (self.key(), tree) {
            ([part], tree) => Ok(vec![key_part(*part, signs.part(0), tree).map_err(bad)?]),
            (parts, Tree::List(items)) if items.len() == parts.len() => {
                let data = parts
                    .iter()
                    .zip(items)
                    .enumerate()
                    .map(|(index, (part, item))| key_part(*part, signs.part(index), item));
                data.collect::<Result<_, _>>().map_err(bad)
            }
            (parts, _) => Err(bad(format!("a list of {} parts is expected", parts.len()))),
        }
    }

    fn key_bits(&self) -> u32 {
        let bits = |part: &KeyPart| match part {
            KeyPart::Scalar(width) => u32::from(*width),
            KeyPart::Bytes(count) => count * 8,
        };
        self.key().iter().map(bits).sum()
    }

    /// The entries as [`Table::parse_row`] reads them.
    pub fn list(&self) -> Vec<Tree> {
        self.rows().iter().map(|row| self.row_tree(row)).collect()
    }

    fn row_tree(&self, row: &Row) -> Tree {
        let mut members = Vec::new();
        match &row.key {
            EntryKey::Exact(key) => members.push(("key".into(), parts(key, self.signs()))),
            EntryKey::Prefix(key, len) => {
                members.push(("key".into(), parts(key, self.signs())));
                members.push(("prefix".into(), Tree::Int((*len).into())));
            }
            EntryKey::Masked(key, mask) => {
                members.push(("key".into(), parts(key, self.signs())));
                members.push(("mask".into(), parts(mask, &Signs::none())));
            }
            EntryKey::Any => members.push(("key".into(), Tree::Text("_".into()))),
        }
        members.push(("value".into(), Tree::of(&row.value, &self.signs().value)));
        if self.kind() == TableKind::Ternary {
            members.push(("priority".into(), Tree::Int(row.priority.into())));
        }
        Tree::Map(members)
    }
}
