//! The entities of a state: what they are numbered and how each is written.

use turnpike_domain::id::PlanId;
use turnpike_domain::money::NanoUsd;
use turnpike_domain::state::{Organisation, Platform, Settings};
use turnpike_domain::time::Timestamp;

use crate::cbor::Writer;
use crate::form;
use crate::form::Form;

pub(super) const ABOUT: u64 = 1;
pub(super) const MEMBER: u64 = 2;
pub(super) const PROJECT: u64 = 3;
pub(super) const KEY: u64 = 4;
pub(super) const TOKEN: u64 = 5;
pub(super) const PROVIDER: u64 = 6;
pub(super) const GATEWAY: u64 = 7;
pub(super) const TOP_UP: u64 = 8;
pub(super) const CAP: u64 = 9;
pub(super) const HIT: u64 = 10;
pub(super) const PLAN: u64 = 11;
pub(super) const MODEL: u64 = 12;
pub(super) const MCP_SERVER: u64 = 13;
pub(super) const EPHEMERAL: u64 = 14;

/// What an organisation has one of.
pub(super) struct About {
    pub(super) name: Box<str>,
    pub(super) settings: Settings,
    pub(super) created_at: Timestamp,
    pub(super) settings_seq: u64,
    pub(super) allowed_plans: Option<Vec<PlanId>>,
    pub(super) default_plan: Option<PlanId>,
    pub(super) topped_up: NanoUsd,
    pub(super) wallet_exhausted: bool,
}

form!(About {
    1 name,
    2 settings,
    3 created_at,
    4 settings_seq,
    5 allowed_plans,
    6 default_plan,
    7 topped_up,
    8 wallet_exhausted,
});

/// The names of keys and the ends of tokens are not written: they stand in keys and tokens.
pub(super) fn organisation(state: &Organisation) -> impl Iterator<Item = Vec<u8>> + Send + '_ {
    let about = About {
        name: state.name.clone(),
        settings: state.settings,
        created_at: state.created_at,
        settings_seq: state.settings_seq,
        allowed_plans: state.allowed_plans.clone(),
        default_plan: state.default_plan,
        topped_up: state.wallet.topped_up,
        wallet_exhausted: state.wallet.exhausted,
    };
    std::iter::once(alone(ABOUT, &about))
        .chain(state.members.iter().map(|(id, member)| pair(MEMBER, id, member)))
        .chain(state.projects.iter().map(|(id, project)| pair(PROJECT, id, project)))
        .chain(state.keys.values().map(|key| alone(KEY, key)))
        .chain(state.ephemerals.iter().map(|(id, token)| pair(EPHEMERAL, id, token)))
        .chain(state.tokens.iter().map(|(id, token)| pair(TOKEN, id, token)))
        .chain(state.providers.iter().map(|(id, provider)| pair(PROVIDER, id, provider)))
        .chain(state.mcp_servers.iter().map(|(id, server)| pair(MCP_SERVER, id, server)))
        .chain(state.gateways.iter().map(|(id, gateway)| pair(GATEWAY, id, gateway)))
        .chain(state.wallet.top_ups.iter().map(|top_up| alone(TOP_UP, top_up)))
        .chain(state.caps.iter().map(|(account, cap)| pair(CAP, account, cap)))
        .chain(state.hits.iter().map(|(account, hit)| pair(HIT, account, hit)))
}

pub(super) fn platform(state: &Platform) -> impl Iterator<Item = Vec<u8>> + Send + '_ {
    let plans = state.plans.iter().map(|(id, plan)| pair(PLAN, id, plan));
    plans
        .chain(state.models.iter().map(|(name, model)| pair(MODEL, name, model)))
        .chain(state.providers.iter().map(|(id, provider)| pair(PROVIDER, id, provider)))
        .chain(state.tokens.iter().map(|(id, token)| pair(TOKEN, id, token)))
        .chain(state.gateways.iter().map(|(id, gateway)| pair(GATEWAY, id, gateway)))
}

fn alone(kind: u64, entity: &impl Form) -> Vec<u8> {
    let mut out = Writer::default();
    out.array(2);
    out.uint(kind);
    entity.write(&mut out);
    out.into_bytes()
}

fn pair(kind: u64, id: &impl Form, entity: &impl Form) -> Vec<u8> {
    let mut out = Writer::default();
    out.array(3);
    out.uint(kind);
    id.write(&mut out);
    entity.write(&mut out);
    out.into_bytes()
}
