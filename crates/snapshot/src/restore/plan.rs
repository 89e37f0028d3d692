//! Planning: trees into windows of work, on a thread of its own, ahead of the applier.
//!
//! Owns the walk over the snapshot and what is done with each entry. Looks at the target, never changes it, so that a
//! dry run is the same plan.
//!
//! Invariant: a window is bounded in extents, files and bytes of names and attributes, however large a snapshot or a
//! file is; and nothing is planned to be deleted in a folder whose tree could not be read to its end.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Sender;
use rustix::fs::{FileType, OFlags, Stat, openat};
use treering_chunk::ChunkId;
use treering_store::ChunkReader;

use super::beneath::{Dirs, Folder, kind_of, list, look};
use super::job::{Action, Job};
use super::meta::{self, Meta};
use super::mounts::is_mounted_on;
use super::{Choice, Overwrite, Root, Work, add, roots};
use crate::allowance::Allowance;
use crate::error::{Result, SnapshotError};
use crate::node::{Node, NodeKind, Time};
use crate::progress::{Event, Outcome};
use crate::stream::{Extents, Stream};
use crate::tree::{DEPTH_MOST, TreeReader};

/// Extents of one window: at 72 bytes each, and a third of that again when they are looked up.
const WINDOW_EXTENTS_MOST: usize = if cfg!(test) { 5000 } else { 128 << 10 };
/// Files of one window, at some 300 bytes.
const WINDOW_FILES_MOST: usize = if cfg!(test) { 700 } else { 32 << 10 };
/// Names and attributes of one window.
const WINDOW_NAMES_MOST_BYTES: usize = 16 << 20;
/// Folders that wait to be walked: 2.5 million, if their trees are short.
const PENDING_MOST_BYTES: usize = 256 << 20;

/// Which walk it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Restore,
    /// Every file that was restored is compared.
    Verify,
}

/// One window of work.
#[derive(Debug, Default)]
pub(super) struct RestorePlan {
    /// Folders to be made, parents first.
    pub(super) folders: Vec<u32>,
    pub(super) jobs: Vec<Arc<Job>>,
    /// By job, then by offset.
    pub(super) pieces: Vec<Piece>,
    /// The last job goes on in the next window.
    pub(super) continues: bool,
    pub(super) after: Afterwards,
    names_bytes: usize,
}

/// What can only be done when all files are there.
#[derive(Debug, Default)]
pub(super) struct Afterwards {
    pub(super) folders: Vec<u32>,
    pub(super) links: Vec<Link>,
    pub(super) others: Vec<Other>,
    /// Folder and name.
    pub(super) deletions: Vec<(u32, Vec<u8>)>,
}

/// A part of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) job: u32,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// `None`: a hole, which only matters where there is an old file.
    pub(super) id: Option<ChunkId>,
}

/// The folder and the name of the first of several hard links.
type Head = Arc<(u32, Box<[u8]>)>;

/// A further name of a file.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) folder: u32,
    pub(super) name: Box<[u8]>,
    pub(super) head: Head,
    pub(super) bytes: u64,
    pub(super) modified: Time,
}

/// A link, a pipe, a socket or a device.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) folder: u32,
    pub(super) node: Node,
}

/// A folder that is still to be walked.
struct Pending {
    folder: u32,
    tree: Stream,
    path: PathBuf,
    depth: usize,
}

impl Pending {
    fn weight(&self) -> usize {
        64 + self.path.as_os_str().len() + self.tree.extents.len() * 40
    }
}

pub(super) struct Planner<'a> {
    work: &'a Work<'a>,
    mode: Mode,
    reader: ChunkReader<'a>,
    allowance: Allowance,
    dirs: Dirs<'a>,
    pending: Vec<Pending>,
    pending_bytes: usize,
    /// By number and content: what a hostile snapshot calls one file must be one.
    links: HashMap<(u64, u64), Head>,
    emitted: HashSet<u32>,
    plan: RestorePlan,
    to_applier: Sender<RestorePlan>,
}

/// What stands in an entry's place.
enum Decision {
    Do(Action),
    /// The user wants it left.
    Leave,
    Blocked(&'static str),
}

impl<'a> Planner<'a> {
    pub(super) fn new(work: &'a Work<'a>, mode: Mode, to_applier: Sender<RestorePlan>) -> Result<Self> {
        let (reader, allowance) = (work.repository.reader()?, work.allowance);
        let (dirs, pending, pending_bytes) = (Dirs::new(&work.beneath, &work.folders), Vec::new(), 0);
        let (links, emitted, plan) = (HashMap::new(), HashSet::from([0]), RestorePlan::default());
        Ok(Self { work, mode, reader, allowance, dirs, pending, pending_bytes, links, emitted, plan, to_applier })
    }

