//! The items of a program.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::types::{EnumDef, FnDef, StructDef, Ty, U8};
use super::{Choices, Program};

/// A state value.
#[derive(Clone, Debug)]
pub struct StateDef {
    pub name: String,
    pub ty: Ty,
}

/// An `lru` or `map`.
#[derive(Clone, Debug)]
pub struct KeyedDef {
    pub name: String,
    pub lru: bool,
    pub key: Ty,
    pub value: Ty,
}

/// A table.
#[derive(Clone, Debug)]
pub struct TableDef {
    pub name: String,
    pub key: Ty,
    pub value: Ty,
}

/// Makes one program.
pub struct Generator {
    pub c: Choices,
    pub features: BTreeSet<&'static str>,
    pub enums: Vec<EnumDef>,
    pub structs: Vec<StructDef>,
    pub consts: Vec<(String, Ty)>,
    pub params: Vec<(String, Ty)>,
    pub states: Vec<StateDef>,
    pub counters: Vec<(String, Option<u32>)>,
    pub keyed: Vec<KeyedDef>,
    pub tables: Vec<TableDef>,
    pub services: Vec<String>,
    pub fns: Vec<FnDef>,
    pub text: bool,
    pub net: bool,
    /// There is a constant 4, `FOUR`.
    pub four: bool,
    /// The kinds of condition in the rules of the match so far.
    pub rules: Vec<Vec<&'static str>>,
    pub(super) names: u32,
    pub(super) out: String,
}

impl Generator {
    pub fn new(c: Choices) -> Self {
        Self {
            c,
            features: BTreeSet::new(),
            enums: Vec::new(),
            structs: Vec::new(),
            consts: Vec::new(),
            params: Vec::new(),
            states: Vec::new(),
            counters: Vec::new(),
            keyed: Vec::new(),
            tables: Vec::new(),
            services: Vec::new(),
            fns: Vec::new(),
            text: false,
            net: false,
            four: false,
            rules: Vec::new(),
            names: 0,
            out: String::new(),
        }
    }

    /// Notes that a construct is used.
    pub fn used(&mut self, feature: &'static str) {
        self.features.insert(feature);
    }

    /// Begins a rule of the match.
    pub fn begin_rule(&mut self) {
        self.rules.push(Vec::new());
    }

    /// Notes what the newest rule of the match is made of.
    pub fn used_in_rule(&mut self, feature: &'static str) {
        self.used(feature);
        if let Some(rule) = self.rules.last_mut() {
            rule.push(feature);
        }
    }

    /// A new name.
    pub fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    /// The whole program with requests.
    pub fn program(&mut self) -> Program {
        self.out.push_str("workload generated;\n\n");
        if self.c.chance(30) {
            self.out.push_str("use text;\n");
            self.text = true;
            self.used("use");
        }
        if self.c.chance(40) {
            self.out.push_str("use net;\n");
            self.net = true;
        }
        if self.c.chance(30) {
            self.used("size by a constant");
            self.used("comment");
            self.out
                .push_str("const FOUR: u32 = 2 * 2; // a size\n/* of arrays */\n");
            self.four = true;
        }
        self.types();
        self.constants();
        self.state();
        let fns = self.c.below(4);
        for _ in 0..fns {
            self.function();
        }
        let requests = self.front();
        Program {
            source: std::mem::take(&mut self.out),
            requests,
            features: std::mem::take(&mut self.features),
            rules: std::mem::take(&mut self.rules),
            choices: self.c.drawn().to_vec(),
        }
    }

    /// Some integer type.
    pub fn int_ty(&mut self) -> Ty {
        match self.c.below(10) {
            0 | 1 => super::types::U32,
            2 => U8,
            3 => super::types::U16,
            4 => super::types::U64,
            5 | 6 => {
                self.used("odd width");
                Ty::Int(self.c.range(1, 64) as u8, false)
            }
            7 => Ty::Int(8, true),
            8 => Ty::Int(*self.c.pick(&[16, 32]), true),
            _ => Ty::Int(64, true),
        }
    }

    /// Some scalar type.
    pub fn scalar_ty(&mut self) -> Ty {
        match self.c.below(8) {
            0 => Ty::Bool,
            1 if !self.enums.is_empty() => Ty::Enum(self.c.below(self.enums.len() as u32) as usize),
            _ => self.int_ty(),
        }
    }

