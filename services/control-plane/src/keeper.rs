//! The keeper: notices that the stream of events is gone, so that it is made again.
//!
//! The relay would notice with the next event. Where none is made for an hour, gateways could not
//! read the stream for as long, and would grow too old to serve.

use std::sync::Arc;

use turnpike_bus::seam::{BusError, Feed, ReadError, Start};
use turnpike_domain::id::OrgId;

use crate::app::App;

/// The wait after the bus failed.
const RETRY_MS: u64 = 500;

/// Reads for ever what is of no interest here: whoever opens a reader in the name of a process that
/// makes the streams has them made.
pub(crate) async fn keep(app: Arc<App>) {
    loop {
        if let Err(error) = read(&app).await {
            tracing::warn!(%error, "the stream of events cannot be read");
        }
        app.clock.sleep(RETRY_MS).await;
    }
}

/// Reads the platform's events, of which there are few, until they cannot be read.
async fn read(app: &App) -> Result<(), BusError> {
    let mut reader = app.bus.read(Feed::Events(Some(OrgId::PLATFORM)), Start::Now).await?;
    loop {
        match reader.next().await {
            Ok(_) | Err(ReadError::Trimmed) => {}
            Err(ReadError::Unavailable(why)) => return Err(BusError::Unavailable(why)),
        }
    }
}
