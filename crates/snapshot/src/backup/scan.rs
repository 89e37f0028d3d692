//! The walk of a backup: folders in the order of the trees, each entry compared with the parent, files that must be read
//! handed to the workers, and what applications claim handed to them.
//!
//! One thread, which others run ahead of: they open the folders that come next, unless excluded or claimed. Never opens
//! a file. Invariant: every entry that is there is emitted, excluded by a rule, or reported as failed. Every path that was
//! asked for is a root of its own, also beneath another one: it is emitted, left to an application, or reported.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FileType;
use treering_chunk::Namer;
use treering_store::{LostChunks, Repository, Session, Sink};
use xattr::FileExt;

use super::claims::{Claims, Taken};
use super::parent::{Parent, ParentFolder};
use super::pieces::Pieces;
use super::queue::{Emitter, EnteredFolder, Item, Task};
use super::read::{FileTask, node, read_xattrs, status};
use super::{BackupOptions, Marker};
use crate::ahead::Ahead;
use crate::capture::{Capture, Content, Part};
use crate::error::{Result, SnapshotError};
use crate::node::{Node, NodeKind, Time};
use crate::progress::{Event, Outcome};
use crate::record::Snapshot;
use crate::stat::{Identity, StatWriter};
use crate::stream::{Extent, Stream, StreamBuilder};
use crate::tree::DEPTH_MOST;
use crate::walk::{Listed, OpenFolder, Status};

/// Clocks of file systems tick coarsely: a file whose ctime is this close before the parent's start may have changed
/// again within the same tick after it was read.
const TICK_MS: i64 = 50;
/// So many sub-folders are opened ahead in a folder: half of them at a time, for a thread that is woken should have
/// something to do …
const SCOUTS: usize = 16;
/// … and so many in all folders on the way down.
const SCOUTS_MOST: usize = 64;

/// Extended attributes: names and values.
type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The paths that were asked for, as a tree of components.
#[derive(Debug, Default)]
struct Wanted {
    /// Everything below; otherwise it is on the way to what was asked for, and nothing else is taken of it.
    is_whole: bool,
    /// What was asked for below, in either case.
    children: BTreeMap<Vec<u8>, Wanted>,
}

impl Wanted {
    fn of(paths: &[PathBuf]) -> Self {
        let mut root = Self::default();
        for path in paths {
            let mut at = &mut root;
            for component in path.components().filter_map(|c| match c {
                std::path::Component::Normal(name) => Some(name),
                _ => None,
            }) {
                at = at.children.entry(component.as_bytes().to_vec()).or_default();
            }
            at.is_whole = true;
        }
        root
    }

    /// The names that were asked for below.
    fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.children.keys().map(|name| OsStr::from_bytes(name))
    }
}

/// What a folder says of the entries in it.
struct Rules {
    is_whole: bool,
    is_thinned: bool,
    device: Option<u64>,
}

