//! JE's own locks, held.
//!
//! A writer holds byte 0 of `je.lck` alone, readers share byte 1, and whoever deletes files holds byte 1 alone
//! (`log/FileManager.java`). Both bytes held alone keep everybody out.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::Path;

use treering_snapshot::capture::plain;
use treering_snapshot::restore::{Hold, Place, Refusal, hold_alone};

use crate::log::Name;

/// The file that JE locks.
const LOCK_FILE: &str = "je.lck";
/// The bytes of writers and of readers.
const LOCKED_BYTES: i64 = 2;

/// Locks out every JE. The lock file is made if there is none, for whoever owns the folder, and stays: JE makes one too.
pub(crate) fn hold(place: &Place<'_>) -> Result<Hold, Refusal> {
    let file = open(place).map_err(Refusal::io("open", place.shown.join(LOCK_FILE)))?;
    hold_alone(file, LOCKED_BYTES, &place.shown.join(LOCK_FILE))
}

/// Refuses to have these entries of a folder touched if they belong to an environment that somebody has open. Without a
/// lock file nobody has.
pub(crate) fn refuse_open(folder: &Place<'_>, names: &[OsString]) -> Result<(), Refusal> {
    let is_data_folder = folder.shown.file_name().is_some_and(|name| matches!(Name::of(name), Name::DataFolder(_)));
    if !names.iter().any(|name| is_own(name)) {
        return Ok(());
    }
    for home in if is_data_folder { &[".", ".."][..] } else { &["."] } {
        let path = folder.path.join(home).join(LOCK_FILE);
        let shown = if *home == "." { folder.shown } else { folder.shown.parent().unwrap_or(folder.shown) };
        let shown = shown.join(LOCK_FILE);
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            let file = plain().read(true).write(true).open(&path).map_err(Refusal::io("open", &shown))?;
            hold_alone(file, LOCKED_BYTES, &shown)?;
        }
    }
    Ok(())
}

/// Whether an entry of a folder may belong to an environment.
fn is_own(name: &OsStr) -> bool {
    let is_log = Path::new(name).extension().is_some_and(|ending| ending == "jdb");
    is_log || matches!(Name::of(name), Name::Lock | Name::Properties | Name::DataFolder(_))
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
