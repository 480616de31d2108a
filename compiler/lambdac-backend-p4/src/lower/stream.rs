//! A stream lambda: a loop over the chunks of a packet, whose replies are put one behind the other.
//!
//! The match stage runs once a packet, so only a stream that no match stands before is written so. How many bytes all
//! packets of a message but the last have is in the table `streams`, where the rules of the wire find it.

use std::rc::Rc;

use lambdac_image::{Image, Leaf, Node};
use lambdac_mir::Lambda;

use super::code::{Bytes, Code, Ended, Ends};
use super::control::Goal;
use super::lambda::{self, MAX_PAYLOAD, REPLY, fail, set, status, verdict};
use super::memory::{WORD, WORD_BYTES};
use super::op::sum;
use super::scalar::resized;
use super::unit::{self, Unit};
use crate::ast::{
    Action, Binary, Direction, Entry, Expr, For, Key, Local, MatchKind, Param, Stmt, Table, Type,
};
use crate::legal::{REQUEST, Refusal};

/// The name of the table that knows streams.
pub(super) const STREAMS: &str = "streams";

/// Bytes of all packets of a message but the last (wire, "Sizes").
fn fragment(lambda: &Lambda) -> u32 {
    let (chunk, reply) = (lambda.request.max, lambda.reply.max);
    let most = |size: u32| MAX_PAYLOAD.checked_div(size).unwrap_or(u32::MAX);
    most(chunk)
        .min(most(reply))
        .saturating_mul(chunk)
        .min(MAX_PAYLOAD)
}

/// Whether a workload's requests go straight to an entry.
pub(super) fn check(image: &Image, entry: usize) -> Result<(), Refusal> {
    let own = &image.entries[entry];
    let id = image.workloads[own.workload].id;
    let runs = |to: &lambdac_image::NodeId| image.stage.nodes[to.index()] == Node::Leaf(Leaf::Run(entry));
    let straight = image.stage.nodes.iter().any(|node| match node {
        Node::Workload { id: wanted, then, .. } => *wanted == id && runs(then),
        Node::Table {
            key: lambdac_image::Key::Workload,
            entries,
            ..
        } => entries
            .iter()
            .any(|(wanted, to)| *wanted == u64::from(id) && runs(to)),
        _ => false,
    });
    match straight {
        true => Ok(()),
        false => Err(Refusal::new(
            REQUEST,
            "it is a stream behind a match, which looks at each chunk",
        )),
    }
}

/// The action and the table of the streams among the entries, by workload; none if there are none.
pub(super) fn table(image: &Image, native: &[bool]) -> Vec<Local> {
    let mut entries = Vec::new();
    for (entry, _) in image.entries.iter().zip(native).filter(|(_, native)| **native) {
        let lambda = &image.module.lambdas[entry.lambda.index()];
        if lambda.stream {
            entries.push(Entry {
                keys: vec![Expr::bits(32, image.workloads[entry.workload].id.into())],
                action: "stream_of".to_owned(),
                args: vec![Expr::bits(16, fragment(lambda).into())],
            });
        }
    }
    if entries.is_empty() {
        return Vec::new();
    }
    let action = Action {
        name: "stream_of".to_owned(),
        params: vec![Param::new(Direction::None, Type::Bit(16), "fragment")],
        body: vec![set("fragment", Expr::name("fragment"))],
    };
    let table = Table {
        name: STREAMS.to_owned(),
        keys: vec![Key {
            expr: Expr::path("hdr.lambda.workload"),
            kind: MatchKind::Exact,
            name: "workload".to_owned(),
            width: 32,
        }],
        actions: vec!["stream_of".to_owned(), "NoAction".to_owned()],
        default: ("NoAction".to_owned(), Vec::new()),
        const_default: true,
        entries,
        size: None,
    };
    vec![Local::Action(action), Local::Table(table)]
}

