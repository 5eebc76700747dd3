//! Providers: where models are served.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::shape;
use super::text::{DialectName, GatewayRef, ProviderRef, Time};

shape! {
    /// What a provider is to be.
    ProviderForm {
        /// Its short name, as it stands in scopes and logs.
        name: String,
        /// Its dialect.
        kind: DialectName,
        /// Where it answers, e.g. `https://api.openai.com`; paths of the dialect are added.
        base_url: String,
        /// Its API key. It is sealed, and never shown again; in a PATCH, absent keeps it.
        #[schema(write_only, format = "password")]
        credential: Option<String>,
        /// Headers to add to every request; never credentials.
        headers: Option<BTreeMap<String, String>>,
        /// Models that an organisation's own provider serves besides the platform's routes.
        serves: Option<Vec<String>>,
        /// The most milliseconds to wait for a connection; absent: 5,000.
        connect_timeout_ms: Option<u64>,
        /// The most milliseconds to wait for the head of the answer; absent: 600,000.
        answer_timeout_ms: Option<u64>,
        /// The most milliseconds between two pieces of a stream; absent: 300,000.
        idle_timeout_ms: Option<u64>,
        /// The most milliseconds from sending a request to the end of its answer, streamed or not;
        /// 0: no limit; absent: 3,600,000.
        total_timeout_ms: Option<u64>,
        /// The most requests at a time from one gateway; absent or 0: no limit.
        max_concurrency: Option<u32>,
        /// Switched off: no request is routed here.
        disabled: Option<bool>,
        /// Certificates in PEM that are trusted there besides the gateway's own roots; absent or
        /// null: none.
        tls_roots: Option<String>,
        /// Failures in a row after which a gateway passes it over for a while; 0: never;
        /// absent: 5.
        max_failures: Option<u32>,
    }
}

/// A provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Provider {
    /// Its id.
    pub id: ProviderRef,
    /// Its short name.
    pub name: String,
    /// Its dialect.
    pub kind: DialectName,
    /// Where it answers.
    pub base_url: String,
    /// Whether it has a credential.
    pub has_credential: bool,
    /// Headers that are added to every request.
    pub headers: BTreeMap<String, String>,
    /// Models that it serves besides the platform's routes.
    pub serves: Option<Vec<String>>,
    /// The most milliseconds to wait for a connection.
    pub connect_timeout_ms: u64,
    /// The most milliseconds to wait for the head of the answer.
    pub answer_timeout_ms: u64,
    /// The most milliseconds between two pieces of a stream.
    pub idle_timeout_ms: u64,
    /// The most milliseconds from sending a request to the end of its answer; 0: no limit.
    pub total_timeout_ms: u64,
    /// The most requests at a time from one gateway; 0: no limit.
    pub max_concurrency: u32,
    /// Switched off.
    pub disabled: bool,
    /// Certificates in PEM that are trusted there besides the gateway's own roots.
    pub tls_roots: Option<String>,
    /// Failures in a row after which a gateway passes it over for a while; 0: never.
    pub max_failures: u32,
    /// One of the platform's, for every organisation.
    pub of_platform: bool,
    /// How it fares with the gateways.
    pub health: ProviderHealth,
}

/// How a provider fares with the gateways that have called it lately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderHealth {
    /// `healthy`; `degraded`: some gateways pass it over; `down`: all do; `unknown`: none has
    /// called it lately.
    pub status: String,
    /// Each of these gateways; shown to operators and to the owner of the provider.
    pub gateways: Vec<GatewayHealth>,
}

/// How a provider fares with one gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GatewayHealth {
    /// The gateway.
    pub gateway_id: GatewayRef,
    /// Its name; null if it serves another organisation alone.
    pub name: Option<String>,
    /// `closed`: requests pass; `open`: it is passed over; `half_open`: one request finds out.
    pub circuit: String,
    /// Since when; null: since the gateway first called it.
    pub since: Option<Time>,
    /// Requests that run.
    pub in_flight: u32,
    /// Requests of the last minute.
    pub calls_per_minute: u64,
    /// Of them, those that it failed.
    pub errors_per_minute: u64,
    /// The milliseconds after which half of them had the head of an answer; null: none had.
    pub p50_ms: Option<u64>,
}
