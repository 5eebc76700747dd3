//! Forms of what keys, plans, models, providers and settings are made of.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use turnpike_domain::event::{Actor, EphemeralGrant, KeyProfile, ModelSpec, PlanSpec, Who};
use turnpike_domain::limit::{Account, Limits};
use turnpike_domain::meter::{Prices, Usage};
use turnpike_domain::scope::{Attenuation, McpScope, Scopes};
use turnpike_domain::secret::StoredSecret;
use turnpike_domain::state::{McpCatalogue, McpServerSpec, McpTool, ProviderSpec, Route, Settings};
use turnpike_domain::time::SECOND_MS;

use crate::api::org::{LimitCode, Staleness};
use crate::form::Json;
use crate::{cases, form};

cases!(Who "who" {
    1 System "system",
    2 Member(member),
    3 Token(token),
    4 Gateway(gateway),
});

form!(Actor { 1 who "who", 2 address "address" });

cases!(Account "account" {
    1 Wallet "wallet",
    2 Project(project),
    3 Key(key),
    4 Ephemeral(token),
});

form!(StoredSecret { 1 public_id, 2 digest, 3 pepper, 4 preview });

/// Without the digest, which nobody outside can use.
impl Json for StoredSecret {
    fn json(&self) -> Value {
        json!({
            "public_id": self.public_id.json(),
            "preview": self.preview.json(),
            "pepper_version": self.pepper.json(),
        })
    }
}

form!(Settings {
    1 limit_status,
    2 secret_reveal,
    3 max_staleness_ms,
    4 rate_fallback,
    5 wallet,
});

/// In the words of the management API.
impl Json for Settings {
    fn json(&self) -> Value {
        json!({
            "limit_status": LimitCode(self.limit_status),
            "secret_reveal": self.secret_reveal.json(),
            "max_staleness_seconds": Staleness(self.max_staleness_ms.map(|ms| ms / SECOND_MS)),
            "rate_fallback": self.rate_fallback.json(),
            "wallet": self.wallet.json(),
        })
    }
}

form!(Limits {
    1 cost "cost_usd",
    2 tokens "tokens",
    3 reset "reset",
    4 requests_per_minute "requests_per_minute",
    5 tokens_per_minute "tokens_per_minute",
    6 alert_percent [default] "alert_percent",
    7 fit "fit",
});

form!(McpScope { 1 enabled, 2 mode, 3 servers [default], 4 tools [default] });

/// An empty list is null, as in the management API: it restricts nothing.
impl Json for McpScope {
    fn json(&self) -> Value {
        json!({
            "enabled": self.enabled,
            "mode": self.mode.json(),
            "servers": (!self.servers.is_empty()).then(|| self.servers.json()),
            "tools": (!self.tools.is_empty()).then(|| self.tools.json()),
        })
    }
}

form!(Scopes { 1 models "models", 2 providers "providers", 3 addresses "ips", 4 mcp "mcp" });

form!(KeyProfile {
    1 name,
    2 owner,
    3 project,
    4 plan,
    5 expires_at,
    6 limits,
    7 scopes,
    8 metadata,
});

/// With the metadata as the JSON that its text holds.
impl Json for KeyProfile {
    fn json(&self) -> Value {
        let metadata = self.metadata.as_ref().map(|text| serde_json::from_str::<Value>(text));
        json!({
            "name": self.name.json(),
            "owner_id": self.owner.json(),
            "project_id": self.project.json(),
            "plan_id": self.plan.json(),
            "expires_at": self.expires_at.json(),
            "limits": self.limits.json(),
            "scopes": self.scopes.json(),
            "metadata": metadata.and_then(Result::ok),
        })
    }
}

form!(Attenuation { 1 models "models", 2 providers "providers", 3 addresses "ips", 4 mcp "mcp" });

form!(EphemeralGrant {
    1 name,
    2 generation,
    3 expires_at,
    4 attenuation [default],
    5 cost_cap,
    6 alone [default],
    7 token_cap,
});

/// What was added later is shown where it is set.
impl Json for EphemeralGrant {
    fn json(&self) -> Value {
        let mut shown = json!({
            "name": self.name.json(),
            "generation": self.generation,
            "expires_at": self.expires_at.json(),
            "scopes": self.attenuation.json(),
            "cost_usd": self.cost_cap.json(),
            "alone": self.alone,
        });
        if let Some(cap) = self.token_cap {
            shown["tokens"] = cap.json();
        }
        shown
    }
}

form!(PlanSpec { 1 name "name", 2 models "models", 3 multiplier "multiplier" });

form!(Prices {
    1 input,
    2 output,
    3 cached_input,
    4 cache_write,
    5 reasoning,
    6 audio_input,
    7 audio_output,
    8 image_input,
    9 image_output,
    10 request_fee [default],
    11 audio_second,
});

