//! A machine that works on a repository through the library: its index, its key, its folders to back up.
//!
//! Owns: everything that a process has beside the storage; the operations, told to a [`Ledger`] as they begin and end;
//! and the examination of a repository against it.
//! Never: runs the program; the tests of the program are others.
//! Invariant: an operation that fails leaves the ledger in doubt about what it began, and about nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use treering_chunk::{ChunkKind, CutSizes};
use treering_snapshot::backup::{self, BackupOptions, Description};
use treering_snapshot::check::{CheckFinding, CheckOptions, DataOptions, Severity, check};
use treering_snapshot::list::{Flow, walk_tree};
use treering_snapshot::progress::{Progress, Silent};
use treering_snapshot::prune::{PruneOptions, Pruning, Unused, read_pruned};
use treering_snapshot::restore::write_file;
use treering_snapshot::undelete;
use treering_snapshot::{NodeKind, Snapshot, SnapshotError, SnapshotName, Time};
use treering_store::storage::{Area, Storage};
use treering_store::{
    Compression, DerivationCost, Encryption, Entropy, FindingPlace, InitOptions, KeyFile, RECORD_MOST_BYTES,
    Repository, StoreError, Unlock,
};
use treering_workloads::Random;

use crate::ledger::{Ledger, Tree};
use crate::sim::SimStorage;

/// How often a folder's file is changed, added or removed.
const CHANGES: u64 = 3;
/// The longest file.
const FILE_MOST_BYTES: u64 = 40_000;

/// A folder in memory where there is one: indexes are made durable, which takes long on a real disk.
///
/// # Panics
///
/// If none can be made.
pub fn quick_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder")
}

/// Random bytes of a run, so that it can be repeated.
struct Seeded(Mutex<Random>);

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) -> treering_store::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(buffer);
        Ok(())
    }
}

/// A folder to back up.
#[derive(Debug)]
pub struct Source {
    folder: TempDir,
    tree: Tree,
}

impl Source {
    /// A folder with a few files.
    pub fn new(random: &mut Random) -> Self {
        let mut source = Self { folder: quick_folder(), tree: Tree::new() };
        (0..3).for_each(|_| source.add(random));
        source
    }

    /// What is in it.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// How much is in it.
    pub fn bytes(&self) -> usize {
        self.tree.values().map(Vec::len).sum()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Changes a little of it.
    pub fn change(&mut self, random: &mut Random) {
        for _ in 0..random.between(1, CHANGES + 1) {
            let paths: Vec<PathBuf> = self.tree.keys().cloned().collect();
            match random.below(4) {
                0 if paths.len() > 2 => self.remove(random.pick::<PathBuf>(&paths)),
                1 | 2 if !paths.is_empty() => {
                    let path = random.pick(&paths).clone();
                    let bytes = changed(&self.tree[&path], random);
                    self.write(path, bytes);
                }
                _ => self.add(random),
            }
        }
    }

    fn add(&mut self, random: &mut Random) {
        let (folder, name, length) = (random.below(3), random.below(1000), random.below(FILE_MOST_BYTES));
        self.write(PathBuf::from(format!("folder-{folder}/{name}")), random.bytes(length as usize));
    }

    fn remove(&mut self, path: &Path) {
        fs::remove_file(self.path().join(path)).expect("a file can be removed");
        self.tree.remove(path);
    }

    fn write(&mut self, path: PathBuf, bytes: Vec<u8>) {
        let place = self.path().join(&path);
        fs::create_dir_all(place.parent().expect("it is in a folder")).expect("a folder can be made");
        fs::write(place, &bytes).expect("a file can be written");
        self.tree.insert(path, bytes);
    }
}

fn changed(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match bytes.is_empty() || random.chance(0.3) {
        true => bytes.extend(random.bytes(3000)),
        false => {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1;
        }
    }
    bytes
}

/// Something to do.
#[derive(Debug, Clone)]
pub enum Work<'s> {
    /// Back a folder up.
    Backup(&'s Source),
    /// Forget a snapshot.
    Forget(SnapshotName),
    /// Bring one back.
    Undelete(SnapshotName),
    /// Free space.
    Prune {
        /// Snapshots that are dropped first.
        dropped: BTreeSet<SnapshotName>,
        /// How much may stay.
        max_unused: Unused,
        /// The most that is repacked.
        max_repack_bytes: u64,
        /// Packs that are smaller are merged.
        repack_smaller_than: u64,
    },
    /// Read a snapshot.
    Read(SnapshotName),
}

impl Work<'_> {
    /// A prune that frees all that can be freed.
    pub fn prune_all() -> Self {
        let (max_unused, max_repack_bytes) = (Unused::Bytes(0), u64::MAX);
        Self::Prune { dropped: BTreeSet::new(), max_unused, max_repack_bytes, repack_smaller_than: 0 }
    }
}

