//! Turns at hashing passwords: each hash takes 19 MiB and a core for tens of milliseconds, and
//! anybody may ask for one.

use tokio::sync::Semaphore;
use turnpike_domain::secret::Sealed;
use turnpike_runtime::clock::deadline;

use crate::app::App;
use crate::password;
use crate::problem::{Code, Problem};

/// The fewest characters of a password (NIST SP 800-63B-4 asks for 15 where it stands alone, 8
/// where it does not; here it stands behind a throttle).
const MIN_CHARS: usize = 12;
/// The most characters.
const MAX_CHARS: usize = 128;
/// Hashes made at a time.
const AT_A_TIME: usize = 2;
/// How long a caller waits for its turn, in milliseconds.
const TURN_MS: u64 = 5_000;

/// Lets a few hash at a time.
pub(crate) struct Turns(Semaphore);

impl Turns {
    pub(crate) fn new() -> Self {
        Self(Semaphore::new(AT_A_TIME))
    }

    /// The sealed hash of a new password.
    pub(crate) async fn keep(&self, app: &App, password: String) -> Result<Sealed, Problem> {
        let kept = self.take(app, password::keep(password, &app.keys.password)).await?;
        kept.map_err(|error| Problem::internal(&error))
    }

    /// Whether a password is the one that was kept; `None` is nobody's, and as slow a no.
    pub(crate) async fn matches(
        &self,
        app: &App,
        kept: Option<&Sealed>,
        password: String,
    ) -> Result<bool, Problem> {
        // What is longer than any password can be is not hashed.
        let password = if password.len() > 4 * MAX_CHARS { String::new() } else { password };
        self.take(app, password::matches(password, kept, &app.keys.password)).await
    }

    async fn take<F: Future>(&self, app: &App, work: F) -> Result<F::Output, Problem> {
        let busy = || {
            let problem = Problem::new(Code::RateLimited, "too many people log in at this moment");
            Problem { retry_after: Some(1), ..problem }
        };
        let turn = deadline(&*app.clock, TURN_MS, self.0.acquire()).await.ok_or_else(busy)?;
        let _turn = turn.map_err(|error| Problem::internal(&error))?;
        Ok(work.await)
    }
}

/// What is wrong with a new password, if anything is.
pub(crate) fn problem(password: &str) -> Option<&'static str> {
    let chars = password.chars().count();
    (!(MIN_CHARS..=MAX_CHARS).contains(&chars)).then_some("must have 12 to 128 characters")
}
