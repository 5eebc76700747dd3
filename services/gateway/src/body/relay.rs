//! Relays an answer frame by frame while a tap watches it, and ends exactly once on every way out.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use turnpike_domain::admit::Denial;
use turnpike_runtime::clock::{Clock, SharedClock, deadline};
use turnpike_runtime::tasks::Tasks;

use crate::silence::Silence;
use crate::upstream::{AnswerBody, Broken};

/// Watches an answer pass. Dropping it is the end of every way out; what it saw until then is what
/// there was.
pub trait Tap: Unpin + 'static {
    /// Whether what passes may change; if not, the answer keeps its announced length.
    fn changes(&self) -> bool;
    /// Takes a piece and gives on what the caller gets.
    fn pass(&mut self, piece: Bytes, out: &mut VecDeque<Bytes>);
    /// The answer is whole. May give on some last bytes. Called at most once.
    fn complete(&mut self, out: &mut VecDeque<Bytes>);
    /// Nothing more may pass: the answer ends here as if it were whole.
    fn is_over(&self) -> bool {
        false
    }
    /// The provider broke off, was silent for too long or took too long. May give on some last
    /// bytes that tell the caller so; without any the answer breaks off for him too. Called at most
    /// once.
    fn cut(&mut self, how: &Cut, out: &mut VecDeque<Bytes>);
    /// The caller has gone; what passes from now on is only watched. Called at most once.
    fn caller_gone(&mut self);
}

/// Why an answer ended early.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// The provider's connection failed.
    #[error("the provider broke off")]
    Broken(#[from] Broken),
    /// Nothing came for too long.
    #[error("the provider fell silent")]
    Silent,
    /// It came, but not to its end in time.
    #[error("the provider did not come to an end in time")]
    TooLong,
}

/// How long an answer may take.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// Milliseconds between two pieces.
    pub idle_timeout_ms: u64,
    /// When its end must have come, in steady milliseconds; `None`: whenever it comes.
    pub until_ms: Option<u64>,
}

/// How long a stream may last with a caller, and without one.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long it may take.
    pub waits: Waits,
    /// Milliseconds for which a provider is read after the caller has gone.
    pub drain_timeout_ms: u64,
    /// Bytes that are read after the caller has gone.
    pub drain_bytes: usize,
}

/// What a relay needs from its core.
#[derive(Clone)]
pub struct Means {
    /// For the idle limit.
    pub clock: SharedClock,
    /// Where the rest of an abandoned answer is read.
    pub tasks: Tasks,
}

/// A body that passes an answer on. Only as much is read as the caller takes.
pub struct Relay<T: Tap> {
    /// `None` once it has ended, well or badly.
    flow: Option<Flow<T>>,
    /// What the tap gave on and the caller has yet to take.
    out: VecDeque<Bytes>,
    silence: Silence,
    limits: Limits,
    means: Means,
}

struct Flow<T> {
    answer: AnswerBody,
    tap: T,
}

impl Cut {
    /// As the caller is told of it.
    #[must_use]
    pub const fn denial(&self) -> Denial {
        match self {
            Self::Broken(_) => Denial::ProviderError,
            Self::Silent | Self::TooLong => Denial::ProviderTimeout,
        }
    }
}

impl Waits {
    /// Milliseconds for which a silence may last that began at `since_ms`.
    fn silence_ms(self, since_ms: u64) -> u64 {
        let left_ms = self.until_ms.map_or(u64::MAX, |until_ms| until_ms.saturating_sub(since_ms));
        self.idle_timeout_ms.min(left_ms)
    }

    fn is_over(self, now_ms: u64) -> bool {
        self.until_ms.is_some_and(|until_ms| now_ms >= until_ms)
    }

    /// What a silence that lasted too long is at `now_ms`.
    fn cut(self, now_ms: u64) -> Cut {
        if self.is_over(now_ms) { Cut::TooLong } else { Cut::Silent }
    }
}

impl<T: Tap> Relay<T> {
    /// Relays `answer` past `tap`.
    #[must_use]
    pub fn new(answer: AnswerBody, tap: T, limits: Limits, means: Means) -> Self {
        let silence = Silence::since(means.clock.boot_ms());
        Self { flow: Some(Flow { answer, tap }), out: VecDeque::new(), silence, limits, means }
    }

    /// With pieces that the tap has seen already, and that go first.
    #[must_use]
    pub fn after(mut self, seen: VecDeque<Bytes>) -> Self {
        self.out = seen;
        self
    }

    fn complete(&mut self) {
        if let Some(mut flow) = self.flow.take() {
            flow.tap.complete(&mut self.out);
        }
    }

