//! The desk of a shard: words on leases are heard in groups, and those that ask for money which
//! others hold wait a moment for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use turnpike_domain::id::{GatewayId, OrgId};
use turnpike_domain::ledger::{Refused, Standing};
use turnpike_domain::limit::Account;
use turnpike_domain::state::Gateway;
use turnpike_store::booking::{Ask, Booker, MAX_WORDS};
use turnpike_store::error::StoreError;
use turnpike_store::leader::Term;
use turnpike_wire::authority::{LeaseAnswer, LeaseCall};
use turnpike_wire::form;

use super::Office;
use super::recalls::{EVERY_MS, On, Recalls};

/// How long an ask waits for money that others hold: longer than they need to give it back, and
/// short enough for a caller to wait (money.md, "Refusals").
const WAIT_MS: u64 = 250;
/// Asks that wait at most. Beyond it they are told at once: they would not be answered in time.
const MAX_WAITING: usize = 4_096;

/// Takes an answer.
pub(super) type Reply = Box<dyn FnOnce(Bytes) + Send>;

/// A word, and where its answer goes.
pub(super) struct Asking {
    pub(super) org: OrgId,
    pub(super) gateway: GatewayId,
    pub(super) call: LeaseCall,
    pub(super) reply: Reply,
}

struct Waiting {
    asking: Asking,
    until_ms: u64,
    /// What it is told if nothing comes back.
    refusal: LeaseAnswer,
}

#[derive(Default)]
pub(super) struct Desk {
    /// Not heard yet, in the order in which they came.
    fresh: VecDeque<Asking>,
    /// Heard, and held back; the oldest first.
    waiting: VecDeque<Waiting>,
    /// Organisations whose holds may have shrunk since those that wait were heard.
    moved: BTreeSet<OrgId>,
    recalls: Recalls,
    /// When what those that wait ask for is recalled again.
    recall_ms: u64,
}

impl Desk {
    /// Takes a word.
    pub(super) fn take(&mut self, asking: Asking) {
        self.fresh.push_back(asking);
    }

    /// Whether no more should be taken before some are heard.
    pub(super) fn is_full(&self) -> bool {
        self.fresh.len() >= MAX_WORDS
    }

    /// In an organisation holds may have shrunk, or caps risen.
    pub(super) fn moved(&mut self, org: OrgId) {
        if self.waiting.iter().any(|waiting| waiting.asking.org == org) {
            self.moved.insert(org);
        }
    }

    /// Whether there is something to hear.
    pub(super) fn is_idle(&self) -> bool {
        self.fresh.is_empty() && self.moved.is_empty()
    }

    /// When there is something to do for those that wait.
    pub(super) fn until_ms(&self) -> Option<u64> {
        self.waiting.front().map(|waiting| waiting.until_ms.min(self.recall_ms))
    }

    /// Hears one commit's worth of words, and answers those that need not wait.
    ///
    /// # Errors
    /// Only that the shard was lost. If the store fails, nobody is answered: gateways ask again.
    pub(super) async fn hear(
        &mut self,
        office: &Office,
        term: &Term,
        booker: &mut Booker,
    ) -> Result<(), StoreError> {
        self.give_up(office, term);
        self.recall(office, term).await;
        let group = self.group();
        if group.is_empty() {
            return Ok(());
        }
        let speakers = group.iter().map(|(asking, _)| (asking.org, asking.gateway)).collect();
        let answers = match standings(office, speakers).await {
            Ok(standings) => booker.hear(&asks(&group, &standings), office.clock.now()).await,
            Err(error) => Err(error),
        };
        match answers {
            Ok(answers) => {
                for ((asking, until_ms), answer) in group.into_iter().zip(answers) {
                    self.answered(office, term, asking, until_ms, answer).await;
                }
            }
            Err(StoreError::Fenced) => return Err(StoreError::Fenced),
            Err(error) => {
                office.authority.failures.inc();
                tracing::warn!(%error, "words on leases were not heard");
            }
        }
        Ok(())
    }

    /// Tells those that have waited long enough.
    fn give_up(&mut self, office: &Office, term: &Term) {
        let now_ms = office.clock.boot_ms();
        let is_over = |waiting: &mut Waiting| waiting.until_ms <= now_ms;
        while let Some(waiting) = self.waiting.pop_front_if(is_over) {
            send(office, term, waiting.asking.reply, &waiting.refusal);
        }
    }

    /// Recalls what the others wait for: a recall may be lost, and a gateway that had heard one may
    /// have been granted something since.
    async fn recall(&mut self, office: &Office, term: &Term) {
        let now_ms = office.clock.boot_ms();
        if self.waiting.is_empty() || now_ms < self.recall_ms {
            return;
        }
        self.recall_ms = now_ms.saturating_add(EVERY_MS);
        let on: BTreeSet<On> = self.waiting.iter().filter_map(Waiting::on).collect();
        for on in on {
            self.recalls.publish(office, term.fence(), on).await;
        }
    }

