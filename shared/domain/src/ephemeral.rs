//! Ephemeral tokens: delegated by a key, carried by their holder, checked without asking anybody.
//!
//! What a token may do stands in the token itself, signed. What it may do *now* is also up to its
//! key: a token has no right that its key has not, and ends with its key.

use crate::admit::Denial;
use crate::event::EphemeralGrant;
use crate::id::{EphemeralId, KeyId, OrgId};
use crate::money::NanoUsd;
use crate::scope::Attenuation;
use crate::secret::PublicId;
use crate::state::{FIRST_GENERATION, Key, Status};
use crate::time::{DAY_MS, HOUR_MS, SECOND_MS, Timestamp};

/// How long a token lives if nobody says otherwise (contract.md).
pub const DEFAULT_LIFE_MS: u64 = HOUR_MS;
/// The shortest life: a shorter one would be over before the token is used.
pub const MIN_LIFE_MS: u64 = SECOND_MS;
/// The longest life: what is needed for longer is a key.
pub const MAX_LIFE_MS: u64 = DAY_MS;
/// Tokens of one key that have not ended: some hours of one token every two seconds. Each takes a
/// few hundred bytes on every gateway.
pub const MAX_LIVE_TOKENS: usize = 10_000;

/// What a token says, under the control plane's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Which token.
    pub token: EphemeralId,
    /// The organisation of its key.
    pub org: OrgId,
    /// The key that it is delegated by.
    pub key: KeyId,
    /// By which secret of the key it is found: it ends with that secret.
    pub public_id: PublicId,
    /// The generation of the key that it lives with.
    pub generation: u32,
    /// When it was made.
    pub issued_at: Timestamp,
    /// The first moment at which it does not work any more.
    pub expires_at: Timestamp,
    /// What it may not touch although its key may.
    pub attenuation: Attenuation,
    /// The most that it may spend of its key's budget; `None`: all of it.
    pub cost_cap: Option<NanoUsd>,
    /// The most tokens that it may use of its key's budget; `None`: all of them.
    pub token_cap: Option<u64>,
}

/// Why a token with a good signature does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// Its key does not work.
    Key(Denial),
    /// Its key is gone, or is not known any more by the secret that it had when the token was made.
    KeyGone,
    /// Its key got another secret, or was revoked, after the token was made.
    Generation,
    /// It was revoked itself.
    Revoked,
    /// Its time is over.
    Expired,
    /// It is of a generation of its key that is not known here yet.
    Unheard,
}

/// What the token of a key is given that is made for it at `now`: all that the key may.
#[must_use]
pub fn alone(now: Timestamp, life_ms: Option<u64>) -> EphemeralGrant {
    EphemeralGrant {
        name: None,
        generation: FIRST_GENERATION,
        expires_at: now.plus_ms(life_ms.unwrap_or(DEFAULT_LIFE_MS)),
        attenuation: Attenuation::default(),
        cost_cap: None,
        token_cap: None,
        alone: true,
    }
}

impl Claims {
    /// Whether the token works at `now`, with its key as it is by then.
    ///
    /// # Errors
    /// [`Ended`]: the key's end first, since it ends all of its tokens.
    pub fn check(&self, key: &Key, revoked: bool, now: Timestamp) -> Result<(), Ended> {
        match key.status(now, false) {
            Status::Revoked => return Err(Ended::Key(Denial::KeyRevoked)),
            Status::Inactive => return Err(Ended::Key(Denial::KeyDisabled)),
            Status::Expired => return Err(Ended::Key(Denial::KeyExpired)),
            Status::Exhausted | Status::Active => {}
        }
        if self.generation > key.generation {
            Err(Ended::Unheard)
        } else if self.generation < key.generation {
            Err(Ended::Generation)
        } else if revoked {
            Err(Ended::Revoked)
        } else if self.expires_at <= now {
            Err(Ended::Expired)
        } else {
            Ok(())
        }
    }

    /// The key as the token's holder has it: with the scopes that both have, the earlier end and
    /// the lower limits.
    #[must_use]
    pub fn narrowed(&self, key: &Key) -> Key {
        let mut narrowed = key.clone();
        narrowed.profile.scopes = self.attenuation.of(&key.profile.scopes);
        let end = key.profile.expires_at.map_or(self.expires_at, |end| end.min(self.expires_at));
        narrowed.profile.expires_at = Some(end);
        let limits = &mut narrowed.profile.limits;
        limits.cost = lower(limits.cost, self.cost_cap);
        limits.tokens = lower(limits.tokens, self.token_cap);
        narrowed
    }
}

/// The lower of two limits, of which each may be none.
fn lower<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Ended {
    /// The code of the refusal.
    #[must_use]
    pub const fn denial(self) -> Denial {
        match self {
            Self::Key(denial) => denial,
            Self::KeyGone | Self::Generation | Self::Revoked => Denial::KeyRevoked,
            Self::Expired => Denial::KeyExpired,
            Self::Unheard => Denial::ControlPlaneStale,
        }
    }

    /// A sentence for people.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Key(Denial::KeyDisabled) => "The API key of this token is switched off.",
            Self::Key(Denial::KeyExpired) => "The API key of this ephemeral token has expired.",
            Self::Key(_) => "The API key of this ephemeral token was revoked.",
            Self::KeyGone => "The API key of this ephemeral token was rotated or deleted.",
            Self::Generation => {
                "The API key of this ephemeral token was rotated or revoked since: issue another."
            }
            Self::Revoked => "This ephemeral token was revoked.",
            Self::Expired => "This ephemeral token has expired: issue another.",
            Self::Unheard => self.denial().sentence(),
        }
    }
}
