//! The ears: calls of gateways on their way to the shards, and every sign that a gateway lives.

use std::sync::Arc;

use turnpike_bus::seam::{Bus, Feed, ReadError, Request, Serve, Service, Start, Topic};
use turnpike_runtime::clock::SharedClock;
use turnpike_wire::authority::Call;
use turnpike_wire::form;

use crate::inbox::{Asked, Inboxes};
use crate::metrics::AuthorityMetrics;
use crate::presence::Presence;

/// How long lost ears rest before they listen again.
const REOPEN_MS: u64 = 200;

/// Listens to all gateways.
pub(crate) struct Ears {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: SharedClock,
    pub(crate) inboxes: Arc<Inboxes>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) metrics: AuthorityMetrics,
}

impl Ears {
    /// Takes calls for ever. Every projector hears each of them; whoever owns the shard answers.
    pub(crate) async fn take_calls(&self) {
        loop {
            match self.bus.serve(Serve::Authority(None)).await {
                Ok(mut requests) => {
                    self.presence.was_deaf();
                    loop {
                        match requests.next().await {
                            Ok(request) => self.take(request),
                            Err(error) => {
                                tracing::warn!(%error, "calls of gateways are not heard");
                                break;
                            }
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "calls of gateways are not heard"),
            }
            self.clock.sleep(REOPEN_MS).await;
        }
    }

    /// Takes receipts for ever, as signs of life.
    pub(crate) async fn take_receipts(&self) {
        loop {
            match self.bus.read(Feed::Receipts(None), Start::Now).await {
                Ok(mut reader) => loop {
                    match reader.next().await {
                        Ok(message) => {
                            if let Topic::Receipts { org, gateway } = message.topic {
                                self.presence.hear(org, gateway);
                            }
                        }
                        Err(ReadError::Trimmed) => {}
                        Err(error @ ReadError::Unavailable(_)) => {
                            tracing::warn!(%error, "receipts are not heard");
                            break;
                        }
                    }
                },
                Err(error) => tracing::warn!(%error, "receipts are not heard"),
            }
            self.clock.sleep(REOPEN_MS).await;
        }
    }

    fn take(&self, request: Request) {
        // Who asks, and for whom, says the subject, which the bus enforces.
        let Service::Authority { org, gateway } = request.service;
        self.presence.hear(org, gateway);
        match form::decode::<Call>(&request.payload) {
            Ok(call) => self.inboxes.ask(Asked { org, gateway, call, reply: request.reply }),
            Err(error) => {
                self.metrics.unreadable.inc();
                tracing::warn!(%org, %gateway, %error, "a call cannot be read");
            }
        }
    }
}
