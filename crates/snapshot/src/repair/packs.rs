//! Mending packs: what is whole of a damaged pack is stored again, then the pack is moved aside.
//!
//! The copying needs no lock. What follows is a deletion, and holds the lock alone: which chunks the visible snapshots
//! need is found anew, what of them is in no pack is recorded as lost, and only then the damaged packs go.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use treering_chunk::{ChunkId, ChunkKind};
use treering_store::storage::{Area, LockMode};
use treering_store::{
    Compression, PackCheck, PackName, RECORD_MOST_BYTES, Repository, Salvage, Session, SessionMode, Sink, StoreError,
};

use super::needs::{Missing, There, missing, record};
use crate::check::{CheckOptions, check};
use crate::error::{Result, SnapshotError};
use crate::known::{KnownChunks, refuse_out_of_reach};
use crate::progress::Progress;
use crate::record::Snapshot;

/// What to mend.
#[derive(Debug, Clone)]
pub struct PackRepairOptions {
    /// These packs, damaged or not; if there are none, those that are found to be damaged.
    pub packs: Vec<PackName>,
    /// To find them, read all data.
    pub read_data: bool,
    /// How what is stored again is compressed.
    pub compression: Compression,
    /// Only find out.
    pub dry_run: bool,
}

/// A pack that was moved aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairedPack {
    /// Which.
    pub name: PackName,
    /// What of it was stored again.
    pub salvage: Salvage,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PacksRepaired {
    /// Packs that were moved aside, in the order of their names.
    pub packs: Vec<RepairedPack>,
    /// Second copies of snapshot records that were in no pack and were stored again.
    pub copies: u64,
    /// Chunks that snapshots need and that are in no pack now.
    pub lost: BTreeMap<ChunkId, ChunkKind>,
    /// Chunks of trees and lists that are in a pack and cannot be read; what lies beneath them may be lost as well.
    pub unreadable: u64,
}

/// Mends damaged packs. A pack that vanishes meanwhile is passed over.
///
/// # Errors
///
/// [`SnapshotError::OutOfReach`], [`SnapshotError::Interrupted`], [`StoreError::Missing`] if a pack that was named is not
/// there, or whatever keeps it from going on. Until the lock is held nothing but new packs is written; a repair that ends
/// before can be started again.
pub fn repair_packs(
    repository: &Arc<Repository>,
    options: &PackRepairOptions,
    progress: &dyn Progress,
) -> Result<PacksRepaired> {
    // What is merely not there at the moment would count as lost.
    repository.refuse_missing_folders()?;
    refuse_out_of_reach(repository)?;
    let targets = targets(repository, options, progress)?;
    let mode = if options.dry_run { SessionMode::DryRun } else { SessionMode::Store };
    // Its registration keeps others from taking the new packs for garbage until all is done.
    let session = Session::start(repository, None, options.compression, mode)?;
    let (mut sink, mut stored, mut repaired) = (session.sink()?, HashSet::new(), PacksRepaired::default());
    for name in &targets {
        let salvaged = repository.salvage(*name, &mut |kind, bytes| {
            stored.insert(sink.put_again(kind, bytes)?.id);
            Ok(())
        });
        repaired.packs.extend(unless_gone(salvaged)?.map(|salvage| RepairedPack { name: *name, salvage }));
        if progress.is_interrupted() {
            return Err(SnapshotError::Interrupted);
        }
    }
    let known = KnownChunks::read(repository, &others(repository, &targets)?, progress)?;
    repaired.copies = restore_copies(repository, &known, &mut sink)?;
    sink.flush()?;
    session.flush()?;
    if options.dry_run {
        let there = There::new(&known, stored)?;
        return add_lost(repository, &there, repaired, progress);
    }
    read_back(repository, &session)?;
    let alone = repository.storage().lock(LockMode::Exclusive)?;
    let repaired = swap(repository, &session, &targets, repaired, progress)?;
    drop(alone);
    Ok(repaired)
}

