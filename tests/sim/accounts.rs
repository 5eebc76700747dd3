//! The accounts as every commit leaves them, watched from below the store: no grant above a cap,
//! no hold without its lease, no gateway with more out than it was granted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use turnpike_domain::id::{EpochId, GatewayId, LeaseId, OrgId};
use turnpike_domain::ledger::{Due, Row};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::Window;
use turnpike_store::kv::Write;
use turnpike_store::ledger::kept::{Held, Kept, kept};

/// Both units, as amounts are listed.
pub(crate) const UNITS: [Unit; 2] = [Unit::Usd, Unit::Tokens];

/// One account in one window.
pub(crate) type On = (OrgId, Account, Unit, Window);
type LeaseKey = (OrgId, GatewayId, LeaseId, Unit);

/// Clones are the same accounts.
#[derive(Clone, Default)]
pub(crate) struct Accounts(Arc<Mutex<Books>>);

/// What stands after the last commit.
#[derive(Default)]
pub(crate) struct Books {
    pub(crate) rows: BTreeMap<On, Row>,
    pub(crate) caps: BTreeMap<(OrgId, Account, Unit), Option<i64>>,
    /// The most that an account could be used in a window, by the caps of its grants and by what
    /// was used while it had none.
    pub(crate) most: BTreeMap<On, i64>,
    pub(crate) dues: BTreeSet<(OrgId, Due)>,
    /// What each lease was ever granted on.
    pub(crate) paths: BTreeMap<LeaseId, Box<[(Account, Window)]>>,
    /// What somebody has released of an account at the risk that it was spent.
    pub(crate) released: BTreeMap<On, i64>,
    /// The leases that it was released from.
    torn: BTreeSet<LeaseId>,
    /// The units in which each was ever granted anything.
    pub(crate) granted: BTreeSet<(LeaseId, Unit)>,
    leases: BTreeMap<LeaseKey, Held>,
    /// What the leases of an account hold, and what of it is lost.
    holds: BTreeMap<On, (i64, i64)>,
    /// What gateways that live have reserved and spent of each lease.
    out: BTreeMap<(LeaseId, Unit), i64>,
    /// Whose leases those are.
    runs: BTreeMap<LeaseId, EpochId>,
    broken: Vec<String>,
}

impl Accounts {
    /// Takes a commit.
    pub(crate) fn commit(&self, writes: &[Write]) {
        self.books().commit(writes);
    }

    /// The books as they stand.
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }

    /// What was found wrong since the last call.
    pub(crate) fn take_broken(&self) -> Vec<String> {
        std::mem::take(&mut self.books().broken)
    }
}

impl Books {
    fn commit(&mut self, writes: &[Write]) {
        let mut touched = BTreeSet::new();
        for write in writes {
            match kept(write) {
                Ok(Some((org, kept))) => self.take(org, kept, &mut touched),
                Ok(None) => {}
                Err(error) => self.broken.push(error.to_string()),
            }
        }
        for on in touched {
            let row = self.rows.get(&on).copied().unwrap_or_default();
            let holds = self.holds.get(&on).copied().unwrap_or_default();
            if (row.held, row.lost) != holds {
                let what = format!("{on:?} holds {} and {} lost", row.held, row.lost);
                self.broken.push(format!("{what}, its leases {holds:?}"));
            }
        }
    }

    fn take(&mut self, org: OrgId, kept: Kept, touched: &mut BTreeSet<On>) {
        match kept {
            Kept::Cap((account, unit), amount) => {
                self.caps.insert((org, account, unit), amount);
            }
            Kept::Account((account, unit, window), row) => {
                let on = (org, account, unit, window);
                self.moved(on, row);
                touched.insert(on);
            }
            Kept::Lease((gateway, lease, unit), held) => {
                self.leased((org, gateway, lease, unit), held, touched);
            }
            Kept::Due(due, true) => drop(self.dues.insert((org, due))),
            Kept::Due(due, false) => drop(self.dues.remove(&(org, due))),
        }
    }

