//! Tests of several users of one directory: their sockets, their deaths, their takeovers.

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::{Clock, PausedClock, system};
use turnpike_runtime::tasks::blocking;

use super::answer::{Answer, SCAN_ROWS};
use super::question::Question;
use super::*;
use crate::kv::{Scan, Stamp, Version, Write};

async fn open(directory: &TempDir) -> Shared {
    Shared::open(directory.path(), system()).await.unwrap()
}

fn put(key: &str, value: &str) -> Batch {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    Batch { writes: vec![Write::Put { key, value }], ..Batch::default() }
}

async fn get(store: &Shared, key: &str) -> Option<Bytes> {
    store.snapshot().await.unwrap().get(key.as_bytes()).await.unwrap()
}

/// Reads until a snapshot lives long enough; a takeover may end one.
async fn rows(store: &Shared, prefix: &str) -> Vec<String> {
    let (begin, end) = (Bytes::from(prefix.to_owned()), Bytes::from(format!("{prefix}~")));
    let scan = Scan { begin, end, limit: usize::MAX, reverse: false };
    let found = store.snapshot().await.unwrap().scan(scan).await.unwrap();
    found.into_iter().map(|(key, _)| String::from_utf8(key.into()).unwrap()).collect()
}

#[tokio::test]
async fn a_holder_passes_the_conformance_suite() {
    let make = async || {
        let directory = TempDir::new().unwrap();
        let holder = open(&directory).await;
        assert!(holder.is_holder());
        (Arc::new(holder) as _, directory)
    };
    assert_eq!(crate::conformance::check(make).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_guest_passes_the_conformance_suite() {
    let make = async || {
        let directory = TempDir::new().unwrap();
        let holder = open(&directory).await;
        let guest = open(&directory).await;
        assert!(holder.is_holder() && !guest.is_holder());
        (Arc::new(guest) as _, (holder, directory))
    };
    assert_eq!(crate::conformance::check(make).await, Vec::<String>::new());
}

#[tokio::test]
async fn both_see_one_store_and_wake_each_other() {
    let directory = TempDir::new().unwrap();
    let (holder, guest) = (open(&directory).await, open(&directory).await);
    for (writer, reader) in [(&holder, &guest), (&guest, &holder)] {
        let woken = reader.watch(Bytes::from_static(b"key"));
        // The reader's question was asked; its answer to another says that it was heard.
        let seen = reader.snapshot().await.unwrap().version();
        let done = writer.commit(put("key", "1")).await.unwrap();
        assert!(done.version > seen);
        woken.await;
        assert_eq!(get(reader, "key").await, Some(Bytes::from_static(b"1")));
    }
}

#[tokio::test]
async fn long_ranges_come_in_pages_from_both_ends() {
    let directory = TempDir::new().unwrap();
    let (_holder, guest) = (open(&directory).await, open(&directory).await);
    let count = SCAN_ROWS * 2;
    let name = |number: usize| Bytes::from(format!("{number:05}"));
    let writes = (0..count).map(|it| Write::Put { key: name(it), value: Bytes::new() }).collect();
    guest.commit(Batch { writes, ..Batch::default() }).await.unwrap();
    let snapshot = guest.snapshot().await.unwrap();
    for limit in [1, SCAN_ROWS, SCAN_ROWS + 1, count, count + 1, usize::MAX] {
        for reverse in [false, true] {
            let (begin, end) = (Bytes::new(), Bytes::from_static(b"~"));
            let found = snapshot.scan(Scan { begin, end, limit, reverse }).await.unwrap();
            let numbers: Vec<usize> = match reverse {
                false => (0..count).take(limit).collect(),
                true => (0..count).rev().take(limit).collect(),
            };
            let keys: Vec<Bytes> = found.into_iter().map(|(key, _)| key).collect();
            assert_eq!(keys, numbers.into_iter().map(name).collect::<Vec<_>>(), "{limit}");
        }
    }
}

#[tokio::test]
async fn the_socket_is_for_its_owner_alone_and_a_stale_one_is_replaced() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("turnpike.sock");
    // As a process leaves it that is killed.
    drop(UnixListener::bind(&path).unwrap());
    let holder = open(&directory).await;
    assert!(holder.is_holder());
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!open(&directory).await.is_holder());
}

