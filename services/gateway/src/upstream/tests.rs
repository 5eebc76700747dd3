//! The pool against real sockets: reuse, closed connections, timeouts, limits.

mod answers;

use http_body_util::BodyExt;
use tokio::join;

use super::*;
use crate::testing::{BOUNDS, Provider, on_a_core, post, spec};

async fn text(answer: Result<Response<AnswerBody>, Failure>) -> String {
    let bytes = answer.unwrap().into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_connection_is_used_again_when_its_answer_was_read() {
    on_a_core(|core| async move {
        let provider = Provider::new();
        let remote = provider.remote(&core.pool);
        let serve = async {
            let mut connection = provider.connection().await;
            for answer in ["one", "", "two"] {
                let request = connection.request().await;
                assert!(request.starts_with("POST /v1/x HTTP/1.1\r\n"), "{request}");
                assert!(request.contains(&format!("host: {}\r\n", provider.address)));
                connection.answer(answer).await;
            }
            connection.request().await;
            connection.begin_stream().await;
            connection.piece("three").await;
            connection.piece("").await;
            connection.request().await;
            connection.answer("four").await;
        };
        let ask = async {
            for expected in ["one", "", "two", "three", "four"] {
                let admitted = core.admitted();
                let answer = remote.send(&admitted, "/v1/x", post("a"), BOUNDS).await;
                assert_eq!(text(answer).await, expected);
                assert!(admitted.is_sent());
            }
        };
        join!(serve, ask);
    });
}

#[test]
fn a_connection_that_closed_while_idle_is_replaced() {
    on_a_core(|core| async move {
        let provider = Provider::new();
        let remote = provider.remote(&core.pool);
        let serve = async {
            for _ in 0..2 {
                let mut connection = provider.connection().await;
                connection.request().await;
                connection.answer("yes").await;
            }
        };
        let ask = async {
            for _ in 0..2 {
                assert_eq!(
                    text(remote.send(&core.admitted(), "/", post("a"), BOUNDS).await).await,
                    "yes"
                );
            }
        };
        join!(serve, ask);
    });
}

#[test]
fn a_request_that_was_written_is_never_sent_twice() {
    on_a_core(|core| async move {
        let provider = Provider::new();
        let remote = provider.remote(&core.pool);
        let serve = async {
            let mut connection = provider.connection().await;
            connection.request().await;
            connection.answer("yes").await;
            connection.request().await;
        };
        let ask = async {
            assert_eq!(
                text(remote.send(&core.admitted(), "/", post("a"), BOUNDS).await).await,
                "yes"
            );
            let failure =
                remote.send(&core.admitted(), "/", post("b"), BOUNDS).await.err().unwrap();
            assert!(matches!(failure, Failure::Lost(_)) && failure.sent(), "{failure}");
        };
        join!(serve, ask);
    });
}

#[test]
fn a_silent_provider_runs_out_of_time() {
    on_a_core(|core| async move {
        let provider = Provider::new();
        let remote = provider.remote(&core.pool);
        let bounds = Bounds { answer_timeout_ms: 20, ..BOUNDS };
        let serve = async {
            let mut connection = provider.connection().await;
            connection.request().await;
            connection.closed().await;
        };
        let ask = async {
            let failure =
                remote.send(&core.admitted(), "/", post("a"), bounds).await.err().unwrap();
            assert!(matches!(failure, Failure::AnswerTimeout));
            assert!(failure.sent() && failure.is_timeout());
        };
        join!(serve, ask);
    });
}

#[test]
fn nobody_there_means_nothing_was_sent() {
    on_a_core(|core| async move {
        let provider = Provider::new();
        let remote = provider.remote(&core.pool);
        drop(provider);
        let admitted = core.admitted();
        let failure = remote.send(&admitted, "/", post("a"), BOUNDS).await.err().unwrap();
        assert!(matches!(failure, Failure::Connect(_)), "{failure}");
        assert!(!failure.sent() && !admitted.is_sent());
    });
}

#[test]
fn no_more_run_at_a_time_than_the_setting_says() {
    on_a_core(|core| async move {
        let provider = Provider::new();
        let one =
            ProviderSpec { max_concurrency: 1, ..spec(&format!("http://{}", provider.address)) };
        let remote = core.pool.remote(Described { id: ProviderId(1), owner: None, spec: &one });
        let remote = remote.unwrap();
        let serve = async {
            let mut first = provider.connection().await;
            first.request().await;
            first.begin_stream().await;
            first.closed().await;
            let mut second = provider.connection().await;
            second.request().await;
            second.answer("two").await;
        };
        let ask = async {
            let running = remote.send(&core.admitted(), "/", post("a"), BOUNDS).await.unwrap();
            let refused =
                remote.send(&core.admitted(), "/", post("b"), BOUNDS).await.err().unwrap();
            assert!(matches!(refused, Failure::Busy));
            // Who waits gets the place of who ends.
            let admitted = core.admitted();
            let waiting = remote.send(&admitted, "/", post("c"), BOUNDS);
            let mut waiting = std::pin::pin!(waiting);
            assert!(futures_util::poll!(waiting.as_mut()).is_pending());
            // Unread, so the connection is closed and not used again.
            drop(running);
            assert_eq!(text(waiting.await).await, "two");
        };
        join!(serve, ask);
    });
}

#[test]
fn a_changed_url_starts_with_new_connections() {
    on_a_core(|core| async move {
        let remote = |spec: &ProviderSpec| {
            core.pool.remote(Described { id: ProviderId(1), owner: None, spec })
        };
        let first = remote(&spec("http://127.0.0.1:1")).unwrap();
        let renamed = ProviderSpec { idle_timeout_ms: 1, ..spec("http://127.0.0.1:1") };
        assert!(Rc::ptr_eq(&first, &remote(&renamed).unwrap()));
        let other = remote(&spec("http://127.0.0.1:2")).unwrap();
        assert!(!Rc::ptr_eq(&first, &other));
        assert!(matches!(remote(&spec("127.0.0.1:2")), Err(Unusable::Origin(_))));
        let rootless = ProviderSpec { tls_roots: Some("x".into()), ..spec("http://127.0.0.1:2") };
        assert!(matches!(remote(&rootless), Err(Unusable::Roots(_))));
        core.pool.sweep(0);
        assert!(core.pool.remotes.borrow().is_empty());
    });
}
