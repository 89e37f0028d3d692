//! The folder in which a stage lies beside its target, and the exchange of the two.
//!
//! Owns the only functions that put a stage in the place of something. Never follows a link beneath the target.
//!
//! Invariant: names are exchanged in one call where the file system can do that.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, fstat, fsync, futimens, mkdirat, openat,
    renameat, renameat_with,
};
use rustix::io::Errno;

use super::application::{Refusal, Unit};
use super::beneath::{self, kind_of, look};
use super::meta::{self, Meta};
use super::mounts::is_mount_point;
use super::{RestoreOptions, Root};
use crate::error::{Result, SnapshotError};
use crate::node::Time;

/// The middle of a stage's name; in front of it the name of what is restored, behind it a random number.
const STAGE: &str = ".treering-restore-";
/// The same of what was moved aside.
pub(super) const OLD: &str = ".treering-old-";

/// An open folder in which names are exchanged.
pub(super) struct Yard {
    pub(super) fd: OwnedFd,
    pub(super) shown: PathBuf,
    /// The name of the folder or main file that is exchanged.
    pub(super) name: OsString,
}

/// The folder of the target, if the target itself is exchanged. A link that the user named is followed.
pub(super) fn outside(target: &Path, makes: bool) -> Result<Option<Yard>> {
    let real = match fs::canonicalize(target) {
        Ok(real) => real,
        Err(e) if e.kind() == io::ErrorKind::NotFound && !makes => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::NotFound => made_parent(target)?,
        Err(e) => return Err(SnapshotError::io("open", target)(e)),
    };
    let (Some(folder), Some(name)) = (real.parent(), real.file_name()) else {
        return Err(SnapshotError::WrongKind { path: real, needed: "folder that can be exchanged for another one" });
    };
    let fd = openat(rustix::fs::CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let fd = fd.map_err(io::Error::from).map_err(SnapshotError::io("open", folder))?;
    Ok(Some(Yard { fd, shown: folder.to_owned(), name: name.to_owned() }))
}

/// The path of a target that is not there, with a parent that is.
fn made_parent(target: &Path) -> Result<PathBuf> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(SnapshotError::io("make", folder))?;
    let folder = fs::canonicalize(folder).map_err(SnapshotError::io("open", folder))?;
    Ok(target.file_name().map_or_else(|| folder.clone(), |name| folder.join(name)))
}

/// Makes the folders that lead to a root, as the ordinary restore would if it put something there.
pub(super) fn make_leading(top: &OwnedFd, root: &Root, options: &RestoreOptions<'_>) -> Result<()> {
    let (mut at, mut made) = (None::<OwnedFd>, Vec::new());
    for (name, node) in root.leading() {
        let base = at.as_ref().unwrap_or(top);
        let failed = |e: Errno| SnapshotError::io("make", options.target.join(&root.under))(e.into());
        let is_new = match mkdirat(base, name.as_slice(), Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(e) => return Err(failed(e)),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(base, name.as_slice(), if is_new { flags } else { beneath::FOLDER }, Mode::empty());
        let opened = opened.map_err(failed)?;
        if let Some(node) = node.filter(|_| is_new) {
            made.push((opened.try_clone().map_err(SnapshotError::io("open", &options.target))?, node));
        }
        at = Some(opened);
    }
    for (fd, node) in made.iter().rev() {
        let meta = Meta::of(node, options.ownership, options.privileged);
        // What cannot be set here could not be set by an ordinary restore either; the content matters more.
        meta.put_on(fd.as_fd(), true, &mut |_, _| {});
    }
    Ok(())
}

impl Yard {
    /// A path for opening a name in it.
    pub(super) fn path(&self, name: &OsStr) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd())).join(name)
    }

    pub(super) fn look(&self, name: &OsStr) -> Result<Option<FileType>> {
        let found = look(&self.fd, name.as_bytes()).map_err(SnapshotError::io("look at", self.shown.join(name)))?;
        Ok(found.map(|stat| kind_of(&stat)))
    }

    /// Whether the target is a folder with nothing in it but what a lock has made.
    pub(super) fn is_empty_folder(&self) -> bool {
        let names =
            openat(&self.fd, self.name.as_os_str(), beneath::FOLDER, Mode::empty()).map(|fd| beneath::list(&fd));
        matches!(names, Ok(Ok(names)) if names.iter().all(|name| name.ends_with(b".lck")))
    }

    pub(super) fn modified(&self) -> Option<Time> {
        fstat(&self.fd).ok().map(|stat| meta::modified(&stat))
    }

    pub(super) fn set_modified(&self, time: Option<Time>) {
        if let Some(time) = time {
            set_modified(&self.fd, time);
        }
    }

    /// What earlier restores to this place have left.
    pub(super) fn leftovers(&self) -> Vec<PathBuf> {
        let Ok(names) = beneath::list(&self.fd) else { return Vec::new() };
        let starts = [STAGE, OLD].map(|middle| [self.name.as_bytes(), middle.as_bytes()].concat());
        let is_ours = |name: &Vec<u8>| starts.iter().any(|start| name.starts_with(start));
        let mut found: Vec<_> =
            names.into_iter().filter(is_ours).map(|name| self.shown.join(OsStr::from_bytes(&name))).collect();
        found.sort();
        found
    }
}

