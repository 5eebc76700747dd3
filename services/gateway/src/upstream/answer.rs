//! The body of a provider's answer, which gives its connection back when it has been read.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{Sender, Slot};

/// An answer's body. Dropped before its end it closes the connection: that is how a request is
/// cancelled in HTTP/1.1.
pub struct AnswerBody {
    incoming: Incoming,
    /// Held until the end.
    connection: Option<(Sender, Slot)>,
}

impl AnswerBody {
    pub(super) fn new(incoming: Incoming, sender: Sender, slot: Slot) -> Self {
        let mut body = Self { incoming, connection: Some((sender, slot)) };
        if body.incoming.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        if let Some((sender, slot)) = self.connection.take() {
            Rc::clone(&slot.0).keep(sender);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let body = self.get_mut();
        let polled = Pin::new(&mut body.incoming).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(_))) if body.incoming.is_end_stream() => body.give_back(),
            Poll::Ready(None) => body.give_back(),
            Poll::Ready(Some(Err(_))) => body.connection = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
