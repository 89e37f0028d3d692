//! The JSON that programs read. Field names are restic's wherever the meaning is the same.
//!
//! Owns: the shape of every message and document.
//! Never: escapes; names are given as `escape::lossy` and `escape::raw` make them, and `json` makes the line safe.
//! Invariant: a field never changes its meaning; new fields may be added. A name that is not UTF-8 has U+FFFD in its
//! plain field and its exact bytes, percent-encoded, in the field of the same name with `_raw`.
//! Times are RFC 3339. Sizes are bytes, durations seconds.

mod backup;
mod browse;
mod check;
mod failure;
mod forget;
mod h2;
mod je;
mod je_moment;
mod jpom;
mod prune;
mod repair;
mod repository;
mod restore;
mod snapshot;

use serde::Serialize;

pub(crate) use backup::{BackupStatus, BackupSummary, BackupVerbose};
pub(crate) use browse::{DiffChange, DiffStat, DiffStatistics, FindMatch, FindResult, NodeMessage};
pub(crate) use check::{CheckStatus, CheckSummary};
pub(crate) use failure::{ExitError, ItemError, Warning};
pub(crate) use forget::{ForgetGroup, KeepCounters, KeepReason, ScopeObject};
pub(crate) use h2::{H2Finding, H2Map, H2Report};
pub(crate) use je::{JeEnvironment, JeFinding, JeStake, JeVerified};
pub(crate) use je_moment::{JeAllStored, JeCommit, JeCut, JeLastFile, JePass, JeRange, JeStored};
pub(crate) use jpom::{JpomHome, JpomOutside, JpomPath};
pub(crate) use prune::{NotWhole, PruneSummary, PrunedPack, UndeleteResult};
pub(crate) use repair::{
    RepairConfigSummary, RepairIndexSummary, RepairPacksSummary, RepairSnapshotsSummary, RepairedCopy, RepairedPack,
    ReturnedSnapshot, RewrittenSnapshot,
};
pub(crate) use repository::{Initialized, KeyAdded, KeyFileCreated, KeyInfo, KeyRemoved, Stats, Version};
pub(crate) use restore::{BroughtBack, RestoreCounts, RestoreStatus, RestoreSummary, RestoreVerbose};
pub(crate) use snapshot::{AppObject, BackupCounts, NotCapturedObject, SnapshotObject, SnapshotSummary};

/// A line of JSON; `message_type` says which. `backup`, `restore` and `check` share type names, as in restic.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "message_type")]
pub(crate) enum Message {
    /// `backup`: progress.
    #[serde(rename = "status")]
    BackupStatus(BackupStatus),
    /// `backup -v -v`: one item is done.
    #[serde(rename = "verbose_status")]
    BackupVerbose(BackupVerbose),
    /// `backup`: the end.
    #[serde(rename = "summary")]
    BackupSummary(BackupSummary),
    /// `restore`: progress.
    #[serde(rename = "status")]
    RestoreStatus(RestoreStatus),
    /// `restore -v -v`: one item is done.
    #[serde(rename = "verbose_status")]
    RestoreVerbose(RestoreVerbose),
    /// `restore`: the end.
    #[serde(rename = "summary")]
    RestoreSummary(RestoreSummary),
    /// `check`: progress.
    #[serde(rename = "status")]
    CheckStatus(CheckStatus),
    /// `check`: the end.
    #[serde(rename = "summary")]
    CheckSummary(CheckSummary),
    /// `prune`: the end.
    #[serde(rename = "summary")]
    PruneSummary(Box<PruneSummary>),
    /// `repair config`: one copy that was not as it should be.
    #[serde(rename = "copy")]
    RepairedCopy(RepairedCopy),
    /// `repair config`: the end.
    #[serde(rename = "summary")]
    RepairConfigSummary(RepairConfigSummary),
    /// `repair index`: the end.
    #[serde(rename = "summary")]
    RepairIndexSummary(RepairIndexSummary),
    /// `repair packs`: one pack.
    #[serde(rename = "pack")]
    RepairedPack(RepairedPack),
    /// `repair packs`: the end.
    #[serde(rename = "summary")]
    RepairPacksSummary(RepairPacksSummary),
    /// `repair snapshots`: one lost snapshot.
    #[serde(rename = "returned")]
    ReturnedSnapshot(ReturnedSnapshot),
    /// `repair snapshots`: one snapshot with damage.
    #[serde(rename = "rewritten")]
    RewrittenSnapshot(RewrittenSnapshot),
    /// `repair snapshots`: the end.
    #[serde(rename = "summary")]
    RepairSnapshotsSummary(RepairSnapshotsSummary),
    /// One item failed. On standard error.
    #[serde(rename = "error")]
    Error(ItemError),
    /// Something should be known. On standard error.
    #[serde(rename = "warning")]
    Warning(Warning),
    /// `ls`: the snapshot, before its nodes.
    #[serde(rename = "snapshot")]
    Snapshot(Box<SnapshotObject>),
    /// `ls`: a file, folder or other node.
    #[serde(rename = "node")]
    Node(NodeMessage),
    /// `diff`: one path that differs.
    #[serde(rename = "change")]
    Change(DiffChange),
    /// `diff`: the end.
    #[serde(rename = "statistics")]
    Statistics(DiffStatistics),
    /// `je verify`.
    #[serde(rename = "je_verified")]
    JeVerified(Box<JeVerified>),
    /// `je info`.
    #[serde(rename = "je_info")]
    JeInfo(Box<JeEnvironment>),
    /// `je log`: a commit.
    #[serde(rename = "je_commit")]
    JeCommit(JeCommit),
    /// `restore --je-until`, `--je-lsn`: where the log is cut.
    #[serde(rename = "je_cut")]
    JeCut(JeCut),
    /// `je failover`: one pass.
    #[serde(rename = "je_pass")]
    JePass(JePass),
    /// `backup --je-files-from`: a file has been read.
    #[serde(rename = "je_stored")]
    JeStored(JeStored),
    /// `backup --je-files-from`: all files have been read.
    #[serde(rename = "je_all_stored")]
    JeAllStored(JeAllStored),
    /// `init`: done.
    #[serde(rename = "initialized")]
    Initialized(Initialized),
    /// `key new-file`: done.
    #[serde(rename = "key_file_created")]
    KeyFileCreated(KeyFileCreated),
    /// A key slot was added.
    #[serde(rename = "key_added")]
    KeyAdded(KeyAdded),
    /// A key slot was removed.
    #[serde(rename = "key_removed")]
    KeyRemoved(KeyRemoved),
    /// `h2`: one database.
    #[serde(rename = "h2_database")]
    H2Report(H2Report),
    /// `version`.
    #[serde(rename = "version")]
    Version(Version),
}

/// How far a long command is in time: what every status begins with.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Pace {
    /// Since the start.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) seconds_elapsed: u64,
    /// Estimated. Of a restore, not restic's.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) seconds_remaining: u64,
    /// From 0 to 1.
    pub(crate) percent_done: f64,
}

/// Leaves zeros out, as Go's `omitempty` does.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests;
