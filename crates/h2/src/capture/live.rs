//! Copying a database while it is being written: pin, copy, check again, cut.
//!
//! The argument, on one machine and a local file system:
//!
//! 1. A chunk's bytes do not change from the end of its write until its space is freed.
//! 2. Every write behind the two headers is one write in ascending order that begins, at the start of a block, with the
//!    header of its own chunk (`MVStore.java`, `storeBuffer` and `moveChunk`).
//! 3. Chunks are written one after the other. So when the last chunk of version V can be seen whole, header and footer,
//!    every chunk that V's layout lists has been written: V is *pinned*.
//! 4. A listed chunk is read, and then its header, the starts of its inner blocks and its footer are read *again*. A
//!    write that began before our reading had ended has by now destroyed the header or put its own header at the start
//!    of an inner block, or the file was cut. If nothing of that is seen, what was read is what V lists, for good.
//!
//! If a check fails, the round goes on with the other chunks, and the next round pins the newest version and reads only
//! what is missing: what was written during the round before, so that rounds become short quickly. The result is the file
//! that a clean shutdown at V would have left: every listed chunk in its place, nothing else, and headers that name V and
//! say `clean:1`. The last matters: from a file that was not closed, H2 up to 2.2 gives away the space of dead chunks and
//! keeps listing them, and fails when it is opened a second time (H2 issue 2752).
//!
//! Pages that are marked as dead in V's own layout are left out, and of dead chunks only header and footer are kept. H2
//! reads a page when a map refers to it, which the walk of the result excludes for these, or when it rewrites a chunk:
//! then it reads the pages whose bit is *not* set (`MVStore.rewriteChunks`), from bits that start as V's layout has them.
//! Bits are set for pages that were removed before V (`acceptChunkOccupancyChanges`), never cleared, and a chunk in which
//! all are set is never rewritten.
//!
//! Invariant: a chunk that was kept passed its check after it was read; what is handed out was walked, map by map.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use treering_chunk::CutPolicy;
use treering_snapshot::capture::{Part, PieceStore};

use crate::Options;
use crate::error::Error;
use crate::store::{
    BLOCK_BYTES, Chunk, HEADER_BYTES, Newest, Pages, Source, StoreError, Version, dead_ranges, newest_of_live,
};
use crate::verify::{Report, Verifier, is_whole, time_ms};

use super::settled::is_settled;

/// After so many rounds, or when so many times the bytes of the version were read, a writer is too quick for us.
const ROUNDS_MOST: u32 = 200;
const READ_MOST_TIMES: u64 = 8;
/// What may be read of a small file all the same.
const READ_LEAST_BYTES: u64 = 64 << 20;
/// How long to wait before another look at a file that just changed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// With so much of the wait left, a version in which no transaction is open is taken, settled or not.
const QUIET_IS_ENOUGH: Duration = Duration::from_secs(1);
/// Zeros in a row that are not stored at all.
const HOLE_LEAST_BYTES: usize = 32 << 10;
/// As much of a block as tells whether a chunk was begun there.
const SIGHT_BYTES: usize = 16;
const CHUNK_START: &[u8] = b"chunk:";
/// Reads are not larger while they are slowed down.
const SLOW_READ_BYTES: usize = 64 << 10;

/// A capture under way.
pub(crate) struct Live<'a> {
    file: &'a File,
    path: &'a Path,
    pieces: &'a mut dyn PieceStore,
    options: &'a Options,
    keep_dead: bool,
    kept: HashMap<Key, Kept>,
    /// Chunks that have what looks like the start of another chunk inside, and the version at which that was seen.
    suspects: HashMap<Key, u64>,
    /// When reading began and how much was read, to slow it down.
    began: Instant,
    read_bytes: u64,
    /// How much may be read.
    most_bytes: u64,
    /// How long it may still wait for a settled version.
    quiet_wait: Duration,
}

/// A chunk in its place.
type Key = (u32, u64, u64);

fn key(chunk: &Chunk) -> Key {
    (chunk.id, chunk.version, chunk.block)
}

