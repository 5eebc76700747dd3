//! The request log.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::text::{
    EpochRef, Factor, GatewayRef, KeyRef, ProviderRef, RequestRef, SourceName, Time, Usd,
};

/// One request through a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoggedRequest {
    /// Its id, as in the header `x-turnpike-request-id`.
    pub id: RequestRef,
    /// When it was admitted.
    pub at: Time,
    /// The key that it was admitted on.
    pub key_id: KeyRef,
    /// The key's name, if the key is still there.
    pub key_name: Option<String>,
    /// The key's metadata, if the key is still there.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// The model as the caller wrote it.
    pub model: String,
    /// Who served it; null: nobody was to.
    pub provider_id: Option<ProviderRef>,
    /// The status that the caller saw; 499 if the caller had gone.
    pub status: u16,
    /// Tokens.
    #[schema(value_type = Object)]
    pub usage: Value,
    /// Whose word the usage is.
    pub source: SourceName,
    /// The provider's usage made no sense and was bounded or replaced.
    pub suspect: bool,
    /// What it cost.
    pub cost_usd: Usd,
    /// What was reserved for it.
    pub reserved_usd: Usd,
    /// The version of the price that it was settled at; 0: unpriced.
    pub price_version: u64,
    /// The plan's factor at admission.
    pub multiplier: Factor,
    /// Milliseconds from the request's head to the end of the answer.
    pub latency_ms: u32,
    /// The gateway that served it.
    pub gateway_id: GatewayRef,
    /// The run of that gateway.
    pub epoch: EpochRef,
    /// Its number in that run.
    pub number: u64,
}
