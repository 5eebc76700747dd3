//! Room for batches that were handed to an engine and are not answered yet.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::kv::Batch;

/// Bytes of batches that may be on their way: a second of the slowest disk tried, and little enough
/// for the memory of a small machine. More callers wait for room.
const ROOM_BYTES: u32 = 64 << 20;
/// Bytes that a batch counts for beyond its own, so that empty ones are bounded too.
const BATCH_BYTES: usize = 256;

/// The room of one store.
pub(crate) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        let bytes = usize::try_from(ROOM_BYTES).unwrap_or(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(bytes)))
    }
}

impl Room {
    /// Waits for room for `batch`; it is given back when the permit is dropped.
    pub(crate) async fn take(&self, batch: &Batch) -> Option<OwnedSemaphorePermit> {
        self.take_bytes(batch.bytes().saturating_add(BATCH_BYTES)).await
    }

    /// Waits for room for so many bytes; what is larger than all room takes all of it.
    pub(crate) async fn take_bytes(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).unwrap_or(ROOM_BYTES);
        // Nobody closes the semaphore, so there always is an answer.
        Arc::clone(&self.0).acquire_many_owned(bytes.min(ROOM_BYTES)).await.ok()
    }
}
