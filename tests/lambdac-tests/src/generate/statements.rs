//! Statements.

use super::items::Generator;
use super::scope::{Local, Scope};
use super::types::{FnRet, Ty, U8, U32, U64};

/// Most trips of a generated loop.
const TRIPS: u32 = 6;

impl Generator {
    /// A few statements; variables that they declare are in scope of the later ones only.
    pub fn statements(&mut self, s: &mut Scope, out: &mut String, count: u32, depth: u32) {
        let (before, options) = (s.locals.len(), s.options.len());
        for _ in 0..count {
            self.statement(s, out, depth);
        }
        s.locals.truncate(before);
        s.options.truncate(options);
    }

    /// One statement; a declared variable is added to the scope.
    pub fn statement(&mut self, s: &mut Scope, out: &mut String, depth: u32) {
        let text = match self.c.below(21) {
            0 | 1 => self.let_statement(s),
            2..=4 => self.assign(s),
            5 | 6 if depth < 3 => self.if_statement(s, depth),
            7 if depth < 3 => self.match_statement(s, depth),
            8 if depth < 3 && s.loops < 2 => self.for_statement(s, depth),
            9 if depth < 3 && s.loops < 2 => self.while_statement(s, depth),
            10 | 11 => self.bytes_op(s),
            12 if s.impure => self.state_statement(s),
            13 if s.impure => self.keyed_statement(s),
            14 => self.if_let(s, depth),
            15 => self.let_else(s),
            16 if s.in_loop => self.leave_loop(s),
            17 if s.impure => self.counter_add(s),
            18 if s.lambda.is_some() => self.log(s),
            19 => self.option_statement(s),
            20 => self.call_statement(s),
            _ => self.let_statement(s),
        };
        out.push_str(&text);
        out.push('\n');
    }

    pub fn let_statement(&mut self, s: &mut Scope) -> String {
        let ty = self.var_ty();
        let name = self.name("v");
        let text = self.ty_text(&ty);
        let mutable = self.c.chance(60);
        let line = if mutable && self.c.chance(15) {
            self.used("let zero");
            format!("let mut {name}: {text};")
        } else {
            self.used(if mutable { "let mut" } else { "let" });
            let value = self.expr(s, &ty, 0);
            let word = if mutable { "mut " } else { "" };
            format!("let {word}{name}: {text} = {value};")
        };
        s.locals.push(Local { name, ty, mutable });
        line
    }

    pub fn assign(&mut self, s: &mut Scope) -> String {
        let places = s.places(&self.structs);
        if places.is_empty() {
            return self.let_statement(s);
        }
        let (mut place, mut ty) = self.c.pick(&places).clone();
        if place.contains('.') {
            self.used("assign field");
        }
        while let Ty::Array(elem, n) = &ty {
            if !self.c.chance(70) {
                break;
            }
            self.used("assign element");
            let index = self.index(s, *n, 1);
            place = format!("{place}[{index}]");
            ty = (**elem).clone();
        }
        if let Ty::Int(..) = ty
            && self.c.chance(40)
        {
            self.used("assign op");
            let op = *self.c.pick(&["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"]);
            let by = if op == "<<" || op == ">>" { U8 } else { ty };
            let value = self.expr(s, &by, 1);
            return format!("{place} {op}= {value};");
        }
        self.used("assign");
        let value = self.expr(s, &ty, 0);
        format!("{place} = {value};")
    }

    pub fn block(&mut self, s: &mut Scope, depth: u32) -> String {
        let mut body = String::from("{\n");
        let count = self.c.range(1, 3);
        self.statements(s, &mut body, count, depth + 1);
        body.push('}');
        body
    }

    fn if_statement(&mut self, s: &mut Scope, depth: u32) -> String {
        self.used("if");
        let cond = self.bool_expr(s, 1);
        let mut text = format!("if {cond} {}", self.block(s, depth));
        if self.c.chance(30) {
            self.used("else if");
            let cond = self.bool_expr(s, 1);
            text.push_str(&format!(" else if {cond} {}", self.block(s, depth)));
        }
        if self.c.chance(50) {
            self.used("else");
            text.push_str(&format!(" else {}", self.block(s, depth)));
        }
        text
    }

