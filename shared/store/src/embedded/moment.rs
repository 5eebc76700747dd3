//! A snapshot of the file: a redb read transaction and the version that it sees.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use redb::{AccessGuard, Database, ReadOnlyTable, ReadableDatabase};

use super::disk::{Disk, META, NEWEST, ROWS};
use crate::kv::{BoxFuture, Entry, ReadError, Scan, Snapshot, Version};

struct Moment {
    disk: Arc<Disk>,
    /// Keeps its pages from being used again until it is dropped.
    rows: ReadOnlyTable<&'static [u8], &'static [u8]>,
    version: u64,
}

/// The newest moment, which sees every commit that was answered.
pub(super) fn take(database: &Database, disk: &Arc<Disk>) -> Result<Arc<dyn Snapshot>, ReadError> {
    let read = || -> Result<_, redb::Error> {
        let transaction = database.begin_read()?;
        let newest = transaction.open_table(META)?.get(NEWEST)?.map(|newest| newest.value());
        Ok((transaction.open_table(ROWS)?, newest.unwrap_or_default()))
    };
    let (rows, version) = read().map_err(|error| disk.read_error(error))?;
    Ok(Arc::new(Moment { disk: Arc::clone(disk), rows, version }))
}

impl Snapshot for Moment {
    fn version(&self) -> Version {
        Version(self.version)
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, ReadError>> {
        Box::pin(async move {
            self.check_age()?;
            let found = self.rows.get(key).map_err(|error| self.disk.read_error(error))?;
            Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
        })
    }

    fn scan<'a>(&'a self, scan: Scan) -> BoxFuture<'a, Result<Vec<Entry>, ReadError>> {
        Box::pin(async move {
            self.check_age()?;
            self.read(&scan).map_err(|error| self.disk.read_error(error))
        })
    }
}

impl Moment {
    /// A snapshot that cannot be decided on is too old to be read too, as on FoundationDB.
    fn check_age(&self) -> Result<(), ReadError> {
        let horizon = self.disk.horizon.load(Ordering::Acquire);
        if self.version < horizon { Err(ReadError::TooOld) } else { Ok(()) }
    }

    fn read(&self, scan: &Scan) -> Result<Vec<Entry>, redb::StorageError> {
        if scan.begin >= scan.end {
            return Ok(Vec::new());
        }
        let range = self.rows.range::<&[u8]>(&*scan.begin..&*scan.end)?;
        if scan.reverse {
            range.rev().take(scan.limit).map(entry).collect()
        } else {
            range.take(scan.limit).map(entry).collect()
        }
    }
}

type Row<'a> = (AccessGuard<'a, &'static [u8]>, AccessGuard<'a, &'static [u8]>);

fn entry(row: Result<Row<'_>, redb::StorageError>) -> Result<Entry, redb::StorageError> {
    let (key, value) = row?;
    Ok((Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value())))
}
