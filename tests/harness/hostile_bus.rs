//! A bus that keeps the contract of the `Bus` seam in the most hostile way that it allows.
//!
//! # Fault model
//! Injected, each by its own chance: publications that are refused, or taken although the publisher
//! is told otherwise; messages that are acknowledged and lost, delivered twice, or delivered up to
//! [`LATE_MS`] later than their successors; calls that are lost before or after they were heard,
//! heard twice, or late; slow acknowledgements; readers that die; a bus that
//! forgets everything it kept ([`HostileBus::wipe`]); and, for one process at a time, a cut: a loud
//! one fails every publication and reader, a silent one swallows what is not kept, lets kept
//! publications time out, and yields nothing until it heals.
//!
//! Not injected: bytes that change (they are hashed or signed, and have their own tests), messages
//! of others under an enforced subject.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::Notify;
use turnpike_bus::local::LocalBus;
use turnpike_bus::seam::{
    BoxFuture, Bus, BusError, Feed, Message, Publish, ReadError, Reader, Request, Requests, Serve,
    Service, Start, Topic,
};
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::tasks::Tasks;

use crate::chance::{Dice, Fault, Tally};

/// The longest delay of one message behind its successors.
const LATE_MS: u64 = 1_500;
/// The longest wait for an acknowledgement.
const SLOW_MS: u64 = 200;
/// How long a publication waits in a silent cut before it fails, as over a dead connection.
const CUT_OFF_MS: u64 = 2_500;

/// Chances in ten thousand.
const REFUSED: u64 = 100;
const UNSURE: u64 = 100;
const LOST: u64 = 100;
const REPEATED: u64 = 150;
const LATE: u64 = 100;
const SLOW: u64 = 150;
const READER_LOST: u64 = 8;
const CALL_LOST: u64 = 120;
const CALL_UNANSWERED: u64 = 150;
const CALL_REPEATED: u64 = 150;
const CALL_LATE: u64 = 100;

/// Sees every publication that a process tries to make.
pub type Tap = Box<dyn Fn(&Publish) + Send + Sync>;

/// The bus between all ports.
pub struct HostileBus {
    shared: Arc<Shared>,
}

/// The connection of one process to the bus.
pub struct Port {
    shared: Arc<Shared>,
    cut: Mutex<Cut>,
    /// Counts cuts that ended: what a reader of passing topics stood on is gone then.
    heals: AtomicU64,
    /// Counts loud cuts: readers from before are dead.
    breaks: AtomicU64,
}

/// Whether a process reaches the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It does.
    None,
    /// It does not, and is told so.
    Loud,
    /// It does not, and is not told.
    Silent,
}

struct Shared {
    clock: SharedClock,
    dice: Dice,
    tally: Tally,
    hostile: AtomicBool,
    tap: Tap,
    /// What is kept, and how often it was wiped.
    kept: Mutex<(LocalBus, u64)>,
    /// Calls do not depend on what is kept.
    calls: LocalBus,
    /// Readers that wait, in the order in which they were opened: woken in that order, so that a
    /// seed decides all.
    readers: Mutex<Vec<Weak<Notify>>>,
    late: Tasks,
}

