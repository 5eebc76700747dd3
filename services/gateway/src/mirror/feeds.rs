//! The events and heartbeats that concern this gateway, as one row of messages.

use futures_util::future::select_all;
use turnpike_bus::seam::{Bus, BusError, Feed, Message, ReadError, Reader, Start};
use turnpike_domain::id::OrgId;

/// All readers of the mirror.
pub(super) struct Feeds {
    readers: Vec<Box<dyn Reader>>,
}

impl Feeds {
    /// Opens the feeds of one organisation and the platform, or of all. They stand when this
    /// answers: what is published later is not missed.
    ///
    /// The heartbeat on an organisation's topic speaks of the platform's stream too; the one on the
    /// platform's topic speaks of all.
    pub(super) async fn open(bus: &dyn Bus, org: Option<OrgId>) -> Result<Self, BusError> {
        let heartbeat = Feed::Heartbeat(Some(org.unwrap_or(OrgId::PLATFORM)));
        let feeds = match org {
            Some(_) => vec![Feed::Events(Some(OrgId::PLATFORM)), Feed::Events(org), heartbeat],
            None => vec![Feed::Events(None), heartbeat],
        };
        let mut readers = Vec::new();
        for feed in feeds {
            readers.push(bus.read(feed, Start::Now).await?);
        }
        Ok(Self { readers })
    }

    /// The next message; waits for one. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Message, ReadError> {
        select_all(self.readers.iter_mut().map(|reader| reader.next())).await.0
    }

    /// A message that is already here; events before heartbeats, which speak of them.
    pub(super) fn ready(&mut self) -> Option<Result<Message, ReadError>> {
        self.readers.iter_mut().find_map(|reader| reader.ready())
    }
}