/// A folder that the walk is in.
struct Frame {
    folder: OpenFolder,
    parent: Option<ParentFolder>,
    /// What is wanted of it and was not met yet.
    wanted: Wanted,
    /// A marker excludes what was not asked for by name.
    is_thinned: bool,
    /// The device that it must stay on.
    device: Option<u64>,
    /// Names that applications add, in order.
    added: VecDeque<Vec<u8>>,
    /// An entry that was read from the listing and comes after an added name.
    held: Option<Listed>,
    captures: Vec<(Box<dyn Capture>, usize, &'static str, PathBuf)>,
    /// Sub-folders that are being opened, in order, by their names.
    scouts: VecDeque<(Vec<u8>, Ahead<Option<OpenFolder>>)>,
}

/// What the walk has found besides what it emitted.
pub(super) struct Scanned {
    pub(super) stat: Stream,
    pub(super) errors: u64,
    /// How many of the paths that were asked for are there.
    pub(super) roots_found: usize,
    /// Whether some of what the parent names is in no pack or cannot be read.
    pub(super) parent_lacks: bool,
}

pub(super) struct Scanner<'a> {
    options: &'a BackupOptions<'a>,
    namer: &'a Namer,
    /// Chunks that nothing is taken over of.
    lost: &'a LostChunks,
    /// Whether the parent's chunks count as there without being looked up.
    trusts_parent: bool,
    parent_lacks: bool,
    sink: Sink,
    emitter: Emitter,
    parent: Parent<'a>,
    stats: StatWriter,
    stack: Vec<Frame>,
    /// How many sub-folders are being opened in all of them.
    scouts: usize,
    /// Files with several names: device and inode to the number of their group.
    links: HashMap<(u64, u64), u64>,
    link_numbers: HashMap<u64, (u64, u64)>,
    claims: Claims<'a>,
    /// What captures store while they are started.
    pieces: Pieces<'a>,
    /// Folders that are never entered: the repository itself.
    forbidden: Vec<(u64, u64)>,
    parent_start: Option<Time>,
    errors: u64,
    roots_found: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(
        repository: &'a Arc<Repository>,
        session: &'a Session,
        options: &'a BackupOptions<'a>,
        emitter: Emitter,
    ) -> Result<Self> {
        let (lost, trusts_parent) = (session.lost(), session.trusts_parent());
        let parent = options.parent.as_ref().map(|(_, snapshot)| snapshot);
        let start = |snapshot: &Snapshot| {
            let ms = snapshot.statistics.started_ms.saturating_sub(TICK_MS);
            Time { seconds: ms.div_euclid(1000), nanoseconds: (ms.rem_euclid(1000) * 1_000_000) as u32 }
        };
        let forbidden = options.forbidden.iter().filter_map(|path| Status::of_path(path).ok());
        Ok(Self {
            namer: repository.namer(),
            lost,
            trusts_parent,
            parent_lacks: false,
            sink: session.sink()?,
            emitter,
            parent: Parent::new(repository.reader()?, parent),
            stats: StatWriter::default(),
            stack: Vec::new(),
            scouts: 0,
            links: HashMap::new(),
            link_numbers: HashMap::new(),
            claims: Claims::new(parent.filter(|_| trusts_parent && lost.is_empty())),
            pieces: Pieces::new(repository, session, options)?,
            forbidden: forbidden.map(|status| (status.device, status.inode)).collect(),
            parent_start: parent.map(start),
            errors: 0,
            roots_found: 0,
            options,
        })
    }

    /// Walks everything.
    pub(super) fn run(mut self) -> Result<Scanned> {
        self.enter_root()?;
        while !self.stack.is_empty() {
            if self.options.progress.is_interrupted() {
                return Err(SnapshotError::Interrupted);
            }
            match self.next_entry() {
                Some(listed) => {
                    self.scout();
                    self.entry(listed)?;
                }
                None => self.leave()?,
            }
        }
        self.emitter.finish()?;
        let stat = self.stats.finish(&mut self.sink)?;
        self.pieces.flush()?;
        self.sink.flush()?;
        let parent_lacks = self.parent_lacks || self.parent.is_damaged();
        Ok(Scanned { stat, errors: self.errors, roots_found: self.roots_found, parent_lacks })
    }

    fn failed(&mut self, path: &Path, error: &SnapshotError) {
        self.errors += 1;
        self.options.progress.event(Event::Failed { path, during: "scan", error });
    }

    /// The depth of what is entered next; the root has 0.
    fn depth(&self) -> u32 {
        self.stack.len() as u32
    }
}

