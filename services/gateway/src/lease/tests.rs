//! Leases against an authority that follows the domain's rules, over a real bus.

pub(crate) mod authority;
mod cost;

use std::future::Future;
use std::task::{Context, Poll, Waker};

use turnpike_bus::local::LocalBus;
use turnpike_domain::admit::{Denial, LimitSource};
use turnpike_domain::id::{KeyId, ProjectId};
use turnpike_domain::limit::{Account, Limits};
use turnpike_domain::meter::Usage;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::settle::Settlement;
use turnpike_domain::spend::Source;
use turnpike_domain::state::{Cap, Organisation, Settings, Wallet, WalletMode};
use turnpike_domain::time::{Reset, SECOND_MS};
use turnpike_runtime::clock::{Clock as _, PausedClock};

use super::*;
use crate::config::ServeOptions;
use crate::fake::{self, DAY, GATEWAY, ORG};
use crate::view::OrgView;
use authority::{Authority, Manner};

const KEY: Account = Account::Key(KeyId(1));
const TEAM: ProjectId = ProjectId(5);
const OTHER_TEAM: ProjectId = ProjectId(6);

/// A gateway's leases, and the authority behind them.
struct House {
    clock: PausedClock,
    core: Arc<Core>,
    leases: Arc<Leases>,
    authority: Authority,
    tasks: Tasks,
    entry: Entry,
}

fn limits(cost: Option<i64>, tokens: Option<u64>) -> Limits {
    Limits { cost: cost.map(NanoUsd), tokens, ..Limits::default() }
}

fn with_reset(reset: Reset) -> Limits {
    Limits { reset, ..limits(Some(1_000_000), None) }
}

fn entry(limits: Limits, project: Option<ProjectId>) -> Entry {
    let mut organisation = Organisation::new(ORG);
    for id in [TEAM, OTHER_TEAM] {
        organisation.projects.insert(id, fake::project(Limits::default()));
    }
    fake::entry(&organisation, limits, project)
}

impl House {
    /// One key with these limits, and an authority that knows them.
    async fn new(limits: Limits) -> Self {
        Self::at(limits, DAY).await
    }

    /// The same at another time, in windows of the key's policy.
    async fn at(limits: Limits, now: Timestamp) -> Self {
        let clock = PausedClock::new(now);
        let shared: SharedClock = Arc::new(clock.clone());
        let options = ServeOptions::default();
        let (peppers, decisions) = (fake::peppers(), fake::decisions());
        let core = Core::new(Arc::clone(&shared), options, peppers, decisions, GATEWAY);
        let (core, tasks) = (Arc::new(core), Tasks::new("test"));
        let bus = Arc::new(LocalBus::new(shared));
        let path = vec![KEY, Account::Wallet];
        let authority = Authority::begin(Arc::clone(&bus), path, &tasks).await;
        authority.with(|books| (books.reset, books.now) = (limits.reset, now));
        for unit in UNITS {
            if let Some(cap) = limits.cap(unit) {
                authority.cap(KEY, unit, cap);
            }
        }
        let leases = for_test(&core, bus, &tasks);
        Self { clock, core, leases, authority, tasks, entry: entry(limits, None) }
    }

    /// Reserves so much money, and as many tokens.
    async fn reserve(&self, amount: i64) -> Result<Grip, Box<Shortage>> {
        let reservation = reservation(amount);
        let grip = self.leases.reserve(&self.entry, &reservation, self.core.now()).await;
        grip.map(|grip| grip.expect("the key has a cap"))
    }

    /// Serves a request that reserves `bound` and costs `cost`, and books it.
    async fn serve(&self, bound: i64, cost: i64) -> Result<(), Denial> {
        let grip = self.reserve(bound).await.map_err(|short| short.denied.denial)?;
        let lease = grip.lease();
        grip.settle(&settlement(cost));
        for unit in UNITS {
            if self.authority.with(|books| books.leases.contains_key(&(lease, unit))) {
                self.authority.book(lease, unit, cost);
            }
        }
        Ok(())
    }