/// What others do while something is done.
pub trait Meanwhile: Progress {
    /// Asked when a backup takes the time: at its beginning and right before its commit.
    fn at_clock(&self) {}
    /// Asked while a snapshot is read.
    fn at_read(&self) {}
}

impl Meanwhile for Silent {}

/// A machine.
pub struct Machine {
    index: TempDir,
    key: KeyFile,
    entropy: Arc<dyn Entropy>,
}

impl Machine {
    /// A machine whose random bytes come from here.
    pub fn new(random: Random) -> Self {
        let entropy: Arc<dyn Entropy> = Arc::new(Seeded(Mutex::new(random)));
        let key = KeyFile::generate(&*entropy).expect("random bytes");
        Self { index: quick_folder(), key, entropy }
    }

    /// Another machine with the same key and an index of its own, copied from this one or not there at all.
    pub fn another(&self, with_index: bool) -> Self {
        let another = Self { index: quick_folder(), key: self.key.clone(), entropy: Arc::clone(&self.entropy) };
        if with_index {
            copy_folder(self.index.path(), another.index.path());
        }
        another
    }

    /// Where its index is.
    pub fn index(&self) -> &Path {
        self.index.path()
    }

    /// Makes a repository.
    ///
    /// # Errors
    ///
    /// What the library says.
    pub fn init(&self, disk: &SimStorage) -> treering_store::Result<Arc<Repository>> {
        let options = InitOptions {
            encryption: Encryption::Aes256Gcm,
            unlocks: vec![(Unlock::KeyFile(self.key.clone()), "test".into())],
            cost: DerivationCost::FLOOR,
            created: 0,
            cut_sizes: CutSizes::new(CutSizes::LEAST_BYTES, CutSizes::LEAST_BYTES).expect("these sizes are possible"),
            frame_bytes: 64 << 10,
        };
        let (storage, entropy): (Arc<dyn Storage>, _) = (Arc::new(disk.clone()), Arc::clone(&self.entropy));
        Repository::init(storage, &options, entropy, self.index().into()).map(Arc::new)
    }

    /// Opens it as a new process does.
    ///
    /// # Errors
    ///
    /// What the library says.
    pub fn open(&self, disk: &SimStorage) -> treering_store::Result<Arc<Repository>> {
        self.open_with(disk, &Unlock::KeyFile(self.key.clone()))
    }

    /// Opens it with something else than the key file.
    ///
    /// # Errors
    ///
    /// What the library says.
    pub fn open_with(&self, disk: &SimStorage, unlock: &Unlock) -> treering_store::Result<Arc<Repository>> {
        let (storage, entropy): (Arc<dyn Storage>, _) = (Arc::new(disk.clone()), Arc::clone(&self.entropy));
        Repository::open(storage, unlock, entropy, self.index().into()).map(Arc::new)
    }
}

/// Copies a folder of files and folders as it is, whoever is at work in it.
///
/// # Panics
///
/// If that is not possible.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder can be listed").flatten() {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &target),
            // SQLite removes files beside the database when it closes.
            false => drop(fs::copy(entry.path(), target)),
        }
    }
}

/// Does something, and tells the ledger.
///
/// # Errors
///
/// What the library says; the ledger is in doubt then.
pub fn work(
    repository: &Arc<Repository>,
    ledger: &Mutex<Ledger<Tree>>,
    work: &Work<'_>,
    meanwhile: &dyn Meanwhile,
) -> Result<(), SnapshotError> {
    let ledger = || ledger.lock().unwrap_or_else(PoisonError::into_inner);
    match work {
        Work::Backup(source) => {
            ledger().begin_backup(source.tree());
            let name = back_up(repository, source.path(), meanwhile)?;
            ledger().backed_up(name, source.tree());
        }
        Work::Forget(name) => {
            ledger().begin_forget(*name);
            repository.forget_snapshot(*name)?;
            ledger().forgot(*name);
        }
        Work::Undelete(name) => {
            ledger().begin_undelete(*name);
            match bring_back(repository, *name, meanwhile) {
                Err(SnapshotError::CannotBringBack { .. }) if ledger().was_refused(*name) => {}
                done => {
                    done?;
                    ledger().undeleted(*name);
                }
            }
        }
        Work::Prune { dropped, .. } => {
            ledger().begin_prune(dropped);
            let pruned = prune(repository, work, meanwhile);
            ledger().end_prune();
            pruned?;
            ledger().pruned(dropped);
        }
        Work::Read(name) => {
            let tree = read(repository, *name, meanwhile)?;
            let matches = ledger().tree(*name).is_none_or(|expected| *expected == tree);
            assert!(matches, "snapshot {name} does not hold what was backed up");
        }
    }
    Ok(())
}

