//! Permits of a shard: answered from memory, with what is known of the gateways that ask.

use std::collections::BTreeMap;

use turnpike_domain::id::{GatewayId, OrgId};
use turnpike_domain::rate::COUNTS_MS;
use turnpike_domain::state::Gateway;
use turnpike_runtime::clock::Clock;
use turnpike_store::error::StoreError;
use turnpike_wire::authority::{Closed, PermitAnswer, PermitCall, RecentAnswer, RecentCall};
use turnpike_wire::rates::{RatesAnswer, RatesQuestion};

use super::Office;
use super::recalls::Recalls;
use crate::rates::{RateDesk, Scene};

/// The rates of one owner of a shard.
pub(super) struct Permits {
    desk: RateDesk,
    fence: u64,
    recalls: Recalls,
}

/// What is known of an organisation's gateways.
struct Known {
    fenced: bool,
    live: u32,
    /// All that may have used something in the last minute.
    others: Vec<GatewayId>,
}

impl Permits {
    /// The shard was won now.
    pub(super) fn new(clock: &dyn Clock, fence: u64) -> Self {
        Self { desk: RateDesk::new(clock.boot_ms()), fence, recalls: Recalls::default() }
    }

    /// Answers a call for permits. A new owner has all gateways report first.
    ///
    /// # Errors
    /// [`StoreError`] if the organisation's gateways cannot be read.
    pub(super) async fn permit(
        &mut self,
        office: &Office,
        (org, gateway): (OrgId, GatewayId),
        call: &PermitCall,
    ) -> Result<PermitAnswer, StoreError> {
        let known = self.known(office, org, Some(gateway)).await?;
        let answer = self.desk.permit(self.scene(office, (org, gateway), &known), call);
        match answer.closed {
            Some(Closed::Gathering | Closed::ReportFirst) => {
                self.recalls.publish(office, self.fence, (org, None)).await;
            }
            Some(Closed::Fenced) | None => {}
        }
        office.authority.permitted(&answer);
        Ok(answer)
    }

    /// Takes a part of a gateway's report.
    ///
    /// # Errors
    /// [`StoreError`] if the organisation's gateways cannot be read.
    pub(super) async fn recent(
        &mut self,
        office: &Office,
        (org, gateway): (OrgId, GatewayId),
        call: RecentCall,
    ) -> Result<RecentAnswer, StoreError> {
        let known = self.known(office, org, Some(gateway)).await?;
        Ok(self.desk.recent(self.scene(office, (org, gateway), &known), call))
    }

    /// Answers a question of how rates stand. A new owner has all gateways report first, as before
    /// a permit.
    ///
    /// # Errors
    /// [`StoreError`] if the organisation's gateways cannot be read.
    pub(super) async fn look(
        &mut self,
        office: &Office,
        org: OrgId,
        question: &RatesQuestion,
    ) -> Result<RatesAnswer, StoreError> {
        let known = self.known(office, org, None).await?;
        let at = (self.fence, office.clock.boot_ms());
        let answer = self.desk.look((org, &known.others), at, question);
        if answer.gathering {
            self.recalls.publish(office, self.fence, (org, None)).await;
        }
        Ok(answer)
    }

    /// Forgets what counts no more.
    pub(super) fn tidy(&mut self, now_ms: u64) {
        self.desk.tidy(now_ms);
    }

    fn scene<'a>(
        &self,
        office: &Office,
        (org, gateway): (OrgId, GatewayId),
        known: &'a Known,
    ) -> Scene<'a> {
        let Known { fenced, live, ref others } = *known;
        let (now_ms, fence) = (office.clock.boot_ms(), self.fence);
        Scene { org, gateway, now_ms, fence, fenced, gateways: live, others }
    }

    /// Reads who has joined: at the head of the streams while reports are needed, and later as this
    /// process follows them, so that permits need no store.
    async fn known(
        &self,
        office: &Office,
        org: OrgId,
        speaker: Option<GatewayId>,
    ) -> Result<Known, StoreError> {
        let streams = &office.streams;
        let joined = |gateways: &BTreeMap<GatewayId, Gateway>| {
            let joined = gateways.iter().filter(|(_, one)| !one.left).map(|(id, _)| *id);
            let speaker = speaker.and_then(|speaker| gateways.get(&speaker));
            let fenced = speaker.is_some_and(|one| one.fenced);
            (joined.collect::<Vec<_>>(), fenced)
        };
        let ((own, own_fenced), (all, all_fenced)) = if self.desk.is_complete(org) {
            let own = streams.remembered(org, |state| joined(&state.gateways)).await;
            (own, streams.remembered_platform(|state| joined(&state.gateways)).await)
        } else {
            let own = streams.organisation(org, |state| joined(&state.gateways)).await?;
            (own, streams.platform(|state| joined(&state.gateways)).await?)
        };
        let live = office.presence.live(org, own.len().saturating_add(all.len()));
        let mut others = office.presence.heard(org, COUNTS_MS);
        others.extend(own.into_iter().chain(all));
        Ok(Known { fenced: own_fenced || all_fenced, live, others })
    }
}
