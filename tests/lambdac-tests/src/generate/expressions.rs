//! Expressions for a type, from what is in scope. All are in parentheses where precedence could matter.

use super::items::Generator;
use super::scope::Scope;
use super::types::{FnDef, FnParam, FnRet, Ty, U8, U16, U32, U64};

const MAX_DEPTH: u32 = 4;

impl Generator {
    /// An expression of a type.
    pub fn expr(&mut self, s: &Scope, ty: &Ty, depth: u32) -> String {
        match ty {
            Ty::Bool => self.bool_expr(s, depth),
            Ty::Int(bits, signed) => self.int_expr(s, *bits, *signed, depth),
            Ty::Enum(id) => self.enum_expr(s, *id, depth),
            Ty::Bytes(n) => self.bytes_expr(s, *n, depth),
            Ty::Array(..) | Ty::Struct(_) => self.aggregate_expr(s, ty, depth),
        }
    }

    /// A path of exactly this type, if there is one.
    fn path(&mut self, s: &Scope, ty: &Ty) -> Option<String> {
        let paths: Vec<_> = s
            .paths(&self.structs)
            .into_iter()
            .filter(|(_, t)| t == ty)
            .collect();
        if paths.is_empty() {
            None
        } else {
            Some(self.c.pick(&paths).0.clone())
        }
    }

    /// An element of an array in scope, or of state, of this type.
    fn element(&mut self, s: &Scope, ty: &Ty, depth: u32) -> Option<String> {
        let mut arrays: Vec<(String, u32)> = Vec::new();
        let mut nested: Vec<(String, u32, u32)> = Vec::new();
        for (path, t) in s.paths(&self.structs) {
            match t {
                Ty::Array(elem, n) if *elem == *ty => arrays.push((path, n)),
                Ty::Array(elem, n) => {
                    if let Ty::Array(inner, m) = *elem
                        && *inner == *ty
                    {
                        nested.push((path, n, m));
                    }
                }
                _ => {}
            }
        }
        if !nested.is_empty() && self.c.chance(60) {
            self.used("nested index");
            let (array, n, m) = self.c.pick(&nested).clone();
            let (outer, inner) = (self.index(s, n, depth), self.index(s, m, depth));
            return Some(format!("{array}[{outer}][{inner}]"));
        }
        let constants = arrays.len();
        for (name, t) in &self.consts {
            if let Ty::Array(elem, n) = t
                && **elem == *ty
            {
                arrays.push((name.clone(), *n));
            }
        }
        let constants = constants..arrays.len();
        if s.impure {
            for def in &self.states {
                if let Ty::Array(elem, n) = &def.ty
                    && **elem == *ty
                {
                    arrays.push((def.name.clone(), *n));
                }
            }
        }
        if arrays.is_empty() {
            return None;
        }
        let chosen = self.c.below(arrays.len() as u32) as usize;
        let (array, n) = arrays[chosen].clone();
        self.used(if constants.contains(&chosen) {
            "index of a constant"
        } else {
            "index"
        });
        let index = self.index(s, n, depth);
        Some(format!("{array}[{index}]"))
    }

    /// An index below `n`; now and then one that may be past it.
    pub fn index(&mut self, s: &Scope, n: u32, depth: u32) -> String {
        match self.c.below(20) {
            0..=8 => {
                self.used("literal without suffix");
                self.c.below(n).to_string()
            }
            19 => self.int_expr(s, 8, false, depth + 2),
            _ => {
                let e = self.int_expr(s, 32, false, depth + 1);
                format!("({e} % {n})")
            }
        }
    }

    fn consts_of(&mut self, s: &Scope, ty: &Ty) -> Option<String> {
        let mut names: Vec<String> = self
            .consts
            .iter()
            .filter(|(_, t)| t == ty)
            .map(|(name, _)| name.clone())
            .collect();
        if !s.condition {
            names.extend(
                self.params
                    .iter()
                    .filter(|(_, t)| t == ty)
                    .map(|(name, _)| name.clone()),
            );
        }
        if names.is_empty() {
            None
        } else {
            Some(self.c.pick(&names).clone())
        }
    }