impl HostileBus {
    /// A bus without messages; friendly until [`Self::set_hostile`]. `clock` is the bus's own.
    #[must_use]
    pub fn new(clock: SharedClock, dice: Dice, tally: Tally, tap: Tap) -> Self {
        let shared = Shared {
            kept: Mutex::new((LocalBus::new(Arc::clone(&clock)), 0)),
            calls: LocalBus::new(Arc::clone(&clock)),
            clock,
            dice,
            tally,
            hostile: AtomicBool::new(false),
            tap,
            readers: Mutex::default(),
            late: Tasks::new("late messages"),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether messages go wrong by chance. What is late arrives in any case.
    pub fn set_hostile(&self, hostile: bool) {
        self.shared.hostile.store(hostile, Ordering::Relaxed);
    }

    /// A connection for one process.
    #[must_use]
    pub fn port(&self) -> Arc<Port> {
        let port = Port {
            shared: Arc::clone(&self.shared),
            cut: Mutex::new(Cut::None),
            heals: AtomicU64::new(0),
            breaks: AtomicU64::new(0),
        };
        Arc::new(port)
    }

    /// Loses all that was kept, as if its servers had been set up anew.
    pub fn wipe(&self) {
        self.shared.tally.count(Fault::BusWiped);
        {
            let mut kept = lock(&self.shared.kept);
            *kept = (LocalBus::new(Arc::clone(&self.shared.clock)), kept.1.saturating_add(1));
        }
        self.shared.wake();
    }
}

impl Port {
    /// Cuts this process off, or heals it.
    pub fn set_cut(&self, cut: Cut) {
        let before = std::mem::replace(&mut *lock(&self.cut), cut);
        match cut {
            Cut::Loud => {
                self.shared.tally.count(Fault::CutLoudly);
                self.breaks.fetch_add(1, Ordering::Relaxed);
            }
            Cut::Silent => self.shared.tally.count(Fault::CutSilently),
            Cut::None if before == Cut::Silent => {
                self.heals.fetch_add(1, Ordering::Relaxed);
            }
            Cut::None => {}
        }
        self.shared.wake();
    }

    /// Whether the process is cut off.
    #[must_use]
    pub fn cut(&self) -> Cut {
        *lock(&self.cut)
    }

    async fn publish_or_not(&self, message: Publish) -> Result<(), BusError> {
        let shared = &self.shared;
        (shared.tap)(&message);
        match self.cut() {
            Cut::None => {}
            Cut::Loud => return Err(unavailable()),
            Cut::Silent if is_kept(&message.topic) => {
                shared.clock.sleep(CUT_OFF_MS).await;
                return Err(unavailable());
            }
            Cut::Silent => return Ok(()),
        }
        if shared.chance(Fault::PublishRefused, REFUSED) {
            return Err(unavailable());
        }
        if shared.chance(Fault::MessageLost, LOST) {
            return Ok(());
        }
        if shared.chance(Fault::MessageLate, LATE) {
            shared.deliver_late(message);
            return Ok(());
        }
        if shared.chance(Fault::MessageRepeated, REPEATED) {
            // Without an id, or the bus below would take it for the same.
            let again = Publish { id: String::new(), ..message.clone() };
            shared.deliver(message).await?;
            return shared.deliver(again).await;
        }
        shared.deliver(message).await?;
        if shared.chance(Fault::PublishUnsure, UNSURE) {
            return Err(unavailable());
        }
        if shared.chance(Fault::SlowBus, SLOW) {
            shared.clock.sleep(shared.dice.between(1, SLOW_MS)).await;
        }
        Ok(())
    }

    async fn call_or_not(
        &self,
        service: Service,
        payload: Bytes,
        deadline_ms: u64,
    ) -> Result<Bytes, BusError> {
        let shared = &self.shared;
        if self.cut() == Cut::Loud {
            return Err(unavailable());
        }
        let late = shared.chance(Fault::CallLate, CALL_LATE);
        if late || shared.chance(Fault::CallRepeated, CALL_REPEATED) {
            shared.call_late(service, payload.clone());
        }
        if late || self.cut() == Cut::Silent || shared.chance(Fault::CallLost, CALL_LOST) {
            shared.clock.sleep(deadline_ms).await;
            return Err(BusError::Timeout);
        }
        let begun_ms = shared.clock.boot_ms();
        let answer = shared.calls.call(service, payload, deadline_ms).await?;
        if self.cut() != Cut::None || shared.chance(Fault::CallUnanswered, CALL_UNANSWERED) {
            let waited_ms = shared.clock.boot_ms().saturating_sub(begun_ms);
            shared.clock.sleep(deadline_ms.saturating_sub(waited_ms)).await;
            return Err(BusError::Timeout);
        }
        Ok(answer)
    }

    /// Fails while the process is cut off.
    async fn reach(&self) -> Result<(), BusError> {
        match self.cut() {
            Cut::None => Ok(()),
            Cut::Loud => Err(unavailable()),
            Cut::Silent => {
                self.shared.clock.sleep(CUT_OFF_MS).await;
                Err(unavailable())
            }
        }
    }

    fn stand(&self) -> Stand {
        let (_, wipes) = *lock(&self.shared.kept);
        Stand { wipes, heals: self.heals.load(Ordering::Relaxed) }
    }
}

impl Shared {
    fn chance(&self, fault: Fault, rate: u64) -> bool {
        let happens = self.hostile.load(Ordering::Relaxed) && self.dice.happens(rate);
        if happens {
            self.tally.count(fault);
        }
        happens
    }

    async fn deliver(&self, message: Publish) -> Result<(), BusError> {
        let bus = lock(&self.kept).0.clone();
        bus.publish(message).await?;
        self.wake();
        Ok(())
    }

    fn deliver_late(self: &Arc<Self>, message: Publish) {
        let (shared, wait_ms) = (Arc::clone(self), self.dice.between(1, LATE_MS));
        self.late.spawn("message", async move {
            shared.clock.sleep(wait_ms).await;
            if let Err(error) = shared.deliver(message).await {
                tracing::error!(%error, "a late message was not taken");
            }
        });
    }

    /// Lets servers hear a call some time later; nobody waits for the answer.
    fn call_late(self: &Arc<Self>, service: Service, payload: Bytes) {
        let (shared, wait_ms) = (Arc::clone(self), self.dice.between(1, LATE_MS));
        self.late.spawn("call", async move {
            shared.clock.sleep(wait_ms).await;
            drop(shared.calls.call(service, payload, LATE_MS).await);
        });
    }

    /// What wakes a reader or server when anything changes.
    fn waker(&self) -> Arc<Notify> {
        let woken = Arc::new(Notify::new());
        lock(&self.readers).push(Arc::downgrade(&woken));
        woken
    }

    fn wake(&self) {
        let mut readers = lock(&self.readers);
        readers.retain(|reader| {
            let reader = reader.upgrade();
            reader.inspect(|reader| reader.notify_one()).is_some()
        });
    }

    async fn open(&self, feed: Feed, start: Start) -> Result<Box<dyn Reader>, BusError> {
        let bus = lock(&self.kept).0.clone();
        bus.read(feed, start).await
    }
}

/// What a reader stands on; another one must be opened when it has changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stand {
    wipes: u64,
    heals: u64,
}

struct PortReader {
    port: Arc<Port>,
    feed: Feed,
    inner: Box<dyn Reader>,
    stand: Stand,
    breaks: u64,
    lost: bool,
    /// The last message of a kept topic.
    place: Option<u64>,
    start: Start,
    woken: Arc<Notify>,
}

impl PortReader {
    async fn wait(&mut self) -> Result<Message, ReadError> {
        loop {
            if self.is_dead() {
                return Err(ReadError::Unavailable("on purpose".to_owned()));
            }
            if let Some(result) = self.reopened().await {
                return result;
            }
            if let Some(result) = self.take() {
                return result;
            }
            self.woken.notified().await;
        }
    }

