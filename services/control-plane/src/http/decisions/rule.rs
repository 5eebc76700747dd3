//! Which rule a decision was made by: its name, a sentence, its version, the events behind it.

use turnpike_domain::admit::{Denial, Figures, LimitSource};
use turnpike_domain::event::{Event, KeyProfile};
use turnpike_domain::limit::{Account, Limits, Unit};
use turnpike_domain::state::Settings;
use turnpike_wire::decision::Decision;
use turnpike_wire::record::Received;

use super::past::Past;
use super::token;

/// A rule and the events behind it.
pub(super) struct Behind<'a> {
    pub(super) name: &'static str,
    pub(super) says: String,
    pub(super) version: Option<u64>,
    pub(super) set_by: Option<&'a Received>,
    /// What made the rule say no; where nothing else did, what set it.
    pub(super) event: Option<&'a Received>,
}

impl<'a> Behind<'a> {
    /// A rule whose version is the event that set it.
    pub(super) fn new(name: &'static str, says: &str, set_by: Option<&'a Received>) -> Self {
        let version = set_by.map(|received| received.seq);
        Self { name, says: says.to_owned(), version, set_by, event: set_by }
    }
}

/// The rule behind a decision.
pub(super) fn behind<'a>(decision: &Decision, past: &'a Past) -> Behind<'a> {
    if let Some(of_token) = token::behind(decision, past) {
        return of_token;
    }
    let newest = |wanted: fn(&Event) -> bool| past.newest(wanted);
    match decision.denial {
        Denial::KeyRevoked => {
            let stopped = newest(|event| matches!(event, Event::KeyRevoked { .. }));
            Behind::new("key.status", "The key was revoked.", stopped)
        }
        Denial::KeyDisabled => {
            let stopped = newest(|event| matches!(event, Event::KeyDisabled { .. }));
            Behind::new("key.status", "The key was switched off.", stopped)
        }
        Denial::KeyExpired => {
            let set_by = of_profile(past, |profile| profile.expires_at);
            Behind::new("key.expires_at", "The key's time was over.", set_by)
        }
        Denial::Unauthorized => {
            let rotated = newest(|event| matches!(event, Event::KeyRotated { .. }));
            let says = "The secret was the one before the last rotation, and its overlap was over.";
            Behind::new("key.secret", says, rotated)
        }
        Denial::ModelNotAllowed => model(decision, past),
        Denial::ProviderNotAllowed => {
            let set_by = of_profile(past, |profile| profile.scopes.providers.clone());
            let says = "No provider of the model is within the key's scopes.";
            Behind::new("key.scopes.providers", says, set_by)
        }
        Denial::IpNotAllowed => {
            let set_by = of_profile(past, |profile| profile.scopes.addresses.clone());
            let says = "The client's address is not on the key's list.";
            Behind::new("key.scopes.ips", says, set_by)
        }
        Denial::McpNotAllowed => {
            let set_by = of_profile(past, |profile| profile.scopes.mcp.clone());
            let says = "The MCP server or tool is not within the key's scopes.";
            Behind::new("key.scopes.mcp", says, set_by)
        }
        Denial::BillingShortfall
        | Denial::QuotaExceeded
        | Denial::InFlightBudgetExhausted
        | Denial::RateLimited => limit(decision, past),
        Denial::WrongCredentialKind
        | Denial::ModelNotFound
        | Denial::NotFound
        | Denial::MethodNotAllowed
        | Denial::RequestTooLarge
        | Denial::RequestTimeout
        | Denial::InvalidRequest
        | Denial::ProviderError
        | Denial::ProviderTimeout
        | Denial::ControlPlaneStale
        | Denial::LimitAuthorityUnavailable
        | Denial::Overloaded => {
            let says = "No rule of the organisation said no: the request itself, its provider or \
                        the gateway's state did.";
            Behind::new(decision.denial.code(), says, None)
        }
    }
}

/// The event since which a part of the key's profile was what it was.
fn of_profile<T: PartialEq>(past: &Past, read: impl Fn(&KeyProfile) -> T) -> Option<&Received> {
    past.since(|event| {
        let (Event::KeyCreated { profile, .. } | Event::KeyChanged { profile, .. }) = event else {
            return None;
        };
        Some(read(profile))
    })
}

/// The event since which a part of a project's limits was what it was.
fn of_project<T: PartialEq>(past: &Past, read: impl Fn(&Limits) -> T) -> Option<&Received> {
    past.since(|event| {
        let (Event::ProjectCreated { limits, .. } | Event::ProjectChanged { limits, .. }) = event
        else {
            return None;
        };
        Some(read(limits))
    })
}

