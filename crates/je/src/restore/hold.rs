//! JE's own locks, held.
//!
//! A writer holds byte 0 of `je.lck` alone, readers share byte 1, and whoever deletes files holds byte 1 alone
//! (`log/FileManager.java`). Both bytes held alone keep everybody out. The locks are of the open file, not of the process,
//! so that no other descriptor of ours that is closed takes them away; they conflict with those that Java takes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use treering_snapshot::restore::{Hold, Place, Refusal};

/// The file that JE locks.
const LOCK_FILE: &str = "je.lck";
/// The bytes of writers and of readers.
const LOCKED_BYTES: libc::off_t = 2;

/// Locks out every JE. The lock file is made if there is none, for whoever owns the folder, and stays: JE makes one too.
pub(crate) fn hold(place: &Place<'_>) -> Result<Hold, Refusal> {
    let file = open(place).map_err(Refusal::io("open", place.shown.join(LOCK_FILE)))?;
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: LOCKED_BYTES,
        l_pid: 0,
    };
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(Box::new(file)),
        Err(Errno::EAGAIN | Errno::EACCES) => {
            let detail = format!("another process has locked {}", place.shown.join(LOCK_FILE).display());
            Err(Refusal::InUse { detail })
        }
        Err(e) => Err(Refusal::io("lock", place.shown.join(LOCK_FILE))(e.into())),
    }
}

fn open(place: &Place<'_>) -> io::Result<File> {
    let path = place.path.join(LOCK_FILE);
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    match options.open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => make(place.path, &path, options.mode(0o644)),
        opened => opened,
    }
}

fn make(folder: &Path, path: &Path, options: &OpenOptions) -> io::Result<File> {
    let file = options.clone().create_new(true).open(path)?;
    let owner = folder.metadata()?;
    let made = file.metadata()?;
    if (owner.uid(), owner.gid()) != (made.uid(), made.gid()) {
        chown(path, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(file)
}
