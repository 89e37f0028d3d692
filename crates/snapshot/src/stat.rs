//! The stat stream: inode and ctime of every file, which only change detection needs.
//!
//! Kept out of the trees, so that they stay the same when only these change, and droppable: without it files are read
//! again. It runs in the order of the walk. A folder's entries stand in segments: the first is marked, and goes on in
//! another after each sub-folder, so that neither side holds a folder in memory. An inode is stored as its difference
//! from the one before, a ctime as its difference from the mtime: two to eight bytes a file.
//!
//! Each entry carries one byte of its name, so that the two sides find each other again where a file could not be read.
//! Being wrong is harmless: another file's inode does not fit, and the file is read.

use serde::{Deserialize, Serialize};
use treering_chunk::{ChunkKind, Namer};
use treering_store::{CHUNK_MOST_BYTES, ChunkReader, Sink, codec};

use crate::allowance::Allowance;
use crate::error::Result;
use crate::node::Time;
use crate::record::Snapshot;
use crate::stream::{Extent, Extents, Stream, StreamBuilder, StreamReader};
use crate::walk::Status;

const SEGMENT_MOST_ENTRIES: usize = 16 << 10;
/// The stream is cut before a folder whose path has so many low bits zero …
const CUT_BITS: u32 = 5;
/// … or when a chunk has so many bytes.
const STAT_CHUNK_BYTES: usize = 256 << 10;
/// How far the two sides look for each other.
const LOOK_AHEAD: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
struct Segment {
    depth: u32,
    is_first: bool,
    device: u64,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Entry {
    tag: u8,
    inode_step: i64,
    changed_after_modified_ns: i64,
}

fn tag(name: &[u8]) -> u8 {
    name.iter().fold(7u8, |tag, byte| tag.wrapping_mul(31).wrapping_add(*byte))
}

fn nanoseconds(time: Time) -> i128 {
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds)
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// Relative to the mtime, which the node has.
    pub(crate) changed_after_modified_ns: i64,
}

impl Identity {
    pub(crate) fn of(status: &Status) -> Self {
        let difference = nanoseconds(status.changed) - nanoseconds(status.modified);
        let changed_after_modified_ns = i64::try_from(difference).unwrap_or(i64::MAX);
        Self { device: status.device, inode: status.inode, changed_after_modified_ns }
    }
}

/// Writes a stat stream along a walk.
#[derive(Debug, Default)]
pub(crate) struct StatWriter {
    stream: StreamBuilder,
    buffer: Vec<u8>,
    segment: Option<Segment>,
    last_inode: u64,
}

impl StatWriter {
    pub(crate) fn enter(&mut self, sink: &mut Sink, namer: &Namer, path: &[u8], depth: u32, device: u64) -> Result<()> {
        self.end_segment()?;
        let cut = namer.spread(path).trailing_zeros() >= CUT_BITS;
        if cut || self.buffer.len() >= STAT_CHUNK_BYTES {
            self.cut(sink)?;
        }
        self.last_inode = 0;
        self.segment = Some(Segment { depth, is_first: true, device, entries: Vec::new() });
        Ok(())
    }

    pub(crate) fn file(&mut self, sink: &mut Sink, depth: u32, name: &[u8], identity: Identity) -> Result<()> {
        let full = self.segment.as_ref().is_none_or(|s| s.depth != depth || s.entries.len() >= SEGMENT_MOST_ENTRIES);
        if full {
            self.end_segment()?;
            if self.buffer.len() >= STAT_CHUNK_BYTES {
                self.cut(sink)?;
            }
            self.last_inode = 0;
            let device = identity.device;
            self.segment = Some(Segment { depth, is_first: false, device, entries: Vec::new() });
        }
        let inode_step = identity.inode.wrapping_sub(self.last_inode) as i64;
        self.last_inode = identity.inode;
        let changed_after_modified_ns = identity.changed_after_modified_ns;
        let entry = Entry { tag: tag(name), inode_step, changed_after_modified_ns };
        self.segment.iter_mut().for_each(|segment| segment.entries.push(entry));
        Ok(())
    }

    fn end_segment(&mut self) -> Result<()> {
        match self.segment.take() {
            Some(segment) => Ok(codec::encode_into(&segment, &mut self.buffer, CHUNK_MOST_BYTES)?),
            None => Ok(()),
        }
    }

    fn cut(&mut self, sink: &mut Sink) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let stored = sink.put(ChunkKind::Stat, &self.buffer)?;
        let extent = Extent::Chunk { id: *stored.id.as_bytes(), bytes: self.buffer.len() as u64 };
        self.buffer.clear();
        self.stream.push(sink, extent)
    }

    pub(crate) fn finish(mut self, sink: &mut Sink) -> Result<Stream> {
        self.end_segment()?;
        self.cut(sink)?;
        self.stream.finish(sink)
    }
}

fn decode_segment(bytes: &[u8]) -> Result<(Segment, usize)> {
    Ok(codec::decode_front(bytes, CHUNK_MOST_BYTES, "a stat stream")?)
}

/// All segments of a chunk, as a walk takes them.
#[cfg(feature = "fuzzing")]
pub(crate) fn decode_chunk(mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let (segment, used) = decode_segment(bytes)?;
        let mut stats = FolderStats { depth: segment.depth, device: segment.device, entries: Default::default() };
        stats.add(&segment);
        bytes = bytes.get(used..).unwrap_or_default();
    }
    Ok(())
}

/// A chunk as it is written.
#[cfg(feature = "fuzzing")]
pub(crate) fn sample() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (depth, is_first) in [(0, true), (1, true), (0, false)] {
        let entry = |tag, inode_step| Entry { tag, inode_step, changed_after_modified_ns: 1_000_000_007 };
        let segment = Segment { depth, is_first, device: 2049, entries: vec![entry(1, 1 << 40), entry(2, -1)] };
        let _written = codec::encode_into(&segment, &mut bytes, CHUNK_MOST_BYTES);
    }
    bytes
}

