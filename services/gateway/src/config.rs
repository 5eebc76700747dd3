//! The options of a gateway; all of them also as `TURNPIKE_…` variables.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use turnpike_bus::nats::{BusAddress, BusOptions};
use turnpike_domain::id::GatewayId;
use turnpike_runtime::config::{Mistakes, Options, Secret};
use turnpike_runtime::per_core;
use turnpike_runtime::telemetry::TelemetryOptions;
use turnpike_wire::keyring;
use turnpike_wire::seal::{Purpose, SealingKeys};
use turnpike_wire::secret::Peppers;

/// The smallest spool: below it a core has no room for a hundred requests.
const MIN_SPOOL_BYTES: u64 = 1 << 20;
/// The largest body that may be allowed: it is held in memory as a whole.
const MAX_BODY_BYTES: usize = 1 << 30;

/// All options of a gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The gateway's name, as people see it.
    pub name: String,
    /// Its id (`gw_…`), which nobody has used; without it the control plane makes one. It is named
    /// beforehand where NATS knows the gateway as a user, whose rights are for this id alone.
    pub id: Option<String>,
    /// Where identity, snapshot, spool and audit log are kept.
    pub data: PathBuf,
    /// Threads that serve; 0: one for each core that the process may use.
    pub cores: usize,
    /// Where the admin port listens.
    pub admin: SocketAddr,
    /// How requests are taken and sent on.
    pub serve: ServeOptions,
    /// Where the control plane is found.
    pub control: ControlOptions,
    /// Where messages travel: `nats://HOST:PORT` or `tls://HOST:PORT`; `local` is for
    /// `turnpike dev`.
    pub bus: BusAddress,
    /// As whom this process logs in to NATS.
    pub nats: BusOptions,
    /// What is kept until it is booked.
    pub spool: SpoolOptions,
    /// What secrets are checked and opened with.
    pub keys: KeyOptions,
    /// What is logged.
    pub log: TelemetryOptions,
}

/// How requests are taken and sent on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeOptions {
    /// Where callers connect.
    pub listen: SocketAddr,
    /// The largest body, decompressed.
    pub max_body_bytes: usize,
    /// The largest head of a request.
    pub max_head_bytes: usize,
    /// The most milliseconds for the head of a request to arrive, from its first byte.
    pub head_timeout_ms: u64,
    /// The most milliseconds that a connection may rest between two requests.
    pub idle_timeout_ms: u64,
    /// The most milliseconds for the body of a request to arrive.
    pub body_timeout_ms: u64,
    /// The milliseconds at shutdown in which requests are taken still, though the gateway says that
    /// it is not ready: until a load balancer has noticed.
    pub notice_ms: u64,
    /// The most milliseconds that running requests have at shutdown, after the notice.
    pub drain_ms: u64,
    /// The most connections at a time, over all cores.
    pub max_connections: usize,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Providers may stand on private, loopback and link-local addresses.
    pub allow_private: bool,
    /// Private networks that they may stand in nevertheless.
    pub allowed_networks: Vec<IpNet>,
}

/// Where the control plane is found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlOptions {
    /// Its URL, without a path.
    pub url: String,
    /// The join token (`gk-tp-…`).
    pub join_token: Secret,
}

/// What is kept until it is booked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolOptions {
    /// The most bytes on disk, over all cores and epochs.
    pub max_bytes: u64,
}

/// What secrets are checked and opened with, each `VERSION:HEX`, several with commas between.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyOptions {
    /// Peppers of at least 32 bytes.
    pub peppers: Secret,
    /// Sealing keys of provider credentials, 32 bytes each.
    pub provider_sealing: Secret,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "gateway".to_owned(),
            id: None,
            data: PathBuf::from("turnpike-gateway-data"),
            cores: 0,
            admin: SocketAddr::from(([127, 0, 0, 1], 7081)),
            serve: ServeOptions::default(),
            control: ControlOptions::default(),
            bus: BusAddress::default(),
            nats: BusOptions::default(),
            spool: SpoolOptions::default(),
            keys: KeyOptions::default(),
            log: TelemetryOptions::default(),
        }
    }
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7080)),
            max_body_bytes: 32 << 20,
            max_head_bytes: 64 << 10,
            // A head is one packet or two; who needs longer holds connections open on purpose.
            head_timeout_ms: 10_000,
            // Longer than the 60 s of usual load balancers, so that they end it and not we.
            idle_timeout_ms: 75_000,
            body_timeout_ms: 60_000,
            // Two looks of a usual balancer, and the time that Kubernetes takes to tell its nodes.
            notice_ms: 5_000,
            drain_ms: 30_000,
            max_connections: 65_536,
            trusted_proxies: Vec::new(),
            allow_private: false,
            allowed_networks: Vec::new(),
        }
    }
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self { max_bytes: 512 << 20 }
    }
}

