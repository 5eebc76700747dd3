//! Bodies: JSON, told apart by what is wrong with it.

use axum::http::header;
use serde_json::{Map, Value};
use turnpike_wire::api::input::{self, Input, merge};

use super::ask::Ask;
use super::reply::JSON;
use super::route::Verb;
use crate::problem::{Code, Problem};

/// The type of a PATCH's body (RFC 7396); plain JSON is taken too.
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";

/// Refuses a body of another type.
pub(crate) fn check_type(ask: &Ask) -> Result<(), Problem> {
    if ask.body.is_empty() {
        return Ok(());
    }
    let given = ask.header(header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    let patch = ask.method.as_str().eq_ignore_ascii_case(Verb::Patch.name());
    if given.eq_ignore_ascii_case(JSON) || patch && given.eq_ignore_ascii_case(MERGE_PATCH) {
        return Ok(());
    }
    let detail = "the body must be application/json, and its Content-Type must say so";
    Err(Problem::new(Code::UnsupportedMediaType, detail))
}

impl Ask {
    /// The body as a shape. Mistakes that leave enough to decide on are kept, so that a command
    /// tells its own beside them.
    pub(crate) fn shape<T: Input>(&mut self) -> Result<T, Problem> {
        let value = self.value()?;
        self.shape_of(&value)
    }

    /// The body of a PATCH laid over what stands, as a shape.
    pub(crate) fn merged<T: Input>(&mut self, mut standing: Value) -> Result<T, Problem> {
        let patch = Value::Object(self.object()?);
        merge(&mut standing, &patch);
        self.shape_of(&standing)
    }

    /// The body as an object.
    pub(crate) fn object(&self) -> Result<Map<String, Value>, Problem> {
        match self.value()? {
            Value::Object(fields) => Ok(fields),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Err(Problem::field("", "must be an object")),
        }
    }

    /// Notes each field of the body as a mistake, where nothing is asked for.
    pub(crate) fn nothing_more(&mut self) -> Result<(), Problem> {
        for name in self.object()?.keys() {
            let pointer = format!("/{}", input::step(name));
            input::mistake(&mut self.mistakes, &pointer, "is not a field of this");
        }
        Ok(())
    }

    fn shape_of<T: Input>(&mut self, value: &Value) -> Result<T, Problem> {
        let mut mistakes = Vec::new();
        let read = T::read(value, "", &mut mistakes);
        self.mistakes = mistakes;
        read.ok_or_else(|| Problem::invalid(std::mem::take(&mut self.mistakes)))
    }

    /// The body as JSON; none is an empty object.
    pub(crate) fn value(&self) -> Result<Value, Problem> {
        if self.body.is_empty() {
            return Ok(Value::Object(Map::new()));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            let detail =
                format!("the body is not JSON: line {}, column {}", error.line(), error.column());
            Problem::new(Code::InvalidJson, detail)
        })
    }
}
