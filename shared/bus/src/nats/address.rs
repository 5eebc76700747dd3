//! The option `bus`: where messages travel, without the secret that its URL may hold.

use std::fmt;
use std::str::FromStr;

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::options::Credentials;

/// The name of the bus within a process that holds the whole house.
const LOCAL: &str = "local";
/// What is shown in place of a password or token.
const HIDDEN: &str = "(hidden)";

/// Where messages travel. Neither printing nor serialising shows a password.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum BusAddress {
    /// Within the process: only in `turnpike dev`.
    Local,
    /// A NATS server.
    Nats {
        /// `nats://HOST:PORT` or `tls://HOST:PORT`, without user and password.
        server: String,
        /// What the URL said before its host: `USER:PASSWORD@` or, alone, `TOKEN@`.
        credentials: Credentials,
    },
}

/// A text that is no address of a bus. It is not repeated: it may hold a password.
#[derive(Debug, thiserror::Error)]
#[error("must be nats://HOST:PORT, tls://HOST:PORT or local")]
pub struct NoBus;

impl Default for BusAddress {
    fn default() -> Self {
        let server = "nats://127.0.0.1:4222".to_owned();
        Self::Nats { server, credentials: Credentials::Anonymous }
    }
}

impl FromStr for BusAddress {
    type Err = NoBus;

    fn from_str(text: &str) -> Result<Self, NoBus> {
        if text == LOCAL {
            return Ok(Self::Local);
        }
        // Without a scheme `HOST:PORT` would be read as the scheme `HOST`.
        if !text.starts_with("nats://") && !text.starts_with("tls://") {
            return Err(NoBus);
        }
        let mut url = text.parse::<ServerAddr>().map_err(|_| NoBus)?.into_inner();
        let beyond = !matches!(url.path(), "" | "/") || url.query().or(url.fragment()).is_some();
        if url.host_str().is_none_or(str::is_empty) || beyond {
            return Err(NoBus);
        }
        let name = decoded(url.username())?;
        let credentials = match url.password().map(decoded).transpose()? {
            Some(password) if !name.is_empty() => Credentials::User { name, password },
            Some(_) => return Err(NoBus),
            None if name.is_empty() => Credentials::Anonymous,
            None => Credentials::Token(name),
        };
        url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| NoBus)?;
        let server = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self::Nats { server, credentials })
    }
}

/// The text behind the escapes of a URL (RFC 3986, section 2.1).
fn decoded(text: &str) -> Result<String, NoBus> {
    percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| NoBus)
}

impl TryFrom<String> for BusAddress {
    type Error = NoBus;

    fn try_from(text: String) -> Result<Self, NoBus> {
        text.parse()
    }
}

impl From<BusAddress> for String {
    fn from(address: BusAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for BusAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Nats { server, credentials } = self else { return f.write_str(LOCAL) };
        let (scheme, host) = server.split_once("://").unwrap_or(("nats", server));
        match credentials {
            Credentials::User { name, .. } => write!(f, "{scheme}://{name}:{HIDDEN}@{host}"),
            Credentials::Token(_) => write!(f, "{scheme}://{HIDDEN}@{host}"),
            Credentials::Anonymous | Credentials::NkeySeed(_) | Credentials::File(_) => {
                f.write_str(server)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_leave_the_url_and_are_not_shown() {
        for (text, shown, server) in [
            ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
            ("tls://nats.example/", "tls://nats.example", "tls://nats.example"),
            ("nats://[::1]:4222", "nats://[::1]:4222", "nats://[::1]:4222"),
            ("nats://me:hunter2@a:1", "nats://me:(hidden)@a:1", "nats://a:1"),
            ("nats://me:hunter2%40b%2F@a:1", "nats://me:(hidden)@a:1", "nats://a:1"),
            ("tls://hunter2@a", "tls://(hidden)@a", "tls://a"),
        ] {
            let address: BusAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("hunter2"), "{address:?}");
            let BusAddress::Nats { server: found, .. } = address else { panic!("{text}") };
            assert_eq!(found, server);
        }
        let address: BusAddress = "nats://me:p%40ss@a:1".parse().unwrap();
        let BusAddress::Nats { credentials: Credentials::User { name, password }, .. } = address
        else {
            panic!("no user in {address}")
        };
        assert_eq!((name.as_str(), password.as_str()), ("me", "p@ss"));
        assert!(matches!("local".parse(), Ok(BusAddress::Local)));
        assert_eq!(BusAddress::Local.to_string(), "local");
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        for text in [
            "",
            "127.0.0.1:4222",
            "http://127.0.0.1:4222",
            "nats://",
            "nats://:4222",
            "nats://:hunter2@a:1",
            "nats://me:hunter2@",
            "nats://me:hunter2@a:port",
            "nats://a:1/hunter2",
            "nats://a:1?hunter2",
        ] {
            let error = text.parse::<BusAddress>().expect_err(text).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
