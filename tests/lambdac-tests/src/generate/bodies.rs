//! Fns, lambdas and the match stage.

use std::fmt::Write as _;

use super::Request;
use super::items::Generator;
use super::scope::{LambdaScope, Local, Scope};
use super::types::{FnDef, FnParam, FnRet, Ty, U8, U32};

impl Generator {
    /// One fn, which later bodies can call.
    pub fn function(&mut self) {
        let name = self.name("f");
        let pure = self.c.chance(60);
        let mut s = Scope {
            impure: !pure,
            ..Scope::default()
        };
        let mut params = Vec::new();
        let mut heads = Vec::new();
        let count = self.c.below(4);
        for _ in 0..count {
            let param = self.name("a");
            if self.c.chance(20) {
                self.used("fn with bytes view");
                heads.push(format!("{param}: bytes"));
                s.views.push(param);
                params.push(FnParam::View);
                continue;
            }
            if self.c.chance(12) {
                self.used("option parameter");
                let ty = self.int_ty();
                heads.push(format!("{param}: {}?", self.ty_text(&ty)));
                s.options.push(Local {
                    name: param,
                    ty: ty.clone(),
                    mutable: false,
                });
                params.push(FnParam::Option(ty));
                continue;
            }
            let ty = self.var_ty();
            if !ty.is_scalar() {
                self.used("fn with aggregate");
            }
            heads.push(format!("{param}: {}", self.ty_text(&ty)));
            s.locals.push(Local {
                name: param,
                ty: ty.clone(),
                mutable: false,
            });
            params.push(FnParam::Value(ty));
        }
        let ret = self.fn_ret();
        let ret_text = match &ret {
            FnRet::Value(ty) => format!(" -> {}", self.ty_text(ty)),
            FnRet::Option(ty) => format!(" -> {}?", self.ty_text(ty)),
            FnRet::Nothing => String::new(),
        };
        let mut body = String::new();
        let count = self.c.below(4);
        let before = s.locals.len();
        for _ in 0..count {
            self.statement(&mut s, &mut body, 1);
        }
        if self.c.chance(30) {
            let cond = self.bool_expr(&s, 1);
            let leave = self.return_statement(&s, &ret);
            let _ = writeln!(body, "if {cond} {{ {leave} }}");
        }
        let last = self.return_statement(&s, &ret);
        s.locals.truncate(before);
        self.used("fn");
        if !pure {
            self.used("fn touching state");
        }
        if self.c.chance(20) {
            self.used("@inline");
            self.out.push_str("@inline\n");
        }
        let _ = writeln!(
            self.out,
            "fn {name}({}){ret_text} {{\n{body}{last}\n}}",
            heads.join(", ")
        );
        self.fns.push(FnDef {
            name,
            params,
            ret,
            pure,
        });
    }

    fn fn_ret(&mut self) -> FnRet {
        match self.c.below(7) {
            0 => FnRet::Value(Ty::Bool),
            6 => {
                self.used("fn giving nothing");
                FnRet::Nothing
            }
            1 => {
                self.used("fn giving option");
                FnRet::Option(if self.c.chance(60) {
                    self.int_ty()
                } else {
                    Ty::Bytes(16)
                })
            }
            2 => {
                self.used("fn giving aggregate");
                FnRet::Value(self.var_ty())
            }
            _ => FnRet::Value(self.int_ty()),
        }
    }

    /// Lambdas and what picks them; gives requests for them.
    pub fn front(&mut self) -> Vec<Request> {
        let stream = self.c.chance(12);
        if stream {
            return self.stream_front();
        }
        let request = self.request_ty();
        let lambdas = self.c.range(1, 4);
        let staged = lambdas > 1 || self.c.chance(50);
        let slow = self.slow_lambda(&request);
        for number in 0..lambdas {
            self.lambda(&format!("l{number}"), &request, slow.as_deref());
        }
        let ops = if staged {
            self.match_stage(&request, lambdas)
        } else {
            Vec::new()
        };
        if !staged && slow.is_some() {
            // Without a match there is one lambda only; the slow one makes two, so a match is needed.
            self.begin_rule();
            self.used_in_rule("rule any");
            self.out.push_str("match (req: bytes<1>) { _ => l0, }\n");
        }
        self.requests(&request, &ops)
    }

