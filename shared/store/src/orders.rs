//! Orders that tests execute, the smallest that there are.

use turnpike_domain::authority::Requester;
use turnpike_domain::command::{Command, Order, PlanChoice, PlatformCommand};
use turnpike_domain::event::{Actor, PlanSpec, Who};
use turnpike_domain::id::{CommandId, PlanId};
use turnpike_domain::money::Multiplier;
use turnpike_domain::scope::Allow;
use turnpike_domain::state::{Role, Settings};
use turnpike_domain::time::Timestamp;

use crate::execute::Attempt;

/// An order of the operator; its time is its id.
pub(crate) fn order<C>(id: u64, command: C) -> Order<C> {
    let actor = Actor { who: Who::System, address: None };
    let requester = Requester { actor, role: Role::Operator, member: None };
    Order { id: CommandId(id.into()), requester, now: Timestamp(id), expected: None, command }
}

/// Makes the organisation, which is one event without a plan.
pub(crate) fn create(id: u64) -> Order<Command> {
    let (settings, plans) = (Settings::default(), Some(PlanChoice::default()));
    order(id, Command::CreateOrg { name: name(id), settings, plans })
}

/// Renames the organisation to `to`, which is one event if it is a new name.
pub(crate) fn rename(id: u64, to: u64) -> Order<Command> {
    order(id, Command::ChangeOrg { name: Some(name(to)), settings: None, plans: None })
}

/// Makes or changes a plan.
pub(crate) fn plan(id: u64) -> Order<PlatformCommand> {
    let spec = PlanSpec { name: name(id), models: Allow::All, multiplier: Multiplier::default() };
    order(id, PlatformCommand::ChangePlan { plan: PlanId(1), spec })
}

/// The request `maker` with this body.
pub(crate) fn attempt(body: u8, maker: u128) -> Attempt {
    Attempt { body_hash: [body; 32], maker }
}

fn name(number: u64) -> Box<str> {
    format!("name {number}").into()
}