    /// Plans everything.
    pub(super) fn run(mut self) -> Result<()> {
        for root in &self.work.options.roots {
            self.root(root)?;
            while let Some(pending) = self.pending.pop() {
                self.pending_bytes -= pending.weight();
                self.folder(&pending)?;
            }
        }
        self.flush(false)
    }

    fn root(&mut self, root: &Root) -> Result<()> {
        let (mut folder, mut path) = (0, self.work.folders.shown(0, b""));
        for (name, node) in root.leading() {
            path.push(OsStr::from_bytes(&name));
            let made = self.enter(folder, &name, node, &path, Choice::Descend);
            let Some(next) = self.settle(&path, made)? else { return Ok(()) };
            folder = next;
        }
        match (root.last(), root.node.tree()) {
            (Some(name), _) => {
                let mut node = root.node.clone();
                node.name = name.to_vec();
                self.allowance.meet(&node)?;
                self.node(folder, &path, 0, node)
            }
            (None, Some(tree)) => self.target(root, tree),
            (None, None) => Err(SnapshotError::WrongKind { path: root.path.clone(), needed: "folder" }),
        }
    }

    /// A folder whose content goes into the target itself.
    fn target(&mut self, root: &Root, tree: &Stream) -> Result<()> {
        let Some(known) = self.work.folders.get(0) else { return Err(SnapshotError::WorkerLost) };
        match (self.work.options.selection)(&root.path, true) {
            Choice::Skip => return Ok(()),
            Choice::Take if self.mode == Mode::Restore => {
                let there = self.look(0, b".")?;
                let meta = self.folder_meta(0, b".", &root.node, there.as_ref());
                self.work.withheld.lock().add(&root.path, meta.withheld());
                self.work.folders.set_root(Folder { meta: Some(meta), name: Box::default(), ..*known });
                self.plan.after.folders.push(0);
            }
            _ => {}
        }
        self.push(Pending { folder: 0, tree: tree.clone(), path: root.path.clone(), depth: 0 });
        Ok(())
    }

    fn push(&mut self, pending: Pending) {
        self.pending_bytes += pending.weight();
        self.pending.push(pending);
    }

    fn settle<T>(&self, path: &Path, result: Result<Option<T>>) -> Result<Option<T>> {
        match result {
            Err(e) if super::is_fatal(&e) => Err(e),
            Err(e) => {
                self.work.left_out.add(path);
                self.work.tell(path, "restore", &e);
                Ok(None)
            }
            found => found,
        }
    }

    fn meta(&self, node: &Node) -> Meta {
        Meta::of(node, self.work.options.ownership, self.work.options.privileged)
    }

