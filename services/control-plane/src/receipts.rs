//! Receipts: gateways' words of how far they are, taken from the bus into the presence.

use std::sync::Arc;

use turnpike_bus::seam::{Feed, Message, ReadError, Start, Topic};
use turnpike_wire::form;
use turnpike_wire::heartbeat::{MAX_PROVIDERS, MAX_SPENT, Receipt};

use crate::app::App;
use crate::presence::Promise;

/// The wait after the bus failed.
const RETRY_MS: u64 = 200;

/// Listens for ever. Receipts are not kept by the bus: what is missed comes again within a second.
pub(crate) async fn listen(app: Arc<App>) {
    loop {
        match app.bus.read(Feed::Receipts(None), Start::Now).await {
            Ok(mut reader) => loop {
                match reader.next().await {
                    Ok(message) => take(&app, &message),
                    Err(ReadError::Trimmed) => {}
                    Err(error @ ReadError::Unavailable(_)) => {
                        tracing::warn!(%error, "receipts are not heard");
                        break;
                    }
                }
            },
            Err(error) => tracing::warn!(%error, "receipts are not heard"),
        }
        app.clock.sleep(RETRY_MS).await;
    }
}

fn take(app: &App, message: &Message) {
    let Topic::Receipts { org, gateway } = message.topic else { return };
    match form::decode::<Receipt>(&message.payload) {
        Ok(Receipt { epoch, position, at, complete_to, spent, providers, quarantine }) => {
            app.presence.hear(org, gateway, epoch, position, at);
            app.presence.told_of_quarantine(org, gateway, quarantine);
            if let Some(complete_to) = complete_to.filter(|_| spent.len() <= MAX_SPENT) {
                app.presence.promised(org, gateway, Promise { complete_to, spent });
            }
            if !providers.is_empty() && providers.len() <= MAX_PROVIDERS {
                app.presence.told_of_providers(org, gateway, providers);
            }
        }
        Err(error) => tracing::warn!(%gateway, %error, "a receipt cannot be read"),
    }
}