/// A folder of ours, beside the target.
pub(super) struct Stage {
    pub(super) fd: OwnedFd,
    pub(super) name: OsString,
    pub(super) path: PathBuf,
    pub(super) shown: PathBuf,
}

impl Stage {
    pub(super) fn make(yard: &Yard, id: &str) -> Result<Self> {
        let mut name = yard.name.clone();
        name.push(format!("{STAGE}{id}"));
        let shown = yard.shown.join(&name);
        let failed = |e: Errno| SnapshotError::io("make", &shown)(e.into());
        mkdirat(&yard.fd, &name, Mode::RWXU).map_err(failed)?;
        let fd = openat(&yard.fd, &name, beneath::FOLDER, Mode::empty()).map_err(failed)?;
        Ok(Self { fd, path: yard.path(&name), name, shown })
    }

    /// The folder or the main file, for opening and for people.
    pub(super) fn main(&self, unit: &Unit, name: &OsStr) -> (PathBuf, PathBuf) {
        match unit {
            Unit::Folder => (self.path.clone(), self.shown.clone()),
            Unit::File { .. } | Unit::WithCompanions { .. } => (self.path.join(name), self.shown.join(name)),
        }
    }

    pub(super) fn modified(&self) -> Option<Time> {
        fstat(&self.fd).ok().map(|stat| meta::modified(&stat))
    }

    pub(super) fn set_modified(&self, time: Time) {
        set_modified(&self.fd, time);
    }
}

fn set_modified(folder: &OwnedFd, time: Time) {
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let last_modification = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    let open = openat(folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    // A time that cannot be set back is no reason to fail: the content is what matters.
    let _unset = open.and_then(|fd| futimens(&fd, &Timestamps { last_access, last_modification }));
}

/// Puts `from` in the place of `to`. What was there is at `from` then, or nothing.
pub(super) fn swap(from: &OwnedFd, old: &OsStr, to: &OwnedFd, new: &OsStr, yard: &Yard) -> Result<(), Refusal> {
    let shown = yard.shown.join(new);
    let failed = |e: Errno| match e {
        Errno::BUSY => is_mount_point(&shown),
        e => Refusal::io("exchange", &shown)(e.into()),
    };
    match renameat_with(from, old, to, new, RenameFlags::EXCHANGE) {
        Err(Errno::NOENT) => renameat_with(from, old, to, new, RenameFlags::NOREPLACE).map_err(failed),
        // File systems that cannot exchange: for a moment neither has the name.
        Err(Errno::INVAL | Errno::NOSYS) => swap_by_steps(from, old, to, new).map_err(failed),
        exchanged => exchanged.map_err(failed),
    }
}

/// Moves what has a name in `from` to the same name in `to`, where nothing has it.
pub(super) fn move_aside(from: &OwnedFd, to: &OwnedFd, name: &OsStr, yard: &Yard) -> Result<(), Refusal> {
    let moved = match renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => renameat(from, name, to, name),
        moved => moved,
    };
    moved.map_err(|e| Refusal::io("move aside", yard.shown.join(name))(e.into()))
}

fn swap_by_steps(from: &OwnedFd, old: &OsStr, to: &OwnedFd, new: &OsStr) -> Result<(), Errno> {
    let mut aside = old.to_owned();
    aside.push(".old");
    match renameat(to, new, from, &aside) {
        Ok(()) => {
            renameat(from, old, to, new)?;
            renameat(from, &aside, from, old)
        }
        Err(Errno::NOENT) => renameat(from, old, to, new),
        Err(e) => Err(e),
    }
}

pub(super) fn sync(folder: &OwnedFd, shown: &Path) -> Result<(), Refusal> {
    let open = openat(folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    open.and_then(fsync).map_err(|e| Refusal::io("sync", shown)(e.into()))
}
