//! Organisations: made, set up, given plans.

use turnpike_domain::command::{Command, PlanChoice, PlatformCommand};
use turnpike_domain::event::PlanSpec;
use turnpike_domain::id::PlanId;
use turnpike_domain::money::Multiplier;
use turnpike_domain::scope::Allow;
use turnpike_domain::state::{SecretReveal, Settings, WalletMode};

use crate::house::{GOLD, House, STANDARD, admin, member, operator, owner, viewer};

fn change(settings: Settings) -> Command {
    Command::ChangeOrg { name: None, settings: Some(settings), plans: None }
}

fn assign(allowed: Option<Vec<PlanId>>, default: Option<PlanId>) -> Command {
    let plans = Some(PlanChoice { allowed, default });
    Command::ChangeOrg { name: None, settings: None, plans }
}

#[test]
fn an_organisation_is_made_once_by_the_operator() {
    let create = |name: &str| Command::CreateOrg {
        name: name.into(),
        settings: Settings { max_staleness_ms: Some(0), ..Settings::default() },
        plans: None,
    };
    let (name, settings) = ("acme".into(), Settings::default());
    let good = Command::CreateOrg { name, settings, plans: None };
    House::empty().answers(vec![
        (operator(), good.clone(), "OrgCreated"),
        (operator(), create(" "), "/name /max_staleness_seconds"),
        (owner(), good.clone(), "needs operator"),
        (owner(), change(Settings::default()), "not_found"),
    ]);
    House::furnished().answers(vec![(operator(), good, "state_conflict")]);
}

#[test]
fn a_new_organisation_has_the_plans_it_is_given_or_the_platforms_first() {
    let mut house = House::empty();
    for (plan, name) in [(GOLD, "gold"), (STANDARD, "standard")] {
        let multiplier = Multiplier::default();
        let spec = PlanSpec { name: name.into(), models: Allow::All, multiplier };
        house.run(operator(), PlatformCommand::ChangePlan { plan, spec });
    }
    let create =
        |plans| Command::CreateOrg { name: "acme".into(), settings: Settings::default(), plans };
    let chosen = |allowed, default| create(Some(PlanChoice { allowed, default }));
    house.answers(vec![
        (operator(), create(None), "OrgCreated PlanAssigned"),
        (operator(), chosen(None, None), "OrgCreated"),
        (operator(), chosen(Some(vec![GOLD]), Some(GOLD)), "OrgCreated PlanAssigned"),
        (operator(), chosen(Some(vec![GOLD]), Some(STANDARD)), "/default_plan"),
        (
            operator(),
            chosen(Some(Vec::new()), Some(PlanId(9))),
            "/allowed_plans /default_plan /default_plan",
        ),
    ]);
    house.done(operator(), create(None));
    assert_eq!((house.org.default_plan, &house.org.allowed_plans), (Some(STANDARD), &None));
}

#[test]
fn owners_change_settings_but_not_the_wallet() {
    let recoverable = Settings { secret_reveal: SecretReveal::Recoverable, ..Settings::default() };
    let prepaid = Settings { wallet: WalletMode::Prepaid, ..Settings::default() };
    let unbounded = Settings { max_staleness_ms: None, ..Settings::default() };
    let year = Settings { max_staleness_ms: Some(31_536_000_000), ..Settings::default() };
    let rename =
        |name: &str| Command::ChangeOrg { name: Some(name.into()), settings: None, plans: None };
    House::furnished().answers(vec![
        (owner(), change(recoverable), "OrgSettingsChanged"),
        (owner(), change(unbounded), "OrgSettingsChanged"),
        (owner(), change(year), "/max_staleness_seconds"),
        (owner(), change(prepaid), "needs operator"),
        (operator(), change(prepaid), "OrgSettingsChanged"),
        (owner(), change(Settings::default()), "nothing"),
        (owner(), rename("acme"), "nothing"),
        (owner(), rename("emca"), "OrgSettingsChanged"),
        (owner(), rename("a\nb"), "/name"),
        (admin(), rename("emca"), "needs owner"),
        (viewer(), rename("emca"), "needs owner"),
    ]);
}

#[test]
fn the_operator_assigns_plans_that_exist() {
    let house = House::furnished();
    house.answers(vec![
        (operator(), assign(None, Some(GOLD)), "PlanAssigned"),
        (operator(), assign(Some(vec![GOLD, STANDARD, GOLD]), Some(GOLD)), "PlanAssigned"),
        (operator(), assign(None, Some(STANDARD)), "nothing"),
        (operator(), assign(Some(vec![GOLD]), Some(STANDARD)), "/default_plan"),
        (operator(), assign(Some(Vec::new()), None), "/allowed_plans"),
        (operator(), assign(Some(vec![PlanId(9)]), None), "/allowed_plans"),
        (operator(), assign(None, Some(PlanId(9))), "/default_plan"),
        (owner(), assign(None, Some(GOLD)), "needs operator"),
    ]);
    let mut house = house;
    house.done(operator(), assign(Some(vec![GOLD, STANDARD, GOLD]), Some(GOLD)));
    assert_eq!(house.org.allowed_plans, Some(vec![STANDARD, GOLD]), "in one order, each once");
    house.answers(vec![
        (operator(), assign(Some(vec![STANDARD, GOLD]), Some(GOLD)), "nothing"),
        (member(), assign(None, None), "needs owner"),
    ]);
}

#[test]
fn a_version_that_was_not_seen_is_refused() {
    let mut house = House::furnished();
    let rename = Command::ChangeOrg { name: Some("emca".into()), settings: None, plans: None };
    house.expected = Some(house.org.settings_seq);
    house.answers(vec![(owner(), rename.clone(), "OrgSettingsChanged")]);
    house.expected = Some(house.org.settings_seq + 1);
    house.answers(vec![(owner(), rename, "etag_mismatch")]);
}
