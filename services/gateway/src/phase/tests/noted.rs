//! Requests that no provider was to serve stand in the request log all the same.

use super::*;

/// The value of a header.
fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let lines = answer.lines().take_while(|line| !line.is_empty());
    let value = lines.filter_map(|line| line.split_once(": ")).find(|(found, _)| *found == name);
    value.unwrap_or_else(|| panic!("no {name}: {answer}")).1
}

#[test]
fn a_refused_request_is_in_the_log_with_its_code_and_its_decision() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let answer = house.chat(r#"{"model":"none"}"#).await;
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!(record.request.to_string(), header(&answer, "x-turnpike-request-id"));
        assert!(answer.contains(record.decision.as_deref().unwrap()), "{answer}");
        assert_eq!((record.status, record.denial), (404, Some(Denial::ModelNotFound)));
        assert_eq!((&*record.model, record.key, record.key_seq), ("none", fake::key(1), 7));
        assert!(record.unmetered && record.is_sound() && record.provider.is_none(), "{record:?}");
        assert_eq!((record.repeats, house.lane.open_requests()), (0, 0));
    });
}

#[test]
fn a_refusal_holds_no_more_of_a_models_name_than_a_name_has() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let name = "\u{1f6a7}".repeat(2_000);
        let answer = house.chat(&format!(r#"{{"model":"{name}"}}"#)).await;
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!(
            (record.model.chars().count(), record.denial),
            (101, Some(Denial::ModelNotFound))
        );
        assert!(answer.contains(record.decision.as_deref().unwrap()), "{answer}");
        assert!(spend::encode(record).len() < 2_000, "{record:?}");
    });
}

#[test]
fn what_the_gateway_answers_itself_is_in_the_log_and_what_nobody_owns_is_not() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let unknown = house.ask(&chat_request(fake::secret(9, 0).expose(), "{}")).await;
        assert!(unknown.starts_with("HTTP/1.1 401 "), "{unknown}");
        for path in ["/v1/models", "/v1/models/plain", "/v1/key"] {
            let answer = house
                .ask(&format!(
                    "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                     authorization: Bearer {}\r\n\r\n",
                    fake::secret(1, 0).expose()
                ))
                .await;
            let [record] = &house.booked().await[..] else { panic!("one record") };
            assert_eq!(record.request.to_string(), header(&answer, "x-turnpike-request-id"));
            assert_eq!((record.status, record.denial, &*record.model), (200, None, ""));
            assert!(record.unmetered && record.decision.is_none(), "{record:?}");
        }
    });
}

#[test]
fn a_request_that_no_provider_answered_is_in_the_log_once() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            connection.request().await;
            answer_json(&mut connection, "500 Internal Server Error", "{}").await;
        };
        let ((), answer) = join!(serve, house.chat(r#"{"model":"plain","stream":true}"#));
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!(record.request.to_string(), header(&answer, "x-turnpike-request-id"));
        assert_eq!((record.status, record.denial), (502, Some(Denial::ProviderError)));
        assert_eq!((record.provider, record.unmetered), (Some(ProviderId(1)), false));
        assert_eq!((record.cost, record.streamed), (NanoUsd(0), true));
    });
}