    /// What is put on a folder, which may be there.
    fn folder_meta(&mut self, parent: u32, name: &[u8], node: &Node, there: Option<&Stat>) -> Meta {
        let meta = self.meta(node);
        let Some(stat) = there.filter(|stat| meta.withholds() && kind_of(stat) == FileType::Directory) else {
            return meta;
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = self.dirs.open(parent).ok().and_then(|fd| openat(&fd, name, flags, rustix::fs::Mode::empty()).ok());
        open.map_or_else(|| meta.clone(), |fd| meta.of_existing(fd.as_fd(), stat))
    }

    /// Walks one folder; those in it wait.
    fn folder(&mut self, pending: &Pending) -> Result<()> {
        let mut extra = self.extra_names(pending)?;
        let (mut nodes, waiting) = (TreeReader::new(&pending.tree), self.pending.len());
        loop {
            self.work.check_interrupted()?;
            match self.allowance.read_next(&mut nodes, &mut self.reader) {
                Ok(Some(node)) => {
                    extra.remove(&node.name);
                    self.node(pending.folder, &pending.path, pending.depth, node)?;
                }
                Ok(None) => break,
                Err(e) => {
                    // What the rest of the folder was is unknown, so nothing in it is called extra.
                    extra.clear();
                    self.settle::<()>(&pending.path, Err(e))?;
                    break;
                }
            }
        }
        if let Some(found) = self.pending.get_mut(waiting..) {
            found.reverse();
        }
        if self.work.folders.get(pending.folder).is_some_and(|folder| folder.is_elsewhere) {
            return self.leave_extra(pending, &extra);
        }
        let mut extra: Vec<_> = extra.into_iter().collect();
        extra.sort_unstable();
        self.plan.after.deletions.extend(extra.into_iter().map(|name| (pending.folder, name)));
        Ok(())
    }

    /// What is in the target's folder, if what the snapshot does not have is to go; otherwise what restores have left
    /// unfinished.
    fn extra_names(&mut self, pending: &Pending) -> Result<HashSet<Vec<u8>>> {
        let is_fresh = self.work.folders.get(pending.folder).is_none_or(|folder| folder.is_fresh);
        if self.mode == Mode::Verify || is_fresh {
            return Ok(HashSet::new());
        }
        let names =
            self.dirs.open(pending.folder).and_then(|fd| list(&fd).map_err(SnapshotError::io("list", &pending.path)));
        let names = match self.work.options.delete {
            true => self.settle(&pending.path, names.map(Some))?.unwrap_or_default(),
            // A folder need not be readable for being restored into.
            false => names.unwrap_or_default(),
        };
        let goes = |name: &Vec<u8>| self.work.options.delete || self.work.beneath.is_temporary_of_another(name);
        Ok(names.into_iter().filter(goes).collect())
    }

    /// Tells what would be deleted if it were not on a file system of its own.
    fn leave_extra(&mut self, pending: &Pending, extra: &HashSet<Vec<u8>>) -> Result<()> {
        for name in extra {
            let is_folder = self.look(pending.folder, name)?.is_some_and(|stat| kind_of(&stat) == FileType::Directory);
            if (self.work.options.selection)(&pending.path.join(OsStr::from_bytes(name)), is_folder) == Choice::Take {
                let path = self.work.folders.placed(pending.folder, b"");
                return self.settle::<()>(&pending.path, Err(SnapshotError::MountedBeneath { path })).map(|_| ());
            }
        }
        Ok(())
    }

    fn node(&mut self, folder: u32, parent: &Path, depth: usize, node: Node) -> Result<()> {
        let path = parent.join(OsStr::from_bytes(&node.name));
        let choice = (self.work.options.selection)(&path, node.tree().is_some());
        match (choice, &node.kind) {
            (Choice::Skip, _) => Ok(()),
            (choice, NodeKind::Folder { tree }) => self.sub_folder(folder, &node, tree, path, depth + 1, choice),
            (Choice::Descend, _) => Ok(()),
            (Choice::Take, NodeKind::File { content, links }) => {
                let planned = self.file(folder, &node, content, *links, &path);
                self.settle(&path, planned.map(Some)).map(|_| ())
            }
            (Choice::Take, _) => self.other(folder, node),
        }
    }

    fn sub_folder(
        &mut self,
        parent: u32,
        node: &Node,
        tree: &Stream,
        path: PathBuf,
        depth: usize,
        choice: Choice,
    ) -> Result<()> {
        if self.mode == Mode::Verify && self.work.left_out.has(&path) {
            return Ok(());
        }
        let too_much = if depth > DEPTH_MOST {
            Some(("the depth of folders", DEPTH_MOST as u64))
        } else if self.pending_bytes > PENDING_MOST_BYTES {
            Some(("the memory for folders that wait", PENDING_MOST_BYTES as u64))
        } else {
            None
        };
        if let Some((what, limit)) = too_much {
            return self.settle::<()>(&path, Err(SnapshotError::Limit { what, limit })).map(|_| ());
        }
        let entered = self.enter(parent, &node.name, Some(node), &path, choice);
        let Some(folder) = self.settle(&path, entered)? else { return Ok(()) };
        self.push(Pending { folder, tree: tree.clone(), path, depth });
        Ok(())
    }

    /// Adds a folder to the table, after a look at what stands in its place.
    fn enter(
        &mut self,
        parent: u32,
        name: &[u8],
        node: Option<&Node>,
        path: &Path,
        choice: Choice,
    ) -> Result<Option<u32>> {
        let there = self.look(parent, name)?;
        let is_folder = there.as_ref().is_some_and(|stat| kind_of(stat) == FileType::Directory);
        if let Some(own) = there.as_ref().and_then(|stat| self.work.own.at(stat)) {
            let path = self.work.folders.placed(parent, name);
            return Err(SnapshotError::OfRepository { path, own: own.to_owned() });
        }
        let replaces = there.is_some() && !is_folder;
        if replaces && !self.work.options.overwrite.replaces_kinds() {
            return Err(SnapshotError::Blocked {
                path: path.to_owned(),
                found: there.as_ref().map_or("thing", kind_word),
            });
        }
        let stays = is_folder && (choice != Choice::Take || self.work.options.overwrite == Overwrite::Never);
        let node = node.filter(|_| !stays && self.mode == Mode::Restore);
        let meta = node.map(|node| self.folder_meta(parent, name, node, there.as_ref()));
        self.work.withheld.lock().add(path, meta.as_ref().map_or(Vec::new(), Meta::withheld));
        let is_locked = meta.is_some() && there.is_some_and(|stat| is_folder && stat.st_mode & 0o700 != 0o700);
        let hands_down = if is_folder {
            meta::hands_down_acl(&*self.dirs.open(parent)?, name)
        } else {
            self.work.folders.get(parent).is_some_and(|folder| folder.hands_down_acl)
        };
        let is_elsewhere = is_folder && self.is_elsewhere(parent, name, path)?;
        let folder = Folder {
            parent,
            name: name.into(),
            is_fresh: !is_folder,
            replaces,
            hands_down_acl: hands_down,
            is_locked,
            is_elsewhere,
            meta,
        };
        let id = self.work.folders.add(folder);
        if choice == Choice::Take {
            self.emit(id);
        }
        Ok(Some(id))
    }

    /// Whether a folder that is there is on a file system that is mounted beneath a root: it matters where things are
    /// deleted.
    fn is_elsewhere(&mut self, parent: u32, name: &[u8], path: &Path) -> Result<bool> {
        if roots::leads(&self.work.options.roots, path) {
            return Ok(false);
        }
        if !self.work.options.delete || self.work.folders.get(parent).is_some_and(|parent| parent.is_elsewhere) {
            return Ok(self.work.options.delete);
        }
        let fd = self.dirs.open(parent)?;
        is_mounted_on(&fd, name).map_err(|e| SnapshotError::io("look at", self.work.folders.placed(parent, name))(e))
    }

    /// What is there, unless nothing can be.
    fn look(&mut self, folder: u32, name: &[u8]) -> Result<Option<Stat>> {
        if self.mode == Mode::Restore && self.work.folders.get(folder).is_none_or(|folder| folder.is_fresh) {
            return Ok(None);
        }
        let fd = self.dirs.open(folder)?;
        look(&fd, name).map_err(|e| SnapshotError::io("look at", self.work.folders.placed(folder, name))(e))
    }

    /// Sees to it that a folder is made before what is in it.
    fn emit(&mut self, id: u32) {
        let (mut missing, mut at) = (Vec::new(), id);
        while self.emitted.insert(at) {
            missing.push(at);
            at = self.work.folders.get(at).map_or(0, |folder| folder.parent);
        }
        if self.mode == Mode::Restore {
            self.plan.after.folders.extend(missing.iter().rev());
            self.plan.folders.extend(missing.iter().rev());
        }
    }

    fn file(&mut self, folder: u32, node: &Node, content: &Stream, links: u64, path: &Path) -> Result<()> {
        let bytes = content.bytes();
        let link = (links, hash(content));
        if self.mode == Mode::Restore {
            add(&self.work.tally.total_files, 1);
            add(&self.work.tally.total_bytes, bytes);
            if let Some(head) = self.links.get(&link).filter(|_| links != 0).map(Arc::clone) {
                return self.link(folder, node, head, bytes);
            }
        }
        let action = match self.decide(folder, node, path)? {
            Decision::Do(action) => action,
            // It was told when it was left.
            Decision::Leave if self.mode == Mode::Verify => return Ok(()),
            Decision::Leave => return self.leave(path, bytes),
            Decision::Blocked(found) => return Err(SnapshotError::Blocked { path: path.to_owned(), found }),
        };
        if links != 0 {
            self.links.insert(link, Arc::new((folder, node.name.as_slice().into())));
        }
        self.add_job(folder, node, content, action)
    }

    fn add_job(&mut self, folder: u32, node: &Node, content: &Stream, action: Action) -> Result<()> {
        let meta = self.meta(node);
        self.emit(folder);
        self.make_room(&meta)?;
        let inherits_acl = self.work.folders.get(folder).is_some_and(|folder| folder.hands_down_acl);
        let job = Arc::new(Job::new(folder, node.name.as_slice().into(), meta, content.bytes(), action, inherits_acl));
        self.plan.jobs.push(Arc::clone(&job));
        if action == Action::Keep {
            return Ok(());
        }
        match self.extents(&job, content) {
            Err(e) if !super::is_fatal(&e) => {
                job.fail(self.work, &e);
                Ok(())
            }
            planned => planned,
        }
    }

    fn make_room(&mut self, meta: &Meta) -> Result<()> {
        let bytes = 64 + meta.bytes();
        if self.plan.jobs.len() >= WINDOW_FILES_MOST || self.plan.names_bytes + bytes > WINDOW_NAMES_MOST_BYTES {
            self.flush(false)?;
        }
        self.plan.names_bytes += bytes;
        Ok(())
    }

    /// Adds the extents of a file, over several windows if there are many.
    fn extents(&mut self, job: &Arc<Job>, content: &Stream) -> Result<()> {
        let (mut extents, mut offset) = (Extents::of(content), 0u64);
        while let Some(extent) = extents.read_next(&mut self.reader)? {
            if self.plan.pieces.len() >= WINDOW_EXTENTS_MOST {
                self.work.check_interrupted()?;
                self.flush(true)?;
                self.plan.jobs.push(Arc::clone(job));
            }
            let (id, bytes) = (extent.chunk(), extent.bytes());
            if id.is_none() {
                job.is_holey.store(true, Ordering::Relaxed);
            }
            if id.is_some() || job.compares() {
                self.plan.pieces.push(Piece { job: (self.plan.jobs.len() - 1) as u32, offset, bytes, id });
            }
            offset = offset.saturating_add(bytes);
        }
        Ok(())
    }

    fn link(&mut self, folder: u32, node: &Node, head: Head, bytes: u64) -> Result<()> {
        self.emit(folder);
        self.plan.after.links.push(Link {
            folder,
            name: node.name.as_slice().into(),
            head,
            bytes,
            modified: node.modified,
        });
        Ok(())
    }

    fn leave(&self, path: &Path, bytes: u64) -> Result<()> {
        add(&self.work.tally.files_skipped, 1);
        add(&self.work.tally.bytes_skipped, bytes);
        self.work.left_out.add(path);
        self.work.progress.event(Event::Bytes { bytes });
        self.work.progress.event(Event::Done { path, is_folder: false, outcome: Outcome::Unmodified, bytes });
        Ok(())
    }

    fn decide(&mut self, folder: u32, node: &Node, path: &Path) -> Result<Decision> {
        if self.mode == Mode::Verify {
            if self.work.left_out.has(path) {
                return Ok(Decision::Leave);
            }
            let there = self.look(folder, &node.name)?.filter(|stat| kind_of(stat) == FileType::RegularFile);
            let stat = there.ok_or_else(|| SnapshotError::Differs { path: path.to_owned() })?;
            return Ok(Decision::Do(Action::Verify { old_bytes: stat.st_size as u64 }));
        }
        Ok(match self.look(folder, &node.name)? {
            None => Decision::Do(Action::Create),
            Some(stat) => self.decide_over(node, &stat),
        })
    }

    fn decide_over(&self, node: &Node, stat: &Stat) -> Decision {
        let (options, kind) = (self.work.options, kind_of(stat));
        if is_to_be_left(options.overwrite, node.modified, stat) {
            return Decision::Leave;
        }
        let old_bytes = stat.st_size as u64;
        match kind {
            FileType::Directory if !options.delete || !options.overwrite.replaces_kinds() => {
                Decision::Blocked("folder")
            }
            FileType::RegularFile => {
                let same = old_bytes == node.size() && meta::modified(stat) == node.modified;
                let keep = options.overwrite == Overwrite::IfChanged && same;
                Decision::Do(if keep { Action::Keep } else { Action::Update { old_bytes } })
            }
            _ => Decision::Do(Action::Replace),
        }
    }

    fn other(&mut self, folder: u32, node: Node) -> Result<()> {
        if self.mode == Mode::Restore {
            add(&self.work.tally.total_files, 1);
            self.emit(folder);
            self.plan.after.others.push(Other { folder, node });
        }
        Ok(())
    }

    /// Hands the window over.
    fn flush(&mut self, continues: bool) -> Result<()> {
        let mut plan = std::mem::take(&mut self.plan);
        plan.continues = continues;
        self.to_applier.send(plan).map_err(|_| SnapshotError::WorkerLost)
    }
}

/// Whether the user wants what is there left as it is.
pub(super) fn is_to_be_left(overwrite: Overwrite, ours: Time, stat: &Stat) -> bool {
    match overwrite {
        Overwrite::Never => true,
        Overwrite::IfNewer => ours <= meta::modified(stat),
        Overwrite::Always | Overwrite::IfChanged => false,
    }
}

/// What stands in the way, as a word.
pub(super) fn kind_word(stat: &Stat) -> &'static str {
    match kind_of(stat) {
        FileType::Directory => "folder",
        FileType::Symlink => "symbolic link",
        FileType::RegularFile => "file",
        _ => "special file",
    }
}

/// Two files with the same extents have the same bytes.
fn hash(content: &Stream) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.level.hash(&mut hasher);
    for extent in &content.extents {
        extent.chunk().hash(&mut hasher);
        extent.bytes().hash(&mut hasher);
    }
    hasher.finish()
}
