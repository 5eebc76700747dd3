//! The rates of a shard's organisations, in the memory of its owner: permits need no commit.

use std::collections::BTreeMap;

use turnpike_domain::id::{EpochId, GatewayId, OrgId};
use turnpike_domain::rate::{Amount, Answer, Ask, COUNTS_MS, Hearing, Look, Rates, Report};
use turnpike_wire::authority::{
    Closed, PermitAnswer, PermitCall, RecentAnswer, RecentCall, RecentUse,
};
use turnpike_wire::rates::{AskedRate, MAX_ASKED, RatesAnswer, RatesQuestion};

/// The rates of all organisations of one shard, for as long as one process owns it.
pub(crate) struct RateDesk {
    /// When the shard was won, in steady time.
    since_ms: u64,
    orgs: BTreeMap<OrgId, Rates>,
}

/// What the owner of a shard knows when it hears a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    /// Whose rates.
    pub(crate) org: OrgId,
    /// Who calls, by the subject.
    pub(crate) gateway: GatewayId,
    /// The owner's steady time.
    pub(crate) now_ms: u64,
    /// The owner's fence.
    pub(crate) fence: u64,
    /// The gateway was cut off.
    pub(crate) fenced: bool,
    /// Gateways of the organisation that are online, at least one.
    pub(crate) gateways: u32,
    /// Those who may have used something in the last minute: all that joined and did not leave, and
    /// those heard of.
    pub(crate) others: &'a [GatewayId],
}

impl RateDesk {
    /// Nothing is known; the shard was won at `since_ms` of steady time.
    pub(crate) const fn new(since_ms: u64) -> Self {
        Self { since_ms, orgs: BTreeMap::new() }
    }

    /// Answers a call for permits.
    pub(crate) fn permit(&mut self, scene: Scene<'_>, call: &PermitCall) -> PermitAnswer {
        let mut answer = PermitAnswer {
            fence: scene.fence,
            batch: call.batch,
            requests: 0,
            tokens: 0,
            retry_after_ms: None,
            gateways: scene.gateways,
            left_requests: 0,
            left_tokens: 0,
            reset_ms: 0,
            closed: None,
        };
        // What it gives back still counts as given back.
        let wanted = Amount { requests: u64::from(call.requests), tokens: call.tokens };
        let ask = Ask {
            batch: call.batch,
            wanted: if scene.fenced { Amount::NONE } else { wanted },
            waits: call.waits.filter(|_| !scene.fenced),
            rate: call.rate,
            returned: call.returned.clone(),
        };
        let hearing = scene.hearing(call.epoch);
        match self.rates(scene.org).ask(hearing, call.account, &ask) {
            Answer::Permitted { amount, retry_after_ms, left } => {
                // No more than was wanted, which had the same width.
                answer.requests = u32::try_from(amount.requests).unwrap_or(u32::MAX);
                answer.tokens = amount.tokens;
                answer.retry_after_ms = retry_after_ms;
                answer.left_requests = left.free.requests;
                answer.left_tokens = left.free.tokens;
                answer.reset_ms = left.reset_ms;
                answer.closed = scene.fenced.then_some(Closed::Fenced);
            }
            Answer::Gathering { report: true } => answer.closed = Some(Closed::ReportFirst),
            Answer::Gathering { report: false } => answer.closed = Some(Closed::Gathering),
        }
        answer
    }

    /// Takes a part of a gateway's report.
    pub(crate) fn recent(&mut self, scene: Scene<'_>, call: RecentCall) -> RecentAnswer {
        let used = call.accounts.into_iter().map(|RecentUse { account, used }| (account, used));
        let report = Report { part: call.part, last: call.last, used: used.collect() };
        let hearing = scene.hearing(call.epoch);
        let heard = self.rates(scene.org).report(hearing, &report);
        RecentAnswer { fence: scene.fence, begin_again: !heard }
    }

    /// Answers a question of how rates stand: whoever asks is permitted nothing.
    pub(crate) fn look(
        &mut self,
        (org, others): (OrgId, &[GatewayId]),
        (fence, now_ms): (u64, u64),
        question: &RatesQuestion,
    ) -> RatesAnswer {
        let rates = self.rates(org);
        let look = |asked: &AskedRate| {
            rates.look(others, (asked.account, asked.rate, asked.tokens), now_ms)
        };
        let looks: Option<Vec<Look>> = question.accounts.iter().take(MAX_ASKED).map(look).collect();
        RatesAnswer { fence, gathering: looks.is_none(), looks: looks.unwrap_or_default() }
    }

    /// Forgets what counts no more.
    pub(crate) fn tidy(&mut self, now_ms: u64) {
        let is_young = now_ms.saturating_sub(self.since_ms) < COUNTS_MS;
        // While the owner is young, who has reported is worth remembering.
        self.orgs.retain(|_, rates| !rates.tidy(now_ms) || is_young);
    }

    /// Whether all is known of an organisation that there is to know.
    pub(crate) fn is_complete(&self, org: OrgId) -> bool {
        self.orgs.get(&org).is_some_and(Rates::is_complete)
    }

    fn rates(&mut self, org: OrgId) -> &mut Rates {
        self.orgs.entry(org).or_insert_with(|| Rates::new(self.since_ms))
    }
}

impl Scene<'_> {
    const fn hearing(&self, epoch: EpochId) -> Hearing<'_> {
        Hearing { who: (self.gateway, epoch), now_ms: self.now_ms, others: self.others }
    }
}
