//! Where a provider answers: its base URL, taken apart once.

use std::str::FromStr;

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};

/// Why a base URL cannot be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a provider's base URL is http or https, a host, and perhaps a path")]
pub struct NotAnOrigin;

/// A provider's address and what stands before every path there.
#[derive(Clone, Debug)]
pub struct Origin {
    secure: bool,
    authority: Authority,
    host_header: HeaderValue,
    prefix: Box<str>,
}

impl FromStr for Origin {
    type Err = NotAnOrigin;

    fn from_str(base_url: &str) -> Result<Self, NotAnOrigin> {
        let parts = base_url.parse::<Uri>().map_err(|_| NotAnOrigin)?.into_parts();
        let secure = match parts.scheme {
            Some(scheme) if scheme == Scheme::HTTPS => true,
            Some(scheme) if scheme == Scheme::HTTP => false,
            Some(_) | None => return Err(NotAnOrigin),
        };
        let authority = parts.authority.ok_or(NotAnOrigin)?;
        let path = parts.path_and_query.ok_or(NotAnOrigin)?;
        // User information would be a credential outside of its seal.
        if authority.as_str().contains('@') || path.query().is_some() {
            return Err(NotAnOrigin);
        }
        let host_header = HeaderValue::from_str(authority.as_str()).map_err(|_| NotAnOrigin)?;
        let prefix = path.path().trim_end_matches('/').into();
        Ok(Self { secure, authority, host_header, prefix })
    }
}

impl Origin {
    /// Whether TLS is spoken there.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> (&str, u16) {
        let port = self.authority.port_u16().unwrap_or(if self.secure { 443 } else { 80 });
        (self.authority.host(), port)
    }

    /// What the `Host` header says.
    #[must_use]
    pub fn host(&self) -> &[u8] {
        self.host_header.as_bytes()
    }

    /// What stands before the path of every request.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_taken_apart() {
        let origin: Origin = "https://api.openai.com".parse().unwrap();
        assert_eq!((origin.is_secure(), origin.address()), (true, ("api.openai.com", 443)));
        assert_eq!(origin.prefix(), "");

        let origin: Origin = "http://[::1]:8080/openai/".parse().unwrap();
        assert_eq!((origin.is_secure(), origin.address()), (false, ("[::1]", 8080)));
        assert_eq!((origin.host(), origin.prefix()), (&b"[::1]:8080"[..], "/openai"));
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for text in [
            "",
            "api.openai.com",
            "/v1",
            "ftp://a",
            "https://user:word@a",
            "https://a?b=c",
            "https://",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
