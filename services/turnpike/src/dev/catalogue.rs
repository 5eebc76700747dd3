//! The models of the provider `echo`, as the platform of `turnpike dev` offers them.

use turnpike_control_plane::app::App;
use turnpike_control_plane::order;
use turnpike_domain::command::PlatformCommand;
use turnpike_domain::event::ModelSpec;
use turnpike_domain::id::ProviderId;
use turnpike_domain::meter;
use turnpike_domain::state::{Platform, ProviderKind, ProviderSpec, Route};
use turnpike_domain::time::{HOUR_MS, MINUTE_MS, SECOND_MS};
use turnpike_runtime::entropy;

use super::DevFailure;
use crate::echo::model::Model;

/// `echo` speaks three dialects and a provider of the platform has one, so it stands there three
/// times. The first is the one that scopes and examples name.
const PROVIDERS: [(&str, ProviderKind); 3] = [
    ("echo", ProviderKind::OpenAi),
    ("echo-anthropic", ProviderKind::Anthropic),
    ("echo-gemini", ProviderKind::Gemini),
];
/// `echo` has no window of its own: as much as the largest models read.
const CONTEXT_WINDOW: u64 = 1_000_000;
/// The most words that `echo` is asked for at once.
const MAX_OUTPUT: u64 = 100_000;
/// `echo` stands in this process: it answers a connection at once.
const CONNECT_TIMEOUT_MS: u64 = SECOND_MS;
/// `echo-slow` takes a while when its answer is not streamed.
const ANSWER_TIMEOUT_MS: u64 = 10 * MINUTE_MS;
/// Between two words of `echo-slow` lie 50 ms.
const IDLE_TIMEOUT_MS: u64 = MINUTE_MS;
/// As of every provider that names none; `echo-slow` says 72,000 words in it.
const TOTAL_TIMEOUT_MS: u64 = HOUR_MS;

/// Makes the platform offer `echo` at `base_url`. What stands already, with whatever prices and
/// routes people gave it, stays; only the address follows `echo`, whose port may be another one
/// after a restart.
pub(super) async fn offer(app: &App, base_url: &str) -> Result<(), DevFailure> {
    let platform = app.streams().platform(Platform::clone).await?;
    for (name, kind) in PROVIDERS {
        let known = platform.providers.iter().find(|(_, provider)| &*provider.spec.name == name);
        let (provider, mut spec) = match known {
            Some((id, provider)) => (*id, provider.spec.clone()),
            None => (ProviderId(entropy::id(app.clock.now())), provider(name, kind)),
        };
        spec.base_url = base_url.into();
        // A provider that stands so already makes no event.
        let command = PlatformCommand::ChangeProvider { provider, spec: Some(Box::new(spec)) };
        order::platform(app, command).await?;
    }
    for model in Model::ALL {
        if platform.models.contains_key(model.name()) {
            continue;
        }
        let spec = Some(Box::new(spec(model)));
        let command = PlatformCommand::PriceModel { model: model.name().into(), spec };
        order::platform(app, command).await?;
    }
    Ok(())
}

fn provider(name: &str, kind: ProviderKind) -> ProviderSpec {
    ProviderSpec {
        name: name.into(),
        kind,
        base_url: "".into(),
        credential: None,
        headers: Vec::new(),
        serves: Vec::new(),
        connect_timeout_ms: CONNECT_TIMEOUT_MS,
        answer_timeout_ms: ANSWER_TIMEOUT_MS,
        idle_timeout_ms: IDLE_TIMEOUT_MS,
        total_timeout_ms: TOTAL_TIMEOUT_MS,
        max_concurrency: 0,
        disabled: false,
        tls_roots: None,
        max_failures: 0,
    }
}

fn spec(model: Model) -> ModelSpec {
    let prices = model.prices();
    let priced = meter::Prices {
        input: prices.input,
        output: prices.output,
        cached_input: Some(prices.cached),
        ..meter::Prices::default()
    };
    let route = |(provider, _): (&str, ProviderKind)| Route {
        provider: provider.into(),
        upstream_model: None,
        weight: 1,
        prices: None,
    };
    ModelSpec {
        prices: match model {
            Model::One | Model::Slow => Some(priced),
            Model::Unpriced => None,
        },
        context_window: CONTEXT_WINDOW,
        max_output: MAX_OUTPUT,
        routes: PROVIDERS.map(route).into(),
    }
}
