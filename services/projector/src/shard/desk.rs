//! The desk of a shard: words on leases are heard in groups, and those that ask for money which
//! others hold wait a moment for it.

mod line;

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
use line::Line;

/// How long an ask waits for money that others hold: longer than they need to give it back, and
/// short enough for a caller to wait (money.md, "Refusals").
const WAIT_MS: u64 = 250;
/// Asks that wait at most. Beyond it they are told at once: they would not be answered in time.
const MAX_WAITING: usize = 4_096;
/// Of those that wait, so many are heard again in one commit. The rest of it is for words that were
/// not heard yet: among them is what gives back that for which these wait.
const MAX_AGAIN: usize = 100;
/// Words that were not heard yet, at most: beyond it they wait in the inbox, which has a bound of
/// its own.
const MAX_FRESH: usize = 4_096;

/// Takes an answer.
pub(super) type Reply = Box<dyn FnOnce(Bytes) + Send>;

/// A word, and where its answer goes.
pub(super) struct Asking {
    pub(super) org: OrgId,
    pub(super) gateway: GatewayId,
    pub(super) call: LeaseCall,
    /// Since when it waits to be heard, in steady time.
    pub(super) since_ms: u64,
    pub(super) reply: Reply,
}

struct Waiting {
    asking: Asking,
    until_ms: u64,
    /// How often holds had moved in its organisation when it was last heard.
    moves: u64,
    /// What it is told if nothing comes back.
    refusal: LeaseAnswer,
}

#[derive(Default)]
pub(super) struct Desk {
    fresh: Line,
    /// Heard, and held back; the oldest first.
    waiting: VecDeque<Waiting>,
    /// How often holds may have shrunk in each organisation of which somebody waits.
    moves: BTreeMap<OrgId, u64>,
    recalls: Recalls,
    /// When what those that wait ask for is recalled again.
    recall_ms: u64,
}

impl Desk {
    /// Takes a word.
    pub(super) fn take(&mut self, asking: Asking) {
        self.fresh.push(asking);
    }

    /// Whether no more should be taken before some are heard.
    pub(super) fn is_full(&self) -> bool {
        self.fresh.len() >= MAX_FRESH
    }

    /// In an organisation holds may have shrunk or become spend, or caps risen.
    pub(super) fn moved(&mut self, org: OrgId) {
        if let Some(moves) = self.moves.get_mut(&org) {
            *moves = moves.saturating_add(1);
        }
    }

    /// Whether there is something to hear.
    pub(super) fn is_idle(&self) -> bool {
        self.fresh.len() == 0 && !self.waiting.iter().any(|waiting| self.is_behind(waiting))
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
        let group = self.group(office.clock.boot_ms());
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

    /// Tells those that have waited long enough, but for those that are about to be heard once
    /// more, because something may have come back to them.
    fn give_up(&mut self, office: &Office, term: &Term) {
        let (now_ms, mut again) = (office.clock.boot_ms(), 0);
        for waiting in std::mem::take(&mut self.waiting) {
            let is_next = again < MAX_AGAIN && self.is_behind(&waiting);
            again += usize::from(is_next);
            if waiting.until_ms <= now_ms && !is_next {
                send(office, term, waiting.asking.reply, &waiting.refusal);
            } else {
                self.waiting.push_back(waiting);
            }
        }
        let waits: BTreeSet<OrgId> = self.waiting.iter().map(|one| one.asking.org).collect();
        self.moves.retain(|org, _| waits.contains(org));
    }

    fn is_behind(&self, waiting: &Waiting) -> bool {
        self.moves.get(&waiting.asking.org).is_some_and(|moves| *moves > waiting.moves)
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
    fn group(&mut self, now_ms: u64) -> Vec<(Asking, Option<u64>)> {
        let mut group = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            if group.len() < MAX_AGAIN && self.is_behind(&waiting) {
                group.push((waiting.asking, Some(waiting.until_ms)));
            } else {
                self.waiting.push_back(waiting);
            }
        }
        let room = MAX_WORDS.saturating_sub(group.len());
        let fresh = self.fresh.take(room, now_ms);
        group.extend(fresh.into_iter().map(|asking| (asking, None)));
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
                let moves = *self.moves.entry(asking.org).or_default();
                let waiting = Waiting { asking, until_ms, moves, refusal: answer };
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
    let mut of_org = BTreeMap::<OrgId, BTreeSet<GatewayId>>::new();
    for (org, gateway) in speakers {
        of_org.entry(org).or_default().insert(gateway);
    }
    let of_platform = office.streams.platform(|state| Roll::of(&state.gateways)).await?;
    let mut standings = BTreeMap::new();
    for (org, gateways) in of_org {
        let own = office.streams.organisation(org, |state| Roll::of(&state.gateways)).await?;
        let joined = own.joined.saturating_add(of_platform.joined);
        let live = office.presence.live(org, joined);
        for gateway in gateways {
            let fenced = own.fenced.contains(&gateway) || of_platform.fenced.contains(&gateway);
            standings.insert((org, gateway), Standing { fenced, gateways: live });
        }
    }
    Ok(standings)
}

/// The gateways of an organisation, or of the platform if they serve all.
struct Roll {
    /// How many have joined, and neither left nor were cut off.
    joined: usize,
    fenced: BTreeSet<GatewayId>,
}

impl Roll {
    fn of(gateways: &BTreeMap<GatewayId, Gateway>) -> Self {
        let joined = gateways.values().filter(|one| !one.left && !one.fenced).count();
        let fenced = gateways.iter().filter(|(_, one)| one.fenced).map(|(id, _)| *id);
        Self { joined, fenced: fenced.collect() }
    }
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
