//! Providers as they are shown, with what the gateways say of them.

use std::collections::BTreeMap;

use turnpike_domain::id::{GatewayId, OrgId, ProviderId};
use turnpike_domain::state::{Platform, Provider as Known};
use turnpike_wire::api::provider::{GatewayHealth, Provider, ProviderHealth};
use turnpike_wire::api::text::Text;
use turnpike_wire::form::Named as _;

use super::{headers, serves};
use crate::auth::Caller;
use crate::http::ask::Ask;
use crate::presence::Fare;
use crate::problem::Problem;

/// What is needed to tell of a stream's providers.
pub(super) struct Told {
    /// The gateways of the stream.
    names: BTreeMap<GatewayId, Box<str>>,
    /// Whether each gateway is told of: which there are is the business of who runs the provider.
    tells_gateways: bool,
}

impl Told {
    pub(super) async fn read(ask: &Ask, caller: &Caller) -> Result<Self, Problem> {
        if ask.org != OrgId::PLATFORM {
            let known = ask.app().gateways(ask.org).await?.into_iter();
            let names = known.map(|known| (known.id, known.joined.name)).collect();
            return Ok(Self { names, tells_gateways: true });
        }
        let names = |state: &Platform| {
            let gateways = state.gateways.iter();
            gateways.map(|(id, gateway)| (*id, gateway.name.clone())).collect()
        };
        let names = ask.app().streams().platform(names).await?;
        Ok(Self { names, tells_gateways: caller.is_operator() })
    }

    pub(super) fn shown(&self, ask: &Ask, id: ProviderId, known: &Known) -> Provider {
        let spec = &known.spec;
        Provider {
            id: Text(id),
            name: spec.name.to_string(),
            kind: Text(spec.kind),
            base_url: spec.base_url.to_string(),
            has_credential: spec.credential.is_some(),
            headers: headers(spec),
            serves: serves(spec),
            connect_timeout_ms: spec.connect_timeout_ms,
            answer_timeout_ms: spec.answer_timeout_ms,
            idle_timeout_ms: spec.idle_timeout_ms,
            total_timeout_ms: spec.total_timeout_ms,
            max_concurrency: spec.max_concurrency,
            disabled: spec.disabled,
            tls_roots: spec.tls_roots.as_deref().map(Into::into),
            max_failures: spec.max_failures,
            of_platform: ask.org == OrgId::PLATFORM,
            health: self.health(ask, id),
        }
    }

    fn health(&self, ask: &Ask, id: ProviderId) -> ProviderHealth {
        let owner = (ask.org != OrgId::PLATFORM).then_some(ask.org);
        let told = ask.app().presence.provider(id, owner);
        let status = Fare::of(&told).name().to_owned();
        let told = told.into_iter().filter(|_| self.tells_gateways);
        let gateways = told.map(|(gateway, health)| GatewayHealth {
            gateway_id: Text(gateway),
            name: self.names.get(&gateway).map(ToString::to_string),
            circuit: health.circuit.name().to_owned(),
            since: health.since.map(Text),
            in_flight: health.in_flight,
            calls_per_minute: health.calls,
            errors_per_minute: health.errors,
            p50_ms: health.p50_ms,
        });
        ProviderHealth { status, gateways: gateways.collect() }
    }
}
