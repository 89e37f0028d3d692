//! What `ls`, `diff` and `find` say.

use serde::Serialize;

/// A node: a line of `ls`.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct NodeMessage {
    /// The last component of the path.
    pub(crate) name: String,
    /// `file`, `dir`, `symlink`, `dev`, `chardev`, `fifo` or `socket`.
    #[serde(rename = "type")]
    pub(crate) node_type: &'static str,
    /// The path in the snapshot.
    pub(crate) path: String,
    /// The exact path if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_raw: Option<String>,
    /// The owner.
    pub(crate) uid: u32,
    /// The group.
    pub(crate) gid: u32,
    /// The bytes of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// The mode bits, in Go's numbering, as restic prints them.
    pub(crate) mode: u32,
    /// `-rw-r--r--`.
    pub(crate) permissions: String,
    /// The modification time.
    pub(crate) mtime: String,
    /// Where a symlink points. Not restic's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) linktarget: Option<String>,
    /// The exact target if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) linktarget_raw: Option<String>,
    /// How many extents are holes is not shown; this says whether there are any. Not restic's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) sparse: bool,
}

/// A path that differs: a line of `diff`.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct DiffChange {
    /// The path; a folder's ends with `/`.
    pub(crate) path: String,
    /// The exact path if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_raw: Option<String>,
    /// One or more of `+ - M T U ?`; see `diff --help`.
    pub(crate) modifier: String,
}

/// The end of `diff`.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct DiffStatistics {
    /// The full id of the older one.
    pub(crate) source_snapshot: String,
    /// The full id of the newer one.
    pub(crate) target_snapshot: String,
    /// Files whose content changed.
    pub(crate) changed_files: u64,
    /// Only in the newer one.
    pub(crate) added: DiffStat,
    /// Only in the older one.
    pub(crate) removed: DiffStat,
}

/// What is only on one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct DiffStat {
    /// Files.
    pub(crate) files: u64,
    /// Folders.
    pub(crate) dirs: u64,
    /// Everything else.
    pub(crate) others: u64,
    /// The bytes of these files, and of what changed files have and their other side has not.
    pub(crate) bytes: u64,
}

/// What `find` found in one snapshot; `find --json` prints a list of them.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct FindResult {
    /// What was found.
    pub(crate) matches: Vec<FindMatch>,
    /// How many.
    pub(crate) hits: u64,
    /// The full id of the snapshot.
    pub(crate) snapshot: String,
}

/// One node that was found.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct FindMatch {
    /// The path in the snapshot.
    pub(crate) path: String,
    /// The exact path if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_raw: Option<String>,
    /// `-rw-r--r--`.
    pub(crate) permissions: String,
    /// As in `ls`.
    #[serde(rename = "type")]
    pub(crate) node_type: &'static str,
    /// The mode bits, in Go's numbering, as restic prints them.
    pub(crate) mode: u32,
    /// The modification time.
    pub(crate) mtime: String,
    /// The owner.
    pub(crate) uid: u32,
    /// The group.
    pub(crate) gid: u32,
    /// The bytes of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
}
