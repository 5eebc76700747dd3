//! The `Clock` seam: the time of day, a steady counter, and sleep.

mod paused;
mod system;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use turnpike_domain::time::Timestamp;

pub use paused::PausedClock;
pub use system::{SystemClock, system};

/// A future that may be sent to another thread; the seam is object-safe because of it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The only source of time. The domain takes `now` as an argument; everything else asks here.
pub trait Clock: Send + Sync {
    /// The time of day. May step in either direction.
    fn now(&self) -> Timestamp;
    /// Milliseconds since boot, counting while the machine sleeps; never steps back.
    fn boot_ms(&self) -> u64;
    /// Microseconds on the same steady scale, for latencies.
    fn boot_us(&self) -> u64;
    /// Completes after `ms` milliseconds of steady time. Cancel-safe.
    fn sleep(&self, ms: u64) -> BoxFuture<'static, ()>;
}

/// A clock that is handed around.
pub type SharedClock = Arc<dyn Clock>;

/// Runs `future` for at most `ms` milliseconds of steady time; `None` if the time ran out.
///
/// The future is dropped when the time runs out: never give it a commit.
pub async fn deadline<F: Future>(clock: &dyn Clock, ms: u64, future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = clock.sleep(ms) => None,
    }
}
