//! Ephemeral tokens: who signed one is looked at once, whether it works each time it is used.
//!
//! What is remembered of a token are facts that never change: what it says, and that it was signed.
//! So what is remembered cannot outlive a revocation: key, generation, end and revocation are those
//! of the mirror at each request. All cores share it: a token costs a gateway one signature check.

use std::hash::BuildHasherDefault;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use sha2::{Digest as _, Sha256};
use turnpike_domain::admit::Denial;
use turnpike_domain::ephemeral::{Claims, Ended};
use turnpike_domain::state::Key;
use turnpike_wire::ephemeral::{NotAToken, verify};
use turnpike_wire::sign::Signers;

use super::{Age, Core, Denied, Entry};
use crate::table::{IdHasher, Slot};

/// Tokens that are remembered: with a narrowed key of about a kilobyte each some tens of megabytes.
/// When there are more all are forgotten, and each costs one signature check again.
const MAX_VERIFIED: usize = 16_384;

/// The tokens that were seen.
#[derive(Default)]
pub(super) struct Tokens {
    signers: ArcSwap<Signers>,
    /// By the SHA-256 of their text, which is not kept.
    verified: papaya::HashMap<[u8; 32], Arc<Verified>, BuildHasherDefault<IdHasher>>,
}

/// A token that was signed by the control plane.
struct Verified {
    claims: Arc<Claims>,
    /// What it last came to.
    delegated: ArcSwapOption<Delegated>,
}

/// What the holder of a token has of its key.
#[derive(Debug)]
pub struct Delegated {
    /// What the token says.
    pub claims: Arc<Claims>,
    /// The key, as it is by itself: its budgets and rates are used.
    pub of: Arc<Key>,
    /// The key as the token's holder has it.
    key: Arc<Key>,
}

impl Tokens {
    pub(super) fn set_signers(&self, signers: Signers) {
        // Who may not sign any more has not signed.
        self.signers.store(Arc::new(signers));
        self.verified.pin().clear();
    }

    fn verified(&self, text: &str) -> Result<Arc<Verified>, NotAToken> {
        let digest: [u8; 32] = Sha256::digest(text).into();
        let verified = self.verified.pin();
        if let Some(known) = verified.get(&digest) {
            return Ok(Arc::clone(known));
        }
        let claims = Arc::new(verify(text, &self.signers.load())?);
        if verified.len() >= MAX_VERIFIED {
            verified.clear();
        }
        let fresh = Arc::new(Verified { claims, delegated: ArcSwapOption::empty() });
        verified.insert(digest, Arc::clone(&fresh));
        Ok(fresh)
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.verified.len()
    }
}

impl Verified {
    /// What the token comes to with its key as it is now.
    fn delegated(&self, key: &Arc<Key>) -> Arc<Delegated> {
        let known = self.delegated.load_full().filter(|known| Arc::ptr_eq(&known.of, key));
        known.unwrap_or_else(|| {
            let fresh = Arc::new(Delegated::new(Arc::clone(&self.claims), Arc::clone(key)));
            self.delegated.store(Some(Arc::clone(&fresh)));
            fresh
        })
    }
}

impl Delegated {
    fn new(claims: Arc<Claims>, of: Arc<Key>) -> Self {
        let key = Arc::new(claims.narrowed(&of));
        Self { claims, of, key }
    }

    /// The same with its key as it is now.
    fn with(self: &Arc<Self>, key: &Arc<Key>) -> Arc<Self> {
        if Arc::ptr_eq(&self.of, key) {
            return Arc::clone(self);
        }
        Arc::new(Self::new(Arc::clone(&self.claims), Arc::clone(key)))
    }
}

impl Core {
    /// Says by whom tokens are signed.
    pub fn set_signers(&self, signers: Signers) {
        self.tokens.set_signers(signers);
    }

    /// The key of an ephemeral token, narrowed to what both may, if the token was signed by the
    /// control plane and works. Whether this gateway has heard of the token does not matter.
    ///
    /// # Errors
    /// [`Denial::Unauthorized`], and those of [`Ended::denial`].
    pub fn identify_token(&self, text: &str) -> Result<Entry, Denied> {
        let verified = self.tokens.verified(text).map_err(|error| {
            // A key that signs since a moment ago may not have come here.
            if error == NotAToken::Signer && self.freshness.may_miss(&*self.clock) {
                return self.denied(Denial::ControlPlaneStale);
            }
            let message = format!("The ephemeral token cannot be used: {error}.");
            self.denied(Denial::Unauthorized).with_message(message)
        })?;
        let claims = &*verified.claims;
        let slot = self.table.get(&claims.public_id).filter(|slot| {
            (slot.key.id, slot.org.view().organisation.id) == (claims.key, claims.org)
        });
        let Some(slot) = slot else {
            return Err(if self.freshness.may_miss(&*self.clock) {
                self.denied(Denial::ControlPlaneStale)
            } else {
                let denied = self.denied(Ended::KeyGone.denial());
                denied.with_message(Ended::KeyGone.sentence())
            });
        };
        self.token_entry(&slot, claims, Age::Bounded, |key| verified.delegated(key))
    }

    /// What a token comes to that was let in before.
    pub(super) fn token_again(
        &self,
        slot: &Slot,
        token: &Arc<Delegated>,
        age: Age,
    ) -> Result<Entry, Denied> {
        self.token_entry(slot, &token.claims, age, |key| token.with(key))
    }

    /// The key in a slot as the holder of a token with these claims has it, if both work.
    fn token_entry(
        &self,
        slot: &Slot,
        claims: &Claims,
        age: Age,
        delegated: impl FnOnce(&Arc<Key>) -> Arc<Delegated>,
    ) -> Result<Entry, Denied> {
        let mut entry = self.known(slot, claims.public_id, age, |slot, now| {
            let revoked = slot.revokes(claims.token);
            claims.check(&slot.key, revoked, now).map_err(|ended| {
                let denied = Denied::new(ended.denial(), now).with_message(ended.sentence());
                denied.with_token(claims.token)
            })
        })?;
        let delegated = delegated(&entry.key);
        entry.key = Arc::clone(&delegated.key);
        entry.token = Some(delegated);
        Ok(entry)
    }
}

#[cfg(test)]
mod tests;
