//! What is said about moments of a Berkeley DB Java Edition environment.

use serde::Serialize;

/// A committed transaction.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct JeCommit {
    /// Its place in the log.
    pub(crate) lsn: String,
    /// When it was made.
    pub(crate) time: String,
    /// Its number.
    pub(crate) transaction: i64,
}

/// Where the log of a restored environment is cut.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct JeCut {
    /// The environment, in the snapshot.
    pub(crate) path: String,
    /// Where its log ends.
    pub(crate) at: String,
    /// The last commit that is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_commit: Option<JeCommit>,
    /// The first commit that is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_commit: Option<JeCommit>,
    /// The snapshots that it comes from.
    pub(crate) snapshots: Vec<String>,
}

/// The number of the last file in the newest snapshot.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct JeLastFile {
    /// It.
    pub(crate) last_file: u32,
}

/// A file that was handed over has been read.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct JeStored {
    /// Its name.
    pub(crate) file: String,
}

/// All files that were handed over have been read.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct JeAllStored {
    /// The number of the last one.
    pub(crate) last_file: u32,
}

/// One pass of `je failover`.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct JePass {
    /// The standby.
    pub(crate) standby: String,
    /// Files that were copied.
    pub(crate) files_copied: u64,
    /// Their bytes.
    pub(crate) bytes_copied: u64,
    /// Files that were the same.
    pub(crate) files_kept: u64,
    /// Files that the standby had and has no more.
    pub(crate) files_removed: u64,
    /// The last commit that the standby has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_commit: Option<JeCommit>,
    /// How many commits the home has made since; nobody knows where it follows snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commits_behind: Option<u64>,
    /// The time between the last commits of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds_behind: Option<f64>,
}

/// Moments without a gap that can be brought back.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct JeRange {
    /// The environment.
    pub(crate) path: String,
    /// Its host.
    pub(crate) hostname: String,
    /// The first place in the log.
    pub(crate) from: String,
    /// The last place in the log.
    pub(crate) to: String,
    /// The commit whose state the first place has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_commit: Option<JeCommit>,
    /// The commit whose state the last place has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_commit: Option<JeCommit>,
    /// How many commits there are behind the first place.
    pub(crate) commits: u64,
    /// The first snapshot that it comes from.
    pub(crate) first_snapshot: String,
    /// The last snapshot that it comes from.
    pub(crate) last_snapshot: String,
}
