//! Reclaiming: freeing the space of what no snapshot needs, beside whoever else is at work.
//!
//! Owns the order of the work: mark and choose ([`Pruning::start`]), then forget, delete whole packs, copy what is
//! needed out of others and delete those ([`Pruning::apply`]). Never holds the lock while it marks or copies; what was
//! found without it only says where to look (rules A7 to A15 of `docs/protocol.md`).
//!
//! Invariant: what a plan shows is what is done, but for what others do meanwhile: packs that a new snapshot needs stay.
//! What could be brought back of a snapshot whose record is lost stays as well.
//! Killed at any moment, nothing is lost; what was copied twice is found by the next prune.

mod live;
mod plan;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use treering_chunk::{ChunkId, ChunkKind};
use treering_store::storage::Area;
use treering_store::{
    Compression, Forgotten, Listing, PackCheck, PackName, PackedFrame, Record, RecordKind, RecordName, Repository,
    Session, SessionMode, Sink, StoreError, codec,
};

use crate::error::{Result, SnapshotError};
use crate::known::damage;
use crate::progress::{Event, Progress};
use crate::record::SnapshotName;

use live::Live;
pub(crate) use live::describe;
use plan::Limits;
pub use plan::{Action, PlannedPack, PrunePlan, Unused};

/// Packs are repacked in batches of about so many bytes: so much room is needed before the first of them can go.
const BATCH_BYTES: u64 = 256 << 20;
/// The longest list of second copies of pruned snapshots: half a million of them.
const PRUNED_MOST_BYTES: usize = treering_store::RECORD_MOST_BYTES - (64 << 10);

/// How to prune.
pub struct PruneOptions<'o> {
    /// How much may stay although nobody needs it.
    pub max_unused: Unused,
    /// The most bytes of packs that are repacked in one run.
    pub max_repack_bytes: u64,
    /// Packs that are smaller than so many bytes are merged, once there are many.
    pub repack_smaller_than: u64,
    /// No further batch is repacked after this time.
    pub max_duration: Option<Duration>,
    /// Whether more than half of what is stored may go.
    pub may_free_most: bool,
    /// How to compress chunks that are taken out of frames.
    pub compression: Compression,
    /// Time since any fixed moment; it only goes forward.
    pub clock: &'o dyn Fn() -> Duration,
}

/// A prune that was planned.
pub struct Pruning<'r> {
    repository: &'r Arc<Repository>,
    live: Live<'r>,
    plan: PrunePlan,
    dropped: BTreeSet<SnapshotName>,
    started: Duration,
}

/// What was done.
#[derive(Debug, Clone, Default)]
pub struct PruneReport {
    /// Packs that were deleted because nothing in them was needed, and their bytes.
    pub removed: (u64, u64),
    /// Packs that were deleted after what was needed of them had been copied, and their bytes.
    pub repacked: (u64, u64),
    /// The bytes that were written for that.
    pub written_bytes: u64,
    /// Packs that were to go and stayed, because a snapshot or a live session needs them now.
    pub spared: u64,
    /// Packs that could not be repacked because something in them is damaged; they stay.
    pub damaged: Vec<(PackName, String)>,
    /// The longest time that the lock was held alone.
    pub longest_lock: Duration,
    /// Packs that could not be repacked because the disk has no room for what is needed of them; they stay.
    pub without_room: u64,
    /// Whether the time was over before everything was repacked.
    pub is_out_of_time: bool,
}

impl<'r> Pruning<'r> {
    /// Marks and chooses. `dropped` are snapshots that are to be forgotten. Nothing is changed.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::NotWhole`] if a snapshot cannot be read to its end, [`SnapshotError::RecordsUnreadable`],
    /// [`SnapshotError::NothingWouldRemain`].
    pub fn start(
        repository: &'r Arc<Repository>,
        dropped: BTreeSet<SnapshotName>,
        options: &PruneOptions<'_>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let started = (options.clock)();
        let listing = repository.start_deletion()?.into_listing();
        if listing.snapshots.iter().all(|name| dropped.contains(name)) && !listing.packs.is_empty() {
            return Err(SnapshotError::NothingWouldRemain);
        }
        crate::undelete::refuse_damaged_records(repository)?;
        let mut live = Live::new(repository);
        live.catch_up(&listing, &dropped, progress)?;
        let lost = live.keep_lost(&listing, progress)?;
        let claimed = |name: &PackName| listing.sessions.iter().any(|session| session.packs.contains(name));
        let limits = Limits {
            max_unused: options.max_unused,
            max_repack_bytes: options.max_repack_bytes,
            repack_smaller_than: options.repack_smaller_than,
        };
        let ended = count_ended(repository, &dropped, &listing)?;
        let plan = PrunePlan { lost, ended, ..plan::plan(&mut live, &claimed, limits) };
        Ok(Self { repository, live, plan, dropped, started })
    }