/// What was added later is shown where it is set.
impl Json for Prices {
    fn json(&self) -> Value {
        let mut shown = json!({
            "input": self.input.json(),
            "output": self.output.json(),
            "cached_input": self.cached_input.json(),
            "cache_write": self.cache_write.json(),
            "reasoning": self.reasoning.json(),
            "audio_input": self.audio_input.json(),
            "audio_output": self.audio_output.json(),
            "image_input": self.image_input.json(),
            "image_output": self.image_output.json(),
            "request_fee": self.request_fee.json(),
        });
        if let Some(price) = &self.audio_second {
            shown["audio_second"] = price.json();
        }
        shown
    }
}

form!(Usage {
    1 input [default],
    2 output [default],
    3 cached_input [default],
    4 cache_write [default],
    5 reasoning [default],
    6 audio_input [default],
    7 audio_output [default],
    8 image_input [default],
    9 image_output [default],
    10 audio_seconds [default],
});

/// What was added later is shown where it is set.
impl Json for Usage {
    fn json(&self) -> Value {
        let mut shown = json!({
            "input": self.input,
            "output": self.output,
            "cached_input": self.cached_input,
            "cache_write": self.cache_write,
            "reasoning": self.reasoning,
            "audio_input": self.audio_input,
            "audio_output": self.audio_output,
            "image_input": self.image_input,
            "image_output": self.image_output,
        });
        if self.audio_seconds > 0 {
            shown["audio_seconds"] = Value::from(self.audio_seconds);
        }
        shown
    }
}

form!(Route { 1 provider, 2 upstream_model, 3 weight, 4 prices });

/// With prices only where the way has its own.
impl Json for Route {
    fn json(&self) -> Value {
        let mut shown = json!({
            "provider": self.provider.json(),
            "upstream_model": self.upstream_model.json(),
            "weight": self.weight,
        });
        if let Some(prices) = &self.prices {
            shown["prices"] = prices.json();
        }
        shown
    }
}

form!(ModelSpec {
    1 prices "prices",
    2 context_window "context_window",
    3 max_output "max_output",
    4 routes "routes",
});

form!(ProviderSpec {
    1 name,
    2 kind,
    3 base_url,
    4 credential,
    5 headers [default],
    6 serves [default],
    7 connect_timeout_ms,
    8 answer_timeout_ms,
    9 idle_timeout_ms,
    10 max_concurrency,
    11 disabled,
    12 tls_roots,
    13 max_failures [default],
    14 total_timeout_ms [default],
});

/// Headers are an object, as in the management API; the credential stays sealed. What was added
/// later is shown where it is set.
impl Json for ProviderSpec {
    fn json(&self) -> Value {
        let headers: BTreeMap<_, _> = self.headers.iter().map(|(name, it)| (name, it)).collect();
        let mut shown = json!({
            "name": self.name.json(),
            "kind": self.kind.json(),
            "base_url": self.base_url.json(),
            "credential": self.credential.json(),
            "headers": headers,
            "serves": self.serves.json(),
            "connect_timeout_ms": self.connect_timeout_ms,
            "answer_timeout_ms": self.answer_timeout_ms,
            "idle_timeout_ms": self.idle_timeout_ms,
            "max_concurrency": self.max_concurrency,
            "disabled": self.disabled,
        });
        if let Some(roots) = &self.tls_roots {
            shown["tls_roots"] = roots.json();
        }
        if self.max_failures > 0 {
            shown["max_failures"] = self.max_failures.json();
        }
        if self.total_timeout_ms > 0 {
            shown["total_timeout_ms"] = self.total_timeout_ms.json();
        }
        shown
    }
}

form!(McpTool { 1 name "name", 2 description [default] "description" });
form!(McpCatalogue { 1 at "at", 2 tools [default] "tools" });

form!(McpServerSpec {
    1 name,
    2 url,
    3 credential,
    4 credential_header,
    5 headers [default],
    6 connect_timeout_ms,
    7 answer_timeout_ms,
    8 idle_timeout_ms,
    9 request_fee [default],
    10 disabled [default],
    11 catalogue,
});

/// Headers are an object, as in the management API; the credential stays sealed.
impl Json for McpServerSpec {
    fn json(&self) -> Value {
        let headers: BTreeMap<_, _> = self.headers.iter().map(|(name, it)| (name, it)).collect();
        json!({
            "name": self.name.json(),
            "url": self.url.json(),
            "credential": self.credential.json(),
            "credential_header": self.credential_header.json(),
            "headers": headers,
            "connect_timeout_ms": self.connect_timeout_ms,
            "answer_timeout_ms": self.answer_timeout_ms,
            "idle_timeout_ms": self.idle_timeout_ms,
            "request_fee_usd": self.request_fee.json(),
            "disabled": self.disabled,
            "catalogue": self.catalogue.json(),
        })
    }
}
