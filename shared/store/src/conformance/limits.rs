//! Rules about what is too large.

use std::sync::Arc;

use super::{Broken, Outcome, append, bytes, now, put, range, read, same, scan, write};
use crate::kv::{Batch, CommitError, Kv, MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, Write};

/// Bytes that an engine may take of a key for itself, such as the root of all keys on FoundationDB.
const ENGINE_KEY_BYTES: usize = 100;

pub(super) async fn what_is_just_small_enough_is_stored(kv: Arc<dyn Kv>) -> Outcome {
    let key = vec![b'k'; MAX_KEY_BYTES.saturating_sub(ENGINE_KEY_BYTES)];
    let value = vec![b'v'; MAX_VALUE_BYTES];
    write(&*kv, [put(&key, &value)]).await?;
    same("the length", read(&*kv, &key).await?.map(|value| value.len()), Some(MAX_VALUE_BYTES))?;
    // Nine values and their one-byte keys, and a tenth that takes the batch to its limit.
    let rest = MAX_BATCH_BYTES.saturating_sub(MAX_VALUE_BYTES.saturating_mul(9)).saturating_sub(10);
    let mut writes: Vec<Write> = (0..9_u8).map(|row| put([row], &value)).collect();
    writes.push(put([9], vec![b'v'; rest]));
    write(&*kv, writes).await?;
    same("the rows", scan(&*kv, range([0], [10], 20)).await?.len(), 10)
}

pub(super) async fn what_is_too_large_is_refused(kv: Arc<dyn Kv>) -> Outcome {
    let long_key = vec![b'k'; MAX_KEY_BYTES.saturating_add(1)];
    let long_prefix = vec![b'k'; MAX_KEY_BYTES.saturating_sub(11)];
    let long_value = vec![b'v'; MAX_VALUE_BYTES.saturating_add(1)];
    let value = vec![b'v'; MAX_VALUE_BYTES];
    refused(&*kv, vec![put(&long_key, "1")]).await?;
    refused(&*kv, vec![super::delete(&long_key)]).await?;
    refused(&*kv, vec![append(&long_prefix, "1")]).await?;
    refused(&*kv, vec![put("a", "1"), put("b", &long_value)]).await?;
    refused(&*kv, vec![append("log/", &long_value)]).await?;
    refused(&*kv, (0..10_u8).map(|row| put([row], &value)).collect()).await?;
    refused(&*kv, vec![append("", ""); 65_537]).await?;
    let read_at = now(&*kv).await?;
    let unchanged = vec![bytes(&long_key); 100];
    check(kv.commit(Batch { read_at, unchanged, writes: vec![put("a", "1")] }).await)?;
    same("all rows", scan(&*kv, range("", [0xff], 10)).await?, vec![])
}

async fn refused(kv: &dyn Kv, writes: Vec<Write>) -> Outcome {
    check(write(kv, writes).await)
}

fn check<T: std::fmt::Debug>(answer: Result<T, CommitError>) -> Outcome {
    match answer {
        Err(CommitError::TooLarge(_)) => Ok(()),
        other => Err(Broken(format!("{other:?} instead of TooLarge"))),
    }
}
