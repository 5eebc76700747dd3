//! Evolving: the only place where state changes. Total: every event on every state has an answer.
//!
//! An event about something that is not there changes nothing but the head. So does an event that
//! makes something that is there already: what people have decided about a key is never reset by a
//! repetition.

mod budget;
mod caps;
mod ephemeral;
mod gateway;
mod key;
mod legacy;
mod member;
mod project;
mod provider;
mod settings;
mod token;

pub use caps::{account, caps_after};
pub use legacy::legacy_after;

use crate::event::{Event, Record};
use crate::id::{KeyId, Position, ProjectId};
use crate::limit::Account;
use crate::state::{Head, McpServer, Model, Organisation, Plan, Platform};

/// What an event touched, so that indexes beside the state can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// One key: made, changed, deleted, or its budget is used up.
    Key(KeyId),
    /// One project: its limits bind its keys.
    Project(ProjectId),
    /// Tokens of management or joining.
    Tokens,
    /// Providers, MCP servers, plans or models: routes and prices.
    Routing,
    /// Anything else.
    Other,
}

/// Applies an event to the organisation whose stream it stands in. The caller has checked that it
/// is the next one; `hash` is the chain's hash of it.
pub fn organisation(
    state: &mut Organisation,
    record: &Record,
    hash: [u8; 32],
    position: Position,
) -> Touched {
    let seq = record.seq;
    match &record.event {
        Event::OrgCreated { .. } => settings::created(state, record),
        Event::OrgSettingsChanged { name, settings } => {
            settings::changed(state, name, settings, seq);
        }
        Event::PlanAssigned { allowed, default } => {
            settings::plans(state, allowed.as_deref(), *default, seq);
        }
        Event::MemberInvited { .. } => member::invited(state, record),
        Event::MemberJoined { member, password } => member::joined(state, *member, password, seq),
        Event::MemberRoleChanged { member, role } => member::role(state, *member, *role, seq),
        Event::MemberRemoved { member } => drop(state.members.remove(member)),
        Event::ProjectCreated { project, name, limits } => {
            project::created(state, *project, name, limits, record);
        }
        Event::ProjectChanged { project, name, limits } => {
            project::changed(state, *project, name, limits, seq);
        }
        Event::ProjectDeleted { project } => project::deleted(state, *project),
        Event::KeyCreated { .. } => key::created(state, record),
        Event::KeyImported { .. } => key::imported(state, record),
        Event::KeyMigrated { .. } => key::migrated(state, record),
        Event::KeyChanged { key, profile } => key::changed(state, *key, profile, seq),
        Event::KeyRotated { .. } => key::rotated(state, record),
        Event::KeyDisabled { key } => key::switched(state, *key, true, seq),
        Event::KeyEnabled { key } => key::switched(state, *key, false, seq),
        Event::KeyRevoked { key, reason } => key::revoked(state, *key, *reason, seq),
        Event::KeyActivated { key } => key::activated(state, *key, seq),
        Event::KeyDeleted { key } => key::deleted(state, *key),
        Event::EphemeralIssued { key, token, grant } => {
            ephemeral::issued(state, (*key, *token), grant, record);
        }
        Event::EphemeralRevoked { key, token } => ephemeral::revoked(state, (*key, *token), seq),
        Event::TokenCreated { .. } => token::created(&mut state.tokens, record),
        Event::TokenDeleted { token } => drop(state.tokens.remove(token)),
        Event::QuotaHit { .. } => budget::hit(state, record),
        Event::AlertRaised { .. } => budget::alert(state, record),
        Event::WalletToppedUp { top_up, amount, note } => {
            budget::topped_up(state, *top_up, *amount, note, record.at);
        }
        Event::WalletExhausted { revision } => budget::wallet_exhausted(state, *revision),
        Event::WalletRestored { .. } => state.wallet.exhausted = false,
        Event::GatewayJoined { gateway, name, token } => {
            gateway::joined(&mut state.gateways, *gateway, name, *token, record);
        }
        Event::GatewayLeft { gateway } => gateway::left(&mut state.gateways, *gateway, seq),
        Event::GatewayFenced { gateway } => gateway::fenced(&mut state.gateways, *gateway, seq),
        Event::ProviderChanged { provider, spec } => {
            provider::changed(&mut state.providers, *provider, spec.as_deref(), seq);
        }
        Event::McpServerChanged { server, spec } => {
            let made = spec.as_deref().map(|spec| McpServer { spec: spec.clone(), seq });
            provider::put(&mut state.mcp_servers, *server, made);
        }
        // Read by the audit log and the ledgers; nothing here follows from them.
        Event::SecretRevealed { .. } | Event::LeaseAbandoned { .. } => {}
        // Of the platform's stream.
        Event::PlanChanged { .. } | Event::ModelPriced { .. } => {}
    }
    state.head = Head { seq, hash, position };
    touched(&record.event)
}

