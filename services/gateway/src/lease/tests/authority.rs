//! An authority for these tests: the domain's own leases behind a real bus, and a script of faults.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use turnpike_bus::local::LocalBus;
use turnpike_bus::seam::{Bus, Publish, Request, Serve, Topic};
use turnpike_domain::id::{EpochId, LeaseId};
use turnpike_domain::ledger::{Lease, Level, Refused, Row, Standing, Word};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::state::Cap;
use turnpike_domain::time::{Reset, Timestamp, Window};
use turnpike_runtime::clock::{Clock as _, PausedClock};
use turnpike_runtime::tasks::{self, Tasks};
use turnpike_wire::authority::{Call, EndRuns, LeaseAnswer, LeaseCall, Recall, RunsEnded};
use turnpike_wire::form;

use crate::fake::{DAY, ORG};

/// What becomes of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// They are heard and answered.
    Answers,
    /// They are heard, and the answer is lost.
    LosesAnswers,
    /// They are lost.
    Deaf,
    /// The answer comes with this fence.
    Fence(u64),
    /// The answer comes so many milliseconds later.
    Slow(u64),
}

/// The accounts of a lease, with their policies and the windows that were named.
pub(crate) type Path = Vec<(Account, Reset, Window)>;

/// What stands in the authority's books.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) manner: Manner,
    pub(crate) caps: BTreeMap<(Account, Unit), i64>,
    pub(crate) rows: BTreeMap<(Account, Unit), Row>,
    pub(crate) leases: BTreeMap<(LeaseId, Unit), (Path, Lease)>,
    /// The accounts of new leases.
    pub(crate) path: Vec<Account>,
    /// The policy of the first account of a path; the others' windows are endless.
    pub(crate) reset: Reset,
    /// The authority's day, which names the windows.
    pub(crate) now: Timestamp,
    pub(crate) gateways: u32,
    pub(crate) words: Vec<Word>,
    pub(crate) runs: Vec<EndRuns>,
    /// So many times earlier runs are not ended yet.
    pub(crate) runs_wait: usize,
}

/// The authority of one organisation.
#[derive(Clone)]
pub(crate) struct Authority {
    books: Arc<Mutex<Books>>,
    bus: Arc<LocalBus>,
}

impl Authority {
    /// Serves on `bus`.
    pub(crate) async fn begin(bus: Arc<LocalBus>, path: Vec<Account>, tasks: &Tasks) -> Self {
        let books = Books {
            manner: Manner::Answers,
            caps: BTreeMap::new(),
            rows: BTreeMap::new(),
            leases: BTreeMap::new(),
            path,
            reset: Reset::None,
            now: DAY,
            gateways: 1,
            words: Vec::new(),
            runs: Vec::new(),
            runs_wait: 0,
        };
        let authority = Self { books: Arc::new(Mutex::new(books)), bus };
        let mut calls = authority.bus.serve(Serve::Authority(None)).await.unwrap();
        let serving = authority.clone();
        tasks.spawn("authority", async move {
            while let Ok(call) = calls.next().await {
                serving.serve(call);
            }
        });
        authority
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Books) -> T) -> T {
        work(&mut self.books.lock().unwrap())
    }

    pub(crate) fn cap(&self, account: Account, unit: Unit, cap: i64) {
        self.with(|books| books.caps.insert((account, unit), cap));
    }

    pub(crate) fn manner(&self, manner: Manner) {
        self.with(|books| books.manner = manner);
    }

    pub(crate) fn row(&self, account: Account, unit: Unit) -> Row {
        self.with(|books| books.rows.get(&(account, unit)).copied().unwrap_or_default())
    }

    pub(crate) fn words(&self) -> usize {
        self.with(|books| books.words.len())
    }

    /// What the projector does with a record.
    pub(crate) fn book(&self, lease: LeaseId, unit: Unit, amount: i64) {
        self.with(|books| books.commit(lease, unit, |lease, path| lease.book(path, amount)));
    }

    /// Another gateway holds so much of an account.
    pub(crate) fn hold_elsewhere(&self, account: Account, unit: Unit, amount: i64) {
        self.with(|books| books.rows.entry((account, unit)).or_default().held += amount);
    }

    /// Says to all gateways that somebody waits.
    pub(crate) async fn recall(&self, fence: u64, account: Account, unit: Unit) {
        let payload = form::encode(&Recall { fence, budget: Some((account, unit)) }).into();
        let (topic, headers) = (Topic::Recall { org: ORG }, Vec::new());
        self.bus.publish(Publish { topic, id: String::new(), headers, payload }).await.unwrap();
    }

    fn serve(&self, Request { payload, reply, .. }: Request) {
        self.with(|books| {
            if books.manner == Manner::Deaf {
                return;
            }
            let answer = match form::decode::<Call>(&payload).unwrap() {
                Call::Lease(call) => form::encode(&books.hear(&call)),
                Call::EndRuns(call) => {
                    books.runs.push(call);
                    let ended = books.runs.len() > books.runs_wait;
                    form::encode(&RunsEnded { fence: 1, ended })
                }
                Call::Permit(_) | Call::Recent(_) => return,
            };
            match books.manner {
                Manner::LosesAnswers | Manner::Deaf => {}
                Manner::Answers | Manner::Fence(_) => reply(answer.into()),
                Manner::Slow(ms) => tasks::detach("slow answer", async move {
                    PausedClock::new(DAY).sleep(ms).await;
                    reply(answer.into());
                }),
            }
        });
    }
}

