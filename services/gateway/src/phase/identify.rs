//! Who asks: the credential of a request, and the address that it comes from.

mod credential;

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::HeaderName;
use ipnet::IpNet;
use turnpike_domain::admit::Denial;
use turnpike_wire::ephemeral;
use turnpike_wire::secret::{self, Legacy};

use crate::core::{Core, Denied, Entry};
use crate::dialect::{Dialect, Sent};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The key of a request's credential, which stands where the dialect's clients put it.
///
/// # Errors
/// [`Denial::Unauthorized`] for none, two different ones or what is no secret, and those of
/// [`Core::identify`] and [`Core::identify_token`].
pub(super) fn identify(core: &Core, dialect: Dialect, sent: Sent<'_>) -> Result<Entry, Denied> {
    let refused = |message| core.denied(Denial::Unauthorized).with_message(message);
    let text = credential::credential(dialect, sent).map_err(|error| refused(error.to_string()))?;
    if ephemeral::is_token(&text) {
        return core.identify_token(&text);
    }
    let error = match secret::parse(&text) {
        Ok(presented) => return core.identify(&presented),
        Err(error) => error,
    };
    let legacy =
        Legacy::read(&text).map_err(|_| refused(format!("The API key is malformed: {error}.")))?;
    core.identify_legacy(legacy)
}

/// The caller's address: the peer's, or, where peers are proxies of ours, the first address from
/// the right of `X-Forwarded-For` that is not. An entry that is no address ends the search: what
/// stands left of it was written by nobody whom we know.
pub(super) fn address(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut address = peer.ip().to_canonical();
    let is_ours = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !is_ours(&address) {
        return address;
    }
    let lines: Vec<&str> =
        headers.get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok()).collect();
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Some(before) = forwarded(entry.trim()) else { return address };
        address = before;
        if !is_ours(&address) {
            return address;
        }
    }
    address
}

/// An entry of `X-Forwarded-For`: an address, with a port where the proxy adds one.
fn forwarded(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let with_port = || entry.parse::<SocketAddr>().map(|address| address.ip());
    bare.parse::<IpAddr>().or_else(|_| with_port()).ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_address_is_the_last_that_no_proxy_of_ours_wrote() {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "fd00::/8"].into_iter().map(|net| net.parse().unwrap()).collect();
        let cases: [(&str, &[&str], &str); 12] = [
            ("203.0.113.9:1", &["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1:1", &[], "10.0.0.1"),
            ("10.0.0.1:1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:1", &["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:1", &["1.2.3.4", "198.51.100.1, 10.2.2.2"], "198.51.100.1"),
            ("10.0.0.1:1", &["10.9.9.9, 10.2.2.2"], "10.9.9.9"),
            ("10.0.0.1:1", &["1.2.3.4, unknown, 10.2.2.2"], "10.2.2.2"),
            ("10.0.0.1:1", &["1.2.3.4,"], "10.0.0.1"),
            ("10.0.0.1:1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("[::ffff:10.0.0.1]:1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            ("[fd00::1]:1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("[fd00::1]:1", &["[2001:db8::1]"], "2001:db8::1"),
        ];
        for (peer, lines, want) in cases {
            let headers = lines.iter().map(|line| (FORWARDED_FOR, HeaderValue::from_static(line)));
            let headers: HeaderMap = headers.collect();
            let found = address(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(found, want.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
    }
}
