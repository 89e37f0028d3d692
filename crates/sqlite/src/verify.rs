//! Checking a copy.
//!
//! Works on copies in our temporary folder only, never on a source, and with what untrusted files call for: no trusted
//! schema, cell sizes checked.
//!
//! Invariant: [`Check::Passed`] means that SQLite read every page of the copy and found its structure whole.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    /// Nothing wrong.
    Passed(Depth),
    /// Damage, with SQLite's first message.
    Failed(String),
    /// It could not be done.
    Impossible(String),
}

/// How deep the check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// `integrity_check`.
    Full,
    /// `quick_check`: indexes were not compared with their tables.
    Structure,
}

impl Depth {
    /// How deep a database of so many bytes is checked, if larger ones than `full_most_bytes` take too long in full.
    pub(crate) fn of(bytes: u64, full_most_bytes: u64) -> Self {
        if bytes > full_most_bytes { Depth::Structure } else { Depth::Full }
    }

    /// For the user.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Depth::Full => "the copy passed integrity_check",
            Depth::Structure => "the copy passed quick_check",
        }
    }
}

/// Checks a finished copy without changing it or creating anything beside it, also if its header says WAL.
pub(crate) fn check(copy: &Path, depth: Depth) -> Check {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    examine(Connection::open_with_flags(immutable_uri(copy), flags), depth)
}

/// Lets SQLite recover a copy from the `-wal` or `-journal` beside it, and checks the result.
pub(crate) fn recover_and_check(copy: &Path, depth: Depth) -> Check {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    examine(Connection::open_with_flags(copy, flags), depth)
}

/// `immutable` makes SQLite ignore a `-wal`; a finished copy has none.
fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => uri.push(char::from(*byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?immutable=1"
}

fn examine(opened: rusqlite::Result<Connection>, depth: Depth) -> Check {
    opened.and_then(|connection| ask(&connection, depth)).unwrap_or_else(|error| blame(&error))
}

fn ask(connection: &Connection, depth: Depth) -> rusqlite::Result<Check> {
    distrust(connection)?;
    if depth == Depth::Full {
        match run(connection, "PRAGMA integrity_check(1)", Depth::Full) {
            Err(error) if is_application_missing(&error) => {}
            answered => return answered,
        }
    }
    connection.collation_needed(stand_in)?;
    run(connection, "PRAGMA quick_check(1)", Depth::Structure)
}

/// CHECK constraints are rules of the application about its rows, not of the file, and may call its own functions.
fn distrust(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.execute_batch("PRAGMA mmap_size=0; PRAGMA cell_size_check=ON; PRAGMA ignore_check_constraints=ON")
}

fn run(connection: &Connection, pragma: &str, depth: Depth) -> rusqlite::Result<Check> {
    let answer: String = connection.query_row(pragma, [], |row| row.get(0))?;
    Ok(if answer == "ok" { Check::Passed(depth) } else { Check::Failed(first_message(&answer)) })
}

/// A heading, `*** in database main ***`, may come before the message.
fn first_message(answer: &str) -> String {
    let message = answer.lines().find(|line| !line.starts_with("***"));
    message.unwrap_or(answer).trim().to_owned()
}

/// Whether an index needs a function, collation or module of the application: SQLite's general error, not damage.
fn is_application_missing(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::Unknown)
}

/// Stands in for a collation of the application. `quick_check` names collations but does not compare by them.
fn stand_in(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection.create_collation(name, |left, right| left.cmp(right))
}

/// What an error of SQLite says about the copy.
fn blame(error: &rusqlite::Error) -> Check {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Check::Failed(error.to_string()),
        _ => Check::Impossible(error.to_string()),
    }
}
