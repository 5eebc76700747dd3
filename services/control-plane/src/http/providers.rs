//! `/providers` and `/orgs/{org}/providers`: where models are served, for all or for one.

mod told;

use serde_json::Value;
use turnpike_domain::command::{Command, PlatformCommand};
use turnpike_domain::event::Event;
use turnpike_domain::id::{OrgId, ProviderId};
use turnpike_domain::secret::Sealed;
use turnpike_domain::state::{Provider as Known, ProviderSpec};
use turnpike_runtime::{connector, entropy};
use turnpike_wire::api::propagation::Deleted;
use turnpike_wire::api::provider::{Provider as Shown, ProviderForm};
use turnpike_wire::api::text::Text;

use self::told::Told;
use super::ask::{Ask, PAGE, WAIT};
use super::cursor::Rank;
use super::execute::{Tries, Wanted};
use super::reply::Reply;
use super::route::{Answer, BASE, Gives, Route, Verb, shape};
use super::secrets;
use crate::auth::Caller;
use crate::problem::Problem;

/// Waits of a provider that names none, in milliseconds: a connection is quick or it fails, a long
/// answer thinks for minutes.
const CONNECT_MS: u64 = 5_000;
const ANSWER_MS: u64 = 600_000;
const IDLE_MS: u64 = 300_000;
/// Longer than any model speaks: whoever trickles longer only holds a budget.
const TOTAL_MS: u64 = 3_600_000;
/// Failures in a row of a provider that names no number: one may be chance, five in a row are not.
const MAX_FAILURES: u32 = 5;

pub(super) fn routes() -> Vec<Route> {
    let mut routes = Vec::new();
    let own = ["/orgs/{org}/providers", "/orgs/{org}/providers/{provider}"];
    let own_ids = ["listProviders", "createProvider", "getProvider", "changeProvider"];
    routes.extend(of(own, own_ids, "deleteProvider"));
    let shared = ["/providers", "/providers/{provider}"];
    let shared_ids = [
        "listPlatformProviders",
        "createPlatformProvider",
        "getPlatformProvider",
        "changePlatformProvider",
    ];
    routes.extend(of(shared, shared_ids, "deletePlatformProvider"));
    routes
}