impl Books {
    fn hear(&mut self, call: &LeaseCall) -> LeaseAnswer {
        assert_eq!(call.epoch, EpochId(7));
        self.words.push(call.word);
        let standing = Standing { fenced: false, gateways: self.gateways };
        let heard = self.commit(call.lease, call.unit, |lease, path| {
            let heard = lease.hear(path, &call.word, standing);
            (heard, path.to_vec())
        });
        let (heard, levels) = heard;
        let refused = heard.err();
        let of = match refused {
            Some(Refused::Exhausted { account, .. } | Refused::HeldElsewhere { account }) => {
                levels.iter().find(|level| level.account == account)
            }
            Some(Refused::Fenced) | None => {
                let capped = levels.iter().filter(|level| level.cap.amount.is_some());
                capped.min_by_key(|level| level.available())
            }
        };
        let figures = of.map(Level::figures);
        let fence = match self.manner {
            Manner::Fence(fence) => fence,
            Manner::Answers | Manner::LosesAnswers | Manner::Deaf | Manner::Slow(_) => 1,
        };
        let lease = self.leases[&(call.lease, call.unit)].1;
        let ends_at = levels.iter().filter_map(|level| level.cap.reset.ends(level.window)).min();
        LeaseAnswer {
            fence,
            n: lease.n,
            total: lease.total,
            path: levels.iter().map(|level| (level.account, level.window)).collect(),
            ends_at,
            refused,
            figures,
        }
    }

    fn commit<T>(
        &mut self,
        id: LeaseId,
        unit: Unit,
        change: impl FnOnce(&mut Lease, &mut [Level]) -> T,
    ) -> T {
        let resets = std::iter::once(self.reset).chain(std::iter::repeat(Reset::None));
        let path = self.path.iter().zip(resets);
        let path = path.map(|(account, reset)| (*account, reset, reset.window(self.now))).collect();
        let (path, lease) = self.leases.entry((id, unit)).or_insert((path, Lease::default()));
        let mut levels: Vec<Level> = path
            .iter()
            .map(|(account, reset, window)| Level {
                account: *account,
                window: *window,
                cap: Cap {
                    amount: self.caps.get(&(*account, unit)).copied(),
                    reset: *reset,
                    revision: 1,
                },
                row: self.rows.get(&(*account, unit)).copied().unwrap_or_default(),
            })
            .collect();
        let result = change(lease, &mut levels);
        self.rows.extend(levels.iter().map(|level| ((level.account, unit), level.row)));
        result
    }
}
