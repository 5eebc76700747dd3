//! Whose each legacy secret is: a row a digest, written in the commit of the event that begins or
//! ends the secret, so that no two keys of all organisations ever have the same one.

use bytes::Bytes;
use turnpike_domain::command::ImportedKey;
use turnpike_domain::id::{KeyId, OrgId};
use turnpike_domain::refusal::Refusal;
use turnpike_domain::secret::Digest;

use crate::error::StoreError;
use crate::keyspace;
use crate::kv::{Snapshot, Write};

/// Who has a legacy secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The organisation.
    pub org: OrgId,
    /// Its key.
    pub key: KeyId,
}

impl Holder {
    /// What stands against giving the secret to another key of `org`. Another organisation is not
    /// told of.
    #[must_use]
    pub fn refusal(self, org: OrgId) -> Refusal {
        let Self { org: other, key } = self;
        let whose =
            if other == org { format!("is the secret of {key} already") } else { IN_USE.into() };
        Refusal::field("/secret", &whose)
    }

    fn read(row: &[u8]) -> Option<Self> {
        let (org, key) = row.split_first_chunk::<16>()?;
        let key = KeyId::from_bytes(key.try_into().ok()?);
        Some(Self { org: OrgId::from_bytes(*org), key })
    }
}

const IN_USE: &str = "cannot be imported: this secret is in use already";

/// Who has the secret of each of the keys, if anybody does.
///
/// # Errors
/// [`StoreError`] if the rows cannot be read.
pub async fn holders(
    snapshot: &dyn Snapshot,
    keys: &[ImportedKey],
) -> Result<Vec<Option<Holder>>, StoreError> {
    let mut holders = Vec::with_capacity(keys.len());
    for key in keys {
        holders.push(holder(snapshot, key).await?);
    }
    Ok(holders)
}

/// Who has one of the secret's digests, if anybody does.
pub(crate) async fn holder(
    snapshot: &dyn Snapshot,
    row: &ImportedKey,
) -> Result<Option<Holder>, StoreError> {
    for digest in row.digests() {
        if let Some(found) = snapshot.get(&keyspace::legacy(&digest)).await? {
            let wrong = || StoreError::row("legacy", "expected 32 bytes");
            return Holder::read(&found).ok_or_else(wrong).map(Some);
        }
    }
    Ok(None)
}

/// The rows that follow from what events will have begun and ended.
pub(crate) fn writes(
    org: OrgId,
    changes: Vec<(Digest, Option<KeyId>)>,
) -> impl Iterator<Item = Write> {
    changes.into_iter().map(move |(digest, holder)| {
        let key = keyspace::legacy(&digest);
        match holder {
            Some(holder) => {
                let value = Bytes::from([org.bytes(), holder.bytes()].concat());
                Write::Put { key, value }
            }
            None => Write::Delete { key },
        }
    })
}
