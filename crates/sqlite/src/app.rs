//! Recognising databases in a folder.
//!
//! Owns the decision what is claimed. Opens a file only if its name or its neighbours make a database likely, reads 100
//! bytes and closes it again before any lock of ours is on it.
//!
//! Invariant: what is claimed was a regular file by `lstat`, no symbolic link, and no path is claimed twice.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use treering_snapshot::capture::{Application, Capture, Entry, Folder};

use crate::capture::DatabaseCapture;
use crate::header::{HEADER_BYTES, Header};
use crate::hold::Hold;
use crate::source::open_plain;
use crate::{Error, Options, assert_library, name};

/// The application: SQLite databases.
#[derive(Debug, Clone)]
pub struct Sqlite {
    options: Options,
}

impl Sqlite {
    /// Prepares captures with these options.
    ///
    /// # Errors
    ///
    /// [`Error::LibraryTooOld`], see [`assert_library`].
    pub fn new(options: Options) -> Result<Self, Error> {
        assert_library()?;
        Ok(Sqlite { options })
    }
}

impl Application for Sqlite {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn claim(&self, folder: &Folder<'_>) -> Vec<Box<dyn Capture>> {
        let mut taken = BTreeSet::new();
        let mut captures: Vec<Box<dyn Capture>> = Vec::new();
        for entry in folder.entries.iter().filter(|entry| is_candidate(entry, folder.entries)) {
            if taken.contains(Path::new(&entry.name)) || !is_database(folder.path, entry) {
                continue;
            }
            let claimed = claimed(&entry.name, folder.entries);
            taken.extend(claimed.iter().cloned());
            captures.push(Box::new(DatabaseCapture::new(folder.path, claimed, self.options.clone())));
        }
        captures
    }
}

/// Whether it is worth opening: a regular file with a likely name or a sibling.
fn is_candidate(entry: &Entry, entries: &[Entry]) -> bool {
    let metadata = &entry.metadata;
    metadata.is_file()
        && metadata.len() >= HEADER_BYTES as u64
        && (name::is_likely(&entry.name)
            || name::SIBLINGS.iter().any(|suffix| find(&name::with(&entry.name, suffix), entries).is_some()))
}

/// Whether it begins like a database. A file that cannot be read is left to the walk, which reports it.
fn is_database(folder: &Path, entry: &Entry) -> bool {
    let hold = Hold::of(&entry.metadata);
    let Ok(file) = open_plain(&folder.join(&entry.name)) else { return false };
    let is_same = file.metadata().is_ok_and(|metadata| hold.is_of(&metadata));
    let found = is_same && has_header(&file);
    drop(file);
    drop(hold);
    found
}

fn has_header(file: &File) -> bool {
    matches!(Header::read(file), Ok(Some(_)))
}

/// The database first, then its siblings, also absent ones; but nothing that is no regular file.
fn claimed(database: &OsStr, entries: &[Entry]) -> Vec<PathBuf> {
    let siblings = name::SIBLINGS.iter().map(|suffix| name::with(database, suffix));
    let plain = siblings.filter(|name| find(name, entries).is_none_or(|entry| entry.metadata.is_file()));
    std::iter::once(database.to_os_string()).chain(plain).map(PathBuf::from).collect()
}

/// Finds an entry; they are sorted by the bytes of their names.
fn find<'a>(name: &OsStr, entries: &'a [Entry]) -> Option<&'a Entry> {
    entries.binary_search_by(|entry| entry.name.as_os_str().cmp(name)).ok().map(|at| &entries[at])
}
