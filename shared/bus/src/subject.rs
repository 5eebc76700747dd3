//! The NATS subjects of topics, feeds and calls: `turnpike.v1.<org>.<family>[.<rest>]`.
//!
//! Identifiers stand in their TypeID text, the platform's stream as `platform`. What else could
//! break a subject or a header is escaped as `%XX`, so that every topic has exactly one subject.

use std::fmt::Display;
use std::str::FromStr;

#[cfg(feature = "nats")]
use turnpike_domain::id::GatewayId;
use turnpike_domain::id::OrgId;

use crate::seam::{Feed, Serve, Service, Topic};

const PREFIX: &str = "turnpike.v1.";
const PLATFORM: &str = "platform";
/// One token, any text.
const ANY: &str = "*";
/// The escaped form of the empty text: a subject has no empty tokens.
const EMPTY: &str = "%";
/// Between the publisher's id and its topic in the id that is sent.
const AT: char = '@';

/// The subject of a topic.
#[must_use]
pub fn of_topic(topic: &Topic) -> String {
    match topic {
        Topic::Events { org, kind } => join(&org_token(*org), "events", escape_token(kind)),
        Topic::Heartbeat { org } => format!("{PREFIX}{}.heartbeat", org_token(*org)),
        Topic::Spend { org, gateway } => join(&org_token(*org), "spend", gateway),
        Topic::Booked { org, gateway } => join(&org_token(*org), "booked", gateway),
        Topic::Receipts { org, gateway } => join(&org_token(*org), "receipts", gateway),
        Topic::Recall { org } => format!("{PREFIX}{}.recall", org_token(*org)),
        Topic::Ledger { org, key } => join(&org_token(*org), "ledger", key),
    }
}

/// The topic of a subject; `None` if it is none of ours.
#[must_use]
pub fn topic(subject: &str) -> Option<Topic> {
    let (org, family, rest) = split(subject)?;
    match (family, rest) {
        ("events", Some(token)) => {
            let kind = unescape(token).filter(|kind| escape_token(kind) == token)?;
            Some(Topic::Events { org, kind })
        }
        ("heartbeat", None) => Some(Topic::Heartbeat { org }),
        ("spend", Some(id)) => Some(Topic::Spend { org, gateway: parse(id)? }),
        ("booked", Some(id)) => Some(Topic::Booked { org, gateway: parse(id)? }),
        ("receipts", Some(id)) => Some(Topic::Receipts { org, gateway: parse(id)? }),
        ("recall", None) => Some(Topic::Recall { org }),
        ("ledger", Some(id)) => Some(Topic::Ledger { org, key: parse(id)? }),
        _ => None,
    }
}

/// The filter whose subjects are those of a feed.
#[must_use]
pub fn of_feed(feed: &Feed) -> String {
    match feed {
        Feed::Events(org) => join(&org_filter(*org), "events", ANY),
        Feed::Heartbeat(org) => format!("{PREFIX}{}.heartbeat", org_filter(*org)),
        Feed::Spend(org) => join(&org_filter(*org), "spend", ANY),
        Feed::Booked(org, gateway) => join(&org_filter(*org), "booked", gateway),
        Feed::Receipts(org) => join(&org_filter(*org), "receipts", ANY),
        Feed::Recall(org) => format!("{PREFIX}{}.recall", org_filter(*org)),
        Feed::Ledger(org) => join(&org_filter(*org), "ledger", ANY),
    }
}

/// The subject of a call.
#[must_use]
pub fn of_service(service: &Service) -> String {
    match service {
        Service::Authority { org, gateway } => join(&org_token(*org), "authority", gateway),
        Service::Rates { org } => format!("{PREFIX}{}.rates", org_token(*org)),
    }
}

/// The call of a subject; `None` if it is none of ours.
#[must_use]
pub fn service(subject: &str) -> Option<Service> {
    match split(subject)? {
        (org, "authority", Some(id)) => Some(Service::Authority { org, gateway: parse(id)? }),
        (org, "rates", None) => Some(Service::Rates { org }),
        _ => None,
    }
}

/// Whether the answer to a call may go to `inbox`. NATS lets a caller name any subject for it: a
/// gateway's must be below its own inbox, or a server would speak to others in its place.
#[cfg(feature = "nats")]
#[must_use]
pub fn may_reply(service: &Service, inbox: &str) -> bool {
    let below = |prefix: &str| inbox.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
    below("_INBOX")
        || match service {
            Service::Authority { gateway, .. } => below(&gateway_inbox(*gateway)),
            Service::Rates { .. } => false,
        }
}