    /// A call of a fn that gives this type.
    pub fn call(&mut self, s: &Scope, ret: &FnRet, depth: u32) -> Option<String> {
        let fits = |def: &&FnDef| def.ret == *ret && (s.impure || def.pure);
        let fns: Vec<FnDef> = self.fns.iter().filter(fits).cloned().collect();
        if fns.is_empty() {
            return None;
        }
        let def = self.c.pick(&fns).clone();
        let args: Vec<String> = def
            .params
            .iter()
            .map(|param| match param {
                FnParam::Value(ty) => self.expr(s, ty, depth + 1),
                FnParam::Option(ty) => self.optional(s, ty, depth + 1),
                FnParam::View => self.any_bytes(s, depth + 1).0,
            })
            .collect();
        Some(format!("{}({})", def.name, args.join(", ")))
    }

    fn int_expr(&mut self, s: &Scope, bits: u8, signed: bool, depth: u32) -> String {
        let ty = Ty::Int(bits, signed);
        if depth >= MAX_DEPTH {
            return self.int_leaf(s, &ty, depth);
        }
        match self.c.below(14) {
            0..=3 => self.int_leaf(s, &ty, depth),
            4..=6 => self.arithmetic(s, &ty, depth),
            7 => self.shift(s, &ty, depth),
            8 => self.cast(s, &ty, depth),
            9 => {
                let (word, feature) = if self.c.chance(50) {
                    ("max", "max")
                } else {
                    ("min", "min")
                };
                self.used(feature);
                let (a, b) = (self.expr(s, &ty, depth + 1), self.expr(s, &ty, depth + 1));
                format!("{word}({a}, {b})")
            }
            10 => self.if_expr(s, &ty, depth),
            11 => self.unary(s, &ty, signed, depth),
            12 => self
                .call(s, &FnRet::Value(ty.clone()), depth)
                .unwrap_or_else(|| self.int_leaf(s, &ty, depth)),
            _ => self.builtin(s, &ty, depth),
        }
    }

    fn int_leaf(&mut self, s: &Scope, ty: &Ty, depth: u32) -> String {
        let found = match self.c.below(7) {
            0 => None,
            1 | 2 => self.path(s, ty),
            3 if depth < MAX_DEPTH => self.element(s, ty, depth),
            4 => self.consts_of(s, ty),
            5 => self.state_read(s, ty, depth),
            _ => self.pkt(s, ty),
        };
        match found {
            Some(text) => text,
            None => self.path(s, ty).unwrap_or_else(|| self.int_literal(ty)),
        }
    }

    fn pkt(&mut self, s: &Scope, ty: &Ty) -> Option<String> {
        if !s.pkt {
            return None;
        }
        let field = match ty {
            Ty::Int(32, false) => "src_ip",
            Ty::Int(16, false) => *self.c.pick(&["src_port", "dst_port", "port"]),
            Ty::Int(64, false) => "request_id",
            _ => return None,
        };
        self.used("pkt");
        Some(format!("pkt.{field}"))
    }

    /// A read or an atomic operation on state of this type.
    fn state_read(&mut self, s: &Scope, ty: &Ty, depth: u32) -> Option<String> {
        if !s.impure {
            return None;
        }
        if *ty == U64 && !self.counters.is_empty() && self.c.chance(40) {
            self.used("counter read");
            let (name, count) = self.c.pick(&self.counters.clone()).clone();
            let index = count.map_or(String::new(), |n| format!("[{}]", self.index(s, n, depth)));
            return Some(format!("{name}{index}.read()"));
        }
        let place = self.state_place(s, ty, depth)?;
        if !matches!(ty, Ty::Int(..)) || self.c.chance(40) {
            return Some(place);
        }
        let (op, feature) = *self.c.pick(&[
            ("fetch_add", "fetch_add"),
            ("fetch_sub", "fetch_sub"),
            ("swap", "swap"),
        ]);
        self.used(feature);
        let value = self.expr(s, ty, depth + 1);
        Some(format!("{place}.{op}({value})"))
    }

