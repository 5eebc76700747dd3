//! Wishes: what people want next, chosen from what stands.

use std::collections::BTreeSet;

use turnpike_domain::command::{Command, FreshSecret, KeyDraft, KeyPatch, PlatformCommand};
use turnpike_domain::event::{ModelSpec, PlanSpec};
use turnpike_domain::id::{KeyId, OrgId, PlanId, ProjectId, ProviderId, TokenId};
use turnpike_domain::limit::Account;
use turnpike_domain::meter::Prices;
use turnpike_domain::money::{Multiplier, NanoUsd, Price};
use turnpike_domain::scope::{Allow, Scopes};
use turnpike_domain::secret::{Sealed, SecretKind, StoredSecret};
use turnpike_domain::state::{ProviderKind, ProviderSpec, RevokeReason, Role, Route, Settings};
use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::Clock as _;
use turnpike_runtime::entropy;
use turnpike_tests::chance::Dice;

use crate::commands::{Asked, new_key};
use crate::house::House;
use crate::limits;
use crate::requests::MODELS;

/// The plans of every life.
pub(crate) const STANDARD: PlanId = PlanId(1);
pub(crate) const NARROW: PlanId = PlanId(2);
/// Providers of the platform, by name.
pub(crate) const PROVIDERS: &[(&str, ProviderId)] =
    &[("echo", ProviderId(1)), ("mirror", ProviderId(2))];
/// The longest life of a key that ends, and the longest overlap.
const END_MS: u64 = 60_000;
const OVERLAP_MS: u64 = 15_000;
/// The shortest bound of staleness that a life chooses.
const SHORT_STALENESS_MS: u64 = 20_000;

/// What somebody wants. Its secret is made anew for each try.
pub(crate) enum Wish {
    Create {
        org: OrgId,
        key: KeyId,
        draft: Box<KeyDraft>,
    },
    Rotate {
        org: OrgId,
        key: KeyId,
        overlap_ms: u64,
    },
    Activate {
        org: OrgId,
        key: KeyId,
        rotate: bool,
    },
    /// Anything of an organisation that makes no secret.
    Plain {
        org: OrgId,
        command: Box<Command>,
    },
    Platform(Box<PlatformCommand>),
}

impl Wish {
    pub(crate) const fn org(&self) -> OrgId {
        match self {
            Self::Create { org, .. }
            | Self::Rotate { org, .. }
            | Self::Activate { org, .. }
            | Self::Plain { org, .. } => *org,
            Self::Platform(_) => OrgId::PLATFORM,
        }
    }

    /// The key whose secret may be new.
    pub(crate) const fn key(&self) -> Option<KeyId> {
        match self {
            Self::Create { key, .. } | Self::Rotate { key, .. } | Self::Activate { key, .. } => {
                Some(*key)
            }
            Self::Plain { .. } | Self::Platform(_) => None,
        }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Create { key, .. } => format!("create {key}"),
            Self::Rotate { key, overlap_ms, .. } => format!("rotate {key} {overlap_ms}"),
            Self::Activate { key, .. } => format!("activate {key}"),
            Self::Plain { command, .. } => first_word(&format!("{command:?}")),
            Self::Platform(command) => first_word(&format!("{command:?}")),
        }
    }

    pub(crate) fn command(&self, stored: StoredSecret) -> Asked {
        let secret = FreshSecret { stored, recoverable: Sealed(Box::from(&b"sealed"[..])) };
        Asked::Organisation(match self {
            Self::Create { key, draft, .. } => {
                Command::CreateKey { key: *key, draft: draft.clone(), secret }
            }
            Self::Rotate { key, overlap_ms, .. } => {
                Command::RotateKey { key: *key, secret, overlap_ms: *overlap_ms }
            }
            Self::Activate { key, rotate, .. } => {
                Command::ActivateKey { key: *key, rotate: rotate.then_some(secret) }
            }
            Self::Plain { command, .. } => Command::clone(command),
            Self::Platform(command) => return Asked::Platform(PlatformCommand::clone(command)),
        })
    }
}

