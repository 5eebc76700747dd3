//! The answer to a request as a pure function: bytes in, frames and their bill out.

use bytes::Bytes;
use serde_json::Value;

use super::ask::{self, Ask};
use super::refusal::Refusal;
use super::route::Route;
use super::script::{Acting, Figures, Report};
use super::served::Bill;
use super::words::Text;
use super::{anthropic, gemini, media, openai, responses, vectors};

/// A request as the answer needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// The `content-type`, empty where there is none.
    pub(super) content_type: &'a str,
    /// The body, read in full.
    pub(super) body: &'a [u8],
    /// What the answer says about itself.
    pub(super) stamp: Stamp,
    /// What it reports as usage.
    pub(super) report: Report,
    /// What it is besides its text.
    pub(super) acting: Acting,
}

/// What distinguishes an answer from the next one to the same request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// The number of the answer since the start.
    pub(super) number: u64,
    /// When it was made, in seconds since 1970.
    pub(super) created_s: u64,
}

/// A piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// What is sent.
    pub(super) bytes: Bytes,
    /// How many words of output it counts for.
    pub(super) words: u64,
}

/// The pieces of a stream in order, made as they are taken.
pub(super) type Frames = Box<dyn Iterator<Item = Frame> + Send>;

/// An answer.
pub(super) struct Answer {
    /// Its `content-type`.
    pub(super) content_type: &'static str,
    /// What it serves; `None` where the call is free (lists, counts of tokens). The output is that
    /// of the whole answer, also for a stream.
    pub(super) bill: Option<Bill>,
    /// What is sent.
    pub(super) content: Content,
}

/// What an answer sends.
pub(super) enum Content {
    /// All at once.
    Whole(Bytes),
    /// Piece by piece.
    Stream(Frames),
}

/// The answer to a request on this route.
///
/// # Errors
/// A refusal, which the caller puts into the dialect's envelope.
pub(super) fn answer(route: &Route, request: &Request<'_>) -> Result<Answer, Refusal> {
    match route {
        Route::Models(dialect) => Ok(Answer::free(&dialect.list())),
        Route::Model(dialect, name) => Ok(Answer::free(&dialect.describe(ask::named(name)?))),
        Route::Chat => openai::chat(request),
        Route::Completions => openai::completions(request),
        Route::Responses => responses::create(request),
        Route::Embeddings => vectors::embeddings(request),
        Route::Images => media::images(request),
        Route::Speech => media::speech(request),
        Route::Transcriptions => media::transcriptions(request),
        Route::Moderations => media::moderations(request),
        Route::Messages => anthropic::messages(request),
        Route::MessageTokens => anthropic::count_tokens(request),
        Route::Generate { model, form } => gemini::generate(request, ask::named(model)?, *form),
        Route::ContentTokens(model) => gemini::count_tokens(request, ask::named(model)?),
        Route::EmbedContent(model) => vectors::embed_content(request, ask::named(model)?),
        Route::EmbedContents(model) => vectors::embed_contents(request, ask::named(model)?),
    }
}

impl Answer {
    /// JSON that serves nothing.
    #[must_use]
    pub(super) fn free(body: &Value) -> Self {
        Self {
            content_type: "application/json",
            bill: None,
            content: Content::Whole(Bytes::from(body.to_string())),
        }
    }

    /// JSON, all at once.
    #[must_use]
    pub(super) fn json(body: &Value, bill: Bill) -> Self {
        Self { bill: Some(bill), ..Self::free(body) }
    }

    /// Server-sent events.
    #[must_use]
    pub(super) fn events(frames: Frames, bill: Bill) -> Self {
        Self {
            content_type: "text/event-stream",
            bill: Some(bill),
            content: Content::Stream(frames),
        }
    }
}

impl Ask {
    /// What the whole answer serves.
    #[must_use]
    pub(super) fn bill(&self) -> Bill {
        let said: u64 = self.choices.iter().map(Text::words).sum();
        let Self { model, input, cached, thoughts, .. } = *self;
        Bill { model, input, cached, output: said + thoughts, thoughts }
    }
}

/// A server-sent event without a name.
#[must_use]
pub(super) fn event(data: &Value, words: u64) -> Frame {
    Frame { bytes: Bytes::from(format!("data: {data}\n\n")), words }
}

/// A server-sent event named after its own `type`, as Anthropic and OpenAI's Responses send it.
#[must_use]
pub(super) fn typed_event(data: &Value, words: u64) -> Frame {
    let name = data["type"].as_str().unwrap_or_default();
    Frame { bytes: Bytes::from(format!("event: {name}\ndata: {data}\n\n")), words }
}

/// A reported count as JSON, held at the ends of what JSON integers here can say.
#[must_use]
pub(super) fn number(count: i128) -> Value {
    match (u64::try_from(count), i64::try_from(count)) {
        (Ok(count), _) => Value::from(count),
        (_, Ok(count)) => Value::from(count),
        _ if count > 0 => Value::from(u64::MAX),
        _ => Value::from(i64::MIN),
    }
}

/// `body` with its usage under `name`; unchanged where nothing is reported.
#[must_use]
pub(super) fn with_usage(
    mut body: Value,
    name: &str,
    figures: Option<Figures>,
    form: impl FnOnce(Figures) -> Value,
) -> Value {
    if let Some(figures) = figures {
        body[name] = form(figures);
    }
    body
}
