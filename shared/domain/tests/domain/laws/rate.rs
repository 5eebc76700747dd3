//! Laws of rates: gateways, an authority that may be replaced, and a network between them that
//! loses, delays, repeats and reorders; every use is written down, and judged by a slow count.

use std::collections::BTreeMap;

use proptest::prelude::*;
use turnpike_domain::id::{EpochId, GatewayId, KeyId};
use turnpike_domain::limit::Account;
use turnpike_domain::rate::{
    Amount, Answer, Ask, Grant, Heard, Hearing, Permits, Rate, Rates, Report, WINDOW_MS,
};

use crate::arbitrary::cases;

const ACCOUNT: Account = Account::Key(KeyId(1));
const TICK_MS: u64 = 50;
const MINUTE: u64 = 60_000;
/// After so long without an answer a gateway stops waiting, as the real one does.
const CALL_MS: u64 = 900;
const CLOSED_MS: u64 = 1_000;

/// Random numbers that a seed repeats (Marsaglia's xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }
}

enum Message {
    Ask(usize, Ask),
    Answer(usize, u64, u64, Answer),
    Report(usize, Report),
    Recall(usize),
}

#[derive(Default)]
struct Gateway {
    permits: Permits,
    live: Option<(Grant, Amount)>,
    /// Since when an ask is on its way.
    asked_ms: Option<u64>,
    /// Nothing is asked before, because it was refused.
    closed_ms: u64,
    waiting: u64,
    cut: bool,
    served: u64,
}

/// How a life goes.
#[derive(Clone, Copy)]
struct Plan {
    rate: Rate,
    gateways: usize,
    minutes: u64,
    /// Requests that come to each gateway in a thousand ticks.
    demand: u64,
    tokens: u64,
    /// A message in so many is lost, and one comes twice; 0: none.
    trouble: u64,
}

struct Life {
    plan: Plan,
    chance: Chance,
    now_ms: u64,
    gateways: Vec<Gateway>,
    authority: Option<Rates>,
    fence: u64,
    network: BTreeMap<(u64, u64), Message>,
    sent: u64,
    uses: Vec<u64>,
}

impl Life {
    fn new(plan: Plan, seed: u64) -> Self {
        let gateways = (0..plan.gateways).map(|_| Gateway::default()).collect();
        Self {
            plan,
            chance: Chance(seed | 1),
            now_ms: 1_000_000,
            gateways,
            authority: Some(Rates::new(0)),
            fence: 1,
            network: BTreeMap::new(),
            sent: 0,
            uses: Vec::new(),
        }
    }

    fn run(&mut self, until: impl Fn(u64) -> bool) {
        while !until(self.now_ms) {
            self.now_ms += TICK_MS;
            for number in 0..self.gateways.len() {
                self.arrive(number);
            }
            while let Some(first) = self.network.first_entry().filter(|e| e.key().0 <= self.now_ms)
            {
                let message = first.remove();
                self.deliver(message);
            }
        }
    }

    fn minutes(&mut self, minutes: u64) {
        let end = self.now_ms + minutes * MINUTE;
        self.run(|now_ms| now_ms >= end);
    }

    /// Requests come to a gateway, are let pass if a permit is here, and else wait.
    fn arrive(&mut self, number: usize) {
        let come = self.plan.demand / 1_000
            + u64::from(self.chance.below(1_000) < self.plan.demand % 1_000);
        let (now_ms, plan) = (self.now_ms, self.plan);
        let gateway = &mut self.gateways[number];
        gateway.close_batch(now_ms);
        gateway.waiting += come;
        self.let_pass(number);
        let gateway = &mut self.gateways[number];
        if gateway.asked_ms.is_some_and(|asked_ms| now_ms - asked_ms >= CALL_MS) {
            gateway.asked_ms = None;
            gateway.permits.give_up();
            self.live_alone(number);
        }
        let gateway = &mut self.gateways[number];
        if now_ms < gateway.closed_ms {
            gateway.waiting = 0;
        }
        if gateway.waiting > 0 && gateway.asked_ms.is_none() {
            let least = plan.rate.permitted(plan.tokens);
            let waiting = gateway.waiting;
            let wanted = Amount { requests: waiting, tokens: waiting * least };
            let left = gateway.live.map(|(_, left)| left).unwrap_or_default();
            let wanted = wanted.plus(gateway.permits.ahead(left, now_ms)).min(plan.rate.cap());
            let ask = gateway.permits.ask(plan.rate, wanted, Some(plan.tokens), now_ms);
            gateway.asked_ms = Some(now_ms);
            self.send(number, Message::Ask(number, ask));
        }
    }

