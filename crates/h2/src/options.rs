//! What the user may choose about captures of H2.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// How databases are captured.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is done where a live capture is not possible or does not succeed.
    pub fallback: Fallback,
    /// Whether pages that no map uses any more are kept. They may hold what was deleted.
    pub keep_dead: bool,
    /// Read no more than so many bytes a second; `None`: as fast as it goes.
    pub read_bytes_per_second: Option<u64>,
    /// How long a capture may wait for a settled version: no transaction is open in it or came between its tables.
    pub quiet_wait: Duration,
    /// Where it is told that what was stopped for a capture does not run again.
    pub down: Down,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fallback: Fallback::Raw,
            keep_dead: false,
            read_bytes_per_second: None,
            quiet_wait: Duration::from_secs(3),
            down: Down::default(),
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

/// What was stopped for captures and could not be started again; shared by all clones. No capture fails by it.
#[derive(Debug, Clone, Default)]
pub struct Down(Arc<Mutex<Vec<NotStarted>>>);

/// A command that was to start something again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotStarted {
    /// As it was run.
    pub command: String,
    /// What became of it: "failed (exit status: 1)".
    pub reason: String,
}

impl Down {
    /// What has come so far. Each is given once.
    pub fn take(&self) -> Vec<NotStarted> {
        std::mem::take(&mut *self.0.lock())
    }

    pub(crate) fn add(&self, command: &str, reason: String) {
        self.0.lock().push(NotStarted { command: command.to_owned(), reason });
    }
}
