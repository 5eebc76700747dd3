//! Keys: made, changed, rotated, stopped and brought back.

use std::collections::{BTreeMap, BTreeSet};

use turnpike_domain::command::{
    Command, KeyDraft, KeyPatch, MAX_OVERLAP_MS, PlanChoice, PlanUsers, PlatformCommand,
};
use turnpike_domain::event::Event;
use turnpike_domain::id::{KeyId, MemberId, PlanId, ProjectId};
use turnpike_domain::limit::Limits;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::refusal::Refusal;
use turnpike_domain::scope::{Allow, McpMode, McpScope, Scopes};
use turnpike_domain::state::{RevokeReason, Role, SecretReveal, Settings, Standing, Status};
use turnpike_domain::time::{DAY_MS, Timestamp};

use crate::house::{
    ADMIN, GOLD, House, KEY, MEMBER, NOW, OTHER, PROJECT, STANDARD, VIEWER, admin, capped,
    create_key, draft, drafted, fresh, member, operator, other, owner, patched, person, viewer,
};

fn names(all: &[&str]) -> BTreeSet<Box<str>> {
    all.iter().map(|name| (*name).into()).collect()
}

fn rotate(number: u8, overlap_ms: u64) -> Command {
    Command::RotateKey { key: KEY, secret: fresh(number), overlap_ms }
}

fn revoke(reason: RevokeReason) -> Command {
    Command::RevokeKey { key: KEY, reason }
}

fn activate(number: Option<u8>) -> Command {
    Command::ActivateKey { key: KEY, rotate: number.map(fresh) }
}

const DISABLE: Command = Command::DisableKey { key: KEY };
const ENABLE: Command = Command::EnableKey { key: KEY };
const DELETE: Command = Command::DeleteKey { key: KEY };
const REVEAL: Command = Command::RevealSecret { key: KEY };

#[test]
fn who_may_make_a_key_for_whom() {
    let owned = |owner| drafted(KeyDraft { owner: Some(owner), ..draft("second") });
    let planned = |plan| drafted(KeyDraft { plan: Some(plan), ..draft("second") });
    let stranger = person(MemberId(77), Role::Member);
    House::furnished().answers(vec![
        (member(), drafted(draft("second")), "KeyCreated"),
        (member(), owned(MEMBER), "KeyCreated"),
        (member(), owned(OTHER), "needs admin"),
        (admin(), owned(OTHER), "KeyCreated"),
        (admin(), owned(MemberId(77)), "/owner_id"),
        (operator(), drafted(draft("second")), "KeyCreated"),
        (viewer(), drafted(draft("second")), "needs member"),
        (stranger, drafted(draft("second")), "/owner_id"),
        (member(), planned(STANDARD), "KeyCreated"),
        (member(), planned(GOLD), "needs admin"),
        (admin(), planned(GOLD), "KeyCreated"),
        (admin(), planned(PlanId(9)), "/plan_id"),
        (member(), create_key(KEY, "second"), "state_conflict"),
        (member(), drafted(draft("first")), "name_taken"),
    ]);
}

#[test]
fn a_key_takes_the_callers_name_and_the_default_plan() {
    let mut house = House::furnished();
    let key = &house.org.keys[&KEY];
    assert_eq!((key.profile.owner, key.profile.plan), (Some(MEMBER), STANDARD));
    assert_eq!((key.generation, key.seq), (1, house.org.head.seq - 2));
    assert!(key.recoverable.is_none(), "secrets are not kept unless the organisation says so");
    house.done(operator(), drafted(draft("second")));
    assert_eq!(house.org.keys[&KeyId(99)].profile.owner, None);
}

