//! Takes an admitted request to a provider, and to the next one where the first refused it.

use std::rc::Rc;

use http::{Response, StatusCode};
use turnpike_domain::admit::Denial;
use turnpike_runtime::connector::ConnectError;

use super::admit::{Admitted, Job};
use super::{Arrival, Site, observe, settle};
use crate::core::Denied;
use crate::headers;
use crate::respond::Outgoing;
use crate::upstream::{AnswerBody, Failure, Right};

/// Ways that are tried for one request: a caller waits for all of them.
const MAX_WAYS: usize = 3;
/// When a provider that was busy for as long as a request may wait is worth another look, in
/// milliseconds.
const BUSY_MS: u64 = 1_000;
/// What a caller is told where the operator keeps the gateway from an address.
const WALLED: &str = "The provider was not called: its address is a private, loopback or otherwise \
                      reserved one, where the gateway's operator allows none.";
/// How long a provider is read for a caller who has gone, in milliseconds: longer than nearly all
/// streams, shorter than a forgotten one.
pub(super) const DRAIN_TIMEOUT_MS: u64 = 120_000;

/// Sends the request and answers with what comes back.
///
/// Another way is tried only while no provider can have worked: the connection failed before
/// anything was sent, the provider refused with a status, or it has all the requests that it may
/// have. One that kept silent may have worked, and be paid for it.
///
/// # Errors
/// [`Denial::ProviderError`], [`Denial::ProviderTimeout`] or [`Denial::Overloaded`].
pub(super) async fn forward(
    site: Rc<Site>,
    mut job: Box<Job>,
) -> Result<Response<Outgoing>, Denied> {
    let (mut tried, mut ways) = (Vec::new(), 0);
    loop {
        ways += 1;
        let setback = match ask(&site, &mut job).await {
            Ok(answer) => return observe::observe(&site, job, answer).await,
            Err(setback) => setback,
        };
        tried.push(job.route.provider);
        let another = !setback.may_have_worked && !setback.is_final && ways < MAX_WAYS;
        if !another || !job.turn(&site, &mut tried).await {
            return Err(setback.end(&site, job));
        }
    }
}

/// Asks the provider of the job's way, and tells its circuit how that went.
async fn ask(site: &Site, job: &mut Job) -> Result<Response<AnswerBody>, Setback> {
    let route = &mut job.route;
    let request = std::mem::take(&mut route.request);
    let begun_us = site.core.clock().boot_us();
    route.begin(begun_us / 1_000);
    let pass = &route.pass;
    let leave = Leave { site, admitted: &job.admitted, arrival: &job.arrival };
    match pass.remote().send(&leave, &route.path, request, route.bounds).await {
        Ok(answer) if !is_refusal(answer.status()) => {
            pass.succeeded(begun_us);
            Ok(answer)
        }
        Ok(answer) => {
            pass.failed(headers::retry_after_ms(answer.headers()));
            Err(Setback {
                denial: Denial::ProviderError,
                message: format!("The provider answered with status {}.", answer.status().as_u16()),
                may_have_worked: false,
                is_final: false,
                retry_after_ms: None,
            })
        }
        Err(Failure::Withdrawn) => Err(withdrawn(site, job)),
        Err(failure) => {
            if !matches!(failure, Failure::Busy) {
                pass.failed(None);
            }
            Err(Setback::from(&failure))
        }
    }
}

/// The right to send a request whose key still works when it leaves.
struct Leave<'a> {
    site: &'a Site,
    admitted: &'a Admitted,
    arrival: &'a Arrival,
}

impl Right for Leave<'_> {
    fn sent(&self, now_ms: u64) -> bool {
        let stands = self.arrival.look_again(&self.site.core, now_ms).is_ok();
        stands && self.admitted.sent(now_ms)
    }
}

/// Why a request did not leave that had waited for its provider.
fn withdrawn(site: &Site, job: &Job) -> Setback {
    let (denial, message) = match site.core.again(&job.arrival.entry) {
        Err(denied) => (denied.denial, denied.message.into_owned()),
        // Nobody may use what its rate permitted it then.
        Ok(_) => (Denial::LimitAuthorityUnavailable, sentence(&Failure::Withdrawn)),
    };
    Setback { denial, message, may_have_worked: false, is_final: true, retry_after_ms: None }
}

/// Statuses that say nothing about the caller's request: the provider is out of order, busy, or
/// does not accept the operator's account. They are not passed on, because a caller would take them
/// for ours.
pub(super) fn is_refusal(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::UNAUTHORIZED
                | StatusCode::PAYMENT_REQUIRED
                | StatusCode::FORBIDDEN
                | StatusCode::PROXY_AUTHENTICATION_REQUIRED
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_MANY_REQUESTS
        )
        || status.is_redirection()
        || status.is_informational()
}

/// Why one way led nowhere.
pub(super) struct Setback {
    pub(super) denial: Denial,
    pub(super) message: String,
    pub(super) may_have_worked: bool,
    /// No other way is open to the request.
    is_final: bool,
    retry_after_ms: Option<u64>,
}

impl From<&Failure> for Setback {
    fn from(failure: &Failure) -> Self {
        let denial = match failure {
            Failure::Busy | Failure::Withdrawn => Denial::Overloaded,
            Failure::ConnectTimeout | Failure::AnswerTimeout => Denial::ProviderTimeout,
            Failure::Connect(_) | Failure::Unused(_) | Failure::Lost(_) => Denial::ProviderError,
        };
        let message = sentence(failure);
        tracing::warn!(error = %failure, cause = ?std::error::Error::source(failure), "no answer");
        let retry_after_ms = matches!(failure, Failure::Busy).then_some(BUSY_MS);
        let may_have_worked = failure.sent();
        Self { denial, message, may_have_worked, is_final: false, retry_after_ms }
    }
}

/// The failure as a sentence. Its causes name addresses, which are not the caller's business.
fn sentence(failure: &Failure) -> String {
    if let Failure::Connect(ConnectError::Refused { .. }) = failure {
        return WALLED.to_owned();
    }
    let mut text = failure.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text.push('.');
    text
}

impl Setback {
    fn end(self, site: &Site, job: Box<Job>) -> Denied {
        let mut denied = job.denied(self.denial, site.core.now()).with_message(self.message);
        if let Some(wait_ms) = self.retry_after_ms {
            denied = denied.with_retry_after(wait_ms);
        }
        let refused = !self.may_have_worked;
        settle::fail(job.admitted, &denied, refused);
        denied
    }
}
