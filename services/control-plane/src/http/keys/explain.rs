//! `/orgs/{org}/keys/{key}/explain`: what would be decided of a request that nobody has made.

mod bound;
mod checks;
mod live;
mod rates;
mod ways;

use std::net::IpAddr;
use std::sync::Arc;

use turnpike_domain::admit::{Demand, Denial, LEAST_BYTES_PER_SECOND, key_works};
use turnpike_domain::ephemeral::Ended;
use turnpike_domain::id::{EphemeralId, KeyId};
use turnpike_domain::state::{Key as Known, Organisation, Platform, ProviderKind};
use turnpike_domain::time::Reset;
use turnpike_wire::api::explain::Explanation;
use turnpike_wire::api::text::Text;
use turnpike_wire::form::Named as _;

use super::ephemeral;
use crate::auth::Caller;
use crate::http::ask::Ask;
use crate::http::balances::{self, Balance};
use crate::http::figures::complete_up_to;
use crate::http::reply::Reply;
use crate::http::route::{Answer, Gives, Param, Route, Verb, shape};
use crate::presence::Fare;
use crate::problem::Problem;
use bound::Bounded;
use checks::Checks;
use live::Live;
use ways::Ways;

/// A request that nobody has made.
const REQUEST: &[Param] = &[
    Param::text("model", "The model that it calls; this or an MCP server must be given."),
    Param::text("mcp_server", "The name of the MCP server that it goes to."),
    Param::text("tool", "The tool of that server that it calls; none if absent."),
    Param::number("input_tokens", "Tokens of its input; 0 if absent."),
    Param::number("max_output_tokens", "The output maximum that it sets; none if absent."),
    Param::number("choices", "How many answers it asks for; 1 if absent."),
    Param::number("audio_seconds", "Seconds of the recording that it uploads; 0 if absent."),
    Param::text("ip", "The client's address; if absent the key's list is not checked."),
    Param::text("dialect", "openai, anthropic or gemini; if absent every provider will do."),
    Param::text("token", "An ephemeral token of the key that it comes with; none if absent."),
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Verb::Get, "/orgs/{org}/keys/{key}/explain", "explainKey", explain)
            .about(
                "Says what would be decided of a hypothetical request and why: every check in \
                    the gateways' order, what would be reserved, and how each limit stands. The \
                    counts of rates are asked of their owner, for a second at most.",
            )
            .query(&[REQUEST])
            .gives(Gives::Thing(shape::<Explanation>())),
    ]
}

/// What is asked about.
pub(super) struct Hypothesis {
    pub(super) target: Target,
    pub(super) demand: Demand,
    pub(super) address: Option<IpAddr>,
    /// The dialect that it is written in.
    pub(super) dialect: Option<ProviderKind>,
}

/// What a hypothetical request wants.
pub(super) enum Target {
    Model(String),
    Mcp { server: String, tool: Option<String> },
}

/// Where its answers come from.
struct Sources<'a> {
    ask: &'a Ask,
    id: KeyId,
    token: Option<EphemeralId>,
    hypothesis: Hypothesis,
    platform: Platform,
    balances: Vec<Balance>,
    reads_all: bool,
}

/// What it is judged by.
pub(super) struct Scene<'a> {
    pub(super) organisation: &'a Organisation,
    pub(super) platform: &'a Platform,
    /// Narrowed to the token, if one is asked about.
    pub(super) key: &'a Known,
    /// Whether its secret, or the token, opens it.
    pub(super) credential: Result<(), Denial>,
    pub(super) balances: &'a [Balance],
    /// Also what others have used.
    pub(super) reads_all: bool,
}

