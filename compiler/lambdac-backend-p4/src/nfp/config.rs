//! Rules: what the card's tools put into tables (`image.p4cfg`), and the JSON that they take it in.
//!
//! Tables and actions are called by the pipeline's role, `ingress::NAME`; keys as the tools call them, headers without
//! the struct that holds them. Values are strings: numbers in hexadecimal, or names of ports.

use std::collections::BTreeMap;

use serde::Serialize;

use super::control::{LISTEN, PORTS, WORKLOADS};
use super::program::{HOST_PORT, Output, Resident, WIRE_PORT};
use crate::ast::{Item, Local};
use crate::lower::Listen;

/// What a key is compared with: all of it, as no table here needs a mask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Match {
    /// A number, or a port.
    pub value: String,
}

/// An entry of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The table, by its name in the program.
    pub table: &'static str,
    /// The rule's own name, by which it is taken away again.
    pub name: String,
    /// The key's parts, by the tools' names.
    pub keys: Vec<(&'static str, Match)>,
    /// The action, by its name in the program.
    pub action: &'static str,
    /// Its data.
    pub data: Vec<(&'static str, String)>,
}

#[derive(Serialize)]
struct Value<'r> {
    value: &'r str,
}

#[derive(Serialize)]
struct ActionJson<'r> {
    r#type: String,
    data: BTreeMap<&'r str, Value<'r>>,
}

#[derive(Serialize)]
struct RuleJson<'r> {
    name: &'r str,
    r#match: BTreeMap<&'r str, &'r Match>,
    action: ActionJson<'r>,
}

#[derive(Serialize)]
struct DefaultJson<'r> {
    name: &'r str,
    action: ActionJson<'r>,
}

#[derive(Serialize)]
struct TableJson<'r> {
    default_rule: DefaultJson<'r>,
    rules: Vec<RuleJson<'r>>,
}

#[derive(Serialize)]
struct ConfigJson<'r> {
    tables: BTreeMap<String, TableJson<'r>>,
}

/// A table or action as the tools call it.
fn role(name: &str) -> String {
    format!("ingress::{name}")
}

fn number(value: u32) -> String {
    format!("0x{value:x}")
}

fn exact(value: impl Into<String>) -> Match {
    Match { value: value.into() }
}

impl Rule {
    /// The table as the tools call it.
    pub fn table_name(&self) -> String {
        role(self.table)
    }

    /// What matches, as JSON.
    ///
    /// # Errors
    /// Never: it is all strings.
    pub fn match_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.matches())
    }

    /// The action, as JSON.
    ///
    /// # Errors
    /// Never: it is all strings.
    pub fn action_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.action())
    }

    fn matches(&self) -> BTreeMap<&str, &Match> {
        self.keys.iter().map(|(name, value)| (*name, value)).collect()
    }

    fn action(&self) -> ActionJson<'_> {
        let data = self.data.iter();
        ActionJson {
            r#type: role(self.action),
            data: data.map(|(name, value)| (*name, Value { value })).collect(),
        }
    }

    fn json(&self) -> RuleJson<'_> {
        RuleJson {
            name: &self.name,
            r#match: self.matches(),
            action: self.action(),
        }
    }

    /// Who is answered for: packets to this address. One for each address of the worker.
    pub fn listen(listen: &Listen) -> Self {
        let [a, b, c, d, e, f] = listen.mac;
        Self {
            table: LISTEN,
            name: format!("worker_{}", std::net::Ipv4Addr::from(listen.address)),
            keys: vec![
                ("ethernet.dst_hi", exact(number(u32::from_be_bytes([a, b, c, d])))),
                ("ethernet.dst_lo", exact(number(u32::from_be_bytes([0, 0, e, f])))),
                ("ipv4.dst", exact(number(listen.address))),
            ],
            action: "here",
            data: vec![("broadcast", number(listen.broadcast))],
        }
    }

    /// The plugin is asked for this workload, whose requests are counted as this number.
    pub fn workload(workload: &Resident, number_of: usize) -> Self {
        Self {
            table: WORKLOADS,
            name: workload.name.clone(),
            keys: vec![("lambda.workload", exact(number(workload.id)))],
            action: "run_lambdas",
            data: vec![("number", number_of.to_string())],
        }
    }

    fn port(from: &'static str, to: &str) -> Self {
        Self {
            table: PORTS,
            name: format!("from_{from}"),
            keys: vec![("standard_metadata.ingress_port", exact(from))],
            action: "forward",
            data: vec![("port", to.to_owned())],
        }
    }
}

/// The rules that a program starts with.
pub(super) fn rules(workloads: &[Resident]) -> Vec<Rule> {
    let mut rules = vec![Rule::port(WIRE_PORT, HOST_PORT), Rule::port(HOST_PORT, WIRE_PORT)];
    let numbered = workloads.iter().enumerate();
    rules.extend(numbered.map(|(number_of, workload)| Rule::workload(workload, number_of)));
    rules
}

/// The file of rules: each table with its default and its rules.
///
/// # Errors
/// Never: it is all strings.
pub fn config(output: &Output) -> serde_json::Result<String> {
    let mut tables = BTreeMap::new();
    let controls = output.program.items.iter().filter_map(|item| match item {
        Item::Control(control) => Some(control),
        _ => None,
    });
    for local in controls.flat_map(|control| &control.locals) {
        let Local::Table(table) = local else { continue };
        let rules = output.rules.iter().filter(|rule| rule.table == table.name);
        let default = DefaultJson {
            name: "default",
            action: ActionJson {
                r#type: role(&table.default.0),
                data: BTreeMap::new(),
            },
        };
        let table_json = TableJson {
            default_rule: default,
            rules: rules.map(Rule::json).collect(),
        };
        tables.insert(role(&table.name), table_json);
    }
    let mut text = serde_json::to_string_pretty(&ConfigJson { tables })?;
    text.push('\n');
    Ok(text)
}
