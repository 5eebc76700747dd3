//! The ways to a model, and what stands in the way of a key.

use crate::event::ModelSpec;
use crate::id::{OrgId, ProviderId};
use crate::meter::Prices;
use crate::state::{Key, Organisation, Platform, Provider};

/// One way to a model.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// The provider.
    pub provider: &'a Provider,
    /// Its id.
    pub provider_id: ProviderId,
    /// Whose it is; `None`: the platform's.
    pub owner: Option<OrgId>,
    /// The model's name there, if it is another.
    pub upstream_model: Option<&'a str>,
    /// Share among ways of the same preference.
    pub weight: u32,
    /// What the model costs there; `None`: unpriced.
    pub prices: Option<&'a Prices>,
}

/// Why a key cannot take a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The provider is switched off.
    Disabled,
    /// The key may not use the provider.
    NotAllowed,
    /// Nobody knows what it costs there, and a budget in USD binds the key.
    Unpriced,
}

/// Every way to a model, the organisation's own providers first, whether it can be taken or not.
/// A route whose provider is gone is none.
pub fn ways<'a>(
    platform: &'a Platform,
    organisation: &'a Organisation,
    model: &'a str,
    spec: &'a ModelSpec,
) -> impl Iterator<Item = Way<'a>> + use<'a> {
    let own = organisation.providers.iter();
    let own = own.filter(move |(_, own)| own.spec.serves.iter().any(|served| **served == *model));
    let own = own.map(|(id, provider)| Way {
        provider,
        provider_id: *id,
        owner: Some(organisation.id),
        upstream_model: None,
        weight: 0,
        prices: spec.prices.as_ref(),
    });
    let routed = spec.routes.iter().filter_map(|route| {
        let mut providers = platform.providers.iter();
        let (id, provider) = providers.find(|(_, known)| known.spec.name == route.provider)?;
        Some(Way {
            provider,
            provider_id: *id,
            owner: None,
            upstream_model: route.upstream_model.as_deref(),
            weight: route.weight,
            prices: route.prices.as_ref().or(spec.prices.as_ref()),
        })
    });
    own.chain(routed)
}

impl Way<'_> {
    /// What keeps `key` from taking it. `needs_price`: a budget in USD counts what it costs.
    #[must_use]
    pub fn obstacle(&self, key: &Key, needs_price: bool) -> Option<Obstacle> {
        let spec = &self.provider.spec;
        if spec.disabled {
            Some(Obstacle::Disabled)
        } else if !key.profile.scopes.providers.holds(&spec.name) {
            Some(Obstacle::NotAllowed)
        } else if needs_price && self.prices.is_none() {
            Some(Obstacle::Unpriced)
        } else {
            None
        }
    }
}

impl Obstacle {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::NotAllowed => "provider_not_allowed",
            Self::Unpriced => "unpriced",
        }
    }
}
