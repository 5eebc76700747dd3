//! Rules about the order of commits, and of what is appended.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::{try_join, try_join_all};

use super::{Broken, Outcome, append, bytes, ensure, guarded, now, put, range, same, scan, write};
use crate::kv::{Batch, Entry, Kv};

/// Writers at once, and what each appends, as on the FoundationDB that the design was tried on.
const WRITERS: u8 = 8;
const APPENDS: u8 = 100;

pub(super) async fn stamps_grow_with_commits(kv: Arc<dyn Kv>) -> Outcome {
    let mut last = write(&*kv, [put("a", "0")]).await?;
    for number in 0..20_u8 {
        let next = write(&*kv, [put([number], "1")]).await?;
        ensure("a later commit has a greater stamp", next.stamp > last.stamp)?;
        ensure("a later commit has no smaller version", next.version >= last.version)?;
        last = next;
    }
    Ok(())
}

pub(super) async fn appends_are_keyed_by_stamp_and_number(kv: Arc<dyn Kv>) -> Outcome {
    let writes = [append("log/", "0"), put("x", "x"), append("b/", "1"), append("log/", "2")];
    let first = write(&*kv, writes).await?;
    let second = write(&*kv, [append("log/", "3")]).await?;
    let key = |prefix: &str, stamp: [u8; 10], number: u16| {
        bytes([prefix.as_bytes(), &stamp, &number.to_be_bytes()].concat())
    };
    let expected = vec![
        (key("log/", first.stamp.0, 0), bytes("0")),
        (key("log/", first.stamp.0, 2), bytes("2")),
        (key("log/", second.stamp.0, 0), bytes("3")),
    ];
    same("the log", scan(&*kv, range("log/", "log0", 10)).await?, expected)?;
    let expected = vec![(key("b/", first.stamp.0, 1), bytes("1"))];
    same("the other prefix", scan(&*kv, range("b/", "b0", 10)).await?, expected)
}

pub(super) async fn appends_do_not_conflict(kv: Arc<dyn Kv>) -> Outcome {
    let read_at = now(&*kv).await?;
    for number in 0..10_u8 {
        guarded(&*kv, read_at, "log/", [append("log/", [number])]).await?;
    }
    let found = scan(&*kv, range("log/", "log0", 20)).await?;
    let values: Vec<_> = found.into_iter().map(|(_, value)| value).collect();
    same("the values in order", values, (0..10_u8).map(|number| bytes([number])).collect())
}

/// Writers append side by side while a reader follows: it sees every append once, each writer's in
/// the order of its commits.
pub(super) async fn a_tail_misses_nothing(kv: Arc<dyn Kv>) -> Outcome {
    let writers = try_join_all((0..WRITERS).map(|writer| append_all(&*kv, writer)));
    let ((), _) = try_join(tail(&*kv), writers).await?;
    Ok(())
}

async fn append_all(kv: &dyn Kv, writer: u8) -> Outcome {
    for number in 0..APPENDS {
        let writes = vec![append("log/", [writer, number])];
        kv.commit(Batch { writes, ..Batch::default() }).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn tail(kv: &dyn Kv) -> Outcome {
    let total = usize::from(WRITERS).saturating_mul(usize::from(APPENDS));
    let mut next: HashMap<u8, u8> = HashMap::new();
    let mut begin = bytes("log/");
    let mut seen: usize = 0;
    while seen < total {
        for entry in scan(kv, range(&begin, "log0", 64)).await? {
            follow(&mut next, &entry)?;
            begin = bytes([&entry.0[..], &[0]].concat());
            seen = seen.saturating_add(1);
        }
        tokio::task::yield_now().await;
    }
    let behind = scan(kv, range(&begin, "log0", 64)).await?;
    same("what is left", behind, vec![])
}

/// Checks that `entry` is the next one of its writer.
fn follow(next: &mut HashMap<u8, u8>, (key, value): &Entry) -> Outcome {
    let [writer, number] = value[..] else {
        return Err(Broken(format!("a value that nobody wrote at {key:?}")));
    };
    let expected = next.entry(writer).or_default();
    same(&format!("the next append of writer {writer}"), number, *expected)?;
    *expected = expected.saturating_add(1);
    Ok(())
}
