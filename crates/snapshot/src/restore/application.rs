//! The seam for applications on the way back: how files that only make sense together are exchanged together.
//!
//! What a snapshot says of an application (see [`crate::record::AppEntry`]) decides what is a unit: the ordinary restore
//! leaves it out, and it is restored into a *stage*, a folder of its own beside the target, on the same file system. Only
//! when the application's [`Restorer`] has found the stage sound it takes the target's place.
//!
//! Owns what an application must say and do, and what is told of it. Never decides whether files are sound.
//!
//! Invariant: nothing that a [`Restorer`] refuses takes the place of anything.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::SnapshotError;
use crate::lock::{Lock, try_lock};
use crate::record::{AppEntry, Snapshot};

/// What is kept while the application's locks are held: dropping it releases them.
pub type Hold = Box<dyn Send + Sync>;

/// One kind of application, as it comes back.
pub trait Restorer: Sync {
    /// The kind in snapshots that this is for, see [`crate::capture::Application::kind`].
    fn kind(&self) -> &'static str;

    /// What of the snapshot belongs to an instance. `None`: it is restored like any other files.
    fn unit(&self, entry: &AppEntry) -> Option<Unit>;

    /// Where its files come from, in the order in which they are put into the stage.
    fn layers<'s>(&'s self, entry: &AppEntry, snapshot: &'s Snapshot) -> Vec<Layer<'s>> {
        let _ = entry;
        vec![Layer { snapshot, takes: None }]
    }

    /// Takes the locks by which the application itself would notice that somebody has the instance open. Called for a
    /// target that exists, and for the stage before it takes the target's place.
    ///
    /// # Errors
    ///
    /// [`Refusal::InUse`] if somebody has it open.
    fn hold(&self, place: &Place<'_>) -> Result<Hold, Refusal>;

    /// Refuses to have these entries of a folder of the target written over, made or deleted if they belong to an instance
    /// that somebody has open, whether or not the snapshot knows of it. Changes nothing, and makes no lock file.
    ///
    /// # Errors
    ///
    /// [`Refusal::InUse`] if somebody has it open.
    fn refuse_open(&self, folder: &Place<'_>, names: &[OsString]) -> Result<(), Refusal> {
        let _knows_none = (folder, names);
        Ok(())
    }

    /// Changes what is staged: cuts it at a moment, for instance, or adds something of the old content of the target, if
    /// there is any. Makes durable what it changes.
    ///
    /// # Errors
    ///
    /// Whatever keeps the stage from becoming what was asked for; then it is not exchanged.
    fn adapt(&self, staged: &Place<'_>, target: Option<&Place<'_>>) -> Result<(), Refusal> {
        let _nothing_to_change = (staged, target);
        Ok(())
    }

    /// Says, by reading what is staged, what it is and that it is sound.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unsound`] if it is not; then it is not exchanged.
    fn verify(&self, staged: &Place<'_>) -> Result<Proof, Refusal>;
}

/// What belongs to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unit {
    /// The folder that the entry names, with all that the snapshot has in it. It is exchanged at once.
    Folder,
    /// The file that the entry names, and these files beside it: names, without a folder. They are exchanged one by one
    /// in this order, the file of the entry last.
    File {
        /// Those beside it; they need not be in the snapshot.
        beside: Vec<OsString>,
    },
    /// The file that the entry names. The application takes files of these names beside it for a part of it. Where the
    /// target has one of them, they are exchanged as with `File`, and those that the snapshot does not have are moved
    /// aside with the old content. Elsewhere the file is one like any other.
    WithCompanions {
        /// Those beside it, without a folder, in the order of their exchange.
        names: Vec<OsString>,
        /// Whether the snapshot may have one of them too: then all are exchanged, whatever the target has.
        may_be_stored: bool,
    },
}

impl Unit {
    /// The names of files beside the main one.
    pub(super) fn beside(&self) -> &[OsString] {
        match self {
            Self::Folder => &[],
            Self::File { beside: names } | Self::WithCompanions { names, .. } => names,
        }
    }
}

/// A part of where a stage comes from.
pub struct Layer<'a> {
    /// The snapshot; the instance has the same path in it.
    pub snapshot: &'a Snapshot,
    /// Whether a path, relative to the instance's folder, is taken; folders are always. `None` takes all.
    pub takes: Option<Takes<'a>>,
}

/// Says of a path relative to an instance's folder whether it is taken.
pub type Takes<'a> = Box<dyn Fn(&Path) -> bool + Sync + 'a>;

/// A folder or a main file, of a target or a stage.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// For opening, also what is beside it or in it; means nothing outside of this process.
    pub path: &'a Path,
    /// For people.
    pub shown: &'a Path,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proof {
    /// The moment or position that it stands for, in the application's own terms.
    pub point: Option<String>,
    /// What was verified: one sentence.
    pub detail: String,
    /// What the user should know or do, each a sentence.
    pub notes: Vec<String>,
}

/// Why an instance is not brought back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Somebody has it open, or its locks cannot be had.
    #[error("somebody has it open: {detail}")]
    InUse {
        /// How that was noticed.
        detail: String,
    },
    /// It is not what it must be.
    #[error("{detail}")]
    Unsound {
        /// What is wrong.
        detail: String,
    },
    /// Something is mounted there that keeps it from being exchanged.
    #[error("{detail}")]
    Mounted {
        /// What, and what would come of it.
        detail: String,
    },
    /// A system call failed.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Refusal {
    /// For `map_err` after a system call.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// What a restore that has changed nothing says of it.
    pub(super) fn of(&self, kind: &str, path: &Path) -> SnapshotError {
        let (kind, path, detail) = (kind.to_owned(), path.to_owned(), self.to_string());
        match self {
            Self::InUse { .. } => SnapshotError::InUse { kind, path, detail },
            Self::Mounted { .. } => SnapshotError::Mounted { kind, detail },
            _ => SnapshotError::NotBroughtBack { kind, path, detail },
        }
    }
}

/// Holds the first bytes of a file alone, 0 for all of it, where the application would lock something of them.
///
/// # Errors
///
/// [`Refusal::InUse`] if somebody else has locked something of them.
pub fn hold_alone(file: File, bytes: i64, shown: &Path) -> Result<Hold, Refusal> {
    hold_bytes(file, Lock::Alone, (0, bytes), shown)
}

/// The same from any byte on, also beside others who only share them.
///
/// # Errors
///
/// As of [`hold_alone`].
pub fn hold_bytes(file: File, lock: Lock, (start, bytes): (i64, i64), shown: &Path) -> Result<Hold, Refusal> {
    match try_lock(&file, lock, start, bytes).map_err(Refusal::io("lock", shown))? {
        true => Ok(Box::new(file)),
        false => Err(Refusal::InUse { detail: format!("another process has locked {}", shown.display()) }),
    }
}

/// An instance that was to be brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroughtBack {
    /// Its kind.
    pub kind: String,
    /// Its path in the snapshot.
    pub path: PathBuf,
    /// Where it was to come to.
    pub target: PathBuf,
    /// What became of it.
    pub fate: Fate,
    /// Stages, and old content that was moved aside, of earlier restores to the same place: nobody needs them for
    /// anything but a look.
    pub leftovers: Vec<PathBuf>,
}

/// What became of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is in its place, verified and durable.
    InPlace {
        /// What was verified.
        proof: Proof,
        /// Where the old content is now, if there was any and it is kept.
        old: Option<PathBuf>,
    },
    /// The target was not touched.
    Staged {
        /// What was restored is here.
        stage: PathBuf,
        /// Why it was not exchanged.
        why: String,
    },
}