    /// A scalar place of state of this type.
    pub fn state_place(&mut self, s: &Scope, ty: &Ty, depth: u32) -> Option<String> {
        let mut places: Vec<(String, Option<u32>, String)> = Vec::new();
        for def in &self.states {
            match &def.ty {
                t if t == ty => places.push((def.name.clone(), None, String::new())),
                Ty::Array(elem, n) if **elem == *ty => {
                    places.push((def.name.clone(), Some(*n), String::new()));
                }
                Ty::Array(elem, n) => {
                    if let Ty::Struct(id) = **elem {
                        let fields = self.structs[id].fields.iter().filter(|(_, t)| t == ty);
                        places.extend(
                            fields.map(|(field, _)| (def.name.clone(), Some(*n), format!(".{field}"))),
                        );
                    }
                }
                Ty::Struct(id) => {
                    let fields = self.structs[*id].fields.iter().filter(|(_, t)| t == ty);
                    places.extend(
                        fields.map(|(field, _)| (format!("{}.{field}", def.name), None, String::new())),
                    );
                }
                _ => {}
            }
        }
        if places.is_empty() {
            return None;
        }
        let (place, n, field) = self.c.pick(&places).clone();
        Some(match n {
            Some(n) => format!("{place}[{}]{field}", self.index(s, n, depth + 1)),
            None => place,
        })
    }

    fn arithmetic(&mut self, s: &Scope, ty: &Ty, depth: u32) -> String {
        let (op, feature) = *self.c.pick(&[
            ("+", "add"),
            ("-", "sub"),
            ("*", "mul"),
            ("/", "div"),
            ("%", "rem"),
            ("&", "and"),
            ("|", "or"),
            ("^", "xor"),
        ]);
        self.used(feature);
        let (a, b) = (self.expr(s, ty, depth + 1), self.expr(s, ty, depth + 1));
        format!("({a} {op} {b})")
    }

    fn shift(&mut self, s: &Scope, ty: &Ty, depth: u32) -> String {
        let (op, feature) = *self.c.pick(&[("<<", "shl"), (">>", "shr")]);
        self.used(feature);
        let a = self.expr(s, ty, depth + 1);
        let by = match self.c.below(3) {
            0 => self.c.below(70).to_string(),
            1 => self.expr(s, &U8, depth + 1),
            _ => self.expr(s, &U32, depth + 1),
        };
        format!("({a} {op} {by})")
    }

    fn cast(&mut self, s: &Scope, ty: &Ty, depth: u32) -> String {
        let from = match self.c.below(6) {
            0 => {
                self.used("cast of bool");
                Ty::Bool
            }
            1 if !self.enums.is_empty() => {
                self.used("cast of enum");
                Ty::Enum(0)
            }
            _ => self.int_ty(),
        };
        if from == Ty::Bool && matches!(ty, Ty::Int(_, true)) {
            // `as uN` is what bools cast to.
            return self.int_literal(ty);
        }
        self.used("cast");
        let e = self.expr(s, &from, depth + 1);
        let to = self.ty_text(ty);
        format!("({e} as {to})")
    }

    fn unary(&mut self, s: &Scope, ty: &Ty, signed: bool, depth: u32) -> String {
        let e = self.expr(s, ty, depth + 1);
        if signed && self.c.chance(60) {
            self.used("neg");
            return format!("(-{e})");
        }
        self.used("~");
        format!("(~{e})")
    }

    fn if_expr(&mut self, s: &Scope, ty: &Ty, depth: u32) -> String {
        self.used("if expression");
        let cond = self.bool_expr(s, depth + 1);
        let (a, b) = (self.expr(s, ty, depth + 1), self.expr(s, ty, depth + 1));
        format!("(if {cond} {{ {a} }} else {{ {b} }})")
    }

    fn builtin(&mut self, s: &Scope, ty: &Ty, depth: u32) -> String {
        match *ty {
            U32 => match self.c.below(7) {
                0 => {
                    self.used("len");
                    let (bytes, _) = self.any_bytes(s, depth + 1);
                    format!("({bytes}).len()")
                }
                1 => {
                    self.used("crc32");
                    let (bytes, _) = self.any_bytes(s, depth + 1);
                    format!("hash::crc32({bytes})")
                }
                2 if s.impure => {
                    self.used("random");
                    "random()".into()
                }
                3 if self.text && s.may_search() => {
                    self.used("text");
                    let (hay, _) = self.any_bytes(s, depth + 1);
                    let needle = self.c.below(3);
                    let needle = self.bytes_literal(needle);
                    format!("(if let at = text::find({hay}, {needle}) {{ at }} else {{ 99u32 }})")
                }
                4 => {
                    self.used("hash of an integer");
                    let (bits, signed) = *self.c.pick(&[(32, false), (8, false), (64, false), (16, true)]);
                    let value = self.expr(s, &Ty::Int(bits, signed), depth + 1);
                    format!("hash::crc32({value})")
                }
                5 => self.array_len(s, depth),
                _ => self.int_leaf(s, ty, depth),
            },
            U16 => match self.c.below(3) {
                0 => {
                    self.used("crc16");
                    let (bytes, _) = self.any_bytes(s, depth + 1);
                    format!("hash::crc16({bytes})")
                }
                1 if self.net && s.may_search() => {
                    self.used("net");
                    let (bytes, _) = self.any_bytes(s, depth + 1);
                    format!("net::checksum({bytes})")
                }
                _ => self.int_leaf(s, ty, depth),
            },
            U64 if s.impure && self.c.chance(60) => {
                self.used("now");
                "now()".into()
            }
            U8 => self.byte_of(s, depth),
            _ => self.int_leaf(s, ty, depth),
        }
    }

