//! The assembler: takes what the walk found in order, waits for what is still being read, and builds the trees.
//!
//! One thread, one open tree for each folder on the way down. Invariant: a folder's tree is stored after everything in
//! it; an entry that failed is in no tree, and reported.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use treering_chunk::Namer;
use treering_store::{Session, Sink};

use super::queue::{Done, EnteredFolder, Item, Items};
use super::read::FileRead;
use super::scan::outcome_by_content;
use crate::capture::{Capture, Conclusion, Verdict};
use crate::error::{Result, SnapshotError};
use crate::node::{Node, NodeKind};
use crate::progress::{Event, Outcome, Progress};
use crate::record::{AppEntry, NotCaptured, STATE_TAG, Statistics};
use crate::stream::Stream;
use crate::tree::TreeBuilder;

/// What all captures together may leave for the next ones: the snapshot's record has to hold it. A capture that is left
/// nothing reads everything.
const STATES_MOST_BYTES: usize = 3 << 20;

/// What the trees say in the end.
pub(super) struct Assembled {
    pub(super) root: Node,
    pub(super) statistics: Statistics,
    pub(super) applications: Vec<AppEntry>,
    pub(super) not_captured: Vec<NotCaptured>,
    pub(super) users: BTreeSet<u32>,
    pub(super) groups: BTreeSet<u32>,
}

struct OpenTree {
    folder: EnteredFolder,
    tree: TreeBuilder,
}

/// Builds the trees.
pub(super) struct Assembler<'a> {
    sink: Sink,
    /// Whether the parent may name chunks that are lost: then none of its trees counts as stored.
    looks_up_all: bool,
    namer: &'a Namer,
    progress: &'a dyn Progress,
    open: Vec<OpenTree>,
    root: Option<Node>,
    statistics: Statistics,
    /// Content of files with several names, by their number.
    links: HashMap<u64, Stream>,
    captured_bytes: HashMap<usize, u64>,
    /// Files that captures yielded and that are not in the snapshot, one of each capture.
    not_stored: HashMap<usize, PathBuf>,
    states_bytes: usize,
    applications: Vec<AppEntry>,
    not_captured: Vec<NotCaptured>,
    users: BTreeSet<u32>,
    groups: BTreeSet<u32>,
}

impl<'a> Assembler<'a> {
    pub(super) fn new(session: &Session, namer: &'a Namer, progress: &'a dyn Progress) -> Result<Self> {
        Ok(Self {
            sink: session.sink()?,
            looks_up_all: !session.trusts_parent() || !session.lost().is_empty(),
            namer,
            progress,
            open: Vec::new(),
            root: None,
            statistics: Statistics::default(),
            links: HashMap::new(),
            captured_bytes: HashMap::new(),
            not_stored: HashMap::new(),
            states_bytes: 0,
            applications: Vec::new(),
            not_captured: Vec::new(),
            users: BTreeSet::new(),
            groups: BTreeSet::new(),
        })
    }

    /// Takes all items.
    pub(super) fn run(mut self, items: &Items) -> Result<Assembled> {
        for item in items.iter().flatten() {
            self.item(item)?;
        }
        self.sink.flush()?;
        let root = self.root.take().ok_or(SnapshotError::WorkerLost)?;
        let Self { statistics, applications, not_captured, users, groups, .. } = self;
        Ok(Assembled { root, statistics, applications, not_captured, users, groups })
    }

    fn item(&mut self, item: Item) -> Result<()> {
        match item {
            Item::Enter(folder) => {
                let before = folder.before.as_ref().and_then(Node::tree).filter(|_| !self.looks_up_all);
                let tree = TreeBuilder::after(before);
                self.open.push(OpenTree { folder: *folder, tree });
                Ok(())
            }
            Item::Leave => self.leave(),
            Item::Ready { node, outcome } => self.entry(node, outcome),
            Item::Pending { batch, at, outcome, links } => {
                let done = batch.take(at)?;
                self.file(done, outcome, links)
            }
            Item::HardLink { node, links, outcome } => self.hard_link(node, links, outcome),
            Item::Captured { batch, at, capture, before } => {
                let done = batch.take(at)?;
                let outcome = match &done.1 {
                    Ok(FileRead { node: Node { kind: NodeKind::File { content, .. }, .. }, .. }) => {
                        *self.captured_bytes.entry(capture).or_default() += content.bytes();
                        outcome_by_content(before.as_ref(), content)
                    }
                    _ => {
                        self.not_stored.insert(capture, done.0.clone());
                        Outcome::Changed
                    }
                };
                self.file(done, outcome, 0)
            }
            Item::NotStored { path, error, capture } => {
                self.failed(&path, &error);
                self.not_stored.insert(capture, path);
                Ok(())
            }
            Item::NotCaptured { kind, path, error } => {
                self.failed(&path, &SnapshotError::Capture { kind, detail: error.clone() });
                let path = path.into_os_string().into_encoded_bytes();
                self.not_captured.push(NotCaptured { kind: kind.to_owned(), path, detail: error });
                Ok(())
            }
            Item::Stored { node, capture, outcome } => {
                *self.captured_bytes.entry(capture).or_default() += node.size();
                self.entry(node, outcome)
            }
            Item::Conclude { capture, number, kind, path } => {
                self.conclude(capture, number, kind, &path);
                Ok(())
            }
        }
    }

