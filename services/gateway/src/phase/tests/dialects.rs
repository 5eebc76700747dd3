//! The dialects beside OpenAI's, from end to end.

use serde_json::Value;
use turnpike_domain::meter::Usage;

use super::*;

/// A message of Anthropic's: 10 tokens plain, 20 from the cache, 30 into it; 2 of output.
const MESSAGE: &str = r#"{"type":"message","content":[],"usage":{"input_tokens":10,
    "cache_read_input_tokens":20,"cache_creation_input_tokens":30,"output_tokens":2}}"#;
const EVENTS: [&str; 4] = [
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":\
     {\"input_tokens\":10,\"cache_read_input_tokens\":20,\"output_tokens\":1}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{}}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":2}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
];
/// What Gemini generates: 3 tokens of prompt and 2 of tools, 4 of output, one of them a thought.
pub(super) const CONTENT: &str = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}],
    "usageMetadata":{"promptTokenCount":3,"toolUsePromptTokenCount":2,"candidatesTokenCount":3,
     "thoughtsTokenCount":1}}"#;
/// 5 tokens at USD 1 and 4 at USD 2 per million.
const CONTENT_COST: NanoUsd = NanoUsd(13_000);

/// A request with these header lines; `{key}` in it is the secret.
fn send(line: &str, headers: &str, body: &str) -> String {
    let secret = fake::secret(1, 0);
    format!(
        "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         {headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .replace("{key}", secret.expose())
}

pub(super) fn message(headers: &str, body: &str) -> String {
    let version = "anthropic-version: 2023-06-01\r\nx-api-key: {key}\r\n";
    send("POST /anthropic/v1/messages?beta=true", &format!("{version}{headers}"), body)
}

pub(super) fn generate(method: &str, body: &str) -> String {
    send(&format!("POST /v1beta/models/gem:{method}key={{key}}"), "", body)
}

fn json(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

#[test]
fn a_message_passes_with_its_headers_and_its_cache_is_charged() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            let request = connection.request().await;
            assert!(request.starts_with("POST /v1/messages?beta=true HTTP/1.1\r\n"), "{request}");
            for line in [
                "x-api-key: provider-secret\r\n",
                "anthropic-version: 2023-06-01\r\n",
                "anthropic-beta: one\r\n",
            ] {
                assert!(request.contains(line), "{request}");
            }
            assert!(!request.contains("authorization") && !request.contains("tp-"), "{request}");
            assert!(request.ends_with(r#"{"model":"claude","max_tokens":5}"#), "{request}");
            answer_json(&mut connection, "200 OK", MESSAGE).await;
        };
        let asked = message("anthropic-beta: one\r\n", r#"{"model":"claude","max_tokens":5}"#);
        let ((), answer) = join!(serve, house.ask(&asked));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(MESSAGE), "{answer}");
        // 10 at USD 1, 20 at 0.1, 30 at 1.25, 2 at 2 per million.
        assert!(answer.contains("x-turnpike-cost-usd: 0.0000535\r\n"), "{answer}");
        assert!(answer.contains("\r\nrequest-id: req_"), "{answer}");
        let [record] = &house.booked().await[..] else { panic!("one record") };
        let usage =
            Usage { input: 60, output: 2, cached_input: 20, cache_write: 30, ..Usage::default() };
        assert_eq!((record.cost, record.usage), (NanoUsd(53_500), usage));
        assert_eq!((record.source, record.provider), (Source::Provider, Some(ProviderId(11))));
        // 33 bytes at the dearest rate of the input, and the maximum that was asked for.
        assert_eq!(record.reserved, NanoUsd(33 * 1_250 + 5 * 2_000));
    });
}

#[test]
fn a_stream_of_anthropics_ends_with_its_cost_whoever_reads_it() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let body = r#"{"model":"claude","max_tokens":5,"stream":true}"#;
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            assert!(connection.request().await.ends_with(body));
            begin_events(&mut connection).await;
            for piece in EVENTS.into_iter().chain([""]) {
                connection.piece(piece).await;
            }
        };
        let asked = message("", body);
        let ((), answer) = join!(serve, house.ask(&asked));
        let comment = ": x-turnpike-cost-usd: 0.000016\n\n";
        assert_eq!(unchunked(&answer), EVENTS.concat() + comment);

        house.leave(&message("", body), &EVENTS, "message_start").await;
        while house.lane.open_requests() > 0 {
            house.lane.records().await;
        }
        let records = house.booked().await;
        let booked: Vec<_> = records.iter().map(|it| (it.status, it.cost, it.source)).collect();
        let whole = (NanoUsd(16_000), Source::Provider);
        assert_eq!(booked, [(200, whole.0, whole.1), (499, whole.0, whole.1)]);
    });
}

