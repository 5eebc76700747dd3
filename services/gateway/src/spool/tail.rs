//! The end of a spool file, written through the file's own pages in memory.
//!
//! What stands in a file's pages belongs to the operating system: it outlives the process exactly
//! as what was given to `write` does, and it costs no call, so that a request needs not wait until
//! others have something to write too. The room is taken from the disk before it is written to: a
//! full disk is an error here and never a signal.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use memmap2::{Advice, MmapMut, MmapOptions};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, retry_on_intr};

/// The end of a file that only this process writes.
pub(super) struct Tail {
    file: File,
    /// Bytes that are written; the next line begins here.
    bytes: u64,
    /// What is taken at a time.
    step_bytes: u64,
    window: Window,
}

/// How the next line gets into the file.
enum Window {
    /// Room has to be taken first.
    None,
    /// Through the pages from byte `from` on.
    Mapped { from: u64, pages: MmapMut },
    /// By a call for each line: this file system has no room to give in advance.
    Calls,
}

impl Tail {
    /// The end of `file`, which is empty. It takes room by `step_bytes`.
    pub(super) const fn new(file: File, step_bytes: u64) -> Self {
        Self { file, bytes: 0, step_bytes, window: Window::None }
    }

    /// Bytes that were written.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes `lines` behind what stands there. After an error the file is as it was: the same
    /// lines are to be written again.
    ///
    /// # Errors
    /// The file system's, such as that of a full disk.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if !self.copy(lines) {
            self.take_room(lines.len())?;
            if !self.copy(lines) {
                self.file.write_all_at(lines, self.bytes)?;
            }
        }
        self.bytes += super::long(lines.len());
        Ok(())
    }

    /// Gives back the room in which no line stands: nothing more is written.
    ///
    /// # Errors
    /// The file system's; the room stays taken.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if matches!(std::mem::replace(&mut self.window, Window::None), Window::Mapped { .. }) {
            self.file.set_len(self.bytes)?;
        }
        Ok(())
    }

    /// Puts another file in the place of this one: a disk that fails, or works again.
    #[cfg(test)]
    pub(super) fn swap_file(&mut self, file: File) -> File {
        // What cannot be mapped is written by calls; another file may be one that can.
        self.window = Window::None;
        std::mem::replace(&mut self.file, file)
    }

    /// Whether the lines fitted into the pages.
    fn copy(&mut self, lines: &[u8]) -> bool {
        let Window::Mapped { from, pages } = &mut self.window else { return false };
        let start = usize::try_from(self.bytes - *from).unwrap_or(usize::MAX);
        let room = pages.get_mut(start..).and_then(|free| free.get_mut(..lines.len()));
        room.map(|room| room.copy_from_slice(lines)).is_some()
    }

    /// Takes room for at least `needed` bytes and maps it, if the file system can do that.
    fn take_room(&mut self, needed: usize) -> io::Result<()> {
        if matches!(self.window, Window::Calls) {
            return Ok(());
        }
        let room = self.step_bytes.max(super::long(needed));
        let take = || fallocate(&self.file, FallocateFlags::empty(), self.bytes, room);
        match retry_on_intr(take) {
            Ok(()) => {}
            // Not a full disk: it has no such call, or this is no plain file.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NODEV) => {
                self.window = Window::Calls;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        self.window = match self.map(room) {
            Ok(pages) => {
                // All at once, for a fault of each page costs more. Where the kernel cannot (before
                // Linux 5.14), they come as they are written to.
                let _older_kernel = pages.advise(Advice::PopulateWrite);
                Window::Mapped { from: self.bytes, pages }
            }
            Err(error) => {
                tracing::warn!(%error, "the spool cannot be mapped and is written by calls");
                Window::Calls
            }
        };
        Ok(())
    }

    #[expect(unsafe_code, reason = "a file that another process changes would change under us")]
    fn map(&self, room: u64) -> io::Result<MmapMut> {
        let length = usize::try_from(room).map_err(io::Error::other)?;
        // SAFETY: the file is of this run alone: it made it, its owner alone may open it, and no
        // other part of the process reads it while it is written. It is never made shorter than
        // what is mapped: `finish` lets go of the pages first.
        unsafe { MmapOptions::new().offset(self.bytes).len(length).map_mut(&self.file) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::full_disk;

    const STEP: u64 = 4 << 10;

    fn tail() -> Tail {
        Tail::new(tempfile::tempfile().unwrap(), STEP)
    }

    fn standing(tail: &Tail) -> Vec<u8> {
        let length = tail.file.metadata().unwrap().len();
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        tail.file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn what_is_written_stands_in_the_file_at_once_and_room_behind_it_is_zeros() {
        let (mut tail, mut all) = (tail(), Vec::new());
        // 300 bytes do not divide a step: lines lie across its ends. The last ones need three.
        for line in (1..=40).map(|line| vec![line; 300]).chain([vec![99; 10_000]]) {
            tail.append(&line).unwrap();
            all.extend_from_slice(&line);
            let standing = standing(&tail);
            let (written, room) = standing.split_at(all.len());
            assert!(written == all && room.iter().all(|byte| *byte == 0));
            assert!(super::super::long(room.len()) <= STEP);
        }
        assert!(matches!(tail.window, Window::Mapped { .. }));
        tail.finish().unwrap();
        assert_eq!(standing(&tail), all);
        tail.append(b"more").unwrap();
        assert!(standing(&tail).starts_with(&[&all[..], b"more"].concat()));
    }

    #[test]
    fn a_disk_that_is_full_takes_nothing_and_the_same_lines_later() {
        let mut tail = tail();
        tail.append(b"before").unwrap();
        let disk = tail.swap_file(full_disk());
        let refused = tail.append(b"line").unwrap_err();
        assert_eq!((refused.kind(), tail.bytes()), (io::ErrorKind::StorageFull, 6));
        tail.swap_file(disk);
        tail.append(b"line").unwrap();
        assert!(standing(&tail).starts_with(b"beforeline"));
    }
}