fn bring_back(
    repository: &Arc<Repository>,
    name: SnapshotName,
    meanwhile: &dyn Meanwhile,
) -> Result<(), SnapshotError> {
    let kept = undelete::list(repository)?.into_iter().find(|((kept, _), _)| *kept == name);
    let nothing = || SnapshotError::CannotBringBack { snapshot: name, detail: "nothing keeps it".into() };
    undelete::undelete(repository, &kept.ok_or_else(nothing)?, meanwhile)
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as i64
}

fn back_up(
    repository: &Arc<Repository>,
    folder: &Path,
    meanwhile: &dyn Meanwhile,
) -> Result<SnapshotName, SnapshotError> {
    let mut all = Snapshot::read_all(repository)?.snapshots;
    all.retain(|(_, snapshot)| snapshot.paths == [folder.as_os_str().as_bytes()]);
    let clock = || {
        meanwhile.at_clock();
        now_ms()
    };
    let time = Time { seconds: now_ms() / 1000, nanoseconds: (now_ms() % 1000) as u32 * 1_000_000 };
    let description = Description {
        time,
        host: "host".into(),
        user: "user".into(),
        program: "test".into(),
        ..Description::default()
    };
    let options = BackupOptions {
        parent: all.pop(),
        progress: meanwhile,
        ..BackupOptions::new(vec![folder.into()], description, &clock)
    };
    let outcome = backup::backup(repository, &options)?;
    assert_eq!(outcome.snapshot.statistics.errors, 0, "a backup of {} has errors", folder.display());
    Ok(outcome.name.expect("a backup that stores has a name"))
}

fn prune(repository: &Arc<Repository>, work: &Work<'_>, meanwhile: &dyn Meanwhile) -> Result<(), SnapshotError> {
    let Work::Prune { dropped, max_unused, max_repack_bytes, repack_smaller_than } = work else { return Ok(()) };
    let options = PruneOptions {
        max_unused: *max_unused,
        max_repack_bytes: *max_repack_bytes,
        repack_smaller_than: *repack_smaller_than,
        max_duration: None,
        may_free_most: true,
        compression: Compression::DEFAULT,
        clock: &|| Duration::ZERO,
    };
    let pruning = Pruning::start(repository, dropped.clone(), &options, meanwhile)?;
    let report = pruning.apply(&options, meanwhile)?;
    assert!(report.damaged.is_empty(), "a prune met damage: {report:?}");
    Ok(())
}

/// All files of a snapshot, by their paths beneath the folder that was backed up.
///
/// # Errors
///
/// What the library says.
pub fn read(repository: &Repository, name: SnapshotName, meanwhile: &dyn Meanwhile) -> Result<Tree, SnapshotError> {
    let (tree, error) = read_what_can_be(repository, name, meanwhile)?;
    error.map_or(Ok(tree), Err)
}

/// The files that can be read of each visible snapshot that can be read.
///
/// # Panics
///
/// If the snapshots cannot be listed.
pub fn readable_trees(repository: &Repository) -> Vec<(SnapshotName, Tree)> {
    let all = Snapshot::read_all(repository).expect("snapshots can be listed").snapshots;
    let trees = all.into_iter().map(|(name, _)| Some((name, read_what_can_be(repository, name, &Silent).ok()?.0)));
    trees.flatten().collect()
}

