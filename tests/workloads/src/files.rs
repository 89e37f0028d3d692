//! Writing files with a fixed time.
//!
//! Owns: the small file operations that every generator repeats, with errors that name the path.
//! Never: decides what is written.
//! Invariant: a file written here carries the modification time it was given, whatever the clock says.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::{Context, Result};

/// Creates the folder and whatever is missing above it.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).context("create the folder", path)
}

/// Writes a whole file, dated `modified` seconds after 1970.
pub(crate) fn write(path: &Path, bytes: impl AsRef<[u8]>, modified: i64) -> Result<()> {
    if let Some(parent) = path.parent() {
        create_folder(parent)?;
    }
    let mut file = File::create(path).context("create", path)?;
    file.write_all(bytes.as_ref()).context("write", path)?;
    set_time(&file, path, modified)
}

/// Adds to the end of a file, which need not exist.
pub(crate) fn append(path: &Path, bytes: impl AsRef<[u8]>, modified: i64) -> Result<()> {
    if let Some(parent) = path.parent() {
        create_folder(parent)?;
    }
    let mut file = File::options().append(true).create(true).open(path).context("open", path)?;
    file.write_all(bytes.as_ref()).context("append to", path)?;
    set_time(&file, path, modified)
}

/// Dates an open file.
pub(crate) fn set_time(file: &File, path: &Path, modified: i64) -> Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(modified.max(0) as u64);
    file.set_modified(time).context("set the time of", path)
}

/// Sets the permission bits.
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).context("set the mode of", path)
}

/// The whole file as text.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).context("read", path)
}

/// Moves a file within its file system.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).context("move", from)
}

/// Removes one file.
pub(crate) fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).context("remove", path)
}

/// Removes a folder and everything in it; nothing happens when it is not there.
pub(crate) fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.context("remove the folder", path),
    }
}

/// What is in a folder, sorted, because the order a file system lists in is chance.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).context("list", folder)?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.context("list", folder)?.path());
    }
    paths.sort();
    Ok(paths)
}
