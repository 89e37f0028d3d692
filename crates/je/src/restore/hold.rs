//! JE's own locks, held.
//!
//! A writer holds byte 0 of `je.lck` alone, readers share byte 1, and whoever deletes files holds byte 1 alone
//! (`log/FileManager.java`). Both bytes held alone keep everybody out.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::Path;

use treering_snapshot::capture::plain;
use treering_snapshot::restore::{Hold, Place, Refusal, hold_alone};

/// The file that JE locks.
const LOCK_FILE: &str = "je.lck";
/// The bytes of writers and of readers.
const LOCKED_BYTES: i64 = 2;

/// Locks out every JE. The lock file is made if there is none, for whoever owns the folder, and stays: JE makes one too.
pub(crate) fn hold(place: &Place<'_>) -> Result<Hold, Refusal> {
    let file = open(place).map_err(Refusal::io("open", place.shown.join(LOCK_FILE)))?;
    hold_alone(file, LOCKED_BYTES, &place.shown.join(LOCK_FILE))
}

fn open(place: &Place<'_>) -> io::Result<File> {
    let path = place.path.join(LOCK_FILE);
    let mut options = plain();
    options.read(true).write(true);
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
