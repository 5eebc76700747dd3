//! How long a caller may say nothing, or take over the head of a request, without a timer for each.
//!
//! A timer that fires too early is set again, so one serves many requests.

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
    /// Heads that have arrived.
    heads: Cell<u64>,
    leaving: Cell<bool>,
}

/// How long a connection may take when it is not at work, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    /// From the end of one answer to the head of the next request.
    pub(super) idle_ms: u64,
    /// From the first bytes of a head to its last.
    pub(super) head_ms: u64,
}

/// Waits for heads.
pub(super) struct Heads {
    pace: Rc<Pace>,
    limits: HeadLimits,
    /// Since when a head has been coming, and how many there were before it.
    begun: Option<(u64, u64)>,
    silence: Silence,
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// The caller said nothing.
    Idle,
    /// A head has begun and does not end.
    Head,
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
        let (busy, leaving) = (Cell::new(false), Cell::new(false));
        Rc::new(Self { clock, busy, idle_since_ms, heads: Cell::new(0), leaving })
    }

    /// The next answer is the last one.
    pub(super) fn leave(&self) {
        self.leaving.set(true);
    }

    /// A head has arrived.
    pub(super) fn begin(self: &Rc<Self>) -> Busy {
        self.busy.set(true);
        self.heads.set(self.heads.get().wrapping_add(1));
        Busy(Rc::clone(self))
    }
}

impl Busy {
    /// Whether its answer is the last one of the connection.
    pub(super) fn is_last(&self) -> bool {
        self.0.leaving.get()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(false);
        self.0.idle_since_ms.set(self.0.clock.boot_ms());
    }
}

impl Heads {
    /// Nothing has come yet.
    pub(super) const fn new(pace: Rc<Pace>, limits: HeadLimits) -> Self {
        Self { pace, limits, begun: None, silence: Silence::since(0) }
    }

    /// Ready once the caller has taken too long. To be asked whenever nothing more has come;
    /// `more`: something has come since it was last asked.
    pub(super) fn poll_late(&mut self, more: bool, context: &mut Context<'_>) -> Poll<Late> {
        let Pace { clock, busy, idle_since_ms, heads, .. } = &*self.pace;
        if busy.get() {
            return Poll::Pending;
        }
        let heads = heads.get();
        self.begun = self.begun.filter(|(_, before)| *before == heads);
        if more && self.begun.is_none() {
            self.begun = Some((clock.boot_ms(), heads));
        }
        let (late, since_ms, limit_ms) = match self.begun {
            Some((begun_ms, _)) => (Late::Head, begun_ms, self.limits.head_ms),
            None => (Late::Idle, idle_since_ms.get(), self.limits.idle_ms),
        };
        self.silence.end(since_ms);
        self.silence.poll(&**clock, limit_ms, context).map(|()| late)
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
