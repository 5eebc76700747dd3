//! The machine's own clocks behind the `Clock` seam.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use turnpike_domain::time::Timestamp;

use super::{BoxFuture, Clock, SharedClock};

/// How many milliseconds the day of this process is ahead of the machine's; less than zero: behind.
/// For tests of processes alone, whose days disagree or come to the end of a month.
const DAY_AHEAD: &str = "TURNPIKE_TEST_DAY_AHEAD_MS";

/// The clock of the machine: the day by `CLOCK_REALTIME`, steady time by `CLOCK_BOOTTIME`.
///
/// Boot time counts while the machine sleeps, so that a lease that ran out meanwhile is seen to
/// have run out. `sleep` alone stands still with the machine: it wakes late, never early.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// The machine's clock, ready to be handed around.
#[must_use]
pub fn system() -> SharedClock {
    #[expect(clippy::disallowed_methods, reason = "tests alone set it: it is no option")]
    let ahead_ms = std::env::var(DAY_AHEAD).ok().and_then(|ms| ms.parse().ok());
    let Some(ahead_ms) = ahead_ms else { return Arc::new(SystemClock) };
    tracing::warn!(ahead_ms, "this process tells another day than its machine: a test");
    Arc::new(AnotherDay { ahead_ms })
}

/// The machine's clock, but for the day.
struct AnotherDay {
    ahead_ms: i64,
}

impl Clock for AnotherDay {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0.saturating_add_signed(self.ahead_ms))
    }

    fn boot_ms(&self) -> u64 {
        SystemClock.boot_ms()
    }

    fn boot_us(&self) -> u64 {
        SystemClock.boot_us()
    }

    fn sleep(&self, ms: u64) -> BoxFuture<'static, ()> {
        SystemClock.sleep(ms)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the seam's one implementation")]
        let now = SystemTime::now();
        // A day before 1970 is a machine that has no time yet: 0 says so.
        let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn boot_ms(&self) -> u64 {
        self.boot_us() / 1_000
    }

    fn boot_us(&self) -> u64 {
        let time = clock_gettime(ClockId::Boottime);
        // Boot time is never negative.
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
        seconds * 1_000_000 + nanoseconds / 1_000
    }

    fn sleep(&self, ms: u64) -> BoxFuture<'static, ()> {
        #[expect(clippy::disallowed_methods, reason = "this is the seam's one implementation")]
        let sleep = tokio::time::sleep(Duration::from_millis(ms));
        Box::pin(sleep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::deadline;

    #[tokio::test]
    async fn steady_time_goes_on_over_a_sleep_and_the_day_is_after_2025() {
        let clock = system();
        let (ms, us) = (clock.boot_ms(), clock.boot_us());
        clock.sleep(5).await;
        assert!(clock.boot_ms() >= ms + 4);
        assert!(clock.boot_us() >= us + 4_000);
        assert!(clock.now() > Timestamp(1_735_689_600_000));
    }

    #[test]
    fn a_day_can_be_ahead_or_behind() {
        let of = |ahead_ms| AnotherDay { ahead_ms }.now();
        assert!(of(3_600_000).since(SystemClock.now()) > 3_500_000);
        assert!(SystemClock.now().since(of(-3_600_000)) > 3_500_000);
    }

    #[tokio::test]
    async fn a_deadline_ends_what_never_ends() {
        let clock = system();
        assert_eq!(deadline(&*clock, 1, std::future::pending::<()>()).await, None);
        assert_eq!(deadline(&*clock, 60_000, async { 7 }).await, Some(7));
        assert_eq!(deadline(&*clock, 0, async { 7 }).await, Some(7), "what is ready wins");
    }
}
