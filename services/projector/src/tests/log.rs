//! The request log as the projector keeps it: every field of every kind of record, to the last one.

use std::collections::BTreeMap;

use turnpike_bus::seam::{Bus as _, Feed, Start};
use turnpike_domain::admit::Denial;
use turnpike_domain::command::{Command, KeyPatch};
use turnpike_domain::event::Event;
use turnpike_domain::id::{EphemeralId, KeyId};
use turnpike_domain::limit::Limits;
use turnpike_domain::meter::Usage;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::spend::{Source, Spend};
use turnpike_domain::state::WalletMode;
use turnpike_store::requests::{self, Search};
use turnpike_store::usage;
use turnpike_wire::spend;

use super::budget::KEY;
use super::house::{Gateway, House, ORG};

const TOKEN: EphemeralId = EphemeralId(0xe9);
/// More than there are.
const ALL: usize = 100;

/// A gateway whose records are of all kinds, changed from usual ones.
fn gateway() -> Gateway {
    let mut gateway = Gateway::new(1, 5);
    let changed = gateway.records.iter().enumerate().map(|(place, bytes)| {
        let usual = spend::decode(bytes).unwrap();
        let refused = Spend {
            provider: None,
            usage: Usage::default(),
            source: Source::Counted,
            price_version: 0,
            cost: NanoUsd(0),
            unmetered: true,
            ..usual.clone()
        };
        match place {
            0 => Spend { token: Some(TOKEN), streamed: true, ..usual },
            1 => Spend {
                token: Some(TOKEN),
                model: "mcp/files".into(),
                provider: None,
                usage: Usage::default(),
                server: Some("files".into()),
                tool: Some("read".into()),
                ..usual
            },
            2 => Spend {
                status: 429,
                denial: Some(Denial::RateLimited),
                repeats: 7,
                decision: Some("dec_1".into()),
                ..refused
            },
            3 => Spend {
                token: Some(TOKEN),
                status: 403,
                denial: Some(Denial::McpNotAllowed),
                decision: Some("dec_2".into()),
                server: Some("files".into()),
                tool: Some("remove".into()),
                ..refused
            },
            _ => Spend { legacy: true, failovers: 2, suspect: true, ..usual },
        }
    });
    gateway.records = changed.map(|record| spend::encode(&record)).collect();
    gateway
}

#[tokio::test(start_paused = true)]
async fn every_field_of_a_record_stands_in_the_log() {
    let house = House::new();
    let _projector = house.projector();
    let mut gateway = gateway();
    gateway.send_until_booked(&house).await;
    let snapshot = house.kv.snapshot().await.unwrap();
    let mut rows = requests::newest(&*snapshot, ORG, &Search::default(), ALL).await.unwrap();
    rows.sort_by_key(|row| row.number);
    let sent: Vec<Spend> =
        gateway.records.iter().map(|bytes| spend::decode(bytes).unwrap()).collect();
    let logged: Vec<Spend> = rows.iter().map(|row| row.record.clone()).collect();
    assert_eq!(logged, sent);
    assert!(rows.iter().all(|row| (row.gateway, row.epoch) == (gateway.id, gateway.epoch)));
    for record in &sent {
        let of_key = Search { keys: Some(vec![record.key]), ..Search::default() };
        let of_key = requests::newest(&*snapshot, ORG, &of_key, ALL).await.unwrap();
        assert!(of_key.iter().any(|row| row.record == *record), "{record:?}");
    }

    let token = usage::token(&*snapshot, ORG, TOKEN).await.unwrap();
    assert_eq!((token.requests, token.refused), (2, 1), "the refused one is counted apart");
    assert_eq!(token.cost, sent[0].cost.plus(sent[1].cost));
    let mut keys = (0, 0);
    for key in 0..3 {
        let total = usage::key(&*snapshot, ORG, KeyId(key)).await.unwrap();
        keys = (keys.0 + total.requests, keys.1 + total.refused);
    }
    assert_eq!(keys, (3, 9), "eight stand behind one record");
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_again_stands_in_the_log_once() {
    let house = House::new();
    let _projector = house.projector();
    let gateway = gateway();
    for _ in 0..3 {
        gateway.send(&house, 0..5, true).await;
        house.clock.sleep(1_000).await;
    }
    let snapshot = house.kv.snapshot().await.unwrap();
    let rows = requests::newest(&*snapshot, ORG, &Search::default(), ALL).await.unwrap();
    assert_eq!(rows.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn settled_spend_has_the_metadata_that_the_key_had_then() {
    let house = House::new();
    house.found(WalletMode::Off, Limits::default()).await;
    let events = house.events().await;
    let made = events.iter().position(|event| matches!(event, Event::KeyCreated { .. })).unwrap();
    let mut states = vec![(u64::try_from(made).unwrap() + 1, None)];
    for text in [r#"{"team":"a"}"#, r#"{"team":"b"}"#] {
        let metadata = Some(Some(text.into()));
        let patch = Box::new(KeyPatch { metadata, ..KeyPatch::default() });
        house.command(Command::ChangeKey { key: KEY, patch }).await;
        states.push((states.last().unwrap().0 + 1, Some(text)));
    }
    let mut gateway = Gateway::new(1, states.len());
    let mut expected = BTreeMap::new();
    for (bytes, (key_seq, metadata)) in gateway.records.iter_mut().zip(states) {
        let record = Spend { key: KEY, key_seq, ..spend::decode(bytes).unwrap() };
        *bytes = spend::encode(&record);
        let settled = metadata.map(|text| spend::settled(&record, text).unwrap());
        expected.insert(record.request, settled.unwrap_or_else(|| bytes.clone()));
    }
    let _projector = house.projector();
    gateway.send_until_booked(&house).await;
    let mut reader = house.bus.read(Feed::Ledger(None), Start::Oldest).await.unwrap();
    let told: BTreeMap<_, _> = std::iter::from_fn(|| reader.ready())
        .map(|message| message.unwrap().payload.to_vec())
        .map(|payload| (spend::decode(&payload).unwrap().request, payload))
        .collect();
    assert_eq!(told, expected);
}
