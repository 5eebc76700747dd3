//! The directory: which credential or address belongs to which organisation, kept in memory.
//!
//! It is a copy of parts of the streams. The tail brings it in step within milliseconds of a commit
//! anywhere; a credential that is not found makes it look once more before the answer is no.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use turnpike_domain::id::{GatewayId, MemberId, OrgId, TokenId};
use turnpike_domain::secret::PublicId;
use turnpike_domain::state::{Organisation, Platform, Token};

/// A token and where it stands.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Whose token; [`OrgId::PLATFORM`] for a join token of every organisation.
    pub org: OrgId,
    /// Its id.
    pub id: TokenId,
    /// The token.
    pub token: Token,
}

/// Credentials and addresses of all organisations. Reading takes no lock.
#[derive(Default)]
pub struct Directory {
    entries: ArcSwap<Entries>,
}

#[derive(Clone, Default)]
struct Entries {
    orgs: BTreeSet<OrgId>,
    /// Organisations with gateways of their own.
    with_gateways: BTreeSet<OrgId>,
    /// Every gateway that has ever joined.
    gateways: BTreeSet<GatewayId>,
    tokens: BTreeMap<PublicId, Arc<Listed>>,
    tokens_of: BTreeMap<OrgId, Vec<PublicId>>,
    members: BTreeMap<Box<str>, BTreeSet<(OrgId, MemberId)>>,
    emails_of: BTreeMap<OrgId, Vec<(Box<str>, MemberId)>>,
}

impl Directory {
    /// The token that is looked up by `public_id`.
    #[must_use]
    pub fn token(&self, public_id: PublicId) -> Option<Arc<Listed>> {
        self.entries.load().tokens.get(&public_id).cloned()
    }

    /// The memberships of an address, in lower case.
    #[must_use]
    pub fn members(&self, email: &str) -> Vec<(OrgId, MemberId)> {
        let entries = self.entries.load();
        entries.members.get(email).map(|found| found.iter().copied().collect()).unwrap_or_default()
    }

    /// All organisations.
    #[must_use]
    pub fn organisations(&self) -> Vec<OrgId> {
        self.entries.load().orgs.iter().copied().collect()
    }

    /// Organisations that have gateways of their own, which hear only of them.
    #[must_use]
    pub fn with_gateways(&self) -> Vec<OrgId> {
        self.entries.load().with_gateways.iter().copied().collect()
    }

    /// Whether a gateway of this id has ever joined anywhere.
    #[must_use]
    pub fn knows_gateway(&self, id: GatewayId) -> bool {
        self.entries.load().gateways.contains(&id)
    }

    /// Whether a receipt of this gateway about this organisation can be one: both are known.
    #[must_use]
    pub fn may_speak(&self, org: OrgId, gateway: GatewayId) -> bool {
        let entries = self.entries.load();
        let knows_org = org == OrgId::PLATFORM || entries.orgs.contains(&org);
        knows_org && entries.gateways.contains(&gateway)
    }

    /// Takes over what an organisation holds now.
    pub fn refresh(&self, state: &Organisation) {
        let tokens = listed(state.id, &state.tokens);
        let emails: Vec<_> =
            state.members.iter().map(|(id, member)| (member.email.clone(), *id)).collect();
        self.entries.rcu(|entries| {
            let mut next = Entries::clone(entries);
            next.orgs.insert(state.id);
            if state.gateways.values().any(|gateway| !gateway.left) {
                next.with_gateways.insert(state.id);
            } else {
                next.with_gateways.remove(&state.id);
            }
            next.gateways.extend(state.gateways.keys());
            next.set_tokens(state.id, &tokens);
            next.set_members(state.id, &emails);
            next
        });
    }

    /// Takes over what the platform holds now.
    pub fn refresh_platform(&self, state: &Platform) {
        let tokens = listed(OrgId::PLATFORM, &state.tokens);
        self.entries.rcu(|entries| {
            let mut next = Entries::clone(entries);
            next.gateways.extend(state.gateways.keys());
            next.set_tokens(OrgId::PLATFORM, &tokens);
            next
        });
    }
}

impl Entries {
    fn set_tokens(&mut self, org: OrgId, tokens: &[Arc<Listed>]) {
        for old in self.tokens_of.remove(&org).unwrap_or_default() {
            self.tokens.remove(&old);
        }
        let ids = tokens.iter().map(|listed| listed.token.secret.public_id);
        self.tokens_of.insert(org, ids.collect());
        let entries = tokens.iter().map(|listed| (listed.token.secret.public_id, listed.clone()));
        self.tokens.extend(entries);
    }

    fn set_members(&mut self, org: OrgId, emails: &[(Box<str>, MemberId)]) {
        for (email, member) in self.emails_of.remove(&org).unwrap_or_default() {
            if let Some(found) = self.members.get_mut(&email) {
                found.remove(&(org, member));
            }
        }
        self.emails_of.insert(org, emails.to_vec());
        for (email, member) in emails {
            self.members.entry(email.clone()).or_default().insert((org, *member));
        }
    }
}

fn listed(org: OrgId, tokens: &BTreeMap<TokenId, Token>) -> Vec<Arc<Listed>> {
    let list =
        |(id, token): (&TokenId, &Token)| Arc::new(Listed { org, id: *id, token: token.clone() });
    tokens.iter().map(list).collect()
}
