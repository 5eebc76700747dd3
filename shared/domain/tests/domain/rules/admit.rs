//! Admission: which requests pass, which check speaks first, what is reserved.

use std::collections::BTreeSet;
use std::net::IpAddr;

use turnpike_domain::admit::{self, Demand, Denial, Obstacle};
use turnpike_domain::command::{Command, KeyPatch, PlanUsers, PlatformCommand};
use turnpike_domain::event::{ModelSpec, PlanSpec};
use turnpike_domain::id::ProviderId;
use turnpike_domain::limit::{Fit, Limits, Unit};
use turnpike_domain::meter::Prices;
use turnpike_domain::money::{Multiplier, NanoUsd, Price};
use turnpike_domain::scope::{Allow, Scopes};
use turnpike_domain::secret::PublicId;
use turnpike_domain::settle::Reservation;
use turnpike_domain::state::{
    ProviderKind, ProviderSpec, RevokeReason, Route, Settings, WalletMode,
};

use crate::house::{
    ECHO, House, KEY, STANDARD, admin, capped, fresh, member, model, operator, patched, provider,
};

const HERE: [u8; 4] = [192, 0, 2, 1];

fn only(names: &[&str]) -> Allow {
    Allow::Only(names.iter().map(|name| (*name).into()).collect())
}

fn scoped(house: &mut House, scopes: Scopes) {
    let patch = KeyPatch { scopes: Some(scopes), ..KeyPatch::default() };
    house.done(member(), patched(patch));
}

fn limited(house: &mut House, limits: Limits) {
    let patch = KeyPatch { limits: Some(limits), ..KeyPatch::default() };
    house.done(member(), patched(patch));
}

/// The providers of the ways, or the denial.
fn ways(house: &House, model: &str) -> Result<Vec<ProviderId>, Denial> {
    let key = &house.org.keys[&KEY];
    let offer = admit::offer(&house.platform, &house.org, key, model, IpAddr::from(HERE))?;
    Ok(offer.ways().map(|way| way.provider_id).collect())
}

fn price(house: &mut House, spec: ModelSpec) {
    let spec = Some(Box::new(spec));
    house.run(operator(), PlatformCommand::PriceModel { model: "echo-1".into(), spec });
}

#[test]
fn a_secret_opens_a_key_while_both_work() {
    let mut house = House::furnished();
    let said = |house: &House, number: u8| {
        admit::key_works(&house.org.keys[&KEY], PublicId([number; 16]), house.now)
    };
    assert_eq!(said(&house, 1), Ok(()));
    assert_eq!(said(&house, 2), Err(Denial::Unauthorized));
    let rotate =
        |number, overlap_ms| Command::RotateKey { key: KEY, secret: fresh(number), overlap_ms };
    house.done(member(), rotate(2, 1_000));
    assert_eq!((said(&house, 1), said(&house, 2)), (Ok(()), Ok(())));
    house.now = house.now.plus_ms(1_000);
    assert_eq!((said(&house, 1), said(&house, 2)), (Err(Denial::Unauthorized), Ok(())));
    house.done(member(), rotate(3, 1_000));
    house.done(member(), Command::DisableKey { key: KEY });
    let off = Err(Denial::KeyDisabled);
    assert_eq!((said(&house, 2), said(&house, 3)), (off, off), "both die with the key");
    house.done(member(), Command::RevokeKey { key: KEY, reason: RevokeReason::Other });
    assert_eq!(said(&house, 3), Err(Denial::KeyRevoked));
    house.done(member(), Command::ActivateKey { key: KEY, rotate: None });
    let expires_at = Some(Some(house.now.plus_ms(5)));
    house.done(member(), patched(KeyPatch { expires_at, ..KeyPatch::default() }));
    assert_eq!(said(&house, 3), Ok(()));
    house.now = house.now.plus_ms(5);
    assert_eq!(said(&house, 3), Err(Denial::KeyExpired));
}

#[test]
fn the_checks_speak_in_the_contracts_order() {
    let mut house = House::furnished();
    assert_eq!(ways(&house, "echo-1"), Ok(vec![ECHO]));
    let mut scopes = Scopes { providers: only(&["other"]), ..Scopes::default() };
    scoped(&mut house, scopes.clone());
    assert_eq!(ways(&house, "echo-1"), Err(Denial::ProviderNotAllowed));
    scopes.addresses = Some(BTreeSet::from(["10.0.0.0/8".parse().expect("a range")]));
    scoped(&mut house, scopes.clone());
    assert_eq!(ways(&house, "echo-1"), Err(Denial::IpNotAllowed));
    scopes.models = only(&["echo-2"]);
    scoped(&mut house, scopes);
    assert_eq!(ways(&house, "echo-1"), Err(Denial::ModelNotAllowed));
    assert_eq!(ways(&house, "echo-9"), Err(Denial::ModelNotFound));
}

