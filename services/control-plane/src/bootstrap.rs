//! The first start: on an empty store, one plan, one organisation, its owner and two tokens.
//!
//! Each step is taken only if its result is not there, so that a first start that was cut short is
//! finished by the next one. What is shown once is handed over before it is stored: nobody is left
//! with a token that exists and is not known.

use turnpike_domain::command::{Command, PlanChoice, PlatformCommand};
use turnpike_domain::event::PlanSpec;
use turnpike_domain::id::{MemberId, OrgId, PlanId, TokenId};
use turnpike_domain::money::Multiplier;
use turnpike_domain::scope::Allow;
use turnpike_domain::secret::SecretKind;
use turnpike_domain::state::{MemberState, Role, Settings};
use turnpike_runtime::entropy;
use turnpike_store::error::StoreError;
use turnpike_store::execute::ExecuteError;
use turnpike_wire::secret::{ENTROPY_BYTES, PlainSecret, mint};

use crate::app::App;
use crate::order;
use crate::password::{self, NotKept};

/// Bytes of a generated password: 32 hexadecimal digits.
const PASSWORD_BYTES: usize = 16;

/// What a first start makes.
#[derive(Clone, Debug)]
pub struct FirstStart {
    /// The organisation's name.
    pub organisation: String,
    /// The owner's address and login name.
    pub owner_email: String,
}

/// What a first start made now. A secret is `None` if it was made before.
pub struct Made {
    /// The organisation.
    pub org: OrgId,
    /// The plan of all models at their price.
    pub plan: PlanId,
    /// The owner.
    pub owner: MemberId,
    /// The owner's password.
    pub owner_password: Option<String>,
    /// A management token of the operator's role.
    pub management_token: Option<PlainSecret>,
    /// Lets gateways join that serve every organisation.
    pub join_token: Option<PlainSecret>,
}

/// One thing that is shown once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The owner's password.
    OwnerPassword,
    /// The management token.
    ManagementToken,
    /// The join token.
    JoinToken,
}

/// Why a first start did not end.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// A command was not executed.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The password could not be kept.
    #[error(transparent)]
    Password(#[from] NotKept),
    /// What is shown once could not be handed over; it was not stored.
    #[error("a secret could not be handed over: {0}")]
    HandOver(#[from] std::io::Error),
}

/// Takes the steps of a first start that are missing. `hand_over` gets each secret before it works.
///
/// # Errors
/// [`BootstrapError`]; the next call goes on where this one ended.
pub async fn first_start(
    app: &App,
    wanted: &FirstStart,
    mut hand_over: impl FnMut(Shown, &str) -> std::io::Result<()> + Send,
) -> Result<Made, BootstrapError> {
    let plan = plan(app).await?;
    let org = organisation(app, wanted, plan).await?;
    let (owner, owner_password) = owner(app, wanted, org, &mut hand_over).await?;
    let management_token = management_token(app, org, owner, &mut hand_over).await?;
    let join_token = join_token(app, &mut hand_over).await?;
    Ok(Made { org, plan, owner, owner_password, management_token, join_token })
}

async fn plan(app: &App) -> Result<PlanId, BootstrapError> {
    let first = app.streams().platform(|state| state.plans.keys().next().copied()).await?;
    if let Some(plan) = first {
        return Ok(plan);
    }
    let plan = PlanId(entropy::id(app.clock.now()));
    let (name, multiplier) = ("standard".into(), Multiplier::default());
    let spec = PlanSpec { name, models: Allow::All, multiplier };
    order::platform(app, PlatformCommand::ChangePlan { plan, spec }).await?;
    Ok(plan)
}

async fn organisation(
    app: &App,
    wanted: &FirstStart,
    plan: PlanId,
) -> Result<OrgId, BootstrapError> {
    let org = match app.directory.organisations().first() {
        Some(org) => *org,
        None => {
            let org = OrgId(entropy::id(app.clock.now()));
            let name = wanted.organisation.as_str().into();
            let settings = Settings::default();
            let command = Command::CreateOrg { name, settings, plans: None };
            order::organisation(app, org, command).await?;
            org
        }
    };
    let default = app.streams().organisation(org, |state| state.default_plan).await?;
    if default.is_none() {
        let plans = Some(PlanChoice { allowed: None, default: Some(plan) });
        let command = Command::ChangeOrg { name: None, settings: None, plans };
        order::organisation(app, org, command).await?;
    }
    Ok(org)
}

async fn owner(
    app: &App,
    wanted: &FirstStart,
    org: OrgId,
    hand_over: &mut (impl FnMut(Shown, &str) -> std::io::Result<()> + Send),
) -> Result<(MemberId, Option<String>), BootstrapError> {
    let owners = app.streams().organisation(org, |state| {
        let mut owners = state.members.iter().filter(|(_, member)| member.role >= Role::Owner);
        owners.next().map(|(id, member)| (*id, matches!(member.state, MemberState::Joined { .. })))
    });
    let (member, joined) = match owners.await? {
        Some(found) => found,
        None => {
            let member = MemberId(entropy::id(app.clock.now()));
            let email = wanted.owner_email.to_lowercase().into();
            let invitation = app.keys.peppers.stored(&fresh(SecretKind::Invitation));
            let (name, role) = ("Owner".into(), Role::Owner);
            let command = Command::InviteMember { member, email, name, role, invitation };
            order::organisation(app, org, command).await?;
            (member, false)
        }
    };
    if joined {
        return Ok((member, None));
    }
    let mut random = [0_u8; PASSWORD_BYTES];
    entropy::fill(&mut random);
    let text = turnpike_wire::hex::write(&random);
    hand_over(Shown::OwnerPassword, &text)?;
    let password = password::keep(text.clone(), &app.keys.password).await?;
    order::organisation(app, org, Command::JoinMember { member, password }).await?;
    Ok((member, Some(text)))
}

async fn management_token(
    app: &App,
    org: OrgId,
    owner: MemberId,
    hand_over: &mut (impl FnMut(Shown, &str) -> std::io::Result<()> + Send),
) -> Result<Option<PlainSecret>, BootstrapError> {
    let there = app
        .streams()
        .organisation(org, |state| state.tokens.values().any(|token| token.role == Role::Operator));
    if there.await? {
        return Ok(None);
    }
    let secret = fresh(SecretKind::Management);
    hand_over(Shown::ManagementToken, secret.expose())?;
    let command = Command::CreateToken {
        token: TokenId(entropy::id(app.clock.now())),
        name: "first start".into(),
        kind: SecretKind::Management,
        role: Role::Operator,
        secret: app.keys.peppers.stored(&secret),
        expires_at: None,
    };
    order::on_behalf(app, org, Some(owner), command).await?;
    Ok(Some(secret))
}

async fn join_token(
    app: &App,
    hand_over: &mut (impl FnMut(Shown, &str) -> std::io::Result<()> + Send),
) -> Result<Option<PlainSecret>, BootstrapError> {
    if app.streams().platform(|state| !state.tokens.is_empty()).await? {
        return Ok(None);
    }
    let secret = fresh(SecretKind::Gateway);
    hand_over(Shown::JoinToken, secret.expose())?;
    let command = PlatformCommand::CreateToken {
        token: TokenId(entropy::id(app.clock.now())),
        name: "first start".into(),
        secret: app.keys.peppers.stored(&secret),
        expires_at: None,
    };
    order::platform(app, command).await?;
    Ok(Some(secret))
}

/// A new secret.
pub(crate) fn fresh(kind: SecretKind) -> PlainSecret {
    let mut random = [0_u8; ENTROPY_BYTES];
    entropy::fill(&mut random);
    mint(kind, &random)
}
