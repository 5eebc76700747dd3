//! Booked marks as they arrive, over every loss of the connection.

use std::sync::Arc;

use turnpike_bus::seam::{Feed, Message, ReadError, Reader, Start, Topic};
use turnpike_domain::id::OrgId;
use turnpike_runtime::clock::SharedClock;
use turnpike_wire::spend::{self, Booked};

use super::Route;

/// How long a lost reader rests before it is opened again. Marks come every second.
const REOPEN_MS: u64 = 500;

/// Yields what the projector says it booked of this gateway.
pub(super) struct Marks {
    route: Route,
    clock: SharedClock,
    reader: Option<Box<dyn Reader>>,
}

impl Marks {
    pub(super) fn new(route: Route, clock: SharedClock) -> Self {
        Self { route, clock, reader: None }
    }

    /// The next mark; waits for one. Cancel-safe.
    pub(super) async fn next(&mut self) -> (OrgId, Booked) {
        loop {
            let Some(reader) = &mut self.reader else {
                self.open().await;
                continue;
            };
            let message = reader.next().await;
            if let Some(mark) = self.take(message) {
                return mark;
            }
        }
    }

    /// A mark that is already here.
    pub(super) fn ready(&mut self) -> Option<(OrgId, Booked)> {
        while let Some(message) = self.reader.as_mut()?.ready() {
            let mark = self.take(message);
            if mark.is_some() {
                return mark;
            }
        }
        None
    }

    async fn open(&mut self) {
        let feed = Feed::Booked(self.route.org, self.route.gateway);
        let bus = Arc::clone(&self.route.bus);
        match bus.read(feed, Start::Now).await {
            Ok(reader) => self.reader = Some(reader),
            Err(error) => {
                tracing::debug!(%error, "booked marks cannot be read");
                self.clock.sleep(REOPEN_MS).await;
            }
        }
    }

    fn take(&mut self, message: Result<Message, ReadError>) -> Option<(OrgId, Booked)> {
        match message {
            Ok(Message { topic: Topic::Booked { org, .. }, payload, .. }) => {
                // What cannot be read says nothing: without progress the records go again.
                spend::booked(&payload).ok().map(|mark| (org, mark))
            }
            Ok(_) | Err(ReadError::Trimmed) => None,
            Err(ReadError::Unavailable(_)) => {
                self.reader = None;
                None
            }
        }
    }
}
