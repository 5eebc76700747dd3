//! Importing legacy keys: what a row of a file holds, and what became of each.

pub mod split;
pub mod table;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::input::shape;
use super::key::{LimitsForm, ScopesForm};
use super::propagation::Propagation;
use super::text::{KeyRef, MemberRef, PlanRef, ProjectRef, Time};

/// A row of an import, as JSON Lines and CSV have it; in CSV `limits`, `scopes` and `metadata` hold
/// JSON, and an empty cell is absent. It has no form in memory: a secret is read and gone.
#[derive(ToSchema)]
pub struct ImportRow {
    /// 1 to 100 characters, unique among the keys that are not deleted.
    pub name: String,
    /// The secret, 8 to 1,024 visible ASCII characters. Either this or `sha256`.
    pub secret: Option<String>,
    /// SHA-256 of the secret, 64 hexadecimal digits.
    pub sha256: Option<String>,
    /// The member that it belongs to; absent: whoever imports it.
    pub owner_id: Option<MemberRef>,
    /// The project that it is grouped under.
    pub project_id: Option<ProjectRef>,
    /// Its plan; absent: the organisation's default.
    pub plan_id: Option<PlanRef>,
    /// When it stops working; absent: never.
    pub expires_at: Option<Time>,
    /// Its limits; absent: none.
    pub limits: Option<LimitsForm>,
    /// What it may touch; absent: everything but MCP.
    pub scopes: Option<ScopesForm>,
    /// Anything of yours, at most 4,096 bytes.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Value>,
}

/// How far an import has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportProgress {
    /// Rows that were read.
    pub rows: u64,
    /// Of them, those that are keys now (or would be, of a dry run).
    pub accepted: u64,
    /// Of them, those that are not.
    pub refused: u64,
}

/// What became of the rows of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportReport {
    /// Nothing was written.
    pub dry_run: bool,
    /// How many rows there were.
    #[serde(flatten)]
    pub progress: ImportProgress,
    /// The rows that became keys, in the order of the file.
    pub keys: Vec<AcceptedRow>,
    /// What stands against the others, in the order of the file; of one row it may be several.
    pub errors: Vec<RefusedRow>,
    /// How far the keys have reached, if `wait=applied` was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub propagation: Option<Propagation>,
}

/// A row that became a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AcceptedRow {
    /// The line that it began on, from 1.
    pub line: u64,
    /// The key; null of a dry run.
    pub id: Option<KeyRef>,
    /// Its name.
    pub name: String,
    /// The masked secret.
    pub preview: String,
}

/// What stands against a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedRow {
    /// The line that it began on, from 1.
    pub line: u64,
    /// Where in the row, as a JSON pointer: `/name`; empty: the row as a whole.
    pub field: String,
    /// What, as a sentence's end.
    pub message: String,
}

shape! {
    /// How a legacy key becomes a full one.
    MigrateForm {
        /// The legacy secret ends: all callers have changed over. Absent: the key gets a new secret
        /// beside it, shown this once.
        finish: Option<bool>,
    }
}

/// How far the migration of a key has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Migration {
    /// `legacy`: it has its legacy secret alone; `migrating`: both work; `full`: it has none.
    pub state: String,
    /// The secrets that work, the newest first.
    pub secrets: Vec<SecretUse>,
}

/// How much a secret is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretUse {
    /// The masked secret.
    pub preview: String,
    /// Whether it is the legacy one.
    pub legacy: bool,
    /// Until when it works; null: until it is replaced, ended, or the key stops.
    pub until: Option<Time>,
    /// Admitted requests that came with it, or of earlier secrets of its sort.
    pub requests: u64,
    /// When the last of them was admitted, booked within ten seconds; null: none was.
    pub last_used_at: Option<Time>,
}
