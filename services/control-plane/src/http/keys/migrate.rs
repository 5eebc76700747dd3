//! `/orgs/{org}/keys/{key}/migrate`: a legacy key becomes a full one while its callers change over.

use std::sync::Arc;

use turnpike_domain::command::Command;
use turnpike_domain::id::KeyId;
use turnpike_domain::refusal::Refusal;
use turnpike_domain::secret::StoredSecret;
use turnpike_domain::state::{Key as Known, Organisation};
use turnpike_domain::time::Timestamp;
use turnpike_store::rows::Total;
use turnpike_store::usage;
use turnpike_wire::api::import::{MigrateForm, Migration, SecretUse};
use turnpike_wire::api::key::Key;
use turnpike_wire::api::text::Text;

use super::view;
use crate::auth::Caller;
use crate::http::ask::{Ask, WAIT};
use crate::http::reply::Reply;
use crate::http::route::{Answer, Gives, Route, Verb, shape};
use crate::http::secrets;
use crate::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    let written = Gives::Written { thing: shape::<Key>(), created: false, secret: true };
    vec![
        Route::new(Verb::Get, "/orgs/{org}/keys/{key}/migrate", "getMigration", show)
            .about(
                "Tells how far a legacy key is on its way to a full one, and who still uses what.",
            )
            .gives(Gives::Thing(shape::<Migration>())),
        Route::new(Verb::Post, "/orgs/{org}/keys/{key}/migrate", "migrateKey", migrate)
            .about(
                "Gives a legacy key a new secret beside its own, shown this once; with `finish` \
                    its own ends.",
            )
            .query(&[WAIT])
            .takes::<MigrateForm>()
            .gives(written),
    ]
}

async fn migrate(mut ask: Ask, caller: Caller) -> Answer {
    let key: KeyId = ask.id("key", "key")?;
    let form: MigrateForm = ask.shape()?;
    let (command, plain) = if form.finish == Some(true) {
        (Command::FinishMigration { key }, None)
    } else {
        let (plain, secret) = secrets::mint_key(&ask)?;
        (Command::MigrateKey { key, secret }, Some(plain))
    };
    let done = ask.execute(&caller, command).await?;
    let (thing, seq) = view::stand(&ask, &caller, key).await?;
    let secret = plain.as_ref().map(|plain| plain.expose());
    Ok(done.reply_with(thing, secret)?.version(seq))
}

async fn show(ask: Ask, caller: Caller) -> Answer {
    let id: KeyId = ask.id("key", "key")?;
    let seen = |state: &Organisation| {
        state.keys.get(&id).filter(|key| caller.requester.may_see(key)).map(Arc::clone)
    };
    let missing = || Problem::from(Refusal::NotFound { noun: "key" });
    let key = ask.read(seen).await?.ok_or_else(missing)?;
    let total = usage::key(&*ask.snapshot().await?, ask.org, id).await?;
    Reply::json(&migration(&key, &total, ask.now))
}

fn migration(key: &Known, total: &Total, now: Timestamp) -> Migration {
    let used = |secret: &StoredSecret, until: Option<Timestamp>| {
        let legacy = secret.public_id.is_legacy();
        let (requests, at) = if legacy {
            (total.legacy, total.legacy_at)
        } else {
            (total.requests.saturating_sub(total.legacy), total.last_at)
        };
        SecretUse {
            preview: secret.preview.to_string(),
            legacy,
            until: until.map(Text),
            requests,
            last_used_at: (at > Timestamp::default()).then_some(Text(at)),
        }
    };
    let previous = key.previous.as_deref().filter(|previous| previous.works(now));
    let previous = previous.map(|previous| used(&previous.secret, previous.until));
    let secrets: Vec<SecretUse> =
        std::iter::once(used(&key.secret, None)).chain(previous).collect();
    let state = match secrets.as_slice() {
        [present, ..] if present.legacy => "legacy",
        [_, previous] if previous.legacy => "migrating",
        [..] => "full",
    };
    Migration { state: state.to_owned(), secrets }
}
