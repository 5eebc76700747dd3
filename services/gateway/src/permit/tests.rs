//! Permits on the local bus, of an authority that is the domain's own: no key passes its rate, and
//! no permit is lost.

use std::sync::{Arc, Mutex};

use turnpike_bus::local::LocalBus;
use turnpike_bus::seam::{Bus, Request, Serve, Service};
use turnpike_domain::id::ProjectId;
use turnpike_domain::limit::Limits;
use turnpike_domain::meter::Usage;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::rate::{Amount, Answer, Ask, Hearing, Rates, Report, WINDOW_MS};
use turnpike_domain::spend::Source;
use turnpike_domain::state::{Organisation, RateFallback};
use turnpike_runtime::clock::{Clock as _, PausedClock};
use turnpike_wire::authority::{Call, Closed, PermitAnswer, PermitCall, RecentAnswer};
use turnpike_wire::form;

use super::*;
use crate::config::ServeOptions;
use crate::fake::{self, DAY, GATEWAY, ORG};

const TEAM: ProjectId = ProjectId(5);
const GATEWAYS: u32 = 4;

/// What the authority does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Answers,
    Deaf,
    Closed(Closed),
}

struct Books {
    manner: Manner,
    rates: Rates,
    fence: u64,
    calls: Vec<PermitCall>,
    reports: Vec<Report>,
}

struct House {
    clock: PausedClock,
    permits: Arc<Permits>,
    books: Arc<Mutex<Books>>,
    tasks: Tasks,
    now: Timestamp,
}

fn limits(requests: Option<u32>, tokens: Option<u64>) -> Limits {
    Limits { requests_per_minute: requests, tokens_per_minute: tokens, ..Limits::default() }
}

fn entry_of(own: Limits, team: Limits, rate_fallback: RateFallback) -> Entry {
    let mut organisation = Organisation::new(ORG);
    organisation.settings.rate_fallback = rate_fallback;
    organisation.projects.insert(TEAM, fake::project(team));
    fake::entry(&organisation, own, Some(TEAM))
}

fn entry(own: Limits) -> Entry {
    entry_of(own, Limits::default(), RateFallback::Share)
}

fn reservation(tokens: u64) -> Reservation {
    Reservation { input: tokens, ..Reservation::default() }
}

/// How long it takes until all gateways have reported.
const GATHERED_MS: u64 = 300;

fn settlement(tokens: u64) -> Settlement {
    let usage = Usage { input: tokens, ..Usage::default() };
    Settlement { usage, cost: NanoUsd::ZERO, source: Source::Provider, suspect: false }
}

impl House {
    async fn new() -> Self {
        let clock = PausedClock::new(DAY);
        let shared: SharedClock = Arc::new(clock.clone());
        // The owner has been one for long: no report is needed.
        clock.sleep(2 * WINDOW_MS).await;
        let bus = Arc::new(LocalBus::new(Arc::clone(&shared)));
        let tasks = Tasks::new("test");
        let books = Books {
            manner: Manner::Answers,
            rates: Rates::new(0),
            fence: 1,
            calls: Vec::new(),
            reports: Vec::new(),
        };
        let books = Arc::new(Mutex::new(books));
        let mut requests = bus.serve(Serve::Authority(None)).await.unwrap();
        let (hearing, time) = (Arc::clone(&books), clock.clone());
        tasks.spawn("authority", async move {
            while let Ok(request) = requests.next().await {
                hear(&mut hearing.lock().unwrap(), request, time.boot_ms());
            }
        });
        let options = ServeOptions::default();
        let (peppers, decisions) = (fake::peppers(), fake::decisions());
        let core = Arc::new(Core::new(shared, options, peppers, decisions, GATEWAY));
        let permits = for_test(&core, bus, &tasks);
        Self { clock, permits, books, tasks, now: DAY }
    }

    async fn take(&self, entry: &Entry, tokens: u64) -> Result<Permit, Denied> {
        let taken = self.permits.take(entry, &reservation(tokens), self.now).await;
        taken.map(|permit| permit.expect("the key has a rate")).map_err(|denied| *denied)
    }

