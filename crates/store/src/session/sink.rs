//! Where one thread puts its chunks.
//!
//! A sink keeps a frame of data and a frame of trees open, so that what one thread stores in a row stays together. A
//! full frame is encoded on rayon if a thread is free there, and otherwise here: a single large file keeps all cores
//! busy, and many small ones need no hand-over.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use treering_chunk::{ChunkId, ChunkKind};

use super::Shared;
use super::lease::Lease;
use super::write::ToWriter;
use crate::error::Result;
use crate::index::{IndexReader, PackNumber};
use crate::limits::ENCODING_MOST_FRAMES;
use crate::pack::PackKind;
use crate::pack::frame::{CompressedFrame, Compression, RawFrame};
use crate::pack::read::PackedFrame;

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub id: ChunkId,
    /// Whether it was stored now; otherwise the repository had it.
    pub is_new: bool,
}

/// Takes chunks, on one thread. What it holds is stored when it is flushed; dropped without that, it is lost.
pub struct Sink {
    shared: Arc<Shared>,
    index: IndexReader,
    frames: [RawFrame; 2],
    compression: Compression,
    reused: HashSet<PackNumber>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink")
    }
}

impl Sink {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self> {
        let index = shared.index.reader()?;
        let compression = shared.compression;
        Ok(Self { shared, index, frames: Default::default(), compression, reused: HashSet::new() })
    }

    /// Compresses what comes from now on in another way.
    ///
    /// # Errors
    ///
    /// Whatever ended the session.
    pub fn set_compression(&mut self, compression: Compression) -> Result<()> {
        if compression != self.compression {
            self.flush_frame(PackKind::Data)?;
            self.compression = compression;
        }
        Ok(())
    }

    /// The name of a chunk, without storing it.
    pub fn name(&self, kind: ChunkKind, bytes: &[u8]) -> ChunkId {
        self.shared.repository.namer().id(kind, bytes)
    }

    /// Stores a chunk unless the repository has it.
    ///
    /// # Errors
    ///
    /// Whatever ended the session, also on other threads.
    pub fn put(&mut self, kind: ChunkKind, bytes: &[u8]) -> Result<Stored> {
        let id = self.name(kind, bytes);
        Ok(Stored { id, is_new: self.put_named(id, kind, bytes)? })
    }

    /// Stores a chunk whose name is known, unless the repository has it. Returns whether it was new.
    ///
    /// # Errors
    ///
    /// As for [`Sink::put`].
    pub fn put_named(&mut self, id: ChunkId, kind: ChunkKind, bytes: &[u8]) -> Result<bool> {
        if self.knows(&id)? || !self.shared.under_way.insert(id) {
            return Ok(false);
        }
        self.push(id, kind, bytes)?;
        Ok(true)
    }

    /// Stores a chunk although the repository may have it, once in a session: where it lies is about to go.
    ///
    /// # Errors
    ///
    /// As for [`Sink::put`].
    pub fn put_again(&mut self, kind: ChunkKind, bytes: &[u8]) -> Result<Stored> {
        let id = self.name(kind, bytes);
        let is_new = self.shared.again.insert(id);
        if is_new {
            self.push(id, kind, bytes)?;
        }
        Ok(Stored { id, is_new })
    }

    fn push(&mut self, id: ChunkId, kind: ChunkKind, bytes: &[u8]) -> Result<()> {
        self.shared.counters.chunks.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.raw_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let pack = PackKind::of(kind);
        let target = self.shared.repository.config().frame_bytes as usize;
        let frame = self.frame(pack);
        frame.push(id, kind, bytes)?;
        if frame.is_full(target) {
            self.flush_frame(pack)?;
        }
        Ok(())
    }

    /// Copies a frame as it is into a new pack: opened under the key of its pack, sealed under the new one's, opened
    /// again and compared. It is not decompressed.
    ///
    /// # Errors
    ///
    /// If it cannot be opened; whatever ended the session.
    pub fn copy_frame(&mut self, frame: &PackedFrame<'_>) -> Result<()> {
        let (kind, compressed) = frame.open()?;
        hand_over(&self.shared, compressed, kind)
    }

    /// Whether the repository has a chunk, or is about to. What relies on it is committed only if its pack is there then.
    ///
    /// # Errors
    ///
    /// Whatever ended the session.
    pub fn knows(&mut self, id: &ChunkId) -> Result<bool> {
        if self.shared.under_way.contains(id) {
            return Ok(true);
        }
        // A damaged index knows nothing: the chunk is stored once more.
        let Some(place) = self.index.find(id).unwrap_or(None) else { return Ok(false) };
        if self.reused.insert(place.pack) {
            self.shared.reused.lock().insert(place.pack);
        }
        Ok(true)
    }

    fn frame(&mut self, kind: PackKind) -> &mut RawFrame {
        let [data, meta] = &mut self.frames;
        match kind {
            PackKind::Data => data,
            PackKind::Meta => meta,
        }
    }

    /// Hands over what is held.
    ///
    /// # Errors
    ///
    /// As for [`Sink::put`].
    pub fn flush(&mut self) -> Result<()> {
        self.reused.clear();
        self.flush_frame(PackKind::Data)?;
        self.flush_frame(PackKind::Meta)
    }

    fn flush_frame(&mut self, kind: PackKind) -> Result<()> {
        if self.frame(kind).is_empty() {
            return Ok(());
        }
        if self.shared.has_failed() {
            return Err(self.shared.poisoned());
        }
        let frame = std::mem::take(self.frame(kind));
        let compression = self.compression;
        if self.shared.tasks.try_start(rayon::current_num_threads().min(ENCODING_MOST_FRAMES)) {
            let shared = Arc::clone(&self.shared);
            rayon::spawn(move || {
                if let Err(e) = encode(&shared, frame, kind, compression) {
                    shared.fail(e);
                }
                shared.tasks.end();
            });
            return Ok(());
        }
        encode(&self.shared, frame, kind, compression)
    }
}

fn encode(shared: &Shared, frame: RawFrame, kind: PackKind, compression: Compression) -> Result<()> {
    hand_over(shared, frame.close()?.compress(compression)?, kind)
}

fn hand_over(shared: &Shared, compressed: CompressedFrame, kind: PackKind) -> Result<()> {
    let repository = &shared.repository;
    let with = (repository.config().repository, repository.keys(), &**repository.entropy());
    let (lease, full) = shared.leases.take(kind, compressed.stored_bytes(), compressed.chunk_count(), with)?;
    let sent = seal(shared, compressed, lease, kind);
    // The roll follows the frame whatever became of it: the writer waits for exactly as many frames as were leased.
    full.map_or(Ok(()), |roll| shared.send(ToWriter::Roll(roll))).and(sent)
}

fn seal(shared: &Shared, compressed: CompressedFrame, lease: Lease, kind: PackKind) -> Result<()> {
    let sealed = compressed.seal(&lease.head.header_bytes, &lease.head.key, lease.number, kind);
    shared.send(ToWriter::Frame(lease.head, Box::new(sealed)))
}
