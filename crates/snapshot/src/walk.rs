//! Reading folders: names in order, and what `lstat` says of each.
//!
//! Folders may be opened, and entries looked at, ahead of the walk on other threads; the walk gets them in order.
//!
//! Never follows a symbolic link, except on the way to what was asked for, and never opens a file. A folder of a million
//! entries takes its names in memory, one after the other, and nothing else.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, OsStr};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::ahead::Ahead;
use crate::error::{Result, SnapshotError};
use crate::node::Time;

/// What `lstat` says, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) kind: FileType,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) bytes: u64,
    pub(crate) allocated_bytes: u64,
    pub(crate) modified: Time,
    pub(crate) changed: Time,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) links: u64,
    pub(crate) special_device: u64,
}

impl Status {
    pub(crate) fn of(stat: &rustix::fs::Stat) -> Self {
        let time = |seconds: i64, nanoseconds: u64| Time { seconds, nanoseconds: nanoseconds as u32 };
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: (stat.st_mode & 0o7777) as u16,
            uid: stat.st_uid,
            gid: stat.st_gid,
            bytes: stat.st_size as u64,
            allocated_bytes: (stat.st_blocks as u64).saturating_mul(512),
            modified: time(stat.st_mtime, stat.st_mtime_nsec),
            changed: time(stat.st_ctime, stat.st_ctime_nsec),
            device: stat.st_dev,
            inode: stat.st_ino,
            links: stat.st_nlink,
            special_device: stat.st_rdev,
        }
    }

    /// Of a path, its last component not followed.
    pub(crate) fn of_path(path: &Path) -> Result<Self> {
        let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW);
        stat.map(|stat| Self::of(&stat)).map_err(|e| SnapshotError::io("look at", path)(e.into()))
    }

    /// Of what a path leads to.
    pub(crate) fn of_target(path: &Path) -> Result<Self> {
        let stat = rustix::fs::stat(path);
        stat.map(|stat| Self::of(&stat)).map_err(|e| SnapshotError::io("follow", path)(e.into()))
    }

    /// Whether nothing was written between the two: what a reader compares before and after.
    pub(crate) fn same_content(&self, other: &Self) -> bool {
        (self.bytes, self.modified, self.changed, self.inode, self.device)
            == (other.bytes, other.modified, other.changed, other.inode, other.device)
    }
}

/// The names in a folder, sorted by their bytes. One after the other in memory, for there may be millions.
#[derive(Debug, Default)]
pub struct Names {
    /// Each with the NUL that system calls want.
    bytes: Vec<u8>,
    /// Where each lies, its NUL included.
    places: Vec<Range<u32>>,
}

impl Names {
    /// Those of an open folder; `None` if it has more than so many.
    fn read(folder: &OwnedFd, most: usize) -> rustix::io::Result<Option<Self>> {
        let (mut names, mut buffer) = (Self::default(), Vec::with_capacity(LISTING_BYTES));
        let mut entries = RawDir::new(folder, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name())?;
            }
            if names.places.len() > most {
                return Ok(None);
            }
        }
        names.sort();
        Ok(Some(names))
    }

    /// These, in any order.
    ///
    /// # Errors
    ///
    /// If one of them has a NUL, or all together exceed 4 GiB.
    pub fn of<'a>(names: impl Iterator<Item = &'a OsStr>) -> std::io::Result<Self> {
        let mut all = Self::default();
        for name in names {
            all.push(&CString::new(name.as_bytes())?)?;
        }
        all.sort();
        Ok(all)
    }

    fn push(&mut self, name: &CStr) -> rustix::io::Result<()> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
        let place = |at: usize| u32::try_from(at).map_err(|_| Errno::OVERFLOW);
        self.places.push(place(start)?..place(self.bytes.len())?);
        Ok(())
    }

    fn sort(&mut self) {
        let Self { bytes, places } = self;
        places.par_sort_unstable_by(|a, b| at(bytes, a).cmp(at(bytes, b)));
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &OsStr> {
        self.places.iter().map(|place| OsStr::from_bytes(without_nul(at(&self.bytes, place))))
    }

    /// Whether this one is among them.
    pub fn has(&self, name: &OsStr) -> bool {
        let known = |place| without_nul(at(&self.bytes, place));
        self.places.binary_search_by(|place| known(place).cmp(name.as_bytes())).is_ok()
    }
}

