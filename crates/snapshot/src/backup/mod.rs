//! Backing up: a walk, workers that read, an assembler that builds the trees, and the commit.
//!
//! ```text
//! scan (this thread) ─ batches of files ─► workers ─► chunks into the session
//!      └─ items in the order of the trees ─► assemble ─► trees into the session ─► commit
//! ```
//!
//! Memory depends on the two bounded queues, not on what is backed up. Invariant: a snapshot is committed only when
//! everything that it names is stored; what could not be read is counted in it and was reported.

mod assemble;
mod claims;
mod kind;
mod parent;
mod pieces;
mod queue;
mod read;
mod scan;

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::bounded;
use parking_lot::Mutex;
use treering_store::{Compression, Healed, Repository, Session, SessionMode, StoreError};

use self::assemble::{Assembled, Assembler};
use self::queue::{BATCHES_MOST, BatchWork, Emitter, EnteredFolder, ITEM_GROUPS_MOST, Item, Task};
use self::read::{FileRead, FileReader};
use self::scan::{Scanned, Scanner};
use crate::capture::{Application, Verdict};
use crate::error::{Result, SnapshotError};
use crate::node::{Node, NodeKind, Time};
use crate::progress::{Progress, Silent};
use crate::record::{Owners, Snapshot, SnapshotName, Statistics};
use crate::stream::Stream;
use crate::walk::{OpenFolder, Status};

/// A backup whose packs vanish under it is walked again so often before it gives up.
const ATTEMPTS: usize = 5;

/// A file whose presence excludes the rest of its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Its name.
    pub name: String,
    /// What it must start with, if anything.
    pub header: Option<Vec<u8>>,
}

impl Marker {
    /// The tag of the Cache Directory Tagging Specification.
    pub fn cache() -> Self {
        let header = b"Signature: 8a477f597d28d172789f06886806bc55".to_vec();
        Self { name: "CACHEDIR.TAG".into(), header: Some(header) }
    }

    fn is_in(&self, folder: &OpenFolder) -> bool {
        if !folder.names().has(self.name.as_ref()) {
            return false;
        }
        let Some(header) = &self.header else { return true };
        let mut start = vec![0; header.len()];
        let path = folder.path.join(&self.name);
        // A fifo of that name must not block the walk.
        path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
            && std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
            && start == *header
    }
}

/// What a snapshot says about itself.
#[derive(Debug, Clone, Default)]
pub struct Description {
    /// The moment that it stands for.
    pub time: Time,
    /// Seconds east of Greenwich.
    pub offset_seconds: i32,
    /// The machine.
    pub host: String,
    /// Who runs this.
    pub user: String,
    /// Their number.
    pub uid: u32,
    /// Their group's.
    pub gid: u32,
    /// The user's words.
    pub tags: Vec<String>,
    /// What is left out, as it was typed.
    pub excludes: Vec<String>,
    /// Name and version of this program.
    pub program: String,
}

/// What to back up and how.
pub struct BackupOptions<'a> {
    /// Absolute paths without `.` and `..`.
    pub paths: Vec<PathBuf>,
    /// Whether a path below them is left out; the second argument says whether it is a folder.
    pub is_excluded: &'a (dyn Fn(&std::path::Path, bool) -> bool + Sync),
    /// Markers that exclude the rest of their folder.
    pub markers: Vec<Marker>,
    /// Files longer than this are left out.
    pub exclude_larger_than: Option<u64>,
    /// Folders on other file systems than the path that leads to them are left out.
    pub one_file_system: bool,
    /// Folders that are never entered.
    pub forbidden: Vec<PathBuf>,
    /// Who may claim files, in this order.
    pub applications: &'a [Box<dyn Application>],
    /// Only a snapshot in which every application is consistent is committed.
    pub require_app_ok: bool,
    /// What to compare with.
    pub parent: Option<(SnapshotName, Snapshot)>,
    /// Snapshots that nobody has seen yet.
    pub heads: Vec<SnapshotName>,
    /// An inode that differs does not make a file changed.
    pub ignore_inode: bool,
    /// A ctime that differs does not make a file changed.
    pub ignore_ctime: bool,
    /// Nothing is committed if the trees are the parent's.
    pub skip_if_unchanged: bool,
    /// Threads that read files.
    pub read_concurrency: usize,
    /// How frames are compressed.
    pub compression: Compression,
    /// Whether anything is stored.
    pub mode: SessionMode,
    /// What the snapshot says about itself.
    pub description: Description,
    /// Milliseconds since 1970.
    pub clock: &'a (dyn Fn() -> i64 + Sync),
    /// Names of owners by their numbers: users, groups.
    pub owners: &'a (dyn Fn(&BTreeSet<u32>, &BTreeSet<u32>) -> Owners + Sync),
    /// Who listens.
    pub progress: &'a dyn Progress,
}

