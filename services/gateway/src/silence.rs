//! Measures how long nothing has come, with one timer for many pieces and many requests.

use std::task::{Context, Poll};

use turnpike_runtime::clock::{BoxFuture, Clock};

/// A time that began with the last sign of life. To begin it anew costs nothing: a timer that fires
/// too early is set again.
pub(crate) struct Silence {
    since_ms: u64,
    timer: Option<Timer>,
}

struct Timer {
    fires_ms: u64,
    fired: BoxFuture<'static, ()>,
}

impl Silence {
    /// A silence that has begun at `now_ms`.
    pub(crate) const fn since(now_ms: u64) -> Self {
        Self { since_ms: now_ms, timer: None }
    }

    /// When it began.
    pub(crate) const fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// Something has come: another silence begins.
    pub(crate) const fn end(&mut self, now_ms: u64) {
        self.since_ms = now_ms;
    }

    /// Ready once the silence has lasted for `limit_ms`.
    pub(crate) fn poll(
        &mut self,
        clock: &dyn Clock,
        limit_ms: u64,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let until_ms = self.since_ms.saturating_add(limit_ms);
        self.timer.take_if(|timer| timer.fires_ms > until_ms);
        loop {
            if let Some(timer) = &mut self.timer
                && timer.fired.as_mut().poll(context).is_pending()
            {
                return Poll::Pending;
            }
            let left_ms = until_ms.saturating_sub(clock.boot_ms());
            if left_ms == 0 {
                return Poll::Ready(());
            }
            self.timer = Some(Timer { fires_ms: until_ms, fired: clock.sleep(left_ms) });
        }
    }
}

#[cfg(test)]
mod tests {
    use turnpike_domain::time::Timestamp;
    use turnpike_runtime::clock::PausedClock;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silence_lasts_from_its_latest_beginning_whatever_was_asked_before() {
        let clock = PausedClock::new(Timestamp(0));
        let mut silence = Silence::since(clock.boot_ms());
        for (limit_ms, pause_ms) in [(1_000, 600), (1_000, 900), (50_000, 10)] {
            silence.end(clock.boot_ms());
            let polled = futures_util::poll!(std::future::poll_fn(|context| {
                silence.poll(&clock, limit_ms, context)
            }));
            assert!(polled.is_pending());
            clock.sleep(pause_ms).await;
        }
        let began_ms = clock.boot_ms();
        silence.end(began_ms);
        // The timer that stands would fire much later.
        std::future::poll_fn(|context| silence.poll(&clock, 300, context)).await;
        assert_eq!(clock.boot_ms() - began_ms, 300);
    }
}
