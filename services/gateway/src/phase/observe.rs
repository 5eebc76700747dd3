//! Watches an answer on its way down: reads its usage, and settles when it ends, however it ends.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::Response;
use http::response::Parts;

use super::admit::{Admitted, Job};
use super::forward::DRAIN_TIMEOUT_MS;
use super::{Arrival, Site, settle};
use crate::body::{Cut, Limits, Means, Relay, Tap, next_piece};
use crate::core::Denied;
use crate::dialect::{Call, Report, StreamMeter};
use crate::field::{Found, Search};
use crate::headers::{self, Media};
use crate::lane::OpenAnswer;
use crate::respond::{self, Outgoing};
use crate::sse::Scanner;
use crate::upstream::AnswerBody;

/// JSON and texts up to this size, in bytes, are held until their usage is known, so that a header
/// can tell their cost; longer ones pass as they come, without that header.
const WHOLE_ANSWER_BYTES: usize = 1024 * 1024;
/// Bytes that are read of a stream after its caller has gone.
const DRAIN_BYTES: usize = 64 * 1024 * 1024;

/// Turns a provider's answer into ours.
///
/// # Errors
/// [`Denial::ProviderError`] or [`Denial::ProviderTimeout`] if the answer breaks off before
/// anything of it went to the caller.
pub(super) async fn observe(
    site: &Rc<Site>,
    job: Box<Job>,
    answer: Response<AnswerBody>,
) -> Result<Response<Outgoing>, Denied> {
    let (mut head, body) = answer.into_parts();
    let media = headers::media(&head.headers);
    headers::end_hop(&mut head.headers);
    if let Some(quotas) = job.admitted.quotas() {
        quotas.tell(job.call.dialect(), || site.core.now(), &mut head.headers);
    }
    head.version = http::Version::HTTP_11;
    head.extensions.clear();
    let call = job.call;
    let (reading, streams) = match media {
        Media::Events => {
            let meter = call.stream_meter(job.hides_usage);
            (Reading::Events { scanner: Scanner::new(meter.drops_events()), meter }, true)
        }
        Media::Json => (Reading::Json(call.usage_search()), call.streams_json()),
        Media::Text if call.counts_text() => {
            (Reading::Text { bytes: 0, most: job.admitted.reservation().output }, false)
        }
        Media::Text | Media::Other => (Reading::Nothing, false),
    };
    if streams {
        return Ok(stream(site, job, (head, body), reading, VecDeque::new()));
    }
    whole(site, job, (head, body), reading).await
}

/// Holds an answer until it is whole, or too long to be held. Of one that tells nothing only the
/// first piece is waited for: what breaks off before it is an error, which a head that has gone
/// down already could not tell.
async fn whole(
    site: &Rc<Site>,
    job: Box<Job>,
    (mut head, mut body): (Parts, AnswerBody),
    mut reading: Reading,
) -> Result<Response<Outgoing>, Denied> {
    let most = if reading.tells() { WHOLE_ANSWER_BYTES } else { 0 };
    let refused = !head.status.is_success();
    let mut pieces = VecDeque::new();
    let mut held = 0;
    loop {
        match next_piece(&mut body, &**site.core.clock(), job.route.waits).await {
            Ok(Some(piece)) => {
                held += piece.len();
                reading.push(piece, &mut pieces);
                if held > most {
                    if !reading.tells() {
                        // Nothing that is still to come changes it.
                        let cost = settle::forecast(&job.admitted, refused);
                        head.headers.insert(headers::COST_USD, headers::value(cost.to_string()));
                    }
                    return Ok(stream(site, job, (head, body), reading, pieces));
                }
            }
            Ok(None) => break,
            Err(cut) => {
                let denied = job.denied(cut.denial(), site.core.now());
                settle::fail(job.admitted, &denied, false);
                return Err(denied);
            }
        }
    }
    let report = if refused { Report::default() } else { reading.report(job.call) };
    let settlement = settle::settle(job.admitted, report, head.status.as_u16(), refused);
    head.headers.insert(headers::COST_USD, headers::value(settlement.cost.to_string()));
    Ok(Response::from_parts(head, Outgoing::whole(joined(pieces, held))))
}

fn stream(
    site: &Rc<Site>,
    job: Box<Job>,
    (head, body): (Parts, AnswerBody),
    reading: Reading,
    held: VecDeque<Bytes>,
) -> Response<Outgoing> {
    let limits = Limits {
        waits: job.route.waits,
        drain_timeout_ms: DRAIN_TIMEOUT_MS,
        drain_bytes: DRAIN_BYTES,
    };
    let means = Means { clock: site.core.clock().clone(), tasks: site.tasks.clone() };
    let status = head.status.as_u16();
    let refused = !head.status.is_success();
    // What is not needed any more goes at once: a stream may last, and its request be large.
    let Job { admitted, call, arrival, .. } = *job;
    let (site, open) = (Rc::clone(site), site.lane.open_answer());
    let admitted = Some(admitted);
    let observer =
        Observer { admitted, call, reading, status, refused, site, arrival, _open: open };
    let relay = Relay::new(body, observer, limits, means).after(held);
    Response::from_parts(head, Outgoing::stream(relay))
}

