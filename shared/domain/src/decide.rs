//! Deciding: from state and command to events or a refusal.
//!
//! The order is the same for every noun: may the caller do this at all, is the thing there, is it
//! the version that the caller has seen, does its state allow it, is the input sound. All mistakes
//! of the input are told at once.

mod budget;
mod ephemeral;
mod gateway;
mod import;
mod key;
mod limits;
mod mcp;
mod member;
mod migrate;
mod mistakes;
mod model;
mod organisation;
mod plan;
mod project;
mod provider;
mod scopes;
mod token;
mod wallet;

pub use import::Seen;

use crate::authority::Requester;
use crate::command::{Command, ImportedKey, Order, PlatformCommand};
use crate::event::Event;
use crate::id::MemberId;
use crate::refusal::Refusal;
use crate::state::{Organisation, Platform};
use crate::time::Timestamp;

/// What an organisation's commands are decided against.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// Plans, models and platform providers, as they were last read.
    pub platform: &'a Platform,
    /// The organisation at the head that the commit is conditioned on.
    pub organisation: &'a Organisation,
}

/// Events, or the rule that said no. No events: what was asked for is so already.
pub type Decision = Result<Vec<Event>, Refusal>;

/// Decides a command to one organisation.
///
/// # Errors
/// The [`Refusal`] of the first rule that says no.
pub fn organisation(world: World<'_>, order: &Order<Command>) -> Decision {
    let by = By::new(order);
    let state = world.organisation;
    if state.head.seq == 0 && !matches!(order.command, Command::CreateOrg { .. }) {
        return Err(Refusal::NotFound { noun: "organisation" });
    }
    match &order.command {
        Command::CreateOrg { name, settings, plans } => {
            organisation::create(world, by, name, settings, plans.as_ref())
        }
        Command::ChangeOrg { name, settings, plans } => {
            organisation::change(world, by, name.as_deref(), settings.as_ref(), plans.as_ref())
        }
        Command::InviteMember { .. } => member::invite(world, by, &order.command),
        Command::JoinMember { member, password } => member::join(world, by, *member, password),
        Command::ChangeRole { member, role } => member::change_role(world, by, *member, *role),
        Command::RemoveMember { member } => member::remove(world, by, *member),
        Command::CreateProject { project, name, limits } => {
            project::create(world, by, *project, name, limits)
        }
        Command::ChangeProject { project, name, limits } => {
            project::change(world, by, *project, name.as_deref(), limits.as_ref())
        }
        Command::DeleteProject { project } => project::delete(world, by, *project),
        Command::CreateKey { key, draft, secret } => key::create(world, by, *key, draft, secret),
        Command::ImportKeys { keys } => {
            import::rows(world, by, keys, &mut Seen::default())?.into_iter().collect()
        }
        Command::MigrateKey { key, secret } => migrate::begin(world, by, *key, secret),
        Command::FinishMigration { key } => migrate::finish(world, by, *key),
        Command::ChangeKey { key, patch } => key::change(world, by, *key, patch),
        Command::RotateKey { key, secret, overlap_ms } => {
            key::rotate(world, by, *key, secret, *overlap_ms)
        }
        Command::DisableKey { key } => key::switch(world, by, *key, true),
        Command::EnableKey { key } => key::switch(world, by, *key, false),
        Command::RevokeKey { key, reason } => key::revoke(world, by, *key, *reason),
        Command::ActivateKey { key, rotate } => key::activate(world, by, *key, rotate.as_ref()),
        Command::DeleteKey { key } => key::delete(world, by, *key),
        Command::RevealSecret { key } => key::reveal(world, by, *key),
        Command::IssueEphemeral { key, token, draft } => {
            ephemeral::issue(world, by, *key, *token, draft)
        }
        Command::CreateEphemeralKey { .. } => ephemeral::create_key(world, by, &order.command),
        Command::RevokeEphemeral { key, token } => ephemeral::revoke(world, by, *key, *token),
        Command::CreateToken { .. } => token::create(world, by, &order.command),
        Command::DeleteToken { token } => token::delete(world, by, *token),
        Command::TopUpWallet { top_up, amount, note } => {
            wallet::top_up(world, by, *top_up, *amount, note)
        }
        Command::CloseBudget { .. } => budget::close(world, by, &order.command),
        Command::RaiseAlert { .. } => budget::alert(world, by, &order.command),
        Command::AbandonLease { gateway, account, unit, amount } => {
            budget::abandon(world, by, *gateway, (*account, *unit), *amount)
        }
        Command::JoinGateway { gateway, name, token } => {
            gateway::join(by, (&state.gateways, &state.tokens), *gateway, name, *token)
        }
        Command::LeaveGateway { gateway } => gateway::leave(by, &state.gateways, *gateway),
        Command::FenceGateway { gateway } => gateway::fence(by, &state.gateways, *gateway),
        Command::ChangeProvider { provider, spec } => {
            provider::change_own(world, by, *provider, spec.as_deref())
        }
        Command::ChangeMcpServer { server, spec } => {
            mcp::change(world, by, *server, spec.as_deref())
        }
    }
}