impl Config {
    /// Threads that serve.
    #[must_use]
    pub fn cores(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.cores).unwrap_or_else(per_core::available)
    }

    /// The id that the operator has chosen, if it is one.
    pub(crate) fn chosen_id(&self) -> Option<GatewayId> {
        self.id.as_deref().and_then(|id| id.parse().ok())
    }
}

impl KeyOptions {
    /// The peppers that digests are checked with.
    ///
    /// # Errors
    /// A sentence's end that says what is wrong, without the value.
    pub fn peppers(&self) -> Result<Peppers, String> {
        keyring::peppers(self.peppers.expose())
    }

    /// The keys that open provider credentials.
    ///
    /// # Errors
    /// A sentence's end that says what is wrong, without the value.
    pub fn provider_sealing(&self) -> Result<SealingKeys, String> {
        keyring::sealing(Purpose::ProviderCredential, self.provider_sealing.expose())
    }

    /// What seals decisions: the same keys, which the control plane has too.
    ///
    /// # Errors
    /// As [`Self::provider_sealing`].
    pub fn decisions(&self) -> Result<SealingKeys, String> {
        keyring::sealing(Purpose::Decision, self.provider_sealing.expose())
    }
}

impl Options for Config {
    fn check(&self, mistakes: &mut Mistakes) {
        let name = turnpike_domain::text::name_problem(&self.name);
        mistakes.unless(name.is_none(), "name", name.unwrap_or_default());
        let id = self.id.is_none() || self.chosen_id().is_some();
        mistakes.unless(id, "id", "is no id of a gateway (gw_…)");
        self.nats.check(&self.bus, mistakes);
        mistakes.within("serve", |mistakes| self.serve.check(mistakes));
        mistakes.within("control", |mistakes| self.control.check(mistakes));
        mistakes.within("spool", |mistakes| {
            let enough = self.spool.max_bytes >= MIN_SPOOL_BYTES;
            mistakes.unless(enough, "max_bytes", "is under 1 MiB: it would always be full");
        });
        mistakes.within("keys", |mistakes| {
            if let Err(what) = self.keys.peppers() {
                mistakes.add("peppers", &what);
            }
            if let Err(what) = self.keys.provider_sealing() {
                mistakes.add("provider_sealing", &what);
            }
        });
        mistakes.within("log", |mistakes| self.log.check(mistakes));
    }
}

impl ServeOptions {
    fn check(&self, mistakes: &mut Mistakes) {
        let body = (1..=MAX_BODY_BYTES).contains(&self.max_body_bytes);
        mistakes.unless(body, "max_body_bytes", "must be from 1 byte to 1 GiB");
        let head = (1_024..=1 << 20).contains(&self.max_head_bytes);
        mistakes.unless(head, "max_head_bytes", "must be from 1 KiB to 1 MiB");
        for (option, value) in [
            ("head_timeout_ms", self.head_timeout_ms),
            ("idle_timeout_ms", self.idle_timeout_ms),
            ("body_timeout_ms", self.body_timeout_ms),
        ] {
            mistakes.unless(value > 0, option, "must not be 0: nothing would arrive in time");
        }
        mistakes.unless(self.max_connections > 0, "max_connections", "must not be 0");
    }
}

impl ControlOptions {
    fn check(&self, mistakes: &mut Mistakes) {
        let is_http = ["http://", "https://"].iter().any(|scheme| self.url.starts_with(scheme));
        mistakes.unless(is_http, "url", "must begin with http:// or https://");
        mistakes.without_login(&self.url, "url");
        let token = turnpike_wire::secret::parse(self.join_token.expose());
        let joins =
            token.is_ok_and(|token| token.kind == turnpike_domain::secret::SecretKind::Gateway);
        mistakes.unless(joins, "join_token", "is no join token (gk-tp-…)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named_and_no_secret_is_repeated() {
        let mut config = Config { name: String::new(), ..Config::default() };
        config.id = Some("gw_somebody".to_owned());
        config.spool.max_bytes = 0;
        config.serve.max_body_bytes = 0;
        config.keys.peppers = secrecy::SecretString::from("1:abcdef").into();
        let mut mistakes = Mistakes::default();
        config.check(&mut mistakes);
        let told: Vec<&str> = mistakes.iter().map(|mistake| mistake.option.as_str()).collect();
        assert_eq!(
            told,
            [
                "name",
                "id",
                "serve.max_body_bytes",
                "control.url",
                "control.join_token",
                "spool.max_bytes",
                "keys.peppers",
                "keys.provider_sealing"
            ]
        );
        assert!(!mistakes.to_string().contains("abcdef"));
    }
}
