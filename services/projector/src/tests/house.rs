//! Store, bus, clock and gateways for the projector's tests.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::watch;
use turnpike_bus::local::LocalBus;
use turnpike_bus::seam::{
    BoxFuture, Bus, BusError, Feed, Message, Publish, ReadError, Reader, Requests, Serve, Service,
    Start, Topic,
};
use turnpike_domain::id::{EpochId, GatewayId, KeyId, OrgId, ProviderId, RequestId};
use turnpike_domain::meter::Usage;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::spend::{Source, Spend};
use turnpike_domain::time::{DAY_MS, MINUTE_MS, Timestamp};
use turnpike_runtime::clock::{PausedClock, SharedClock, deadline};
use turnpike_runtime::entropy;
use turnpike_runtime::metrics::Metrics;
use turnpike_store::kv::Kv;
use turnpike_store::memory::Memory;
use turnpike_store::rows::Total;
use turnpike_store::usage::{self, EpochPlace};
use turnpike_wire::spend;

use super::slow::Slow;
use crate::config::ProjectorOptions;
use crate::run::{Parts, Running, run};

pub(super) const ORG: OrgId = OrgId(70);
const DAY: Timestamp = Timestamp(20_000 * DAY_MS);
/// Rounds of sending before a gateway of these tests gives up: two virtual minutes.
const MAX_ROUNDS: u32 = 60;
const PATIENCE_MS: u64 = 2_000;
/// Silence after which the gateways of these tests are given up: not the twenty minutes of others.
pub(super) const LOSE_AFTER_MS: u64 = 3 * MINUTE_MS;
const MESSAGE_RECORDS: usize = 25;

pub(super) struct House {
    pub(super) kv: Arc<dyn Kv>,
    pub(super) bus: LossyBus,
    pub(super) clock: SharedClock,
    pub(super) metrics: Metrics,
}

/// A gateway that sends until it is told that all is booked.
pub(super) struct Gateway {
    pub(super) id: GatewayId,
    pub(super) epoch: EpochId,
    pub(super) records: Vec<Vec<u8>>,
    pub(super) mark: Option<spend::Booked>,
}

/// A bus, which loses some of what is published: sometimes with an error, sometimes not.
#[derive(Clone)]
pub(super) struct LossyBus {
    bus: Arc<dyn Bus>,
    clock: SharedClock,
    away: watch::Sender<bool>,
    /// For how many milliseconds settled spend is on its way.
    slow_ms: Arc<AtomicU64>,
    one_in: Arc<AtomicU64>,
}

fn records(epoch: EpochId, count: usize) -> Vec<Vec<u8>> {
    let record = |number: u128| Spend {
        model: "model".into(),
        provider: Some(ProviderId(1)),
        status: 200,
        usage: Usage { input: 5, output: 2, ..Usage::default() },
        source: Source::Provider,
        price_version: 1,
        cost: NanoUsd(i64::try_from(number).unwrap()),
        latency_ms: 1,
        unmetered: false,
        ..Spend::unused(RequestId(epoch.0 * 10_000 + number), DAY, KeyId(number % 3), 1)
    };
    (1..=u128::try_from(count).unwrap()).map(|number| spend::encode(&record(number))).collect()
}

impl House {
    pub(super) fn new() -> Self {
        let clock: SharedClock = Arc::new(PausedClock::new(DAY));
        let bus = Arc::new(LocalBus::new(clock.clone()));
        Self::on(bus, clock)
    }

    /// A house whose store takes its time.
    pub(super) fn slow() -> Self {
        let house = Self::new();
        let (kv, clock) = (Arc::clone(&house.kv), house.clock.clone());
        Self { kv: Arc::new(Slow { kv, clock }), ..house }
    }

    pub(super) fn on(bus: Arc<dyn Bus>, clock: SharedClock) -> Self {
        let (away, one_in, slow_ms) = (watch::Sender::new(false), Arc::default(), Arc::default());
        let bus = LossyBus { bus, away, slow_ms, clock: clock.clone(), one_in };
        Self { kv: Arc::new(Memory::new()), bus, clock, metrics: Metrics::new() }
    }

