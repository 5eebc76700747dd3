//! The relay between real sockets: what passes, and how it ends on every way out.

use std::rc::Rc;

use tokio::io::AsyncWriteExt;
use tokio::join;
use tokio::sync::oneshot;
use turnpike_runtime::clock::system;

use super::*;
use crate::testing::{BOUNDS, Connection, Provider, TestCore, Told, on_a_core, post};

const WAITS: Waits = Waits { idle_timeout_ms: 10_000, until_ms: None };
const LIMITS: Limits = Limits { waits: WAITS, drain_timeout_ms: 10_000, drain_bytes: 1_000_000 };

/// Writes down what happens to it; its end is told through a channel.
struct Witness {
    told: Told,
    changes: bool,
    /// What it says last when the answer is cut.
    last_word: &'static str,
    ended: Option<oneshot::Sender<()>>,
}

impl Witness {
    fn tell(&self, what: impl Into<String>) {
        self.told.borrow_mut().push(what.into());
    }
}

impl Tap for Witness {
    fn changes(&self) -> bool {
        self.changes
    }

    fn pass(&mut self, piece: Bytes, out: &mut VecDeque<Bytes>) {
        self.tell(String::from_utf8_lossy(&piece[..piece.len().min(20)]));
        out.push_back(piece);
    }

    fn complete(&mut self, out: &mut VecDeque<Bytes>) {
        self.tell("complete");
        if self.changes {
            out.push_back(Bytes::from_static(b": end"));
        }
    }

    fn cut(&mut self, how: &Cut, out: &mut VecDeque<Bytes>) {
        self.tell(how.to_string());
        if !self.last_word.is_empty() {
            out.push_back(Bytes::from_static(self.last_word.as_bytes()));
        }
    }

    fn caller_gone(&mut self) {
        self.tell("caller gone");
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.tell("dropped");
        let _ = self.ended.take().unwrap().send(());
    }
}

/// A relay of the answer that `answer` writes, what is told of it, and the word of its end.
async fn relay<F: Future<Output = ()>>(
    core: &TestCore,
    provider: &Provider,
    limits: Limits,
    changes: bool,
    answer: impl FnOnce(Connection) -> F,
) -> (Relay<Witness>, Told, oneshot::Receiver<()>) {
    relay_with((core, provider), limits, (changes, ""), answer).await
}

