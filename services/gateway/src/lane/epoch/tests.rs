//! Tests of numbering, booking and recovery, on real files.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::spool::segments;
use crate::testing::full_disk;

use super::*;

const ORG: OrgId = OrgId(1);
const OTHER: OrgId = OrgId(2);
const LIMIT: u64 = 1 << 20;

fn epoch(folder: &Path, limit: u64) -> Epoch {
    Epoch::create(folder, EpochId(7), limit).unwrap()
}

fn open(epoch: &mut Epoch, org: OrgId, request: u128, limit: u64) -> Result<(), SpoolFull> {
    let estimate = format!("estimate {request}").into_bytes();
    let at = Timestamp(u64::try_from(request).unwrap());
    epoch.open((org, RequestId(request), at), estimate.into(), limit)
}

fn serve(epoch: &mut Epoch, org: OrgId, request: u128) {
    open(epoch, org, request, LIMIT).unwrap();
    epoch.close(org, RequestId(request), format!("cost {request}").into());
}

fn texts(waiting: &Waiting) -> Vec<String> {
    let text = |record: &Bytes| String::from_utf8(record.to_vec()).unwrap();
    waiting.records.iter().map(text).collect()
}

#[test]
fn numbers_are_dense_per_organisation_and_messages_are_small() {
    let folder = tempfile::tempdir().unwrap();
    let mut epoch = epoch(folder.path(), LIMIT);
    for request in 0..5 {
        serve(&mut epoch, ORG, request);
    }
    serve(&mut epoch, OTHER, 9);
    let sent = epoch.take_waiting(2, 0);
    let firsts: Vec<_> = sent.iter().map(|one| (one.org, one.first, one.records.len())).collect();
    assert_eq!(firsts, [(ORG, 1, 2), (ORG, 3, 2), (ORG, 5, 1), (OTHER, 1, 1)]);
    assert_eq!(texts(&sent[1]), ["cost 2", "cost 3"]);
    assert!(epoch.take_waiting(2, 0).is_empty(), "everything is on its way");
}

#[test]
fn what_nobody_books_is_sent_again_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut epoch = epoch(folder.path(), LIMIT);
    for request in 0..4 {
        serve(&mut epoch, ORG, request);
    }
    epoch.flush().unwrap();
    epoch.take_waiting(100, 1_000);
    assert!(epoch.booked(ORG, 1, false, 2_000));
    assert!(!epoch.booked(ORG, 1, false, 2_500), "the same mark is no progress");
    assert!(
        !epoch.booked(ORG, 9, false, 2_500),
        "a number that was never given is no mark of ours"
    );
    assert!(!epoch.booked(OTHER, 1, false, 2_500));
    assert_eq!(epoch.rewind(3_999, 2_000), 0);
    assert_eq!(epoch.rewind(4_000, 2_000), 3);
    let again = epoch.take_waiting(100, 4_000);
    assert_eq!((again[0].first, again[0].records.len()), (2, 3));
    assert!(epoch.booked(ORG, 4, false, 4_100));
    assert_eq!((epoch.unbooked(), epoch.rewind(9_000, 2_000)), (0, 0));
}

#[test]
fn a_crash_loses_nothing_and_open_requests_become_estimates() {
    let folder = tempfile::tempdir().unwrap();
    let mut crashed = epoch(folder.path(), LIMIT);
    serve(&mut crashed, ORG, 1);
    serve(&mut crashed, ORG, 2);
    for (org, request) in [(ORG, 4), (ORG, 3), (OTHER, 5)] {
        open(&mut crashed, org, request, LIMIT).unwrap();
    }
    let _disk = crashed.swap_file(full_disk());
    serve(&mut crashed, ORG, 6);
    drop(crashed);

    // The second time follows a crash in the middle of taking over.
    for _ in 0..2 {
        let mut taken = take_over_all(folder.path(), LIMIT).unwrap();
        assert_eq!(taken.len(), 1);
        let waiting = taken[0].take_waiting(100, 0);
        assert_eq!(texts(&waiting[0]), ["cost 1", "cost 2", "estimate 3", "estimate 4"]);
        assert_eq!(texts(&waiting[1]), ["estimate 5"]);
        assert!(waiting.iter().all(|one| one.end && one.first == 1));
    }
    let mut last = take_over_all(folder.path(), LIMIT).unwrap().remove(0);
    last.take_waiting(100, 0);
    last.booked(ORG, 4, true, 1);
    assert!(!last.is_over());
    last.booked(OTHER, 1, true, 1);
    assert!(last.is_over());
    last.remove().unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_end_that_nobody_confirms_is_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut epoch = epoch(folder.path(), LIMIT);
    serve(&mut epoch, ORG, 1);
    epoch.flush().unwrap();
    epoch.take_waiting(100, 0);
    epoch.booked(ORG, 1, false, 0);
    epoch.end().unwrap();
    let end = Waiting { org: ORG, first: 2, records: Vec::new(), end: true };
    assert_eq!(epoch.take_waiting(100, 0), std::slice::from_ref(&end));
    epoch.rewind(2_000, 2_000);
    assert_eq!(epoch.take_waiting(100, 2_000), [end]);
    assert!(!epoch.is_over());
    assert!(epoch.booked(ORG, 1, true, 2_001) && epoch.is_over());
    assert_eq!(open(&mut epoch, ORG, 2, LIMIT), Err(SpoolFull), "nothing follows the end");
}

