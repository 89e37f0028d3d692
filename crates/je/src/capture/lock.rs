//! JE's own locks on `je.lck`.
//!
//! A writer holds byte 0 alone; the cleaner takes byte 1 alone, within that writer, whenever it deletes or renames a file;
//! readers share byte 1 (`log/FileManager.java`, `lockEnvironment`). Whoever shares byte 1 therefore keeps every file in
//! place, and whoever shares byte 0 keeps writers out.
//!
//! Invariant: the file is opened for reading and is never written.

use std::fs::File;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use treering_snapshot::capture::{Lock, open_plain, try_lock};

/// The byte that a writer holds.
const WRITER: i64 = 0;
/// The byte that readers share.
const READER: i64 = 1;
/// How often a lock is tried while it is waited for.
const PAUSE: Duration = Duration::from_millis(2);

/// Locks that are held until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    _file: File,
    since: Instant,
}

/// Why there is no lock.
#[derive(Debug)]
pub(crate) enum NotLocked {
    /// There is no `je.lck`.
    NoFile,
    /// Somebody held it for longer than we wait.
    Busy,
    /// The system refused.
    Refused(io::Error),
}

impl Held {
    /// Shares the readers' byte, so that no file is deleted. A deletion that is under way is waited for.
    pub(crate) fn reader(lock_file: &Path, wait: Duration) -> Result<Held, NotLocked> {
        let file = open(lock_file)?;
        let held = wait_for(&file, READER, wait)?;
        Ok(Held { _file: file, since: held })
    }

    /// Shares the writers' byte too, so that nobody can open the environment for writing.
    pub(crate) fn offline(lock_file: &Path, wait: Duration) -> Result<Held, NotLocked> {
        let file = open(lock_file)?;
        let held = wait_for(&file, WRITER, Duration::ZERO)?;
        wait_for(&file, READER, wait)?;
        Ok(Held { _file: file, since: held })
    }

    /// How long it has been held.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }
}

fn open(lock_file: &Path) -> Result<File, NotLocked> {
    open_plain(lock_file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NotLocked::NoFile,
        _ => NotLocked::Refused(error),
    })
}

/// Returns when it was locked.
fn wait_for(file: &File, byte: i64, wait: Duration) -> Result<Instant, NotLocked> {
    let start = Instant::now();
    loop {
        match try_lock(file, Lock::Shared, byte, 1).map_err(NotLocked::Refused)? {
            true => return Ok(Instant::now()),
            false if start.elapsed() >= wait => return Err(NotLocked::Busy),
            false => thread::sleep(PAUSE),
        }
    }
}