    /// Opens the reader below again if what it stood on is gone.
    async fn reopened(&mut self) -> Option<Result<Message, ReadError>> {
        let stand = self.port.stand();
        if self.port.cut() != Cut::None || self.stand == stand {
            return None;
        }
        let (kept, wiped) = (feed_is_kept(&self.feed), self.stand.wipes != stand.wipes);
        self.stand = stand;
        if kept && !wiped {
            return None;
        }
        let start = match self.place.filter(|_| kept) {
            Some(place) => Start::After(place),
            None if kept => self.start,
            None => Start::Now,
        };
        match self.port.shared.open(self.feed, start).await {
            Ok(inner) => self.inner = inner,
            Err(error) => return Some(Err(ReadError::Unavailable(error.to_string()))),
        }
        // Nothing was read before the wipe: the bus below cannot know that something is missing.
        (kept && self.place.is_none()).then_some(Err(ReadError::Trimmed))
    }

    fn take(&mut self) -> Option<Result<Message, ReadError>> {
        if self.port.cut() != Cut::None || self.stand != self.port.stand() {
            return None;
        }
        let result = self.inner.ready()?;
        if let Ok(message) = &result {
            if self.port.shared.chance(Fault::ReaderLost, READER_LOST) {
                self.lost = true;
                return Some(Err(ReadError::Unavailable("on purpose".to_owned())));
            }
            if message.place > 0 {
                self.place = Some(message.place);
            }
        }
        Some(result)
    }

