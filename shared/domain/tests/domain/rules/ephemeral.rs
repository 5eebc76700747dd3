//! Ephemeral tokens: who may make which, what they are bound to, when they are forgotten.

use std::sync::Arc;

use turnpike_domain::admit::Denial;
use turnpike_domain::command::{Command, EphemeralDraft, KeyDraft, KeyPatch};
use turnpike_domain::ephemeral::{DEFAULT_LIFE_MS, Ended, MAX_LIFE_MS, MAX_LIVE_TOKENS};
use turnpike_domain::event::{EphemeralGrant, Event};
use turnpike_domain::id::{EphemeralId, KeyId};
use turnpike_domain::ledger;
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::money::NanoUsd;
use turnpike_domain::scope::{Allow, Attenuation, McpMode, McpScope, Scopes};
use turnpike_domain::state::{Key, REMEMBERED_MS, RevokeReason, SecretReveal, Settings};
use turnpike_domain::time::{HOUR_MS, SECOND_MS, Window};

use crate::house::{
    House, KEY, NOW, admin, capped, draft, fresh, member, other, outcome, owner, patched, viewer,
};

const TOKEN: EphemeralId = EphemeralId(1);
const REVOKE: Command = Command::RevokeEphemeral { key: KEY, token: TOKEN };

fn issue(draft: EphemeralDraft) -> Command {
    Command::IssueEphemeral { key: KEY, token: TOKEN, draft: Box::new(draft) }
}

fn plain() -> Command {
    issue(EphemeralDraft::default())
}

fn lasting(life_ms: u64) -> Command {
    issue(EphemeralDraft { life_ms: Some(life_ms), ..EphemeralDraft::default() })
}

fn costing(cap: i64) -> Command {
    issue(EphemeralDraft { cost_cap: Some(NanoUsd(cap)), ..EphemeralDraft::default() })
}

fn using(cap: u64) -> Command {
    issue(EphemeralDraft { token_cap: Some(cap), ..EphemeralDraft::default() })
}

fn narrowed(attenuation: Attenuation) -> Command {
    issue(EphemeralDraft { attenuation, ..EphemeralDraft::default() })
}

fn only(names: &[&str]) -> Allow {
    Allow::Only(names.iter().map(|name| (*name).into()).collect())
}

fn alone(life_ms: Option<u64>) -> Command {
    let (key, secret) = (KeyId(50), fresh(50));
    Command::CreateEphemeralKey {
        key,
        token: TOKEN,
        draft: Box::new(draft("job")),
        secret,
        life_ms,
    }
}

fn grant(house: &House, command: Command) -> EphemeralGrant {
    let events = house.decide(member(), command).expect("a token");
    match events.into_iter().next_back() {
        Some(Event::EphemeralIssued { grant, .. }) => *grant,
        other => panic!("{other:?}"),
    }
}

fn change(house: &mut House, change: impl FnOnce(&mut Key)) {
    change(Arc::make_mut(house.org.keys.get_mut(&KEY).expect("the key")));
}

#[test]
fn whoever_may_change_a_key_may_delegate_it() {
    let mut house = House::furnished();
    house.answers(vec![
        (member(), plain(), "EphemeralIssued"),
        (admin(), plain(), "EphemeralIssued"),
        (owner(), plain(), "EphemeralIssued"),
        (other(), plain(), "not_found"),
        (viewer(), plain(), "needs member"),
        (member(), REVOKE, "not_found"),
        (member(), alone(None), "KeyCreated EphemeralIssued"),
        (viewer(), alone(None), "needs member"),
    ]);
    house.done(member(), plain());
    house.answers(vec![
        (member(), plain(), "state_conflict"),
        (other(), REVOKE, "not_found"),
        (viewer(), REVOKE, "needs member"),
        (member(), REVOKE, "EphemeralRevoked"),
    ]);
    house.done(member(), REVOKE);
    house.answers(vec![(member(), REVOKE, "nothing")]);
}

