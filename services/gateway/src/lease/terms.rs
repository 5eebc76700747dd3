//! What decides on which lease a request of a key is admitted.

use turnpike_domain::id::{EphemeralId, KeyId, OrgId, ProjectId};
use turnpike_domain::ledger::{Budget, budgets};
use turnpike_domain::limit::{Account, Unit};
use turnpike_domain::time::{Reset, Timestamp, Window};

use crate::core::Entry;

/// The caps that a path can have: two of the token, two of the key, two of the project, one of the
/// wallet.
pub(super) const CAPS: usize = 7;
/// Stands for "no cap".
const NO_CAP: i64 = i64::MAX;

/// The path of a key's requests, but for its windows, which the authority names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) key: KeyId,
    /// The token, if it has a budget of its own within the key's.
    pub(super) token: Option<EphemeralId>,
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
        let organisation = &entry.org.organisation;
        let payer = entry.payer();
        let mut shape = Shape {
            key: payer.id,
            token: None,
            project: None,
            resets: [Reset::None; 2],
            capped: [false; 2],
        };
        let mut caps = [NO_CAP; CAPS];
        if let Some(claims) = entry.token.as_ref().map(|token| &token.claims) {
            let tokens = claims.token_cap.map(|cap| i64::try_from(cap).unwrap_or(NO_CAP));
            let own = [claims.cost_cap.map(|cap| cap.0), tokens];
            shape.capped = own.map(|cap| cap.is_some());
            shape.token = (shape.capped != [false; 2]).then_some(claims.token);
            [caps[5], caps[6]] = own.map(|cap| cap.unwrap_or(NO_CAP));
        }
        for budget in budgets(organisation, payer) {
            let [usd, tokens] = Unit::BOTH.map(|unit| budget.cap(unit));
            shape.capped[0] |= usd.is_some();
            shape.capped[1] |= tokens.is_some();
            let [usd, tokens] = [usd, tokens].map(|cap| cap.unwrap_or(NO_CAP));
            let Budget { account, reset, .. } = budget;
            match account {
                Account::Key(_) => (shape.resets[0], caps[0], caps[3]) = (reset, usd, tokens),
                Account::Project(project) => {
                    shape.project = Some(project);
                    (shape.resets[1], caps[1], caps[4]) = (reset, usd, tokens);
                }
                Account::Wallet => caps[2] = usd,
                Account::Ephemeral(_) => {}
            }
        }
        let is_capped = shape.capped != [false; 2];
        is_capped.then_some(Self { org: organisation.id, shape, caps })
    }
}

impl Shape {
    pub(super) const fn is_capped(&self, unit: Unit) -> bool {
        match unit {
            Unit::Usd => self.capped[0],
            Unit::Tokens => self.capped[1],
        }
    }

    /// Whether this is the path, in present windows of its policies, if the first of those windows
    /// ends at `ends_at`. A window alone does not tell its policy: a month that begins on a Monday
    /// is named like that week.
    pub(super) fn is_path(&self, path: &[(Account, Window)], ends_at: Option<Timestamp>) -> bool {
        let [own, of_project] = self.resets;
        let project = self.project.map(|project| (Account::Project(project), of_project));
        let token = self.token.map(|token| (Account::Ephemeral(token), Reset::None));
        let levels = [token, Some((Account::Key(self.key), own)), project];
        let levels = levels.into_iter().flatten().chain([(Account::Wallet, Reset::None)]);
        let mut named = levels.clone().zip(path);
        let ends = levels.clone().zip(path).filter_map(|((_, reset), (_, on))| reset.ends(*on));
        levels.count() == path.len()
            && named.all(|((account, reset), (on, window))| account == *on && reset.names(*window))
            && ends.min() == ends_at
    }

    /// Whether the path leads over `account`.
    pub(super) fn holds(&self, account: Account) -> bool {
        match account {
            Account::Wallet => true,
            Account::Project(project) => self.project == Some(project),
            Account::Key(key) => self.key == key,
            Account::Ephemeral(token) => self.token == Some(token),
        }
    }
}
