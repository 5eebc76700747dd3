//! Providers and the routes to them.

use crate::meter::Prices;
use crate::secret::Sealed;

/// Which dialect a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProviderKind {
    /// OpenAI, or compatible with it.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Gemini.
    Gemini,
}

/// A provider of models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderSpec {
    /// Its short name, as it stands in scopes and logs.
    pub name: Box<str>,
    /// Its dialect.
    pub kind: ProviderKind,
    /// Where it answers, e.g. `https://api.openai.com`; paths of the dialect are added.
    pub base_url: Box<str>,
    /// Its API key, sealed for gateways.
    pub credential: Option<Sealed>,
    /// Headers to add to every request; never credentials.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// Models that an organisation's own provider serves besides the platform's routes.
    pub serves: Vec<Box<str>>,
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
    /// Switched off: no request is routed here.
    pub disabled: bool,
    /// Certificates in PEM that are trusted there, besides the roots of the gateway's system.
    pub tls_roots: Option<Box<str>>,
    /// Failures in a row after which a gateway passes it over for a while; 0: never.
    pub max_failures: u32,
}

/// One way to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The provider's short name.
    pub provider: Box<str>,
    /// The model's name at that provider, if it is another.
    pub upstream_model: Option<Box<str>>,
    /// Share among neighbours of the same preference; 0: only when the ones before it fail.
    pub weight: u32,
    /// What the model costs there, if that differs from the model's own prices.
    pub prices: Option<Prices>,
}