/// Follows the stat stream of a parent along a walk. Any damage ends it: files are read again then.
#[derive(Debug)]
pub(crate) struct StatCursor {
    extents: Extents,
    /// Segments that there may still be: a folder and what goes on after it have one each.
    left: u64,
    chunk: Vec<u8>,
    at: usize,
    peeked: Option<Segment>,
}

/// The entries of one folder, as far as they were read.
#[derive(Debug)]
pub(crate) struct FolderStats {
    depth: u32,
    device: u64,
    entries: std::collections::VecDeque<(u8, u64, i64)>,
}

impl StatCursor {
    /// Of a parent that has one.
    pub(crate) fn new(parent: &Snapshot) -> Option<Self> {
        let (extents, left) = (Extents::of(parent.stat.as_ref()?), Allowance::of(parent).entries().saturating_mul(2));
        Some(Self { extents, left, chunk: Vec::new(), at: 0, peeked: None })
    }

    fn peek(&mut self, reader: &mut ChunkReader<'_>) -> Option<&Segment> {
        if self.peeked.is_none() {
            self.peeked = self.read(reader).ok().flatten();
        }
        self.peeked.as_ref()
    }

    fn read(&mut self, reader: &mut ChunkReader<'_>) -> Result<Option<Segment>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        while self.at >= self.chunk.len() {
            let Some(extent) = self.extents.read_next(reader)? else { return Ok(None) };
            let stream = Stream { level: 0, extents: vec![extent] };
            let chunk = StreamReader::new(reader, &stream, ChunkKind::Stat).read_next()?;
            (self.chunk, self.at) = (chunk.unwrap_or_default(), 0);
        }
        let rest = self.chunk.get(self.at..).unwrap_or_default();
        let (segment, used) = decode_segment(rest)?;
        self.at += used;
        Ok(Some(segment))
    }

    /// The walk enters a folder that the parent has.
    pub(crate) fn enter(&mut self, reader: &mut ChunkReader<'_>, depth: u32) -> Option<FolderStats> {
        let fits = self.peek(reader).is_some_and(|segment| segment.is_first && segment.depth == depth);
        let segment = self.peeked.take_if(|_| fits)?;
        let mut stats = FolderStats { depth, device: segment.device, entries: Default::default() };
        stats.add(&segment);
        Some(stats)
    }

    /// The parent has a folder that the walk does not enter.
    pub(crate) fn skip(&mut self, reader: &mut ChunkReader<'_>, depth: u32) {
        if self.enter(reader, depth).is_none() {
            return;
        }
        while self.peek(reader).is_some_and(|s| s.depth > depth || (s.depth == depth && !s.is_first)) {
            self.peeked = None;
        }
    }

    /// What the parent knew of a file; the files of a folder are asked for in order.
    pub(crate) fn file(
        &mut self,
        reader: &mut ChunkReader<'_>,
        folder: &mut FolderStats,
        name: &[u8],
    ) -> Option<Identity> {
        if folder.entries.is_empty() {
            let goes_on = self.peek(reader).is_some_and(|s| s.depth == folder.depth && !s.is_first);
            folder.add(&self.peeked.take_if(|_| goes_on)?);
        }
        let tag = tag(name);
        let at = folder.entries.iter().take(LOOK_AHEAD).position(|(known, ..)| *known == tag)?;
        let (_, inode, changed_after_modified_ns) = folder.entries.drain(..=at).next_back()?;
        Some(Identity { device: folder.device, inode, changed_after_modified_ns })
    }
}

impl FolderStats {
    fn add(&mut self, segment: &Segment) {
        let mut inode = 0u64;
        for entry in &segment.entries {
            inode = inode.wrapping_add(entry.inode_step as u64);
            self.entries.push_back((entry.tag, inode, entry.changed_after_modified_ns));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Statistics;
    use crate::testing::{Home, file};

    fn segment(depth: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let segment = Segment { depth, is_first: true, device: 1, entries: Vec::new() };
        codec::encode_into(&segment, &mut bytes, CHUNK_MOST_BYTES).unwrap();
        bytes
    }

    /// So many times this chunk in each list of four levels.
    fn listed(sink: &mut Sink, chunk: &[u8], times: usize) -> Extent {
        let (mut id, mut bytes) = (sink.put(ChunkKind::Stat, chunk).unwrap().id, chunk.len() as u64);
        for _ in 0..4 {
            let list =
                codec::encode(&vec![Extent::Chunk { id: *id.as_bytes(), bytes }; times], CHUNK_MOST_BYTES).unwrap();
            (id, bytes) = (sink.put(ChunkKind::List, &list).unwrap().id, bytes * times as u64);
        }
        Extent::Chunk { id: *id.as_bytes(), bytes }
    }

    #[test]
    fn a_stat_stream_longer_than_a_snapshot_can_have_is_left() {
        let home = Home::new();
        let (_, parent) = home.commit_with(vec![file("f", b"x")], |snapshot, sink| {
            let extents = vec![listed(sink, &segment(0), 1), listed(sink, &segment(1), 1024)];
            snapshot.stat = Some(Stream { level: 4, extents });
            snapshot.statistics = Statistics { total_files: 1, ..Statistics::default() };
        });
        let (mut reader, mut cursor) = (home.repository.reader().unwrap(), StatCursor::new(&parent).unwrap());
        cursor.skip(&mut reader, 0);
        assert!(cursor.peek(&mut reader).is_none(), "2^40 folders are passed over no longer than there can be");
    }
}