    /// Invariant 1.
    fn moved(&mut self, on: On, row: Row) {
        let before = self.rows.insert(on, row).unwrap_or_default();
        let (org, account, unit, _) = on;
        let cap = self.caps.get(&(org, account, unit)).copied().flatten();
        let most = self.most.entry(on).or_default();
        let granted = row.settled == before.settled && row.used() > before.used();
        match cap {
            None => *most = row.used().max(*most),
            Some(cap) if granted => {
                *most = cap.max(*most);
                if row.used() > cap {
                    let what = format!("{on:?} was granted up to {} of {cap}", row.used());
                    self.broken.push(format!("{what}: {before:?} became {row:?}"));
                }
            }
            Some(_) => {}
        }
        if row.settled < before.settled || row.held < 0 || row.lost < 0 {
            self.broken.push(format!("{on:?}: {before:?} became {row:?}"));
        }
    }

    fn leased(&mut self, key: LeaseKey, held: Option<Held>, touched: &mut BTreeSet<On>) {
        let (org, _, lease, unit) = key;
        let before = match held.clone() {
            Some(held) => self.leases.insert(key, held),
            None => self.leases.remove(&key),
        };
        if let (Some(before), Some(held)) = (&before, &held) {
            self.release(key, before, held);
        }
        let both = [(before, -1), (held.clone(), 1)];
        for (held, sign) in both.into_iter().filter_map(|(held, sign)| Some((held?, sign))) {
            let hold = held.lease.hold() * sign;
            for (account, window) in &held.path {
                let on = (org, *account, unit, *window);
                let (plain, lost) = self.holds.entry(on).or_default();
                *(if held.lease.lost { lost } else { plain }) += hold;
                touched.insert(on);
            }
            self.runs.insert(lease, held.run);
            self.paths.insert(lease, held.path);
        }
        self.granted.insert((lease, unit));
        let total = held.map_or(0, |held| held.lease.total);
        self.check(lease, unit, total, "was left");
    }

    /// Whether a lost lease was lowered without a word of its gateway: somebody has released it.
    fn release(&mut self, (org, _, lease, unit): LeaseKey, before: &Held, held: &Held) {
        let (then, now) = (before.lease, held.lease);
        let is_said = now.n != then.n || now.settled != then.settled;
        if is_said || !now.lost || !then.lost || now.total >= then.total {
            return;
        }
        self.torn.insert(lease);
        for (account, window) in &held.path {
            *self.released.entry((org, *account, unit, *window)).or_default() +=
                then.total - now.total;
        }
    }

    /// A request was admitted on a lease. Invariant 2: its gateway has no more out than it holds.
    pub(crate) fn reserve(&mut self, lease: LeaseId, bounds: [i64; 2]) {
        for (unit, bound) in UNITS.into_iter().zip(bounds) {
            let of = |key: &&LeaseKey| key.2 == lease && key.3 == unit;
            let Some(key) = self.leases.keys().find(of) else { continue };
            let total = self.leases[key].lease.total;
            *self.out.entry((lease, unit)).or_default() += bound;
            self.check(lease, unit, total, "has");
        }
    }

    /// It has ended: what it cost stays out, up to its reservation.
    pub(crate) fn settle(&mut self, lease: LeaseId, bounds: [i64; 2], costs: [i64; 2]) {
        for ((unit, bound), cost) in UNITS.into_iter().zip(bounds).zip(costs) {
            if let Some(out) = self.out.get_mut(&(lease, unit)) {
                *out -= bound - cost.min(bound);
            }
        }
    }

    /// A run has ended: nobody spends of its leases any more.
    pub(crate) fn end(&mut self, run: EpochId) {
        let runs = &self.runs;
        self.out.retain(|(lease, _), _| runs.get(lease) != Some(&run));
    }

    fn check(&mut self, lease: LeaseId, unit: Unit, total: i64, what: &str) {
        let out = self.out.get(&(lease, unit)).copied().unwrap_or(0);
        if out > total && !self.torn.contains(&lease) {
            let what = format!("{lease} {what} {total} {unit:?} and has {out} out");
            self.broken.push(format!("{what}: more than it was granted"));
        }
    }

    /// Whether the lease was ever granted anything in `unit`.
    pub(crate) fn stands(&self, lease: LeaseId, unit: Unit) -> bool {
        self.granted.contains(&(lease, unit))
    }
}
