//! Why a database cannot be captured, and how it is told to the seam.

use std::path::{Path, PathBuf};

use treering_snapshot::capture::CaptureError;

/// Why a database was not taken.
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
        source: std::io::Error,
    },
    /// What was read was not stored.
    #[error(transparent)]
    Seam(CaptureError),
    /// No live capture was possible, and no other way was allowed.
    #[error("no live capture of {} is possible: {reason}", .path.display())]
    NotLive {
        /// The database.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A command of the user failed.
    #[error("the command `{command}` {reason}")]
    Command {
        /// As it was given.
        command: String,
        /// What became of it.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io<'p>(action: &'static str, path: &'p Path) -> impl FnOnce(std::io::Error) -> Self + 'p {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

impl From<CaptureError> for Error {
    fn from(error: CaptureError) -> Self {
        Self::Seam(error)
    }
}

impl Error {
    /// For the seam.
    pub(crate) fn told(self, path: &Path) -> CaptureError {
        match self {
            Self::Io { action, path, source } => CaptureError::Io { action, path, source },
            Self::Seam(error) => error,
            other => CaptureError::Application { action: "capture", path: path.to_owned(), reason: other.to_string() },
        }
    }
}
