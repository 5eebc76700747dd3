//! One organisation: everything that its stream adds up to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Ephemeral, Head, Key, McpServer, Provider};
use crate::id::{
    EphemeralId, GatewayId, KeyId, McpServerId, MemberId, OrgId, PlanId, ProjectId, ProviderId,
    TokenId, TopUpId,
};
use crate::limit::{Account, Limits, Unit, WALLET_ALERT_PERCENT};
use crate::money::NanoUsd;
use crate::secret::{Sealed, SecretKind, StoredSecret};
use crate::time::{MINUTE_MS, Reset, Timestamp, Window};

/// What a person or program may do; a greater role may all that a smaller one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads all of the organisation but secrets.
    Viewer,
    /// Own keys within the organisation's rules.
    Member,
    /// Keys of all members, projects, providers, gateways.
    Admin,
    /// All of one organisation.
    Owner,
    /// Everything, and what is the platform's.
    Operator,
}

/// The status with which a used-up budget is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum LimitStatus {
    /// 402.
    #[default]
    PaymentRequired,
    /// 429 with `x-should-retry: false`.
    TooManyRequests,
}

/// Whether a secret can be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SecretReveal {
    /// Shown once, at creation.
    #[default]
    Once,
    /// Kept sealed; every reading is an event.
    Recoverable,
}

/// What a gateway does about rates when their authority cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum RateFallback {
    /// Its share of the limit.
    #[default]
    Share,
    /// Refuse.
    Deny,
}

/// Whether the organisation itself has a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum WalletMode {
    /// None.
    #[default]
    Off,
    /// All that was ever topped up.
    Prepaid,
}

/// An organisation's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The status of a used-up budget.
    pub limit_status: LimitStatus,
    /// Whether secrets can be read again.
    pub secret_reveal: SecretReveal,
    /// How long a gateway serves without news; `None`: without bound.
    pub max_staleness_ms: Option<u64>,
    /// Rates without their authority.
    pub rate_fallback: RateFallback,
    /// The organisation's own budget.
    pub wallet: WalletMode,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limit_status: LimitStatus::default(),
            secret_reveal: SecretReveal::default(),
            max_staleness_ms: Some(10 * MINUTE_MS),
            rate_fallback: RateFallback::default(),
            wallet: WalletMode::default(),
        }
    }
}

/// How far a membership has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// Waits for the person.
    Invited {
        /// What the invitation must be answered with.
        invitation: StoredSecret,
    },
    /// Can log in.
    Joined {
        /// The password's hash, sealed for the control plane.
        password: Sealed,
    },
}

/// A person of the organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Address and login name, in lower case.
    pub email: Box<str>,
    /// Name for people.
    pub name: Box<str>,
    /// What the person may do.
    pub role: Role,
    /// Invited or joined.
    pub state: MemberState,
    /// When the person was invited.
    pub created_at: Timestamp,
    /// The last event that touched it.
    pub seq: u64,
}

/// A group of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Unique among the organisation's projects.
    pub name: Box<str>,
    /// Limits over all its keys.
    pub limits: Limits,
    /// When it was made.
    pub created_at: Timestamp,
    /// The last event that touched it.
    pub seq: u64,
}

/// A management token, or a join token of gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// For people.
    pub name: Box<str>,
    /// What it opens.
    pub kind: SecretKind,
    /// What its holder may do.
    pub role: Role,
    /// The member that it acts for.
    pub owner: Option<MemberId>,
    /// Its secret.
    pub secret: StoredSecret,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The last event that touched it.
    pub seq: u64,
}

/// A gateway that joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its name, usually the host's.
    pub name: Box<str>,
    /// The join token that it came with.
    pub token: TokenId,
    /// When it joined.
    pub joined_at: Timestamp,
    /// It said good-bye.
    pub left: bool,
    /// The operator cut it off.
    pub fenced: bool,
    /// The last event that touched it.
    pub seq: u64,
}

/// One top-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopUp {
    /// Its id.
    pub id: TopUpId,
    /// When.
    pub at: Timestamp,
    /// How much.
    pub amount: NanoUsd,
    /// The operator's note.
    pub note: Box<str>,
}

/// The organisation's own money, as its stream tells it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Wallet {
    /// All that was ever topped up.
    pub topped_up: NanoUsd,
    /// Every top-up, oldest first.
    pub top_ups: Vec<TopUp>,
    /// Used up, until the next top-up.
    pub exhausted: bool,
}

/// A cap on an account. It is in force if `amount` is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Cap {
    /// The most, in the unit; `None`: no cap.
    pub amount: Option<i64>,
    /// When the account begins anew.
    pub reset: Reset,
    /// Grows with each change of the cap.
    pub revision: u64,
}

/// A threshold that was reached: it fires once per (account, unit, window, revision, percent).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The window that it was reached in.
    pub window: Window,
    /// The revision of the cap.
    pub revision: u64,
    /// The highest threshold told so far, in percent.
    pub percent: u8,
    /// The budget itself is used up.
    pub exhausted: bool,
    /// What was settled when it was told, in the unit, if that was said.
    pub settled: Option<i64>,
}

