//! What the commands that free space say.

use serde::Serialize;

use super::{ForgetGroup, SnapshotObject, is_zero};

/// `prune`: the end. None of it is restic's, which has no JSON here.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct PruneSummary {
    /// Whether nothing was changed because of `--dry-run`.
    pub(crate) dry_run: bool,
    /// With `--keep-…`: what is kept and dropped, as `forget` says it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<ForgetGroup>,
    /// Snapshots that stay.
    pub(crate) snapshots_kept: u64,
    /// Snapshots that were forgotten by retention.
    pub(crate) snapshots_removed: u64,
    /// Snapshots that are lost, or were never committed, and of which a copy of the record is there: what they need stays.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) snapshots_lost: Vec<String>,
    /// Forgotten snapshots that `undelete` cannot bring back any more.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) snapshots_ended: u64,
    /// The plan: packs that stay.
    pub(crate) packs_kept: u64,
    /// The plan: packs that are needed in part.
    pub(crate) packs_to_repack: u64,
    /// The plan: packs that nobody needs.
    pub(crate) packs_to_delete: u64,
    /// The bytes of all packs before.
    pub(crate) bytes_stored: u64,
    /// The plan: bytes that will be free; those of packs that are needed in part are estimated.
    pub(crate) bytes_to_free: u64,
    /// The plan: bytes that stay although nobody needs them.
    pub(crate) bytes_unused: u64,
    /// The plan: every pack that does not stay.
    pub(crate) planned: Vec<PrunedPack>,
    /// Done: packs deleted that nobody needed.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) packs_deleted: u64,
    /// Done: packs deleted after what was needed of them was copied.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) packs_repacked: u64,
    /// Packs that were to go and stayed, because they are needed again.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) packs_spared: u64,
    /// Packs that stayed because the disk has no room for what is needed of them.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) packs_without_room: u64,
    /// Done: the bytes of all packs that were deleted.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) bytes_deleted: u64,
    /// Done: the bytes of new packs.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) bytes_written: u64,
    /// The longest time that others had to wait.
    pub(crate) lock_held_ms: u64,
    /// Whether `--max-duration` ended it before everything was done.
    pub(crate) out_of_time: bool,
}

/// A pack that does not stay.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct PrunedPack {
    /// Its id.
    pub(crate) id: String,
    /// `repack` or `delete`.
    pub(crate) action: &'static str,
    /// Its bytes.
    pub(crate) size: u64,
    /// How many of them nobody needs.
    pub(crate) unused: u64,
}

/// `undelete`: one document.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct UndeleteResult {
    /// Without a snapshot: what can be brought back.
    pub(crate) forgotten: Vec<SnapshotObject>,
    /// What was brought back.
    pub(crate) restored: Vec<SnapshotObject>,
    /// What is listed or was asked for and cannot be brought back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) not_whole: Vec<NotWhole>,
}

/// A forgotten snapshot that cannot be brought back.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct NotWhole {
    /// Its id.
    pub(crate) snapshot_id: String,
    /// What of it is gone or cannot be read.
    pub(crate) reason: String,
}
