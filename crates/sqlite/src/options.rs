//! What the caller decides about captures.
//!
//! Invariant: nothing here has a default that depends on the machine; the folder for copies is always given.

use std::path::PathBuf;
use std::time::Duration;

/// How long a capture waits for a lock, unless told otherwise.
const DEFAULT_LOCK_WAIT: Duration = Duration::from_secs(10);

/// Up to this size a copy is checked with `integrity_check`, unless told otherwise. Measured 0.3 s for 58 MB, so that
/// the check of 4 GiB takes some twenty seconds.
pub(crate) const FULL_CHECK_MAX_BYTES: u64 = 4 << 30;

/// How databases are captured.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Where copies are made; must exist. It should be private or sticky like `/tmp`: the copies lie in folders of mode
    /// 0700 in it.
    pub temp_folder: PathBuf,
    /// What the copies of one database may take of that folder, in bytes.
    pub temp_max_bytes: u64,
    /// How long to wait for the lock of a database before it is copied without one.
    pub lock_wait: Duration,
    /// Larger copies are checked with `quick_check`, which skips comparing the indexes with their tables. In bytes.
    pub full_check_max_bytes: u64,
}

impl Options {
    /// Options with copies in `temp_folder`, limited only by what is free there, and waiting 10 seconds for locks.
    pub fn new(temp_folder: impl Into<PathBuf>) -> Self {
        Options {
            temp_folder: temp_folder.into(),
            temp_max_bytes: u64::MAX,
            lock_wait: DEFAULT_LOCK_WAIT,
            full_check_max_bytes: FULL_CHECK_MAX_BYTES,
        }
    }
}
