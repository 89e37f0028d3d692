//! What restoring a snapshot gives, one JSON object for each entry: taken from a folder by the program that writes
//! goldens, and from a repository by the test that reads them. The two ways share nothing but this form.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Entries by their path relative to the folder that was backed up; bytes outside printable ASCII are escaped.
pub(crate) type Manifest = BTreeMap<String, Value>;

/// What is the same for every kind of entry.
pub(crate) struct Common {
    /// `dir`, `file`, `symlink`, `fifo`.
    pub(crate) kind: &'static str,
    /// The low twelve bits of the mode.
    pub(crate) mode: u32,
    /// User and group.
    pub(crate) owner: (u32, u32),
    /// Seconds and nanoseconds since 1970.
    pub(crate) modified: (i64, u32),
    /// Names and values.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Common {
    /// The entry, without what belongs to its kind.
    pub(crate) fn to_json(&self) -> Value {
        let xattrs: serde_json::Map<_, _> =
            self.xattrs.iter().map(|(name, value)| (escape(name), escape(value).into())).collect();
        let Self { kind, mode, owner: (uid, gid), modified: (seconds, nanoseconds), .. } = self;
        let modified = format!("{seconds}.{nanoseconds:09}");
        let mut entry = json!({"kind": kind, "mode": format!("{mode:04o}"), "owner": [uid, gid], "modified": modified});
        if !xattrs.is_empty() {
            entry["xattrs"] = xattrs.into();
        }
        entry
    }
}

/// Bytes as readable ASCII.
pub(crate) fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// One line for each entry.
pub(crate) fn to_text(manifest: &Manifest) -> String {
    manifest.iter().map(|(path, entry)| format!("{}\n", json!([path, entry]))).collect()
}
