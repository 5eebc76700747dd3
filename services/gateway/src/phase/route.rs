//! Which way a request takes: the best of those that the rules leave and that can be taken.

use std::borrow::Cow;
use std::rc::Rc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use turnpike_domain::admit::{Denial, Offer, Way};
use turnpike_domain::id::{ProviderId, RequestId};
use turnpike_domain::state::ProviderKind;
use turnpike_runtime::entropy;

use super::Site;
use crate::core::ProviderCredential;
use crate::dialect::Call;
use crate::headers;
use crate::peek::{Edits, Peek};
use crate::upstream::{Bounds, Remote};

/// One way, ready to be taken.
pub(super) struct Route {
    pub(super) provider: ProviderId,
    pub(super) remote: Rc<Remote>,
    pub(super) bounds: Bounds,
    pub(super) idle_timeout_ms: u64,
    /// The path and query at the provider.
    pub(super) path: Cow<'static, str>,
    pub(super) request: Request<Bytes>,
}

/// What is sent, whoever gets it.
pub(super) struct Parcel<'a> {
    pub(super) id: RequestId,
    pub(super) call: Call,
    pub(super) read: &'a Peek<'a>,
    pub(super) clamp: Option<u64>,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
}

impl Parcel<'_> {
    /// Whether the provider is asked for the usage of a stream.
    pub(super) fn asks_for_usage(&self) -> bool {
        self.read.stream && self.call.takes_include_usage()
    }

    /// The first way that can be taken and was not tried; the ways seen are added to `tried`.
    pub(super) fn route(
        &self,
        site: &Site,
        offer: &Offer<'_>,
        tried: &mut Vec<ProviderId>,
    ) -> Result<Route, Denial> {
        let mut denial = Denial::ProviderNotAllowed;
        while let Some(way) = choose(offer, self.call, tried) {
            match self.through(site, &way) {
                Some(route) => return Ok(route),
                // Its URL or its credential cannot be used; the operator's log says so.
                None => denial = Denial::ProviderError,
            }
            tried.push(way.provider_id);
        }
        Err(denial)
    }

    fn through(&self, site: &Site, way: &Way<'_>) -> Option<Route> {
        let spec = &way.provider.spec;
        let remote = site.pool.remote(way.provider_id, &spec.base_url);
        let remote = remote.inspect_err(|error| {
            tracing::warn!(provider = %spec.name, %error, "a provider cannot be called");
        });
        let body = self.read.edited(
            self.body,
            Edits {
                model: way.upstream_model.filter(|name| *name != self.read.model),
                include_usage: self.asks_for_usage(),
                max_output: self.call.output_field().zip(self.clamp),
            },
        );
        let mut request = Request::new(body);
        *request.headers_mut() = headers::upward(self.call.dialect(), self.headers);
        for (name, value) in &spec.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            request.headers_mut().insert(name, HeaderValue::from_str(value).ok()?);
        }
        // So that a provider's own log can be compared with ours, request by request.
        request.headers_mut().insert(headers::REQUEST_ID, headers::value(self.id.to_string()));
        if spec.credential.is_some() {
            let Some(credential) = site.core.credential(way.provider) else {
                tracing::warn!(provider = %spec.name, "a provider's credential cannot be opened");
                return None;
            };
            let (name, value) = presented(spec.kind, &credential)?;
            request.headers_mut().insert(name, value);
        }
        Some(Route {
            provider: way.provider_id,
            remote: remote.ok()?,
            bounds: Bounds::from(spec),
            idle_timeout_ms: spec.idle_timeout_ms,
            path: self.call.upstream_path(way.upstream_model.unwrap_or(&self.read.model)),
            request,
        })
    }
}

/// A provider's credential as its kind expects it.
fn presented(
    kind: ProviderKind,
    credential: &ProviderCredential,
) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = match kind {
        ProviderKind::OpenAi => {
            let bearer = format!("Bearer {}", credential.expose());
            (AUTHORIZATION, HeaderValue::try_from(bearer))
        }
        ProviderKind::Anthropic => {
            (headers::ANTHROPIC_KEY, HeaderValue::try_from(credential.expose()))
        }
        ProviderKind::Gemini => (headers::GOOGLE_KEY, HeaderValue::try_from(credential.expose())),
    };
    let mut value = value.ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

/// The best way that was not tried and speaks the call's language. Neighbours with weights share
/// the requests by them; a way without a weight waits until those before it have failed.
fn choose<'a>(offer: &Offer<'a>, call: Call, tried: &[ProviderId]) -> Option<Way<'a>> {
    let speaks = call.dialect().spoken_by();
    let open = || {
        let ways = offer.ways();
        ways.filter(|way| way.provider.spec.kind == speaks && !tried.contains(&way.provider_id))
    };
    let first = open().next()?;
    let group = || open().take_while(|way| way.weight > 0);
    if first.weight == 0 || group().nth(1).is_none() {
        return Some(first);
    }
    let mut drawn = entropy::below(group().map(|way| u64::from(way.weight)).sum());
    group().find(|way| match drawn.checked_sub(u64::from(way.weight)) {
        Some(rest) => {
            drawn = rest;
            false
        }
        None => true,
    })
}