    fn match_statement(&mut self, s: &mut Scope, depth: u32) -> String {
        if !self.enums.is_empty() && self.c.chance(30) {
            self.used("match enum");
            let value = self.expr(s, &Ty::Enum(0), 1);
            let def = self.enums[0].clone();
            let body = self.block(s, depth);
            let rest = self.block(s, depth);
            return format!(
                "match ({value}) {{ {}::{} => {body} _ => {rest} }}",
                def.name, def.variants[0].0
            );
        }
        self.used("match");
        let ty = if self.c.chance(50) { U8 } else { self.int_ty() };
        let value = self.expr(s, &ty, 1);
        let mut arms = String::new();
        let narrow = matches!(ty, Ty::Int(bits, _) if bits < 6);
        if !narrow {
            let count = self.c.below(3);
            for i in 0..count {
                let pattern = match self.c.below(3) {
                    0 => format!("{}", i * 8),
                    1 => {
                        self.used("match alternatives");
                        format!("{} | {}", i * 8 + 1, i * 8 + 3)
                    }
                    _ => {
                        self.used("match range");
                        format!("{}..{}", i * 8 + 4, i * 8 + 7)
                    }
                };
                arms.push_str(&format!("{pattern} => {}\n", self.block(s, depth)));
            }
        }
        format!("match ({value}) {{\n{arms}_ => {}\n}}", self.block(s, depth))
    }

    fn loop_body(&mut self, s: &mut Scope, depth: u32) -> String {
        let (in_loop, awaits) = (s.in_loop, s.awaits);
        s.in_loop = true;
        s.awaits = false;
        s.loops += 1;
        let body = self.block(s, depth);
        s.in_loop = in_loop;
        s.awaits = awaits;
        s.loops -= 1;
        body
    }

    fn for_statement(&mut self, s: &mut Scope, depth: u32) -> String {
        let var = self.name("i");
        let mut ty = U32;
        let head = if self.c.chance(20) {
            self.used("for of another type");
            ty = self.int_ty();
            let (from, to) = (self.expr(s, &ty, 2), self.expr(s, &ty, 2));
            let bound = self.c.range(1, TRIPS);
            if matches!(ty, Ty::Int(4..=64, _)) && !self.c.chance(15) {
                format!("({from} % {bound})..({to} % {}) max {}", bound + 1, 2 * bound)
            } else {
                format!("{from}..{to} max {bound}")
            }
        } else if self.c.chance(40) {
            self.used("for max");
            let to = self.expr(s, &U32, 1);
            let bound = self.c.range(1, TRIPS);
            if self.c.chance(10) {
                format!("0..{to} max {bound}")
            } else {
                format!("0..({to} % {}) max {bound}", bound + 1)
            }
        } else {
            self.used("for");
            let from = self.c.below(3);
            format!("{from}..{}", from + self.c.below(TRIPS))
        };
        s.locals.push(Local {
            name: var.clone(),
            ty,
            mutable: false,
        });
        let body = self.loop_body(s, depth);
        s.locals.pop();
        format!("for {var} in {head} {body}")
    }

    fn while_statement(&mut self, s: &mut Scope, depth: u32) -> String {
        self.used("while");
        let count = self.name("n");
        let bound = self.c.range(1, TRIPS);
        s.loops += 1;
        let extra = if self.c.chance(40) {
            format!(" && {}", self.bool_expr(s, 2))
        } else {
            String::new()
        };
        s.loops -= 1;
        s.locals.push(Local {
            name: count.clone(),
            ty: U32,
            mutable: false,
        });
        let body = self.loop_body(s, depth);
        s.locals.pop();
        let trips = if self.c.chance(8) {
            bound + 1
        } else {
            self.c.below(bound + 1)
        };
        let step = format!("{count} += 1;\n");
        let body = body.replacen("{\n", &format!("{{\n{step}"), 1);
        format!("let mut {count}: u32 = 0;\nwhile {count} < {trips}{extra} max {bound} {body}")
    }

    fn leave_loop(&mut self, s: &mut Scope) -> String {
        let (word, feature) = if self.c.chance(50) {
            ("break", "break")
        } else {
            ("continue", "continue")
        };
        self.used(feature);
        let cond = self.bool_expr(s, 1);
        format!("if {cond} {{ {word}; }}")
    }

    fn bytes_op(&mut self, s: &mut Scope) -> String {
        let strings: Vec<(String, u32)> = s
            .places(&self.structs)
            .into_iter()
            .filter_map(|(path, ty)| {
                if let Ty::Bytes(n) = ty {
                    Some((path, n))
                } else {
                    None
                }
            })
            .collect();
        if strings.is_empty() {
            let name = self.name("b");
            self.used("let mut");
            let n = *self.c.pick(&[16, 40]);
            let value = self.expr(s, &Ty::Bytes(n), 1);
            s.locals.push(Local {
                name: name.clone(),
                ty: Ty::Bytes(n),
                mutable: true,
            });
            return format!("let mut {name}: bytes<{n}> = {value};");
        }
        let (name, n) = self.c.pick(&strings).clone();
        match self.c.below(6) {
            0 => {
                self.used("clear");
                format!("{name}.clear();")
            }
            1 | 2 => {
                self.used("push");
                let value = self.expr(s, &U8, 1);
                if self.c.chance(10) {
                    return format!("{name}.push({value});");
                }
                if self.c.chance(30) {
                    // Past the capacity, whatever stood there before.
                    let i = self.name("i");
                    return format!("for {i} in 0..{} {{ {name}.push({value}); }}", u64::from(n) + 1);
                }
                format!("if {name}.len() < {n} {{ {name}.push({value}); }}")
            }
            3 => {
                self.used("assign element");
                let value = self.expr(s, &U8, 1);
                format!("if {name}.len() > 0 {{ {name}[{name}.len() - 1] = {value}; }}")
            }
            _ => {
                self.used("append");
                let (text, capacity) = self.any_bytes(s, 1);
                if self.c.chance(10) {
                    return format!("{name}.append({text});");
                }
                format!(
                    "if {name}.len() + {} <= {n} {{ {name}.append({text}); }}",
                    capacity.min(64)
                )
            }
        }
    }

