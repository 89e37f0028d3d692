//! What `check` says.

use serde::Serialize;

use super::{Pace, is_zero};

/// `check`: progress. Not restic's.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct CheckStatus {
    /// How far it is in time.
    #[serde(flatten)]
    pub(crate) pace: Pace,
    /// Packs to check.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) total_packs: u64,
    /// Packs that are done.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) packs_done: u64,
    /// Bytes to check.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) total_bytes: u64,
    /// Bytes that are done.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) bytes_done: u64,
    /// Findings so far.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) error_count: u64,
}

/// `check`: the end.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct CheckSummary {
    /// Findings.
    pub(crate) num_errors: u64,
    /// The ids of damaged packs.
    pub(crate) broken_packs: Vec<String>,
    /// Whether rebuilding the index would help.
    pub(crate) suggest_repair_index: bool,
    /// Whether `prune` would free anything worth it.
    pub(crate) suggest_prune: bool,
    /// How much of the data was verified by this check or earlier ones, by bytes, from 0 to 1; with `--max-age`, within
    /// that age. Not there with `--packs`, which has no key to know it. Not restic's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verified_fraction: Option<f64>,
    /// When the part of it was verified that was verified longest ago. Not restic's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oldest_verified: Option<String>,
    /// Packs that this check has read. Not restic's.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) packs_read: u64,
    /// Their bytes. Not restic's.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) bytes_read: u64,
    /// How many more checks that read as much verify the rest. Not restic's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) more_runs: Option<u64>,
    /// Why what was read could not be written down, if so. Not restic's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ledger_not_written: Option<String>,
    /// Snapshots that are not there and of which a copy of the record is: `repair snapshots` brings back what is whole. Not
    /// restic's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) lost_snapshots: Vec<String>,
    /// Files in the repository's folders that are nothing of it. Not restic's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unknown_files: Vec<String>,
}
