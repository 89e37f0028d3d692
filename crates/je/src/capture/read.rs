//! Handing out a file's bytes, and reading what they say on the way.
//!
//! Owns the collection of what was read, which the readers fill from several threads.
//! Invariant: a summary is about the very bytes that were handed out, and is there only if all of them were.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pin::{PinnedFile, Stamp};
use crate::log::{FileSummary, Scanner};

/// What the readers have seen, by the numbers of the files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<BTreeMap<u32, Outcome>>>);

/// How reading a file ended.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) summary: FileSummary,
    /// Whether it changed while it was read.
    pub(crate) is_changed: bool,
}

impl Seen {
    /// What was seen so far.
    pub(crate) fn get(&self) -> MutexGuard<'_, BTreeMap<u32, Outcome>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader of the first `length` bytes. A file that is appended to may grow meanwhile; others may not change at all.
    pub(crate) fn reader(&self, file: &PinnedFile, length: u64, may_grow: bool) -> Watched {
        let scanner = Some(Scanner::new(file.number, Some(length)));
        let (seen, file) = (self.clone(), file.clone());
        Watched { seen, file, opened: None, length, at: 0, may_grow, scanner }
    }
}

/// A reader that verifies what it yields.
pub(crate) struct Watched {
    seen: Seen,
    file: PinnedFile,
    opened: Option<Arc<File>>,
    length: u64,
    at: u64,
    may_grow: bool,
    /// Until the end was seen.
    scanner: Option<Scanner>,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length - self.at).unwrap_or(usize::MAX);
        let room = left.min(buffer.len());
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        let file = self.open()?;
        let got = if buffer.is_empty() { 0 } else { file.read_at(buffer, self.at)? };
        let read = buffer.get(..got).unwrap_or_default();
        if let Some(scanner) = &mut self.scanner {
            scanner.push(read, &mut |_| ());
        }
        self.at += got as u64;
        if got == 0 && (left == 0 || room > 0) {
            self.end(&file)?;
        }
        Ok(got)
    }
}

impl Watched {
    fn open(&mut self) -> io::Result<Arc<File>> {
        if self.opened.is_none() {
            self.opened = Some(self.file.open()?);
        }
        self.opened.clone().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn end(&mut self, file: &File) -> io::Result<()> {
        let Some(scanner) = self.scanner.take() else { return Ok(()) };
        let (before, after) = (self.file.stamp, Stamp::of(&file.metadata()?));
        let is_whole = self.at == self.length;
        let is_same = if self.may_grow { after.size_bytes >= self.length } else { before.is_same_content(&after) };
        let outcome = Outcome { summary: scanner.finish(&mut |_| ()), is_changed: !(is_whole && is_same) };
        self.seen.get().insert(self.file.number, outcome);
        Ok(())
    }
}