    fn request_ty(&mut self) -> Ty {
        match self.c.below(10) {
            0..=2 => {
                self.used("T is bytes");
                Ty::Bytes(*self.c.pick(&[16, 40, 64]))
            }
            3 => {
                self.used("T is an array");
                Ty::Array(Box::new(Ty::Int(*self.c.pick(&[8, 16, 32, 12]), false)), 4)
            }
            4 if self.c.chance(30) => {
                self.used("whole message");
                Ty::Array(Box::new(U8), 3000)
            }
            _ => {
                self.used("T is a header");
                self.header("Req")
            }
        }
    }

    fn reply_ty(&mut self) -> Ty {
        match self.c.below(6) {
            0..=2 => {
                self.used("R is bytes");
                Ty::Bytes(*self.c.pick(&[40, 64, 100]))
            }
            3 => {
                self.used("R is an array");
                Ty::Array(
                    Box::new(Ty::Int(*self.c.pick(&[8, 16, 32]), false)),
                    self.c.range(1, 4),
                )
            }
            _ => {
                self.used("R is a header");
                self.header("Rep")
            }
        }
    }

    /// A target of `punt name`.
    fn slow_lambda(&mut self, request: &Ty) -> Option<String> {
        if !self.c.chance(20) {
            return None;
        }
        self.lambda("slow", request, None);
        Some("slow".to_owned())
    }

    fn lambda(&mut self, name: &str, request: &Ty, slow: Option<&str>) {
        let reply = self.reply_ty();
        let mut s = Scope {
            impure: true,
            pkt: true,
            awaits: true,
            lambda: Some(LambdaScope {
                reply: reply.clone(),
                stream: false,
            }),
            ..Scope::default()
        };
        let parameter = !self.c.chance(6);
        let head = if parameter {
            s.locals.push(Local {
                name: "req".into(),
                ty: request.clone(),
                mutable: false,
            });
            format!("req: {}", self.ty_text(request))
        } else {
            self.used("lambda without parameter");
            String::new()
        };
        let mut body = String::new();
        self.punts(&mut s, &mut body, slow);
        let count = self.c.range(1, 6);
        for _ in 0..count {
            self.statement(&mut s, &mut body, 0);
            if !self.services.is_empty() && self.c.chance(30) {
                self.await_statement(&mut s, &mut body);
            }
        }
        self.used("reply");
        let value = self.expr(&s, &reply, 0);
        let reply_text = self.ty_text(&reply);
        if self.c.chance(5) {
            self.used("@on");
            self.out.push_str("@on(host)\n");
        }
        if self.c.chance(5) {
            self.used("@deadline");
            self.out.push_str("@deadline(10s)\n");
        }
        if self.c.chance(20) {
            self.used("doc comment");
            self.out.push_str("/// A lambda.\n");
        }
        let _ = writeln!(
            self.out,
            "lambda {name}({head}) -> {reply_text} {{\n{body}reply {value};\n}}"
        );
    }

    /// Punts stand first: none may follow a write or an await.
    fn punts(&mut self, s: &mut Scope, body: &mut String, slow: Option<&str>) {
        s.impure = false;
        if self.c.chance(15) {
            self.used("punt");
            let cond = self.bool_expr(s, 1);
            let _ = writeln!(body, "if {cond} {{ punt; }}");
        }
        if let Some(slow) = slow
            && self.c.chance(60)
        {
            self.used("punt name");
            let cond = self.bool_expr(s, 1);
            let _ = writeln!(body, "if {cond} {{ punt {slow}; }}");
        }
        s.impure = true;
    }

