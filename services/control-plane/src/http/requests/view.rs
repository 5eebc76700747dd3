//! A request as it is shown: with the name and the metadata that its key had then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::try_join_all;
use turnpike_domain::event::KeyProfile;
use turnpike_domain::id::KeyId;
use turnpike_domain::state::{Key, Organisation};
use turnpike_store::log;
use turnpike_wire::api::request::LoggedRequest;
use turnpike_wire::api::text::Text;
use turnpike_wire::form::Json as _;
use turnpike_wire::spend::LogRow;

use crate::auth::Caller;
use crate::http::ask::Ask;
use crate::problem::Problem;

/// The properties of keys by the events that last touched them.
type Profiles = BTreeMap<(KeyId, u64), KeyProfile>;

/// The rows that the caller may see: a member sees those of the keys that are theirs now.
pub(super) async fn shown(
    ask: &Ask,
    caller: &Caller,
    rows: Vec<LogRow>,
) -> Result<Vec<LoggedRequest>, Problem> {
    let visible = |state: &Organisation| -> Vec<(LogRow, Option<Arc<Key>>)> {
        let known = rows.into_iter().map(|row| {
            let key = state.keys.get(&row.record.key).cloned();
            (row, key)
        });
        known.filter(|(_, key)| may_see(caller, key.as_deref())).collect()
    };
    let visible = ask.read(visible).await?;
    let profiles = profiles(ask, &visible).await?;
    Ok(visible.iter().map(|(row, key)| view(row, key.as_deref(), &profiles)).collect())
}

fn may_see(caller: &Caller, key: Option<&Key>) -> bool {
    key.map_or_else(|| caller.reads_all().is_ok(), |key| caller.requester.may_see(key))
}

async fn profiles(ask: &Ask, rows: &[(LogRow, Option<Arc<Key>>)]) -> Result<Profiles, Problem> {
    let wanted: BTreeSet<(KeyId, u64)> =
        rows.iter().map(|(row, _)| (row.record.key, row.record.key_seq)).collect();
    let snapshot = ask.snapshot().await?;
    let reads = wanted.into_iter().map(async |(key, seq)| {
        let profile = log::profile(&*snapshot, ask.org, key, seq).await;
        profile.map(|profile| profile.map(|profile| ((key, seq), profile)))
    });
    Ok(try_join_all(reads).await?.into_iter().flatten().collect())
}

fn view(row: &LogRow, key: Option<&Key>, profiles: &Profiles) -> LoggedRequest {
    let record = &row.record;
    // Where nothing says what the key was then, what it is now is nearest.
    let now = key.map(|key| &key.profile);
    let profile = profiles.get(&(record.key, record.key_seq)).or(now);
    let metadata = profile.and_then(|profile| profile.metadata.as_deref());
    LoggedRequest {
        id: Text(record.request),
        at: Text(record.at),
        key_id: Text(record.key),
        key_name: profile.map(|profile| profile.name.to_string()),
        metadata: metadata.and_then(|text| serde_json::from_str(text).ok()),
        key_deleted: key.is_none(),
        token_id: record.token.map(|token| token.to_string()),
        model: Some(record.model.to_string()).filter(|model| !model.is_empty()),
        provider_id: record.provider.map(Text),
        server: record.server.as_deref().map(Into::into),
        tool: record.tool.as_deref().map(Into::into),
        legacy: record.legacy,
        streamed: record.streamed,
        status: record.status,
        code: record.denial.map(|denial| denial.code().to_owned()),
        decision_id: record.decision.as_deref().map(Into::into),
        admitted: !record.unmetered,
        repeats: record.repeats,
        failovers: record.failovers,
        usage: record.usage.json(),
        source: Text(record.source),
        suspect: record.suspect,
        cost_usd: Text(record.cost),
        reserved_usd: Text(record.reserved),
        reserved_tokens: record.reserved_tokens,
        price_version: record.price_version,
        multiplier: Text(record.multiplier),
        latency_ms: record.latency_ms,
        gateway_id: Text(row.gateway),
        epoch: Text(row.epoch),
        number: row.number,
    }
}