#[test]
fn a_token_is_asked_for_within_its_key() {
    let mut house = House::furnished();
    change(&mut house, |key| {
        let addresses = Some(["10.0.0.0/8".parse().expect("a range")].into());
        let mcp = McpScope { enabled: true, mode: McpMode::DenyAll, ..McpScope::default() };
        let (models, providers) = (only(&["a", "b"]), only(&["p"]));
        key.profile.scopes = Scopes { models, providers, addresses, mcp };
        key.profile.limits = capped(100);
        key.profile.expires_at = Some(NOW.plus_ms(HOUR_MS / 2));
    });
    let none = Attenuation::default;
    let range = |text: &str| Some([text.parse().expect("a range")].into());
    let mcp = |mode| Some(McpScope { enabled: true, mode, ..McpScope::default() });
    let by = member;
    house.answers(vec![
        (by(), plain(), "EphemeralIssued"),
        (by(), narrowed(Attenuation { models: only(&["a"]), ..none() }), "EphemeralIssued"),
        (by(), narrowed(Attenuation { models: only(&["a", "c"]), ..none() }), "/scopes/models"),
        (by(), narrowed(Attenuation { models: only(&[]), ..none() }), "/scopes/models"),
        (by(), narrowed(Attenuation { providers: only(&["q"]), ..none() }), "/scopes/providers"),
        (
            by(),
            narrowed(Attenuation { addresses: range("10.1.0.0/16"), ..none() }),
            "EphemeralIssued",
        ),
        (by(), narrowed(Attenuation { addresses: range("11.0.0.1"), ..none() }), "/scopes/ips"),
        (by(), narrowed(Attenuation { mcp: mcp(McpMode::AllowAll), ..none() }), "/scopes/mcp"),
        (by(), narrowed(Attenuation { mcp: mcp(McpMode::DenyAll), ..none() }), "EphemeralIssued"),
        (by(), costing(100), "EphemeralIssued"),
        (by(), costing(0), "EphemeralIssued"),
        (by(), costing(101), "/cost_usd"),
        (by(), costing(-1), "/cost_usd"),
        (by(), using(0), "EphemeralIssued"),
        (by(), using(70), "EphemeralIssued"),
        (by(), using(u64::MAX), "/tokens"),
        (by(), lasting(HOUR_MS / 2), "EphemeralIssued"),
        (by(), lasting(HOUR_MS / 2 + 1), "/expires_in_seconds"),
        (by(), lasting(SECOND_MS - 1), "/expires_in_seconds"),
        (
            by(),
            issue(EphemeralDraft { name: Some("".into()), ..EphemeralDraft::default() }),
            "/name",
        ),
    ]);
    assert_eq!(grant(&house, plain()).expires_at, NOW.plus_ms(HOUR_MS / 2), "as long as its key");
    change(&mut house, |key| key.profile.expires_at = None);
    house.answers(vec![
        (by(), lasting(MAX_LIFE_MS), "EphemeralIssued"),
        (by(), lasting(MAX_LIFE_MS + 1), "/expires_in_seconds"),
    ]);
    assert_eq!(grant(&house, plain()).expires_at, NOW.plus_ms(DEFAULT_LIFE_MS));
}

#[test]
fn a_key_that_does_not_work_delegates_nothing() {
    for stop in [
        Command::DisableKey { key: KEY },
        Command::RevokeKey { key: KEY, reason: RevokeReason::Other },
        patched(KeyPatch { expires_at: Some(Some(NOW.plus_ms(1))), ..KeyPatch::default() }),
    ] {
        let mut house = House::furnished();
        house.done(member(), stop);
        house.now = NOW.plus_ms(1);
        house.answers(vec![(member(), plain(), "state_conflict")]);
    }
}

#[test]
fn a_key_has_so_many_tokens() {
    let mut house = House::furnished();
    let grant = Box::new(grant(&house, plain()));
    let made = (2..).take(MAX_LIVE_TOKENS).map(|number| Event::EphemeralIssued {
        key: KEY,
        token: EphemeralId(number),
        grant: grant.clone(),
    });
    house.apply(made.collect());
    house.answers(vec![(member(), plain(), "state_conflict")]);
    house.now = grant.expires_at;
    house.answers(vec![(member(), plain(), "EphemeralIssued")]);
}