    fn let_pass(&mut self, number: usize) {
        let least = self.plan.rate.permitted(self.plan.tokens);
        let one = Amount { requests: 1, tokens: least };
        let gateway = &mut self.gateways[number];
        while let Some((_, left)) = gateway.live.as_mut()
            && gateway.waiting > 0
            && left.holds(one)
        {
            *left = left.minus(one);
            gateway.waiting -= 1;
            gateway.served += 1;
            self.uses.push(self.now_ms);
        }
    }

    fn live_alone(&mut self, number: usize) {
        let gateways = u32::try_from(self.plan.gateways).unwrap();
        let (now_ms, rate) = (self.now_ms, self.plan.rate);
        let gateway = &mut self.gateways[number];
        gateway.replace(None);
        let least = rate.permitted(self.plan.tokens);
        let wanted = Amount { requests: gateway.waiting, tokens: gateway.waiting * least };
        let grant = gateway.permits.fall_back(rate, gateways, wanted, now_ms);
        gateway.replace(grant);
        self.let_pass(number);
        self.gateways[number].waiting = 0;
    }

    fn send(&mut self, number: usize, message: Message) {
        let trouble = self.plan.trouble;
        let lost = self.gateways[number].cut || (trouble > 0 && self.chance.one_in(trouble));
        if lost {
            return;
        }
        let late = trouble > 0 && self.chance.one_in(trouble);
        let delay_ms = self.chance.below(if late { 3_000 } else { 40 });
        self.sent += 1;
        if trouble > 0 && self.chance.one_in(trouble) {
            let again = match &message {
                Message::Ask(number, ask) => Message::Ask(*number, ask.clone()),
                Message::Answer(number, fence, batch, answer) => {
                    Message::Answer(*number, *fence, *batch, *answer)
                }
                Message::Report(number, report) => Message::Report(*number, report.clone()),
                Message::Recall(number) => Message::Recall(*number),
            };
            let again_ms = self.now_ms + self.chance.below(90_000);
            self.network.insert((again_ms, self.sent), again);
            self.sent += 1;
        }
        self.network.insert((self.now_ms + delay_ms, self.sent), message);
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Ask(number, ask) => {
                let all = self.all();
                let hearing = self.hearing(number, &all);
                let Some(rates) = &mut self.authority else { return };
                let answer = rates.ask(hearing, ACCOUNT, &ask);
                self.send(number, Message::Answer(number, self.fence, ask.batch, answer));
                if matches!(answer, Answer::Gathering { .. }) {
                    (0..all.len()).for_each(|other| self.send(other, Message::Recall(other)));
                }
            }
            Message::Report(number, report) => {
                let all = self.all();
                let hearing = self.hearing(number, &all);
                if let Some(rates) = &mut self.authority {
                    assert!(rates.report(hearing, &report), "it has one part");
                }
            }
            Message::Recall(number) => {
                let used = self.gateways[number].permits.report(self.now_ms);
                let report = Report { part: 0, last: true, used: vec![(ACCOUNT, used)] };
                self.send(number, Message::Report(number, report));
            }
            Message::Answer(number, fence, batch, answer) => {
                self.answered(number, fence, batch, answer);
            }
        }
    }

    fn answered(&mut self, number: usize, fence: u64, batch: u64, answer: Answer) {
        let now_ms = self.now_ms;
        let gateway = &mut self.gateways[number];
        let amount = match answer {
            Answer::Permitted { amount, .. } => amount,
            Answer::Gathering { .. } => Amount::NONE,
        };
        let heard = gateway.permits.hear(fence, batch, amount, now_ms);
        if heard != Heard::Stale {
            gateway.asked_ms = None;
        }
        match (heard, answer) {
            (Heard::Granted(grant), _) => {
                gateway.replace(Some(grant));
                self.let_pass(number);
            }
            (Heard::Nothing, Answer::Gathering { .. }) => self.live_alone(number),
            (Heard::Nothing, Answer::Permitted { retry_after_ms: Some(wait_ms), .. }) => {
                gateway.waiting = 0;
                gateway.closed_ms = now_ms + wait_ms.min(CLOSED_MS);
            }
            (Heard::Nothing | Heard::Stale, _) => {}
        }
    }

    fn all(&self) -> Vec<GatewayId> {
        (0..self.gateways.len()).map(id).collect()
    }

    fn hearing<'a>(&self, number: usize, others: &'a [GatewayId]) -> Hearing<'a> {
        Hearing { who: (id(number), EpochId(1)), now_ms: self.now_ms, others }
    }

    /// The owner dies; its successor begins after a while.
    fn replace_authority(&mut self, after_ms: u64) {
        self.authority = None;
        let end = self.now_ms + after_ms;
        self.run(|now_ms| now_ms >= end);
        self.authority = Some(Rates::new(self.now_ms));
        self.fence += 1;
    }

    /// The most uses in any 60 seconds.
    fn most(&self) -> usize {
        let mut first = 0;
        let mut most = 0;
        for (place, used_ms) in self.uses.iter().enumerate() {
            while self.uses[first] + WINDOW_MS <= *used_ms {
                first += 1;
            }
            most = most.max(place - first + 1);
        }
        most
    }
}