#[test]
fn plans_bind_admins_too() {
    let mut house = House::furnished();
    let plans = Some(PlanChoice { allowed: Some(vec![GOLD]), default: None });
    house.done(operator(), Command::ChangeOrg { name: None, settings: None, plans });
    let planned = |plan| drafted(KeyDraft { plan, ..draft("second") });
    house.answers(vec![
        (admin(), planned(Some(GOLD)), "KeyCreated"),
        (admin(), planned(Some(STANDARD)), "/plan_id"),
        (member(), planned(None), "/plan_id"),
        // A key that is on a plan already stays what it is.
        (
            member(),
            patched(KeyPatch { name: Some("new".into()), ..KeyPatch::default() }),
            "KeyChanged",
        ),
    ]);
}

#[test]
fn every_mistake_is_told_at_once() {
    let tools = BTreeMap::from([("files/a".into(), names(&[])), ("b c".into(), names(&["\n"]))]);
    let mcp = McpScope { enabled: true, mode: McpMode::AllowList, servers: names(&[]), tools };
    let draft = KeyDraft {
        name: "x".repeat(101).into(),
        owner: Some(MemberId(77)),
        project: Some(ProjectId(77)),
        plan: Some(PlanId(77)),
        expires_at: Some(NOW),
        limits: Limits {
            cost: Some(NanoUsd(-1)),
            tokens: Some(u64::MAX),
            requests_per_minute: Some(0),
            tokens_per_minute: Some(0),
            alert_percent: vec![80, 50],
            ..Limits::default()
        },
        scopes: Scopes {
            models: Allow::Only(names(&[])),
            providers: Allow::Only(names(&["good", "with space"])),
            addresses: Some(BTreeSet::new()),
            mcp,
        },
        metadata: Some("x".repeat(4_097).into()),
    };
    let all = "/name /owner_id /project_id /expires_at /limits/cost_usd /limits/tokens \
               /limits/requests_per_minute /limits/tokens_per_minute /limits/alert_percent \
               /scopes/models /scopes/providers/1 /scopes/ips /scopes/mcp/servers \
               /scopes/mcp/tools/b c /scopes/mcp/tools/b c/0 /scopes/mcp/tools/files~1a \
               /metadata /plan_id";
    House::furnished().answers(vec![(admin(), drafted(draft), all)]);
}

#[test]
fn an_empty_list_is_refused_with_the_way_out() {
    let scopes = Scopes { models: Allow::Only(BTreeSet::new()), ..Scopes::default() };
    let refused = House::furnished()
        .decide(member(), drafted(KeyDraft { scopes, ..draft("second") }))
        .expect_err("an empty list");
    let Refusal::Invalid(errors) = refused else { panic!("{refused:?}") };
    assert!(errors[0].message.contains("use null for no restriction, or disable the key"));
}

#[test]
fn which_limits_are_sound() {
    let limits = |limits| drafted(KeyDraft { limits, ..draft("second") });
    let alerts = |alert_percent: Vec<u8>| limits(Limits { alert_percent, ..capped(1) });
    House::furnished().answers(vec![
        (member(), limits(capped(0)), "KeyCreated"),
        (member(), limits(Limits { tokens: Some(0), ..Limits::default() }), "KeyCreated"),
        (member(), alerts(vec![50, 80, 100]), "KeyCreated"),
        (member(), alerts(vec![]), "KeyCreated"),
        (member(), alerts(vec![0]), "/limits/alert_percent"),
        (member(), alerts(vec![101]), "/limits/alert_percent"),
        (member(), alerts(vec![50, 50]), "/limits/alert_percent"),
    ]);
}

#[test]
fn what_is_not_changed_is_not_checked() {
    let mut house = House::furnished();
    let expires_at = Some(Some(house.now.plus_ms(1)));
    house.done(member(), patched(KeyPatch { expires_at, ..KeyPatch::default() }));
    house.now = house.now.plus_ms(DAY_MS);
    house.run(
        operator(),
        PlatformCommand::DeletePlan { plan: STANDARD, used_by: PlanUsers::default() },
    );
    let rename = KeyPatch { name: Some("new".into()), ..KeyPatch::default() };
    let same = KeyPatch { name: Some("first".into()), expires_at, ..KeyPatch::default() };
    let past = KeyPatch { expires_at: Some(Some(Timestamp(5))), ..KeyPatch::default() };
    house.answers(vec![
        (member(), patched(rename), "KeyChanged"),
        (member(), patched(same), "nothing"),
        (member(), patched(KeyPatch::default()), "nothing"),
        (member(), patched(past), "/expires_at"),
    ]);
}

