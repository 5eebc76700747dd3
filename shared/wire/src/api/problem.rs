//! What a request is answered with that was not carried out: RFC 9457, `application/problem+json`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URI that names the kind of problem; it ends with the code.
    pub r#type: String,
    /// The kind of problem, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The kind of problem, for programs; it never changes its meaning.
    pub code: String,
    /// This very problem, for people.
    pub detail: String,
    /// The id of the request, as in the header `x-turnpike-request-id`.
    pub request_id: String,
    /// What is wrong with the input, one entry a mistake; empty where nothing is.
    pub errors: Vec<InputError>,
}

/// One mistake of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InputError {
    /// Where: a JSON pointer (RFC 6901) into the body, or `?name` for a query parameter.
    pub pointer: String,
    /// What, as a sentence's end.
    pub message: String,
}
