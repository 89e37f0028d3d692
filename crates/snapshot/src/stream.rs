//! Streams: ordered lists of chunks and holes, indirect when they are long.
//!
//! A list of more than [`INLINE_MOST`] extents is itself stored as chunks of kind `List`, cut after an extent whose
//! chunk id has its low bits zero, so that an insertion rewrites few of them; their own list is treated alike, level by
//! level. Every extent of an upper level says how many bytes lie below it, so a stream can be seeked.
//!
//! Invariant: the extents of a [`Stream`] and of every list below it cover its bytes exactly, in order; lists are as
//! deep as the level says; and the size of every stored object is bounded, however long a file is.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use treering_chunk::{ChunkId, ChunkKind};
use treering_store::{CHUNK_MOST_BYTES, ChunkReader, Sink, codec};

use crate::error::{Result, SnapshotError};

/// The most extents that are kept where the stream is referred to.
pub const INLINE_MOST: usize = 24;
/// A list is cut after an extent whose chunk id has so many low bits zero …
const LIST_CUT_BITS: u32 = 7;
/// … but holds at least …
const LIST_LEAST: usize = 32;
/// … and at most so many extents.
const LIST_MOST: usize = 1024;
/// Levels: 24 × 1024⁴ extents.
const LEVEL_MOST: u8 = 4;

/// A part of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extent {
    /// A chunk of data, or above level 0 a list.
    Chunk {
        /// Its name.
        id: [u8; 32],
        /// The bytes of the stream that it covers.
        bytes: u64,
    },
    /// Zeros that are not stored.
    Hole {
        /// How many.
        bytes: u64,
    },
}

impl Extent {
    /// The bytes of the stream that it covers.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Chunk { bytes, .. } | Self::Hole { bytes } => *bytes,
        }
    }

    /// The chunk, unless it is a hole.
    pub fn chunk(&self) -> Option<ChunkId> {
        match self {
            Self::Chunk { id, .. } => Some(ChunkId::from_bytes(*id)),
            Self::Hole { .. } => None,
        }
    }

    fn ends_list(&self) -> bool {
        self.chunk().is_some_and(|id| id.prefix().trailing_zeros() >= LIST_CUT_BITS)
    }
}

/// An ordered list of chunks and holes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stream {
    /// 0: the extents are data; above: they are lists of the level below.
    pub level: u8,
    /// In order.
    pub extents: Vec<Extent>,
}

impl Stream {
    /// How long it is.
    pub fn bytes(&self) -> u64 {
        self.extents.iter().fold(0, |sum, extent| sum.saturating_add(extent.bytes()))
    }

    pub(crate) fn check(&self) -> Result<()> {
        let most = if self.level == 0 { CHUNK_MOST_BYTES as u64 } else { u64::MAX };
        let sum = self.extents.iter().try_fold(0u64, |sum, extent| sum.checked_add(extent.bytes()));
        let sound = self.extents.iter().all(|extent| match extent {
            Extent::Chunk { bytes, .. } => (1..=most).contains(bytes),
            Extent::Hole { bytes } => *bytes > 0 && self.level == 0,
        });
        let merged = !self.extents.windows(2).any(|pair| matches!(pair, [Extent::Hole { .. }, Extent::Hole { .. }]));
        let sound = sound && merged && (self.level == 0 || !self.extents.is_empty());
        if !sound
            || sum.is_none_or(|sum| sum > i64::MAX as u64)
            || self.level > LEVEL_MOST
            || self.extents.len() > LIST_MOST
        {
            return Err(SnapshotError::damaged("a stream", "its extents are impossible"));
        }
        Ok(())
    }
}

