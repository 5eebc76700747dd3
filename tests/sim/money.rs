//! Money and tokens: what each admission may rest on, and what must add up at rest (invariants 1
//! to 5 and 7 of money.md).

use std::collections::{BTreeMap, BTreeSet};

use turnpike_domain::event::Event;
use turnpike_domain::id::{KeyId, LeaseId, OrgId, ProjectId};
use turnpike_domain::ledger::Due;
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::state::{Key, Organisation, WalletMode};
use turnpike_domain::time::{Reset, Timestamp, Window};
use turnpike_gateway::core::Entry;
use turnpike_runtime::clock::Clock as _;
use turnpike_wire::spend::LogRow;

use crate::accounts::{Books, On, UNITS};
use crate::house::{House, Serving};
use crate::reference::Stream;

/// How far a gateway's time and the authority's may be apart while nobody steps their days.
const APART_MS: u64 = 5_000;

/// The accounts of a key's path with their caps and policies, as a reader of money.md lists them.
pub(crate) fn levels(
    organisation: &Organisation,
    key: &Key,
) -> Vec<(Account, [Option<i64>; 2], Reset)> {
    let caps = |limits: &turnpike_domain::limit::Limits| UNITS.map(|unit| limits.cap(unit));
    let limits = &key.profile.limits;
    let mut levels = vec![(Account::Key(key.id), caps(limits), limits.reset)];
    let project = key.profile.project;
    if let Some((id, project)) = project.and_then(|id| Some((id, organisation.projects.get(&id)?)))
    {
        levels.push((Account::Project(id), caps(&project.limits), project.limits.reset));
    }
    let wallet = match organisation.settings.wallet {
        WalletMode::Off => None,
        WalletMode::Prepaid => Some(organisation.wallet.topped_up.0),
    };
    levels.push((Account::Wallet, [wallet, None], Reset::None));
    levels
}

impl House {
    /// A request was admitted: on a lease of its own path wherever a cap stands, and within what
    /// its gateway was granted.
    pub(crate) fn check_lease(
        &self,
        serving: &Serving,
        entry: &Entry,
        (lease, bounds): (Option<LeaseId>, [i64; 2]),
        asked: [Timestamp; 2],
    ) {
        let place = serving.place;
        let levels = levels(&entry.org.organisation, &entry.key);
        let mut books = self.watch.accounts.books();
        for (at, unit) in UNITS.into_iter().enumerate() {
            let capped = levels.iter().any(|(_, caps, _)| caps[at].is_some());
            let stands = lease.is_some_and(|lease| books.stands(lease, unit));
            if capped && bounds[at] > 0 && !stands {
                let what = format!("gateway {place} admits {} without a lease", entry.key.id);
                self.broken(format!("{what} in {unit:?}"));
            }
        }
        if let Some(lease) = lease {
            let path = books.paths.get(&lease).cloned().unwrap_or_default();
            if !self.is_path(entry, &path, asked) {
                let what = format!("gateway {place} admits {} on {path:?}", entry.key.id);
                self.broken(format!("{what}: the lease has outlived its path"));
            }
            books.reserve(lease, bounds);
        }
        drop(books);
        self.watch.look(self.now_ms());
    }

    /// Whether the key's requests are counted on these accounts by what its gateway knows, or by
    /// what has become of the organisation since: the authority may know more.
    fn is_path(&self, entry: &Entry, path: &[(Account, Window)], asked: [Timestamp; 2]) -> bool {
        self.catch_up();
        let is_of = |organisation: &Organisation, key: &Key| {
            let levels = levels(organisation, key);
            path.len() == levels.len()
                && path.iter().zip(&levels).all(|((account, window), (on, _, reset))| {
                    let is_now = |at| holds(*reset, *window, at);
                    // The authority names the window; a gateway that has just begun may be behind.
                    let known = self.days_stepped.get()
                        || asked.into_iter().any(is_now)
                        || is_now(self.clock.now());
                    account == on && known
                })
        };
        let view = &entry.org.organisation;
        let reference = self.reference.borrow();
        let since = usize::try_from(view.head.seq).unwrap();
        let later = reference.orgs.get(&view.id).and_then(|stream| stream.states.get(since..));
        let is_of_later = |state: &Organisation| {
            state.keys.get(&entry.key.id).is_some_and(|key| is_of(state, key))
        };
        is_of(view, &entry.key) || later.into_iter().flatten().any(is_of_later)
    }

