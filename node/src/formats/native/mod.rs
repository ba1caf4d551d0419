//! The plain HTTP API over every format: `/api/packages`, `/api/search`, `/api/blobs`.
//!
//! Names may hold `/`, plain or as `%2F`: paths are matched from the right. Success is
//! `{"ok":true,"data":…}`, failure `{"ok":false,"error":{"code","message","hint"}}`.
//!
//! Files: `routes.rs` reading; `publish.rs` the one upload.
//!
//! Source: seed-clients.md section 9; DESIGN section 8.
#![doc = include_str!("README.md")]

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::json;

use crate::http::error::Error;

mod publish;
mod routes;

pub use routes::serve;

/// The first segment of every native path.
pub const MOUNT: &str = "api";

/// An error in the shape of this API.
#[must_use]
pub fn failure(error: Error) -> Response<Body> {
    let code = match error.status {
        StatusCode::UNAUTHORIZED => "unauthenticated",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::CONFLICT => "conflict",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        StatusCode::FAILED_DEPENDENCY => "not_here",
        StatusCode::INSUFFICIENT_STORAGE => "unavailable",
        _ => "invalid",
    };
    let mut inner = json!({ "code": code, "message": error.message });
    if let Some(hint) = &error.hint {
        inner["hint"] = json!(hint);
    }
    error.into_response_with(&json!({ "ok": false, "error": inner }))
}

/// A success in the shape of this API.
fn success(status: StatusCode, data: &impl Serialize) -> Result<Response<Body>, Error> {
    let body = serde_json::to_vec(&json!({ "ok": true, "data": data }))
        .map_err(|_| Error::invalid("the answer cannot be written as JSON"))?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}
