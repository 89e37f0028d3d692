//! Fixing which files are taken: list, open all, list again.
//!
//! The argument, with the files of the second listing up to the last of the first one as the set, and t the moment of the
//! first listing. The log is written strictly forward, so that every file but the last is complete, and the last is read
//! after t. A file below the last that is not in the set was deleted before t; it was deleted after a checkpoint that
//! does not need it had been made durable, so that this checkpoint is in what is read. Nothing of the set can vanish any
//! more: it is open, or the readers' lock is held. So what is read is what a crash at some moment after t would have
//! left, and everything that was acknowledged before t is in it.
//!
//! Two listings, for one is not atomic: file n + 2 may be seen without n + 1 if both are made meanwhile.
//!
//! Invariant: a [`Pinned`] set has no gap that was not there at the moment of its first listing.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{Resource, getrlimit};
use treering_snapshot::capture::open_plain;

use crate::error::{Error, io_error};
use crate::log::Listing;

/// How often the two listings may disagree. Without the lock a busy cleaner may delete between them.
const ATTEMPTS: usize = 50;
/// So many descriptors are left to the rest of the program.
const SPARE_DESCRIPTORS: u64 = 512;

/// The files that are taken.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) listing: Listing,
    pub(crate) files: BTreeMap<u32, PinnedFile>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct PinnedFile {
    pub(crate) number: u32,
    /// Relative to the environment.
    pub(crate) path: PathBuf,
    /// What it was when it was opened.
    pub(crate) stamp: Stamp,
    handle: Handle,
}

#[derive(Debug, Clone)]
enum Handle {
    Open(Arc<File>),
    /// There are more files than descriptors; the lock is held instead.
    Named(PathBuf),
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) links: u64,
    pub(crate) size_bytes: u64,
    /// Seconds and nanoseconds.
    pub(crate) modified: (i64, i64),
    /// Seconds and nanoseconds.
    pub(crate) changed: (i64, i64),
}

impl Pinned {
    /// Fixes the set in `folder`. `is_locked` says that nothing can vanish meanwhile.
    pub(crate) fn take(folder: &Path, is_locked: bool) -> Result<Pinned, Error> {
        for _ in 0..ATTEMPTS {
            if let Some(pinned) = attempt(folder, is_locked)? {
                return Ok(pinned);
            }
        }
        Err(Error::Restless { folder: folder.to_path_buf(), attempts: ATTEMPTS })
    }

    /// Whether the lock must be kept until all was read.
    pub(crate) fn needs_lock(&self) -> bool {
        self.files.values().any(|file| matches!(file.handle, Handle::Named(_)))
    }

    /// The last one.
    pub(crate) fn last(&self) -> Option<&PinnedFile> {
        self.files.last_key_value().map(|(_, file)| file)
    }
}

impl PinnedFile {
    /// Opens one file of the environment in `folder`.
    pub(crate) fn find(folder: &Path, number: u32, path: &Path) -> Result<PinnedFile, Error> {
        let whole = folder.join(path);
        let opened = open_plain(&whole).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(io_error("open", &whole))?;
        if !metadata.is_file() {
            return Err(Error::NoFile { path: whole });
        }
        let (path, stamp) = (path.to_path_buf(), Stamp::of(&metadata));
        Ok(PinnedFile { number, path, stamp, handle: Handle::Open(Arc::new(file)) })
    }

    /// The file, opened now if it was not.
    pub(crate) fn open(&self) -> io::Result<Arc<File>> {
        match &self.handle {
            Handle::Open(file) => Ok(Arc::clone(file)),
            Handle::Named(path) => open_plain(path).map(Arc::new),
        }
    }

    /// The file, if it is held open.
    pub(crate) fn held(&self) -> Option<Arc<File>> {
        match &self.handle {
            Handle::Open(file) => Some(Arc::clone(file)),
            Handle::Named(_) => None,
        }
    }
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            links: metadata.nlink(),
            size_bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the content is the same. Losing a name changes the ctime too.
    pub(crate) fn is_same_content(&self, later: &Stamp) -> bool {
        let content = |stamp: &Stamp| (stamp.device, stamp.inode, stamp.size_bytes, stamp.modified);
        content(self) == content(later) && (self.changed == later.changed || self.links != later.links)
    }
}

/// `None`: a file of the first listing has gone.
fn attempt(folder: &Path, is_locked: bool) -> Result<Option<Pinned>, Error> {
    let list = || Listing::read(folder).map_err(io_error("list", folder));
    let first = list()?;
    let by_name = is_locked && first.files.len() as u64 > descriptors();
    let Some(mut files) = open_all(folder, &first, by_name)? else { return Ok(None) };
    let mut listing = list()?;
    let last = first.last();
    listing.files.retain(|number, _| last.is_some_and(|last| *number <= last));
    if files.keys().any(|number| !listing.files.contains_key(number)) {
        return Ok(None);
    }
    let mut late = listing.clone();
    late.files.retain(|number, _| !files.contains_key(number));
    let Some(more) = open_all(folder, &late, by_name)? else { return Ok(None) };
    files.extend(more);
    Ok(Some(Pinned { listing, files }))
}

/// `None`: one has gone.
fn open_all(folder: &Path, listing: &Listing, by_name: bool) -> Result<Option<BTreeMap<u32, PinnedFile>>, Error> {
    let mut files = BTreeMap::new();
    for (number, listed) in &listing.files {
        let mut file = match PinnedFile::find(folder, *number, &listed.path) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        if by_name {
            file.handle = Handle::Named(folder.join(&listed.path));
        }
        files.insert(*number, file);
    }
    Ok(Some(files))
}

/// How many files may be held open.
fn descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(SPARE_DESCRIPTORS)
}
