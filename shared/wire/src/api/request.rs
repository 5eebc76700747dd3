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
    /// When it was admitted, or refused.
    pub at: Time,
    /// The key that it came on.
    pub key_id: KeyRef,
    /// The key's name at that time.
    pub key_name: Option<String>,
    /// The key's metadata at that time.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// The key is gone.
    pub key_deleted: bool,
    /// The ephemeral token, if one was used.
    pub token_id: Option<String>,
    /// The model as the caller wrote it, up to 101 characters; null: none was asked for yet.
    pub model: Option<String>,
    /// Who served it; null: nobody was to.
    pub provider_id: Option<ProviderRef>,
    /// The MCP server that was called.
    pub server: Option<String>,
    /// The tool of it that was called.
    pub tool: Option<String>,
    /// It came with the key's legacy secret.
    pub legacy: bool,
    /// The caller asked for a stream.
    pub streamed: bool,
    /// The status that the caller saw; 499 if the caller had gone.
    pub status: u16,
    /// Why no provider's answer went to the caller, as the header `x-turnpike-error-code` said it.
    pub code: Option<String>,
    /// The id that explains the refusal: see `/orgs/{org}/decisions/{id}`.
    pub decision_id: Option<String>,
    /// It was admitted, and so it is counted and paid; what was not was refused, or answered by the
    /// gateway itself.
    pub admitted: bool,
    /// How many more requests of the same key, status and code it stands for: of a flood of refused
    /// requests not each has an entry of its own.
    pub repeats: u32,
    /// How many ways were tried in vain before the last one: providers that did not answer, or had
    /// all the requests that they may have. What the caller saw is how the last one went.
    pub failovers: u32,
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
    /// Tokens that were reserved for it.
    pub reserved_tokens: u64,
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