    async fn rest(&self, ms: u64) {
        self.clock.sleep(ms).await;
    }

    fn usd(&self) -> (i64, i64) {
        let row = self.authority.row(KEY, Unit::Usd);
        (row.settled, row.held)
    }
}

fn reservation(amount: i64) -> Reservation {
    let input = u64::try_from(amount).unwrap();
    Reservation { input, cost: NanoUsd(amount), ..Reservation::default() }
}

fn settlement(cost: i64) -> Settlement {
    let usage = Usage { input: u64::try_from(cost).unwrap(), ..Usage::default() };
    Settlement { usage, cost: NanoUsd(cost), source: Source::Provider, suspect: false }
}

fn denial<T>(result: Result<T, Box<Shortage>>) -> Denial {
    result.err().expect("it was refused").denied.denial
}

#[tokio::test(start_paused = true)]
async fn what_is_used_is_booked_and_the_rest_goes_back_when_nobody_comes() {
    let house = House::new(limits(Some(1_000_000), None)).await;
    for _ in 0..1_000 {
        house.serve(100, 60).await.unwrap();
        house.rest(1).await;
    }
    assert!(house.authority.words() < 20, "{} words", house.authority.words());
    assert_eq!(house.usd().0, 60_000);
    assert!(house.usd().1 > 0, "it holds ahead of need");
    house.rest(10 * SECOND_MS).await;
    assert_eq!(house.usd(), (60_000, 0));
    house.serve(100, 60).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_key_without_a_cap_takes_no_lease() {
    let mut house = House::new(Limits::default()).await;
    let now = house.core.now();
    let free = house.leases.reserve(&house.entry, &reservation(5), now).await.unwrap();
    assert!(free.is_none());
    house.entry = entry(limits(Some(5), None), None);
    let nothing = house.leases.reserve(&house.entry, &reservation(0), now).await.unwrap();
    assert!(nothing.is_none(), "what costs nothing needs no grant");
    assert_eq!(house.authority.words(), 0);
}

#[tokio::test(start_paused = true)]
async fn both_units_are_held_and_settled() {
    let house = House::new(limits(Some(1_000), Some(500))).await;
    house.serve(100, 70).await.unwrap();
    let short = house.reserve(450).await.unwrap_err();
    assert_eq!(short.denied.denial, Denial::QuotaExceeded);
    let figures = short.denied.figures.as_deref().copied().unwrap();
    assert_eq!(figures.source, LimitSource::Budget(KEY, Unit::Tokens));
    assert_eq!((figures.limit, figures.used), (Some(500), Some(70)));
    house.rest(10 * SECOND_MS).await;
    for unit in UNITS {
        let row = house.authority.row(KEY, unit);
        assert_eq!((row.settled, row.held), (70, 0), "{unit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_of_a_cap_can_be_used_and_no_more() {
    let mut house = House::new(limits(Some(1_000), None)).await;
    let mut served = 0;
    while house.serve(10, 10).await.is_ok() {
        served += 1;
    }
    assert_eq!((served, house.usd()), (100, (1_000, 0)));
    // Nobody is asked again until the cap changes.
    let words = house.authority.words();
    assert_eq!(denial(house.reserve(10).await), Denial::QuotaExceeded);
    assert_eq!(house.authority.words(), words);
    house.authority.cap(KEY, Unit::Usd, 1_010);
    house.entry = entry(limits(Some(1_010), None), None);
    house.serve(10, 10).await.unwrap();
    assert_eq!(house.serve(10, 10).await, Err(Denial::QuotaExceeded));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_what_would_fit() {
    let house = House::new(limits(Some(1_000), None)).await;
    house.serve(900, 900).await.unwrap();
    let short = house.reserve(101).await.unwrap_err();
    assert_eq!(short.fits, Some((Unit::Usd, 100)));
    assert_eq!(house.reserve(101).await.unwrap_err().fits, Some((Unit::Usd, 100)));
    house.serve(100, 100).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_others_hold_is_waited_for_and_then_refused_with_advice() {
    let house = House::new(limits(Some(1_000), None)).await;
    house.authority.hold_elsewhere(KEY, Unit::Usd, 950);
    house.serve(50, 0).await.unwrap();
    let before = house.clock.boot_ms();
    let short = house.reserve(51).await.unwrap_err();
    assert_eq!(short.denied.denial, Denial::InFlightBudgetExhausted);
    assert_eq!((short.denied.retry_after_s, short.fits), (Some(1), Some((Unit::Usd, 50))));
    assert!((250..1_000).contains(&(house.clock.boot_ms() - before)));
    // Whoever waits is served as soon as something comes back.
    let (waited, ()) = tokio::join!(house.reserve(51), async {
        house.rest(100).await;
        house.authority.hold_elsewhere(KEY, Unit::Usd, -950);
    });
    assert_eq!(waited.unwrap().lease(), house.reserve(1).await.unwrap().lease());
}

/// Each of them is smaller than the one before it, and none fits.
#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_for_what_others_hold_because_others_wait_too() {
    let house = House::new(limits(Some(1_000), None)).await;
    house.authority.hold_elsewhere(KEY, Unit::Usd, 950);
    let before = house.clock.boot_ms();
    let asks = (60..100).rev().map(async |amount| {
        assert_eq!(denial(house.reserve(amount).await), Denial::InFlightBudgetExhausted);
        house.clock.boot_ms() - before
    });
    let waited = futures_util::future::join_all(asks).await;
    assert!(waited.iter().all(|ms| (250..300).contains(ms)), "{waited:?}");
}

/// What it asks for is answered late, and counts all the same.
#[tokio::test(start_paused = true)]
async fn a_slow_authority_is_heard() {
    let house = House::new(limits(Some(1_000_000), None)).await;
    house.authority.manner(Manner::Slow(3 * SECOND_MS));
    let before = house.clock.boot_ms();
    assert_eq!(denial(house.reserve(100).await), Denial::LimitAuthorityUnavailable);
    let waited = house.clock.boot_ms() - before;
    assert!(waited <= 2_100, "a caller has no such patience: {waited}");
    house.rest(2 * SECOND_MS).await;
    drop(house.reserve(100).await.unwrap());
    let words = house.authority.with(|books| books.words.clone());
    assert!(words.iter().all(|word| word.n == 1), "it is the same word each time: {words:?}");
}

#[tokio::test(start_paused = true)]
async fn one_request_waits_for_another_of_the_same_gateway() {
    let house = House::new(limits(Some(100), None)).await;
    let running = house.reserve(80).await.unwrap();
    let (waited, ()) = tokio::join!(house.reserve(60), async {
        house.rest(100).await;
        running.settle(&settlement(40));
    });
    waited.unwrap().settle(&settlement(60));
    house.rest(10 * SECOND_MS).await;
    assert_eq!(house.authority.row(KEY, Unit::Usd).held, 100, "it is not booked yet");
}

#[tokio::test(start_paused = true)]
async fn without_its_authority_a_gateway_spends_what_it_holds_and_no_more() {
    let house = House::new(limits(Some(1_000_000), None)).await;
    for _ in 0..50 {
        house.serve(100, 100).await.unwrap();
        house.rest(20).await;
    }
    let held = house.usd().1;
    assert!(held >= 100);
    house.authority.manner(Manner::Deaf);
    let mut spent = 0;
    let refused = loop {
        match house.reserve(100).await {
            Ok(grip) => grip.settle(&settlement(100)),
            Err(short) => break short.denied,
        }
        spent += 100;
    };
    assert_eq!(refused.denial, Denial::LimitAuthorityUnavailable);
    assert_eq!(spent, held / 100 * 100);
    // Once it is known to be away, nobody waits for it.
    let before = house.clock.boot_ms();
    assert_eq!(denial(house.reserve(100).await), Denial::LimitAuthorityUnavailable);
    assert!(house.clock.boot_ms() - before <= 2 * SECOND_MS);
    house.authority.manner(Manner::Answers);
    house.rest(4 * SECOND_MS).await;
    house.reserve(100).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn lost_answers_leave_no_phantom_hold() {
    let house = House::new(limits(Some(10_000), None)).await;
    house.serve(100, 100).await.unwrap();
    house.authority.manner(Manner::LosesAnswers);
    assert_eq!(denial(house.reserve(5_000).await), Denial::LimitAuthorityUnavailable);
    assert!(house.usd().1 >= 5_000, "the authority has heard it");
    house.authority.manner(Manner::Answers);
    house.rest(10 * SECOND_MS).await;
    assert_eq!(house.usd(), (100, 0));
}

#[tokio::test(start_paused = true)]
async fn an_authority_of_a_lower_fence_is_not_heard() {
    let house = House::new(limits(Some(10_000), None)).await;
    house.authority.manner(Manner::Fence(5));
    house.serve(100, 100).await.unwrap();
    house.authority.manner(Manner::Fence(4));
    assert_eq!(denial(house.reserve(5_000).await), Denial::LimitAuthorityUnavailable);
    house.authority.manner(Manner::Fence(5));
    house.rest(10 * SECOND_MS).await;
    assert_eq!(house.usd(), (100, 0));
    house.reserve(5_000).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_recall_takes_back_what_is_free_at_once() {
    let house = House::new(limits(Some(1_000_000), None)).await;
    house.authority.manner(Manner::Fence(3));
    house.serve(100, 100).await.unwrap();
    let running = house.reserve(100).await.unwrap();
    house.rest(10).await;
    assert!(house.usd().1 > 100);
    house.authority.recall(2, KEY, Unit::Usd).await;
    house.authority.recall(3, KEY, Unit::Tokens).await;
    house.rest(10).await;
    assert!(house.usd().1 > 100, "it was not meant");
    house.authority.recall(3, Account::Wallet, Unit::Usd).await;
    house.rest(10).await;
    assert_eq!(house.usd().1, 100, "only what runs is kept");
    drop(running);
    house.rest(10 * SECOND_MS).await;
    assert_eq!(house.usd(), (100, 0));
}

/// Found by five gateways at the end of a cap: each kept what the others lacked, for ever.
#[tokio::test(start_paused = true)]
async fn a_recall_takes_back_what_is_free_although_a_larger_request_waits() {
    let house = House::new(limits(Some(1_000), None)).await;
    house.authority.hold_elsewhere(KEY, Unit::Usd, 800);
    house.serve(100, 0).await.unwrap();
    assert!(house.usd().1 >= 900, "the first request's room is kept for the next");
    let recalled = async {
        house.rest(10).await;
        house.authority.recall(1, KEY, Unit::Usd).await;
        house.rest(100).await;
        house.usd().1
    };
    let (waited, held) = tokio::join!(house.reserve(300), recalled);
    assert_eq!(denial(waited), Denial::InFlightBudgetExhausted);
    assert_eq!(held, 800, "another gateway may have it");
}

/// Found on a machine that was up for hours: the agent was faster than the request, and took the
/// lease for one that nobody had used since the machine was started.
#[tokio::test(start_paused = true)]
async fn a_lease_is_not_forgotten_before_its_first_request() {
    let house = House::new(limits(Some(1_000), None)).await;
    house.rest(3_600 * SECOND_MS).await;
    let terms = Terms::of(&house.entry).unwrap();
    let leaf = house.leases.leaf(&terms, house.core.now(), house.clock.boot_ms());
    house.rest(1).await;
    assert!(!leaf.is_retired());
}

#[tokio::test(start_paused = true)]
async fn a_lowered_cap_takes_back_what_is_free_and_a_raised_one_nothing() {
    let mut house = House::new(limits(Some(1_000_000), None)).await;
    house.serve(100, 100).await.unwrap();
    house.serve(100, 20).await.unwrap();
    house.rest(10).await;
    let held = house.usd().1;
    assert!(held >= 80);
    house.entry = entry(limits(Some(2_000_000), None), None);
    drop(house.reserve(1).await.unwrap());
    house.rest(10).await;
    assert_eq!(house.usd().1, held);
    house.entry = entry(limits(Some(121), None), None);
    house.authority.cap(KEY, Unit::Usd, 121);
    let last = house.reserve(1).await.unwrap();
    house.rest(10).await;
    assert_eq!(house.usd(), (120, 1), "only what runs is kept");
    assert_eq!(denial(house.reserve(1).await), Denial::InFlightBudgetExhausted);
    drop(last);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_moves_gets_another_lease_and_the_old_one_goes_back_as_it_ends() {
    let mut house = House::new(limits(Some(1_000_000), None)).await;
    house.entry = entry(limits(Some(1_000_000), None), Some(TEAM));
    let running = house.reserve(100).await.unwrap();
    house.entry = entry(limits(Some(1_000_000), None), Some(OTHER_TEAM));
    let moved = house.reserve(70).await.unwrap();
    assert_ne!(running.lease(), moved.lease());
    house.rest(100).await;
    let held = |lease| house.authority.with(|books| books.leases[&(lease, Unit::Usd)].1.hold());
    assert_eq!(held(running.lease()), 100, "only what runs is kept");
    let old = running.lease();
    running.settle(&settlement(30));
    house.rest(100).await;
    assert_eq!(held(old), 30, "what it cost is not booked yet");
    house.authority.book(old, Unit::Usd, 30);
    assert_eq!(held(old), 0);
}

#[cfg(feature = "mutations")]
#[tokio::test(start_paused = true)]
async fn the_mistake_keeps_the_lease_of_a_key_that_moved() {
    let mut house = House::new(limits(Some(1_000_000), None)).await;
    house.entry = entry(limits(Some(1_000_000), None), Some(TEAM));
    let running = house.reserve(100).await.unwrap();
    mutation::mutate(true);
    house.entry = entry(limits(Some(1_000_000), None), Some(OTHER_TEAM));
    assert_eq!(house.reserve(70).await.unwrap().lease(), running.lease());
    mutation::mutate(false);
    assert_ne!(house.reserve(70).await.unwrap().lease(), running.lease());
}

#[tokio::test(start_paused = true)]
async fn another_window_needs_another_lease() {
    let midnight = Reset::Daily.ends(Reset::Daily.window(DAY)).unwrap();
    let now = Timestamp(midnight.0 - 3 * SECOND_MS);
    let house = House::at(with_reset(Reset::Daily), now).await;
    let first = house.reserve(100).await.unwrap();
    house.rest(2 * SECOND_MS).await;
    assert_eq!(house.reserve(1).await.unwrap().lease(), first.lease());
    house.rest(SECOND_MS).await;
    house.authority.with(|books| books.now = midnight);
    let second = house.reserve(1).await.unwrap();
    assert_ne!(second.lease(), first.lease());
    assert_eq!(house.reserve(1).await.unwrap().lease(), second.lease());
}

/// Found by the simulation: money was refused before midnight and tokens were looked at behind it,
/// so that the lease seemed to last another day, and its memory with it.
#[tokio::test(start_paused = true)]
async fn what_was_refused_in_a_window_is_not_remembered_in_the_next() {
    let midnight = Reset::Daily.ends(Reset::Daily.window(DAY)).unwrap();
    let limits = Limits { reset: Reset::Daily, ..limits(Some(100), Some(1_000)) };
    let house = House::at(limits, Timestamp(midnight.0 - 3 * SECOND_MS)).await;
    house.authority.hold_elsewhere(KEY, Unit::Usd, 0);
    house.authority.with(|books| books.rows.get_mut(&(KEY, Unit::Usd)).unwrap().settled = 90);
    assert_eq!(house.reserve(50).await.unwrap_err().denied.denial, Denial::QuotaExceeded);
    house.authority.with(|books| books.now = midnight);
    house.leases.look(&house.entry, house.core.now()).await;
    house.authority.with(|books| books.rows.clear());
    house.rest(3 * SECOND_MS).await;
    house.reserve(50).await.unwrap();
}

/// Found by the simulation: a month that begins on a Monday has the name of that week, and an
/// authority that had not heard of the new policy yet granted on the month.
#[tokio::test(start_paused = true)]
async fn a_lease_on_a_month_is_none_on_the_week_of_the_same_name() {
    let (monday, later) = (Timestamp(1_801_440_000_000), 20 * 24 * 3_600 * SECOND_MS);
    assert_eq!(Reset::Monthly.window(monday.plus_ms(later)), Reset::Weekly.window(monday));
    let house = House::at(with_reset(Reset::Weekly), monday.plus_ms(later)).await;
    house.authority.with(|books| books.reset = Reset::Monthly);
    let first = house.reserve(100).await.unwrap();
    house.authority.with(|books| books.reset = Reset::Weekly);
    house.rest(2 * SECOND_MS).await;
    let second = house.reserve(1).await.unwrap();
    assert_ne!(second.lease(), first.lease());
    house.rest(2 * SECOND_MS).await;
    assert_eq!(house.reserve(1).await.unwrap().lease(), second.lease());
}

/// Found by the simulation: a project's policy changed and changed back while a gateway was behind,
/// and its lease stayed on what had been in between.
#[tokio::test(start_paused = true)]
async fn a_lease_on_another_path_than_was_meant_is_replaced() {
    let house = House::new(limits(Some(1_000_000), None)).await;
    let meant = house.authority.with(|books| std::mem::replace(&mut books.path, vec![KEY]));
    let first = house.reserve(100).await.unwrap();
    house.authority.with(|books| books.path = meant);
    house.rest(2 * SECOND_MS).await;
    let second = house.reserve(1).await.unwrap();
    assert_ne!(second.lease(), first.lease());
    house.rest(2 * SECOND_MS).await;
    assert_eq!(house.reserve(1).await.unwrap().lease(), second.lease());
}

#[tokio::test(start_paused = true)]
async fn an_authority_whose_day_is_behind_is_not_asked_for_a_lease_each_time() {
    let midnight = Reset::Daily.ends(Reset::Daily.window(DAY)).unwrap();
    let house = House::at(with_reset(Reset::Daily), midnight).await;
    house.authority.with(|books| books.now = DAY);
    for _ in 0..300 {
        drop(house.reserve(100).await.unwrap());
        house.rest(10).await;
    }
    let leases = house.authority.with(|books| books.leases.len());
    assert!((2..=4).contains(&leases), "{leases} leases in three seconds");
}

/// T7 within the crate: a request that is dropped after any number of turns holds nothing.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_cancelled_at_any_await_reserves_nothing() {
    let house = House::new(limits(Some(1_000), Some(1_000))).await;
    for turns in 0..40 {
        let reservation = reservation(700);
        let now = house.core.now();
        let mut asking = Box::pin(house.leases.reserve(&house.entry, &reservation, now));
        for _ in 0..turns {
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(done) = asking.as_mut().poll(&mut context) {
                drop(done.unwrap());
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(asking);
        // Whatever was reserved is free again, for a request that needs nearly all.
        drop(house.reserve(900).await.unwrap());
        if turns % 5 == 0 {
            house.rest(10 * SECOND_MS).await;
            assert_eq!(house.usd(), (0, 0), "after {turns} turns");
            assert_eq!(house.authority.row(KEY, Unit::Tokens).held, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_ends_gives_everything_back() {
    let house = House::new(limits(Some(1_000_000), None)).await;
    house.serve(100, 60).await.unwrap();
    house.serve(100, 60).await.unwrap();
    assert!(house.usd().1 > 0);
    house.tasks.stop();
    house.rest(10).await;
    assert_eq!(house.usd(), (120, 0));
}

#[tokio::test(start_paused = true)]
async fn a_used_up_budget_is_refused_without_asking_and_opens_at_once() {
    let mut house = House::new(limits(Some(1_000), None)).await;
    let cap = Cap { amount: Some(1_000), reset: Default::default(), revision: 4 };
    let settled = Some(995);
    house.entry.used_up = Some(crate::table::Spent { unit: Unit::Usd, cap, settled });
    let short = house.reserve(1).await.unwrap_err();
    assert_eq!(short.denied.denial, Denial::QuotaExceeded);
    let figures = short.denied.figures.as_deref().unwrap();
    let told = (figures.limit, figures.used, figures.revision);
    assert_eq!(told, (Some(1_000), Some(995), 4));
    assert_eq!(house.authority.words(), 0);
    house.entry.used_up = None;
    house.reserve(1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_empty_wallet_refuses_every_key_of_a_prepaid_organisation() {
    let mut house = House::new(Limits::default()).await;
    let mut organisation = Organisation::new(ORG);
    organisation.settings = Settings { wallet: WalletMode::Prepaid, ..Settings::default() };
    let topped_up = NanoUsd(500);
    organisation.wallet = Wallet { topped_up, ..Wallet::default() };
    house.entry.org = Arc::new(OrgView::of(&organisation, false));
    house.authority.cap(Account::Wallet, Unit::Usd, 500);
    house.serve(400, 400).await.unwrap();
    assert_eq!(denial(house.reserve(101).await), Denial::BillingShortfall);
    organisation.wallet.exhausted = true;
    house.entry.org = Arc::new(OrgView::of(&organisation, false));
    let words = house.authority.words();
    assert_eq!(denial(house.reserve(1).await), Denial::BillingShortfall);
    assert_eq!(house.authority.words(), words);
}

#[tokio::test(start_paused = true)]
async fn a_key_can_ask_what_is_left_without_spending() {
    let house = House::new(limits(Some(1_000), None)).await;
    house.serve(100, 30).await.unwrap();
    let look = async || house.leases.look(&house.entry, house.core.now()).await;
    let [Some(cost), None] = look().await else { panic!("one cap stands") };
    let figures = cost.figures.unwrap();
    assert_eq!(figures.source, LimitSource::Budget(KEY, Unit::Usd));
    assert_eq!((figures.limit, figures.used, cost.left), (Some(1_000), Some(30), Some(970)));
    house.rest(10 * SECOND_MS).await;
    assert_eq!(look().await[0].unwrap().left, Some(970));
    assert_eq!(house.usd(), (30, 0), "looking holds nothing");
    house.authority.manner(Manner::Deaf);
    assert_eq!(look().await, [Some(Left { figures: None, left: None }), None]);
}

#[tokio::test(start_paused = true)]
async fn earlier_runs_are_ended_for_every_organisation_until_it_is_done() {
    let house = House::new(limits(Some(1_000), None)).await;
    house.authority.with(|books| books.runs_wait = 2);
    house.core.set_orgs([ORG].into());
    house.rest(10 * SECOND_MS).await;
    let said = house.authority.with(|books| books.runs.clone());
    assert_eq!(said.len(), 3, "again until it is done, and not after");
    assert!(said.iter().all(|call| call.run == EpochId(7) && !call.torn));
    house.core.set_orgs([ORG, OrgId(99)].into());
    house.rest(SECOND_MS).await;
    assert_eq!(house.authority.with(|books| books.runs.len()), 4);
}
