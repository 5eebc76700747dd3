//! The past of a decision: the events that it rests on, and what they added up to at that moment.

use turnpike_domain::admit::Denial;
use turnpike_domain::event::Event;
use turnpike_domain::evolve::{self, Touched};
use turnpike_domain::id::{KeyId, OrgId};
use turnpike_domain::limit::Account;
use turnpike_domain::state::{Key, Organisation};
use turnpike_store::log;
use turnpike_wire::decision::Decision;
use turnpike_wire::record::Received;

use crate::http::ask::Ask;
use crate::http::stream as stored;
use crate::problem::Problem;

/// Events read at once, going backwards.
const STEP: u64 = 500;
/// The most events that are looked through for one decision: beyond them it is told without the
/// event behind it.
const MAX_WALK: u64 = 100_000;

/// What a gateway knew when it decided, as far as it concerns the decision.
pub(super) struct Past {
    /// The organisation, with nothing in it but what the decision is about.
    pub(super) state: Organisation,
    /// The events of key, project and wallet, the newest first.
    trail: Vec<Received>,
    /// The events of plan and model, the newest first.
    platform: Vec<Received>,
}

/// What an event is to whoever looks for others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Pass,
    Keep,
    /// Nothing older is needed.
    KeepLast,
}

impl Past {
    /// Reads what a decision rests on.
    pub(super) async fn read(ask: &Ask, decision: &Decision) -> Result<Self, Problem> {
        let (mut key_begun, mut account_begun) = (false, false);
        let account = decision.figures.as_ref().map(|figures| figures.source.account());
        let trail = back(ask, ask.org, decision.seq, |event| {
            let (of_key, key_begins) = of_key(event, decision.key);
            let (of_account, account_begins) =
                account.map_or((false, true), |account| of_account(event, account));
            key_begun |= key_begins;
            account_begun |= account_begins;
            match (of_key || of_account, key_begun && account_begun) {
                (_, true) => Step::KeepLast,
                (true, false) => Step::Keep,
                (false, false) => Step::Pass,
            }
        });
        let trail = trail.await?;
        let mut state = Organisation::new(ask.org);
        for received in trail.iter().rev() {
            if let Ok(record) = &received.record {
                evolve::organisation(&mut state, record, received.hash, received.position);
            }
        }
        let platform = platform(ask, decision, &state).await?;
        Ok(Self { state, trail, platform })
    }

    /// The key as it was.
    pub(super) fn key(&self, id: KeyId) -> Option<&Key> {
        self.state.keys.get(&id).map(|key| &**key)
    }

    /// The newest event that `wanted` names.
    pub(super) fn newest(&self, wanted: impl Fn(&Event) -> bool) -> Option<&Received> {
        newest(&self.trail, wanted)
    }

    /// The newest event of the platform that `wanted` names.
    pub(super) fn newest_of_platform(&self, wanted: impl Fn(&Event) -> bool) -> Option<&Received> {
        newest(&self.platform, wanted)
    }

    /// The event since which what `read` finds in events has been what it was at the decision.
    pub(super) fn since<T: PartialEq>(
        &self,
        read: impl Fn(&Event) -> Option<T>,
    ) -> Option<&Received> {
        let mut found = self.trail.iter().filter_map(|received| {
            let value = read(&received.record.as_ref().ok()?.event)?;
            Some((received, value))
        });
        let (last, value) = found.next()?;
        let same = found.take_while(|(_, other)| *other == value);
        Some(same.map(|(received, _)| received).last().unwrap_or(last))
    }
}

fn newest(trail: &[Received], wanted: impl Fn(&Event) -> bool) -> Option<&Received> {
    let names =
        |received: &&Received| received.record.as_ref().is_ok_and(|record| wanted(&record.event));
    trail.iter().find(names)
}

/// The events of the plan and the model that the decision was about.
async fn platform(
    ask: &Ask,
    decision: &Decision,
    state: &Organisation,
) -> Result<Vec<Received>, Problem> {
    let plan = state.keys.get(&decision.key).map(|key| key.profile.plan);
    if decision.denial != Denial::ModelNotAllowed {
        return Ok(Vec::new());
    }
    let (mut plan_found, mut model_found) = (plan.is_none(), decision.model.is_none());
    let found = back(ask, OrgId::PLATFORM, decision.platform_seq, |event| {
        let of_plan = matches!(event, Event::PlanChanged { plan: it, .. } if Some(*it) == plan);
        let of_model = matches!(event, Event::ModelPriced { model, .. }
            if Some(&**model) == decision.model.as_deref());
        plan_found |= of_plan;
        model_found |= of_model;
        match (of_plan || of_model, plan_found && model_found) {
            (_, true) => Step::KeepLast,
            (true, false) => Step::Keep,
            (false, false) => Step::Pass,
        }
    });
    found.await
}

/// Walks a stream back from `seq`, and answers what `step` wants of it, the newest first.
async fn back(
    ask: &Ask,
    org: OrgId,
    seq: u64,
    mut step: impl FnMut(&Event) -> Step,
) -> Result<Vec<Received>, Problem> {
    let head = log::head(&*ask.snapshot().await?, org).await?;
    let mut upper = seq.min(head.seq);
    let least = upper.saturating_sub(MAX_WALK);
    let mut kept = Vec::new();
    while upper > least {
        let lower = upper.saturating_sub(STEP);
        // A moment of its own for each page: events never change.
        let page = stored::page(&*ask.snapshot().await?, org, lower, upper).await?;
        for received in page.into_iter().rev() {
            let wanted = received.record.as_ref().map_or(Step::Pass, |it| step(&it.event));
            if wanted != Step::Pass {
                kept.push(received);
            }
            if wanted == Step::KeepLast {
                return Ok(kept);
            }
        }
        upper = lower;
    }
    Ok(kept)
}

/// Whether an event is about a key, and whether it is its first.
fn of_key(event: &Event, wanted: KeyId) -> (bool, bool) {
    let is_about = evolve::touched(event) == Touched::Key(wanted);
    (is_about, is_about && matches!(event, Event::KeyCreated { .. }))
}

/// Whether an event is about an account beside the key's own, and whether nothing older says more.
fn of_account(event: &Event, wanted: Account) -> (bool, bool) {
    match wanted {
        // The key's own events say it all.
        Account::Key(_) => (false, true),
        Account::Ephemeral(id) => {
            let hits = matches!(event, Event::QuotaHit { account, .. } if *account == wanted);
            let issues = matches!(event, Event::EphemeralIssued { token, .. } if *token == id);
            (hits || issues, issues)
        }
        Account::Project(project) => {
            let is_about = evolve::touched(event) == Touched::Project(project);
            (is_about, is_about && matches!(event, Event::ProjectCreated { .. }))
        }
        // All that was ever topped up is its cap: the last top-up has set it.
        Account::Wallet => {
            let sets = matches!(event, Event::WalletToppedUp { .. } | Event::OrgCreated { .. });
            let concerns =
                matches!(event, Event::WalletExhausted { .. } | Event::OrgSettingsChanged { .. });
            (sets || concerns, sets)
        }
    }
}
