//! Measures commits of the embedded store: by its holder and by a guest, one caller and many.
//!
//! `cargo run --release -p turnpike-store --example commits -- DIRECTORY`

use std::path::Path;

use bytes::Bytes;
use futures_util::future::join_all;
use turnpike_runtime::clock::{Clock, SystemClock, system};
use turnpike_store::kv::{Batch, Kv, Write};
use turnpike_store::shared::Shared;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("name a directory")?;
    let holder = Shared::open(Path::new(&directory), system()).await?;
    let guest = Shared::open(Path::new(&directory), system()).await?;
    for (name, store) in [("holder", &holder), ("guest", &guest)] {
        for (callers, commits) in [(1, 500), (64, 100), (512, 100)] {
            let started = SystemClock.boot_us();
            let work = (0..callers).map(|caller| commit_all(store, caller, commits));
            for done in join_all(work).await {
                done?;
            }
            let spent_us = SystemClock.boot_us().saturating_sub(started).max(1);
            let rate = callers.saturating_mul(commits).saturating_mul(1_000_000) / spent_us;
            println!("{name}, {callers} callers: {rate} commits/s");
        }
    }
    Ok(())
}

/// Commits as a command does: it reads, guards its head, writes four rows and appends one.
async fn commit_all(
    kv: &dyn Kv,
    caller: u64,
    commits: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let head = Bytes::from(format!("head/{caller}"));
    let value = Bytes::from(vec![7; 200]);
    for number in 0..commits {
        let snapshot = kv.snapshot().await?;
        snapshot.get(&head).await?;
        let put = |name: &str| Write::Put {
            key: Bytes::from(format!("{name}/{caller}/{number}")),
            value: value.clone(),
        };
        let writes = vec![
            Write::Put { key: head.clone(), value: value.clone() },
            put("events"),
            put("command"),
            put("state"),
            Write::Append { prefix: Bytes::from_static(b"log/"), value: value.clone() },
        ];
        let unchanged = vec![head.clone()];
        kv.commit(Batch { read_at: snapshot.version(), unchanged, writes }).await?;
    }
    Ok(())
}