    fn await_statement(&mut self, s: &mut Scope, body: &mut String) {
        let service = self.c.pick(&self.services.clone()).clone();
        let key = match self.c.below(3) {
            0 => "b\"hey\"".to_owned(),
            _ => {
                let (text, _) = self.any_bytes(s, 1);
                text
            }
        };
        let live = self.name("w");
        let value = self.expr(s, &super::types::U64, 1);
        let _ = writeln!(body, "let {live}: u64 = {value};");
        s.locals.push(Local {
            name: live,
            ty: super::types::U64,
            mutable: false,
        });
        self.used("live across await");
        let name = self.name("r");
        match self.c.below(4) {
            0 | 1 => {
                self.used("await get");
                let leave = self.leave_after(s, &service);
                let _ = writeln!(
                    body,
                    "let {name} = await {service}.get({key}) else {{ {leave} }};"
                );
                s.locals.push(Local {
                    name,
                    ty: Ty::Bytes(1024),
                    mutable: false,
                });
            }
            2 => {
                self.used("await set");
                self.used("if let await");
                let (value, _) = self.any_bytes(s, 1);
                let mut inner = String::new();
                self.statements(s, &mut inner, 1, 2);
                let _ = writeln!(
                    body,
                    "if let {name} = await {service}.set({key}, {value}) {{\n{inner}log(b\"stored\", {name} as u8);\n}}"
                );
            }
            _ => {
                self.used("await delete");
                let leave = self.leave_after(s, &service);
                let _ = writeln!(
                    body,
                    "let {name} = await {service}.delete({key}) else {{ {leave} }};"
                );
                s.locals.push(Local {
                    name,
                    ty: Ty::Bool,
                    mutable: false,
                });
            }
        }
    }

    /// What an `else` of an await does; half of them ask why.
    fn leave_after(&mut self, s: &mut Scope, service: &str) -> String {
        let leave = self.leave(s).unwrap_or_else(|| "drop;".to_owned());
        if !self.c.chance(50) {
            return leave;
        }
        self.used("failed");
        let other = self.leave(s).unwrap_or_else(|| "drop;".to_owned());
        format!("if {service}.failed() {{ {other} }} {leave}")
    }

    /// `match`; gives the first bytes that its rules look for.
    fn match_stage(&mut self, request: &Ty, lambdas: u32) -> Vec<u8> {
        self.used("match stage");
        let (ty, op) = match request {
            Ty::Struct(_) => (request.clone(), "req.op".to_owned()),
            _ => (Ty::Bytes(1), String::new()),
        };
        let mut s = Scope {
            condition: true,
            pkt: true,
            ..Scope::default()
        };
        s.locals.push(Local {
            name: "req".into(),
            ty: ty.clone(),
            mutable: false,
        });
        let mut rules = String::new();
        let mut ops = Vec::new();
        for number in 0..lambdas {
            let value = number as u8 * 16 + 1;
            ops.push(value);
            self.begin_rule();
            let cond = if op.is_empty() {
                self.used_in_rule("rule compares");
                format!("req == b\"\\x{value:02x}\"")
            } else {
                self.rule(&s, &op, value)
            };
            let _ = writeln!(rules, "    {cond} => l{number},");
        }
        if !op.is_empty() && self.c.chance(40) {
            ops.extend([200, 201]);
            for target in ["rule drop", "rule punt"] {
                self.begin_rule();
                self.used_in_rule(target);
            }
            let _ = writeln!(rules, "    {op} == 200 => drop,\n    {op} == 201 => punt,");
        }
        if self.c.chance(50) {
            ops.push(250);
            self.begin_rule();
            self.used_in_rule("rule any");
            let _ = writeln!(rules, "    _ => l0,");
        }
        let text = self.ty_text(&ty);
        let _ = writeln!(self.out, "match (req: {text}) {{\n{rules}}}");
        ops
    }

