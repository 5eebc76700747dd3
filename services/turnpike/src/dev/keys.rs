//! The keys of the house: made once, read ever after.

use secrecy::SecretString;
use turnpike_runtime::config::Secret;
use turnpike_runtime::entropy;
use turnpike_wire::hex;

use super::DevFailure;
use super::folder::{Folder, Kept};

/// Bytes of every key: 256 bits.
const KEY_BYTES: usize = 32;
/// The version of keys that were never renewed.
const FIRST_VERSION: &str = "1:";

/// The keys of the house.
pub(super) struct Keys {
    /// Digest secrets.
    pub(super) peppers: Secret,
    /// Seal credentials of providers.
    pub(super) provider_sealing: Secret,
    /// Seal passwords and recoverable secrets.
    pub(super) vault_sealing: Secret,
    /// Signs what gateways must believe.
    pub(super) signing: Secret,
}

impl Keys {
    /// The keys in the folder; those that are missing are made.
    pub(super) fn open(folder: &Folder) -> Result<Self, DevFailure> {
        Ok(Self {
            peppers: key(folder, Kept::Peppers)?,
            provider_sealing: key(folder, Kept::ProviderSealing)?,
            vault_sealing: key(folder, Kept::VaultSealing)?,
            signing: key(folder, Kept::Signing)?,
        })
    }
}

fn key(folder: &Folder, what: Kept) -> Result<Secret, DevFailure> {
    let text = match folder.read(what)? {
        // Earlier releases kept some keys without a version.
        Some(text) if !text.contains(':') => format!("{FIRST_VERSION}{text}"),
        Some(text) => text,
        None => {
            let mut random = [0; KEY_BYTES];
            entropy::fill(&mut random);
            let text = format!("{FIRST_VERSION}{}", hex::write(&random));
            folder.keep(what, &text)?;
            text
        }
    };
    Ok(secret(text))
}

/// A text as a secret of a configuration.
pub(super) fn secret(text: String) -> Secret {
    SecretString::from(text).into()
}

#[cfg(test)]
mod tests {
    use turnpike_wire::keyring;
    use turnpike_wire::seal::Purpose;

    use super::*;

    #[test]
    fn keys_are_made_once_and_can_be_used() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::new(data.path());
        let first = Keys::open(&folder).unwrap();
        keyring::peppers(first.peppers.expose()).unwrap();
        keyring::sealing(Purpose::Session, first.vault_sealing.expose()).unwrap();
        keyring::signing(first.signing.expose(), 0).unwrap();
        let again = Keys::open(&folder).unwrap();
        assert_eq!(first.peppers.expose(), again.peppers.expose());
        assert_ne!(first.provider_sealing.expose(), first.vault_sealing.expose());
    }

    #[test]
    fn a_key_that_was_kept_without_a_version_is_of_the_first() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::new(data.path());
        let seed = "11".repeat(KEY_BYTES);
        folder.keep(Kept::Signing, &seed).unwrap();
        let keys = Keys::open(&folder).unwrap();
        assert_eq!(keys.signing.expose(), format!("1:{seed}"));
        keyring::signing(keys.signing.expose(), 0).unwrap();
    }
}