    /// The length of an array in scope.
    fn array_len(&mut self, s: &Scope, depth: u32) -> String {
        let paths = s.paths(&self.structs).into_iter();
        let arrays: Vec<String> = paths
            .filter(|(_, ty)| matches!(ty, Ty::Array(..)))
            .map(|(path, _)| path)
            .collect();
        if arrays.is_empty() {
            return self.int_leaf(s, &U32, depth);
        }
        self.used("array len");
        format!("{}.len()", self.c.pick(&arrays))
    }

    /// A byte of a byte string, mostly inside it.
    fn byte_of(&mut self, s: &Scope, depth: u32) -> String {
        let strings: Vec<String> = s
            .paths(&self.structs)
            .into_iter()
            .filter(|(_, ty)| matches!(ty, Ty::Bytes(_)))
            .map(|(path, _)| path)
            .chain(s.views.iter().cloned())
            .collect();
        if strings.is_empty() {
            return self.int_literal(&U8);
        }
        self.used("bytes index");
        let name = self.c.pick(&strings).clone();
        if self.c.chance(10) {
            return format!("{name}[{}]", self.c.below(4));
        }
        let index = self.int_expr(s, 32, false, depth + 2);
        format!("(if {name}.len() > 0 {{ {name}[{index} % {name}.len()] }} else {{ 0u8 }})")
    }

    fn enum_expr(&mut self, s: &Scope, id: usize, depth: u32) -> String {
        let ty = Ty::Enum(id);
        match self.c.below(4) {
            0 => self.enum_variant(id),
            1 if depth < MAX_DEPTH => self.if_expr(s, &ty, depth),
            2 if s.impure => self
                .state_place(s, &ty, depth)
                .unwrap_or_else(|| self.enum_variant(id)),
            _ => self.path(s, &ty).unwrap_or_else(|| self.enum_variant(id)),
        }
    }

    pub fn bool_expr(&mut self, s: &Scope, depth: u32) -> String {
        if depth >= MAX_DEPTH {
            return self
                .path(s, &Ty::Bool)
                .unwrap_or_else(|| (*self.c.pick(&["true", "false"])).into());
        }
        match self.c.below(12) {
            0 | 1 => self.path(s, &Ty::Bool).unwrap_or_else(|| {
                self.used("bool");
                (*self.c.pick(&["true", "false"])).into()
            }),
            2..=4 => self.comparison(s, depth),
            5 => {
                self.used("in range");
                let ty = self.int_ty();
                let x = self.expr(s, &ty, depth + 1);
                let (a, b) = (self.expr(s, &ty, depth + 1), self.expr(s, &ty, depth + 1));
                format!("({x} in {a}..{b})")
            }
            6 => {
                self.used("in prefix");
                let x = self.expr(s, &U32, depth + 1);
                let prefix = *self
                    .c
                    .pick(&["10.0.0.0/8", "192.168.0.0/16", "0.0.0.0/0", "10.1.2.3/32"]);
                format!("({x} in {prefix})")
            }
            7 => {
                let (op, feature) = if self.c.chance(50) {
                    ("||", "||")
                } else {
                    ("&&", "&&")
                };
                self.used(feature);
                let (a, b) = (self.bool_expr(s, depth + 1), self.bool_expr(s, depth + 1));
                format!("({a} {op} {b})")
            }
            8 => {
                self.used("!");
                format!("(!{})", self.bool_expr(s, depth + 1))
            }
            9 => self.equality(s, depth),
            10 => self
                .state_bool(s, depth)
                .unwrap_or_else(|| self.comparison(s, depth)),
            _ => self
                .table_has(s, depth)
                .unwrap_or_else(|| self.comparison(s, depth)),
        }
    }

