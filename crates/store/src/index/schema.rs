//! The database of the index: its tables, its settings, and the refusal of anything else.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use crate::config::RepositoryId;
use crate::error::{Result, StoreError};
use crate::storage::LockMode;

/// "TrRi", so that `file` and SQLite know whose it is.
const APPLICATION_ID: i32 = 0x5472_5269;
/// Another number means: made by another version, to be rebuilt.
const SCHEMA_VERSION: i32 = 2;
const BUSY: std::time::Duration = std::time::Duration::from_secs(60);
/// Before 3.51.3 two processes could corrupt a WAL (sqlite.org, "WAL-reset bug").
const LEAST_SQLITE: i32 = 3_051_003;

const TABLES: &str = "
    CREATE TABLE meta (repository BLOB NOT NULL, losses INTEGER NOT NULL) STRICT;
    CREATE TABLE whole (snapshot BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
    CREATE TABLE pack (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name BLOB NOT NULL UNIQUE,
        kind INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE chunk (
        key INTEGER PRIMARY KEY,
        seal BLOB NOT NULL,
        pack INTEGER NOT NULL,
        frame INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        length INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE chunk_more (
        key INTEGER NOT NULL,
        seal BLOB NOT NULL,
        pack INTEGER NOT NULL,
        frame INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        length INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX chunk_more_key ON chunk_more (key);
";

/// Refuses a SQLite with known races.
pub(crate) fn assert_library() -> Result<()> {
    if rusqlite::version_number() < LEAST_SQLITE {
        return Err(StoreError::OldSqlite { version: rusqlite::version() });
    }
    Ok(())
}

/// Why a database cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// What SQLite said.
    Sqlite(rusqlite::Error),
    /// It is not the index of this repository.
    Other(String),
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(error) => error.fmt(f),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Opens an existing database.
pub(super) fn open(path: &Path, repository: RepositoryId) -> Result<Connection, Unusable> {
    let refused = |why: &str| Unusable::Other(why.to_owned());
    if !path.exists() {
        return Err(refused("there is none"));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    settings(&connection, true)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    if number("application_id")? != APPLICATION_ID {
        return Err(refused("it is not an index of treering"));
    }
    let version = number("user_version")?;
    if version != SCHEMA_VERSION {
        return Err(Unusable::Other(format!("it was made by another version ({version} instead of {SCHEMA_VERSION})")));
    }
    let owner: [u8; 16] = connection.query_row("SELECT repository FROM meta", [], |row| row.get(0))?;
    if owner != *repository.as_bytes() {
        return Err(refused("it belongs to another repository"));
    }
    Ok(connection)
}

/// Makes a new database.
pub(super) fn create(path: &Path, repository: RepositoryId) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    settings(&connection, false)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    connection.execute_batch(TABLES)?;
    connection.execute("INSERT INTO meta VALUES (?1, 0)", [repository.as_bytes()])?;
    Ok(connection)
}

/// Durability of a finished index is bought once, when it is closed; until then it has another name.
pub(super) fn close(connection: Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch("BEGIN IMMEDIATE; UPDATE meta SET repository = repository; COMMIT")?;
    connection.close().map_err(|(_, e)| e)
}

/// Which file a name leads to: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId(u64, u64);

/// `None` if there is no file of that name.
pub(super) fn file_id(path: &Path) -> Option<FileId> {
    fs::metadata(path).ok().map(|file| FileId(file.dev(), file.ino()))
}

/// There is one for each thread: 2 MiB hold the inner pages of an index of some ten million chunks; leaves come from the
/// system's cache.
///
/// It has read before this returns, so that what SQLite keeps beside the database is open as well, and is not looked for
/// by its name when another database may have that.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(
        "PRAGMA cache_size = -2048; PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON",
    )?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, 1 << 16)?;
    connection.query_row("SELECT EXISTS (SELECT 1 FROM meta)", [], |row| row.get::<_, bool>(0))?;
    Ok(connection)
}

fn settings(connection: &Connection, shared: bool) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(
        "PRAGMA cache_size = -16384; PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
         PRAGMA temp_store = MEMORY",
    )?;
    let mode = if shared { ("WAL", "FULL") } else { ("OFF", "OFF") };
    connection.pragma_update_and_check(None, "journal_mode", mode.0, |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", mode.1)
}

/// Held shared while the database is opened by its name, and alone while another takes its place.
pub(super) fn swap_lock(path: &Path, mode: LockMode) -> Result<File> {
    let path = path.with_extension("lock");
    let file = File::options().append(true).create(true).open(&path).map_err(StoreError::io("open", &path))?;
    let locked = match mode {
        LockMode::Shared => file.lock_shared(),
        LockMode::Exclusive => file.lock(),
    };
    locked.map_err(StoreError::io("lock", path))?;
    Ok(file)
}

/// A new empty file beside the database, with a name of its own, locked for as long as its maker lives. Those of the
/// dead are removed.
pub(super) fn fresh(path: &Path) -> Result<(PathBuf, File)> {
    let _alone = swap_lock(path, LockMode::Exclusive)?;
    sweep(path);
    let fresh = path.with_extension(format!("{:016x}.new", random()?));
    let file = File::options().append(true).create_new(true).open(&fresh);
    let file = file.map_err(StoreError::io("create", &fresh))?;
    file.lock().map_err(StoreError::io("lock", &fresh))?;
    Ok((fresh, file))
}

/// Removes what rebuilds left that were killed: files of [`fresh`] that nobody holds.
fn sweep(path: &Path) {
    let Some(Ok(entries)) = path.parent().map(fs::read_dir) else { return };
    for left in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let is_fresh = left.extension().is_some_and(|extension| extension == "new");
        if is_fresh && File::open(&left).is_ok_and(|file| file.try_lock().is_ok()) {
            // Leftovers cost space only; the next rebuild tries again.
            drop(fs::remove_file(&left));
        }
    }
}

/// Removes a database with what SQLite keeps beside it. A folder in the place of one of these is moved out of the way.
pub(super) fn remove(path: &Path) -> Result<()> {
    for suffix in ["-wal", "-shm", "-journal", ""] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let name = PathBuf::from(name);
        match fs::remove_file(&name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) if e.kind() == io::ErrorKind::IsADirectory => move_aside(&name)?,
            removed => removed.map_err(StoreError::io("remove", name))?,
        }
    }
    Ok(())
}

/// Nobody knows what is in such a folder, so it stays, under a name of its own.
fn move_aside(folder: &Path) -> Result<()> {
    let aside = folder.with_extension(format!("{:016x}.aside", random()?));
    fs::rename(folder, aside).map_err(StoreError::io("move aside", folder))
}

fn random() -> Result<u64> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(StoreError::Entropy)?;
    Ok(u64::from_le_bytes(random))
}
