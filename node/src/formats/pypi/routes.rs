//! Which request is which.

use axum::body::Body;
use axum::http::{Request, Response};

use crate::formats::Context;
use crate::http::error::Error;

/// Answers everything below `/pypi/`.
pub(super) async fn serve(_: Context, _: Request<Body>) -> Response<Body> {
    Error::no_such_path().into_response()
}