impl Gateway {
    fn close_batch(&mut self, now_ms: u64) {
        if self.live.is_some_and(|(grant, _)| now_ms >= grant.ends_ms) {
            self.replace(None);
        }
    }

    fn replace(&mut self, grant: Option<Grant>) {
        if let Some((old, left)) = self.live.take() {
            let tokens = i64::try_from(left.tokens).unwrap();
            self.permits.unused(old.batch, left.requests, tokens);
        }
        self.live = grant.map(|grant| (grant, grant.amount));
    }
}

fn id(number: usize) -> GatewayId {
    GatewayId(u128::try_from(number).unwrap() + 1)
}

fn rate(requests: u32) -> Rate {
    Rate { requests: Some(requests), tokens: None, seq: 1 }
}

/// 600 a minute on five gateways, each with ten times as much to do.
const BUSY: Plan = Plan {
    rate: Rate { requests: Some(600), tokens: None, seq: 1 },
    gateways: 5,
    minutes: 60,
    demand: 1_000,
    tokens: 0,
    trouble: 0,
};

#[test]
fn an_hour_at_600_a_minute_on_five_gateways_never_passes_it() {
    let mut life = Life::new(BUSY, 1);
    life.minutes(BUSY.minutes);
    assert!(life.most() <= 600, "{}", life.most());
    // A permit counts for a second longer than the window.
    assert!(life.uses.len() > 600 * 58, "{} were served", life.uses.len());
    let least = life.gateways.iter().map(|one| one.served).min().unwrap();
    assert!(least > 600 * 6, "{least}");
}

#[test]
fn a_rate_that_suffices_refuses_nobody() {
    // 5 gateways with 1.6 requests a second each: 480 a minute.
    let plan = Plan { demand: 80, minutes: 20, ..BUSY };
    let mut life = Life::new(plan, 3);
    life.minutes(plan.minutes);
    assert!(life.gateways.iter().all(|one| one.closed_ms == 0), "nobody was refused");
    assert!(life.uses.len() > 480 * 19, "{}", life.uses.len());
}

#[test]
fn gateways_that_are_cut_off_have_their_share_each() {
    for cut in [1, 2, 4, 5] {
        let mut life = Life::new(BUSY, 5);
        life.minutes(3);
        life.gateways.iter_mut().take(cut).for_each(|gateway| gateway.cut = true);
        life.minutes(3);
        let alone: u64 = life.gateways.iter().take(cut).map(|gateway| gateway.served).sum();
        life.gateways.iter_mut().for_each(|gateway| gateway.cut = false);
        life.minutes(3);
        assert!(life.most() <= 600 + cut * 120, "{cut} cut off: {}", life.most());
        assert!(alone > 0);
        let healed = life.uses.iter().position(|used| *used > 1_000_000 + 8 * MINUTE).unwrap();
        life.uses.drain(..healed);
        assert!(life.most() <= 600, "two minutes after healing: {}", life.most());
    }
}