#[tokio::test]
async fn after_a_takeover_old_snapshots_are_too_old_and_stamps_go_on() {
    let directory = TempDir::new().unwrap();
    let (holder, guest) = (open(&directory).await, open(&directory).await);
    let before = guest.snapshot().await.unwrap();
    let first = guest.commit(put("a", "1")).await.unwrap();
    let woken = guest.watch(Bytes::from_static(b"a"));
    drop(holder);
    woken.await;
    // A call that comes in between waits for the guest to become the holder.
    assert_eq!(get(&guest, "a").await, Some(Bytes::from_static(b"1")));
    assert!(guest.is_holder());
    assert_eq!(before.get(b"a").await, Err(ReadError::TooOld));
    let scan = Scan { begin: Bytes::new(), end: Bytes::new(), limit: 1, reverse: false };
    assert_eq!(before.scan(scan).await, Err(ReadError::TooOld));
    let unchanged = vec![Bytes::from_static(b"never written")];
    let late = Batch { read_at: before.version(), unchanged, ..put("a", "2") };
    assert_eq!(guest.commit(late).await, Err(CommitError::Conflict));
    let second = guest.commit(put("a", "2")).await.unwrap();
    assert!(second.stamp > first.stamp && second.version > first.version);
}

/// What one writer was told: its commits by name, acknowledged or not known.
#[derive(Default)]
struct Told {
    done: Vec<String>,
    unknown: Vec<String>,
    last: Stamp,
}

impl Told {
    /// Commits row after row until `count` more were acknowledged.
    async fn commit(&mut self, store: &Shared, count: usize) {
        let until = self.done.len() + count;
        while self.done.len() < until {
            let name = format!("guest/{:06}", self.done.len() + self.unknown.len());
            match store.commit(put(&name, "1")).await {
                Ok(committed) => {
                    assert!(committed.stamp > self.last, "stamps grow over takeovers");
                    self.last = committed.stamp;
                    self.done.push(name);
                }
                Err(CommitError::Unknown(_)) => self.unknown.push(name),
                Err(other) => panic!("{other}"),
            }
        }
    }

    async fn check(&self, store: &Shared) {
        let found = rows(store, "guest/").await;
        for name in &self.done {
            assert!(found.contains(name), "{name} was acknowledged");
        }
        assert!(found.iter().all(|name| self.done.contains(name) || self.unknown.contains(name)));
    }
}

#[tokio::test]
async fn a_guest_that_commits_takes_over_and_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let mut told = Told::default();
    let mut holder = open(&directory).await;
    for _ in 0..5 {
        let guest = open(&directory).await;
        told.commit(&guest, 20).await;
        tokio::join!(told.commit(&guest, 20), async { drop(holder) });
        assert!(guest.is_holder());
        told.check(&guest).await;
        holder = guest;
    }
}

#[tokio::test]
async fn a_holder_that_stands_still_is_left_until_it_goes_on_or_ends() {
    let directory = TempDir::new().unwrap();
    // As a process that was stopped has them: the lock, and a socket that somebody listens on.
    let lock = File::create(directory.path().join("turnpike.lock")).unwrap();
    lock.lock().unwrap();
    let listener = UnixListener::bind(directory.path().join("turnpike.sock")).unwrap();
    let greeted = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        line::greet(&mut stream).await.unwrap();
        stream
    };
    let (guest, still) = tokio::join!(open(&directory), greeted);
    assert!(!guest.is_holder());
    // Nobody waits for ever: not for a commit that was sent, and not for what was not sent yet.
    let (read, sent) = tokio::join!(guest.snapshot(), guest.commit(put("a", "1")));
    assert!(matches!(read.err(), Some(ReadError::Unavailable(_))));
    assert!(matches!(sent, Err(CommitError::Unknown(_))));
    assert!(matches!(guest.commit(put("a", "1")).await, Err(CommitError::Unavailable(_))));
    drop((lock, listener, still));
    guest.commit(put("a", "1")).await.unwrap();
    assert!(guest.is_holder());
}

