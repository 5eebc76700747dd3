//! The ways to a model, by the rule that gateways ask, and what keeps a key from each.

use turnpike_domain::admit::{self, Obstacle, needs_price};
use turnpike_domain::id::{OrgId, ProviderId};
use turnpike_domain::meter::Prices;
use turnpike_wire::api::explain::Way as Shown;
use turnpike_wire::api::text::Text;

use super::{Hypothesis, Scene, Target};
use crate::presence::Fare;

/// What a way is out for that speaks another dialect than the request.
const OTHER_DIALECT: &str = "dialect";

/// All ways, best first.
pub(super) struct Ways<'a>(Vec<(admit::Way<'a>, Option<&'static str>, Fare)>);

impl<'a> Ways<'a> {
    pub(super) fn read(
        scene: &Scene<'a>,
        hypothesis: &'a Hypothesis,
        fare: &impl Fn(ProviderId, Option<OrgId>) -> Fare,
    ) -> Self {
        let Scene { organisation, platform, key, .. } = *scene;
        let Target::Model(model) = &hypothesis.target else { return Self(Vec::new()) };
        let model: &'a str = model;
        let Some(known) = platform.models.get(model) else { return Self(Vec::new()) };
        let needs_price = needs_price(&known.spec, organisation, key);
        let judged = |way: admit::Way<'a>| {
            let spoken = way.provider.spec.kind;
            let other = hypothesis.dialect.is_some_and(|dialect| dialect != spoken);
            let obstacle = way.obstacle(key, needs_price).map(Obstacle::name);
            let obstacle = obstacle.or_else(|| other.then_some(OTHER_DIALECT));
            (way, obstacle, fare(way.provider_id, way.owner))
        };
        Self(admit::ways(platform, organisation, model, &known.spec).map(judged).collect())
    }

    /// Whether one can be taken.
    pub(super) fn any(&self) -> bool {
        self.0.iter().any(|(_, obstacle, _)| obstacle.is_none())
    }

    /// The prices of the first that can be taken.
    pub(super) fn prices(&self) -> Option<&'a Prices> {
        let (way, ..) = self.0.iter().find(|(_, obstacle, _)| obstacle.is_none())?;
        way.prices
    }

    /// As they are told: those of the platform, as routes are, to operators.
    pub(super) fn shown(&self, is_operator: bool) -> Vec<Shown> {
        let told = self.0.iter().filter(|(way, ..)| is_operator || way.owner.is_some());
        let shown = |(way, obstacle, fare): &(admit::Way<'_>, Option<&str>, Fare)| Shown {
            provider: way.provider.spec.name.to_string(),
            kind: Text(way.provider.spec.kind),
            of_platform: way.owner.is_none(),
            upstream_model: way.upstream_model.map(Into::into),
            weight: way.weight,
            open: obstacle.is_none(),
            obstacle: obstacle.map(Into::into),
            health: fare.name().to_owned(),
        };
        told.map(shown).collect()
    }
}
