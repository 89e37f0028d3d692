//! A description of a folder by which two folders can be compared.
//!
//! Owns: reading back everything a snapshot must keep: bytes, holes, modes, owners, times, links, attributes.
//! Never: writes, follows a symbolic link, or shares code with what restores.
//! Invariant: two folders have equal fingerprints exactly when nothing that [`Detail`] asks for differs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File, FileType, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};
use crate::files;

/// Every path below a folder (and the folder itself, as the empty path) with its description.
pub type Fingerprint = BTreeMap<PathBuf, String>;

/// What is compared beside kind, bytes, link targets and permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    /// User and group.
    pub owners: bool,
    /// Modification times of files, to the nanosecond.
    pub times: bool,
    /// Modification times of symbolic links.
    pub link_times: bool,
    /// Modification times of folders.
    pub folder_times: bool,
    /// Which files are one file with several names.
    pub hard_links: bool,
    /// Where files have holes.
    pub holes: bool,
    /// Extended attributes, POSIX ACLs among them.
    pub attributes: bool,
}

impl Detail {
    /// Everything.
    pub fn full() -> Self {
        Self {
            owners: true,
            times: true,
            link_times: true,
            folder_times: true,
            hard_links: true,
            holes: true,
            attributes: true,
        }
    }

    /// What does not depend on who made the folder, when, and on which file system.
    pub fn portable() -> Self {
        Self { times: true, hard_links: true, ..Self::content() }
    }

    /// Names, kinds, bytes, link targets and permission bits: what every backup tool keeps.
    pub fn content() -> Self {
        Self {
            owners: false,
            times: false,
            link_times: false,
            folder_times: false,
            hard_links: false,
            holes: false,
            attributes: false,
        }
    }
}

/// The full fingerprint of a folder.
pub fn fingerprint(folder: &Path) -> Result<Fingerprint> {
    describe(folder, &Detail::full())
}

/// The fingerprint of a folder with as much detail as asked.
pub fn describe(folder: &Path, detail: &Detail) -> Result<Fingerprint> {
    let mut reader = Reader { root: folder, detail, first_names: BTreeMap::new(), found: Fingerprint::new() };
    reader.visit(PathBuf::new())?;
    Ok(reader.found)
}

/// One sentence for each path that differs, at most `limit` of them.
pub fn differences(expected: &Fingerprint, actual: &Fingerprint, limit: usize) -> Vec<String> {
    let missing_or_changed = expected.iter().filter_map(|(path, was)| match actual.get(path) {
        None => Some(format!("{path:?} is missing")),
        Some(is) if is != was => Some(format!("{path:?} was {was}, is {is}")),
        Some(_) => None,
    });
    let extra = actual.keys().filter(|path| !expected.contains_key(*path)).map(|path| format!("{path:?} is extra"));
    missing_or_changed.chain(extra).take(limit).collect()
}

struct Reader<'a> {
    root: &'a Path,
    detail: &'a Detail,
    /// The first path seen of each file that has several, by device and inode.
    first_names: BTreeMap<(u64, u64), PathBuf>,
    found: Fingerprint,
}

impl Reader<'_> {
    /// A folder before what is in it, in the order of names; without recursion, for trees may be deep.
    fn visit(&mut self, path: PathBuf) -> Result<()> {
        let mut waiting = vec![path];
        while let Some(path) = waiting.pop() {
            let full = self.root.join(&path);
            let metadata = fs::symlink_metadata(&full).context("read the metadata of", &full)?;
            let description = self.describe(&path, &full, &metadata)?;
            let children = if metadata.is_dir() { files::list(&full)? } else { Vec::new() };
            waiting.extend(children.iter().rev().map(|child| path.join(child.file_name().unwrap_or_default())));
            self.found.insert(path, description);
        }
        Ok(())
    }

    fn describe(&mut self, path: &Path, full: &Path, metadata: &Metadata) -> Result<String> {
        let mut text = self.kind(full, metadata)?;
        // Writing into a String cannot fail, here and below.
        if !metadata.file_type().is_symlink() {
            let _ = write!(text, " mode={:04o}", metadata.mode() & 0o7777);
        }
        if self.detail.owners {
            let _ = write!(text, " owner={}:{}", metadata.uid(), metadata.gid());
        }
        if self.wants_time(metadata) {
            let _ = write!(text, " mtime={}s+{}ns", metadata.mtime(), metadata.mtime_nsec());
        }
        if self.detail.hard_links && !metadata.is_dir() && metadata.nlink() > 1 {
            let _ = write!(text, " same-as={:?}", self.first_name(path, metadata));
        }
        if self.detail.attributes {
            text.push_str(&attributes(full)?);
        }
        Ok(text)
    }

    fn wants_time(&self, metadata: &Metadata) -> bool {
        match () {
            () if metadata.is_dir() => self.detail.folder_times,
            () if metadata.is_symlink() => self.detail.link_times,
            () => self.detail.times,
        }
    }

    fn kind(&self, full: &Path, metadata: &Metadata) -> Result<String> {
        let kind = metadata.file_type();
        if kind.is_file() {
            self.file(full, metadata)
        } else if kind.is_symlink() {
            let target = fs::read_link(full).context("read the link", full)?;
            Ok(format!("link to={target:?}"))
        } else if kind.is_block_device() || kind.is_char_device() {
            Ok(format!("{} number={:#x}", kind_name(kind), metadata.rdev()))
        } else {
            Ok(kind_name(kind).to_owned())
        }
    }

    fn file(&self, full: &Path, metadata: &Metadata) -> Result<String> {
        let mut file = File::open(full).context("open", full)?;
        let hash = hash(&mut file).context("read", full)?;
        let holes = match self.detail.holes {
            true => format!(" holes={:?}", holes(&mut file, metadata.len()).context("seek in", full)?),
            false => String::new(),
        };
        Ok(format!("file bytes={} blake3={hash}{holes}", metadata.len()))
    }

    fn first_name(&mut self, path: &Path, metadata: &Metadata) -> &Path {
        let key = (metadata.dev(), metadata.ino());
        self.first_names.entry(key).or_insert_with(|| path.to_path_buf())
    }
}

