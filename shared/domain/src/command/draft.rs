//! What is to be: the parts of commands that stand for more than one word.

use crate::event::KeyProfile;
use crate::id::{KeyId, MemberId, PlanId, ProjectId};
use crate::limit::Limits;
use crate::money::NanoUsd;
use crate::scope::{Attenuation, Scopes};
use crate::secret::{Digest, Sealed, StoredSecret};
use crate::time::Timestamp;

/// A new secret: the stored form, and the sealed form that is kept only where the organisation
/// keeps secrets recoverable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshSecret {
    /// What is stored.
    pub stored: StoredSecret,
    /// The secret itself, sealed.
    pub recoverable: Sealed,
}

/// The plans of an organisation.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PlanChoice {
    /// Those that it may use; `None`: all.
    pub allowed: Option<Vec<PlanId>>,
    /// The plan of keys that name none.
    pub default: Option<PlanId>,
}

/// How many use a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PlanUsers {
    /// Keys that are on it.
    pub keys: usize,
    /// Organisations that have it as their default, or among those that they may use.
    pub organisations: usize,
}

/// What a new key is to be; what is `None` takes the organisation's default.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KeyDraft {
    /// Its name.
    pub name: Box<str>,
    /// Its owner; `None`: the caller.
    pub owner: Option<MemberId>,
    /// Its project.
    pub project: Option<ProjectId>,
    /// Its plan; `None`: the organisation's default.
    pub plan: Option<PlanId>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// Its limits.
    pub limits: Limits,
    /// Its scopes.
    pub scopes: Scopes,
    /// A JSON text.
    pub metadata: Option<Box<str>>,
}

/// A key that is to be made of a secret that its callers have already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedKey {
    /// The new id.
    pub key: KeyId,
    /// What it is to be.
    pub draft: KeyDraft,
    /// The secret, under the newest pepper.
    pub secret: StoredSecret,
    /// What the secret is under the older peppers in use: a key that was imported under one of
    /// them may have it already.
    pub older: Box<[Digest]>,
}

/// What a token made from a key is to be.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EphemeralDraft {
    /// For people.
    pub name: Option<Box<str>>,
    /// How long it lives; `None`: the default, or as long as its key does if that is less.
    pub life_ms: Option<u64>,
    /// What it may not touch although its key may.
    pub attenuation: Attenuation,
    /// The most that it may spend of its key's budget; `None`: all of it.
    pub cost_cap: Option<NanoUsd>,
    /// The most tokens that it may use of its key's budget; `None`: all of them.
    pub token_cap: Option<u64>,
}

/// A change of a key: `None` leaves as it is; of an optional property, `Some(None)` takes it away.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KeyPatch {
    /// Another name.
    pub name: Option<Box<str>>,
    /// Another owner.
    pub owner: Option<MemberId>,
    /// Another project, or none.
    pub project: Option<Option<ProjectId>>,
    /// Another plan.
    pub plan: Option<PlanId>,
    /// Another end, or none.
    pub expires_at: Option<Option<Timestamp>>,
    /// Other limits, as a whole (the shell merges a partial change into what it read and guards it
    /// with `expected`).
    pub limits: Option<Limits>,
    /// Other scopes, as a whole.
    pub scopes: Option<Scopes>,
    /// Other metadata, or none.
    pub metadata: Option<Option<Box<str>>>,
}

impl ImportedKey {
    /// Every digest that no other key may have: the stored one first.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        std::iter::once(self.secret.digest).chain(self.older.iter().copied())
    }
}

impl KeyDraft {
    /// The profile that the draft makes with the caller and the organisation's default filled in.
    #[must_use]
    pub fn profile(&self, caller: Option<MemberId>, plan: PlanId) -> KeyProfile {
        KeyProfile {
            name: self.name.clone(),
            owner: self.owner.or(caller),
            project: self.project,
            plan,
            expires_at: self.expires_at,
            limits: self.limits.clone(),
            scopes: self.scopes.clone(),
            metadata: self.metadata.clone(),
        }
    }
}

impl KeyPatch {
    /// The profile that the patch makes of `old`.
    #[must_use]
    pub fn applied(&self, old: &KeyProfile) -> KeyProfile {
        KeyProfile {
            name: self.name.as_ref().unwrap_or(&old.name).clone(),
            owner: self.owner.or(old.owner),
            project: self.project.unwrap_or(old.project),
            plan: self.plan.unwrap_or(old.plan),
            expires_at: self.expires_at.unwrap_or(old.expires_at),
            limits: self.limits.as_ref().unwrap_or(&old.limits).clone(),
            scopes: self.scopes.as_ref().unwrap_or(&old.scopes).clone(),
            metadata: self.metadata.as_ref().unwrap_or(&old.metadata).clone(),
        }
    }
}