/// Whether any chunk or list of a stream is as asked for, which is asked of each list once.
///
/// # Errors
///
/// If a list is missing or damaged.
pub(crate) fn any_chunk(
    reader: &mut ChunkReader<'_>,
    stream: &Stream,
    leaf: ChunkKind,
    mut is_wanted: impl FnMut(&mut ChunkReader<'_>, ChunkKind, &ChunkId) -> Result<bool>,
) -> Result<bool> {
    let mut stack: Vec<(u8, Extent)> = stream.extents.iter().map(|extent| (stream.level, *extent)).collect();
    let mut seen = HashSet::new();
    while let Some((level, extent)) = stack.pop() {
        let Some(id) = extent.chunk().filter(|id| level == 0 || seen.insert((level, *id))) else { continue };
        let kind = if level > 0 { ChunkKind::List } else { leaf };
        if is_wanted(reader, kind, &id)? {
            return Ok(true);
        }
        if level > 0 {
            let list = read_list(reader, &id, level - 1, extent.bytes())?;
            stack.extend(list.into_iter().map(|extent| (level - 1, extent)));
        }
    }
    Ok(false)
}

/// Builds a stream from extents in order, storing lists as they fill.
#[derive(Debug, Default)]
pub(crate) struct StreamBuilder {
    levels: Vec<Vec<Extent>>,
}

impl StreamBuilder {
    /// Adds the next extent; neighbouring holes become one.
    pub(crate) fn push(&mut self, sink: &mut Sink, extent: Extent) -> Result<()> {
        if extent.bytes() == 0 {
            return Ok(());
        }
        self.push_at(0, sink, extent)
    }

    fn push_at(&mut self, level: usize, sink: &mut Sink, extent: Extent) -> Result<()> {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        let Some(list) = self.levels.get_mut(level) else { return Err(SnapshotError::WorkerLost) };
        match (list.last_mut(), extent) {
            (Some(Extent::Hole { bytes: before }), Extent::Hole { bytes }) => *before += bytes,
            _ => list.push(extent),
        }
        let full = list.len() >= LIST_MOST || (list.len() >= LIST_LEAST && extent.ends_list());
        if full && level < usize::from(LEVEL_MOST) { self.store_list(level, sink) } else { Ok(()) }
    }

    fn store_list(&mut self, level: usize, sink: &mut Sink) -> Result<()> {
        let list = self.levels.get_mut(level).map(std::mem::take).unwrap_or_default();
        let bytes = list.iter().map(Extent::bytes).sum();
        let encoded = codec::encode(&list, CHUNK_MOST_BYTES)?;
        let stored = sink.put(ChunkKind::List, &encoded)?;
        self.push_at(level + 1, sink, Extent::Chunk { id: *stored.id.as_bytes(), bytes })
    }

    /// The stream: as flat as it can be.
    pub(crate) fn finish(mut self, sink: &mut Sink) -> Result<Stream> {
        let mut level = 0;
        loop {
            let is_top = self.levels.iter().skip(level + 1).all(Vec::is_empty);
            let length = self.levels.get(level).map_or(0, Vec::len);
            if is_top && length <= INLINE_MOST {
                let extents = self.levels.get_mut(level).map(std::mem::take).unwrap_or_default();
                return Ok(Stream { level: level as u8, extents });
            }
            if length > 0 {
                self.store_list(level, sink)?;
            }
            level += 1;
        }
    }
}

/// Walks the data extents of a stream in order, reading lists as it needs them.
#[derive(Debug)]
pub struct Extents {
    /// What is still to come, the next last; with the level of each.
    stack: Vec<(u8, Extent)>,
}

impl Extents {
    /// Of this stream.
    pub fn of(stream: &Stream) -> Self {
        Self { stack: stream.extents.iter().rev().map(|extent| (stream.level, *extent)).collect() }
    }

    /// The next data extent.
    ///
    /// # Errors
    ///
    /// If a list is missing or damaged.
    pub fn read_next(&mut self, reader: &mut ChunkReader<'_>) -> Result<Option<Extent>> {
        loop {
            match self.stack.pop() {
                None => return Ok(None),
                Some((0, extent)) => return Ok(Some(extent)),
                Some((level, extent)) => self.open_list(reader, level, extent)?,
            }
        }
    }

    fn open_list(&mut self, reader: &mut ChunkReader<'_>, level: u8, extent: Extent) -> Result<()> {
        let id = extent.chunk().ok_or_else(|| SnapshotError::damaged("a stream", "a hole stands for a list"))?;
        let list = read_list(reader, &id, level - 1, extent.bytes())?;
        self.stack.extend(list.into_iter().rev().map(|extent| (level - 1, extent)));
        Ok(())
    }
}

/// The extents of a stored list, checked.
pub(crate) fn read_list(reader: &mut ChunkReader<'_>, id: &ChunkId, level: u8, bytes: u64) -> Result<Vec<Extent>> {
    let list = decode_list(&reader.get(ChunkKind::List, id)?, level)?;
    if list.bytes() != bytes || list.extents.is_empty() {
        return Err(SnapshotError::damaged(format!("list {id}"), "it does not cover what it should"));
    }
    Ok(list.extents)
}

pub(crate) fn decode_list(encoded: &[u8], level: u8) -> Result<Stream> {
    let list = Stream { level, extents: codec::decode(encoded, CHUNK_MOST_BYTES, "a list")? };
    list.check()?;
    Ok(list)
}

/// The whole content of a stream, for those that are short: trees, stat streams.
#[derive(Debug)]
pub struct StreamReader<'a, 'r> {
    reader: &'a mut ChunkReader<'r>,
    extents: Extents,
    kind: ChunkKind,
}

impl<'a, 'r> StreamReader<'a, 'r> {
    /// Reads chunks of this kind.
    pub fn new(reader: &'a mut ChunkReader<'r>, stream: &Stream, kind: ChunkKind) -> Self {
        Self { reader, extents: Extents::of(stream), kind }
    }

    /// The next chunk's bytes.
    ///
    /// # Errors
    ///
    /// If one is missing or damaged, or of another length than the stream says.
    pub fn read_next(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(extent) = self.extents.read_next(self.reader)? else { return Ok(None) };
        let id = extent.chunk().ok_or_else(|| SnapshotError::damaged("a stream", "it has a hole where none can be"))?;
        let bytes = self.reader.get(self.kind, &id)?;
        if bytes.len() as u64 != extent.bytes() {
            return Err(SnapshotError::damaged(format!("chunk {id}"), "it is not as long as its stream says"));
        }
        Ok(Some(bytes))
    }
}

/// The bytes of a file in any order. Keeps one list of each level and one chunk, for what is read together lies together.
#[derive(Debug)]
pub struct StreamAt<'a, 'r> {
    reader: &'a mut ChunkReader<'r>,
    stream: Stream,
    /// Of each level below the top: where its list starts, and the list.
    lists: Vec<Option<(u64, Vec<Extent>)>>,
    /// Where a chunk starts, and its bytes.
    chunk: Option<(u64, Vec<u8>)>,
}

impl<'a, 'r> StreamAt<'a, 'r> {
    /// Reads this stream.
    pub fn new(reader: &'a mut ChunkReader<'r>, stream: Stream) -> Self {
        let lists = vec![None; usize::from(stream.level)];
        Self { reader, stream, lists, chunk: None }
    }

    /// How long it is.
    pub fn bytes(&self) -> u64 {
        self.stream.bytes()
    }

    /// Reads from this offset until the buffer is full or the stream ends; says how many bytes it read.
    ///
    /// # Errors
    ///
    /// If a list or chunk is missing or damaged.
    pub fn read_at(&mut self, buffer: &mut [u8], at: u64) -> Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let here = at.saturating_add(filled as u64);
            let Some((start, extent)) = self.extent_at(here)? else { break };
            let left = start.saturating_add(extent.bytes()).saturating_sub(here).min(rest.len() as u64) as usize;
            let rest = rest.get_mut(..left).unwrap_or_default();
            match extent.chunk() {
                None => rest.fill(0),
                Some(id) => rest.copy_from_slice(self.chunk_at(start, &id, extent.bytes(), here, left)?),
            }
            filled += left;
        }
        Ok(filled)
    }

    /// The data extent that covers an offset, and where it starts.
    fn extent_at(&mut self, at: u64) -> Result<Option<(u64, Extent)>> {
        let Some((mut start, mut extent)) = covering(&self.stream.extents, 0, at) else { return Ok(None) };
        for level in (0..self.lists.len()).rev() {
            let id = extent.chunk().ok_or_else(|| SnapshotError::damaged("a stream", "a hole stands for a list"))?;
            let Some(kept) = self.lists.get_mut(level) else { break };
            let list = match kept.take().filter(|(from, _)| *from == start) {
                Some((_, list)) => list,
                None => read_list(self.reader, &id, level as u8, extent.bytes())?,
            };
            let found = covering(&list, start, at);
            *kept = Some((start, list));
            (start, extent) = found
                .ok_or_else(|| SnapshotError::damaged(format!("list {id}"), "it does not cover what it should"))?;
        }
        Ok(Some((start, extent)))
    }

    fn chunk_at(&mut self, start: u64, id: &ChunkId, bytes: u64, at: u64, length: usize) -> Result<&[u8]> {
        let wrong = || SnapshotError::damaged(format!("chunk {id}"), "it is not as long as its stream says");
        if self.chunk.as_ref().is_none_or(|(from, _)| *from != start) {
            let chunk = self.reader.get(ChunkKind::Data, id)?;
            if chunk.len() as u64 != bytes {
                return Err(wrong());
            }
            self.chunk = Some((start, chunk));
        }
        let chunk = self.chunk.as_ref().map(|(_, chunk)| chunk.as_slice()).unwrap_or_default();
        chunk.get((at - start) as usize..).and_then(|rest| rest.get(..length)).ok_or_else(wrong)
    }
}

