//! `/orgs/{org}/mcp-servers`: MCP servers that keys may reach, and the tools that they offer.

use std::collections::BTreeMap;

use serde_json::Value;
use turnpike_domain::command::Command;
use turnpike_domain::event::Event;
use turnpike_domain::id::McpServerId;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::secret::Sealed;
use turnpike_domain::state::{McpServer as Known, McpServerSpec, Role};
use turnpike_runtime::entropy;
use turnpike_wire::api::mcp::{McpServer, McpServerForm, McpTool};
use turnpike_wire::api::propagation::Deleted;
use turnpike_wire::api::text::Text;

use super::ask::{Ask, PAGE, WAIT};
use super::cursor::Rank;
use super::execute::{Tries, Wanted};
use super::reply::Reply;
use super::route::{Answer, BASE, Gives, Param, Route, Verb, shape};
use super::secrets;
use crate::auth::Caller;
use crate::mcp;
use crate::problem::{Code, Problem};

/// Waits of a server that names none, in milliseconds: a connection is quick or it fails; a tool
/// may work for minutes.
const CONNECT_MS: u64 = 5_000;
const ANSWER_MS: u64 = 300_000;
const IDLE_MS: u64 = 300_000;

const ALL: &str = "/orgs/{org}/mcp-servers";
const ONE: &str = "/orgs/{org}/mcp-servers/{server}";
const SEARCH: &[Param] = &[Param::text("search", "A part of a name or description.")];

pub(super) fn routes() -> Vec<Route> {
    let written = |created| Gives::Written { thing: shape::<McpServer>(), created, secret: false };
    vec![
        Route::new(Verb::Get, ALL, "listMcpServers", list)
            .about("Lists MCP servers. Credentials are never shown.")
            .query(&[PAGE])
            .gives(Gives::Page(shape::<McpServer>())),
        Route::new(Verb::Post, ALL, "createMcpServer", create)
            .about("Registers an MCP server (admin). Its tools are not asked for yet.")
            .query(&[WAIT])
            .takes::<McpServerForm>()
            .gives(written(true)),
        Route::new(Verb::Get, ONE, "getMcpServer", get)
            .about("Shows an MCP server.")
            .gives(Gives::Thing(shape::<McpServer>())),
        Route::new(Verb::Patch, ONE, "changeMcpServer", change)
            .about(
                "Changes an MCP server, but for its name. A credential that is absent stays, null \
                    takes it away.",
            )
            .query(&[WAIT])
            .takes::<McpServerForm>()
            .gives(written(false)),
        Route::new(Verb::Delete, ONE, "deleteMcpServer", delete)
            .about("Removes an MCP server.")
            .query(&[WAIT])
            .gives(Gives::Written { thing: shape::<Deleted>(), created: false, secret: false }),
        Route::new(Verb::Post, "/orgs/{org}/mcp-servers/{server}/refresh", "refreshMcp", refresh)
            .about("Asks an MCP server for its tools, and keeps their names and descriptions.")
            .query(&[WAIT])
            .gives(written(false)),
        Route::new(Verb::Get, "/orgs/{org}/mcp-servers/{server}/tools", "listMcpTools", tools)
            .about("Lists the tools that an MCP server offered when it was last asked.")
            .query(&[PAGE, SEARCH])
            .gives(Gives::Page(shape::<McpTool>())),
    ]
}

async fn list(ask: Ask, _: Caller) -> Answer {
    let span = ask.span(false)?;
    let all = |id: &McpServerId, known: &Known| ((Rank::Number(0), id.0), shown(*id, known));
    let page = ask.read(|state| span.page(state.mcp_servers.iter().map(|(id, it)| all(id, it))));
    Reply::json(&page.await?)
}

