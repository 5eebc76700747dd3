//! Notices of what stands now: lost holds, what nobody can read, silent gateways, providers down.

use std::collections::BTreeMap;

use serde_json::json;
use turnpike_domain::admit::LimitSource;
use turnpike_domain::id::{GatewayId, KeyId, ProviderId};
use turnpike_domain::state::{Organisation, Provider};
use turnpike_domain::time::Timestamp;
use turnpike_store::ledger::{self, LostHold};
use turnpike_store::usage;
use turnpike_wire::api::notice::Notice;
use turnpike_wire::api::text::Text;
use turnpike_wire::decision;
use turnpike_wire::form::Named as _;
use turnpike_wire::heartbeat::{LostKind, Quarantine};
use turnpike_wire::time::rfc3339;

use super::told::{amount, called, id};
use crate::http::ask::Ask;
use crate::presence::{Fare, Known};
use crate::problem::Problem;

/// Keys that one sentence names; the data names them all.
const MAX_NAMED: usize = 10;

/// All that stands now.
pub(super) async fn read(ask: &Ask) -> Result<Vec<Notice>, Problem> {
    let snapshot = ask.snapshot().await?;
    let lost = ledger::lost(&*snapshot, ask.org).await?;
    let aside = usage::put_aside(&*snapshot, ask.org).await?;
    let aside = aside.into_iter().map(|(gateway, count)| unreadable(ask, gateway, count));
    let gateways = ask.app().gateways(ask.org).await?;
    let silent = gateways.iter().filter(|it| !it.online && !it.joined.left && !it.joined.fenced);
    let silent = silent.map(|gateway| silence(ask, gateway));
    let staying = gateways.iter().filter(|it| !it.joined.left && !it.joined.fenced);
    let poisoned =
        staying.filter_map(|gateway| Some(quarantine(ask, gateway, gateway.quarantine?)));
    let held = |state: &Organisation| -> Vec<Notice> {
        lost.iter().map(|hold| loss(ask, state, hold)).collect()
    };
    let gone = gone(ask).await?;
    let down = down(ask).await?;
    let held = ask.read(held).await?.into_iter();
    Ok(gone
        .into_iter()
        .chain(held)
        .chain(aside)
        .chain(silent)
        .chain(poisoned)
        .chain(deaf(ask))
        .chain(down)
        .collect())
}

/// This control plane hears no gateway, whatever others hear.
fn deaf(ask: &Ask) -> Option<Notice> {
    let deaf_ms = ask.app().presence.deaf_for_ms()?;
    let since = rfc3339(Timestamp(ask.now.0.saturating_sub(deaf_ms)));
    Some(Notice {
        kind: "gateways_unheard".to_owned(),
        severity: "alarm".to_owned(),
        at: Text(ask.now),
        standing: true,
        says: format!(
            "This control plane is cut off from the bus and hears no gateway since {since}: \
             changes are kept, but no proof counts a gateway, and whether one is online is what \
             was known then."
        ),
        about: None,
        seq: None,
        data: json!({ "since": since }),
    })
}

/// Changes of keys that gateways had applied and that the store, since it was restored, lacks.
async fn gone(ask: &Ask) -> Result<Option<Notice>, Problem> {
    let lost = ask.app().presence.lost(ask.org);
    if lost.is_empty() {
        return Ok(None);
    }
    let named = |state: &Organisation| -> Vec<(KeyId, String, &'static str)> {
        let name = |key: &KeyId| state.keys.get(key).map(|key| key.profile.name.to_string());
        let named = |(key, kind): (&KeyId, &LostKind)| Some((*key, name(key)?, kind.name()));
        lost.iter().filter_map(named).collect()
    };
    let keys = ask.read(named).await?;
    let sentence = |(_, name, was): &(KeyId, String, &str)| format!("{name} ({was})");
    let told: Vec<String> = keys.iter().take(MAX_NAMED).map(sentence).collect();
    let more = if keys.len() > MAX_NAMED { " and others" } else { "" };
    let data = |(key, name, was): &(KeyId, String, &str)| {
        let key_id = key.to_string();
        json!({ "key_id": key_id, "name": name, "was": was })
    };
    Ok((!keys.is_empty()).then(|| Notice {
        kind: "changes_lost".to_owned(),
        severity: "alarm".to_owned(),
        at: Text(ask.now),
        standing: true,
        says: format!(
            "The store was set back: gateways had applied changes of {} keys that it lacks, and \
             have undone them. Make them again: {}{more}.",
            keys.len(),
            told.join(", "),
        ),
        about: None,
        seq: None,
        data: json!({ "keys": keys.iter().map(data).collect::<Vec<_>>() }),
    }))
}

