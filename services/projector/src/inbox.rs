//! The inboxes of the shards: deliveries on their way from the reader to those who book them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use turnpike_domain::id::OrgId;
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

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It goes into its shard's inbox.
    New,
    /// It was in that inbox already.
    Known,
    /// Its shard is not owned by this process.
    Unowned,
}

/// The inboxes of the shards that this process owns.
pub(crate) struct Inboxes {
    open: Mutex<BTreeMap<u8, Inbox>>,
    /// Inboxes ever opened.
    opened: watch::Sender<u64>,
    shards: Gauge,
}

struct Inbox {
    room: Arc<Semaphore>,
    sender: UnboundedSender<Arrived>,
    /// The place on the bus of the last message that was put in.
    last: u64,
}

impl Inboxes {
    pub(crate) fn new(shards: Gauge) -> Self {
        Self { open: Mutex::default(), opened: watch::Sender::new(0), shards }
    }

    /// Opens the inbox of a shard.
    pub(crate) fn open(&self, shard: u8) -> UnboundedReceiver<Arrived> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let bytes = usize::try_from(ROOM_BYTES).unwrap_or(Semaphore::MAX_PERMITS);
        let room = Arc::new(Semaphore::new(bytes));
        let mut open = self.lock();
        open.insert(shard, Inbox { room, sender, last: 0 });
        self.show(&open);
        drop(open);
        self.opened.send_modify(|opened| *opened += 1);
        receiver
    }

    /// Closes the inbox of a shard; what waits in it can still be taken out.
    pub(crate) fn close(&self, shard: u8) {
        let mut open = self.lock();
        open.remove(&shard);
        self.show(&open);
    }

    /// How many inboxes were ever opened: a new one lacks all that the bus holds for it.
    pub(crate) fn opened(&self) -> u64 {
        *self.opened.borrow()
    }

    /// Waits until more than `before` inboxes were ever opened.
    pub(crate) async fn opened_after(&self, before: u64) {
        // The sender lives as long as `self`: the only error cannot be.
        let _ = self.opened.subscribe().wait_for(|opened| *opened > before).await;
    }

    /// What becomes of the message at `place` of the bus.
    pub(crate) fn wants(&self, org: OrgId, place: u64) -> Wanted {
        match self.lock().get(&shard_of(org)) {
            Some(inbox) if inbox.last < place => Wanted::New,
            Some(_) => Wanted::Known,
            None => Wanted::Unowned,
        }
    }

    /// Puts the delivery that stood at `place` into its shard's inbox, waiting for room. If the
    /// shard was lost meanwhile nothing happens: it is read again by whoever wins it.
    pub(crate) async fn put(&self, delivery: Delivery, bytes: usize, place: u64) {
        let shard = shard_of(delivery.org);
        let inbox = self.lock().get(&shard).map(|inbox| Arc::clone(&inbox.room));
        let Some(room) = inbox else { return };
        let needed = u32::try_from(bytes.saturating_add(DELIVERY_BYTES)).unwrap_or(ROOM_BYTES);
        let Ok(taken) = Arc::clone(&room).acquire_many_owned(needed.min(ROOM_BYTES)).await else {
            return;
        };
        let mut open = self.lock();
        // An inbox that was opened meanwhile begins with the oldest message, not with this one.
        if let Some(inbox) = open.get_mut(&shard).filter(|inbox| Arc::ptr_eq(&inbox.room, &room)) {
            inbox.last = place;
            // Its reader may be gone: then the inbox is about to be closed.
            let _ = inbox.sender.send(Arrived { delivery, bytes, _room: taken });
        }
    }

    /// Takes every message as new again.
    pub(crate) fn forget_places(&self) {
        self.lock().values_mut().for_each(|inbox| inbox.last = 0);
    }

    fn show(&self, open: &BTreeMap<u8, Inbox>) {
        self.shards.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u8, Inbox>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