async fn create(mut ask: Ask, caller: Caller) -> Answer {
    let form: McpServerForm = ask.shape()?;
    let credential = sealed(&ask, form.credential.as_deref())?;
    let server = McpServerId(entropy::id(ask.now));
    let spec = Some(Box::new(spec(&form, credential)));
    let wanted = Wanted::Organisation(ask.org, Command::ChangeMcpServer { server, spec });
    let done = ask.carry(&caller, wanted).await?;
    let made = done.made(|event| {
        let Event::McpServerChanged { server, .. } = event else { return None };
        Some(*server)
    })?;
    let known = find(&ask, made).await?;
    let place = format!("{BASE}/orgs/{}/mcp-servers/{made}", ask.org);
    Ok(done.reply(shown(made, &known))?.created(&place).version(known.seq))
}

async fn get(ask: Ask, _: Caller) -> Answer {
    let server = ask.id("server", NOUN)?;
    let known = find(&ask, server).await?;
    Ok(Reply::json(&shown(server, &known))?.version(known.seq))
}

async fn change(mut ask: Ask, caller: Caller) -> Answer {
    let server: McpServerId = ask.id("server", NOUN)?;
    let mut tries = Tries::default();
    let done = loop {
        let known = find(&ask, server).await?;
        let changes = ask.object()?;
        let form: McpServerForm = ask.merged(standing(&known.spec)?)?;
        let credential = match changes.get("credential") {
            None => known.spec.credential.clone(),
            Some(Value::Null) => None,
            Some(_) => sealed(&ask, form.credential.as_deref())?,
        };
        let mut spec = spec(&form, credential);
        // What another place offers is not known yet.
        spec.catalogue = known.spec.catalogue.clone().filter(|_| spec.url == known.spec.url);
        let command = Command::ChangeMcpServer { server, spec: Some(Box::new(spec)) };
        let wanted = Wanted::Organisation(ask.org, command);
        if let Some(done) = ask.change(&caller, wanted, known.seq, &mut tries).await? {
            break done;
        }
    };
    let known = find(&ask, server).await?;
    Ok(done.reply(shown(server, &known))?.version(known.seq))
}

async fn delete(ask: Ask, caller: Caller) -> Answer {
    let server: McpServerId = ask.id("server", NOUN)?;
    let command = Command::ChangeMcpServer { server, spec: None };
    ask.carry(&caller, Wanted::Organisation(ask.org, command)).await?.deleted(server)
}

async fn refresh(mut ask: Ask, caller: Caller) -> Answer {
    ask.nothing_more()?;
    let server: McpServerId = ask.id("server", NOUN)?;
    // Before anybody is called.
    caller.requester.at_least(Role::Admin)?;
    if !ask.mistakes.is_empty() {
        return Err(Problem::invalid(ask.mistakes));
    }
    let asked = find(&ask, server).await?.spec;
    let credential = asked.credential.as_ref().map(|sealed| ask.app().keys.provider.open(sealed));
    let credential = credential.transpose().map_err(|error| Problem::internal(&error))?;
    let credential = credential.as_deref().map(Vec::as_slice);
    let found = mcp::catalogue(ask.app(), &asked, credential, ask.now).await;
    let found = found.map_err(|error| {
        tracing::info!(server = %asked.name, %error, "an MCP server did not tell its tools");
        Problem::new(Code::StateConflict, format!("the MCP server did not tell its tools: {error}"))
    })?;
    let mut tries = Tries::default();
    let done = loop {
        let known = find(&ask, server).await?;
        let spec = McpServerSpec { catalogue: Some(found.clone()), ..known.spec };
        let command = Command::ChangeMcpServer { server, spec: Some(Box::new(spec)) };
        let wanted = Wanted::Organisation(ask.org, command);
        if let Some(done) = ask.change(&caller, wanted, known.seq, &mut tries).await? {
            break done;
        }
    };
    let known = find(&ask, server).await?;
    Ok(done.reply(shown(server, &known))?.version(known.seq))
}

