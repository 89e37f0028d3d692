//! Names of databases and of the files beside them.
//!
//! Pure. Decides which files are worth opening; never says that one is a database.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Endings that are given to SQLite databases, in lower case.
const ENDINGS: &[&str] = &[
    "db",
    "db2",
    "db3",
    "sdb",
    "s2db",
    "s3db",
    "sl2",
    "sl3",
    "sqlite",
    "sqlite2",
    "sqlite3",
    "sqlitedb",
    "sqlite-db",
    "gpkg",
    "mbtiles",
    "fossil",
];

/// What SQLite adds to the name of a database for the write-ahead log.
pub(crate) const WAL: &str = "-wal";
/// What it adds for the shared memory beside the log.
pub(crate) const SHM: &str = "-shm";
/// What it adds for the rollback journal.
pub(crate) const JOURNAL: &str = "-journal";

/// All of them.
pub(crate) const SIBLINGS: [&str; 3] = [WAL, SHM, JOURNAL];

/// The name with something added.
pub(crate) fn with(name: &OsStr, suffix: &str) -> OsString {
    let mut longer = name.to_os_string();
    longer.push(suffix);
    longer
}

/// The name of the database that a sibling of this name stands beside.
pub(crate) fn of_sibling(name: &OsStr) -> Option<&OsStr> {
    let database = SIBLINGS.iter().find_map(|suffix| name.as_bytes().strip_suffix(suffix.as_bytes()));
    database.map(OsStr::from_bytes)
}

/// Whether the ending alone makes a database likely.
pub(crate) fn is_likely(name: &OsStr) -> bool {
    let ending = Path::new(name).extension().and_then(OsStr::to_str);
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_count_in_any_case_and_siblings_do_not() {
        assert!(is_likely(OsStr::new("a.db")));
        assert!(is_likely(OsStr::new("A.SQLite3")));
        assert!(!is_likely(OsStr::new("a.db-wal")));
        assert!(!is_likely(OsStr::new("db")));
        assert!(!is_likely(OsStr::new(".db")));
        assert!(!is_likely(OsStr::new("a.mv.d")));
    }
}
