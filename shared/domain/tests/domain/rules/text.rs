//! Short texts of people: what is a name, a slug, an address.

use turnpike_domain::text::{email_problem, name_problem, slug_problem};

#[test]
fn names_are_short_visible_and_trimmed() {
    let longest = "ü".repeat(100);
    for name in ["a", "CI of team 7", "名前", longest.as_str()] {
        assert_eq!(name_problem(name), None, "{name}");
    }
    let too_long = "a".repeat(101);
    for name in ["", " ", " a", "a ", "a\tb", "a\u{0}", too_long.as_str()] {
        assert!(name_problem(name).is_some(), "{name:?}");
    }
}

#[test]
fn slugs_fit_into_paths_and_logs() {
    for slug in ["gpt-5", "meta/llama-4:free", "a@b", "A.b_c"] {
        assert_eq!(slug_problem(slug), None, "{slug}");
    }
    let too_long = "a".repeat(101);
    for slug in ["", "a b", "ä", "a\n", "a?b", "a%b", too_long.as_str()] {
        assert!(slug_problem(slug).is_some(), "{slug:?}");
    }
}

#[test]
fn addresses_have_one_at_and_a_host() {
    for email in ["a@example.com", "a.b+c@mail.example.org", "dev@localhost"] {
        assert_eq!(email_problem(email), None, "{email}");
    }
    let too_long = format!("{}@example.com", "a".repeat(250));
    let bad = [
        "",
        "a",
        "@example.com",
        "a@",
        "a@b",
        "a@.com",
        "a@b.",
        "a@b..c",
        "a@b@c.d",
        "a b@example.com",
        "a@exam\nple.com",
        too_long.as_str(),
    ];
    for email in bad {
        assert!(email_problem(email).is_some(), "{email:?}");
    }
}