/// What the inboxes of a gateway begin with: its NATS user may read no others.
#[cfg(feature = "nats")]
#[must_use]
pub fn gateway_inbox(gateway: GatewayId) -> String {
    format!("_INBOX_{gateway}")
}

/// The filter whose subjects are the calls to one server.
#[must_use]
pub fn of_serve(serve: &Serve) -> String {
    match serve {
        Serve::Authority(org) => join(&org_filter(*org), "authority", ANY),
        Serve::Rates(org) => format!("{PREFIX}{}.rates", org_filter(*org)),
    }
}

/// The id as it is sent: the publisher's and its topic's, because JetStream looks for duplicates
/// in the whole stream while the seam promises to look in one topic only.
#[must_use]
pub fn message_id(subject: &str, id: &str) -> String {
    let topic = subject.strip_prefix(PREFIX).unwrap_or(subject);
    format!("{}{AT}{topic}", escape(id, |byte| byte.is_ascii_graphic() && byte != b'@'))
}

/// The publisher's part of an id that was sent.
#[must_use]
pub fn publisher_id(message_id: &str) -> Option<String> {
    unescape(message_id.rsplit_once(AT).map_or(message_id, |(id, _)| id))
}

/// A header's value without line ends or other unprintable bytes (CloudEvents 1.0.2 HTTP binding,
/// section 3.1.3.2).
#[cfg(feature = "nats")]
pub(crate) fn header_value(value: &str) -> String {
    escape(value, |byte| byte.is_ascii_graphic() || byte == b' ')
}

fn join(org: &str, family: &str, rest: impl Display) -> String {
    format!("{PREFIX}{org}.{family}.{rest}")
}

fn org_token(org: OrgId) -> String {
    if org == OrgId::PLATFORM { PLATFORM.to_owned() } else { org.to_string() }
}

fn org_filter(org: Option<OrgId>) -> String {
    org.map_or_else(|| ANY.to_owned(), org_token)
}

