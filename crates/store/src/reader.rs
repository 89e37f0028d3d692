//! Reading chunks back, each verified against its name.
//!
//! Invariant: bytes that are returned hash to the id that was asked for. An index that is wrong costs time: a chunk
//! that it does not lead to is looked for in the packs' own trailers before it is called missing.

use std::collections::VecDeque;
use std::sync::Arc;

use treering_chunk::{ChunkId, ChunkKind};

use crate::error::{Result, StoreError};
use crate::index::{IndexReader, Place};
use crate::limits::READER_FRAMES_MOST;
use crate::pack::frame::Frame;
use crate::repository::Repository;
use crate::storage::Area;

/// How often a chunk is looked for while packs vanish.
const LOOKS: usize = 5;

/// Reads chunks, on one thread. Keeps the last frames, because neighbours are read together.
pub struct ChunkReader<'r> {
    repository: &'r Repository,
    index: IndexReader,
    frames: VecDeque<((u8, u32, u64), Arc<Frame>)>,
}

impl std::fmt::Debug for ChunkReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChunkReader({:?})", self.repository)
    }
}

/// A frame that was read and opened; its chunks are verified as they are taken.
#[derive(Debug, Clone)]
pub struct LoadedFrame(Arc<Frame>);

impl LoadedFrame {
    /// Bytes that it holds in memory.
    pub fn raw_bytes(&self) -> usize {
        self.0.raw_bytes()
    }

    /// The chunk at a place, if it is the one that was asked for.
    ///
    /// # Errors
    ///
    /// Damage, if other bytes or another kind lie there.
    pub fn chunk(&self, repository: &Repository, place: &Place, kind: ChunkKind, id: &ChunkId) -> Result<&[u8]> {
        let (offset, length) = (place.offset as usize, place.raw_len as usize);
        let chunks = self.0.chunks();
        let first = chunks.partition_point(|chunk| chunk.offset < offset);
        let here = chunks.iter().skip(first).take_while(|chunk| chunk.offset == offset);
        let found = here.into_iter().find(|chunk| chunk.length == length && chunk.kind == kind);
        let bytes = found.map(|chunk| self.0.bytes(*chunk));
        bytes
            .filter(|bytes| repository.namer().id(kind, bytes) == *id)
            .ok_or_else(|| StoreError::damaged(format!("chunk {id}"), "other bytes lie in its place"))
    }
}

impl Repository {
    /// A reader of chunks for one thread.
    ///
    /// # Errors
    ///
    /// If the index can neither be opened nor made anew.
    pub fn reader(&self) -> Result<ChunkReader<'_>> {
        Ok(ChunkReader { repository: self, index: self.index()?.reader()?, frames: VecDeque::new() })
    }
}

impl ChunkReader<'_> {
    /// Where a chunk lies.
    ///
    /// # Errors
    ///
    /// [`StoreError::ChunkMissing`] if no pack has it.
    pub fn place(&mut self, id: &ChunkId) -> Result<Place> {
        if let Some(place) = self.find(id)? {
            return Ok(place);
        }
        // Others may have repacked it since the index was opened; only then is the index to blame.
        if self.repository.learns_in_doubt() {
            self.learn_packs()?;
            if let Some(place) = self.find(id)? {
                return Ok(place);
            }
        }
        self.repository.distrust_index("it did not lead to a chunk that is referred to")?;
        self.index = self.repository.index()?.reader()?;
        self.frames.clear();
        self.index.find(id)?.ok_or(StoreError::ChunkMissing { id: *id })
    }

    /// A damaged index knows nothing.
    fn find(&self, id: &ChunkId) -> Result<Option<Place>> {
        match self.index.find(id) {
            Err(StoreError::Index { .. }) => Ok(None),
            found => found,
        }
    }

    /// Whether the index knows a chunk, once it has learned what is new. For ids that somebody has typed: one that is not
    /// there is no reason to distrust the index.
    ///
    /// # Errors
    ///
    /// If the index can neither be read nor made anew.
    pub fn knows(&mut self, id: &ChunkId) -> Result<bool> {
        if self.find(id)?.is_none() {
            self.learn_packs()?;
        }
        Ok(self.find(id)?.is_some())
    }

    /// Whether a chunk lies anywhere, as far as the index knows. For those who ask in order to find damage.
    ///
    /// # Errors
    ///
    /// If the index cannot be read.
    pub fn has(&mut self, id: &ChunkId) -> Result<bool> {
        match self.place(id) {
            Ok(_) => Ok(true),
            Err(StoreError::ChunkMissing { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// The frame that holds a place.
    ///
    /// # Errors
    ///
    /// Damage, or [`StoreError::Missing`] if its pack was deleted since it was looked up.
    pub fn frame(&mut self, place: &Place) -> Result<LoadedFrame> {
        let key = place.frame();
        if let Some((_, frame)) = self.frames.iter().find(|(known, _)| *known == key) {
            return Ok(LoadedFrame(Arc::clone(frame)));
        }
        let index = self.repository.index_of(place.generation)?;
        let pack = self.repository.pack_numbered(&index, place.pack)?;
        let frame = Arc::new(pack.frame(place.frame)?);
        if self.frames.len() >= READER_FRAMES_MOST {
            self.frames.pop_front();
        }
        self.frames.push_back((key, Arc::clone(&frame)));
        Ok(LoadedFrame(frame))
    }

    /// The bytes of a chunk. If its pack was deleted since the index learned it, the chunk is looked for in the packs
    /// that are there now: whoever deleted the pack has copied first what is needed of it.
    ///
    /// # Errors
    ///
    /// [`StoreError::ChunkMissing`], or damage.
    pub fn get(&mut self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        for _ in 0..LOOKS {
            match self.get_at_once(kind, id) {
                // Its pack was deleted since it was looked up; what is needed of it is in another one.
                Err(StoreError::Missing { area: Area::Packs, .. }) => self.learn_packs()?,
                done => return done,
            }
        }
        Err(StoreError::ChunkMissing { id: *id })
    }

    fn get_at_once(&mut self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        let place = self.place(id)?;
        let frame = self.frame(&place)?;
        frame.chunk(self.repository, &place, kind, id).map(<[u8]>::to_vec)
    }

    fn learn_packs(&mut self) -> Result<()> {
        self.repository.learn_packs()?;
        self.index = self.repository.index()?.reader()?;
        Ok(())
    }
}