/// The same, with the tap's last word when the answer is cut.
async fn relay_with<F: Future<Output = ()>>(
    (core, provider): (&TestCore, &Provider),
    limits: Limits,
    (changes, last_word): (bool, &'static str),
    answer: impl FnOnce(Connection) -> F,
) -> (Relay<Witness>, Told, oneshot::Receiver<()>) {
    let remote = provider.remote(&core.pool);
    let serve = async {
        let mut connection = provider.connection().await;
        connection.request().await;
        answer(connection).await;
    };
    let admitted = core.admitted();
    let ask = async { remote.send(&admitted, "/", post("a"), BOUNDS).await.unwrap().into_body() };
    let ((), body) = join!(serve, ask);
    let (told, (ended, ends)) = (Told::default(), oneshot::channel());
    let witness = Witness { told: Rc::clone(&told), changes, last_word, ended: Some(ended) };
    let means = Means { clock: system(), tasks: core.tasks.clone() };
    (Relay::new(body, witness, limits, means), told, ends)
}

#[test]
fn an_answer_of_known_length_passes_and_is_complete_at_its_last_byte() {
    on_a_core(|core| async move {
        let provider = Provider::new();
        let (mut relay, told, _ends) =
            relay(&core, &provider, LIMITS, false, |mut connection| async move {
                connection.answer("hello").await;
            })
            .await;
        assert_eq!(relay.size_hint().exact(), Some(5));
        assert_eq!(relay.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
        assert!(relay.is_end_stream());
        drop(relay);
        assert_eq!(*told.borrow(), ["hello", "complete", "dropped"]);
    });
}

#[test]
fn a_tap_may_add_the_last_bytes_of_a_stream() {
    on_a_core(|core| async move {
        let provider = Provider::new();
        let (relay, told, _ends) =
            relay(&core, &provider, LIMITS, true, |mut connection| async move {
                connection.begin_stream().await;
                connection.piece("a").await;
                connection.piece("").await;
            })
            .await;
        assert_eq!(relay.size_hint().exact(), None);
        assert_eq!(relay.collect().await.unwrap().to_bytes(), "a: end");
        assert_eq!(*told.borrow(), ["a", "complete", "dropped"]);
    });
}

#[test]
fn a_caller_who_does_not_read_holds_the_provider_back() {
    const MUCH: usize = 64 * 1024 * 1024;
    on_a_core(|core| async move {
        let provider = Provider::new();
        let (go_on, went) = oneshot::channel::<Connection>();
        let (mut relay, _told, _ends) =
            relay(&core, &provider, LIMITS, false, |mut connection| async move {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {MUCH}\r\n\r\n");
                connection.write(head).await;
                go_on.send(connection).ok().unwrap();
            })
            .await;
        let connection = went.await.unwrap();
        let (mut written, mut refused) = (0, 0);
        let block = vec![0; 64 * 1024];
        connection.stream.try_write(&block).unwrap();
        relay.frame().await.unwrap().unwrap();
        // The gateway's own buffers fill between the writes; then nothing moves.
        while refused < 100 && written < MUCH / 2 {
            match connection.stream.try_write(&block) {
                Ok(bytes) => (written, refused) = (written + bytes, 0),
                Err(_) => refused += 1,
            }
            tokio::task::yield_now().await;
        }
        assert!(written < MUCH / 2, "{written} bytes were read ahead");
    });
}

#[test]
fn a_provider_is_read_to_the_end_when_the_caller_has_gone() {
    on_a_core(|core| async move {
        let provider = Provider::new();
        let (go_on, went) = oneshot::channel::<Connection>();
        let (mut relay, told, ends) =
            relay(&core, &provider, LIMITS, true, |mut connection| async move {
                connection.begin_stream().await;
                connection.piece("a").await;
                go_on.send(connection).ok().unwrap();
            })
            .await;
        relay.frame().await.unwrap().unwrap();
        drop(relay);
        let mut connection = went.await.unwrap();
        connection.piece("usage").await;
        connection.piece("").await;
        ends.await.unwrap();
        assert_eq!(*told.borrow(), ["a", "caller gone", "usage", "complete", "dropped"]);
    });
}

#[test]
fn draining_has_a_limit_of_time_and_of_bytes() {
    on_a_core(|core| async move {
        for limits in
            [Limits { drain_timeout_ms: 20, ..LIMITS }, Limits { drain_bytes: 3, ..LIMITS }]
        {
            let provider = Provider::new();
            let (go_on, went) = oneshot::channel::<Connection>();
            let (relay, told, ends) =
                relay(&core, &provider, limits, true, |mut connection| async move {
                    connection.begin_stream().await;
                    go_on.send(connection).ok().unwrap();
                })
                .await;
            drop(relay);
            let mut connection = went.await.unwrap();
            connection.piece("long").await;
            connection.closed().await;
            ends.await.unwrap();
            assert_eq!(told.borrow().first().unwrap(), "caller gone");
            assert_eq!(told.borrow().last().unwrap(), "dropped");
            assert!(!told.borrow().contains(&"complete".to_owned()));
        }
    });
}

#[test]
fn silence_and_a_broken_stream_are_cuts() {
    on_a_core(|core| async move {
        let provider = Provider::new();
        let silent = Limits { waits: Waits { idle_timeout_ms: 20, ..WAITS }, ..LIMITS };
        let mut open = None;
        let (mut relay_silent, told, _ends) =
            relay(&core, &provider, silent, true, |mut connection| {
                let open = &mut open;
                async move {
                    connection.begin_stream().await;
                    connection.piece("a").await;
                    *open = Some(connection);
                }
            })
            .await;
        relay_silent.frame().await.unwrap().unwrap();
        assert!(matches!(relay_silent.frame().await, Some(Err(Cut::Silent))));
        assert!(relay_silent.frame().await.is_none());
        assert_eq!(*told.borrow(), ["a", "the provider fell silent", "dropped"]);

        let (mut broken, told, _ends) =
            relay(&core, &provider, LIMITS, true, |mut connection| async move {
                connection.begin_stream().await;
                connection.piece("a").await;
            })
            .await;
        broken.frame().await.unwrap().unwrap();
        assert!(matches!(broken.frame().await, Some(Err(Cut::Broken(_)))));
        drop(broken);
        assert_eq!(*told.borrow(), ["a", "the provider broke off", "dropped"]);
    });
}

#[test]
fn a_trickle_without_an_end_is_cut_in_time_and_the_tap_has_the_last_word() {
    on_a_core(|core| async move {
        let provider = Provider::new();
        let until_ms = system().boot_ms() + 100;
        let limits = Limits { waits: Waits { until_ms: Some(until_ms), ..WAITS }, ..LIMITS };
        let tasks = core.tasks.clone();
        let trickle = |mut connection: Connection| async move {
            connection.begin_stream().await;
            tasks.spawn_local("trickle", async move {
                let piece = b"1\r\n.\r\n";
                while connection.stream.write_all(piece).await.is_ok() {
                    system().sleep(5).await;
                }
            });
        };
        let witness = (true, "the end");
        let (relay, told, _ends) = relay_with((&core, &provider), limits, witness, trickle).await;
        let came = relay.collect().await.unwrap().to_bytes();
        assert!(came.ends_with(b"the end"), "{came:?}");
        assert!(system().boot_ms() >= until_ms);
        let told = told.borrow();
        assert!(told.contains(&"the provider did not come to an end in time".to_owned()));
    });
}
