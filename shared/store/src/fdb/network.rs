//! FoundationDB's client thread: started once in a process, stopped as the process exits.

use std::ffi::c_int;
use std::sync::{Mutex, OnceLock, PoisonError};

use foundationdb::api::{FdbApiBuilder, NetworkAutoStop};
use foundationdb::{FdbError, FdbResult};

/// What starting the client came to. It can be started once in the life of a process, even after it
/// was stopped, so it belongs to the process and not to a store.
static STARTED: OnceLock<FdbResult<()>> = OnceLock::new();
/// Stops the thread and joins it when it is dropped.
static RUNNING: Mutex<Option<NetworkAutoStop>> = Mutex::new(None);

/// `operation_failed`, for what the library itself has no number for.
const OPERATION_FAILED: i32 = 1000;

#[expect(
    unsafe_code,
    reason = "a function of the C library, which every program here is linked to"
)]
unsafe extern "C" {
    /// Calls `hook` when the process exits, the last one registered first. 0: it will.
    fn atexit(hook: extern "C" fn()) -> c_int;
}

/// Starts the client if nobody has.
///
/// # Errors
/// What the library says if it does not start: most often it is older than API version 730.
pub(super) fn start() -> FdbResult<()> {
    *STARTED.get_or_init(boot)
}

/// The library's documentation demands that its thread has ended before the process exits: else the
/// thread runs on while its memory is taken down, and the process dies of a signal. `main` is not
/// the only way out (a second signal ends the process at once, a test has no `main`), so this is
/// left to the exit itself. The library was loaded before, so its own hooks run behind this one.
fn boot() -> FdbResult<()> {
    let builder = FdbApiBuilder::default().build()?;
    #[expect(unsafe_code, reason = "the thread is stopped and joined by the hook below")]
    let (running, registered) = unsafe { (builder.boot()?, atexit(stop)) };
    if registered != 0 {
        return Err(FdbError::from_code(OPERATION_FAILED));
    }
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    Ok(())
}

extern "C" fn stop() {
    drop(RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take());
}