    /// The words to hear next, those that waited first; with each, until when it may wait if it has
    /// waited before.
    fn group(&mut self) -> Vec<(Asking, Option<u64>)> {
        let mut group = Vec::new();
        let moved = std::mem::take(&mut self.moved);
        for waiting in std::mem::take(&mut self.waiting) {
            let org = waiting.asking.org;
            if !moved.contains(&org) {
                self.waiting.push_back(waiting);
            } else if group.len() < MAX_WORDS {
                group.push((waiting.asking, Some(waiting.until_ms)));
            } else {
                self.moved.insert(org);
                self.waiting.push_back(waiting);
            }
        }
        let room = MAX_WORDS.saturating_sub(group.len()).min(self.fresh.len());
        group.extend(self.fresh.drain(..room).map(|asking| (asking, None)));
        group
    }

    async fn answered(
        &mut self,
        office: &Office,
        term: &Term,
        asking: Asking,
        until_ms: Option<u64>,
        answer: LeaseAnswer,
    ) {
        let now_ms = office.clock.boot_ms();
        let until_ms = until_ms.unwrap_or_else(|| now_ms.saturating_add(WAIT_MS));
        match answer.refused {
            None if answer.n == asking.call.word.n => {
                office.authority.heard.inc();
                self.moved(asking.org);
            }
            Some(Refused::HeldElsewhere { .. })
                if now_ms < until_ms && self.waiting.len() < MAX_WAITING =>
            {
                let waiting = Waiting { asking, until_ms, refusal: answer };
                if let Some(on) = waiting.on() {
                    self.recalls.publish(office, term.fence(), on).await;
                }
                self.wait(waiting, now_ms);
                return;
            }
            None | Some(_) => {}
        }
        send(office, term, asking.reply, &answer);
    }

    /// Keeps the order in which they came.
    fn wait(&mut self, waiting: Waiting, now_ms: u64) {
        if self.waiting.is_empty() {
            self.recall_ms = now_ms.saturating_add(EVERY_MS);
        }
        let behind = self.waiting.partition_point(|other| other.until_ms <= waiting.until_ms);
        self.waiting.insert(behind, waiting);
    }
}

impl Waiting {
    /// What it waits for.
    fn on(&self) -> Option<On> {
        let account = stands_against(self.refusal.refused.as_ref()?)?;
        Some((self.asking.org, Some((account, self.asking.call.unit))))
    }
}

const fn stands_against(refused: &Refused) -> Option<Account> {
    match refused {
        Refused::HeldElsewhere { account } => Some(*account),
        Refused::Exhausted { .. } | Refused::Fenced => None,
    }
}

/// Answers, while this owner may.
fn send(office: &Office, term: &Term, reply: Reply, answer: &LeaseAnswer) {
    office.authority.answered(answer);
    if term.may_answer() {
        reply(form::encode(answer).into());
    }
}

/// What is known of those who speak.
async fn standings(
    office: &Office,
    speakers: BTreeSet<(OrgId, GatewayId)>,
) -> Result<BTreeMap<(OrgId, GatewayId), Standing>, StoreError> {
    let mut standings = BTreeMap::new();
    for (org, gateway) in speakers {
        standings.insert((org, gateway), standing(office, org, gateway).await?);
    }
    Ok(standings)
}

/// The words, each with what is known of its speaker.
fn asks(
    group: &[(Asking, Option<u64>)],
    standings: &BTreeMap<(OrgId, GatewayId), Standing>,
) -> Vec<Ask> {
    let unknown = Standing { fenced: true, gateways: 1 };
    let ask = |(asking, _): &(Asking, Option<u64>)| {
        let Asking { org, gateway, ref call, .. } = *asking;
        let standing = standings.get(&(org, gateway)).copied().unwrap_or(unknown);
        Ask { org, gateway, call: call.clone(), standing }
    };
    group.iter().map(ask).collect()
}

/// How a gateway stands: of the organisation, or of the platform if it serves all.
async fn standing(office: &Office, org: OrgId, gateway: GatewayId) -> Result<Standing, StoreError> {
    let known = |gateways: &BTreeMap<GatewayId, Gateway>| {
        let joined = gateways.values().filter(|one| !one.left && !one.fenced).count();
        (joined, gateways.get(&gateway).is_some_and(|one| one.fenced))
    };
    let (own, own_fenced) =
        office.streams.organisation(org, |state| known(&state.gateways)).await?;
    let (all, all_fenced) = office.streams.platform(|state| known(&state.gateways)).await?;
    let gateways = office.presence.live(org, own.saturating_add(all));
    Ok(Standing { fenced: own_fenced || all_fenced, gateways })
}
