//! The repository that is restored from, where it lies on the same machine as the target.
//!
//! Owns the rule that a restore leaves it alone: its folders are not entered, written to, deleted or moved, nor is a
//! folder that holds them exchanged for another one. Never compares paths: a folder is its device and inode, however
//! links and mounts lead to it.
//!
//! Invariant: nothing that lies in a folder of the repository is made, changed or removed by a restore from it.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;
use treering_store::Repository;

use super::beneath::identity;
use crate::error::{Result, SnapshotError};

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The folders of a repository on this machine, its index and its cache among them.
#[derive(Debug, Default)]
pub(super) struct Own {
    folders: HashMap<(u64, u64), PathBuf>,
    /// The folders that hold one of them, with that one.
    above: HashMap<(u64, u64), PathBuf>,
}

impl Own {
    pub(super) fn of(repository: &Repository) -> Self {
        let mut own = Self::default();
        for path in repository.local_folders() {
            // What is not there cannot be touched.
            let Ok(folder) = open(CWD, &path) else { continue };
            for (depth, id) in upwards(folder).enumerate() {
                let known = if depth == 0 { &mut own.folders } else { &mut own.above };
                known.entry(id).or_insert_with(|| path.clone());
            }
        }
        own
    }

    /// Which of them this is.
    pub(super) fn at(&self, stat: &Stat) -> Option<&Path> {
        self.folders.get(&identity(stat)).map(PathBuf::as_path)
    }

    /// Which of them this is or holds.
    pub(super) fn at_or_in(&self, stat: &Stat) -> Option<&Path> {
        self.at(stat).or_else(|| self.above.get(&identity(stat)).map(PathBuf::as_path))
    }

    /// Refuses a place that is one of them or lies in one, whether or not it exists.
    pub(super) fn refuse(&self, place: &Path) -> Result<()> {
        let nearest = place.ancestors().find_map(|path| open(CWD, path).ok());
        nearest.map_or(Ok(()), |folder| self.refuse_in(folder, place))
    }

    /// Refuses an open folder that is one of them or lies in one.
    pub(super) fn refuse_in(&self, folder: OwnedFd, place: &Path) -> Result<()> {
        match upwards(folder).find_map(|id| self.folders.get(&id)) {
            Some(own) => Err(SnapshotError::OfRepository { path: place.to_owned(), own: own.clone() }),
            None => Ok(()),
        }
    }
}

/// Opens a folder that may be behind a link.
fn open(base: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    openat(base, path, FOLDER, Mode::empty())
}

/// A folder and those that hold it, up to the root, as far as they can be opened.
fn upwards(folder: OwnedFd) -> impl Iterator<Item = (u64, u64)> {
    let (mut next, mut last) = (Some(folder), None);
    std::iter::from_fn(move || {
        let folder = next.take()?;
        let id = fstat(&folder).ok().map(|stat| identity(&stat))?;
        // The root is its own parent.
        if last.replace(id) == Some(id) {
            return None;
        }
        next = open(folder.as_fd(), Path::new("..")).ok();
        Some(id)
    })
}