    /// A condition that holds for `op == value`, in one of the forms that a match stage knows.
    fn rule(&mut self, s: &Scope, op: &str, value: u8) -> String {
        let main = match self.c.below(4) {
            0 => {
                self.used_in_rule("rule compares");
                format!("{op} == {value}")
            }
            1 => {
                self.used_in_rule("rule range");
                format!("{op} in {value}..{}", value + 2)
            }
            2 => {
                self.used_in_rule("rule mask");
                format!("{op} & 0xf3 == {value}")
            }
            _ => {
                self.used_in_rule("rule compares");
                format!("{value} == {op}")
            }
        };
        match self.c.below(8) {
            0 => {
                self.used_in_rule("rule or");
                self.used_in_rule("rule prefix");
                format!("{main} || {op} == {} && pkt.src_ip in 10.0.0.0/8", value + 3)
            }
            1 => {
                self.used_in_rule("rule and");
                self.used_in_rule("rule not");
                format!("{main} && !(pkt.port == 7)")
            }
            2 => match self.tables.first().map(|def| (def.name.clone(), def.key.clone())) {
                Some((table, key)) => {
                    self.used_in_rule("rule has");
                    let key = match key {
                        U8 => op,
                        U32 => "pkt.src_ip",
                        _ => "pkt.src_port",
                    };
                    format!("{main} || {table}.has({key}) && {op} == 3")
                }
                None => main,
            },
            3 => {
                let pure = |def: &&FnDef| {
                    def.pure
                        && matches!(def.ret, FnRet::Value(Ty::Bool | Ty::Int(..)))
                        && def.params.iter().all(|p| *p != FnParam::View)
                };
                match self.fns.iter().find(pure).cloned() {
                    Some(def) => {
                        self.used_in_rule("rule calls");
                        let args: Vec<String> = def
                            .params
                            .iter()
                            .map(|param| match param {
                                FnParam::Value(ty) => self.expr(s, ty, 3),
                                FnParam::Option(_) => "none".to_owned(),
                                FnParam::View => "b\"\"".to_owned(),
                            })
                            .collect();
                        let equals = match &def.ret {
                            FnRet::Value(ty @ Ty::Int(..)) => format!(" == {}", self.int_literal(ty)),
                            _ => String::new(),
                        };
                        format!(
                            "{main} || {}({}){equals} && {op} == 77",
                            def.name,
                            args.join(", ")
                        )
                    }
                    None => main,
                }
            }
            _ => main,
        }
    }

    /// A workload of one stream lambda.
    fn stream_front(&mut self) -> Vec<Request> {
        self.used("stream");
        let chunk = match self.c.below(3) {
            0 => Ty::Bytes(16),
            1 => Ty::Array(Box::new(Ty::Int(16, false)), 4),
            _ => Ty::Array(Box::new(U8), 8),
        };
        let reply = Ty::Bytes(40);
        let mut s = Scope {
            impure: true,
            pkt: true,
            lambda: Some(LambdaScope {
                reply: reply.clone(),
                stream: true,
            }),
            ..Scope::default()
        };
        s.locals.push(Local {
            name: "req".into(),
            ty: chunk.clone(),
            mutable: false,
        });
        let mut body = String::new();
        let count = self.c.range(1, 4);
        for _ in 0..count {
            self.statement(&mut s, &mut body, 0);
        }
        let value = self.expr(&s, &reply, 0);
        let (chunk_text, reply_text) = (self.ty_text(&chunk), self.ty_text(&reply));
        let _ = writeln!(
            self.out,
            "stream lambda l0(req: {chunk_text}) -> {reply_text} {{\n{body}reply {value};\n}}"
        );
        let (min, max) = self.message_size(&chunk);
        let mut requests = self.requests(&chunk, &[]);
        for request in &mut requests {
            let chunks = self.c.range(1, 3) as usize;
            let whole = request.bytes.len() == max as usize;
            if whole {
                request.bytes = request.bytes.repeat(chunks);
            }
            request.fits = if min == max {
                request.bytes.len() % max as usize == 0 && !request.bytes.is_empty()
            } else {
                true
            };
        }
        requests
    }
}
