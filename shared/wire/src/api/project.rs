//! Projects: groups of keys with limits of their own.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::shape;
use super::key::{KeyUsage, LimitsForm};
use super::text::{ProjectRef, Time};

shape! {
    /// What a project is to be.
    ProjectForm {
        /// 1 to 100 characters, unique among the organisation's projects.
        name: String,
        /// Limits over all its keys; absent: none.
        limits: Option<LimitsForm>,
    }
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Project {
    /// Its id.
    pub id: ProjectRef,
    /// Its name.
    pub name: String,
    /// Limits over all its keys.
    pub limits: LimitsForm,
    /// How many keys are in it.
    pub keys: usize,
    /// What its keys used in the present window of its limits; null for members, who see what their
    /// own keys used.
    pub usage: Option<KeyUsage>,
    /// When it was made.
    pub created_at: Time,
}
