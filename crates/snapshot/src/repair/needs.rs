//! What snapshots need and is in no pack.
//!
//! Every chunk of a tree or list is read once over all snapshots; data is looked up, never read. Memory: a name for each
//! chunk of a tree or list, and for each lost chunk.

use std::collections::{BTreeMap, HashSet};

use treering_chunk::{ChunkId, ChunkKind};
use treering_store::{ChunkReader, Repository};

use crate::error::{Result, SnapshotError};
use crate::known::{KnownChunks, damage};
use crate::node::NodeKind;
use crate::progress::Progress;
use crate::record::Snapshot;
use crate::stream::{Extent, Stream, read_list};
use crate::tree::read_chunk;

/// Which chunks there are.
pub(super) struct There<'a> {
    known: &'a KnownChunks,
    /// Chunks that a dry run would have stored.
    stored: HashSet<ChunkId>,
}

impl<'a> There<'a> {
    /// Nothing is missing as long as a pack could not be got at.
    pub(super) fn new(known: &'a KnownChunks, stored: HashSet<ChunkId>) -> Result<Self> {
        known.refuse_out_of_reach()?;
        Ok(Self { known, stored })
    }

    /// Whether a chunk is in a pack. Where the trailer of a pack is lost, the chunk itself is asked for.
    pub(super) fn has(&self, reader: &mut ChunkReader<'_>, kind: ChunkKind, id: &ChunkId) -> Result<bool> {
        if self.known.find(id).is_some() || self.stored.contains(id) {
            return Ok(true);
        }
        if self.known.is_complete() {
            return Ok(false);
        }
        match reader.get(kind, id) {
            Ok(_) => Ok(true),
            Err(e) if e.is_out_of_reach() => Err(e.into()),
            Err(_) => Ok(false),
        }
    }
}

/// What is missing.
pub(super) struct Missing {
    /// What is in no pack.
    pub(super) lost: BTreeMap<ChunkId, ChunkKind>,
    /// Chunks that are in a pack and cannot be read: what lies beneath them is not known.
    pub(super) unreadable: u64,
}

/// What all visible snapshots need and is not there.
pub(super) fn missing(repository: &Repository, there: &There<'_>, progress: &dyn Progress) -> Result<Missing> {
    let (mut reader, all) = (repository.reader()?, Snapshot::read_all(repository)?);
    let missing = Missing { lost: BTreeMap::new(), unreadable: 0 };
    let mut needs = Needs { reader: &mut reader, there, progress, followed: HashSet::new(), missing };
    all.snapshots.iter().try_for_each(|(_, snapshot)| needs.follow(snapshot))?;
    Ok(needs.missing)
}

/// Records what is lost in place of what was said before; unless something could not be followed: then what was said
/// before still counts.
pub(super) fn record(repository: &Repository, lost: &BTreeMap<ChunkId, ChunkKind>, is_everything: bool) -> Result<()> {
    let (before, mut now) = (repository.lost_chunks()?, lost.clone());
    if !is_everything {
        now.extend(before.chunks());
    }
    Ok(repository.record_lost(&before, &now)?)
}

/// Follows what snapshots refer to.
struct Needs<'a, 'r> {
    reader: &'a mut ChunkReader<'r>,
    there: &'a There<'a>,
    progress: &'a dyn Progress,
    followed: HashSet<ChunkId>,
    missing: Missing,
}

impl Needs<'_, '_> {
    fn follow(&mut self, snapshot: &Snapshot) -> Result<()> {
        let mut stack = Vec::new();
        push(&mut stack, snapshot.root.tree(), ChunkKind::Tree);
        push(&mut stack, snapshot.stat.as_ref(), ChunkKind::Stat);
        while let Some((level, leaf, extent)) = stack.pop() {
            let Some(id) = extent.chunk() else { continue };
            let kind = if level > 0 { ChunkKind::List } else { leaf };
            if !self.there.has(self.reader, kind, &id)? {
                self.missing.lost.insert(id, kind);
            } else if matches!(kind, ChunkKind::List | ChunkKind::Tree) && self.followed.insert(id) {
                if self.progress.is_interrupted() {
                    return Err(SnapshotError::Interrupted);
                }
                if let Err(e) = self.enter((level, leaf, extent), &id, &mut stack) {
                    damage(e)?;
                    self.missing.unreadable += 1;
                }
            }
        }
        Ok(())
    }

    fn enter(&mut self, (level, leaf, extent): Work, id: &ChunkId, stack: &mut Vec<Work>) -> Result<()> {
        if level > 0 {
            let list = read_list(self.reader, id, level - 1, extent.bytes())?;
            stack.extend(list.into_iter().map(|extent| (level - 1, leaf, extent)));
            return Ok(());
        }
        for node in read_chunk(self.reader, &extent, &mut None)? {
            match &node.kind {
                NodeKind::Folder { tree } => push(stack, Some(tree), ChunkKind::Tree),
                NodeKind::File { content, .. } => push(stack, Some(content), ChunkKind::Data),
                _ => {}
            }
        }
        Ok(())
    }
}

/// An extent, its level, and what the leaves of its stream are.
type Work = (u8, ChunkKind, Extent);

fn push(stack: &mut Vec<Work>, stream: Option<&Stream>, leaf: ChunkKind) {
    stack.extend(stream.iter().flat_map(|stream| stream.extents.iter().map(|extent| (stream.level, leaf, *extent))));
}
