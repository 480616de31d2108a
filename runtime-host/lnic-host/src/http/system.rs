//! `/system/…` and `/metrics`: what a worker says of itself, and the tables it is told.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};
use serde::Serialize;

use super::{apart, text};
use crate::engine_api::ControlError;
use crate::image::Image;
use crate::server::Shared;

/// Longest body of table entries taken.
const MAX_ENTRIES: usize = 16 << 20;

/// What `/system/workloads` says of each.
#[derive(Serialize)]
struct Workload<'i> {
    name: &'i str,
    id: u32,
    request: &'i str,
    reply: &'i str,
    fragment: u16,
}

/// `GET /system/workloads`: all names with what a caller on the wire must know, by name.
pub(super) async fn workloads(State(shared): State<Arc<Shared>>) -> Response {
    let image = shared.image.load();
    let workload = |info: &'_ crate::engine_api::WorkloadInfo| {
        serde_json::to_value(Workload {
            name: &info.name,
            id: info.id,
            request: &info.request,
            reply: &info.reply,
            fragment: info.fragment,
        })
    };
    let mut infos: Vec<_> = image.engine.workloads().iter().collect();
    infos.sort_by(|a, b| a.name.cmp(&b.name));
    match infos.into_iter().map(workload).collect::<Result<Vec<_>, _>>() {
        Ok(list) => Json(list).into_response(),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// `GET /metrics`, Prometheus text.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    shared.metrics.log_suppressed.set(shared.events.suppressed());
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let image = shared.image.load_full();
    let text = apart(&*image.engine, || shared.metrics.render());
    (content_type, text).into_response()
}

/// `GET /system/state/W[/OBJECT[/INDEX]]`.
pub(super) async fn state(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<Vec<(String, String)>>,
) -> Response {
    let part = |at: usize| path.get(at).map(|(_, value)| value.as_str());
    let image = shared.image.load_full();
    let Some(workload) = image.by_name(part(0).unwrap_or_default()) else {
        return no_workload();
    };
    match apart(&*image.engine, || image.engine.state(workload, part(1), part(2))) {
        Ok(value) => Json(value).into_response(),
        Err(error) => refuse(&error),
    }
}

/// `GET /system/tables/W.TABLE`.
pub(super) async fn table(State(shared): State<Arc<Shared>>, Path(path): Path<String>) -> Response {
    with_table(&shared, &path, |image, workload, table| {
        image
            .engine
            .table(workload, table)
            .map(|value| Json(value).into_response())
    })
}

/// `PUT /system/tables/W.TABLE`: all entries at once.
pub(super) async fn put_table(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    let entries = match read_json(&shared, request).await {
        Ok(Some(entries)) => entries,
        Ok(None) => return text(StatusCode::BAD_REQUEST, "no entries in the body"),
        Err(response) => return response,
    };
    with_table(&shared, &path, |image, workload, table| {
        image
            .engine
            .set_table(workload, table, &entries)
            .map(|()| StatusCode::NO_CONTENT.into_response())
    })
}

/// `DELETE /system/tables/W.TABLE`: the entries with the keys in the body, or all.
pub(super) async fn delete_table(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    let keys = match read_json(&shared, request).await {
        Ok(keys) => keys,
        Err(response) => return response,
    };
    with_table(&shared, &path, |image, workload, table| {
        let deleted = image.engine.delete_entries(workload, table, keys.as_ref());
        deleted.map(|()| StatusCode::NO_CONTENT.into_response())
    })
}

/// The body as JSON, none where it is empty.
async fn read_json(shared: &Shared, request: Request) -> Result<Option<serde_json::Value>, Response> {
    let body = Limited::new(request.into_body(), MAX_ENTRIES).collect();
    let body = match tokio::time::timeout(shared.config.http_timeout, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            return Err(text(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is too large or broken off",
            ));
        }
        Err(_) => {
            return Err(text(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time",
            ));
        }
    };
    if body.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&body)
        .map(Some)
        .map_err(|error| text(StatusCode::BAD_REQUEST, &format!("the body is not JSON: {error}")))
}

/// Finds the workload of `W.TABLE` and does `action` on the table.
fn with_table(
    shared: &Shared,
    path: &str,
    action: impl FnOnce(&Image, usize, &str) -> Result<Response, ControlError>,
) -> Response {
    let Some((workload, table)) = path.split_once('.') else {
        return text(StatusCode::BAD_REQUEST, "a table is named WORKLOAD.TABLE");
    };
    let image = shared.image.load_full();
    let Some(workload) = image.by_name(workload) else {
        return no_workload();
    };
    apart(&*image.engine, || action(&image, workload, table)).unwrap_or_else(|error| refuse(&error))
}

fn no_workload() -> Response {
    text(StatusCode::NOT_FOUND, "no such workload")
}

fn refuse(error: &ControlError) -> Response {
    let status = match error {
        ControlError::NotFound(_) => StatusCode::NOT_FOUND,
        ControlError::Invalid(_) => StatusCode::BAD_REQUEST,
    };
    text(status, &error.to_string())
}
