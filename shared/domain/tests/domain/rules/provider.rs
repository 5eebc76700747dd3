//! Providers: sound addresses, sane headers, names that routes can rely on.

use turnpike_domain::command::{Command, PlatformCommand};
use turnpike_domain::id::ProviderId;
use turnpike_domain::refusal::Refusal;
use turnpike_domain::secret::Sealed;
use turnpike_domain::state::ProviderSpec;

use crate::house::{ECHO, House, admin, member, operator, outcome, owner, provider, viewer};

const OWN: ProviderId = ProviderId(7);

fn change(spec: ProviderSpec) -> Command {
    Command::ChangeProvider { provider: OWN, spec: Some(Box::new(spec)) }
}

fn at(base_url: &str) -> ProviderSpec {
    ProviderSpec { base_url: base_url.into(), ..provider("own") }
}

fn with(name: &str, value: &str) -> ProviderSpec {
    ProviderSpec { headers: vec![(name.into(), value.into())], ..provider("own") }
}

#[test]
fn admins_change_the_organisations_providers() {
    let mut house = House::furnished();
    let remove = Command::ChangeProvider { provider: OWN, spec: None };
    house.answers(vec![
        (admin(), change(provider("own")), "ProviderChanged"),
        (owner(), change(provider("own")), "ProviderChanged"),
        (member(), change(provider("own")), "needs admin"),
        (viewer(), change(provider("own")), "needs admin"),
        (admin(), remove.clone(), "not_found"),
    ]);
    house.done(admin(), change(provider("own")));
    let twin =
        Command::ChangeProvider { provider: ProviderId(8), spec: Some(Box::new(provider("own"))) };
    house.answers(vec![
        (admin(), change(provider("own")), "nothing"),
        (admin(), change(at("http://127.0.0.1:7090/")), "nothing"),
        (admin(), twin, "name_taken"),
        (admin(), remove, "ProviderChanged"),
    ]);
}

#[test]
fn addresses_have_the_shape_of_a_base_url() {
    let good = [
        "https://api.openai.com",
        "https://api.openai.com/",
        "http://localhost:7090/v1/openai",
        "http://[::1]:8080",
        "http://[2001:db8::1]",
        "https://generativelanguage.googleapis.com/",
    ];
    let bad = [
        "",
        "api.openai.com",
        "ftp://api.openai.com",
        "HTTPS://api.openai.com",
        "https://",
        "https:///v1",
        "https://.example.com",
        "https://user:word@example.com",
        "https://example.com:0",
        "https://example.com:65536",
        "https://example.com:+80",
        "https://example.com:",
        "https://exa mple.com",
        "https://example.com/?key=1",
        "https://example.com/#top",
        "https://example.com\\@evil.example",
        "http://[::1",
        "http://[::1]8080",
        "http://[example.com]",
        "https://exämple.com",
        "http://2130706433",
        "http://127.1/v1",
        "http://0x7f.0.0.1:80",
        "http://0177.0.0.1",
        "http://127.0.0.1.",
        "http://127.0.0.01",
        "http://1.2.3.4.5",
        "http://127.0.0.0x1",
        "http://0x",
        "http://[fe80::1%25eth0]",
        "http://127.0.0.1%2f@example.com",
    ];
    let house = House::furnished();
    for url in good {
        assert_eq!(outcome(house.decide(admin(), change(at(url)))), "ProviderChanged", "{url}");
    }
    for url in bad {
        assert_eq!(outcome(house.decide(admin(), change(at(url)))), "/base_url", "{url}");
    }
    let long = format!("https://example.com/{}", "x".repeat(2_048));
    assert_eq!(outcome(house.decide(admin(), change(at(&long)))), "/base_url");
}

#[test]
fn headers_carry_no_credentials_and_no_framing() {
    let house = House::furnished();
    for (name, value) in [("x-team", "a b"), ("OpenAI-Organization", "org-1"), ("x-empty", "")] {
        let said = outcome(house.decide(admin(), change(with(name, value))));
        assert_eq!(said, "ProviderChanged", "{name}: {value}");
    }
    let bad = [
        ("Authorization", "Bearer x"),
        ("x-api-key", "x"),
        ("X-Goog-Api-Key", "x"),
        ("cookie", "x"),
        ("Host", "x"),
        ("content-length", "0"),
        ("transfer-encoding", "chunked"),
        ("", "x"),
        ("x y", "x"),
        ("x:", "x"),
        ("x-team", "a\r\nb: c"),
        ("x-team", " a"),
        ("x-team", "ä"),
    ];
    for (name, value) in bad {
        let said = outcome(house.decide(admin(), change(with(name, value))));
        assert_eq!(said, "/headers/0", "{name}: {value}");
    }
    let header = |name: &str| (name.into(), "x".into());
    let twice = vec![header("x-a"), header("X-A")];
    let twice = ProviderSpec { headers: twice, ..provider("own") };
    assert_eq!(outcome(house.decide(admin(), change(twice))), "/headers/1");
}

#[test]
fn sizes_and_times_are_bounded() {
    let spec = ProviderSpec {
        name: "o w n".into(),
        credential: Some(Sealed(vec![0; 8_193].into())),
        headers: (0..33).map(|n| (format!("x-{n}").into(), "".into())).collect(),
        serves: vec!["good".into(), "".into()],
        connect_timeout_ms: 0,
        answer_timeout_ms: u64::MAX,
        idle_timeout_ms: 0,
        total_timeout_ms: u64::MAX,
        tls_roots: Some("x".repeat(32_769).into()),
        ..provider("own")
    };
    House::furnished().answers(vec![(
        admin(),
        change(spec),
        "/name /credential /tls_roots /headers /serves/1 /connect_timeout_ms /answer_timeout_ms \
         /idle_timeout_ms /total_timeout_ms",
    )]);
}

#[test]
fn roots_are_certificates_and_nothing_that_is_secret() {
    let (begin, end) = ("-----BEGIN CERTIFICATE-----\nAA\n", "-----END CERTIFICATE-----\n");
    let certificate = format!("{begin}{end}");
    let key = format!("{certificate}-----BEGIN EC PRIVATE KEY-----\nAA\n");
    for (roots, want) in [
        (certificate.as_str(), "ProviderChanged"),
        ("", "/tls_roots"),
        ("AAAA", "/tls_roots"),
        (&key, "/tls_roots"),
    ] {
        let spec = ProviderSpec { tls_roots: Some(roots.into()), ..provider("own") };
        House::furnished().answers(vec![(admin(), change(spec), want)]);
    }
}

#[test]
fn a_provider_that_models_are_routed_to_keeps_its_name() {
    let house = House::furnished();
    let shared = |spec: Option<ProviderSpec>| PlatformCommand::ChangeProvider {
        provider: ECHO,
        spec: spec.map(Box::new),
    };
    let disabled = ProviderSpec { disabled: true, ..provider("echo") };
    house.platform_answers(vec![
        (shared(None), "state_conflict"),
        (shared(Some(provider("other"))), "state_conflict"),
        (shared(Some(disabled)), "ProviderChanged"),
        (shared(Some(provider("echo"))), "nothing"),
    ]);
    let refused = house.decide_platform(owner(), shared(None));
    assert!(matches!(refused, Err(Refusal::Forbidden { .. })));
    let mut house = house;
    house.run(operator(), PlatformCommand::PriceModel { model: "echo-1".into(), spec: None });
    house.platform_answers(vec![(shared(None), "ProviderChanged")]);
}
