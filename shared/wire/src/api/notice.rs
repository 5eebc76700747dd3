//! Notices: what the people of an organisation should hear of.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::text::Time;

/// Something that people should hear of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notice {
    /// What it is: `alert_raised`, `quota_hit`, `wallet_exhausted`, `wallet_restored`,
    /// `hold_released`, `gateway_fenced`, `hold_lost`, `record_put_aside`,
    /// `gateway_silent`, `gateways_unheard`, `gateway_quarantined`, `changes_lost` or
    /// `provider_down`.
    pub kind: String,
    /// `info`, `warning` or `alarm`.
    pub severity: String,
    /// When it happened; of what still stands, now.
    pub at: Time,
    /// It still stands, and is told until it does not.
    pub standing: bool,
    /// A sentence for people.
    pub says: String,
    /// The id of the key, project, gateway or provider that it is about; null: the organisation.
    pub about: Option<String>,
    /// The seq of the event that it comes from.
    pub seq: Option<u64>,
    /// What the event says.
    #[schema(value_type = Object)]
    pub data: Value,
}
