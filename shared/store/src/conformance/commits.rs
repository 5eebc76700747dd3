//! Rules about when a commit happens, and whole.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::try_join_all;

use super::{
    Broken, Outcome, bytes, delete, ensure, guarded, now, put, range, read, same, scan, write,
};
use crate::kv::{Batch, CommitError, Kv, Version};

pub(super) async fn later_writes_of_a_batch_win(kv: Arc<dyn Kv>) -> Outcome {
    write(&*kv, [put("a", "1"), put("a", "2"), put("b", "1"), delete("b")]).await?;
    write(&*kv, [delete("c"), put("c", "1")]).await?;
    same("put, put", read(&*kv, "a").await?, Some(bytes("2")))?;
    same("put, delete", read(&*kv, "b").await?, None)?;
    same("delete, put", read(&*kv, "c").await?, Some(bytes("1")))
}

pub(super) async fn a_batch_is_all_or_nothing(kv: Arc<dyn Kv>) -> Outcome {
    write(&*kv, [put("guard", "1"), put("kept", "1")]).await?;
    let read_at = now(&*kv).await?;
    write(&*kv, [put("guard", "2")]).await?;
    let unchanged = vec![bytes("kept"), bytes("guard")];
    let writes = vec![put("a", "1"), delete("kept"), super::append("log/", "1")];
    let answer = kv.commit(Batch { read_at, unchanged, writes }).await;
    same("the answer", answer, Err(CommitError::Conflict))?;
    let all = scan(&*kv, range("", [0xff], 10)).await?;
    let expected = vec![(bytes("guard"), bytes("2")), (bytes("kept"), bytes("1"))];
    same("all rows", all, expected)
}

pub(super) async fn a_changed_key_is_a_conflict(kv: Arc<dyn Kv>) -> Outcome {
    let read_at = now(&*kv).await?;
    write(&*kv, [put("head", "1")]).await?;
    let answer = guarded(&*kv, read_at, "head", [put("head", "2")]).await;
    same("the answer", answer, Err(CommitError::Conflict))?;
    same("the value", read(&*kv, "head").await?, Some(bytes("1")))?;
    let read_at = now(&*kv).await?;
    guarded(&*kv, read_at, "head", [put("head", "3")]).await?;
    same("decided afresh", read(&*kv, "head").await?, Some(bytes("3")))
}

pub(super) async fn an_unchanged_key_is_none(kv: Arc<dyn Kv>) -> Outcome {
    write(&*kv, [put("head", "1")]).await?;
    let read_at = now(&*kv).await?;
    write(&*kv, [put("other", "1"), put("hea", "1"), put("head\0", "1")]).await?;
    guarded(&*kv, read_at, "head", [put("head", "2")]).await?;
    same("the value", read(&*kv, "head").await?, Some(bytes("2")))
}

pub(super) async fn an_absent_key_counts_as_unchanged(kv: Arc<dyn Kv>) -> Outcome {
    let read_at = now(&*kv).await?;
    guarded(&*kv, read_at, "command", [put("command", "1")]).await?;
    let answer = guarded(&*kv, read_at, "command", [put("command", "2")]).await;
    same("the second", answer, Err(CommitError::Conflict))
}

pub(super) async fn a_deleted_key_is_a_conflict(kv: Arc<dyn Kv>) -> Outcome {
    write(&*kv, [put("gone", "1")]).await?;
    let read_at = now(&*kv).await?;
    write(&*kv, [delete("gone")]).await?;
    let answer = guarded(&*kv, read_at, "gone", [put("a", "1")]).await;
    same("deleted", answer, Err(CommitError::Conflict))?;
    let read_at = now(&*kv).await?;
    write(&*kv, [put("gone", "1")]).await?;
    write(&*kv, [delete("gone")]).await?;
    let answer = guarded(&*kv, read_at, "gone", [put("a", "1")]).await;
    same("absent, made, deleted", answer, Err(CommitError::Conflict))
}