/// Folders.
impl Scanner<'_> {
    fn enter_root(&mut self) -> Result<()> {
        let (path, wanted) = (PathBuf::from("/"), Wanted::of(&self.options.paths));
        let status = Status::of_path(&path)?;
        let before = self.options.parent.as_ref().map(|(_, snapshot)| snapshot.root.clone());
        let found = Found { path, name: b"root".to_vec(), status, before };
        self.roots_found += usize::from(wanted.is_whole);
        self.enter(found, wanted, None)
    }

    /// Enters a folder, or reports why it cannot be. It stays on this device; a root, on its own.
    fn enter(&mut self, found: Found, wanted: Wanted, device: Option<u64>) -> Result<()> {
        let Found { path, name, status, before } = found;
        let opened = self.open(&path, &name, &wanted).and_then(|folder| self.thin_out(folder, &wanted));
        let opened = opened.and_then(|opened| match self.stack.len() < DEPTH_MOST {
            true => Ok(opened),
            false => Err(SnapshotError::Limit { what: "the depth of folders", limit: DEPTH_MOST as u64 }),
        });
        let (folder, is_thinned) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.skip_parent(before.as_ref());
                self.failed(&path, &error);
                self.not_met(&path, wanted.children);
                return Ok(());
            }
        };
        let xattrs = self.xattrs(&path);
        let mut node = node(name, &status, xattrs, NodeKind::Folder { tree: Stream::default() });
        if !wanted.is_whole && device.is_none() {
            // Only on the way to what was asked for: what else happens in it must not make an unchanged tree another.
            node.modified = Time::default();
        }
        let depth = self.depth();
        self.stats.enter(&mut self.sink, self.namer, path.as_os_str().as_bytes(), depth, status.device)?;
        let parent = before.as_ref().and_then(|before| self.parent.enter(before, depth));
        self.emitter.emit(Item::Enter(Box::new(EnteredFolder { node, path, before })))?;
        let device = device.or(wanted.is_whole.then_some(status.device));
        let (added, captures, scouts) = Default::default();
        let mut frame = Frame { folder, parent, wanted, is_thinned, device, added, held: None, captures, scouts };
        self.claim(&mut frame)?;
        self.stack.push(frame);
        Ok(())
    }

    fn skip_parent(&mut self, before: Option<&Node>) {
        if before.is_some_and(|node| node.tree().is_some()) {
            self.parent.skip(self.depth());
        }
    }

    /// Opens a folder, or takes it from who opened it ahead.
    fn open(&mut self, path: &Path, name: &[u8], wanted: &Wanted) -> Result<OpenFolder> {
        if !wanted.is_whole {
            return OpenFolder::restricted(path.to_owned(), wanted.names());
        }
        if self.claims.is_claimed(path) {
            return OpenFolder::restricted(path.to_owned(), std::iter::empty());
        }
        let opened = self.take_scout(name).and_then(Ahead::finish);
        opened.map_or_else(|| OpenFolder::open(path.to_owned()), Ok)
    }

    /// Who opens this sub-folder ahead. Those whose folders the walk has passed over are let go.
    fn take_scout(&mut self, name: &[u8]) -> Option<Ahead<Option<OpenFolder>>> {
        let scouts = &mut self.stack.last_mut()?.scouts;
        loop {
            let (scouted, ahead) = scouts.pop_front_if(|(scouted, _)| scouted.as_slice() <= name)?;
            self.scouts -= 1;
            if scouted == name {
                return Some(ahead);
            }
        }
    }

    /// Has the folders that come next opened ahead, but none that is excluded or claimed.
    fn scout(&mut self) {
        let is_due = |frame: &Frame| frame.wanted.is_whole && frame.scouts.len() <= SCOUTS / 2;
        if self.scouts == SCOUTS_MOST || !self.stack.last().is_some_and(|f| f.folder.has_unseen() && is_due(f)) {
            return;
        }
        let Some(mut frame) = self.stack.pop() else { return };
        while frame.scouts.len() < SCOUTS && self.scouts < SCOUTS_MOST {
            let Some(Listed { name, status }) = frame.folder.next_unseen() else { break };
            let Some(Ok(status)) = status.filter(|s| s.is_ok_and(|s| s.kind == FileType::Directory)) else { continue };
            let name = name.clone();
            let path = frame.folder.path.join(OsStr::from_bytes(&name));
            let is_left_out = self.is_excluded(&path, &status) || self.is_elsewhere(&status, frame.device);
            if !self.claims.is_claimed(&path) && !is_left_out {
                frame.scouts.push_back((name, OpenFolder::ahead(path)));
                self.scouts += 1;
            }
        }
        self.stack.push(frame);
    }

    /// A folder that a marker excludes keeps itself and the marker, and what was asked for in it. Says whether it is one.
    fn thin_out(&self, folder: OpenFolder, wanted: &Wanted) -> Result<(OpenFolder, bool)> {
        let marker = self.options.markers.iter().find(|marker| wanted.is_whole && marker.is_in(&folder));
        let Some(Marker { name, .. }) = marker else { return Ok((folder, false)) };
        let names = wanted.names().filter(|asked| *asked != name.as_str()).chain(std::iter::once(name.as_ref()));
        Ok((OpenFolder::restricted(folder.path, names)?, true))
    }

    fn leave(&mut self) -> Result<()> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        self.scouts -= frame.scouts.len();
        if let Some(folder) = frame.parent {
            self.parent.leave(folder);
        }
        self.not_met(&frame.folder.path, frame.wanted.children);
        for (capture, number, kind, path) in frame.captures {
            self.emitter.emit(Item::Conclude { capture, number, kind, path })?;
        }
        self.emitter.emit(Item::Leave)
    }

    /// The next entry of the innermost folder, names that applications add in their order among the others.
    fn next_entry(&mut self) -> Option<Listed> {
        let frame = self.stack.last_mut()?;
        let listed = frame.held.take().or_else(|| frame.folder.next_entry());
        let added_is_next = match (frame.added.front(), &listed) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(added), Some(listed)) => *added <= listed.name,
        };
        if !added_is_next {
            return listed;
        }
        let name = frame.added.pop_front()?;
        frame.held = listed.filter(|listed| listed.name != name);
        Some(Listed { name, status: None })
    }

    /// Reports what was asked for in a folder and is not in the snapshot.
    fn not_met(&mut self, folder: &Path, wanted: BTreeMap<Vec<u8>, Wanted>) {
        for (name, wanted) in wanted {
            self.not_there(&folder.join(OsStr::from_bytes(&name)), Some(wanted));
        }
    }

    /// The same for what was asked for of one path and in it. Of what an application claims, that decides.
    fn not_there(&mut self, path: &Path, asked: Option<Wanted>) {
        let Some(Wanted { is_whole, children }) = asked else { return };
        if is_whole && !self.claims.is_claimed(path) {
            let error = Status::of_path(path).err().unwrap_or_else(|| {
                let source = std::io::Error::other(
                    "the way to it leads through a link that is stored as one, or a folder that cannot be read",
                );
                SnapshotError::Io { action: "store", path: path.to_owned(), source }
            });
            self.failed(path, &error);
        }
        self.not_met(path, children);
    }

    fn xattrs(&mut self, path: &Path) -> Xattrs {
        let xattrs = read_xattrs(path, xattr::list(path), |name| xattr::get(path, name));
        self.or_none(path, xattrs)
    }

    /// A file whose extended attributes cannot be read is stored without any, and that is told.
    fn or_none(&mut self, path: &Path, xattrs: Result<Xattrs>) -> Xattrs {
        xattrs.unwrap_or_else(|error| {
            self.failed(path, &error);
            Xattrs::new()
        })
    }
}

