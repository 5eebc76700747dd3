//! What decides on which lease a request of a key is admitted.

use turnpike_domain::id::{KeyId, OrgId, ProjectId};
use turnpike_domain::limit::{Account, Limits, Unit};
use turnpike_domain::state::WalletMode;
use turnpike_domain::time::{Reset, Timestamp, Window};

use crate::core::Entry;

/// The caps that a path can have: two of the key, two of the project, one of the wallet.
pub(super) const CAPS: usize = 5;
/// Stands for "no cap".
const NO_CAP: i64 = i64::MAX;

/// The path of a key's requests, but for its windows, which the authority names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) key: KeyId,
    project: Option<ProjectId>,
    /// Of the key and of its project.
    resets: [Reset; 2],
    /// Whether a cap in USD and one in tokens stand on it.
    capped: [bool; 2],
}

/// What a key's requests are admitted under at the moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) org: OrgId,
    pub(super) shape: Shape,
    pub(super) caps: [i64; CAPS],
}

impl Terms {
    /// The terms of a key; `None` if no cap stands on its path.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        let (organisation, profile) = (&entry.org.organisation, &entry.key.profile);
        let project = profile.project.and_then(|id| Some((id, organisation.projects.get(&id)?)));
        let cap = |limits: &Limits, unit| limits.cap(unit).unwrap_or(NO_CAP);
        let of_project = |unit| project.map_or(NO_CAP, |(_, project)| cap(&project.limits, unit));
        let wallet = match organisation.settings.wallet {
            WalletMode::Off => NO_CAP,
            WalletMode::Prepaid => organisation.wallet.topped_up.0,
        };
        let usd = [cap(&profile.limits, Unit::Usd), of_project(Unit::Usd), wallet];
        let tokens = [cap(&profile.limits, Unit::Tokens), of_project(Unit::Tokens)];
        let capped = [usd.iter().any(is_cap), tokens.iter().any(is_cap)];
        if capped == [false; 2] {
            return None;
        }
        let resets =
            [profile.limits.reset, project.map_or(Reset::None, |(_, one)| one.limits.reset)];
        let (key, project) = (entry.key.id, project.map(|(id, _)| id));
        let shape = Shape { key, project, resets, capped };
        let caps = [usd[0], usd[1], usd[2], tokens[0], tokens[1]];
        Some(Self { org: organisation.id, shape, caps })
    }
}

const fn is_cap(cap: &i64) -> bool {
    *cap != NO_CAP
}

impl Shape {
    pub(super) const fn is_capped(&self, unit: Unit) -> bool {
        match unit {
            Unit::Usd => self.capped[0],
            Unit::Tokens => self.capped[1],
        }
    }

    /// Whether this is the path, in windows of its policies.
    pub(super) fn is_path(&self, path: &[(Account, Window)]) -> bool {
        let [own, of_project] = self.resets;
        let project = self.project.map(|project| (Account::Project(project), of_project));
        let levels = [Some((Account::Key(self.key), own)), project];
        let levels = levels.into_iter().flatten().chain([(Account::Wallet, Reset::None)]);
        let is_window = |reset: Reset, window: Window| {
            let is_endless = window == Window::default();
            reset.window(Timestamp(window.0)) == window && is_endless == (reset == Reset::None)
        };
        levels.clone().count() == path.len()
            && levels
                .zip(path)
                .all(|((account, reset), (on, window))| account == *on && is_window(reset, *window))
    }

    /// Whether the path leads over `account`.
    pub(super) fn holds(&self, account: Account) -> bool {
        match account {
            Account::Wallet => true,
            Account::Project(project) => self.project == Some(project),
            Account::Key(key) => self.key == key,
            Account::Ephemeral(_) => false,
        }
    }
}
