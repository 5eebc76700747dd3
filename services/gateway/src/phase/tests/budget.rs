//! Requests of a key with a budget: whatever becomes of them, nothing stays reserved.

use turnpike_domain::limit::{Account, Fit, Unit};

use super::*;
use crate::lease::tests::authority::Authority;
use crate::testing::full_disk;

const KEY: Account = Account::Key(turnpike_domain::id::KeyId(1));

impl House {
    /// With a budget of so many nano-USD on its key, and somebody who grants it.
    pub(super) async fn capped(core: &TestCore, cost: i64, fit: Fit) -> (Self, Authority) {
        let limits = Limits { cost: Some(NanoUsd(cost)), fit, ..Limits::default() };
        let house = Self::limited(core, limits);
        let path = vec![KEY, Account::Wallet];
        let bus = Arc::clone(&house.bus);
        let authority = Authority::begin(bus, path, &Tasks::new("authority")).await;
        authority.cap(KEY, Unit::Usd, cost);
        (house, authority)
    }

    /// Answers every request that comes, in the way that `answer` writes.
    async fn provide(&self, core: &TestCore, answer: &'static str) {
        loop {
            let mut connection = self.providers[0].connection().await;
            core.tasks.spawn_local("provider", async move {
                // An answer that breaks off ends its connection.
                while connection.is_asked().await {
                    connection.write(answer).await;
                    if answer.ends_with('{') {
                        return;
                    }
                }
            });
        }
    }
}

/// What is held of the key's budget once everything that is free has been given back.
async fn held(authority: &Authority) -> i64 {
    let mut before = None;
    loop {
        authority.recall(1, KEY, Unit::Usd).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let held = authority.row(KEY, Unit::Usd).held;
        if before.replace(held) == Some(held) {
            return held;
        }
    }
}

