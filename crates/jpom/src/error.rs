//! What can go wrong in this crate, and how it is told to the seam.
//!
//! Invariant: `Display` says what was tried on which path; the cause is in `source()`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use treering_snapshot::capture::CaptureError;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing of Jpom was recognised in a folder.
    #[error("{} is no home of a Jpom server or agent", .path.display())]
    NotAHome {
        /// The folder.
        path: PathBuf,
    },
    /// The settings cannot be understood.
    #[error("cannot understand {}: {reason}", .path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// A jar cannot be read.
    #[error("cannot read the jar {}: {reason}", .path.display())]
    Jar {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The process of a home may not be signalled or looked at.
    #[error("process {pid} of {} may not be stopped and started by this user", .home.display())]
    NotAllowed {
        /// The home.
        home: PathBuf,
        /// Its process.
        pid: i32,
    },
    /// What was stopped could not be started again.
    #[error("{} was stopped and could not be started again: {reason}", .home.display())]
    NotStarted {
        /// The home.
        home: PathBuf,
        /// Why.
        reason: String,
    },
    /// A home cannot be stopped, because it could not be started again.
    #[error("{} is left running, because it could not be started again: {reason}", .home.display())]
    NotRestartable {
        /// The home.
        home: PathBuf,
        /// Why.
        reason: String,
    },
    /// The home that is to be replaced is in use.
    #[error("Jpom runs in {} as process {pid}", .home.display())]
    Running {
        /// The home.
        home: PathBuf,
        /// Its process.
        pid: i32,
    },
    /// Somebody has the database of the home open that is to be written to.
    #[error("the database of {} is in use: {reason}", .home.display())]
    InUse {
        /// The home.
        home: PathBuf,
        /// How that was noticed.
        reason: String,
    },
    /// The real library did not accept a database.
    #[error("the H2 library in {} does not open the database: {reason}", .jar.display())]
    Refused {
        /// The library.
        jar: PathBuf,
        /// What it said.
        reason: String,
    },
    /// The real library did not come to an end.
    #[error("the H2 library in {} has not answered within {} s", .jar.display(), .limit.as_secs())]
    NoAnswer {
        /// The library.
        jar: PathBuf,
        /// How long it was waited for.
        limit: Duration,
    },
}

/// Builds the closure that turns an I/O error into an [`Error::Io`].
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { action, path, source }
}

impl From<Error> for CaptureError {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { action, path, source } => CaptureError::Io { action, path, source },
            other => CaptureError::Application { action: "capture", path: "Jpom".into(), reason: other.to_string() },
        }
    }
}