    /// How many of `count` requests pass, one after the other.
    async fn pass(&self, entry: &Entry, count: usize) -> usize {
        let mut passed = 0;
        for _ in 0..count {
            if let Ok(permit) = self.take(entry, 10).await {
                permit.settle(&settlement(10));
                passed += 1;
            }
        }
        passed
    }

    fn set(&self, manner: Manner) {
        self.books.lock().unwrap().manner = manner;
    }

    fn calls(&self) -> usize {
        self.books.lock().unwrap().calls.len()
    }

    /// What the authority counts of the key at the moment.
    fn counted(&self, entry: &Entry) -> Amount {
        let rate = Rate::of(&entry.key.profile.limits, entry.key.seq).unwrap();
        let mut books = self.books.lock().unwrap();
        let (ask, now_ms) = (Ask::default(), self.clock.boot_ms());
        let hearing = Hearing { who: (GatewayId(99), EpochId(1)), now_ms, others: &[] };
        let ask = Ask { batch: now_ms, rate, ..ask };
        match books.rates.ask(hearing, Account::Key(entry.key.id), &ask) {
            Answer::Permitted { left, .. } => rate.cap().minus(left.free),
            Answer::Gathering { .. } => panic!("the owner is an old one"),
        }
    }
}

fn hear(books: &mut Books, request: Request, now_ms: u64) {
    let Service::Authority { gateway, .. } = request.service else { panic!("nobody looks") };
    let answer = match form::decode::<Call>(&request.payload).unwrap() {
        Call::Permit(call) => {
            books.calls.push(call.clone());
            permit(books, gateway, &call, now_ms).map(|answer| form::encode(&answer))
        }
        Call::Recent(call) => {
            let used = call.accounts.into_iter().map(|of| (of.account, of.used)).collect();
            books.reports.push(Report { part: call.part, last: call.last, used });
            Some(form::encode(&RecentAnswer { fence: books.fence, begin_again: false }))
        }
        Call::Lease(_) | Call::EndRuns(_) => None,
    };
    if let Some(answer) = answer {
        (request.reply)(answer.into());
    }
}

fn permit(
    books: &mut Books,
    gateway: GatewayId,
    call: &PermitCall,
    now_ms: u64,
) -> Option<PermitAnswer> {
    let mut answer = PermitAnswer {
        fence: books.fence,
        batch: call.batch,
        requests: 0,
        tokens: 0,
        retry_after_ms: None,
        gateways: GATEWAYS,
        left_requests: 0,
        left_tokens: 0,
        reset_ms: 0,
        closed: None,
    };
    match books.manner {
        Manner::Answers => {}
        Manner::Deaf => return None,
        Manner::Closed(closed) => return Some(PermitAnswer { closed: Some(closed), ..answer }),
    }
    let wanted = Amount { requests: u64::from(call.requests), tokens: call.tokens };
    let (batch, waits, rate) = (call.batch, call.waits, call.rate);
    let ask = Ask { batch, wanted, waits, rate, returned: call.returned.clone() };
    let hearing = Hearing { who: (gateway, call.epoch), now_ms, others: &[] };
    if let Answer::Permitted { amount, retry_after_ms, left } =
        books.rates.ask(hearing, call.account, &ask)
    {
        answer.requests = u32::try_from(amount.requests).unwrap();
        (answer.tokens, answer.retry_after_ms) = (amount.tokens, retry_after_ms);
        (answer.left_requests, answer.left_tokens) = (left.free.requests, left.free.tokens);
        answer.reset_ms = left.reset_ms;
    }
    Some(answer)
}