fn targets(repository: &Repository, options: &PackRepairOptions, progress: &dyn Progress) -> Result<Vec<PackName>> {
    let mut targets = options.packs.clone();
    if targets.is_empty() {
        let suspects: Vec<_> = if options.read_data {
            repository.list_packs()?.into_iter().map(|(name, _)| name).collect()
        } else {
            check(repository, &CheckOptions { data: None, clock: &|| Duration::ZERO }, progress)?
                .broken_packs()
                .collect()
        };
        for name in suspects {
            if progress.is_interrupted() {
                return Err(SnapshotError::Interrupted);
            }
            // A pack whose bytes are what was written is not mended by writing them again.
            let found = repository.check_pack(name, PackCheck::Data)?;
            if let Some(unread) = found.iter().find(|finding| finding.is_out_of_reach) {
                return Err(SnapshotError::OutOfReach { objects: vec![unread.detail.clone()] });
            }
            targets.extend((!found.is_empty()).then_some(name));
        }
    }
    targets.sort_unstable();
    targets.dedup();
    for name in &targets {
        let there = repository.storage().length(Area::Packs, &name.to_string())?;
        there.ok_or_else(|| StoreError::Missing { area: Area::Packs, name: name.to_string() })?;
    }
    Ok(targets)
}

/// All packs but these.
fn others(repository: &Repository, targets: &[PackName]) -> Result<Vec<(PackName, u64)>> {
    let packs = repository.list_packs()?;
    Ok(packs.into_iter().filter(|(name, _)| targets.binary_search(name).is_err()).collect())
}

/// Stores the second copies of visible snapshot records that are in no pack. Returns how many.
pub(super) fn restore_copies(repository: &Repository, known: &KnownChunks, sink: &mut Sink) -> Result<u64> {
    let mut copies = 0;
    for (name, _) in Snapshot::read_all(repository)?.snapshots {
        let bytes = match repository.storage().read(Area::Snapshots, &name.to_string(), RECORD_MOST_BYTES) {
            Err(StoreError::Missing { .. }) => continue,
            bytes => bytes?,
        };
        if known.find(&sink.name(ChunkKind::SnapshotCopy, &bytes)).is_none() {
            copies += u64::from(sink.put_again(ChunkKind::SnapshotCopy, &bytes)?.is_new);
        }
    }
    Ok(copies)
}

/// What was stored is read from the storage before anything is relied on it.
fn read_back(repository: &Repository, session: &Session) -> Result<()> {
    for name in session.packs() {
        if let Some(finding) = repository.check_pack(name, PackCheck::Data)?.into_iter().next() {
            return Err(SnapshotError::damaged(format!("pack {name}, which was just written,"), finding.detail));
        }
    }
    Ok(())
}

/// The lock is held alone.
fn swap(
    repository: &Repository,
    session: &Session,
    targets: &[PackName],
    repaired: PacksRepaired,
    progress: &dyn Progress,
) -> Result<PacksRepaired> {
    let packs = others(repository, targets)?;
    if let Some(gone) = session.packs().iter().find(|own| packs.iter().all(|(name, _)| name != *own)) {
        return Err(StoreError::PacksGone { packs: vec![gone.to_string()] }.into());
    }
    // Else a chunk that has another place is looked for where it is damaged.
    repository.unindex_packs(targets)?;
    let known = KnownChunks::read(repository, &packs, progress)?;
    let there = There::new(&known, HashSet::new())?;
    let repaired = add_lost(repository, &there, repaired, progress)?;
    record(repository, &repaired.lost, repaired.unreadable == 0)?;
    for name in targets {
        unless_gone(repository.retire_pack(*name))?;
    }
    Ok(repaired)
}

/// Another repair may have been quicker.
fn unless_gone<T>(result: Result<T, StoreError>) -> Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(StoreError::Missing { .. }) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn add_lost(
    repository: &Repository,
    there: &There<'_>,
    repaired: PacksRepaired,
    progress: &dyn Progress,
) -> Result<PacksRepaired> {
    let Missing { lost, unreadable } = missing(repository, there, progress)?;
    Ok(PacksRepaired { lost, unreadable, ..repaired })
}
