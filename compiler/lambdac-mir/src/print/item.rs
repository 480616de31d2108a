//! Items: everything outside bodies.

use super::text::Quoted;
use super::{Printer, never_defined, scalar_params};
use crate::{
    Body, Cond, Const, Dispatch, EntryKey, Field, Func, FuncParam, KeyField, KeyPart, Lambda, Loc, Match,
    MemoryRegion, MessageSize, Module, Object, ObjectKind, Param, Rule, Service, Storage, TableEntry, Target,
    Value,
};

impl Printer {
    pub(super) fn module(&mut self, module: &Module) {
        self.line(format_args!("module {}", Quoted(&module.name)));
        for file in &module.files {
            self.line(format_args!("file {}", Quoted(file)));
        }
        for (i, item) in module.consts.iter().enumerate() {
            self.const_item(i, item);
        }
        for (i, param) in module.params.iter().enumerate() {
            self.param(i, param);
        }
        for (i, object) in module.objects.iter().enumerate() {
            self.object(i, object);
        }
        for (i, service) in module.services.iter().enumerate() {
            self.service(i, service);
        }
        for (i, func) in module.funcs.iter().enumerate() {
            self.out.push('\n');
            self.func(&format!("func f{i}"), func);
        }
        for (i, lambda) in module.lambdas.iter().enumerate() {
            self.out.push('\n');
            self.lambda(&format!("lambda l{i}"), lambda);
        }
        self.out.push('\n');
        self.dispatch(&module.dispatch);
    }

    fn const_item(&mut self, i: usize, item: &Const) {
        self.start();
        self.put(format_args!(
            "const c{i} {}: {} = {}",
            Quoted(&item.name),
            item.shape,
            item.data
        ));
        self.memory(item.memory);
        self.out.push('\n');
    }

    fn memory(&mut self, memory: Option<MemoryRegion>) {
        if let Some(region) = memory {
            self.put(format_args!(" memory {}", region.word()));
        }
    }

    fn param(&mut self, i: usize, param: &Param) {
        self.start();
        self.put(format_args!(
            "param p{i} {}: {}",
            Quoted(&param.name),
            param.shape
        ));
        if param.signed {
            self.put(" signed");
        }
        if let Some(default) = &param.default {
            self.put(format_args!(" = {default}"));
        }
        self.out.push('\n');
    }

    fn object(&mut self, i: usize, object: &Object) {
        self.start();
        self.put(format_args!(
            "object o{i} {} {}",
            Quoted(&object.name),
            Quoted(&object.decl)
        ));
        self.memory(object.memory);
        self.put(" = ");
        match &object.kind {
            ObjectKind::Value { shape, init } => self.put(format_args!("value {shape} = {init}")),
            ObjectKind::Counter { count, array: true } => self.put(format_args!("counter [{count}]")),
            ObjectKind::Counter {
                count: 1,
                array: false,
            } => self.put("counter"),
            ObjectKind::Counter { count, array: false } => self.put(format_args!("counter {count}")),
            ObjectKind::Lru {
                key,
                value,
                capacity,
                ttl,
            } => {
                self.put("lru ");
                self.key(key);
                self.put(format_args!(" -> {value} capacity {capacity}"));
                if let Some(ttl) = ttl {
                    self.put(format_args!(" ttl {ttl}"));
                }
            }
            ObjectKind::Map { key, value, capacity } => {
                self.put("map ");
                self.key(key);
                self.put(format_args!(" -> {value} capacity {capacity}"));
            }
            ObjectKind::Table {
                kind,
                key,
                value,
                capacity,
                entries,
            } => {
                self.put(format_args!("{} ", kind.word()));
                self.key(key);
                self.put(format_args!(" -> {value} capacity {capacity}"));
                self.entries(entries);
            }
        }
        self.out.push('\n');
    }

    fn key(&mut self, parts: &[KeyPart]) {
        self.put("(");
        self.list(parts, |p, part| p.put(part));
        self.put(")");
    }

