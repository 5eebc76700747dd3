//! Measures how long a store needs to open after a crash.
//!
//! `cargo run --release -p turnpike-store --example recovery -- DIRECTORY MEGABYTES` fills the
//! store and crashes; without the second argument it opens the store and says how long that took.

use std::path::Path;

use bytes::Bytes;
use turnpike_runtime::clock::{Clock, SystemClock};
use turnpike_store::embedded::Embedded;
use turnpike_store::kv::{Batch, Kv, Write};

/// Rows of one commit.
const ROWS: u64 = 500;
/// Bytes of one row's value.
const VALUE_BYTES: u64 = 1_000;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("name a directory")?;
    let started = SystemClock.boot_ms();
    let store = Embedded::open(Path::new(&directory))?;
    println!("opened in {} ms", SystemClock.boot_ms().saturating_sub(started));
    let Some(megabytes) = std::env::args().nth(2) else { return Ok(()) };
    let commits = megabytes.parse::<u64>()?.saturating_mul(1_000_000) / (ROWS * VALUE_BYTES);
    for commit in 0..commits {
        store.commit(rows(commit)).await?;
    }
    println!("filled with {megabytes} MB; crashing");
    std::process::abort();
}

fn rows(commit: u64) -> Batch {
    let length = usize::try_from(VALUE_BYTES).unwrap_or_default();
    let put = |row: u64| Write::Put {
        // Spread over the whole tree, as the rows of many organisations are.
        key: Bytes::from(format!("{:03}/{commit:08}/{row:08}", row % 997)),
        value: Bytes::from(vec![7; length]),
    };
    Batch { writes: (0..ROWS).map(put).collect(), ..Batch::default() }
}