fn joined(mut pieces: VecDeque<Bytes>, bytes: usize) -> Bytes {
    if pieces.len() <= 1 {
        return pieces.pop_front().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(bytes);
    pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    all.freeze()
}

/// Settles when the answer ends, however it ends.
pub struct Observer {
    /// `None` once it is settled.
    admitted: Option<Admitted>,
    call: Call,
    reading: Reading,
    status: u16,
    refused: bool,
    site: Rc<Site>,
    arrival: Arrival,
    _open: OpenAnswer,
}

/// How usage is read.
enum Reading {
    Events {
        scanner: Scanner,
        meter: StreamMeter,
    },
    Json(Search),
    /// A text that is the output itself: no tokenizer makes more tokens than bytes.
    Text {
        bytes: u64,
        /// The output tokens that were reserved.
        most: u64,
    },
    Nothing,
}

impl Reading {
    /// Whether the answer tells anything of its usage.
    const fn tells(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// Reads a piece, and gives on what the caller gets.
    fn push(&mut self, piece: Bytes, out: &mut VecDeque<Bytes>) {
        match self {
            Self::Events { scanner, meter } => {
                return scanner.push(
                    &piece,
                    |event| meter.judge(event),
                    |kept| out.push_back(kept),
                );
            }
            Self::Json(search) => search.push(&piece),
            Self::Text { bytes, .. } => {
                *bytes = bytes.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            }
            Self::Nothing => {}
        }
        out.push_back(piece);
    }

    fn report(self, call: Call) -> Report {
        match self {
            Self::Events { meter, .. } => meter.report(),
            Self::Json(search) => {
                let Found { value, is_whole } = search.finish();
                match value {
                    Ok(field) => call.read_answer(field.as_deref(), is_whole),
                    Err(_) => Report { malformed: true, ..Report::default() },
                }
            }
            Self::Text { bytes, most } => {
                Report { counted_output: Some(bytes.min(most)), ..Report::default() }
            }
            Self::Nothing => Report::default(),
        }
    }

    /// Whether an event may follow what was given on.
    const fn takes_event(&self) -> bool {
        match self {
            Self::Events { scanner, .. } => scanner.gave_whole_events(),
            Self::Json(_) | Self::Text { .. } | Self::Nothing => false,
        }
    }
}

impl Observer {
    /// Settles, and answers the cost as it is shown.
    fn settle(&mut self) -> Option<String> {
        let admitted = self.admitted.take()?;
        let report = std::mem::replace(&mut self.reading, Reading::Nothing).report(self.call);
        let settlement = settle::settle(admitted, report, self.status, self.refused);
        Some(settlement.cost.to_string())
    }

    /// The last words of a stream, where the dialect's SDKs pass over comments.
    fn comment(&self, cost: &str) -> Option<Bytes> {
        let takes_comments = self.call.dialect().takes_comments();
        takes_comments.then(|| Bytes::from(format!(": {}: {cost}\n\n", headers::COST_USD)))
    }

    fn error_event(&self, how: &Cut) -> Bytes {
        let (core, Arrival { request, entry, address, .. }) = (&self.site.core, &self.arrival);
        let denied = entry.denied(how.denial(), core.now());
        let decision = denied.decision(core, *request, *address);
        respond::error_event(self.call, &denied, *request, &decision)
    }
}

impl Tap for Observer {
    fn changes(&self) -> bool {
        matches!(self.reading, Reading::Events { .. })
    }

    fn pass(&mut self, piece: Bytes, out: &mut VecDeque<Bytes>) {
        self.reading.push(piece, out);
    }

    fn complete(&mut self, out: &mut VecDeque<Bytes>) {
        let mut takes_comment = false;
        if let Reading::Events { scanner, meter } = &mut self.reading {
            takes_comment = scanner.is_between_events();
            scanner.finish(|event| meter.judge(event), |kept| out.push_back(kept));
        }
        let cost = self.settle();
        out.extend(cost.filter(|_| takes_comment).and_then(|cost| self.comment(&cost)));
    }

    /// A stream of events ends with its dialect's own event of an error, which SDKs raise and do
    /// not try again: the request is paid for. Anything else breaks off.
    fn cut(&mut self, how: &Cut, out: &mut VecDeque<Bytes>) {
        tracing::warn!(error = %how, "an answer broke off");
        let takes_event = self.reading.takes_event();
        let cost = self.settle();
        if takes_event {
            out.push_back(self.error_event(how));
            out.extend(cost.and_then(|cost| self.comment(&cost)));
        }
    }

    fn caller_gone(&mut self) {
        if let Some(admitted) = &self.admitted {
            admitted.progress().caller_gone.set(true);
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.settle();
    }
}
