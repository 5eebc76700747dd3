//! Recalls: all gateways of an organisation are asked to give back what they hold of an account and
//! do not need, or to report what they have used of rates.

use std::collections::BTreeMap;

use turnpike_bus::seam::{Publish, Topic};
use turnpike_domain::id::OrgId;
use turnpike_domain::limit::{Account, Unit};
use turnpike_wire::authority::Recall;
use turnpike_wire::form;

use super::Office;

/// How often the same account is recalled: a gateway answers within it, and an ask that waits is
/// heard of twice, so that one lost recall costs nobody his turn.
pub(super) const EVERY_MS: u64 = 100;
/// Accounts remembered at most; when there are more, some are recalled early.
const MAX_ACCOUNTS: usize = 10_000;

/// An account of an organisation, in one unit; `None`: its rates.
pub(super) type On = (OrgId, Option<(Account, Unit)>);

/// When each account was last recalled.
#[derive(Default)]
pub(super) struct Recalls(BTreeMap<On, u64>);

impl Recalls {
    /// Recalls an account, unless it was recalled a moment ago. A recall that is lost is made again
    /// by the next ask.
    pub(super) async fn publish(&mut self, office: &Office, fence: u64, on: On) {
        let now_ms = office.clock.boot_ms();
        let is_recent = |last_ms: &u64| now_ms.saturating_sub(*last_ms) < EVERY_MS;
        if self.0.get(&on).is_some_and(is_recent) {
            return;
        }
        self.0.retain(|_, last_ms| is_recent(last_ms));
        if self.0.len() >= MAX_ACCOUNTS {
            self.0.clear();
        }
        self.0.insert(on, now_ms);
        let (org, budget) = on;
        let payload = form::encode(&Recall { fence, budget }).into();
        let topic = Topic::Recall { org };
        let message = Publish { topic, id: String::new(), headers: Vec::new(), payload };
        match office.bus.publish(message).await {
            Ok(()) => {
                office.authority.recalls.inc();
            }
            Err(error) => tracing::debug!(%error, "a recall was not published"),
        }
    }
}