#[test]
fn a_plan_bounds_its_keys() {
    let mut house = House::furnished();
    let plan = |models, parts| PlatformCommand::ChangePlan {
        plan: STANDARD,
        spec: PlanSpec { name: "standard".into(), models, multiplier: Multiplier(parts) },
    };
    house.run(operator(), plan(Allow::All, 1_500_000));
    let key = &house.org.keys[&KEY];
    assert_eq!(admit::may_call(&house.platform, key, "echo-1"), Some(Multiplier(1_500_000)));
    let key = key.clone();
    house.run(operator(), plan(only(&["echo-2"]), 1));
    assert_eq!(admit::may_call(&house.platform, &key, "echo-1"), None);
    let used_by = PlanUsers::default();
    house.run(operator(), PlatformCommand::DeletePlan { plan: STANDARD, used_by });
    assert_eq!(ways(&house, "echo-1"), Err(Denial::ModelNotAllowed));
}

#[test]
fn what_has_no_price_is_refused_where_money_is_capped() {
    let mut house = House::furnished();
    price(&mut house, ModelSpec { prices: None, ..model() });
    assert_eq!(ways(&house, "echo-1"), Ok(vec![ECHO]));
    limited(&mut house, Limits { tokens: Some(5), ..Limits::default() });
    assert_eq!(ways(&house, "echo-1"), Ok(vec![ECHO]), "tokens can be counted without a price");
    limited(&mut house, capped(5));
    assert_eq!(ways(&house, "echo-1"), Err(Denial::ModelNotAllowed));
    limited(&mut house, Limits::default());
    let settings = Settings { wallet: WalletMode::Prepaid, ..Settings::default() };
    house
        .done(operator(), Command::ChangeOrg { name: None, settings: Some(settings), plans: None });
    assert_eq!(ways(&house, "echo-1"), Err(Denial::ModelNotAllowed));
    price(&mut house, model());
    assert_eq!(ways(&house, "echo-1"), Ok(vec![ECHO]));
}

#[test]
fn ways_come_in_order_and_skip_what_is_off() {
    let mut house = House::furnished();
    let (own, second) = (ProviderId(7), ProviderId(8));
    let spec = |name: &str, disabled| {
        Some(Box::new(ProviderSpec { serves: vec!["echo-1".into()], disabled, ..provider(name) }))
    };
    let shared = |provider, spec| PlatformCommand::ChangeProvider { provider, spec };
    house.run(operator(), shared(second, spec("second", false)));
    let route = |provider: &str| Route {
        provider: provider.into(),
        upstream_model: Some("renamed".into()),
        weight: 3,
        prices: None,
    };
    price(&mut house, ModelSpec { routes: vec![route("second"), route("echo")], ..model() });
    assert_eq!(ways(&house, "echo-1"), Ok(vec![second, ECHO]));
    house.done(admin(), Command::ChangeProvider { provider: own, spec: spec("own", false) });
    assert_eq!(ways(&house, "echo-1"), Ok(vec![own, second, ECHO]), "one's own comes first");
    let key = &house.org.keys[&KEY];
    let offer = admit::offer(&house.platform, &house.org, key, "echo-1", IpAddr::from(HERE));
    let names: Vec<_> = offer.expect("an offer").ways().map(|way| way.upstream_model).collect();
    assert_eq!(names, [None, Some("renamed"), Some("renamed")]);
    house.run(operator(), shared(second, spec("second", true)));
    assert_eq!(ways(&house, "echo-1"), Ok(vec![own, ECHO]));
    scoped(&mut house, Scopes { providers: only(&["own"]), ..Scopes::default() });
    assert_eq!(ways(&house, "echo-1"), Ok(vec![own]));
}

