//! Numbers and names of the domain's closed sets.

use turnpike_domain::admit::Denial;
use turnpike_domain::limit::{Fit, Unit};
use turnpike_domain::scope::McpMode;
use turnpike_domain::secret::SecretKind;
use turnpike_domain::spend::Source;
use turnpike_domain::state::{
    LimitStatus, ProviderKind, RateFallback, RevokeReason, Role, SecretReveal, WalletMode,
};
use turnpike_domain::time::Reset;

use crate::names;

names!(Role "role" {
    1 Viewer "viewer",
    2 Member "member",
    3 Admin "admin",
    4 Owner "owner",
    5 Operator "operator",
});
names!(LimitStatus "limit status" { 1 PaymentRequired "402", 2 TooManyRequests "429" });
names!(SecretReveal "secret reveal" { 1 Once "once", 2 Recoverable "recoverable" });
names!(RateFallback "rate fallback" { 1 Share "share", 2 Deny "deny" });
names!(WalletMode "wallet mode" { 1 Off "off", 2 Prepaid "prepaid" });
names!(RevokeReason "reason" { 1 Compromised "compromised", 2 Unused "unused", 3 Other "other" });
names!(ProviderKind "provider kind" {
    1 OpenAi "openai",
    2 Anthropic "anthropic",
    3 Gemini "gemini",
});
names!(Fit "fit" { 1 Reject "reject", 2 Clamp "clamp" });
names!(Unit "unit" { 1 Usd "usd", 2 Tokens "tokens" });
names!(Reset "reset" { 1 None "none", 2 Daily "daily", 3 Weekly "weekly", 4 Monthly "monthly" });
names!(McpMode "MCP mode" {
    1 AllowAll "allow_all",
    2 DenyAll "deny_all",
    3 AllowList "allow_list",
    4 DenyList "deny_list",
});
names!(SecretKind "credential kind" {
    1 Model "model",
    2 Management "management",
    3 Gateway "gateway",
    4 Invitation "invitation",
});
names!(Source "source of usage" {
    1 Provider "provider",
    2 Counted "counted",
    3 Estimated "estimated",
});
names!(Denial "denial" {
    1 Unauthorized "unauthorized",
    2 WrongCredentialKind "wrong_credential_kind",
    3 KeyDisabled "key_disabled",
    4 KeyExpired "key_expired",
    5 KeyRevoked "key_revoked",
    6 BillingShortfall "billing_shortfall",
    7 QuotaExceeded "api_key_quota_exceeded",
    8 InFlightBudgetExhausted "in_flight_budget_exhausted",
    9 ModelNotAllowed "model_not_allowed",
    10 ProviderNotAllowed "provider_not_allowed",
    11 IpNotAllowed "ip_not_allowed",
    12 McpNotAllowed "mcp_not_allowed",
    13 ModelNotFound "model_not_found",
    14 NotFound "not_found",
    15 MethodNotAllowed "method_not_allowed",
    16 RequestTooLarge "request_too_large",
    17 RequestTimeout "request_timeout",
    18 InvalidRequest "invalid_request",
    19 RateLimited "rate_limited",
    20 ProviderError "provider_error",
    21 ProviderTimeout "provider_timeout",
    22 ControlPlaneStale "control_plane_stale",
    23 LimitAuthorityUnavailable "limit_authority_unavailable",
    24 Overloaded "overloaded",
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::form::Named;

    #[test]
    fn names_are_those_of_the_domain() {
        for role in [Role::Viewer, Role::Member, Role::Admin, Role::Owner, Role::Operator] {
            assert_eq!(Named::name(role), role.name());
            assert_eq!(Role::from_name(role.name()), Some(role));
        }
        for reason in [RevokeReason::Compromised, RevokeReason::Unused, RevokeReason::Other] {
            assert_eq!(Named::name(reason), reason.name());
        }
        assert_eq!(Role::from_name("Owner"), None);
        for name in Denial::NAMES {
            assert_eq!(Denial::from_name(name).map(Denial::code), Some(*name));
        }
    }
}
