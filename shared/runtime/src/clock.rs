//! The `Clock` seam: the time of day, a steady counter, and sleep.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use turnpike_domain::time::Timestamp;

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
