//! Reading folders: names in order, and what `lstat` says of each.
//!
//! Never follows a symbolic link, except on the way to what was asked for, and never opens a file. A folder of a million entries takes its names in memory and
//! nothing else.

use std::ffi::{CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};

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

/// An open folder whose names are known.
pub(crate) struct OpenFolder {
    pub(crate) path: PathBuf,
    descriptor: OwnedFd,
    /// Sorted by their bytes.
    names: Vec<CString>,
    next: usize,
    ahead: std::vec::IntoIter<Listed>,
}

/// An entry of a folder, or why nothing can be said of it. `None`: it vanished.
pub(crate) struct Listed {
    pub(crate) name: Vec<u8>,
    pub(crate) status: Option<std::result::Result<Status, rustix::io::Errno>>,
}

/// So many entries are looked at in a row, on several threads if there are enough.
const BATCH: usize = 1024;
const PARALLEL_FROM: usize = 256;

impl OpenFolder {
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let opened = rustix::fs::openat(CWD, &path, flags, Mode::empty());
        let descriptor = opened.map_err(|e| SnapshotError::io("open", &path)(e.into()))?;
        let names = read_names(&descriptor).map_err(|e| SnapshotError::io("list", &path)(e.into()))?;
        Ok(Self { path, descriptor, names, next: 0, ahead: Vec::new().into_iter() })
    }

    /// A folder of which only these entries matter; it need not be readable, only passable.
    pub(crate) fn restricted(path: PathBuf, names: Vec<CString>) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
        let opened = rustix::fs::openat(CWD, &path, flags, Mode::empty());
        let descriptor = opened.map_err(|e| SnapshotError::io("open", &path)(e.into()))?;
        Ok(Self { path, descriptor, names, next: 0, ahead: Vec::new().into_iter() })
    }

    /// Keeps only these entries.
    pub(crate) fn retain(&mut self, keep: impl Fn(&[u8]) -> bool) {
        self.names.retain(|name| keep(name.to_bytes()));
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.names.iter().map(|name| OsStr::from_bytes(name.to_bytes()))
    }

    fn look(&self, name: &CString) -> Listed {
        let status = match rustix::fs::statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(Ok(Status::of(&stat))),
            Err(rustix::io::Errno::NOENT) => None,
            Err(e) => Some(Err(e)),
        };
        Listed { name: name.to_bytes().to_vec(), status }
    }

    /// The next entry in order.
    pub(crate) fn next_entry(&mut self) -> Option<Listed> {
        if let Some(listed) = self.ahead.next() {
            return Some(listed);
        }
        let end = self.names.len().min(self.next + BATCH);
        let batch = self.names.get(self.next..end).unwrap_or_default();
        let listed: Vec<Listed> = match batch.len() {
            PARALLEL_FROM.. => batch.par_iter().map(|name| self.look(name)).collect(),
            _ => batch.iter().map(|name| self.look(name)).collect(),
        };
        self.next = end;
        self.ahead = listed.into_iter();
        self.ahead.next()
    }

    /// Whether it has an entry of this name.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.names.binary_search_by(|known| known.to_bytes().cmp(name)).is_ok()
    }
}

fn read_names(descriptor: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(descriptor)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}