#[test]
fn a_budget_that_does_not_suffice_is_refused_with_its_figures() {
    on_a_core(|core| async move {
        let (house, _authority) = House::capped(&core, 200_000, Fit::Reject).await;
        let answer = house.chat(r#"{"model":"plain"}"#).await;
        assert!(answer.starts_with("HTTP/1.1 402 "), "{answer}");
        assert!(answer.contains("x-turnpike-error-code: api_key_quota_exceeded\r\n"), "{answer}");
        assert!(answer.contains("x-should-retry: false\r\n"), "{answer}");
        for part in [
            r#""limit_source":"key.cost_usd""#,
            r#""limit":"0.0002""#,
            r#""used":"0.00""#,
            r#""held":"0.00""#,
            r#""resets_at":null"#,
            r#""retryable":false"#,
        ] {
            assert!(answer.contains(part), "{part}: {answer}");
        }
        assert_eq!(house.lane.open_requests(), 0);
    });
}

#[test]
fn a_request_that_may_be_clamped_is_lowered_to_what_fits() {
    on_a_core(|core| async move {
        // 50 tokens of output and the 17 bytes of the body fit; 100 tokens would not.
        let (house, authority) = House::capped(&core, 17_000 + 101_000, Fit::Clamp).await;
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            let request = connection.request().await;
            let body = r#"{"max_completion_tokens":50,"model":"plain"}"#;
            assert!(request.ends_with(body), "{request}");
            let disk = house.lane.with_epoch(|epoch| epoch.swap_file(full_disk()));
            answer_json(&mut connection, "200 OK", WHOLE).await;
            disk
        };
        let (disk, answer) = join!(serve, house.chat(r#"{"model":"plain"}"#));
        assert!(answer.ends_with(WHOLE), "{answer}");
        assert_eq!(held(&authority).await, 117_000, "its end is not in the spool's file yet");
        house.lane.with_epoch(|epoch| epoch.swap_file(disk));
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.reserved, record.cost), (NanoUsd(117_000), COST));
        assert_eq!(held(&authority).await, COST.0, "it is not booked yet");
        // A maximum of one's own is kept, and refused if it does not fit.
        let own = house.chat(r#"{"model":"plain","max_tokens":90}"#).await;
        assert!(own.starts_with("HTTP/1.1 402 "), "{own}");
    });
}

#[test]
fn a_request_of_geminis_is_lowered_in_its_own_field_and_one_of_anthropics_is_refused() {
    on_a_core(|core| async move {
        // 50 tokens of output and the 15 bytes of the body fit.
        let (house, _authority) = House::capped(&core, 15_000 + 101_000, Fit::Clamp).await;
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            let request = connection.request().await;
            let body = r#"{"generationConfig":{"maxOutputTokens":50},"contents":[]}"#;
            assert!(request.ends_with(body), "{request}");
            answer_json(&mut connection, "200 OK", dialects::CONTENT).await;
        };
        let asked = dialects::generate("generateContent?", r#"{"contents":[]}"#);
        let ((), answer) = join!(serve, house.ask(&asked));
        assert!(answer.ends_with(dialects::CONTENT), "{answer}");
        let asked = dialects::message("", r#"{"model":"claude","max_tokens":90}"#);
        let refused = house.ask(&asked).await;
        assert!(refused.starts_with("HTTP/1.1 402 "), "{refused}");
        assert!(refused.contains(r#""type":"billing_error""#), "{refused}");
    });
}

#[test]
fn a_request_settles_at_the_price_that_it_reserved_with_whoever_serves_it() {
    on_a_core(|core| async move {
        let (house, authority) = House::capped(&core, 10_000_000, Fit::Reject).await;
        let serve = async {
            let mut first = house.providers[0].connection().await;
            first.request().await;
            // Ten times the price from now on.
            let mut platform = turnpike_domain::state::Platform::clone(&house.core.platform());
            let model = platform.models.get_mut("doubled").unwrap();
            model.spec.prices = Some(Prices {
                input: Price(10_000_000_000),
                output: Price(20_000_000_000),
                ..Prices::default()
            });
            model.price_version = 4;
            house.core.set_platform(platform);
            answer_json(&mut first, "500 Internal Server Error", "{}").await;
            let mut second = house.providers[1].connection().await;
            second.request().await;
            answer_json(&mut second, "200 OK", WHOLE).await;
        };
        let ((), answer) = join!(serve, house.chat(r#"{"model":"doubled"}"#));
        assert!(answer.ends_with(WHOLE), "{answer}");
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, record.price_version), (COST, 3));
        assert_eq!(record.provider, Some(ProviderId(2)));
        let lease = record.lease.unwrap();
        assert_eq!(held(&authority).await, COST.0);
        authority.book(lease, Unit::Usd, COST.0);
        assert_eq!(authority.row(KEY, Unit::Usd).held, 0);
    });
}

#[test]
fn whatever_becomes_of_requests_only_their_cost_stays_held() {
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
        content-length: 80\r\n\r\n\
        {\"choices\":[{\"message\":{}}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}  ";
    const FAILED: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
    const BROKEN: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
    const CALLERS: usize = 40;
    for manner in [OK, FAILED, BROKEN] {
        on_a_core(move |core| async move {
            let (house, authority) = House::capped(&core, i64::MAX / 4, Fit::Reject).await;
            let secret = fake::secret(1, 0);
            let call = async {
                for turns in 0..CALLERS {
                    let mut caller = TcpStream::connect(house.address).await.unwrap();
                    let request = chat_request(secret.expose(), r#"{"model":"plain"}"#);
                    caller.write_all(request.as_bytes()).await.unwrap();
                    for _ in 0..turns {
                        tokio::task::yield_now().await;
                    }
                }
                // The last caller stays, so that there is a record behind all the others.
                house.chat(r#"{"model":"plain"}"#).await;
                while house.lane.open_requests() > 0 {
                    house.lane.records().await;
                }
            };
            tokio::select! { () = house.provide(&core, manner) => {}, () = call => {} }
            let records = house.booked().await;
            let cost: i64 = records.iter().map(|record| record.cost.0).sum();
            assert!(records.iter().all(|record| record.lease.is_some()));
            assert_eq!(held(&authority).await, cost, "{} records", records.len());
        });
    }
}

#[test]
fn a_core_that_is_torn_down_settles_what_was_sent_at_the_reserve() {
    on_a_core(|core| async move {
        let (house, authority) = House::capped(&core, 1_000_000, Fit::Reject).await;
        let answering = async {
            let mut connection = house.providers[0].connection().await;
            connection.request().await;
            core.tasks.abort();
        };
        // All tasks of the core are dropped at their next await, with what they hold.
        let ((), answer) = join!(answering, house.chat(r#"{"model":"plain"}"#));
        assert_eq!(answer, "");
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, record.source), (record.reserved, Source::Estimated));
        assert_eq!(held(&authority).await, record.cost.0);
    });
}