fn at<'a>(bytes: &'a [u8], place: &Range<u32>) -> &'a [u8] {
    bytes.get(place.start as usize..place.end as usize).unwrap_or_default()
}

fn without_nul(name: &[u8]) -> &[u8] {
    name.strip_suffix(b"\0").unwrap_or(name)
}

/// An open folder and its names.
struct Listing {
    descriptor: OwnedFd,
    names: Names,
}

/// An open folder whose names are known, and whose entries are looked at a few batches ahead.
pub(crate) struct OpenFolder {
    pub(crate) path: PathBuf,
    listing: Arc<Listing>,
    /// The first name that no batch has.
    next: usize,
    batches: VecDeque<Ahead<Vec<Listed>>>,
    current: std::vec::IntoIter<Listed>,
    /// How many of the current entries [`OpenFolder::next_unseen`] has not shown.
    unseen: usize,
}

/// An entry of a folder, or why nothing can be said of it. `None`: it vanished.
pub(crate) struct Listed {
    pub(crate) name: Vec<u8>,
    pub(crate) status: Option<rustix::io::Result<Status>>,
}

/// What one system call lists.
const LISTING_BYTES: usize = 32 << 10;
/// So many entries are looked at in a row …
const BATCH: usize = 256;
/// … and so many times ahead of the walk.
const BATCHES_AHEAD: usize = 4;
/// A folder with more entries is not opened ahead: its names alone would take too much memory.
const AHEAD_MOST_ENTRIES: usize = 1024;

impl OpenFolder {
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let listed = Listing::open(&path, usize::MAX)?;
        let listing = listed.ok_or_else(|| SnapshotError::io("list", &path)(Errno::OVERFLOW.into()))?;
        Ok(Self::new(path, listing))
    }

    /// Opens a folder ahead and looks at its first entries. `None` if it is large or cannot be opened: the walk opens it
    /// then, and says why it cannot.
    pub(crate) fn ahead(path: PathBuf) -> Ahead<Option<Self>> {
        Ahead::start(move || {
            let mut folder = Self::new(path.clone(), Listing::open(&path, AHEAD_MOST_ENTRIES).ok()??);
            folder.start(folder.listing.look(0..BATCH));
            folder.next = BATCH;
            Some(folder)
        })
    }

    /// A folder of which only these entries matter; it need not be readable, only passable.
    pub(crate) fn restricted<'a>(path: PathBuf, names: impl Iterator<Item = &'a OsStr>) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
        let opened = rustix::fs::openat(CWD, &path, flags, Mode::empty());
        let descriptor = opened.map_err(|e| SnapshotError::io("open", &path)(e.into()))?;
        let names = Names::of(names).map_err(SnapshotError::io("list", &path))?;
        Ok(Self::new(path, Listing { descriptor, names }))
    }

    fn new(path: PathBuf, listing: Listing) -> Self {
        let listing = Arc::new(listing);
        Self { path, listing, next: 0, batches: VecDeque::new(), current: Vec::new().into_iter(), unseen: 0 }
    }

    pub(crate) fn names(&self) -> &Names {
        &self.listing.names
    }

    /// The next entry in order.
    pub(crate) fn next_entry(&mut self) -> Option<Listed> {
        if self.current.as_slice().is_empty() {
            let batch = self.next_batch();
            self.start(batch);
        }
        self.unseen = self.unseen.min(self.current.len().saturating_sub(1));
        self.current.next()
    }

    /// Whether [`OpenFolder::next_unseen`] has one.
    pub(crate) fn has_unseen(&self) -> bool {
        self.unseen > 0
    }

    /// Shows entries that are coming and were looked at, each once.
    pub(crate) fn next_unseen(&mut self) -> Option<&Listed> {
        let coming = self.current.as_slice();
        let next = coming.get(coming.len().saturating_sub(self.unseen))?;
        self.unseen -= 1;
        Some(next)
    }

    fn start(&mut self, batch: Vec<Listed>) {
        self.unseen = batch.len();
        self.current = batch.into_iter();
    }

    /// The next entries. What is left of a small folder is not worth a hand-over.
    fn next_batch(&mut self) -> Vec<Listed> {
        let count = self.listing.names.places.len();
        while self.next + BATCH < count && self.batches.len() < BATCHES_AHEAD {
            let (listing, from) = (Arc::clone(&self.listing), self.next);
            self.batches.push_back(Ahead::start(move || listing.look(from..from + BATCH)));
            self.next += BATCH;
        }
        self.batches.pop_front().map(Ahead::finish).unwrap_or_else(|| {
            let from = std::mem::replace(&mut self.next, count);
            self.listing.look(from..count)
        })
    }
}

