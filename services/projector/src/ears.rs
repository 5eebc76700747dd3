//! The ears: calls on their way to the shards, and every sign that a gateway lives.

use std::sync::Arc;

use turnpike_bus::seam::{Bus, Feed, ReadError, Request, Serve, Service, Start, Topic};
use turnpike_runtime::clock::SharedClock;
use turnpike_wire::form;

use crate::inbox::{Asked, Inboxes, What};
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
            self.serve(Serve::Authority(None), || self.presence.was_deaf()).await;
            self.clock.sleep(REOPEN_MS).await;
        }
    }

    /// Takes the control plane's questions for ever, in the same way.
    pub(crate) async fn take_questions(&self) {
        loop {
            self.serve(Serve::Rates(None), || {}).await;
            self.clock.sleep(REOPEN_MS).await;
        }
    }

    /// Takes what is asked until the bus is lost; `opened` is called when it can be heard.
    async fn serve(&self, serve: Serve, opened: impl Fn()) {
        let mut requests = match self.bus.serve(serve).await {
            Ok(requests) => requests,
            Err(error) => return tracing::warn!(%error, ?serve, "calls are not heard"),
        };
        opened();
        loop {
            match requests.next().await {
                Ok(request) => self.take(request),
                Err(error) => return tracing::warn!(%error, ?serve, "calls are not heard"),
            }
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
        let Request { service, payload, reply } = request;
        // Who asks, and for whom, says the subject, which the bus enforces.
        let (org, what) = match service {
            Service::Authority { org, gateway } => {
                self.presence.hear(org, gateway);
                (org, form::decode(&payload).map(|call| What::Call(gateway, call)))
            }
            Service::Rates { org } => (org, form::decode(&payload).map(What::Rates)),
        };
        match what {
            Ok(what) => self.inboxes.ask(Asked { org, what, reply }),
            Err(error) => {
                self.metrics.unreadable.inc();
                tracing::warn!(?service, %error, "a call cannot be read");
            }
        }
    }
}
