//! Tests of the loader as a service sees it.

use std::io::Write as _;

use serde::Deserialize;

use super::*;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Service {
    listen: std::net::SocketAddr,
    name: String,
    pepper: Option<Secret>,
    proxies: Vec<ipnet::IpNet>,
    nats: Nats,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Nats {
    url: Option<String>,
    in_flight: u32,
    tls: bool,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            listen: std::net::SocketAddr::from(([127, 0, 0, 1], 8080)),
            name: "turnpike".into(),
            pepper: None,
            proxies: Vec::new(),
            nats: Nats::default(),
        }
    }
}

impl Options for Service {
    fn check(&self, mistakes: &mut Mistakes) {
        mistakes.unless(!self.name.is_empty(), "name", "is empty");
        mistakes.within("nats", |mistakes| {
            mistakes.unless(self.nats.in_flight <= 512, "in_flight", "is over 512");
        });
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn run(text: &str, variables: &[(&str, &str)], set: &[&str]) -> Result<Loaded<Service>, Mistakes> {
    let file = file(text);
    let arguments = Arguments {
        config: Some(file.path().to_owned()),
        set: set.iter().map(|&pair| pair.to_owned()).collect(),
        check_config: false,
    };
    load_from(&arguments, variables.iter().map(|(name, value)| (name.into(), value.into())))
}

fn lines(result: Result<Loaded<Service>, Mistakes>) -> Vec<String> {
    let mistakes = result.unwrap_err();
    mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn later_sources_win() {
    let text = "name = 'file'\n[nats]\nurl = 'nats://file'\nin_flight = 1";
    let variables = [("TURNPIKE_NATS_URL", "nats://variable"), ("TURNPIKE_NATS_IN_FLIGHT", "2")];
    let loaded = run(text, &variables, &["nats.in_flight=3", "nats.tls=true"]).unwrap();
    assert_eq!(loaded.options.name, "file");
    assert_eq!(loaded.options.nats.url.as_deref(), Some("nats://variable"));
    assert_eq!((loaded.options.nats.in_flight, loaded.options.nats.tls), (3, true));
    assert_eq!(loaded.options.listen.port(), 8080, "a default");
}

#[test]
fn a_variable_is_a_text_before_it_is_anything_else() {
    let variables = [("TURNPIKE_NAME", "5"), ("TURNPIKE_PROXIES", r#"["10.0.0.0/8"]"#)];
    let loaded = run("", &variables, &[]).unwrap();
    assert_eq!(loaded.options.name, "5");
    assert_eq!(loaded.options.proxies, ["10.0.0.0/8".parse().unwrap()]);
}

#[test]
fn all_mistakes_are_named_at_once_with_their_sources() {
    let text = "listen = 'nowhere'\ncolour = 'red'\n[nats]\nin_flight = 'many'";
    let found = lines(run(text, &[("TURNPIKE_NATS_TLS", "perhaps")], &["name", "nats.ulr=x"]));
    assert_eq!(found.len(), 6, "{found:#?}");
    let expected = [
        ("--set needs OPTION=VALUE", "command line"),
        ("colour is wrong: unknown field", "the file"),
        ("listen is wrong:", "the file"),
        ("nats.in_flight is wrong:", "the file"),
        ("nats.tls is wrong:", "TURNPIKE_NATS_TLS"),
        ("nats.ulr is wrong: unknown field", "command line"),
    ];
    for (begin, source) in expected {
        let named = |line: &String| line.starts_with(begin) && line.contains(source);
        assert!(found.iter().any(named), "{begin} {source}: {found:#?}");
    }
}

#[test]
fn rules_of_the_modules_are_checked_by_their_full_names() {
    let found = lines(run("name = ''\nnats.in_flight = 513", &[], &[]));
    assert_eq!(found, ["name is empty", "nats.in_flight is over 512"]);
}

#[test]
fn wrong_types_do_not_hide_what_the_rules_say_of_other_options() {
    let found = lines(run("name = ''\nlisten = 'nowhere'\nnats.in_flight = 513", &[], &[]));
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("listen is wrong:"), "{found:#?}");
    assert_eq!(found[1..], ["name is empty", "nats.in_flight is over 512"]);
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Needy {
    size: u32,
}

impl Options for Needy {
    fn check(&self, mistakes: &mut Mistakes) {
        mistakes.unless(self.size > 0, "size", "is missing");
    }
}

#[test]
fn rules_do_not_speak_of_the_default_in_place_of_a_wrong_type() {
    let variable = (OsString::from("TURNPIKE_SIZE"), OsString::from("many"));
    let found = load_from::<Needy>(&Arguments::default(), [variable]).unwrap_err();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("size is wrong:"), "{found:?}");
    let missing = load_from::<Needy>(&Arguments::default(), []).unwrap_err();
    assert!(missing.to_string().ends_with("size is missing"), "{missing}");
}

#[test]
fn a_url_with_a_password_is_refused_and_not_repeated() {
    let mut mistakes = Mistakes::default();
    for url in ["https://a/x@y?b:c@d", "http://127.0.0.1:7070", "no url"] {
        mistakes.without_login(url, "url");
    }
    assert!(mistakes.is_empty(), "{mistakes}");
    for url in ["https://me@a", "https://me:hunter2@a:1/x", "https://:hunter2@a"] {
        mistakes.without_login(url, "url");
    }
    assert_eq!(mistakes.iter().count(), 3);
    assert!(!mistakes.to_string().contains("hunter2"), "{mistakes}");
}

#[test]
fn an_option_is_no_table() {
    let found = lines(run("name = 'a'", &[], &["name.first=b"]));
    assert!(found.iter().any(|line| line.starts_with("name.first stands below")), "{found:?}");
}

#[test]
fn foreign_variables_are_told_and_those_of_tests_are_not() {
    let variables = [
        ("TURNPIKE_GATEWAY_PORT", "tcp://10.0.0.1:80"),
        ("TURNPIKE_TEST_FDB_CLUSTER_FILE", "x"),
        ("TURNPIKE_CONFIG", "x"),
        ("HOME", "/root"),
    ];
    assert_eq!(run("", &variables, &[]).unwrap().unknown_variables, ["TURNPIKE_GATEWAY_PORT"]);
}

#[test]
fn secrets_are_read_from_files_and_never_shown() {
    let secret = file("hunter2\n");
    let reference = format!("file:{}", secret.path().display());
    let loaded = run("", &[("TURNPIKE_PEPPER", &reference)], &[]).unwrap();
    let pepper = loaded.options.pepper.as_ref().unwrap();
    assert_eq!(pepper.expose(), "hunter2");
    assert!(effective(&loaded.options).unwrap().contains(&reference));

    let inline = run("pepper = 'hunter2'", &[], &[]).unwrap().options;
    assert_eq!(inline.pepper.as_ref().unwrap().expose(), "hunter2");
    let shown = format!("{}{inline:?}", effective(&inline).unwrap());
    assert!(!shown.contains("hunter2") && shown.contains("pepper = \"(hidden)\""), "{shown}");
}

#[test]
fn mistakes_do_not_repeat_secrets() {
    for text in ["pepper = 271828", "pepper = 'hunter2 271828", "pepper = 2.71828"] {
        let found = lines(run(text, &[], &[]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(!found[0].contains("271828") && !found[0].contains("2.71828"), "{found:?}");
    }
    let found = lines(run("pepper = 'file:/nowhere/pepper'", &[], &[]));
    assert!(found[0].contains("/nowhere/pepper cannot be read"), "{found:?}");
}

#[test]
fn a_file_that_is_not_there_is_a_mistake() {
    let arguments = Arguments { config: Some("/nowhere/a.toml".into()), ..Arguments::default() };
    let found = load_from::<Service>(&arguments, []).unwrap_err();
    assert!(found.to_string().contains("/nowhere/a.toml cannot be read"), "{found}");
}

#[test]
fn a_slip_in_the_file_is_told_by_its_line() {
    let found = lines(run("name = 'a'\n\nlisten 5", &[], &[]));
    assert!(found[0].contains("line 3"), "{found:?}");
}
