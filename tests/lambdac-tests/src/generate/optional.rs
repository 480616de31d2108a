//! Values that may be missing: what gives them, variables that hold them, what opens them.

use super::items::Generator;
use super::scope::{Local, Scope};
use super::types::{FnRet, Ty, U64};

impl Generator {
    /// Something that gives a `T?`, with T.
    pub fn option(&mut self, s: &Scope, depth: u32) -> Option<(String, Ty)> {
        let kind = self.c.below(6);
        if kind == 5 && !s.options.is_empty() {
            let variable = self.c.pick(&s.options);
            return Some((variable.name.clone(), variable.ty.clone()));
        }
        if kind == 0 && !self.tables.is_empty() {
            let def = self.c.pick(&self.tables.clone()).clone();
            self.used("table get");
            let key = self.expr(s, &def.key, depth + 1);
            return Some((format!("{}.get({key})", def.name), def.value));
        }
        if kind == 1 {
            let options: Vec<Ty> = self
                .fns
                .iter()
                .filter_map(|def| match &def.ret {
                    FnRet::Option(ty) if s.impure || def.pure => Some(ty.clone()),
                    _ => None,
                })
                .collect();
            if !options.is_empty() {
                let ty = self.c.pick(&options).clone();
                return self
                    .call(s, &FnRet::Option(ty.clone()), depth)
                    .map(|text| (text, ty));
            }
        }
        if kind == 2 && self.text {
            self.used("text");
            let (text, _) = self.any_bytes(s, depth + 1);
            return Some((format!("text::parse_dec({text})"), U64));
        }
        if !s.impure || self.keyed.is_empty() {
            return None;
        }
        let def = self.c.pick(&self.keyed.clone()).clone();
        let key = self.key(s, &def.key, depth);
        if matches!(def.value, Ty::Int(..)) && self.c.chance(40) {
            self.used(if def.lru { "lru fetch_add" } else { "map fetch_add" });
            let n = self.expr(s, &def.value, depth + 1);
            return Some((format!("{}.fetch_add({key}, {n})", def.name), def.value));
        }
        self.used(if def.lru { "lru get" } else { "map get" });
        Some((format!("{}.get({key})", def.name), def.value))
    }

    /// A value of type `T?`: none, a T, or something that gives one.
    pub fn optional(&mut self, s: &Scope, ty: &Ty, depth: u32) -> String {
        match self.c.below(4) {
            0 => {
                self.used("none");
                "none".to_owned()
            }
            1 => {
                let same = s.options.iter().find(|variable| variable.ty == *ty);
                same.map_or_else(|| "none".to_owned(), |variable| variable.name.clone())
            }
            2 => self
                .call(s, &FnRet::Option(ty.clone()), depth)
                .unwrap_or_else(|| self.expr(s, ty, depth + 1)),
            _ => self.expr(s, ty, depth + 1),
        }
    }

    /// A variable of type `T?`, or a new value for one.
    pub fn option_statement(&mut self, s: &mut Scope) -> String {
        let mutable: Vec<Local> = s.options.iter().filter(|local| local.mutable).cloned().collect();
        if !mutable.is_empty() && self.c.chance(50) {
            self.used("option assign");
            let Local { name, ty, .. } = self.c.pick(&mutable).clone();
            let value = self.optional(s, &ty, 1);
            return format!("{name} = {value};");
        }
        self.used("option local");
        // No arrays: behind a `T?` nothing says how long a `pad` in one is.
        let ty = match self.var_ty() {
            Ty::Array(..) => self.int_ty(),
            ty => ty,
        };
        let value = self.optional(s, &ty, 1);
        let (name, text) = (self.name("q"), self.ty_text(&ty));
        let mutable = self.c.chance(60);
        let word = if mutable { "mut " } else { "" };
        s.options.push(Local {
            name: name.clone(),
            ty,
            mutable,
        });
        format!("let {word}{name}: {text}? = {value};")
    }

    /// `if let`, or another statement where there is nothing to open.
    pub fn if_let(&mut self, s: &mut Scope, depth: u32) -> String {
        let Some((option, ty)) = self.option(s, 1) else {
            return self.assign(s);
        };
        self.used("if let");
        self.used("option");
        let name = self.name("o");
        let name_text = name.clone();
        s.locals.push(Local {
            name,
            ty,
            mutable: false,
        });
        let body = self.block(s, depth.max(1));
        s.locals.pop();
        let els = if self.c.chance(50) {
            format!(" else {}", self.block(s, depth.max(1)))
        } else {
            String::new()
        };
        format!("if let {name_text} = {option} {body}{els}")
    }

    /// `let … else`, likewise.
    pub fn let_else(&mut self, s: &mut Scope) -> String {
        let Some((option, ty)) = self.option(s, 1) else {
            return self.let_statement(s);
        };
        let Some(leave) = self.leave(s) else {
            return self.let_statement(s);
        };
        self.used("let else");
        self.used("option");
        let name = self.name("o");
        s.locals.push(Local {
            name: name.clone(),
            ty,
            mutable: false,
        });
        format!("let {name} = {option} else {{ {leave} }};")
    }
}
