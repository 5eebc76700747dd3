//! Numbers and names of the domain's closed sets.

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
    }
}
