//! Answers that do not come to their end, and those that tell nothing of their usage.

use serde_json::Value;

use super::dialects::{generate, message};
use super::*;

const MESSAGE_START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":\
     {\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n";
const CONTENT_EVENT: &str =
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n\n";

fn responses(body: &str) -> String {
    chat_request(fake::secret(1, 0).expose(), body).replace("/chat/completions", "/responses")
}

/// A form of OpenAI's transcriptions.
fn transcription(model: &str) -> String {
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = part("model", model) + &part("file", &"x".repeat(2_000)) + "--b--";
    chat_request(fake::secret(1, 0).expose(), &body)
        .replace("/chat/completions", "/audio/transcriptions")
        .replace("application/json", "multipart/form-data; boundary=b")
}

/// The error of the last event, and whether the stream came to an orderly end.
fn last_error(answer: &str, event: &str) -> Value {
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
    let body = unchunked(answer);
    let (_, last) = body.rsplit_once(event).unwrap();
    serde_json::from_str(last.lines().next().unwrap()).unwrap()
}

#[test]
fn a_stream_that_breaks_off_ends_with_its_dialects_error_and_is_booked_by_what_passed() {
    let streamed = r#"{"model":"both","max_tokens":5,"stream":true}"#;
    let cases = [
        (chat_request("{key}", streamed), STREAM[0], "data: ", "/error/code", true),
        (
            responses(r#"{"model":"both","stream":true}"#),
            "event: response.output_text.delta\ndata: {\"delta\":\"a\"}\n\n",
            "event: error\ndata: ",
            "/error/code",
            true,
        ),
        (
            message("", streamed),
            MESSAGE_START,
            "event: error\ndata: ",
            "/error/details/error_code",
            true,
        ),
        (
            generate("streamGenerateContent?alt=sse&", r#"{"contents":[]}"#),
            CONTENT_EVENT,
            "data: ",
            "/error/details/0/reason",
            false,
        ),
    ];
    on_a_core(|core| async move {
        let house = House::new(&core);
        for (request, piece, event, pointer, comments) in cases {
            // Behind the head alone, and behind a first piece.
            for pieces in [&[][..], &[piece]] {
                let request = request.replace("{key}", fake::secret(1, 0).expose());
                let serve = async {
                    let mut connection = house.providers[0].connection().await;
                    connection.request().await;
                    begin_events(&mut connection).await;
                    for piece in pieces {
                        connection.piece(piece).await;
                    }
                };
                let ((), answer) = join!(serve, house.ask(&request));
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                let error = last_error(&answer, event);
                let code = error.pointer(pointer).and_then(Value::as_str).unwrap();
                assert_eq!(code.to_lowercase(), "provider_error", "{error}");
                assert!(error.to_string().contains("dec_"), "{error}");
                assert!(unchunked(&answer).starts_with(&pieces.concat()));
                assert_eq!(answer.contains(": x-turnpike-cost-usd: "), comments, "{answer}");
                let [record] = &house.booked().await[..] else { panic!("one record") };
                assert_eq!((record.source, record.status), (Source::Counted, 200));
                assert!(record.cost > NanoUsd::ZERO && record.cost < record.reserved);
            }
        }
    });
}

#[test]
fn a_stream_that_breaks_off_within_an_event_breaks_off_for_its_reader_too() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let serve = async {
            let mut connection = house.providers[0].connection().await;
            connection.request().await;
            begin_events(&mut connection).await;
            connection.piece(MESSAGE_START).await;
            connection.piece("event: content_block_delta\ndata: {\"ty").await;
        };
        let asked = message("", r#"{"model":"claude","max_tokens":5,"stream":true}"#);
        let ((), answer) = join!(serve, house.ask(&asked));
        assert!(!answer.ends_with("0\r\n\r\n") && !answer.contains("error"), "{answer}");
        let [record] = &house.booked().await[..] else { panic!("one record") };
        assert_eq!(record.source, Source::Counted);
    });
}