    fn comparison(&mut self, s: &Scope, depth: u32) -> String {
        let (op, feature) = *self.c.pick(&[
            ("==", "eq"),
            ("!=", "ne"),
            ("<", "lt"),
            ("<=", "le"),
            (">", "gt"),
            (">=", "ge"),
        ]);
        self.used(feature);
        let ty = self.int_ty();
        let a = self.expr(s, &ty, depth + 1);
        let b = self.expr(s, &ty, depth + 1);
        format!("({a} {op} {b})")
    }

    fn equality(&mut self, s: &Scope, depth: u32) -> String {
        let op = *self.c.pick(&["==", "!="]);
        if self.c.chance(50) {
            self.used("bytes equality");
            let (a, b) = (self.any_bytes(s, depth + 1).0, self.any_bytes(s, depth + 1).0);
            return format!("({a} {op} {b})");
        }
        if !self.enums.is_empty() && self.c.chance(30) {
            self.used("enum equality");
            let (a, b) = (self.enum_expr(s, 0, depth + 1), self.enum_expr(s, 0, depth + 1));
            return format!("({a} {op} {b})");
        }
        let ty = if self.structs.iter().any(|def| !def.header) && self.c.chance(50) {
            let id = self.structs.iter().position(|def| !def.header).unwrap_or(0);
            Ty::Struct(id)
        } else {
            // Not of bytes: between two `pad`s nothing would say how long they are.
            let elem = if self.c.chance(50) { self.int_ty() } else { U16 };
            Ty::Array(Box::new(if elem == U8 { U32 } else { elem }), 2)
        };
        self.used("aggregate equality");
        let (a, b) = (
            self.aggregate_expr(s, &ty, depth + 1),
            self.aggregate_expr(s, &ty, depth + 1),
        );
        format!("(({a}) {op} ({b}))")
    }

    /// A bool from state: `cas`, `insert`, `remove`, or a bool value.
    fn state_bool(&mut self, s: &Scope, depth: u32) -> Option<String> {
        if !s.impure {
            return None;
        }
        if self.c.chance(40) {
            let ty = self.int_ty();
            let place = self.state_place(s, &ty, depth)?;
            self.used("cas");
            let (old, new) = (self.expr(s, &ty, depth + 1), self.expr(s, &ty, depth + 1));
            return Some(format!("{place}.cas({old}, {new})"));
        }
        let maps: Vec<_> = self.keyed.iter().filter(|def| !def.lru).cloned().collect();
        if maps.is_empty() {
            return self.state_place(s, &Ty::Bool, depth);
        }
        let def = self.c.pick(&maps).clone();
        let key = self.key(s, &def.key, depth);
        if self.c.chance(60) {
            self.used("map insert");
            let value = self.expr(s, &def.value, depth + 1);
            Some(format!("{}.insert({key}, {value})", def.name))
        } else {
            self.used("map remove");
            Some(format!("{}.remove({key})", def.name))
        }
    }

    fn table_has(&mut self, s: &Scope, depth: u32) -> Option<String> {
        if self.tables.is_empty() {
            return None;
        }
        let def = self.c.pick(&self.tables.clone()).clone();
        self.used("table has");
        let key = self.expr(s, &def.key, depth + 1);
        Some(format!("{}.has({key})", def.name))
    }

    /// A key; often one of few, so that entries meet.
    pub fn key(&mut self, s: &Scope, ty: &Ty, depth: u32) -> String {
        match ty {
            Ty::Int(bits, false) if self.c.chance(60) => format!("{}u{bits}", self.c.below(4)),
            _ => self.expr(s, ty, depth + 2),
        }
    }

    /// Bytes of any capacity, with the capacity.
    pub fn any_bytes(&mut self, s: &Scope, depth: u32) -> (String, u32) {
        let mut strings: Vec<(String, u32)> = Vec::new();
        for (path, ty) in s.paths(&self.structs) {
            match ty {
                Ty::Bytes(n) => strings.push((path, n)),
                Ty::Array(elem, n) if *elem == U8 => {
                    strings.push((format!("bytes({path})"), n));
                }
                _ => {}
            }
        }
        strings.extend(s.views.iter().map(|name| (name.clone(), 64)));
        if strings.is_empty() || self.c.chance(25) || depth >= MAX_DEPTH {
            let n = self.c.below(10);
            return (self.bytes_literal(n), n);
        }
        let (name, n) = self.c.pick(&strings).clone();
        if name.starts_with("bytes(") {
            self.used("bytes()");
            return (name, n);
        }
        if !self.c.chance(35) {
            return (name, n);
        }
        self.used("slice");
        let text = match self.c.below(8) {
            0 => format!("{name}[0..{name}.len()]"),
            1 => format!("{name}[{name}.len() / 2..{name}.len()]"),
            7 if n >= 5 => format!("{name}[{}..{}]", self.c.below(3), self.c.below(4) + 2),
            _ => {
                let to = self.int_expr(s, 32, false, depth + 2);
                format!("{name}[0..min({to}, {name}.len())]")
            }
        };
        (text, n)
    }