/// The files of a snapshot, and why not all of them are there.
fn read_what_can_be(
    repository: &Repository,
    name: SnapshotName,
    meanwhile: &dyn Meanwhile,
) -> Result<(Tree, Option<SnapshotError>), SnapshotError> {
    let snapshot = Snapshot::read(repository, name)?;
    let folder = PathBuf::from(std::ffi::OsStr::from_bytes(snapshot.paths.first().expect("a path was backed up")));
    let (mut reader, mut files, mut tree) = (repository.reader()?, Vec::new(), Tree::new());
    let walked = walk_tree(&mut reader, (&snapshot, &snapshot.root), Path::new("/"), |path, node| {
        if matches!(node.kind, NodeKind::File { .. }) {
            files.push((path.to_owned(), node.clone()));
        }
        Flow::Enter
    })?;
    let mut failed = walked.damaged.into_iter().next().map(|(_, error)| error);
    for (path, node) in files {
        meanwhile.at_read();
        let mut bytes = Vec::new();
        match write_file(&mut reader, &node, &mut bytes) {
            Ok(_) => {
                let path = path.strip_prefix(&folder).expect("it is beneath the folder");
                tree.insert(path.to_owned(), bytes);
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    Ok((tree, failed))
}

/// What a check may find beside leftovers.
pub type Allowed = fn(&CheckFinding) -> bool;

/// Nothing.
pub const NOTHING: Allowed = |_| false;

/// How much of a repository is examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// It is checked, and every snapshot read.
    Read,
    /// Also forgotten snapshots are brought back, everything is pruned and another backup made, and again.
    Use,
}

/// Examines a repository on which nobody is at work against what it must hold.
///
/// # Errors
///
/// What is wrong.
pub fn examine(
    machine: &Machine,
    disk: &SimStorage,
    ledger: &mut Ledger<Tree>,
    (depth, allowed): (Depth, Allowed),
    source: &Source,
) -> Result<(), String> {
    let repository = machine.open(disk).map_err(|error| format!("it does not open: {error}"))?;
    examine_once(&repository, ledger, allowed)?;
    if depth == Depth::Read {
        return Ok(());
    }
    let shared = Mutex::new(std::mem::take(ledger));
    let mut works: Vec<_> = lock(&shared).forgotten().into_iter().map(Work::Undelete).collect();
    works.extend([Work::prune_all(), Work::Backup(source)]);
    for next in works {
        match work(&repository, &shared, &next, &Silent) {
            // It looks alike whether nothing was ever there or all of it was forgotten.
            Ok(()) | Err(SnapshotError::NothingWouldRemain) => {}
            Err(error) => return Err(format!("{next:?} fails: {}", with_causes(&error))),
        }
    }
    *ledger = lock(&shared).clone();
    examine_once(&machine.open(disk).map_err(|error| error.to_string())?, ledger, allowed)
}

fn lock(ledger: &Mutex<Ledger<Tree>>) -> std::sync::MutexGuard<'_, Ledger<Tree>> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error and everything behind it.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn examine_once(repository: &Arc<Repository>, ledger: &mut Ledger<Tree>, allowed: Allowed) -> Result<(), String> {
    let shown = |error: SnapshotError| with_causes(&error);
    let options = CheckOptions { data: Some(DataOptions::default()), clock: &|| std::time::Duration::ZERO };
    let report = check(repository, &options, &Silent).map_err(shown)?;
    let all = Snapshot::read_all(repository).map_err(shown)?;
    // Where no snapshot is left, the copies of several backups that never came to their end look like lost ones. Whether
    // one of those was acknowledged, the ledger knows.
    let may_be_lost =
        |finding: &CheckFinding| all.snapshots.is_empty() && matches!(finding.place, FindingPlace::SnapshotCopy(_));
    let mut errors = report.findings.iter().filter(|finding| finding.severity > Severity::Leftover);
    if let Some(finding) = errors.find(|finding| !allowed(finding) && !may_be_lost(finding)) {
        return Err(format!("a check finds {finding:?}"));
    }
    if let Some((name, error)) = all.damaged.first() {
        return Err(format!("snapshot {name} cannot be read: {error}"));
    }
    let seen: Vec<SnapshotName> = all.snapshots.iter().map(|(name, _)| *name).collect();
    let read = |name: SnapshotName| {
        read(repository, name, &Silent).map_err(|error| format!("snapshot {name}: {}", with_causes(&error)))
    };
    ledger.settle(&seen, &mut { read })?;
    let (_, pruned) = read_pruned(repository).map_err(shown)?;
    for name in seen {
        if ledger.tree(name) != Some(&read(name)?) {
            return Err(format!("snapshot {name} does not hold what was backed up"));
        }
        let bytes = repository.storage().read(Area::Snapshots, &name.to_string(), RECORD_MOST_BYTES);
        let bytes = bytes.map_err(|error| error.to_string())?;
        if pruned.contains(&repository.namer().id(ChunkKind::SnapshotCopy, &bytes)) {
            return Err(format!("snapshot {name} is visible and counted among the pruned"));
        }
    }
    Ok(())
}

/// Whether this is the failure of a disk that has lost its power, or what follows from it.
pub fn is_no_power(error: &StoreError) -> bool {
    with_causes(error).contains("the power has failed")
}
