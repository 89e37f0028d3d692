//! Trees of which parts are missing, and what a snapshot lacks because of that.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use treering_chunk::ChunkKind;
use treering_store::{CHUNK_MOST_BYTES, ChunkReader, codec};

use super::needs::There;
use crate::allowance::Allowance;
use crate::error::{Result, SnapshotError};
use crate::known::damage;
use crate::node::{Node, NodeKind};
use crate::progress::Progress;
use crate::record::Snapshot;
use crate::stream::{Extent, Stream, any_chunk, read_list};
use crate::tree::{DEPTH_MOST, read_chunk};

/// Reads the nodes of a tree that can be read, in order.
pub(super) struct TornTree {
    /// What is still to come, the next last; with the level of each.
    stack: Vec<(u8, Extent)>,
    nodes: std::vec::IntoIter<Node>,
    last: Option<Vec<u8>>,
    /// Whether something could not be read.
    pub(super) is_torn: bool,
}

impl TornTree {
    pub(super) fn new(tree: &Stream) -> Self {
        let stack = tree.extents.iter().rev().map(|extent| (tree.level, *extent)).collect();
        Self { stack, nodes: Vec::new().into_iter(), last: None, is_torn: false }
    }

    /// The next node that can be read.
    ///
    /// # Errors
    ///
    /// What is not damage.
    pub(super) fn read_next(&mut self, reader: &mut ChunkReader<'_>) -> Result<Option<Node>> {
        loop {
            if let Some(node) = self.nodes.next() {
                return Ok(Some(node));
            }
            let Some((level, extent)) = self.stack.pop() else { return Ok(None) };
            if let Err(e) = self.open(reader, level, &extent) {
                damage(e)?;
                self.is_torn = true;
            }
        }
    }

    fn open(&mut self, reader: &mut ChunkReader<'_>, level: u8, extent: &Extent) -> Result<()> {
        if level == 0 {
            let mut last = self.last.clone();
            self.nodes = read_chunk(reader, extent, &mut last)?.into_iter();
            self.last = last;
            return Ok(());
        }
        let id = extent.chunk().ok_or_else(|| SnapshotError::damaged("a stream", "a hole stands for a list"))?;
        let list = read_list(reader, &id, level - 1, extent.bytes())?;
        self.stack.extend(list.into_iter().rev().map(|extent| (level - 1, extent)));
        Ok(())
    }
}

/// What of a snapshot cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    /// Files whose content is lost, all of it or a part.
    pub files: BTreeSet<PathBuf>,
    /// Their bytes.
    pub bytes: u64,
    /// Folders of which entries are lost. Which ones, nobody knows.
    pub folders: BTreeSet<PathBuf>,
    /// Whether what only change detection needs is lost.
    pub stat: bool,
}

impl Losses {
    /// Whether nothing is lost.
    pub fn is_empty(&self) -> bool {
        self.lost_paths() == 0 && !self.stat
    }

    /// How many files and folders are affected.
    pub fn lost_paths(&self) -> usize {
        self.files.len() + self.folders.len()
    }

    /// The folders that do not stay as they are.
    pub(super) fn touched(&self) -> HashSet<&Path> {
        let of_files = self.files.iter().flat_map(|path| path.ancestors().skip(1));
        of_files.chain(self.folders.iter().flat_map(|path| path.ancestors())).collect()
    }
}

/// A folder on the way down.
struct Frame {
    tree: TornTree,
    key: [u8; 32],
    /// How much was lost when it was entered.
    lost: usize,
}

/// Finds out what of snapshots is lost. A folder that is whole is looked at once over all of them.
pub(super) struct Assessor<'a, 'r> {
    pub(super) reader: &'a mut ChunkReader<'r>,
    there: &'a There<'a>,
    progress: &'a dyn Progress,
    whole: HashSet<[u8; 32]>,
}

impl<'a, 'r> Assessor<'a, 'r> {
    pub(super) fn new(reader: &'a mut ChunkReader<'r>, there: &'a There<'a>, progress: &'a dyn Progress) -> Self {
        Self { reader, there, progress, whole: HashSet::new() }
    }

    pub(super) fn assess(&mut self, snapshot: &Snapshot) -> Result<Losses> {
        let (mut losses, mut path, mut stack) = (Losses::default(), PathBuf::from("/"), Vec::new());
        let mut allowance = Allowance::of(snapshot);
        self.enter(snapshot.root.tree(), 0, &mut stack)?;
        while let Some(frame) = stack.last_mut() {
            if self.progress.is_interrupted() {
                return Err(SnapshotError::Interrupted);
            }
            let Some(node) = frame.tree.read_next(self.reader)? else {
                if frame.tree.is_torn {
                    losses.folders.insert(path.clone());
                }
                if frame.lost == losses.lost_paths() {
                    self.whole.insert(frame.key);
                }
                stack.pop();
                path.pop();
                continue;
            };
            allowance.meet(&node)?;
            let entry = path.join(OsStr::from_bytes(&node.name));
            match &node.kind {
                NodeKind::File { content, .. } if !self.is_whole(content, ChunkKind::Data)? => {
                    losses.bytes = losses.bytes.saturating_add(node.size());
                    losses.files.insert(entry);
                }
                NodeKind::Folder { .. } if stack.len() >= DEPTH_MOST => drop(losses.files.insert(entry)),
                NodeKind::Folder { tree } if self.enter(Some(tree), losses.lost_paths(), &mut stack)? => path = entry,
                _ => {}
            }
        }
        losses.stat = match &snapshot.stat {
            Some(stat) => !self.is_whole(stat, ChunkKind::Stat)?,
            None => false,
        };
        Ok(losses)
    }

    /// Whether there is anything to be looked at.
    fn enter(&self, tree: Option<&Stream>, lost: usize, stack: &mut Vec<Frame>) -> Result<bool> {
        let Some(tree) = tree else { return Ok(false) };
        let key = *blake3::hash(&codec::encode(tree, CHUNK_MOST_BYTES)?).as_bytes();
        let is_new = !self.whole.contains(&key);
        if is_new {
            stack.push(Frame { tree: TornTree::new(tree), key, lost });
        }
        Ok(is_new)
    }

    /// Whether every chunk and list of a stream is there.
    fn is_whole(&mut self, stream: &Stream, leaf: ChunkKind) -> Result<bool> {
        let there = self.there;
        match any_chunk(self.reader, stream, leaf, |reader, kind, id| Ok(!there.has(reader, kind, id)?)) {
            Ok(is_any_missing) => Ok(!is_any_missing),
            Err(e) => damage(e).map(|_| false),
        }
    }
}