    fn bytes_expr(&mut self, s: &Scope, n: u32, depth: u32) -> String {
        let ty = Ty::Bytes(n);
        match self.c.below(8) {
            0 => {
                let len = self.c.below(n.min(12) + 1);
                self.bytes_literal(len)
            }
            1 if depth < MAX_DEPTH => self.if_expr(s, &ty, depth),
            2 if n >= 20 && self.text => {
                self.used("text");
                let word = *self.c.pick(&["dec", "hex"]);
                let e = self.expr(s, &U64, depth + 1);
                format!("text::{word}({e})")
            }
            3 if depth < MAX_DEPTH => self
                .call(s, &FnRet::Value(ty.clone()), depth)
                .unwrap_or_else(|| self.bytes_literal(1.min(n))),
            4 => self
                .consts_of(s, &ty)
                .unwrap_or_else(|| self.bytes_literal(2.min(n))),
            _ => {
                let (text, capacity) = self.any_bytes(s, depth);
                if capacity > n || text.contains("..") {
                    self.used("narrow");
                    let cut = if self.c.chance(10) {
                        text
                    } else {
                        self.cut(&text, n)
                    };
                    format!("({cut} as bytes<{n}>)")
                } else {
                    self.used("widen");
                    text
                }
            }
        }
    }

    /// At most `n` bytes of a byte string, without a trap.
    fn cut(&mut self, text: &str, n: u32) -> String {
        if text.contains("..") || text.starts_with("b\"") || text.starts_with("bytes(") {
            return text.to_owned();
        }
        format!("{text}[0..min({n}, {text}.len())]")
    }

    fn aggregate_expr(&mut self, s: &Scope, ty: &Ty, depth: u32) -> String {
        let found = match self.c.below(6) {
            0 | 1 => self.path(s, ty),
            2 if s.impure => {
                let states: Vec<String> = self
                    .states
                    .iter()
                    .filter(|def| def.ty == *ty)
                    .map(|def| def.name.clone())
                    .collect();
                if states.is_empty() {
                    None
                } else {
                    Some(self.c.pick(&states).clone())
                }
            }
            3 if depth < MAX_DEPTH => self.call(s, &FnRet::Value(ty.clone()), depth),
            4 => self.consts_of(s, ty),
            _ => None,
        };
        if let Some(text) = found {
            return text;
        }
        match ty {
            Ty::Array(elem, n) if **elem == U8 && self.c.chance(50) => {
                self.used("pad");
                let len = self.c.below(n + 1);
                // `pad` takes its length from where it stands, so its type is written as a variable's or argument's.
                let mut text = self.bytes_literal(len);
                if self.c.chance(30) {
                    let (longer, _) = self.any_bytes(s, depth + 1);
                    text = self.cut(&longer, *n);
                }
                format!("pad({text})")
            }
            Ty::Array(elem, n) => {
                if self.c.chance(20) {
                    self.used("repeat literal");
                    return format!("[{}; {n}]", self.expr(s, elem, depth + 1));
                }
                self.used("array literal");
                let elems: Vec<String> = (0..*n).map(|_| self.expr(s, elem, depth + 1)).collect();
                format!("[{}]", elems.join(", "))
            }
            Ty::Struct(id) => {
                self.used("struct literal");
                let def = self.structs[*id].clone();
                let mut fields: Vec<String> = def
                    .fields
                    .iter()
                    .map(|(name, ty)| format!("{name}: {}", self.expr(s, ty, depth + 1)))
                    .collect();
                if self.c.chance(30) {
                    fields.reverse();
                }
                format!("{} {{ {} }}", def.name, fields.join(", "))
            }
            _ => self.expr(s, ty, depth),
        }
    }
}
