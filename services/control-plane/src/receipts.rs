//! What is heard over the bus, taken into the presence: gateways' receipts, and heartbeats.

use std::sync::Arc;

use turnpike_bus::seam::{Feed, Message, ReadError, Start, Topic};
use turnpike_domain::id::OrgId;
use turnpike_wire::form;
use turnpike_wire::heartbeat::{MAX_LOST, MAX_PROVIDERS, MAX_SPENT, Receipt};

use crate::app::App;
use crate::presence::Promise;

/// The wait after the bus failed.
const RETRY_MS: u64 = 200;

/// Takes receipts for ever. The bus does not keep them: what is missed comes again within a second.
pub(crate) async fn listen(app: Arc<App>) {
    hear(&app, Feed::Receipts(None), |message| take(&app, message)).await;
}

/// Takes heartbeats for ever, also those of this very process: a relay that nobody hears does not
/// hear itself.
pub(crate) async fn listen_to_heartbeats(app: Arc<App>) {
    let feed = Feed::Heartbeat(Some(OrgId::PLATFORM));
    hear(&app, feed, |_| app.presence.beat()).await;
}

async fn hear(app: &App, feed: Feed, take: impl Fn(&Message)) {
    loop {
        match app.bus.read(feed, Start::Now).await {
            Ok(mut reader) => loop {
                match reader.next().await {
                    Ok(message) => take(&message),
                    Err(ReadError::Trimmed) => {}
                    Err(error @ ReadError::Unavailable(_)) => {
                        tracing::warn!(%error, ?feed, "the bus is not heard");
                        break;
                    }
                }
            },
            Err(error) => tracing::warn!(%error, ?feed, "the bus is not heard"),
        }
        app.clock.sleep(RETRY_MS).await;
    }
}

fn take(app: &App, message: &Message) {
    let Topic::Receipts { org, gateway } = message.topic else { return };
    // What is kept of receipts must not grow by whoever may send them in any name.
    if !app.directory.may_speak(org, gateway) {
        return;
    }
    match form::decode::<Receipt>(&message.payload) {
        Ok(receipt) => {
            let Receipt { epoch, position, at, complete_to, spent, .. } = receipt;
            let Receipt { providers, quarantine, mut lost, .. } = receipt;
            app.presence.hear(org, gateway, epoch, position, at);
            app.presence.told_of_quarantine(org, gateway, quarantine);
            lost.truncate(MAX_LOST);
            app.presence.told_of_lost(org, gateway, lost);
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
