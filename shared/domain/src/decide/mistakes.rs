//! All mistakes of one input, collected so that they are told at once.

use crate::refusal::{FieldError, Refusal};
use crate::text::name_problem;
use crate::time::Timestamp;

/// What an empty list is answered with: nobody can tell whether it means "all" or "none".
pub(super) const EMPTY_LIST: &str =
    "must not be empty: use null for no restriction, or disable the key to allow nothing";

#[derive(Default)]
pub(super) struct Mistakes(Vec<FieldError>);

impl Mistakes {
    pub(super) fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError { pointer: pointer.into(), message: message.into() });
    }

    /// Adds what a check found, if it found anything.
    pub(super) fn note(&mut self, pointer: impl Into<String>, problem: Option<&str>) {
        if let Some(message) = problem {
            self.add(pointer, message);
        }
    }

    pub(super) fn unless(&mut self, sound: bool, pointer: impl Into<String>, message: &str) {
        if !sound {
            self.add(pointer, message);
        }
    }

    pub(super) fn name(&mut self, name: &str) {
        self.note("/name", name_problem(name));
    }

    pub(super) fn expiry(&mut self, expires_at: Option<Timestamp>, now: Timestamp) {
        let past = expires_at.is_some_and(|end| end <= now);
        self.unless(!past, "/expires_at", "must be in the future");
    }

    pub(super) fn finish(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::Invalid(self.0)) }
    }
}

/// One step of a JSON pointer, escaped as RFC 6901 §3 says.
pub(super) fn step(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