#[tokio::test]
async fn of_many_guests_one_takes_over_and_the_others_follow() {
    let directory = TempDir::new().unwrap();
    let holder = open(&directory).await;
    let mut guests = Vec::new();
    for _ in 0..5 {
        guests.push(open(&directory).await);
    }
    drop(holder);
    for (number, guest) in guests.iter().enumerate() {
        let key = format!("{number}");
        // A connection to one that is not yet, or no longer, the holder may end a first try.
        while guest.commit(put(&key, "1")).await.is_err() {}
    }
    assert_eq!(guests.iter().filter(|guest| guest.is_holder()).count(), 1);
    for guest in &guests {
        assert_eq!(rows(guest, "").await.len(), 5);
    }
}

/// A process of its own: it holds the file of its working directory and commits until it is killed.
#[tokio::test]
#[ignore = "started by the test that kills it"]
async fn a_process_that_will_be_killed() {
    let store = Shared::open(Path::new("."), system()).await.unwrap();
    assert!(store.is_holder());
    std::io::stdout().write_all(b"holding\n").unwrap();
    let round = store.snapshot().await.unwrap().version().0;
    for number in 0..1_000_000 {
        store.commit(put(&format!("child/{round:09}/{number:06}"), "1")).await.unwrap();
    }
}

fn holder_process(directory: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "shared::tests::a_process_that_will_be_killed", "--ignored"])
        .current_dir(directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().ends_with("holding")), "the process became no holder");
    child
}

/// Bounds: 5 processes, each killed in the middle of its commits and of ours.
#[tokio::test]
async fn a_killed_holder_loses_no_acknowledged_commit() {
    let directory = TempDir::new().unwrap();
    let mut told = Told::default();
    for _ in 0..5 {
        let place = directory.path().to_owned();
        let child = blocking("holder-process", move || holder_process(&place));
        let mut child = child.await.unwrap();
        let guest = open(&directory).await;
        assert!(!guest.is_holder());
        told.commit(&guest, 20).await;
        child.kill().unwrap();
        told.commit(&guest, 20).await;
        child.wait().unwrap();
        assert!(guest.is_holder());
        told.check(&guest).await;
        let first = rows(&guest, "guest/").await;
        // Whoever was killed had waited for each commit, so its rows have no hole.
        let mut by_round = std::collections::BTreeMap::<String, u64>::new();
        for name in rows(&guest, "child/").await {
            let (round, number) = name.rsplit_once('/').unwrap();
            let next = by_round.entry(round.to_owned()).or_default();
            assert_eq!(number.parse(), Ok(*next));
            *next += 1;
        }
        told.commit(&guest, 5).await;
        // What was not known has happened by now or never will.
        let mut second = rows(&guest, "guest/").await;
        second.truncate(first.len());
        assert_eq!(first, second);
    }
}

#[tokio::test]
async fn noise_on_the_socket_hurts_nobody_else() {
    let directory = TempDir::new().unwrap();
    let (_holder, guest) = (open(&directory).await, open(&directory).await);
    let path = directory.path().join("turnpike.sock");
    let mut greeting = b"turnpike".to_vec();
    greeting.extend(line::PROTOCOL.to_be_bytes());
    let commit = Question::Commit(put("noise", "1")).frame(1).unwrap();
    for noise in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"turnpike\xff\xff".to_vec(),
        [&greeting[..], &[0xff; 64]].concat(),
        [&greeting[..], &[0, 0, 0, 0]].concat(),
        [&greeting[..], &commit[..commit.len() - 1]].concat(),
    ] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(&noise).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut heard = Vec::new();
        // Its own greeting at most, then the end. A reset is an end too.
        let _ = stream.read_to_end(&mut heard).await;
        assert!(heard.is_empty() || heard == greeting, "{heard:?}");
    }
    guest.commit(put("key", "1")).await.unwrap();
    assert_eq!(get(&guest, "noise").await, None);
}

