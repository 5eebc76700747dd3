//! The inboxes of the shards: deliveries on their way from the reader to those who book them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use turnpike_runtime::metrics::Gauge;
use turnpike_store::booking::{Delivery, shard_of};

/// Bytes that wait in one inbox: more than the largest message, and with all 64 shards full still
/// little for the memory of a small machine. The reader waits for room.
const ROOM_BYTES: u32 = 1 << 20;
/// What a delivery takes beside its bytes.
const DELIVERY_BYTES: usize = 256;

/// A delivery that waits; its room is given back when it is dropped.
pub(crate) struct Arrived {
    pub(crate) delivery: Delivery,
    /// The message's size.
    pub(crate) bytes: usize,
    _room: OwnedSemaphorePermit,
}

/// The inboxes of the shards that this process owns.
pub(crate) struct Inboxes {
    open: Mutex<BTreeMap<u8, Inbox>>,
    count: watch::Sender<usize>,
    shards: Gauge,
}

#[derive(Clone)]
struct Inbox {
    room: Arc<Semaphore>,
    sender: UnboundedSender<Arrived>,
}

impl Inboxes {
    pub(crate) fn new(shards: Gauge) -> Self {
        Self { open: Mutex::default(), count: watch::Sender::new(0), shards }
    }

    /// Opens the inbox of a shard.
    pub(crate) fn open(&self, shard: u8) -> UnboundedReceiver<Arrived> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let bytes = usize::try_from(ROOM_BYTES).unwrap_or(Semaphore::MAX_PERMITS);
        let room = Arc::new(Semaphore::new(bytes));
        let mut open = self.lock();
        open.insert(shard, Inbox { room, sender });
        self.tell(&open);
        receiver
    }

    /// Closes the inbox of a shard; what waits in it can still be taken out.
    pub(crate) fn close(&self, shard: u8) {
        let mut open = self.lock();
        open.remove(&shard);
        self.tell(&open);
    }

    /// Waits until some inbox is open.
    pub(crate) async fn any_open(&self) {
        // The sender lives as long as `self`: the only error cannot be.
        let _ = self.count.subscribe().wait_for(|count| *count > 0).await;
    }

    /// Puts a delivery into its shard's inbox, waiting for room; false if this process does not own
    /// the shard, then it is the owner's or will be sent again.
    pub(crate) async fn put(&self, delivery: Delivery, bytes: usize) -> bool {
        let inbox = self.lock().get(&shard_of(delivery.org)).cloned();
        let Some(Inbox { room, sender }) = inbox else { return false };
        let needed = u32::try_from(bytes.saturating_add(DELIVERY_BYTES)).unwrap_or(ROOM_BYTES);
        let Ok(room) = room.acquire_many_owned(needed.min(ROOM_BYTES)).await else { return false };
        sender.send(Arrived { delivery, bytes, _room: room }).is_ok()
    }

    fn tell(&self, open: &BTreeMap<u8, Inbox>) {
        self.shards.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
        self.count.send_replace(open.len());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u8, Inbox>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
