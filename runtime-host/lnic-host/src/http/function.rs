//! `/function/NAME`: the request's body to a workload, its reply back.
//!
//! A workload that cannot await runs right here, on the tokio thread, with memory of that thread.
//! One that can goes to a packet thread, which owns the service clients.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use lnic_wire::{MAX_FRAGMENT, MAX_MESSAGE, Status};
use tokio::sync::oneshot;

use super::client_address::source_ip;
use super::{apart, text};
use crate::engine_api::{HOST, Io, Outcome, Packet, Scratch, ServiceCall, Trap};
use crate::image::Image;
use crate::metrics::{Ended, Writer};
use crate::server::Shared;
use crate::sys::now_ns;
use crate::worker::{Answered, FallbackJob, HttpJob, ReplyTo, StreamEnd, report_trap, run_stream};

/// What says who answered.
const TARGET: HeaderName = HeaderName::from_static("x-lambda-target");
/// What says how long it took, in seconds.
const DURATION: HeaderName = HeaderName::from_static("x-duration-seconds");
/// What marks a response as made by us, not by the function.
const INTERNAL: HeaderName = HeaderName::from_static("x-openfaas-internal");

/// An invocation's memory on a tokio thread.
struct Local {
    scratch: Scratch,
    call: ServiceCall,
    reply: Vec<u8>,
}

thread_local! {
    static LOCAL: RefCell<Option<Local>> = const { RefCell::new(None) };
}

/// The next packet thread to hand a request to.
static NEXT_WORKER: AtomicUsize = AtomicUsize::new(0);

/// What the path of every function begins with.
const PREFIX: &str = "/function/";

/// Whether a request is for a function, known or not.
pub(super) fn is_called_by<B>(request: &Request<B>) -> bool {
    request.uri().path().starts_with(PREFIX)
}

/// `/function/NAME` and anything behind it.
pub(super) async fn call(shared: &Shared, peer: SocketAddr, request: Request<Incoming>) -> Response {
    if !matches!(
        request.method().as_str(),
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS"
    ) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    }
    // Names are identifiers, so there is nothing to decode in one that is known.
    let rest = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    let name = rest.split_once('/').map_or(rest, |(name, _)| name);
    if name.is_empty() {
        return internal(text(StatusCode::BAD_REQUEST, "the path names no function"));
    }
    let name = match name.rsplit_once('.') {
        Some((name, namespace)) if namespace == shared.config.namespace => name,
        _ => name,
    };
    let image = shared.image.load_full();
    let Some(workload) = image.by_name(name) else {
        return internal(text(StatusCode::NOT_FOUND, &format!("no function `{name}` here")));
    };
    if request.body().size_hint().lower() > MAX_MESSAGE as u64 {
        return respond(refused(Status::TooLarge), 0, None);
    }
    let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
    let src_ip = source_ip(peer, request.headers(), &shared.config.trusted_proxies);
    let limit = shared.config.http_timeout;
    let answered = tokio::time::timeout(limit, async {
        let body = match read_body(request.into_body()).await {
            Ok(body) => body,
            Err(status) => return (0, refused(status)),
        };
        let packet = Packet {
            src_ip,
            now: now_ns(),
            ..Packet::default()
        };
        let answered = run(shared, &image, workload, packet, body).await;
        (now_ns().saturating_sub(packet.now), answered)
    });
    let (nanoseconds, answered) = answered.await.unwrap_or_else(|_| (0, refused(Status::Timeout)));
    respond(answered, nanoseconds, content_type)
}

/// The whole body, at most a message.
async fn read_body(body: Incoming) -> Result<Bytes, Status> {
    let body = Limited::new(body, MAX_MESSAGE).collect().await;
    body.map(|body| body.to_bytes()).map_err(|error| {
        if error.is::<LengthLimitError>() {
            Status::TooLarge
        } else {
            Status::BadRequest
        }
    })
}

fn refused(status: Status) -> Answered {
    Answered {
        ended: Ended::Status(status),
        body: Bytes::new(),
        target: HOST,
    }
}

