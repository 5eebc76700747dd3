//! `/orgs/{org}/decisions/{decision}`: why a gateway refused a request.

mod past;
mod rule;
mod token;

use turnpike_domain::admit::Figures;
use turnpike_domain::state::Organisation;
use turnpike_wire::api::decision::{Decision as Shown, KeyThen, LimitFigures, Rule};
use turnpike_wire::api::key::{LimitsForm, ScopesForm};
use turnpike_wire::api::text::Text;
use turnpike_wire::decision::{Decision, amount};
use turnpike_wire::record::Received;

use super::ask::Ask;
use super::reply::Reply;
use super::route::{Answer, Gives, Route, Verb, shape};
use super::stream as stored;
use crate::auth::Caller;
use crate::problem::Problem;
use past::Past;
use rule::Behind;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Verb::Get, "/orgs/{org}/decisions/{decision}", "getDecision", get)
            .about(
                "Explains a refusal by its `decision_id`: the rule, its version, the figures and \
                    the event behind it. A member sees those of their own keys.",
            )
            .gives(Gives::Thing(shape::<Shown>())),
    ]
}

async fn get(ask: Ask, caller: Caller) -> Answer {
    let id = ask.param("decision").to_owned();
    let missing = || Problem::not_found("decision");
    let opened = Decision::open(&id, &ask.app().keys.decision).ok();
    let decision = opened.filter(|decision| decision.org == ask.org).ok_or_else(missing)?;
    let visible = |state: &Organisation| match state.keys.get(&decision.key) {
        Some(key) => caller.requester.may_see(key),
        None => caller.reads_all().is_ok(),
    };
    if !ask.read(visible).await? {
        return Err(missing());
    }
    let past = Past::read(&ask, &decision).await?;
    let behind = rule::behind(&decision, &past);
    let shown = |state: &Organisation| shown(id, &decision, &past, &behind, state);
    Reply::json(&ask.read(shown).await?)
}

fn shown(
    id: String,
    decision: &Decision,
    past: &Past,
    behind: &Behind<'_>,
    state: &Organisation,
) -> Shown {
    let event = |received: Option<&Received>| Some(stored::event(received?, state));
    let rule = Rule {
        name: behind.name.to_owned(),
        says: behind.says.clone(),
        version: behind.version,
        set_by: event(behind.set_by),
    };
    Shown {
        id,
        at: Text(decision.at),
        code: decision.denial.code().to_owned(),
        status: decision.status,
        retryable: decision.denial.retryable(),
        rule,
        figures: decision.figures.as_ref().map(figures),
        event: event(behind.event),
        key: key_then(decision, past),
        key_id: Text(decision.key),
        token_id: decision.token.map(Text),
        request_id: Text(decision.request),
        gateway_id: Text(decision.gateway),
        model: decision.model.as_deref().map(Into::into),
        address: decision.address.map(|address| address.to_string()),
        seq: decision.seq,
        platform_seq: decision.platform_seq,
    }
}

fn figures(figures: &Figures) -> LimitFigures {
    let amount = |known| amount(figures.source, known);
    LimitFigures {
        limit_source: figures.source.name().to_owned(),
        limit: amount(figures.limit),
        used: amount(figures.used),
        held: amount(figures.held),
        resets_at: figures.resets_at.map(Text),
        retry_after_ms: figures.retry_after_ms,
    }
}

fn key_then(decision: &Decision, past: &Past) -> Option<KeyThen> {
    let key = past.key(decision.key)?;
    let profile = &key.profile;
    let exhausted = past.state.is_exhausted(key.id, decision.at);
    Some(KeyThen {
        name: profile.name.to_string(),
        status: Text(key.status(decision.at, exhausted)),
        seq: key.seq,
        project_id: profile.project.map(Text),
        plan_id: Text(profile.plan),
        expires_at: profile.expires_at.map(Text),
        limits: LimitsForm::from(&profile.limits),
        scopes: ScopesForm::from(&profile.scopes),
    })
}
