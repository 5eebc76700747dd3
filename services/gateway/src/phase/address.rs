//! Where a request comes from: the peer's address, or the one that proxies of ours have seen.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::HeaderName;
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The caller's address: the peer's, or, where peers are proxies of ours, the first address from
/// the right of `X-Forwarded-For` that is not. An entry that is no address ends the search: what
/// stands left of it was written by nobody whom we know.
///
/// Each entry is read for itself: what a caller wrote left of a proxy's entry, of whatever bytes,
/// cannot make that entry unreadable. `Forwarded` (RFC 7239), `X-Real-IP` and the like are not
/// read: a proxy that does not know them passes a caller's own on.
pub(super) fn address(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut address = peer.ip().to_canonical();
    let is_ours = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !is_ours(&address) {
        return address;
    }
    let lines: Vec<&[u8]> = headers.get_all(FORWARDED_FOR).iter().map(|it| it.as_bytes()).collect();
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        let Some(before) = forwarded(entry) else { return address };
        address = before;
        if !is_ours(&address) {
            return address;
        }
    }
    address
}

/// An entry of `X-Forwarded-For`: an address, IPv6 bare or in brackets, with a port where the proxy
/// adds one. A zone means something on the proxy's machine alone, so that one is no address here.
fn forwarded(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry.trim_ascii()).ok()?;
    let address = if let Some(rest) = entry.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let is_sound = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        IpAddr::V6(address.parse().ok().filter(|_| is_sound)?)
    } else {
        match entry.split_once(':') {
            // What stands before the first colon of IPv6 has no dot.
            Some((address, port)) if address.contains('.') => {
                IpAddr::V4(address.parse().ok().filter(|_| is_port(port))?)
            }
            Some(_) | None => entry.parse().ok()?,
        }
    };
    Some(address.to_canonical())
}

