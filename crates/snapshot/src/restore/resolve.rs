//! Where the bytes of a window come from: each piece is compared with the file that is there, or looked up.
//!
//! Owns reading old files. Never writes.
//!
//! Invariant: a piece is taken from an old file only if its bytes there had the name that the snapshot gives it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use treering_chunk::{ChunkId, ChunkKind};
use treering_store::{CHUNK_MOST_BYTES, ChunkReader, Place};

use super::Work;
use super::beneath::Dirs;
use super::job::{Action, Job, is_zero};
use super::plan::{Piece, RestorePlan};
use crate::error::{Result, SnapshotError};
use crate::progress::Event;

/// Pieces that a worker takes at once.
const BATCH_PIECES: usize = 2048;
/// Zeros are compared in parts of this size.
const ZEROS_BYTES: u64 = 256 << 10;

/// A piece that comes from the repository.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetch {
    pub(super) place: Place,
    pub(super) job: u32,
    pub(super) offset: u64,
    pub(super) id: ChunkId,
}

/// Where a window's pieces come from.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    pub(super) fetches: Vec<Fetch>,
    /// Ranges that are the same in the old file, without what the snapshot knows to be a hole.
    pub(super) same: Vec<(u32, Range<u64>)>,
}

/// Finds out where every piece comes from, on all workers.
pub(super) fn resolve(
    work: &Work<'_>,
    plan: &RestorePlan,
    readers: &mut [ChunkReader<'_>],
    looks_up: bool,
) -> Result<Resolved> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let parts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for reader in readers.iter_mut() {
            scope.spawn(|| {
                let mut worker = Resolver {
                    work,
                    plan,
                    reader,
                    dirs: Dirs::new(&work.beneath, &work.folders),
                    old: None,
                    looks_up,
                    found: Resolved::default(),
                };
                match worker.run(&next) {
                    Ok(()) => parts.lock().push(worker.found),
                    Err(e) => {
                        next.store(usize::MAX / 2, Ordering::Relaxed);
                        failure.lock().get_or_insert(e);
                    }
                }
            });
        }
    });
    failure.into_inner().map_or(Ok(()), Err)?;
    Ok(merge(parts.into_inner()))
}

fn merge(parts: Vec<Resolved>) -> Resolved {
    let mut all = Resolved::default();
    for mut part in parts {
        all.fetches.append(&mut part.fetches);
        all.same.append(&mut part.same);
    }
    // By pack and frame, then as the bytes follow each other in files.
    all.fetches.sort_unstable_by_key(|fetch| (fetch.place.frame(), fetch.job, fetch.offset));
    all.same.sort_unstable_by_key(|(job, range)| (*job, range.start));
    all.same.dedup_by(|next, before| {
        let joins = next.0 == before.0 && next.1.start == before.1.end;
        if joins {
            before.1.end = next.1.end;
        }
        joins
    });
    all
}

struct Resolver<'w, 'a, 'r> {
    work: &'w Work<'a>,
    plan: &'w RestorePlan,
    reader: &'w mut ChunkReader<'r>,
    dirs: Dirs<'w>,
    old: Option<(u32, Option<File>)>,
    looks_up: bool,
    found: Resolved,
}

impl Resolver<'_, '_, '_> {
    fn run(&mut self, next: &AtomicUsize) -> Result<()> {
        let pieces = &self.plan.pieces;
        loop {
            let start = next.fetch_add(BATCH_PIECES, Ordering::Relaxed);
            let Some(batch) = pieces
                .get(start..pieces.len().min(start.saturating_add(BATCH_PIECES)))
                .filter(|batch| !batch.is_empty())
            else {
                return Ok(());
            };
            self.work.check_interrupted()?;
            for piece in batch {
                self.piece(piece)?;
            }
        }
    }

    fn piece(&mut self, piece: &Piece) -> Result<()> {
        let Some(job) = self.plan.jobs.get(piece.job as usize).map(Arc::clone) else { return Ok(()) };
        if job.failed() {
            return Ok(());
        }
        if job.compares() && self.is_same(&job, piece)? {
            if piece.id.is_some() {
                self.found.same.push((piece.job, piece.offset..piece.offset.saturating_add(piece.bytes)));
            }
            self.work.progress.event(Event::Bytes { bytes: piece.bytes });
            return Ok(());
        }
        job.is_changed.store(true, Ordering::Relaxed);
        match piece.id {
            Some(id) if self.looks_up => self.look_up(&job, piece, id),
            _ => Ok(()),
        }
    }

    fn look_up(&mut self, job: &Job, piece: &Piece, id: ChunkId) -> Result<()> {
        match self.reader.place(&id) {
            Ok(place) if u64::from(place.raw_len()) == piece.bytes => {
                self.found.fetches.push(Fetch { place, job: piece.job, offset: piece.offset, id });
            }
            Ok(_) => {
                let detail = "it is not as long as its stream says";
                job.fail(self.work, &SnapshotError::damaged(format!("chunk {id}"), detail));
            }
            Err(e) => job.fail(self.work, &e.into()),
        }
        Ok(())
    }

    fn is_same(&mut self, job: &Job, piece: &Piece) -> Result<bool> {
        let old_bytes = match job.action {
            Action::Update { old_bytes } | Action::Verify { old_bytes } => old_bytes,
            _ => 0,
        };
        if piece.offset.saturating_add(piece.bytes) > old_bytes {
            return Ok(false);
        }
        if self.old.as_ref().is_none_or(|(known, _)| *known != piece.job) {
            self.old = Some((piece.job, job.open_old(&mut self.dirs)?));
        }
        let Some((_, Some(old))) = &self.old else { return Ok(false) };
        // What cannot be read is fetched instead.
        Ok(match piece.id {
            Some(id) => has_chunk(self.work, old, piece, &id).unwrap_or(false),
            None => has_zeros(old, piece.offset, piece.bytes).unwrap_or(false),
        })
    }
}

fn has_chunk(work: &Work<'_>, old: &File, piece: &Piece, id: &ChunkId) -> io::Result<bool> {
    let mut bytes = vec![0; (piece.bytes as usize).min(CHUNK_MOST_BYTES)];
    old.read_exact_at(&mut bytes, piece.offset)?;
    Ok(work.repository.namer().id(ChunkKind::Data, &bytes) == *id)
}

/// Whether a range reads as zeros; what is a hole there is not read.
fn has_zeros(old: &File, offset: u64, bytes: u64) -> io::Result<bool> {
    let (mut at, end) = (offset, offset.saturating_add(bytes));
    let mut buffer = Vec::new();
    while at < end {
        let data = match seek(old, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => return Ok(true),
            // File systems that know no holes.
            Err(_) => at,
        };
        at = data.max(at);
        if at >= end {
            return Ok(true);
        }
        let part = (end - at).min(ZEROS_BYTES);
        buffer.resize(part as usize, 0);
        old.read_exact_at(&mut buffer, at)?;
        if !is_zero(&buffer) {
            return Ok(false);
        }
        at += part;
    }
    Ok(true)
}
