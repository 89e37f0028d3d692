//! The one error of this crate.
//!
//! Owns: saying what was tried, on what, and what a developer must install.
//! Never: turns a missing tool into a skipped test.
//! Invariant: `Display` says this level only; the cause is in `source()`.

use std::io;
use std::path::{Path, PathBuf};

/// What every generator returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a workload could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was tried, as in "cannot create …".
        verb: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The answer of the operating system.
        #[source]
        source: io::Error,
    },
    /// A program or library that the workload drives is not there.
    #[error("{what} not found; install the Debian packages: {}", packages.join(" "))]
    Missing {
        /// The program or file looked for.
        what: String,
        /// The Debian packages that bring it.
        packages: &'static [&'static str],
    },
    /// A program ran and reported failure.
    #[error("{program} failed ({status}): {output}")]
    Failed {
        /// The program, without its arguments.
        program: String,
        /// How it ended.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// Something read back was not what this crate writes.
    #[error("{0}")]
    Unexpected(String),
}

/// Gives an operating-system error the verb and the path it lacks.
pub(crate) trait Context<T> {
    /// Reads as "cannot `verb` `path`".
    fn context(self, verb: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, verb: &'static str, path: &Path) -> Result<T> {
        self.map_err(|error| Error::Io { verb, path: path.to_path_buf(), source: error.into() })
    }
}