impl<'a> BackupOptions<'a> {
    /// All that is at these paths, stored without a parent and told to nobody.
    pub fn new(paths: Vec<PathBuf>, description: Description, clock: &'a (dyn Fn() -> i64 + Sync)) -> Self {
        Self {
            paths,
            is_excluded: &|_, _| false,
            markers: Vec::new(),
            exclude_larger_than: None,
            one_file_system: false,
            forbidden: Vec::new(),
            applications: &[],
            require_app_ok: false,
            parent: None,
            heads: Vec::new(),
            ignore_inode: false,
            ignore_ctime: false,
            skip_if_unchanged: false,
            read_concurrency: 1,
            compression: Compression::DEFAULT,
            mode: SessionMode::Store,
            description,
            clock,
            owners: &|_, _| Owners::default(),
            progress: &Silent,
        }
    }
}

/// What came of a backup.
#[derive(Debug)]
pub struct BackupOutcome {
    /// The snapshot's name; `None` if nothing was committed: in a dry run, or because nothing changed.
    pub name: Option<SnapshotName>,
    /// What it says.
    pub snapshot: Snapshot,
    /// The worst verdict of its applications.
    pub worst_verdict: Option<Verdict>,
    /// Chunks that had been lost and that it has stored again.
    pub healed: Healed,
    /// Whether some of what the parent names is in no pack or cannot be read. The files concerned were read again.
    pub parent_lacks: bool,
}

/// Backs files up.
///
/// # Errors
///
/// [`SnapshotError::NothingToBackUp`] if no path is there, [`SnapshotError::AppNotConsistent`] if that was asked for,
/// [`SnapshotError::Interrupted`], or whatever the store says. Nothing is committed then; what was stored serves the
/// next run. A file that cannot be read is not an error: it is reported and counted.
pub fn backup(repository: &Arc<Repository>, options: &BackupOptions<'_>) -> Result<BackupOutcome> {
    run(repository, options, |session, started_ms| {
        let (assembled, scanned) = walk_in_trust(repository, session, options)?;
        if scanned.roots_found == 0 {
            return Err(SnapshotError::NothingToBackUp);
        }
        let mut statistics = assembled.statistics;
        statistics.errors += scanned.errors;
        statistics.started_ms = started_ms;
        Ok(Walked {
            assembled: Assembled { statistics, ..assembled },
            stat: Some(scanned.stat),
            parent_lacks: scanned.parent_lacks,
        })
    })
}

/// Backs a stream up as one file. `finish` is called when the stream has ended and before anything is committed: a
/// command that failed says so there.
///
/// # Errors
///
/// As for [`backup`]; [`SnapshotError::StreamFailed`] from `finish`.
pub fn backup_stream(
    repository: &Arc<Repository>,
    options: &BackupOptions<'_>,
    from: &mut (dyn Read + Send),
    finish: &mut dyn FnMut() -> Result<()>,
) -> Result<BackupOutcome> {
    let [path] = options.paths.as_slice() else { return Err(SnapshotError::NothingToBackUp) };
    let mut from = Some(from);
    run(repository, options, |session, started_ms| {
        // A stream cannot be read twice: if packs vanish under it, the backup fails.
        let from = from.take().ok_or_else(|| SnapshotError::StreamFailed {
            detail: "packs that it relied on were deleted meanwhile, and a stream cannot be read again".into(),
        })?;
        let mut reader = FileReader::new(repository, session, options.compression, options.progress)?;
        let content = reader.read_stream(from, path, None, None)?;
        reader.flush()?;
        finish()?;
        let mut assembled = assemble_stream(repository, session, options, content)?;
        assembled.statistics.started_ms = started_ms;
        Ok(Walked { assembled, stat: None, parent_lacks: false })
    })
}

