//! What the caller decides about captures.

use std::time::Duration;

/// How long a deletion that is under way is waited for, unless told otherwise. It takes milliseconds.
const DEFAULT_LOCK_WAIT: Duration = Duration::from_secs(10);

/// How environments are captured.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Whether writers are kept out while an environment is read, and one that has a writer is refused.
    pub offline: bool,
    /// How long to wait for the lock of readers before going on without it.
    pub lock_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options { offline: false, lock_wait: DEFAULT_LOCK_WAIT }
    }
}
