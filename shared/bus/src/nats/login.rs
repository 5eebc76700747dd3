//! The options below `nats`: as whom a process logs in, and what its connection is encrypted with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use turnpike_domain::id::GatewayId;
use turnpike_runtime::clock::SharedClock;
use turnpike_runtime::config::{Mistakes, Secret};

use super::{BusAddress, Credentials, NatsBus, NatsOptions, StreamLimits, Tls, unavailable};
use crate::seam::{Bus, BusError};

/// What the seed of a user's nkey begins with, and its length in base32 characters (NATS ADR-14).
const USER_SEED_PREFIX: &str = "SU";
const USER_SEED_CHARACTERS: usize = 58;
/// The replicas that JetStream takes.
const REPLICAS: std::ops::RangeInclusive<usize> = 1..=5;

/// As whom a process logs in to NATS: with a user, a token, an nkey or a credentials file, or as
/// nobody. The same in every service, as the part `nats` of its options.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BusOptions {
    /// The user's name; a gateway's is its id.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A token instead of a user.
    pub token: Option<Secret>,
    /// The seed of an nkey (`SU…`) instead of a user.
    pub nkey_seed: Option<Secret>,
    /// A `.creds` file with a JWT and its seed instead of a user.
    pub credentials_file: Option<PathBuf>,
    /// Certificates, PEM, that the server's may be signed with beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// This process's certificate, PEM.
    pub cert_file: Option<PathBuf>,
    /// Its key, PEM.
    pub key_file: Option<PathBuf>,
    /// Refuse a connection without TLS, also to a `nats://` server.
    pub tls_required: bool,
    /// Servers of a NATS cluster that hold each message of the streams; 1 if it is left out. For
    /// those that make the streams: control plane and projector.
    pub stream_replicas: Option<usize>,
}

impl BusOptions {
    /// Names what is wrong with these options, which stand below `nats`, and with the address that
    /// stands beside them as `bus`.
    pub fn check(&self, bus: &BusAddress, mistakes: &mut Mistakes) {
        let in_url = match bus {
            BusAddress::Local => {
                mistakes.add("bus", "must be a NATS server: local exists only in turnpike dev");
                false
            }
            BusAddress::Nats { credentials, .. } => !matches!(credentials, Credentials::Anonymous),
        };
        let ways = self.ways();
        if in_url && !ways.is_empty() {
            mistakes.add("bus", "holds a user or token, and so do the options below nats");
        }
        mistakes.within("nats", |mistakes| {
            for way in ways.iter().skip(1) {
                mistakes.add(way, "is a second way to log in: leave all but one out");
            }
            let whole = self.user.is_some() == self.password.is_some();
            mistakes.unless(whole, "password", "and user belong together");
            let named = self.user.as_ref().is_none_or(|user| !user.is_empty());
            mistakes.unless(named, "user", "is empty");
            let replicas = self.stream_replicas.is_none_or(|it| REPLICAS.contains(&it));
            mistakes.unless(replicas, "stream_replicas", "must be 1 to 5");
            let seed = self.nkey_seed.as_ref().is_none_or(|seed| is_user_seed(seed.expose()));
            mistakes.unless(seed, "nkey_seed", "is no seed of a user's nkey (SU…)");
            let whole = self.cert_file.is_some() == self.key_file.is_some();
            mistakes.unless(whole, "key_file", "and cert_file belong together");
            for (option, file) in [
                ("credentials_file", &self.credentials_file),
                ("ca_file", &self.ca_file),
                ("cert_file", &self.cert_file),
                ("key_file", &self.key_file),
            ] {
                if let Some(Err(error)) = file.as_deref().map(readable) {
                    mistakes.add(option, &format!("cannot be read: {error}"));
                }
            }
        });
    }

    /// The options that say who this is.
    fn ways(&self) -> Vec<&'static str> {
        [
            ("user", self.user.is_some() || self.password.is_some()),
            ("token", self.token.is_some()),
            ("nkey_seed", self.nkey_seed.is_some()),
            ("credentials_file", self.credentials_file.is_some()),
        ]
        .into_iter()
        .filter_map(|(way, given)| given.then_some(way))
        .collect()
    }

    /// Who this is by these options alone.
    fn credentials(&self) -> Credentials {
        let exposed = |secret: &Secret| secret.expose().to_owned();
        match (&self.user, &self.password, &self.token, &self.nkey_seed, &self.credentials_file) {
            (Some(name), Some(password), ..) => {
                Credentials::User { name: name.clone(), password: exposed(password) }
            }
            (_, _, Some(token), ..) => Credentials::Token(exposed(token)),
            (_, _, _, Some(seed), _) => Credentials::NkeySeed(exposed(seed)),
            (.., Some(file)) => Credentials::File(file.clone()),
            (.., None) => Credentials::Anonymous,
        }
    }

    fn tls(&self) -> Tls {
        let identity = self.cert_file.clone().zip(self.key_file.clone());
        Tls { required: self.tls_required, roots: self.ca_file.clone(), identity }
    }
}

