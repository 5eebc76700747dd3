//! Rules about watches. They may be lost, so nobody waits for one alone; here each one arrives.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{Outcome, delete, put, write};
use crate::kv::Kv;

pub(super) async fn a_watch_wakes_on_a_put(kv: Arc<dyn Kv>) -> Outcome {
    let woken = kv.watch(super::bytes("head"));
    write(&*kv, [put("other", "1"), put("head", "1")]).await?;
    woken.await;
    let again = kv.watch(super::bytes("head"));
    write(&*kv, [put("head", "2")]).await?;
    again.await;
    Ok(())
}

pub(super) async fn a_watch_wakes_on_a_delete(kv: Arc<dyn Kv>) -> Outcome {
    write(&*kv, [put("head", "1")]).await?;
    let woken = kv.watch(super::bytes("head"));
    write(&*kv, [delete("head")]).await?;
    woken.await;
    Ok(())
}

pub(super) async fn every_watcher_wakes(kv: Arc<dyn Kv>) -> Outcome {
    drop(kv.watch(super::bytes("head")));
    let watches: Vec<_> = (0..10).map(|_| kv.watch(super::bytes("head"))).collect();
    write(&*kv, [put("head", "1")]).await?;
    join_all(watches).await;
    Ok(())
}
