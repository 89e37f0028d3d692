//! Room for temporary copies.
//!
//! Owns one private folder per capture inside the folder that the caller gave, and the budget for it. The content of a
//! database never lies outside of it, and files in it have mode 0600 in a folder of mode 0700.
//!
//! Invariant: the folder is gone when the [`Room`] is dropped, on every way out; what a killed process left behind is
//! removed by the next capture, told from a living one by a kernel lock that dies with its process.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statvfs};
use tempfile::TempDir;
use treering_snapshot::capture::open_plain;

use crate::error::{Error, io_error};

const PREFIX: &str = "treering-sqlite-";
/// What a copy leaves free for others.
const SPARE_BYTES: u64 = 16 << 20;
/// A folder that vanished before it was locked was taken for a leftover; more than that often is no accident.
const MAX_ATTEMPTS: u32 = 8;

/// A private folder.
#[derive(Debug)]
pub(crate) struct Room {
    folder: TempDir,
    parent: PathBuf,
    left_bytes: u64,
    /// Locked while the folder is in use.
    _lock: File,
}

impl Room {
    /// Makes a folder in `parent` for up to `max_bytes`.
    pub(crate) fn new(parent: &Path, max_bytes: u64) -> Result<Room, Error> {
        sweep(parent);
        for _ in 0..MAX_ATTEMPTS {
            let private = Permissions::from_mode(0o700);
            let folder = tempfile::Builder::new().prefix(PREFIX).permissions(private).tempdir_in(parent);
            let folder = folder.map_err(io_error("create a folder in", parent))?;
            if let Some(lock) = lock(folder.path()) {
                return Ok(Room { folder, parent: parent.to_path_buf(), left_bytes: max_bytes, _lock: lock });
            }
        }
        Err(io_error("keep a folder in", parent)(std::io::ErrorKind::NotFound.into()))
    }

    /// Sets bytes of the budget aside for a copy of `path`, or says that there is no room.
    pub(crate) fn reserve(&mut self, path: &Path, needed_bytes: u64) -> Result<(), Error> {
        let stat = statvfs(&self.parent).map_err(|error| io_error("look at", &self.parent)(error.into()))?;
        let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize).saturating_sub(SPARE_BYTES).min(self.left_bytes);
        if needed_bytes > free_bytes {
            return Err(self.no_room(path, needed_bytes, free_bytes));
        }
        self.left_bytes -= needed_bytes;
        Ok(())
    }

    /// Removes a file that was created.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        fs::remove_file(&path).map_err(io_error("remove", &path))
    }

    /// Gives bytes of a copy that is thrown away back to the budget.
    pub(crate) fn release(&mut self, bytes: u64) {
        self.left_bytes = self.left_bytes.saturating_add(bytes);
    }

    /// The error for a copy that does not fit.
    pub(crate) fn no_room(&self, path: &Path, needed_bytes: u64, free_bytes: u64) -> Error {
        Error::NoRoom { path: path.to_path_buf(), folder: self.parent.clone(), needed_bytes, free_bytes }
    }

    /// Where a file of that name is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Creates an empty file, for reading and writing.
    pub(crate) fn create(&self, name: &str) -> Result<File, Error> {
        let path = self.path(name);
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        options.open(&path).map_err(io_error("create", &path))
    }
}

/// Locks a folder of ours; `None` if another process has it or removed it.
fn lock(folder: &Path) -> Option<File> {
    let file = open_plain(folder).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    let named = fs::symlink_metadata(folder).ok()?;
    let opened = file.metadata().ok()?;
    (named.ino() == opened.ino() && named.dev() == opened.dev()).then_some(file)
}

/// Removes what killed processes left behind. Whatever cannot be removed is left: it is not ours, or in use.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let is_ours = |name: &OsStr| name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
    for entry in entries.flatten().filter(|entry| is_ours(&entry.file_name())) {
        let folder = entry.path();
        if is_mine(&folder)
            && let Some(_lock) = lock(&folder)
        {
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

/// In a shared folder somebody else may have made a trap of that name.
fn is_mine(folder: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    let is_private = |metadata: fs::Metadata| metadata.is_dir() && metadata.mode() & 0o077 == 0;
    fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.uid() == user && is_private(metadata))
}
