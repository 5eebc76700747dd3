//! Rates: what was admitted in any 60 seconds of every limited key and project (invariant 6 of
//! money.md), in requests and in tokens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use turnpike_domain::id::{EpochId, OrgId, RequestId};
use turnpike_domain::limit::{Account, Limits};
use turnpike_domain::rate::Rate;
use turnpike_domain::settle::Reservation;
use turnpike_domain::state::Organisation;
use turnpike_domain::time::MINUTE_MS;
use turnpike_gateway::core::Entry;

use crate::house::{House, Serving};

/// How long a rate that was changed may still be met: a batch lives for a second, and a gateway
/// that is cut off knows the old rate as long as it lives on its share of it.
const CHANGE_MS: u64 = 2 * MINUTE_MS;

/// What was admitted under rates.
#[derive(Default)]
pub(crate) struct Paces {
    accounts: BTreeMap<(OrgId, Account), Pace>,
    /// What each run has let pass by its share so far.
    shares: BTreeMap<EpochId, u64>,
    /// The sum of these at times, the oldest in the last minute after `before`.
    sums: VecDeque<(u64, u64)>,
    before: u64,
}

/// One account's.
#[derive(Default)]
struct Pace {
    /// Up to which event its rates are known.
    seq: usize,
    /// Rates, and until when they were seen to stand; `None`: without one.
    rates: VecDeque<(u64, Option<Rate>)>,
    admitted: VecDeque<Admitted>,
}

struct Admitted {
    at_ms: u64,
    run: EpochId,
    request: RequestId,
    permitted_tokens: u64,
}

/// The limits of an account, if it is there and has any.
fn limits(organisation: &Organisation, account: Account) -> Option<&Limits> {
    match account {
        Account::Key(id) => Some(&organisation.keys.get(&id)?.profile.limits),
        Account::Project(id) => Some(&organisation.projects.get(&id)?.limits),
        Account::Wallet | Account::Ephemeral(_) => None,
    }
}

fn rate(organisation: &Organisation, account: Account) -> Option<Rate> {
    limits(organisation, account).and_then(|limits| Rate::of(limits, 0))
}

impl House {
    /// A request was admitted: within the rates of its key and its project, but for what gateways
    /// may let pass by their shares while nobody answers them.
    pub(crate) fn check_rates(
        &self,
        serving: &Serving,
        entry: &Entry,
        request: RequestId,
        reservation: &Reservation,
    ) {
        let project = entry.key.profile.project.map(Account::Project);
        let path = [Some(Account::Key(entry.key.id)), project].into_iter().flatten();
        let known = |account: &Account| rate(&entry.org.organisation, *account);
        let own = |account: &Account| match account {
            Account::Key(_) => Rate::of(&entry.key.profile.limits, 0),
            Account::Project(_) | Account::Wallet | Account::Ephemeral(_) => known(account),
        };
        for (account, rate) in path.filter_map(|account| Some((account, own(&account)?))) {
            let tokens = reservation.input.saturating_add(reservation.output);
            let admitted = Admitted {
                at_ms: self.now_ms(),
                run: serving.lane.epoch_id(),
                request,
                permitted_tokens: rate.permitted(tokens),
            };
            self.check_pace(serving, (entry.org_id(), account), rate, admitted);
        }
    }

    fn check_pace(&self, serving: &Serving, on: (OrgId, Account), rate: Rate, admitted: Admitted) {
        let now_ms = admitted.at_ms;
        let mut books = self.books.borrow_mut();
        let by_share = books.paces.shared(admitted.run, serving.permits.by_share(), now_ms);
        let pace = books.paces.accounts.entry(on).or_default();
        self.note_rates(pace, on, rate, now_ms);
        pace.admitted.push_back(admitted);
        while pace.admitted.pop_front_if(|one| one.at_ms + MINUTE_MS <= now_ms).is_some() {}
        let pace = &books.paces.accounts[&on];
        let runs = pace.admitted.iter().map(|one| one.run).collect::<BTreeSet<_>>().len();
        let runs = u64::try_from(runs).unwrap();
        if let Some(most) = pace.most(|rate| rate.requests.map(u64::from)) {
            let count = u64::try_from(pace.admitted.len()).unwrap();
            let allowed = most + by_share.min(runs * most);
            if count > allowed {
                let what =
                    format!("{:?} has {count} requests in a minute, {allowed} at most", on.1);
                self.broken(format!("{what}: {most} by its rate, {by_share} by shares"));
            }
        }
        if let Some(most) = pace.most(|rate| rate.tokens) {
            let (mut count, mut over) = (0, 0);
            for one in &pace.admitted {
                let settled = books.requests.get(&one.request).and_then(|one| one.settled);
                let used = settled.map_or(one.permitted_tokens, |one| one.usage.tokens());
                count += used;
                over += used.saturating_sub(one.permitted_tokens);
            }
            let allowed = most + over + if by_share > 0 { runs * most } else { 0 };
            if count > allowed {
                let what = format!("{:?} has {count} tokens in a minute, {allowed} at most", on.1);
                self.broken(format!("{what}: {most} by its rate, {over} over their permits"));
            }
        }
    }

    /// Every rate that somebody may still go by: the gateway's, and those that have come since.
    fn note_rates(
        &self,
        pace: &mut Pace,
        (org, account): (OrgId, Account),
        own: Rate,
        now_ms: u64,
    ) {
        let reference = self.reference.borrow();
        let states = reference.orgs.get(&org).map_or(&[][..], |stream| &stream.states);
        let new = states.iter().skip(pace.seq).map(|state| rate(state, account));
        let new: Vec<Option<Rate>> = new.chain([Some(own)]).collect();
        pace.seq = states.len();
        for rate in new {
            match pace.rates.back_mut() {
                Some((until_ms, last)) if *last == rate => *until_ms = now_ms,
                Some(_) | None => pace.rates.push_back((now_ms, rate)),
            }
        }
        while pace.rates.pop_front_if(|(until_ms, _)| *until_ms + CHANGE_MS <= now_ms).is_some() {}
    }
}

impl Paces {
    /// Notes what a run has let pass by its share; how much all runs have in the last minute.
    fn shared(&mut self, run: EpochId, so_far: u64, now_ms: u64) -> u64 {
        self.shares.insert(run, so_far);
        let sum = self.shares.values().sum();
        self.sums.push_back((now_ms, sum));
        // A share lives for a second.
        let is_past = |(at_ms, _): &mut (u64, u64)| *at_ms + MINUTE_MS + 1_000 <= now_ms;
        while let Some((_, sum)) = self.sums.pop_front_if(is_past) {
            self.before = sum;
        }
        sum - self.before
    }
}

impl Pace {
    /// The greatest limit that stood lately; `None`: there was a time without one.
    fn most(&self, limit: impl Fn(&Rate) -> Option<u64>) -> Option<u64> {
        let limits = self.rates.iter().map(|(_, rate)| limit(rate.as_ref()?));
        limits.collect::<Option<Vec<u64>>>()?.into_iter().max()
    }
}
