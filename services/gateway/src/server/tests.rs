//! The listener against real sockets: keep-alive, both protocols, limits, draining.

use http_body_util::{BodyExt, Empty, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::{PausedClock, system};
use turnpike_runtime::serve::listen;

use super::*;

const BOUNDS: Bounds = Bounds {
    max_connections: 100,
    max_head_bytes: 16 * 1024,
    head_timeout_ms: 10_000,
    idle_timeout_ms: 40_000,
};

/// Serves on a port of its own, with the path as the answer.
fn start(means: &Means) -> SocketAddr {
    let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let echo = |request: Request<Incoming>, peer: SocketAddr| async move {
        assert!(peer.ip().is_loopback());
        Response::new(Full::new(Bytes::from(request.uri().path().to_owned())))
    };
    let means_here = means.clone();
    means.tasks.spawn_local("serve", async move { serve(listener, echo, means_here).await });
    address
}

fn means(clock: SharedClock) -> Means {
    let tasks = Tasks::new("test");
    let leaving = tasks.stopping();
    Means { bounds: BOUNDS, clock, tasks, leaving }
}

async fn local<F: Future<Output = ()>>(test: F) {
    LocalSet::new().run_until(test).await;
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).ends_with(end) {
        assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "closed after {text:?}");
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    local(async {
        let mut stream = TcpStream::connect(start(&means(system()))).await.unwrap();
        for path in ["/a", "/b"] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = read_until(&mut stream, path).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn http2_is_spoken_where_the_caller_begins_with_it() {
    local(async {
        let means = means(system());
        let stream = TcpStream::connect(start(&means)).await.unwrap();
        let executor = OnThisCore(means.tasks.clone());
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
        means.tasks.spawn_local("client", async move { connection.await.unwrap() });
        let request = Request::get("http://x/h2").body(Empty::<Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "/h2");
    })
    .await;
}

#[tokio::test]
async fn a_head_beyond_its_limits_is_refused() {
    local(async {
        let address = start(&means(system()));
        let long = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(BOUNDS.max_head_bytes));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
        for request in [long, many] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // The answer may come, and the connection close, before all of it is written.
            let _ = stream.write_all(request.as_bytes()).await;
            let answer = read_until(&mut stream, "\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn callers_who_say_nothing_or_half_a_head_are_closed() {
    local(async {
        let address = start(&means(Arc::new(PausedClock::new(Timestamp(0)))));
        for words in ["", "P", "GET / HTTP/1.1\r\nhost:"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(words.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert!(!rest.starts_with(b"HTTP/1.1 200"));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn heads_that_trickle_run_out_of_time_and_answers_and_rests_do_not() {
    local(async {
        let clock: SharedClock = Arc::new(PausedClock::new(Timestamp(0)));
        let means = means(Arc::clone(&clock));
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let handle_clock = Arc::clone(&clock);
        let slow = move |_: Request<Incoming>, _: SocketAddr| {
            let made = handle_clock.sleep(BOUNDS.head_timeout_ms * 3);
            async move {
                made.await;
                Response::new(Full::new(Bytes::from_static(b"done")))
            }
        };
        let means_here = means.clone();
        means.tasks.spawn_local("serve", async move { serve(listener, slow, means_here).await });
        let mut stream = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            read_until(&mut stream, "done").await;
        }
        let answered_ms = clock.boot_ms();
        assert!(answered_ms >= BOUNDS.head_timeout_ms * 6);
        // A rest may be longer than a head.
        clock.sleep(BOUNDS.head_timeout_ms * 2).await;
        for _ in 0..5 {
            clock.sleep(BOUNDS.head_timeout_ms / 4).await;
            if stream.write_all(b"G").await.is_err() {
                break;
            }
        }
        let answer = read_until(&mut stream, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(clock.boot_ms() <= answered_ms + BOUNDS.head_timeout_ms * 7 / 2);
    })
    .await;
}

#[tokio::test]
async fn a_drain_finishes_what_runs_and_takes_nothing_new() {
    local(async {
        let means = means(system());
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (began, begun) = oneshot::channel();
        let (answer, answered) = oneshot::channel::<()>();
        let once = std::cell::Cell::new(Some((began, answered)));
        let slow = move |_: Request<Incoming>, _: SocketAddr| {
            let (began, answered) = once.take().unwrap();
            async move {
                began.send(()).unwrap();
                answered.await.unwrap();
                Response::new(Full::new(Bytes::from_static(b"done")))
            }
        };
        let means_here = means.clone();
        means.tasks.spawn_local("serve", async move { serve(listener, slow, means_here).await });
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        begun.await.unwrap();

        let drained = {
            let means = means.clone();
            async move { means.tasks.drain(&*means.clock, 10_000).await }
        };
        let finish = async {
            // The listener closes first; then the running request is let go.
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
            answer.send(()).unwrap();
            read_until(&mut stream, "done").await
        };
        let (drained, answer) = tokio::join!(drained, finish);
        assert!(drained, "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn whoever_is_about_to_leave_answers_once_more_on_each_connection() {
    local(async {
        let means = Means { leaving: CancellationToken::new(), ..means(system()) };
        let address = start(&means);
        let mut rested = TcpStream::connect(address).await.unwrap();
        rested.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let answer = read_until(&mut rested, "/a").await;
        assert!(!answer.contains("connection: close"), "{answer}");
        means.leaving.cancel();
        // One that rests, and one of somebody who has not noticed yet.
        for mut stream in [rested, TcpStream::connect(address).await.unwrap()] {
            stream.write_all(b"GET /b HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let answer = read_until(&mut stream, "/b").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains("connection: close"), "{answer}");
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "nothing comes behind it");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_takes_nothing_is_given_up() {
    let clock: SharedClock = Arc::new(PausedClock::new(Timestamp(0)));
    let (near, mut far) = tokio::io::duplex(8);
    let mut stall = Stall::new(near, Arc::clone(&clock), 1_000);
    let error = stall.write_all(&[0; 9]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(clock.boot_ms(), 1_000);
    far.read_exact(&mut [0; 8]).await.unwrap();
    stall.write_all(&[0; 8]).await.unwrap();
}