fn escape_token(text: &str) -> String {
    if text.is_empty() {
        return EMPTY.to_owned();
    }
    escape(text, |byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn escape(text: &str, plain: impl Fn(u8) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if plain(byte) && byte != b'%' {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

fn unescape(escaped: &str) -> Option<String> {
    if escaped == EMPTY {
        return Some(String::new());
    }
    let mut parts = escaped.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, plain) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(plain.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Organisation, family, and the last token if there is one.
fn split(subject: &str) -> Option<(OrgId, &str, Option<&str>)> {
    let mut tokens = subject.strip_prefix(PREFIX)?.split('.');
    let org = match tokens.next()? {
        PLATFORM => OrgId::PLATFORM,
        // One topic has one subject: the platform is never written as a number.
        text => parse(text).filter(|org| *org != OrgId::PLATFORM)?,
    };
    let (family, rest) = (tokens.next()?, tokens.next());
    tokens.next().is_none().then_some((org, family, rest))
}

fn parse<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use turnpike_domain::id::{GatewayId, KeyId};

    use super::*;

    const ORG: OrgId = OrgId(7);
    const GATEWAY: GatewayId = GatewayId(8);

    fn topics(org: OrgId) -> Vec<Topic> {
        vec![
            Topic::Events { org, kind: "KeyCreated".to_owned() },
            Topic::Heartbeat { org },
            Topic::Spend { org, gateway: GATEWAY },
            Topic::Booked { org, gateway: GATEWAY },
            Topic::Receipts { org, gateway: GATEWAY },
            Topic::Recall { org },
            Topic::Ledger { org, key: KeyId(u128::MAX) },
        ]
    }

    #[test]
    fn subjects_are_those_of_the_contract() {
        let org = "org_00000000000000000000000007";
        let gateway = "gw_00000000000000000000000008";
        let texts: Vec<_> = topics(ORG).iter().map(of_topic).collect();
        assert_eq!(
            texts,
            [
                format!("turnpike.v1.{org}.events.KeyCreated"),
                format!("turnpike.v1.{org}.heartbeat"),
                format!("turnpike.v1.{org}.spend.{gateway}"),
                format!("turnpike.v1.{org}.booked.{gateway}"),
                format!("turnpike.v1.{org}.receipts.{gateway}"),
                format!("turnpike.v1.{org}.recall"),
                format!("turnpike.v1.{org}.ledger.key_7zzzzzzzzzzzzzzzzzzzzzzzzz"),
            ]
        );
        let call = Service::Authority { org: ORG, gateway: GATEWAY };
        assert_eq!(of_service(&call), format!("turnpike.v1.{org}.authority.{gateway}"));
        assert_eq!(service(&of_service(&call)), Some(call));
        let question = Service::Rates { org: ORG };
        assert_eq!(of_service(&question), format!("turnpike.v1.{org}.rates"));
        assert_eq!(service(&of_service(&question)), Some(question));
        assert_eq!(of_serve(&Serve::Rates(None)), "turnpike.v1.*.rates");
        assert_eq!(of_feed(&Feed::Events(None)), "turnpike.v1.*.events.*");
        assert_eq!(
            of_feed(&Feed::Booked(None, GATEWAY)),
            format!("turnpike.v1.*.booked.{gateway}")
        );
        assert_eq!(
            of_serve(&Serve::Authority(Some(ORG))),
            format!("turnpike.v1.{org}.authority.*")
        );
        let platform = Topic::Events { org: OrgId::PLATFORM, kind: "ModelPriced".to_owned() };
        assert_eq!(of_topic(&platform), "turnpike.v1.platform.events.ModelPriced");
    }

    #[test]
    fn topics_and_ids_go_there_and_back_even_hostile_ones() {
        for topic_in in topics(ORG).into_iter().chain(topics(OrgId::PLATFORM)) {
            assert_eq!(topic(&of_topic(&topic_in)), Some(topic_in));
        }
        for text in ["", "%", "a.b", "*", ">", "x y", "\r\nNats-Rollup: all", "ä@b", "%41", "@"] {
            let hostile = Topic::Events { org: ORG, kind: text.to_owned() };
            let subject = of_topic(&hostile);
            assert!(subject.bytes().all(|byte| byte.is_ascii_graphic()), "{subject}");
            assert!(!subject.contains(['*', '>']) && subject.split('.').all(|t| !t.is_empty()));
            assert_eq!(topic(&subject), Some(hostile));
            let sent = message_id(&subject, text);
            assert!(sent.bytes().all(|byte| byte.is_ascii_graphic()), "{sent}");
            assert_eq!(publisher_id(&sent).as_deref(), Some(text));
        }
    }

    #[cfg(feature = "nats")]
    #[test]
    fn an_answer_goes_to_an_inbox_of_the_caller_and_nowhere_else() {
        let call = Service::Authority { org: ORG, gateway: GATEWAY };
        let own = gateway_inbox(GATEWAY);
        for inbox in [format!("{own}.a.b"), format!("{own}.a"), "_INBOX.a".to_owned()] {
            assert!(may_reply(&call, &inbox), "{inbox}");
        }
        let other = gateway_inbox(GatewayId(9));
        let events = of_topic(&Topic::Events { org: ORG, kind: "KeyRevoked".to_owned() });
        let longer = format!("{own}x.a");
        for inbox in [events, format!("{other}.a"), own.clone(), longer, String::new()] {
            assert!(!may_reply(&call, &inbox), "{inbox}");
        }
        assert!(!may_reply(&Service::Rates { org: ORG }, &format!("{own}.a")));
    }

    #[test]
    fn foreign_subjects_are_none_of_ours() {
        let org = "org_00000000000000000000000007";
        for subject in [
            String::new(),
            "turnpike".to_owned(),
            PREFIX.to_owned(),
            "turnpike.v1.platform".to_owned(),
            "turnpike.v1.platform.".to_owned(),
            "turnpike.v2.platform.heartbeat".to_owned(),
            "turnpike.v1.org_00000000000000000000000000.heartbeat".to_owned(),
            format!("turnpike.v1.{org}.heartbeat.x"),
            format!("turnpike.v1.{org}.recall.x"),
            format!("turnpike.v1.{org}.rates.x"),
            format!("turnpike.v1.{org}.spend"),
            format!("turnpike.v1.{org}.spend.key_00000000000000000000000008"),
            format!("turnpike.v1.{org}.spend.gw_00000000000000000000000008.x"),
            format!("turnpike.v1.{org}.events."),
            format!("turnpike.v1.{org}.events.%41"),
            format!("turnpike.v1.{org}.events.%f"),
            format!("turnpike.v1.{org}.events.%ff"),
            format!("turnpike.v1.{org}.events.%+1"),
            format!("turnpike.v1.{org}.events.%ä"),
            format!("turnpike.v1.{}.events.X", "o".repeat(100_000)),
        ] {
            assert_eq!(topic(&subject), None, "{subject}");
            assert_eq!(service(&subject), None, "{subject}");
        }
    }
}
