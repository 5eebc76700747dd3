//! What the writes of a batch come to once the commit has its stamp.

use bytes::{BufMut, Bytes, BytesMut};

use crate::kv::{APPEND_SUFFIX_BYTES, Batch, CommitError, Stamp, Write};

/// The most appends of one batch: their number within the batch is two bytes long.
const MAX_APPENDS: usize = 1 << 16;

/// Checks the limits of the seam, and that every append can be numbered.
///
/// # Errors
/// [`CommitError::TooLarge`] with a sentence that names the limit.
pub(crate) fn check(batch: &Batch) -> Result<(), CommitError> {
    batch.check()?;
    let appends = batch.writes.iter().filter(|write| matches!(write, Write::Append { .. })).count();
    if appends > MAX_APPENDS {
        let text = format!("{appends} appends, {MAX_APPENDS} are allowed");
        return Err(CommitError::TooLarge(text));
    }
    Ok(())
}

/// Every written key with its new value, in the order of the batch; `None` removes the key.
///
/// For the engines that know the stamp before they write. The batch has passed [`check`].
pub(crate) fn resolve(
    writes: Vec<Write>,
    stamp: Stamp,
) -> impl Iterator<Item = (Bytes, Option<Bytes>)> {
    let mut numbers = 0_u16..=u16::MAX;
    writes.into_iter().filter_map(move |write| match write {
        Write::Put { key, value } => Some((key, Some(value))),
        Write::Delete { key } => Some((key, None)),
        Write::Append { prefix, value } => {
            let number = numbers.next()?;
            Some((append_key(&prefix, stamp, number), Some(value)))
        }
    })
}

fn append_key(prefix: &[u8], stamp: Stamp, number: u16) -> Bytes {
    let mut key = BytesMut::with_capacity(prefix.len().saturating_add(APPEND_SUFFIX_BYTES));
    key.put_slice(prefix);
    key.put_slice(&stamp.0);
    key.put_u16(number);
    key.freeze()
}
