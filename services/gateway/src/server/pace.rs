//! How long a caller may take over the head of a request, measured without a timer a request.
//!
//! Time runs from the end of one answer to the head of the next request. A timer that fires too
//! early is set again, so one serves many requests.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use turnpike_runtime::clock::SharedClock;

use crate::silence::Silence;

/// Whether a connection is at work, and since when it is not.
pub(super) struct Pace {
    clock: SharedClock,
    busy: Cell<bool>,
    idle_since_ms: Cell<u64>,
}

/// Waits for heads.
pub(super) struct Heads {
    pace: Rc<Pace>,
    limit_ms: u64,
    silence: Silence,
}

/// A connection at work: dropped when its answer has been written.
pub(super) struct Busy(Rc<Pace>);

/// A body that ends the work of its connection when it is dropped.
pub(super) struct Paced<B> {
    body: B,
    _busy: Busy,
}

impl Pace {
    /// Of a connection that begins now.
    pub(super) fn new(clock: SharedClock) -> Rc<Self> {
        let idle_since_ms = Cell::new(clock.boot_ms());
        Rc::new(Self { clock, busy: Cell::new(false), idle_since_ms })
    }

    /// A head has arrived.
    pub(super) fn begin(self: &Rc<Self>) -> Busy {
        self.busy.set(true);
        Busy(Rc::clone(self))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(false);
        self.0.idle_since_ms.set(self.0.clock.boot_ms());
    }
}

impl Heads {
    /// A head may take `limit_ms` from the end of the answer before it.
    pub(super) const fn new(pace: Rc<Pace>, limit_ms: u64) -> Self {
        Self { pace, limit_ms, silence: Silence::since(0) }
    }

    /// Ready once the caller has taken too long. To be asked whenever nothing more has come.
    pub(super) fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.pace.busy.get() {
            return Poll::Pending;
        }
        self.silence.end(self.pace.idle_since_ms.get());
        self.silence.poll(&*self.pace.clock, self.limit_ms, context)
    }
}

impl<B> Paced<B> {
    pub(super) const fn new(body: B, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl<B: Body + Unpin> Body for Paced<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
