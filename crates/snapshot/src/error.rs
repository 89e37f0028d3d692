//! What can go wrong above the store, one variant a situation.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use treering_store::StoreError;

use crate::record::SnapshotName;

/// The result of this crate's operations.
pub type Result<T, E = SnapshotError> = std::result::Result<T, E>;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A system call on the user's files failed.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A stored structure is not what it must be.
    #[error("{what} is damaged: {detail}")]
    Damaged {
        /// Which one.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// No snapshot fits.
    #[error("no snapshot {selector}")]
    NoSnapshot {
        /// What was asked for.
        selector: String,
    },
    /// Snapshots cannot be read, and one of them may be the one that is meant.
    #[error("{} cannot be read, and may be what `{selector}` means", .snapshots.join(", "))]
    Unreadable {
        /// What was asked for.
        selector: String,
        /// Those that cannot be read.
        snapshots: Vec<String>,
    },
    /// Records cannot be read, each of which may keep a forgotten snapshot. Nothing was deleted.
    #[error("{} cannot be read, and may keep forgotten snapshots", .records.join(", "))]
    RecordsUnreadable {
        /// Which.
        records: Vec<String>,
    },
    /// Packs or records are there and could not be got at, so nobody knows whether they are whole, and nothing is done that
    /// takes for lost what is in them.
    #[error("{}", out_of_reach(.objects))]
    OutOfReach {
        /// What happened, for each of them.
        objects: Vec<String>,
    },
    /// More than one snapshot fits.
    #[error("{prefix} is the beginning of {} snapshots: {}", .matches.len(), .matches.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// What fits.
        matches: Vec<String>,
    },
    /// A path is not in a snapshot.
    #[error("{} is not in snapshot {snapshot}", .path.display())]
    NoPath {
        /// The path.
        path: PathBuf,
        /// The snapshot.
        snapshot: String,
    },
    /// Something is not of the kind that is needed.
    #[error("{} is not a {needed}", .path.display())]
    WrongKind {
        /// The path.
        path: PathBuf,
        /// `folder` or `file`.
        needed: &'static str,
    },
    /// Nothing of what was to be backed up is there.
    #[error("none of the paths to back up can be read")]
    NothingToBackUp,
    /// A pattern cannot be understood.
    #[error("the pattern {pattern} cannot be understood: {detail}")]
    BadPattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A count or duration of a retention policy cannot be understood.
    #[error("`{text}` cannot be understood: {detail}")]
    BadRule {
        /// What was given.
        text: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A retention policy has no rule that could keep anything. Nothing was decided.
    #[error("the policy keeps nothing")]
    EmptyPolicy,
    /// A retention policy would keep nothing of a group. Nothing was decided.
    #[error("the policy keeps no snapshot of {group}")]
    KeepsNothing {
        /// What its snapshots have in common.
        group: String,
    },
    /// Snapshots that are to be dropped are the last good ones of applications. None was dropped.
    #[error("{}", .snapshots.join("; "))]
    LastGood {
        /// Which, and of what.
        snapshots: Vec<String>,
    },
    /// A limit of the format was hit.
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A snapshot holds more than its own record says, as no backup writes it. Nothing more of it was read.
    #[error("the snapshot has more {what} than the {said} that its own record says: nobody backed that up")]
    MoreThanSaid {
        /// `entries` or `bytes`.
        what: &'static str,
        /// What it says.
        said: u64,
    },
    /// The command whose output was to be stored failed; nothing was stored.
    #[error("the stream to be stored failed: {detail}")]
    StreamFailed {
        /// How.
        detail: String,
    },
    /// An application's files could not be taken.
    #[error("its {kind} capture failed: {detail}")]
    Capture {
        /// The application.
        kind: &'static str,
        /// What it said.
        detail: String,
    },
    /// An application was not captured consistently, and that was required. Nothing was committed.
    #[error("not captured consistently: {}", .applications.join("; "))]
    AppNotConsistent {
        /// Which, and why.
        applications: Vec<String>,
    },
    /// Something else stands where an entry is to be restored.
    #[error("cannot restore {}: a {found} is in its place", .path.display())]
    Blocked {
        /// Where.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// An application is not brought back; nothing was changed.
    #[error("cannot bring the {kind} application {} back: {detail}", .path.display())]
    NotBroughtBack {
        /// Its kind.
        kind: String,
        /// Where it was to come to.
        path: PathBuf,
        /// Why not.
        detail: String,
    },
    /// Somebody has an application open whose files a restore would touch; nothing was changed.
    #[error("cannot restore over the {kind} application in {}: {detail}", .path.display())]
    InUse {
        /// Its kind.
        kind: String,
        /// Where it is.
        path: PathBuf,
        /// How that was noticed.
        detail: String,
    },
    /// An application cannot be exchanged as a whole, because of what is mounted there; nothing was changed.
    #[error("cannot bring the {kind} application back: {detail}")]
    Mounted {
        /// Its kind.
        kind: String,
        /// What is mounted where.
        detail: String,
    },
    /// Nothing is deleted on a file system that is mounted beneath the target.
    #[error("{} is on a file system that is mounted beneath the target: nothing on it is deleted", .path.display())]
    MountedBeneath {
        /// Where.
        path: PathBuf,
    },
    /// A restore touches no folder of the repository that it reads, nor a folder that holds one, as a whole.
    #[error("cannot restore to {}: {} belongs to the repository that is restored from", .path.display(), .own.display())]
    OfRepository {
        /// What would be touched.
        path: PathBuf,
        /// The folder of the repository.
        own: PathBuf,
    },
    /// A restored file is not what the snapshot holds.
    #[error("{} is not what the snapshot holds", .path.display())]
    Differs {
        /// The file.
        path: PathBuf,
    },
    /// A hard link cannot be made, because the file it is a name of was not restored.
    #[error("the file {} that it is a link of was not restored", .path.display())]
    LinkLost {
        /// The file.
        path: PathBuf,
    },
    /// A snapshot cannot be followed to all that it needs, so nobody can say what is not needed. Nothing was deleted.
    #[error("snapshot {snapshot} cannot be read to its end: {detail}")]
    NotWhole {
        /// Which one.
        snapshot: SnapshotName,
        /// What is wrong.
        detail: String,
    },
    /// Nothing would remain.
    #[error("no snapshot would remain")]
    NothingWouldRemain,
    /// More than half of what is stored would go, and nobody said that this is meant.
    #[error("{freed_bytes} of {stored_bytes} bytes would be freed: more than half of what is stored")]
    TooMuch {
        /// What would go.
        freed_bytes: u64,
        /// Of what.
        stored_bytes: u64,
    },
    /// A forgotten snapshot cannot be brought back: what it needs is gone or cannot be read.
    #[error("snapshot {snapshot} cannot be brought back: {detail}")]
    CannotBringBack {
        /// Which one.
        snapshot: SnapshotName,
        /// What is gone.
        detail: String,
    },
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A worker thread died.
    #[error("a worker thread ended unexpectedly")]
    WorkerLost,
}

/// The first, and how many more there are.
fn out_of_reach(objects: &[String]) -> String {
    let first = objects.first().map_or("", String::as_str);
    match objects.len() {
        0 | 1 => first.to_owned(),
        2 => format!("{first}; and one more file of the repository"),
        all => format!("{first}; and {} more files of the repository", all - 1),
    }
}

/// An error and its causes, in one line.
pub fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl SnapshotError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn damaged(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), detail: detail.into() }
    }
}
