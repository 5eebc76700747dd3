//! Who a gateway is before it joins: its inbox on the bus is named after it.

use turnpike_domain::id::GatewayId;

use super::StartError;
use crate::config::Config;
use crate::mirror::remembered;

/// The id that this gateway has from an earlier run or that its operator chose, if either.
///
/// # Errors
/// [`StartError::OtherId`] if these are two: what one has spent must not be told by the other.
pub fn known_as(config: &Config) -> Result<Option<GatewayId>, StartError> {
    let remembered = remembered(&config.data, &config.control.join_token);
    match (config.chosen_id(), remembered) {
        (Some(chosen), Some(remembered)) if chosen != remembered => {
            Err(StartError::OtherId { chosen, remembered })
        }
        (chosen, remembered) => Ok(remembered.or(chosen)),
    }
}
