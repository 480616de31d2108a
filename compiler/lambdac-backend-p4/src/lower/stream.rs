//! A stream lambda: a loop over the chunks of a packet, whose replies are put one behind the other.
//!
//! Where a match picks the lambda of each chunk, what the loop does is [`super::chunks`]'s. How many bytes all packets of a
//! message but the last have is in the table `streams`, where the rules of the wire find it.

use std::rc::Rc;

use lambdac_image::Image;
use lambdac_mir::{Lambda, MessageSize};

use super::code::{Bytes, Code, Ended, Ends};
use super::control::Goal;
use super::lambda::{self, MAX_PAYLOAD, REPLY, fail, set, status, verdict};
use super::memory::{WORD, WORD_BYTES};
use super::op::sum;
use super::routine::Routine;
use super::scalar::resized;
use super::unit::{self, Unit};
use crate::ast::{
    Action, Binary, Direction, Entry, Expr, For, Key, Local, MatchKind, Param, Stmt, Table, Trips, Type,
};
use crate::legal::{CODE, Refusal};

/// The name of the table that knows streams.
pub(super) const STREAMS: &str = "streams";

/// How messages of a stream workload are cut (wire, "Sizes").
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// The size of a chunk.
    chunk: MessageSize,
    /// The fewest bytes of the last chunk that some lambda takes.
    least: u32,
    /// Bytes of all packets of a message but the last.
    fragment: u32,
}

impl Cut {
    /// That of a workload, if its lambdas are streams: the largest reply of all of them counts.
    pub fn of(image: &Image, workload: usize) -> Option<Self> {
        let chunk = image.workloads[workload].chunk?;
        let lambdas = image.entries[image.entries_of(workload)].iter();
        let lambdas = lambdas.map(|entry| &image.module.lambdas[entry.lambda.index()]);
        let streams = lambdas.filter(|lambda| lambda.stream);
        let reply = streams.clone().map(|lambda| lambda.reply.max).max().unwrap_or(0);
        let least = streams.map(|lambda| lambda.request.min).min().unwrap_or(0);
        let most = |size: u32| MAX_PAYLOAD.checked_div(size).unwrap_or(u32::MAX);
        let count = most(chunk.max).min(most(reply));
        let fragment = count.saturating_mul(chunk.max).min(MAX_PAYLOAD);
        Some(Self {
            chunk,
            least,
            fragment,
        })
    }

    /// The most chunks of a packet.
    fn chunks(&self) -> u64 {
        self.fragment.div_ceil(self.chunk.max.max(1)).into()
    }
}

/// The action and the table of the streams among the entries, by workload; none if there are none.
pub(super) fn table(image: &Image, native: &[bool]) -> Vec<Local> {
    let mut entries = Vec::new();
    for (workload, own) in image.workloads.iter().enumerate() {
        let runs = image.entries_of(workload).any(|entry| native[entry]);
        if let Some(cut) = Cut::of(image, workload).filter(|_| runs) {
            entries.push(Entry {
                keys: vec![Expr::bits(32, own.id.into())],
                action: "stream_of".to_owned(),
                args: vec![Expr::bits(16, cut.fragment.into())],
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

/// What runs a stream lambda that is picked by no match.
pub(super) fn routine<'m>(
    unit: &mut Unit<'m>,
    (lambda, workload): (&'m Lambda, usize),
    name: &str,
) -> Result<Routine, Refusal> {
    let Some(cut) = Cut::of(unit.image, workload) else {
        return Err(Refusal::new(CODE, "a stream without chunks"));
    };
    let taken = MessageSize {
        min: cut.least,
        ..cut.chunk
    };
    super::room::check_chunks(lambda.reply.max, taken, cut.chunks())?;
    let cut = Cut {
        chunk: lambda.request,
        ..cut
    };
    over_chunks(unit, name, cut, |code| one(code, lambda))
}

/// The code of a lambda for one chunk, which may be too short for it.
pub(super) fn one<'m>(code: &mut Code<'_, 'm>, lambda: &'m Lambda) -> Result<(), Refusal> {
    let body = code.apart(|code| {
        let region = &lambda.parts[0].region;
        code.enter(&lambda.body, region, Vec::new());
        let done = code.whole(Goal::End, region, Vec::new());
        code.frames.pop();
        done
    })?;
    let least = lambda.request.min;
    if least == 0 {
        code.out.extend(body);
    } else {
        let short = Expr::name("chunk").binary(Binary::Lt, Expr::bits(32, least.into()));
        code.push(Stmt::If(short, fail(status::BAD_REQUEST), body));
    }
    Ok(())
}

/// Whether no chunk so far has ended with an error.
pub(super) fn fine() -> Expr {
    Expr::path("meta.status").binary(Binary::Eq, Expr::bits(8, 0))
}

/// What runs `one` for each chunk of a packet; the request there is the chunk.
pub(super) fn over_chunks<'m>(
    unit: &mut Unit<'m>,
    name: &str,
    cut: Cut,
    one: impl FnOnce(&mut Code<'_, 'm>) -> Result<(), Refusal>,
) -> Result<Routine, Refusal> {
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
    let size = cut.chunk;
    let most = Expr::bits(32, size.max.into());
    let length = || Expr::path("meta.length");
    if size.min > 0 {
        let empty = length().binary(Binary::Eq, Expr::bits(32, 0));
        code.push(Stmt::If(empty, fail(status::BAD_REQUEST), Vec::new()));
    }
    let trip = code.inside_loop(|code| {
        let left = length().binary(Binary::Sub, at.clone());
        let whole = left.clone().binary(Binary::Gt, most.clone());
        code.assign(chunk.clone(), whole.select(most.clone(), left));
        one(code)
    })?;
    let more = at.clone().binary(Binary::Lt, length());
    code.push(Stmt::For(Box::new(For {
        first: Some(Stmt::Assign(at.clone(), Expr::bits(32, 0))),
        cond: fine().binary(Binary::AndAnd, more),
        step: Some(Stmt::Assign(at.clone(), sum(at, most))),
        body: trip,
        trips: Trips::Most(cut.chunks()),
    })));
    let answered = code.apart(|code| {
        code.last_word(&ends.word, &ends.filled);
        code.push(set("reply_length", resized(ends.filled.clone(), 32, 16)));
        code.push(set("verdict", Expr::name(verdict::REPLY)));
        Ok(())
    })?;
    code.push(Stmt::If(fine(), answered, Vec::new()));
    code.routine(name)
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