/// An entry that is there.
struct Found {
    path: PathBuf,
    name: Vec<u8>,
    status: Status,
    /// The parent's entry of the same path.
    before: Option<Node>,
}

/// Entries.
impl Scanner<'_> {
    fn entry(&mut self, listed: Listed) -> Result<()> {
        let depth = self.depth();
        let Some(frame) = self.stack.last_mut() else { return Ok(()) };
        let path = frame.folder.path.join(OsStr::from_bytes(&listed.name));
        let known = frame.parent.as_mut().and_then(|folder| self.parent.find(folder, &listed.name));
        let (before, identity) = known.map_or((None, None), |(node, identity)| (Some(node), identity));
        let before_is_folder = before.as_ref().is_some_and(|node| node.tree().is_some());
        let asked = frame.wanted.children.remove(&listed.name);
        let rules = Rules { is_whole: frame.wanted.is_whole, is_thinned: frame.is_thinned, device: frame.device };
        let is_root = asked.as_ref().is_some_and(|asked| asked.is_whole);
        let mut entered = false;
        if self.claims.is_claimed(&path) {
            self.roots_found += usize::from(is_root);
            entered = self.captured(path, &listed.name, before, rules.device, asked.unwrap_or_default())?;
        } else {
            match listed.status {
                // It vanished between listing and looking: as if it had never been there, unless it was asked for.
                None => self.not_there(&path, asked),
                Some(Err(e)) => self.failed(&path, &SnapshotError::io("look at", &path)(e.into())),
                Some(Ok(status)) => {
                    self.roots_found += usize::from(is_root);
                    let is_folder = status.kind == FileType::Directory;
                    if let Some((wanted, device)) = self.taken(&path, &status, asked, &rules) {
                        let before = before.filter(|node| (node.tree().is_some()) == is_folder);
                        entered = is_folder && before.is_some();
                        self.found(Found { path, name: listed.name, status, before }, identity, wanted, device)?;
                    }
                }
            }
        }
        if before_is_folder && !entered {
            self.parent.skip(depth);
        }
        Ok(())
    }

    /// What is taken of an entry, if anything, and the device that it stays on.
    fn taken(
        &self,
        path: &Path,
        status: &Status,
        asked: Option<Wanted>,
        rules: &Rules,
    ) -> Option<(Wanted, Option<u64>)> {
        let (is_asked, mut wanted) = (asked.is_some(), asked.unwrap_or_default());
        if wanted.is_whole || (is_asked && !rules.is_whole) {
            return Some((wanted, None));
        }
        let is_excluded = self.is_excluded(path, status) || (is_asked && rules.is_thinned);
        // Where another file system is mounted, an empty folder is kept, as there is one beneath it.
        let is_elsewhere = self.is_elsewhere(status, rules.device);
        wanted.is_whole = !is_excluded && !is_elsewhere;
        let device = rules.device.filter(|_| !is_excluded);
        (is_asked || !is_excluded).then_some((wanted, device))
    }

    fn is_elsewhere(&self, status: &Status, device: Option<u64>) -> bool {
        let is_folder = status.kind == FileType::Directory;
        self.options.one_file_system && is_folder && device.is_some_and(|device| device != status.device)
    }

    fn is_excluded(&self, path: &Path, status: &Status) -> bool {
        let is_folder = status.kind == FileType::Directory;
        let too_large = status.kind == FileType::RegularFile
            && self.options.exclude_larger_than.is_some_and(|most| status.bytes > most);
        let own = is_folder && self.forbidden.contains(&(status.device, status.inode));
        too_large || own || (self.options.is_excluded)(path, is_folder)
    }

    fn found(
        &mut self,
        mut found: Found,
        identity: Option<Identity>,
        wanted: Wanted,
        device: Option<u64>,
    ) -> Result<()> {
        // A link on the way to what was asked for is followed, as the system follows it: the user named the way.
        if found.status.kind == FileType::Symlink && !wanted.is_whole {
            match Status::of_target(&found.path) {
                Ok(status) => found.status = status,
                Err(error) => {
                    self.failed(&found.path, &error);
                    return Ok(());
                }
            }
        }
        if found.status.kind != FileType::Directory {
            let is_whole = wanted.is_whole;
            self.not_met(&found.path, wanted.children);
            return if is_whole { self.leaf(found, identity) } else { Ok(()) };
        }
        match self.is_forbidden(&found) {
            true => Ok(()),
            false => self.enter(found, wanted, device),
        }
    }

    /// What is no folder.
    fn leaf(&mut self, found: Found, identity: Option<Identity>) -> Result<()> {
        let special_device = found.status.special_device;
        match found.status.kind {
            FileType::RegularFile => self.file(found, identity),
            FileType::Symlink => self.symlink(found),
            FileType::Fifo => self.special(found, NodeKind::Fifo),
            FileType::Socket => self.special(found, NodeKind::Socket),
            FileType::CharacterDevice => self.special(found, NodeKind::CharDevice { device: special_device }),
            FileType::BlockDevice => self.special(found, NodeKind::BlockDevice { device: special_device }),
            _ => {
                let source = std::io::Error::other("it is of no known kind");
                self.failed(&found.path, &SnapshotError::Io { action: "store", path: found.path.clone(), source });
                Ok(())
            }
        }
    }

    /// The repository never goes into itself, even if it was asked for.
    fn is_forbidden(&self, found: &Found) -> bool {
        self.forbidden.contains(&(found.status.device, found.status.inode))
    }

    fn symlink(&mut self, found: Found) -> Result<()> {
        match std::fs::read_link(&found.path) {
            Ok(target) => self.special(found, NodeKind::Symlink { target: target.into_os_string().into_vec() }),
            Err(e) => {
                self.failed(&found.path, &SnapshotError::io("read the link", &found.path)(e));
                Ok(())
            }
        }
    }

    fn special(&mut self, found: Found, kind: NodeKind) -> Result<()> {
        let Found { path, name, status, before } = found;
        let xattrs = self.xattrs(&path);
        let node = node(name, &status, xattrs, kind);
        let outcome = outcome(before.as_ref(), before.as_ref() == Some(&node));
        self.emitter.emit(Item::Ready { node, outcome })
    }

    fn file(&mut self, found: Found, identity: Option<Identity>) -> Result<()> {
        let seen = Identity::of(&found.status);
        let depth = self.depth() - 1;
        self.stats.file(&mut self.sink, depth, &found.name, seen)?;
        let unchanged = self.is_unchanged(&found, identity, seen) && !self.is_lost(&found);
        let Found { path, name, status, before } = found;
        let outcome = outcome(before.as_ref(), unchanged);
        let (links, is_known) = self.link_number(&status);
        match before {
            Some(mut before) if unchanged => {
                if let NodeKind::File { links: number, .. } = &mut before.kind {
                    *number = links;
                }
                self.emitter.emit(Item::Ready { node: before, outcome })
            }
            _ if is_known => {
                let xattrs = self.xattrs(&path);
                let kind = NodeKind::File { content: Stream::default(), links };
                let node = node(name, &status, xattrs, kind);
                self.emitter.emit(Item::HardLink { node, links, outcome })
            }
            before => {
                let before = before.filter(|_| self.trusts_parent).and_then(Node::into_content);
                let bytes = status.bytes;
                let (batch, at) = self.emitter.task(Task::File(FileTask { path, name, before }), bytes)?;
                self.emitter.emit(Item::Pending { batch, at, outcome, links })
            }
        }
    }

    /// The rule of change detection: the same size, mtime, ctime and inode, and a ctime that is surely older than the
    /// parent's reading.
    fn is_unchanged(&self, found: &Found, known: Option<Identity>, seen: Identity) -> bool {
        let (Some(before), Some(known)) = (&found.before, known) else { return false };
        let Some(start) = self.parent_start else { return false };
        let status = &found.status;
        let same_file = matches!(before.kind, NodeKind::File { .. }) && before.size() == status.bytes;
        let same_owner = (before.mode, before.uid, before.gid) == (status.mode, status.uid, status.gid);
        let same_inode = self.options.ignore_inode || (known.device, known.inode) == (seen.device, seen.inode);
        let same_change =
            self.options.ignore_ctime || known.changed_after_modified_ns == seen.changed_after_modified_ns;
        // An mtime may lie in the future; a ctime is the kernel's.
        let settled = if self.options.ignore_ctime { status.modified < start } else { status.changed < start };
        same_file && same_owner && same_inode && same_change && before.modified == status.modified && settled
    }

    /// Whether the parent's content of a file cannot be taken over, because some of it is in no pack any more.
    fn is_lost(&mut self, found: &Found) -> bool {
        let Some(NodeKind::File { content, .. }) = found.before.as_ref().map(|before| &before.kind) else {
            return false;
        };
        let (lost, sink, trusts_parent) = (self.lost, &mut self.sink, self.trusts_parent);
        if trusts_parent && lost.is_empty() {
            return false;
        }
        let is_lost = |id: &_| lost.contains(id) || (!trusts_parent && !sink.knows(id).unwrap_or(false));
        let lacks = self.parent.lacks(content, is_lost);
        self.parent_lacks |= lacks;
        lacks
    }

    /// The number of the group of a file with several names, and whether the walk has met it.
    fn link_number(&mut self, status: &Status) -> (u64, bool) {
        if status.links < 2 {
            return (0, false);
        }
        let key = (status.device, status.inode);
        if let Some(number) = self.links.get(&key) {
            return (*number, true);
        }
        // From the inode, so that other groups that come and go do not change it.
        let bytes = [key.0.to_le_bytes(), key.1.to_le_bytes()].concat();
        let mut number = self.namer.spread(&bytes).max(1);
        while self.link_numbers.contains_key(&number) {
            number = number.wrapping_add(1).max(1);
        }
        self.link_numbers.insert(number, key);
        self.links.insert(key, number);
        (number, false)
    }
}

