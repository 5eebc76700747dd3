//! Legacy keys: imported, migrated, finished.

use turnpike_domain::admit;
use turnpike_domain::command::{Command, ImportedKey, KeyDraft};
use turnpike_domain::decide::{Seen, World, imports};
use turnpike_domain::event::Event;
use turnpike_domain::evolve;
use turnpike_domain::id::{CommandId, EventId, KeyId, MemberId, PlanId};
use turnpike_domain::limit::Limits;
use turnpike_domain::refusal::Refusal;
use turnpike_domain::secret::{Digest, PublicId};
use turnpike_domain::state::{RevokeReason, SecretReveal, Settings};

use crate::house::{
    ADMIN, House, KEY, MEMBER, ORG, STANDARD, admin, draft, fresh, hash, imported, legacy, member,
    operator, other, owner, position, viewer,
};

const OLD: KeyId = KeyId(7);

fn import(keys: Vec<ImportedKey>) -> Command {
    Command::ImportKeys { keys }
}

/// A house with one legacy key, of the admin.
fn with_legacy() -> House {
    let mut house = House::furnished();
    house.done(admin(), import(vec![imported(OLD, draft("old"), 40)]));
    house
}

fn migrate(number: u8) -> Command {
    Command::MigrateKey { key: OLD, secret: fresh(number) }
}

fn rotate(number: u8, overlap_ms: u64) -> Command {
    Command::RotateKey { key: OLD, secret: fresh(number), overlap_ms }
}

const FINISH: Command = Command::FinishMigration { key: OLD };

/// Which of the secrets 40 (legacy), 1 and 2 open the key.
fn open(house: &House) -> [bool; 3] {
    let key = &house.org.keys[&OLD];
    let ids = [legacy(40).public_id, PublicId([1; 16]), PublicId([2; 16])];
    ids.map(|id| admit::key_works(key, id, house.now).is_ok())
}

#[test]
fn an_import_makes_keys_without_limits_that_are_marked() {
    let house = with_legacy();
    let key = &house.org.keys[&OLD];
    assert_eq!((key.profile.owner, key.profile.plan), (Some(ADMIN), STANDARD));
    assert_eq!((&key.profile.limits, &key.recoverable), (&Limits::default(), &None));
    assert!(key.is_legacy(house.now) && !key.is_migrating());
    assert!(!house.org.keys[&KEY].is_legacy(house.now));
    assert_eq!(open(&house), [true, false, false]);
}

#[test]
fn an_admin_imports_for_anyone_and_nobody_below() {
    let house = House::furnished();
    let keys = vec![imported(OLD, KeyDraft { owner: Some(MEMBER), ..draft("old") }, 40)];
    for by in [admin(), owner()] {
        assert_eq!(house.decide(by, import(keys.clone())).unwrap().len(), 1);
    }
    for by in [member(), other(), viewer()] {
        let refused = house.decide(by, import(keys.clone()));
        assert!(matches!(refused, Err(Refusal::Forbidden { .. })), "{refused:?}");
    }
}

#[test]
fn one_row_that_may_not_be_imported_stops_the_command_and_each_is_judged_alone() {
    let house = with_legacy();
    let keys = vec![
        imported(KeyId(20), draft("fine"), 50),
        imported(KeyId(21), draft("old"), 51),
        imported(KeyId(22), draft("fine"), 52),
        imported(KeyId(23), draft("again"), 50),
        imported(KeyId(24), draft(""), 53),
        imported(KeyId(25), KeyDraft { owner: Some(MemberId(99)), ..draft("nobody's") }, 54),
        imported(KeyId(26), KeyDraft { plan: Some(PlanId(99)), ..draft("no plan") }, 55),
        imported(OLD, draft("same id"), 56),
        imported(KeyId(27), draft("fine too"), 57),
    ];
    assert!(house.decide(admin(), import(keys.clone())).is_err());
    let world = World { platform: &house.platform, organisation: &house.org };
    let judged = imports(world, (&admin(), house.now), &keys, &mut Seen::default()).unwrap();
    let passed: Vec<bool> = judged.iter().map(Result::is_ok).collect();
    assert_eq!(passed, [true, false, false, false, false, false, false, false, true]);
    let sound = judged.iter().zip(keys).filter(|(judged, _)| judged.is_ok());
    let sound: Vec<_> = sound.map(|(_, key)| key).collect();
    assert_eq!(house.decide(admin(), import(sound)).unwrap().len(), 2);
}