/// The extent of a list that covers an offset, and where it starts; the list starts at `from`.
fn covering(list: &[Extent], from: u64, at: u64) -> Option<(u64, Extent)> {
    let mut start = from;
    for extent in list {
        let end = start.saturating_add(extent.bytes());
        if at < end {
            return (start <= at).then_some((start, *extent));
        }
        start = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Home, noise};
    use treering_store::{Compression, Session, SessionMode};

    #[test]
    fn any_part_of_a_stream_can_be_read() {
        let home = Home::new();
        let session = Session::start(&home.repository, None, Compression::DEFAULT, SessionMode::Store).unwrap();
        let mut sink = session.sink().unwrap();
        let (mut builder, mut expected) = (StreamBuilder::default(), Vec::new());
        for number in 0..5000_u32 {
            let bytes = noise(number.into(), 40 + number as usize % 7);
            let id = sink.put(ChunkKind::Data, &bytes).unwrap().id;
            builder.push(&mut sink, Extent::Chunk { id: *id.as_bytes(), bytes: bytes.len() as u64 }).unwrap();
            builder.push(&mut sink, Extent::Hole { bytes: u64::from(number % 3) }).unwrap();
            expected.extend(&bytes);
            expected.resize(expected.len() + number as usize % 3, 0);
        }
        let stream = builder.finish(&mut sink).unwrap();
        sink.flush().unwrap();
        session.flush().unwrap();
        assert!(stream.level > 1, "{}", stream.level);
        let mut reader = home.repository.reader().unwrap();
        let mut at = StreamAt::new(&mut reader, stream);
        assert_eq!(at.bytes(), expected.len() as u64);
        for (from, length) in [(0, 10), (200_000, 3000), (17, 90_000), (expected.len() - 5, 100), (expected.len(), 1)] {
            let mut buffer = vec![1; length];
            let got = at.read_at(&mut buffer, from as u64).unwrap();
            assert_eq!(got, length.min(expected.len() - from));
            assert!(buffer[..got] == expected[from..from + got], "{from}");
        }
    }
}
