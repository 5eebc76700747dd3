//! Tests of the FoundationDB store; those that need a cluster run where one is named.

use super::*;

/// Runs in one test, because the client can be started only once in a process.
#[tokio::test(flavor = "multi_thread")]
async fn passes_the_conformance_suite() {
    #[expect(clippy::disallowed_methods, reason = "a cluster for tests is named by the developer")]
    let Ok(cluster_file) = std::env::var("TURNPIKE_TEST_FDB_CLUSTER_FILE") else { return };
    let network = Network::start().unwrap();
    assert!(matches!(Network::start(), Err(OpenError::Started)));
    let make = async || {
        let root =
            Bytes::from(format!("turnpike-test/{:032x}/", turnpike_runtime::entropy::number()));
        let store = Fdb::open(&network, Path::new(&cluster_file), root).unwrap();
        (Arc::new(store) as _, ())
    };
    assert_eq!(crate::conformance::check(make).await, Vec::<String>::new());
    crate::booking::tests::engines::day(make().await.0).await;
    crate::booking::tests::log::day(make().await.0).await;
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
