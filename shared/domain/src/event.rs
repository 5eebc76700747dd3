//! Events: what has happened, in the past tense. They are born in `decide` only.

mod name;
mod spec;

pub use spec::{EphemeralGrant, KeyProfile, ModelSpec, PlanSpec};

use std::net::IpAddr;

use crate::id::{
    CommandId, EphemeralId, EventId, GatewayId, KeyId, McpServerId, MemberId, OrgId, PlanId,
    ProjectId, ProviderId, TokenId, TopUpId,
};
use crate::limit::{Account, Limits, Unit};
use crate::money::NanoUsd;
use crate::secret::{Sealed, SecretKind, StoredSecret};
use crate::state::{McpServerSpec, ProviderSpec, RevokeReason, Role, Settings};
use crate::time::{Timestamp, Window};

/// Who caused an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// Turnpike itself: first start, budgets that became due.
    System,
    /// A person with a session.
    Member(MemberId),
    /// A program with a management token.
    Token(TokenId),
    /// A gateway.
    Gateway(GatewayId),
}

/// Who caused an event, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The person, program or process.
    pub who: Who,
    /// The address that the command came from, if it came over the network.
    pub address: Option<IpAddr>,
}

/// An event with its envelope, but for the chain of hashes, which covers its stored bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The event's own id.
    pub id: EventId,
    /// Whose stream it stands in.
    pub org: OrgId,
    /// Its place in that stream: 1, 2, 3 …
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// The command that it came from.
    pub command: CommandId,
    /// What happened.
    pub event: Event,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first event of an organisation.
    OrgCreated {
        /// Its name.
        name: Box<str>,
        /// Its settings.
        settings: Settings,
    },
    /// Name or settings were changed.
    OrgSettingsChanged {
        /// The name from now on.
        name: Box<str>,
        /// The settings from now on.
        settings: Settings,
    },
    /// A person was invited.
    MemberInvited {
        /// The new member.
        member: MemberId,
        /// Address and login name.
        email: Box<str>,
        /// Name for people.
        name: Box<str>,
        /// The role from the day of joining.
        role: Role,
        /// What the invitation must be answered with.
        invitation: StoredSecret,
    },
    /// An invited person accepted and can log in.
    MemberJoined {
        /// Who.
        member: MemberId,
        /// The password's hash, sealed for the control plane.
        password: Sealed,
    },
    /// A member has another role.
    MemberRoleChanged {
        /// Who.
        member: MemberId,
        /// The role from now on.
        role: Role,
    },
    /// A member was removed; the keys stay.
    MemberRemoved {
        /// Who.
        member: MemberId,
    },
    /// A project was made.
    ProjectCreated {
        /// The new project.
        project: ProjectId,
        /// Its name.
        name: Box<str>,
        /// Its own limits.
        limits: Limits,
    },
    /// A project was renamed or has other limits.
    ProjectChanged {
        /// Which.
        project: ProjectId,
        /// The name from now on.
        name: Box<str>,
        /// The limits from now on.
        limits: Limits,
    },
    /// A project was deleted; it had no keys left.
    ProjectDeleted {
        /// Which.
        project: ProjectId,
    },
    /// A key was made.
    KeyCreated {
        /// The new key.
        key: KeyId,
        /// Its properties.
        profile: Box<KeyProfile>,
        /// Its secret.
        secret: StoredSecret,
        /// The secret itself, sealed, where the organisation keeps secrets recoverable.
        recoverable: Option<Sealed>,
    },
    /// A key was made of a secret that its callers have already.
    KeyImported {
        /// The new key.
        key: KeyId,
        /// Its properties.
        profile: Box<KeyProfile>,
        /// The legacy secret.
        secret: StoredSecret,
    },
    /// Properties of a key were changed.
    KeyChanged {
        /// Which.
        key: KeyId,
        /// All its properties from now on.
        profile: Box<KeyProfile>,
    },
    /// A key has a new secret.
    KeyRotated {
        /// Which.
        key: KeyId,
        /// The secret from now on.
        secret: StoredSecret,
        /// As in `KeyCreated`.
        recoverable: Option<Sealed>,
        /// Until when the old secret also works; `None`: it died at once.
        overlap_until: Option<Timestamp>,
    },
    /// A legacy key has a secret of ours beside its own (`Some`), or its own has ended (`None`).
    KeyMigrated {
        /// Which.
        key: KeyId,
        /// The secret from now on, beside the legacy one.
        secret: Option<StoredSecret>,
        /// As in `KeyCreated`.
        recoverable: Option<Sealed>,
    },
    /// A key was switched off.
    KeyDisabled {
        /// Which.
        key: KeyId,
    },
    /// A key was switched on.
    KeyEnabled {
        /// Which.
        key: KeyId,
    },
    /// A key was stopped for a reason.
    KeyRevoked {
        /// Which.
        key: KeyId,
        /// Why.
        reason: RevokeReason,
    },
    /// An inactive or revoked key works again.
    KeyActivated {
        /// Which.
        key: KeyId,
    },
    /// A key is gone for ever.
    KeyDeleted {
        /// Which.
        key: KeyId,
    },
    /// Somebody read a recoverable secret.
    SecretRevealed {
        /// Whose secret.
        key: KeyId,
    },
    /// An ephemeral token was made from a key. Its text is nowhere: whoever holds it has it signed.
    EphemeralIssued {
        /// The key that it is delegated by.
        key: KeyId,
        /// The new token.
        token: EphemeralId,
        /// What it may do.
        grant: Box<EphemeralGrant>,
    },
    /// An ephemeral token was stopped before its end.
    EphemeralRevoked {
        /// Its key.
        key: KeyId,
        /// Which.
        token: EphemeralId,
    },
    /// A management token or a gateway's join token was made.
    TokenCreated {
        /// The new token.
        token: TokenId,
        /// Its name.
        name: Box<str>,
        /// [`SecretKind::Management`] or [`SecretKind::Gateway`].
        kind: SecretKind,
        /// What its holder may do; a join token's role is viewer.
        role: Role,
        /// The member that it acts for, if one made it.
        owner: Option<MemberId>,
        /// Its secret.
        secret: StoredSecret,
        /// When it stops working.
        expires_at: Option<Timestamp>,
    },
    /// A token is gone.
    TokenDeleted {
        /// Which.
        token: TokenId,
    },
    /// The operator chose which plans the organisation may use.
    PlanAssigned {
        /// The plans to choose among; `None`: all.
        allowed: Option<Vec<PlanId>>,
        /// The plan of keys that name none.
        default: Option<PlanId>,
    },
    /// A budget is used up.
    QuotaHit {
        /// Whose budget.
        account: Account,
        /// In which unit.
        unit: Unit,
        /// The window that it was used up in.
        window: Window,
        /// The revision of the cap that was hit.
        revision: u64,
        /// The cap, in the unit.
        cap: i64,
        /// What was settled when it was decided, in the unit.
        settled: i64,
    },
    /// A budget has reached a threshold.
    AlertRaised {
        /// Whose budget.
        account: Account,
        /// In which unit.
        unit: Unit,
        /// The window.
        window: Window,
        /// The revision of the cap.
        revision: u64,
        /// The threshold in percent of the cap.
        percent: u8,
        /// The cap, in the unit.
        cap: i64,
        /// What was settled when it was decided, in the unit.
        settled: i64,
    },
    /// Money was added to the wallet.
    WalletToppedUp {
        /// This top-up.
        top_up: TopUpId,
        /// How much.
        amount: NanoUsd,
        /// The operator's note, e.g. an invoice number.
        note: Box<str>,
    },
    /// The wallet is empty: every key is refused.
    WalletExhausted {
        /// The revision of the wallet's cap that was reached.
        revision: u64,
    },
    /// The wallet has money again.
    WalletRestored {
        /// The revision of the wallet's cap that reopened it.
        revision: u64,
    },
    /// A gateway joined with a join token.
    GatewayJoined {
        /// Which.
        gateway: GatewayId,
        /// Its name, usually the host's.
        name: Box<str>,
        /// The join token that it came with.
        token: TokenId,
    },
    /// A gateway said good-bye.
    GatewayLeft {
        /// Which.
        gateway: GatewayId,
    },
    /// The operator cut a gateway off: it is granted nothing more; its spend still counts.
    GatewayFenced {
        /// Which.
        gateway: GatewayId,
    },
    /// An administrator released a hold without proof of what was spent under it.
    LeaseAbandoned {
        /// The gateway that held it.
        gateway: GatewayId,
        /// Whose budget.
        account: Account,
        /// In which unit.
        unit: Unit,
        /// How much was released, in the unit.
        amount: i64,
    },
    /// A provider was added or changed (`Some`), or removed (`None`).
    ProviderChanged {
        /// Which.
        provider: ProviderId,
        /// All of it from now on.
        spec: Option<Box<ProviderSpec>>,
    },
    /// An MCP server was registered or changed (`Some`), or removed (`None`).
    McpServerChanged {
        /// Which.
        server: McpServerId,
        /// All of it from now on.
        spec: Option<Box<McpServerSpec>>,
    },
    /// Platform: a plan was added or changed (`Some`), or removed (`None`).
    PlanChanged {
        /// Which.
        plan: PlanId,
        /// All of it from now on.
        spec: Option<PlanSpec>,
    },
    /// Platform: a model was added, changed or priced anew (`Some`), or removed (`None`).
    ModelPriced {
        /// Its name, as callers write it.
        model: Box<str>,
        /// All of it from now on.
        spec: Option<Box<ModelSpec>>,
    },
}
