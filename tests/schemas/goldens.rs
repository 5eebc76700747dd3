//! Forms for ever: every event form has a golden file, and every golden file still means the same.
//!
//! A golden is the sent form of one record; its twin shows it as JSON. Nothing here overwrites one:
//! a changed form needs a new version with goldens of its own. Write missing ones with
//! `cargo test -p turnpike-tests --test schemas -- --ignored`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use turnpike_domain::event::Record;
use turnpike_domain::id::Position;
use turnpike_wire::event;
use turnpike_wire::record::{self, FIRST_HASH};

use crate::{messages, samples};

/// A position as FoundationDB gives them: more than 64 bits.
const POSITION: Position = Position(0x0000_0a1b_2c3d_4e5f_0000_0001);

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas").join(name)
}

/// Every file of a folder by its name.
fn files(name: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect()
}

/// `KeyCreated.least` at version 1 stands in `KeyCreated.v1.least`.
fn stem(name: &str, version: u16) -> String {
    match name.split_once('.') {
        Some((name, case)) => format!("{name}.v{version}.{case}"),
        None => format!("{name}.v{version}"),
    }
}

fn sent(record: &Record) -> Vec<u8> {
    let stored = record::encode(record, FIRST_HASH).unwrap();
    record::send(&stored.bytes, POSITION, &stored.hash).unwrap()
}

fn json(sent: &[u8]) -> String {
    serde_json::to_string_pretty(&record::receive(sent).unwrap()).unwrap() + "\n"
}

/// What the goldens of today's forms should be.
fn expected() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for (name, record) in samples::all() {
        let stem = stem(&name, event::version(&record.event));
        let bytes = sent(&record);
        files.insert(format!("{stem}.json"), json(&bytes).into_bytes());
        assert!(files.insert(format!("{stem}.cbor"), bytes).is_none(), "{stem} is there twice");
    }
    files
}

#[test]
fn every_event_form_has_a_golden() {
    let goldens = files("golden");
    for (name, version) in event::FORMS {
        let file = format!("{name}.v{version}.cbor");
        assert!(goldens.contains_key(&file), "{file} is missing");
    }
    let sampled: BTreeSet<_> =
        samples::all().iter().map(|(_, record)| record.event.name()).collect();
    let forms: BTreeSet<_> = event::FORMS.iter().map(|(name, _)| *name).collect();
    assert_eq!(sampled, forms, "names in wire and in the domain");
}

#[test]
fn todays_forms_are_written_as_the_goldens_say() {
    let goldens = files("golden");
    for (name, bytes) in expected() {
        assert!(goldens.get(&name) == Some(&bytes), "{name} is missing or was written otherwise");
    }
}

#[test]
fn every_golden_of_any_version_is_read_and_shown_as_ever() {
    let goldens = files("golden");
    let mut read = 0;
    for (name, bytes) in &goldens {
        let Some(stem) = name.strip_suffix(".cbor") else { continue };
        let received = record::receive(bytes).unwrap();
        let record = received.record.as_ref().unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(stem.starts_with(&format!("{}.v", record.event.name())), "{name}");
        let twin = goldens.get(&format!("{stem}.json")).unwrap();
        assert_eq!(json(bytes), String::from_utf8_lossy(twin), "{stem}.json");
        read += 1;
    }
    assert!(read >= event::FORMS.len());
}

#[test]
fn messages_between_processes_are_written_as_their_goldens_say() {
    let goldens = files("messages");
    for (name, bytes) in messages::all() {
        assert!(goldens.get(name) == Some(&bytes), "{name} is missing or was written otherwise");
        messages::read(name, &bytes);
    }
    assert_eq!(goldens.len(), messages::all().len(), "no golden is left over");
}

#[test]
#[ignore = "writes the goldens that are missing"]
fn bless_missing_goldens() {
    let events = expected().into_iter().map(|(name, bytes)| (folder("golden").join(name), bytes));
    let messages = messages::all().into_iter();
    let messages = messages.map(|(name, bytes)| (folder("messages").join(name), bytes));
    for (path, bytes) in events.chain(messages) {
        if !path.exists() {
            fs::write(path, bytes).unwrap();
        }
    }
}