#[test]
fn an_answer_that_takes_too_long_is_a_timeout_whether_it_is_streamed_or_not() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let mut platform = Platform::clone(&house.core.platform());
        let hurried = platform.providers.get_mut(&ProviderId(1)).unwrap();
        hurried.spec.total_timeout_ms = 1_000;
        house.core.set_platform(platform);
        let whole = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                     transfer-encoding: chunked\r\n\r\n";
        let events = whole.replace("application/json", "text/event-stream");
        let cases = [
            (r#"{"model":"plain"}"#, whole, " ", "HTTP/1.1 504 ", Source::Estimated),
            (
                r#"{"model":"plain","stream":true}"#,
                &events,
                ": yet\n\n",
                "HTTP/1.1 200 ",
                Source::Counted,
            ),
        ];
        for (body, head, piece, line, source) in cases {
            let serve = async {
                let mut connection = house.providers[0].connection().await;
                connection.request().await;
                connection.write(head).await;
                // It trickles for ever, and is never silent for long.
                let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
                while connection.stream.write_all(chunk.as_bytes()).await.is_ok() {
                    system().sleep(5).await;
                }
            };
            let ((), answer) = join!(serve, house.chat(body));
            assert!(answer.starts_with(line), "{answer}");
            assert!(answer.contains("\"code\":\"provider_timeout\""), "{answer}");
            let [record] = &house.booked().await[..] else { panic!("one record") };
            assert_eq!(record.source, source);
        }
    });
}

#[test]
fn sound_that_breaks_off_before_it_begins_is_an_error_and_its_cost_is_known_before() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let asked = chat_request(fake::secret(1, 0).expose(), r#"{"model":"plain"}"#)
            .replace("/chat/completions", "/audio/speech");
        let head = "HTTP/1.1 200 OK\r\ncontent-type: audio/wav\r\ncontent-length: 4\r\n\r\n";
        for (bytes, line) in [("", "HTTP/1.1 502 "), ("RIFF", "HTTP/1.1 200 ")] {
            let serve = async {
                let mut connection = house.providers[0].connection().await;
                connection.request().await;
                connection.write(format!("{head}{bytes}")).await;
            };
            let ((), answer) = join!(serve, house.ask(&asked));
            assert!(answer.starts_with(line), "{answer}");
            let [record] = &house.booked().await[..] else { panic!("one record") };
            assert_eq!((record.cost, record.source), (record.reserved, Source::Estimated));
            let told = format!("x-turnpike-cost-usd: {}\r\n", record.cost);
            assert_eq!(answer.contains(&told), !bytes.is_empty(), "{answer}");
        }
    });
}

#[test]
fn a_transcription_is_booked_by_its_seconds_or_by_the_bytes_of_its_text() {
    on_a_core(|core| async move {
        let house = House::new(&core);
        let mut platform = Platform::clone(&house.core.platform());
        let by_time = Prices { audio_second: Some(NanoUsd(100_000)), ..Prices::default() };
        platform.models.get_mut("renamed").unwrap().spec.prices = Some(by_time);
        house.core.set_platform(platform);
        let told = r#"{"text":"a","usage":{"type":"duration","seconds":26.2}}"#;
        let cases = [
            ("renamed", "application/json", told, Source::Provider, 2_700_000),
            // As many seconds as its 2,000 bytes and the rest of the form may be.
            ("renamed", "text/plain", "one two", Source::Counted, 500_000),
            // The window of the model, and seven bytes.
            ("plain", "text/plain", "one two", Source::Counted, 1_014_000),
            ("plain", "text/vtt", "WEBVTT", Source::Counted, 1_012_000),
        ];
        for (model, kind, body, source, cost) in cases {
            let serve = async {
                let mut connection = house.providers[0].connection().await;
                connection.request().await;
                let length = body.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n");
                connection.write(format!("{head}content-length: {length}\r\n\r\n{body}")).await;
            };
            let asked = transcription(model);
            let ((), answer) = join!(serve, house.ask(&asked));
            assert!(answer.ends_with(body), "{answer}");
            let [record] = &house.booked().await[..] else { panic!("one record") };
            assert_eq!((record.source, record.cost), (source, NanoUsd(cost)), "{model} {kind}");
            assert!(source == Source::Provider || record.cost <= record.reserved);
            let told = format!("x-turnpike-cost-usd: {}\r\n", record.cost);
            assert!(answer.contains(&told), "{answer}");
        }
    });
}