fn assemble_stream(
    repository: &Repository,
    session: &Session,
    options: &BackupOptions<'_>,
    content: Stream,
) -> Result<Assembled> {
    let (items, taken) = bounded(ITEM_GROUPS_MOST);
    let (work, _) = bounded(1);
    let mut emitter = Emitter::new(items, work);
    let path = options.paths.first().cloned().unwrap_or_default();
    let components: Vec<Vec<u8>> = path.iter().skip(1).map(|c| c.as_encoded_bytes().to_vec()).collect();
    let node = |name: &[u8], mode, kind| {
        let Description { uid, gid, time, .. } = options.description;
        Node { name: name.to_vec(), kind, mode, uid, gid, modified: time, xattrs: Vec::new(), extensions: Vec::new() }
    };
    let (name, folders) = components.split_last().ok_or(SnapshotError::NothingToBackUp)?;
    let paths: Vec<_> = path.ancestors().skip(1).collect();
    for (folder, path) in std::iter::once(&b"root".to_vec()).chain(folders).zip(paths.iter().rev()) {
        let node = node(folder, 0o755, NodeKind::Folder { tree: Stream::default() });
        emitter.emit(Item::Enter(Box::new(EnteredFolder { node, path: path.to_path_buf(), before: None })))?;
    }
    let outcome = scan::outcome_by_content(before_stream(repository, options, &components)?.as_ref(), &content);
    emitter.emit(Item::Ready { node: node(name, 0o644, NodeKind::File { content, links: 0 }), outcome })?;
    for _ in 0..=folders.len() {
        emitter.emit(Item::Leave)?;
    }
    emitter.finish()?;
    Assembler::new(session, repository.namer(), options.progress)?.run(&taken)
}

/// What the parent has of a stream that is stored at this path. If that cannot be read, the stream is a new one.
fn before_stream(repository: &Repository, options: &BackupOptions<'_>, path: &[Vec<u8>]) -> Result<Option<Stream>> {
    let mut reader = repository.reader()?;
    let mut found = options.parent.as_ref().map(|(_, parent)| parent.root.clone());
    for name in path {
        let tree = found.as_ref().and_then(Node::tree);
        found = tree.and_then(|tree| crate::tree::find(&mut reader, tree, name).ok().flatten());
    }
    Ok(found.and_then(Node::into_content))
}

/// What is to become a snapshot.
struct Walked {
    assembled: Assembled,
    stat: Option<Stream>,
    parent_lacks: bool,
}

/// Starts a session, does the work in it, and commits; again if packs vanished meanwhile.
fn run(
    repository: &Arc<Repository>,
    options: &BackupOptions<'_>,
    mut work: impl FnMut(&Session, i64) -> Result<Walked>,
) -> Result<BackupOutcome> {
    let parent = options.parent.as_ref().map(|(name, _)| *name);
    let session = Session::start(repository, parent, options.compression, options.mode)?;
    for attempt in 1.. {
        let started_ms = (options.clock)();
        let Walked { assembled, stat, parent_lacks } = work(&session, started_ms)?;
        session.flush()?;
        let snapshot = describe(options, assembled, stat, &session);
        let worst_verdict = worst_verdict(&snapshot);
        let not_consistent = not_consistent(&snapshot);
        if options.require_app_ok && !not_consistent.is_empty() {
            return Err(SnapshotError::AppNotConsistent { applications: not_consistent });
        }
        let unchanged =
            options.parent.as_ref().filter(|(_, parent)| options.skip_if_unchanged && is_same(parent, &snapshot));
        if options.mode == SessionMode::DryRun || unchanged.is_some() {
            // What it names was asked for as if it were the new one.
            unchanged
                .filter(|_| options.mode == SessionMode::Store)
                .iter()
                .for_each(|(name, _)| session.vouch_for(name));
            let healed = heal(repository, &session, options.mode);
            return Ok(BackupOutcome { name: None, snapshot, worst_verdict, healed, parent_lacks });
        }
        match session.commit(snapshot.encode()?) {
            Ok(name) => {
                session.vouch_for(&name);
                let healed = heal(repository, &session, options.mode);
                return Ok(BackupOutcome { name: Some(name), snapshot, worst_verdict, healed, parent_lacks });
            }
            Err(StoreError::PacksGone { .. }) if attempt < ATTEMPTS => {}
            Err(e) => return Err(e.into()),
        }
    }
    Err(SnapshotError::WorkerLost)
}

