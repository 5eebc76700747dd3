//! Watches an answer on its way down: reads its usage, and settles when it ends, however it ends.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::Response;
use http::response::Parts;
use turnpike_domain::admit::Denial;

use super::admit::{Admitted, Job};
use super::forward::DRAIN_TIMEOUT_MS;
use super::{Site, settle};
use crate::body::{Cut, Limits, Means, Relay, Tap, next_piece};
use crate::core::Denied;
use crate::dialect::{Call, Report, StreamMeter};
use crate::field::Finder;
use crate::headers;
use crate::lane::OpenAnswer;
use crate::respond::Outgoing;
use crate::sse::Scanner;
use crate::upstream::AnswerBody;

/// JSON answers up to this size, in bytes, are held until their usage is known, so that a header
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
    let is_events = headers::is_event_stream(&head.headers);
    let is_json = headers::is_json(&head.headers);
    headers::end_hop(&mut head.headers);
    if let Some(quotas) = job.admitted.quotas() {
        quotas.tell(job.call.dialect(), site.core.now(), &mut head.headers);
    }
    head.version = http::Version::HTTP_11;
    head.extensions.clear();
    let reading = if is_events {
        let meter = job.call.stream_meter(job.hides_usage);
        Reading::Events { scanner: Scanner::new(meter.drops_events()), meter }
    } else if is_json && job.call.streams_json() {
        Reading::Json(job.call.usage_finder())
    } else if is_json {
        return whole(site, job, head, body).await;
    } else {
        Reading::Nothing
    };
    Ok(stream(site, job, head, body, reading, VecDeque::new()))
}

/// Holds a JSON answer until it is whole, or too long to be held.
async fn whole(
    site: &Rc<Site>,
    job: Box<Job>,
    mut head: Parts,
    mut body: AnswerBody,
) -> Result<Response<Outgoing>, Denied> {
    let mut finder = job.call.usage_finder();
    let mut pieces = VecDeque::new();
    let mut held = 0;
    loop {
        match next_piece(&mut body, &**site.core.clock(), job.route.idle_timeout_ms).await {
            Ok(Some(piece)) => {
                finder.push(&piece);
                held += piece.len();
                pieces.push_back(piece);
                if held > WHOLE_ANSWER_BYTES {
                    let reading = Reading::Json(finder);
                    return Ok(stream(site, job, head, body, reading, pieces));
                }
            }
            Ok(None) => break,
            Err(cut) => {
                let denial = match cut {
                    Cut::Silent => Denial::ProviderTimeout,
                    Cut::Broken(_) => Denial::ProviderError,
                };
                let denied = job.denied(denial, site.core.now());
                settle::fail(job.admitted, &denied, false);
                return Err(denied);
            }
        }
    }
    let refused = !head.status.is_success();
    let report = if refused { Report::default() } else { read(job.call, finder) };
    let settlement = settle::settle(job.admitted, report, head.status.as_u16(), refused);
    head.headers.insert(headers::COST_USD, headers::value(settlement.cost.to_string()));
    Ok(Response::from_parts(head, Outgoing::whole(joined(pieces, held))))
}

fn stream(
    site: &Rc<Site>,
    job: Box<Job>,
    head: Parts,
    body: AnswerBody,
    reading: Reading,
    held: VecDeque<Bytes>,
) -> Response<Outgoing> {
    let limits = Limits {
        idle_timeout_ms: job.route.idle_timeout_ms,
        drain_timeout_ms: DRAIN_TIMEOUT_MS,
        drain_bytes: DRAIN_BYTES,
    };
    let means = Means { clock: site.core.clock().clone(), tasks: site.tasks.clone() };
    let status = head.status.as_u16();
    let refused = !head.status.is_success();
    let (admitted, call, open) = (Some(job.admitted), job.call, site.lane.open_answer());
    let observer = Observer { admitted, call, reading, status, refused, _open: open };
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

fn read(call: Call, finder: Finder) -> Report {
    let is_whole = finder.is_whole();
    match finder.finish() {
        Ok(field) => call.read_answer(field.as_deref(), is_whole),
        Err(_) => Report { malformed: true, ..Report::default() },
    }
}

/// Settles when the answer ends, however it ends.
pub struct Observer {
    /// `None` once it is settled.
    admitted: Option<Admitted>,
    call: Call,
    reading: Reading,
    status: u16,
    refused: bool,
    _open: OpenAnswer,
}

enum Reading {
    Events { scanner: Scanner, meter: StreamMeter },
    Json(Finder),
    Nothing,
}

impl Observer {
    /// Settles, and answers the cost as it is shown.
    fn settle(&mut self) -> Option<String> {
        let admitted = self.admitted.take()?;
        let report = match std::mem::replace(&mut self.reading, Reading::Nothing) {
            Reading::Events { meter, .. } => meter.report(),
            Reading::Json(finder) => read(self.call, finder),
            Reading::Nothing => Report::default(),
        };
        let settlement = settle::settle(admitted, report, self.status, self.refused);
        Some(settlement.cost.to_string())
    }
}

impl Tap for Observer {
    fn changes(&self) -> bool {
        matches!(self.reading, Reading::Events { .. })
    }

    fn pass(&mut self, piece: Bytes, out: &mut VecDeque<Bytes>) {
        match &mut self.reading {
            Reading::Events { scanner, meter } => {
                scanner.push(&piece, |event| meter.judge(event), |kept| out.push_back(kept));
            }
            Reading::Json(finder) => {
                finder.push(&piece);
                out.push_back(piece);
            }
            Reading::Nothing => out.push_back(piece),
        }
    }

    fn complete(&mut self, out: &mut VecDeque<Bytes>) {
        let mut takes_comment = false;
        if let Reading::Events { scanner, meter } = &mut self.reading {
            takes_comment = self.call.dialect().takes_comments() && scanner.is_between_events();
            scanner.finish(|event| meter.judge(event), |kept| out.push_back(kept));
        }
        let cost = self.settle();
        if let Some(cost) = cost.filter(|_| takes_comment) {
            let comment = format!(": {}: {cost}\n\n", headers::COST_USD);
            out.push_back(Bytes::from(comment));
        }
    }

    fn cut(&mut self, how: &Cut) {
        tracing::warn!(error = %how, "an answer broke off");
        self.settle();
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
