//! Snapshot records: what was backed up, when, from where, and how sure that is.
//!
//! Invariant: a snapshot's existence is the commit; nothing in it changes afterwards.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use treering_store::storage::Area;
use treering_store::{
    Extensions, RECORD_BODY_MOST_BYTES, Record, RecordKind, RecordName, Repository, StoreError, codec,
};

use crate::error::{Result, SnapshotError};
use crate::node::{Node, Time};
use crate::stream::Stream;

/// The extension that names the snapshot that a repair has made this one from.
pub const REPAIRED_FROM_TAG: u16 = 1;

/// The extension of an [`AppEntry`] that holds the state of its capture, for the next one.
pub(crate) const STATE_TAG: u16 = 1;

/// The name of a snapshot: of its record.
pub type SnapshotName = RecordName;

/// What a snapshot says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The moment that it stands for: its start, unless the user said otherwise.
    pub time: Time,
    /// The time zone of the writer, in seconds east of Greenwich.
    pub offset_seconds: i32,
    /// The folder that holds everything: for each absolute path its components from the root down. Its own name is
    /// `root` and means nothing.
    pub root: Node,
    /// What was asked for: absolute paths, sorted.
    pub paths: Vec<Vec<u8>>,
    /// The machine's name, or what the user said.
    pub host: String,
    /// Who ran it.
    pub user: String,
    /// Their number.
    pub uid: u32,
    /// Their group's number.
    pub gid: u32,
    /// The user's words, sorted, each once.
    pub tags: Vec<String>,
    /// What was left out, as it was typed.
    pub excludes: Vec<String>,
    /// The snapshot that it was compared with.
    pub parent: Option<[u8; 32]>,
    /// Snapshots that its writer saw and nobody had yet seen: the writer's view of the history.
    pub heads: Vec<[u8; 32]>,
    /// What only change detection needs; may be dropped, then files are read again.
    pub stat: Option<Stream>,
    /// Which applications were captured, and how sure that is.
    pub applications: Vec<AppEntry>,
    /// Which applications are not in it, though they are among what was backed up.
    pub not_captured: Vec<NotCaptured>,
    /// Names of the owners' numbers on the machine that it was made on, sorted: users, then groups.
    pub owners: Owners,
    /// What the backup did.
    pub statistics: Statistics,
    /// The program that wrote it.
    pub program: String,
    /// What later versions add, sorted by tag.
    pub extensions: Extensions,
}

/// Names for numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Owners {
    /// By number.
    pub users: Vec<(u32, String)>,
    /// By number.
    pub groups: Vec<(u32, String)>,
}

/// An application in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppEntry {
    /// Which application.
    pub kind: String,
    /// Its main file or folder: an absolute path.
    pub path: Vec<u8>,
    /// Which part of it was asked for, in the application's own word; `None` is all of it. Snapshots of different parts
    /// do not stand in for each other.
    pub scope: Option<String>,
    /// `consistent`, `crash-consistent`, `unknown` or `torn`; other words are treated as `unknown`.
    pub verdict: String,
    /// Its version or its format's, as far as it is known.
    pub version: Option<String>,
    /// The moment or position that the copy stands for.
    pub consistency_point: Option<String>,
    /// Why this verdict.
    pub detail: String,
    /// Bytes that were captured.
    pub bytes: u64,
    /// What later versions add, sorted by tag.
    pub extensions: Extensions,
}

impl AppEntry {
    /// Its main file or folder.
    pub fn place(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }
}

/// An application of which a snapshot has no file, because it could not be captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCaptured {
    /// Which application.
    pub kind: String,
    /// Its main file or folder: an absolute path.
    pub path: Vec<u8>,
    /// Why.
    pub detail: String,
}

impl NotCaptured {
    /// Its main file or folder.
    pub fn place(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }
}

/// What a backup did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Statistics {
    /// Regular files that the parent did not have.
    pub files_new: u64,
    /// Regular files whose content or metadata changed.
    pub files_changed: u64,
    /// Regular files that were taken over from the parent.
    pub files_unmodified: u64,
    /// Folders that the parent did not have.
    pub dirs_new: u64,
    /// Folders whose metadata or entries changed.
    pub dirs_changed: u64,
    /// Folders that are the same.
    pub dirs_unmodified: u64,
    /// Entries that could not be read and are not in the snapshot.
    pub errors: u64,
    /// Bytes of all files in it.
    pub total_bytes: u64,
    /// All entries that are no folders.
    pub total_files: u64,
    /// Chunks that were new.
    pub chunks_new: u64,
    /// Their bytes.
    pub added_bytes: u64,
    /// What they take in the repository.
    pub stored_bytes: u64,
    /// When it started, in milliseconds since 1970, whatever moment it stands for.
    pub started_ms: i64,
    /// When it ended.
    pub ended_ms: i64,
}