#[tokio::test(start_paused = true)]
async fn a_slow_key_asks_for_each_request_and_is_refused_at_its_rate() {
    let house = House::new().await;
    let entry = entry(limits(Some(3), None));
    for left in [2, 1, 0] {
        let permit = house.take(&entry, 10).await.unwrap();
        assert_eq!(permit.held[0].as_ref().unwrap().part.shelf().left(0).free.requests, left);
        permit.settle(&settlement(10));
    }
    assert_eq!(house.calls(), 3);
    let denied = house.take(&entry, 10).await.unwrap_err();
    assert_eq!((denied.denial, denied.retry_after_s), (Denial::RateLimited, Some(60)));
    let figures = denied.figures.unwrap();
    assert_eq!(figures.source, LimitSource::RequestRate(Account::Key(entry.key.id)));
    assert_eq!((figures.limit, figures.used), (Some(3), Some(3)));
    assert_eq!(house.pass(&entry, 100).await, 0);
    assert_eq!(house.calls(), 4, "a flood of refusals is no flood of calls");
    house.clock.sleep(WINDOW_MS + 2_000).await;
    assert_eq!(house.pass(&entry, 5).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_fast_key_takes_batches_and_gives_back_what_it_did_not_use() {
    let house = House::new().await;
    let entry = entry(limits(Some(6_000), None));
    let mut passed = 0;
    for _ in 0..100 {
        passed += house.pass(&entry, 20).await;
        house.clock.sleep(20).await;
    }
    assert_eq!(passed, 2_000);
    assert!(house.calls() < 60, "{} calls for 2,000 requests", house.calls());
    house.clock.sleep(3_000).await;
    assert_eq!(house.counted(&entry).requests, 2_000, "what was not used came back");
}

#[tokio::test(start_paused = true)]
async fn a_fast_key_has_the_tokens_ahead_that_its_requests_may_use() {
    let house = House::new().await;
    let entry = entry(limits(None, Some(10_000_000)));
    for _ in 0..100 {
        for _ in 0..20 {
            // Each uses a tenth of what it is permitted.
            house.take(&entry, 100).await.unwrap().settle(&settlement(10));
        }
        house.clock.sleep(20).await;
    }
    assert!(house.calls() < 60, "{} calls for 2,000 requests", house.calls());
    house.clock.sleep(3_000).await;
    assert_eq!(house.counted(&entry).tokens, 20_000, "what was not used came back");
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_together_are_asked_for_together() {
    let house = House::new().await;
    let entry = entry(limits(Some(60), None));
    let all = (0..50).map(|_| house.take(&entry, 10));
    let taken = futures_util::future::join_all(all).await;
    assert!(taken.iter().all(Result::is_ok));
    assert!(house.calls() <= 2, "{}", house.calls());
    // Refused for want of something else: all of them go back.
    drop(taken);
    house.clock.sleep(3_000).await;
    assert_eq!(house.counted(&entry).requests, 0);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_permitted_by_the_bound_and_corrected_by_the_use() {
    let house = House::new().await;
    let entry = entry(limits(None, Some(1_000)));
    let first = house.take(&entry, 800).await.unwrap();
    let denied = house.take(&entry, 300).await.unwrap_err();
    let figures = denied.figures.unwrap();
    assert_eq!(figures.source, LimitSource::TokenRate(Account::Key(entry.key.id)));
    assert_eq!((figures.limit, figures.used), (Some(1_000), Some(800)));
    let small = house.take(&entry, 100).await.unwrap();
    small.settle(&settlement(100));
    first.settle(&settlement(50));
    house.clock.sleep(2_500).await;
    assert_eq!(house.counted(&entry).tokens, 150);
    house.take(&entry, 850).await.unwrap().settle(&settlement(2_000));
    house.clock.sleep(2_500).await;
    assert_eq!(house.counted(&entry).tokens, 1_000, "more than was permitted counts too");
    assert_eq!(house.take(&entry, 1).await.unwrap_err().denial, Denial::RateLimited);
    house.clock.sleep(WINDOW_MS + 2_000).await;
    house.take(&entry, 5_000).await.unwrap().settle(&settlement(1));
}

#[tokio::test(start_paused = true)]
async fn key_and_project_both_must_permit() {
    let house = House::new().await;
    let team = limits(Some(5), None);
    let entry = entry_of(limits(Some(100), None), team, RateFallback::Share);
    let looked = |house: &House| {
        let [requests, tokens] = house.permits.look(&entry);
        assert_eq!(tokens, None);
        requests.map(|rate| (rate.source, rate.limit, rate.left))
    };
    let tightest = LimitSource::RequestRate(Account::Project(TEAM));
    assert_eq!(looked(&house), Some((tightest, 5, None)), "nobody was asked yet");
    assert_eq!(house.pass(&entry, 3).await, 3);
    assert_eq!(looked(&house), Some((tightest, 5, Some(2))));
    assert_eq!(house.pass(&entry, 5).await, 2);
    let denied = house.take(&entry, 10).await.unwrap_err();
    assert_eq!(denied.figures.unwrap().source, LimitSource::RequestRate(Account::Project(TEAM)));
    house.clock.sleep(3_000).await;
    assert_eq!(house.counted(&entry).requests, 5, "the key's permits of the others went back");
}

#[tokio::test(start_paused = true)]
async fn without_an_authority_each_gateway_has_its_share() {
    let house = House::new().await;
    let entry = entry(limits(Some(100), None));
    assert_eq!(house.pass(&entry, 10).await, 10);
    house.set(Manner::Deaf);
    house.clock.sleep(1_500).await;
    let share = usize::try_from(100 / GATEWAYS).unwrap();
    assert_eq!(house.pass(&entry, 100).await, share - 10, "its share but for the last minute");
    let denied = house.take(&entry, 10).await.unwrap_err();
    assert_eq!(denied.denial, Denial::RateLimited);
    assert_eq!(denied.retry_after_s, Some(5), "a successor may permit what the share does not");
    house.clock.sleep(WINDOW_MS + 2_000).await;
    assert_eq!(house.pass(&entry, 100).await, share);
    house.set(Manner::Answers);
    house.clock.sleep(2_000).await;
    assert!(house.pass(&entry, 50).await >= 40, "the authority permits again");
}

#[tokio::test(start_paused = true)]
async fn an_organisation_may_deny_what_nobody_permits() {
    let house = House::new().await;
    let entry = entry_of(limits(Some(100), None), Limits::default(), RateFallback::Deny);
    assert_eq!(house.pass(&entry, 1).await, 1);
    for manner in [Manner::Deaf, Manner::Closed(Closed::Gathering)] {
        house.set(manner);
        house.clock.sleep(2_000).await;
        let denied = house.take(&entry, 10).await.unwrap_err();
        assert_eq!(denied.denial, Denial::LimitAuthorityUnavailable);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_was_never_told_how_many_there_are_has_no_share() {
    let house = House::new().await;
    house.set(Manner::Deaf);
    let denied = house.take(&entry(limits(Some(100), None)), 10).await.unwrap_err();
    assert_eq!(denied.denial, Denial::LimitAuthorityUnavailable);
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_is_told_of_the_last_minute_and_an_old_one_is_not_heard() {
    let house = House::new().await;
    let entry = entry(limits(Some(100), None));
    assert_eq!(house.pass(&entry, 30).await, 30);
    house.clock.sleep(10_000).await;
    house.books.lock().unwrap().fence = 2;
    house.set(Manner::Closed(Closed::ReportFirst));
    assert_eq!(house.pass(&entry, 1).await, 0, "the share is used up");
    house.clock.sleep(1_000).await;
    let used: Vec<(u64, Amount)> = {
        let books = house.books.lock().unwrap();
        let [(account, used)] = &books.reports.last().unwrap().used[..] else { panic!("one key") };
        assert_eq!(*account, Account::Key(entry.key.id));
        used.clone()
    };
    assert_eq!(used.iter().map(|(_, used)| used.requests).sum::<u64>(), 30);
    assert!(used.iter().all(|(age_ms, _)| (7_000..=11_000).contains(age_ms)), "{used:?}");
    house.books.lock().unwrap().fence = 1;
    house.set(Manner::Answers);
    assert_eq!(house.pass(&entry, 1).await, 0, "an answer of the old owner permits nothing");
    house.books.lock().unwrap().fence = 3;
    house.clock.sleep(2_000).await;
    assert_eq!(house.pass(&entry, 1).await, 1);
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_a_new_owner_that_is_about_to_know_all() {
    let house = House::new().await;
    let entry = entry(limits(Some(20), None));
    house.set(Manner::Closed(Closed::ReportFirst));
    let passing = house.pass(&entry, 30);
    let gathered = async {
        house.clock.sleep(GATHERED_MS).await;
        house.set(Manner::Answers);
    };
    let began_ms = house.clock.boot_ms();
    assert_eq!(tokio::join!(passing, gathered).0, 20);
    assert_eq!(house.counted(&entry).requests, 20, "none of them passed by the share");
    assert!(house.clock.boot_ms() - began_ms < GATHERED_MS + 100);
}

#[tokio::test(start_paused = true)]
async fn a_slow_key_without_a_share_waits_for_the_new_owner_and_not_for_a_minute() {
    let house = House::new().await;
    let entry = entry(limits(Some(1), None));
    assert_eq!(house.pass(&entry, 1).await, 1, "its gateways are known");
    house.clock.sleep(WINDOW_MS + 2_000).await;
    house.set(Manner::Closed(Closed::ReportFirst));
    let gathered = async {
        house.clock.sleep(GATHERED_MS).await;
        house.set(Manner::Answers);
    };
    assert_eq!(tokio::join!(house.pass(&entry, 1), gathered).0, 1);
    // Some other gateway does not report: there is no share of one request among three.
    house.clock.sleep(WINDOW_MS + 2_000).await;
    house.set(Manner::Closed(Closed::Gathering));
    let denied = house.take(&entry, 10).await.unwrap_err();
    assert_eq!((denied.denial, denied.retry_after_s), (Denial::RateLimited, Some(1)));
    house.set(Manner::Answers);
    house.clock.sleep(1_000).await;
    assert_eq!(house.pass(&entry, 1).await, 1);
    // What it has used itself counts with every owner.
    house.set(Manner::Deaf);
    house.clock.sleep(10_000).await;
    let denied = house.take(&entry, 10).await.unwrap_err();
    assert!(denied.retry_after_s.is_some_and(|wait_s| (48..=52).contains(&wait_s)), "{denied:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fenced_gateway_is_permitted_nothing() {
    let house = House::new().await;
    house.set(Manner::Closed(Closed::Fenced));
    let denied = house.take(&entry(limits(Some(100), None)), 10).await.unwrap_err();
    assert_eq!(denied.denial, Denial::LimitAuthorityUnavailable);
}

#[tokio::test(start_paused = true)]
async fn a_raised_rate_counts_at_once_and_what_is_idle_is_cleared_away() {
    let house = House::new().await;
    assert_eq!(house.pass(&entry(limits(Some(2), None)), 5).await, 2);
    let mut raised = entry(limits(Some(10), None));
    Arc::get_mut(&mut raised.key).unwrap().seq += 1;
    assert_eq!(house.pass(&raised, 20).await, 8);
    assert_eq!(house.permits.shelves.len(), 1);
    house.clock.sleep(2 * WINDOW_MS + 5_000).await;
    assert_eq!(house.permits.shelves.len(), 0);
    assert!(house.tasks.drain(&house.clock, 5_000).await);
}

#[tokio::test(start_paused = true)]
async fn steps_of_the_day_change_nothing_and_who_was_stopped_uses_nothing_expired() {
    const HOUR_MS: i64 = 3_600_000;
    let house = House::new().await;
    let entry = entry(limits(Some(30), None));
    let all = (0..10).map(|_| house.take(&entry, 10));
    let together = futures_util::future::join_all(all).await;
    together.into_iter().for_each(|permit| permit.unwrap().settle(&settlement(10)));
    let mut passed = 10;
    for step_ms in [HOUR_MS, -2 * HOUR_MS, HOUR_MS] {
        house.clock.step_day(step_ms);
        passed += house.pass(&entry, 5).await;
    }
    let live = house.permits.shelves.at(ORG, Account::Key(entry.key.id)).0.live();
    // As after SIGSTOP: 45 s later the same batch is still there, and nobody has looked at it.
    house.clock.sleep(45_000).await;
    assert!(live.is_none_or(|batch| !batch.take(0, &house.clock)));
    passed += house.pass(&entry, 100).await;
    assert_eq!(passed, 30);
}
