//! What long work tells while it goes on, and how it is asked to stop.

use std::path::Path;

/// Listens to long work. Called from several threads, often: it must be quick.
pub trait Progress: Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>);

    /// Asked before each file and each chunk: `true` ends the work with [`crate::SnapshotError::Interrupted`].
    fn is_interrupted(&self) -> bool {
        false
    }
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Backup: the parent did not have it. Restore: it was made.
    New,
    /// Backup: it changed. Restore: it was made the same as in the snapshot.
    Changed,
    /// It is the same.
    Unmodified,
    /// It was removed from the target.
    Deleted,
}

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The amount of work is known.
    Total {
        /// Entries that are no folders.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// A file is being worked on.
    Started {
        /// Which.
        path: &'a Path,
    },
    /// Bytes were read, written or verified.
    Bytes {
        /// How many.
        bytes: u64,
    },
    /// An entry is done.
    Done {
        /// Which.
        path: &'a Path,
        /// Whether it is a folder.
        is_folder: bool,
        /// What became of it.
        outcome: Outcome,
        /// Its bytes.
        bytes: u64,
    },
    /// An entry failed; the work goes on without it.
    Failed {
        /// Which.
        path: &'a Path,
        /// What was being done, as a word: `scan`, `archival`, `restore`.
        during: &'static str,
        /// Why.
        error: &'a dyn std::error::Error,
    },
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event<'_>) {}
}