/// The event since which one of the organisation's settings was what it was.
fn of_settings<T: PartialEq>(past: &Past, read: impl Fn(&Settings) -> T) -> Option<&Received> {
    past.since(|event| {
        let (Event::OrgCreated { settings, .. } | Event::OrgSettingsChanged { settings, .. }) =
            event
        else {
            return None;
        };
        Some(read(settings))
    })
}

/// Which of the three said no: the key's scopes, its plan, or a cap on a model without a price.
fn model<'a>(decision: &Decision, past: &'a Past) -> Behind<'a> {
    let (name, key) = (decision.model.as_deref().unwrap_or_default(), past.key(decision.key));
    if key.is_some_and(|key| !key.profile.scopes.models.holds(name)) {
        let set_by = of_profile(past, |profile| profile.scopes.models.clone());
        return Behind::new("key.scopes.models", "The model is not on the key's list.", set_by);
    }
    let plan = past.newest_of_platform(|event| matches!(event, Event::PlanChanged { .. }));
    let leaves_out = |received: &Received| {
        let event = received.record.as_ref().ok().map(|record| &record.event);
        let Some(Event::PlanChanged { spec, .. }) = event else { return false };
        spec.as_ref().is_none_or(|spec| !spec.models.holds(name))
    };
    if plan.is_some_and(leaves_out) {
        return Behind::new("plan.models", "The model is not in the key's plan.", plan);
    }
    let priced = past.newest_of_platform(|event| matches!(event, Event::ModelPriced { .. }));
    let says = "The model has no price, and a cost limit stands on the key, its project or the \
                wallet: what it costs could not be counted.";
    Behind::new("model.prices", says, priced)
}

/// A budget or a rate.
fn limit<'a>(decision: &Decision, past: &'a Past) -> Behind<'a> {
    let unknown = || Behind::new(decision.denial.code(), "A limit was reached.", None);
    let Some(figures) = &decision.figures else { return unknown() };
    let set_by = set_by(figures.source, past);
    let closed = past.newest(|event| closes(event, figures, past));
    let is_rate = matches!(figures.source, LimitSource::RequestRate(_) | LimitSource::TokenRate(_));
    let says = if decision.denial == Denial::InFlightBudgetExhausted {
        "There was budget left, but running requests and other gateways held it."
    } else if is_rate {
        "More was asked for in 60 seconds than the limit allows."
    } else if closed.is_some() {
        "The budget was used up."
    } else {
        "What was left of the budget did not suffice for the most that the request may cost."
    };
    let version = if is_rate { set_by.map(|it| it.seq) } else { Some(figures.revision) };
    let name = figures.source.name();
    Behind { name, says: says.to_owned(), version, set_by, event: closed.or(set_by) }
}

/// The event that set a limit.
fn set_by(source: LimitSource, past: &Past) -> Option<&Received> {
    let read = |limits: &Limits| match source {
        LimitSource::Budget(_, unit) => (limits.cap(unit), Some(limits.reset)),
        LimitSource::RequestRate(_) => (limits.requests_per_minute.map(i64::from), None),
        LimitSource::TokenRate(_) => {
            (limits.tokens_per_minute.map(|tokens| i64::try_from(tokens).unwrap_or(i64::MAX)), None)
        }
    };
    match source.account() {
        Account::Key(_) => of_profile(past, |profile| read(&profile.limits)),
        Account::Ephemeral(id) => token::issued(past, id).map(|(issued, _)| issued),
        Account::Project(_) => of_project(past, read),
        Account::Wallet => {
            let topped_up = past.newest(|event| matches!(event, Event::WalletToppedUp { .. }));
            topped_up.or_else(|| of_settings(past, |settings| settings.wallet))
        }
    }
}

/// Whether an event closed the budget that the figures are of, in their window and revision.
fn closes(event: &Event, figures: &Figures, past: &Past) -> bool {
    let LimitSource::Budget(limited, counted) = figures.source else { return false };
    let closed = if let Event::QuotaHit { account, unit, window, revision, .. } = event {
        let cap = past.state.caps.get(&(*account, *unit));
        let same = cap.is_none_or(|cap| cap.reset.ends(*window) == figures.resets_at);
        same.then_some((*account, *unit, *revision))
    } else if let Event::WalletExhausted { revision } = event {
        Some((Account::Wallet, Unit::Usd, *revision))
    } else {
        None
    };
    closed == Some((limited, counted, figures.revision))
}
