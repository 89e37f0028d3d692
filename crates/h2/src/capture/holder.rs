//! Who has a database open.
//!
//! H2 locks the whole file with a POSIX lock (`FileStore.java`, `FileChannel.tryLock`), which the kernel drops with the
//! process. Never takes a lock: H2 would fail to start.

use std::fs::File;
use std::io;

use rustix::process::{Flock, FlockType, Pid, fcntl_getlk};

/// Somebody who holds a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Their process, if it can be seen from here: not from within another container.
    pub(crate) process: Option<Pid>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.process {
            Some(process) => write!(f, "process {}", process.as_raw_nonzero()),
            None => f.write_str("a process that cannot be seen from here"),
        }
    }
}

/// Who holds it.
pub(crate) fn holder(file: &File) -> io::Result<Option<Holder>> {
    let lock = fcntl_getlk(file, &Flock::from(FlockType::WriteLock))?;
    Ok(lock.filter(|lock| lock.typ != FlockType::Unlocked).map(|lock| Holder { process: lock.pid }))
}
