//! Who asks: the key of a request's credential.

mod credential;
#[cfg(test)]
mod tests;

use std::hint::spin_loop;

use turnpike_domain::admit::Denial;
use turnpike_runtime::clock::Clock;
use turnpike_wire::ephemeral;
use turnpike_wire::secret::{self, Legacy};

use crate::core::{Core, Denied, Entry};
use crate::dialect::{Dialect, Sent};

/// When a secret that is not right is refused, in microseconds after its head had arrived: later
/// than any is looked up and compared, so that time does not tell whether its id is known.
const REFUSED_AFTER_US: u64 = 5;
/// How often the clock is looked at meanwhile: one that stands still, as those of simulations do,
/// holds nobody up. The machine's is looked at some hundred times.
const MAX_LOOKS: u32 = 4_096;

/// The key of a request's credential, which stands where the dialect's clients put it. The head had
/// arrived at the steady time `started_us`.
///
/// # Errors
/// [`Denial::Unauthorized`] for none, two different ones or what is no secret, and those of
/// [`Core::identify`] and [`Core::identify_token`].
pub(super) fn identify(
    core: &Core,
    dialect: Dialect,
    sent: Sent<'_>,
    started_us: u64,
) -> Result<Entry, Denied> {
    let refused = |message| core.denied(Denial::Unauthorized).with_message(message);
    let text = credential::credential(dialect, sent).map_err(|error| refused(error.to_string()))?;
    if ephemeral::is_token(&text) {
        return core.identify_token(&text);
    }
    let found = match secret::parse(&text) {
        Ok(presented) => core.identify(&presented),
        Err(error) => {
            let malformed = |_| refused(format!("The API key is malformed: {error}."));
            core.identify_legacy(Legacy::read(&text).map_err(malformed)?)
        }
    };
    // Whoever has the right secret may know whose it is.
    found.inspect_err(|denied| {
        if denied.subject.is_none() {
            wait_until(&**core.clock(), started_us.saturating_add(REFUSED_AFTER_US));
        }
    })
}

/// Holds the core for the few microseconds until a steady time: no timer is that fine, and what is
/// rounded to a whole microsecond says nothing of the nanoseconds before it.
fn wait_until(clock: &dyn Clock, until_us: u64) {
    for _ in 0..MAX_LOOKS {
        if clock.boot_us() >= until_us {
            return;
        }
        spin_loop();
    }
}