    /// Ends early: with the tap's last word if it has one, else as a break.
    fn fail(&mut self, how: Cut) -> Result<(), Cut> {
        let before = self.out.len();
        if let Some(mut flow) = self.flow.take() {
            flow.tap.cut(&how, &mut self.out);
        }
        if self.out.len() > before { Ok(()) } else { Err(how) }
    }

    /// Ready once the next piece has been waited for too long.
    fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<Cut> {
        let (clock, waits) = (&*self.means.clock, self.limits.waits);
        let limit_ms = waits.silence_ms(self.silence.since_ms());
        ready!(self.silence.poll(clock, limit_ms, context));
        Poll::Ready(waits.cut(clock.boot_ms()))
    }
}

impl<T: Tap> Body for Relay<T> {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let relay = self.get_mut();
        loop {
            if let Some(piece) = relay.out.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let Some(flow) = &mut relay.flow else { return Poll::Ready(None) };
            let failed = match Pin::new(&mut flow.answer).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    let now_ms = relay.means.clock.boot_ms();
                    relay.silence.end(now_ms);
                    // Trailers are the provider's own, and stay here.
                    if let Ok(piece) = frame.into_data() {
                        flow.tap.pass(piece, &mut relay.out);
                    }
                    // With an announced length nobody asks again after its last byte.
                    if flow.tap.is_over() || flow.answer.is_end_stream() {
                        relay.complete();
                        None
                    } else {
                        relay.limits.waits.is_over(now_ms).then_some(Cut::TooLong)
                    }
                }
                Poll::Ready(None) => {
                    relay.complete();
                    None
                }
                Poll::Ready(Some(Err(error))) => Some(Cut::Broken(error)),
                Poll::Pending => Some(ready!(relay.poll_wait(context))),
            };
            if let Some(Err(how)) = failed.map(|how| relay.fail(how)) {
                return Poll::Ready(Some(Err(how)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.flow.is_none() && self.out.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let waiting = self.out.iter().map(Bytes::len).sum::<usize>();
        let coming = match &self.flow {
            None => Some(0),
            Some(flow) if flow.tap.changes() => None,
            Some(flow) => flow.answer.size_hint().exact(),
        };
        match (coming, u64::try_from(waiting)) {
            (Some(coming), Ok(waiting)) => SizeHint::with_exact(waiting.saturating_add(coming)),
            (None, _) | (_, Err(_)) => SizeHint::default(),
        }
    }
}

impl<T: Tap> Drop for Relay<T> {
    fn drop(&mut self) {
        if let Some(mut flow) = self.flow.take() {
            flow.tap.caller_gone();
            let (limits, clock) = (self.limits, self.means.clock.clone());
            self.means.tasks.spawn_local("drain", async move {
                let draining = drain(flow, limits, &clock);
                // Running out of time drops the answer, which cancels it, and the tap.
                let _ = deadline(&*clock, limits.drain_timeout_ms, draining).await;
            });
        }
    }
}

/// Reads an answer to its end for its usage, for a caller who has gone.
async fn drain<T: Tap>(flow: Flow<T>, limits: Limits, clock: &SharedClock) {
    let Flow { mut answer, mut tap } = flow;
    let mut nowhere = VecDeque::new();
    let mut left = limits.drain_bytes;
    loop {
        match next_piece(&mut answer, &**clock, limits.waits).await {
            Err(how) => return tap.cut(&how, &mut nowhere),
            Ok(None) => return tap.complete(&mut nowhere),
            Ok(Some(piece)) => {
                let Some(rest) = left.checked_sub(piece.len()) else { return };
                left = rest;
                tap.pass(piece, &mut nowhere);
                nowhere.clear();
            }
        }
    }
}

/// The next piece of an answer; `None` at its end.
///
/// # Errors
/// [`Cut`].
pub async fn next_piece(
    answer: &mut AnswerBody,
    clock: &dyn Clock,
    waits: Waits,
) -> Result<Option<Bytes>, Cut> {
    loop {
        // What is here already needs no timer.
        let frame = match futures_util::poll!(answer.frame()) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let limit_ms = waits.silence_ms(clock.boot_ms());
                let came = deadline(clock, limit_ms, answer.frame()).await;
                came.ok_or_else(|| waits.cut(clock.boot_ms()))?
            }
        };
        match frame.transpose()?.map(Frame::into_data) {
            None => return Ok(None),
            Some(Ok(piece)) => return Ok(Some(piece)),
            // Trailers are the provider's own, and stay here.
            Some(Err(_)) => {}
        }
    }
}
