//! The parent snapshot, followed along the walk: its trees and its stat stream, each read once and in order.
//!
//! Anything that cannot be read is as if the parent did not have it: files are read again.

use treering_chunk::{ChunkId, ChunkKind};
use treering_store::ChunkReader;

use crate::node::{Node, NodeKind};
use crate::record::Snapshot;
use crate::stat::{FolderStats, Identity, StatCursor};
use crate::stream::{Stream, any_chunk};
use crate::tree::TreeReader;

/// The parent's side of the walk.
pub(super) struct Parent<'r> {
    reader: ChunkReader<'r>,
    stats: Option<StatCursor>,
    /// Whether some of its trees could not be read.
    is_damaged: bool,
}

/// A folder of the parent, as far as it was followed.
pub(super) struct ParentFolder {
    nodes: TreeReader,
    peeked: Option<Node>,
    stats: Option<FolderStats>,
    depth: u32,
}

impl<'r> Parent<'r> {
    pub(super) fn new(reader: ChunkReader<'r>, snapshot: Option<&Snapshot>) -> Self {
        let stats = snapshot.and_then(StatCursor::new);
        Self { reader, stats, is_damaged: false }
    }

    /// The walk enters a folder that the parent has at the same path.
    pub(super) fn enter(&mut self, node: &Node, depth: u32) -> Option<ParentFolder> {
        let stats = self.stats.as_mut().and_then(|stats| stats.enter(&mut self.reader, depth));
        Some(ParentFolder { nodes: TreeReader::new(node.tree()?), peeked: None, stats, depth })
    }

    /// The walk does not enter a folder that the parent has.
    pub(super) fn skip(&mut self, depth: u32) {
        if let Some(stats) = &mut self.stats {
            stats.skip(&mut self.reader, depth);
        }
    }

    /// The parent's entry of this name, and what it knew of it if it is a file. Names are asked for in order. If it is
    /// a folder, the caller enters or skips it.
    pub(super) fn find(&mut self, folder: &mut ParentFolder, name: &[u8]) -> Option<(Node, Option<Identity>)> {
        loop {
            let node = self.peek(folder)?;
            match node.name.as_slice().cmp(name) {
                std::cmp::Ordering::Greater => return None,
                std::cmp::Ordering::Equal => {
                    let node = folder.peeked.take()?;
                    let identity = self.identity(folder, &node);
                    return Some((node, identity));
                }
                std::cmp::Ordering::Less => self.pass(folder),
            }
        }
    }

    /// Whether content of the parent refers to a chunk that is lost, or cannot be followed.
    pub(super) fn lacks(&mut self, content: &Stream, mut is_lost: impl FnMut(&ChunkId) -> bool) -> bool {
        any_chunk(&mut self.reader, content, ChunkKind::Data, |_, _, id| Ok(is_lost(id))).unwrap_or(true)
    }

    /// Whether some of the trees that were followed could not be read.
    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// The walk leaves the folder.
    pub(super) fn leave(&mut self, mut folder: ParentFolder) {
        // Without stats there is nothing that must be kept in step.
        while self.stats.is_some() && self.peek(&mut folder).is_some() {
            self.pass(&mut folder);
        }
    }

    fn peek<'f>(&mut self, folder: &'f mut ParentFolder) -> Option<&'f Node> {
        if folder.peeked.is_none() {
            let next = folder.nodes.read_next(&mut self.reader);
            self.is_damaged |= next.is_err();
            folder.peeked = next.ok().flatten();
        }
        folder.peeked.as_ref()
    }

    /// An entry that is not there any more.
    fn pass(&mut self, folder: &mut ParentFolder) {
        let Some(node) = folder.peeked.take() else { return };
        match node.kind {
            NodeKind::Folder { .. } => self.skip(folder.depth + 1),
            _ => drop(self.identity(folder, &node)),
        }
    }

    fn identity(&mut self, folder: &mut ParentFolder, node: &Node) -> Option<Identity> {
        if !matches!(node.kind, NodeKind::File { .. }) {
            return None;
        }
        let (stats, known) = (self.stats.as_mut()?, folder.stats.as_mut()?);
        stats.file(&mut self.reader, known, &node.name)
    }
}