fn is_port(digits: &str) -> bool {
    let is_number = (1..=5).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
    is_number && digits.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// A proxy of ours, and one by IPv6.
    const OURS: &str = "10.0.0.1:1";
    const OURS_V6: &str = "[fd00::1]:1";

    /// (peer, lines of `X-Forwarded-For`, the caller).
    type Case = (&'static str, &'static [&'static [u8]], &'static str);

    const ORDER: [Case; 14] = [
        ("203.0.113.9:1", &[], "203.0.113.9"),
        ("203.0.113.9:1", &[b"198.51.100.1"], "203.0.113.9"),
        ("203.0.113.9:1", &[b"10.0.0.1"], "203.0.113.9"),
        (OURS, &[], "10.0.0.1"),
        (OURS, &[b"198.51.100.1"], "198.51.100.1"),
        (OURS, &[b"1.2.3.4, 198.51.100.1"], "198.51.100.1"),
        (OURS, &[b"1.2.3.4,198.51.100.1,10.2.2.2"], "198.51.100.1"),
        (OURS, &[b"1.2.3.4", b"198.51.100.1"], "198.51.100.1"),
        (OURS, &[b"198.51.100.1", b"10.2.2.2"], "198.51.100.1"),
        (OURS, &[b"1.2.3.4", b"198.51.100.1, 10.2.2.2"], "198.51.100.1"),
        (OURS, &[b"1.2.3.4", b"5.6.7.8", b"10.3.3.3", b"10.2.2.2"], "5.6.7.8"),
        (OURS, &[b"10.9.9.9, 10.2.2.2"], "10.9.9.9"),
        (OURS, &[b"10.9.9.9", b"10.2.2.2"], "10.9.9.9"),
        (OURS_V6, &[b"1.2.3.4, 2001:db8::7, fd00::2, 10.1.1.1"], "2001:db8::7"),
    ];

    const FORMS: [Case; 16] = [
        (OURS, &[b"198.51.100.1:4711"], "198.51.100.1"),
        (OURS, &[b"198.51.100.1:0"], "198.51.100.1"),
        (OURS, &[b"   198.51.100.1\t "], "198.51.100.1"),
        (OURS, &[b"::ffff:198.51.100.1"], "198.51.100.1"),
        (OURS, &[b"::FFFF:C633:6401"], "198.51.100.1"),
        (OURS, &[b"[::ffff:198.51.100.1]:80"], "198.51.100.1"),
        (OURS, &[b"198.51.100.1, ::ffff:10.2.2.2"], "198.51.100.1"),
        ("[::ffff:10.0.0.1]:1", &[b"198.51.100.1"], "198.51.100.1"),
        ("[::ffff:203.0.113.9]:1", &[b"198.51.100.1"], "203.0.113.9"),
        (OURS_V6, &[b"[2001:db8::1]:4711"], "2001:db8::1"),
        (OURS_V6, &[b"[2001:db8::1]"], "2001:db8::1"),
        (OURS_V6, &[b"2001:db8::1"], "2001:db8::1"),
        (OURS_V6, &[b"2001:0DB8:0:0:0:0:0:1"], "2001:db8::1"),
        // With a port and no brackets it is another address, and so it is read.
        (OURS_V6, &[b"2001:db8::1:4711"], "2001:db8::1:4711"),
        (OURS_V6, &[b"64:ff9b::10.0.0.1"], "64:ff9b::a00:1"),
        (OURS, &[b"0.0.0.0"], "0.0.0.0"),
    ];

    /// Entries that are no address: what stands right of them is all that is known.
    const NO_ADDRESSES: [&[u8]; 42] = [
        b"",
        b" ",
        b"unknown",
        b"_hidden",
        b"_SEVKISEK",
        b"localhost",
        b"example.com",
        b"-",
        b"null",
        b"198.51.100",
        b"198.51.100.1.",
        b".198.51.100.1",
        b"198.51.100.256",
        b"198.51.100.01",
        b"0x7f.0.0.1",
        b"3325256705",
        b"198.51.100.1/32",
        b"198.51.100.1:",
        b"198.51.100.1:x",
        b"198.51.100.1:70000",
        b"198.51.100.1 10.0.0.9",
        b"198.51.100.1;10.0.0.9",
        b"\"198.51.100.1\"",
        b"for=198.51.100.1",
        b"'198.51.100.1'",
        b"[198.51.100.1",
        b"198.51.100.1]",
        b"[2001:db8::1",
        b"2001:db8::1]",
        b"[2001:db8::1]:",
        b"[2001:db8::1]:70000",
        b"[2001:db8::1]80",
        b"[198.51.100.1]",
        b"[198.51.100.1]:80",
        b"[fe80::1%1]:80",
        b"198.51.100.1:000080",
        b"2001:db8::1%eth0",
        b"fe80::1%25eth0",
        b"2001:db8:::1",
        b"\xff\xfe",
        b"198.51.100.1\xa0",
        "\u{ff11}98.51.100.1".as_bytes(),
    ];

    fn found(peer: &str, lines: &[&[u8]]) -> IpAddr {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "fd00::/8"].into_iter().map(|net| net.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
        }
        for name in ["forwarded", "x-real-ip", "x-client-ip", "true-client-ip"] {
            headers.insert(name, HeaderValue::from_static("for=10.7.7.7"));
        }
        address(peer.parse().unwrap(), &headers, &trusted)
    }

    #[test]
    fn the_address_is_the_last_that_no_proxy_of_ours_wrote() {
        for (peer, lines, want) in ORDER.into_iter().chain(FORMS) {
            assert_eq!(found(peer, lines), want.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
    }

    #[test]
    fn what_is_no_address_ends_the_search_and_hides_nothing_right_of_it() {
        let join = |parts: &[&[u8]]| parts.join(&b", "[..]);
        let is = |text: &str| text.parse::<IpAddr>().unwrap();
        for entry in NO_ADDRESSES {
            let said = String::from_utf8_lossy(entry);
            // Written by a caller, left of what our proxy saw.
            let line = join(&[entry, b"198.51.100.1"]);
            assert_eq!(found(OURS, &[&line]), is("198.51.100.1"), "{said}");
            assert_eq!(found(OURS, &[entry, b"198.51.100.1"]), is("198.51.100.1"), "{said}");
            // Where a proxy of ours should have said whom it saw, nobody left of it is believed.
            let line = join(&[b"198.51.100.1", entry, b"10.2.2.2"]);
            assert_eq!(found(OURS, &[&line]), is("10.2.2.2"), "{said}");
            let line = join(&[b"198.51.100.1", entry]);
            assert_eq!(found(OURS, &[&line]), is("10.0.0.1"), "{said}");
        }
    }
}
