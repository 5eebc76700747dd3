//! What is done to one key: rotated, stopped, brought back, revealed.

use turnpike_domain::command::Command;
use turnpike_domain::id::KeyId;
use turnpike_domain::state::RevokeReason;
use turnpike_store::log;
use turnpike_wire::api::key::{ActivateForm, Key, RevokeForm, RotateForm};
use turnpike_wire::api::propagation::Propagation;

use super::view;
use crate::auth::Caller;
use crate::http::ask::{Ask, WAIT};
use crate::http::execute::Done;
use crate::http::reply::Reply;
use crate::http::route::{Answer, Gives, Route, Verb, shape};
use crate::http::secrets;
use crate::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    let written = |secret| Gives::Written { thing: shape::<Key>(), created: false, secret };
    vec![
        Route::new(Verb::Post, "/orgs/{org}/keys/{key}/rotate", "rotateKey", rotate)
            .about(
                "Gives the key a new secret, shown this once. The old one dies at once, or \
                    after the overlap.",
            )
            .query(&[WAIT])
            .takes::<RotateForm>()
            .gives(written(true)),
        Route::new(Verb::Post, "/orgs/{org}/keys/{key}/disable", "disableKey", disable)
            .about("Switches the key off.")
            .query(&[WAIT])
            .gives(written(false)),
        Route::new(Verb::Post, "/orgs/{org}/keys/{key}/enable", "enableKey", enable)
            .about("Switches the key on.")
            .query(&[WAIT])
            .gives(written(false)),
        Route::new(Verb::Post, "/orgs/{org}/keys/{key}/revoke", "revokeKey", revoke)
            .about("Stops the key for a reason.")
            .query(&[WAIT])
            .takes::<RevokeForm>()
            .gives(written(false)),
        Route::new(Verb::Post, "/orgs/{org}/keys/{key}/activate", "activateKey", activate)
            .about(
                "Makes an inactive or revoked key work again; with a rotation it gets a new \
                    secret, shown this once.",
            )
            .query(&[WAIT])
            .takes::<ActivateForm>()
            .gives(written(true)),
        Route::new(Verb::Post, "/orgs/{org}/keys/{key}/reveal", "revealKey", reveal)
            .about("Reads a recoverable secret; the reading is an audited event.")
            .query(&[WAIT])
            .gives(written(true)),
        Route::new(Verb::Get, "/orgs/{org}/keys/{key}/propagation", "getPropagation", propagation)
            .about("Tells how many gateways have applied all that has happened to the key.")
            .query(&[WAIT])
            .gives(Gives::Thing(shape::<Propagation>())),
    ]
}

async fn rotate(mut ask: Ask, caller: Caller) -> Answer {
    let key = ask.id("key", "key")?;
    let form: RotateForm = ask.shape()?;
    let overlap_ms = u64::from(form.overlap_seconds.unwrap_or(0)).saturating_mul(1_000);
    let (plain, secret) = secrets::mint_key(&ask)?;
    let done = ask.execute(&caller, Command::RotateKey { key, secret, overlap_ms }).await?;
    reply(&ask, &caller, key, done, Some(plain.expose())).await
}

async fn disable(mut ask: Ask, caller: Caller) -> Answer {
    ask.nothing_more()?;
    let key = ask.id("key", "key")?;
    let done = ask.execute(&caller, Command::DisableKey { key }).await?;
    reply(&ask, &caller, key, done, None).await
}

async fn enable(mut ask: Ask, caller: Caller) -> Answer {
    ask.nothing_more()?;
    let key = ask.id("key", "key")?;
    let done = ask.execute(&caller, Command::EnableKey { key }).await?;
    reply(&ask, &caller, key, done, None).await
}

async fn revoke(mut ask: Ask, caller: Caller) -> Answer {
    let key = ask.id("key", "key")?;
    let form: RevokeForm = ask.shape()?;
    let reason = form.reason.map_or(RevokeReason::Other, |reason| reason.0);
    let done = ask.execute(&caller, Command::RevokeKey { key, reason }).await?;
    reply(&ask, &caller, key, done, None).await
}

async fn activate(mut ask: Ask, caller: Caller) -> Answer {
    let key = ask.id("key", "key")?;
    let form: ActivateForm = ask.shape()?;
    if form.rotate != Some(true) {
        let done = ask.execute(&caller, Command::ActivateKey { key, rotate: None }).await?;
        return reply(&ask, &caller, key, done, None).await;
    }
    let (plain, secret) = secrets::mint_key(&ask)?;
    let rotate = Some(secret);
    let done = ask.execute(&caller, Command::ActivateKey { key, rotate }).await?;
    reply(&ask, &caller, key, done, Some(plain.expose())).await
}

async fn reveal(mut ask: Ask, caller: Caller) -> Answer {
    ask.nothing_more()?;
    let key: KeyId = ask.id("key", "key")?;
    let done = ask.execute(&caller, Command::RevealSecret { key }).await?;
    // What is opened is what stands now: a rotation that came in between has its own event.
    let sealed = ask.read(|state| state.keys.get(&key)?.recoverable.clone()).await?;
    let sealed = sealed.ok_or_else(|| Problem::not_found("key"))?;
    let opened = ask.app().keys.recoverable.open(&sealed);
    let opened = opened.map_err(|error| Problem::internal(&error))?;
    let text = std::str::from_utf8(&opened).map_err(|error| Problem::internal(&error))?;
    reply(&ask, &caller, key, done, Some(text)).await
}

/// The end of the log stands for the key's last event: who has applied the one has applied the
/// other, and heartbeats carry everyone to the end within a second.
async fn propagation(ask: Ask, caller: Caller) -> Answer {
    view::stand(&ask, &caller, ask.id("key", "key")?).await?;
    let wait_ms = ask.wait()?.unwrap_or(0);
    let position = log::last_position(&*ask.snapshot().await?).await?;
    Reply::json(&ask.propagation(ask.org, position, wait_ms).await?)
}

async fn reply(ask: &Ask, by: &Caller, key: KeyId, done: Done, secret: Option<&str>) -> Answer {
    let (thing, seq) = view::stand(ask, by, key).await?;
    Ok(done.reply_with(thing, secret)?.version(seq))
}
