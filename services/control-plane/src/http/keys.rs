//! `/orgs/{org}/keys`: made, changed, and everything that is done to one.

mod actions;
mod ephemeral;
mod explain;
pub(crate) mod import;
mod list;
mod migrate;
mod view;

use serde_json::{Map, Value};
use turnpike_domain::command::{Command, KeyDraft, KeyPatch};
use turnpike_domain::event::Event;
use turnpike_domain::id::KeyId;
use turnpike_domain::limit::Limits;
use turnpike_domain::scope::Scopes;
use turnpike_runtime::entropy;
use turnpike_wire::api::ephemeral::{KeyKind, NewKeyForm};
use turnpike_wire::api::input::{mistake, remove_nulls};
use turnpike_wire::api::key::{Key, KeyForm};
use turnpike_wire::api::propagation::Deleted;
use zeroize::Zeroizing;

use super::ask::{Ask, PAGE, WAIT};
use super::execute::{Tries, Wanted};
use super::reply::Reply;
use super::route::{Answer, BASE, Gives, Param, Route, Verb, shape};
use super::secrets;
use crate::auth::Caller;
use crate::problem::Problem;

/// Filters and order of the list.
const LIST: &[Param] = &[
    Param::text("search", "Part of the name or of the masked secret."),
    Param::text("status", "active, inactive, expired, revoked or exhausted."),
    Param::text("owner", "A member's id."),
    Param::text("project", "A project's id."),
    Param::text("legacy", "`true`: keys that a legacy secret opens; `false`: the others."),
    Param::text("sort", "name, owner, status, requests or created_at; `-` before it descends."),
];

pub(super) fn routes() -> Vec<Route> {
    let written = |created, secret| Gives::Written { thing: shape::<Key>(), created, secret };
    let mut routes = vec![
        Route::new(Verb::Get, "/orgs/{org}/keys", "listKeys", list::list)
            .about("Lists keys; a member sees their own.")
            .query(&[PAGE, LIST])
            .gives(Gives::Page(shape::<Key>())),
        Route::new(Verb::Post, "/orgs/{org}/keys", "createKey", create)
            .about("Makes a key. Its secret, or its ephemeral token, is shown this once.")
            .query(&[WAIT])
            .takes::<NewKeyForm>()
            .gives(written(true, true)),
        Route::new(Verb::Get, "/orgs/{org}/keys/{key}", "getKey", get)
            .about("Shows a key.")
            .gives(Gives::Thing(shape::<Key>())),
        Route::new(Verb::Patch, "/orgs/{org}/keys/{key}", "changeKey", change)
            .about("Changes a key. Parts of limits and scopes are laid over those that stand.")
            .query(&[WAIT])
            .takes::<KeyForm>()
            .gives(written(false, false)),
        Route::new(Verb::Delete, "/orgs/{org}/keys/{key}", "deleteKey", delete)
            .about("Deletes a key for ever.")
            .query(&[WAIT])
            .gives(Gives::Written { thing: shape::<Deleted>(), created: false, secret: false }),
    ];
    routes.extend(actions::routes());
    routes.extend(ephemeral::routes());
    routes.extend(import::routes());
    routes.extend(migrate::routes());
    routes.extend(explain::routes());
    routes
}

async fn create(mut ask: Ask, caller: Caller) -> Answer {
    let form: NewKeyForm = ask.shape()?;
    let key = KeyId(entropy::id(ask.now));
    let (shown, command) = match form.kind.map(|kind| kind.0) {
        Some(KeyKind::Ephemeral) => ephemeral::alone(&mut ask, key, form)?,
        Some(KeyKind::Model) | None => {
            if form.expires_in_seconds.is_some() {
                let message = "is only of a key whose kind is ephemeral: say expires_at";
                mistake(&mut ask.mistakes, "/expires_in_seconds", message);
            }
            let (plain, secret) = secrets::mint_key(&ask)?;
            let draft = Box::new(draft(&form.into()));
            let shown = Zeroizing::new(plain.expose().to_owned());
            (shown, Command::CreateKey { key, draft, secret })
        }
    };
    let done = ask.execute(&caller, command).await?;
    let made = done.made(|event| {
        let Event::KeyCreated { key, .. } = event else { return None };
        Some(*key)
    })?;
    let (thing, seq) = view::stand(&ask, &caller, made).await?;
    let place = format!("{BASE}/orgs/{}/keys/{made}", ask.org);
    Ok(done.reply_with(thing, Some(&shown))?.created(&place).version(seq))
}

