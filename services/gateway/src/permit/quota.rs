//! What is left of a request's rates, as its answer tells it.
//!
//! Two forms stand beside each other: the names that the dialect's SDKs know, of the tightest rate,
//! and `RateLimit-Policy` with `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10) with each.

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
const WINDOW_S: u64 = WINDOW_MS / SECOND_MS;
/// Room for the longest value, in bytes: four meters with numbers as they are.
const VALUE_BYTES: usize = 128;

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
    pub(crate) fn tell(&self, dialect: Dialect, now: impl Fn() -> Timestamp, map: &mut HeaderMap) {
        if self.meters().next().is_none() {
            return;
        }
        let mut text = Vec::with_capacity(VALUE_BYTES);
        map.insert(POLICY, self.each(&mut text, |meter| [(";q=", meter.limit), (";w=", WINDOW_S)]));
        let left = |meter: &Meter| [(";r=", meter.remaining), (";t=", meter.reset_s)];
        map.insert(LIMIT, self.each(&mut text, left));
        let [requests, tokens] = names(dialect);
        for (kind, names) in [(REQUESTS, requests), (TOKENS, tokens)] {
            let meters = self.meters().filter(|(_, of, _)| *of == kind);
            let tightest = meters.map(|(.., meter)| meter).min_by_key(|meter| meter.remaining);
            if let Some(Meter { limit, remaining, reset_s }) = tightest {
                map.insert(names.limit, number(&mut text, limit, ""));
                map.insert(names.remaining, number(&mut text, remaining, ""));
                // When all of it is there again: OpenAI counts, Anthropic names the moment.
                let reset = match dialect {
                    Dialect::OpenAi | Dialect::Gemini | Dialect::Mcp => {
                        number(&mut text, reset_s, "s")
                    }
                    Dialect::Anthropic => {
                        let wait_ms = reset_s.saturating_mul(SECOND_MS);
                        headers::value(rfc3339(now().plus_ms(wait_ms)))
                    }
                };
                map.insert(names.reset, reset);
            }
        }
    }

    /// A list with a member for each meter, written over `text`.
    fn each(
        &self,
        text: &mut Vec<u8>,
        parameters: impl Fn(&Meter) -> [(&'static str, u64); 2],
    ) -> HeaderValue {
        text.clear();
        for (prefix, kind, meter) in self.meters() {
            let comma = if text.is_empty() { "" } else { ", " };
            for part in [comma, "\"", prefix, kind, "\""] {
                text.extend_from_slice(part.as_bytes());
            }
            for (name, value) in parameters(&meter) {
                text.extend_from_slice(name.as_bytes());
                headers::digits(text, value);
            }
        }
        headers::value(text)
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

/// A number with its unit, written over `text`.
fn number(text: &mut Vec<u8>, number: u64, unit: &str) -> HeaderValue {
    text.clear();
    headers::digits(text, number);
    text.extend_from_slice(unit.as_bytes());
    headers::value(text)
}

/// What Anthropic's SDKs know, for requests and for tokens.
const ANTHROPIC_NAMES: [Names; 2] = [
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
];
/// What OpenAI's SDKs know. Google has no such names: its callers get these.
const OPENAI_NAMES: [Names; 2] = [
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
];

const fn names(dialect: Dialect) -> [Names; 2] {
    match dialect {
        Dialect::Anthropic => ANTHROPIC_NAMES,
        Dialect::OpenAi | Dialect::Gemini | Dialect::Mcp => OPENAI_NAMES,
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
        Quotas::new([Some(own), Some(project)]).tell(Dialect::OpenAi, || Timestamp(0), &mut map);
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
        Quotas::new([Some(own), None]).tell(Dialect::Anthropic, || now, &mut anthropic);
        for (name, value) in [
            ("anthropic-ratelimit-requests-limit", "600"),
            ("anthropic-ratelimit-requests-remaining", "590"),
            ("anthropic-ratelimit-requests-reset", "2026-11-18T11:07:40.000Z"),
        ] {
            assert_eq!(anthropic.get(name).map(HeaderValue::as_bytes), Some(value.as_bytes()));
        }
        assert_eq!(anthropic.len(), 5);
        let mut none = HeaderMap::new();
        Quotas::default().tell(Dialect::OpenAi, || now, &mut none);
        assert!(none.is_empty());
    }
}