    fn state_statement(&mut self, s: &mut Scope) -> String {
        if self.states.is_empty() {
            return self.let_statement(s);
        }
        let def = self.c.pick(&self.states.clone()).clone();
        let ty = match &def.ty {
            Ty::Array(elem, _) if self.c.chance(70) => (**elem).clone(),
            ty => ty.clone(),
        };
        let ty = match &ty {
            Ty::Struct(id) if self.c.chance(60) => self.structs[*id].fields[0].1.clone(),
            _ => ty,
        };
        match self.state_place(s, &ty, 1) {
            Some(place) => {
                self.used(match place.contains('.') {
                    true => "assign state field",
                    false if place.ends_with(']') => "assign state element",
                    false => "assign state",
                });
                let value = self.expr(s, &ty, 0);
                format!("{place} = {value};")
            }
            None => {
                let value = self.expr(s, &def.ty, 0);
                format!("{} = {value};", def.name)
            }
        }
    }

    fn keyed_statement(&mut self, s: &mut Scope) -> String {
        let lrus: Vec<_> = self.keyed.iter().filter(|def| def.lru).cloned().collect();
        if lrus.is_empty() {
            return self.state_statement(s);
        }
        let def = self.c.pick(&lrus).clone();
        let key = self.key(s, &def.key, 1);
        if self.c.chance(70) {
            self.used("lru put");
            let value = self.expr(s, &def.value, 1);
            format!("{}.put({key}, {value});", def.name)
        } else {
            self.used("lru remove");
            format!("{}.remove({key});", def.name)
        }
    }

    /// A call of a fn that gives nothing.
    fn call_statement(&mut self, s: &mut Scope) -> String {
        match self.call(s, &FnRet::Nothing, 1) {
            Some(call) => {
                self.used("call statement");
                format!("{call};")
            }
            None => self.assign(s),
        }
    }

    fn counter_add(&mut self, s: &mut Scope) -> String {
        if self.counters.is_empty() {
            return self.state_statement(s);
        }
        let (name, count) = self.c.pick(&self.counters.clone()).clone();
        let index = count.map_or(String::new(), |n| format!("[{}]", self.index(s, n, 1)));
        let n = self.expr(s, &U64, 2);
        format!("{name}{index}.add({n});")
    }

    fn log(&mut self, s: &mut Scope) -> String {
        self.used("log");
        let ty = self.scalar_ty();
        let ty = if matches!(ty, Ty::Enum(_)) { Ty::Bool } else { ty };
        let value = self.expr(s, &ty, 1);
        if self.c.chance(30) {
            self.used("log bytes");
            let (bytes, _) = self.any_bytes(s, 2);
            return format!("log(b\"seen\", {value}, {bytes});");
        }
        format!("log(b\"seen\", {value});")
    }

    /// A statement that leaves the loop or the lambda.
    pub fn leave(&mut self, s: &mut Scope) -> Option<String> {
        if s.in_loop {
            return Some((*self.c.pick(&["break;", "continue;"])).to_owned());
        }
        let lambda = s.lambda.clone()?;
        if !lambda.stream && self.c.chance(15) {
            self.used("drop");
            return Some("drop;".to_owned());
        }
        self.used("reply");
        let value = self.expr(s, &lambda.reply, 1);
        Some(format!("reply {value};"))
    }

    /// `return e;` of a fn.
    pub fn return_statement(&mut self, s: &Scope, ret: &FnRet) -> String {
        self.used("return");
        match ret {
            FnRet::Value(ty) => format!("return {};", self.expr(s, ty, 1)),
            FnRet::Option(_) if self.c.chance(40) => "return none;".to_owned(),
            FnRet::Option(ty) => format!("return {};", self.optional(s, ty, 1)),
            FnRet::Nothing => "return;".to_owned(),
        }
    }
}
