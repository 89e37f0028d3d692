//! What is known of an environment once its log was read.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Severity};
use crate::log::{Checkpoint, Commit, EntryType, FileHeader, Lsn};

/// What the log of an environment says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// What was found, in the order of the log.
    pub findings: Vec<Finding>,
    /// The headers of the files, by their numbers: where each stands in its time line.
    pub headers: BTreeMap<u32, FileHeader>,
    /// The versions of the files.
    pub versions: BTreeSet<u32>,
    /// How many bytes were read.
    pub bytes: u64,
    /// How many entries there are in unbroken chains.
    pub entries: u64,
    /// How many of them are commits.
    pub commits: u64,
    /// The first of those.
    pub first_commit: Option<Commit>,
    /// The last of those.
    pub last_commit: Option<Commit>,
    /// The last complete checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// The last entry, and what it is.
    pub last_entry: Option<(Lsn, EntryType)>,
    /// Where what is whole ends: the file, and the bytes of it.
    pub end: Option<(u32, u64)>,
    /// What recovery has to read, in bytes.
    pub recovery_bytes: u64,
    /// Entries that were erased in place.
    pub erased: u64,
    /// Entries that were made invisible in place.
    pub invisible: u64,
}

impl Report {
    /// The worst of what was found.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// How many findings are errors.
    pub fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error).count()
    }

    /// Whether the environment was closed properly: its last entry is the end of a checkpoint.
    pub fn is_closed(&self) -> bool {
        self.last_entry.is_some_and(|(_, kind)| kind == EntryType::CHECKPOINT_END)
    }

    /// From where on the log may be cut by itself: the end of its last checkpoint, as file and offset. Below it files may
    /// be missing that an earlier state needs.
    pub fn restorable_from(&self) -> Option<(u32, u64)> {
        self.checkpoint.as_ref().map(|checkpoint| (checkpoint.lsn.file, checkpoint.end))
    }

    /// The version of the last file, which the JE that opens the environment must know.
    pub fn newest_version(&self) -> Option<u32> {
        self.versions.last().copied()
    }
}