    fn file(&mut self, (path, read): Done, outcome: Outcome, links: u64) -> Result<()> {
        match read {
            Ok(mut read) => {
                if read.unstable {
                    let source = std::io::Error::other("it changed while it was read; what was read is stored");
                    self.failed(&path, &SnapshotError::Io { action: "read consistently", path: path.clone(), source });
                }
                if let NodeKind::File { content, links: number } = &mut read.node.kind {
                    *number = links;
                    if links != 0 {
                        self.links.insert(links, content.clone());
                    }
                }
                self.entry(read.node, outcome)
            }
            Err(e) => {
                self.failed(&path, &e);
                Ok(())
            }
        }
    }

    /// Of an entry of the innermost folder.
    fn path_of(&self, node: &Node) -> PathBuf {
        let name = OsStr::from_bytes(&node.name);
        self.open.last().map_or_else(|| name.into(), |open| open.folder.path.join(name))
    }

    fn hard_link(&mut self, mut node: Node, number: u64, outcome: Outcome) -> Result<()> {
        let Some(known) = self.links.get(&number) else {
            let path = self.path_of(&node);
            let source = std::io::Error::other("its other name could not be read");
            self.failed(&path, &SnapshotError::Io { action: "read", path: path.clone(), source });
            return Ok(());
        };
        node.kind = NodeKind::File { content: known.clone(), links: number };
        self.entry(node, outcome)
    }

    fn failed(&mut self, path: &Path, error: &SnapshotError) {
        self.statistics.errors += 1;
        self.progress.event(Event::Failed { path, during: "archival", error });
    }

    fn entry(&mut self, node: Node, outcome: Outcome) -> Result<()> {
        let (is_file, bytes) = (matches!(node.kind, NodeKind::File { .. }), node.size());
        if let NodeKind::File { content, links } = &node.kind {
            // A file that was taken over may have another name that is met later.
            if *links != 0 && outcome == Outcome::Unmodified {
                self.links.entry(*links).or_insert_with(|| content.clone());
            }
        }
        self.statistics.total_files += 1;
        self.statistics.total_bytes = self.statistics.total_bytes.saturating_add(bytes);
        if is_file {
            *match outcome {
                Outcome::New => &mut self.statistics.files_new,
                Outcome::Changed | Outcome::Deleted => &mut self.statistics.files_changed,
                Outcome::Unmodified => &mut self.statistics.files_unmodified,
            } += 1;
        }
        let path = self.path_of(&node);
        self.progress.event(Event::Done { path: &path, is_folder: false, outcome, bytes });
        self.push(&node)
    }

    fn push(&mut self, node: &Node) -> Result<()> {
        self.users.insert(node.uid);
        self.groups.insert(node.gid);
        let open = self.open.last_mut().ok_or(SnapshotError::WorkerLost)?;
        open.tree.push(&mut self.sink, self.namer, node)
    }

    fn leave(&mut self) -> Result<()> {
        let OpenTree { folder, tree } = self.open.pop().ok_or(SnapshotError::WorkerLost)?;
        let EnteredFolder { mut node, path, before } = folder;
        node.kind = NodeKind::Folder { tree: tree.finish(&mut self.sink)? };
        if self.open.is_empty() {
            self.root = Some(node);
            return Ok(());
        }
        let outcome = match before {
            None => Outcome::New,
            Some(before) if before == node => Outcome::Unmodified,
            Some(_) => Outcome::Changed,
        };
        *match outcome {
            Outcome::New => &mut self.statistics.dirs_new,
            Outcome::Changed | Outcome::Deleted => &mut self.statistics.dirs_changed,
            Outcome::Unmodified => &mut self.statistics.dirs_unmodified,
        } += 1;
        self.progress.event(Event::Done { path: &path, is_folder: true, outcome, bytes: 0 });
        self.push(&node)
    }

    fn conclude(&mut self, capture: Box<dyn Capture>, number: usize, kind: &str, path: &Path) {
        let scope = capture.scope().map(str::to_owned);
        let Conclusion { mut verdict, version, consistency_point, mut detail, mut state } = capture.conclude();
        if let Some(path) = self.not_stored.remove(&number) {
            detail = format!("{} is not in the snapshot ({detail})", path.display());
            (verdict, state) = (Verdict::Torn, Vec::new());
        }
        let extensions = self.kept_state(state).map(|state| (STATE_TAG, state)).into_iter().collect();
        self.applications.push(AppEntry {
            kind: kind.to_owned(),
            path: path.as_os_str().as_bytes().to_vec(),
            scope,
            verdict: verdict.as_str().to_owned(),
            version,
            consistency_point,
            detail,
            bytes: self.captured_bytes.remove(&number).unwrap_or(0),
            extensions,
        });
    }

    fn kept_state(&mut self, state: Vec<u8>) -> Option<Vec<u8>> {
        let bytes = self.states_bytes.saturating_add(state.len());
        if state.is_empty() || bytes > STATES_MOST_BYTES {
            return None;
        }
        self.states_bytes = bytes;
        Some(state)
    }
}