    fn is_dead(&self) -> bool {
        self.lost || self.breaks != self.port.breaks.load(Ordering::Relaxed)
    }
}

impl Reader for PortReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Message, ReadError>> {
        Box::pin(self.wait())
    }

    fn ready(&mut self) -> Option<Result<Message, ReadError>> {
        if self.is_dead() {
            return Some(Err(ReadError::Unavailable("on purpose".to_owned())));
        }
        self.take()
    }
}

/// The calls to one process.
struct Served {
    port: Arc<Port>,
    inner: Box<dyn Requests>,
    breaks: u64,
    woken: Arc<Notify>,
}

impl Served {
    async fn wait(&mut self) -> Result<Request, ReadError> {
        loop {
            if self.breaks != self.port.breaks.load(Ordering::Relaxed) {
                return Err(ReadError::Unavailable("on purpose".to_owned()));
            }
            let request = tokio::select! {
                biased;
                () = self.woken.notified() => continue,
                request = self.inner.next() => request?,
            };
            if self.port.cut() == Cut::None {
                let (port, reply) = (Arc::clone(&self.port), request.reply);
                let reply = Box::new(move |answer| {
                    if port.cut() == Cut::None {
                        reply(answer);
                    }
                });
                return Ok(Request { reply, ..request });
            }
        }
    }
}

impl Requests for Served {
    fn next(&mut self) -> BoxFuture<'_, Result<Request, ReadError>> {
        Box::pin(self.wait())
    }
}

/// A port as a bus: what a process gets.
#[derive(Clone)]
pub struct Connection(pub Arc<Port>);

impl Bus for Connection {
    fn publish(&self, message: Publish) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(self.0.publish_or_not(message))
    }

    fn read(&self, feed: Feed, start: Start) -> BoxFuture<'_, Result<Box<dyn Reader>, BusError>> {
        Box::pin(async move {
            let port = &self.0;
            port.reach().await?;
            let woken = port.shared.waker();
            let place = match start {
                Start::After(place) => Some(place),
                Start::Oldest | Start::Now => None,
            };
            let reader = PortReader {
                port: Arc::clone(port),
                feed,
                inner: port.shared.open(feed, start).await?,
                stand: port.stand(),
                breaks: port.breaks.load(Ordering::Relaxed),
                lost: false,
                place,
                start,
                woken,
            };
            Ok(Box::new(reader) as Box<dyn Reader>)
        })
    }

    fn call(
        &self,
        service: Service,
        payload: Bytes,
        deadline_ms: u64,
    ) -> BoxFuture<'_, Result<Bytes, BusError>> {
        Box::pin(self.0.call_or_not(service, payload, deadline_ms))
    }

    fn serve(&self, serve: Serve) -> BoxFuture<'_, Result<Box<dyn Requests>, BusError>> {
        Box::pin(async move {
            let port = &self.0;
            port.reach().await?;
            let woken = port.shared.waker();
            let breaks = port.breaks.load(Ordering::Relaxed);
            let inner = port.shared.calls.serve(serve).await?;
            Ok(Box::new(Served { port: Arc::clone(port), inner, breaks, woken })
                as Box<dyn Requests>)
        })
    }
}

const fn is_kept(topic: &Topic) -> bool {
    match topic {
        Topic::Events { .. } | Topic::Spend { .. } | Topic::Ledger { .. } => true,
        Topic::Heartbeat { .. }
        | Topic::Booked { .. }
        | Topic::Receipts { .. }
        | Topic::Recall { .. } => false,
    }
}

