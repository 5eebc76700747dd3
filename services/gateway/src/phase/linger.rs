//! Lets a sent request come to its end when its caller does not wait for it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::Response;
use turnpike_runtime::clock::deadline;
use turnpike_runtime::tasks::in_place;

use super::Site;
use super::admit::{Job, Progress};
use super::forward::{DRAIN_TIMEOUT_MS, forward};
use crate::core::Denied;
use crate::respond::Outgoing;

type Answer = Result<Response<Outgoing>, Denied>;

/// Forwards a job. Dropped after the request was sent, it goes on among the core's tasks, so that
/// the meter runs to the end; dropped before, the request is never sent.
pub(super) fn linger(site: &Rc<Site>, job: Box<Job>) -> Linger {
    let progress = Rc::clone(job.admitted.progress());
    let work = in_place(|| forward(Rc::clone(site), job));
    Linger { work: Some(work), progress, site: Rc::clone(site) }
}

/// See [`linger`].
pub(super) struct Linger {
    work: Option<Pin<Box<dyn Future<Output = Answer>>>>,
    progress: Rc<Progress>,
    site: Rc<Site>,
}

impl Future for Linger {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let linger = self.get_mut();
        let Some(work) = &mut linger.work else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            linger.work = None;
        }
        polled
    }
}

impl Drop for Linger {
    fn drop(&mut self) {
        let Some(work) = self.work.take().filter(|_| self.progress.sent.get()) else { return };
        self.progress.caller_gone.set(true);
        let clock = self.site.core.clock().clone();
        self.site.tasks.spawn_local("linger", async move {
            // The answer is dropped at once, and with it a stream, which is drained by itself.
            drop(deadline(&*clock, DRAIN_TIMEOUT_MS, work).await);
        });
    }
}