fn outcome(before: Option<&Node>, unchanged: bool) -> Outcome {
    match before {
        None => Outcome::New,
        Some(_) if unchanged => Outcome::Unmodified,
        Some(_) => Outcome::Changed,
    }
}

/// Of what has no status of its own to compare: what an application gives, and streams.
pub(super) fn outcome_by_content(before: Option<&Stream>, content: &Stream) -> Outcome {
    match before {
        None => Outcome::New,
        Some(before) if before == content => Outcome::Unmodified,
        Some(_) => Outcome::Changed,
    }
}

fn is_gone(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// What applications claim.
impl Scanner<'_> {
    fn claim(&mut self, frame: &mut Frame) -> Result<()> {
        let taken = self.claims.claim(self.options, &frame.folder, &mut self.pieces);
        self.pieces.check()?;
        for (kind, path, error) in taken.failures {
            self.emitter.emit(Item::NotCaptured { kind, path, error })?;
        }
        frame.captures = taken.captures;
        frame.added = self.claims.added_names(&frame.folder.path).into();
        Ok(())
    }

    /// A claimed path: what the capture yields for it or in it, or nothing. Says whether a folder of the parent was
    /// entered.
    fn captured(
        &mut self,
        path: PathBuf,
        name: &[u8],
        before: Option<Node>,
        device: Option<u64>,
        asked: Wanted,
    ) -> Result<bool> {
        let taken = self.claims.take(&path);
        if taken.is_none() && self.claims.has_names(&path) {
            return self.claimed_folder(path, name, before, device, asked);
        }
        self.not_met(&path, asked.children);
        taken.map_or(Ok(()), |taken| self.captured_file(path, name, taken, before)).map(|()| false)
    }

    /// A folder of which only what a capture yields is taken; a link to one becomes one.
    fn claimed_folder(
        &mut self,
        path: PathBuf,
        name: &[u8],
        before: Option<Node>,
        device: Option<u64>,
        asked: Wanted,
    ) -> Result<bool> {
        let status = match Status::of_target(&path) {
            Ok(status) => status,
            Err(error) => {
                self.failed(&path, &error);
                return Ok(false);
            }
        };
        let before = before.filter(|node| node.tree().is_some());
        let is_known = before.is_some();
        let wanted = Wanted { is_whole: true, ..asked };
        self.enter(Found { path, name: name.to_vec(), status, before }, wanted, device)?;
        Ok(is_known)
    }

    fn captured_file(&mut self, path: PathBuf, name: &[u8], mut taken: Taken, before: Option<Node>) -> Result<()> {
        let (status, xattrs) = match (self.attributes(&path, &mut taken), &taken.content, &before) {
            (Ok(attributes), ..) => attributes,
            (Err(_), Content::Unchanged, Some(node)) if matches!(node.kind, NodeKind::File { .. }) => {
                return self.emitter.emit(Item::Ready { node: node.clone(), outcome: Outcome::Unmodified });
            }
            (Err(error), ..) => {
                return self.emitter.emit(Item::NotStored { path, error, capture: taken.capture });
            }
        };
        let mut node = node(name.to_vec(), &status, xattrs, NodeKind::Fifo);
        if taken.attributes.is_none() && !matches!(taken.content, Content::Held { .. }) {
            (node.mode, node.modified) = (0o600, self.options.description.time);
        }
        let before = before.and_then(Node::into_content);
        match (taken.content, before) {
            (Content::Bytes(from) | Content::Held { bytes: from, .. }, before) => {
                let known = before.clone().filter(|_| self.trusts_parent);
                let task = Task::Stream(super::queue::StreamTask { path, node, from, cut: taken.cut, before: known });
                let (batch, at) = self.emitter.task(task, super::queue::STREAM_BYTES)?;
                self.emitter.emit(Item::Captured { batch, at, capture: taken.capture, before })
            }
            (Content::Pieces(parts), before) => {
                let content = self.put_together(parts)?;
                let outcome = outcome_by_content(before.as_ref(), &content);
                node.kind = NodeKind::File { content, links: 0 };
                self.emitter.emit(Item::Stored { node, capture: taken.capture, outcome })
            }
            (Content::Unchanged, Some(content)) => {
                node.kind = NodeKind::File { content, links: 0 };
                self.emitter.emit(Item::Ready { node, outcome: Outcome::Unmodified })
            }
            (Content::Unchanged, None) => {
                let source = std::io::Error::other("its capture relies on a parent that does not have it");
                let error = SnapshotError::Io { action: "store", path: path.clone(), source };
                self.emitter.emit(Item::NotStored { path, error, capture: taken.capture })
            }
        }
    }

    /// Whose attributes a captured file gets.
    fn attributes(&mut self, path: &Path, taken: &mut Taken) -> Result<(Status, Xattrs)> {
        match (&taken.content, &taken.attributes) {
            (Content::Held { file, .. }, _) => {
                let xattrs = read_xattrs(path, file.list_xattr(), |name| file.get_xattr(name));
                Ok((status(file, path)?, self.or_none(path, xattrs)))
            }
            // It was stored and may have been let go since: then it is as a virtual file.
            (Content::Pieces(_), Some(attributes)) if is_gone(attributes) => {
                taken.attributes = None;
                self.attributes(path, taken)
            }
            (_, Some(attributes)) => Ok((Status::of_path(attributes)?, self.xattrs(attributes))),
            (_, None) => {
                let folder = self.stack.last().map_or(path, |frame| frame.folder.path.as_path());
                Ok((Status::of_path(folder)?, Xattrs::new()))
            }
        }
    }

    /// The stream of what a capture has stored.
    fn put_together(&mut self, parts: Vec<Part>) -> Result<Stream> {
        let mut stream = StreamBuilder::default();
        for part in parts {
            match part {
                Part::Hole(bytes) => stream.push(&mut self.sink, Extent::Hole { bytes })?,
                Part::Stored(piece) => {
                    piece.extents.into_iter().try_for_each(|extent| stream.push(&mut self.sink, extent))?;
                }
            }
        }
        stream.finish(&mut self.sink)
    }
}
