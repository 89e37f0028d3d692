//! What is mounted on a folder and beneath it.
//!
//! Folders are exchanged by their names. One that something is mounted on keeps its name; and what is mounted beneath one
//! would go with the old folder, so that the new content would be beside the disk or the volume that it was meant for.
//!
//! Owns the reading of the kernel's table, and what is said of such a place. Never mounts or unmounts anything.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, fstat, statat, statx};

use super::application::{Place, Refusal};

/// The mounts of this process (`proc_pid_mountinfo(5)`).
const TABLE: &str = "/proc/self/mountinfo";
/// The mount point is its fifth field.
const POINT_AT: usize = 4;
/// Blanks and the like stand there as a backslash and three octal digits.
const ESCAPE: u8 = b'\\';

/// Refuses what cannot be exchanged as a whole, because something is mounted on it or in it. What is not there can be.
///
/// # Errors
///
/// [`Refusal::Mounted`].
pub fn refuse_mounts(place: &Place<'_>) -> Result<(), Refusal> {
    // Without the table the exchange itself fails, if it must.
    let (Ok(real), Ok(table)) = (fs::canonicalize(place.path), fs::read(TABLE)) else { return Ok(()) };
    match beneath(&table, &real).first() {
        None => Ok(()),
        Some(point) if *point == real => Err(is_mount_point(place.shown)),
        Some(point) => {
            let (shown, point) = (place.shown.display(), point.display());
            let what = "it would go with what is there now, and the new content would not be on it";
            Err(Refusal::Mounted { detail: format!("{point} is a mount point within {shown}: {what}") })
        }
    }
}

/// What `EBUSY` means in an exchange.
pub(super) fn is_mount_point(shown: &Path) -> Refusal {
    let what = "a mount point, which keeps its name, so that nothing can take its place";
    Refusal::Mounted { detail: format!("{} is {what}", shown.display()) }
}

/// Whether something is mounted on an entry of a folder.
pub(super) fn is_mounted_on(folder: &OwnedFd, name: &[u8]) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match statx(folder, name, flags, StatxFlags::TYPE) {
        Ok(found) if found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) => {
            Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
        }
        // Older kernels, and sandboxes that know no such call, tell another file system at least.
        _ => Ok(fstat(folder)?.st_dev != statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_dev),
    }
}

/// The first mount point at an entry of a folder or beneath it, if the kernel's table is there to tell.
pub(super) fn first_at(folder: &OwnedFd, name: &[u8]) -> Option<PathBuf> {
    let real = fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd())).ok()?;
    let table = fs::read(TABLE).ok()?;
    beneath(&table, &real.join(OsStr::from_bytes(name))).into_iter().next()
}

fn beneath(table: &[u8], path: &Path) -> Vec<PathBuf> {
    let points = table.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(POINT_AT));
    let mut found: Vec<PathBuf> = points.map(unescaped).filter(|point| point.starts_with(path)).collect();
    found.sort_unstable();
    found
}

fn unescaped(mut field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    while let [first, rest @ ..] = field {
        let escaped = (*first == ESCAPE).then(|| rest.split_at_checked(3)).flatten();
        let octal = escaped
            .and_then(|(digits, rest)| Some((u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?, rest)));
        let (byte, rest) = octal.unwrap_or((*first, rest));
        bytes.push(byte);
        field = rest;
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_found_at_a_path_and_beneath_it() {
        let table = b"36 35 98:0 /mnt1 /srv/je rw,noatime master:1 - ext3 /dev/root rw\n\
            37 35 98:1 / /srv/a\\040b\\134c/data rw - tmpfs tmpfs rw\n\
            38 35 98:1 / /srv/jet rw - tmpfs tmpfs rw\n\
            nonsense\n";
        let found = |path: &str| beneath(table, Path::new(path));
        assert_eq!(found("/srv/je"), [Path::new("/srv/je")]);
        assert_eq!(found("/srv/a b\\c"), [Path::new("/srv/a b\\c/data")]);
        assert_eq!(found("/srv").len(), 3);
        assert!(found("/srv/je/bdb").is_empty());
    }

    #[test]
    fn the_kernels_own_table_is_read() {
        let refused =
            |path: &Path| refuse_mounts(&Place { path, shown: Path::new("shown") }).map_err(|e| e.to_string());
        assert!(refused(Path::new("/proc")).unwrap_err().starts_with("shown is a mount point"));
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(refused(folder.path()), Ok(()));
        assert_eq!(refused(&folder.path().join("none")), Ok(()));
    }
}
