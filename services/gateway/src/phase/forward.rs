//! Takes an admitted request to a provider, and to the next one where the first refused it.

use std::rc::Rc;

use http::{Response, StatusCode};
use turnpike_domain::admit::Denial;

use super::admit::Job;
use super::{Site, observe, settle};
use crate::core::Denied;
use crate::respond::Outgoing;
use crate::upstream::Failure;

/// Ways that are tried for one request: a caller waits for all of them.
const MAX_WAYS: usize = 3;
/// How long a provider is read for a caller who has gone, in milliseconds: longer than nearly all
/// streams, shorter than a forgotten one.
pub(super) const DRAIN_TIMEOUT_MS: u64 = 120_000;

/// Sends the request and answers with what comes back.
///
/// Another way is tried only while no provider can have worked: the connection failed before
/// anything was sent, or the provider refused with a status.
///
/// # Errors
/// [`Denial::ProviderError`], [`Denial::ProviderTimeout`] or [`Denial::Overloaded`].
pub(super) async fn forward(
    site: Rc<Site>,
    mut job: Box<Job>,
) -> Result<Response<Outgoing>, Denied> {
    let mut tried = Vec::new();
    loop {
        let request = std::mem::take(&mut job.route.request);
        let sent =
            job.route.remote.send(&job.admitted, &job.route.path, request, job.route.bounds).await;
        let setback = match sent {
            Ok(answer) if !is_refusal(answer.status()) => {
                return observe::observe(&site, job, answer).await;
            }
            Ok(answer) => Setback {
                denial: Denial::ProviderError,
                message: format!("The provider answered with status {}.", answer.status().as_u16()),
                may_have_worked: false,
            },
            Err(failure) => Setback::from(&failure),
        };
        tried.push(job.route.provider);
        let another = !setback.may_have_worked && tried.len() < MAX_WAYS;
        if !another || !job.turn(&site, &mut tried) {
            return Err(setback.end(&site, job));
        }
    }
}

/// Statuses that say nothing about the caller's request: the provider is out of order, busy, or
/// does not accept the operator's account. They are not passed on, because a caller would take them
/// for ours.
fn is_refusal(status: StatusCode) -> bool {
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
struct Setback {
    denial: Denial,
    message: String,
    may_have_worked: bool,
}

impl From<&Failure> for Setback {
    fn from(failure: &Failure) -> Self {
        let denial = match failure {
            Failure::Busy => Denial::Overloaded,
            Failure::ConnectTimeout | Failure::AnswerTimeout => Denial::ProviderTimeout,
            Failure::Connect(_) | Failure::Unused(_) | Failure::Lost(_) => Denial::ProviderError,
        };
        let message = sentence(failure);
        tracing::warn!(error = %failure, cause = ?std::error::Error::source(failure), "no answer");
        Self { denial, message, may_have_worked: failure.sent() }
    }
}

/// The failure as a sentence. Its causes name addresses, which are not the caller's business.
fn sentence(failure: &Failure) -> String {
    let mut text = failure.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text.push('.');
    text
}

impl Setback {
    fn end(self, site: &Site, job: Box<Job>) -> Denied {
        let denied = job.denied(self.denial, site.core.now()).with_message(self.message);
        let refused = !self.may_have_worked;
        settle::fail(job.admitted, &denied, refused);
        denied
    }
}
