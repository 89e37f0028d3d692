//! Restoring: a snapshot back into a folder, exactly, and nothing outside it.
//!
//! ```text
//! planner (a thread): trees ─► a window of jobs ([`plan::RestorePlan`])
//! applier: folders made ─► chunks looked up, old files compared ([`resolve`]) ─► frames, each decoded once ([`apply`])
//! at last: hard links, symbolic links, pipes, devices ─► deletions ─► syncfs ─► verification ─► folders' metadata ([`after`])
//! ```
//!
//! What belongs to an application that knows how to come back is restored apart, beside its target, and exchanged when it
//! has been verified ([`application`]).
//!
//! Owns what restoring does to a file system. Never follows a link beneath the target, never opens an existing file for
//! writing, never prints. Knows nothing of packs: frames are sorted by what [`treering_store::Place`] says.
//!
//! Invariant: whatever the repository holds and whoever changes the target meanwhile, nothing outside the target is
//! made, changed or removed; the repository that is read is left alone even if it lies within the target; and a file that
//! failed is not left half written under its own name.

mod after;
pub mod application;
mod apply;
mod beneath;
mod dump;
mod job;
mod meta;
mod mounts;
mod open;
mod own;
mod plan;
mod remove;
mod resolve;
mod roots;
mod staged;
#[cfg(test)]
mod tests;
mod yard;

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use treering_store::Repository;

use crate::allowance::Allowance;
use crate::error::{Result, SnapshotError};
use crate::progress::{Event, Progress};
use crate::record::Snapshot;
pub use application::{
    BroughtBack, Fate, Hold, Layer, Place, Proof, Refusal, Restorer, Takes, Unit, hold_alone, hold_bytes,
};
use beneath::{Beneath, Folder, Folders};
pub use dump::write_file;
pub use mounts::refuse_mounts;
use own::Own;
pub use roots::{Root, layout};

/// Withheld things that a summary names; more are only counted.
pub const WITHHELD_NAMED_MOST: usize = 1000;

/// What is done with a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// Its content is compared and made the same.
    #[default]
    Always,
    /// As `Always`, but a file of the same size and time is taken to be the same unread.
    IfChanged,
    /// As `Always`, but only if the snapshot's is newer.
    IfNewer,
    /// It is left as it is.
    Never,
}

impl Overwrite {
    /// Whether something of another kind gives way: a file to a folder, or, where deleting was asked for, a folder to
    /// something else.
    fn replaces_kinds(self) -> bool {
        matches!(self, Self::Always | Self::IfChanged)
    }
}

/// Whether an entry is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// It is; its entries are asked for in turn.
    Take,
    /// Not itself, but something in it may be: it is made if something is. As `Skip` for what is no folder.
    Descend,
    /// Neither it nor anything in it; nor is it deleted.
    Skip,
}

/// Says of a path in the snapshot, absolute, and whether it is a folder, what is done with it.
pub type Selection<'a> = &'a (dyn Fn(&Path, bool) -> Choice + Sync);

/// How to restore.
#[derive(Clone)]
pub struct RestoreOptions<'a> {
    /// Where to. Made if it is missing.
    pub target: PathBuf,
    /// What, and where in the target: what [`layout`] says.
    pub roots: Vec<Root>,
    /// Which entries.
    pub selection: Selection<'a>,
    /// What is done with files that are there.
    pub overwrite: Overwrite,
    /// Removes, from the folders that are restored, what the snapshot does not have; not from file systems that are
    /// mounted beneath the folder of a root.
    pub delete: bool,
    /// Makes holes of long runs of zeros that were stored as data. Holes of the snapshot become holes always.
    pub sparse: bool,
    /// Reads every restored file again and compares it.
    pub verify: bool,
    /// Restores set-uid and set-gid bits, devices, and `security.` and `trusted.` attributes.
    pub privileged: bool,
    /// Restores owners.
    pub ownership: bool,
    /// Says what would be done, and does not do it.
    pub dry_run: bool,
    /// Who brings applications back, and says what is open in the target; those of other kinds are files like any other. In
    /// a dry run nobody does, but what the real run would refuse is refused.
    pub applications: &'a [Box<dyn Restorer>],
}

impl fmt::Debug for RestoreOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RestoreOptions({} roots to {})", self.roots.len(), self.target.display())
    }
}

