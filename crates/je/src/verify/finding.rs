//! What can be found in a log, and how bad it is.

use std::path::PathBuf;

use crate::log::{Behind, Commit, Fault, Lsn, Remark};

/// How bad something is. Ordered from harmless to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Normal, and worth knowing.
    Note,
    /// This program cannot tell: a version that it does not know, an item that it cannot read.
    Unknown,
    /// Something is lost, damaged or missing, or JE will not open the environment.
    Error,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file that it concerns, relative to the environment.
    pub path: Option<PathBuf>,
    /// What it is.
    pub problem: Problem,
}

/// The places that the end of a checkpoint names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointPart {
    /// Its beginning.
    Start,
    /// The root of all databases.
    Root,
    /// The oldest entry of open transactions.
    FirstActive,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The log ends within an entry: what a crash, or a copy made beside a writer, leaves. JE cuts it off.
    #[error(
        "the log ends in {bytes} bytes that are no whole entry ({fault}); JE cuts them off when it opens the environment"
    )]
    TornTail {
        /// Where they begin.
        offset: u64,
        /// How many they are.
        bytes: u64,
        /// What is wrong with the first of them.
        fault: Fault,
    },
    /// The last file is damaged with whole entries behind: JE opens the environment and drops them without a word.
    #[error("damaged at {offset:#x}: {fault}; {}; JE would drop them without a word when it opens the environment", stake(.behind))]
    SilentLoss {
        /// Where the damage begins.
        offset: u64,
        /// What is wrong.
        fault: Fault,
        /// What is at stake.
        behind: Behind,
    },
    /// A file is damaged.
    #[error("damaged at {offset:#x}: {fault}; {}", stake(.behind))]
    Damaged {
        /// Where the damage begins.
        offset: u64,
        /// What is wrong.
        fault: Fault,
        /// What was found behind it.
        behind: Behind,
    },
    /// A file has nothing in it, not even its header.
    #[error("it is empty")]
    Empty,
    /// The log has a version that is not read.
    #[error("its log version {version} is not one from 6 to 17, so nothing is known of it")]
    UnknownVersion {
        /// The version.
        version: u32,
    },
    /// A file cannot be read.
    #[error("it cannot be read: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
    /// The link from a file to the one before is wrong.
    #[error(
        "its header says that the file before it ends with the entry at {claimed:#x}; it ends with the one at {found:#x}"
    )]
    BrokenLink {
        /// What the header says.
        claimed: u64,
        /// What is there.
        found: u64,
    },
    /// The link from a file to the one before leads to no entry.
    #[error("its header says that the file before it ends with the entry at {claimed:#x}, where there is none")]
    NoLink {
        /// What the header says.
        claimed: u64,
    },
    /// Files are missing that recovery reads.
    #[error("{} missing, and recovery reads from {recovery_start}: JE will not open the environment", files(*.first, *.last))]
    Missing {
        /// The first of them.
        first: u32,
        /// The last of them.
        last: u32,
        /// Where recovery begins.
        recovery_start: Lsn,
    },
    /// Files are missing below what recovery reads: they were cleaned.
    #[error("{} missing below the last checkpoint: cleaned", files(*.first, *.last))]
    Cleaned {
        /// The first of them.
        first: u32,
        /// The last of them.
        last: u32,
    },
    /// The last checkpoint names a place where nothing fitting is.
    #[error(
        "the checkpoint at {checkpoint} begins, has its root or its oldest open transaction ({part:?}) at {target}, where there is no such entry"
    )]
    CheckpointTarget {
        /// Where the checkpoint's end is.
        checkpoint: Lsn,
        /// What is missing.
        part: CheckpointPart,
        /// Where it should be.
        target: Lsn,
    },
    /// There is no complete checkpoint, and the log does not begin with its first file.
    #[error("there is no complete checkpoint, and the files before {first:#x} are missing: JE finds no root")]
    NoCheckpoint {
        /// The first file that is there.
        first: u32,
    },
    /// A commit names a last record that does not exist.
    #[error("the commit at {} (transaction {}) follows on a record at {last}, where there is no entry", .commit.lsn, .commit.transaction)]
    CommitWithoutRecord {
        /// The commit.
        commit: Commit,
        /// Where its last record should be.
        last: Lsn,
    },
    /// The environment must be restored before it can be used.
    #[error("an entry says that the environment must be restored before it is used: {reason}")]
    RestoreRequired {
        /// JE's word for why.
        reason: String,
    },
    /// A network restore has not ended.
    #[error("7fffffff.jdb says that a network restore has not ended: these files do not belong together")]
    RestoreMarker,
    /// A name or a place is wrong.
    #[error("{0}")]
    Place(Remark),
    /// An entry is whole, and what is in it cannot be read.
    #[error("the entry at {lsn} is whole, but this program cannot read what it says")]
    Malformed {
        /// Where.
        lsn: Lsn,
    },
    /// Entries were erased in place.
    #[error("{count} entries were erased in place; no checksum covers them")]
    Erased {
        /// How many.
        count: u64,
    },
    /// Entries were made invisible in place.
    #[error("{count} entries were made invisible by a rollback; no checksum covers that mark")]
    Invisible {
        /// How many.
        count: u64,
    },
    /// There are no files of a log.
    #[error("there are no log files")]
    NoFiles,
}

impl Problem {
    pub(crate) fn severity(&self) -> Severity {
        match self {
            Problem::TornTail { .. } | Problem::Cleaned { .. } | Problem::Erased { .. } | Problem::Invisible { .. } => {
                Severity::Note
            }
            Problem::UnknownVersion { .. } | Problem::Malformed { .. } => Severity::Unknown,
            _ => Severity::Error,
        }
    }

    /// The commits that JE would lose, if it loses any.
    pub fn at_stake(&self) -> Option<&Behind> {
        match self {
            Problem::SilentLoss { behind, .. } | Problem::Damaged { behind, .. } => Some(behind),
            _ => None,
        }
    }
}

fn stake(behind: &Behind) -> String {
    let more = if behind.is_incomplete { ", and a stretch too long to be searched" } else { "" };
    match (behind.first_commit, behind.last_commit) {
        (Some(first), Some(last)) => format!(
            "behind it are {} whole entries with {} commits, from {} (transaction {}) to {} (transaction {}){more}",
            behind.entries, behind.commits, first.lsn, first.transaction, last.lsn, last.transaction
        ),
        _ if behind.entries > 0 => format!("behind it are {} whole entries without a commit{more}", behind.entries),
        _ => format!("nothing whole was found behind it{more}"),
    }
}

fn files(first: u32, last: u32) -> String {
    match last - first {
        0 => format!("{first:08x}.jdb is"),
        _ => format!("{first:08x}.jdb to {last:08x}.jdb are"),
    }
}
