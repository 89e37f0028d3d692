//! Mending snapshots: lost records are brought back from their second copies, and snapshots with damage are written
//! again without what is lost.
//!
//! Invariant: what is brought back is whole, and was neither forgotten nor pruned. What is written again is committed
//! before the original is forgotten, and the original can be brought back.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use treering_chunk::ChunkKind;
use treering_store::storage::{Area, LockMode};
use treering_store::{Compression, RecordKind, RecordName, Repository, Session, SessionMode, StoreError};

use super::needs::{There, missing, record};
use super::packs::restore_copies;
use super::rewrite::{describe, rewrite};
use super::torn::{Assessor, Losses};
use crate::error::{Result, SnapshotError};
use crate::known::{KnownChunks, damage};
use crate::progress::Progress;
use crate::prune::read_pruned;
use crate::record::{AllSnapshots, Snapshot, SnapshotName};

/// What to mend.
#[derive(Debug, Clone)]
pub struct SnapshotRepairOptions {
    /// Only snapshots whose names begin with one of these; all if there are none.
    pub only: Vec<String>,
    /// How new trees are compressed.
    pub compression: Compression,
    /// Only find out.
    pub dry_run: bool,
}

/// A snapshot whose record was lost or damaged and has a second copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// Which.
    pub name: SnapshotName,
    /// What it says.
    pub snapshot: Snapshot,
    /// Whether there is a damaged record of it. If there is none, nobody knows whether it was ever committed.
    pub was_committed: bool,
    /// What became of it.
    pub outcome: ReturnedAs,
}

/// What became of a lost snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReturnedAs {
    /// It is whole, and was brought back.
    Whole,
    /// Something that it needs is lost, so it was not.
    Incomplete(Losses),
    /// Records of forgotten snapshots cannot be read, and it may be one of them. It comes back if it is named.
    PerhapsForgotten,
}

/// A snapshot that was written again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// The damaged one, which is forgotten now.
    pub original: SnapshotName,
    /// Its new name; `None` in a dry run.
    pub name: Option<SnapshotName>,
    /// What the new one says; in a dry run, what the original says.
    pub snapshot: Snapshot,
    /// What was left out.
    pub losses: Losses,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotsRepaired {
    /// Lost records that have a second copy.
    pub returned: Vec<Returned>,
    /// Damaged records without one, and what is wrong with them.
    pub hopeless: Vec<(SnapshotName, String)>,
    /// Second copies that were stored again.
    pub copies: u64,
    /// Snapshots with damage, oldest first.
    pub rewritten: Vec<Rewritten>,
}

/// Mends snapshots. To be run when packs have been mended: what is in a damaged pack counts as it can be read now.
///
/// # Errors
///
/// [`SnapshotError::NoSnapshot`] if one that was named is not there; [`SnapshotError::Interrupted`]; whatever keeps a
/// commit from being made. What was done until then stays done.
pub fn repair_snapshots(
    repository: &Arc<Repository>,
    options: &SnapshotRepairOptions,
    progress: &dyn Progress,
) -> Result<SnapshotsRepaired> {
    let mut repaired = SnapshotsRepaired::default();
    let known = bring_back(repository, options, &mut repaired, progress)?;
    repaired.copies = store_copies(repository, options, &known)?;
    let all = Snapshot::read_all(repository)?;
    refuse_unknown(options, &all, &repaired)?;
    let there = There { known: &known, stored: HashSet::new() };
    let mut reader = repository.reader()?;
    let mut assessor = Assessor::new(&mut reader, &there, progress);
    for (name, snapshot) in all.snapshots.into_iter().filter(|(name, _)| options.names(name)) {
        let losses = assessor.assess(&snapshot)?;
        if !losses.is_empty() {
            repaired.rewritten.push(write_again(repository, options, (name, snapshot), losses)?);
        }
    }
    if !options.dry_run && !repaired.rewritten.is_empty() {
        forget_lost(repository, progress)?;
    }
    Ok(repaired)
}

impl SnapshotRepairOptions {
    fn names(&self, name: &SnapshotName) -> bool {
        self.only.is_empty() || self.is_named(name)
    }

    fn is_named(&self, name: &SnapshotName) -> bool {
        let name = name.to_string();
        self.only.iter().any(|prefix| name.starts_with(prefix))
    }
}

fn refuse_unknown(options: &SnapshotRepairOptions, all: &AllSnapshots, repaired: &SnapshotsRepaired) -> Result<()> {
    let visible = all.snapshots.iter().map(|(name, _)| *name).chain(all.damaged.iter().map(|(name, _)| *name));
    let names: Vec<String> =
        visible.chain(repaired.returned.iter().map(|lost| lost.name)).map(|name| name.to_string()).collect();
    match options.only.iter().find(|prefix| !names.iter().any(|name| name.starts_with(*prefix))) {
        Some(prefix) => Err(SnapshotError::NoSnapshot { selector: prefix.clone() }),
        None => Ok(()),
    }
}

