//! A shard: won by one process at a time, which then books all that arrives for it and answers for
//! its budgets.

mod desk;
mod dues;
mod epochs;
mod ledger;
mod owner;
mod past;
mod permits;
mod recalls;
mod silence;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use turnpike_bus::seam::Bus;
use turnpike_domain::id::OrgId;
use turnpike_runtime::clock::SharedClock;
use turnpike_store::booking::shard_of;
use turnpike_store::error::StoreError;
use turnpike_store::execute::Executor;
use turnpike_store::leader::{Role, Term};
use turnpike_store::log;
use turnpike_store::streams::Streams;

use crate::inbox::Inboxes;
use crate::metrics::{AuthorityMetrics, BookingMetrics};
use crate::pending::Pending;
use crate::presence::Presence;
use crate::shares::Shares;
use crate::terms::Terms;
use owner::Owner;

/// The wait after a failure of the store.
const RETRY_MS: u64 = 200;

/// What all shards of one process share.
pub(crate) struct Office {
    pub(crate) streams: Arc<Streams>,
    pub(crate) executor: Executor,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: SharedClock,
    pub(crate) inboxes: Arc<Inboxes>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) terms: Arc<Terms>,
    pub(crate) shares: Arc<Shares>,
    pub(crate) booking: BookingMetrics,
    pub(crate) authority: AuthorityMetrics,
    /// After how much silence a gateway is given up.
    pub(crate) lose_after_ms: u64,
}

impl Office {
    /// The organisations of a shard.
    async fn organisations(&self, shard: u8) -> Result<Vec<OrgId>, StoreError> {
        let snapshot = self.streams.kv().snapshot().await?;
        let all = log::organisations(&*snapshot).await?;
        Ok(all.into_iter().filter(|org| shard_of(*org) == shard).collect())
    }
}

/// Works for one shard whenever this process owns it, until `stop` or until it owns too many; then
/// books what has arrived and gives the shard up.
pub(crate) async fn run(office: Arc<Office>, shard: u8, stop: CancellationToken) {
    let kv = Arc::clone(office.streams.kv());
    let role = Role::new(kv, office.clock.clone(), &format!("shard/{shard}"));
    let has_room = || office.terms.count() < office.shares.own();
    while let Some(won) = stop.run_until_cancelled(role.win_if(has_room)).await {
        match won {
            Ok(term) => own(&office, shard, Arc::new(term), &stop).await,
            Err(error) => tracing::warn!(shard, %error, "the shard cannot be won"),
        }
        stop.run_until_cancelled(office.clock.sleep(RETRY_MS)).await;
    }
}

async fn own(office: &Arc<Office>, shard: u8, term: Arc<Term>, stop: &CancellationToken) {
    let leave = stop.child_token();
    let lost = office.terms.hold(shard, Arc::clone(&term), leave.clone());
    let inbox = office.inboxes.open(shard);
    let held = Held { office: Arc::clone(office), shard };
    let (changed, due) = (Arc::clone(&inbox.changed), Arc::<Pending>::default());
    let mut owner =
        Owner::new(Arc::clone(office), shard, Arc::clone(&term), inbox, Arc::clone(&due));
    let duties = async {
        find(office, shard, [&changed, &due]).await;
        dues::tell(office, &due).await;
    };
    let ended = tokio::select! {
        biased;
        () = lost.cancelled() => Err(StoreError::Fenced),
        ended = owner.work(&leave) => ended,
        () = duties => Ok(()),
    };
    if let Err(error) = ended {
        tracing::warn!(shard, %error, "the shard was lost");
        return;
    }
    held.office.inboxes.close(shard);
    if owner.finish().await.is_ok() {
        drop(held);
        term.resign().await;
    }
}

/// Finds what earlier owners have left: every organisation may have changed and may have dues.
async fn find(office: &Office, shard: u8, left: [&Pending; 2]) {
    office.inboxes.followed().await;
    loop {
        match office.organisations(shard).await {
            Ok(organisations) => {
                for pending in left {
                    organisations.iter().for_each(|org| pending.add(*org));
                }
                return;
            }
            Err(error) => tracing::warn!(shard, %error, "the shard's organisations are not known"),
        }
        office.clock.sleep(RETRY_MS).await;
    }
}

/// Lets go of inbox and term, also when the work panics: nobody would renew for a dead task.
struct Held {
    office: Arc<Office>,
    shard: u8,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.office.inboxes.close(self.shard);
        self.office.terms.release(self.shard);
    }
}
