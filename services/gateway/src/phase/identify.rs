//! Who asks: the key of a request's credential.

mod credential;

use turnpike_domain::admit::Denial;
use turnpike_wire::ephemeral;
use turnpike_wire::secret::{self, Legacy};

use crate::core::{Core, Denied, Entry};
use crate::dialect::{Dialect, Sent};

/// The key of a request's credential, which stands where the dialect's clients put it.
///
/// # Errors
/// [`Denial::Unauthorized`] for none, two different ones or what is no secret, and those of
/// [`Core::identify`] and [`Core::identify_token`].
pub(super) fn identify(core: &Core, dialect: Dialect, sent: Sent<'_>) -> Result<Entry, Denied> {
    let refused = |message| core.denied(Denial::Unauthorized).with_message(message);
    let text = credential::credential(dialect, sent).map_err(|error| refused(error.to_string()))?;
    if ephemeral::is_token(&text) {
        return core.identify_token(&text);
    }
    let error = match secret::parse(&text) {
        Ok(presented) => return core.identify(&presented),
        Err(error) => error,
    };
    let legacy =
        Legacy::read(&text).map_err(|_| refused(format!("The API key is malformed: {error}.")))?;
    core.identify_legacy(legacy)
}
