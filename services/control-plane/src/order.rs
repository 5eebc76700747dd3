//! Orders of the system itself: first start, joins, due budgets.

use turnpike_domain::authority::Requester;
use turnpike_domain::command::{Command, Order, PlatformCommand};
use turnpike_domain::event::{Actor, Who};
use turnpike_domain::id::{CommandId, MemberId, OrgId};
use turnpike_domain::state::Role;
use turnpike_runtime::entropy;
use turnpike_store::execute::{Attempt, ExecuteError, Executed};

use crate::app::App;

/// Executes a command to an organisation in the system's name.
///
/// # Errors
/// As [`turnpike_store::execute::Executor::organisation`].
pub async fn organisation(
    app: &App,
    org: OrgId,
    command: Command,
) -> Result<Executed, ExecuteError> {
    on_behalf(app, org, None, command).await
}

/// Executes a command to an organisation in the system's name, on behalf of a member: what it makes
/// belongs to that member.
///
/// # Errors
/// As [`organisation`].
pub async fn on_behalf(
    app: &App,
    org: OrgId,
    member: Option<MemberId>,
    command: Command,
) -> Result<Executed, ExecuteError> {
    let mut order = order(app, command);
    order.requester.member = member;
    let done = app.executor.organisation(org, &order, attempt()).await?;
    app.refresh(org).await?;
    Ok(done)
}

/// Executes a command to the platform in the system's name.
///
/// # Errors
/// As [`turnpike_store::execute::Executor::platform`].
pub async fn platform(app: &App, command: PlatformCommand) -> Result<Executed, ExecuteError> {
    let done = app.executor.platform(&order(app, command), attempt()).await?;
    app.refresh(OrgId::PLATFORM).await?;
    Ok(done)
}

fn order<C>(app: &App, command: C) -> Order<C> {
    let now = app.clock.now();
    let actor = Actor { who: Who::System, address: None };
    let requester = Requester { actor, role: Role::Operator, member: None };
    Order { id: CommandId(entropy::id(now)), requester, now, expected: None, command }
}

fn attempt() -> Attempt {
    Attempt { body_hash: [0; 32], maker: entropy::number() }
}
