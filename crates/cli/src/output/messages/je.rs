//! What is said about Berkeley DB Java Edition environments and their logs.

use serde::Serialize;

use super::{JeCommit, is_zero};

/// What an environment's log holds.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct JeEnvironment {
    /// Its folder, or its path in the snapshot.
    pub(crate) path: String,
    /// The versions of its files.
    pub(crate) log_versions: Vec<u32>,
    /// How many files there are.
    pub(crate) files: u64,
    /// The number of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_file: Option<u32>,
    /// The number of the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_file: Option<u32>,
    /// How many data folders they lie in.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) data_folders: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Whole entries that JE reads.
    pub(crate) entries: u64,
    /// Commits among them.
    pub(crate) commits: u64,
    /// Where the end of the last complete checkpoint is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_checkpoint: Option<String>,
    /// Where the last entry is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_entry: Option<String>,
    /// The first commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_commit: Option<JeCommit>,
    /// The last commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_commit: Option<JeCommit>,
    /// The first commit at which these files alone may be cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) restorable_from: Option<JeCommit>,
    /// How many such commits there are.
    pub(crate) restorable_commits: u64,
    /// Whether it was closed properly.
    pub(crate) closed: bool,
    /// What JE's recovery reads.
    pub(crate) recovery_bytes: u64,
    /// Entries that were erased in place.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) erased: u64,
    /// Entries that were made invisible in place.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) invisible: u64,
    /// How many errors were found.
    pub(crate) num_errors: u64,
}

/// What `je verify` says.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct JeVerified {
    /// How many of the findings are errors.
    pub(crate) num_errors: u64,
    /// What was found.
    pub(crate) findings: Vec<JeFinding>,
    /// What the log holds.
    pub(crate) environment: JeEnvironment,
}

/// Something that was found.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct JeFinding {
    /// `note`, `unknown` or `error`.
    pub(crate) severity: &'static str,
    /// The file, relative to the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// What it is.
    pub(crate) message: String,
    /// What lies behind the damage, which JE would not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at_stake: Option<JeStake>,
}

/// What lies behind damage.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct JeStake {
    /// Whole entries.
    pub(crate) entries: u64,
    /// Commits among them.
    pub(crate) commits: u64,
    /// The first of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_commit: Option<JeCommit>,
    /// The last of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_commit: Option<JeCommit>,
}
