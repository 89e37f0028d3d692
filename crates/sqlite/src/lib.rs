//! SQLite databases, captured consistently and verified, and brought back without what is left of another state.
//!
//! [`Sqlite`] recognises databases in a folder and captures each of them: through SQLite's online backup API where
//! SQLite can read the database without writing beside it, as a raw copy of the files otherwise. Every copy is made in
//! a temporary folder and checked there before its verdict is given.
//!
//! [`SqliteRestorer`] keeps a log of another state from being applied to a database that comes back.
//!
//! What this crate owns: recognising, copying, checking. What it never does: it walks no tree, prints nothing, reads
//! neither the environment nor the clock of the day, and never repairs a source.
//!
//! Invariants:
//!
//! * The main file, the `-wal` and the `-journal` of a source are never written, and no file is created, renamed or
//!   deleted beside them. The `-shm` is a table of locks and an index that SQLite can rebuild at any time; a capture that
//!   joins a database in WAL mode registers itself in the existing one, like any reader.
//! * Within this process nobody but the holder of its `Hold` has a descriptor of a database, and SQLite's
//!   connection is closed before the last of those descriptors: closing one would drop SQLite's locks.
//! * A verdict is never better than what was proven about the very bytes that are handed out.

mod app;
mod capture;
mod error;
mod header;
mod hold;
mod name;
mod online;
mod options;
mod raw;
mod restore;
mod source;
mod state;
mod temp;
mod verify;
mod way;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use app::Sqlite;
pub use error::Error;
pub use options::Options;
pub use restore::SqliteRestorer;

/// The kind of databases in snapshots.
pub const KIND: &str = "sqlite";

/// The oldest SQLite that may be linked: before 3.51.3 two connections could corrupt a database by resetting its WAL
/// at the same moment.
pub const MIN_LIBRARY_VERSION: i32 = 3_051_003;

/// Checks that the SQLite that is linked into this program is free of the WAL-reset race.
///
/// # Errors
///
/// [`Error::LibraryTooOld`] if it is not.
pub fn assert_library() -> Result<(), Error> {
    let found = rusqlite::version_number();
    if found < MIN_LIBRARY_VERSION {
        return Err(Error::LibraryTooOld { found, needed: MIN_LIBRARY_VERSION });
    }
    Ok(())
}