    /// What will be done.
    pub fn plan(&self) -> &PrunePlan {
        &self.plan
    }

    /// Whether doing it must be confirmed: more than half of what is stored would go.
    fn frees_most(&self) -> bool {
        self.plan.freed_bytes() > self.plan.stored_bytes() / 2
    }

    /// Refuses to do what must be confirmed and is not.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::TooMuch`].
    pub fn refuse_most(&self, options: &PruneOptions<'_>) -> Result<()> {
        if self.frees_most() && !options.may_free_most {
            let (freed_bytes, stored_bytes) = (self.plan.freed_bytes(), self.plan.stored_bytes());
            return Err(SnapshotError::TooMuch { freed_bytes, stored_bytes });
        }
        Ok(())
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::TooMuch`] before anything is done. Whatever happens later, what is there is whole, and another
    /// prune goes on.
    pub fn apply(mut self, options: &PruneOptions<'_>, progress: &dyn Progress) -> Result<PruneReport> {
        self.refuse_most(options)?;
        let mut report = PruneReport::default();
        self.forget()?;
        let forgotten = self.repository.list_forgotten()?;
        // Whole packs first: that needs no room and makes some.
        let removed: Vec<_> = self.plan.with(Action::Remove).map(|pack| pack.name).collect();
        report.removed = self.delete(&removed, options, &mut report, progress)?;
        self.repack_all(options, &mut report, progress)?;
        self.end(&forgotten)?;
        Ok(report)
    }

    fn forget(&self) -> Result<()> {
        for name in &self.dropped {
            match self.repository.forget_snapshot(*name) {
                // Somebody else did.
                Ok(()) | Err(StoreError::Missing { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }

    fn repack_all(
        &mut self,
        options: &PruneOptions<'_>,
        report: &mut PruneReport,
        progress: &dyn Progress,
    ) -> Result<()> {
        let planned: Vec<_> = self.plan.with(Action::Repack).copied().collect();
        let bytes = planned.iter().map(|pack| pack.bytes).sum();
        progress.event(Event::Total { files: planned.len() as u64, bytes });
        for batch in batches(&planned) {
            if options.max_duration.is_some_and(|most| (options.clock)().saturating_sub(self.started) >= most) {
                report.is_out_of_time = true;
                break;
            }
            match self.repack(&batch, options, report, progress) {
                Err(error) if is_out_of_space(&error) => self.repack_singly(batch, options, report, progress)?,
                done => done?,
            }
        }
        Ok(())
    }

    /// Copies what is needed of these packs, then deletes them.
    fn repack(
        &mut self,
        batch: &[PlannedPack],
        options: &PruneOptions<'_>,
        report: &mut PruneReport,
        progress: &dyn Progress,
    ) -> Result<()> {
        let copied = copy(self.repository, &self.live, batch, options, progress)?;
        report.written_bytes += copied.written_bytes;
        report.damaged.extend(copied.damaged);
        let (packs, bytes) = self.delete(&copied.emptied, options, report, progress)?;
        report.repacked = (report.repacked.0 + packs, report.repacked.1 + bytes);
        Ok(())
    }

    /// On a full disk, with the space that is kept for this: one pack after the other, first those of which least must
    /// be copied. Each makes room for the next.
    fn repack_singly(
        &mut self,
        mut batch: Vec<PlannedPack>,
        options: &PruneOptions<'_>,
        report: &mut PruneReport,
        progress: &dyn Progress,
    ) -> Result<()> {
        self.repository.storage().release_ballast()?;
        batch.sort_by_key(|pack| (pack.bytes.saturating_sub(pack.unused_bytes), pack.name));
        for pack in batch {
            match self.repack(&[pack], options, report, progress) {
                Err(error) if is_out_of_space(&error) => report.without_room += 1,
                done => done?,
            }
        }
        Ok(())
    }

    /// Deletes those of these packs that may go. Returns how many went, and their bytes.
    fn delete(
        &mut self,
        doomed: &[PackName],
        options: &PruneOptions<'_>,
        report: &mut PruneReport,
        progress: &dyn Progress,
    ) -> Result<(u64, u64)> {
        if doomed.is_empty() {
            return Ok((0, 0));
        }
        if progress.is_interrupted() {
            return Err(SnapshotError::Interrupted);
        }
        // Most of what has appeared is learned without the lock, to hold it for a short time.
        let now = Listing {
            snapshots: self.repository.list_records(Area::Snapshots)?,
            packs: self.repository.list_packs()?,
            sessions: Vec::new(),
        };
        self.live.catch_up(&now, &BTreeSet::new(), progress)?;
        let deletion = self.repository.start_deletion()?;
        let locked = (options.clock)();
        self.live.catch_up(deletion.listing(), &BTreeSet::new(), progress)?;
        let gone = self.live.deletable(doomed, deletion.listing());
        let bytes_of =
            |name: &PackName| deletion.listing().packs.iter().find(|(listed, _)| listed == name).map(|p| p.1);
        let bytes = gone.iter().filter_map(bytes_of).sum();
        deletion.remove(&gone)?;
        report.longest_lock = report.longest_lock.max((options.clock)().saturating_sub(locked));
        report.spared += (doomed.len() - gone.len()) as u64;
        self.repository.learn_packs()?;
        Ok((gone.len() as u64, bytes))
    }

    /// Ends what could be brought back before, and remembers second copies of it that are still in packs.
    fn end(&self, forgotten: &[Forgotten]) -> Result<()> {
        // Held to the end, so that nobody brings one of them back meanwhile.
        let deletion = self.repository.start_deletion()?;
        let listing = deletion.listing();
        let is_parent = |name: &RecordName| listing.sessions.iter().any(|session| session.parent == Some(*name));
        let ended: Vec<_> = forgotten.iter().filter(|kept| !is_parent(&kept.snapshot)).collect();
        // A visible one was brought back since, or its forget was interrupted: it was not pruned.
        let pruned = ended.iter().filter(|kept| !listing.snapshots.contains(&kept.snapshot));
        let copies = pruned.map(|kept| self.repository.namer().id(ChunkKind::SnapshotCopy, &kept.bytes));
        let (records, before) = read_pruned(self.repository)?;
        // What is in a pack whose trailer is lost comes to light when that is repaired.
        let in_packs = |id: &ChunkId| !self.live.known.is_complete() || self.live.is_in_packs(id, listing);
        let pruned: BTreeSet<ChunkId> = before.iter().copied().chain(copies).filter(in_packs).collect();
        if pruned != before {
            let ids: Vec<[u8; 32]> = pruned.iter().map(|id| *id.as_bytes()).collect();
            let record = Record::new(RecordKind::PRUNED, codec::encode(&ids, PRUNED_MOST_BYTES)?);
            self.repository.with_ballast(|| self.repository.put_record(&record))?;
            self.repository.remove_records(&records)?;
        }
        let records: Vec<_> = ended.iter().map(|kept| kept.record).collect();
        self.repository.remove_records(&records)?;
        drop(deletion);
        Ok(self.repository.keep_ballast()?)
    }
}

/// How many snapshots that were forgotten, or are to be, nobody builds on.
fn count_ended(repository: &Repository, dropped: &BTreeSet<SnapshotName>, listing: &Listing) -> Result<usize> {
    let mut ended: BTreeSet<_> = repository.list_forgotten()?.into_iter().map(|kept| kept.snapshot).collect();
    ended.retain(|name| !listing.snapshots.contains(name));
    ended.extend(dropped);
    let is_parent = |name: &SnapshotName| listing.sessions.iter().any(|session| session.parent == Some(*name));
    Ok(ended.into_iter().filter(|name| !is_parent(name)).count())
}

fn is_out_of_space(error: &SnapshotError) -> bool {
    matches!(error, SnapshotError::Store(error) if error.is_out_of_space())
}

/// Second copies of snapshots that were pruned, and the records that say so. One that is damaged, or says nothing that can
/// be understood, is passed over: a check finds it.
///
/// # Errors
///
/// If records cannot be listed or read.
pub fn read_pruned(repository: &Repository) -> Result<(Vec<RecordName>, BTreeSet<ChunkId>)> {
    let (mut records, mut copies) = (Vec::new(), BTreeSet::new());
    for name in repository.list_records(Area::Records)? {
        let record = match repository.read_record(Area::Records, name) {
            Ok(record) if record.kind == RecordKind::PRUNED => record,
            Ok(_) | Err(StoreError::Damaged { .. } | StoreError::Missing { .. }) => continue,
            Err(other) => return Err(other.into()),
        };
        if let Ok(ids) = decode_pruned(&record.body) {
            copies.extend(ids);
            records.push(name);
        }
    }
    Ok((records, copies))
}

/// Reads the body of such a record.
pub(crate) fn decode_pruned(body: &[u8]) -> Result<impl Iterator<Item = ChunkId> + use<>> {
    let ids: Vec<[u8; 32]> = codec::decode(body, PRUNED_MOST_BYTES, "a list of pruned snapshots")?;
    Ok(ids.into_iter().map(ChunkId::from_bytes))
}

/// Cuts a plan into batches, none of them empty.
fn batches(planned: &[PlannedPack]) -> Vec<Vec<PlannedPack>> {
    let (mut batches, mut bytes) = (Vec::<Vec<PlannedPack>>::new(), BATCH_BYTES);
    for pack in planned {
        if bytes >= BATCH_BYTES {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += pack.bytes;
        batches.last_mut().into_iter().for_each(|batch| batch.push(*pack));
    }
    batches
}

/// What was copied out of a batch.
struct Copied {
    /// Packs from which everything that is needed was copied.
    emptied: Vec<PackName>,
    damaged: Vec<(PackName, String)>,
    written_bytes: u64,
}

/// Copies what is needed of these packs into new ones, which are durable and were read back when this returns.
fn copy(
    repository: &Arc<Repository>,
    live: &Live<'_>,
    packs: &[PlannedPack],
    options: &PruneOptions<'_>,
    progress: &dyn Progress,
) -> Result<Copied> {
    let session = Session::start(repository, None, options.compression, SessionMode::Store)?;
    let mut sink = session.sink()?;
    let mut copied = Copied { emptied: Vec::new(), damaged: Vec::new(), written_bytes: 0 };
    for pack in packs.iter().map(|pack| pack.name) {
        match copy_pack(repository, live, &mut sink, pack, progress) {
            Ok(()) => copied.emptied.push(pack),
            // Another prune was faster.
            Err(SnapshotError::Store(StoreError::Missing { .. })) => {}
            Err(error @ SnapshotError::Store(StoreError::Damaged { .. })) => {
                copied.damaged.push((pack, damage(error)?))
            }
            Err(other) => return Err(other),
        }
    }
    sink.flush()?;
    session.flush()?;
    for (name, bytes) in session.published() {
        let findings = repository.check_pack(name, PackCheck::Name)?;
        if let Some(finding) = findings.first() {
            return Err(SnapshotError::damaged(format!("pack {name} that was just written"), finding.detail.clone()));
        }
        copied.written_bytes += bytes;
    }
    Ok(copied)
}

fn copy_pack(
    repository: &Repository,
    live: &Live<'_>,
    sink: &mut Sink,
    pack: PackName,
    progress: &dyn Progress,
) -> Result<()> {
    for frame in repository.packed_frames(pack)?.iter() {
        if progress.is_interrupted() {
            return Err(SnapshotError::Interrupted);
        }
        copy_frame(repository, sink, &frame, &|id| live.must_copy(id, pack))?;
        progress.event(Event::Bytes { bytes: frame.stored_bytes() });
    }
    Ok(())
}

/// A frame of which everything is needed is copied as it is; of another one, what is needed is taken out.
fn copy_frame(
    repository: &Repository,
    sink: &mut Sink,
    frame: &PackedFrame<'_>,
    is_needed: &dyn Fn(&ChunkId) -> bool,
) -> Result<()> {
    let (mut any, mut all) = (false, true);
    for id in frame.chunks() {
        let needed = is_needed(&id);
        (any, all) = (any || needed, all && needed);
    }
    match (any, all) {
        (false, _) => Ok(()),
        (true, true) => Ok(sink.copy_frame(frame)?),
        (true, false) => Ok(frame.read(repository.namer(), |id, kind, bytes| match is_needed(&id) {
            true => sink.put_again(kind, bytes).map(drop),
            false => Ok(()),
        })?),
    }
}