pub(super) async fn a_delete_of_nothing_is_a_write(kv: Arc<dyn Kv>) -> Outcome {
    let read_at = now(&*kv).await?;
    write(&*kv, [delete("never")]).await?;
    let answer = guarded(&*kv, read_at, "never", [put("a", "1")]).await;
    same("the answer", answer, Err(CommitError::Conflict))
}

pub(super) async fn the_same_value_is_a_write(kv: Arc<dyn Kv>) -> Outcome {
    write(&*kv, [put("head", "1")]).await?;
    let read_at = now(&*kv).await?;
    write(&*kv, [put("head", "1")]).await?;
    let answer = guarded(&*kv, read_at, "head", [put("a", "1")]).await;
    same("the answer", answer, Err(CommitError::Conflict))
}

pub(super) async fn a_writer_may_write_what_it_guards(kv: Arc<dyn Kv>) -> Outcome {
    for number in 0..5_u8 {
        let read_at = now(&*kv).await?;
        guarded(&*kv, read_at, "head", [put("head", [number]), delete("x")]).await?;
    }
    same("the value", read(&*kv, "head").await?, Some(bytes([4])))
}

pub(super) async fn a_guard_without_writes_is_checked(kv: Arc<dyn Kv>) -> Outcome {
    let read_at = now(&*kv).await?;
    let first = guarded(&*kv, read_at, "head", []).await?;
    let second = write(&*kv, [put("head", "1")]).await?;
    ensure("it has a place in the order", first.stamp < second.stamp)?;
    let answer = guarded(&*kv, read_at, "head", []).await;
    same("the answer", answer, Err(CommitError::Conflict))
}

pub(super) async fn a_blind_write_never_conflicts(kv: Arc<dyn Kv>) -> Outcome {
    write(&*kv, [put("a", "1")]).await?;
    let batch = Batch { read_at: Version(0), unchanged: vec![], writes: vec![put("a", "2")] };
    kv.commit(batch).await?;
    same("the value", read(&*kv, "a").await?, Some(bytes("2")))
}

pub(super) async fn no_update_is_lost(kv: Arc<dyn Kv>) -> Outcome {
    const WRITERS: u8 = 16;
    const UPDATES: u8 = 10;
    try_join_all((0..WRITERS).map(|_| add(&*kv, UPDATES))).await?;
    let expected = u16::from(WRITERS).saturating_mul(u16::from(UPDATES));
    same("the sum", read(&*kv, "sum").await?, Some(bytes(expected.to_be_bytes())))
}

pub(super) async fn a_dropped_commit_runs_on(kv: Arc<dyn Kv>) -> Outcome {
    /// Reads until the commit must have landed; each costs at least a trip to the store.
    const READS: u32 = 100_000;
    let batch = Batch { writes: vec![put("late", "1")], ..Batch::default() };
    // Polled once, so that it has begun, then dropped.
    let _ = kv.commit(batch).now_or_never();
    for _ in 0..READS {
        if read(&*kv, "late").await?.is_some() {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
    Err(Broken("the commit never happened".to_owned()))
}

/// Adds one to the row `sum`, `times` times, each time from the top after a conflict.
async fn add(kv: &dyn Kv, times: u8) -> Outcome {
    let mut done = 0;
    while done < times {
        let snapshot = kv.snapshot().await?;
        let sum = match snapshot.get(b"sum").await?.as_deref() {
            None => 0,
            Some([high, low]) => u16::from_be_bytes([*high, *low]),
            Some(other) => return Err(Broken(format!("the sum is {other:?}"))),
        };
        let next = put("sum", sum.saturating_add(1).to_be_bytes());
        match guarded(kv, snapshot.version(), "sum", [next]).await {
            Ok(_) => done = done.saturating_add(1),
            Err(CommitError::Conflict) => tokio::task::yield_now().await,
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}