#[tokio::test]
async fn a_holder_of_another_version_is_named() {
    let directory = TempDir::new().unwrap();
    let _lock = locked(&directory);
    let listener = UnixListener::bind(directory.path().join("turnpike.sock")).unwrap();
    let refused = tokio::join!(Shared::open(directory.path(), system()), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"turnpike\x00\x63").await.unwrap();
    });
    let refused = refused.0.unwrap_err();
    assert!(matches!(refused, OpenError::Protocol { found: 0x63, .. }), "{refused}");
}

/// The lock, as another process would have it.
fn locked(directory: &TempDir) -> File {
    let lock = File::create(directory.path().join("turnpike.lock")).unwrap();
    lock.try_lock().unwrap();
    lock
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_never_answers_is_given_up() {
    let directory = TempDir::new().unwrap();
    let _lock = locked(&directory);
    let clock = PausedClock::new(Timestamp(0));
    let refused = Shared::open(directory.path(), Arc::new(clock.clone())).await.unwrap_err();
    assert!(matches!(refused, OpenError::Silent { .. }), "{refused}");
    assert!((OPEN_WAIT_MS..OPEN_WAIT_MS + 1_000).contains(&clock.boot_ms()));
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_a_holder_and_then_say_that_there_is_none() {
    let directory = TempDir::new().unwrap();
    let _lock = locked(&directory);
    let (stream, other_end) = UnixStream::pair().unwrap();
    let (guest, link) = Guest::new(stream, system());
    let clock = PausedClock::new(Timestamp(0));
    let part = Part::Guest(guest, link);
    let store = Shared::start(part, directory.path(), Arc::new(clock.clone()));
    drop(other_end);
    let refused = store.snapshot().await.err().unwrap();
    assert!(matches!(&refused, ReadError::Unavailable(text) if text.contains("nobody holds")));
    assert!((WAIT_MS..WAIT_MS + 1_000).contains(&clock.boot_ms()));
    let refused = store.commit(put("a", "1")).await.unwrap_err();
    assert!(matches!(refused, CommitError::Unavailable(_)), "{refused}");
}

#[tokio::test]
async fn a_guest_keeps_a_bounded_number_of_snapshots() {
    let directory = TempDir::new().unwrap();
    let (_holder, guest) = (open(&directory).await, open(&directory).await);
    let mut kept = Vec::new();
    for _ in 0..holder::MAX_SNAPSHOTS {
        // Those that are dropped do not count.
        drop(guest.snapshot().await.unwrap());
        kept.push(guest.snapshot().await.unwrap());
    }
    assert_eq!(kept[0].get(b"a").await, Ok(None));
    kept.push(guest.snapshot().await.unwrap());
    assert_eq!(kept[0].get(b"a").await, Err(ReadError::TooOld));
    assert_eq!(kept[1].get(b"a").await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_guests_snapshot_grows_too_old() {
    let directory = TempDir::new().unwrap();
    let clock: SharedClock = Arc::new(PausedClock::new(Timestamp(0)));
    let _holder = Shared::open(directory.path(), Arc::clone(&clock)).await.unwrap();
    let guest = Shared::open(directory.path(), Arc::clone(&clock)).await.unwrap();
    let old = guest.snapshot().await.unwrap();
    clock.sleep(holder::MAX_SNAPSHOT_MS).await;
    assert_eq!(old.get(b"a").await, Ok(None));
    clock.sleep(1).await;
    assert_eq!(old.get(b"a").await, Err(ReadError::TooOld));
}

fn some_bytes() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn some_write() -> impl Strategy<Value = Write> {
    (some_bytes(), some_bytes(), 0..3).prop_map(|(key, value, kind)| match kind {
        0 => Write::Put { key, value },
        1 => Write::Delete { key },
        _ => Write::Append { prefix: key, value },
    })
}

fn some_question() -> impl Strategy<Value = Question> {
    let keys = proptest::collection::vec(some_bytes(), 0..4);
    let writes = proptest::collection::vec(some_write(), 0..4);
    let scan = (some_bytes(), some_bytes(), any::<usize>(), any::<bool>());
    let scan = scan.prop_map(|(begin, end, limit, reverse)| Scan { begin, end, limit, reverse });
    prop_oneof![
        Just(Question::Snapshot),
        Just(Question::Forget),
        some_bytes().prop_map(Question::Watch),
        (any::<u64>(), some_bytes()).prop_map(|(of, key)| Question::Get { of, key }),
        (any::<u64>(), scan).prop_map(|(of, scan)| Question::Scan { of, scan }),
        (any::<u64>(), keys, writes).prop_map(|(read_at, unchanged, writes)| {
            Question::Commit(Batch { read_at: Version(read_at), unchanged, writes })
        }),
    ]
}

fn some_answer() -> impl Strategy<Value = Answer> {
    let failed = prop_oneof![Just(ReadError::TooOld), ".{0,9}".prop_map(ReadError::Unavailable),];
    let refused = prop_oneof![
        Just(CommitError::Conflict),
        ".{0,9}".prop_map(CommitError::Unknown),
        ".{0,9}".prop_map(CommitError::TooLarge),
        ".{0,9}".prop_map(CommitError::Unavailable),
    ];
    let done = (any::<[u8; 10]>(), any::<u64>())
        .prop_map(|(stamp, version)| Committed { stamp: Stamp(stamp), version: Version(version) });
    let found = proptest::option::of(some_bytes());
    let rows = proptest::collection::vec((some_bytes(), some_bytes()), 0..4);
    prop_oneof![
        Just(Answer::Woken),
        failed.clone().prop_map(|error| Answer::Snapshot(Err(error))),
        failed.clone().prop_map(|error| Answer::Get(Err(error))),
        failed.prop_map(|error| Answer::Scan(Err(error))),
        any::<u64>().prop_map(|version| Answer::Snapshot(Ok(Version(version)))),
        found.prop_map(|value| Answer::Get(Ok(value))),
        rows.prop_map(|rows| Answer::Scan(Ok(rows))),
        refused.prop_map(|error| Answer::Commit(Err(error))),
        done.prop_map(|done| Answer::Commit(Ok(done))),
    ]
}

proptest! {
    #[test]
    fn questions_and_answers_arrive_as_they_were_sent(
        number: u64, question in some_question(), answer in some_answer(),
    ) {
        let sent = question.frame(number).unwrap().slice(fields::LENGTH_BYTES..);
        for length in 0..sent.len() {
            prop_assert!(Question::read(sent.slice(..length)).is_err());
        }
        prop_assert_eq!(Question::read(sent).unwrap(), (number, question));
        let sent = answer.frame(number).unwrap().slice(fields::LENGTH_BYTES..);
        for length in 0..sent.len() {
            prop_assert!(Answer::read(sent.slice(..length)).is_err());
        }
        prop_assert_eq!(Answer::read(sent).unwrap(), (number, answer));
    }

    #[test]
    fn no_frame_makes_a_reader_panic(mut frame: Vec<u8>, kind in 0..8_u8) {
        let _ = Question::read(Bytes::from(frame.clone()));
        let _ = Answer::read(Bytes::from(frame.clone()));
        frame.splice(0..0, [0, 0, 0, 0, 0, 0, 0, 1, kind]);
        let _ = Question::read(Bytes::from(frame.clone()));
        let _ = Answer::read(Bytes::from(frame));
    }
}
