//! What `restore` says.

use serde::Serialize;

use super::{Pace, is_zero};

/// Progress.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RestoreStatus {
    /// How far it is in time.
    #[serde(flatten)]
    pub(crate) pace: Pace,
    /// How much is done of how much.
    #[serde(flatten)]
    pub(crate) counts: RestoreCounts,
}

/// How much is restored, of files, folders and other entries.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RestoreCounts {
    /// Entries to restore.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) total_files: u64,
    /// Those that are done.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) files_restored: u64,
    /// Those that were left as they are.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) files_skipped: u64,
    /// Those that `--delete` took away.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) files_deleted: u64,
    /// Bytes to restore.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) total_bytes: u64,
    /// Bytes written.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) bytes_restored: u64,
    /// Bytes of files that were left as they are.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) bytes_skipped: u64,
}

/// One item is done.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RestoreVerbose {
    /// `restored`, `updated`, `unchanged` or `deleted`.
    pub(crate) action: &'static str,
    /// The path in the target.
    pub(crate) item: String,
    /// The exact path if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) item_raw: Option<String>,
    /// Its bytes.
    pub(crate) size: u64,
}

/// The end.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RestoreSummary {
    /// How long it took.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) seconds_elapsed: u64,
    /// How much was done of how much.
    #[serde(flatten)]
    pub(crate) counts: RestoreCounts,
    /// Entries, or properties of entries, that need `--privileged`. Not restic's.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) privileged_skipped: u64,
    /// Files that were read again and are the same as in the snapshot. Not restic's.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) files_verified: u64,
    /// Whether nothing was written because of `--dry-run`. Not restic's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dry_run: bool,
    /// Entries that failed. Not restic's.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) error_count: u64,
    /// Where things went: what the first line of the text says. Not restic's.
    pub(crate) target: String,
    /// The full id. Not restic's.
    pub(crate) snapshot_id: String,
    /// Applications that were brought back as a whole, or were to be. Not restic's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) apps: Vec<BroughtBack>,
}

/// An application that was brought back, or was to be. Not restic's.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct BroughtBack {
    /// Its kind.
    pub(crate) kind: String,
    /// Its path in the snapshot.
    pub(crate) path: String,
    /// Where it is, or was to be.
    pub(crate) target: String,
    /// What was verified, if it is in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verified: Option<String>,
    /// The moment or position that it stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) point: Option<String>,
    /// What to know or to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    /// Where the old content is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) moved_to: Option<String>,
    /// Where what was restored is, if it was not exchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stage: Option<String>,
    /// Why it was not exchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// What earlier restores have left beside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) leftovers: Vec<String>,
}
