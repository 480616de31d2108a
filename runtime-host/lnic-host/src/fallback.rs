//! Punted requests: a POST to the workload's fallback, off the packet threads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{Method, Request, Uri, header};
use hyper_util::rt::TokioIo;
use lnic_wire::{MAX_MESSAGE, Status};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use crate::metrics::{Ended, Writer};
use crate::sys::now_ns;
use crate::worker::{Answered, FallbackDone, FallbackJob, ReplyTo};

/// Requests to fallbacks at a time, for the whole worker.
const AT_ONCE: usize = 256;

/// Sends jobs to their fallbacks until all senders are gone and all jobs are done.
pub(crate) async fn serve(mut jobs: mpsc::Receiver<FallbackJob>, timeout: Duration, http_shard: usize) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(job) = jobs.recv().await {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        tokio::spawn(async move {
            let result = match tokio::time::timeout(timeout, post(&job.url, job.body.clone())).await {
                Ok(Ok(body)) => Ok(body),
                Ok(Err(status)) => Err(status),
                Err(_) => Err(Status::Timeout),
            };
            finish(job, result, http_shard);
            drop(slot);
        });
    }
    // Whoever waits for this task waits for the last job too.
    _ = slots.acquire_many(AT_ONCE as u32).await;
}

/// Gives a job's result to whoever waits for it.
fn finish(job: FallbackJob, result: Result<Bytes, Status>, http_shard: usize) {
    let FallbackJob {
        image,
        workload,
        started,
        reply_to,
        ..
    } = job;
    match reply_to {
        ReplyTo::Worker(handle, origin) => {
            handle.fallback_done(FallbackDone {
                origin,
                image,
                workload,
                started,
                result,
            });
        }
        ReplyTo::Http(answer) => {
            let (status, body) =
                result.map_or_else(|status| (status, Bytes::new()), |body| (Status::Ok, body));
            let ended = Ended::Status(status);
            let shard = image.metrics(workload).shard(http_shard);
            shard.end(ended, now_ns().saturating_sub(started), Writer::Shared);
            // The caller may have gone; then nobody wants the answer.
            _ = answer.send(Answered {
                ended,
                body,
                target: "fallback",
            });
        }
    }
}

/// Whether a URL is of a kind that is spoken here: HTTP without encryption.
pub(crate) fn is_callable(url: &str) -> bool {
    url.parse::<Uri>()
        .is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some())
}

/// Posts a request body and gives the reply's. A fallback that can't be reached or answers with
/// anything but success leaves the request punted.
async fn post(url: &str, body: Bytes) -> Result<Bytes, Status> {
    let punted = |error: &dyn std::fmt::Display| {
        tracing::debug!(url, %error, "fallback failed");
        Status::Punted
    };
    let uri: Uri = url.parse().map_err(|error| punted(&error))?;
    let host = uri.host().ok_or(Status::Punted)?;
    let authority = uri
        .authority()
        .map_or(host, |authority| authority.as_str())
        .to_owned();
    let target = (host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(target).await.map_err(|error| punted(&error))?;
    _ = stream.set_nodelay(true);
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| punted(&error))?;
    let connection = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, authority)
        .header(header::CONNECTION, "close")
        .body(Full::new(body))
        .map_err(|error| punted(&error))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| punted(&error))?;
    let status = response.status();
    if !status.is_success() {
        return Err(punted(&status));
    }
    let body = Limited::new(response.into_body(), MAX_MESSAGE).collect().await;
    connection.abort();
    body.map(|body| body.to_bytes()).map_err(|error| {
        if error.is::<LengthLimitError>() {
            return Status::TooLarge;
        }
        punted(&error)
    })
}