    fn entries(&mut self, entries: &[TableEntry]) {
        if entries.is_empty() {
            return;
        }
        self.put(" {\n");
        self.indent += 1;
        for entry in entries {
            self.start();
            match &entry.key {
                EntryKey::Exact(parts) => self.data_list(parts),
                EntryKey::Prefix(parts, len) => {
                    self.data_list(parts);
                    self.put(format_args!(" / {len}"));
                }
                EntryKey::Masked(parts, masks) => {
                    self.data_list(parts);
                    self.put(" & ");
                    self.data_list(masks);
                }
                EntryKey::Any => self.put("_"),
            }
            self.put(format_args!(" => {}\n", entry.value));
        }
        self.indent -= 1;
        self.start();
        self.put("}");
    }

    fn data_list(&mut self, items: &[crate::Data]) {
        self.put("(");
        self.list(items, |p, item| p.put(item));
        self.put(")");
    }

    fn service(&mut self, i: usize, service: &Service) {
        let Service {
            name,
            protocol,
            address,
            timeout,
        } = service;
        let (name, address) = (Quoted(name), Quoted(address));
        self.line(format_args!(
            "service svc{i} {name} = {} {address} timeout {timeout}",
            protocol.word()
        ));
    }

    pub(super) fn func(&mut self, head: &str, func: &Func) {
        self.start();
        self.widths.clone_from(&func.body.values);
        self.put(format_args!("{head} {}(", Quoted(&func.name)));
        self.list(&func.params, |p, param| match param {
            FuncParam::Scalar(value) => p.def(*value),
            FuncParam::Ref {
                shape,
                writable: false,
            } => p.put(format_args!("ref {shape}")),
            FuncParam::Ref {
                shape,
                writable: true,
            } => p.put(format_args!("mut {shape}")),
            FuncParam::View => p.put("view"),
        });
        self.put(")");
        if !func.results.is_empty() {
            self.put(" -> (");
            self.list(&func.results, |p, width| p.put(format_args!("i{width}")));
            self.put(")");
        }
        self.put(if func.inline { " inline {\n" } else { " {\n" });
        self.indent += 1;
        let unused = never_defined(
            &func.body,
            scalar_params(&func.params),
            [&func.region].into_iter(),
        );
        self.body_head(&func.body, &unused);
        self.region_lines(&func.region);
        self.indent -= 1;
        self.line("}");
    }

    fn body_head(&mut self, body: &Body, never_defined: &[Value]) {
        if body.labels > 0 {
            self.line(format_args!("labels {}", body.labels));
        }
        if !never_defined.is_empty() {
            self.start();
            self.put("undefined ");
            self.list(never_defined, |p, value| p.def(*value));
            self.out.push('\n');
        }
        for (i, slot) in body.slots.iter().enumerate() {
            let storage = match slot.storage {
                Storage::Frame => "",
                Storage::ReplyBuffer => " reply_buffer",
            };
            self.line(format_args!(
                "slot s{i} {}: {}{storage}",
                Quoted(&slot.name),
                slot.shape
            ));
        }
    }

    pub(super) fn lambda(&mut self, head: &str, lambda: &Lambda) {
        self.start();
        self.widths.clone_from(&lambda.body.values);
        self.put(format_args!("{head} {}", Quoted(&lambda.name)));
        if lambda.stream {
            self.put(" stream");
        }
        self.message("request", &lambda.request_type, lambda.request);
        self.message("reply", &lambda.reply_type, lambda.reply);
        if let Some(deadline) = lambda.deadline {
            self.put(format_args!(" deadline {deadline}"));
        }
        if let Some(side) = lambda.on {
            self.put(format_args!(" on {}", side.word()));
        }
        self.put(" {\n");
        self.indent += 1;
        let params = lambda.parts.iter().flat_map(|part| part.params.iter().copied());
        let regions = lambda.parts.iter().map(|part| &part.region);
        let unused = never_defined(&lambda.body, params, regions);
        self.body_head(&lambda.body, &unused);
        for (i, part) in lambda.parts.iter().enumerate() {
            self.start();
            self.put(format_args!("part{i}("));
            self.list(&part.params, |p, value| p.def(*value));
            self.put(")");
            if !part.live_slots.is_empty() {
                self.put(" live (");
                self.list(&part.live_slots, |p, slot| p.put(slot));
                self.put(")");
            }
            self.put(" ");
            self.braced(&part.region);
            self.out.push('\n');
        }
        self.indent -= 1;
        self.line("}");
    }