impl RestoreOptions<'_> {
    /// Everything of these roots; owners if this process is root.
    pub fn new(target: impl Into<PathBuf>, roots: Vec<Root>) -> Self {
        Self {
            target: target.into(),
            roots,
            selection: &|_, _| Choice::Take,
            overwrite: Overwrite::Always,
            delete: false,
            sparse: false,
            verify: false,
            privileged: false,
            ownership: rustix::process::geteuid().is_root(),
            dry_run: false,
            applications: &[],
        }
    }
}

/// Something that only a privileged restore brings back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WithheldKind {
    /// The set-uid or set-gid bit; the rest of the file was restored.
    SetId,
    /// A device; it was not made.
    Device,
    /// An extended attribute; the rest of the entry was restored.
    Attribute {
        /// Its name.
        name: Vec<u8>,
    },
}

/// What was withheld.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Withheld {
    /// How many things.
    pub count: u64,
    /// The first [`WITHHELD_NAMED_MOST`] of them, with their paths in the snapshot.
    pub named: Vec<(PathBuf, WithheldKind)>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RestoreSummary {
    /// Entries that were made or whose content was replaced; folders are not counted.
    pub files_restored: u64,
    /// Their bytes.
    pub bytes_restored: u64,
    /// Entries that were the same already, or were to be left.
    pub files_skipped: u64,
    /// Their bytes.
    pub bytes_skipped: u64,
    /// Entries that were removed, folders with all that was in them counted entry by entry.
    pub files_deleted: u64,
    /// Selected entries of the snapshot that are no folders.
    pub total_files: u64,
    /// Their bytes.
    pub total_bytes: u64,
    /// Entries that were verified after the restore.
    pub files_verified: u64,
    /// Folders of the repository itself that were to be deleted, and were left.
    pub spared: BTreeSet<PathBuf>,
    /// What failed; each was told in an event.
    pub errors: u64,
    /// What an unprivileged restore leaves out.
    pub withheld: Withheld,
    /// Applications that were brought back, or were to be.
    pub applications: Vec<BroughtBack>,
}

/// Restores.
///
/// A file that fails is told as [`Event::Failed`] and counted, and the rest goes on; paths in events are those of the
/// snapshot. Files are not synced one by one: at the end one `syncfs` makes all of them durable, before this returns.
///
/// # Errors
///
/// If the target cannot be opened, there is no room left on it, somebody asked to stop, or the snapshot goes on beyond what
/// its record says ([`SnapshotError::MoreThanSaid`]). What was complete by then stays. Before anything is
/// changed: [`SnapshotError::OfRepository`] if the target is or lies in the repository that is restored from,
/// [`SnapshotError::InUse`] if somebody has an application open whose files would be touched,
/// [`SnapshotError::NotBroughtBack`] and [`SnapshotError::Mounted`] if one cannot be exchanged.
pub fn restore(
    repository: &Arc<Repository>,
    snapshot: &Snapshot,
    options: &RestoreOptions<'_>,
    progress: &dyn Progress,
) -> Result<RestoreSummary> {
    Own::of(repository).refuse(&options.target)?;
    let returns = staged::find(repository, snapshot, options)?;
    let units = staged::Units::of(&returns);
    let selection = |path: &Path, is_folder: bool| match units.have(path) {
        true => Choice::Skip,
        false => (options.selection)(path, is_folder),
    };
    let others = RestoreOptions { selection: &selection, ..options.clone() };
    open::refuse(repository, snapshot, &others, progress)?;
    let mut summary = restore_files(repository, snapshot, &others, &options.target, progress)?;
    for one in returns.into_iter().filter(staged::Return::is_wanted) {
        let (added, brought) = one.run(repository, snapshot, options, progress)?;
        summary.add(added);
        summary.applications.push(brought);
    }
    Ok(summary)
}

/// Restores what is no application's. `shown` is what people call the target.
fn restore_files(
    repository: &Arc<Repository>,
    snapshot: &Snapshot,
    options: &RestoreOptions<'_>,
    shown: &Path,
    progress: &dyn Progress,
) -> Result<RestoreSummary> {
    let own = Own::of(repository);
    let (beneath, is_empty) = Beneath::open(&options.target, options.dry_run, &own, &**repository.entropy())?;
    let base = roots::base(&options.roots);
    let folders = Folders::new(shown, base, target_folder(&beneath, is_empty));
    let work = Work {
        repository,
        allowance: Allowance::of(snapshot),
        options,
        progress,
        own,
        beneath,
        folders,
        tally: Tally::default(),
        withheld: Mutex::default(),
        spared: Mutex::default(),
        left_out: LeftOut::default(),
    };
    work.announce(snapshot);
    let rest = apply::run(&work, plan::Mode::Restore)?;
    after::finish(&work, rest)?;
    Ok(work.summary())
}

