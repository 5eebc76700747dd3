//! Secrets in the making: minted once per request, so that every try of it makes the same one.

use turnpike_domain::command::FreshSecret;
use turnpike_domain::secret::{Sealed, SecretKind, StoredSecret};
use turnpike_runtime::entropy;
use turnpike_wire::seal::{NONCE_BYTES, SealingKeys};
use turnpike_wire::secret::{self, ENTROPY_BYTES, PlainSecret};
use zeroize::Zeroizing;

use super::ask::Ask;
use crate::problem::Problem;

/// Makes a secret, and what is stored of it.
pub(crate) fn mint(ask: &Ask, kind: SecretKind) -> (PlainSecret, StoredSecret) {
    let mut random = Zeroizing::new([0; ENTROPY_BYTES]);
    entropy::fill(random.as_mut_slice());
    let plain = secret::mint(kind, &random);
    let stored = ask.app().keys.peppers.stored(&plain);
    (plain, stored)
}

/// Makes a model key's secret, sealed too for organisations that keep them recoverable.
pub(crate) fn mint_key(ask: &Ask) -> Result<(PlainSecret, FreshSecret), Problem> {
    let (plain, stored) = mint(ask, SecretKind::Model);
    let recoverable = seal(&ask.app().keys.recoverable, plain.expose().as_bytes())?;
    Ok((plain, FreshSecret { stored, recoverable }))
}

/// Seals bytes.
pub(crate) fn seal(keys: &SealingKeys, plain: &[u8]) -> Result<Sealed, Problem> {
    let mut nonce = [0; NONCE_BYTES];
    entropy::fill(&mut nonce);
    keys.seal(&nonce, plain).map_err(|error| Problem::internal(&error))
}