    /// Whether anything is held.
    pub(crate) fn anything_held(&self) -> bool {
        self.watch.accounts.books().rows.values().any(|row| row.held != 0)
    }

    /// Invariant 5: nothing runs, nobody is cut off, so nothing is held; and what was lost has an
    /// owner that is gone.
    pub(crate) fn judge_holds(&self) {
        let gone = self.folders_lost.get();
        for (on, row) in &self.watch.accounts.books().rows {
            if row.held != 0 || (row.lost != 0 && !gone) {
                self.broken(format!("at rest {on:?} holds {} and {} lost", row.held, row.lost));
            }
        }
    }

    /// Invariants 3, 4 and 7.
    pub(crate) fn judge_money(&self, rows: &[(OrgId, LogRow)]) {
        self.watch.look(self.now_ms());
        let accounts = self.watch.accounts.books();
        self.judge_settled(&accounts, rows);
        self.judge_truth(&accounts);
        self.judge_thresholds(&accounts);
    }

    /// Every account has settled what its requests have cost, to the nano-USD and the token.
    fn judge_settled(&self, accounts: &Books, rows: &[(OrgId, LogRow)]) {
        let reference = self.reference.borrow();
        let (mut sums, mut unsure) = (BTreeMap::new(), BTreeSet::new());
        for (org, row) in rows {
            let record = &row.record;
            let amounts = [record.cost.0, i64::try_from(record.usage.tokens()).unwrap()];
            let leased = record.lease.and_then(|lease| accounts.paths.get(&lease));
            let mut path = vec![Account::Key(record.key), Account::Wallet];
            if let Some(leased) = leased {
                path = leased.iter().map(|(account, _)| *account).collect();
            } else {
                let projects = projects(&reference.orgs[org], record.key);
                match projects[..] {
                    [Some(project)] => path.push(Account::Project(project)),
                    _ => unsure.extend(projects.into_iter().flatten().map(Account::Project)),
                }
            }
            for account in path {
                for (unit, amount) in UNITS.into_iter().zip(amounts) {
                    *sums.entry((*org, account, unit)).or_insert(0) += amount;
                }
            }
        }
        let mut settled: BTreeMap<(OrgId, Account, Unit), i64> = BTreeMap::new();
        for ((org, account, unit, _), row) in &accounts.rows {
            *settled.entry((*org, *account, *unit)).or_default() += row.settled;
        }
        let all: BTreeSet<_> = sums.keys().chain(settled.keys()).copied().collect();
        for on in all.into_iter().filter(|(_, account, _)| !unsure.contains(account)) {
            let sum = sums.get(&on).copied().unwrap_or(0);
            let settled = settled.get(&on).copied().unwrap_or(0);
            if sum != settled {
                self.broken(format!("{on:?} has settled {settled}, its requests cost {sum}"));
            }
        }
    }

