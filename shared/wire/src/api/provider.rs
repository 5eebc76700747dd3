//! Providers: where models are served.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::shape;
use super::text::{DialectName, ProviderRef};

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
}
