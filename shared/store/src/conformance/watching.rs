//! Rules about watches. One may be lost, so nobody waits for one alone; but not one after another.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{Either, select};

use super::{Broken, Outcome, bytes, delete, put, read, write};
use crate::kv::{BoxFuture, Kv, ReadError};

/// Watches of which one must wake.
const TRIES: u8 = 20;
/// Reads for which a watch may be late; each costs at least a trip to the store.
const READS: u32 = 1_000;
/// Watchers of one key.
const WATCHERS: usize = 10;

pub(super) async fn a_watch_wakes_on_a_put(kv: Arc<dyn Kv>) -> Outcome {
    for number in 0..TRIES {
        let woken = kv.watch(bytes("head"));
        write(&*kv, [put("other", "1"), put("head", [number])]).await?;
        if wakes(&*kv, woken).await? {
            return Ok(());
        }
    }
    Err(Broken("no watch woke".to_owned()))
}

pub(super) async fn a_watch_wakes_on_a_delete(kv: Arc<dyn Kv>) -> Outcome {
    for _ in 0..TRIES {
        write(&*kv, [put("head", "1")]).await?;
        let woken = kv.watch(bytes("head"));
        write(&*kv, [delete("head")]).await?;
        if wakes(&*kv, woken).await? {
            return Ok(());
        }
    }
    Err(Broken("no watch woke".to_owned()))
}

pub(super) async fn every_watcher_wakes(kv: Arc<dyn Kv>) -> Outcome {
    let mut asleep = WATCHERS;
    for number in 0..TRIES {
        drop(kv.watch(bytes("head")));
        let watches: Vec<_> = (0..asleep).map(|_| kv.watch(bytes("head"))).collect();
        write(&*kv, [put("head", [number])]).await?;
        for woken in watches {
            asleep = asleep.saturating_sub(usize::from(wakes(&*kv, woken).await?));
        }
        if asleep == 0 {
            return Ok(());
        }
    }
    Err(Broken(format!("{asleep} watchers never woke")))
}

async fn wakes(kv: &dyn Kv, woken: BoxFuture<'static, ()>) -> Result<bool, ReadError> {
    let late = pin!(async {
        for _ in 0..READS {
            read(kv, "head").await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    });
    match select(woken, late).await {
        Either::Left(_) => Ok(true),
        Either::Right((read, _)) => read.map(|()| false),
    }
}
