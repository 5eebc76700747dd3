//! Reserves what a request may use of its budgets, and lowers its output maximum where its key says
//! so.

use turnpike_domain::admit::{Demand, clamped_output, may_clamp, reservation};
use turnpike_domain::event::ModelSpec;
use turnpike_domain::settle::Reservation;
use turnpike_domain::time::Timestamp;

use crate::core::{Denied, Entry};
use crate::lane::Tariff;
use crate::lease::{Grip, Leases};

/// How often a request is lowered: once for each unit, and once more because others take what was
/// there a moment ago.
const MAX_CLAMPS: usize = 3;

/// What a request may use.
pub(super) struct Reserved {
    pub(super) reservation: Reservation,
    /// What is reserved of budgets; `None` if the path has no cap.
    pub(super) grip: Option<Grip>,
    /// What the output maximum of each answer is lowered to, if it is.
    pub(super) clamp: Option<u64>,
}

/// Reserves the upper bound of `demand`. `clamps`: the call has a field for an output maximum.
///
/// # Errors
/// A refusal with the figures of the budget that does not suffice.
pub(super) async fn reserve(
    leases: &Leases,
    entry: &Entry,
    (spec, tariff): (&ModelSpec, &Tariff),
    mut demand: Demand,
    (clamps, now): (bool, Timestamp),
) -> Result<Reserved, Denied> {
    let may_clamp = clamps && may_clamp(&entry.key, &demand);
    let (prices, multiplier) = (tariff.prices.as_ref(), tariff.multiplier);
    let (mut clamp, mut turns) = (None, 0);
    loop {
        let reservation = reservation(spec, prices, multiplier, &demand);
        let shortage = match leases.reserve(entry, &reservation, now).await {
            Ok(grip) => return Ok(Reserved { reservation, grip, clamp }),
            Err(shortage) => *shortage,
        };
        let fits = shortage.fits.filter(|_| may_clamp && turns < MAX_CLAMPS);
        let lowered = fits.and_then(|most| clamped_output(spec, prices, multiplier, &demand, most));
        if lowered.is_none() {
            return Err(shortage.denied);
        }
        (demand.max_output, clamp, turns) = (lowered, lowered, turns + 1);
    }
}
