//! The seam for applications: how files that only make sense together are taken consistently.
//!
//! The walk lists a folder and shows the listing to every [`Application`] before it opens any of its files. An
//! application claims what is its own and returns a [`Capture`] for each group of files. From then on the walk never
//! opens, reads or enters a claimed path: on POSIX systems closing *any* descriptor of a file drops all record locks
//! that the process holds on it, so a second reader would silently break a capture's lock.
//!
//! Invariant: for every claimed path the snapshot holds exactly what the capture yielded for it, or nothing.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use treering_chunk::CutPolicy;

use crate::stream::Extent;

pub use crate::lock::{Lock, try_lock};
pub use crate::source::{open_plain, plain};
pub use crate::walk::Names;
pub use treering_store::storage::foreign_file_system;

/// One kind of application, for instance SQLite.
pub trait Application: Send + Sync {
    /// The name in snapshots, on the command line (`--app`) and in reports: lower case, one word.
    fn kind(&self) -> &'static str;

    /// Claims what in this folder belongs to the application.
    ///
    /// Called once for each folder of the walk, parents first, while none of its files is open. A folder that a
    /// capture has claimed is not shown. The claimed paths are relative to the folder and may lie in its
    /// sub-folders. Costs nothing when there is nothing to claim: decide by names first, look at few, open files last.
    fn claim(&self, folder: &Folder<'_>) -> Vec<Box<dyn Capture>>;
}

/// One folder, as the walk has listed it: names, and a look at what is behind them for who asks.
pub struct Folder<'a> {
    /// Where the folder is; usable for opening.
    pub path: &'a Path,
    /// The names of its entries, also of those that are excluded.
    pub names: &'a Names,
    /// Whether a path is left out; the second argument says whether it is a folder.
    pub is_excluded: &'a dyn Fn(&Path, bool) -> bool,
}

impl Folder<'_> {
    /// What `lstat` says of an entry that is there and not excluded: a system call, for few entries only.
    pub fn look(&self, name: &OsStr) -> Option<Metadata> {
        let path = self.path.join(name);
        let metadata = path.symlink_metadata().ok()?;
        (!(self.is_excluded)(&path, metadata.is_dir())).then_some(metadata)
    }
}

/// The files of one instance of an application, taken together.
///
/// The order of calls is `claimed`, `take`, then the returned readers are read to their end (perhaps on other
/// threads, perhaps not all if the backup is cancelled), then `conclude`. Only then is the verdict recorded.
pub trait Capture: Send {
    /// The kind of what is captured, where it is not that of the application that claimed it: an application may hand
    /// files on to another one's capture.
    fn kind(&self) -> Option<&'static str> {
        None
    }

    /// The name of the instance relative to the folder, for reports: for a database, its main file. Empty for the folder
    /// itself.
    fn name(&self) -> &Path;

    /// Which part of the instance the user has asked for, in the application's own word; `None` is all of it.
    fn scope(&self) -> Option<&'static str> {
        None
    }

    /// Every path, relative to the folder, that the walk must leave alone. Paths that do not exist are allowed.
    ///
    /// Of a folder that is claimed the snapshot holds what the capture yields in it, as an ordinary folder even if the
    /// path is a symbolic link to one, and nothing else; without anything in it, it is left out.
    fn claimed(&self) -> &[PathBuf];

    /// Those of the claimed folders that the snapshot holds even if nothing is yielded in them.
    fn folders(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Fixes what is taken and returns the files that the snapshot shall hold.
    ///
    /// `previous` is what [`Conclusion::state`] was in the parent snapshot, for incremental captures. What must be read
    /// at once, because it may be overwritten soon, goes into `pieces`; what can wait is returned as a reader.
    ///
    /// # Errors
    ///
    /// An error leaves the claimed files out of the snapshot and is reported once, for the instance; a capture that can
    /// still copy something useful does so and says in its [`Conclusion`] how sure it is.
    fn take(&mut self, previous: Option<&[u8]>, pieces: &mut dyn PieceStore) -> Result<Vec<TakenFile>, CaptureError>;

    /// Says, after all bytes were read, what was captured and how sure that is. Releases locks and temporary files.
    fn conclude(self: Box<Self>) -> Conclusion;
}

