//! How much longer than what came in that may be which leaves.
//!
//! simple_switch gives a packet a buffer of its length and 512 bytes (`simple_switch.cpp`, `receive_`). What the parser has
//! not taken stays at its end, all headers go in front of that, and where these need more, an assertion ends the switch
//! (`packet_buffer.h`, `push`). So they may be 512 bytes longer than what the parser took.
//!
//! Of a lambda that does not wait this is known before: one whose reply could be longer is the host's. What waits replies
//! in the packet that ends the wait, whose length nobody knows: there a command that does not fit is a call that has
//! failed, and a reply that does not fit is one that is too large.

use lambdac_mir::{Lambda, MessageSize};

use super::headers::bit;
use super::lambda::{MAX_PAYLOAD, set};
use super::wait::{is_answer, is_expiry};
use super::wire::{ETHERNET, IPV4, LAMBDA, PACKET_IN, UDP};
use crate::ast::{Binary, Expr, Stmt};
use crate::legal::{REPLY, Refusal};

/// Bytes that headers may be longer than those that were parsed.
const GROWTH: u64 = 512;
/// Bytes of the header in front of what the control plane sends.
const PACKET_OUT: u64 = 2;
/// Bytes of a request's headers.
const HEADERS: u64 = ETHERNET + IPV4 + UDP + LAMBDA;
/// Bytes of the headers of a service's request or answer: memcached's own has 8 (doc/protocol.txt, "UDP protocol").
const SERVICE_HEADERS: u64 = ETHERNET + IPV4 + UDP + 8;
/// Bytes of a command that sets a value, but for the key and the value: see `wait::ask`.
const SET: u64 = "set  0 0 1024\r\n\r\n".len() as u64;
/// Bytes that a reply may be longer than its request, whether it goes to the wire or to the control plane.
pub(super) const ROOM: u32 = (GROWTH + PACKET_OUT - PACKET_IN) as u32;

/// Whether the replies of a lambda have room that does not wait.
pub(super) fn check(lambda: &Lambda) -> Result<(), Refusal> {
    let (most, least) = (lambda.reply.max, lambda.request.min);
    if lambda.parts.len() > 1 || most <= least.saturating_add(ROOM) {
        return Ok(());
    }
    let reason = format!(
        "its largest reply, {most} bytes, is more than {ROOM} bytes longer than its smallest request, {least}, and \
         simple_switch has no room for more"
    );
    Err(Refusal::new(REPLY, reason))
}

/// Whether the replies of a stream have room: to one chunk, and to the most of a packet, of which the last may be short.
pub(super) fn check_chunks(reply: u32, chunk: MessageSize, most: u64) -> Result<(), Refusal> {
    let grows = |count: &u64| {
        let request = count.saturating_sub(1) * u64::from(chunk.max) + u64::from(chunk.min);
        count * u64::from(reply) > request + u64::from(ROOM)
    };
    let Some(count) = [1, most].into_iter().find(grows) else {
        return Ok(());
    };
    let reason = format!(
        "its largest replies to {count} chunks, {reply} bytes each, are more than {ROOM} bytes longer than these, and \
         simple_switch has no room for more"
    );
    Err(Refusal::new(REPLY, reason))
}

fn long(value: u64) -> Expr {
    Expr::bits(32, value)
}

/// Notes how many bytes the headers of what leaves may have, where a packet may be the answer of a service or word that
/// its time is up.
pub(super) fn measure() -> Stmt {
    let room = |parsed: Expr| vec![set("room", parsed.binary(Binary::Add, long(GROWTH)))];
    let text = Expr::path("hdr.udp.length").binary(Binary::Sub, Expr::bits(16, UDP + 8));
    let (text, most) = (text.cast(bit(32)), long(MAX_PAYLOAD.into()));
    let over = text.clone().binary(Binary::Gt, most.clone());
    let answer = over.select(most, text).binary(Binary::Add, long(SERVICE_HEADERS));
    let length = Expr::path("hdr.lambda.length").cast(bit(32));
    let request = length.binary(Binary::Add, long(HEADERS));
    let other = Stmt::If(is_expiry(), room(long(PACKET_OUT)), room(request));
    Stmt::If(is_answer(), room(answer), vec![other])
}

/// Whether the reply has no room in the packet that was measured.
pub(super) fn is_short_of_reply() -> Expr {
    let reply = Expr::path("meta.reply_length").cast(bit(32));
    let all = reply.binary(Binary::Add, long(PACKET_IN + HEADERS));
    all.binary(Binary::Gt, Expr::path("meta.room"))
}

/// Whether the command that sets a value has room in the packet that was measured. Other commands always have.
pub(super) fn takes_set(key: Expr, value: Expr) -> Expr {
    let text = key.binary(Binary::Add, value).binary(Binary::Add, long(SET));
    let all = text.binary(Binary::Add, long(SERVICE_HEADERS));
    all.binary(Binary::Le, Expr::path("meta.room"))
}
