//! The one error of xtask.
//!
//! Owns: what went wrong, for a developer to read.
//! Never: reports an operating-system error without what was tried and on what.
//! Invariant: `Display` says this level only; [`with_causes`] prints the chain.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

/// What every command returns.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The operating system refused.
    #[error("cannot {verb} {}", path.display())]
    Io {
        verb: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Test data could not be made.
    #[error("cannot make the data")]
    Workload(#[from] treering_workloads::Error),
    /// A file of results, or the answer of a cell, is not what this program writes.
    #[error("cannot understand {what}")]
    Json {
        what: String,
        #[source]
        source: serde_json::Error,
    },
    /// Anything else that a developer has to know.
    #[error("{0}")]
    Message(String),
}

impl Error {
    /// An error that is one sentence.
    pub(crate) fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }
}

/// Gives an operating-system error the verb and the path it lacks.
pub(crate) trait Context<T> {
    /// Reads as "cannot `verb` `path`".
    fn context(self, verb: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, verb: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|error| Error::Io { verb, path: path.as_ref().to_path_buf(), source: error.into() })
    }
}

/// The error and everything behind it on one line.
pub(crate) fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
