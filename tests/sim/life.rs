//! One life: founded, lived through storms, healed, and judged at rest.

use std::cell::RefCell;
use std::rc::Rc;

use turnpike_domain::command::{Command, KeyDraft, PlanChoice, PlatformCommand};
use turnpike_domain::event::PlanSpec;
use turnpike_domain::id::{OrgId, ProjectId, TokenId};
use turnpike_domain::money::Multiplier;
use turnpike_domain::scope::Allow;
use turnpike_domain::state::{Settings, WalletMode};
use turnpike_runtime::clock::{Clock as _, deadline};
use turnpike_runtime::tasks::Tasks;
use turnpike_runtime::{entropy, tasks};
use turnpike_tests::chance::Tally;
use turnpike_tests::hostile_bus::Cut;

use crate::chaos;
use crate::commands::{Sent, new_key};
use crate::house::{GATEWAYS, House};
use crate::limits;
use crate::requests::request;
use crate::wishes::{NARROW, PROVIDERS, STANDARD, Wish, model_spec, provider};

/// What every life has at least.
pub(crate) const COMMANDS: usize = 200;
pub(crate) const REQUESTS: usize = 1_000;
pub(crate) const FAULTS: u64 = 20;
/// People who send commands, and the longest pause of each.
const PEOPLE: usize = 3;
const PAUSE_MS: u64 = 1_500;
/// The longest pause between two requests.
const BETWEEN_MS: u64 = 110;
/// A life that is not over by then hangs.
const LIFE_MS: u64 = 30 * 60_000;
/// Organisations, each with a bound of staleness.
const STALENESS_MS: [Option<u64>; 3] = [Some(20_000), None, Some(600_000)];
/// Keys of each at the beginning.
const KEYS: usize = 5;

/// What a life tells of itself.
pub(crate) struct Report {
    /// A hash of everything that was noted: a seed's own.
    pub(crate) trace: u64,
    pub(crate) tally: Tally,
    pub(crate) requests: usize,
    pub(crate) commands: usize,
    pub(crate) admitted: usize,
    pub(crate) simulated_ms: u64,
}

/// What is wrong with a house on purpose, for the watchers to find.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// One gateway hears nothing, and nobody counts that as a disturbance.
    DeafGateway,
}

/// Lives one life on this thread.
pub(crate) fn live(seed: u64) -> Result<Report, String> {
    live_with(seed, Flaw::None)
}

/// Lives one life of a house with a flaw.
pub(crate) fn live_with(seed: u64, flaw: Flaw) -> Result<Report, String> {
    let panics = tasks::panics();
    let report = alone(seed, async || {
        let house = House::new(seed);
        let life = Box::pin(lead(&house, flaw));
        match deadline(&house.clock, LIFE_MS, life).await {
            Some(report) => report,
            None => {
                house.broken("the life does not end".to_owned());
                house.watch.verdict().map(|_| unreachable!("it is broken"))
            }
        }
    });
    if tasks::panics() > panics && report.is_ok() {
        return Err("a task panicked, here or in a life beside this one".to_owned());
    }
    report
}

/// Plays on this thread alone, in simulated time; the seed decides all.
pub(crate) fn alone<T>(seed: u64, play: impl AsyncFnOnce() -> T) -> T {
    entropy::seed_this_thread(seed);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let local = tokio::task::LocalSet::new();
    let played = local.block_on(&runtime, play());
    drop(local);
    drop(runtime);
    played
}

async fn lead(house: &Rc<House>, flaw: Flaw) -> Result<Report, String> {
    let sent = Rc::new(RefCell::new(Vec::new()));
    found(house, &sent).await;
    if flaw == Flaw::DeafGateway {
        house.machines[0].bus.set_cut(Cut::Silent);
    }
    house.set_hostile(true);
    let tasks = Tasks::new("life");
    let storms = Tasks::new("storms");
    tasks.spawn_local("storms", chaos::rage(Rc::clone(house), storms.clone()));
    for _ in 0..PEOPLE {
        tasks.spawn_local("person", person(Rc::clone(house), Rc::clone(&sent)));
    }
    let requests = call(house).await;
    // They end by themselves.
    tasks.drain(&house.clock, LIFE_MS).await;
    storms.drain(&house.clock, LIFE_MS).await;
    chaos::heal(house).await;
    house.rest().await;
    let sent = sent.take();
    house.judge(&sent).await;
    for place in 0..GATEWAYS {
        house.end_gateway(place).await;
    }
    house.judge_ends().await;
    let commands = sent.len();
    let faults = house.tally.of_the_house();
    if commands < COMMANDS || requests < REQUESTS || faults < FAULTS {
        house.broken(format!("{commands} commands, {requests} requests, {faults} faults: too few"));
    }
    Ok(Report {
        trace: house.watch.verdict()?,
        tally: house.tally.clone(),
        requests,
        commands,
        admitted: house.books.borrow().requests.len(),
        simulated_ms: house.now_ms(),
    })
}

