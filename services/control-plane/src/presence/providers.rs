//! How providers fare with the gateways, by the gateways' own latest words.

use std::collections::BTreeMap;

use turnpike_domain::id::{GatewayId, OrgId, ProviderId};
use turnpike_wire::heartbeat::{CircuitState, ProviderHealth};

/// A word is believed for so long: gateways repeat it every second, and more seldom where they
/// serve thousands of organisations.
const BELIEVED_MS: u64 = 15_000;

/// The latest words.
#[derive(Debug, Default)]
pub(super) struct Words(BTreeMap<(ProviderId, GatewayId), Word>);

#[derive(Debug)]
struct Word {
    /// The stream that it came on: of an organisation's provider only its own counts.
    stream: OrgId,
    health: ProviderHealth,
    arrived_ms: u64,
}

/// How a provider fares on the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fare {
    /// No gateway has called it lately.
    Unknown,
    /// Every gateway that has called it lately lets requests pass.
    Healthy,
    /// Some do not.
    Degraded,
    /// None does.
    Down,
}

impl Fare {
    /// What the words of gateways come to.
    #[must_use]
    pub fn of(told: &[(GatewayId, ProviderHealth)]) -> Self {
        let passes = |(_, health): &&(_, ProviderHealth)| health.circuit == CircuitState::Closed;
        let passing = told.iter().filter(passes).count();
        if told.is_empty() {
            Self::Unknown
        } else if passing == told.len() {
            Self::Healthy
        } else if passing > 0 {
            Self::Degraded
        } else {
            Self::Down
        }
    }

    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

impl Words {
    /// Takes what a gateway said on a stream at `now_ms`, and forgets what is old.
    pub(super) fn hear(
        &mut self,
        (stream, gateway): (OrgId, GatewayId),
        told: Vec<ProviderHealth>,
        now_ms: u64,
    ) {
        self.0.retain(|_, word| now_ms.saturating_sub(word.arrived_ms) < BELIEVED_MS);
        for health in told {
            let word = Word { stream, arrived_ms: now_ms, health };
            self.0.insert((word.health.provider, gateway), word);
        }
    }

    /// What is believed at `now_ms` of a provider of `owner`; `None`: of the platform.
    pub(super) fn of(
        &self,
        provider: ProviderId,
        owner: Option<OrgId>,
        now_ms: u64,
    ) -> Vec<(GatewayId, ProviderHealth)> {
        let first = (provider, GatewayId(0));
        let words = self.0.range(first..=(provider, GatewayId(u128::MAX)));
        let believed = words.filter(|(_, word)| {
            now_ms.saturating_sub(word.arrived_ms) < BELIEVED_MS
                && owner.is_none_or(|owner| word.stream == owner)
        });
        believed.map(|((_, gateway), word)| (*gateway, word.health.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: ProviderId = ProviderId(1);

    fn health(circuit: CircuitState) -> ProviderHealth {
        let (in_flight, calls, errors) = (0, 10, 5);
        ProviderHealth {
            provider: OWN,
            circuit,
            since: None,
            in_flight,
            calls,
            errors,
            p50_ms: None,
        }
    }

    #[test]
    fn a_word_counts_for_its_owner_and_for_a_while() {
        let mut words = Words::default();
        let (org, other) = (OrgId(7), OrgId(8));
        words.hear((org, GatewayId(1)), vec![health(CircuitState::Closed)], 1_000);
        words.hear((other, GatewayId(2)), vec![health(CircuitState::Open)], 2_000);
        let fare = |owner, now_ms| Fare::of(&words.of(OWN, owner, now_ms));
        assert_eq!(fare(Some(org), 2_000), Fare::Healthy, "another's word is none");
        assert_eq!(fare(None, 2_000), Fare::Degraded);
        assert_eq!(fare(None, 1_000 + BELIEVED_MS), Fare::Down);
        assert_eq!(fare(None, 2_000 + BELIEVED_MS), Fare::Unknown);
        assert!(words.of(ProviderId(2), None, 2_000).is_empty());
    }
}
