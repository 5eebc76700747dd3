//! Rules about what a snapshot sees.

use std::sync::Arc;

use super::{Outcome, bytes, delete, ensure, put, range, read, same, scan, write};
use crate::kv::{Entry, Kv, Scan};

pub(super) async fn an_empty_store_reads_nothing(kv: Arc<dyn Kv>) -> Outcome {
    same("get", read(&*kv, "key").await?, None)?;
    same("scan", scan(&*kv, range("", [0xff], 10)).await?, vec![])
}

pub(super) async fn a_put_is_read_and_a_delete_is_not(kv: Arc<dyn Kv>) -> Outcome {
    write(&*kv, [put("a", "1"), put("b", "2")]).await?;
    same("a", read(&*kv, "a").await?, Some(bytes("1")))?;
    write(&*kv, [put("a", "3"), delete("b")]).await?;
    same("a after a put", read(&*kv, "a").await?, Some(bytes("3")))?;
    same("b after a delete", read(&*kv, "b").await?, None)?;
    same("all", scan(&*kv, range("", "z", 10)).await?, entries([("a", "3")]))
}

pub(super) async fn a_snapshot_is_one_moment(kv: Arc<dyn Kv>) -> Outcome {
    write(&*kv, [put("a", "1"), put("b", "1"), put("c", "1")]).await?;
    let before = kv.snapshot().await?;
    write(&*kv, [put("a", "2"), delete("b"), put("d", "2")]).await?;
    let after = kv.snapshot().await?;
    write(&*kv, [put("a", "3"), put("b", "3")]).await?;
    same("the first, a", before.get(b"a").await?, Some(bytes("1")))?;
    same("the first, b", before.get(b"b").await?, Some(bytes("1")))?;
    let all = before.scan(range("a", "z", 10)).await?;
    same("the first, all", all, entries([("a", "1"), ("b", "1"), ("c", "1")]))?;
    let all = after.scan(range("a", "z", 10)).await?;
    same("the second, all", all, entries([("a", "2"), ("c", "1"), ("d", "2")]))
}

pub(super) async fn a_snapshot_sees_every_answered_commit(kv: Arc<dyn Kv>) -> Outcome {
    for number in 0..20_u8 {
        let committed = write(&*kv, [put("key", [number])]).await?;
        let snapshot = kv.snapshot().await?;
        same("the value", snapshot.get(b"key").await?, Some(bytes([number])))?;
        ensure("a later snapshot has the version", snapshot.version() >= committed.version)?;
    }
    Ok(())
}

pub(super) async fn keys_and_values_are_any_bytes(kv: Arc<dyn Kv>) -> Outcome {
    let keys: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"\0\xff", b"\x7f", b"\xfe\xff\xff"];
    write(&*kv, keys.map(|key| put(key, key))).await?;
    for key in keys {
        same("the value", read(&*kv, key).await?, Some(bytes(key)))?;
    }
    let found = scan(&*kv, range("", [0xff], 10)).await?;
    same("all in order", found, keys.map(|key| (bytes(key), bytes(key))).to_vec())
}

pub(super) async fn a_scan_is_in_order_and_half_open(kv: Arc<dyn Kv>) -> Outcome {
    write(&*kv, ["d", "b", "a", "c", "bb"].map(|key| put(key, key))).await?;
    let found = scan(&*kv, range("b", "d", 10)).await?;
    same("forwards", found, entries([("b", "b"), ("bb", "bb"), ("c", "c")]))?;
    let found = scan(&*kv, range("b", "d", 2)).await?;
    same("forwards, two", found, entries([("b", "b"), ("bb", "bb")]))?;
    let backwards = |limit| Scan { reverse: true, ..range("b", "d", limit) };
    let found = scan(&*kv, backwards(10)).await?;
    same("backwards", found, entries([("c", "c"), ("bb", "bb"), ("b", "b")]))?;
    let found = scan(&*kv, backwards(1)).await?;
    same("backwards, one", found, entries([("c", "c")]))
}

pub(super) async fn a_scan_pages_without_gap_or_repeat(kv: Arc<dyn Kv>) -> Outcome {
    /// Rows enough, at this length, that an engine with pages of its own needs several.
    const ROWS: u16 = 3_000;
    let value = [7_u8; 200];
    for first in (0..ROWS).step_by(1_000) {
        let rows = (first..first.saturating_add(1_000)).map(|row| put(row.to_be_bytes(), value));
        write(&*kv, rows).await?;
    }
    let snapshot = kv.snapshot().await?;
    let whole = snapshot.scan(range("", [0xff], usize::from(ROWS).saturating_add(1))).await?;
    let expected: Vec<Entry> =
        (0..ROWS).map(|row| (bytes(row.to_be_bytes()), bytes(value))).collect();
    ensure("the whole is complete and in order", whole == expected)?;
    let mut paged: Vec<Entry> = Vec::new();
    loop {
        // The first key behind another one is that key with a zero byte.
        let begin = paged.last().map(|(key, _)| [&key[..], &[0]].concat()).unwrap_or_default();
        let page = snapshot.scan(range(begin, [0xff], 700)).await?;
        let done = page.len() < 700;
        paged.extend(page);
        if done {
            break;
        }
    }
    ensure("the pages are the whole", paged == expected)?;
    let reverse = Scan { reverse: true, ..range("", [0xff], usize::from(ROWS)) };
    let backwards: Vec<Entry> = snapshot.scan(reverse).await?.into_iter().rev().collect();
    ensure("backwards is the whole", backwards == expected)
}

pub(super) async fn a_scan_of_nothing_is_empty(kv: Arc<dyn Kv>) -> Outcome {
    write(&*kv, [put("a", "1"), put("b", "2")]).await?;
    same("no limit left", scan(&*kv, range("a", "z", 0)).await?, vec![])?;
    same("an empty range", scan(&*kv, range("a", "a", 10)).await?, vec![])?;
    same("an inverted range", scan(&*kv, range("b", "a", 10)).await?, vec![])?;
    same("behind the end", scan(&*kv, range("c", "d", 10)).await?, vec![])
}

fn entries<const N: usize>(rows: [(&str, &str); N]) -> Vec<Entry> {
    rows.map(|(key, value)| (bytes(key), bytes(value))).to_vec()
}