fn of(
    [all, one]: [&'static str; 2],
    [list_id, create_id, get_id, change_id]: [&'static str; 4],
    delete_id: &'static str,
) -> Vec<Route> {
    let written = |created| Gives::Written { thing: shape::<Shown>(), created, secret: false };
    vec![
        Route::new(Verb::Get, all, list_id, list)
            .about("Lists providers. Credentials are never shown.")
            .query(&[PAGE])
            .gives(Gives::Page(shape::<Shown>())),
        Route::new(Verb::Post, all, create_id, create)
            .about("Adds a provider (an organisation's: admin; the platform's: operator).")
            .query(&[WAIT])
            .takes::<ProviderForm>()
            .gives(written(true)),
        Route::new(Verb::Get, one, get_id, get)
            .about("Shows a provider.")
            .gives(Gives::Thing(shape::<Shown>())),
        Route::new(Verb::Patch, one, change_id, change)
            .about("Changes a provider. A credential that is absent stays, null takes it away.")
            .query(&[WAIT])
            .takes::<ProviderForm>()
            .gives(written(false)),
        Route::new(Verb::Delete, one, delete_id, delete)
            .about("Removes a provider.")
            .query(&[WAIT])
            .gives(Gives::Written { thing: shape::<Deleted>(), created: false, secret: false }),
    ]
}

async fn list(ask: Ask, caller: Caller) -> Answer {
    let span = ask.span(false)?;
    let all = all(&ask, &caller).await?.into_iter();
    let told = Told::read(&ask, &caller).await?;
    let shown = all.map(|(id, known)| ((Rank::Number(0), id.0), told.shown(&ask, id, &known)));
    Reply::json(&span.page(shown))
}

async fn create(mut ask: Ask, caller: Caller) -> Answer {
    let form: ProviderForm = ask.shape()?;
    check_roots(&form)?;
    let credential = sealed(&ask, form.credential.as_deref())?;
    let provider = ProviderId(entropy::id(ask.now));
    let wanted = command(&ask, provider, Some(Box::new(spec(&form, credential))));
    let done = ask.carry(&caller, wanted).await?;
    let made = done.made(|event| {
        let Event::ProviderChanged { provider, .. } = event else { return None };
        Some(*provider)
    })?;
    let (thing, seq) = stand(&ask, &caller, made).await?;
    let place = if ask.org == OrgId::PLATFORM {
        format!("{BASE}/providers/{made}")
    } else {
        format!("{BASE}/orgs/{}/providers/{made}", ask.org)
    };
    Ok(done.reply(thing)?.created(&place).version(seq))
}

async fn get(ask: Ask, caller: Caller) -> Answer {
    let (thing, seq) = stand(&ask, &caller, ask.id("provider", "provider")?).await?;
    Ok(Reply::json(&thing)?.version(seq))
}

async fn change(mut ask: Ask, caller: Caller) -> Answer {
    let provider: ProviderId = ask.id("provider", "provider")?;
    let mut tries = Tries::default();
    let done = loop {
        let known = find(&ask, &caller, provider).await?;
        let changes = ask.object()?;
        let form: ProviderForm = ask.merged(standing(&known.spec)?)?;
        check_roots(&form)?;
        let credential = match changes.get("credential") {
            None => known.spec.credential.clone(),
            Some(Value::Null) => None,
            Some(_) => sealed(&ask, form.credential.as_deref())?,
        };
        let spec = Some(Box::new(spec(&form, credential)));
        let wanted = command(&ask, provider, spec);
        if let Some(done) = ask.change(&caller, wanted, known.seq, &mut tries).await? {
            break done;
        }
    };
    let (thing, seq) = stand(&ask, &caller, provider).await?;
    Ok(done.reply(thing)?.version(seq))
}

async fn delete(ask: Ask, caller: Caller) -> Answer {
    let provider: ProviderId = ask.id("provider", "provider")?;
    ask.carry(&caller, command(&ask, provider, None)).await?.deleted(provider)
}

fn command(ask: &Ask, provider: ProviderId, spec: Option<Box<ProviderSpec>>) -> Wanted {
    if ask.org == OrgId::PLATFORM {
        Wanted::Platform(PlatformCommand::ChangeProvider { provider, spec })
    } else {
        Wanted::Organisation(ask.org, Command::ChangeProvider { provider, spec })
    }
}

fn sealed(ask: &Ask, credential: Option<&str>) -> Result<Option<Sealed>, Problem> {
    let Some(credential) = credential else { return Ok(None) };
    if credential.is_empty() || credential.len() > turnpike_wire::seal::MAX_PLAIN_BYTES {
        return Err(Problem::field("/credential", "must have 1 to 16,384 bytes; null for none"));
    }
    secrets::seal(&ask.app().keys.provider, credential.as_bytes()).map(Some)
}

/// Whether the roots can be used: a gateway that finds out has no way to say so to whoever gave
/// them.
fn check_roots(form: &ProviderForm) -> Result<(), Problem> {
    let Some(roots) = &form.tls_roots else { return Ok(()) };
    let wrong = |error| Problem::field("/tls_roots", &format!("cannot be used: {error}"));
    connector::check_roots(roots).map_err(wrong)
}

/// All providers of the stream that the path is about.
async fn all(ask: &Ask, caller: &Caller) -> Result<Vec<(ProviderId, Known)>, Problem> {
    let pairs = |providers: &std::collections::BTreeMap<ProviderId, Known>| {
        providers.iter().map(|(id, known)| (*id, known.clone())).collect()
    };
    if ask.org != OrgId::PLATFORM {
        return ask.read(|state| pairs(&state.providers)).await;
    }
    // What the platform's providers are called is needed for scopes; the rest is the operator's.
    let mut all: Vec<(ProviderId, Known)> =
        ask.app().streams().platform(|state| pairs(&state.providers)).await?;
    if !caller.is_operator() {
        for (_, known) in &mut all {
            known.spec.base_url = "".into();
            known.spec.headers.clear();
            known.spec.tls_roots = None;
        }
    }
    Ok(all)
}

async fn find(ask: &Ask, caller: &Caller, id: ProviderId) -> Result<Known, Problem> {
    let mut all = all(ask, caller).await?.into_iter();
    let found = all.find(|(known, _)| *known == id).map(|(_, known)| known);
    found.ok_or_else(|| Problem::not_found("provider"))
}

async fn stand(ask: &Ask, caller: &Caller, id: ProviderId) -> Result<(Shown, u64), Problem> {
    let known = find(ask, caller, id).await?;
    Ok((Told::read(ask, caller).await?.shown(ask, id, &known), known.seq))
}

fn spec(form: &ProviderForm, credential: Option<Sealed>) -> ProviderSpec {
    let headers = form.headers.iter().flatten();
    ProviderSpec {
        name: form.name.as_str().into(),
        kind: form.kind.0,
        base_url: form.base_url.as_str().into(),
        credential,
        headers: headers
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect(),
        serves: form.serves.iter().flatten().map(|model| model.as_str().into()).collect(),
        connect_timeout_ms: form.connect_timeout_ms.unwrap_or(CONNECT_MS),
        answer_timeout_ms: form.answer_timeout_ms.unwrap_or(ANSWER_MS),
        idle_timeout_ms: form.idle_timeout_ms.unwrap_or(IDLE_MS),
        total_timeout_ms: form.total_timeout_ms.unwrap_or(TOTAL_MS),
        max_concurrency: form.max_concurrency.unwrap_or(0),
        disabled: form.disabled.unwrap_or(false),
        tls_roots: form.tls_roots.as_deref().map(Into::into),
        max_failures: form.max_failures.unwrap_or(MAX_FAILURES),
    }
}

/// What stands, as a form; the credential is not part of it.
fn standing(spec: &ProviderSpec) -> Result<Value, Problem> {
    let form = ProviderForm {
        name: spec.name.to_string(),
        kind: Text(spec.kind),
        base_url: spec.base_url.to_string(),
        credential: None,
        headers: Some(headers(spec)),
        serves: serves(spec),
        connect_timeout_ms: Some(spec.connect_timeout_ms),
        answer_timeout_ms: Some(spec.answer_timeout_ms),
        idle_timeout_ms: Some(spec.idle_timeout_ms),
        total_timeout_ms: Some(spec.total_timeout_ms),
        max_concurrency: Some(spec.max_concurrency),
        disabled: Some(spec.disabled),
        tls_roots: spec.tls_roots.as_deref().map(Into::into),
        max_failures: Some(spec.max_failures),
    };
    serde_json::to_value(form).map_err(|error| Problem::internal(&error))
}

fn headers(spec: &ProviderSpec) -> std::collections::BTreeMap<String, String> {
    spec.headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn serves(spec: &ProviderSpec) -> Option<Vec<String>> {
    let serves: Vec<String> = spec.serves.iter().map(ToString::to_string).collect();
    (!serves.is_empty()).then_some(serves)
}