    /// Some type of a variable.
    pub fn var_ty(&mut self) -> Ty {
        match self.c.below(10) {
            0..=4 => self.scalar_ty(),
            5 => Ty::Bytes(*self.c.pick(&[4, 8, 16, 20, 40])),
            6 => self.byte_array(),
            7 if !self.structs.is_empty() => Ty::Struct(self.c.below(self.structs.len() as u32) as usize),
            8 => {
                self.used("nested array");
                Ty::Array(
                    Box::new(Ty::Array(Box::new(self.int_ty()), 2)),
                    self.c.range(1, 3),
                )
            }
            _ => Ty::Array(Box::new(self.int_ty()), self.c.range(1, 6)),
        }
    }

    fn byte_array(&mut self) -> Ty {
        Ty::Array(Box::new(U8), self.c.range(1, 8))
    }

    /// A type as the language writes it.
    pub fn ty_text(&mut self, ty: &Ty) -> String {
        match ty {
            Ty::Bool => "bool".into(),
            Ty::Int(bits, signed) => {
                self.used(if *signed { "signed" } else { "unsigned" });
                format!("{}{bits}", if *signed { 'i' } else { 'u' })
            }
            Ty::Enum(id) => self.enums[*id].name.clone(),
            Ty::Array(elem, n) => {
                self.used("array");
                let elem = self.ty_text(elem);
                if *n == 4 && self.four {
                    return format!("[{elem}; FOUR]");
                }
                format!("[{elem}; {n}]")
            }
            Ty::Bytes(n) => {
                self.used("bytes");
                format!("bytes<{n}>")
            }
            Ty::Struct(id) => self.structs[*id].name.clone(),
        }
    }

    fn types(&mut self) {
        let enums = self.c.below(3);
        for _ in 0..enums {
            self.enumeration();
        }
        let structs = self.c.below(3);
        for _ in 0..structs {
            self.structure();
        }
    }

    fn enumeration(&mut self) {
        self.used("enum");
        let name = self.name("E");
        let bits = *self.c.pick(&[8, 2, 3, 12, 32, 64]);
        let count = self.c.range(1, 4);
        // The last ones of a wide enum have its highest bit.
        let first = if bits >= 32 && self.c.chance(50) {
            self.used("wide enum");
            (u64::MAX >> (64 - bits)) - 3
        } else {
            u64::from(self.c.below(2))
        };
        let mut variants = Vec::new();
        let mut text = String::new();
        for i in 0..count {
            // Values ascend, so none stands twice.
            let value = first + u64::from(i);
            if value > u64::MAX >> (64 - bits) {
                break;
            }
            let variant = format!("V{i}");
            if (i > 0 || value == 0) && self.c.chance(30) {
                self.used("variant without a number");
                let _ = write!(text, "{variant}, ");
            } else {
                let _ = write!(text, "{variant} = {value}, ");
            }
            variants.push((variant, value));
        }
        let _ = writeln!(self.out, "enum {name}: u{bits} {{ {text}}}");
        self.enums.push(EnumDef { name, bits, variants });
    }

    fn structure(&mut self) {
        self.used("struct");
        let name = self.name("S");
        let count = self.c.range(1, 4);
        let mut fields = Vec::new();
        for i in 0..count {
            let ty = match self.c.below(8) {
                0 => Ty::Array(Box::new(self.int_ty()), self.c.range(1, 3)),
                1 if !self.structs.is_empty() => Ty::Struct(self.structs.len() - 1),
                _ => self.scalar_ty(),
            };
            fields.push((format!("f{i}"), ty));
        }
        let text: Vec<String> = fields
            .clone()
            .iter()
            .map(|(name, ty)| format!("{name}: {}", self.ty_text(ty)))
            .collect();
        let _ = writeln!(self.out, "struct {name} {{ {} }}", text.join(", "));
        self.structs.push(StructDef {
            name,
            header: false,
            fields,
        });
    }

