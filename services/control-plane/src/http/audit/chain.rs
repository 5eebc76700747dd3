//! The chain of hashes: checked on the server, or given out whole for whoever checks it elsewhere.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use turnpike_store::error::StoreError;
use turnpike_store::log;
use turnpike_wire::chain::Chain;
use turnpike_wire::record::Received;

use super::STEP;
use crate::auth::Caller;
use crate::http::ask::Ask;
use crate::http::reply::Reply;
use crate::http::route::{Answer, Param};
use crate::http::stream as stored;
use crate::problem::Problem;

/// The content type of a copy (RFC 8742).
pub(super) const CBOR_SEQUENCE: &str = "application/cbor-seq";

pub(super) const CHECKPOINT: &[Param] = &[Param::text(
    "checkpoint",
    "`SEQ:HASH` of an earlier check: a stream that does not have it was cut or written anew.",
)];

pub(super) async fn verify(ask: Ask, caller: Caller) -> Answer {
    caller.reads_all()?;
    let head = log::head(&*ask.snapshot().await?, ask.org).await?;
    let mut chain = Chain::new(ask.text("checkpoint")?);
    let mut read = 0;
    while read < head.seq && chain.holds() {
        let Some(received) = readable(&ask, read, head.seq).await? else {
            chain.breaks();
            break;
        };
        for event in received {
            if event.record.is_err() {
                chain.breaks();
            }
            chain.take(&event);
            read = event.seq.max(read.saturating_add(1));
        }
    }
    chain.ends(head.hash);
    Reply::json(&chain.verification())
}

/// The next events behind `after`, as many as can be read at once; nothing if not even the next one
/// can. Each page is read at a moment of its own: events never change, and a long walk would
/// outlive any one moment of the store.
async fn readable(ask: &Ask, after: u64, last: u64) -> Result<Option<Vec<Received>>, Problem> {
    let snapshot = ask.snapshot().await?;
    let next = after.saturating_add(1);
    for upper in [after.saturating_add(STEP).min(last), next] {
        match stored::page(&*snapshot, ask.org, after, upper).await {
            Ok(received) => return Ok(Some(received)),
            // Something in this page is missing or broken: the next event is tried alone.
            Err(StoreError::Corrupt { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

pub(super) async fn export(ask: Ask, caller: Caller) -> Answer {
    caller.reads_all()?;
    let last = log::head(&*ask.snapshot().await?, ask.org).await?.seq;
    let pages = stream::unfold((ask, 0), move |(ask, after)| async move {
        if after >= last {
            return None;
        }
        // A copy that breaks off is told by the connection: a short one must not look whole.
        Some(match page(&ask, after, last).await {
            Ok((bodies, read)) => (Ok(bodies), (ask, read)),
            Err(problem) => (Err(std::io::Error::other(problem.detail)), (ask, last)),
        })
    });
    Ok(Reply::body(CBOR_SEQUENCE, Body::from_stream(pages)))
}

/// The stored bodies behind `after`, as many as can be read at once, and the seq of the last.
async fn page(ask: &Ask, after: u64, last: u64) -> Result<(Bytes, u64), Problem> {
    let events = log::page(&*ask.snapshot().await?, ask.org, after, last).await?;
    let read = events.last().map_or(last, |event| event.seq);
    let mut bodies = BytesMut::new();
    for event in &events {
        bodies.extend_from_slice(&event.body);
    }
    Ok((bodies.freeze(), read))
}