#[test]
fn counting_tokens_is_a_request_that_costs_nothing() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let counts = [
            send(
                "POST /v1/messages/count_tokens",
                "authorization: Bearer {key}\r\n",
                r#"{"model":"claude","messages":[]}"#,
            ),
            generate("countTokens?", r#"{"contents":[]}"#),
        ];
        for asked in counts {
            let serve = async {
                let mut connection = house.providers[0].connection().await;
                connection.request().await;
                answer_json(&mut connection, "200 OK", r#"{"input_tokens":7}"#).await;
            };
            let ((), answer) = join!(serve, house.ask(&asked));
            assert!(answer.ends_with(r#"{"input_tokens":7}"#), "{answer}");
            assert!(answer.contains("x-turnpike-cost-usd: 0.00\r\n"), "{answer}");
        }
        let records = house.booked().await;
        assert_eq!(records.len(), 2);
        for record in records {
            assert_eq!((record.cost, record.reserved), (NanoUsd::ZERO, NanoUsd::ZERO));
            assert_eq!((record.usage, record.source), (Usage::default(), Source::Counted));
        }
    });
}

#[test]
fn content_is_generated_by_the_model_of_the_path_and_no_key_goes_up() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            let request = connection.request().await;
            let line = "POST /v1beta/models/their-gem:generateContent HTTP/1.1\r\n";
            assert!(request.starts_with(line), "{request}");
            assert!(request.contains("x-goog-api-key: provider-secret\r\n"), "{request}");
            assert!(!request.contains("tp-") && !request.contains("key="), "{request}");
            answer_json(&mut connection, "200 OK", CONTENT).await;
        };
        let body = r#"{"contents":[],"generation_config":{"max_output_tokens":7}}"#;
        let asked = generate("generateContent?", body);
        let ((), answer) = join!(serve, house.ask(&asked));
        assert!(answer.ends_with(CONTENT), "{answer}");
        assert!(answer.contains("x-turnpike-cost-usd: 0.000013\r\n"), "{answer}");
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, &*record.model), (CONTENT_COST, "gem"));
        assert_eq!((record.usage.reasoning, record.source), (1, Source::Provider));
        let bytes = i64::try_from(body.len()).unwrap();
        assert_eq!(record.reserved, NanoUsd(bytes * 1_000 + 7 * 2_000));
    });
}

#[test]
fn a_stream_of_geminis_is_metered_as_events_and_as_a_list_and_gets_no_comment() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let early = r#"{"candidates":[],"usageMetadata":{"promptTokenCount":3}}"#;
        let events = [format!("data: {early}\r\n\r\n"), {
            let data = CONTENT.replace('\n', "");
            format!("data: {data}\r\n\r\n")
        }];
        let list = [format!("[{early}\n,\r\n"), CONTENT.to_owned(), "\n]\n".to_owned()];
        let ways = [
            ("alt=sse&", "?alt=sse", "text/event-stream", &events[..]),
            ("", "", "application/json; charset=UTF-8", &list[..]),
        ];
        for (query, query_up, kind, pieces) in ways {
            let serve = async {
                let mut connection = house.providers[0].connection().await;
                let request = connection.request().await;
                let path = format!("models/their-gem:streamGenerateContent{query_up} HTTP/1.1");
                assert!(request.starts_with(&format!("POST /v1beta/{path}\r\n")), "{request}");
                let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n");
                connection.write(head + "transfer-encoding: chunked\r\n\r\n").await;
                for piece in pieces {
                    connection.piece(piece).await;
                }
                connection.piece("").await;
            };
            let asked = generate(&format!("streamGenerateContent?{query}"), r#"{"contents":[]}"#);
            let ((), answer) = join!(serve, house.ask(&asked));
            assert!(!answer.contains("x-turnpike-cost-usd"), "{answer}");
            assert_eq!(unchunked(&answer), pieces.concat());
            let [record] = &house.booked().await[..] else { panic!("one record") };
            assert_eq!((record.cost, record.source), (CONTENT_COST, Source::Provider), "{query}");
        }
    });
}

#[test]
fn a_list_that_breaks_off_before_it_tells_of_its_output_is_booked_at_the_reserve() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            connection.request().await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
            connection.write(format!("{head}transfer-encoding: chunked\r\n\r\n")).await;
            connection.piece(r#"[{"usageMetadata":{"promptTokenCount":3}}"#).await;
        };
        let asked = generate("streamGenerateContent?", r#"{"contents":[]}"#);
        let ((), answer) = join!(serve, house.ask(&asked));
        assert!(!answer.ends_with("0\r\n\r\n"), "the break is passed on: {answer}");
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!((record.cost, record.source), (record.reserved, Source::Estimated));
    });
}

