//! What `h2` says. Not restic's.

use serde::Serialize;

/// `h2 verify` and `h2 info`: one database.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct H2Report {
    /// The file, or its path in the snapshot.
    pub(crate) path: String,
    /// The same, percent-encoded, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_raw: Option<String>,
    /// The snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot_id: Option<String>,
    /// 1, 2 or 3.
    pub(crate) format: u8,
    /// The releases of H2 that write it.
    pub(crate) releases: &'static str,
    /// Whether it was closed.
    pub(crate) is_clean: bool,
    /// The version that H2 would open …
    pub(crate) version: u64,
    /// … and the newest one that the file claims to hold.
    pub(crate) claimed_version: u64,
    /// The moment of the data.
    pub(crate) time: String,
    /// When the store was made.
    pub(crate) created: String,
    /// Whether no transaction was open.
    pub(crate) is_quiet: bool,
    /// The length of the file.
    pub(crate) file_bytes: u64,
    /// Of the chunks that the version lists.
    pub(crate) listed_bytes: u64,
    /// Of the pages that a map uses.
    pub(crate) live_bytes: u64,
    /// How many chunks the version lists.
    pub(crate) chunks: u64,
    /// The maps that have entries.
    pub(crate) maps: Vec<H2Map>,
    /// What is wrong.
    pub(crate) findings: Vec<H2Finding>,
    /// How many more findings there were.
    #[serde(skip_serializing_if = "super::is_zero")]
    pub(crate) more_findings: u64,
}

/// A map of a database.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct H2Map {
    /// Its number.
    pub(crate) id: u32,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Its entries.
    pub(crate) entries: u64,
    /// Its pages.
    pub(crate) pages: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct H2Finding {
    /// Where.
    pub(crate) place: String,
    /// What.
    pub(crate) detail: String,
}
