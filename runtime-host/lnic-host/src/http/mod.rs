//! The HTTP server: functions, state, tables, metrics.
//!
//! Connections are served by hyper directly, so that an unfinished request can be cut off and a
//! stop can wait for the finished ones. Calls of functions go straight to their code; axum routes
//! the rest.

mod client_address;
mod function;
mod linger;
mod system;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::Service;

use self::linger::Lingering;
use crate::engine_api::Engine;
use crate::server::Shared;

/// Longest block of headers taken.
const MAX_HEADERS: usize = 1 << 20;
/// Pause after an accept that failed, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Most connections at a time at one door; further ones are closed at once.
const MAX_CONNECTIONS: usize = 16_384;

/// What a listener gives access to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Everything.
    All,
    /// The list of workloads alone: for callers that know the wire's address and nothing else.
    Names,
}

/// Accepts connections until `stopped`, then lets their requests finish.
pub(crate) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    door: Door,
    stopped: watch::Receiver<bool>,
) {
    let router = match door {
        Door::All => router(Arc::clone(&shared)),
        Door::Names => names(Arc::clone(&shared)),
    };
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(told(stopped.clone()));
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok(_) if connections.len() >= MAX_CONNECTIONS => {}
                Ok((stream, peer)) => {
                    _ = stream.set_nodelay(true);
                    let context = (Arc::clone(&shared), router.clone(), door);
                    connections.spawn(connection(stream, peer, context, stopped.clone()));
                }
                Err(error) => {
                    tracing::debug!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    (shared, router, door): (Arc<Shared>, Router, Door),
    stopped: watch::Receiver<bool>,
) {
    let timeout = shared.config.http_timeout;
    let (stream, refused) = Lingering::new(stream);
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, mut router) = (Arc::clone(&shared), router.clone());
        let refused = Arc::clone(&refused);
        async move {
            let has_body = !request.body().is_end_stream();
            // The busy path goes straight to its function; the router has the others.
            let response = if door == Door::All && function::is_called_by(&request) {
                function::call(&shared, peer, request).await
            } else {
                router.call(request).await?
            };
            if has_body && response.status().is_client_error() {
                refused.store(true, Relaxed);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .max_buf_size(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = told(stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, %peer, "connection failed");
    }
}

/// Ends when the server is told to stop.
async fn told(mut stopped: watch::Receiver<bool>) {
    // An error means that the server is gone, which is a stop too.
    _ = stopped.wait_for(|stopped| *stopped).await.is_ok();
}

/// The list of workloads.
fn names(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/system/workloads", get(system::workloads))
        .fallback(async || text(StatusCode::NOT_FOUND, "only /system/workloads is served here"))
        .with_state(shared)
}

/// Everything but functions.
fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(async || StatusCode::OK))
        .route("/metrics", get(system::metrics))
        .route("/system/workloads", get(system::workloads))
        .route("/system/state/{workload}", get(system::state))
        .route("/system/state/{workload}/{object}", get(system::state))
        .route("/system/state/{workload}/{object}/{index}", get(system::state))
        .route(
            "/system/tables/{table}",
            get(system::table)
                .put(system::put_table)
                .delete(system::delete_table),
        )
        .fallback(async || text(StatusCode::NOT_FOUND, "no such path"))
        .with_state(shared)
}

/// Does something that `engine` may keep waiting; then the runtime's other work goes on in another thread.
fn apart<T>(engine: &dyn Engine, work: impl FnOnce() -> T) -> T {
    match engine.may_wait() {
        true => tokio::task::block_in_place(work),
        false => work(),
    }
}

/// An error's response: one line of plain text.
fn text(status: StatusCode, line: &str) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (status, content_type, format!("{line}\n")).into_response()
}
