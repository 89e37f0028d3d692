//! The files of a database as they lie in their folder.
//!
//! Owns the descriptor that is opened before any lock and closed after the last one, and the lock that keeps a database
//! in WAL mode from being closed down under us. Never writes, never follows a symbolic link.
//!
//! Invariant: a [`Source`] has the hold of its inode and at most one connection, which its user drops before it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use treering_snapshot::capture::open_plain;

use crate::error::{Error, io_error};
use crate::header::Header;
use crate::hold::Hold;
use crate::name;

/// How often a lock is tried while we wait for it.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// One database.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    /// Closing it drops every lock of this process on the database, hence its place before the hold.
    file: File,
    hold: Hold,
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size_bytes: u64,
    /// Seconds and nanoseconds.
    pub(crate) modified: (i64, i64),
    /// Seconds and nanoseconds.
    pub(crate) changed: (i64, i64),
}

/// What lies at the name of a sibling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sibling {
    Absent,
    /// A symbolic link, a folder, a device.
    Strange,
    Plain(Stamp),
}

/// All files of a database at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) header: Header,
    pub(crate) main: Stamp,
    pub(crate) wal: Sibling,
    pub(crate) shm: Sibling,
    pub(crate) journal: Sibling,
    /// Whether the journal could be hot. One that is empty or whose first byte is zero is a leftover of the journal
    /// modes TRUNCATE and PERSIST, for SQLite as for us.
    pub(crate) journal_is_loaded: bool,
}

/// What came of trying to lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locking {
    Done,
    /// Somebody kept an exclusive lock for longer than we wait.
    Busy,
}

impl Source {
    /// Opens the database for reading. The folder is resolved, the file itself must not be a link.
    pub(crate) fn open(folder: &Path, name: &OsStr) -> Result<Source, Error> {
        let folder = fs::canonicalize(folder).map_err(io_error("find", folder))?;
        let path = folder.join(name);
        let hold = Hold::of(&fs::symlink_metadata(&path).map_err(io_error("look at", &path))?);
        let file = open_plain(&path).map_err(io_error("open", &path))?;
        let source = Source { path, file, hold };
        source.assert_in_place()?;
        Ok(source)
    }

    /// Where it is, without symbolic links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The open file, for positioned reads.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Where a sibling is or would be.
    pub(crate) fn sibling_path(&self, suffix: &str) -> PathBuf {
        PathBuf::from(name::with(self.path.as_os_str(), suffix))
    }

    /// The name of the database and of what belongs to it, relative to the folder.
    pub(crate) fn relative(&self, suffix: &str) -> PathBuf {
        let name = self.path.file_name().map_or_else(OsString::new, OsStr::to_os_string);
        PathBuf::from(name::with(&name, suffix))
    }

    /// Looks at all files.
    pub(crate) fn look(&self) -> Result<Look, Error> {
        let main = self.file.metadata().map_err(io_error("look at", &self.path))?;
        let journal = self.sibling(name::JOURNAL)?;
        Ok(Look {
            header: self.header()?,
            main: Stamp::of(&main),
            wal: self.sibling(name::WAL)?,
            shm: self.sibling(name::SHM)?,
            journal,
            journal_is_loaded: journal.is_filled() && self.journal_starts()?,
        })
    }

    /// The header as it is now.
    pub(crate) fn header(&self) -> Result<Header, Error> {
        let header = Header::read(&self.file).map_err(io_error("read", &self.path))?;
        let gone = || io::Error::new(io::ErrorKind::InvalidData, "it is no longer a SQLite database");
        header.ok_or_else(gone).map_err(io_error("read", &self.path))
    }

    /// Fails if the name now stands for another file than the one that was opened.
    pub(crate) fn assert_in_place(&self) -> Result<(), Error> {
        let look = || -> io::Result<bool> {
            let named = fs::symlink_metadata(&self.path)?;
            Ok(named.is_file() && self.hold.is_of(&named) && self.hold.is_of(&self.file.metadata()?))
        };
        match look() {
            Ok(true) => Ok(()),
            Ok(false) => Err(io::Error::other("it was replaced meanwhile")),
            Err(error) => Err(error),
        }
        .map_err(io_error("open", &self.path))
    }

    /// Takes a read lock on the whole main file, or gives up after `wait`.
    ///
    /// In WAL mode applications never need more than a read lock there, except to close the database down and to
    /// change its journal mode: exactly what must not happen while we look. It would mislead others about a hot
    /// journal, so [`Source::unlock`] must follow at once if there is one. Connections of this process add their locks
    /// to it and drop all of it when they close.
    pub(crate) fn lock(&self, wait: Duration) -> io::Result<Locking> {
        let start = Instant::now();
        loop {
            match fcntl_lock(&self.file, FlockOperation::NonBlockingLockShared) {
                Ok(()) => return Ok(Locking::Done),
                Err(Errno::AGAIN | Errno::ACCESS) if start.elapsed() >= wait => {
                    return Ok(Locking::Busy);
                }
                Err(Errno::AGAIN | Errno::ACCESS) => thread::sleep(LOCK_PAUSE),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Drops the lock. Only while there is no connection.
    pub(crate) fn unlock(&self) -> Result<(), Error> {
        let unlocked = fcntl_lock(&self.file, FlockOperation::NonBlockingUnlock);
        unlocked.map_err(|error| io_error("unlock", &self.path)(error.into()))
    }

    fn sibling(&self, suffix: &str) -> Result<Sibling, Error> {
        let path = self.sibling_path(suffix);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Sibling::Plain(Stamp::of(&metadata))),
            Ok(_) => Ok(Sibling::Strange),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Sibling::Absent),
            Err(error) => Err(io_error("look at", &path)(error)),
        }
    }

    /// SQLite never locks a journal, so that opening and closing it costs no lock.
    fn journal_starts(&self) -> Result<bool, Error> {
        let path = self.sibling_path(name::JOURNAL);
        let mut first = [0];
        match open_plain(&path).and_then(|file| file.read_at(&mut first, 0)) {
            Ok(_) => Ok(first != [0]),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Sibling {
    /// Whether there is a file with something in it. SQLite treats an empty sibling as absent.
    pub(crate) fn is_filled(&self) -> bool {
        self.size_bytes() > 0
    }

    /// Whether there is a regular file.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Sibling::Plain(_))
    }

    /// Its size, 0 if there is none.
    pub(crate) fn size_bytes(&self) -> u64 {
        match self {
            Sibling::Plain(stamp) => stamp.size_bytes,
            Sibling::Absent | Sibling::Strange => 0,
        }
    }
}

impl Look {
    /// Whether both saw the same files in the same state. The `-shm` does not count: readers change it.
    pub(crate) fn is_same(&self, other: &Look) -> bool {
        let parts = |look: &Look| (look.header, look.main, look.wal, look.journal, look.journal_is_loaded);
        parts(self) == parts(other)
    }
}
