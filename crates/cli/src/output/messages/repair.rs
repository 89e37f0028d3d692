//! What `repair` says. None of it is restic's.

use serde::Serialize;

/// One copy of the configuration or of a key slot.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RepairedCopy {
    /// Where it is in the repository.
    pub(crate) path: String,
    /// `restored`, `replaced`, `lost`, `differs` or `misplaced`.
    pub(crate) action: &'static str,
}

/// `repair config`: the end.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RepairConfigSummary {
    /// Copies that were made whole, or would be.
    pub(crate) repaired: u64,
    /// Copies that cannot be.
    pub(crate) not_repaired: u64,
    /// Whether nothing was changed because of `--dry-run`.
    pub(crate) dry_run: bool,
}

/// `repair index`: the end.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RepairIndexSummary {
    /// Packs that it knows, or would know.
    pub(crate) packs: u64,
    /// Their chunks.
    pub(crate) chunks: u64,
    /// Packs whose trailers cannot be read.
    pub(crate) damaged_packs: Vec<String>,
    /// Whether nothing was changed because of `--dry-run`.
    pub(crate) dry_run: bool,
}

/// A damaged pack.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RepairedPack {
    /// Its id.
    pub(crate) id: String,
    /// Chunks that were stored again, or would be.
    pub(crate) chunks_kept: u64,
    /// Their bytes.
    pub(crate) bytes_kept: u64,
    /// Chunks that it lists and that cannot be read; missing if its trailer is lost, and nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chunks_unreadable: Option<u64>,
}

/// `repair packs`: the end.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RepairPacksSummary {
    /// Packs that were moved aside, or would be.
    pub(crate) packs: u64,
    /// Second copies of snapshots that were stored again, or would be.
    pub(crate) copies_restored: u64,
    /// Chunks that snapshots need and that are in no pack then.
    pub(crate) lost_chunks: u64,
    /// Chunks of trees that are in a pack and cannot be read.
    pub(crate) unreadable_chunks: u64,
    /// Whether nothing was changed because of `--dry-run`.
    pub(crate) dry_run: bool,
}

/// A snapshot whose record was lost.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ReturnedSnapshot {
    /// Its full id.
    pub(crate) snapshot_id: String,
    /// When it was made.
    pub(crate) time: String,
    /// Where.
    pub(crate) hostname: String,
    /// `returned`, `incomplete` or `perhaps_forgotten`; only the first comes back.
    pub(crate) action: &'static str,
    /// Whether it is known that its backup was finished.
    pub(crate) was_committed: bool,
}

/// A snapshot that was written again.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RewrittenSnapshot {
    /// The full id of the damaged one.
    pub(crate) original: String,
    /// The full id of the new one; missing with `--dry-run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot_id: Option<String>,
    /// Files that were left out.
    pub(crate) lost_files: Vec<String>,
    /// Their exact paths if one is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lost_files_raw: Option<Vec<String>>,
    /// Folders of which entries are lost; which ones, nobody knows.
    pub(crate) torn_folders: Vec<String>,
    /// Their exact paths if one is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) torn_folders_raw: Option<Vec<String>>,
}

/// `repair snapshots`: the end.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RepairSnapshotsSummary {
    /// Lost snapshots that came back, or would.
    pub(crate) returned: u64,
    /// Snapshots that were written again, or would be.
    pub(crate) rewritten: u64,
    /// Second copies of snapshots that were stored again, or would be.
    pub(crate) copies_restored: u64,
    /// Records that were moved aside because they cannot be read or lie under a wrong name, or would be.
    pub(crate) moved_aside: u64,
    /// Snapshots that are lost and do not come back.
    pub(crate) not_repaired: u64,
    /// Whether nothing was changed because of `--dry-run`.
    pub(crate) dry_run: bool,
}