/// One organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organisation {
    /// Its id.
    pub id: OrgId,
    /// Up to where its stream was folded.
    pub head: Head,
    /// Its name.
    pub name: Box<str>,
    /// Its settings.
    pub settings: Settings,
    /// When it was made.
    pub created_at: Timestamp,
    /// The last event that touched name, settings or plans.
    pub settings_seq: u64,
    /// The plans that it may choose among; `None`: all.
    pub allowed_plans: Option<Vec<PlanId>>,
    /// The plan of keys that name none.
    pub default_plan: Option<PlanId>,
    /// Its people.
    pub members: BTreeMap<MemberId, Member>,
    /// Its projects.
    pub projects: BTreeMap<ProjectId, Project>,
    /// Its keys that are not deleted, shared with whoever looks them up.
    pub keys: BTreeMap<KeyId, Arc<Key>>,
    /// The names of its keys.
    pub key_names: BTreeMap<Box<str>, KeyId>,
    /// Tokens made from its keys that have not ended long ago.
    pub ephemerals: BTreeMap<(KeyId, EphemeralId), Ephemeral>,
    /// The same by their end.
    pub ephemeral_ends: BTreeSet<(Timestamp, KeyId, EphemeralId)>,
    /// Management and join tokens.
    pub tokens: BTreeMap<TokenId, Token>,
    /// Its own providers.
    pub providers: BTreeMap<ProviderId, Provider>,
    /// MCP servers that its keys may reach.
    pub mcp_servers: BTreeMap<McpServerId, McpServer>,
    /// Gateways that ever joined.
    pub gateways: BTreeMap<GatewayId, Gateway>,
    /// Its own money.
    pub wallet: Wallet,
    /// Caps, with their revisions, also of removed ones.
    pub caps: BTreeMap<(Account, Unit), Cap>,
    /// Thresholds reached, in the newest window of each account.
    pub hits: BTreeMap<(Account, Unit), Hit>,
}

impl Organisation {
    /// An organisation of which no event is known.
    #[must_use]
    pub fn new(id: OrgId) -> Self {
        Self {
            id,
            head: Head::default(),
            name: "".into(),
            settings: Settings::default(),
            created_at: Timestamp::default(),
            settings_seq: 0,
            allowed_plans: None,
            default_plan: None,
            members: BTreeMap::new(),
            projects: BTreeMap::new(),
            keys: BTreeMap::new(),
            key_names: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            ephemeral_ends: BTreeSet::new(),
            tokens: BTreeMap::new(),
            providers: BTreeMap::new(),
            mcp_servers: BTreeMap::new(),
            gateways: BTreeMap::new(),
            wallet: Wallet::default(),
            caps: BTreeMap::new(),
            hits: BTreeMap::new(),
        }
    }

    /// Whether the budget of `account` in `unit` is used up at `now`: it was hit in the present
    /// window under the present cap.
    #[must_use]
    pub fn is_used_up(&self, account: Account, unit: Unit, now: Timestamp) -> bool {
        let (Some(cap), Some(hit)) =
            (self.caps.get(&(account, unit)), self.hits.get(&(account, unit)))
        else {
            return false;
        };
        cap.amount.is_some()
            && hit.exhausted
            && hit.revision == cap.revision
            && hit.window == cap.reset.window(now)
    }

    /// The MCP server of this name, whether or not it is switched on.
    #[must_use]
    pub fn mcp_server(&self, name: &str) -> Option<&McpServer> {
        self.mcp_servers.values().find(|server| &*server.spec.name == name)
    }

    /// Whether one of the key's own budgets is used up at `now`.
    #[must_use]
    pub fn is_exhausted(&self, key: KeyId, now: Timestamp) -> bool {
        [Unit::Usd, Unit::Tokens]
            .into_iter()
            .any(|unit| self.is_used_up(Account::Key(key), unit, now))
    }

    /// The percentages of its cap at which an alert is raised for `account`.
    #[must_use]
    pub fn alert_percents(&self, account: Account) -> &[u8] {
        match account {
            Account::Wallet => WALLET_ALERT_PERCENT,
            Account::Project(project) => {
                self.projects.get(&project).map_or(&[], |project| &project.limits.alert_percent)
            }
            Account::Key(key) => {
                self.keys.get(&key).map_or(&[], |key| &key.profile.limits.alert_percent)
            }
            Account::Ephemeral(_) => &[],
        }
    }

    /// What the holder of `token` may do: never more than the member that it acts for may do now.
    /// An operator's token is the exception: its role is the platform's, which no membership gives,
    /// and only an operator can have made it. `None`: the member is not here (any more).
    #[must_use]
    pub fn role_of(&self, token: &Token) -> Option<Role> {
        match token.owner {
            None => Some(token.role),
            Some(owner) => self.members.get(&owner).map(|member| match token.role {
                Role::Operator => Role::Operator,
                role @ (Role::Viewer | Role::Member | Role::Admin | Role::Owner) => {
                    member.role.min(role)
                }
            }),
        }
    }
}
