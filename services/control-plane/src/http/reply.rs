//! Replies: what a handler answers with.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::problem::Problem;

/// JSON as answers carry it.
pub(crate) const JSON: &str = "application/json";

/// What a handler answers with.
pub(crate) struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
}

impl Reply {
    /// A value as JSON, with 200.
    pub(crate) fn json(value: &impl Serialize) -> Result<Self, Problem> {
        let bytes = serde_json::to_vec(value).map_err(|error| Problem::internal(&error))?;
        Ok(Self::body(JSON, Body::from(bytes)))
    }

    /// Bytes of another type, with 200.
    pub(crate) fn body(content_type: &'static str, body: Body) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status: StatusCode::OK, headers, body }
    }

    /// With 201 and where the new thing stands.
    pub(crate) fn created(mut self, location: &str) -> Self {
        self.status = StatusCode::CREATED;
        self.with(header::LOCATION, location)
    }

    /// With the version of the thing.
    pub(crate) fn version(self, seq: u64) -> Self {
        self.with(header::ETAG, &format!("\"{seq}\""))
    }

    /// With a header.
    pub(crate) fn with(mut self, name: header::HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        (self.status, self.headers, self.body).into_response()
    }
}