/// The first start: a friendly hour, but by the same ways.
async fn found(house: &Rc<House>, sent: &Rc<RefCell<Vec<Sent>>>) {
    found_platform(house, sent).await;
    for max_staleness_ms in STALENESS_MS {
        found_organisation(house, sent, max_staleness_ms).await;
    }
    for place in 0..GATEWAYS {
        chaos::start_gateway(house, place).await;
    }
    house.catch_up();
}

/// Control plane and projector, and what is the operator's to make.
pub(crate) async fn found_platform(house: &Rc<House>, sent: &Rc<RefCell<Vec<Sent>>>) {
    house.start_control().await;
    house.start_projector();
    let mut wishes = Vec::new();
    let plans = [(STANDARD, "standard", Allow::All), (NARROW, "narrow", Allow::All)];
    for (plan, name, models) in plans {
        let multiplier = Multiplier::default();
        let spec = PlanSpec { name: name.into(), models, multiplier };
        wishes.push(PlatformCommand::ChangePlan { plan, spec });
    }
    for (name, id) in PROVIDERS {
        let spec = Some(Box::new(provider(name, Vec::new(), false)));
        wishes.push(PlatformCommand::ChangeProvider { provider: *id, spec });
    }
    let models: [(&str, u64, bool, &[&str]); 4] = [
        ("cheap", 1, true, &["echo", "mirror"]),
        ("dear", 7, true, &["mirror"]),
        ("free", 1, false, &["echo"]),
        ("elsewhere", 2, true, &["nowhere"]),
    ];
    for (model, usd, priced, routes) in models {
        let spec = Some(Box::new(model_spec(usd, priced, routes)));
        wishes.push(PlatformCommand::PriceModel { model: model.into(), spec });
    }
    wishes.push(PlatformCommand::CreateToken {
        token: TokenId(entropy::id(house.clock.now())),
        name: "join".into(),
        secret: house.peppers.stored(&house.join_token),
        expires_at: None,
    });
    for command in wishes {
        let done = house.command(Wish::Platform(Box::new(command))).await;
        sent.borrow_mut().push(done);
    }
}

async fn found_organisation(
    house: &Rc<House>,
    sent: &Rc<RefCell<Vec<Sent>>>,
    max_staleness_ms: Option<u64>,
) {
    let now = house.clock.now();
    let org = OrgId(entropy::id(now));
    let prepaid = house.dice.happens(4_000);
    let wallet = if prepaid { WalletMode::Prepaid } else { WalletMode::Off };
    let settings = Settings { max_staleness_ms, wallet, ..Settings::default() };
    let none = PlanChoice::default();
    let standard = PlanChoice { allowed: None, default: Some(STANDARD) };
    let mut wishes = vec![
        Command::CreateOrg { name: "Organisation".into(), settings, plans: Some(none) },
        Command::ChangeOrg { name: None, settings: None, plans: Some(standard) },
    ]
    .into_iter()
    .map(|command| Wish::Plain { org, command: Box::new(command) })
    .collect::<Vec<_>>();
    let plain = |command| Wish::Plain { org, command: Box::new(command) };
    let project = ProjectId(entropy::id(now));
    let limits = limits::of_project(&house.dice);
    wishes.push(plain(Command::CreateProject { project, name: "first".into(), limits }));
    wishes.push(plain(limits::top_up(&house.dice, now)));
    for number in 0..KEYS {
        let name = format!("first-{number}").into();
        let limits = limits::of_key(&house.dice);
        let project = house.dice.happens(5_000).then_some(project);
        let draft = Box::new(KeyDraft { name, project, limits, ..KeyDraft::default() });
        wishes.push(Wish::Create { org, key: new_key(now), draft });
    }
    for wish in wishes {
        let done = house.command(wish).await;
        sent.borrow_mut().push(done);
    }
}

async fn person(house: Rc<House>, sent: Rc<RefCell<Vec<Sent>>>) {
    while sent.borrow().len() < COMMANDS && !house.watch.is_broken() {
        house.sleep(house.dice.below(PAUSE_MS)).await;
        house.catch_up();
        let Some(wish) = house.wish() else { continue };
        let done = house.command(wish).await;
        sent.borrow_mut().push(done);
    }
}

/// Calls gateways, whichever stand.
async fn call(house: &Rc<House>) -> usize {
    let mut requests = 0;
    while requests < REQUESTS && !house.watch.is_broken() {
        house.sleep(house.dice.below(BETWEEN_MS)).await;
        house.watch.look(house.now_ms());
        let place = house.dice.below(u64::try_from(GATEWAYS).unwrap());
        let machine = &house.machines[usize::try_from(place).unwrap()];
        if let Some(serving) = machine.serving() {
            requests += 1;
            request(house, serving).await;
        }
    }
    requests
}
