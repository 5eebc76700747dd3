//! Tests of the envelope and its chain.

use proptest::prelude::*;

use super::*;
use crate::samples;

fn first() -> (Record, Stored) {
    let record = samples::record(1, Event::KeyDisabled { key: KeyId(7) });
    let stored = encode(&record, FIRST_HASH).unwrap();
    (record, stored)
}

/// The sent form of a body of fields of our own choice.
fn body(name: &str, version: u16, data: &[u8], extra: bool) -> Vec<u8> {
    let name: Box<str> = name.into();
    let data = Bytes(data.to_vec());
    let actor = samples::record(1, Event::KeyDisabled { key: KeyId(7) }).actor;
    let mut out = Writer::default();
    let to = &mut out;
    if extra {
        crate::write_fields!(
            to,
            0(&1_u64),
            1(&EventId(1)),
            2(&OrgId(2)),
            3(&3_u64),
            5(&Timestamp(5)),
            6(&actor),
            7(&CommandId(7)),
            8(&name),
            9(&version),
            10(&data),
            11(&FIRST_HASH),
            13(&13_u64)
        );
    } else {
        crate::write_fields!(
            to,
            1(&EventId(1)),
            2(&OrgId(2)),
            3(&3_u64),
            5(&Timestamp(5)),
            6(&actor),
            7(&CommandId(7)),
            8(&name),
            9(&version),
            10(&data),
            11(&FIRST_HASH)
        );
    }
    out.into_bytes()
}

fn through(body: &[u8]) -> Received {
    let hash = Sha256::digest(body).into();
    let sent = send(body, Position(9), &hash).unwrap();
    let received = receive(&sent).unwrap();
    assert_eq!(received.hash, hash, "the body is found again under position and hash");
    assert_eq!(decode(body, Position(9)), Ok(received.clone()));
    received
}

#[test]
fn a_record_comes_back_with_its_place_and_its_hash() {
    let (record, stored) = first();
    let received = through(&stored.bytes);
    assert_eq!(received.record, Ok(record));
    assert_eq!((received.seq, received.position), (1, Position(9)));
    assert_eq!((received.prev_hash, received.hash), (FIRST_HASH, stored.hash));
}

#[test]
fn a_later_event_is_held_back_and_the_chain_goes_on() {
    let mut data = Writer::default();
    let to = &mut data;
    crate::write_fields!(to, 1(&KeyId(7)), 99(&5_u64));
    let data = data.into_bytes();
    for (name, version, key, why) in [
        ("KeyFrozen", 1, Some(KeyId(7)), Unknown::Form),
        ("KeyDisabled", 2, Some(KeyId(7)), Unknown::Form),
        ("GatewayPainted", 1, None, Unknown::Form),
        (
            "KeyChanged",
            1,
            Some(KeyId(7)),
            Unknown::Data(Malformed::Missing { form: "KeyChanged", field: 2 }),
        ),
    ] {
        let unreadable = through(&body(name, version, &data, false)).record.unwrap_err();
        assert_eq!((&*unreadable.name, unreadable.version), (name, version));
        assert_eq!((unreadable.key, unreadable.why), (key, why), "{name}");
    }
    assert!(through(&body("KeyDisabled", 1, b"", false)).record.is_err());
    assert!(through(&body("KeyDisabled", 1, b"\xff\xff", false)).record.is_err());
}

#[test]
fn later_fields_of_envelope_and_data_are_passed_over() {
    let mut data = Writer::default();
    let to = &mut data;
    crate::write_fields!(to, 1(&KeyId(7)), 99(&5_u64));
    let received = through(&body("KeyDisabled", 1, &data.into_bytes(), true));
    assert_eq!(received.record.unwrap().event, Event::KeyDisabled { key: KeyId(7) });
}

#[test]
fn any_changed_bit_is_noticed() {
    let (_, stored) = first();
    let sent = send(&stored.bytes, Position(9), &stored.hash).unwrap();
    let clean = receive(&sent).unwrap();
    for bit in 0..sent.len() * 8 {
        let mut changed = sent.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        // The position is no part of the hash: it is known only after the commit.
        let differs = receive(&changed)
            .is_ok_and(|received| Received { position: clean.position, ..received } != clean);
        assert!(!differs, "bit {bit}");
    }
}

#[test]
fn a_record_is_shown_as_json_in_the_order_of_the_contract() {
    let (_, stored) = first();
    let received = decode(&stored.bytes, Position(1 << 90)).unwrap();
    let text = serde_json::to_string(&received).unwrap();
    let expected = format!(
        concat!(
            r#"{{"id":"evt_00000000000000000000000001","org":"org_00000000000000000000000002","#,
            r#""seq":1,"position":1237940039285380274899124224,"at":"2026-11-18T11:06:40.000Z","#,
            r#""actor":{{"address":"127.0.0.1","who":"mem_00000000000000000000000003"}},"#,
            r#""command_id":"cmd_00000000000000000000000005","type":"KeyDisabled","version":1,"#,
            r#""data":{{"key_id":"key_00000000000000000000000007"}},"#,
            r#""prev_hash":"{}","hash":"{}"}}"#,
        ),
        "00".repeat(32),
        stored.hash.map(|byte| format!("{byte:02x}")).concat(),
    );
    assert_eq!(text, expected);
    let later = decode(&body("KeyFrozen", 2, b"", false), Position(1)).unwrap();
    let shown = serde_json::to_value(&later).unwrap();
    assert_eq!((&shown["type"], &shown["version"]), (&"KeyFrozen".into(), &2.into()));
    assert!(shown["data"].is_null() && shown["id"].is_null());
}

#[test]
fn what_the_store_does_not_take_is_refused() {
    let note = "n".repeat(MAX_BODY_BYTES).into();
    let event =
        Event::WalletToppedUp { top_up: Default::default(), amount: Default::default(), note };
    assert!(encode(&samples::record(1, event), FIRST_HASH).is_err());
}

proptest! {
    #[test]
    fn every_record_comes_back(record in samples::any_record(), prev_hash: Hash) {
        let stored = encode(&record, prev_hash).unwrap();
        let received = through(&stored.bytes);
        prop_assert_eq!(received.prev_hash, prev_hash);
        prop_assert_eq!(received.hash, stored.hash);
        prop_assert_eq!(received.record, Ok(record));
    }

    #[test]
    fn arbitrary_bytes_are_read_without_harm(bytes: Vec<u8>, record in samples::any_record(),
        at: prop::sample::Index, byte: u8) {
        let _refused = receive(&bytes);
        let _refused = decode(&bytes, Position(1));
        let mut changed = encode(&record, FIRST_HASH).unwrap().bytes;
        let at = at.index(changed.len());
        changed[at] = byte;
        let _may_be_refused = decode(&changed, Position(1));
    }
}
