//! The gateway's own word on rates, between the offer and the budgets.

use turnpike_domain::admit::Denial;
use turnpike_domain::limit::Limits;

use crate::core::Entry;

/// Whether the key may make another request. A rate needs permits of the authority; nobody can give
/// one yet, so that a key with a rate on its path is not served.
///
/// # Errors
/// [`Denial::LimitAuthorityUnavailable`].
pub fn check(entry: &Entry) -> Result<(), Denial> {
    let profile = &entry.key.profile;
    let organisation = &entry.org.organisation;
    let project = profile.project.and_then(|project| organisation.projects.get(&project));
    let limits = [Some(&profile.limits), project.map(|project| &project.limits)];
    if limits.into_iter().flatten().any(has_rate) {
        Err(Denial::LimitAuthorityUnavailable)
    } else {
        Ok(())
    }
}

const fn has_rate(limits: &Limits) -> bool {
    limits.requests_per_minute.is_some() || limits.tokens_per_minute.is_some()
}
