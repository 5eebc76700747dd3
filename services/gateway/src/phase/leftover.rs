//! Reads on what a refused caller is still sending, so that he gets to read the refusal.
//!
//! Closing a socket with bytes unread makes the kernel reset the connection, and a client that is
//! still writing then sees a broken connection instead of its answer, and tries again.

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use turnpike_runtime::clock::deadline;

use super::Site;

/// How long is read on, in milliseconds: a client that reads nothing before it has written all
/// needs as long as its writing takes.
const READ_ON_MS: u64 = 5_000;
/// How many bytes are read on. Larger bodies are worth a reset.
const READ_ON_BYTES: usize = 64 * 1024 * 1024;

/// Reads the rest of a body and forgets it, beside the answer, within limits.
pub(super) fn read_on(site: &Site, mut body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    let clock = site.core.clock().clone();
    site.tasks.spawn_local("leftover", async move {
        let reading = async {
            let mut bytes = 0_usize;
            while let Some(Ok(frame)) = body.frame().await {
                bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
                if bytes > READ_ON_BYTES {
                    break;
                }
            }
        };
        deadline(&*clock, READ_ON_MS, reading).await;
    });
}