/// A chunk that passed.
struct Kept {
    parts: Vec<Part>,
    pages: Pages,
}

/// A database that was captured.
pub(crate) struct Captured {
    pub(crate) parts: Vec<Part>,
    pub(crate) report: Report,
    pub(crate) rounds: u32,
    pub(crate) is_settled: bool,
}

/// A version of which every chunk has been written, and whether it is settled.
struct Pinned {
    newest: Newest,
    is_settled: bool,
}

impl<'a> Live<'a> {
    pub(crate) fn new(file: &'a File, path: &'a Path, pieces: &'a mut dyn PieceStore, options: &'a Options) -> Self {
        let (kept, suspects, keep_dead) = (HashMap::new(), HashMap::new(), options.keep_dead);
        Self {
            file,
            path,
            pieces,
            options,
            keep_dead,
            kept,
            suspects,
            began: Instant::now(),
            read_bytes: 0,
            most_bytes: READ_LEAST_BYTES,
            quiet_wait: options.quiet_wait,
        }
    }

    /// Captures, and verifies what it has captured.
    ///
    /// # Errors
    ///
    /// [`Error::NotLive`] if the writer was too quick, or if no version could be read.
    pub(crate) fn capture(&mut self) -> Result<Captured, Error> {
        let captured = self.rounds()?;
        if captured.report.is_whole() || self.keep_dead {
            return Ok(captured);
        }
        // Should a page be marked as dead and used all the same, it was not lost: it is read now.
        self.keep_dead = true;
        self.kept.clear();
        self.rounds()
    }

