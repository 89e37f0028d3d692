//! The log of Berkeley DB Java Edition as it lies in files: read, never written.
//!
//! Owns everything that is known of the format, for log versions 6 to 17: names of files, headers, entries, the items
//! of commits and checkpoints, and the one-pass [`Scanner`] over a file's bytes. What is relied on, and where it comes
//! from, is in `docs/je-log.md`.
//! Never: knows anything of snapshots; opens a file except in [`Listing::read`], which only lists; trusts a byte before
//! its checksum was seen to be right.
//!
//! Invariant: what a [`FileSummary`] says of entries is true of an unbroken chain from the file's header on, whose every
//! checksum and back link is right. What lies behind a break is told apart.

mod entry;
mod fields;
mod items;
mod listing;
mod lsn;
mod names;
mod scan;
mod summary;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod testing;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use entry::{Entry, EntryHeader, EntryType, FileHeader};
pub use items::{CheckpointEnd, CheckpointStart, Item, Outcome, RestoreRequired, TransactionEnd};
pub use listing::{Listed, Listing, Remark};
pub use lsn::{Lsn, ParseLsnError};
pub use names::{MARKER_FILE, Name, data_folder, data_folder_name, file_name, log_number};
pub use scan::{Scanner, scan};
pub use summary::{Behind, Checkpoint, Commit, Damage, Fault, FileSummary};

/// The oldest log version that is read: JE 3.3.
pub const OLDEST_VERSION: u32 = 6;
/// The newest log version that is read: JE 18.3.
pub const NEWEST_VERSION: u32 = 17;
/// How long the header of a file is, and so where its first entry begins.
pub const FILE_HEADER_BYTES: u64 = 38;

/// Whether this program knows what a log of that version means.
pub fn is_known_version(version: u32) -> bool {
    (OLDEST_VERSION..=NEWEST_VERSION).contains(&version)
}
