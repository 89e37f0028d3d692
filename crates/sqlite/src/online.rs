//! Copying through SQLite's online backup API.
//!
//! Owns the one connection to a source. The connection is read-only and holds one read transaction from the first page to
//! the last, so the copy is one state of the database and can never restart: in WAL mode writers go on beside it, with a
//! rollback journal they wait to commit until it is done.
//!
//! Invariant: the connection is closed when [`copy`] returns, before the descriptor of its source.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::Options;
use crate::error::{Error, io_error, sqlite_error};
use crate::source::{Look, Source};
use crate::temp::Room;
use crate::way::Why;

/// How many pages are copied between two looks at the clock.
const STEP_PAGES: i32 = 4096;

/// The name of the copy in its room.
pub(crate) const COPY: &str = "copy.db";

/// What became of the attempt.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// The copy is made.
    Copied(Box<Copied>),
    /// SQLite does not give the database; the files have to be copied.
    Refused(Why),
}

/// A copy that was made.
#[derive(Debug)]
pub(crate) struct Copied {
    /// The source as it was under the lock.
    pub(crate) look: Look,
    /// The schema cookie in the transaction that was copied.
    pub(crate) schema_cookie: i64,
    /// The size of the copy.
    pub(crate) size_bytes: u64,
}

/// What the transaction sees before anything is copied.
struct Seen {
    schema_cookie: i64,
    size_bytes: u64,
}

/// Copies the database to [`COPY`] in the room. `on_step` is called before each step, with the transaction open.
///
/// # Errors
///
/// [`Error::NoRoom`], and whatever goes wrong with the copy. What goes wrong with the source is an [`Attempt::Refused`].
pub(crate) fn copy(
    source: &Source,
    room: &mut Room,
    options: &Options,
    on_step: &mut dyn FnMut(),
) -> Result<Attempt, Error> {
    let (connection, seen) = match begin(source.path(), options.lock_wait) {
        Ok(begun) => begun,
        Err(error) => return Ok(Attempt::Refused(why(&error))),
    };
    source.assert_in_place()?;
    room.reserve(source.path(), seen.size_bytes)?;
    let copy = room.create(COPY)?;
    match fill(&connection, &room.path(COPY), options.lock_wait, on_step) {
        Ok(()) => finish(source, &copy, &seen),
        Err(error) => refused(error, source, room, seen.size_bytes),
    }
}

/// Looks at the source, still under the lock, and makes the copy of a rollback database the same file.
fn finish(source: &Source, copy: &File, seen: &Seen) -> Result<Attempt, Error> {
    let look = source.look()?;
    if !look.header.is_wal() {
        look.header.put_back_counters(copy).map_err(io_error("write the copy of", source.path()))?;
    }
    let Seen { schema_cookie, size_bytes } = *seen;
    Ok(Attempt::Copied(Box::new(Copied { look, schema_cookie, size_bytes })))
}

/// A connection that cannot write, not even by checkpointing or by deleting the log when it closes as the last one.
fn open(path: &Path, wait: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(wait)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.execute_batch("PRAGMA mmap_size=0; PRAGMA query_only=ON")?;
    Ok(connection)
}

/// Opens the read transaction. Reading the cookie takes the lock without needing a schema that can be parsed.
fn begin(path: &Path, wait: Duration) -> rusqlite::Result<(Connection, Seen)> {
    let connection = open(path, wait)?;
    connection.execute_batch("BEGIN")?;
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let schema_cookie = number("schema_version")?;
    let size = number("page_count")?.saturating_mul(number("page_size")?);
    let seen = Seen { schema_cookie, size_bytes: u64::try_from(size).unwrap_or(0) };
    Ok((connection, seen))
}

/// Fills the copy. It needs neither a journal nor durability: it lives for this process only.
fn fill(connection: &Connection, copy: &Path, wait: Duration, on_step: &mut dyn FnMut()) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(copy, flags)?;
    target.execute_batch("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF")?;
    let backup = Backup::new(connection, &mut target)?;
    let mut progress = Instant::now();
    loop {
        on_step();
        match backup.step(STEP_PAGES)? {
            StepResult::Done => return Ok(()),
            StepResult::More => progress = Instant::now(),
            _ if progress.elapsed() >= wait => return Err(busy()),
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn busy() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None)
}

/// A full temporary folder is an error; everything else leads to copying the files.
fn refused(error: rusqlite::Error, source: &Source, room: &Room, needed_bytes: u64) -> Result<Attempt, Error> {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Err(room.no_room(source.path(), needed_bytes, 0)),
        Some(_) => Ok(Attempt::Refused(why(&error))),
        None => Err(sqlite_error("copy", source.path())(error)),
    }
}

fn why(error: &rusqlite::Error) -> Why {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    match error.sqlite_error_code() {
        _ if extended == Some(rusqlite::ffi::SQLITE_READONLY_ROLLBACK) => Why::HotJournal,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Why::Locked,
        _ => Why::Refused(error.to_string()),
    }
}