async fn explain(ask: Ask, caller: Caller) -> Answer {
    let id: KeyId = ask.id("key", "key")?;
    let missing = || Problem::not_found("key");
    let token = ask.text::<EphemeralId>("token")?;
    let path = |state: &Organisation| {
        let key = state.keys.get(&id).filter(|key| caller.requester.may_see(key))?;
        if token.is_some_and(|token| !state.ephemerals.contains_key(&(id, token))) {
            return None;
        }
        let of_token = state.carve_out(id, token).map(|account| (account, Reset::None));
        Some(of_token.into_iter().chain(balances::path(state, key)).collect())
    };
    let path = ask.read(path).await?.ok_or_else(missing)?;
    let sources = Sources {
        ask: &ask,
        id,
        token,
        hypothesis: Hypothesis::read(&ask)?,
        platform: ask.app().streams().platform(Platform::clone).await?,
        balances: balances::read(&ask, path).await?,
        reads_all: caller.reads_all().is_ok(),
    };
    let complete_up_to = complete_up_to(&ask).await?.map(Text);
    let asked = |state: &Organisation| sources.scene(state, |it, _, bound| rates::asked(it, bound));
    let asked = ask.read(asked).await?.ok_or_else(missing)?;
    let live = Live::ask(ask.app(), ask.org, asked).await;
    let explained = |organisation: &Organisation| {
        sources.scene(organisation, |scene, ways, bounded| {
            let rates = rates::rated(scene, bounded, &live);
            let judged = (ways, bounded);
            let checks = Checks::make(scene, &sources.hypothesis, judged, (&rates, ask.now));
            let first = checks.first_refusal();
            let limit_status = organisation.settings.limit_status;
            let status = first.map_or(200, |denial| denial.status_under(limit_status));
            Explanation {
                at: Text(ask.now),
                admitted: first.is_none(),
                code: first.map(|denial| denial.code().to_owned()),
                status,
                reservation: bounded.map(Bounded::shown),
                levels: bound::levels(scene, bounded),
                rates: rates.iter().map(|rate| rate.shown(ask.now)).collect(),
                checks: checks.shown(),
                ways: ways.shown(caller.is_operator()),
                complete_up_to,
            }
        })
    };
    Reply::json(&ask.read(explained).await?.ok_or_else(missing)?)
}

impl Sources<'_> {
    /// Looks at the request with one state of the organisation; `None`: key or token are gone.
    fn scene<R>(
        &self,
        organisation: &Organisation,
        look: impl FnOnce(&Scene<'_>, &Ways<'_>, Option<&Bounded>) -> R,
    ) -> Option<R> {
        let key = organisation.keys.get(&self.id)?;
        let (key, credential) = presented(self.ask, organisation, key, self.token)?;
        let Self { ask, hypothesis, platform, balances, reads_all, .. } = self;
        let (balances, reads_all) = (balances.as_slice(), *reads_all);
        let scene = Scene { organisation, platform, key: &key, credential, balances, reads_all };
        let fare = |id, owner| Fare::of(&ask.app().presence.provider(id, owner));
        let ways = Ways::read(&scene, hypothesis, &fare);
        let bounded = Bounded::new(&scene, hypothesis, ways.prices());
        Some(look(&scene, &ways, bounded.as_ref()))
    }
}

/// The key as its caller has it, and whether what they come with opens it.
fn presented(
    ask: &Ask,
    state: &Organisation,
    key: &Arc<Known>,
    token: Option<EphemeralId>,
) -> Option<(Arc<Known>, Result<(), Denial>)> {
    let public_id = key.secret.public_id;
    let Some(id) = token else {
        return Some((Arc::clone(key), key_works(key, public_id, ask.now)));
    };
    let made = state.ephemerals.get(&(key.id, id))?;
    let claims = ephemeral::claims(ask, (key.id, public_id), (id, made.created_at), &made.grant);
    let works = claims.check(key, made.revoked, ask.now).map_err(Ended::denial);
    Some((Arc::new(claims.narrowed(key)), works))
}

impl Hypothesis {
    fn read(ask: &Ask) -> Result<Self, Problem> {
        let tool = ask.query("tool").map(str::to_owned);
        let target = match (ask.query("model"), ask.query("mcp_server"), tool) {
            (Some(model), None, None) => Target::Model(model.to_owned()),
            (None, Some(server), tool) => Target::Mcp { server: server.to_owned(), tool },
            (Some(_), _, _) => {
                return Err(Problem::field("?model", "is given with no MCP server and no tool"));
            }
            (None, None, _) => {
                return Err(Problem::field("?model", "must be given, or else mcp_server"));
            }
        };
        let address = ask.query("ip").map(str::parse::<IpAddr>).transpose();
        let address = address.map_err(|_| Problem::field("?ip", "must be an IP address"))?;
        let audio_seconds = ask.number("audio_seconds", 0, u64::MAX)?.unwrap_or(0);
        let demand = Demand {
            body_bytes: ask.number("input_tokens", 0, u64::MAX)?.unwrap_or(0),
            external_content: false,
            max_output: ask.number("max_output_tokens", 0, u64::MAX)?,
            choices: ask.number("choices", 1, u64::MAX)?.unwrap_or(1),
            prompts: 1,
            recording_bytes: audio_seconds.saturating_mul(LEAST_BYTES_PER_SECOND),
            no_output: false,
            free: false,
        };
        let dialect = ask.query("dialect").map(|name| {
            let known = ProviderKind::from_name(name);
            known.ok_or_else(|| Problem::field("?dialect", "must be openai, anthropic or gemini"))
        });
        Ok(Self { target, demand, address, dialect: dialect.transpose()? })
    }
}
