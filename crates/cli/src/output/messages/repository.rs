//! What the commands about the repository as a whole say.

use serde::Serialize;

use super::is_zero;

/// `init` is done.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Initialized {
    /// The id of the repository.
    pub(crate) id: String,
    /// Where it is.
    pub(crate) repository: String,
    /// `aes256gcm` or `none`. Not restic's.
    pub(crate) encryption: &'static str,
    /// With a key file alone: what opens the repository if the file is lost. Not restic's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recovery_key: Option<String>,
}

/// `key new-file` is done. Not restic's.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct KeyFileCreated {
    /// Where the key file is.
    pub(crate) path: String,
}

/// `key add`, `key passwd` and `key export`: a key slot is there. Not restic's.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct KeyAdded {
    /// The id of the slot.
    pub(crate) id: String,
    /// With `key export` to standard output: what opens the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recovery_key: Option<String>,
}

/// `key remove` and `key passwd`: a key slot is gone. Not restic's.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct KeyRemoved {
    /// The id of the slot.
    pub(crate) id: String,
}

/// `stats`: one document.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Stats {
    /// The bytes that the mode counts; as stored for `raw-data`.
    pub(crate) total_size: u64,
    /// `raw-data`: before compression.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) total_uncompressed_size: u64,
    /// `raw-data`: the one divided by the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compression_ratio: Option<f64>,
    /// `raw-data`: what compression saves, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compression_space_saving: Option<f64>,
    /// Files, folders and other entries.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) total_file_count: u64,
    /// `raw-data`: chunks.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) total_blob_count: u64,
    /// Snapshots that were counted.
    pub(crate) snapshots_count: u64,
}

/// A key slot: an entry of the list that `key list` prints.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct KeyInfo {
    /// Whether it opened the repository now.
    pub(crate) current: bool,
    /// Its id.
    pub(crate) id: String,
    /// Who added it.
    #[serde(rename = "userName")]
    pub(crate) user_name: String,
    /// Where.
    #[serde(rename = "hostName")]
    pub(crate) host_name: String,
    /// When.
    pub(crate) created: String,
    /// `passphrase` or `key-file`. Not restic's.
    pub(crate) kind: &'static str,
}

/// `version`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Version {
    /// Of the program.
    pub(crate) version: &'static str,
    /// The operating system that it was built for.
    pub(crate) os: &'static str,
    /// The processor that it was built for.
    pub(crate) arch: &'static str,
}