    fn constants(&mut self) {
        if self.c.chance(50) {
            let name = self.name("C");
            self.used("const");
            let ty = match self.c.below(4) {
                0 => self.int_ty(),
                1 => Ty::Bytes(8),
                _ => Ty::Array(Box::new(self.int_ty()), 4),
            };
            let value = self.constant(&ty);
            let text = self.ty_text(&ty);
            if self.c.chance(20) {
                self.used("@memory");
                self.out.push_str("@memory(cls)\n");
            }
            let _ = writeln!(self.out, "const {name}: {text} = {value};");
            self.consts.push((name, ty));
        }
        if self.c.chance(30) {
            let name = self.name("p");
            self.used("param");
            let ty = if self.c.chance(20) {
                Ty::Bytes(8)
            } else {
                self.int_ty()
            };
            let value = self.constant(&ty);
            let text = self.ty_text(&ty);
            let _ = writeln!(self.out, "param {name}: {text} = {value};");
            self.params.push((name, ty));
        }
    }

    fn state(&mut self) {
        let values = self.c.below(3);
        for _ in 0..values {
            self.state_value();
        }
        if self.c.chance(40) {
            let name = self.name("c");
            let count = self.c.chance(50).then_some(4);
            self.used(if count.is_some() {
                "counter array"
            } else {
                "counter"
            });
            let text = count.map_or(String::new(), |n: u32| format!("[{n}]"));
            let _ = writeln!(self.out, "state {name}: counter{text};");
            self.counters.push((name, count));
        }
        let keyed = self.c.below(3);
        for _ in 0..keyed {
            self.keyed_state();
        }
        if self.c.chance(35) {
            self.table();
        }
        if self.c.chance(30) {
            let name = self.name("svc");
            self.used("service");
            let _ = writeln!(
                self.out,
                "service {name} = memcached(\"127.0.0.1:11211\", timeout = 5ms);"
            );
            self.services.push(name);
        }
    }

    fn state_value(&mut self) {
        let name = self.name("g");
        let ty = match self.c.below(8) {
            0..=2 => self.int_ty(),
            3 => Ty::Bool,
            4 if !self.enums.is_empty() => Ty::Enum(0),
            5 if !self.structs.is_empty() => Ty::Struct(self.c.below(self.structs.len() as u32) as usize),
            6 if !self.structs.is_empty() => {
                self.used("state array of structs");
                Ty::Array(Box::new(Ty::Struct(0)), self.c.range(1, 4))
            }
            _ => Ty::Array(Box::new(self.int_ty()), self.c.range(1, 5)),
        };
        self.used(match ty {
            Ty::Bool => "state bool",
            Ty::Enum(_) => "state enum",
            Ty::Struct(_) => "state struct",
            Ty::Array(..) => "state array",
            _ => "state scalar",
        });
        let text = self.ty_text(&ty);
        let init = if self.c.chance(30) {
            self.used("state initial");
            format!(" = {}", self.constant(&ty))
        } else {
            String::new()
        };
        let _ = writeln!(self.out, "state {name}: {text}{init};");
        self.states.push(StateDef { name, ty });
    }

    fn key_ty(&mut self) -> Ty {
        match self.c.below(4) {
            0 => Ty::Int(*self.c.pick(&[8, 16, 32, 3]), false),
            1 => Ty::Array(Box::new(U8), 4),
            2 => {
                let fits = self
                    .structs
                    .iter()
                    .position(|def| def.fields.iter().all(|(_, ty)| matches!(ty, Ty::Int(_, false))));
                fits.map_or(U8, |id| {
                    self.used("struct key");
                    Ty::Struct(id)
                })
            }
            _ => U8,
        }
    }

    fn keyed_value(&mut self) -> Ty {
        match self.c.below(5) {
            0 | 1 => self.int_ty(),
            2 => {
                self.used("bytes value");
                Ty::Bytes(16)
            }
            3 if !self.structs.is_empty() => Ty::Struct(0),
            _ => super::types::U32,
        }
    }

    fn keyed_state(&mut self) {
        let name = self.name("k");
        let lru = self.c.chance(50);
        let key = self.key_ty();
        let value = self.keyed_value();
        let (key_text, value_text) = (self.ty_text(&key), self.ty_text(&value));
        // An lru never fills up, since what it forgets is its choice; a map may.
        let capacity = if lru { 4096 } else { *self.c.pick(&[64, 2]) };
        let ttl = if lru && self.c.chance(30) {
            self.used("lru ttl");
            ", ttl = 3s"
        } else {
            ""
        };
        self.used(if lru { "lru" } else { "map" });
        let kind = if lru { "lru" } else { "map" };
        let _ = writeln!(
            self.out,
            "state {name}: {kind}<{key_text}, {value_text}>({capacity}{ttl});"
        );
        self.keyed.push(KeyedDef {
            name,
            lru,
            key,
            value,
        });
    }

