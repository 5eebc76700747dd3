//! The inboxes of the shards: what is on its way from the bus and the log to those who own them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use turnpike_domain::id::{GatewayId, OrgId};
use turnpike_runtime::metrics::{Counter, Gauge};
use turnpike_store::booking::{Delivery, shard_of};
use turnpike_wire::authority::Call;
use turnpike_wire::rates::RatesQuestion;

use crate::pending::Pending;

/// Bytes that wait in one inbox: more than the largest message, and with all 64 shards full still
/// little for the memory of a small machine. The reader waits for room.
const ROOM_BYTES: u32 = 1 << 20;
/// What a delivery takes beside its bytes.
const DELIVERY_BYTES: usize = 256;
/// Calls that wait in one inbox: what a shard answers within the second that a gateway waits. More
/// would be answered for nobody.
const CALLS: usize = 2_048;

/// A delivery that waits; its room is given back when it is dropped.
pub(crate) struct Arrived {
    pub(crate) delivery: Delivery,
    /// The message's size.
    pub(crate) bytes: usize,
    _room: OwnedSemaphorePermit,
}

/// A call that waits for its answer.
pub(crate) struct Asked {
    /// For whom, by the subject that it came on.
    pub(crate) org: OrgId,
    pub(crate) what: What,
    /// Takes the answer.
    pub(crate) reply: Box<dyn FnOnce(Bytes) + Send>,
}

/// What is asked, and by whom, by the subject that it came on.
pub(crate) enum What {
    /// A gateway speaks.
    Call(GatewayId, Call),
    /// The control plane looks.
    Rates(RatesQuestion),
}

/// An inbox, as its owner sees it.
pub(crate) struct Opened {
    pub(crate) spend: UnboundedReceiver<Arrived>,
    pub(crate) calls: Receiver<Asked>,
    /// Organisations whose streams have grown.
    pub(crate) changed: Arc<Pending>,
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
    /// From now on no change of a stream is missed.
    followed: watch::Sender<bool>,
    shards: Gauge,
    /// Calls for which there was no room.
    dropped: Counter,
}

struct Inbox {
    room: Arc<Semaphore>,
    sender: UnboundedSender<Arrived>,
    calls: Sender<Asked>,
    changed: Arc<Pending>,
    /// The place on the bus of the last message that was put in.
    last: u64,
    /// It was opened since the bus was last read from its oldest message on: what came meanwhile
    /// stands behind all that it lacks.
    fresh: bool,
}

impl Inboxes {
    pub(crate) fn new(shards: Gauge, dropped: Counter) -> Self {
        let (opened, followed) = (watch::Sender::new(0), watch::Sender::new(false));
        Self { open: Mutex::default(), opened, followed, shards, dropped }
    }

    /// Opens the inbox of a shard.
    pub(crate) fn open(&self, shard: u8) -> Opened {
        let (sender, spend) = mpsc::unbounded_channel();
        let (calls, asked) = mpsc::channel(CALLS);
        let changed = Arc::<Pending>::default();
        let bytes = usize::try_from(ROOM_BYTES).unwrap_or(Semaphore::MAX_PERMITS);
        let room = Arc::new(Semaphore::new(bytes));
        let mut open = self.lock();
        let inbox =
            Inbox { room, sender, calls, changed: Arc::clone(&changed), last: 0, fresh: true };
        open.insert(shard, inbox);
        self.show(&open);
        drop(open);
        self.opened.send_modify(|opened| *opened += 1);
        Opened { spend, calls: asked, changed }
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

    /// Waits until the inbox of a shard is open.
    pub(crate) async fn is_open(&self, shard: u8) {
        let mut opened = self.opened.subscribe();
        // The sender lives as long as `self`: the only error cannot be.
        let _ = opened.wait_for(|_| self.lock().contains_key(&shard)).await;
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

    /// Puts a call into its shard's inbox, if the shard is owned and has room: else somebody else
    /// answers, or nobody in time.
    pub(crate) fn ask(&self, asked: Asked) {
        let open = self.lock();
        let Some(inbox) = open.get(&shard_of(asked.org)) else { return };
        if inbox.calls.try_send(asked).is_err() {
            self.dropped.inc();
        }
    }

    /// Tells a shard that an organisation's stream has grown.
    pub(crate) fn changed(&self, org: OrgId) {
        if let Some(inbox) = self.lock().get(&shard_of(org)) {
            inbox.changed.add(org);
        }
    }

    /// From now on every change is told.
    pub(crate) fn follow(&self) {
        self.followed.send_replace(true);
    }

    /// Waits until every change is told: what was changed before is for the shard to find.
    pub(crate) async fn followed(&self) {
        // The sender lives as long as `self`: the only error cannot be.
        let _ = self.followed.subscribe().wait_for(|followed| *followed).await;
    }

    /// The bus is read from its oldest message on: inboxes that were opened since the last time
    /// take every message as new, whatever has come to them before.
    pub(crate) fn begin(&self) {
        for inbox in self.lock().values_mut().filter(|inbox| inbox.fresh) {
            (inbox.last, inbox.fresh) = (0, false);
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