fn readable(file: &Path) -> std::io::Result<()> {
    std::fs::File::open(file).map(drop)
}

fn is_user_seed(text: &str) -> bool {
    text.len() == USER_SEED_CHARACTERS && text.starts_with(USER_SEED_PREFIX)
}

/// The bus of a service: connects as its options say, as [`NatsBus::connect`] does. `name` is what
/// the server's monitoring shows; `gateway` and `streams` are those of [`NatsOptions`].
///
/// # Errors
/// If the address is `local`, or an option cannot be used.
pub async fn connect(
    bus: &BusAddress,
    options: &BusOptions,
    name: &str,
    gateway: Option<GatewayId>,
    streams: Option<StreamLimits>,
    clock: SharedClock,
) -> Result<Arc<dyn Bus>, BusError> {
    let BusAddress::Nats { server, credentials } = bus else {
        return Err(unavailable("`local` exists only inside `turnpike dev`"));
    };
    let in_url = !matches!(credentials, Credentials::Anonymous);
    let credentials = if in_url { credentials.clone() } else { options.credentials() };
    let replicas = options.stream_replicas;
    let streams = streams
        .map(|limits| StreamLimits { replicas: replicas.unwrap_or(limits.replicas), ..limits });
    let options = NatsOptions {
        credentials,
        gateway,
        tls: options.tls(),
        streams,
        ..NatsOptions::new(server, name)
    };
    Ok(Arc::new(NatsBus::connect(options, clock).await?))
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn secret(text: &str) -> Option<Secret> {
        Some(SecretString::from(text).into())
    }

    fn told(bus: &str, options: &BusOptions) -> Vec<String> {
        let mut mistakes = Mistakes::default();
        options.check(&bus.parse().unwrap(), &mut mistakes);
        mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_way_to_log_in_is_enough() {
        let user = Some("me".to_owned());
        let options = BusOptions { user, password: secret("hunter2"), ..BusOptions::default() };
        assert_eq!(told("nats://a", &options), [""; 0]);
        assert!(matches!(options.credentials(), Credentials::User { .. }));
        let options = BusOptions { token: secret("hunter2"), ..BusOptions::default() };
        assert_eq!(told("nats://a", &options), [""; 0]);
        assert!(told("local", &options)[0].starts_with("bus must be a NATS server"));
        assert!(matches!(options.credentials(), Credentials::Token(_)));
        let seed = format!("SU{}", "A".repeat(56));
        let options = BusOptions { nkey_seed: secret(&seed), ..BusOptions::default() };
        assert_eq!(told("nats://a", &options), [""; 0]);
        assert!(matches!(options.credentials(), Credentials::NkeySeed(_)));
        assert_eq!(told("nats://me:hunter2@a", &BusOptions::default()), [""; 0]);
        assert!(matches!(BusOptions::default().credentials(), Credentials::Anonymous));
    }

    #[test]
    fn every_mistake_is_named_and_no_secret_is_repeated() {
        let options = BusOptions {
            user: Some("me".to_owned()),
            token: secret("hunter2"),
            nkey_seed: secret("hunter2"),
            credentials_file: Some("/nowhere/a.creds".into()),
            cert_file: Some("/nowhere/cert.pem".into()),
            stream_replicas: Some(6),
            ..BusOptions::default()
        };
        let found = told("nats://me:hunter2@a", &options);
        let expected = [
            "bus holds a user or token",
            "nats.token is a second way",
            "nats.nkey_seed is a second way",
            "nats.credentials_file is a second way",
            "nats.password and user belong together",
            "nats.stream_replicas must be",
            "nats.nkey_seed is no seed",
            "nats.key_file and cert_file belong together",
            "nats.credentials_file cannot be read",
            "nats.cert_file cannot be read",
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (line, begin) in found.iter().zip(expected) {
            assert!(line.starts_with(begin) && !line.contains("hunter2"), "{begin}: {line}");
        }
    }
}
