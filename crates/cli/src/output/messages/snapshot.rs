//! A snapshot, as `snapshots`, `ls`, `forget` and `cat` show it.

use serde::Serialize;

/// A snapshot.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct SnapshotObject {
    /// Its time.
    pub(crate) time: String,
    /// The full id of the snapshot that it was compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<String>,
    /// The id of the root tree.
    pub(crate) tree: String,
    /// What was backed up.
    pub(crate) paths: Vec<String>,
    /// The exact paths if one of them is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paths_raw: Option<Vec<String>>,
    /// The host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) hostname: String,
    /// Who backed up.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) username: String,
    /// Their user id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<u32>,
    /// Their group id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gid: Option<u32>,
    /// The patterns that were left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) excludes: Vec<String>,
    /// The tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    /// `treering 0.1.0`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) program_version: String,
    /// The statistics of the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) summary: Option<SnapshotSummary>,
    /// The applications that were captured. Not restic's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) apps: Vec<AppObject>,
    /// The applications that could not be captured, and of which it has no file. Not restic's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) not_captured: Vec<NotCapturedObject>,
    /// The full id.
    pub(crate) id: String,
    /// The first eight digits of the id.
    pub(crate) short_id: String,
}

/// The statistics that a snapshot carries.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct SnapshotSummary {
    /// When the backup began.
    pub(crate) backup_start: String,
    /// When it ended.
    pub(crate) backup_end: String,
    /// What it did, and how much there is.
    #[serde(flatten)]
    pub(crate) counts: BackupCounts,
}

/// What a backup did, as its summary and its snapshot say it.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct BackupCounts {
    /// Files that the parent did not have.
    pub(crate) files_new: u64,
    /// Files that were read again.
    pub(crate) files_changed: u64,
    /// Files taken over from the parent.
    pub(crate) files_unmodified: u64,
    /// Folders that the parent did not have.
    pub(crate) dirs_new: u64,
    /// Folders that changed.
    pub(crate) dirs_changed: u64,
    /// Folders taken over from the parent.
    pub(crate) dirs_unmodified: u64,
    /// New chunks.
    pub(crate) data_blobs: u64,
    /// Always 0: new chunks of trees are counted with those of files.
    pub(crate) tree_blobs: u64,
    /// New data before compression.
    pub(crate) data_added: u64,
    /// New data as stored: how much the repository has grown, headers and trailers included.
    pub(crate) data_added_packed: u64,
    /// All files of the snapshot.
    pub(crate) total_files_processed: u64,
    /// All their bytes.
    pub(crate) total_bytes_processed: u64,
}

/// An application in a snapshot. Not restic's.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct AppObject {
    /// `sqlite`, `je`, `h2`, `jpom`.
    pub(crate) kind: String,
    /// Where it is.
    pub(crate) path: String,
    /// The exact path if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_raw: Option<String>,
    /// Which part of it was asked for (`essential`, `light`); absent: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<String>,
    /// Its version, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// `consistent`, `crash-consistent`, `unknown` or `torn`.
    pub(crate) state: String,
    /// The moment or position that the copy stands for, in the application's own terms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) consistency_point: Option<String>,
    /// Why this state, in one sentence.
    pub(crate) detail: String,
    /// A JE environment whose lock could not be had while its files were listed and opened.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unlocked: bool,
    /// The bytes that were captured.
    pub(crate) bytes: u64,
}

/// An application that could not be captured. Not restic's.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct NotCapturedObject {
    /// `sqlite`, `je`, `h2`, `jpom`.
    pub(crate) kind: String,
    /// Where it is.
    pub(crate) path: String,
    /// The exact path if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_raw: Option<String>,
    /// Why.
    pub(crate) detail: String,
}