async fn get(ask: Ask, caller: Caller) -> Answer {
    let (thing, seq) = view::stand(&ask, &caller, ask.id("key", "key")?).await?;
    Ok(Reply::json(&thing)?.version(seq))
}

async fn change(mut ask: Ask, caller: Caller) -> Answer {
    let key = ask.id("key", "key")?;
    let mut tries = Tries::default();
    let done = loop {
        let (now, seq) = view::stand(&ask, &caller, key).await?;
        let changes = ask.object()?;
        let mut form: KeyForm = ask.merged(standing(&now)?)?;
        // Whose key it is and what it costs cannot be taken away, only given anew.
        for (name, there) in
            [("owner_id", form.owner_id.is_some()), ("plan_id", form.plan_id.is_some())]
        {
            if changes.get(name).is_some_and(Value::is_null) && !there {
                let pointer = format!("/{name}");
                let message = "must not be null";
                mistake(&mut ask.mistakes, &pointer, message);
            }
        }
        if let Some(metadata) = form.metadata.take() {
            let mut metadata = Value::Object(metadata);
            remove_nulls(&mut metadata);
            form.metadata = metadata.as_object().cloned();
        }
        let patch = Box::new(patch(&form));
        let wanted = Wanted::Organisation(ask.org, Command::ChangeKey { key, patch });
        if let Some(done) = ask.change(&caller, wanted, seq, &mut tries).await? {
            break done;
        }
    };
    let (thing, seq) = view::stand(&ask, &caller, key).await?;
    Ok(done.reply(thing)?.version(seq))
}

async fn delete(ask: Ask, caller: Caller) -> Answer {
    let key: KeyId = ask.id("key", "key")?;
    ask.execute(&caller, Command::DeleteKey { key }).await?.deleted(key)
}

/// What can be changed of a key, as it stands.
fn standing(key: &Key) -> Result<Value, Problem> {
    let form = KeyForm {
        name: key.name.clone(),
        owner_id: key.owner_id,
        project_id: key.project_id,
        plan_id: Some(key.plan_id),
        expires_at: key.expires_at,
        limits: Some(key.limits.clone()),
        scopes: Some(key.scopes.clone()),
        metadata: key.metadata.clone(),
    };
    serde_json::to_value(form).map_err(|error| Problem::internal(&error))
}

fn draft(form: &KeyForm) -> KeyDraft {
    KeyDraft {
        name: form.name.as_str().into(),
        owner: form.owner_id.map(|id| id.0),
        project: form.project_id.map(|id| id.0),
        plan: form.plan_id.map(|id| id.0),
        expires_at: form.expires_at.map(|time| time.0),
        limits: form.limits.as_ref().map(Limits::from).unwrap_or_default(),
        scopes: form.scopes.as_ref().map(Scopes::from).unwrap_or_default(),
        metadata: metadata(form.metadata.as_ref()),
    }
}

/// All of a key's properties: what was not named is what stood.
fn patch(form: &KeyForm) -> KeyPatch {
    KeyPatch {
        name: Some(form.name.as_str().into()),
        owner: form.owner_id.map(|id| id.0),
        project: Some(form.project_id.map(|id| id.0)),
        plan: form.plan_id.map(|id| id.0),
        expires_at: Some(form.expires_at.map(|time| time.0)),
        limits: Some(form.limits.as_ref().map(Limits::from).unwrap_or_default()),
        scopes: Some(form.scopes.as_ref().map(Scopes::from).unwrap_or_default()),
        metadata: Some(metadata(form.metadata.as_ref())),
    }
}

fn metadata(fields: Option<&Map<String, Value>>) -> Option<Box<str>> {
    Some(serde_json::to_string(fields?).ok()?.into())
}
