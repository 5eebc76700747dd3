//! Options of the control plane.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use turnpike_bus::nats::{BusAddress, BusOptions};
use turnpike_runtime::config::{Mistakes, Options, Secret};
use turnpike_runtime::telemetry::TelemetryOptions;
use turnpike_store::open;
use turnpike_wire::keyring;
use turnpike_wire::seal::{Purpose, SealingKeys};
use turnpike_wire::secret::Peppers;
use turnpike_wire::sign::SigningKeys;

/// All options of the control plane.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlPlaneOptions {
    /// Where the management API listens.
    pub listen: SocketAddr,
    /// Where health and metrics listen.
    pub admin_listen: SocketAddr,
    /// `redb:DIR`, or `fdb:CLUSTER_FILE` where FoundationDB is built in.
    pub store: String,
    /// What stands before every key in a FoundationDB cluster, so that several installations can
    /// share one; the same on every process of an installation. Without meaning to redb.
    pub store_root: String,
    /// Where messages travel: `nats://HOST:PORT` or `tls://HOST:PORT`; `local` is for
    /// `turnpike dev`.
    pub bus: BusAddress,
    /// As whom this process logs in to NATS.
    pub nats: BusOptions,
    /// Where people reach this API, for links and cookies, e.g. `https://turnpike.example`.
    pub public_url: String,
    /// The most bytes of a request's body.
    pub max_body_bytes: usize,
    /// The milliseconds in which requests are taken still when stopping, though this control plane
    /// says that it is not ready: until a load balancer has noticed.
    pub notice_ms: u64,
    /// The most milliseconds to finish open requests when stopping, after the notice.
    pub drain_ms: u64,
    /// Whether MCP servers that are asked for their tools may stand on private addresses.
    pub allow_private: bool,
    /// Private networks that they may stand in nevertheless.
    pub allowed_networks: Vec<IpNet>,
    /// What a control plane does on an empty store.
    pub first_start: FirstStartOptions,
    /// Keys.
    pub keys: KeyOptions,
    /// Logging.
    pub log: TelemetryOptions,
}

/// What a control plane does on an empty store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FirstStartOptions {
    /// The folder that the first credentials are written to, one file each, readable by this user
    /// alone: `management-token`, `join-token`, `owner-password`. Empty: nothing is made.
    pub write_to: String,
    /// The first organisation's name.
    pub organisation: String,
    /// Its owner's address.
    pub owner_email: String,
}

impl Default for FirstStartOptions {
    fn default() -> Self {
        Self {
            write_to: String::new(),
            organisation: "default".into(),
            owner_email: "owner@localhost".into(),
        }
    }
}

/// The keys of the house, directly or as `file:/path`. Each is `VERSION:HEX`, several with commas
/// between while they are renewed; the highest version is used for what is new.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyOptions {
    /// Digest secrets; the same on every gateway. At least 32 bytes each.
    pub peppers: Secret,
    /// Seal provider credentials and decisions; gateways have them too. 32 bytes each.
    pub provider_sealing: Secret,
    /// Seal recoverable secrets and password hashes; only control planes have them. 32 bytes each.
    pub vault_sealing: Secret,
    /// Sign heartbeats, snapshots and ephemeral tokens: seeds of 32 bytes each.
    pub signing: Secret,
    /// The version of `signing` that signs; 0: the highest. The others are accepted only.
    pub sign_with: u16,
}

/// The keys in their working form.
pub struct Keys {
    /// Digests and verifies secrets.
    pub peppers: Peppers,
    /// Seals provider credentials.
    pub provider: SealingKeys,
    /// Opens the decisions that gateways seal.
    pub decision: SealingKeys,
    /// Seals recoverable secrets.
    pub recoverable: SealingKeys,
    /// Seals password hashes.
    pub password: SealingKeys,
    /// Seals what session cookies say.
    pub session: SealingKeys,
    /// Sign what gateways must believe.
    pub signing: SigningKeys,
}

