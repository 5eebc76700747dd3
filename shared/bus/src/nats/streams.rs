//! The three streams: what they hold, for how long, and how they are made.

use std::time::Duration;

use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};
use turnpike_domain::time::{DAY_MS, MINUTE_MS, Timestamp};

use crate::feed::Family;
use crate::seam::Feed;
use crate::subject;

/// How long JetStream recognises an id: the window of the seam's contract.
const DUPLICATE_WINDOW: Duration = Duration::from_millis(2 * MINUTE_MS);

/// What a stream keeps; the older of two limits cuts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Bytes on disk.
    pub max_bytes: i64,
    /// Age in milliseconds.
    pub max_age_ms: u64,
}

/// The limits of the streams. What falls out of them is found at its source: events in the store,
/// spend in the gateways' spools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Servers that hold each message; 3 in a cluster.
    pub replicas: usize,
    /// `TURNPIKE_EVENTS`.
    pub events: Retention,
    /// `TURNPIKE_SPEND`.
    pub spend: Retention,
    /// `TURNPIKE_LEDGER`.
    pub ledger: Retention,
}

impl Default for StreamLimits {
    fn default() -> Self {
        // Sizes that a small machine has; a gateway that was away for longer bootstraps anyway.
        let week = |max_bytes| Retention { max_bytes, max_age_ms: 7 * DAY_MS };
        Self { replicas: 1, events: week(512 << 20), spend: week(1 << 30), ledger: week(1 << 30) }
    }
}

/// The stream of a kept family; the others have none.
pub(super) const fn name(family: Family) -> Option<&'static str> {
    match family {
        Family::Events => Some("TURNPIKE_EVENTS"),
        Family::Spend => Some("TURNPIKE_SPEND"),
        Family::Ledger => Some("TURNPIKE_LEDGER"),
        Family::Heartbeat | Family::Booked | Family::Receipts | Family::Recall => None,
    }
}

/// Makes the streams that are missing and changes the others to these limits.
pub(super) async fn ensure(
    context: &Context,
    limits: &StreamLimits,
    now: Timestamp,
) -> Result<(), CreateStreamError> {
    for (feed, retention) in [
        (Feed::Events(None), limits.events),
        (Feed::Spend(None), limits.spend),
        (Feed::Ledger(None), limits.ledger),
    ] {
        if let Some(name) = name(feed.family()) {
            let config = config(name, subject::of_feed(&feed), retention, limits.replicas);
            ensure_one(context, config, now).await?;
        }
    }
    Ok(())
}

fn config(name: &str, subject: String, retention: Retention, replicas: usize) -> Config {
    Config {
        name: name.to_owned(),
        subjects: vec![subject],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        max_bytes: retention.max_bytes,
        max_age: Duration::from_millis(retention.max_age_ms),
        num_replicas: replicas,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    }
}

async fn ensure_one(
    context: &Context,
    config: Config,
    now: Timestamp,
) -> Result<(), CreateStreamError> {
    match context.update_stream(config.clone()).await {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == CreateStreamErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    tracing::info!(stream = config.name, "the stream is made");
    // Sequences begin at the time in microseconds. A stream that was lost and made again so
    // begins behind every sequence of the old one, which took less than a message a microsecond:
    // a reader's place in the old stream is seen to be trimmed, and is never taken for a place in
    // the new one. Sequences stay exact in JavaScript (2^53) until the year 2255.
    let first_sequence = Some(now.0.saturating_mul(1_000).saturating_add(1));
    match context.create_stream(Config { first_sequence, ..config }).await {
        Ok(_) => Ok(()),
        Err(error) if is_name_in_use(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether another process made the stream in the meantime.
fn is_name_in_use(error: &CreateStreamError) -> bool {
    matches!(
        error.kind(),
        CreateStreamErrorKind::JetStream(error)
            if error.error_code() == ErrorCode::STREAM_NAME_EXIST
    )
}