#[test]
fn every_refusal_of_anthropics_has_its_type_and_the_requests_id() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let claude = r#"{"model":"claude","max_tokens":5}"#;
        let long = format!(r#"{{"x":"{}"}}"#, "x".repeat(10_000));
        let bare = |line: &str| send(line, "", "{}");
        let twice = "authorization: Bearer {key}\r\n";
        let anthropic = [
            (bare("POST /v1/messages"), 401, "authentication_error", "unauthorized"),
            (
                message(&twice.replace("{key}", "x"), claude),
                401,
                "authentication_error",
                "unauthorized",
            ),
            (message("", r#"{"model":"absent"}"#), 404, "not_found_error", "model_not_found"),
            (message("", r#"{"model":"plain"}"#), 404, "not_found_error", "model_not_found"),
            (message("", "[]"), 400, "invalid_request_error", "invalid_request"),
            (message("", &long), 413, "request_too_large", "request_too_large"),
            (
                message("", claude).replace("messages", "nothing"),
                404,
                "not_found_error",
                "not_found",
            ),
            (
                message("", claude).replace("POST", "PUT"),
                405,
                "invalid_request_error",
                "method_not_allowed",
            ),
        ];
        for (request, status, kind, code) in anthropic {
            let answer = house.ask(&request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.contains(&format!("x-turnpike-error-code: {code}\r\n")), "{answer}");
            let body = json(&answer);
            assert_eq!((&body["type"], &body["error"]["type"]), (&"error".into(), &kind.into()));
            assert_eq!(body["error"]["details"]["error_code"], code);
            let id = body["request_id"].as_str().unwrap();
            assert!(answer.contains(&format!("\r\nrequest-id: {id}\r\n")), "{answer}");
        }
        assert_eq!(house.lane.open_requests(), 0);
    });
}

#[test]
fn every_refusal_of_geminis_has_its_code_status_and_reason() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let long = format!(r#"{{"x":"{}"}}"#, "x".repeat(10_000));
        let bare = |line: &str| send(line, "", "{}");
        let content = r#"{"contents":[]}"#;
        let gemini = [
            (
                bare("POST /v1beta/models/gem:generateContent"),
                401,
                "UNAUTHENTICATED",
                "UNAUTHORIZED",
            ),
            (bare("POST /v1/models/gem:nothing"), 401, "UNAUTHENTICATED", "UNAUTHORIZED"),
            (
                generate("generateContent?", content).replace("models/gem", "models/plain"),
                404,
                "NOT_FOUND",
                "MODEL_NOT_FOUND",
            ),
            (generate("nothing?", content), 404, "NOT_FOUND", "NOT_FOUND"),
            (generate("generateContent?", "7"), 400, "INVALID_ARGUMENT", "INVALID_REQUEST"),
            (generate("generateContent?", &long), 413, "INVALID_ARGUMENT", "REQUEST_TOO_LARGE"),
        ];
        for (request, status, name, reason) in gemini {
            let answer = house.ask(&request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            let error = &json(&answer)["error"];
            assert_eq!((&error["code"], &error["status"]), (&status.into(), &name.into()));
            assert_eq!(error["details"][0]["reason"], reason);
        }
        assert_eq!(house.lane.open_requests(), 0);
    });
}

#[test]
fn a_model_of_another_dialect_is_refused_with_a_sentence_that_says_so() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let answer = house.chat(r#"{"model":"claude"}"#).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        assert!(answer.contains("speaks OpenAI."), "{answer}");
    });
}

#[test]
fn models_are_listed_as_each_dialects_sdks_read_them() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let get = async |path: &str, header: &str| {
            json(&house.ask(&send(&format!("GET {path}"), header, "")).await)
        };
        let version = "anthropic-version: 2023-06-01\r\nx-api-key: {key}\r\n";
        let names = |list: &Value, field: &str| -> Vec<String> {
            let all = list.as_array().unwrap().iter();
            all.map(|model| model[field].as_str().unwrap().to_owned()).collect()
        };
        let open = get("/v1/models", "authorization: Bearer {key}\r\n").await;
        assert_eq!(names(&open["data"], "id"), ["both", "doubled", "plain", "renamed"]);
        let first = get("/v1/models?limit=1", version).await;
        assert_eq!(names(&first["data"], "id"), ["both"]);
        assert_eq!((&first["has_more"], &first["last_id"]), (&true.into(), &"both".into()));
        let rest = get("/v1/models?after_id=both", version).await;
        assert_eq!(names(&rest["data"], "id"), ["claude"]);
        assert_eq!((&rest["has_more"], &rest["first_id"]), (&false.into(), &"claude".into()));
        let before = get("/anthropic/v1/models?before_id=claude", version).await;
        assert_eq!(names(&before["data"], "id"), ["both"]);
        let one = get("/v1/models/claude", version).await;
        assert_eq!((&one["type"], &one["max_tokens"]), (&"model".into(), &100.into()));
        let google = get("/v1beta/models?pageSize=1", "x-goog-api-key: {key}\r\n").await;
        assert_eq!(names(&google["models"], "name"), ["models/both"]);
        assert_eq!(google["nextPageToken"], "both");
        let rest = get("/v1/models?pageToken=both&key={key}", "").await;
        assert_eq!(names(&rest["models"], "name"), ["models/gem"]);
        assert_eq!(rest.get("nextPageToken"), None);
        let absent = get("/v1beta/models/claude", "x-goog-api-key: {key}\r\n").await;
        assert_eq!(absent["error"]["status"], "NOT_FOUND");
    });
}