#[test]
fn a_model_is_there_in_the_dialects_of_its_providers_alone() {
    let mut house = House::furnished();
    let second = ProviderSpec { kind: ProviderKind::Gemini, ..provider("second") };
    let spec = Some(Box::new(second));
    house.run(operator(), PlatformCommand::ChangeProvider { provider: ProviderId(8), spec });
    let route = |provider: &str| Route {
        provider: provider.into(),
        upstream_model: None,
        weight: 1,
        prices: None,
    };
    price(&mut house, ModelSpec { routes: vec![route("echo"), route("second")], ..model() });
    let speaks = |house: &House, kind| {
        let key = &house.org.keys[&KEY];
        let offer = admit::offer(&house.platform, &house.org, key, "echo-1", IpAddr::from(HERE));
        offer.and_then(|offer| offer.speaks(kind))
    };
    assert_eq!(speaks(&house, ProviderKind::OpenAi), Ok(()));
    assert_eq!(speaks(&house, ProviderKind::Gemini), Ok(()));
    assert_eq!(speaks(&house, ProviderKind::Anthropic), Err(Denial::ModelNotFound));
    scoped(&mut house, Scopes { providers: only(&["echo"]), ..Scopes::default() });
    assert_eq!(speaks(&house, ProviderKind::Gemini), Err(Denial::ProviderNotAllowed));
}

#[test]
fn a_way_costs_what_its_route_says_or_else_what_the_model_does() {
    let mut house = House::furnished();
    let dear = Prices { input: Price(9), ..Prices::default() };
    let second = ProviderId(8);
    let spec = Some(Box::new(provider("second")));
    house.run(operator(), PlatformCommand::ChangeProvider { provider: second, spec });
    let route = |provider: &str, prices| Route {
        provider: provider.into(),
        upstream_model: None,
        weight: 1,
        prices,
    };
    let routes = vec![route("echo", None), route("second", Some(dear))];
    price(&mut house, ModelSpec { routes: routes.clone(), ..model() });
    let costs = |house: &House| {
        let key = &house.org.keys[&KEY];
        let offer = admit::offer(&house.platform, &house.org, key, "echo-1", IpAddr::from(HERE));
        offer.map(|offer| offer.ways().map(|way| way.prices.copied()).collect::<Vec<_>>())
    };
    assert_eq!(costs(&house), Ok(vec![model().prices, Some(dear)]));
    price(&mut house, ModelSpec { prices: None, routes, ..model() });
    assert_eq!(costs(&house), Ok(vec![None, Some(dear)]), "no budget asks what it costs");
    limited(&mut house, capped(1));
    assert_eq!(costs(&house), Ok(vec![Some(dear)]), "only what can be counted is left");
    scoped(&mut house, Scopes { providers: only(&["echo"]), ..Scopes::default() });
    assert_eq!(costs(&house), Err(Denial::ProviderNotAllowed));
    let key = &house.org.keys[&KEY];
    let spec = &house.platform.models["echo-1"].spec;
    let all = admit::ways(&house.platform, &house.org, "echo-1", spec);
    let obstacles: Vec<_> = all.map(|way| way.obstacle(key, true)).collect();
    assert_eq!(obstacles, [Some(Obstacle::Unpriced), Some(Obstacle::NotAllowed)]);
}

#[test]
fn a_reservation_bounds_what_a_request_can_cost() {
    let spec = ModelSpec { context_window: 1_000, max_output: 100, ..model() };
    let full = Demand { body_bytes: 300, choices: 1, ..Demand::default() };
    let cases = [
        (full, (300, 100)),
        (Demand { body_bytes: 5_000, ..full }, (1_000, 100)),
        (Demand { external_content: true, ..full }, (1_000, 100)),
        (Demand { max_output: Some(7), ..full }, (300, 7)),
        (Demand { max_output: Some(7_000), ..full }, (300, 100)),
        (Demand { max_output: Some(7), choices: 3, ..full }, (300, 21)),
        (Demand { choices: u64::MAX, ..full }, (300, u64::MAX)),
        (Demand { prompts: 3, body_bytes: 5_000, ..full }, (3_000, 100)),
        (Demand { prompts: 3, external_content: true, ..full }, (3_000, 100)),
        (Demand { choices: 0, ..full }, (300, 100)),
        (Demand { no_output: true, ..full }, (300, 0)),
        (Demand { no_output: true, body_bytes: 5_000, ..full }, (5_000, 0)),
        (Demand { no_output: true, external_content: true, ..full }, (1_000, 0)),
        (Demand { free: true, external_content: true, ..full }, (0, 0)),
    ];
    for (demand, (input, output)) in cases {
        let held = admit::reservation(&spec, None, Multiplier::default(), &demand);
        assert_eq!(held, Reservation { input, output, ..Reservation::default() }, "{demand:?}");
    }
    let prices = Prices {
        input: Price(1_000_000),
        cached_input: Some(Price(100_000)),
        cache_write: Some(Price(3_000_000)),
        output: Price(2_000_000),
        request_fee: NanoUsd(10),
        ..Prices::default()
    };
    let held = admit::reservation(&spec, Some(&prices), Multiplier(2_000_000), &full);
    assert_eq!(held.cost, NanoUsd(2 * (300 * 3 + 100 * 2 + 10)), "at the dearest rates");
    let by_time = Prices { audio_second: Some(NanoUsd(100)), ..Prices::default() };
    let recording = Demand { recording_bytes: 1_001, ..full };
    let held = admit::reservation(&spec, Some(&by_time), Multiplier::default(), &recording);
    assert_eq!((held.audio_seconds, held.cost), (3, NanoUsd(300)));
}

