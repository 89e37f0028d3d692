//! What `forget` and `prune` say of the snapshots that they keep and drop.

use serde::Serialize;

use super::SnapshotObject;

/// Snapshots that were judged together: an entry of the list that `forget` prints.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ForgetGroup {
    /// The tags that they have in common; null if they are not grouped by tags.
    pub(crate) tags: Option<Vec<String>>,
    /// The host; empty if they are not grouped by hosts.
    pub(crate) host: String,
    /// The paths; null if they are not grouped by paths.
    pub(crate) paths: Option<Vec<String>>,
    /// The exact paths if one of them is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paths_raw: Option<Vec<String>>,
    /// With the paths: the applications of which only a part was backed up. Not restic's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) scopes: Vec<ScopeObject>,
    /// What stays, newest first. Empty if snapshots were named.
    pub(crate) keep: Vec<SnapshotObject>,
    /// What was dropped, or with `--dry-run` would be: newest first, or in the order in which it was named.
    pub(crate) remove: Vec<SnapshotObject>,
    /// Why, for each that stays.
    pub(crate) reasons: Vec<KeepReason>,
    /// Whether nothing was dropped because of `--dry-run`. Not restic's.
    pub(crate) dry_run: bool,
}

/// A part of an application that was asked for.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ScopeObject {
    /// Where the application is.
    pub(crate) path: String,
    /// The exact path if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_raw: Option<String>,
    /// `essential` or `light`.
    pub(crate) scope: String,
}

/// Why a snapshot stays.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct KeepReason {
    /// Which one.
    pub(crate) snapshot: SnapshotObject,
    /// `daily snapshot`, `within 7d`, `last good snapshot of sqlite /srv/app.db` and so on.
    pub(crate) matches: Vec<String>,
    /// What is left of the counts after it.
    pub(crate) counters: KeepCounters,
}

/// What is left of the counts; -1 is unlimited.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct KeepCounters {
    /// `--keep-last`.
    #[serde(skip_serializing_if = "is_none_left")]
    pub(crate) last: i64,
    /// `--keep-hourly`.
    #[serde(skip_serializing_if = "is_none_left")]
    pub(crate) hourly: i64,
    /// `--keep-daily`.
    #[serde(skip_serializing_if = "is_none_left")]
    pub(crate) daily: i64,
    /// `--keep-weekly`.
    #[serde(skip_serializing_if = "is_none_left")]
    pub(crate) weekly: i64,
    /// `--keep-monthly`.
    #[serde(skip_serializing_if = "is_none_left")]
    pub(crate) monthly: i64,
    /// `--keep-yearly`.
    #[serde(skip_serializing_if = "is_none_left")]
    pub(crate) yearly: i64,
}

/// Leaves zeros out, as restic does.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_none_left(count: &i64) -> bool {
    *count == 0
}
