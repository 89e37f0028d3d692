//! One file on its way.
//!
//! Owns the file from its first byte until it has its name. Never writes to anything that it has not made itself.
//!
//! Invariant: what a job writes to was made by it, exclusively; it gets its final name only when every byte is in it,
//! unless all of them are written at once; and a job that fails takes away what it made.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, flock, fstat, ftruncate, openat, renameat,
    renameat_with, unlinkat,
};
use rustix::io::Errno;

use super::beneath::{Dirs, identity, kind_of};
use super::meta::Meta;
use super::{Work, add};
use crate::error::{Result, SnapshotError};
use crate::progress::{Event, Outcome};

/// Files that are being written and held open. More are closed and opened again when their next bytes come.
const OPEN_FILES_MOST: usize = 400;
/// Runs of zeros are looked for in pieces of this size, as file systems store them.
const BLOCK_BYTES: u64 = 4096;

/// What is done with a file, as it was planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing is there.
    Create,
    /// Something is there and gives way.
    Replace,
    /// A regular file of this many bytes is there: what is the same is taken from it.
    Update {
        /// Its length.
        old_bytes: u64,
    },
    /// A file is there that is taken to be the same.
    Keep,
    /// A restored file is read again.
    Verify {
        /// Its length.
        old_bytes: u64,
    },
}

/// A file on its way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) folder: u32,
    pub(super) name: Box<[u8]>,
    pub(super) meta: Meta,
    pub(super) bytes: u64,
    pub(super) action: Action,
    pub(super) inherits_acl: bool,
    /// Pieces still to be written in this window, and one more if there is another window.
    pub(super) left: AtomicU64,
    pub(super) is_failed: AtomicBool,
    /// It has holes.
    pub(super) is_holey: AtomicBool,
    /// It differs from the file that is there.
    pub(super) is_changed: AtomicBool,
    writing: Mutex<Writing>,
}

#[derive(Debug, Default)]
struct Writing {
    /// The name it has in its folder while it is written.
    name: Option<Box<[u8]>>,
    file: Option<Arc<File>>,
    identity: (u64, u64),
}

/// The jobs whose files are open, the longest first.
pub(super) type OpenFiles = Mutex<VecDeque<Arc<Job>>>;

impl Job {
    pub(super) fn new(
        folder: u32,
        name: Box<[u8]>,
        meta: Meta,
        bytes: u64,
        action: Action,
        inherits_acl: bool,
    ) -> Self {
        let is_changed = match action {
            Action::Create | Action::Replace => true,
            Action::Update { old_bytes } | Action::Verify { old_bytes } => old_bytes != bytes,
            Action::Keep => false,
        };
        Self {
            folder,
            name,
            meta,
            bytes,
            action,
            inherits_acl,
            left: AtomicU64::new(0),
            is_failed: AtomicBool::new(false),
            is_holey: AtomicBool::new(false),
            is_changed: AtomicBool::new(is_changed),
            writing: Mutex::default(),
        }
    }

    pub(super) fn failed(&self) -> bool {
        self.is_failed.load(Ordering::Acquire)
    }

    /// Whether there is an old file that its bytes are compared with.
    pub(super) fn compares(&self) -> bool {
        matches!(self.action, Action::Update { .. } | Action::Verify { .. })
    }

    fn placed(&self, work: &Work<'_>) -> PathBuf {
        work.folders.placed(self.folder, &self.name)
    }