#[test]
fn a_dead_owner_counts_as_all_gateways_cut_off_until_its_successor_knows_all() {
    let mut life = Life::new(BUSY, 7);
    life.minutes(2);
    life.replace_authority(7_000);
    life.minutes(1);
    life.replace_authority(70_000);
    life.minutes(3);
    assert!(life.most() <= 2 * 600, "{}", life.most());
    // After the last owner has taken over, and what was used without one has passed.
    let start = life.now_ms - MINUTE - 50_000;
    let healed = life.uses.iter().position(|used| *used > start).unwrap();
    life.uses.drain(..healed);
    assert!(life.most() <= 600 && life.uses.len() > 600, "{}", life.most());
}

#[test]
fn an_owner_that_is_replaced_at_once_lets_nobody_pass_twice() {
    let mut life = Life::new(BUSY, 9);
    life.minutes(2);
    // Nobody notices a gap: no call times out, so no gateway lives on its share before the reports.
    life.authority = Some(Rates::new(life.now_ms));
    life.fence += 1;
    let before = life.uses.len();
    life.minutes(3);
    let beyond = life.most().saturating_sub(600);
    // While reports are gathered a gateway lives on its share.
    assert!(beyond <= 600 && life.uses.len() > before + 600, "{beyond}");
}

#[test]
fn three_a_minute_on_fifty_gateways_go_round() {
    let plan =
        Plan { rate: rate(3), gateways: 50, minutes: 60, demand: 1_000, tokens: 0, trouble: 0 };
    let mut life = Life::new(plan, 11);
    life.minutes(plan.minutes);
    assert_eq!(life.most(), 3);
    let idle = life.uses.windows(4).map(|four| four[3] - four[0]).max().unwrap() - WINDOW_MS;
    assert!(idle <= 61_000, "a permit was idle for {idle} ms while somebody waited");
    let served = life.gateways.iter().map(|one| one.served);
    let (least, most) = (served.clone().min().unwrap(), served.max().unwrap());
    assert!(least >= 3 && most - least <= 1, "the longest waiter first: {least} to {most}");
}

#[test]
fn tokens_a_minute_are_permitted_and_what_was_not_used_comes_back() {
    let rate = Rate { requests: None, tokens: Some(60_000), seq: 1 };
    let plan = Plan { rate, tokens: 500, minutes: 10, ..BUSY };
    let mut life = Life::new(plan, 13);
    life.minutes(plan.minutes);
    assert!(life.most() <= 120, "{}", life.most());
    assert!(life.uses.len() > 120 * 8, "{}", life.uses.len());
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn no_sixty_seconds_pass_the_rate_whatever_the_network_does(
        seed in any::<u64>(),
        requests in 1_u32..200,
        gateways in 1_usize..8,
        demand in 1_u64..2_000,
        trouble in 3_u64..30,
        cut in 0_usize..8,
    ) {
        let plan = Plan { rate: rate(requests), gateways, minutes: 4, demand, tokens: 0, trouble };
        let mut life = Life::new(plan, seed);
        life.minutes(2);
        life.gateways.iter_mut().take(cut).for_each(|gateway| gateway.cut = true);
        life.minutes(1);
        life.gateways.iter_mut().for_each(|gateway| gateway.cut = false);
        life.minutes(1);
        // A lost or late answer is the same as being cut off for a moment.
        let share = usize::try_from(requests).unwrap() / gateways;
        let bound = usize::try_from(requests).unwrap() + gateways * share;
        prop_assert!(life.most() <= bound, "{} over {}", life.most(), bound);
    }

    #[test]
    fn without_shares_no_sixty_seconds_pass_the_rate_at_all(
        seed in any::<u64>(),
        gateways in 5_usize..9,
        demand in 1_u64..2_000,
        trouble in 3_u64..30,
        after_ms in 2_000_u64..20_000,
    ) {
        // Fewer requests than gateways: nobody has a share.
        let plan = Plan { rate: rate(4), gateways, minutes: 4, demand, tokens: 0, trouble };
        let mut life = Life::new(plan, seed);
        life.minutes(2);
        life.replace_authority(after_ms);
        life.minutes(2);
        prop_assert!(life.most() <= 4, "{}", life.most());
    }
}
