//! Tests of the FoundationDB store; the one that needs a cluster runs where one is named.

use super::*;

/// As processes open it: without a hand on the clock.
#[tokio::test(flavor = "multi_thread")]
async fn passes_the_conformance_suite() {
    let Some(first) = crate::engines::cluster::store() else { return };
    drop(first);
    let make = async || {
        let store = crate::engines::cluster::store().unwrap();
        (Arc::new(store) as _, ())
    };
    assert_eq!(crate::conformance::check(make).await, Vec::<String>::new());
}

#[test]
fn a_cluster_file_that_is_not_there_is_named() {
    let path = Path::new("/nowhere/fdb.cluster");
    let refused = Fdb::open(path, Bytes::from_static(b"root/")).err();
    assert!(matches!(refused, Some(OpenError::Unreadable { .. })), "{refused:?}");
    for root in [Bytes::new(), Bytes::from_static(b"\xff/"), Bytes::from(vec![b'r'; 101])] {
        assert!(matches!(Fdb::open(path, root).err(), Some(OpenError::Root { .. })));
    }
}

#[test]
fn only_what_surely_did_not_happen_is_a_plain_failure() {
    let answer = |code| errors::commit(foundationdb::FdbError::from_code(code));
    for code in [1007, 1009, 1020] {
        assert_eq!(answer(code), CommitError::Conflict);
    }
    for code in [1021, 1025, 1031, 1039, 1100, 1500, 4100, 9_999] {
        assert!(matches!(answer(code), CommitError::Unknown(_)), "{code}");
    }
    for code in [2101, 2102, 2103] {
        assert!(matches!(answer(code), CommitError::TooLarge(_)), "{code}");
    }
    for code in [1037, 1038, 1042, 1051, 1078, 1213, 1223] {
        assert!(matches!(answer(code), CommitError::Unavailable(_)), "{code}");
    }
}

#[test]
fn an_append_leaves_room_for_the_stamp_and_says_where() {
    let expected = b"root/log/\0\0\0\0\0\0\0\0\0\0\x01\x02\x09\0\0\0";
    assert_eq!(append_template(b"root/log/".to_vec(), 0x0102), expected);
}

#[test]
fn a_read_that_a_newer_snapshot_may_answer_is_too_old() {
    let answer = |code| errors::read(foundationdb::FdbError::from_code(code));
    for code in [1007, 1009, 1031, 1037, 1039] {
        assert_eq!(answer(code), ReadError::TooOld, "{code}");
    }
    for code in [1025, 1038, 1101, 1515, 2004, 9_999] {
        assert!(matches!(answer(code), ReadError::Unavailable(_)), "{code}");
    }
}
