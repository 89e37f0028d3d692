//! Removing what a snapshot does not have.
//!
//! Owns deletion. Never follows a link and never leaves the folder it was given, nor the file system that it is on.
//!
//! Invariant: what the selection leaves out stays, what is mounted beneath the target stays, the repository that is
//! restored from stays, and so do the folders that hold such.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, unlinkat};

use super::beneath::{kind_of, list, look};
use super::mounts::{first_at, is_mounted_on};
use super::{Choice, Work, add};
use crate::error::{Result, SnapshotError};
use crate::progress::{Event, Outcome};

/// Folders deeper than this below one that is removed are not removed: each level holds a descriptor.
const DEPTH_MOST: usize = 256;

/// A folder that is being emptied.
struct Level {
    fd: OwnedFd,
    names: Vec<Vec<u8>>,
    path: PathBuf,
    /// Its name in the folder above.
    name: Vec<u8>,
    /// Something in it stays.
    is_kept: bool,
}

/// Removes a folder that stands where something else is to be: only where deleting was asked for, and only all of it.
pub(super) fn clear_folder(work: &Work<'_>, fd: &OwnedFd, folder: u32, name: &[u8]) -> Result<()> {
    let blocked = |found| SnapshotError::Blocked { path: work.folders.placed(folder, name), found };
    if !work.options.delete || !work.options.overwrite.replaces_kinds() {
        return Err(blocked("folder"));
    }
    let there = look(fd, name).map_err(SnapshotError::io("look at", work.folders.placed(folder, name)))?;
    if let Some(own) = there.as_ref().and_then(|stat| work.own.at_or_in(stat)) {
        return Err(SnapshotError::OfRepository { path: work.folders.placed(folder, name), own: own.to_owned() });
    }
    let is_elsewhere = work.folders.get(folder).is_none_or(|folder| folder.is_elsewhere);
    let mounted = if is_elsewhere { Some(work.folders.placed(folder, name)) } else { first_at(fd, name) };
    if let Some(path) = mounted {
        return Err(SnapshotError::MountedBeneath { path });
    }
    match remove(work, fd, name, &work.folders.shown(folder, name))? {
        true => Ok(()),
        false => Err(blocked("folder of which something is to stay")),
    }
}

/// Removes an entry with all that is in it. `path` is where it would be in the snapshot. Whether nothing of it stays.
pub(super) fn remove(work: &Work<'_>, folder: &OwnedFd, name: &[u8], path: &Path) -> Result<bool> {
    let (mut levels, mut is_gone) = (Vec::<Level>::new(), true);
    if !remove_entry(work, folder, name, path, &mut levels)? {
        return Ok(false);
    }
    while let Some(mut level) = levels.pop() {
        match level.names.pop() {
            Some(next) => {
                let next_path = level.path.join(OsStr::from_bytes(&next));
                let depth = levels.len();
                let removed = remove_entry(work, &level.fd, &next, &next_path, &mut levels)?;
                level.is_kept |= !removed;
                // It goes below what was opened just now.
                levels.insert(depth, level);
            }
            None => is_gone = leave(work, folder, level, &mut levels)?,
        }
    }
    Ok(is_gone)
}

/// Removes an entry, or opens it if it is a folder. Whether it goes.
fn remove_entry(work: &Work<'_>, folder: &OwnedFd, name: &[u8], path: &Path, levels: &mut Vec<Level>) -> Result<bool> {
    work.check_interrupted()?;
    let Some(stat) = look(folder, name).map_err(SnapshotError::io("look at", path))? else { return Ok(true) };
    let is_folder = kind_of(&stat) == FileType::Directory;
    match (work.options.selection)(path, is_folder) {
        Choice::Take => {}
        Choice::Descend if is_folder => {}
        _ => return Ok(false),
    }
    if is_folder && is_mounted_on(folder, name).map_err(SnapshotError::io("look at", path))? {
        work.tell(path, "restore", &SnapshotError::MountedBeneath { path: path.to_owned() });
        return Ok(false);
    }
    if !is_folder {
        return unlink(work, folder, name, path, false).map(|()| true);
    }
    if levels.len() >= DEPTH_MOST {
        return Err(SnapshotError::Limit { what: "the depth of a folder to be removed", limit: DEPTH_MOST as u64 });
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(folder, name, flags, Mode::empty()).map_err(io::Error::from);
    let fd = opened.map_err(SnapshotError::io("open", path))?;
    let stat = fstat(&fd).map_err(io::Error::from).map_err(SnapshotError::io("look at", path))?;
    if let Some(own) = work.own.at(&stat) {
        work.spared.lock().insert(own.to_owned());
        return Ok(false);
    }
    let names = list(&fd).map_err(SnapshotError::io("list", path))?;
    let is_kept = (work.options.selection)(path, true) != Choice::Take;
    levels.push(Level { fd, names, path: path.to_owned(), name: name.to_vec(), is_kept });
    Ok(true)
}

/// Removes a folder that was emptied, unless something in it stays. Whether it is gone.
fn leave(work: &Work<'_>, folder: &OwnedFd, level: Level, levels: &mut [Level]) -> Result<bool> {
    let above = levels.last_mut();
    if level.is_kept {
        if let Some(above) = above {
            above.is_kept = true;
        }
        return Ok(false);
    }
    unlink(work, above.map_or(folder, |above| &above.fd), &level.name, &level.path, true).map(|()| true)
}

fn unlink(work: &Work<'_>, folder: &OwnedFd, name: &[u8], path: &Path, is_folder: bool) -> Result<()> {
    if !work.options.dry_run {
        let flags = if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        unlinkat(folder, name, flags).map_err(io::Error::from).map_err(SnapshotError::io("remove", path))?;
    }
    add(&work.tally.files_deleted, 1);
    work.progress.event(Event::Done { path, is_folder, outcome: Outcome::Deleted, bytes: 0 });
    Ok(())
}
