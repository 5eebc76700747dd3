//! The book's table of endpoints, held to the routes of the gateway.

use std::fs;
use std::path::Path;

use turnpike_gateway::dialect::{Call, Route, routes};
use turnpike_gateway::peek::OutputField;

const PAGE: &str = "../docs/use/endpoints.md";
const BEGIN: &str = "<!-- routes: this table is made from the gateway's own (tests/schemas) -->\n";
const END: &str = "<!-- end of routes -->\n";

#[test]
fn the_book_has_every_route_with_what_meters_and_bounds_it() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let text = fs::read_to_string(page).unwrap();
    let (_, rest) = text.split_once(BEGIN).expect("the table begins");
    let (table, _) = rest.split_once(END).expect("the table ends");
    let made = made();
    assert!(table == made, "{PAGE} is not up to date. Between the marks belongs:\n{made}");
}

fn made() -> String {
    let head = "| method and path | dialect | tokens by | input bound | output bound |\n\
                |---|---|---|---|---|\n";
    routes().iter().fold(head.to_owned(), |table, route| table + &row(route))
}

fn row(route: &Route) -> String {
    let dialect = route.dialect.map_or("of the headers", |dialect| dialect.name());
    let [tokens, input, output] = route.call.map_or(["–", "–", "–"].map(str::to_owned), described);
    let Route { method, path, .. } = route;
    format!("| `{method} {path}` | {dialect} | {tokens} | {input} | {output} |\n")
}

/// What meters a call, and what bounds its input and its output.
fn described(call: Call) -> [String; 3] {
    if call.is_free() {
        return ["free".to_owned(), "0".to_owned(), "0".to_owned()];
    }
    let input = if call.makes_output() { "bytes, window" } else { "bytes" };
    let output = match (call.makes_output(), call) {
        (false, _) => "0".to_owned(),
        (true, Call::Anthropic(_)) => "`max_tokens`".to_owned(),
        (true, call) => call.output_field().map_or("the model's".to_owned(), named),
    };
    [metered(call), input.to_owned(), output]
}

fn metered(call: Call) -> String {
    let field = match call {
        Call::OpenAi(_) | Call::Anthropic(_) => "`usage`",
        Call::Gemini(_) => "`usageMetadata`",
    };
    let streams = call.stream_meter(false).report().counted_output.is_some();
    let counts = streams || call.counts_text();
    let cut_off = if counts && call.makes_output() { ", else counted" } else { ", else estimate" };
    format!("{field}{cut_off}")
}

fn named(field: OutputField) -> String {
    match field {
        OutputField::MaxCompletionTokens => {
            "`max_completion_tokens` or `max_tokens`, × `n`".to_owned()
        }
        OutputField::MaxTokens => "`max_tokens`, × `n` or `best_of`, × prompts".to_owned(),
        OutputField::MaxOutputTokens => "`max_output_tokens`".to_owned(),
        OutputField::GenerationConfig => {
            "`generationConfig.maxOutputTokens`, × `candidateCount`".to_owned()
        }
    }
}