/// What is stored now is not lost any more. If that cannot be written down, the next backup does it: the snapshot is
/// committed, and nothing is wrong with it.
fn heal(repository: &Repository, session: &Session, mode: SessionMode) -> Healed {
    match mode {
        SessionMode::Store => repository.heal(session.lost(), &session.packs()).unwrap_or_default(),
        SessionMode::DryRun => Healed::default(),
    }
}

fn is_same(parent: &Snapshot, snapshot: &Snapshot) -> bool {
    parent.root.kind == snapshot.root.kind && parent.paths == snapshot.paths
}

fn describe(options: &BackupOptions<'_>, assembled: Assembled, stat: Option<Stream>, session: &Session) -> Snapshot {
    let (chunks_new, added_bytes, data, meta) = session.stored();
    let statistics = Statistics {
        chunks_new,
        added_bytes,
        stored_bytes: data + meta,
        ended_ms: (options.clock)(),
        ..assembled.statistics
    };
    let Description { time, offset_seconds, host, user, uid, gid, mut tags, excludes, program } =
        options.description.clone();
    let mut paths: Vec<Vec<u8>> = options.paths.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect();
    paths.sort_unstable();
    paths.dedup();
    tags.sort_unstable();
    tags.dedup();
    Snapshot {
        time,
        offset_seconds,
        root: assembled.root,
        paths,
        host,
        user,
        uid,
        gid,
        tags,
        excludes,
        parent: options.parent.as_ref().map(|(name, _)| *name.as_bytes()),
        heads: options.heads.iter().map(|name| *name.as_bytes()).collect(),
        stat,
        applications: assembled.applications,
        not_captured: assembled.not_captured,
        owners: (options.owners)(&assembled.users, &assembled.groups),
        statistics,
        program,
        extensions: Vec::new(),
    }
}

fn worst_verdict(snapshot: &Snapshot) -> Option<Verdict> {
    snapshot.applications.iter().map(|app| Verdict::from_word(&app.verdict)).max()
}

/// The applications that are not there as they should be, each with its reason.
fn not_consistent(snapshot: &Snapshot) -> Vec<String> {
    let bad = snapshot.applications.iter().filter(|app| Verdict::from_word(&app.verdict) != Verdict::Consistent);
    let bad = bad.map(|app| format!("{} {}: {} ({})", app.kind, app.place().display(), app.verdict, app.detail));
    let missing = snapshot.not_captured.iter();
    let missing = missing.map(|app| format!("{} {}: not captured ({})", app.kind, app.place().display(), app.detail));
    bad.chain(missing).collect()
}

/// The walk, once more if packs turn out to be lost while it relies on the parent: then it looks everything up.
fn walk_in_trust(
    repository: &Arc<Repository>,
    session: &Session,
    options: &BackupOptions<'_>,
) -> Result<(Assembled, Scanned)> {
    loop {
        let trusted = session.trusts_parent();
        let walked = walk(repository, session, options)?;
        if !trusted || session.still_trusts_parent() {
            return Ok(walked);
        }
    }
}