async fn tools(ask: Ask, _: Caller) -> Answer {
    let known = find(&ask, ask.id("server", NOUN)?).await?;
    let span = ask.span(false)?;
    let wanted = ask.query("search").unwrap_or_default().to_lowercase();
    let all = known.spec.catalogue.map(|catalogue| catalogue.tools).unwrap_or_default();
    let fits = |text: &str| text.to_lowercase().contains(&wanted);
    let fitting = all.into_iter().filter(|tool| fits(&tool.name) || fits(&tool.description));
    let shown = fitting.map(|tool| {
        let (name, description) = (tool.name.to_string(), tool.description.to_string());
        ((Rank::Text(name.clone()), 0), McpTool { name, description })
    });
    Reply::json(&span.page(shown))
}

const NOUN: &str = "MCP server";

fn sealed(ask: &Ask, credential: Option<&str>) -> Result<Option<Sealed>, Problem> {
    let Some(credential) = credential else { return Ok(None) };
    let sound =
        !credential.is_empty() && credential.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !sound || credential.len() > MAX_CREDENTIAL_BYTES {
        let message = "must have 1 to 8,000 visible ASCII characters; null for none";
        return Err(Problem::field("/credential", message));
    }
    secrets::seal(&ask.app().keys.provider, credential.as_bytes()).map(Some)
}

/// The most bytes of a credential: it goes out in a header.
const MAX_CREDENTIAL_BYTES: usize = 8_000;

async fn find(ask: &Ask, id: McpServerId) -> Result<Known, Problem> {
    let found = ask.read(|state| state.mcp_servers.get(&id).cloned()).await?;
    found.ok_or_else(|| Problem::not_found(NOUN))
}

fn spec(form: &McpServerForm, credential: Option<Sealed>) -> McpServerSpec {
    let headers = form.headers.iter().flatten();
    McpServerSpec {
        name: form.name.as_str().into(),
        url: form.url.as_str().into(),
        credential_header: form.credential_header.as_deref().map(Into::into),
        credential,
        headers: headers
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect(),
        connect_timeout_ms: form.connect_timeout_ms.unwrap_or(CONNECT_MS),
        answer_timeout_ms: form.answer_timeout_ms.unwrap_or(ANSWER_MS),
        idle_timeout_ms: form.idle_timeout_ms.unwrap_or(IDLE_MS),
        request_fee: form.request_fee_usd.map_or(NanoUsd::ZERO, |fee| fee.0),
        disabled: !form.enabled.unwrap_or(true),
        catalogue: None,
    }
}

/// What stands, as a form; the credential is not part of it.
fn standing(spec: &McpServerSpec) -> Result<Value, Problem> {
    let form = McpServerForm {
        name: spec.name.to_string(),
        url: spec.url.to_string(),
        credential: None,
        credential_header: spec.credential_header.as_deref().map(str::to_owned),
        headers: Some(headers(spec)),
        connect_timeout_ms: Some(spec.connect_timeout_ms),
        answer_timeout_ms: Some(spec.answer_timeout_ms),
        idle_timeout_ms: Some(spec.idle_timeout_ms),
        request_fee_usd: Some(Text(spec.request_fee)),
        enabled: Some(!spec.disabled),
    };
    serde_json::to_value(form).map_err(|error| Problem::internal(&error))
}

fn shown(id: McpServerId, known: &Known) -> McpServer {
    let spec = &known.spec;
    let tools = spec.catalogue.as_ref().map(|catalogue| catalogue.tools.len());
    McpServer {
        id: Text(id),
        name: spec.name.to_string(),
        url: spec.url.to_string(),
        has_credential: spec.credential.is_some(),
        credential_header: spec.credential_header.as_deref().map(str::to_owned),
        headers: headers(spec),
        connect_timeout_ms: spec.connect_timeout_ms,
        answer_timeout_ms: spec.answer_timeout_ms,
        idle_timeout_ms: spec.idle_timeout_ms,
        request_fee_usd: Text(spec.request_fee),
        enabled: !spec.disabled,
        tools: tools.and_then(|tools| u64::try_from(tools).ok()),
        refreshed_at: spec.catalogue.as_ref().map(|catalogue| Text(catalogue.at)),
    }
}

fn headers(spec: &McpServerSpec) -> BTreeMap<String, String> {
    spec.headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}
