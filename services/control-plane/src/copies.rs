//! Snapshots on their way to gateways: one encoding for all who asked before it began.
//!
//! A thousand gateways may ask at once. Each must get what stood when it asked, or later; so those
//! who wait while one encoding runs share the next one, and the bytes of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::Mutex as AsyncMutex;
use turnpike_domain::id::OrgId;
use turnpike_store::error::StoreError;

use crate::app::App;

/// The frames of one snapshot, shared by those who send it.
pub(crate) type Frames = Arc<Vec<Bytes>>;

/// The encodings of all streams.
#[derive(Default)]
pub struct Copies {
    streams: Mutex<BTreeMap<OrgId, Arc<Stream>>>,
}

/// The encodings of one stream.
#[derive(Default)]
pub(crate) struct Stream {
    /// Encodings that have begun.
    begun: AtomicU64,
    /// Locked by who encodes.
    pub(crate) latest: AsyncMutex<Latest>,
}

/// The last encoding; it lives as long as somebody sends it.
#[derive(Default)]
pub(crate) struct Latest {
    number: u64,
    frames: Weak<Vec<Bytes>>,
}

impl Copies {
    /// The frames of a stream as it stands now, or later.
    ///
    /// # Errors
    /// [`StoreError`] if the stream cannot be read.
    pub(crate) async fn of(&self, app: &App, org: OrgId) -> Result<Frames, StoreError> {
        let stream = self.stream(org);
        let begun = stream.begun.load(Ordering::SeqCst);
        let mut latest = stream.latest.lock().await;
        if latest.number > begun
            && let Some(frames) = latest.frames.upgrade()
        {
            return Ok(frames);
        }
        // If this one fails nobody may take the one before it for it.
        latest.frames = Weak::new();
        latest.number = stream.begun.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        let signing = app.keys.signing.current();
        let frames = Arc::new(app.streams().frames(org, app.clock.now(), signing).await?);
        latest.frames = Arc::downgrade(&frames);
        Ok(frames)
    }

    /// The encodings of a stream.
    pub(crate) fn stream(&self, org: OrgId) -> Arc<Stream> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(streams.entry(org).or_default())
    }
}