/// The walk, the workers and the assembler, until all are done or one fails.
fn walk(repository: &Arc<Repository>, session: &Session, options: &BackupOptions<'_>) -> Result<(Assembled, Scanned)> {
    let (items, taken) = bounded(ITEM_GROUPS_MOST);
    let (work, from_scan) = bounded::<BatchWork>(BATCHES_MOST);
    let fatal = Mutex::new(None);
    let fail = |error: SnapshotError| drop(fatal.lock().get_or_insert(error).to_string());
    let scanner = Scanner::new(repository, session, options, Emitter::new(items, work))?;
    let assembler = Assembler::new(session, repository.namer(), options.progress)?;
    let done = std::thread::scope(|scope| {
        for _ in 0..options.read_concurrency.max(1) {
            let (from_scan, fail) = (from_scan.clone(), &fail);
            scope.spawn(move || {
                if let Err(e) = work_off(repository, session, options, &from_scan) {
                    fail(e);
                }
            });
        }
        drop(from_scan);
        let assembling = scope.spawn(move || assembler.run(&taken));
        let scanned = scanner.run();
        let assembled = assembling.join().unwrap_or(Err(SnapshotError::WorkerLost));
        (assembled, scanned)
    });
    if let Some(error) = fatal.into_inner() {
        return Err(error);
    }
    match done {
        (Ok(assembled), Ok(scanned)) => Ok((assembled, scanned)),
        // One end says that the other is gone; what the other says is the cause.
        (Err(SnapshotError::WorkerLost), Err(cause)) | (Err(cause), _) | (_, Err(cause)) => Err(cause),
    }
}

fn work_off(
    repository: &Arc<Repository>,
    session: &Session,
    options: &BackupOptions<'_>,
    work: &crossbeam_channel::Receiver<BatchWork>,
) -> Result<()> {
    let mut reader = FileReader::new(repository, session, options.compression, options.progress)?;
    for mut batch in work {
        let mut done = Vec::with_capacity(batch.tasks.len());
        for task in batch.tasks.drain(..) {
            let path = task.path().to_owned();
            done.push((path, read_task(&mut reader, task)?));
        }
        batch.batch.finish(done);
    }
    reader.flush()
}

fn read_task(reader: &mut FileReader<'_>, task: Task) -> Result<Result<FileRead>> {
    match task {
        Task::File(task) => reader.read(&task),
        Task::Stream(mut task) => match reader.read_stream(&mut *task.from, &task.path, task.cut, task.before.as_ref())
        {
            Err(e @ (SnapshotError::Store(_) | SnapshotError::Interrupted)) => Err(e),
            Err(e) => Ok(Err(e)),
            Ok(content) => {
                let node = Node { kind: NodeKind::File { content, links: 0 }, ..task.node };
                Ok(Ok(FileRead { node, unstable: false }))
            }
        },
    }
}

/// How much there is to back up, for a progress bar; a rough count that opens no file and follows no exclusion but
/// the patterns. Stops when `stop` says so.
pub fn estimate(
    paths: &[PathBuf],
    is_excluded: &dyn Fn(&std::path::Path, bool) -> bool,
    stop: &dyn Fn() -> bool,
) -> (u64, u64) {
    let (mut files, mut bytes) = (0, 0);
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut count = |path: PathBuf, status: &Status, folders: &mut Vec<PathBuf>| {
        if status.kind == rustix::fs::FileType::Directory {
            folders.push(path);
        } else {
            files += 1;
            bytes += if status.kind == rustix::fs::FileType::RegularFile { status.bytes } else { 0 };
        }
    };
    for path in paths {
        if let Ok(status) = Status::of_path(path) {
            count(path.clone(), &status, &mut folders);
        }
    }
    while let Some(path) = folders.pop().filter(|_| !stop()) {
        let Ok(mut folder) = OpenFolder::open(path) else { continue };
        while let Some(listed) = folder.next_entry() {
            let Some(Ok(status)) = listed.status else { continue };
            let path = folder.path.join(std::ffi::OsStr::from_bytes(&listed.name));
            if !is_excluded(&path, status.kind == rustix::fs::FileType::Directory) {
                count(path, &status, &mut folders);
            }
        }
    }
    (files, bytes)
}

#[cfg(test)]
mod tests;