/// Runs a workload on a body and counts it.
async fn run(shared: &Shared, image: &Arc<Image>, workload: usize, packet: Packet, body: Bytes) -> Answered {
    let info = image.info(workload);
    let shard = image.metrics(workload).shard(shared.metrics.http_shard());
    shard.start(Writer::Shared);
    let end = |answered: Answered| {
        if answered.target == HOST {
            let nanoseconds = now_ns().saturating_sub(packet.now);
            shard.end(answered.ended, nanoseconds, Writer::Shared);
        } else {
            shard.hand_over(Writer::Shared);
        }
        answered
    };
    if info.chunk.is_none() && !(info.min_request..=info.max_request).contains(&body.len()) {
        return end(refused(Status::BadRequest));
    }
    if info.awaits {
        return match submit(shared, image, workload, packet, body) {
            Some(answer) => answer.await.unwrap_or_else(|_| refused(Status::Overloaded)),
            None => end(refused(Status::Overloaded)),
        };
    }
    let ended = apart(&*image.engine, || {
        LOCAL.with_borrow_mut(|local| {
            let local = local.get_or_insert_with(|| Local {
                scratch: image.engine.scratch(),
                call: ServiceCall::default(),
                reply: Vec::new(),
            });
            run_here(shared, image, workload, &packet, &body, local)
        })
    });
    match ended {
        Some(answered) => end(answered),
        None => match punt(shared, image, workload, packet, body) {
            Ok(answer) => answer.await.unwrap_or_else(|_| refused(Status::Punted)),
            Err(status) => end(refused(status)),
        },
    }
}

/// Hands a request to a packet thread; none where all queues are full.
fn submit(
    shared: &Shared,
    image: &Arc<Image>,
    workload: usize,
    packet: Packet,
    request: Bytes,
) -> Option<oneshot::Receiver<Answered>> {
    let (answer, receiver) = oneshot::channel();
    let mut job = HttpJob {
        image: Arc::clone(image),
        workload,
        packet,
        request,
        answer,
    };
    let first = NEXT_WORKER.fetch_add(1, Relaxed);
    for at in 0..shared.workers.len() {
        match shared.workers[(first.wrapping_add(at)) % shared.workers.len()].submit(job) {
            Ok(()) => return Some(receiver),
            Err(back) => job = back,
        }
    }
    None
}

/// Hands a punted request to its fallback.
fn punt(
    shared: &Shared,
    image: &Arc<Image>,
    workload: usize,
    packet: Packet,
    body: Bytes,
) -> Result<oneshot::Receiver<Answered>, Status> {
    let url = Arc::clone(image.fallback(workload).ok_or(Status::Punted)?);
    let (answer, receiver) = oneshot::channel();
    let reply_to = ReplyTo::Http(answer);
    let job = FallbackJob {
        url,
        body,
        image: Arc::clone(image),
        workload,
        started: packet.now,
        reply_to,
    };
    shared.fallbacks.try_send(job).map_err(|_| Status::Overloaded)?;
    Ok(receiver)
}

/// Runs a workload on this thread; none where it punts.
fn run_here(
    shared: &Shared,
    image: &Arc<Image>,
    workload: usize,
    packet: &Packet,
    body: &[u8],
    local: &mut Local,
) -> Option<Answered> {
    let info = image.info(workload);
    if info.chunk.is_some() {
        return Some(run_stream_here(shared, image, workload, packet, body, local));
    }
    if local.reply.len() < info.max_reply {
        local.reply.resize(info.max_reply, 0);
    }
    let mut io = Io {
        reply: &mut local.reply,
        call: &mut local.call,
    };
    let ended = match image
        .engine
        .invoke(&mut local.scratch, workload, packet, body, &mut io)
    {
        Outcome::Reply(len) => {
            let body = Bytes::copy_from_slice(&local.reply[..len]);
            return Some(Answered {
                ended: Ended::Status(Status::Ok),
                body,
                target: image.engine.answered_by(&local.scratch),
            });
        }
        Outcome::Drop => Ended::Dropped,
        Outcome::Punt => return None,
        Outcome::Trap(trap) => {
            trapped(shared, image, workload, trap, packet.now);
            Ended::Status(Status::Trap)
        }
        Outcome::BadRequest => Ended::Status(Status::BadRequest),
        Outcome::Refused(status) => Ended::Status(status),
        // The image says that this workload never awaits.
        Outcome::Await(_) => Ended::Status(Status::Overloaded),
    };
    Some(Answered {
        ended,
        body: Bytes::new(),
        target: image.engine.answered_by(&local.scratch),
    })
}

