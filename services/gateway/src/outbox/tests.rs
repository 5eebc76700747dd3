//! Lanes and outboxes against a projector that books, sleeps, or asks again.

mod noted;
mod promises;

use std::num::NonZeroUsize;
use std::path::Path;

use tokio::task::LocalSet;
use turnpike_bus::local::LocalBus;
use turnpike_bus::seam::{Feed, Reader, Start};
use turnpike_domain::admit::Denial;
use turnpike_domain::id::{KeyId, ProviderId, RequestId};
use turnpike_domain::meter::{Prices, Usage};
use turnpike_domain::money::{Multiplier, NanoUsd, Price};
use turnpike_domain::settle::{Observed, Reservation};
use turnpike_domain::spend::{Source, Spend};
use turnpike_domain::time::SECOND_MS;
use turnpike_runtime::clock::{Clock, PausedClock};
use turnpike_runtime::tasks::Tasks;
use turnpike_wire::form;
use turnpike_wire::spend::{Batch, Booked};

use super::*;
use crate::config::ServeOptions;
use crate::fake::{DAY, GATEWAY, ORG, OTHER, decisions, peppers, publish_on};
use crate::lane::{Holds, Opening, Outcome, Ticket, take_over_all};

const MAX_BYTES: u64 = 4 << 20;
/// Enough for a message that waits for others.
const SOON_MS: u64 = 20;

/// A gateway's lanes on one thread, and the projector's end of the bus.
struct House {
    bus: Arc<LocalBus>,
    clock: PausedClock,
    room: Room,
    core: Arc<Core>,
    board: Board,
    metrics: Metrics,
    folder: tempfile::TempDir,
    spend: Box<dyn Reader>,
    tasks: Tasks,
}

impl House {
    async fn new(max_bytes: u64, lanes: u64) -> Self {
        let clock = PausedClock::new(DAY);
        let bus = Arc::new(LocalBus::new(Arc::new(clock.clone())));
        let spend = bus.read(Feed::Spend(None), Start::Now).await.unwrap();
        let (room, folder) = (Room::new(max_bytes, lanes), tempfile::tempdir().unwrap());
        let shared: SharedClock = Arc::new(clock.clone());
        let core = Core::new(shared, ServeOptions::default(), peppers(), decisions(), GATEWAY);
        let (core, metrics) = (Arc::new(core), Metrics::new());
        let lanes = usize::try_from(lanes).unwrap();
        let board = Board::new(NonZeroUsize::new(lanes).unwrap());
        board.watch(&core, max_bytes, &metrics);
        let tasks = Tasks::new("test");
        Self { bus, clock, room, core, board, metrics, folder, spend, tasks }
    }

    fn lane(&self, epoch: u128) -> Rc<Lane> {
        let clock: SharedClock = Arc::new(self.clock.clone());
        let folder = self.folder.path();
        Rc::new(Lane::create(clock, folder, EpochId(epoch), self.room.clone()).unwrap())
    }

    fn send(&self, lane: &Rc<Lane>, older: Vec<Epoch>) {
        self.send_as(0, lane, older);
    }

    fn send_as(&self, number: usize, lane: &Rc<Lane>, older: Vec<Epoch>) {
        let route =
            Route { bus: Arc::clone(&self.bus) as Arc<dyn Bus>, gateway: GATEWAY, org: None };
        let clock: SharedClock = Arc::new(self.clock.clone());
        let (board, core) = (self.board.clone(), Arc::clone(&self.core));
        let teller = Teller { board, core, lane: number };
        let (room, metrics) = (self.room.clone(), OutboxMetrics::new(&self.metrics));
        let outbox = Outbox::new(Rc::clone(lane), room, route, clock, metrics, teller);
        self.tasks.spawn_local("outbox", outbox.with_older(older).run(self.tasks.stopping()));
    }

    async fn soon(&self) {
        self.clock.sleep(SOON_MS).await;
    }

    fn sent(&mut self) -> Vec<Batch> {
        let spend = &mut self.spend;
        let message = std::iter::from_fn(|| spend.ready());
        message.map(|message| spend::read_batch(&message.unwrap().payload).unwrap()).collect()
    }

    async fn mark(&self, epoch: u128, number: u64, ended: bool, gap: bool) {
        let complete_to = Some(self.clock.now());
        let mark = Booked { epoch: EpochId(epoch), number, complete_to, ended, gap };
        let topic = Topic::Booked { org: ORG, gateway: GATEWAY };
        publish_on(&*self.bus, topic, form::encode(&mark)).await;
        self.soon().await;
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.folder.path()).unwrap().count()
    }
}