fn kind_name(kind: FileType) -> &'static str {
    match () {
        () if kind.is_dir() => "folder",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () if kind.is_block_device() => "block-device",
        () if kind.is_char_device() => "character-device",
        () => "unknown",
    }
}

fn hash(file: &mut File) -> std::io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            length => hasher.update(&buffer[..length]),
        };
    }
}

/// The holes of a file as half-open ranges, by asking the file system.
fn holes(file: &mut File, length: u64) -> rustix::io::Result<Vec<(u64, u64)>> {
    let mut holes = Vec::new();
    let mut offset = 0;
    while offset < length {
        let hole = rustix::fs::seek(&*file, rustix::fs::SeekFrom::Hole(offset))?;
        if hole >= length {
            break;
        }
        offset = data_after(file, hole, length)?;
        holes.push((hole, offset));
    }
    // Leaves the position as callers of a reader expect it.
    let _ = file.seek(SeekFrom::Start(0));
    Ok(holes)
}

fn data_after(file: &File, hole: u64, length: u64) -> rustix::io::Result<u64> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(hole)) {
        // There is none up to the end.
        Err(rustix::io::Errno::NXIO) => Ok(length),
        other => other,
    }
}

fn attributes(full: &Path) -> Result<String> {
    let names = match xattr::list(full) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) => {
            return Ok(String::new());
        }
        other => other.context("list the attributes of", full)?,
    };
    let mut names: Vec<_> = names.collect();
    names.sort();
    let mut text = String::new();
    for name in names {
        let value = xattr::get(full, &name).context("read an attribute of", full)?.unwrap_or_default();
        let _ = write!(text, " {}={}", name.as_bytes().escape_ascii(), value.escape_ascii());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("a"), "one").unwrap();
        fs::write(temp.path().join("b"), "two").unwrap();
        let before = describe(temp.path(), &Detail::content()).unwrap();
        fs::write(temp.path().join("a"), "eno").unwrap();
        fs::rename(temp.path().join("b"), temp.path().join("c")).unwrap();
        let found = differences(&before, &describe(temp.path(), &Detail::content()).unwrap(), 10);
        assert_eq!(found.len(), 3);
        assert!(found[0].starts_with("\"a\" was file bytes=3"));
        assert_eq!(found[1], "\"b\" is missing");
        assert_eq!(found[2], "\"c\" is extra");
    }

    #[test]
    fn holes_are_found_where_they_are() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("sparse");
        let file = File::create(&path).unwrap();
        file.set_len(3 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[1; 1 << 20], 1 << 20).unwrap();
        let found = holes(&mut File::open(&path).unwrap(), 3 << 20).unwrap();
        assert_eq!(found, [(0, 1 << 20), (2 << 20, 3 << 20)]);
    }

    #[test]
    fn a_copy_of_a_hard_link_is_not_a_hard_link() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["linked", "copied"] {
            fs::create_dir(temp.path().join(name)).unwrap();
            fs::write(temp.path().join(name).join("a"), "x").unwrap();
        }
        fs::hard_link(temp.path().join("linked/a"), temp.path().join("linked/b")).unwrap();
        fs::write(temp.path().join("copied/b"), "x").unwrap();
        let detail = Detail { hard_links: true, ..Detail::content() };
        let [linked, copied] = ["linked", "copied"].map(|name| describe(&temp.path().join(name), &detail).unwrap());
        assert_ne!(linked, copied);
    }
}
