//! Which way a request takes: the best of those that the rules leave and that can be taken.

use std::borrow::Cow;
use std::rc::Rc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Method};
use turnpike_domain::admit::{Denial, Offer, Way};
use turnpike_domain::id::{ProviderId, RequestId};
use turnpike_domain::state::ProviderKind;
use turnpike_runtime::entropy;

use super::Site;
use crate::body::Waits;
use crate::core::Denied;
use crate::dialect::Call;
use crate::headers;
use crate::peek::{Edits, Peek};
use crate::upstream::{Bounds, Described, Lines, Outbound, Pass, Remote};

/// One way, ready to be taken.
pub(super) struct Route {
    pub(super) provider: ProviderId,
    /// The provider, and the right to call it.
    pub(super) pass: Pass,
    pub(super) bounds: Bounds,
    /// How long the answer may take.
    pub(super) waits: Waits,
    /// From sending to the end of the answer; 0: for ever.
    total_timeout_ms: u64,
    /// The path and query at the provider.
    pub(super) path: Cow<'static, str>,
    pub(super) request: Outbound,
}

/// A way that can be taken: its provider can be called and is not passed over.
pub(super) struct Choice<'a> {
    pub(super) way: Way<'a>,
    pass: Pass,
    lines: Lines,
}

/// No way can be taken.
pub(super) struct NoWay {
    pub(super) denial: Denial,
    /// When the first of those that are passed over is tried again.
    wait_ms: Option<u64>,
}

/// What is sent, whoever gets it.
pub(super) struct Parcel<'a> {
    pub(super) id: RequestId,
    pub(super) call: Call,
    pub(super) read: &'a Peek<'a>,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
}

impl Route {
    /// The request goes to the provider now: the time for all of its answer runs.
    pub(super) fn begin(&mut self, now_ms: u64) {
        let total_ms = Some(self.total_timeout_ms).filter(|total_ms| *total_ms > 0);
        self.waits.until_ms = total_ms.map(|total_ms| now_ms.saturating_add(total_ms));
    }
}

impl NoWay {
    /// The refusal, which says when it is worth asking again.
    pub(super) fn of(&self, denied: Denied) -> Denied {
        let Some(wait_ms) = self.wait_ms else { return denied };
        let message = "Every provider of this model that could be asked is out of order.";
        denied.with_message(message).with_retry_after(wait_ms)
    }
}

impl Parcel<'_> {
    /// Whether the provider is asked for the usage of a stream.
    pub(super) fn asks_for_usage(&self) -> bool {
        self.read.stream && self.call.takes_include_usage()
    }

    /// The first way that can be taken and was not tried. Those passed over are added to `tried`.
    pub(super) fn choose<'a>(
        &self,
        site: &Site,
        offer: &Offer<'a>,
        tried: &mut Vec<ProviderId>,
    ) -> Result<Choice<'a>, NoWay> {
        let mut none = NoWay { denial: Denial::ProviderNotAllowed, wait_ms: None };
        while let Some(way) = draw(offer, self.call, tried) {
            // Its URL or its credential cannot be used: the operator's log says so.
            if let Some(remote) = reach(site, &way)
                && let Some(lines) = self.lines_for(site, &way, &remote)
            {
                match remote.pass() {
                    Ok(pass) => return Ok(Choice { way, pass, lines }),
                    Err(wait_ms) => {
                        let first_ms = none.wait_ms.map_or(wait_ms, |other| other.min(wait_ms));
                        none.wait_ms = Some(first_ms);
                    }
                }
            }
            none.denial = Denial::ProviderError;
            tried.push(way.provider_id);
        }
        Err(none)
    }

    /// The request as it goes that way, with its output maximum lowered to `clamp`.
    pub(super) fn send_by(&self, choice: Choice<'_>, clamp: Option<u64>) -> Route {
        let Choice { way, pass, lines } = choice;
        let spec = &way.provider.spec;
        let body = self.read.edited(
            self.body,
            Edits {
                model: way.upstream_model.filter(|name| *name != self.read.model),
                include_usage: self.asks_for_usage(),
                max_output: self.call.output_field().zip(clamp),
            },
        );
        Route {
            provider: way.provider_id,
            pass,
            bounds: Bounds::from(spec),
            waits: Waits { idle_timeout_ms: spec.idle_timeout_ms, until_ms: None },
            total_timeout_ms: spec.total_timeout_ms,
            path: self.call.upstream_path(way.upstream_model.unwrap_or(&self.read.model)),
            request: Outbound { method: Method::POST, lines, body },
        }
    }

    /// The caller's headers that pass, the provider's own, and its credential: each name has one
    /// origin, and the later ones of these count.
    fn lines_for(&self, site: &Site, way: &Way<'_>, remote: &Remote) -> Option<Lines> {
        let (spec, own) = (&way.provider.spec, remote.headers());
        let mut lines = Lines::new();
        for (name, value) in headers::upward(self.call.dialect(), self.headers) {
            if !own.contains_key(name) {
                lines.add(name, value);
            }
        }
        let (name, scheme) = presented(spec.kind);
        let is_ours = |of: &HeaderName| {
            *of == headers::REQUEST_ID || spec.credential.is_some() && *of == name
        };
        let own = own.iter().filter(|(name, _)| !is_ours(name));
        own.for_each(|(name, value)| lines.add(name, value));
        // So that a provider's own log can be compared with ours, request by request.
        let id = self.id.text();
        let is_told = lines.add_texts(&headers::REQUEST_ID, [std::str::from_utf8(&id).ok()?, ""]);
        if spec.credential.is_some() {
            let Some(credential) = site.core.credential(way.provider) else {
                tracing::warn!(provider = %spec.name, "a provider's credential cannot be opened");
                return None;
            };
            if !lines.add_texts(&name, [scheme, credential.expose()]) {
                return None;
            }
        }
        is_told.then_some(lines)
    }
}

fn reach(site: &Site, way: &Way<'_>) -> Option<Rc<Remote>> {
    let (id, spec) = (way.provider_id, &way.provider.spec);
    let described = Described { id, owner: way.owner, spec };
    let remote = site.pool.remote(described).inspect_err(|error| {
        tracing::warn!(provider = %spec.name, %error, "a provider cannot be called");
    });
    remote.ok()
}

/// Where a provider of the kind expects its credential, and what stands before it there.
const fn presented(kind: ProviderKind) -> (HeaderName, &'static str) {
    match kind {
        ProviderKind::OpenAi => (AUTHORIZATION, "Bearer "),
        ProviderKind::Anthropic => (headers::ANTHROPIC_KEY, ""),
        ProviderKind::Gemini => (headers::GOOGLE_KEY, ""),
    }
}

/// The best way that was not tried and speaks the call's language. Neighbours with weights share
/// the requests by them; a way without a weight waits until those before it have failed.
fn draw<'a>(offer: &Offer<'a>, call: Call, tried: &[ProviderId]) -> Option<Way<'a>> {
    let speaks = call.provider_kind();
    let open = || {
        let ways = offer.ways();
        ways.filter(|way| way.provider.spec.kind == speaks && !tried.contains(&way.provider_id))
    };
    let mut best = open();
    let (first, second) = (best.next()?, best.next());
    if first.weight == 0 || second.is_none_or(|second| second.weight == 0) {
        return Some(first);
    }
    let group = || open().take_while(|way| way.weight > 0);
    let mut drawn = entropy::below(group().map(|way| u64::from(way.weight)).sum());
    group().find(|way| match drawn.checked_sub(u64::from(way.weight)) {
        Some(rest) => {
            drawn = rest;
            false
        }
        None => true,
    })
}
