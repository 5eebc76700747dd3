//! Options of the control plane.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use turnpike_domain::secret::PepperVersion;
use turnpike_runtime::config::{Mistakes, Options, Secret};
use turnpike_runtime::telemetry::TelemetryOptions;
use turnpike_wire::seal::{Purpose, SealingKey, SealingKeys};
use turnpike_wire::secret::{Pepper, Peppers};
use turnpike_wire::sign::SigningKey;

/// Hexadecimal digits of a 256-bit key.
const KEY_DIGITS: usize = 64;

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
    /// `nats://…`; `local` only inside `turnpike dev`.
    pub bus: String,
    /// Where people reach this API, for links and cookies, e.g. `https://turnpike.example`.
    pub public_url: String,
    /// The most bytes of a request's body.
    pub max_body_bytes: usize,
    /// The most milliseconds to finish open requests when stopping.
    pub drain_ms: u64,
    /// Keys.
    pub keys: KeyOptions,
    /// Logging.
    pub log: TelemetryOptions,
}

/// The keys of the house, 64 hexadecimal digits each, directly or as `file:/path`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyOptions {
    /// Digests secrets; the same on every gateway.
    pub pepper: Secret,
    /// The pepper before the last change: digests made with it still open.
    pub previous_pepper: Secret,
    /// The version of `pepper`; counts up with each change.
    pub pepper_version: u16,
    /// Seals provider credentials; gateways have it too.
    pub provider: Secret,
    /// Seals recoverable secrets, password hashes and sessions; only the control plane has it.
    pub vault: Secret,
    /// Signs heartbeats, snapshots and ephemeral tokens.
    pub signing: Secret,
}

/// The keys in their working form.
pub struct Keys {
    /// Digests and verifies secrets.
    pub peppers: Peppers,
    /// Seals provider credentials.
    pub provider: SealingKeys,
    /// Seals recoverable secrets.
    pub recoverable: SealingKeys,
    /// Seals password hashes.
    pub password: SealingKeys,
    /// Signs what gateways must believe.
    pub signing: SigningKey,
    /// From which the key of session cookies is derived.
    pub session: [u8; 32],
}

impl Default for ControlPlaneOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 7071)),
            store: "redb:turnpike-data".into(),
            bus: "nats://127.0.0.1:4222".into(),
            public_url: "http://127.0.0.1:7070".into(),
            // A bulk import is the largest body; anything else is far smaller.
            max_body_bytes: 8 << 20,
            drain_ms: 10_000,
            keys: KeyOptions::default(),
            log: TelemetryOptions::default(),
        }
    }
}

impl Options for ControlPlaneOptions {
    fn check(&self, mistakes: &mut Mistakes) {
        let store = self.store.starts_with("redb:") || self.store.starts_with("fdb:");
        mistakes.unless(store, "store", "must be redb:DIR or fdb:CLUSTER_FILE");
        mistakes.unless(
            self.bus.starts_with("nats://")
                || self.bus.starts_with("tls://")
                || self.bus == "local",
            "bus",
            "must be nats://HOST:PORT, tls://HOST:PORT or local",
        );
        mistakes.unless(self.max_body_bytes >= 1_024, "max_body_bytes", "must be at least 1024");
        mistakes.within("keys", |mistakes| self.keys.check(mistakes));
        mistakes.within("log", |mistakes| self.log.check(mistakes));
    }
}

impl Options for KeyOptions {
    fn check(&self, mistakes: &mut Mistakes) {
        let needed = [
            ("pepper", &self.pepper),
            ("provider", &self.provider),
            ("vault", &self.vault),
            ("signing", &self.signing),
        ];
        for (name, secret) in needed {
            mistakes.unless(read_key(secret).is_some(), name, "must be 64 hexadecimal digits");
        }
        let previous = self.previous_pepper.expose().is_empty()
            || read_key(&self.previous_pepper).is_some() && self.pepper_version > 0;
        let what = "must be 64 hexadecimal digits, and pepper_version at least 1";
        mistakes.unless(previous, "previous_pepper", what);
    }
}

impl KeyOptions {
    /// The keys in their working form; `None` if one is missing or misshapen, which
    /// [`Options::check`] has named.
    #[must_use]
    pub fn open(&self) -> Option<Keys> {
        let vault = read_key(&self.vault)?;
        let sealing =
            |purpose, key: &[u8; 32]| SealingKeys::new(purpose, vec![SealingKey::new(0, key)]).ok();
        Some(Keys {
            peppers: self.peppers()?,
            provider: sealing(Purpose::ProviderCredential, &read_key(&self.provider)?)?,
            recoverable: sealing(Purpose::RecoverableSecret, &vault)?,
            password: sealing(Purpose::PasswordHash, &vault)?,
            signing: SigningKey::from_seed(&read_key(&self.signing)?),
            session: vault,
        })
    }

    fn peppers(&self) -> Option<Peppers> {
        let version = PepperVersion(self.pepper_version);
        let mut peppers = vec![Pepper::new(version, &read_key(&self.pepper)?).ok()?];
        if let Some(key) = read_key(&self.previous_pepper) {
            let before = PepperVersion(self.pepper_version.checked_sub(1)?);
            peppers.push(Pepper::new(before, &key).ok()?);
        }
        Peppers::new(peppers).ok()
    }
}

fn read_key(secret: &Secret) -> Option<[u8; 32]> {
    let text = secret.expose();
    if text.len() != KEY_DIGITS || !text.is_ascii() {
        return None;
    }
    let mut key = [0_u8; 32];
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(key)
}
