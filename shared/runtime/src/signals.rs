//! SIGTERM and SIGINT: the first asks to end, the second ends at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::tasks::Tasks;

/// What the shell adds to a signal's number for the exit code of a process that it ended.
const EXIT_BASE: i32 = 128;

/// A token that the first signal cancels. The second ends the process with 128 + its number, for
/// the operator who does not want to wait for the drain.
///
/// # Errors
/// The operating system's, if it lets nobody listen.
pub fn watch() -> io::Result<CancellationToken> {
    let signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    let stopping = CancellationToken::new();
    // A group that nobody drains: the second signal comes while everything else is drained.
    Tasks::new("signals").spawn("signals", heed(signals, stopping.clone(), exit));
    Ok(stopping)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) -> i32 {
        let kind = tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        };
        kind.as_raw_value()
    }
}

async fn heed(mut signals: Signals, stopping: CancellationToken, exit: impl FnOnce(i32)) {
    let first = signals.next().await;
    tracing::info!(signal = first, "asked to end; a second signal ends at once");
    stopping.cancel();
    exit(EXIT_BASE + signals.next().await);
}

#[expect(clippy::disallowed_methods, reason = "the operator asked twice")]
fn exit(code: i32) {
    std::process::exit(code);
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    async fn send(name: &str) {
        let script = format!("kill -{name} $PPID");
        let sent = tokio::process::Command::new("sh").args(["-c", &script]).status().await;
        assert!(sent.unwrap().success());
    }

    #[tokio::test]
    async fn the_first_signal_asks_and_the_second_insists() {
        let signals = Signals {
            terminate: signal(SignalKind::terminate()).unwrap(),
            interrupt: signal(SignalKind::interrupt()).unwrap(),
        };
        let (stopping, (told, code)) = (CancellationToken::new(), oneshot::channel());
        let tasks = Tasks::new("test");
        tasks.spawn("heed", heed(signals, stopping.clone(), |code| told.send(code).unwrap()));

        send("TERM").await;
        stopping.cancelled().await;
        send("INT").await;
        assert_eq!(code.await, Ok(130));
    }
}