impl House {
    /// Something that somebody may want now.
    pub(crate) fn wish(&self) -> Option<Wish> {
        let (dice, now) = (&self.dice, self.control_clock.now());
        let reference = self.reference.borrow();
        let orgs: Vec<OrgId> = reference.orgs.keys().copied().collect();
        let org = *dice.pick(&orgs)?;
        let state = reference.organisation(org)?;
        let keys: Vec<KeyId> = state.keys.keys().copied().collect();
        let key = dice.pick(&keys).copied().unwrap_or_default();
        let projects: Vec<ProjectId> = state.projects.keys().copied().collect();
        let project = dice.pick(&projects).copied();
        let of_key = |command| Wish::Plain { org, command: Box::new(command) };
        Some(match dice.below(100) {
            0..=13 => {
                let draft = Box::new(draft(dice, now, project));
                Wish::Create { org, key: new_key(now), draft }
            }
            14..=23 => {
                let overlap_ms = dice.below(2) * dice.between(1_000, OVERLAP_MS);
                Wish::Rotate { org, key, overlap_ms }
            }
            24..=29 => of_key(Command::DisableKey { key }),
            30..=42 => of_key(Command::EnableKey { key }),
            43..=46 => {
                let compromised = dice.happens(5_000);
                let reason =
                    if compromised { RevokeReason::Compromised } else { RevokeReason::Unused };
                of_key(Command::RevokeKey { key, reason })
            }
            47..=56 => Wish::Activate { org, key, rotate: dice.happens(6_000) },
            57..=59 => of_key(Command::DeleteKey { key }),
            60..=76 => {
                let patch = Box::new(patch(dice, now, project));
                of_key(Command::ChangeKey { key, patch })
            }
            77..=80 => of_key(limits::top_up(dice, now)),
            81 => {
                let gateways = self.machines.iter().filter_map(|machine| machine.known_as());
                let gateway = *dice.pick(&gateways.collect::<Vec<_>>())?;
                let mut accounts = vec![Account::Wallet, Account::Key(key)];
                accounts.extend(project.map(Account::Project));
                of_key(limits::abandon(dice, gateway, &accounts)?)
            }
            82 => of_key(limits::turn_wallet(state.settings)),
            83..=86 => of_key(limits::change_project(dice, project.unwrap_or_default())),
            87..=88 => of_key(change_settings(dice, state.settings)),
            89..=90 => {
                let (name, limits) = (name("project", dice), limits::of_project(dice));
                let project = ProjectId(entropy::id(now));
                of_key(Command::CreateProject { project, name, limits })
            }
            91 => of_key(Command::DeleteProject { project: project.unwrap_or_default() }),
            92..=93 => {
                let spec = provider(&name("own", dice), vec!["dear".into()], false);
                let (provider, spec) = (ProviderId(entropy::id(now)), Some(Box::new(spec)));
                of_key(Command::ChangeProvider { provider, spec })
            }
            94..=95 => of_key(Command::CreateToken {
                token: TokenId(entropy::id(now)),
                name: name("token", dice),
                kind: SecretKind::Management,
                role: Role::Admin,
                secret: self.peppers.stored(&crate::commands::fresh(SecretKind::Management)),
                expires_at: None,
            }),
            _ => Wish::Platform(Box::new(platform_wish(dice))),
        })
    }
}

