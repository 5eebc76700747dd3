//! Options of the projector.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use turnpike_bus::nats::{BusAddress, BusOptions};
use turnpike_domain::time::MINUTE_MS;
use turnpike_runtime::config::{Mistakes, Options};
use turnpike_runtime::telemetry::TelemetryOptions;
use turnpike_store::open;

/// All options of the projector.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectorOptions {
    /// Where health and metrics listen.
    pub admin_listen: SocketAddr,
    /// `redb:DIR`, or `fdb:CLUSTER_FILE` where FoundationDB is built in.
    pub store: String,
    /// What stands before every key in a FoundationDB cluster, so that several installations can
    /// share one; the same on every process of an installation. Without meaning to redb.
    pub store_root: String,
    /// Where messages travel: `nats://HOST:PORT` or `tls://HOST:PORT`; `local` is for
    /// `turnpike dev`.
    pub bus: BusAddress,
    /// As whom this process logs in to NATS.
    pub nats: BusOptions,
    /// The most milliseconds to book what has arrived when stopping. What is left is sent again.
    pub drain_ms: u64,
    /// After so many milliseconds of silence a gateway is given up, and what it holds is lost.
    pub lose_after_ms: u64,
    /// How long the request log and the rows of commands are kept.
    pub keep: KeepOptions,
    /// Logging.
    pub log: TelemetryOptions,
}

/// The shortest silence that may be taken for the end of a gateway: receipts come each second, and
/// a gateway that is started again is back within it.
const MIN_LOSE_AFTER_MS: u64 = MINUTE_MS;

/// For how many days rows are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeepOptions {
    /// The request log. Totals are kept for ever.
    pub request_days: u64,
    /// Rows of commands: for so long a repeated command is recognised.
    pub command_days: u64,
}

impl Default for ProjectorOptions {
    fn default() -> Self {
        Self {
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 7072)),
            store: "redb:turnpike-data".into(),
            store_root: open::DEFAULT_ROOT.into(),
            bus: BusAddress::default(),
            nats: BusOptions::default(),
            drain_ms: 5_000,
            // A gateway that was cut off for longer than a quarter of an hour seldom comes back by
            // itself (money.md, "Leases").
            lose_after_ms: 20 * MINUTE_MS,
            keep: KeepOptions::default(),
            log: TelemetryOptions::default(),
        }
    }
}

impl Default for KeepOptions {
    fn default() -> Self {
        // A quarter's bill can be explained request by request; a caller repeats within days.
        Self { request_days: 90, command_days: 7 }
    }
}

impl Options for ProjectorOptions {
    fn check(&self, mistakes: &mut Mistakes) {
        let store = self.store.starts_with("redb:") || self.store.starts_with("fdb:");
        mistakes.unless(store, "store", "must be redb:DIR or fdb:CLUSTER_FILE");
        let root = open::is_root(&self.store_root);
        mistakes.unless(root, "store_root", "must be 1 to 40 of a-z A-Z 0-9 . _ -");
        self.nats.check(&self.bus, mistakes);
        let long = self.lose_after_ms >= MIN_LOSE_AFTER_MS;
        mistakes.unless(long, "lose_after_ms", "must be at least 60000");
        mistakes.within("keep", |mistakes| self.keep.check(mistakes));
        mistakes.within("log", |mistakes| self.log.check(mistakes));
    }
}

impl Options for KeepOptions {
    fn check(&self, mistakes: &mut Mistakes) {
        mistakes.unless(self.request_days >= 1, "request_days", "must be at least 1");
        mistakes.unless(self.command_days >= 1, "command_days", "must be at least 1");
    }
}