#[test]
fn a_clamped_request_takes_what_fits_and_no_token_more() {
    let prices = Prices { input: Price(1_000_000), output: Price(2_000_000), ..Prices::default() };
    let spec =
        ModelSpec { prices: Some(prices), context_window: 1_000, max_output: 100, ..model() };
    let demand = Demand { body_bytes: 300, choices: 2, ..Demand::default() };
    let clamped =
        |most| admit::clamped_output(&spec, Some(&prices), Multiplier::default(), &demand, most);
    // 300 nano-USD of input, and two answers at two nano-USD a token.
    let cases = [
        ((Unit::Usd, 300 + 4 * 16), Some(16)),
        ((Unit::Usd, 300 + 4 * 16 - 1), None),
        ((Unit::Usd, 300 + 4 * 61 + 3), Some(61)),
        ((Unit::Usd, i64::MAX), Some(100)),
        ((Unit::Tokens, 300 + 2 * 40 + 1), Some(40)),
        ((Unit::Tokens, 0), None),
    ];
    for (most, output) in cases {
        assert_eq!(clamped(most), output, "{most:?}");
    }
    let short = ModelSpec { max_output: 15, ..spec };
    let any = (Unit::Usd, i64::MAX);
    assert_eq!(admit::clamped_output(&short, None, Multiplier::default(), &demand, any), None);
}

#[test]
fn only_what_set_no_maximum_is_clamped_and_only_where_the_key_says_so() {
    let mut house = House::furnished();
    let clamps = |house: &House, demand| admit::may_clamp(&house.org.keys[&KEY], &demand);
    assert!(!clamps(&house, Demand::default()));
    limited(&mut house, Limits { fit: Fit::Clamp, ..capped(5) });
    assert!(clamps(&house, Demand::default()));
    assert!(!clamps(&house, Demand { max_output: Some(5), ..Demand::default() }));
    assert!(!clamps(&house, Demand { no_output: true, ..Demand::default() }));
    assert!(!clamps(&house, Demand { free: true, ..Demand::default() }));
}

#[test]
fn denials_have_the_contracts_status_and_advice() {
    let table = [
        (Denial::Unauthorized, 401, "unauthorized", false),
        (Denial::WrongCredentialKind, 401, "wrong_credential_kind", false),
        (Denial::KeyDisabled, 401, "key_disabled", false),
        (Denial::KeyExpired, 401, "key_expired", false),
        (Denial::KeyRevoked, 401, "key_revoked", false),
        (Denial::BillingShortfall, 402, "billing_shortfall", false),
        (Denial::QuotaExceeded, 402, "api_key_quota_exceeded", false),
        (Denial::InFlightBudgetExhausted, 402, "in_flight_budget_exhausted", true),
        (Denial::ModelNotAllowed, 403, "model_not_allowed", false),
        (Denial::ProviderNotAllowed, 403, "provider_not_allowed", false),
        (Denial::IpNotAllowed, 403, "ip_not_allowed", false),
        (Denial::McpNotAllowed, 403, "mcp_not_allowed", false),
        (Denial::ModelNotFound, 404, "model_not_found", false),
        (Denial::NotFound, 404, "not_found", false),
        (Denial::MethodNotAllowed, 405, "method_not_allowed", false),
        (Denial::RequestTooLarge, 413, "request_too_large", false),
        (Denial::RequestTimeout, 408, "request_timeout", false),
        (Denial::InvalidRequest, 400, "invalid_request", false),
        (Denial::RateLimited, 429, "rate_limited", true),
        (Denial::ProviderError, 502, "provider_error", true),
        (Denial::ProviderTimeout, 504, "provider_timeout", true),
        (Denial::ControlPlaneStale, 503, "control_plane_stale", true),
        (Denial::LimitAuthorityUnavailable, 503, "limit_authority_unavailable", true),
        (Denial::Overloaded, 503, "overloaded", true),
    ];
    for (denial, status, code, retry) in table {
        assert_eq!((denial.status(), denial.code(), denial.retryable()), (status, code, retry));
    }
}
