//! Commands: what somebody wants, in the imperative. `decide` turns them into events or a refusal.
//!
//! Ids and secrets in a command are made once by the shell, outside any retry, so that deciding the
//! same command again gives the same events.

mod draft;
mod platform;

pub use draft::{
    EphemeralDraft, FreshSecret, ImportedKey, KeyDraft, KeyPatch, PlanChoice, PlanUsers,
};
pub use platform::PlatformCommand;

use crate::authority::Requester;
use crate::id::{
    CommandId, EphemeralId, GatewayId, KeyId, McpServerId, MemberId, ProjectId, ProviderId,
    TokenId, TopUpId,
};
use crate::limit::{Account, Limits, Unit};
use crate::money::NanoUsd;
use crate::secret::{Sealed, SecretKind, StoredSecret};
use crate::state::{McpServerSpec, ProviderSpec, RevokeReason, Role, Settings};
use crate::time::{Timestamp, Window};

/// The longest overlap of two secrets after a rotation.
pub const MAX_OVERLAP_MS: u64 = crate::time::DAY_MS;

/// A command with all that deciding it needs besides the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order<C> {
    /// The caller's own number for it (`Idempotency-Key`).
    pub id: CommandId,
    /// Who asks.
    pub requester: Requester,
    /// The time of deciding.
    pub now: Timestamp,
    /// The versions that the caller has seen (`If-Match`), one of which must stand: a version is
    /// the seq of the thing's last event.
    pub expected: Option<Vec<u64>>,
    /// What is wanted.
    pub command: C,
}

