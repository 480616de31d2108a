//! Items: everything outside bodies.

use super::{Parser, Result1};
use crate::lexer::Kind;
use crate::{
    CmpOp, Cond, Const, Data, Dispatch, EntryKey, Field, KeyField, LambdaId, Match, MemoryRegion,
    MessageSize, Module, Object, ObjectId, ObjectKind, Param, PktField, Protocol, Rule, Service, TableEntry,
    TableKind, Target,
};

impl Parser<'_> {
    pub(super) fn module(&mut self) -> Result1<Module> {
        self.keyword("module")?;
        let mut module = Module {
            name: self.text()?,
            files: Vec::new(),
            consts: Vec::new(),
            params: Vec::new(),
            objects: Vec::new(),
            services: Vec::new(),
            funcs: Vec::new(),
            lambdas: Vec::new(),
            dispatch: Dispatch::Unreachable,
        };
        loop {
            match self.word() {
                "file" => {
                    self.advance()?;
                    module.files.push(self.text()?);
                }
                "const" => {
                    self.advance()?;
                    self.next_id("c", module.consts.len())?;
                    module.consts.push(self.const_item()?);
                }
                "param" => {
                    self.advance()?;
                    self.next_id("p", module.params.len())?;
                    module.params.push(self.param()?);
                }
                "object" => {
                    self.advance()?;
                    self.next_id("o", module.objects.len())?;
                    module.objects.push(self.object()?);
                }
                "service" => {
                    self.advance()?;
                    self.next_id("svc", module.services.len())?;
                    module.services.push(self.service()?);
                }
                "func" => {
                    self.advance()?;
                    self.next_id("f", module.funcs.len())?;
                    module.funcs.push(self.func()?);
                }
                "lambda" => {
                    self.advance()?;
                    self.next_id("l", module.lambdas.len())?;
                    module.lambdas.push(self.lambda()?);
                }
                "dispatch" => {
                    self.advance()?;
                    module.dispatch = self.dispatch()?;
                    return Ok(module);
                }
                _ => return self.expected("an item, or `dispatch` as the last"),
            }
        }
    }

    fn memory(&mut self) -> Result1<Option<MemoryRegion>> {
        if !self.eat_word("memory")? {
            return Ok(None);
        }
        self.named("a memory", MemoryRegion::from_word).map(Some)
    }

    fn const_item(&mut self) -> Result1<Const> {
        let name = self.text()?;
        self.sign(":")?;
        let shape = self.shape()?;
        self.sign("=")?;
        let data = self.data()?;
        Ok(Const {
            name,
            shape,
            data,
            memory: self.memory()?,
        })
    }

    fn param(&mut self) -> Result1<Param> {
        let name = self.text()?;
        self.sign(":")?;
        let shape = self.shape()?;
        let signed = self.eat_word("signed")?;
        let default = if self.eat_sign("=")? {
            Some(self.data()?)
        } else {
            None
        };
        Ok(Param {
            name,
            shape,
            signed,
            default,
        })
    }

    fn object(&mut self) -> Result1<Object> {
        let name = self.text()?;
        let decl = self.text()?;
        let memory = self.memory()?;
        self.sign("=")?;
        Ok(Object {
            name,
            kind: self.object_kind()?,
            memory,
            decl,
        })
    }

    fn object_kind(&mut self) -> Result1<ObjectKind> {
        let word = self.word();
        if let Some(kind) = TableKind::from_word(word) {
            self.advance()?;
            return self.table(kind);
        }
        if !matches!(word, "value" | "counter" | "lru" | "map") {
            return self.expected("`value`, `counter`, `lru`, `map`, `exact`, `lpm` or `ternary`");
        }
        self.advance()?;
        match word {
            "value" => {
                let shape = self.shape()?;
                self.sign("=")?;
                Ok(ObjectKind::Value {
                    shape,
                    init: self.data()?,
                })
            }
            "counter" => self.counter(),
            "lru" => {
                let (key, value, capacity) = self.keyed()?;
                let ttl = if self.eat_word("ttl")? {
                    Some(self.int()?)
                } else {
                    None
                };
                Ok(ObjectKind::Lru {
                    key,
                    value,
                    capacity,
                    ttl,
                })
            }
            _ => {
                let (key, value, capacity) = self.keyed()?;
                Ok(ObjectKind::Map { key, value, capacity })
            }
        }
    }

    fn counter(&mut self) -> Result1<ObjectKind> {
        if self.eat_sign("[")? {
            let count = self.small()?;
            self.sign("]")?;
            return Ok(ObjectKind::Counter { count, array: true });
        }
        let count = match self.token.kind {
            Kind::Int(_) => self.small()?,
            _ => 1,
        };
        Ok(ObjectKind::Counter { count, array: false })
    }

    fn keyed(&mut self) -> Result1<(Vec<crate::KeyPart>, crate::Shape, u32)> {
        let key = self.parens(Self::key_part)?;
        self.sign("->")?;
        let value = self.shape()?;
        self.keyword("capacity")?;
        Ok((key, value, self.small()?))
    }

    fn table(&mut self, kind: TableKind) -> Result1<ObjectKind> {
        let (key, value, capacity) = self.keyed()?;
        let mut entries = Vec::new();
        if self.eat_sign("{")? {
            while !self.eat_sign("}")? {
                entries.push(self.entry()?);
            }
        }
        Ok(ObjectKind::Table {
            kind,
            key,
            value,
            capacity,
            entries,
        })
    }

    fn entry(&mut self) -> Result1<TableEntry> {
        let key = if self.eat_word("_")? {
            EntryKey::Any
        } else {
            let parts: Vec<Data> = self.parens(Self::data)?;
            if self.eat_sign("/")? {
                EntryKey::Prefix(parts, self.small()?)
            } else if self.eat_sign("&")? {
                EntryKey::Masked(parts, self.parens(Self::data)?)
            } else {
                EntryKey::Exact(parts)
            }
        };
        self.sign("=>")?;
        Ok(TableEntry {
            key,
            value: self.data()?,
        })
    }

    fn service(&mut self) -> Result1<Service> {
        let name = self.text()?;
        self.sign("=")?;
        let protocol = self.named("a protocol", Protocol::from_word)?;
        let address = self.text()?;
        self.keyword("timeout")?;
        Ok(Service {
            name,
            protocol,
            address,
            timeout: self.int()?,
        })
    }

    /// `"bytes<64>" 0..64`, after its word.
    pub(super) fn message(&mut self, word: &str) -> Result1<(std::sync::Arc<str>, MessageSize)> {
        self.keyword(word)?;
        let ty = self.text()?;
        let min = self.small()?;
        self.sign("..")?;
        Ok((
            ty,
            MessageSize {
                min,
                max: self.small()?,
            },
        ))
    }

    fn dispatch(&mut self) -> Result1<Dispatch> {
        match self.word() {
            "only" => {
                self.advance()?;
                Ok(Dispatch::Only(LambdaId(self.id("l")?)))
            }
            "unreachable" => {
                self.advance()?;
                Ok(Dispatch::Unreachable)
            }
            "match" => {
                self.advance()?;
                self.keyword("min")?;
                let min_len = self.small()?;
                self.sign("{")?;
                let mut rules = Vec::new();
                while !self.eat_sign("}")? {
                    rules.push(self.rule()?);
                }
                Ok(Dispatch::Match(Match { min_len, rules }))
            }
            _ => self.expected("`only`, `unreachable` or `match`"),
        }
    }

    fn rule(&mut self) -> Result1<Rule> {
        let cond = self.deeper(Self::cond)?;
        self.sign("=>")?;
        let target = if self.eat_word("drop")? {
            Target::Drop
        } else if self.eat_word("punt")? {
            Target::Punt
        } else {
            Target::Lambda(LambdaId(self.id("l")?))
        };
        Ok(Rule {
            cond,
            target,
            loc: self.loc()?,
        })
    }

    fn cond(&mut self) -> Result1<Cond> {
        match self.word() {
            "true" => {
                self.advance()?;
                Ok(Cond::True)
            }
            "not" => {
                self.advance()?;
                self.sign("(")?;
                let inner = self.deeper(Self::cond)?;
                self.sign(")")?;
                Ok(Cond::Not(Box::new(inner)))
            }
            "all" => {
                self.advance()?;
                self.parens(|p| p.deeper(Self::cond)).map(Cond::All)
            }
            "any" => {
                self.advance()?;
                self.parens(|p| p.deeper(Self::cond)).map(Cond::Any)
            }
            "has" => {
                self.advance()?;
                let table = ObjectId(self.id("o")?);
                Ok(Cond::Has {
                    table,
                    key: self.parens(Self::key_field)?,
                })
            }
            "eval" => {
                self.advance()?;
                self.keyword("func")?;
                Ok(Cond::Eval(Box::new(self.func()?)))
            }
            _ => self.comparison(),
        }
    }

    fn comparison(&mut self) -> Result1<Cond> {
        if let Kind::Int(value) = self.token.kind {
            self.advance()?;
            let op = self.named("a comparison", CmpOp::from_word)?;
            return Ok(Cond::Cmp {
                field: self.field()?,
                op,
                swapped: true,
                value,
            });
        }
        let field = self.field()?;
        if self.eat_word("in")? {
            let lo = self.int()?;
            self.sign("..")?;
            return Ok(Cond::Range {
                field,
                lo,
                hi: self.int()?,
            });
        }
        if self.eat_sign("&")? {
            let mask = self.int()?;
            self.sign("==")?;
            return Ok(Cond::Masked {
                field,
                mask,
                value: self.int()?,
            });
        }
        let op = self.named("a comparison, `in` or `&`", CmpOp::from_word)?;
        Ok(Cond::Cmp {
            field,
            op,
            swapped: false,
            value: self.int()?,
        })
    }

    fn field(&mut self) -> Result1<Field> {
        let word = self.word();
        if !matches!(word, "bits" | "pkt" | "rest") {
            return self.expected("a condition or a field");
        }
        self.advance()?;
        self.sign("(")?;
        let field = match word {
            "bits" => {
                let bit = self.small()?;
                self.sign(",")?;
                Field::Bits {
                    bit,
                    width: self.width()?,
                }
            }
            "pkt" => Field::Pkt(self.pkt_field()?),
            _ => {
                let offset = self.small()?;
                self.sign(",")?;
                Field::Rest {
                    offset,
                    max: self.small()?,
                }
            }
        };
        self.sign(")")?;
        Ok(field)
    }

    pub(super) fn pkt_field(&mut self) -> Result1<PktField> {
        self.named("a field of the packet", |word| {
            PktField::ALL.into_iter().find(|field| field.name() == word)
        })
    }

    fn key_field(&mut self) -> Result1<KeyField> {
        if let Kind::Int(value) = self.token.kind {
            self.advance()?;
            return Ok(KeyField::Const(value));
        }
        if !self.eat_word("bytes")? {
            return self.field().map(KeyField::Field);
        }
        self.sign("(")?;
        let offset = self.small()?;
        self.sign(",")?;
        let len = self.small()?;
        self.sign(")")?;
        Ok(KeyField::Bytes { offset, len })
    }
}