    pub(super) fn projector(&self) -> Running {
        run(Parts {
            kv: Arc::clone(&self.kv),
            bus: Arc::new(self.bus.clone()),
            clock: self.clock.clone(),
            options: ProjectorOptions {
                lose_after_ms: LOSE_AFTER_MS,
                ..ProjectorOptions::default()
            },
            metrics: self.metrics.clone(),
        })
    }

    pub(super) async fn marks(&self, gateway: &Gateway) -> Box<dyn Reader> {
        self.bus.read(Feed::Booked(Some(ORG), gateway.id), Start::Now).await.unwrap()
    }

    pub(super) async fn places(&self) -> Vec<EpochPlace> {
        usage::places(&*self.kv.snapshot().await.unwrap(), ORG).await.unwrap()
    }

    pub(super) async fn totals(&self) -> Total {
        let snapshot = self.kv.snapshot().await.unwrap();
        let until = Timestamp(u64::MAX);
        let hours = usage::hours(&*snapshot, ORG, Timestamp(0), until).await.unwrap();
        let mut sum = Total::default();
        for hour in hours {
            sum.requests += hour.total.requests;
            sum.cost = sum.cost.plus(hour.total.cost);
        }
        sum
    }

    /// All of these gateways' records are booked, each once.
    pub(super) async fn assert_booked(&self, gateways: &[&Gateway]) {
        let (mut requests, mut cost) = (0, NanoUsd::ZERO);
        for gateway in gateways {
            for record in &gateway.records {
                requests += 1;
                cost = cost.plus(spend::decode(record).unwrap().cost);
            }
        }
        let totals = self.totals().await;
        assert_eq!((totals.requests, totals.cost), (requests, cost));
        let places = self.places().await;
        assert_eq!(places.len(), gateways.len());
        for gateway in gateways {
            let of = places.iter().find(|place| place.epoch == gateway.epoch).unwrap();
            let last = u64::try_from(gateway.records.len()).unwrap();
            assert!(of.place.number == last && of.place.ended, "{of:?}");
        }
    }

    /// The requests that outside consumers were told of.
    pub(super) async fn settled(&self) -> BTreeSet<RequestId> {
        let mut reader = self.bus.read(Feed::Ledger(None), Start::Oldest).await.unwrap();
        let mut found = BTreeSet::new();
        while let Some(message) = reader.ready() {
            found.insert(spend::decode(&message.unwrap().payload).unwrap().request);
        }
        found
    }

    pub(super) async fn bus_messages(&self, feed: Feed, start: Start) -> usize {
        let mut reader = self.bus.read(feed, start).await.unwrap();
        std::iter::from_fn(|| reader.ready()).count()
    }
}

impl Gateway {
    pub(super) fn new(number: u128, count: usize) -> Self {
        let epoch = EpochId(number);
        Self { id: GatewayId(number), epoch, records: records(epoch, count), mark: None }
    }

    pub(super) fn requests(&self) -> BTreeSet<RequestId> {
        let record = |bytes: &Vec<u8>| spend::decode(bytes).unwrap().request;
        self.records.iter().map(record).collect()
    }

    /// Sends records in messages, the last with the end if `end`.
    pub(super) async fn send(&self, house: &House, range: Range<usize>, end: bool) {
        let mut from = range.start;
        loop {
            let until = (from + MESSAGE_RECORDS).min(range.end);
            let first = u64::try_from(from).unwrap() + 1;
            let last = end && until == range.end;
            let payload = spend::batch(self.epoch, first, &self.records[from..until], last).into();
            let topic = Topic::Spend { org: ORG, gateway: self.id };
            let message = Publish { topic, id: String::new(), headers: Vec::new(), payload };
            let _what_is_lost_is_sent_again = house.bus.publish(message).await;
            from = until;
            if from >= range.end {
                return;
            }
        }
    }

