//! What the user may choose about captures of H2.

use std::time::Duration;

/// How databases are captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What is done where a live capture is not possible or does not succeed.
    pub fallback: Fallback,
    /// Whether pages that no map uses any more are kept. They may hold what was deleted.
    pub keep_dead: bool,
    /// Read no more than so many bytes a second; `None`: as fast as it goes.
    pub read_bytes_per_second: Option<u64>,
    /// How long a capture may wait for a settled version: no transaction is open in it or came between its tables.
    pub quiet_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fallback: Fallback::Raw,
            keep_dead: false,
            read_bytes_per_second: None,
            quiet_wait: Duration::from_secs(3),
        }
    }
}

/// What is done where a live capture is not possible or does not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fallback {
    /// Runs a command that stops the program, captures, and runs another one that starts it again.
    StopHook {
        /// For `sh -c`; the capture begins when it has ended and nobody holds the database.
        stop: String,
        /// For `sh -c`; run in any case, also if the capture fails or this process dies.
        start: String,
        /// How long the first may take.
        wait: Duration,
    },
    /// Stops the process that holds the database (SIGSTOP) while it is copied.
    Freeze,
    /// Copies the file as it is and says that nothing is known of it.
    Raw,
    /// Leaves the database out.
    Fail,
}
