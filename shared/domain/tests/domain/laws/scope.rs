//! Laws of scopes: a child is a subset of its parent, in the algebra and in effect.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::select;
use turnpike_domain::scope::{Allow, Attenuation, Cidr, Scopes};

use crate::arbitrary::ephemeral::attenuation;
use crate::arbitrary::{SPOKEN_OF, cases, scopes};

const ADDRESSES: [&str; 7] = [
    "10.1.2.3",
    "10.1.9.9",
    "10.200.0.1",
    "192.0.2.1",
    "2001:db8::7",
    "fe80::1",
    "::ffff:10.1.2.3",
];

/// Everything that a scope lets through, of all that could be asked.
pub(super) fn rights(scopes: &Scopes) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    for name in SPOKEN_OF {
        if scopes.models.holds(name) {
            all.push(("model", name.to_string()));
        }
        if scopes.providers.holds(name) {
            all.push(("provider", name.to_string()));
        }
        if scopes.mcp.server(name) {
            all.push(("server", name.to_string()));
        }
        for tool in SPOKEN_OF {
            if scopes.mcp.tool(name, tool) {
                all.push(("tool", format!("{name} {tool}")));
            }
        }
    }
    for address in ADDRESSES {
        let parsed: IpAddr = address.parse().expect("an address");
        if scopes.address(parsed) {
            all.push(("address", address.to_string()));
        }
    }
    all
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn within_is_reflexive_and_everything_is_within_all(scopes in scopes()) {
        prop_assert!(scopes.within(&scopes));
        let mut all = Scopes::default();
        all.mcp.enabled = true;
        prop_assert!(scopes.within(&all));
    }

    #[test]
    fn within_is_transitive(one in scopes(), two in scopes(), three in scopes()) {
        if one.within(&two) && two.within(&three) {
            prop_assert!(one.within(&three));
        }
    }

    #[test]
    fn what_a_child_may_its_parent_may(child in scopes(), parent in scopes()) {
        // Most pairs differ everywhere, so every part is also tried with the others equal.
        let parts = [
            parent.clone(),
            Scopes { models: parent.models.clone(), ..child.clone() },
            Scopes { providers: parent.providers.clone(), ..child.clone() },
            Scopes { addresses: parent.addresses.clone(), ..child.clone() },
            Scopes { mcp: parent.mcp.clone(), ..child.clone() },
        ];
        for parent in parts {
            let allowed = rights(&parent);
            let beyond: Vec<_> =
                rights(&child).into_iter().filter(|right| !allowed.contains(right)).collect();
            if child.within(&parent) {
                prop_assert!(beyond.is_empty(), "{:?}", beyond);
            }
            // And the other way for names: what is not within has a witness.
            if !child.models.within(&parent.models) || !child.mcp.within(&parent.mcp) {
                prop_assert!(!beyond.is_empty());
            }
        }
    }

    #[test]
    fn an_attenuation_leaves_what_both_allow(attenuation in attenuation(), parent in scopes()) {
        let left = attenuation.of(&parent);
        prop_assert!(left.within(&parent), "{:?}", left);
        let Attenuation { models, providers, addresses, mcp } = attenuation;
        let mcp = mcp.unwrap_or_else(|| parent.mcp.clone());
        let alone = rights(&Scopes { models, providers, addresses, mcp });
        let both: Vec<_> =
            rights(&parent).into_iter().filter(|right| alone.contains(right)).collect();
        prop_assert_eq!(rights(&left), both);
    }

    #[test]
    fn ranges_hold_what_their_parts_hold(
        bytes: [u8; 4],
        prefix in 0_u8..=32,
        shorter in 0_u8..=32,
    ) {
        let address = IpAddr::from(bytes);
        let range = Cidr::new(address, prefix).expect("a prefix of v4");
        prop_assert!(range.holds(address));
        prop_assert!(Cidr::single(address).within(range));
        let outer = Cidr::new(address, shorter.min(prefix)).expect("a prefix of v4");
        prop_assert!(range.within(outer));
        let (network, bits) = range.parts();
        prop_assert_eq!(Cidr::from_parts(network, bits), Some(range));
        prop_assert_eq!(range.to_string().parse(), Ok(range));
    }
}

#[test]
fn ranges_are_read_in_both_families_and_nothing_else_is() {
    let holds = [
        ("10.0.0.0/8", "10.9.8.7", true),
        ("10.0.0.0/8", "::ffff:10.9.8.7", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.1.2.3/8", "10.200.0.1", true),
        ("2001:db8::/32", "2001:db8:1::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("0.0.0.0/0", "255.1.2.3", true),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("::/0", "10.0.0.1", true),
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7", "192.0.2.8", false),
    ];
    for (range, address, expected) in holds {
        let range: Cidr = range.parse().expect("a range");
        assert_eq!(
            range.holds(address.parse().expect("an address")),
            expected,
            "{range} {address}"
        );
    }
    let bad = [
        "",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/+8",
        "10.0.0/8",
        "::/129",
        "::/1000",
        "10.0.0.0/8/8",
        "10.0.0.0 /8",
        "host",
        "10.0.0.0/-1",
    ];
    for text in bad {
        assert!(text.parse::<Cidr>().is_err(), "{text}");
    }
    assert_eq!(Cidr::from_parts(0, 129), None);
}

#[test]
fn an_empty_list_of_names_holds_nothing() {
    let nothing = Allow::Only([].into());
    assert!(!nothing.holds("a") && nothing.within(&Allow::All) && !Allow::All.within(&nothing));
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn mcp_that_is_off_is_off(scopes in scopes(), server in select(&SPOKEN_OF[..])) {
        let mut scopes = scopes;
        scopes.mcp.enabled = false;
        prop_assert!(!scopes.mcp.server(server) && !scopes.mcp.tool(server, "a"));
    }
}
