//! A parser of the P4_16 subset that the emitter prints, by the specification's grammar.

use super::lexer::{Token, tokens};
use super::tree::{Expr, Item, Kind, Local, Param, State, Stmt, Table, Type};

type Result<T> = std::result::Result<T, String>;

/// Operators with two operands, those that bind weakest first (P4_16 specification, grammar).
const LEVELS: [&[&str]; 11] = [
    &["&&&"],
    &["||"],
    &["&&"],
    &["==", "!="],
    &["<", ">", "<=", ">="],
    &["|"],
    &["^"],
    &["&"],
    &["<<", ">>"],
    &["++", "+", "-"],
    &["*", "/", "%"],
];

pub fn parse(text: &str) -> Result<Vec<Item>> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
    };
    let mut items = Vec::new();
    while *parser.peek() != Token::End {
        items.push(parser.item()?);
    }
    Ok(items)
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn ahead(&self, by: usize) -> &Token {
        self.tokens
            .get(self.at + by)
            .map_or(&Token::End, |(token, _)| token)
    }

    fn line(&self) -> usize {
        self.tokens[self.at].1
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn fail<T>(&self, wanted: &str) -> Result<T> {
        Err(format!(
            "line {}: {wanted} wanted, not {:?}",
            self.line(),
            self.peek()
        ))
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(found) if *found == sign)
    }

    fn word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Name(name) if name == word)
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.is(sign) || self.word(sign);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<()> {
        if self.eat(sign) { Ok(()) } else { self.fail(sign) }
    }

    fn name(&mut self) -> Result<String> {
        match self.next() {
            Token::Name(name) => Ok(name),
            _ => self.fail("a name"),
        }
    }

    fn size(&mut self) -> Result<u64> {
        match self.next() {
            Token::Number(None, bytes) => Ok(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))),
            _ => self.fail("a number"),
        }
    }

    /// Things with commas between them, up to a sign.
    fn list<T>(&mut self, end: &str, mut one: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while !self.eat(end) {
            items.push(one(self)?);
            if !self.eat(",") {
                self.expect(end)?;
                break;
            }
        }
        Ok(items)
    }

    fn block<T>(&mut self, mut one: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.expect("{")?;
        let mut items = Vec::new();
        while !self.eat("}") {
            items.push(one(self)?);
        }
        Ok(items)
    }

    /// `@name` or `@name("text")`.
    fn annotations(&mut self) -> Result<()> {
        while self.eat("@") {
            self.name()?;
            if self.eat("(") {
                self.next();
                self.expect(")")?;
            }
        }
        Ok(())
    }

    fn ty(&mut self) -> Result<Type> {
        let name = self.name()?;
        if name == "bool" {
            return Ok(Type::Bool);
        }
        if !self.eat("<") {
            if self.is("[") {
                self.next();
                let len = self.size()?;
                self.expect("]")?;
                return Ok(Type::Stack(name, len as u32));
            }
            return Ok(Type::Named(name));
        }
        let ty = match name.as_str() {
            "bit" => Type::Bit(self.size()? as u32),
            "int" => Type::Int(self.size()? as u32),
            "register" => match self.ty()? {
                Type::Bit(width) => Type::Register(width),
                _ => return self.fail("bits"),
            },
            _ => return self.fail("a type"),
        };
        self.close()?;
        Ok(ty)
    }

    /// The end of a type's arguments; two of them are one word.
    fn close(&mut self) -> Result<()> {
        if self.is(">>") {
            self.tokens[self.at].0 = Token::Sign(">");
            return Ok(());
        }
        self.expect(">")
    }

    fn params(&mut self) -> Result<Vec<Param>> {
        self.expect("(")?;
        self.list(")", |this| {
            for direction in ["inout", "in", "out"] {
                if this.eat(direction) {
                    break;
                }
            }
            let ty = this.ty()?;
            let name = this.name()?;
            Ok(Param { ty, name })
        })
    }

    fn fields(&mut self) -> Result<Vec<Param>> {
        self.block(|this| {
            this.annotations()?;
            let ty = this.ty()?;
            let name = this.name()?;
            this.expect(";")?;
            Ok(Param { ty, name })
        })
    }

    fn item(&mut self) -> Result<Item> {
        if self.eat("#") {
            if self.eat("ifdef") {
                return self.choice();
            }
            self.expect("include")?;
            self.expect("<")?;
            let name = self.name()?;
            self.expect(".")?;
            let extension = self.name()?;
            self.expect(">")?;
            return Ok(Item::Include(format!("{name}.{extension}")));
        }
        self.annotations()?;
        let word = self.name()?;
        match word.as_str() {
            "const" => {
                let (ty, name) = (self.ty()?, self.name()?);
                self.expect("=")?;
                let value = self.expr()?;
                self.expect(";")?;
                Ok(Item::Const(ty, name, value))
            }
            "typedef" => {
                let (ty, name) = (self.ty()?, self.name()?);
                self.expect(";")?;
                Ok(Item::Typedef(ty, name))
            }
            "extern" => {
                self.expect("void")?;
                let name = self.name()?;
                self.expect("(")?;
                self.expect(")")?;
                self.expect(";")?;
                Ok(Item::Extern(name))
            }
            "header" => Ok(Item::Header(self.name()?, self.fields()?)),
            "struct" => Ok(Item::Struct(self.name()?, self.fields()?)),
            "parser" => {
                let (name, params) = (self.name()?, self.params()?);
                let states = self.block(Self::state)?;
                Ok(Item::Parser(name, params, states))
            }
            "control" => self.control(),
            package => {
                self.expect("(")?;
                let parts = self.list(")", |this| {
                    let name = this.name()?;
                    this.expect("(")?;
                    this.expect(")")?;
                    Ok(name)
                })?;
                let name = self.name()?;
                self.expect(";")?;
                if name != "main" {
                    return self.fail("main");
                }
                Ok(Item::Package(package.to_owned(), parts))
            }
        }
    }

    /// `NAME`, items, `#else`, items, `#endif`.
    fn choice(&mut self) -> Result<Item> {
        let name = self.name()?;
        let mut sides = [Vec::new(), Vec::new()];
        for (side, end) in sides.iter_mut().zip(["else", "endif"]) {
            while !(self.is("#") && matches!(self.ahead(1), Token::Name(word) if word == end)) {
                side.push(self.item()?);
            }
            self.expect("#")?;
            self.expect(end)?;
        }
        let [then, other] = sides;
        Ok(Item::IfDefined(name, then, other))
    }

    fn state(&mut self) -> Result<State> {
        self.expect("state")?;
        let name = self.name()?;
        self.expect("{")?;
        let mut body = Vec::new();
        while !self.eat("transition") {
            body.push(self.stmt()?);
        }
        let (mut keys, mut cases) = (Vec::new(), Vec::new());
        if self.eat("select") {
            self.expect("(")?;
            keys = self.list(")", Self::expr)?;
            cases = self.block(|this| {
                let patterns = if this.eat("default") {
                    Vec::new()
                } else {
                    this.patterns()?
                };
                this.expect(":")?;
                let to = this.name()?;
                this.expect(";")?;
                Ok((patterns, to))
            })?;
        } else {
            cases.push((Vec::new(), self.name()?));
            self.expect(";")?;
        }
        self.expect("}")?;
        Ok(State {
            name,
            body,
            keys,
            cases,
        })
    }

    /// One pattern, or several in parentheses.
    fn patterns(&mut self) -> Result<Vec<Expr>> {
        if self.eat("(") {
            return self.list(")", Self::expr);
        }
        Ok(vec![self.expr()?])
    }

    fn control(&mut self) -> Result<Item> {
        let (name, params) = (self.name()?, self.params()?);
        self.expect("{")?;
        let mut locals = Vec::new();
        while !self.eat("apply") {
            locals.push(self.local()?);
        }
        let apply = self.block(Self::stmt)?;
        self.expect("}")?;
        Ok(Item::Control(name, params, locals, apply))
    }

    fn local(&mut self) -> Result<Local> {
        if self.eat("action") {
            let (name, params) = (self.name()?, self.params()?);
            return Ok(Local::Action(name, params, self.block(Self::stmt)?));
        }
        if self.eat("table") {
            return self.table();
        }
        let ty = self.ty()?;
        if matches!(ty, Type::Bool | Type::Bit(_)) {
            let name = self.name()?;
            self.expect(";")?;
            return Ok(Local::Var(ty, name));
        }
        self.expect("(")?;
        let size = self.size()?;
        let counts = matches!(&ty, Type::Named(name) if name == "counter");
        if counts {
            for sign in [",", "CounterType", ".", "packets"] {
                self.expect(sign)?;
            }
        }
        self.expect(")")?;
        let name = self.name()?;
        self.expect(";")?;
        match ty {
            Type::Register(width) => Ok(Local::Register(width, size, name)),
            _ if counts => Ok(Local::Counter(size, name)),
            _ => self.fail("a register or a counter"),
        }
    }

    fn table(&mut self) -> Result<Local> {
        let mut table = Table {
            name: self.name()?,
            keys: Vec::new(),
            actions: Vec::new(),
            default: (String::new(), Vec::new()),
            entries: Vec::new(),
        };
        self.expect("{")?;
        while !self.eat("}") {
            self.eat("const");
            let property = self.name()?;
            self.expect("=")?;
            match property.as_str() {
                "key" => {
                    table.keys = self.block(|this| {
                        let expr = this.expr()?;
                        this.expect(":")?;
                        let kind = this.name()?;
                        this.annotations()?;
                        this.expect(";")?;
                        Ok((expr, kind))
                    })?;
                }
                "actions" => {
                    table.actions = self.block(|this| {
                        let name = this.name()?;
                        this.expect(";")?;
                        Ok(name)
                    })?;
                }
                "default_action" => {
                    table.default = self.bound()?;
                    self.expect(";")?;
                }
                "entries" => {
                    table.entries = self.block(|this| {
                        let patterns = this.patterns()?;
                        this.expect(":")?;
                        let (action, args) = this.bound()?;
                        this.expect(";")?;
                        Ok((patterns, action, args))
                    })?;
                }
                "size" => {
                    self.size()?;
                    self.expect(";")?;
                }
                _ => return self.fail("a property of a table"),
            }
        }
        Ok(Local::Table(table))
    }

    fn bound(&mut self) -> Result<(String, Vec<Expr>)> {
        let name = self.name()?;
        self.expect("(")?;
        Ok((name, self.list(")", Self::expr)?))
    }

    fn stmt(&mut self) -> Result<Stmt> {
        if self.eat("if") {
            return self.branch();
        }
        if self.eat("for") {
            self.expect("(")?;
            let first = if self.is(";") {
                None
            } else {
                Some(Box::new(self.simple()?))
            };
            self.expect(";")?;
            let cond = self.expr()?;
            self.expect(";")?;
            let step = if self.is(")") {
                None
            } else {
                Some(Box::new(self.simple()?))
            };
            self.expect(")")?;
            return Ok(Stmt::For(first, cond, step, self.block(Self::stmt)?));
        }
        let stmt = if self.eat("break") {
            Stmt::Break
        } else if self.eat("continue") {
            Stmt::Continue
        } else {
            self.simple()?
        };
        self.expect(";")?;
        Ok(stmt)
    }

    fn branch(&mut self) -> Result<Stmt> {
        self.expect("(")?;
        let cond = self.expr()?;
        self.expect(")")?;
        let then = self.block(Self::stmt)?;
        let other = match () {
            () if !self.eat("else") => Vec::new(),
            () if self.eat("if") => vec![self.branch()?],
            () => self.block(Self::stmt)?,
        };
        Ok(Stmt::If(cond, then, other))
    }

    /// A declaration, an assignment, or a call.
    fn simple(&mut self) -> Result<Stmt> {
        let declares = self.word("bool") || (self.word("bit") && *self.ahead(1) == Token::Sign("<"));
        if declares {
            let (ty, name) = (self.ty()?, self.name()?);
            let value = if self.eat("=") { Some(self.expr()?) } else { None };
            return Ok(Stmt::Var(ty, name, value));
        }
        let place = self.expr()?;
        if self.eat("=") {
            return Ok(Stmt::Assign(place, self.expr()?));
        }
        Ok(Stmt::Call(place))
    }

    fn expr(&mut self) -> Result<Expr> {
        let line = self.line();
        let cond = self.level(0)?;
        if !self.eat("?") {
            return Ok(cond);
        }
        let then = self.expr()?;
        self.expect(":")?;
        let other = self.expr()?;
        let kind = Kind::Select(Box::new(cond), Box::new(then), Box::new(other));
        Ok(Expr { kind, line })
    }

    fn level(&mut self, level: usize) -> Result<Expr> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let mut left = self.level(level + 1)?;
        while let Some(op) = operators.iter().find(|op| self.is(op)) {
            let line = self.line();
            self.next();
            let right = self.level(level + 1)?;
            let kind = Kind::Binary(op, Box::new(left), Box::new(right));
            left = Expr { kind, line };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr> {
        let line = self.line();
        for op in ["!", "~", "-"] {
            if self.eat(op) {
                let kind = Kind::Unary(op, Box::new(self.unary()?));
                return Ok(Expr { kind, line });
            }
        }
        let casts = self.is("(")
            && matches!(self.ahead(1), Token::Name(name) if ["bit", "int", "bool"].contains(&name.as_str()));
        if casts {
            self.next();
            let ty = self.ty()?;
            self.expect(")")?;
            let kind = Kind::Cast(ty, Box::new(self.unary()?));
            return Ok(Expr { kind, line });
        }
        self.postfix()
    }

    fn postfix(&mut self) -> Result<Expr> {
        let line = self.line();
        let mut expr = self.primary()?;
        loop {
            let kind = if self.eat(".") {
                Kind::Member(Box::new(expr), self.name()?)
            } else if self.eat("(") {
                Kind::Call(Box::new(expr), self.list(")", Self::expr)?)
            } else if self.eat("[") {
                let index = self.expr()?;
                if self.eat(":") {
                    let Kind::Number(None, high) = &index.kind else {
                        return self.fail("a bit's number");
                    };
                    let high = high.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
                    let low = self.size()? as u32;
                    self.expect("]")?;
                    Kind::Slice(Box::new(expr), high, low)
                } else {
                    self.expect("]")?;
                    Kind::Index(Box::new(expr), Box::new(index))
                }
            } else {
                return Ok(expr);
            };
            expr = Expr { kind, line };
        }
    }

    fn primary(&mut self) -> Result<Expr> {
        let line = self.line();
        let kind = match self.next() {
            Token::Name(name) if name == "true" || name == "false" => Kind::Bool(name == "true"),
            Token::Name(name) => Kind::Name(name),
            Token::Number(width, bytes) => Kind::Number(width, bytes),
            Token::Text(_) => Kind::Text,
            Token::Sign("_") => Kind::Any,
            Token::Sign("(") => {
                let inner = self.expr()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Sign("{") => Kind::List(self.list("}", Self::expr)?),
            _ => return self.fail("an expression"),
        };
        Ok(Expr { kind, line })
    }
}
