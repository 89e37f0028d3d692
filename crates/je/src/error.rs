//! What can go wrong in this crate, and how it is told to the seam.
//!
//! Invariant: `Display` says what was tried on which file; the cause is in `source()`.

use std::io;
use std::path::{Path, PathBuf};

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
    /// What bears the name of a log file is none.
    #[error("{} has the name of a log file and is no regular file", .path.display())]
    NoFile {
        /// It.
        path: PathBuf,
    },
    /// Files went while they were listed, each time.
    #[error("files in {} were deleted while they were listed, {attempts} times in a row", .folder.display())]
    Restless {
        /// The environment.
        folder: PathBuf,
        /// How often it was tried.
        attempts: usize,
    },
    /// A program has the environment open for writing, and it shall be taken offline.
    #[error("a program has {} open for writing; close it, or back up without --je-offline", .folder.display())]
    InUse {
        /// The environment.
        folder: PathBuf,
    },
    /// The lock that keeps writers out cannot be had.
    #[error("writers cannot be kept out of {}: {reason}", .folder.display())]
    NotOffline {
        /// The environment.
        folder: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Builds the closure that turns an I/O error into an [`Error::Io`].
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { action, path, source }
}

impl From<Error> for CaptureError {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        match error {
            Error::Io { action, path, source } => CaptureError::Io { action, path, source },
            Error::NoFile { path } => CaptureError::Application { action: "take", path, reason },
            Error::Restless { folder, .. } | Error::InUse { folder } | Error::NotOffline { folder, .. } => {
                CaptureError::Application { action: "take", path: folder, reason }
            }
        }
    }
}