impl Default for ControlPlaneOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 7071)),
            store: "redb:turnpike-data".into(),
            store_root: open::DEFAULT_ROOT.into(),
            bus: BusAddress::default(),
            nats: BusOptions::default(),
            public_url: "http://127.0.0.1:7070".into(),
            // A bulk import is the largest body; anything else is far smaller.
            max_body_bytes: 8 << 20,
            // As a gateway's.
            notice_ms: 5_000,
            drain_ms: 10_000,
            allow_private: false,
            allowed_networks: Vec::new(),
            first_start: FirstStartOptions::default(),
            keys: KeyOptions::default(),
            log: TelemetryOptions::default(),
        }
    }
}

impl Options for ControlPlaneOptions {
    fn check(&self, mistakes: &mut Mistakes) {
        let store = self.store.starts_with("redb:") || self.store.starts_with("fdb:");
        mistakes.unless(store, "store", "must be redb:DIR or fdb:CLUSTER_FILE");
        let root = open::is_root(&self.store_root);
        mistakes.unless(root, "store_root", "must be 1 to 40 of a-z A-Z 0-9 . _ -");
        self.nats.check(&self.bus, mistakes);
        mistakes.without_login(&self.public_url, "public_url");
        mistakes.unless(self.max_body_bytes >= 1_024, "max_body_bytes", "must be at least 1024");
        mistakes.within("keys", |mistakes| self.keys.check(mistakes));
        mistakes.within("log", |mistakes| self.log.check(mistakes));
    }
}

impl Options for KeyOptions {
    fn check(&self, mistakes: &mut Mistakes) {
        if let Err(what) = keyring::peppers(self.peppers.expose()) {
            mistakes.add("peppers", &what);
        }
        let sealing =
            [("provider_sealing", &self.provider_sealing), ("vault_sealing", &self.vault_sealing)];
        for (name, keys) in sealing {
            if let Err(what) = keyring::sealing(Purpose::ProviderCredential, keys.expose()) {
                mistakes.add(name, &what);
            }
        }
        if let Err(what) = keyring::signing(self.signing.expose(), 0) {
            mistakes.add("signing", &what);
        } else if let Err(what) = keyring::signing(self.signing.expose(), self.sign_with) {
            mistakes.add("sign_with", &what);
        }
    }
}

impl KeyOptions {
    /// The keys in their working form.
    ///
    /// # Errors
    /// What is wrong with one of them, which [`Options::check`] has named.
    pub fn open(&self) -> Result<Keys, String> {
        let vault = self.vault_sealing.expose();
        let shared = self.provider_sealing.expose();
        Ok(Keys {
            peppers: keyring::peppers(self.peppers.expose())?,
            provider: keyring::sealing(Purpose::ProviderCredential, shared)?,
            decision: keyring::sealing(Purpose::Decision, shared)?,
            recoverable: keyring::sealing(Purpose::RecoverableSecret, vault)?,
            password: keyring::sealing(Purpose::PasswordHash, vault)?,
            session: keyring::sealing(Purpose::Session, vault)?,
            signing: keyring::signing(self.signing.expose(), self.sign_with)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn keys_that_cannot_be_used_are_named_and_not_repeated() {
        let keys = |signing: &str, sign_with| {
            let text = |text: String| Secret::from(SecretString::from(text));
            let some = || text(format!("1:{}", "0a".repeat(32)));
            let options = KeyOptions {
                peppers: some(),
                provider_sealing: some(),
                vault_sealing: some(),
                signing: text(signing.to_owned()),
                sign_with,
            };
            let mut mistakes = Mistakes::default();
            options.check(&mut mistakes);
            assert_eq!(options.open().is_ok(), mistakes.is_empty());
            assert!(!mistakes.to_string().contains("0a0a"));
            mistakes.iter().map(|mistake| mistake.option.clone()).collect::<Vec<_>>()
        };
        let both = format!("1:{},2:{}", "0a".repeat(32), "0b".repeat(32));
        for sign_with in [0, 1, 2] {
            assert_eq!(keys(&both, sign_with), [""; 0], "{sign_with}");
        }
        assert_eq!(keys(&both, 3), ["sign_with"]);
        assert_eq!(keys(&"0a".repeat(32), 0), ["signing"]);
        assert_eq!(keys("1:0a0a", 1), ["signing"]);
    }
}
