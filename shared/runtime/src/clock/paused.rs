//! A clock on tokio's paused time, so that a simulation owns every wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use turnpike_domain::time::Timestamp;

use super::{BoxFuture, Clock};

/// A clock that moves only as far as tokio's time does (`start_paused`, `tokio::time::advance`).
///
/// Clones share the day's offset. Two clocks made apart share the steady time of the runtime and
/// differ in their day, as two machines do.
#[derive(Clone, Debug)]
pub struct PausedClock {
    started: Instant,
    day: Timestamp,
    /// How far the day has been stepped, in milliseconds.
    stepped_ms: Arc<AtomicI64>,
}

impl PausedClock {
    /// A clock whose day begins at `day` and whose steady time begins at 0, both now.
    #[must_use]
    pub fn new(day: Timestamp) -> Self {
        Self { started: steady_now(), day, stepped_ms: Arc::default() }
    }

    /// Steps the day by `ms` milliseconds, back if negative. Steady time does not notice.
    pub fn step_day(&self, ms: i64) {
        self.stepped_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn elapsed(&self) -> Duration {
        steady_now().saturating_duration_since(self.started)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is an implementation of the seam")]
fn steady_now() -> Instant {
    Instant::now()
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        let day_ms = self.day.0.saturating_add(self.boot_ms());
        Timestamp(day_ms.saturating_add_signed(self.stepped_ms.load(Ordering::Relaxed)))
    }

    fn boot_ms(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn boot_us(&self) -> u64 {
        u64::try_from(self.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn sleep(&self, ms: u64) -> BoxFuture<'static, ()> {
        #[expect(clippy::disallowed_methods, reason = "this is an implementation of the seam")]
        let sleep = tokio::time::sleep(Duration::from_millis(ms));
        Box::pin(sleep)
    }
}

#[cfg(test)]
mod tests {
    use turnpike_domain::time::HOUR_MS;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_moves_with_sleeps_and_steps_move_only_the_day() {
        let clock = PausedClock::new(Timestamp(HOUR_MS));
        clock.sleep(10 * HOUR_MS).await;
        assert_eq!(clock.now(), Timestamp(11 * HOUR_MS));
        assert_eq!(clock.boot_ms(), 10 * HOUR_MS);

        clock.clone().step_day(-3_600_000);
        assert_eq!(clock.now(), Timestamp(10 * HOUR_MS));
        assert_eq!(clock.boot_us(), 10 * HOUR_MS * 1_000);
    }
}