#[test]
fn a_key_that_was_made_for_a_token_has_no_other_credential() {
    let mut house = House::furnished();
    let settings = Settings { secret_reveal: SecretReveal::Recoverable, ..Settings::default() };
    let settings = Some(settings);
    house.done(owner(), Command::ChangeOrg { name: None, settings, plans: None });
    house.done(member(), alone(Some(HOUR_MS)));
    let key = KeyId(50);
    let made = &house.org.keys[&key];
    assert!(made.ephemeral && made.recoverable.is_none());
    assert_eq!(made.profile.expires_at, Some(NOW.plus_ms(HOUR_MS)));
    let secret = fresh(51);
    house.answers(vec![
        (member(), Command::RotateKey { key, secret, overlap_ms: 0 }, "state_conflict"),
        (member(), Command::RevealSecret { key }, "state_conflict"),
        (member(), alone(None), "state_conflict"),
        (member(), Command::RevokeEphemeral { key, token: TOKEN }, "EphemeralRevoked"),
    ]);
    let nameless = Command::CreateEphemeralKey {
        key: KeyId(51),
        token: TOKEN,
        draft: Box::new(KeyDraft::default()),
        secret: fresh(51),
        life_ms: None,
    };
    assert_eq!(outcome(house.decide(member(), nameless)), "/name");
}

#[test]
fn a_token_with_a_cap_is_an_account_below_its_key() {
    let mut house = House::furnished();
    house.done(member(), costing(40));
    let account = Account::Ephemeral(TOKEN);
    let cap = house.org.caps[&(account, Unit::Usd)];
    assert_eq!((cap.amount, cap.revision), (Some(40), 1));
    let key = Arc::clone(&house.org.keys[&KEY]);
    let path = ledger::path(&house.org, &key, Some(TOKEN), NOW);
    assert_eq!(path[..2], [(account, Window(0)), (Account::Key(KEY), Window(0))]);
    let profile = Some(&key.profile);
    for then in [None, profile] {
        assert_eq!(ledger::path_of(&house.org, KEY, then, Some(TOKEN), NOW), path);
    }
    assert_eq!(path[1..], ledger::path(&house.org, &key, None, NOW));
    assert_eq!(path[1..], ledger::path(&house.org, &key, Some(EphemeralId(9)), NOW));
    // Closed like any other budget, and once.
    let close = Command::CloseBudget {
        account,
        unit: Unit::Usd,
        window: Window(0),
        revision: 1,
        settled: 40,
    };
    house.done(crate::house::operator(), close.clone());
    assert!(house.org.is_used_up(account, Unit::Usd, NOW));
    house.answers(vec![(crate::house::operator(), close, "nothing")]);
}

#[test]
fn tokens_are_forgotten_after_their_end_and_with_their_key() {
    let mut house = House::furnished();
    house.done(member(), costing(40));
    house.done(member(), REVOKE);
    let other = |number| Command::IssueEphemeral {
        key: KEY,
        token: EphemeralId(number),
        draft: Box::default(),
    };
    house.now = NOW.plus_ms(DEFAULT_LIFE_MS + REMEMBERED_MS - 1);
    house.done(member(), other(2));
    assert!(house.org.ephemerals[&(KEY, TOKEN)].revoked, "it may still be presented somewhere");
    house.now = house.now.plus_ms(1);
    house.done(member(), other(3));
    assert!(!house.org.ephemerals.contains_key(&(KEY, TOKEN)));
    assert!(!house.org.caps.contains_key(&(Account::Ephemeral(TOKEN), Unit::Usd)));
    assert_eq!(house.org.tokens_of(KEY).count(), 2);
    house.done(member(), Command::DeleteKey { key: KEY });
    assert!(house.org.ephemerals.is_empty() && house.org.ephemeral_ends.is_empty());
}

#[test]
fn every_end_has_its_code() {
    let codes = [
        (Ended::Key(Denial::KeyRevoked), "key_revoked"),
        (Ended::Key(Denial::KeyDisabled), "key_disabled"),
        (Ended::Key(Denial::KeyExpired), "key_expired"),
        (Ended::KeyGone, "key_revoked"),
        (Ended::Generation, "key_revoked"),
        (Ended::Revoked, "key_revoked"),
        (Ended::Expired, "key_expired"),
        (Ended::Unheard, "control_plane_stale"),
    ];
    for (ended, code) in codes {
        assert_eq!(ended.denial().code(), code, "{ended:?}");
        assert!(ended.sentence().ends_with('.'), "{}", ended.sentence());
    }
}