fn target_folder(beneath: &Beneath, is_fresh: bool) -> Folder {
    let hands_down_acl = beneath.root().is_ok_and(|root| meta::hands_down_acl(&root, b"."));
    let (replaces, is_locked, is_elsewhere) = (false, false, false);
    Folder { parent: 0, name: Box::default(), is_fresh, replaces, hands_down_acl, is_locked, is_elsewhere, meta: None }
}

/// What all parts of one restore share.
struct Work<'a> {
    repository: &'a Arc<Repository>,
    /// For each walk.
    allowance: Allowance,
    options: &'a RestoreOptions<'a>,
    progress: &'a dyn Progress,
    own: Own,
    beneath: Beneath,
    folders: Folders,
    tally: Tally,
    withheld: Mutex<Withheld>,
    spared: Mutex<BTreeSet<PathBuf>>,
    left_out: LeftOut,
}

#[derive(Default)]
struct Tally {
    files_restored: AtomicU64,
    bytes_restored: AtomicU64,
    files_skipped: AtomicU64,
    bytes_skipped: AtomicU64,
    files_deleted: AtomicU64,
    total_files: AtomicU64,
    total_bytes: AtomicU64,
    files_verified: AtomicU64,
    errors: AtomicU64,
}

/// Files that are not to be verified, because they failed or were left: their paths' hashes, 8 bytes each.
#[derive(Default)]
struct LeftOut {
    hashes: Mutex<HashSet<u64>>,
    state: RandomState,
}

impl LeftOut {
    fn add(&self, path: &Path) {
        self.hashes.lock().insert(self.state.hash_one(path.as_os_str()));
    }

    fn has(&self, path: &Path) -> bool {
        self.hashes.lock().contains(&self.state.hash_one(path.as_os_str()))
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

impl Work<'_> {
    /// The amount of work, where the snapshot itself knows it.
    fn announce(&self, snapshot: &Snapshot) {
        if let [root] = self.options.roots.as_slice()
            && snapshot.paths.len() == 1
            && snapshot.paths.first().is_some_and(|path| path.as_slice() == root.path.as_os_str().as_encoded_bytes())
        {
            let (files, bytes) = (snapshot.statistics.total_files, snapshot.statistics.total_bytes);
            self.progress.event(Event::Total { files, bytes });
        }
    }

    fn check_interrupted(&self) -> Result<()> {
        if self.progress.is_interrupted() { Err(SnapshotError::Interrupted) } else { Ok(()) }
    }

    /// Counts and tells a failure of one entry.
    fn tell(&self, path: &Path, during: &'static str, error: &SnapshotError) {
        add(&self.tally.errors, 1);
        self.progress.event(Event::Failed { path, during, error });
    }

    /// Tells a failure of one entry and goes on, unless every further one would fail too.
    fn settle(&self, path: impl FnOnce() -> PathBuf, result: Result<()>) -> Result<()> {
        match result {
            Err(e) if is_fatal(&e) => Err(e),
            Err(e) => {
                let path = path();
                self.left_out.add(&path);
                self.tell(&path, "restore", &e);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn summary(self) -> RestoreSummary {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RestoreSummary {
            files_restored: load(&self.tally.files_restored),
            bytes_restored: load(&self.tally.bytes_restored),
            files_skipped: load(&self.tally.files_skipped),
            bytes_skipped: load(&self.tally.bytes_skipped),
            files_deleted: load(&self.tally.files_deleted),
            total_files: load(&self.tally.total_files),
            total_bytes: load(&self.tally.total_bytes),
            files_verified: load(&self.tally.files_verified),
            spared: self.spared.into_inner(),
            errors: load(&self.tally.errors),
            withheld: self.withheld.into_inner(),
            applications: Vec::new(),
        }
    }
}

/// Whether it makes no sense to go on.
fn is_fatal(error: &SnapshotError) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error {
        SnapshotError::Io { source, .. } => matches!(source.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem),
        SnapshotError::Interrupted | SnapshotError::WorkerLost | SnapshotError::MoreThanSaid { .. } => true,
        _ => false,
    }
}
