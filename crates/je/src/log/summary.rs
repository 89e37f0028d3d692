//! What a scan found out about one file.
//!
//! Owns plain values, bounded whatever the file holds. Never: judges; whether a break at the end of a file is a torn tail
//! or damage is for [`crate::verify`] to say.

use super::{CheckpointEnd, Entry, EntryType, FileHeader, Lsn, RestoreRequired};

/// A committed transaction and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Where its entry begins.
    pub lsn: Lsn,
    /// Where its entry ends, in bytes from the beginning of its file: the log cut here ends with this commit.
    pub end: u64,
    /// The number of the transaction.
    pub transaction: i64,
    /// When, in milliseconds since 1970.
    pub time_ms: i64,
}

/// A complete checkpoint and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where its last entry begins.
    pub lsn: Lsn,
    /// Where that entry ends, in bytes from the beginning of its file.
    pub end: u64,
    /// What it says.
    pub item: CheckpointEnd,
}

/// What one file of the log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileSummary {
    /// The header, if the first entry is one and whole.
    pub header: Option<FileHeader>,
    /// How many bytes were read.
    pub read_bytes: u64,
    /// Where the unbroken chain from the header on ends.
    pub valid_end: u64,
    /// Where its last entry begins.
    pub last_entry: u64,
    /// What that entry is.
    pub last_kind: Option<EntryType>,
    /// How many entries the chain has, the header included.
    pub entries: u64,
    /// How many of them are commits.
    pub commits: u64,
    /// The first of those.
    pub first_commit: Option<Commit>,
    /// The last of those.
    pub last_commit: Option<Commit>,
    /// The last complete checkpoint of the chain.
    pub checkpoint: Option<Checkpoint>,
    /// The last checkpoint after which cleaned files may have been deleted: its end.
    pub last_deleting_checkpoint_end: Option<u64>,
    /// The last entry that says that the environment must be restored.
    pub restore_required: Option<RestoreRequired>,
    /// Entries that were erased in place, whose checksums say nothing.
    pub erased: u64,
    /// Entries that a rollback has made invisible, in place.
    pub invisible: u64,
    /// Entries of a kind that is read whose item does not have its form: the first one.
    pub malformed: Option<Lsn>,
    /// Where the chain breaks, if it does before the end of the file.
    pub damage: Option<Damage>,
}

/// A break in the chain of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where the entry begins that is not whole: the end of what is valid before it.
    pub offset: u64,
    /// What is wrong with it.
    pub fault: Fault,
    /// What was found behind it.
    pub behind: Behind,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file ends in it.
    #[error("the file ends within an entry")]
    Truncated,
    /// The first entry is no header of a file.
    #[error("it does not begin with a file header")]
    NoFileHeader,
    /// The log has a version that this program does not read.
    #[error("its log version {version} is not one from 6 to 17")]
    UnknownVersion {
        /// The version.
        version: u32,
    },
    /// The header says another number than the name.
    #[error("its header says that it is file {found:#x}")]
    WrongNumber {
        /// The number in the header.
        found: u32,
    },
    /// There is no such kind of entry, or its version bits are others than the file's.
    #[error("an entry has a kind that this log version has not")]
    UnknownType,
    /// The length is negative.
    #[error("an entry has an impossible length")]
    BadLength,
    /// The link to the entry before leads elsewhere.
    #[error("an entry does not follow on the one before it")]
    BrokenLink,
    /// The checksum is another.
    #[error("an entry has a wrong checksum")]
    WrongChecksum,
    /// It lies behind what 32 bits can say.
    #[error("the file is longer than 4 GiB")]
    TooLong,
}

/// Whole entries behind a break, which JE drops without a word when it opens the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Behind {
    /// How many were found.
    pub entries: u64,
    /// Where the first of them begins.
    pub first: Option<Lsn>,
    /// How many of them are commits.
    pub commits: u64,
    /// The first of those.
    pub first_commit: Option<Commit>,
    /// The last of those.
    pub last_commit: Option<Commit>,
    /// Whether a stretch was too long to be searched.
    pub is_incomplete: bool,
}

impl FileSummary {
    /// Whether the file has nothing but its header.
    pub fn is_only_header(&self) -> bool {
        self.entries <= 1 && self.damage.as_ref().is_none_or(|damage| damage.behind.entries == 0)
    }

    /// Whether every byte belongs to the unbroken chain.
    pub fn is_whole(&self) -> bool {
        self.header.is_some() && self.damage.is_none()
    }

    /// Whether the chain breaks with nothing whole behind: what a crash leaves at the end of the log.
    pub fn is_torn(&self) -> bool {
        self.damage.as_ref().is_some_and(|damage| damage.behind.entries == 0 && !damage.behind.is_incomplete)
    }
}

impl Commit {
    /// The commit that an entry is, if it is one.
    pub fn of(entry: &Entry<'_>) -> Option<Commit> {
        use super::{Item, Outcome};
        match entry.item()? {
            Item::TransactionEnd(end) if end.outcome == Outcome::Commit => {
                Some(Commit { lsn: entry.lsn, end: entry.end(), transaction: end.transaction, time_ms: end.time_ms })
            }
            _ => None,
        }
    }
}
