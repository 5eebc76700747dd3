//! Runs one core: its listener, its pool, its requests, and their end.

use std::rc::Rc;

use turnpike_runtime::connector::{Connector, ConnectorOptions, TlsError};
use turnpike_runtime::tasks::Tasks;

use super::{Bounds, Means, serve};
use crate::body::Budget;
use crate::parts::CoreParts;
use crate::phase::{Site, answer};
use crate::upstream::Pool;

/// What the request bodies of one core may take in memory, in bytes, if one body alone may not take
/// more: at 1 MB a body and 250 of them at a time.
const BODIES_BYTES: usize = 256 * 1024 * 1024;
/// What requests that were told to end at their next await get for it, in milliseconds.
const ABORT_MS: u64 = 1_000;

/// Serves until the parts are told to stop. Then requests are taken for as long as it may take
/// until everybody has noticed, each as the last of its connection, and what runs comes to its end
/// for as long as the options allow. Every request is settled when this returns. Must be called on
/// the core's own runtime.
///
/// # Errors
/// [`TlsError`] if the system's roots cannot be used.
pub async fn serve_core(parts: CoreParts) -> Result<(), TlsError> {
    let CoreParts { core, leases, permits, lane, listener, cores, number, healths, stop } = parts;
    let options = core.options().clone();
    let clock = core.clock().clone();
    let connector = Connector::new(
        &ConnectorOptions {
            allow_private: options.allow_private,
            allowed_networks: options.allowed_networks.clone(),
            ..ConnectorOptions::default()
        },
        clock.clone(),
    )?;
    let tasks = Tasks::new("requests");
    let pool = Pool::new(connector, clock.clone(), tasks.clone(), (healths, number));
    let bodies = Budget::new(BODIES_BYTES.max(options.max_body_bytes));
    let site = Rc::new(Site { core, leases, permits, lane, pool, bodies, tasks: tasks.clone() });
    let means = Means {
        bounds: Bounds {
            max_connections: options.max_connections.div_ceil(cores.get()),
            max_head_bytes: options.max_head_bytes,
            head_timeout_ms: options.head_timeout_ms,
            idle_timeout_ms: options.idle_timeout_ms,
        },
        clock: clock.clone(),
        tasks: tasks.clone(),
        leaving: stop.child_token(),
    };
    let handle = move |request, peer| answer(Rc::clone(&site), request, peer);
    let serving = serve(listener, handle, means);
    tokio::join!(serving, async {
        stop.cancelled().await;
        clock.sleep(options.notice_ms).await;
        if !tasks.drain(&*clock, options.drain_ms).await {
            tasks.drain(&*clock, ABORT_MS).await;
        }
    });
    Ok(())
}