    fn rounds(&mut self) -> Result<Captured, Error> {
        let mut reason = String::new();
        for rounds in 1..=ROUNDS_MOST {
            match self.round() {
                Ok(pinned) => return self.assemble(pinned, rounds),
                Err(Failed::Changed(why)) if !self.is_too_slow() => reason = why,
                Err(Failed::Changed(why)) => return Err(Error::NotLive { path: self.path.to_owned(), reason: why }),
                Err(Failed::Ended(error)) => return Err(error),
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Err(Error::NotLive { path: self.path.to_owned(), reason })
    }

    /// Whether a writer changes more than can be read.
    fn is_too_slow(&self) -> bool {
        self.read_bytes > self.most_bytes
    }

    fn round(&mut self) -> Result<Pinned, Failed> {
        let pinned = self.pin()?;
        let version = &pinned.newest.version;
        self.most_bytes = version.end().saturating_mul(READ_MOST_TIMES).max(READ_LEAST_BYTES);
        let is_missing = |chunk: &&Chunk| self.is_copied(chunk) && !self.kept.contains_key(&key(chunk));
        let mut missing: Vec<&Chunk> = version.chunks.values().filter(is_missing).collect();
        // What dies soon first.
        missing.sort_by_key(|chunk| (chunk.pages_live, chunk.page_bytes_live));
        let mut changed = None;
        for chunk in missing {
            match self.copy(chunk, version) {
                Ok(kept) => drop(self.kept.insert(key(chunk), kept)),
                // The others are read all the same: the version that is pinned next lists most of them too, and then
                // only what was written meanwhile is missing.
                Err(Failed::Changed(why)) => drop(changed.get_or_insert(why)),
                Err(ended) => return Err(ended),
            }
        }
        changed.map_or(Ok(pinned), |why| Err(Failed::Changed(why)))
    }

    /// Dead chunks are needed for their headers only.
    fn is_copied(&self, chunk: &Chunk) -> bool {
        chunk.is_live() || self.keep_dead
    }

    /// The newest version; if such a one comes by in time, a settled one, or at least one in which no transaction is open.
    fn pin(&mut self) -> Result<Pinned, Failed> {
        loop {
            let looked = Instant::now();
            let newest = newest_of_live(&mut &*self.file).map_err(|error| self.unpinned(error))?;
            // Behind the look: what was written since then makes the file seem to be written later, never earlier.
            let written = self.file.metadata().and_then(|metadata| metadata.modified());
            let written = written.map_err(|e| Failed::Ended(Error::io("look at", self.path)(e)))?;
            let is_quiet = newest.version.is_quiet();
            let is_settled = is_quiet && is_settled(time_ms(&newest), written, SystemTime::now());
            let is_enough = is_settled || is_quiet && self.quiet_wait <= QUIET_IS_ENOUGH;
            if is_enough || self.quiet_wait.is_zero() {
                return Ok(Pinned { newest, is_settled });
            }
            std::thread::sleep(LOOK_AGAIN);
            // With the look itself, which takes long where the layout is large and the machine busy.
            self.quiet_wait = self.quiet_wait.saturating_sub(looked.elapsed());
        }
    }

    fn unpinned(&self, error: StoreError) -> Failed {
        match error {
            StoreError::Io(source) => Failed::Ended(Error::io("read", self.path)(source)),
            StoreError::Encrypted | StoreError::Format { .. } => {
                Failed::Ended(Error::NotLive { path: self.path.to_owned(), reason: error.to_string() })
            }
            error => Failed::Changed(error.to_string()),
        }
    }

    fn copy(&mut self, chunk: &Chunk, version: &Version) -> Result<Kept, Failed> {
        let changed = |what: &str| Failed::Changed(format!("chunk {} {what}", chunk.id));
        let bytes = self.read(chunk)?.ok_or_else(|| changed("lies behind the end of the file"))?;
        if !is_whole(&bytes, chunk, version) {
            return Err(changed("was overwritten before it was read"));
        }
        if !self.is_as_read(chunk, &bytes)? {
            return Err(changed("was overwritten while it was read"));
        }
        if begins_another(&bytes) && !self.is_cleared(chunk, version) {
            return Err(changed(
                "holds data that look like the start of a chunk, which is what an overwriting looks like",
            ));
        }
        self.keep(chunk, version, bytes)
    }

    /// A user may have stored what looks like a chunk. It is no overwriting if a version that was written later than the
    /// one at which it was seen still lists the chunk: its space was not given away.
    fn is_cleared(&mut self, chunk: &Chunk, version: &Version) -> bool {
        *self.suspects.entry(key(chunk)).or_insert(version.last.version) < version.last.version
    }

    fn read(&mut self, chunk: &Chunk) -> Result<Option<Vec<u8>>, Failed> {
        let length = usize::try_from(chunk.bytes()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        let step = if self.options.read_bytes_per_second.is_some() { SLOW_READ_BYTES } else { length };
        let mut at = chunk.start();
        for part in bytes.chunks_mut(step.max(1)) {
            let got =
                (&mut &*self.file).read_at(part, at).map_err(|e| Failed::Ended(Error::io("read", self.path)(e)))?;
            if got < part.len() {
                return Ok(None);
            }
            at += got as u64;
            self.slow_down(got as u64);
        }
        Ok(Some(bytes))
    }

    fn slow_down(&mut self, bytes: u64) {
        self.read_bytes += bytes;
        if let Some(most) = self.options.read_bytes_per_second {
            let due = Duration::from_secs_f64(self.read_bytes as f64 / most.max(1) as f64);
            std::thread::sleep(due.saturating_sub(self.began.elapsed()));
        }
    }

    /// Reads again what a writer cannot have left as it was.
    fn is_as_read(&self, chunk: &Chunk, bytes: &[u8]) -> Result<bool, Failed> {
        let last = bytes.len() - bytes.len().min(crate::store::FOOTER_BYTES);
        let header = (0, bytes.iter().position(|byte| *byte == b'\n').unwrap_or_default());
        let inner = (0..bytes.len()).step_by(BLOCK_BYTES as usize).skip(1).map(|at| (at, SIGHT_BYTES));
        for (at, length) in std::iter::once(header).chain(inner).chain([(last, bytes.len() - last)]) {
            let mut now = vec![0; length];
            let got = (&mut &*self.file).read_at(&mut now, chunk.start() + at as u64);
            got.map_err(|e| Failed::Ended(Error::io("read", self.path)(e)))?;
            if bytes.get(at..at + length) != Some(&now[..]) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn keep(&mut self, chunk: &Chunk, version: &Version, mut bytes: Vec<u8>) -> Result<Kept, Failed> {
        let known = if self.keep_dead { chunk.with_all_pages() } else { chunk.clone() };
        let dead = dead_ranges(&bytes, &known, version.format);
        for range in &dead {
            bytes.get_mut(range.clone()).unwrap_or_default().fill(0);
        }
        let is_text = |map| version.is_text(map);
        // What is wrong with a page is told when a map comes to need it.
        let pages = Pages::of(&bytes, chunk, version.format, &is_text, &mut |_, _| {});
        let (mut parts, mut at) = (Vec::new(), 0);
        for hole in dead.into_iter().filter(|range| range.len() >= HOLE_LEAST_BYTES) {
            self.store(&mut parts, bytes.get(at..hole.start).unwrap_or_default())?;
            parts.push(Part::Hole(hole.len() as u64));
            at = hole.end;
        }
        self.store(&mut parts, bytes.get(at..).unwrap_or_default())?;
        Ok(Kept { parts, pages })
    }

    fn store(&mut self, parts: &mut Vec<Part>, mut bytes: &[u8]) -> Result<(), Failed> {
        if !bytes.is_empty() {
            let from: &mut dyn Read = &mut bytes;
            parts.push(Part::Stored(self.pieces.put(from, CutPolicy::Fine).map_err(|e| Failed::Ended(e.into()))?));
        }
        Ok(())
    }

    /// Puts the file together and walks it.
    fn assemble(&mut self, pinned: Pinned, rounds: u32) -> Result<Captured, Error> {
        let ended = |failed| match failed {
            Failed::Ended(error) => error,
            Failed::Changed(reason) => Error::NotLive { path: self.path.to_owned(), reason },
        };
        let Pinned { newest, is_settled } = pinned;
        let last = newest.version.last.clone();
        let (mut chunks, mut parts) = (newest.version.chunks.clone(), Vec::new());
        let mut verifier = Verifier::new(newest);
        let header = verifier.header().closed_at(last.id, last.block, last.version);
        self.store(&mut parts, &header).map_err(ended)?;
        let mut at = HEADER_BYTES as u64;
        let mut in_order: Vec<Chunk> = std::mem::take(&mut chunks).into_values().collect();
        in_order.sort_unstable_by_key(|chunk| chunk.block);
        for chunk in in_order {
            parts.push(Part::Hole(chunk.start().saturating_sub(at)));
            at = chunk.end();
            match self.kept.remove(&key(&chunk)) {
                Some(kept) => {
                    parts.extend(kept.parts);
                    verifier.noted(chunk.id, kept.pages);
                }
                None => self.hollow(&chunk, verifier.version().format, &mut parts)?,
            }
        }
        let report =
            verifier.finish(at).map_err(|e| Error::NotLive { path: self.path.to_owned(), reason: e.to_string() })?;
        Ok(Captured { parts, report, rounds, is_settled })
    }

    fn hollow(&mut self, chunk: &Chunk, format: crate::store::Format, parts: &mut Vec<Part>) -> Result<(), Error> {
        let ends = chunk.hollow(format);
        let between = chunk.bytes().saturating_sub((ends.header.len() + ends.footer.len()) as u64);
        let ended = |_| Error::Seam(treering_snapshot::capture::CaptureError::NotStored);
        self.store(parts, &ends.header).map_err(ended)?;
        parts.push(Part::Hole(between));
        self.store(parts, &ends.footer).map_err(ended)
    }
}

/// Whether an inner block starts like a chunk.
fn begins_another(bytes: &[u8]) -> bool {
    bytes.chunks(BLOCK_BYTES as usize).skip(1).any(|block| block.starts_with(CHUNK_START))
}

/// Why a round ended.
enum Failed {
    /// Something was overwritten; the next round may do better.
    Changed(String),
    /// No round will.
    Ended(Error),
}