/// Runs a stream: fragment by fragment, as the wire would bring it.
fn run_stream_here(
    shared: &Shared,
    image: &Arc<Image>,
    workload: usize,
    packet: &Packet,
    body: &[u8],
    local: &mut Local,
) -> Answered {
    let fragment_len = usize::from(image.info(workload).fragment);
    let mut reply = BytesMut::new();
    let mut buffer = [0; MAX_FRAGMENT];
    let fragments = body.chunks(fragment_len).chain(body.is_empty().then_some(body));
    for fragment in fragments {
        let mut io = Io {
            reply: &mut buffer,
            call: &mut local.call,
        };
        let end = run_stream(image, &mut local.scratch, workload, packet, fragment, &mut io);
        match end {
            StreamEnd::Reply(len) => reply.extend_from_slice(&buffer[..len]),
            StreamEnd::Error(status) => return refused(status),
            StreamEnd::Trap(trap) => {
                trapped(shared, image, workload, trap, packet.now);
                return refused(Status::Trap);
            }
        }
        if reply.len() > MAX_MESSAGE {
            return refused(Status::TooLarge);
        }
    }
    Answered {
        ended: Ended::Status(Status::Ok),
        body: reply.freeze(),
        target: image.engine.answered_by(&local.scratch),
    }
}

fn trapped(shared: &Shared, image: &Arc<Image>, workload: usize, trap: Trap, now: u64) {
    let place = (shared.metrics.http_shard(), Writer::Shared);
    report_trap(&shared.events, image, workload, trap, place, now);
}

/// The HTTP response to an invocation's end.
fn respond(answered: Answered, nanoseconds: u64, content_type: Option<HeaderValue>) -> Response {
    let status = match answered.ended {
        Ended::Dropped => StatusCode::NO_CONTENT,
        Ended::Status(Status::Ok) => StatusCode::OK,
        Ended::Status(Status::NoWorkload) => StatusCode::NOT_FOUND,
        Ended::Status(Status::BadRequest) => StatusCode::BAD_REQUEST,
        Ended::Status(Status::Trap) => StatusCode::INTERNAL_SERVER_ERROR,
        Ended::Status(Status::Overloaded) => StatusCode::TOO_MANY_REQUESTS,
        Ended::Status(Status::Timeout) => StatusCode::GATEWAY_TIMEOUT,
        Ended::Status(Status::Punted) => StatusCode::BAD_GATEWAY,
        Ended::Status(Status::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
    };
    let mut response = match answered.ended {
        Ended::Status(Status::Ok) => Response::new(Body::from(answered.body)),
        Ended::Dropped => Response::new(Body::empty()),
        Ended::Status(status) => Response::new(Body::from(format!("{status}\n"))),
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(TARGET, HeaderValue::from_static(answered.target));
    headers.insert(DURATION, six_places(nanoseconds));
    match answered.ended {
        Ended::Status(Status::Ok) => {
            let plain = HeaderValue::from_static("text/plain");
            headers.insert(header::CONTENT_TYPE, content_type.unwrap_or(plain));
        }
        Ended::Dropped => {}
        Ended::Status(status) => describe_error(headers, status),
    }
    response
}

fn describe_error(headers: &mut HeaderMap, status: Status) {
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    if status == Status::Overloaded {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if status == Status::Punted {
        headers.insert(INTERNAL, HeaderValue::from_static("proxy"));
    }
}

fn internal(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(INTERNAL, HeaderValue::from_static("proxy"));
    response
}

/// Seconds with six places, as the OpenFaaS watchdogs write them.
fn six_places(nanoseconds: u64) -> HeaderValue {
    // 14 digits of seconds at most, a point, 6 places; written by hand as every reply has one.
    let mut text = *b"00000000000000.000000";
    let mut rest = nanoseconds / 1000;
    for digit in text.iter_mut().rev().filter(|byte| **byte != b'.') {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    let first = text.iter().position(|&byte| byte != b'0').unwrap_or(0).min(13);
    HeaderValue::from_bytes(&text[first..]).unwrap_or(HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_six_places_and_no_leading_zeros() {
        assert_eq!(six_places(0), "0.000000");
        assert_eq!(six_places(999), "0.000000");
        assert_eq!(six_places(1_234_567), "0.001234");
        assert_eq!(six_places(61_000_001_000), "61.000001");
        assert_eq!(six_places(u64::MAX), "18446744073.709551");
    }
}