#[test]
fn who_may_change_what_of_a_key() {
    let mut house = House::furnished();
    house.done(member(), create_key(KeyId(2), "second"));
    let rename = || patched(KeyPatch { name: Some("new".into()), ..KeyPatch::default() });
    let taken = patched(KeyPatch { name: Some("second".into()), ..KeyPatch::default() });
    let give = |owner| patched(KeyPatch { owner: Some(owner), ..KeyPatch::default() });
    let plan = |plan| patched(KeyPatch { plan: Some(plan), ..KeyPatch::default() });
    let project = |project| patched(KeyPatch { project: Some(project), ..KeyPatch::default() });
    house.answers(vec![
        (member(), rename(), "KeyChanged"),
        (admin(), rename(), "KeyChanged"),
        (other(), rename(), "not_found"),
        (viewer(), rename(), "needs member"),
        (member(), taken, "name_taken"),
        (member(), give(OTHER), "needs admin"),
        (member(), give(MEMBER), "nothing"),
        (admin(), give(VIEWER), "KeyChanged"),
        (admin(), give(MemberId(77)), "/owner_id"),
        (member(), plan(GOLD), "needs admin"),
        (member(), plan(STANDARD), "nothing"),
        (admin(), plan(GOLD), "KeyChanged"),
        (member(), project(Some(PROJECT)), "KeyChanged"),
        (member(), project(Some(ProjectId(77))), "/project_id"),
    ]);
    house.expected = Some(house.org.keys[&KEY].seq + 1);
    house.answers(vec![(member(), rename(), "etag_mismatch")]);
}

#[test]
fn rotation_replaces_the_secret_and_may_overlap_for_a_day() {
    let mut house = House::furnished();
    house.answers(vec![
        (member(), rotate(2, 0), "KeyRotated"),
        (other(), rotate(2, 0), "not_found"),
        (viewer(), rotate(2, 0), "needs member"),
        (member(), rotate(2, MAX_OVERLAP_MS), "KeyRotated"),
        (member(), rotate(2, MAX_OVERLAP_MS + 1), "/overlap_seconds"),
        (member(), rotate(1, 0), "state_conflict"),
    ]);
    house.done(member(), rotate(2, 1_000));
    let key = &house.org.keys[&KEY];
    let previous = key.previous.as_ref().expect("an overlap");
    assert_eq!(previous.secret, fresh(1).stored);
    assert_eq!(previous.until, Some(house.now.plus_ms(1_000)));
    assert_eq!((key.generation, key.rotated_at), (2, Some(house.now)));
    house.answers(vec![(member(), rotate(1, 0), "state_conflict")]);
    house.done(member(), rotate(3, 0));
    assert_eq!(house.org.keys[&KEY].previous, None, "a new rotation ends an overlap");
}

#[test]
fn an_expired_key_can_be_rotated() {
    let mut house = House::furnished();
    let expires_at = Some(Some(house.now.plus_ms(1)));
    house.done(member(), patched(KeyPatch { expires_at, ..KeyPatch::default() }));
    house.now = house.now.plus_ms(1);
    assert_eq!(house.org.keys[&KEY].status(house.now, false), Status::Expired);
    house.answers(vec![(member(), rotate(2, 0), "KeyRotated")]);
}

