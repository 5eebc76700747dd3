//! The bus inside one process, for `turnpike dev` and for simulations.
//!
//! Nothing here is random and nothing runs in the background: on one thread with a paused clock,
//! the same calls give the same messages in the same order.

mod calls;
mod log;

use std::sync::Arc;

use bytes::Bytes;
use turnpike_runtime::clock::SharedClock;

use crate::feed::Family;
use crate::limits;
use crate::seam::{
    BoxFuture, Bus, BusError, Feed, Publish, ReadError, Reader, Requests, Serve, Service, Start,
};
use calls::Calls;
use log::{Log, LogReader};

/// Bytes that one kept family holds. A reader in the same process is behind by more only if it
/// hangs, and three full families still fit on a small machine.
pub const KEPT_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of a family that is not kept: what its readers may be behind before they lose messages.
const PASSING_BYTES: usize = 4 * 1024 * 1024;

/// A bus in process. Clones are the same bus.
#[derive(Clone)]
pub struct LocalBus {
    clock: SharedClock,
    logs: Arc<Logs>,
    calls: Arc<Calls>,
}

/// One log for each family.
struct Logs {
    events: Arc<Log>,
    heartbeat: Arc<Log>,
    spend: Arc<Log>,
    booked: Arc<Log>,
    receipts: Arc<Log>,
    recall: Arc<Log>,
    ledger: Arc<Log>,
}

impl LocalBus {
    /// A bus that holds [`KEPT_BYTES`] of each kept family.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Self::with_kept_bytes(clock, KEPT_BYTES)
    }

    /// A bus that holds `kept_bytes` of each kept family, and the last message whatever its size.
    #[must_use]
    pub fn with_kept_bytes(clock: SharedClock, kept_bytes: usize) -> Self {
        let log = |family: Family| {
            let max_bytes = if family.kept() { kept_bytes } else { PASSING_BYTES };
            Arc::new(Log::new(&clock, max_bytes, family.kept()))
        };
        let logs = Logs {
            events: log(Family::Events),
            heartbeat: log(Family::Heartbeat),
            spend: log(Family::Spend),
            booked: log(Family::Booked),
            receipts: log(Family::Receipts),
            recall: log(Family::Recall),
            ledger: log(Family::Ledger),
        };
        Self { clock, logs: Arc::new(logs), calls: Arc::default() }
    }
}

impl Logs {
    const fn of(&self, family: Family) -> &Arc<Log> {
        match family {
            Family::Events => &self.events,
            Family::Heartbeat => &self.heartbeat,
            Family::Spend => &self.spend,
            Family::Booked => &self.booked,
            Family::Receipts => &self.receipts,
            Family::Recall => &self.recall,
            Family::Ledger => &self.ledger,
        }
    }
}

impl Bus for LocalBus {
    fn publish(&self, message: Publish) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move {
            limits::check(&message)?;
            self.logs.of(message.topic.family()).append(message, self.clock.boot_ms());
            Ok(())
        })
    }

    fn read(&self, feed: Feed, start: Start) -> BoxFuture<'_, Result<Box<dyn Reader>, BusError>> {
        Box::pin(async move {
            let log = Arc::clone(self.logs.of(feed.family()));
            Ok(Box::new(LogReader::new(log, feed, start)) as Box<dyn Reader>)
        })
    }

    fn call(
        &self,
        service: Service,
        payload: Bytes,
        deadline_ms: u64,
    ) -> BoxFuture<'_, Result<Bytes, BusError>> {
        Box::pin(async move {
            limits::check_payload(payload.len())?;
            self.calls.call(&*self.clock, service, payload, deadline_ms).await
        })
    }

    fn serve(&self, serve: Serve) -> BoxFuture<'_, Result<Box<dyn Requests>, BusError>> {
        Box::pin(async move { Ok(Box::new(self.calls.serve(serve)) as Box<dyn Requests>) })
    }
}

impl Reader for LogReader {
    fn next(&mut self) -> BoxFuture<'_, Result<crate::seam::Message, ReadError>> {
        Box::pin(self.wait())
    }

    fn ready(&mut self) -> Option<Result<crate::seam::Message, ReadError>> {
        self.take()
    }
}