    fn table(&mut self) {
        let name = self.name("t");
        let kind = self.c.below(3);
        let (word, feature, key) = match kind {
            0 => ("exact", "table exact", U8),
            1 => ("lpm", "table lpm", super::types::U32),
            _ => ("ternary", "table ternary", super::types::U16),
        };
        self.used(feature);
        let value = if self.c.chance(30) {
            Ty::Bytes(8)
        } else {
            self.int_ty()
        };
        let (key_text, value_text) = (self.ty_text(&key), self.ty_text(&value));
        let mut entries = String::new();
        let count = self.c.below(4);
        for i in 0..count {
            let entry = match kind {
                0 => format!("{}", i * 2 + 1),
                1 => ["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0"][i as usize].to_owned(),
                _ if i == 2 => "_".to_owned(),
                _ => format!("{} & {}", i * 3, 0x0f + i * 0x100),
            };
            let result = self.constant(&value);
            let _ = writeln!(entries, "    {entry} => {result},");
            if i == 2 {
                break;
            }
        }
        let body = if entries.is_empty() {
            ";".to_owned()
        } else {
            format!(" {{\n{entries}}}")
        };
        let _ = writeln!(
            self.out,
            "table {name}: {word}<{key_text}, {value_text}>(16){body}"
        );
        self.tables.push(TableDef { name, key, value });
    }

    /// A constant expression of a type, written so that it needs no hint.
    pub fn constant(&mut self, ty: &Ty) -> String {
        match ty {
            Ty::Bool => (*self.c.pick(&["false", "true"])).to_owned(),
            Ty::Int(..) => self.int_literal(ty),
            Ty::Enum(id) => self.enum_variant(*id),
            Ty::Bytes(n) => {
                let n = self.c.below(n.min(&12) + 1);
                self.bytes_literal(n)
            }
            Ty::Array(elem, n) => {
                if self.c.chance(30) {
                    self.used("repeat literal");
                    return format!("[{}; {n}]", self.constant(elem));
                }
                self.used("array literal");
                let elems: Vec<String> = (0..*n).map(|_| self.constant(elem)).collect();
                format!("[{}]", elems.join(", "))
            }
            Ty::Struct(id) => {
                self.used("struct literal");
                let def = self.structs[*id].clone();
                let fields: Vec<String> = def
                    .fields
                    .iter()
                    .map(|(name, ty)| format!("{name}: {}", self.constant(ty)))
                    .collect();
                format!("{} {{ {} }}", def.name, fields.join(", "))
            }
        }
    }

    /// `E::V`
    pub fn enum_variant(&mut self, id: usize) -> String {
        let def = self.enums[id].clone();
        let (variant, _) = self.c.pick(&def.variants);
        format!("{}::{variant}", def.name)
    }

    /// `b"…"` of a length.
    pub fn bytes_literal(&mut self, len: u32) -> String {
        self.used("bytes literal");
        let mut text = String::from("b\"");
        for _ in 0..len {
            match self.c.below(8) {
                0 => text.push_str("\\x00"),
                1 => text.push_str("\\xff"),
                2 => text.push_str("\\n"),
                3 => text.push('7'),
                _ => text.push((b'a' + self.c.below(26) as u8) as char),
            }
        }
        text.push('"');
        text
    }

    /// A literal of an integer type with its suffix; negative ones in parentheses.
    pub fn int_literal(&mut self, ty: &Ty) -> String {
        let Ty::Int(bits, signed) = *ty else {
            return "0".into();
        };
        if signed {
            let magnitude = self.c.number(bits - 1);
            if self.c.chance(40) && magnitude > 0 {
                self.used("neg");
                return format!("(-{magnitude}i{bits})");
            }
            return format!("{magnitude}i{bits}");
        }
        let value = self.c.number(bits);
        self.used("literal suffix");
        match self.c.below(8) {
            0 => {
                self.used("hex literal");
                format!("{value:#x}u{bits}")
            }
            1 => {
                self.used("binary literal");
                format!("{value:#b}u{bits}")
            }
            2 if bits == 8 => {
                self.used("byte literal");
                "b'q'".into()
            }
            2 if bits == 32 => {
                self.used("address literal");
                "10.1.2.3".into()
            }
            2 if bits == 64 => {
                self.used("duration literal");
                "5ms".into()
            }
            _ => format!("{value}u{bits}"),
        }
    }
}
