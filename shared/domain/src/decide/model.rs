//! Models: what they cost and where they are served, set by the operator.

use super::mistakes::Mistakes;
use super::{By, Decision};
use crate::event::{Event, ModelSpec};
use crate::meter::Prices;
use crate::money::{NANO_PER_USD, NanoUsd, Price};
use crate::refusal::Refusal;
use crate::settle::MAX_BELIEVED_TOKENS;
use crate::state::{Platform, Role, Route};
use crate::text::slug_problem;

/// The dearest price: USD 1,000,000 per million tokens, one dollar a token.
const MAX_PRICE: Price = Price(1_000_000 * NANO_PER_USD);
/// The dearest fee of one request.
const MAX_FEE: NanoUsd = NanoUsd(1_000 * NANO_PER_USD);
/// The dearest second of a recording.
const MAX_SECOND: NanoUsd = NanoUsd(NANO_PER_USD);
/// The most ways to one model: they are tried one after the other while a caller waits.
const MAX_ROUTES: usize = 32;
/// The most bytes of a model's name at its provider; some are long paths.
const MAX_UPSTREAM_NAME: usize = 256;

pub(super) fn price(
    state: &Platform,
    by: By<'_>,
    name: &str,
    spec: Option<&ModelSpec>,
) -> Decision {
    by.requester.at_least(Role::Operator)?;
    let known = state.models.get(name);
    by.has_seen(known.map_or(0, |model| model.price_version))?;
    let Some(spec) = spec else {
        known.ok_or(Refusal::NotFound { noun: "model" })?;
        return Ok(vec![Event::ModelPriced { model: name.into(), spec: None }]);
    };
    if known.is_some_and(|model| model.spec == *spec) {
        return Ok(Vec::new());
    }
    let mut mistakes = Mistakes::default();
    mistakes.note("/name", slug_problem(name));
    let believed = 1..=MAX_BELIEVED_TOKENS;
    let window = believed.contains(&spec.context_window);
    mistakes.unless(window, "/context_window", "must be from 1 to 1,000,000,000 tokens");
    let output = spec.max_output <= MAX_BELIEVED_TOKENS;
    mistakes.unless(output, "/max_output", "must be at most 1,000,000,000 tokens");
    if let Some(prices) = &spec.prices {
        check_prices(prices, "/prices", &mut mistakes);
    }
    mistakes.unless(spec.routes.len() <= MAX_ROUTES, "/routes", "must be at most 32");
    for (place, route) in spec.routes.iter().enumerate() {
        let pointer = format!("/routes/{place}");
        check_route(state, route, &pointer, &mut mistakes);
        // A request turns to a provider once, and a record names it once.
        let mut earlier = spec.routes.iter().take(place);
        let again = earlier.any(|earlier| earlier.provider == route.provider);
        mistakes.unless(!again, format!("{pointer}/provider"), "must not stand twice");
    }
    mistakes.finish()?;
    Ok(vec![Event::ModelPriced { model: name.into(), spec: Some(Box::new(spec.clone())) }])
}

fn check_prices(prices: &Prices, pointer: &str, mistakes: &mut Mistakes) {
    let all = [
        ("input", Some(prices.input)),
        ("output", Some(prices.output)),
        ("cached_input", prices.cached_input),
        ("cache_write", prices.cache_write),
        ("reasoning", prices.reasoning),
        ("audio_input", prices.audio_input),
        ("audio_output", prices.audio_output),
        ("image_input", prices.image_input),
        ("image_output", prices.image_output),
    ];
    for (name, price) in all {
        if price.is_some_and(|price| !(Price(0)..=MAX_PRICE).contains(&price)) {
            mistakes.add(format!("{pointer}/{name}"), "must be from 0 to 1,000,000 USD");
        }
    }
    let fee = (NanoUsd::ZERO..=MAX_FEE).contains(&prices.request_fee);
    mistakes.unless(fee, format!("{pointer}/request_fee"), "must be from 0 to 1,000 USD");
    let second = prices.audio_second.unwrap_or_default();
    let second = (NanoUsd::ZERO..=MAX_SECOND).contains(&second);
    mistakes.unless(second, format!("{pointer}/audio_second"), "must be from 0 to 1 USD");
}

fn check_route(state: &Platform, route: &Route, pointer: &str, mistakes: &mut Mistakes) {
    if !state.providers.values().any(|provider| provider.spec.name == route.provider) {
        mistakes.add(format!("{pointer}/provider"), "must be a provider of the platform");
    }
    let sound = |name: &str| {
        (1..=MAX_UPSTREAM_NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
    };
    if route.upstream_model.as_deref().is_some_and(|name| !sound(name)) {
        mistakes.add(
            format!("{pointer}/upstream_model"),
            "must be a name of 1 to 256 visible ASCII characters",
        );
    }
    if let Some(prices) = &route.prices {
        check_prices(prices, &format!("{pointer}/prices"), mistakes);
    }
}
