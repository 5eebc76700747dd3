//! Plans and models: what the operator sells.

use std::collections::BTreeSet;

use turnpike_domain::command::{PlanUsers, PlatformCommand};
use turnpike_domain::event::{ModelSpec, PlanSpec};
use turnpike_domain::id::PlanId;
use turnpike_domain::meter::Prices;
use turnpike_domain::money::{Multiplier, NanoUsd, Price};
use turnpike_domain::scope::Allow;
use turnpike_domain::state::Route;

use crate::house::{GOLD, House, STANDARD, model, operator, outcome, owner};

fn plan(name: &str, models: Allow, parts: u32) -> PlanSpec {
    PlanSpec { name: name.into(), models, multiplier: Multiplier(parts) }
}

fn change(plan: PlanId, spec: PlanSpec) -> PlatformCommand {
    PlatformCommand::ChangePlan { plan, spec }
}

fn delete(plan: PlanId, keys: usize, organisations: usize) -> PlatformCommand {
    PlatformCommand::DeletePlan { plan, used_by: PlanUsers { keys, organisations } }
}

fn price(name: &str, spec: Option<ModelSpec>) -> PlatformCommand {
    PlatformCommand::PriceModel { model: name.into(), spec: spec.map(Box::new) }
}

#[test]
fn plans_have_names_models_and_a_sane_factor() {
    let house = House::furnished();
    let some = Allow::Only(BTreeSet::from(["echo-1".into()]));
    let none = Allow::Only(BTreeSet::new());
    house.platform_answers(vec![
        (change(PlanId(3), plan("team", some, 1_500_000)), "PlanChanged"),
        (change(PlanId(3), plan("team", none, 1)), "/models"),
        (change(PlanId(3), plan("", Allow::All, 100_000_001)), "/name /multiplier"),
        (change(PlanId(3), plan("gold", Allow::All, 1)), "name_taken"),
        (change(GOLD, plan("gold", Allow::All, 1_000_000)), "nothing"),
        (change(GOLD, plan("gold", Allow::All, 0)), "PlanChanged"),
        (delete(STANDARD, 0, 0), "PlanChanged"),
        (delete(STANDARD, 1, 0), "state_conflict"),
        (delete(STANDARD, 0, 1), "state_conflict"),
        (delete(PlanId(3), 0, 0), "not_found"),
    ]);
    let by_owner = house.decide_platform(owner(), delete(GOLD, 0, 0));
    assert_eq!(outcome(by_owner), "needs operator");
}

#[test]
fn models_have_sane_figures_and_routes_that_lead_somewhere() {
    let house = House::furnished();
    let absurd = Prices {
        input: Price(-1),
        cached_input: Some(Price(i64::MAX)),
        request_fee: NanoUsd(-1),
        audio_second: Some(NanoUsd(-1)),
        ..Prices::default()
    };
    let route = |provider: &str, upstream: Option<&str>| Route {
        provider: provider.into(),
        upstream_model: upstream.map(Into::into),
        weight: 1,
        prices: None,
    };
    let lost = vec![route("nobody", None), route("echo", Some("a b"))];
    let dear = Route { prices: Some(absurd), ..route("echo", None) };
    house.platform_answers(vec![
        (price("echo-2", Some(model())), "ModelPriced"),
        (price("echo-1", Some(model())), "nothing"),
        (price("echo-1", Some(ModelSpec { prices: None, ..model() })), "ModelPriced"),
        (price("e c", Some(ModelSpec { context_window: 0, ..model() })), "/name /context_window"),
        (price("echo-2", Some(ModelSpec { max_output: u64::MAX, ..model() })), "/max_output"),
        (
            price("echo-2", Some(ModelSpec { prices: Some(absurd), ..model() })),
            "/prices/input /prices/cached_input /prices/request_fee /prices/audio_second",
        ),
        (
            price("echo-2", Some(ModelSpec { routes: lost, ..model() })),
            "/routes/0/provider /routes/1/upstream_model",
        ),
        (
            price("echo-2", Some(ModelSpec { routes: vec![dear, route("echo", None)], ..model() })),
            "/routes/0/prices/input /routes/0/prices/cached_input /routes/0/prices/request_fee \
             /routes/0/prices/audio_second /routes/1/provider",
        ),
        (price("echo-2", Some(ModelSpec { routes: Vec::new(), ..model() })), "ModelPriced"),
        (price("echo-1", None), "ModelPriced"),
        (price("echo-2", None), "not_found"),
    ]);
    let by_owner = house.decide_platform(owner(), price("echo-1", None));
    assert_eq!(outcome(by_owner), "needs operator");
}

#[test]
fn the_version_of_a_price_is_never_used_again() {
    let mut house = House::furnished();
    let first = house.platform.models["echo-1"].price_version;
    house.run(operator(), price("echo-1", None));
    house.run(operator(), price("echo-1", Some(model())));
    assert!(house.platform.models["echo-1"].price_version > first);
    house.expected = Some(first);
    house.platform_answers(vec![(price("echo-1", None), "etag_mismatch")]);
    house.expected = Some(0);
    house.platform_answers(vec![(price("echo-3", Some(model())), "ModelPriced")]);
}
