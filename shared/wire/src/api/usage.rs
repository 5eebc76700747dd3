//! What was used, by key, project, model, hour or day.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::{KeyRef, ProjectRef, Time, Usd};

/// What was used in a span of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// The first moment, at the full hour.
    pub from: Time,
    /// The first moment that no longer counts.
    pub until: Time,
    /// One row for each group, in the order of the groups.
    pub data: Vec<UsageRow>,
    /// The sum of all rows.
    pub total: Figures,
    /// Up to when every gateway that is online has reported.
    pub complete_up_to: Option<Time>,
}

/// What one group used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageRow {
    /// The group's hour or day, if it was asked for.
    pub start: Option<Time>,
    /// The group's key.
    pub key_id: Option<KeyRef>,
    /// The group's project; null also for keys in none.
    pub project_id: Option<ProjectRef>,
    /// The group's model; null also for refused requests.
    pub model: Option<String>,
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Sums over requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Figures {
    /// Admitted requests.
    pub requests: u64,
    /// Of them, those whose usage is an estimate.
    pub estimated_requests: u64,
    /// Requests that were refused; they are not among the others and belong to no model.
    pub refused_requests: u64,
    /// Input tokens.
    pub input_tokens: u64,
    /// Of the input: read from a provider's cache.
    pub cached_input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// What it cost.
    pub cost_usd: Usd,
}
