//! The feed as a store serves it that fails some reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use turnpike_domain::time::Timestamp;
use turnpike_runtime::clock::PausedClock;

use super::*;
use crate::engines;
use crate::execute::Executor;
use crate::kv::{BoxFuture, ReadError, Scan, Version};
use crate::orders::{attempt, create, rename};
use crate::streams::Streams;

const ORG: OrgId = OrgId(7);
const EVENTS: u64 = 12;

/// A moment of which some rows can be read, and then one cannot.
struct Failing {
    below: Arc<dyn Snapshot>,
    left: AtomicUsize,
}

impl Snapshot for Failing {
    fn version(&self) -> Version {
        self.below.version()
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, ReadError>> {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            return Box::pin(std::future::ready(Err(ReadError::TooOld)));
        }
        self.below.get(key)
    }

    fn scan<'a>(&'a self, scan: Scan) -> BoxFuture<'a, Result<Vec<Entry>, ReadError>> {
        self.below.scan(scan)
    }
}

/// Found by running a house on a store that failed one read in thirty: who was 256 events behind
/// never read a page of them.
#[tokio::test(start_paused = true)]
async fn a_follower_gets_on_although_reads_fail() {
    let kv = engines::fresh();
    let streams = Arc::new(Streams::new(Arc::clone(&kv)));
    let executor = Executor::new(streams, Arc::new(PausedClock::new(Timestamp(0))));
    executor.organisation(ORG, &create(1), attempt(1, 1)).await.unwrap();
    for id in 2..=EVENTS {
        executor.organisation(ORG, &rename(id, id), attempt(1, 1)).await.unwrap();
    }
    let below = kv.snapshot().await.unwrap();
    let whole = feed(&*below, Position(0), 100).await.unwrap();
    let (mut after, mut read) = (Position(0), Vec::new());
    while read.len() < whole.len() {
        let failing = Failing { below: Arc::clone(&below), left: AtomicUsize::new(5) };
        read.extend(feed(&failing, after, 100).await.unwrap());
        after = read.last().unwrap().position;
    }
    assert_eq!(read, whole);
    assert_eq!(u64::try_from(whole.len()), Ok(EVENTS));
    let failing = Failing { below, left: AtomicUsize::new(0) };
    let nothing = feed(&failing, Position(0), 100).await;
    assert_eq!(nothing, Err(StoreError::Read(ReadError::TooOld)));
}