#[test]
fn a_key_goes_through_its_states() {
    use RevokeReason::{Compromised, Other, Unused};
    const NO: &str = "state_conflict";
    const FRESH: &str = "KeyRotated KeyActivated";
    // Active, inactive, revoked, revoked as compromised.
    let states = [vec![], vec![DISABLE], vec![revoke(Unused)], vec![revoke(Compromised)]];
    let table = [
        (DISABLE, ["KeyDisabled", "nothing", NO, NO]),
        (ENABLE, ["nothing", "KeyEnabled", NO, NO]),
        (rotate(2, 0), ["KeyRotated", "KeyRotated", NO, NO]),
        (revoke(Unused), ["KeyRevoked", "KeyRevoked", "nothing", NO]),
        (revoke(Other), ["KeyRevoked", "KeyRevoked", "KeyRevoked", NO]),
        (revoke(Compromised), ["KeyRevoked", "KeyRevoked", "KeyRevoked", "nothing"]),
        (activate(None), ["nothing", "KeyActivated", "KeyActivated", "rotation_required"]),
        (activate(Some(2)), [NO, FRESH, FRESH, FRESH]),
        (DELETE, ["KeyDeleted"; 4]),
    ];
    for (place, before) in states.into_iter().enumerate() {
        let mut house = House::furnished();
        for command in before {
            house.done(member(), command);
        }
        let rows = table.iter().map(|(command, said)| (member(), command.clone(), said[place]));
        house.answers(rows.collect());
    }
}

#[test]
fn activation_clears_both_stops_and_ends_an_overlap() {
    let mut house = House::furnished();
    house.done(member(), rotate(2, 60_000));
    house.done(member(), DISABLE);
    house.done(member(), revoke(RevokeReason::Compromised));
    house.done(member(), activate(Some(3)));
    let key = &house.org.keys[&KEY];
    assert_eq!(key.standing, Standing::default());
    assert_eq!(key.secret, fresh(3).stored);
    assert_eq!(key.previous, None, "what was stolen stays dead");
    assert_eq!(key.generation, 4, "two rotations and a stop");
}

#[test]
fn a_deleted_key_leaves_its_name_and_nothing_to_order() {
    let mut house = House::furnished();
    house.answers(vec![
        (other(), DELETE, "not_found"),
        (viewer(), DELETE, "needs member"),
        (owner(), DELETE, "KeyDeleted"),
    ]);
    house.done(member(), DELETE);
    assert!(house.org.keys.is_empty() && house.org.key_names.is_empty());
    house.answers(vec![
        (member(), DELETE, "not_found"),
        (member(), rotate(2, 0), "not_found"),
        (member(), drafted(draft("first")), "KeyCreated"),
    ]);
}

#[test]
fn secrets_are_revealed_only_where_they_are_kept() {
    let mut house = House::furnished();
    let set = |secret_reveal| Command::ChangeOrg {
        name: None,
        settings: Some(Settings { secret_reveal, ..Settings::default() }),
        plans: None,
    };
    house.answers(vec![(member(), REVEAL, "state_conflict")]);
    house.done(owner(), set(SecretReveal::Recoverable));
    house.answers(vec![(member(), REVEAL, "state_conflict")]);
    house.done(member(), rotate(2, 0));
    house.answers(vec![
        (member(), REVEAL, "SecretRevealed"),
        (admin(), REVEAL, "SecretRevealed"),
        (other(), REVEAL, "not_found"),
        (viewer(), REVEAL, "needs member"),
        (person(VIEWER, Role::Viewer), REVEAL, "needs member"),
    ]);
    house.done(owner(), set(SecretReveal::Once));
    house.answers(vec![(member(), REVEAL, "state_conflict")]);
    house.done(member(), rotate(3, 0));
    assert_eq!(house.org.keys[&KEY].recoverable, None);
}

#[test]
fn the_same_draft_in_other_hands_is_the_same_key() {
    let house = House::furnished();
    let by_admin = KeyDraft { owner: Some(MEMBER), ..draft("second") };
    let mine = house.decide(member(), drafted(draft("second")));
    assert_eq!(mine, house.decide(admin(), drafted(by_admin)));
    let Ok(events) = mine else { panic!("{mine:?}") };
    assert!(
        matches!(&events[..], [Event::KeyCreated { profile, .. }] if profile.owner != Some(ADMIN))
    );
}
