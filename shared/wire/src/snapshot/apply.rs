//! Putting entities back into a state.

use std::sync::Arc;

use turnpike_domain::state::{Ephemeral, Key, Organisation, Platform};

use super::State;
use super::entities::{
    ABOUT, About, CAP, EPHEMERAL, GATEWAY, HIT, KEY, MCP_SERVER, MEMBER, MODEL, PLAN, PROJECT,
    PROVIDER, TOKEN, TOP_UP,
};
use crate::cbor::{Malformed, Reader};
use crate::form::Form;

impl State {
    /// Reads the next entity into its place.
    pub(super) fn take(&mut self, from: &mut Reader<'_>) -> Result<(), Malformed> {
        let len = from.array()?;
        let kind = (from.uint()?, len);
        match self {
            Self::Organisation(state) => organisation(state, kind, from),
            Self::Platform(state) => platform(state, kind, from),
        }
    }
}

fn organisation(
    state: &mut Organisation,
    kind: (u64, usize),
    from: &mut Reader<'_>,
) -> Result<(), Malformed> {
    match kind {
        (ABOUT, 2) => about(state, About::read(from)?),
        (MEMBER, 3) => drop(state.members.insert(Form::read(from)?, Form::read(from)?)),
        (PROJECT, 3) => drop(state.projects.insert(Form::read(from)?, Form::read(from)?)),
        (KEY, 2) => {
            let key = Arc::<Key>::read(from)?;
            state.key_names.insert(key.profile.name.clone(), key.id);
            state.keys.insert(key.id, key);
        }
        (EPHEMERAL, 3) => {
            let (id, token) = (Form::read(from)?, Ephemeral::read(from)?);
            let (key, number) = id;
            state.ephemeral_ends.insert((token.grant.expires_at, key, number));
            state.ephemerals.insert(id, token);
        }
        (TOKEN, 3) => drop(state.tokens.insert(Form::read(from)?, Form::read(from)?)),
        (PROVIDER, 3) => drop(state.providers.insert(Form::read(from)?, Form::read(from)?)),
        (MCP_SERVER, 3) => drop(state.mcp_servers.insert(Form::read(from)?, Form::read(from)?)),
        (GATEWAY, 3) => drop(state.gateways.insert(Form::read(from)?, Form::read(from)?)),
        (TOP_UP, 2) => state.wallet.top_ups.push(Form::read(from)?),
        (CAP, 3) => drop(state.caps.insert(Form::read(from)?, Form::read(from)?)),
        (HIT, 3) => drop(state.hits.insert(Form::read(from)?, Form::read(from)?)),
        _ => return unknown(kind),
    }
    Ok(())
}

fn about(state: &mut Organisation, about: About) {
    state.name = about.name;
    state.settings = about.settings;
    state.created_at = about.created_at;
    state.settings_seq = about.settings_seq;
    state.allowed_plans = about.allowed_plans;
    state.default_plan = about.default_plan;
    state.wallet.topped_up = about.topped_up;
    state.wallet.exhausted = about.wallet_exhausted;
}

fn platform(
    state: &mut Platform,
    kind: (u64, usize),
    from: &mut Reader<'_>,
) -> Result<(), Malformed> {
    match kind {
        (PLAN, 3) => drop(state.plans.insert(Form::read(from)?, Form::read(from)?)),
        (MODEL, 3) => drop(state.models.insert(Form::read(from)?, Form::read(from)?)),
        (PROVIDER, 3) => drop(state.providers.insert(Form::read(from)?, Form::read(from)?)),
        (TOKEN, 3) => drop(state.tokens.insert(Form::read(from)?, Form::read(from)?)),
        (GATEWAY, 3) => drop(state.gateways.insert(Form::read(from)?, Form::read(from)?)),
        _ => return unknown(kind),
    }
    Ok(())
}

fn unknown((number, _): (u64, usize)) -> Result<(), Malformed> {
    Err(Malformed::Unknown { form: "entity of a snapshot", number })
}
