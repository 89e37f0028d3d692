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
    /// The SQLite linked into this program is too old to be let near a live database.
    #[error("SQLite {found} is linked, {needed} or newer is needed")]
    LibraryTooOld {
        /// What is linked, as SQLite writes its version numbers: 3051003 is 3.51.3.
        found: i32,
        /// What is needed, written in the same way.
        needed: i32,
    },
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
    /// SQLite refused.
    #[error("cannot {action} {}", .path.display())]
    Sqlite {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The temporary copy would not fit.
    #[error("a copy of {} needs {needed_bytes} bytes in {}, where {free_bytes} may be used", .path.display(), .folder.display())]
    NoRoom {
        /// The file to be copied.
        path: PathBuf,
        /// The folder for temporary files.
        folder: PathBuf,
        /// What the copy needs.
        needed_bytes: u64,
        /// What is free there, or what the limit leaves of it.
        free_bytes: u64,
    },
}

impl Error {
    /// This level and its cause, for a sentence that nothing follows. What lies below an error of SQLite repeats it.
    pub(crate) fn in_full(&self) -> String {
        let cause = std::error::Error::source(self).map(|cause| format!(": {cause}"));
        format!("{self}{}", cause.unwrap_or_default())
    }
}

/// Builds the closure that turns an I/O error into an [`Error::Io`].
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { action, path, source }
}

/// Builds the closure that turns an error of SQLite into an [`Error::Sqlite`].
pub(crate) fn sqlite_error(action: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Sqlite { action, path, source }
}

impl From<Error> for CaptureError {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { action, path, source } => CaptureError::Io { action, path, source },
            Error::Sqlite { action, path, source } => {
                CaptureError::Application { action, path, reason: source.to_string() }
            }
            Error::NoRoom { path, folder, needed_bytes, free_bytes } => {
                CaptureError::NoRoom { path, folder, needed_bytes, free_bytes }
            }
            Error::LibraryTooOld { .. } => CaptureError::Application {
                action: "capture databases with",
                path: PathBuf::from("SQLite"),
                reason: error.to_string(),
            },
        }
    }
}