impl Listing {
    /// `None` if there are more entries than that.
    fn open(path: &Path, most: usize) -> Result<Option<Self>> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let opened = rustix::fs::openat(CWD, path, flags, Mode::empty());
        let descriptor = opened.map_err(|e| SnapshotError::io("open", path)(e.into()))?;
        let names = Names::read(&descriptor, most).map_err(|e| SnapshotError::io("list", path)(e.into()))?;
        Ok(names.map(|names| Self { descriptor, names }))
    }

    fn look(&self, range: Range<usize>) -> Vec<Listed> {
        let Names { bytes, places } = &self.names;
        let range = range.start.min(places.len())..range.end.min(places.len());
        let places = places.get(range).unwrap_or_default();
        places.iter().map(|place| self.look_at(at(bytes, place))).collect()
    }

    fn look_at(&self, name: &[u8]) -> Listed {
        let found = CStr::from_bytes_with_nul(name).map_err(|_| Errno::INVAL);
        let found = found.and_then(|name| rustix::fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW));
        let status = match found {
            Ok(stat) => Some(Ok(Status::of(&stat))),
            Err(Errno::NOENT) => None,
            Err(e) => Some(Err(e)),
        };
        Listed { name: without_nul(name).to_vec(), status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_by_their_bytes_and_found() {
        let names = ["b", "a\u{e9}", "a", "a b", "a.b"].map(OsStr::new);
        let all = Names::of(names.into_iter()).unwrap();
        assert!(all.iter().eq(["a", "a b", "a.b", "a\u{e9}", "b"]));
        assert!(names.iter().all(|name| all.has(name)));
        assert!(!all.has(OsStr::new("")) && !all.has(OsStr::new("a.")) && !all.has(OsStr::new("c")));
        assert!(Names::of([OsStr::new("a\0b")].into_iter()).is_err());
    }

    #[test]
    fn a_folder_opened_ahead_is_the_same_unless_it_is_large() {
        for (count, is_opened) in [(0, true), (1, true), (700, true), (1024, true), (1025, false)] {
            let folder = tempfile::tempdir().unwrap();
            (0..count).for_each(|number| std::fs::write(folder.path().join(format!("{number:04}")), "").unwrap());
            let ahead = OpenFolder::ahead(folder.path().to_owned()).finish();
            assert_eq!(ahead.is_some(), is_opened);
            for mut opened in ahead.into_iter().chain([OpenFolder::open(folder.path().to_owned()).unwrap()]) {
                let mut unseen = Vec::new();
                let listed = std::iter::from_fn(|| {
                    let listed = opened.next_entry()?;
                    unseen.extend(std::iter::from_fn(|| opened.next_unseen().map(|listed| listed.name.clone())));
                    Some(listed.name)
                });
                let expected: Vec<Vec<u8>> = (0..count).map(|number| format!("{number:04}").into_bytes()).collect();
                assert_eq!(listed.collect::<Vec<_>>(), expected);
                // The first of each batch is handed out before anybody can ask what is coming.
                let shown = expected.iter().enumerate().filter(|(at, _)| at % BATCH != 0).map(|(_, name)| name);
                assert!(unseen.iter().eq(shown));
            }
        }
        assert!(OpenFolder::ahead("/nowhere".into()).finish().is_none());
    }
}
