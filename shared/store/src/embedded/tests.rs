//! Tests of the embedded store on real files and on failing disks.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use futures_util::future::join_all;
use tempfile::TempDir;
use turnpike_runtime::entropy;

use super::faulty::{Fault, Faulty};
use super::*;
use crate::kv::{Scan, Version, Write};

fn on(disk: &Faulty) -> Embedded {
    Embedded::start(Path::new("test.redb"), disk.clone(), recent::HISTORY_BYTES).unwrap()
}

fn put(key: &str, value: &str) -> Batch {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    Batch { writes: vec![Write::Put { key, value }], ..Batch::default() }
}

async fn get(store: &Embedded, key: &str) -> Result<Option<Bytes>, ReadError> {
    store.snapshot().await?.get(key.as_bytes()).await
}

async fn all(store: &Embedded) -> BTreeMap<Bytes, Bytes> {
    let (begin, end) = (Bytes::new(), Bytes::from_static(&[0xff]));
    let scan = Scan { begin, end, limit: usize::MAX, reverse: false };
    store.snapshot().await.unwrap().scan(scan).await.unwrap().into_iter().collect()
}

#[tokio::test]
async fn passes_the_conformance_suite() {
    let make = async || {
        let directory = TempDir::new().unwrap();
        (Arc::new(Embedded::open(directory.path()).unwrap()) as _, directory)
    };
    assert_eq!(crate::conformance::check(make).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart_and_stamps_go_on() {
    let directory = TempDir::new().unwrap();
    let store = Embedded::open(directory.path()).unwrap();
    let first = store.commit(put("a", "1")).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    drop(store);
    let closed = snapshot.get(b"a").await;
    assert!(matches!(closed, Ok(Some(_)) | Err(ReadError::Unavailable(_))), "{closed:?}");

    let store = Embedded::open(directory.path()).unwrap();
    assert_eq!(get(&store, "a").await, Ok(Some(Bytes::from_static(b"1"))));
    let guarded = Batch {
        read_at: Version(first.version.0 - 1),
        unchanged: vec![Bytes::from_static(b"never")],
        ..put("a", "2")
    };
    assert_eq!(store.commit(guarded).await, Err(CommitError::Conflict));
    assert!(store.commit(put("a", "2")).await.unwrap().stamp > first.stamp);
}

#[tokio::test]
async fn history_is_bounded_for_readers_and_writers() {
    let disk = Faulty::default();
    let store = Embedded::start(Path::new("test.redb"), disk, 1_000).unwrap();
    let old = store.snapshot().await.unwrap();
    for _ in 0..20 {
        store.commit(put("a", "1")).await.unwrap();
    }
    assert_eq!(old.get(b"a").await, Err(ReadError::TooOld));
    let unchanged = vec![Bytes::from_static(b"b")];
    let late = Batch { read_at: old.version(), unchanged, ..put("b", "1") };
    assert_eq!(store.commit(late).await, Err(CommitError::Conflict));
}

#[test]
fn a_second_process_is_told_that_the_file_is_in_use() {
    let directory = TempDir::new().unwrap();
    let _store = Embedded::open(directory.path()).unwrap();
    let error = Embedded::open(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = Embedded::open(&file).unwrap_err();
    assert!(matches!(error, OpenError::Directory { .. }), "{error}");

    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everywhere; then there is nothing to refuse.
    if fs::write(directory.path().join("probe"), "x").is_err() {
        let error = Embedded::open(directory.path()).unwrap_err();
        assert!(matches!(error, OpenError::Directory { .. }), "{error}");
    }
}

#[test]
fn a_file_of_something_else_is_refused_and_kept() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join(FILE_NAME);
    fs::write(&path, "a diary, not a database").unwrap();
    let error = Embedded::open(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"a diary, not a database");
}

#[test]
fn a_redb_file_of_another_program_is_refused() {
    const OTHER: redb::TableDefinition<'_, u64, u64> = redb::TableDefinition::new("other");
    let directory = TempDir::new().unwrap();
    let database = redb::Database::create(directory.path().join(FILE_NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(OTHER).unwrap().insert(1, 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = Embedded::open(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

#[test]
fn a_file_of_another_form_is_refused() {
    let directory = TempDir::new().unwrap();
    drop(Embedded::open(directory.path()).unwrap());
    let database = redb::Database::create(directory.path().join(FILE_NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(disk::META).unwrap().insert(disk::FORMAT, 99).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = Embedded::open(directory.path()).unwrap_err();
    assert!(matches!(&error, OpenError::Format { found, .. } if found == "99"), "{error}");
}

#[test]
fn a_creation_that_was_cut_off_is_done_again() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join(FILE_NAME), vec![0; 5_000]).unwrap();
    Embedded::open(directory.path()).unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let disk = Faulty::default();
    let store = on(&disk);
    for row in 0..200 {
        store.commit(put(&format!("{row:0100}"), &"v".repeat(500))).await.unwrap();
    }
    disk.fail(Fault::All, 0);
    drop(store);
    let mut file = disk.seen();
    // All but the header: both commit slots then name pages that do not match their checksums.
    for byte in &mut file[4_096..] {
        *byte ^= 0x55;
    }
    let opened = Embedded::start(Path::new("test.redb"), Faulty::holding(file), 1_000);
    assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{opened:?}");
}

#[tokio::test]
async fn a_full_disk_makes_the_store_read_only() {
    let disk = Faulty::default();
    let store = on(&disk);
    disk.fail(Fault::Grow, 0);
    let value = "v".repeat(50_000);
    let mut stored = 0;
    let refused = loop {
        match store.commit(put(&format!("{stored:04}"), &value)).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1_000, "the disk never was full");
    };
    assert!(matches!(refused, CommitError::Unavailable(_) | CommitError::Unknown(_)));
    let next = store.commit(put("next", "1")).await;
    assert!(
        matches!(&next, Err(CommitError::Unavailable(text)) if text.contains("read-only")),
        "{next:?}"
    );
    assert_eq!(get(&store, "0000").await, Ok(Some(Bytes::from(value))));
    drop(store);

    let store = on(&Faulty::holding(disk.seen()));
    let found = all(&store).await;
    assert!((0..stored).all(|row| found.contains_key(format!("{row:04}").as_bytes())));
    store.commit(put("next", "1")).await.unwrap();
}

#[tokio::test]
async fn a_refused_write_or_flush_is_unknown_and_loses_nothing() {
    for fault in [Fault::Write, Fault::Flush] {
        for spared in 0..20 {
            let disk = Faulty::default();
            let store = on(&disk);
            store.commit(put("kept", "1")).await.unwrap();
            disk.fail(fault, spared);
            let mut stored = Vec::new();
            let refused = loop {
                let key = format!("{:04}", stored.len());
                match store.commit(put(&key, "1")).await {
                    Ok(_) => stored.push(key),
                    Err(error) => break error,
                }
                assert!(stored.len() < 100, "{fault:?} {spared}: the disk never failed");
            };
            // Handed over before it was refused: only the file knows.
            assert!(matches!(refused, CommitError::Unknown(_)), "{fault:?} {spared}: {refused}");
            let next = store.commit(put("next", "1")).await;
            assert!(matches!(next, Err(CommitError::Unavailable(_))), "{next:?}");
            drop(store);
            for file in [disk.crash(|_| 0), disk.crash(|length| length)] {
                let found = all(&on(&Faulty::holding(file))).await;
                assert!(found.contains_key(&b"kept"[..]), "{fault:?} {spared}");
                assert!(stored.iter().all(|key| found.contains_key(key.as_bytes())));
                assert!(!found.contains_key(&b"next"[..]));
                assert!(found.len() <= stored.len() + 2);
            }
        }
    }
}

/// A power cut at a random moment keeps any subset of what was not flushed, torn anywhere.
#[tokio::test]
async fn a_crash_keeps_all_acknowledged_commits_and_no_half_of_another() {
    for seed in 0..60 {
        entropy::seed_this_thread(seed);
        let disk = Faulty::default();
        let store = on(&disk);
        for round in 0..3 {
            pairs(&store, &format!("{round}"), 8).await;
        }
        let before = all(&store).await;
        // The process dies in the middle of the next group's writes.
        disk.fail(Fault::All, u32::try_from(entropy::below(12)).unwrap());
        let answered = pairs(&store, "last", 8).await;
        drop(store);
        let keep = |length: usize| match entropy::below(3) {
            0 => 0,
            1 => length,
            _ => usize::try_from(entropy::below(length as u64 + 1)).unwrap(),
        };
        let store = on(&Faulty::holding(disk.crash(keep)));
        let found = all(&store).await;
        for (key, value) in &before {
            assert_eq!(found.get(key), Some(value), "seed {seed}: acknowledged");
        }
        for name in &answered {
            assert!(found.contains_key(format!("{name}/left").as_bytes()), "seed {seed}: {name}");
        }
        for key in found.keys() {
            let name = std::str::from_utf8(key).unwrap().split_once('/').unwrap().0;
            for half in ["left", "right"] {
                let whole = found.contains_key(format!("{name}/{half}").as_bytes());
                assert!(whole, "seed {seed}: {name} is there by half");
            }
        }
        store.commit(put("after/left", "1")).await.unwrap();
    }
}

/// Commits batches of two rows side by side; returns the names of those that were acknowledged.
async fn pairs(store: &Embedded, round: &str, count: u32) -> Vec<String> {
    let commits = (0..count).map(|number| async move {
        let name = format!("{round}-{number}");
        let mut batch = put(&format!("{name}/left"), &"l".repeat(300));
        batch.writes.extend(put(&format!("{name}/right"), &"r".repeat(3_000)).writes);
        store.commit(batch).await.ok().map(|_| name)
    });
    join_all(commits).await.into_iter().flatten().collect()
}
