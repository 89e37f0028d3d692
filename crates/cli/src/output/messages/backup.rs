//! What `backup` says.

use serde::Serialize;

use super::{AppObject, BackupCounts, NotCapturedObject, Pace, is_zero};

/// Progress.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct BackupStatus {
    /// How far it is in time.
    #[serde(flatten)]
    pub(crate) pace: Pace,
    /// Estimated until the walk has ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) total_files: u64,
    /// Files that are done.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) files_done: u64,
    /// Estimated until the walk has ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) total_bytes: u64,
    /// Bytes that are done, those of unchanged files counted.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) bytes_done: u64,
    /// Items that failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) error_count: u64,
    /// Files that are being read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) current_files: Vec<String>,
}

/// One item is done.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct BackupVerbose {
    /// `new`, `modified`, `unchanged`, or `scan_finished`.
    pub(crate) action: &'static str,
    /// The path.
    pub(crate) item: String,
    /// The exact path if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) item_raw: Option<String>,
    /// How long it took.
    pub(crate) duration: f64,
    /// New data of the file, before compression.
    pub(crate) data_size: u64,
    /// New data of the file, as stored.
    pub(crate) data_size_in_repo: u64,
    /// New data of the folder, before compression.
    pub(crate) metadata_size: u64,
    /// New data of the folder, as stored.
    pub(crate) metadata_size_in_repo: u64,
    /// With `scan_finished`: all files.
    pub(crate) total_files: u64,
}

/// The end.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct BackupSummary {
    /// What was done, and how much there is.
    #[serde(flatten)]
    pub(crate) counts: BackupCounts,
    /// How long it took.
    pub(crate) total_duration: f64,
    /// When it began.
    pub(crate) backup_start: String,
    /// When it ended.
    pub(crate) backup_end: String,
    /// The full id; missing if no snapshot was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot_id: Option<String>,
    /// Whether nothing was stored because of `--dry-run`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dry_run: bool,
    /// Items that are missing or incomplete in the snapshot. Not restic's.
    pub(crate) error_count: u64,
    /// Chunks that had been lost and were stored again. Not restic's.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) healed_chunks: u64,
    /// Their bytes. Not restic's.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) healed_bytes: u64,
    /// The applications that were captured. Not restic's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) apps: Vec<AppObject>,
    /// The applications that could not be captured, and of which the snapshot has no file. Not restic's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) not_captured: Vec<NotCapturedObject>,
}