/// Lost records, under the lock that commits share: nothing is deleted between looking and publishing. Gives the chunks
/// that there are.
fn bring_back(
    repository: &Repository,
    options: &SnapshotRepairOptions,
    repaired: &mut SnapshotsRepaired,
    progress: &dyn Progress,
) -> Result<KnownChunks> {
    let lock = if options.dry_run { None } else { Some(repository.storage().lock(LockMode::Shared)?) };
    let (all, packs) = (Snapshot::read_all(repository)?, repository.list_packs()?);
    let known = KnownChunks::read(repository, &packs, progress)?;
    let (gone, is_sure) = gone(repository)?;
    let mut lost = second_copies(repository, &known, &all)?;
    lost.retain(|name, _| !gone.contains(name));
    let there = There { known: &known, stored: HashSet::new() };
    let mut reader = repository.reader()?;
    let mut assessor = Assessor::new(&mut reader, &there, progress);
    let mut bytes = Vec::new();
    for (name, (record, snapshot)) in lost.into_iter().filter(|(name, _)| options.names(name)) {
        let losses = assessor.assess(&snapshot)?;
        let was_committed = all.damaged.iter().any(|(damaged, _)| *damaged == name);
        let outcome = match losses.lost_paths() {
            0 if is_sure || was_committed || options.is_named(&name) => ReturnedAs::Whole,
            0 => ReturnedAs::PerhapsForgotten,
            _ => ReturnedAs::Incomplete(losses),
        };
        bytes.extend((outcome == ReturnedAs::Whole).then_some(record));
        repaired.returned.push(Returned { name, snapshot, was_committed, outcome });
    }
    for (name, error) in all.damaged.into_iter().filter(|(name, _)| options.names(name)) {
        if repaired.returned.iter().all(|lost| lost.name != name) {
            repaired.hopeless.push((name, damage(error)?));
        }
    }
    if !options.dry_run && !bytes.is_empty() {
        let names: Vec<String> = packs.iter().map(|(name, _)| name.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        repository.storage().sync(Area::Packs, &names)?;
        bytes.iter().try_for_each(|bytes| repository.publish_snapshot(bytes).map(drop))?;
    }
    drop(lock);
    Ok(known)
}

/// Snapshots that were dropped on purpose, and whether that is known of all of them.
fn gone(repository: &Repository) -> Result<(HashSet<SnapshotName>, bool)> {
    let (mut gone, mut is_sure) = (HashSet::new(), true);
    for name in repository.list_records(Area::Records)? {
        match repository.read_record(Area::Records, name) {
            Ok(record) if record.kind == RecordKind::FORGOTTEN => drop(gone.insert(RecordName::of(&record.body))),
            Ok(_) | Err(StoreError::Missing { .. }) => {}
            Err(e) => {
                damage(e.into())?;
                is_sure = false;
            }
        }
    }
    Ok((gone, is_sure))
}

/// Snapshots that no sound record names and no prune has taken for good, by their second copies.
fn second_copies(
    repository: &Repository,
    known: &KnownChunks,
    all: &AllSnapshots,
) -> Result<BTreeMap<SnapshotName, (Vec<u8>, Snapshot)>> {
    let visible: HashSet<SnapshotName> = all.snapshots.iter().map(|(name, _)| *name).collect();
    let (mut reader, mut found) = (repository.reader()?, BTreeMap::new());
    let (_, pruned) = read_pruned(repository)?;
    for id in known.copies.iter().filter(|id| !pruned.contains(id)) {
        let Ok(bytes) = reader.get(ChunkKind::SnapshotCopy, id) else { continue };
        let name = RecordName::of(&bytes);
        if visible.contains(&name) {
            continue;
        }
        let record = repository.open_record(&bytes).ok().filter(|record| record.kind == RecordKind::SNAPSHOT);
        if let Some(snapshot) = record.and_then(|record| Snapshot::decode(&record.body).ok()) {
            found.insert(name, (bytes, snapshot));
        }
    }
    Ok(found)
}

fn store_copies(repository: &Arc<Repository>, options: &SnapshotRepairOptions, known: &KnownChunks) -> Result<u64> {
    let mode = if options.dry_run { SessionMode::DryRun } else { SessionMode::Store };
    let session = Session::start(repository, None, options.compression, mode)?;
    let mut sink = session.sink()?;
    let copies = restore_copies(repository, known, &mut sink)?;
    sink.flush()?;
    session.flush()?;
    Ok(copies)
}

/// Commits the snapshot without what is lost, then forgets the original.
fn write_again(
    repository: &Arc<Repository>,
    options: &SnapshotRepairOptions,
    (original, snapshot): (SnapshotName, Snapshot),
    losses: Losses,
) -> Result<Rewritten> {
    if options.dry_run {
        return Ok(Rewritten { original, name: None, snapshot, losses });
    }
    // The original is registered: what is taken over from it stays.
    let session = Session::start(repository, Some(original), options.compression, SessionMode::Store)?;
    let (mut sink, mut reader) = (session.sink()?, repository.reader()?);
    let root = rewrite(&mut reader, &mut sink, repository.namer(), &snapshot.root, &losses)?;
    sink.flush()?;
    session.flush()?;
    let snapshot = describe(original, &snapshot, root, &losses);
    let name = session.commit(snapshot.encode()?)?;
    repository.forget_snapshot(original)?;
    Ok(Rewritten { original, name: Some(name), snapshot, losses })
}

/// What no visible snapshot needs any more need not be recorded as lost.
fn forget_lost(repository: &Repository, progress: &dyn Progress) -> Result<()> {
    let known = KnownChunks::read(repository, &repository.list_packs()?, progress)?;
    let missing = missing(repository, &There { known: &known, stored: HashSet::new() }, progress)?;
    record(repository, &missing.lost, missing.unreadable == 0)
}
