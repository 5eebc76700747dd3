//! What is left of a request's rates, as its answer tells it.
//!
//! Two forms stand beside each other: the names that the dialect's SDKs know, of the tightest rate,
//! and `RateLimit-Policy` with `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10) with each.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};
use turnpike_domain::limit::Account;
use turnpike_domain::rate::{Left, Rate, WINDOW_MS};
use turnpike_domain::time::Timestamp;
use turnpike_wire::time::rfc3339;

use crate::dialect::Dialect;
use crate::headers;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const SECOND_MS: u64 = 1_000;

/// The quotas of one request: of its key and of its project.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quotas([Option<Quota>; 2]);

/// One account's rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    /// What the names of its policies begin with.
    prefix: &'static str,
    requests: Option<Meter>,
    tokens: Option<Meter>,
}

#[derive(Clone, Copy, Debug)]
struct Meter {
    limit: u64,
    remaining: u64,
    /// Whole seconds until all of it is there again.
    reset_s: u64,
}

/// The names of one meter in a dialect.
struct Names {
    limit: HeaderName,
    remaining: HeaderName,
    reset: HeaderName,
}

impl Quota {
    pub(super) fn of(account: Account, rate: Rate, left: Left) -> Self {
        let prefix = match account {
            Account::Project(_) => "project-",
            Account::Key(_) | Account::Wallet | Account::Ephemeral(_) => "",
        };
        let reset_s = left.reset_ms.div_ceil(SECOND_MS);
        let meter = |limit: u64, free: u64| Meter { limit, remaining: free.min(limit), reset_s };
        Self {
            prefix,
            requests: rate.requests.map(|limit| meter(u64::from(limit), left.free.requests)),
            tokens: rate.tokens.map(|limit| meter(limit, left.free.tokens)),
        }
    }
}

impl Quotas {
    pub(super) const fn new(quotas: [Option<Quota>; 2]) -> Self {
        Self(quotas)
    }

    /// Tells what is left in the headers of an answer that is given `now`.
    pub(crate) fn tell(&self, dialect: Dialect, now: Timestamp, map: &mut HeaderMap) {
        let (mut policy, mut limit) = (String::new(), String::new());
        for (prefix, kind, meter) in self.meters() {
            let comma = if policy.is_empty() { "" } else { ", " };
            let Meter { limit: quota, remaining, reset_s } = meter;
            let window_s = WINDOW_MS / SECOND_MS;
            // Writing to a string cannot fail.
            let _ = write!(policy, "{comma}\"{prefix}{kind}\";q={quota};w={window_s}");
            let _ = write!(limit, "{comma}\"{prefix}{kind}\";r={remaining};t={reset_s}");
        }
        if policy.is_empty() {
            return;
        }
        map.insert(POLICY, headers::value(policy));
        map.insert(LIMIT, headers::value(limit));
        let [requests, tokens] = names(dialect);
        for (kind, names) in [(REQUESTS, requests), (TOKENS, tokens)] {
            let meters = self.meters().filter(|(_, of, _)| *of == kind);
            let tightest = meters.map(|(.., meter)| meter).min_by_key(|meter| meter.remaining);
            if let Some(Meter { limit, remaining, reset_s }) = tightest {
                map.insert(names.limit, HeaderValue::from(limit));
                map.insert(names.remaining, HeaderValue::from(remaining));
                map.insert(names.reset, headers::value(reset(dialect, now, reset_s)));
            }
        }
    }

    fn meters(&self) -> impl Iterator<Item = (&'static str, &'static str, Meter)> {
        self.0.iter().flatten().flat_map(|quota| {
            let of = |kind, meter: Option<Meter>| meter.map(|meter| (quota.prefix, kind, meter));
            [of(REQUESTS, quota.requests), of(TOKENS, quota.tokens)].into_iter().flatten()
        })
    }
}

const REQUESTS: &str = "requests";
const TOKENS: &str = "tokens";

