//! A disk in memory that fails on demand, for tests.
//!
//! Fault model. The operating system has two copies of the file: what programs read (`seen`), and
//! what is on the platter (`durable`). A flush makes them equal. A crash keeps the durable copy and
//! any subset of the changes since the last flush, each of which may be torn. A failing disk
//! refuses to write, to grow or to flush from a chosen operation on. Reads never fail, and what was
//! flushed stays: a disk that lies about a flush is outside of the model.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// What the disk refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// To grow the file: the disk is full.
    Grow,
    /// To write any byte.
    Write,
    /// To flush.
    Flush,
    /// Everything, reads too: the process is dead.
    All,
}

/// A handle on the disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Faulty(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    seen: Vec<u8>,
    durable: Vec<u8>,
    since_flush: Vec<Change>,
    /// Faults begin after this many more operations of their kind.
    fault: Option<(Fault, u32)>,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Faulty {
    /// A disk with this file on it.
    pub(super) fn holding(file: Vec<u8>) -> Self {
        let state = State { seen: file.clone(), durable: file, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Refuses from the operation on that comes after `spared` more of its kind.
    pub(super) fn fail(&self, fault: Fault, spared: u32) {
        self.lock().fault = Some((fault, spared));
    }

    /// What the file holds for those who read it now.
    pub(super) fn seen(&self) -> Vec<u8> {
        self.lock().seen.clone()
    }

    /// What a crash at this moment leaves: `keep` says for each change since the last flush how
    /// many of its bytes arrived.
    pub(super) fn crash(&self, mut keep: impl FnMut(usize) -> usize) -> Vec<u8> {
        let state = self.lock();
        let mut file = state.durable.clone();
        for change in &state.since_flush {
            match change {
                Change::Length(length) if keep(1) == 1 => file.resize(*length, 0),
                Change::Length(_) => {}
                Change::Bytes(offset, bytes) => {
                    let kept = keep(bytes.len());
                    if file.len() < offset + kept {
                        file.resize(offset + kept, 0);
                    }
                    file[*offset..offset + kept].copy_from_slice(&bytes[..kept]);
                }
            }
        }
        file
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn refuse(&mut self, operation: Fault) -> io::Result<()> {
        let Some((fault, spared)) = &mut self.fault else { return Ok(()) };
        if *fault != operation && *fault != Fault::All {
            return Ok(());
        }
        if *spared > 0 {
            *spared -= 1;
            return Ok(());
        }
        Err(match operation {
            Fault::Grow => io::Error::from(io::ErrorKind::StorageFull),
            Fault::Write | Fault::Flush | Fault::All => io::Error::other("the disk is broken"),
        })
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.lock();
        let offset = usize::try_from(offset).unwrap();
        let found = state.seen.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.lock();
        let length = usize::try_from(length).unwrap();
        if length > state.seen.len() {
            state.refuse(Fault::Grow)?;
        }
        state.seen.resize(length, 0);
        state.since_flush.push(Change::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.refuse(Fault::Flush)?;
        state.durable = state.seen.clone();
        state.since_flush.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        state.refuse(Fault::Write)?;
        let offset = usize::try_from(offset).unwrap();
        let end = offset + data.len();
        if end > state.seen.len() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        state.seen[offset..end].copy_from_slice(data);
        state.since_flush.push(Change::Bytes(offset, data.to_vec()));
        Ok(())
    }
}