    /// What the provider served on an account is within its caps, but for requests that cost more
    /// than they had reserved, and for what somebody has released at the risk that it was spent.
    fn judge_truth(&self, accounts: &Books) {
        let mut served: BTreeMap<On, (i64, i64)> = BTreeMap::new();
        for request in self.books.borrow().requests.values() {
            let Some(path) = request.lease.and_then(|lease| accounts.paths.get(&lease)) else {
                continue;
            };
            let granted = |unit: &(usize, Unit)| {
                request.lease.is_some_and(|lease| accounts.granted.contains(&(lease, unit.1)))
            };
            for (account, window) in path {
                for (at, unit) in UNITS.into_iter().enumerate().filter(granted) {
                    let on = (request.org, *account, unit, *window);
                    let (truth, over) = served.entry(on).or_default();
                    *truth += request.truth[at];
                    *over += (request.truth[at] - request.bounds[at]).max(0);
                }
            }
        }
        for (on, (truth, over)) in served {
            let most = accounts.most.get(&on).copied().unwrap_or(0);
            let (org, account, unit, _) = on;
            let released = accounts.released.get(&on).copied().unwrap_or(0);
            let capped = accounts.caps.get(&(org, account, unit)).copied().flatten().is_some();
            if capped && truth > most + over + released {
                let what = format!("{on:?} was served {truth}, its caps allowed {most} + {over}");
                self.broken(format!("{what}, and {released} were released by hand"));
            }
        }
    }

    /// Each threshold is told once, and each that was crossed is told.
    fn judge_thresholds(&self, accounts: &Books) {
        // A window that has not begun by the authority's day waits for that.
        let projectors = self.projectors.borrow();
        let begun = |due: &Due| {
            projectors.iter().all(|(_, projector)| due.window.has_begun(projector.clock.now()))
        };
        if let Some(due) = accounts.dues.iter().find(|(_, due)| begun(due)) {
            self.broken(format!("at rest {due:?} is not told"));
        }
        let reference = self.reference.borrow();
        let mut told = BTreeSet::new();
        for record in &reference.log {
            let Some(what) = threshold(&record.event) else { continue };
            if !told.insert((record.org, what)) {
                self.broken(format!("{} was told {what:?} twice", record.org));
            }
        }
        for ((org, account, unit, window), row) in &accounts.rows {
            let Some(state) = reference.organisation(*org) else { continue };
            let Some(cap) = state.caps.get(&(*account, *unit)) else { continue };
            let Some(amount) = cap.amount.filter(|amount| row.settled >= *amount) else { continue };
            let ours = cap.reset.names(*window);
            let newest = accounts.rows.range(
                (*org, *account, *unit, *window)..=(*org, *account, *unit, Window(u64::MAX)),
            );
            if !ours || newest.count() > 1 {
                continue;
            }
            let (account, unit, window, revision) = (*account, *unit, *window, cap.revision);
            let due = Due { account, unit, window, revision, percent: None };
            let waits = accounts.dues.contains(&(*org, due));
            if !waits && !told.contains(&(*org, (account, unit, window, revision, None))) {
                let what = format!("{account:?} of {org} has settled {} of {amount}", row.settled);
                self.broken(format!("{what} {unit:?} in {window:?} and nobody was told"));
            }
        }
    }
}

/// The threshold that an event tells.
fn threshold(event: &Event) -> Option<(Account, Unit, Window, u64, Option<u8>)> {
    if let Event::QuotaHit { account, unit, window, revision, .. } = event {
        Some((*account, *unit, *window, *revision, None))
    } else if let Event::WalletExhausted { revision } = event {
        Some((Account::Wallet, Unit::Usd, Window::default(), *revision, None))
    } else if let Event::AlertRaised { account, unit, window, revision, percent, .. } = event {
        Some((*account, *unit, *window, *revision, Some(*percent)))
    } else {
        None
    }
}

/// Whether the window is the one of the policy, now or a moment ago or ahead.
fn holds(reset: Reset, window: Window, now: Timestamp) -> bool {
    let apart = [Timestamp(now.0 - APART_MS), now, now.plus_ms(APART_MS)];
    apart.into_iter().any(|at| reset.window(at) == window)
}

/// Every project that a key was ever in; `None` among them: it was in none, or is gone.
fn projects(stream: &Stream, key: KeyId) -> Vec<Option<ProjectId>> {
    let states = stream.keys.get(&key).into_iter().flat_map(BTreeMap::values);
    let of = |key: &Option<std::sync::Arc<Key>>| key.as_ref().and_then(|key| key.profile.project);
    let projects: BTreeSet<Option<ProjectId>> = states.map(of).collect();
    projects.into_iter().collect()
}