/// A file as the snapshot shall hold it.
pub struct TakenFile {
    /// Relative to the folder; its parent is the folder or one of its sub-folders.
    pub path: PathBuf,
    /// The file whose mode, owner, times and extended attributes are recorded. Relative to the folder; `None` for a
    /// virtual file, which gets mode 0600, the owner of the folder and the time of the snapshot.
    pub attributes_of: Option<PathBuf>,
    /// The bytes.
    pub content: Content,
    /// How to cut it; `None` leaves it to the kind of file.
    pub cut: Option<CutPolicy>,
}

/// Where the bytes of a [`TakenFile`] come from.
pub enum Content {
    /// Read to the end, once, on any thread.
    Bytes(Box<dyn Read + Send>),
    /// The same, of a file that is held open because it may lose its name before the walk comes to it. Its attributes are
    /// read from the descriptor instead of [`TakenFile::attributes_of`].
    Held {
        /// The file.
        file: Arc<File>,
        /// What is stored of it.
        bytes: Box<dyn Read + Send>,
    },
    /// The same bytes as in the parent snapshot; only valid if `take` was given a previous state that proves it. If the
    /// file has gone by now, its attributes are those of the parent too.
    Unchanged,
    /// What was stored while `take` was running, in this order. If the file has gone by now, it is as a virtual one.
    Pieces(Vec<Part>),
}

/// A part of a file that was put together from pieces.
#[derive(Debug, Clone)]
pub enum Part {
    /// Bytes that were stored.
    Stored(Piece),
    /// So many zeros, which are not stored.
    Hole(u64),
}

/// Bytes that a [`PieceStore`] has stored in the backup that is running. It says nothing in another one.
#[derive(Debug, Clone)]
pub struct Piece {
    pub(crate) extents: Vec<Extent>,
}

impl Piece {
    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.extents.iter().map(Extent::bytes).sum()
    }
}

/// Stores bytes while `take` is still running, so that what is about to be overwritten needs no temporary copy.
///
/// A piece is cut and stored as any file is: what the repository has is not stored again. A piece that comes to be used
/// in no file does no harm: a prune takes it.
pub trait PieceStore {
    /// Reads to the end and stores what came, cut as it says. Memory does not depend on how much it is.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Io`] if reading failed: then the piece is as if it had never been; [`CaptureError::NotStored`] if
    /// the backup cannot go on.
    fn put(&mut self, from: &mut dyn Read, cut: CutPolicy) -> Result<Piece, CaptureError>;
}

/// What a capture says at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// How sure it is.
    pub verdict: Verdict,
    /// Version of the application or of its format, as far as it is known: `"3.45.1"`, `"log 8"`.
    pub version: Option<String>,
    /// The moment or position that the copy stands for, in the application's own terms.
    pub consistency_point: Option<String>,
    /// One sentence: why this verdict. Shown to the user.
    pub detail: String,
    /// What the next capture of the same instance wants to know; opaque, kept in the snapshot's record as far as there is
    /// room for what all captures leave.
    pub state: Vec<u8>,
}

/// How sure a capture is of what it took. Ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Consistent by the way that it was taken, and the captured bytes were verified.
    Consistent,
    /// What a power cut would have left: the application recovers from it by its own rules.
    CrashConsistent,
    /// Not known: a version or a state that this program does not understand.
    Unknown,
    /// The files do not belong together, or the captured bytes are damaged.
    Torn,
}

impl Verdict {
    /// The word that is stored, shown and matched.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Consistent => "consistent",
            Verdict::CrashConsistent => "crash-consistent",
            Verdict::Unknown => "unknown",
            Verdict::Torn => "torn",
        }
    }

    /// The verdict that a word stands for; a word of a later version is not known.
    pub fn from_word(word: &str) -> Self {
        let all = [Self::Consistent, Self::CrashConsistent, Self::Unknown, Self::Torn];
        all.into_iter().find(|verdict| verdict.as_str() == word).unwrap_or(Self::Unknown)
    }
}

/// Why an application's files could not be taken at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// A system call failed.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The application's own library refused.
    #[error("cannot {action} {}: {reason}", .path.display())]
    Application {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the library said.
        reason: String,
    },
    /// The repository did not take a piece, or the user has interrupted the backup. Whoever ran the backup tells why.
    #[error("what was read could not be stored")]
    NotStored,
    /// The temporary copy would not fit.
    #[error("a copy of {} needs {needed_bytes} bytes in {}, where {free_bytes} are free", .path.display(), .folder.display())]
    NoRoom {
        /// The file to be copied.
        path: PathBuf,
        /// The folder for temporary files.
        folder: PathBuf,
        /// What the copy needs.
        needed_bytes: u64,
        /// What is there.
        free_bytes: u64,
    },
}
