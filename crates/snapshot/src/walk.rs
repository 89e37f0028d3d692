//! Reading folders: names in order, and what `lstat` says of each.
//!
//! Never follows a symbolic link, except on the way to what was asked for, and never opens a file. A folder of a million
//! entries takes its names in memory, one after the other, and nothing else.

use std::ffi::{CStr, CString, OsStr};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

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
    /// Those of an open folder.
    fn read(folder: &OwnedFd) -> rustix::io::Result<Self> {
        let (mut names, mut buffer) = (Self::default(), Vec::with_capacity(LISTING_BYTES));
        let mut entries = RawDir::new(folder, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name())?;
            }
        }
        names.sort();
        Ok(names)
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

/// An open folder whose names are known.
pub(crate) struct OpenFolder {
    pub(crate) path: PathBuf,
    descriptor: OwnedFd,
    names: Names,
    next: usize,
    ahead: std::vec::IntoIter<Listed>,
}

/// An entry of a folder, or why nothing can be said of it. `None`: it vanished.
pub(crate) struct Listed {
    pub(crate) name: Vec<u8>,
    pub(crate) status: Option<rustix::io::Result<Status>>,
}

/// What one system call lists.
const LISTING_BYTES: usize = 32 << 10;
/// So many entries are looked at in a row, on several threads if there are enough.
const BATCH: usize = 1024;
const PARALLEL_FROM: usize = 256;

impl OpenFolder {
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let opened = rustix::fs::openat(CWD, &path, flags, Mode::empty());
        let descriptor = opened.map_err(|e| SnapshotError::io("open", &path)(e.into()))?;
        let names = Names::read(&descriptor).map_err(|e| SnapshotError::io("list", &path)(e.into()))?;
        Ok(Self { path, descriptor, names, next: 0, ahead: Vec::new().into_iter() })
    }

    /// A folder of which only these entries matter; it need not be readable, only passable.
    pub(crate) fn restricted<'a>(path: PathBuf, names: impl Iterator<Item = &'a OsStr>) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
        let opened = rustix::fs::openat(CWD, &path, flags, Mode::empty());
        let descriptor = opened.map_err(|e| SnapshotError::io("open", &path)(e.into()))?;
        let names = Names::of(names).map_err(SnapshotError::io("list", &path))?;
        Ok(Self { path, descriptor, names, next: 0, ahead: Vec::new().into_iter() })
    }

    /// Keeps only these entries.
    pub(crate) fn retain(&mut self, keep: impl Fn(&[u8]) -> bool) {
        let Names { bytes, places } = &mut self.names;
        places.retain(|place| keep(without_nul(at(bytes, place))));
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    fn look(&self, place: &Range<u32>) -> Listed {
        let name = at(&self.names.bytes, place);
        let found = CStr::from_bytes_with_nul(name).map_err(|_| Errno::INVAL);
        let found = found.and_then(|name| rustix::fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW));
        let status = match found {
            Ok(stat) => Some(Ok(Status::of(&stat))),
            Err(Errno::NOENT) => None,
            Err(e) => Some(Err(e)),
        };
        Listed { name: without_nul(name).to_vec(), status }
    }

    /// The next entry in order.
    pub(crate) fn next_entry(&mut self) -> Option<Listed> {
        if let Some(listed) = self.ahead.next() {
            return Some(listed);
        }
        let end = self.names.places.len().min(self.next + BATCH);
        let batch = self.names.places.get(self.next..end).unwrap_or_default();
        let listed: Vec<Listed> = match batch.len() {
            PARALLEL_FROM.. => batch.par_iter().map(|place| self.look(place)).collect(),
            _ => batch.iter().map(|place| self.look(place)).collect(),
        };
        self.next = end;
        self.ahead = listed.into_iter();
        self.ahead.next()
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
}
