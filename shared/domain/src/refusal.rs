//! Refusals of commands: a rule said no, and says which.

use std::fmt;

use crate::state::Role;

/// One mistake in a command's input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where: a JSON pointer into the request's body, e.g. `/limits/cost_usd`.
    pub pointer: String,
    /// What, as a sentence's end: "must not be empty".
    pub message: String,
}

/// A rule refused a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The caller's role does not allow it.
    Forbidden {
        /// The least role that does.
        needed: Role,
    },
    /// What the command names is not there (or is another organisation's).
    NotFound {
        /// The noun: "key", "project".
        noun: &'static str,
    },
    /// Another one has this name.
    NameTaken {
        /// The noun.
        noun: &'static str,
        /// The name.
        name: String,
    },
    /// A compromised key can only be activated together with a rotation.
    RotationRequired,
    /// The thing is in a state that does not allow this.
    StateConflict {
        /// A sentence that says what was true.
        reason: String,
    },
    /// The caller's `If-Match` names another version.
    VersionMismatch {
        /// The version that stands.
        current: u64,
    },
    /// The input breaks rules.
    Invalid(Vec<FieldError>),
}

impl Refusal {
    /// The stable code of the management API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Forbidden { .. } => "forbidden",
            Self::NotFound { .. } => "not_found",
            Self::NameTaken { .. } => "name_taken",
            Self::RotationRequired => "rotation_required",
            Self::StateConflict { .. } => "state_conflict",
            Self::VersionMismatch { .. } => "etag_mismatch",
            Self::Invalid(_) => "validation_failed",
        }
    }

    /// The refusal of one field.
    #[must_use]
    pub fn field(pointer: &str, message: &str) -> Self {
        Self::Invalid(vec![FieldError { pointer: pointer.into(), message: message.into() }])
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { needed } => {
                write!(f, "this needs the role {} or a greater one", needed.name())
            }
            Self::NotFound { noun } => write!(f, "there is no such {noun} here"),
            Self::NameTaken { noun, name } => write!(f, "another {noun} is named {name:?}"),
            Self::RotationRequired => f.write_str(
                "the key was revoked as compromised: activate it with `rotate`, \
                 which gives it a new secret",
            ),
            Self::StateConflict { reason } => f.write_str(reason),
            Self::VersionMismatch { current } => {
                write!(f, "it has changed since it was read: its version is now \"{current}\"")
            }
            Self::Invalid(errors) => {
                let all: Vec<String> = errors
                    .iter()
                    .map(|error| format!("{} {}", error.pointer, error.message))
                    .collect();
                f.write_str(&all.join("; "))
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl Role {
    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
            Self::Operator => "operator",
        }
    }
}