impl Statistics {
    /// All entries, folders among them, without the root.
    pub(crate) fn entries(&self) -> u64 {
        [self.total_files, self.dirs_new, self.dirs_changed, self.dirs_unmodified]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

impl Snapshot {
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        Ok(codec::encode(self, RECORD_BODY_MOST_BYTES)?)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let snapshot: Self = codec::decode(bytes, RECORD_BODY_MOST_BYTES, "a snapshot")?;
        snapshot.root.check()?;
        snapshot.stat.as_ref().map_or(Ok(()), Stream::check)?;
        if !snapshot.is_in_order() {
            return Err(SnapshotError::damaged("a snapshot", "its lists are not in order"));
        }
        if snapshot.root.tree().is_none() {
            return Err(SnapshotError::damaged("a snapshot", "its root is not a folder"));
        }
        Ok(snapshot)
    }

    fn is_in_order(&self) -> bool {
        let extensions = self.applications.iter().map(|app| &app.extensions).chain([&self.extensions]);
        self.time.nanoseconds < 1_000_000_000
            && extensions.into_iter().all(|list| list.is_sorted_by(|a, b| a.0 < b.0))
            && self.paths.is_sorted_by(|a, b| a < b)
            && self.tags.is_sorted_by(|a, b| a < b)
            && [&self.owners.users, &self.owners.groups].iter().all(|list| list.is_sorted_by(|a, b| a.0 < b.0))
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// If there is none of that name, or it is damaged.
    pub fn read(repository: &Repository, name: SnapshotName) -> Result<Self> {
        Self::from_record(name, &repository.read_record(Area::Snapshots, name)?)
    }

    /// Opens the bytes of its record, wherever they were kept.
    pub(crate) fn open(repository: &Repository, name: SnapshotName, bytes: &[u8]) -> Result<Self> {
        if SnapshotName::of(bytes) != name {
            return Err(SnapshotError::damaged(format!("snapshot {name}"), "its bytes do not fit its name"));
        }
        Self::from_record(name, &repository.open_record(bytes)?)
    }

    fn from_record(name: SnapshotName, record: &Record) -> Result<Self> {
        if record.kind != RecordKind::SNAPSHOT {
            return Err(SnapshotError::damaged(format!("snapshot {name}"), "it is another kind of record"));
        }
        Self::decode(&record.body)
    }

    /// What puts snapshots in order, the newest last. Of the same moment, one that a repair has made is older than what it
    /// was made from, which holds more.
    pub(crate) fn age(&self, name: SnapshotName) -> (Time, bool, SnapshotName) {
        let is_repaired = self.extensions.iter().any(|(tag, _)| *tag == REPAIRED_FROM_TAG);
        (self.time, !is_repaired, name)
    }

    /// Reads all, oldest first, and names those that cannot be read.
    ///
    /// # Errors
    ///
    /// If they cannot be listed.
    pub fn read_all(repository: &Repository) -> Result<AllSnapshots> {
        let mut all = AllSnapshots::default();
        for name in repository.list_records(Area::Snapshots)? {
            match Self::read(repository, name) {
                Ok(snapshot) => all.snapshots.push((name, snapshot)),
                // Forgotten since it was listed.
                Err(SnapshotError::Store(StoreError::Missing { .. })) => {}
                Err(e) => all.damaged.push((name, e)),
            }
        }
        all.snapshots.sort_by_key(|(name, snapshot)| snapshot.age(*name));
        Ok(all)
    }
}

/// All snapshots of a repository.
#[derive(Debug, Default)]
pub struct AllSnapshots {
    /// Those that can be read, oldest first.
    pub snapshots: Vec<(SnapshotName, Snapshot)>,
    /// Those that cannot, and why.
    pub damaged: Vec<(SnapshotName, SnapshotError)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::testing::Home;

    /// In what was backed up, there may be a database for each user of a large machine.
    #[test]
    fn a_hundred_thousand_databases_have_room_in_a_record() {
        let home = Home::new();
        let entry = |number: usize| AppEntry {
            kind: "sqlite".into(),
            path: format!("/home/user-{}/.config/program/storage/{number}.sqlite", number / 50).into_bytes(),
            scope: None,
            verdict: "consistent".into(),
            version: Some("3.46.1".into()),
            consistency_point: Some(format!("change {number}")),
            detail: "copied by the online backup and verified".into(),
            bytes: 8192 + number as u64,
            extensions: Vec::new(),
        };
        let (name, written) =
            home.commit_with(vec![], |snapshot, _| snapshot.applications = (0..100_000).map(entry).collect());
        assert_eq!(Snapshot::read(&home.repository, name).unwrap(), written);
        let record = home.folder.path().join("rings/snapshots").join(name.to_string());
        assert!(std::fs::metadata(record).unwrap().len() < 2 << 20);
        home.repository.forget_snapshot(name).unwrap();
        let [forgotten] = &crate::undelete::list(&home.repository).unwrap()[..] else { panic!() };
        crate::undelete::undelete(&home.repository, forgotten, &Silent).unwrap();
        assert_eq!(Snapshot::read(&home.repository, name).unwrap(), written);
    }
}
