//! What people are told of a refusal.

use super::Denial;

impl Denial {
    /// A sentence for people.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Unauthorized => "The API key is missing, malformed or unknown.",
            Self::WrongCredentialKind => "This credential does not belong here.",
            Self::KeyDisabled => "The API key is switched off.",
            Self::KeyExpired => "The API key has expired.",
            Self::KeyRevoked => "The API key was revoked.",
            Self::BillingShortfall => "The organisation has no money left.",
            Self::QuotaExceeded => "A cost or token limit is used up.",
            Self::InFlightBudgetExhausted => {
                "What is left of the budget is held by running requests; try again shortly."
            }
            Self::ModelNotAllowed => "The API key may not call this model.",
            Self::ProviderNotAllowed => "The API key may not use any provider of this model.",
            Self::IpNotAllowed => "The API key may not be used from this address.",
            Self::McpNotAllowed => "The API key may not use this MCP server or tool.",
            Self::ModelNotFound => "There is no such model.",
            Self::NotFound => "There is nothing at this path.",
            Self::MethodNotAllowed => "This path does not take this method.",
            Self::RequestTooLarge => "The request is too large.",
            Self::RequestTimeout => "The request did not arrive in time.",
            Self::InvalidRequest => "The request cannot be read.",
            Self::RateLimited => "Too many requests or tokens in a minute.",
            Self::ProviderError => "The provider failed.",
            Self::ProviderTimeout => "The provider did not answer in time.",
            Self::ControlPlaneStale => {
                "The gateway has had no news for too long to check this key; try again."
            }
            Self::LimitAuthorityUnavailable => "The limits of this key could not be checked.",
            Self::Overloaded => "The gateway has too much to do; try again.",
        }
    }
}