fn first_word(text: &str) -> String {
    text.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

fn platform_wish(dice: &Dice) -> PlatformCommand {
    match dice.below(4) {
        0 => {
            let spec = PlanSpec {
                name: "narrow".into(),
                models: some_of(dice, MODELS),
                multiplier: Multiplier(u32::try_from(dice.between(500_000, 2_000_000)).unwrap()),
            };
            PlatformCommand::ChangePlan { plan: NARROW, spec }
        }
        1 => {
            let (name, id) = PROVIDERS[1];
            let spec = provider(name, Vec::new(), dice.happens(4_000));
            PlatformCommand::ChangeProvider { provider: id, spec: Some(Box::new(spec)) }
        }
        _ => {
            let model = if dice.happens(5_000) { "cheap" } else { "dear" };
            let spec = Some(Box::new(model_spec(dice.between(1, 9), true, &["echo", "mirror"])));
            PlatformCommand::PriceModel { model: model.into(), spec }
        }
    }
}

fn change_settings(dice: &Dice, before: Settings) -> Command {
    let bound = [Some(SHORT_STALENESS_MS), Some(600_000), None];
    let max_staleness_ms = *dice.pick(&bound).unwrap();
    let settings = Some(Settings { max_staleness_ms, ..before });
    Command::ChangeOrg { name: None, settings, plans: None }
}

fn draft(dice: &Dice, now: Timestamp, project: Option<ProjectId>) -> KeyDraft {
    KeyDraft {
        name: name("key", dice),
        owner: None,
        project: project.filter(|_| dice.happens(3_000)),
        plan: dice.happens(3_000).then_some(NARROW),
        expires_at: dice.happens(2_000).then(|| end(dice, now)),
        limits: limits::of_key(dice),
        scopes: scopes(dice),
        metadata: None,
    }
}

fn patch(dice: &Dice, now: Timestamp, project: Option<ProjectId>) -> KeyPatch {
    let rolled = |rate| dice.happens(rate);
    KeyPatch {
        name: rolled(2_000).then(|| name("key", dice)),
        project: rolled(1_000).then_some(project),
        plan: rolled(3_000).then(|| *dice.pick(&[STANDARD, NARROW]).unwrap()),
        expires_at: rolled(3_000).then(|| rolled(5_000).then(|| end(dice, now))),
        limits: rolled(5_000).then(|| limits::of_key(dice)),
        scopes: rolled(3_000).then(|| scopes(dice)),
        ..KeyPatch::default()
    }
}

fn end(dice: &Dice, now: Timestamp) -> Timestamp {
    now.plus_ms(dice.between(5_000, END_MS))
}

fn scopes(dice: &Dice) -> Scopes {
    let inside = ["10.0.0.0/8".parse().unwrap()];
    Scopes {
        models: some_of(dice, MODELS),
        providers: some_of(dice, &["echo", "mirror"]),
        addresses: dice.happens(1_500).then(|| BTreeSet::from(inside)),
        ..Scopes::default()
    }
}

fn some_of(dice: &Dice, names: &[&str]) -> Allow {
    if dice.happens(7_000) {
        return Allow::All;
    }
    let mut some: BTreeSet<Box<str>> =
        names.iter().filter(|_| dice.happens(6_000)).map(|name| Box::from(*name)).collect();
    some.insert(Box::from(names[0]));
    Allow::Only(some)
}

fn name(kind: &str, dice: &Dice) -> Box<str> {
    format!("{kind}-{:08x}", dice.below(u64::from(u32::MAX))).into()
}

pub(crate) fn provider(name: &str, serves: Vec<Box<str>>, disabled: bool) -> ProviderSpec {
    ProviderSpec {
        name: name.into(),
        kind: ProviderKind::OpenAi,
        base_url: "https://provider.example".into(),
        credential: None,
        headers: Vec::new(),
        serves,
        connect_timeout_ms: 1_000,
        answer_timeout_ms: 60_000,
        idle_timeout_ms: 60_000,
        total_timeout_ms: 0,
        max_concurrency: 0,
        disabled,
        tls_roots: None,
        max_failures: 0,
    }
}

pub(crate) fn model_spec(usd: u64, priced: bool, routes: &[&str]) -> ModelSpec {
    let usd = i64::try_from(usd).unwrap();
    let prices = Prices {
        input: Price(usd * 1_000_000_007),
        output: Price(usd * 3_000_000_019),
        cached_input: Some(Price(usd * 100_000_003)),
        request_fee: NanoUsd(usd * 11),
        ..Prices::default()
    };
    let route = |name: &&str| Route {
        provider: (*name).into(),
        upstream_model: None,
        weight: 1,
        prices: None,
    };
    ModelSpec {
        prices: priced.then_some(prices),
        context_window: 8_000,
        max_output: 1_000,
        routes: routes.iter().map(route).collect(),
    }
}