/// Applies an event of the platform's stream.
pub fn platform(
    state: &mut Platform,
    record: &Record,
    hash: [u8; 32],
    position: Position,
) -> Touched {
    let seq = record.seq;
    match &record.event {
        Event::PlanChanged { plan, spec } => {
            let made = spec.as_ref().map(|spec| Plan { spec: spec.clone(), seq });
            provider::put(&mut state.plans, *plan, made);
        }
        Event::ModelPriced { model, spec } => {
            let price_version = seq;
            let made = spec.as_deref().map(|spec| Model { spec: spec.clone(), price_version });
            provider::put(&mut state.models, model.clone(), made);
        }
        Event::ProviderChanged { provider, spec } => {
            provider::changed(&mut state.providers, *provider, spec.as_deref(), seq);
        }
        Event::TokenCreated { .. } => token::created(&mut state.tokens, record),
        Event::TokenDeleted { token } => drop(state.tokens.remove(token)),
        Event::GatewayJoined { gateway, name, token } => {
            gateway::joined(&mut state.gateways, *gateway, name, *token, record);
        }
        Event::GatewayLeft { gateway } => gateway::left(&mut state.gateways, *gateway, seq),
        Event::GatewayFenced { gateway } => gateway::fenced(&mut state.gateways, *gateway, seq),
        // Of an organisation's stream.
        Event::OrgCreated { .. }
        | Event::OrgSettingsChanged { .. }
        | Event::PlanAssigned { .. }
        | Event::MemberInvited { .. }
        | Event::MemberJoined { .. }
        | Event::MemberRoleChanged { .. }
        | Event::MemberRemoved { .. }
        | Event::ProjectCreated { .. }
        | Event::ProjectChanged { .. }
        | Event::ProjectDeleted { .. }
        | Event::KeyCreated { .. }
        | Event::KeyImported { .. }
        | Event::KeyMigrated { .. }
        | Event::KeyChanged { .. }
        | Event::KeyRotated { .. }
        | Event::KeyDisabled { .. }
        | Event::KeyEnabled { .. }
        | Event::KeyRevoked { .. }
        | Event::KeyActivated { .. }
        | Event::KeyDeleted { .. }
        | Event::EphemeralIssued { .. }
        | Event::EphemeralRevoked { .. }
        | Event::SecretRevealed { .. }
        | Event::QuotaHit { .. }
        | Event::AlertRaised { .. }
        | Event::WalletToppedUp { .. }
        | Event::WalletExhausted { .. }
        | Event::WalletRestored { .. }
        | Event::LeaseAbandoned { .. }
        | Event::McpServerChanged { .. } => {}
    }
    state.head = Head { seq, hash, position };
    touched(&record.event)
}

/// What an event touches in the state of its stream.
#[must_use]
pub const fn touched(event: &Event) -> Touched {
    match event {
        Event::KeyCreated { key, .. }
        | Event::KeyImported { key, .. }
        | Event::KeyMigrated { key, .. }
        | Event::KeyChanged { key, .. }
        | Event::KeyRotated { key, .. }
        | Event::KeyDisabled { key }
        | Event::KeyEnabled { key }
        | Event::KeyRevoked { key, .. }
        | Event::KeyActivated { key }
        | Event::KeyDeleted { key }
        | Event::EphemeralIssued { key, .. }
        | Event::EphemeralRevoked { key, .. } => Touched::Key(*key),
        Event::ProjectCreated { project, .. }
        | Event::ProjectChanged { project, .. }
        | Event::ProjectDeleted { project } => Touched::Project(*project),
        Event::TokenCreated { .. } | Event::TokenDeleted { .. } => Touched::Tokens,
        Event::ProviderChanged { .. }
        | Event::McpServerChanged { .. }
        | Event::PlanChanged { .. }
        | Event::ModelPriced { .. } => Touched::Routing,
        Event::QuotaHit { account, .. } => match account {
            Account::Key(key) => Touched::Key(*key),
            Account::Project(project) => Touched::Project(*project),
            Account::Wallet | Account::Ephemeral(_) => Touched::Other,
        },
        Event::OrgCreated { .. }
        | Event::OrgSettingsChanged { .. }
        | Event::PlanAssigned { .. }
        | Event::MemberInvited { .. }
        | Event::MemberJoined { .. }
        | Event::MemberRoleChanged { .. }
        | Event::MemberRemoved { .. }
        | Event::SecretRevealed { .. }
        | Event::AlertRaised { .. }
        | Event::WalletToppedUp { .. }
        | Event::WalletExhausted { .. }
        | Event::WalletRestored { .. }
        | Event::GatewayJoined { .. }
        | Event::GatewayLeft { .. }
        | Event::GatewayFenced { .. }
        | Event::LeaseAbandoned { .. } => Touched::Other,
    }
}