#[test]
fn a_full_spool_refuses_until_something_is_booked() {
    let folder = tempfile::tempdir().unwrap();
    let limit = 64 << 10;
    let mut epoch = epoch(folder.path(), limit);
    let mut request = 0;
    while open(&mut epoch, ORG, request, limit).is_ok() {
        epoch.close(ORG, RequestId(request), vec![b'x'; 200].into());
        epoch.tidy().unwrap();
        request += 1;
    }
    assert!(request > 100, "{request} fitted");
    assert!(epoch.used_bytes() <= limit);
    let (sent, last) = (epoch.take_waiting(1_000, 0).len(), u64::try_from(request).unwrap());
    assert_eq!(sent, 1);
    epoch.booked(ORG, last, false, 0);
    epoch.tidy().unwrap();
    assert_eq!(open(&mut epoch, ORG, request, limit), Ok(()));
}

#[test]
fn one_long_request_does_not_hold_the_files_of_all_others() {
    let folder = tempfile::tempdir().unwrap();
    let limit = 64 << 10;
    let mut epoch = epoch(folder.path(), limit);
    open(&mut epoch, OTHER, 1, limit).unwrap();
    for request in 2..5_000 {
        open(&mut epoch, ORG, request, limit).unwrap();
        epoch.close(ORG, RequestId(request), vec![b'x'; 200].into());
        epoch.tidy().unwrap();
        epoch.take_waiting(100, 0);
        epoch.booked(ORG, u64::try_from(request).unwrap() - 1, false, 0);
    }
    assert!(segments(folder.path()).unwrap().len() <= 2);
    drop(epoch);
    let mut taken = take_over_all(folder.path(), limit).unwrap().remove(0);
    let waiting = taken.take_waiting(10_000, 0);
    let of = |org| waiting.iter().find(|one| one.org == org).unwrap();
    assert_eq!((of(OTHER).first, texts(of(OTHER))), (1, vec!["estimate 1".to_owned()]));
    let ours = of(ORG);
    let last = ours.first + u64::try_from(ours.records.len()).unwrap() - 1;
    assert_eq!(last, 4_998, "numbers go on where the deleted files ended");
}

/// Changes one byte of the first file, a little behind where `text` stands.
fn damage(folder: &Path, text: &str) {
    let file = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).min().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let mut places = bytes.windows(text.len()).enumerate();
    let (place, _) = places.find(|(_, found)| *found == text.as_bytes()).unwrap();
    bytes[place] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn damage_costs_what_stood_there_and_no_more() {
    for both in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut crashed = epoch(folder.path(), LIMIT);
        (1..=6).for_each(|request| serve(&mut crashed, ORG, request));
        open(&mut crashed, OTHER, 7, LIMIT).unwrap();
        crashed.flush().unwrap();
        drop(crashed);
        damage(folder.path(), "cost 3");
        if both {
            damage(folder.path(), "estimate 3");
        }
        // The second time follows a crash in the middle of taking over.
        for _ in 0..2 {
            let mut taken = take_over_all(folder.path(), LIMIT).unwrap().remove(0);
            assert_eq!(taken.damaged_lines(), 1, "one stretch, if both are one");
            let sent = taken.take_waiting(100, 0);
            let third = if both { "" } else { "estimate 3" };
            let expected = ["cost 1", "cost 2", third, "cost 4", "cost 5", "cost 6"];
            assert_eq!((sent[0].first, texts(&sent[0])), (1, expected.map(str::to_owned).to_vec()));
            assert!(sent[0].end && texts(&sent[1]) == ["estimate 7"]);
        }
        let mut taken = take_over_all(folder.path(), LIMIT).unwrap().remove(0);
        taken.take_waiting(100, 0);
        taken.booked(ORG, 6, true, 1);
        taken.booked(OTHER, 1, true, 1);
        assert!(taken.is_over());
        taken.remove().unwrap();
        assert_eq!(segments(folder.path()).unwrap(), []);
    }
}

#[test]
fn an_epoch_whose_end_was_lost_ends_where_the_projector_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut crashed = epoch(folder.path(), LIMIT);
    (1..=4).for_each(|request| serve(&mut crashed, ORG, request));
    crashed.flush().unwrap();
    drop(crashed);
    for number in 2..=4 {
        damage(folder.path(), &format!("cost {number}"));
        damage(folder.path(), &format!("estimate {number}"));
    }
    let mut taken = take_over_all(folder.path(), LIMIT).unwrap().remove(0);
    let sent = taken.take_waiting(100, 0);
    assert_eq!((sent[0].first, texts(&sent[0])), (1, vec!["cost 1".to_owned()]));
    assert!(taken.booked(ORG, 4, false, 1) && !taken.is_over());
    assert_eq!((taken.unbooked(), taken.rewind(9_000, 2_000)), (0, 0));
    let end = Waiting { org: ORG, first: 5, records: Vec::new(), end: true };
    assert_eq!(taken.take_waiting(100, 9_000), [end]);
    assert!(taken.booked(ORG, 4, true, 9_001) && taken.is_over());
}

