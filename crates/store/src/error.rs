//! What can go wrong in the store, one variant a situation.
//!
//! `Display` says what happened at this level; the cause is in `source()`. Damage that a check looks for is not an
//! error but a [`crate::Finding`].

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use treering_chunk::ChunkId;

use crate::record::RecordName;
use crate::storage::Area;

/// The result of the store's operations.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A system call on the storage failed.
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
    /// There is no repository here.
    #[error("there is no repository at {place}")]
    NoRepository {
        /// Where it was looked for.
        place: String,
    },
    /// `init` met something.
    #[error("{place} is not empty: {found} is there")]
    NotEmpty {
        /// Where the repository was to be made.
        place: String,
        /// The first thing that is there.
        found: String,
    },
    /// An object is gone that was just listed or referred to.
    #[error("{} is not there", object(*.area, .name))]
    Missing {
        /// The kind of object.
        area: Area,
        /// Its name.
        name: String,
    },
    /// The repository's lock is gone, so nobody can tell who else is at work.
    #[error("the lock {} is missing", .path.display())]
    LockMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Folders of the repository are missing: nobody knows what was in them, so nothing is deleted or built on that.
    #[error("folders of the repository are missing: {}", enumerate(.folders))]
    FoldersMissing {
        /// Their paths in the repository.
        folders: Vec<String>,
    },
    /// An object of that name exists already; names are random, so this is a fault of the storage or an attack.
    #[error("{area} {name} exists already")]
    Exists {
        /// The kind of object.
        area: Area,
        /// Its name.
        name: String,
    },
    /// Bytes that were read are not what they must be.
    #[error("{what} is damaged: {detail}")]
    Damaged {
        /// Which object or part, for a human.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Neither copy of the configuration can be used.
    #[error("neither copy of the repository's configuration can be used: {detail}")]
    ConfigLost {
        /// What is wrong with them.
        detail: String,
    },
    /// The repository was written by a newer program.
    #[error("the repository needs {what}, which this version of treering does not know")]
    Unsupported {
        /// The version or features.
        what: String,
    },
    /// No slot opens with what was given.
    #[error("wrong {what}")]
    WrongKey {
        /// `passphrase` or `key file`.
        what: &'static str,
    },
    /// The repository is encrypted and nothing was given.
    #[error("the repository is encrypted: a passphrase or a key file is needed")]
    KeyNeeded,
    /// A key was given and the repository says that it has none.
    #[error("a {what} was given, but the repository claims to be unencrypted")]
    KeyUnexpected {
        /// `passphrase` or `key file`.
        what: &'static str,
    },
    /// A file was given as a key file that is none.
    #[error("{} is not a treering key file: {detail}", .path.display())]
    BadKeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The last key slot cannot be removed.
    #[error("this is the last key of the repository: without it nothing can be read")]
    LastKey,
    /// A chunk that something refers to is in no pack.
    #[error("chunk {id} is in no pack")]
    ChunkMissing {
        /// Its name.
        id: ChunkId,
    },
    /// Packs that a snapshot under way relies on were deleted meanwhile. Their chunks must be stored again.
    #[error("{} packs that the snapshot relies on were deleted while it was made", .packs.len())]
    PacksGone {
        /// Their names.
        packs: Vec<String>,
    },
    /// The parent that a session wanted to build on was forgotten.
    #[error("the parent snapshot {name} is gone")]
    ParentGone {
        /// Its name.
        name: RecordName,
    },
    /// What was encoded does not decode to the same bytes: faulty memory or a faulty library.
    #[error("a {what} that was just encoded does not decode to the same bytes; nothing of it was stored")]
    Verify {
        /// Which part.
        what: &'static str,
    },
    /// The index cannot be used or repaired.
    #[error("cannot {action} the index {}", .path.display())]
    Index {
        /// What was tried, as a verb.
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The SQLite that this program was built with has a known race.
    #[error("SQLite {version} is too old: 3.51.3 or later is needed")]
    OldSqlite {
        /// What it is.
        version: &'static str,
    },
    /// A limit of the format was hit.
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// The limit, in the unit of `what`.
        limit: u64,
    },
    /// The passphrase's parameters cannot be computed.
    #[error("the key derivation failed: {detail}")]
    Derivation {
        /// Why.
        detail: String,
    },
    /// An earlier failure of another thread ended this backup.
    #[error("the backup was stopped by an earlier failure: {cause}")]
    Poisoned {
        /// What it was.
        cause: String,
        /// Whether that was a full disk.
        out_of_space: bool,
    },
    /// The system has no randomness to give.
    #[error("cannot get random bytes")]
    Entropy(#[source] getrandom::Error),
}

/// What the kernel says when a disk or file system has lost what it should read.
const DISK_ERRORS: [i32; 4] = [
    Errno::IO.raw_os_error(),
    Errno::BADMSG.raw_os_error(),
    Errno::NODATA.raw_os_error(),
    Errno::UCLEAN.raw_os_error(),
];

/// The most names that a message has.
const NAMES_SHOWN: usize = 8;

/// The first of these, and how many more there are.
pub(crate) fn enumerate(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_SHOWN).map(String::as_str).collect();
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// What an object is called; the config is the only one of its kind.
fn object(area: Area, name: &str) -> String {
    match area {
        Area::Config | Area::ConfigCopy => area.to_string(),
        _ => format!("{area} {name}"),
    }
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn damaged(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), detail: detail.into() }
    }

    /// Whether this says something about the object that was read, and not about those who read it.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Unsupported { .. } | Self::Io { .. })
            && !self.is_out_of_space()
            && !self.is_out_of_reach()
    }

    /// Whether an object could not be got at, for want of a permission, of file handles or of a way to the disk: nobody
    /// knows then whether it is whole, and nothing must be built on its not being there. What a disk has under its name and
    /// cannot read, or what is shorter than it was, is damage.
    pub fn is_out_of_reach(&self) -> bool {
        let Self::Io { action, source, .. } = self else { return false };
        let is_lost_in_reading = *action == "read"
            && (source.kind() == io::ErrorKind::UnexpectedEof
                || source.raw_os_error().is_some_and(|code| DISK_ERRORS.contains(&code)));
        let is_no_file = source.raw_os_error() == Some(Errno::NXIO.raw_os_error());
        !is_lost_in_reading && !is_no_file && !self.is_out_of_space()
    }

    /// Whether the index failed, and not for want of room: it can be made anew.
    pub(crate) fn is_of_index(&self) -> bool {
        matches!(self, Self::Index { .. }) && !self.is_out_of_space()
    }

    /// Whether there was no room left on the device or in the quota.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Index { source, .. } => {
                // The other one is the memory that processes share, which is a file beside the database.
                let full = [rusqlite::ffi::SQLITE_FULL, rusqlite::ffi::SQLITE_IOERR_SHMSIZE];
                source.sqlite_error().is_some_and(|error| full.contains(&error.extended_code))
            }
            Self::Poisoned { out_of_space, .. } => *out_of_space,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_opened_is_not_called_damaged() {
        let io = |action, code| StoreError::Io {
            action,
            path: "/r/pack".into(),
            source: io::Error::from_raw_os_error(code),
        };
        for (action, error) in [
            ("open", Errno::ACCESS),
            ("open", Errno::MFILE),
            ("open", Errno::STALE),
            ("open", Errno::IO),
            ("look at", Errno::PERM),
            ("read", Errno::ACCESS),
            ("read", Errno::STALE),
        ] {
            let error = io(action, error.raw_os_error());
            assert!(error.is_out_of_reach() && !error.is_damage(), "{error:?}");
        }
        for (action, error) in [("read", Errno::IO), ("read", Errno::UCLEAN), ("open", Errno::NXIO)] {
            let error = io(action, error.raw_os_error());
            assert!(!error.is_out_of_reach() && error.is_damage(), "{error:?}");
        }
        let cut_short = StoreError::io("read", "/r/pack")(io::ErrorKind::UnexpectedEof.into());
        assert!(cut_short.is_damage());
        assert!(!io("open", Errno::NOSPC.raw_os_error()).is_damage());
    }
}