fn opening(org: OrgId, request: u128) -> Opening {
    let prices = Prices { input: Price(1_000_000), output: Price(2_000_000), ..Prices::default() };
    Opening {
        request: RequestId(request),
        at: DAY,
        org,
        key: KeyId(1),
        key_seq: 2,
        token: None,
        legacy: false,
        model: "echo-1".into(),
        server: None,
        tool: None,
        provider: Some(ProviderId(3)),
        price_version: 4,
        prices: Some(prices),
        multiplier: Multiplier::default(),
        reservation: Reservation {
            input: 10,
            output: 20,
            cost: NanoUsd(50),
            ..Reservation::default()
        },
        streamed: false,
        lease: None,
        started_us: 0,
    }
}

fn serve(lane: &Rc<Lane>, org: OrgId, request: u128) {
    let ticket = lane.open(opening(org, request), Holds::default()).unwrap();
    ticket.sent();
    let usage = Usage { input: 4, output: 5, ..Usage::default() };
    let observed = Observed { reported: Some(usage), sent: true, ..Observed::default() };
    let settlement = ticket.settle(Outcome { observed, status: 200, denial: None });
    assert_eq!(settlement.cost, NanoUsd(14));
}

fn records(batch: &Batch) -> Vec<Spend> {
    batch.records.iter().map(|record| spend::decode(&record.0).unwrap()).collect()
}

/// A house whose one lane sends, and has served so many requests.
async fn served(requests: u128) -> (House, Rc<Lane>) {
    let house = House::new(MAX_BYTES, 1).await;
    let lane = house.lane(1);
    house.send(&lane, Vec::new());
    (1..=requests).for_each(|request| serve(&lane, ORG, request));
    house.soon().await;
    (house, lane)
}

