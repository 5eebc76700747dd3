//! The shell around the pure answer: reads the request, obeys the script, paces and counts.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::Incoming;
use hyper::{Request, Response};
use turnpike_domain::time::SECOND_MS;
use turnpike_runtime::clock::SharedClock;

use super::connections::{Body, Broken};
use super::model::Model;
use super::refusal::{Dialect, Refusal};
use super::reply::{self, Answer, Content, Frames, Stamp};
use super::route;
use super::script::{Break, Script, Silence};
use super::served::{Bill, Served};

/// OpenAI takes recordings of 25 MB; a little more for the rest of the form.
const MOST_BODY_BYTES: usize = 32 * 1024 * 1024;
/// Carries the script of one request.
const SCRIPT_HEADER: &str = "x-echo-script";

/// Names a request: what it was served can be asked for by this name where scripts are obeyed.
const NAME_HEADER: &str = "x-turnpike-request-id";
/// The longest name that is kept.
const MOST_NAME_BYTES: usize = 100;

/// The state of a running `echo`.
pub(super) struct Provider {
    clock: SharedClock,
    /// The script for requests without one of their own; `None` where scripts are not obeyed.
    script: Option<Mutex<Script>>,
    /// What was served since the start.
    pub(super) served: Served,
    answers: AtomicU64,
}

impl Provider {
    /// A provider that has served nothing.
    pub(super) fn new(clock: SharedClock, scripted: bool) -> Self {
        let script = scripted.then(Mutex::default);
        Self { clock, script, served: Served::default(), answers: AtomicU64::new(0) }
    }

    /// Sets the script for requests without one of their own; false where scripts are not obeyed.
    pub(super) fn set_script(&self, script: Script) -> bool {
        let Some(common) = &self.script else { return false };
        *common.lock().unwrap_or_else(PoisonError::into_inner) = script;
        true
    }

    /// Answers one call.
    ///
    /// # Errors
    /// Where a script says to drop the connection.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Broken> {
        let dialect = route::dialect(request.uri().path(), request.headers());
        let name = self.name(request.headers());
        let (answered, script) = match self.script(request.headers()) {
            Ok(script) => (self.attempt(request, dialect, script).await?, script),
            Err(refusal) => (Err(refusal), Script::default()),
        };
        match answered {
            Ok(answer) => Ok(self.send(answer, script, name).await),
            Err(refusal) => {
                let body = Full::new(refusal.body(dialect)).map_err(|never| match never {});
                Ok(response(refusal.status(), "application/json", body.boxed_unsync()))
            }
        }
    }

    fn name(&self, headers: &HeaderMap) -> Option<Arc<str>> {
        let name = headers.get(NAME_HEADER)?.to_str().ok()?;
        (self.script.is_some() && name.len() <= MOST_NAME_BYTES).then(|| name.into())
    }

    /// Counts an answer that begins, or words that follow, for all and under the request's name.
    fn count(&self, bill: Bill, begins: bool, name: Option<&Arc<str>>) {
        if begins {
            self.served.begin(bill);
        } else {
            self.served.words(bill.model, bill.output);
        }
        if let Some(name) = name {
            self.served.name(name, bill);
        }
    }

    fn script(&self, headers: &HeaderMap) -> Result<Script, Refusal> {
        let Some(common) = &self.script else { return Ok(Script::default()) };
        match headers.get(SCRIPT_HEADER) {
            None => Ok(common.lock().unwrap_or_else(PoisonError::into_inner).take()),
            Some(own) => own
                .to_str()
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or(Refusal::Invalid("the script cannot be read")),
        }
    }

    async fn attempt(
        &self,
        request: Request<Incoming>,
        dialect: Dialect,
        script: Script,
    ) -> Result<Result<Answer, Refusal>, Broken> {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, MOST_BODY_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Ok(Err(Refusal::TooLarge)),
            // The client went away in the middle of its request: nobody is there to answer.
            Err(_) => return Err(Broken),
        };
        match script.silence {
            Some(Silence::Hang) => pending().await,
            Some(Silence::Drop) => return Err(Broken),
            None => {}
        }
        if script.delay_ms > 0 {
            self.clock.sleep(script.delay_ms).await;
        }
        if let Some(status) = script.status {
            return Ok(Err(Refusal::Scripted(status)));
        }
        let query = head.uri.query().unwrap_or_default();
        let Some(route) = route::find(&head.method, head.uri.path(), query, dialect) else {
            return Ok(Err(Refusal::NotFound));
        };
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let stamp = Stamp {
            number: self.answers.fetch_add(1, Ordering::Relaxed) + 1,
            created_s: self.clock.now().0 / SECOND_MS,
        };
        let request = reply::Request {
            content_type: content_type.unwrap_or_default(),
            body: &body,
            stamp,
            report: script.usage,
            acting: script.acting,
        };
        Ok(reply::answer(&route, &request))
    }

    async fn send(
        self: Arc<Self>,
        answer: Answer,
        script: Script,
        name: Option<Arc<str>>,
    ) -> Response<Body> {
        let content_type = answer.content_type;
        let body = match (answer.content, answer.bill) {
            (Content::Whole(bytes), bill) => {
                if let Some(bill) = bill {
                    self.pace(bill.model, bill.output).await;
                    self.count(bill, true, name.as_ref());
                }
                Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
            }
            (Content::Stream(frames), bill) => {
                let model = bill.map_or(Model::One, |bill| bill.model);
                if let Some(bill) = bill {
                    self.count(Bill { output: 0, ..bill }, true, name.as_ref());
                }
                let breaking = script.breaking;
                Streaming { provider: self, frames, model, breaking, words: 0, name }.into_body()
            }
        };
        response(StatusCode::OK, content_type, body)
    }

    async fn pace(&self, model: Model, words: u64) {
        let ms = words.saturating_mul(model.word_ms());
        if ms > 0 {
            self.clock.sleep(ms).await;
        }
    }
}

/// A stream that is being sent.
struct Streaming {
    provider: Arc<Provider>,
    frames: Frames,
    model: Model,
    breaking: Option<Break>,
    words: u64,
    name: Option<Arc<str>>,
}

impl Streaming {
    fn into_body(self) -> Body {
        let frames = stream::unfold(Some(self), |state| async {
            let mut state = state?;
            match state.next().await? {
                Ok(bytes) => Some((Ok(hyper::body::Frame::data(bytes)), Some(state))),
                Err(broken) => Some((Err(broken), None)),
            }
        });
        StreamBody::new(frames).boxed_unsync()
    }

    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        match self.breaking {
            Some(Break::Cut(after)) if self.words >= after => {
                // Lets the connection send what it was given before it is closed.
                tokio::task::yield_now().await;
                return Some(Err(Broken));
            }
            Some(Break::Hang(after)) if self.words >= after => pending().await,
            Some(Break::Cut(_) | Break::Hang(_)) | None => {}
        }
        let frame = self.frames.next()?;
        self.provider.pace(self.model, frame.words).await;
        let bill =
            Bill { model: self.model, input: 0, cached: 0, output: frame.words, thoughts: 0 };
        self.provider.count(bill, false, self.name.as_ref());
        self.words += frame.words;
        Some(Ok(frame.bytes))
    }
}

fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