    /// Sends what is not booked, again and again, until all is, the end included.
    pub(super) async fn send_until_booked(&mut self, house: &House) {
        let mut marks = house.marks(self).await;
        for _ in 0..MAX_ROUNDS {
            let booked = self.mark.map_or(0, |mark| usize::try_from(mark.number).unwrap());
            if self.mark.is_some_and(|mark| mark.ended) {
                assert_eq!(booked, self.records.len());
                return;
            }
            self.send(house, booked..self.records.len(), true).await;
            let hear = async {
                while !self.mark.is_some_and(|mark| mark.ended) {
                    let message = marks.next().await.unwrap();
                    let mark = spend::booked(&message.payload).unwrap();
                    let before = self.mark.map_or(0, |mark| mark.number);
                    assert!(mark.epoch != self.epoch || mark.number >= before, "never less");
                    self.mark = Some(mark).filter(|mark| mark.epoch == self.epoch).or(self.mark);
                }
            };
            let _patience_may_end = deadline(&*house.clock, PATIENCE_MS, hear).await;
        }
        panic!("not booked after {MAX_ROUNDS} rounds: {:?}", self.mark);
    }
}

impl LossyBus {
    pub(super) fn lose_one_in(&self, one_in: u64) {
        self.one_in.store(one_in, Ordering::Relaxed);
    }

    /// Settled spend takes so long from now on.
    pub(super) fn slow_down(&self, slow_ms: u64) {
        self.slow_ms.store(slow_ms, Ordering::Relaxed);
    }

    /// Everything that is published is lost, and readers of what is kept hear of it; or no more.
    pub(super) fn set_away(&self, away: bool) {
        self.away.send_replace(away);
    }

    fn must_be_there(&self) -> Result<(), BusError> {
        let away = *self.away.borrow();
        if away { Err(BusError::Unavailable("on purpose".into())) } else { Ok(()) }
    }
}

/// A reader that dies when its bus goes away.
struct LossyReader {
    reader: Box<dyn Reader>,
    away: watch::Receiver<bool>,
}

impl Reader for LossyReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Message, ReadError>> {
        Box::pin(async {
            tokio::select! {
                biased;
                _ = self.away.wait_for(|away| *away) => Err(ReadError::Unavailable("gone".into())),
                message = self.reader.next() => message,
            }
        })
    }

    fn ready(&mut self) -> Option<Result<Message, ReadError>> {
        self.reader.ready()
    }
}

impl Bus for LossyBus {
    fn publish(&self, message: Publish) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move {
            self.must_be_there()?;
            if matches!(message.topic, Topic::Ledger { .. }) {
                self.clock.sleep(self.slow_ms.load(Ordering::Relaxed)).await;
            }
            let one_in = self.one_in.load(Ordering::Relaxed);
            // Each settled record is a message of its own: as many as a hundred to one of others.
            let rarely = if matches!(message.topic, Topic::Ledger { .. }) { 30 } else { 1 };
            if one_in > 0 && entropy::below(one_in * rarely) == 0 {
                // What is kept and was acknowledged is there for its readers.
                let told = rarely > 1 || entropy::below(2) == 0;
                return if told { Err(BusError::Unavailable("on purpose".into())) } else { Ok(()) };
            }
            self.bus.publish(message).await
        })
    }

    fn read(&self, feed: Feed, start: Start) -> BoxFuture<'_, Result<Box<dyn Reader>, BusError>> {
        Box::pin(async move {
            self.must_be_there()?;
            let reader = self.bus.read(feed, start).await?;
            // As over NATS: readers of what passes stay, and hear nothing.
            if !matches!(feed, Feed::Events(_) | Feed::Spend(_) | Feed::Ledger(_)) {
                return Ok(reader);
            }
            let away = self.away.subscribe();
            Ok(Box::new(LossyReader { reader, away }) as Box<dyn Reader>)
        })
    }

    fn call(
        &self,
        service: Service,
        payload: Bytes,
        deadline_ms: u64,
    ) -> BoxFuture<'_, Result<Bytes, BusError>> {
        Box::pin(async move {
            self.must_be_there()?;
            self.bus.call(service, payload, deadline_ms).await
        })
    }

    fn serve(&self, serve: Serve) -> BoxFuture<'_, Result<Box<dyn Requests>, BusError>> {
        self.bus.serve(serve)
    }
}
