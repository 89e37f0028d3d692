//! Makes one folder equal to another and leaves equal files alone.
//!
//! Owns: turning stored versions of a dataset into changes of one live folder.
//! Never: writes to a file whose bytes, mode and time are equal: its inode and change time stay, as a program that
//! looks for changes must find them.
//! Invariant: afterwards both folders have the same names, bytes, modes, modification times and link targets.
//! A changed file keeps its inode and only its changed blocks are written, as a database writes them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use crate::error::{Context, Result};
use crate::files;

const BLOCK_BYTES: usize = 64 * 1024;

/// Makes `to`, which need not exist, equal to `from`.
pub fn mirror(from: &Path, to: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(from).context("read the metadata of", from)?;
    let existing = fs::symlink_metadata(to).ok();
    if let Some(other) = existing.as_ref().filter(|other| other.file_type() != metadata.file_type()) {
        remove(to, other)?;
    }
    if metadata.is_dir() {
        mirror_folder(from, to)?;
    } else if metadata.is_symlink() {
        mirror_link(from, to)?;
    } else if metadata.is_file() {
        mirror_file(from, to)?;
    } else {
        return Ok(());
    }
    mirror_metadata(to, &metadata)
}

fn mirror_folder(from: &Path, to: &Path) -> Result<()> {
    files::create_folder(to)?;
    let wanted = names(from)?;
    for name in names(to)?.difference(&wanted) {
        let path = to.join(name);
        remove(&path, &fs::symlink_metadata(&path).context("read the metadata of", &path)?)?;
    }
    wanted.iter().try_for_each(|name| mirror(&from.join(name), &to.join(name)))
}

fn names(folder: &Path) -> Result<BTreeSet<OsString>> {
    let paths = files::list(folder)?;
    Ok(paths.iter().filter_map(|path| path.file_name().map(OsString::from)).collect())
}

fn mirror_link(from: &Path, to: &Path) -> Result<()> {
    let target = fs::read_link(from).context("read the link", from)?;
    if fs::read_link(to).is_ok_and(|existing| existing == target) {
        return Ok(());
    }
    // A link cannot be changed, only replaced; it may not be there.
    let _ = fs::remove_file(to);
    std::os::unix::fs::symlink(target, to).context("link", to)
}

/// Compares bytes, not times: two versions of a file may have the same size and time.
fn mirror_file(from: &Path, to: &Path) -> Result<()> {
    let source = File::open(from).context("open", from)?;
    let mut options = File::options();
    let target = options.read(true).write(true).create(true).truncate(false).open(to).context("open", to)?;
    copy_changed_blocks(source, &target).context("write", to)
}

fn copy_changed_blocks(mut source: File, target: &File) -> io::Result<()> {
    let length = source.metadata()?.len();
    if target.metadata()?.len() != length {
        target.set_len(length)?;
    }
    let (mut new, mut old) = (vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]);
    let mut offset = 0;
    while offset < length {
        let part = BLOCK_BYTES.min((length - offset) as usize);
        source.read_exact(&mut new[..part])?;
        target.read_exact_at(&mut old[..part], offset)?;
        if new[..part] != old[..part] {
            target.write_all_at(&new[..part], offset)?;
        }
        offset += part as u64;
    }
    Ok(())
}

fn remove(path: &Path, metadata: &Metadata) -> Result<()> {
    if metadata.is_dir() { files::remove_folder(path) } else { files::remove(path) }
}

fn mirror_metadata(to: &Path, wanted: &Metadata) -> Result<()> {
    let current = fs::symlink_metadata(to).context("read the metadata of", to)?;
    if !wanted.is_symlink() && current.mode() != wanted.mode() {
        files::set_mode(to, wanted.mode() & 0o7777)?;
    }
    if (current.mtime(), current.mtime_nsec()) == (wanted.mtime(), wanted.mtime_nsec()) {
        return Ok(());
    }
    let time = Timespec { tv_sec: wanted.mtime(), tv_nsec: wanted.mtime_nsec() };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW).context("set the time of", to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::{Detail, describe};
    use crate::tricky_tree;

    #[test]
    fn the_copy_is_equal_and_equal_files_stay() {
        let temp = tempfile::tempdir().unwrap();
        let [one, two, live] = ["one", "two", "live"].map(|name| temp.path().join(name));
        for (folder, seed) in [(&one, 1), (&two, 2)] {
            tricky_tree::create(folder, &tricky_tree::Options::plain(seed)).unwrap();
            fs::write(folder.join("stays"), "the same").unwrap();
            files::set_time(&File::open(folder.join("stays")).unwrap(), folder, 1_000_000).unwrap();
        }
        mirror(&one, &live).unwrap();
        let before = fs::metadata(live.join("stays")).unwrap();
        mirror(&two, &live).unwrap();
        let after = fs::metadata(live.join("stays")).unwrap();
        let detail = Detail { times: true, link_times: true, folder_times: true, ..Detail::content() };
        assert_eq!(describe(&two, &detail).unwrap(), describe(&live, &detail).unwrap());
        assert_eq!((before.ino(), before.ctime_nsec()), (after.ino(), after.ctime_nsec()));
    }
}
