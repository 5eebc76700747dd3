//! The judgement at rest: invariant 4, effects of commands, and mirrors that are the fold of the
//! log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use turnpike_domain::id::{EpochId, KeyId, OrgId, RequestId};
use turnpike_domain::money::NanoUsd;
use turnpike_domain::spend::Source;
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::Clock as _;
use turnpike_store::kv::{Kv, Snapshot};
use turnpike_store::requests::{self, Search};
use turnpike_store::usage;
use turnpike_wire::spend::LogRow;

use crate::commands::Sent;
use crate::house::{GATEWAYS, House};
use crate::reference::{same_head, same_organisation};

/// How long the house may take to come to rest: what a projector has to win again, and what
/// gateways send again.
const REST_MS: u64 = 90_000;
const LOOK_MS: u64 = 500;
/// So soon after the last request nothing is held any more (invariant 5).
const FREE_MS: u64 = 10_000;
/// Behind both the longest wait of a gateway that could not ask: every mirror is complete.
const SETTLE_MS: u64 = 12_000;
/// Rows read at once.
const PAGE: usize = 1_000;

/// What the store says that was spent.
struct Booked {
    rows: Vec<(OrgId, LogRow)>,
    hours: BTreeMap<(OrgId, KeyId), (u64, NanoUsd)>,
    keys: BTreeMap<(OrgId, KeyId), (u64, NanoUsd)>,
}

impl House {
    /// Waits until all that was admitted is booked and every gateway has news.
    pub(crate) async fn rest(&self) {
        let from_ms = self.now_ms();
        while self.now_ms() < from_ms + REST_MS && !self.watch.is_broken() {
            self.sleep(LOOK_MS).await;
            let still = self.kv.on_their_way() == 0 && self.running_requests() == 0;
            // What a gateway held that is gone for ever is given up after its silence.
            let waits = self.folders_lost.get() && self.anything_held();
            if still && !waits && self.all_fresh() && self.all_booked().await {
                break;
            }
        }
        self.sleep(FREE_MS).await;
        self.judge_holds();
        self.probe().await;
        self.sleep(SETTLE_MS).await;
        self.judge_holds();
        self.note(format!("at rest after {} ms", self.now_ms() - from_ms));
    }

    fn running_requests(&self) -> usize {
        let open = self.machines.iter().filter_map(|machine| machine.serving());
        open.map(|serving| serving.lane.open_requests()).sum()
    }

    fn all_fresh(&self) -> bool {
        let mut serving = self.machines.iter().filter_map(|machine| machine.serving());
        serving.all(|serving| !serving.core.is_stale())
    }

    async fn all_booked(&self) -> bool {
        let booked: BTreeSet<RequestId> =
            self.booked().await.rows.iter().map(|(_, row)| row.record.request).collect();
        let books = self.books.borrow();
        let mut missing = books
            .requests
            .iter()
            .filter(|(id, served)| !served.may_be_missing() && !booked.contains(id));
        missing.next().is_none()
    }

    /// Judges everything but what needs gateways that have ended.
    pub(crate) async fn judge(&self, sent: &[Sent]) {
        self.catch_up();
        self.judge_commands(sent);
        let booked = self.booked().await;
        self.judge_rows(&booked);
        self.judge_sums(&booked);
        self.judge_money(&booked.rows);
        self.judge_mirrors();
    }

    /// Every command has happened once, or not at all, as its sender was told.
    fn judge_commands(&self, sent: &[Sent]) {
        let events = self.reference.borrow().events_of_commands();
        for command in sent {
            let found = events.get(&command.id).copied().unwrap_or(0);
            let right = match command.events {
                Some(told) => found == told,
                None => found == 0 || command.unsure,
            };
            if !right {
                let told = command.events;
                self.broken(format!("{} has {found} events, its sender {told:?}", command.id));
            }
        }
    }

    /// Each row stands for one admitted request, at what its gateway settled.
    fn judge_rows(&self, booked: &Booked) {
        let books = self.books.borrow();
        let (mut seen, mut apart, mut listed) = (BTreeSet::new(), 0_i128, 0_i128);
        for (org, row) in &booked.rows {
            let record = &row.record;
            let Some(served) = books.requests.get(&record.request) else {
                self.broken(format!("{} is booked and was never admitted", record.request));
                continue;
            };
            if !seen.insert(record.request) {
                self.broken(format!("{} is booked twice", record.request));
            }
            let whose = (served.org, served.key, served.epoch) == (*org, record.key, row.epoch);
            if !whose || !served.allows(record.cost, record.source) {
                let (cost, source) = (record.cost.0, record.source);
                let what = format!("{} is booked at {cost}, {source:?}", record.request);
                self.broken(format!("{what}, not {:?}", served.settled));
            }
            let difference = i128::from(record.cost.0) - i128::from(served.truth_cost().0);
            apart += difference;
            if record.source != Source::Provider || record.suspect {
                listed += difference;
            }
        }
        for (id, served) in &books.requests {
            if !seen.contains(id) && !served.may_be_missing() {
                self.broken(format!("{id} of {} is not booked", served.epoch));
            }
        }
        if apart != listed {
            self.broken(format!("books differ by {apart} from the provider's, {listed} listed"));
        }
        self.note(format!("{} rows, {listed} of estimates", booked.rows.len()));
    }