#[test]
fn what_was_seen_before_is_not_imported_again() {
    let house = House::furnished();
    let world = World { platform: &house.platform, organisation: &house.org };
    let mut seen = Seen::default();
    let judge = |keys: &[ImportedKey], seen: &mut Seen| {
        let judged = imports(world, (&admin(), house.now), keys, seen).unwrap();
        judged.iter().map(Result::is_ok).collect::<Vec<_>>()
    };
    assert_eq!(judge(&[imported(KeyId(20), draft("a"), 50)], &mut seen), [true]);
    let again = [imported(KeyId(21), draft("a"), 51), imported(KeyId(22), draft("b"), 50)];
    assert_eq!(judge(&again, &mut seen), [false, false]);
}

#[test]
fn a_migration_keeps_both_secrets_until_it_is_finished() {
    let mut house = with_legacy();
    let before = house.org.keys[&OLD].generation;
    house.done(admin(), migrate(1));
    assert_eq!(open(&house), [true, true, false]);
    let key = &house.org.keys[&OLD];
    assert!(key.is_legacy(house.now) && key.is_migrating());
    assert_eq!((key.generation, key.rotated_at), (before, Some(house.now)));
    house.now = house.now.plus_ms(1_000 * turnpike_domain::time::DAY_MS);
    assert_eq!(open(&house), [true, true, false], "no time ends it");

    house.done(admin(), FINISH);
    assert_eq!(open(&house), [false, true, false]);
    let key = &house.org.keys[&OLD];
    assert!(!key.is_legacy(house.now) && !key.is_migrating());
    assert_eq!(key.generation, before + 1, "tokens of the old secret end with it");
    for command in [FINISH, migrate(2)] {
        let refused = house.decide(admin(), command);
        assert!(matches!(refused, Err(Refusal::StateConflict { .. })), "{refused:?}");
    }
}

#[test]
fn only_a_legacy_key_that_stands_begins_a_migration() {
    let mut house = with_legacy();
    let full = Command::MigrateKey { key: KEY, secret: fresh(1) };
    for (by, command) in
        [(admin(), full), (admin(), Command::FinishMigration { key: KEY }), (admin(), FINISH)]
    {
        let refused = house.decide(by, command);
        assert!(matches!(refused, Err(Refusal::StateConflict { .. })), "{refused:?}");
    }
    for by in [member(), other()] {
        let refused = house.decide(by, migrate(1));
        assert_eq!(refused, Err(Refusal::NotFound { noun: "key" }));
    }
    assert!(matches!(house.decide(viewer(), migrate(1)), Err(Refusal::Forbidden { .. })));
    house.done(admin(), Command::RevokeKey { key: OLD, reason: RevokeReason::Other });
    assert!(matches!(house.decide(admin(), migrate(1)), Err(Refusal::StateConflict { .. })));
}

#[test]
fn a_rotation_during_a_migration_replaces_the_new_secret_alone() {
    let mut house = with_legacy();
    house.done(admin(), migrate(1));
    let refused = house.decide(admin(), rotate(2, 1)).unwrap_err();
    assert!(refused.to_string().starts_with("/overlap_seconds must be 0"), "{refused}");
    house.done(admin(), rotate(2, 0));
    assert_eq!(open(&house), [true, false, true]);
    house.done(admin(), FINISH);
    assert_eq!(open(&house), [false, false, true]);
}

#[test]
fn a_rotation_makes_a_legacy_key_full_at_once_or_after_the_overlap() {
    let mut house = with_legacy();
    house.done(admin(), rotate(1, 1_000));
    assert_eq!(open(&house), [true, true, false]);
    assert!(house.org.keys[&OLD].is_legacy(house.now));
    assert!(house.decide(admin(), FINISH).is_err(), "its end is known");
    house.now = house.now.plus_ms(1_000);
    assert_eq!(open(&house), [false, true, false]);
    assert!(!house.org.keys[&OLD].is_legacy(house.now));

    let mut house = with_legacy();
    house.done(admin(), rotate(1, 0));
    assert_eq!(open(&house), [false, true, false]);
}

