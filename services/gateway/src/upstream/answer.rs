//! The body of a provider's answer, which gives its connection back when it has been read.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Slot;
use super::broken::Broken;
use super::connection::Connection;
use super::framing::{Framing, Piece};

/// An answer's body. Dropped before its end it closes the connection: that is how a request is
/// cancelled in HTTP/1.1.
pub struct AnswerBody {
    framing: Framing,
    /// Held until the end.
    held: Option<(Box<Connection>, Slot)>,
    /// The connection may be used again.
    keeps: bool,
}

impl AnswerBody {
    pub(super) fn new(
        connection: Box<Connection>,
        slot: Slot,
        framing: Framing,
        keeps: bool,
    ) -> Self {
        let mut body = Self { framing, held: Some((connection, slot)), keeps };
        body.give_back_at_end();
        body
    }

    fn give_back_at_end(&mut self) {
        if self.framing.is_over()
            && let Some((connection, slot)) = self.held.take()
            && self.keeps
        {
            Rc::clone(&slot.remote).keep(connection);
        }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            let Some((connection, _)) = &mut self.held else { return Poll::Ready(Ok(None)) };
            match self.framing.next(&mut connection.read)? {
                Piece::Data(data) => return Poll::Ready(Ok(Some(data))),
                Piece::End => return Poll::Ready(Ok(None)),
                Piece::More => {}
            }
            if std::task::ready!(connection.poll_more(context))? == 0 {
                self.framing.closed()?;
            }
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let body = self.get_mut();
        let polled = std::task::ready!(body.poll_piece(context));
        match &polled {
            Ok(_) => body.give_back_at_end(),
            Err(_) => body.held = None,
        }
        Poll::Ready(polled.map(|piece| piece.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.framing.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.framing.announced().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