/// The action of a stream lambda.
pub(super) fn action<'m>(unit: &mut Unit<'m>, lambda: &'m Lambda, name: &str) -> Result<Action, Refusal> {
    let part = &lambda.parts[0];
    let ends = Rc::new(Chunks {
        word: Expr::name("word"),
        filled: Expr::name("filled"),
    });
    let request = Bytes {
        start: Expr::name("at"),
        len: Expr::name("chunk"),
        ..lambda::request()
    };
    let mut code = Code::new(unit, name, request, ends.clone());
    let (at, chunk) = (code.wide("at", 32), code.wide("chunk", 32));
    code.wide("word", WORD);
    code.wide("filled", 32);
    code.enter(&lambda.body, &part.region, Vec::new());
    let size = lambda.request;
    let most = Expr::bits(32, size.max.into());
    let length = || Expr::path("meta.length");
    let fine = || Expr::path("meta.status").binary(Binary::Eq, Expr::bits(8, 0));
    if size.min > 0 {
        let empty = length().binary(Binary::Eq, Expr::bits(32, 0));
        code.push(Stmt::If(empty, fail(status::BAD_REQUEST), Vec::new()));
    }
    let one = code.inside_loop(|code| {
        let left = length().binary(Binary::Sub, at.clone());
        let whole = left.clone().binary(Binary::Gt, most.clone());
        code.assign(chunk.clone(), whole.select(most.clone(), left));
        let body = code.apart(|code| code.whole(Goal::End, &part.region, Vec::new()))?;
        if size.min == 0 {
            code.out.extend(body);
            return Ok(());
        }
        let short = chunk.clone().binary(Binary::Lt, Expr::bits(32, size.min.into()));
        code.push(Stmt::If(short, fail(status::BAD_REQUEST), body));
        Ok(())
    })?;
    let more = at.clone().binary(Binary::Lt, length());
    code.push(Stmt::For(Box::new(For {
        first: Some(Stmt::Assign(at.clone(), Expr::bits(32, 0))),
        cond: fine().binary(Binary::AndAnd, more),
        step: Some(Stmt::Assign(at.clone(), sum(at, most))),
        body: one,
    })));
    let answered = code.apart(|code| {
        code.last_word(&ends.word, &ends.filled);
        code.push(set("reply_length", resized(ends.filled.clone(), 32, 16)));
        code.push(set("verdict", Expr::name(verdict::REPLY)));
        Ok(())
    })?;
    code.push(Stmt::If(fine(), answered, Vec::new()));
    Ok(Action {
        name: name.to_owned(),
        params: Vec::new(),
        body: code.finish(),
    })
}

/// How a chunk ends: its reply goes behind those before.
struct Chunks {
    /// The reply's last bytes.
    word: Expr,
    /// Bytes of the reply so far.
    filled: Expr,
}

impl<'m> Ends<'m> for Chunks {
    fn reply(&self, code: &mut Code<'_, 'm>, bytes: &Bytes) -> Result<(), Refusal> {
        let (home, start) = (bytes.home.clone(), bytes.start.clone());
        let (word, filled) = (self.word.clone(), self.filled.clone());
        code.count(bytes.len.clone(), |code, index| {
            let byte = resized(code.byte(&home, &sum(start, index)), 8, WORD);
            let shifted = word.clone().binary(Binary::Shl, Expr::Number(8));
            code.assign(word.clone(), shifted.binary(Binary::Or, byte));
            let number = filled.clone().binary(Binary::Shr, Expr::Number(5));
            let last = filled.clone().cast(Type::Bit(5));
            let full = last.binary(Binary::Eq, Expr::bits(5, u64::from(WORD_BYTES) - 1));
            let write = unit::write(REPLY, number, word.clone());
            code.push(Stmt::If(full, vec![write], Vec::new()));
            code.assign(filled.clone(), sum(filled, Expr::bits(32, 1)));
        });
        Ok(())
    }

    fn ended(&self, how: Ended) -> Vec<Stmt> {
        match how {
            Ended::Trap(cause) => lambda::trap(cause),
            // A stream neither drops nor punts (language, section 4).
            Ended::Drop | Ended::Punt(_) => Vec::new(),
        }
    }
}