#[test]
fn an_activation_with_a_rotation_leaves_no_legacy_secret() {
    let mut house = with_legacy();
    house.done(admin(), migrate(1));
    let (key, reason) = (OLD, RevokeReason::Compromised);
    house.done(admin(), Command::RevokeKey { key, reason });
    assert_eq!(open(&house), [false; 3]);
    house.done(admin(), Command::ActivateKey { key, rotate: Some(fresh(2)) });
    assert_eq!(open(&house), [false, false, true]);
    assert!(!house.org.keys[&OLD].is_legacy(house.now));
}

#[test]
fn a_legacy_secret_is_never_kept_and_a_new_one_is_where_others_are() {
    let mut house = with_legacy();
    let settings = Settings { secret_reveal: SecretReveal::Recoverable, ..Settings::default() };
    house.done(owner(), Command::ChangeOrg { name: None, settings: Some(settings), plans: None });
    let reveal = Command::RevealSecret { key: OLD };
    let refused = house.decide(admin(), reveal.clone()).unwrap_err();
    assert_eq!(refused.to_string(), "a legacy secret is not kept: migrate the key");
    house.done(admin(), migrate(1));
    assert!(house.org.keys[&OLD].recoverable.is_some());
    assert!(house.decide(admin(), reveal).is_ok());
}

/// The legacy secrets that a command begins and ends.
fn changes(house: &House, command: Command) -> Vec<(Digest, Option<KeyId>)> {
    let events = house.decide(operator(), command).unwrap();
    let record = |event: Event| turnpike_domain::event::Record {
        id: EventId(1),
        org: ORG,
        seq: house.org.head.seq + 1,
        at: house.now,
        actor: admin().actor,
        command: CommandId(1),
        event,
    };
    let records: Vec<_> = events.into_iter().map(record).collect();
    evolve::legacy_after(&house.org, &records)
}

#[test]
fn what_events_begin_and_end_of_legacy_secrets_is_told_before_they_are_applied() {
    let old = legacy(40).digest;
    let fresh_house = House::furnished();
    let begun = changes(&fresh_house, import(vec![imported(OLD, draft("old"), 40)]));
    assert_eq!(begun, [(old, Some(OLD))]);

    let mut house = with_legacy();
    assert_eq!(changes(&house, migrate(1)), []);
    assert_eq!(changes(&house, rotate(1, 1_000)), [], "it works until its overlap is over");
    for ended in [rotate(1, 0), Command::DeleteKey { key: OLD }] {
        assert_eq!(changes(&house, ended), [(old, None)]);
    }
    house.done(admin(), migrate(1));
    assert_eq!(changes(&house, rotate(2, 0)), []);
    assert_eq!(changes(&house, FINISH), [(old, None)]);
    let (key, reason) = (OLD, RevokeReason::Compromised);
    house.done(admin(), Command::RevokeKey { key, reason });
    let activated = Command::ActivateKey { key, rotate: Some(fresh(2)) };
    assert_eq!(changes(&house, activated), [(old, None)]);
}

#[test]
fn an_id_of_a_legacy_secret_is_never_one_of_ours() {
    for byte in 0..=u8::MAX {
        assert!(PublicId::of_digest(&Digest([byte; 32])).is_legacy());
    }
    assert!(b"09AZaz".iter().all(|letter| !PublicId([*letter; 16]).is_legacy()));
    // Of two that differ where the mark stands, the digests are compared.
    let ids = [[0x00; 32], [0x80; 32]].map(|digest| PublicId::of_digest(&Digest(digest)));
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn an_import_that_is_repeated_in_the_stream_changes_nothing() {
    let mut house = with_legacy();
    house.done(admin(), migrate(1));
    let before = house.org.keys[&OLD].clone();
    let profile = Box::new(draft("old").profile(Some(ADMIN), STANDARD));
    let event = Event::KeyImported { key: OLD, profile, secret: legacy(40) };
    let seq = house.org.head.seq + 1;
    let record = turnpike_domain::event::Record {
        id: EventId(1),
        org: ORG,
        seq,
        at: house.now,
        actor: admin().actor,
        command: CommandId(1),
        event,
    };
    evolve::organisation(&mut house.org, &record, hash(seq), position(seq));
    assert_eq!(house.org.keys[&OLD], before);
}
