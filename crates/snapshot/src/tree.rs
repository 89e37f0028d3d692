//! Trees: the nodes of a folder, sorted by the bytes of their names, stored as a stream.
//!
//! The stream is cut after a node whose *name* has, under a keyed hash, its low bits zero: one changed file in a folder
//! of a million rewrites one chunk and the short list above it; an unchanged folder rewrites nothing; a folder that
//! moved is the same stream.
//!
//! Invariant: names are strictly ascending, over chunk borders too, so a set of nodes has one encoding only.

use treering_chunk::{ChunkKind, Namer};
use treering_store::{CHUNK_MOST_BYTES, ChunkReader, Sink, codec};

use crate::error::{Result, SnapshotError};
use crate::node::{NODE_MOST_BYTES, Node};
use crate::stream::{Extent, Stream, StreamBuilder, StreamReader};

/// Folders nested deeper than this are refused, in writing and in reading.
pub const DEPTH_MOST: usize = 4096;
/// A tree is cut after a name with so many low bits zero: on average every 256 nodes, 20 to 30 KiB.
const CUT_BITS: u32 = 8;
/// … or when a chunk has reached so many bytes.
const TREE_CHUNK_BYTES: usize = 1 << 20;

/// Builds one tree from its nodes in order.
#[derive(Debug, Default)]
pub(crate) struct TreeBuilder {
    /// The same folder in the parent: its chunks need not be looked up.
    before: Stream,
    buffer: Vec<u8>,
    stream: StreamBuilder,
    last: Option<Vec<u8>>,
}

impl TreeBuilder {
    /// A builder that knows what a registered parent has for the same folder.
    pub(crate) fn after(before: Option<&Stream>) -> Self {
        Self { before: before.cloned().unwrap_or_default(), ..Self::default() }
    }

    pub(crate) fn push(&mut self, sink: &mut Sink, namer: &Namer, node: &Node) -> Result<()> {
        if self.last.as_ref().is_some_and(|last| *last >= node.name) {
            return Err(SnapshotError::damaged("a tree", "its entries are not in order"));
        }
        node.encode_into(&mut self.buffer)?;
        let cut = namer.spread(&node.name).trailing_zeros() >= CUT_BITS || self.buffer.len() >= TREE_CHUNK_BYTES;
        self.last = Some(node.name.clone());
        if cut { self.cut(sink) } else { Ok(()) }
    }

    fn cut(&mut self, sink: &mut Sink) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let id = sink.name(ChunkKind::Tree, &self.buffer);
        let extent = Extent::Chunk { id: *id.as_bytes(), bytes: self.buffer.len() as u64 };
        if self.before.level > 0 || !self.before.extents.contains(&extent) {
            sink.put_named(id, ChunkKind::Tree, &self.buffer)?;
        }
        self.buffer.clear();
        self.stream.push(sink, extent)
    }

    pub(crate) fn finish(mut self, sink: &mut Sink) -> Result<Stream> {
        self.cut(sink)?;
        self.stream.finish(sink)
    }
}

/// The nodes of one chunk of a tree, which follow `last`.
pub(crate) fn decode_chunk(bytes: &[u8], last: &mut Option<Vec<u8>>) -> Result<Vec<Node>> {
    let (mut at, mut nodes, mut again) = (0, Vec::new(), Vec::with_capacity(bytes.len()));
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let (node, used): (Node, usize) = codec::decode_front(rest, NODE_MOST_BYTES, "a tree")?;
        node.encode_into(&mut again)?;
        if last.as_ref().is_some_and(|last| *last >= node.name) {
            return Err(SnapshotError::damaged("a tree", "its entries are not in order"));
        }
        *last = Some(node.name.clone());
        nodes.push(node);
        at += used;
    }
    // One encoding only: what does not encode to the same bytes was not written by this program.
    if again != bytes || bytes.len() > CHUNK_MOST_BYTES {
        return Err(SnapshotError::damaged("a tree", "its encoding is not the canonical one"));
    }
    Ok(nodes)
}

/// Reads a tree node by node, one chunk in memory.
#[derive(Debug)]
pub struct TreeReader {
    extents: crate::stream::Extents,
    nodes: std::vec::IntoIter<Node>,
    last: Option<Vec<u8>>,
}

impl TreeReader {
    /// Of this tree.
    pub fn new(tree: &Stream) -> Self {
        Self { extents: crate::stream::Extents::of(tree), nodes: Vec::new().into_iter(), last: None }
    }

    /// The next node.
    ///
    /// # Errors
    ///
    /// If a chunk of the tree is missing or damaged.
    pub fn read_next(&mut self, reader: &mut ChunkReader<'_>) -> Result<Option<Node>> {
        loop {
            if let Some(node) = self.nodes.next() {
                return Ok(Some(node));
            }
            let Some(extent) = self.extents.read_next(reader)? else { return Ok(None) };
            self.nodes = read_chunk(reader, &extent, &mut self.last)?.into_iter();
        }
    }
}

pub(crate) fn read_chunk(
    reader: &mut ChunkReader<'_>,
    extent: &Extent,
    last: &mut Option<Vec<u8>>,
) -> Result<Vec<Node>> {
    let stream = Stream { level: 0, extents: vec![*extent] };
    let bytes = StreamReader::new(reader, &stream, ChunkKind::Tree).read_next()?.unwrap_or_default();
    decode_chunk(&bytes, last).map_err(|e| match (e, extent.chunk()) {
        (SnapshotError::Damaged { detail, .. }, Some(id)) => SnapshotError::damaged(format!("tree chunk {id}"), detail),
        (other, _) => other,
    })
}

/// Finds one entry of a tree.
///
/// # Errors
///
/// If a chunk of the tree is missing or damaged.
pub fn find(reader: &mut ChunkReader<'_>, tree: &Stream, name: &[u8]) -> Result<Option<Node>> {
    let mut nodes = TreeReader::new(tree);
    while let Some(node) = nodes.read_next(reader)? {
        match node.name.as_slice().cmp(name) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => return Ok(Some(node)),
            std::cmp::Ordering::Greater => break,
        }
    }
    Ok(None)
}