    fn failure<'w>(&self, work: &'w Work<'_>, action: &'static str) -> impl FnOnce(Errno) -> SnapshotError + use<'w> {
        let path = self.placed(work);
        move |e| SnapshotError::io(action, path)(e.into())
    }

    /// Tells the first failure of this file; those that follow from it are not told.
    pub(super) fn fail(&self, work: &Work<'_>, error: &SnapshotError) {
        if !self.is_failed.swap(true, Ordering::AcqRel) {
            let during = if matches!(self.action, Action::Verify { .. }) { "verify" } else { "restore" };
            let path = work.folders.shown(self.folder, &self.name);
            work.left_out.add(&path);
            work.tell(&path, during, error);
        }
    }

    /// The old file, if it still is a regular one.
    pub(super) fn open_old(&self, dirs: &mut Dirs<'_>) -> Result<Option<File>> {
        let folder = dirs.open(self.folder)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(fd) = openat(&folder, &*self.name, flags, Mode::empty()) else { return Ok(None) };
        let is_file = fstat(&fd).is_ok_and(|stat| kind_of(&stat) == FileType::RegularFile);
        Ok(is_file.then(|| File::from(fd)))
    }

    /// The file to write to, made when it is first asked for. `at_once` says that everything is written before anybody
    /// else comes, so that it may have its own name from the beginning.
    pub(super) fn file(
        self: &Arc<Self>,
        work: &Work<'_>,
        dirs: &mut Dirs<'_>,
        open: &OpenFiles,
        at_once: bool,
    ) -> Result<Arc<File>> {
        let mut writing = self.writing.lock();
        if let Some(file) = &writing.file {
            return Ok(Arc::clone(file));
        }
        let folder = dirs.open(self.folder)?;
        let file = match &writing.name {
            Some(name) => self.reopen(work, &folder, name, writing.identity)?,
            None => self.make(work, &folder, &mut writing, at_once && self.action == Action::Create)?,
        };
        writing.file = Some(Arc::clone(&file));
        drop(writing);
        if !at_once {
            self.remember(open);
        }
        Ok(file)
    }

    fn make(&self, work: &Work<'_>, folder: &OwnedFd, writing: &mut Writing, direct: bool) -> Result<Arc<File>> {
        let name = if direct { self.name.clone() } else { work.beneath.temporary_name().into_bytes().into() };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(folder, &*name, flags, Mode::RUSR | Mode::WUSR).map_err(|e| self.failure(work, "make")(e))?;
        writing.name = Some(name);
        if !direct {
            hold(&fd);
            writing.identity = identity(&fstat(&fd).map_err(|e| self.failure(work, "look at")(e))?);
        }
        if !direct || work.options.sparse || self.is_holey.load(Ordering::Relaxed) {
            ftruncate(&fd, self.bytes).map_err(|e| self.failure(work, "set the length of")(e))?;
        }
        Ok(Arc::new(File::from(fd)))
    }

    fn reopen(&self, work: &Work<'_>, folder: &OwnedFd, name: &[u8], known: (u64, u64)) -> Result<Arc<File>> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = openat(folder, name, flags, Mode::empty()).map_err(|e| self.failure(work, "open")(e))?;
        let same = fstat(&fd).is_ok_and(|stat| identity(&stat) == known);
        // Somebody else put another file in the place of the unfinished one.
        if same {
            hold(&fd);
            Ok(Arc::new(File::from(fd)))
        } else {
            Err(SnapshotError::Blocked { path: self.placed(work), found: "foreign file" })
        }
    }

    fn remember(self: &Arc<Self>, open: &OpenFiles) {
        let mut open = open.lock();
        open.push_back(Arc::clone(self));
        let oldest = if open.len() > OPEN_FILES_MOST { open.pop_front() } else { None };
        drop(open);
        if let Some(oldest) = oldest {
            oldest.writing.lock().file = None;
        }
    }

    /// Puts bytes at their place.
    pub(super) fn write(&self, work: &Work<'_>, file: &File, bytes: &[u8], offset: u64) -> Result<()> {
        let written =
            if work.options.sparse { write_sparse(file, bytes, offset) } else { file.write_all_at(bytes, offset) };
        written.map_err(|e| SnapshotError::io("write", self.placed(work))(e))?;
        work.progress.event(Event::Bytes { bytes: bytes.len() as u64 });
        Ok(())
    }

    /// Says that so many pieces are done. The last one finishes the file.
    pub(super) fn done(
        self: &Arc<Self>,
        work: &Work<'_>,
        dirs: &mut Dirs<'_>,
        open: &OpenFiles,
        pieces: u64,
    ) -> Result<()> {
        if self.left.fetch_sub(pieces, Ordering::AcqRel) == pieces { self.finish(work, dirs, open) } else { Ok(()) }
    }

    /// Gives the file its metadata and its name, or takes it away if it failed.
    pub(super) fn finish(self: &Arc<Self>, work: &Work<'_>, dirs: &mut Dirs<'_>, open: &OpenFiles) -> Result<()> {
        let finished = if self.failed() { Ok(()) } else { self.complete(work, dirs, open) };
        if let Err(e) = &finished
            && !super::is_fatal(e)
        {
            self.fail(work, e);
        }
        if self.failed() || finished.is_err() {
            self.discard(dirs);
            return finished.or_else(|e| if super::is_fatal(&e) { Err(e) } else { Ok(()) });
        }
        self.tell_done(work, &self.meta);
        Ok(())
    }

    fn complete(self: &Arc<Self>, work: &Work<'_>, dirs: &mut Dirs<'_>, open: &OpenFiles) -> Result<()> {
        let file = self.file(work, dirs, open, true)?;
        self.put_meta(work, &file, &self.meta);
        let mut writing = self.writing.lock();
        writing.file = None;
        let Some(name) = writing.name.take() else { return Ok(()) };
        if name != self.name {
            let folder = dirs.open(self.folder)?;
            if let Err(e) = self.rename(work, &folder, &name) {
                writing.name = Some(name);
                return Err(e);
            }
        }
        Ok(())
    }

    pub(super) fn put_meta(&self, work: &Work<'_>, file: &File, meta: &Meta) {
        meta.put_on(file.as_fd(), self.inherits_acl, &mut |action, e| {
            let error = SnapshotError::io(action, self.placed(work))(e);
            work.tell(&work.folders.shown(self.folder, &self.name), "restore", &error);
        });
    }

    fn rename(&self, work: &Work<'_>, folder: &OwnedFd, from: &[u8]) -> Result<()> {
        if self.action == Action::Create {
            match renameat_with(folder, from, folder, &*self.name, RenameFlags::NOREPLACE) {
                Err(Errno::INVAL | Errno::NOSYS) => {}
                renamed => return renamed.map_err(|e| self.failure(work, "name")(e)),
            }
        }
        match renameat(folder, from, folder, &*self.name) {
            Err(Errno::ISDIR) if work.options.delete => {
                super::remove::clear_folder(work, folder, self.folder, &self.name)?;
                renameat(folder, from, folder, &*self.name).map_err(|e| self.failure(work, "name")(e))
            }
            renamed => renamed.map_err(|e| self.failure(work, "name")(e)),
        }
    }

    /// Takes away what was made.
    pub(super) fn discard(&self, dirs: &mut Dirs<'_>) {
        let mut writing = self.writing.lock();
        writing.file = None;
        let Some(name) = writing.name.take() else { return };
        if let Ok(folder) = dirs.open(self.folder) {
            // If it cannot be unlinked it keeps a temporary name, or, unfinished, its mode 0600.
            let _left = unlinkat(&folder, &*name, AtFlags::empty());
        }
    }

    /// Whether anything was made for it.
    pub(super) fn is_begun(&self) -> bool {
        self.writing.lock().name.is_some()
    }

    /// Whether what is there has the right content.
    pub(super) fn is_there(&self) -> bool {
        self.action == Action::Keep || self.compares() && !self.is_changed.load(Ordering::Relaxed)
    }

    /// Tells what became of it, and what of its metadata was withheld.
    pub(super) fn tell_done(&self, work: &Work<'_>, meta: &Meta) {
        let outcome = match self.action {
            Action::Create => Outcome::New,
            Action::Replace | Action::Update { .. } if self.is_changed.load(Ordering::Relaxed) => Outcome::Changed,
            _ => Outcome::Unmodified,
        };
        let (files, bytes) = match outcome {
            Outcome::Unmodified => (&work.tally.files_skipped, &work.tally.bytes_skipped),
            _ => (&work.tally.files_restored, &work.tally.bytes_restored),
        };
        add(files, 1);
        add(bytes, self.bytes);
        let path = work.folders.shown(self.folder, &self.name);
        work.withheld.lock().add(&path, meta.withheld());
        work.progress.event(Event::Done { path: &path, is_folder: false, outcome, bytes: self.bytes });
    }
}

/// Shows that whoever made an unfinished file is alive, as long as it is open.
fn hold(fd: &OwnedFd) {
    // Where files cannot be locked nobody takes it for left behind.
    let _unlocked = flock(fd, FlockOperation::NonBlockingLockExclusive);
}

/// Writes all but blocks of zeros, and parts of blocks: the rest of one may come as zeros too. The file is long enough
/// already, and new.
fn write_sparse(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        let to_block = BLOCK_BYTES - (offset + at as u64) % BLOCK_BYTES;
        let end = bytes.len().min(at + to_block as usize);
        let block = bytes.get(at..end).unwrap_or_default();
        if is_zero(block) {
            file.write_all_at(bytes.get(start..at).unwrap_or_default(), offset + start as u64)?;
            start = end;
        }
        at = end;
    }
    file.write_all_at(bytes.get(start..).unwrap_or_default(), offset + start as u64)
}

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(64).all(|part| part.iter().fold(0, |all, byte| all | byte) == 0)
}
