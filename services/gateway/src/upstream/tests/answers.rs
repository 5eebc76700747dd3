//! Answers as they may come: slow, early, closed, malformed, with something behind them.

use http_body_util::BodyExt;
use tokio::join;

use super::text;
use crate::testing::{BOUNDS, Provider, on_a_core, post};
use crate::upstream::{Failure, Outbound};

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
    2\r\nye\r\n1\r\ns\r\n0\r\n\r\n";
const AFTER_INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n\
    HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
    HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes";

/// What one exchange gives when the provider answers with `answer` and then closes or not.
fn exchange(answer: &'static [u8], step: usize, closes: bool) -> Result<(u16, String), String> {
    let mut found = None;
    on_a_core(async |core| {
        let provider = Provider::new();
        let remote = provider.remote(&core.pool);
        let serve = async {
            let mut connection = provider.connection().await;
            connection.request().await;
            for piece in answer.chunks(step) {
                connection.write(piece).await;
                tokio::task::yield_now().await;
            }
            (!closes).then_some(connection)
        };
        let ask = async {
            let answer = remote.send(&core.admitted(), "/", post("a"), BOUNDS).await;
            let answer = answer.map_err(|failure| {
                assert!(matches!(failure, Failure::Lost(_)) && failure.sent(), "{failure}");
                std::error::Error::source(&failure).unwrap().to_string()
            })?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
            Ok((status, String::from_utf8(body.to_bytes().to_vec()).unwrap()))
        };
        found = Some(join!(serve, ask).1);
    });
    found.unwrap()
}

#[test]
fn answers_are_read_whatever_their_pieces_and_their_framing() {
    let answers: [(&[u8], bool); 4] = [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes", false),
        (CHUNKED, false),
        (AFTER_INTERIM, false),
        (b"HTTP/1.0 200 OK\r\nserver: old\r\n\r\nyes", true),
    ];
    for (answer, closes) in answers {
        for step in [1, 7, answer.len()] {
            assert_eq!(exchange(answer, step, closes), Ok((200, "yes".to_owned())));
        }
    }
}

#[test]
fn what_is_no_answer_is_said_to_be_none() {
    let answers: [(&[u8], &str); 6] = [
        (b"SSH-2.0-OpenSSH\r\n", "its head cannot be read"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nyes!", "two lengths"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "closed too early"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nyes", "closed too early"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nyes", "closed too early"),
    ];
    for (answer, why) in answers {
        let said = exchange(answer, answer.len(), true).unwrap_err();
        assert!(said.contains(why), "{said:?} does not say {why:?}");
    }
}

#[test]
fn a_head_without_an_end_is_given_up() {
    let endless: &'static [u8] = "HTTP/1.1 200 OK\r\na: b".repeat(5_000).leak().as_bytes();
    let said = exchange(endless, endless.len(), false).unwrap_err();
    assert!(said.contains("too long") || said.contains("cannot be read"), "{said}");
}

#[test]
fn a_connection_that_said_too_much_or_good_bye_is_not_used_again() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyesHTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nyes",
    ] {
        on_a_core(|core| async move {
            let provider = Provider::new();
            let remote = provider.remote(&core.pool);
            let serve = async {
                let mut first = provider.connection().await;
                first.request().await;
                first.write(answer).await;
                let mut second = provider.connection().await;
                second.request().await;
                second.answer("again").await;
                assert!(!first.is_asked().await);
            };
            let ask = async {
                for expected in ["yes", "again"] {
                    let answer = remote.send(&core.admitted(), "/", post("a"), BOUNDS).await;
                    assert_eq!(text(answer).await, expected);
                }
            };
            join!(serve, ask);
        });
    }
}

#[test]
fn an_answer_before_the_whole_request_counts() {
    on_a_core(|core| async move {
        let provider = Provider::new();
        let remote = provider.remote(&core.pool);
        // More than sockets buffer, so that the provider answers while it is still being written.
        let body = bytes::Bytes::from(vec![b'x'; 32 << 20]);
        let serve = async {
            let mut connection = provider.connection().await;
            connection.write("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno").await;
            connection
        };
        let ask = async {
            let request = Outbound { body, ..post("") };
            let answer = remote.send(&core.admitted(), "/", request, BOUNDS).await.unwrap();
            assert_eq!(answer.status().as_u16(), 413);
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "no");
        };
        join!(serve, ask);
        assert!(remote.idle.borrow().is_empty(), "half a request is still on its way");
    });
}