const fn feed_is_kept(feed: &Feed) -> bool {
    match feed {
        Feed::Events(_) | Feed::Spend(_) | Feed::Ledger(_) => true,
        Feed::Heartbeat(_) | Feed::Booked(..) | Feed::Receipts(_) | Feed::Recall(_) => false,
    }
}

fn unavailable() -> BusError {
    BusError::Unavailable("on purpose".to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use turnpike_domain::id::{GatewayId, OrgId};
    use turnpike_domain::time::Timestamp;
    use turnpike_runtime::clock::{Clock as _, PausedClock, deadline};

    use super::*;

    const ORG: OrgId = OrgId(1);

    fn bus(seed: u64) -> (HostileBus, Tally, PausedClock) {
        let (clock, tally) = (PausedClock::new(Timestamp(1_000)), Tally::default());
        let shared: SharedClock = Arc::new(clock.clone());
        let bus = HostileBus::new(shared, Dice::new(seed), tally.clone(), Box::new(|_| {}));
        (bus, tally, clock)
    }

    fn message(topic: Topic, number: u64) -> Publish {
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        Publish { topic, id: String::new(), headers: Vec::new(), payload }
    }

    fn spend(number: u64) -> Publish {
        message(Topic::Spend { org: ORG, gateway: GatewayId(2) }, number)
    }

    fn heartbeat(number: u64) -> Publish {
        message(Topic::Heartbeat { org: ORG }, number)
    }

    fn number(message: &Message) -> u64 {
        u64::from_be_bytes(message.payload[..].try_into().unwrap())
    }

    async fn all(reader: &mut dyn Reader, clock: &PausedClock) -> Vec<Result<u64, ReadError>> {
        let mut found = Vec::new();
        while let Some(next) = deadline(clock, 10_000, reader.next()).await {
            found.push(next.as_ref().map(number).map_err(Clone::clone));
            if matches!(next, Err(ReadError::Unavailable(_))) {
                break;
            }
        }
        found
    }

    #[tokio::test(start_paused = true)]
    async fn a_friendly_bus_delivers_in_order() {
        let (bus, tally, clock) = bus(1);
        let port = Connection(bus.port());
        let mut reader = port.read(Feed::Spend(None), Start::Oldest).await.unwrap();
        for n in 0..100 {
            port.publish(spend(n)).await.unwrap();
        }
        let found = all(&mut *reader, &clock).await;
        assert_eq!(found, (0..100).map(Ok).collect::<Vec<_>>());
        assert_eq!(tally.total(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn every_fault_of_a_message_comes() {
        let (bus, tally, clock) = bus(2);
        bus.set_hostile(true);
        let port = Connection(bus.port());
        let mut reader = port.read(Feed::Spend(None), Start::Oldest).await.unwrap();
        let (mut refused, mut found) = (0_u64, Vec::new());
        for n in 0..5_000 {
            refused += u64::from(port.publish(spend(n)).await.is_err());
            while let Some(next) = reader.ready() {
                match next {
                    Ok(message) => found.push((message.place, number(&message))),
                    Err(ReadError::Trimmed) => panic!("nothing was wiped"),
                    Err(ReadError::Unavailable(_)) => {
                        let last = found.last().map_or(0, |(place, _)| *place);
                        reader = port.read(Feed::Spend(None), Start::After(last)).await.unwrap();
                    }
                }
            }
        }
        clock.sleep(LATE_MS).await;
        every_one_came(
            &tally,
            &[
                Fault::PublishRefused,
                Fault::PublishUnsure,
                Fault::MessageLost,
                Fault::MessageRepeated,
                Fault::MessageLate,
                Fault::SlowBus,
                Fault::ReaderLost,
            ],
        );
        assert!(refused > 50);
        let mut numbers: Vec<u64> = found.iter().map(|(_, number)| *number).collect();
        assert!(!numbers.is_sorted(), "nothing came late");
        numbers.sort_unstable();
        numbers.dedup();
        assert!((4_850..4_990).contains(&numbers.len()), "{} were delivered", numbers.len());
    }

    #[tokio::test(start_paused = true)]
    async fn every_fault_of_a_call_comes() {
        const CALLS: u64 = 5_000;
        let (bus, tally, clock) = bus(5);
        bus.set_hostile(true);
        let (server, caller) = (Connection(bus.port()), Connection(bus.port()));
        let mut requests = server.serve(Serve::Authority(None)).await.unwrap();
        let service = Service::Authority { org: ORG, gateway: GatewayId(2) };
        let (mut heard, mut answered) = (0, 0);
        let calling = async {
            for _ in 0..CALLS {
                let answer = caller.call(service, Bytes::new(), 1_000).await;
                answered += u64::from(answer.is_ok());
            }
            clock.sleep(LATE_MS).await;
        };
        let serving = async {
            while let Ok(request) = requests.next().await {
                heard += 1_u64;
                (request.reply)(Bytes::new());
            }
        };
        tokio::select! {
            () = calling => {}
            () = serving => panic!("the server was lost"),
        }
        every_one_came(
            &tally,
            &[Fault::CallLost, Fault::CallUnanswered, Fault::CallRepeated, Fault::CallLate],
        );
        assert!(answered < CALLS && heard > answered, "{answered} of {heard} were answered");
    }

    fn every_one_came(tally: &Tally, faults: &[Fault]) {
        let counts = tally.counts();
        for fault in faults {
            let count = counts.iter().find(|(counted, _)| counted == fault);
            assert!(count.is_some_and(|(_, count)| *count > 0), "{fault}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_cut_keeps_what_is_kept_and_loses_what_passes() {
        let (bus, _, clock) = bus(3);
        let (near, far) = (bus.port(), Connection(bus.port()));
        let gateway = Connection(Arc::clone(&near));
        let mut kept = gateway.read(Feed::Spend(None), Start::Now).await.unwrap();
        let mut passing = gateway.read(Feed::Heartbeat(None), Start::Now).await.unwrap();
        near.set_cut(Cut::Silent);
        far.publish(spend(1)).await.unwrap();
        far.publish(heartbeat(1)).await.unwrap();
        assert_eq!(gateway.publish(heartbeat(9)).await, Ok(()));
        assert!(gateway.publish(spend(9)).await.is_err());
        assert!(all(&mut *kept, &clock).await.is_empty());
        near.set_cut(Cut::None);
        far.publish(heartbeat(2)).await.unwrap();
        assert_eq!(all(&mut *kept, &clock).await, [Ok(1)]);
        assert!(all(&mut *passing, &clock).await.is_empty(), "it stood on what is gone");
        far.publish(heartbeat(3)).await.unwrap();
        assert_eq!(all(&mut *passing, &clock).await, [Ok(3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loud_cut_ends_readers_and_a_wipe_is_told_once() {
        let (bus, tally, clock) = bus(4);
        let port = bus.port();
        let connection = Connection(Arc::clone(&port));
        let mut reader = connection.read(Feed::Spend(None), Start::Now).await.unwrap();
        connection.publish(spend(1)).await.unwrap();
        assert_eq!(all(&mut *reader, &clock).await, [Ok(1)]);
        clock.sleep(1).await;
        bus.wipe();
        connection.publish(spend(2)).await.unwrap();
        assert_eq!(all(&mut *reader, &clock).await, [Err(ReadError::Trimmed), Ok(2)]);
        port.set_cut(Cut::Loud);
        assert!(connection.publish(spend(3)).await.is_err());
        assert!(connection.read(Feed::Spend(None), Start::Now).await.is_err());
        port.set_cut(Cut::None);
        let dead = all(&mut *reader, &clock).await;
        assert!(matches!(dead[..], [Err(ReadError::Unavailable(_))]));
        assert_eq!(tally.total(), 2);
    }
}