    fn message(&mut self, word: &str, ty: &str, size: MessageSize) {
        self.put(format_args!(" {word} {} {}..{}", Quoted(ty), size.min, size.max));
    }

    fn dispatch(&mut self, dispatch: &Dispatch) {
        match dispatch {
            Dispatch::Only(lambda) => self.line(format_args!("dispatch only {lambda}")),
            Dispatch::Unreachable => self.line("dispatch unreachable"),
            Dispatch::Match(Match { min_len, rules }) => {
                self.line(format_args!("dispatch match min {min_len} {{"));
                self.indent += 1;
                for rule in rules {
                    self.rule(rule);
                }
                self.indent -= 1;
                self.line("}");
            }
        }
    }

    fn rule(&mut self, rule: &Rule) {
        self.start();
        self.cond(&rule.cond);
        self.put(" => ");
        match rule.target {
            Target::Lambda(lambda) => self.put(lambda),
            Target::Drop => self.put("drop"),
            Target::Punt => self.put("punt"),
        }
        self.loc(rule.loc);
        self.out.push('\n');
    }

    /// A position after a space, where there is one.
    pub(super) fn loc(&mut self, loc: Loc) {
        if loc != Loc::default() {
            self.put(format_args!(" {loc}"));
        }
    }

    fn cond(&mut self, cond: &Cond) {
        match cond {
            Cond::True => self.put("true"),
            Cond::Not(inner) => {
                self.put("not(");
                self.cond(inner);
                self.put(")");
            }
            Cond::All(items) => self.conds("all", items),
            Cond::Any(items) => self.conds("any", items),
            Cond::Cmp {
                field,
                op,
                swapped: false,
                value,
            } => {
                self.field(*field);
                self.put(format_args!(" {} {value}", op.word()));
            }
            Cond::Cmp {
                field,
                op,
                swapped: true,
                value,
            } => {
                self.put(format_args!("{value} {} ", op.word()));
                self.field(*field);
            }
            Cond::Range { field, lo, hi } => {
                self.field(*field);
                self.put(format_args!(" in {lo}..{hi}"));
            }
            Cond::Masked { field, mask, value } => {
                self.field(*field);
                self.put(format_args!(" & {mask} == {value}"));
            }
            Cond::Has { table, key } => {
                self.put(format_args!("has {table}("));
                self.list(key, |p, part| p.key_field(part));
                self.put(")");
            }
            Cond::Eval(func) => {
                self.put("eval ");
                let start = self.out.len();
                self.func("func", func);
                // The function ends its line and starts it indented; the rule goes on with it.
                let text = self.out.split_off(start);
                self.put(text.trim());
            }
        }
    }

    fn conds(&mut self, word: &str, items: &[Cond]) {
        self.put(format_args!("{word}("));
        self.list(items, |p, item| p.cond(item));
        self.put(")");
    }

    fn field(&mut self, field: Field) {
        match field {
            Field::Bits { bit, width } => self.put(format_args!("bits({bit}, i{width})")),
            Field::Pkt(field) => self.put(format_args!("pkt({})", field.name())),
            Field::Rest { offset, max } => self.put(format_args!("rest({offset}, {max})")),
        }
    }

    fn key_field(&mut self, key: &KeyField) {
        match key {
            KeyField::Field(field) => self.field(*field),
            KeyField::Const(value) => self.put(value),
            KeyField::Bytes { offset, len } => self.put(format_args!("bytes({offset}, {len})")),
        }
    }
}
