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

use treering_snapshot::capture::{Application, Capture, Folder, open_plain};

use crate::capture::DatabaseCapture;
use crate::header::{HEADER_BYTES, Header};
use crate::hold::Hold;
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
        crate::KIND
    }

    fn claim(&self, folder: &Folder<'_>) -> Vec<Box<dyn Capture>> {
        let mut taken = BTreeSet::new();
        let mut captures: Vec<Box<dyn Capture>> = Vec::new();
        for database in candidates(folder) {
            if taken.contains(Path::new(database)) || !is_database(folder, database) {
                continue;
            }
            let claimed = claimed(database, folder);
            taken.extend(claimed.iter().cloned());
            captures.push(Box::new(DatabaseCapture::new(folder.path, claimed, self.options.clone())));
        }
        captures
    }
}

/// The names that are worth looking at, in order: likely ones, and those with a sibling.
fn candidates<'a>(folder: &Folder<'a>) -> BTreeSet<&'a OsStr> {
    let likely = folder.names.iter().filter(|name| name::is_likely(name));
    let beside = folder.names.iter().filter_map(name::of_sibling).filter(|name| folder.names.has(name));
    likely.chain(beside).collect()
}

/// Whether it is a regular file that begins like a database. One that cannot be read is left to the walk, which reports
/// it.
fn is_database(folder: &Folder<'_>, name: &OsStr) -> bool {
    let plain = folder.look(name).filter(|metadata| metadata.is_file() && metadata.len() >= HEADER_BYTES as u64);
    let Some(metadata) = plain else { return false };
    let hold = Hold::of(&metadata);
    let Ok(file) = open_plain(&folder.path.join(name)) else { return false };
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
fn claimed(database: &OsStr, folder: &Folder<'_>) -> Vec<PathBuf> {
    let siblings = name::SIBLINGS.iter().map(|suffix| name::with(database, suffix));
    let plain = siblings.filter(|name| folder.look(name).is_none_or(|metadata| metadata.is_file()));
    std::iter::once(database.to_os_string()).chain(plain).map(PathBuf::from).collect()
}
