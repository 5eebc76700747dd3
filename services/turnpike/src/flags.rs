//! Flags that several commands share: how their values are read, and which one made a mistake.

mod expiry;
mod limits;
mod scopes;
mod value;

pub(crate) use expiry::{Expiry, Moment};
pub(crate) use limits::LimitFlags;
pub(crate) use scopes::ScopeFlags;
pub(crate) use value::{
    amount, given, list, nullable, object, percents, seconds, some, tools, usd, whole,
};

/// Which flag, or positional argument, a place of the request's body comes from. The first that
/// begins the pointer is it: deeper places stand first.
const SOURCES: &[(&str, &str)] = &[
    ("/limits/cost_usd", "--cost-usd"),
    ("/limits/tokens", "--tokens"),
    ("/limits/reset", "--reset"),
    ("/limits/requests_per_minute", "--rpm"),
    ("/limits/tokens_per_minute", "--tpm"),
    ("/limits/alert_percent", "--alerts"),
    ("/limits/fit", "--fit"),
    ("/scopes/models", "--models"),
    ("/scopes/providers", "--providers"),
    ("/scopes/ips", "--ips"),
    ("/scopes/mcp/enabled", "--mcp"),
    ("/scopes/mcp/mode", "--mcp-mode"),
    ("/scopes/mcp/servers", "--mcp-servers"),
    ("/scopes/mcp/tools", "--mcp-tools"),
    ("/cost_usd", "--cost-usd"),
    ("/tokens", "--tokens"),
    ("/amount_usd", "amount"),
    ("/note", "--note"),
    ("/invitation", "--invitation-file"),
    ("/password", "--password-file"),
    ("/name", "name"),
    ("/email", "email"),
    ("/owner_id", "--owner"),
    ("/project_id", "--project"),
    ("/plan_id", "--plan"),
    ("/expires_at", "--expires"),
    ("/expires_in_seconds", "--expires-in"),
    ("/metadata", "--metadata"),
    ("/overlap_seconds", "--overlap"),
    ("/reason", "--reason"),
    ("/role", "--role"),
    ("/max_staleness_seconds", "--max-staleness"),
    ("/limit_status", "--limit-status"),
    ("/secret_reveal", "--secret-reveal"),
    ("/rate_fallback", "--rate-fallback"),
    ("/wallet", "--wallet"),
    ("/allowed_plans", "--allowed-plans"),
    ("/default_plan", "--default-plan"),
    ("/base_url", "--base-url"),
    ("/credential", "--credential-file"),
    ("/headers", "--header"),
    ("/serves", "--serves"),
    ("/kind", "--kind"),
    ("/connect_timeout_ms", "--connect-timeout-ms"),
    ("/answer_timeout_ms", "--answer-timeout-ms"),
    ("/idle_timeout_ms", "--idle-timeout-ms"),
    ("/max_concurrency", "--max-concurrency"),
    ("/models", "--models"),
    ("/multiplier", "--multiplier"),
    ("/prices/input", "--input"),
    ("/prices/output", "--output"),
    ("/prices/cached_input", "--cached-input"),
    ("/prices/cache_write", "--cache-write"),
    ("/prices/reasoning", "--reasoning"),
    ("/prices/audio_input", "--audio-input"),
    ("/prices/audio_output", "--audio-output"),
    ("/prices/image_input", "--image-input"),
    ("/prices/image_output", "--image-output"),
    ("/prices/request_fee", "--request-fee"),
    ("/prices/audio_second", "--audio-second"),
    ("/context_window", "--context-window"),
    ("/max_output", "--max-output"),
    ("/routes", "--route"),
    ("?group_by", "--by"),
    ("?timeout_ms", "--wait-timeout-ms"),
];

/// The flag that a JSON pointer, or a query parameter `?name`, comes from; the place itself where
/// no flag does.
pub(crate) fn of(pointer: &str) -> String {
    let begins = |place: &str| {
        pointer.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let found = SOURCES.iter().find(|(place, _)| begins(place));
    match (found, pointer.strip_prefix('?')) {
        (Some((_, flag)), _) => (*flag).to_owned(),
        (None, Some(parameter)) => format!("--{}", parameter.replace('_', "-")),
        (None, None) => pointer.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lead_to_flags() {
        for (pointer, flag) in [
            ("/limits/cost_usd", "--cost-usd"),
            ("/scopes/models/3", "--models"),
            ("/models/0", "--models"),
            ("/name", "name"),
            ("/names", "/names"),
            ("?status", "--status"),
            ("?group_by", "--by"),
            ("?timeout_ms", "--wait-timeout-ms"),
            ("", ""),
        ] {
            assert_eq!(of(pointer), flag, "{pointer}");
        }
    }
}