/// When all of a rate is there again: OpenAI counts, Anthropic names the moment.
fn reset(dialect: Dialect, now: Timestamp, reset_s: u64) -> String {
    match dialect {
        Dialect::OpenAi | Dialect::Gemini | Dialect::Mcp => format!("{reset_s}s"),
        Dialect::Anthropic => rfc3339(now.plus_ms(reset_s.saturating_mul(SECOND_MS))),
    }
}

/// The names that the dialect's SDKs know, for requests and for tokens. Google has none: its
/// callers get OpenAI's.
const fn names(dialect: Dialect) -> [Names; 2] {
    match dialect {
        Dialect::Anthropic => [
            Names {
                limit: HeaderName::from_static("anthropic-ratelimit-requests-limit"),
                remaining: HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
                reset: HeaderName::from_static("anthropic-ratelimit-requests-reset"),
            },
            Names {
                limit: HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
                remaining: HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
                reset: HeaderName::from_static("anthropic-ratelimit-tokens-reset"),
            },
        ],
        Dialect::OpenAi | Dialect::Gemini | Dialect::Mcp => [
            Names {
                limit: HeaderName::from_static("x-ratelimit-limit-requests"),
                remaining: HeaderName::from_static("x-ratelimit-remaining-requests"),
                reset: HeaderName::from_static("x-ratelimit-reset-requests"),
            },
            Names {
                limit: HeaderName::from_static("x-ratelimit-limit-tokens"),
                remaining: HeaderName::from_static("x-ratelimit-remaining-tokens"),
                reset: HeaderName::from_static("x-ratelimit-reset-tokens"),
            },
        ],
    }
}

#[cfg(test)]
mod tests {
    use turnpike_domain::id::{KeyId, ProjectId};
    use turnpike_domain::rate::Amount;

    use super::*;

    #[test]
    fn the_tightest_rate_has_the_names_that_sdks_know_and_each_has_a_policy() {
        let left = |requests, tokens| Left { free: Amount { requests, tokens }, reset_ms: 59_001 };
        let key = Rate { requests: Some(600), tokens: None, seq: 1 };
        let project = Rate { requests: Some(100), tokens: Some(9_000), seq: 1 };
        let own = Quota::of(Account::Key(KeyId(1)), key, left(590, 0));
        let project = Quota::of(Account::Project(ProjectId(1)), project, left(7, 80_000));
        let mut map = HeaderMap::new();
        Quotas::new([Some(own), Some(project)]).tell(Dialect::OpenAi, Timestamp(0), &mut map);
        let expected = [
            (
                "ratelimit-policy",
                "\"requests\";q=600;w=60, \"project-requests\";q=100;w=60, \
                 \"project-tokens\";q=9000;w=60",
            ),
            (
                "ratelimit",
                "\"requests\";r=590;t=60, \"project-requests\";r=7;t=60, \
                 \"project-tokens\";r=9000;t=60",
            ),
            ("x-ratelimit-limit-requests", "100"),
            ("x-ratelimit-remaining-requests", "7"),
            ("x-ratelimit-reset-requests", "60s"),
            ("x-ratelimit-limit-tokens", "9000"),
            ("x-ratelimit-remaining-tokens", "9000"),
            ("x-ratelimit-reset-tokens", "60s"),
        ];
        assert_eq!(map.len(), expected.len());
        for (name, value) in expected {
            assert_eq!(map.get(name).map(HeaderValue::as_bytes), Some(value.as_bytes()), "{name}");
        }
        let mut anthropic = HeaderMap::new();
        let now = Timestamp(1_795_000_000_000);
        Quotas::new([Some(own), None]).tell(Dialect::Anthropic, now, &mut anthropic);
        for (name, value) in [
            ("anthropic-ratelimit-requests-limit", "600"),
            ("anthropic-ratelimit-requests-remaining", "590"),
            ("anthropic-ratelimit-requests-reset", "2026-11-18T11:07:40.000Z"),
        ] {
            assert_eq!(anthropic.get(name).map(HeaderValue::as_bytes), Some(value.as_bytes()));
        }
        assert_eq!(anthropic.len(), 5);
        let mut none = HeaderMap::new();
        Quotas::default().tell(Dialect::OpenAi, now, &mut none);
        assert!(none.is_empty());
    }
}