/// A command to one organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make the organisation (operator).
    CreateOrg {
        /// Its name.
        name: Box<str>,
        /// Its settings.
        settings: Settings,
        /// Its plans. `None`: all, and the platform's oldest is the default.
        plans: Option<PlanChoice>,
    },
    /// Change name or settings (owner), or plans (operator).
    ChangeOrg {
        /// Another name.
        name: Option<Box<str>>,
        /// Other settings, as a whole.
        settings: Option<Settings>,
        /// Other plans, as a whole.
        plans: Option<PlanChoice>,
    },
    /// Invite a person (owner; nobody gives a role above the own).
    InviteMember {
        /// The new member's id.
        member: MemberId,
        /// Address and login name.
        email: Box<str>,
        /// Name for people.
        name: Box<str>,
        /// The role.
        role: Role,
        /// What the invitation must be answered with.
        invitation: StoredSecret,
    },
    /// Answer an invitation. The shell has checked the invitation's secret.
    JoinMember {
        /// Who.
        member: MemberId,
        /// The password's hash, sealed.
        password: Sealed,
    },
    /// Give a member another role (owner). The last owner stays one.
    ChangeRole {
        /// Who.
        member: MemberId,
        /// The role.
        role: Role,
    },
    /// Remove a member (owner). The last owner stays.
    RemoveMember {
        /// Who.
        member: MemberId,
    },
    /// Make a project (admin).
    CreateProject {
        /// The new id.
        project: ProjectId,
        /// Its name.
        name: Box<str>,
        /// Its limits.
        limits: Limits,
    },
    /// Change a project (admin).
    ChangeProject {
        /// Which.
        project: ProjectId,
        /// Another name.
        name: Option<Box<str>>,
        /// Other limits, as a whole.
        limits: Option<Limits>,
    },
    /// Delete a project without keys (admin).
    DeleteProject {
        /// Which.
        project: ProjectId,
    },
    /// Make a key (member for oneself, admin for anyone).
    CreateKey {
        /// The new id.
        key: KeyId,
        /// What it is to be.
        draft: Box<KeyDraft>,
        /// Its secret.
        secret: FreshSecret,
    },
    /// Make keys of secrets that their callers have already (admin): all of them or none.
    ImportKeys {
        /// The keys.
        keys: Vec<ImportedKey>,
    },
    /// Give a legacy key a secret of ours beside its own, until the migration is finished.
    MigrateKey {
        /// Which.
        key: KeyId,
        /// The new secret.
        secret: FreshSecret,
    },
    /// End the legacy secret of a key that is being migrated.
    FinishMigration {
        /// Which.
        key: KeyId,
    },
    /// Change a key's properties.
    ChangeKey {
        /// Which.
        key: KeyId,
        /// What changes.
        patch: Box<KeyPatch>,
    },
    /// Give a key a new secret.
    RotateKey {
        /// Which.
        key: KeyId,
        /// The new secret.
        secret: FreshSecret,
        /// For how long the old secret also works; 0: it dies at once. At most [`MAX_OVERLAP_MS`].
        overlap_ms: u64,
    },
    /// Switch a key off.
    DisableKey {
        /// Which.
        key: KeyId,
    },
    /// Switch a key on.
    EnableKey {
        /// Which.
        key: KeyId,
    },
    /// Stop a key for a reason.
    RevokeKey {
        /// Which.
        key: KeyId,
        /// Why.
        reason: RevokeReason,
    },
    /// Make an inactive or revoked key work again.
    ActivateKey {
        /// Which.
        key: KeyId,
        /// A new secret; needed after a compromise.
        rotate: Option<FreshSecret>,
    },
    /// Delete a key for ever.
    DeleteKey {
        /// Which.
        key: KeyId,
    },
    /// Note that a recoverable secret is read; the shell opens it after the commit.
    RevealSecret {
        /// Which.
        key: KeyId,
    },
    /// Make an ephemeral token from a key, within what the key may do.
    IssueEphemeral {
        /// The key.
        key: KeyId,
        /// The new id.
        token: EphemeralId,
        /// What it is to be.
        draft: Box<EphemeralDraft>,
    },
    /// Make a key whose only credential is an ephemeral token.
    CreateEphemeralKey {
        /// The new id.
        key: KeyId,
        /// The id of its token.
        token: EphemeralId,
        /// What it is to be, but for its end.
        draft: Box<KeyDraft>,
        /// A secret that nobody is told.
        secret: FreshSecret,
        /// As in [`EphemeralDraft`].
        life_ms: Option<u64>,
    },
    /// Stop an ephemeral token before its end.
    RevokeEphemeral {
        /// Its key.
        key: KeyId,
        /// Which.
        token: EphemeralId,
    },
    /// Make a management token (never above the maker's role) or a join token (admin).
    CreateToken {
        /// The new id.
        token: TokenId,
        /// Its name.
        name: Box<str>,
        /// Management or gateway.
        kind: SecretKind,
        /// What its holder may do.
        role: Role,
        /// Its secret.
        secret: StoredSecret,
        /// When it stops working.
        expires_at: Option<Timestamp>,
    },
    /// Delete a token (its owner, or admin up to the own role).
    DeleteToken {
        /// Which.
        token: TokenId,
    },
    /// Add money to the wallet (operator).
    TopUpWallet {
        /// The new id.
        top_up: TopUpId,
        /// More than zero.
        amount: NanoUsd,
        /// The operator's note.
        note: Box<str>,
    },
    /// A budget is due to be closed: decided from a due row of the booking (system).
    CloseBudget {
        /// Whose budget.
        account: Account,
        /// In which unit.
        unit: Unit,
        /// The window that it was used up in.
        window: Window,
        /// The revision of the cap that was reached.
        revision: u64,
        /// What is settled, in the unit.
        settled: i64,
    },
    /// A budget has reached a threshold: decided from a due row of the booking (system).
    RaiseAlert {
        /// Whose budget.
        account: Account,
        /// In which unit.
        unit: Unit,
        /// The window.
        window: Window,
        /// The revision of the cap.
        revision: u64,
        /// The threshold in percent.
        percent: u8,
        /// What is settled, in the unit.
        settled: i64,
    },
    /// A gateway joins with a join token that the shell has checked (system).
    JoinGateway {
        /// Which; a gateway keeps its id over restarts.
        gateway: GatewayId,
        /// Its name.
        name: Box<str>,
        /// The token that it came with.
        token: TokenId,
    },
    /// A gateway says good-bye (itself or admin).
    LeaveGateway {
        /// Which.
        gateway: GatewayId,
    },
    /// Cut a gateway off (operator).
    FenceGateway {
        /// Which.
        gateway: GatewayId,
    },
    /// Release a hold without proof of what was spent under it (admin).
    AbandonLease {
        /// The gateway that held it.
        gateway: GatewayId,
        /// Whose budget.
        account: Account,
        /// In which unit.
        unit: Unit,
        /// How much, in the unit.
        amount: i64,
    },
    /// Add or change (`Some`) or remove (`None`) a provider of the organisation (admin).
    ChangeProvider {
        /// Which.
        provider: ProviderId,
        /// All of it.
        spec: Option<Box<ProviderSpec>>,
    },
    /// Register or change (`Some`) or remove (`None`) an MCP server (admin).
    ChangeMcpServer {
        /// Which.
        server: McpServerId,
        /// All of it.
        spec: Option<Box<McpServerSpec>>,
    },
}

impl Command {
    /// The keys that it makes of secrets that must be nobody's yet.
    #[must_use]
    pub fn imported(&self) -> &[ImportedKey] {
        if let Self::ImportKeys { keys } = self { keys } else { &[] }
    }
}