#[test]
fn a_full_disk_holds_back_only_what_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let limit = 64 << 10;
    let mut epoch = epoch(folder.path(), limit);
    let mut last = 0;
    while segments(folder.path()).unwrap().len() < 2 {
        last += 1;
        serve(&mut epoch, ORG, last);
        epoch.tidy().unwrap();
    }
    epoch.take_waiting(1, 0);
    let disk = epoch.swap_file(full_disk());
    serve(&mut epoch, ORG, last + 1);
    assert!(epoch.tidy().is_err());
    assert_eq!(open(&mut epoch, ORG, last + 2, LIMIT), Err(SpoolFull));
    let written = u64::try_from(last).unwrap();
    epoch.rewind(2_000, 2_000);
    let sent = epoch.take_waiting(10_000, 2_000);
    assert_eq!((sent[0].first, u64::try_from(sent[0].records.len()).unwrap()), (1, written));
    epoch.booked(ORG, written, false, 2_001);
    assert!(epoch.tidy().is_err());
    assert_eq!(segments(folder.path()).unwrap().len(), 1, "what is booked makes room");
    epoch.swap_file(disk);
    epoch.tidy().unwrap();
    let sent = epoch.take_waiting(100, 2_002);
    assert_eq!(texts(&sent[0]), [format!("cost {}", last + 1)]);
}

#[derive(Clone, Debug)]
enum Step {
    Open(bool),
    Close(usize),
    Flush,
    Tidy,
    Send,
    Book(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(Step::Open),
        4 => any::<usize>().prop_map(Step::Close),
        1 => Just(Step::Flush),
        1 => Just(Step::Tidy),
        1 => Just(Step::Send),
        1 => (0..40_u64).prop_map(Step::Book),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happened before a crash: every request whose opening was written is booked once,
    /// and nothing that was sent ever changes its number.
    #[test]
    fn every_written_request_is_numbered_once(
        steps in proptest::collection::vec(step(), 1..300),
        cut in 0..400_usize,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let limit = 32 << 10;
        let mut epoch = epoch(folder.path(), limit);
        let (mut running, mut sent, mut booked) = (Vec::new(), BTreeSet::new(), [0_u64; 2]);
        for (now, step) in steps.into_iter().enumerate() {
            let request = u128::try_from(now).unwrap();
            match step {
                Step::Open(other) => {
                    let org = if other { OTHER } else { ORG };
                    if open(&mut epoch, org, request, limit).is_ok() {
                        running.push((org, request));
                    }
                }
                Step::Close(which) if !running.is_empty() => {
                    let (org, request) = running.swap_remove(which % running.len());
                    let record = format!("cost {request} {}", "x".repeat(300));
                    epoch.close(org, RequestId(request), record.into());
                }
                Step::Close(_) => {}
                Step::Flush => epoch.flush().unwrap(),
                Step::Tidy => epoch.tidy().unwrap(),
                Step::Send => {
                    for one in epoch.take_waiting(3, 0) {
                        let numbers = one.first..;
                        sent.extend(numbers.zip(texts(&one)).map(|(n, text)| (one.org, n, text)));
                    }
                }
                Step::Book(number) => {
                    for (place, org) in [ORG, OTHER].into_iter().enumerate() {
                        let known = sent.iter().filter(|(of, ..)| *of == org).map(|one| one.1);
                        let number = number.min(known.max().unwrap_or(0)).max(booked[place]);
                        epoch.booked(org, number, false, 0);
                        booked[place] = number;
                    }
                }
            }
        }
        let before = epoch.written();
        drop(epoch);
        // A torn tail: at most what the last file has.
        let newest = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
        let newest = newest.max().unwrap();
        let torn = before == 0 && cut > 0;
        if torn {
            std::fs::write(&newest, vec![0xab; cut]).unwrap();
        }
        let mut taken = take_over_all(folder.path(), limit).unwrap();
        let mut requests = BTreeSet::new();
        let mut numbers = BTreeSet::new();
        for one in taken[0].take_waiting(3, 0) {
            for (number, text) in (one.first..).zip(texts(&one)) {
                let request = text.split(' ').nth(1).unwrap().to_owned();
                prop_assert!(requests.insert(request), "{text} twice");
                prop_assert!(numbers.insert((one.org, number)));
                if sent.iter().any(|(org, n, _)| (*org, *n) == (one.org, number)) {
                    prop_assert!(sent.contains(&(one.org, number, text)));
                }
            }
        }
        for (org, number, _) in &sent {
            let done = booked[usize::from(*org == OTHER)];
            prop_assert!(*number <= done || numbers.contains(&(*org, *number)));
        }
    }
}