/// What importing would make of each of `keys`, with those before it imported: so a shell knows
/// which rows to leave out, and tells of all of them at once. Of what `seen` holds nothing is
/// imported again. That no other organisation has a secret is not decided here but in the commit.
///
/// # Errors
/// The [`Refusal`] that stands against every row: the caller may not import.
pub fn imports(
    world: World<'_>,
    (requester, now): (&Requester, Timestamp),
    keys: &[ImportedKey],
    seen: &mut Seen,
) -> Result<Vec<Result<Event, Refusal>>, Refusal> {
    import::rows(world, By { requester, now, expected: None }, keys, seen)
}

/// Decides a command to the platform.
///
/// # Errors
/// The [`Refusal`] of the first rule that says no.
pub fn platform(state: &Platform, order: &Order<PlatformCommand>) -> Decision {
    let by = By::new(order);
    match &order.command {
        PlatformCommand::ChangePlan { plan, spec } => plan::change(state, by, *plan, spec),
        PlatformCommand::DeletePlan { plan, used_by } => plan::delete(state, by, *plan, *used_by),
        PlatformCommand::PriceModel { model, spec } => {
            model::price(state, by, model, spec.as_deref())
        }
        PlatformCommand::ChangeProvider { provider, spec } => {
            provider::change_shared(state, by, *provider, spec.as_deref())
        }
        PlatformCommand::CreateToken { token, name, secret, expires_at } => {
            token::create_shared(state, by, *token, name, secret, *expires_at)
        }
        PlatformCommand::DeleteToken { token } => token::delete_shared(state, by, *token),
        PlatformCommand::JoinGateway { gateway, name, token } => {
            gateway::join(by, (&state.gateways, &state.tokens), *gateway, name, *token)
        }
        PlatformCommand::LeaveGateway { gateway } => gateway::leave(by, &state.gateways, *gateway),
        PlatformCommand::FenceGateway { gateway } => gateway::fence(by, &state.gateways, *gateway),
    }
}

/// The circumstances of an order: by whom, when, on which version.
#[derive(Clone, Copy)]
struct By<'a> {
    requester: &'a Requester,
    now: Timestamp,
    expected: Option<&'a [u64]>,
}

impl<'a> By<'a> {
    fn new<C>(order: &'a Order<C>) -> Self {
        let expected = order.expected.as_deref();
        Self { requester: &order.requester, now: order.now, expected }
    }

    /// Refuses a caller that has seen other versions than the one that stands.
    fn has_seen(self, current: u64) -> Result<(), Refusal> {
        match self.expected {
            Some(expected) if !expected.contains(&current) => {
                Err(Refusal::VersionMismatch { current })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The member of this organisation that asks: an operator may be a member of another one.
    fn member(self, organisation: &Organisation) -> Option<MemberId> {
        self.requester.member.filter(|member| organisation.members.contains_key(member))
    }
}

fn conflict(reason: &str) -> Refusal {
    Refusal::StateConflict { reason: reason.into() }
}

fn name_taken(noun: &'static str, name: &str) -> Refusal {
    Refusal::NameTaken { noun, name: name.into() }
}