    /// Request log, hours and keys say the same of every key.
    fn judge_sums(&self, booked: &Booked) {
        let mut rows: BTreeMap<(OrgId, KeyId), (u64, NanoUsd)> = BTreeMap::new();
        for (org, row) in &booked.rows {
            add(rows.entry((*org, row.record.key)).or_default(), 1, row.record.cost);
        }
        if rows != booked.hours || rows != booked.keys {
            self.broken("request log, hours and keys do not add up to the same".to_owned());
        }
    }

    /// At rest a mirror's keys are those of the log's end.
    fn judge_mirrors(&self) {
        let reference = self.reference.borrow();
        let keys = |stream: &crate::reference::Stream| {
            let state = stream.states.last().unwrap();
            let two =
                |key: &Arc<turnpike_domain::state::Key>| 1 + usize::from(key.previous.is_some());
            state.keys.values().map(two).sum::<usize>()
        };
        let expected: usize = reference.orgs.values().map(keys).sum();
        for serving in self.machines.iter().filter_map(|machine| machine.serving()) {
            let place = serving.place;
            if serving.core.keys() != expected || serving.core.is_stale() {
                let (keys, stale) = (serving.core.keys(), serving.core.is_stale());
                self.broken(format!(
                    "at rest gateway {place} knows {keys} of {expected} secrets, stale: {stale}"
                ));
            }
            if !same_head(serving.core.platform().head, reference.latest_platform().head) {
                self.broken(format!("at rest gateway {place} is behind the platform"));
            }
        }
    }

    /// Every gateway has ended in order: so have its epochs, and its disk holds the log's end.
    pub(crate) async fn judge_ends(&self) {
        self.catch_up();
        let (snapshot, mut ended) = (self.snapshot().await, BTreeSet::new());
        let orgs: Vec<OrgId> = self.reference.borrow().orgs.keys().copied().collect();
        for org in &orgs {
            for epoch in usage::places(&*snapshot, *org).await.unwrap() {
                let forgotten = self.books.borrow().is_forgotten(epoch.epoch);
                if !epoch.place.ended && !forgotten {
                    self.broken(format!("{} of {org} is not ended", epoch.epoch));
                }
                ended.insert((*org, epoch.epoch));
            }
        }
        let books = self.books.borrow();
        let served = books.requests.values().filter(|served| !served.may_be_missing());
        let spent: BTreeSet<(OrgId, EpochId)> =
            served.map(|served| (served.org, served.epoch)).collect();
        if let Some((org, epoch)) = spent.difference(&ended).next() {
            self.broken(format!("{epoch} of {org} has no place"));
        }
        for place in 0..GATEWAYS {
            for state in self.machines[place].saved() {
                let turnpike_wire::snapshot::State::Organisation(saved) = state else { continue };
                let reference = self.reference.borrow();
                let latest = reference.organisation(saved.id);
                if !latest.is_some_and(|latest| same_organisation(latest, &saved)) {
                    self.broken(format!("gateway {place} ended behind {}", saved.id));
                }
            }
        }
    }

    async fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.kv.port().snapshot().await.unwrap()
    }

    async fn booked(&self) -> Booked {
        let snapshot = self.snapshot().await;
        let orgs: Vec<OrgId> = self.reference.borrow().orgs.keys().copied().collect();
        let mut booked = Booked { rows: Vec::new(), hours: BTreeMap::new(), keys: BTreeMap::new() };
        for org in orgs {
            let mut before = None;
            loop {
                let search = Search { before, ..Search::default() };
                let page = requests::newest(&*snapshot, org, &search, PAGE).await.unwrap();
                before = page.last().map(|row| row.record.request);
                let full = page.len() == PAGE;
                booked.rows.extend(page.into_iter().map(|row| (org, row)));
                if !full {
                    break;
                }
            }
            let until = Timestamp(self.clock.now().0 * 2);
            for hour in usage::hours(&*snapshot, org, Timestamp(0), until).await.unwrap() {
                let sum = booked.hours.entry((org, hour.key)).or_default();
                add(sum, hour.total.requests, hour.total.cost);
            }
            for (key, total) in usage::keys(&*snapshot, org).await.unwrap() {
                add(booked.keys.entry((org, key)).or_default(), total.requests, total.cost);
            }
        }
        booked
    }
}

fn add(sum: &mut (u64, NanoUsd), requests: u64, cost: NanoUsd) {
    sum.0 += requests;
    sum.1 = sum.1.plus(cost);
}