/// The organisation's providers and the platform's that every gateway passes over.
async fn down(ask: &Ask) -> Result<Vec<Notice>, Problem> {
    let names = |providers: &BTreeMap<ProviderId, Provider>| -> Vec<(ProviderId, Box<str>)> {
        providers.iter().map(|(id, provider)| (*id, provider.spec.name.clone())).collect()
    };
    let own = ask.read(|state| names(&state.providers)).await?;
    let shared = ask.app().streams().platform(|state| names(&state.providers)).await?;
    let own = own.into_iter().map(|named| (named, Some(ask.org)));
    let all = own.chain(shared.into_iter().map(|named| (named, None)));
    let down = all.filter(|((id, _), owner)| {
        Fare::of(&ask.app().presence.provider(*id, *owner)) == Fare::Down
    });
    Ok(down.map(|((id, name), _)| outage(ask, id, &name)).collect())
}

fn outage(ask: &Ask, id: ProviderId, name: &str) -> Notice {
    Notice {
        kind: "provider_down".to_owned(),
        severity: "alarm".to_owned(),
        at: Text(ask.now),
        standing: true,
        says: format!(
            "The provider {name} fails with every gateway that calls it: requests take other \
             ways where there are any."
        ),
        about: Some(id.to_string()),
        seq: None,
        data: json!({ "provider_id": id.to_string() }),
    }
}

fn loss(ask: &Ask, state: &Organisation, hold: &LostHold) -> Notice {
    let LostHold { gateway, account, unit, amount: held } = *hold;
    let (name, told) = (called(account, state), amount(unit, held));
    let source = LimitSource::Budget(account, unit);
    Notice {
        kind: "hold_lost".to_owned(),
        severity: "alarm".to_owned(),
        at: Text(ask.now),
        standing: true,
        says: format!(
            "{gateway} holds {told} of {name} that nobody has accounted for: they count as used \
             until it reports them, or somebody releases them."
        ),
        about: id(account),
        seq: None,
        data: json!({
            "gateway_id": gateway.to_string(),
            "limit_source": source.name(),
            "amount": decision::amount(source, Some(held)),
        }),
    }
}

fn unreadable(ask: &Ask, gateway: GatewayId, count: usize) -> Notice {
    Notice {
        kind: "record_put_aside".to_owned(),
        severity: "alarm".to_owned(),
        at: Text(ask.now),
        standing: true,
        says: format!(
            "{count} records of {gateway} cannot be read and were put aside: what they cost is \
             not known, and what was held for them counts as lost."
        ),
        about: Some(gateway.to_string()),
        seq: None,
        data: json!({ "gateway_id": gateway.to_string(), "records": count }),
    }
}

/// An alarm while the last good state is served, and a warning once the whole was fetched: somebody
/// should still find out why.
fn quarantine(ask: &Ask, gateway: &Known, told: Quarantine) -> Notice {
    let (name, events) = (&gateway.joined.name, told.events);
    let (severity, now) = if told.stands {
        ("alarm", "it goes on with the last good state, in which changes are missing")
    } else {
        ("warning", "it has fetched the whole since, and lacks nothing")
    };
    Notice {
        kind: "gateway_quarantined".to_owned(),
        severity: severity.to_owned(),
        at: Text(ask.now),
        standing: true,
        says: format!(
            "The gateway {name} could not read events, {events} since it started: {now}."
        ),
        about: Some(gateway.id.to_string()),
        seq: None,
        data: json!({
            "gateway_id": gateway.id.to_string(),
            "events": events,
            "last_seq": told.seq,
            "last_at": rfc3339(told.at),
            "stands": told.stands,
        }),
    }
}

fn silence(ask: &Ask, gateway: &Known) -> Notice {
    let name = &gateway.joined.name;
    let says = format!("The gateway {name} has not been heard of for longer than it may serve.");
    Notice {
        kind: "gateway_silent".to_owned(),
        severity: "warning".to_owned(),
        at: Text(ask.now),
        standing: true,
        says,
        about: Some(gateway.id.to_string()),
        seq: None,
        data: json!({ "gateway_id": gateway.id.to_string() }),
    }
}