async fn on_one_core(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn records_that_come_together_are_one_message() {
    on_one_core(async {
        let (mut house, lane) = served(3).await;
        let sent = house.sent();
        assert_eq!((sent.len(), sent[0].first, sent[0].end), (1, 1, false));
        let requests: Vec<u128> = records(&sent[0]).iter().map(|one| one.request.0).collect();
        assert_eq!(requests, [1, 2, 3]);
        (4..=253).for_each(|request| serve(&lane, ORG, request));
        house.soon().await;
        let firsts: Vec<u64> = house.sent().iter().map(|batch| batch.first).collect();
        assert_eq!(firsts, [4, 104, 204], "a message holds a hundred");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_booked_is_sent_again_after_two_seconds_or_when_asked_for() {
    on_one_core(async {
        let (mut house, _lane) = served(3).await;
        assert_eq!(house.sent().len(), 1);
        house.mark(1, 1, false, false).await;
        house.clock.sleep(PATIENCE_MS - 200).await;
        assert_eq!(house.sent(), []);
        house.clock.sleep(2 * TICK_MS).await;
        let again = house.sent();
        assert_eq!((again[0].first, again[0].records.len()), (2, 2));
        house.mark(1, 2, false, true).await;
        assert_eq!(house.sent()[0].first, 3, "the projector lacks it");
        house.mark(1, 3, false, false).await;
        house.clock.sleep(10 * SECOND_MS).await;
        assert_eq!(house.sent(), []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_gap_is_closed_at_once_or_when_the_last_one_has_rested() {
    on_one_core(async {
        let (mut house, _lane) = served(3).await;
        house.sent();
        house.mark(1, 1, false, true).await;
        assert_eq!(house.sent()[0].first, 2, "even in the first moment of the clock");
        house.mark(1, 1, false, true).await;
        assert_eq!(house.sent(), [], "what was sent again is still on its way");
        house.clock.sleep(2 * TICK_MS).await;
        assert_eq!(house.sent()[0].first, 2, "it was lost too, and nobody asks a third time");
        for first in [Some(2), None] {
            house.mark(1, 1, false, true).await;
            assert_eq!(house.sent().first().map(|batch| batch.first), first);
        }
        house.mark(1, 3, false, false).await;
        house.clock.sleep(10 * SECOND_MS).await;
        assert_eq!(house.sent(), [], "what is booked closes the gap");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_is_booked_however_it_ends() {
    on_one_core(async {
        let mut house = House::new(MAX_BYTES, 1).await;
        let lane = house.lane(1);
        house.send(&lane, Vec::new());
        drop(lane.open(opening(ORG, 1), Holds::default()).unwrap());
        let cancelled: Box<Ticket> = lane.open(opening(ORG, 2), Holds::default()).unwrap();
        cancelled.reroute(ProviderId(9));
        cancelled.sent();
        drop(cancelled);
        house.soon().await;
        let sent = house.sent();
        let [free, estimate] = &records(&sent[0])[..] else { panic!("{sent:?}") };
        assert_eq!((free.cost, free.status, free.provider), (NanoUsd(0), 499, Some(ProviderId(3))));
        assert_eq!((estimate.cost, estimate.source), (NanoUsd(50), Source::Estimated));
        assert_eq!((estimate.provider, estimate.reserved_tokens), (Some(ProviderId(9)), 30));
        assert_eq!(lane.open_requests(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_gateway_says_the_rest_when_it_is_back() {
    on_one_core(async {
        let mut house = House::new(MAX_BYTES, 1).await;
        let killed = house.lane(1);
        (1..=2).for_each(|request| serve(&killed, ORG, request));
        let running = killed.open(opening(ORG, 3), Holds::default()).unwrap();
        killed.written().unwrap();
        // What happens to the ticket from here on never reaches the file.
        running.sent();
        std::mem::forget(running);
        drop(killed);

        let older = take_over_all(house.folder.path(), MAX_BYTES).unwrap();
        let lane = house.lane(2);
        house.send(&lane, older);
        house.soon().await;
        let sent = house.sent();
        assert_eq!((sent.len(), sent[0].epoch, sent[0].end), (1, EpochId(1), true));
        let costs: Vec<i64> = records(&sent[0]).iter().map(|record| record.cost.0).collect();
        assert_eq!(costs, [14, 14, 50]);
        serve(&lane, ORG, 4);
        house.soon().await;
        assert_eq!(house.sent()[0].first, 1, "a new epoch begins anew");
        assert!(house.room.lane_bytes() < MAX_BYTES, "what is left takes room");
        house.mark(1, 3, true, false).await;
        assert_eq!(house.room.lane_bytes(), MAX_BYTES);
        assert_eq!(house.files(), 1, "only the new epoch's");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_clean_end_is_told_and_leaves_nothing_behind() {
    on_one_core(async {
        let (mut house, lane) = served(1).await;
        house.mark(1, 1, false, false).await;
        house.sent();
        house.tasks.stop();
        house.soon().await;
        let end = house.sent();
        assert_eq!((end[0].first, end[0].records.len(), end[0].end), (2, 0, true));
        assert!(matches!(lane.open(opening(ORG, 2), Holds::default()), Err(Denial::Overloaded)));
        house.mark(1, 1, true, false).await;
        assert!(house.tasks.drain(&house.clock, SECOND_MS).await);
        assert_eq!(house.files(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_end_without_a_projector_is_bounded_and_kept() {
    on_one_core(async {
        let (house, _lane) = served(1).await;
        assert!(house.tasks.drain(&house.clock, 2 * FINISH_MS).await);
        assert_eq!(take_over(house.folder.path()), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn lanes_share_the_room_and_nothing_else() {
    on_one_core(async {
        let mut house = House::new(256 << 10, 2).await;
        let (full, other) = (house.lane(1), house.lane(2));
        let mut running = Vec::new();
        let refused = loop {
            match full.open(opening(ORG, u128::try_from(running.len()).unwrap()), Holds::default())
            {
                Ok(ticket) => running.push(ticket),
                Err(denial) => break denial,
            }
        };
        assert_eq!(refused, Denial::Overloaded);
        assert!(running.len() > 50, "{}", running.len());
        house.send(&other, Vec::new());
        serve(&other, OTHER, 1_000);
        house.soon().await;
        let sent = house.sent();
        assert_eq!((sent.len(), sent[0].epoch, sent[0].first), (1, EpochId(2), 1));
        // Those that were admitted have their room.
        running.clear();
        assert_eq!(full.written(), Ok(()));
        assert_eq!(take_over(house.folder.path()), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_stands_in_the_file_before_anything_is_waited_for() {
    on_one_core(async {
        let house = House::new(MAX_BYTES, 1).await;
        let lane = house.lane(1);
        let running = lane.open(opening(ORG, 1), Holds::default()).unwrap();
        assert_eq!(lane.written(), Ok(()));
        // As a process finds it that begins after a kill: nobody has written anything since.
        let mut found = take_over_all(house.folder.path(), MAX_BYTES).unwrap();
        assert_eq!(found.remove(0).unbooked(), 1);
        drop(running);
    })
    .await;
}

/// How many epochs stand in the folder.
fn take_over(folder: &Path) -> usize {
    take_over_all(folder, MAX_BYTES).unwrap().len()
}
