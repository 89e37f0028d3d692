//! Mending snapshots: lost records are brought back from their second copies, snapshots with damage are written again
//! without what is lost, and records that cannot be read are moved aside.
//!
//! Invariant: what is brought back was neither forgotten nor pruned nor is a live session about to commit it, and is whole,
//! or was visible before or is asked for by name and is written again at once without what is lost. What is written again
//! is committed before the original is forgotten, and the original can be brought back. What a record may have kept back is
//! kept back otherwise before the record is moved.

use std::collections::HashSet;
use std::sync::Arc;

use treering_store::storage::{Area, LockMode};
use treering_store::{
    Compression, Deletion, PackName, Record, RecordKind, RecordName, Repository, Session, SessionMode,
};

use super::needs::{There, missing, record};
use super::packs::restore_copies;
use super::records::{LostSnapshot, Records};
use super::rewrite::{describe, rewrite};
use super::torn::{Assessor, Losses};
use crate::error::{Result, SnapshotError};
use crate::known::{KnownChunks, refuse_out_of_reach};
use crate::progress::Progress;
use crate::record::{AllSnapshots, Snapshot, SnapshotName};

/// What is said of a whole record that is moved aside.
const MISPLACED: &str = "it is the record of another snapshot, which is where it belongs";

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
    /// Whether there is a damaged record of it, or another snapshot names it. Otherwise nobody knows whether it was ever
    /// committed.
    pub was_committed: bool,
    /// What became of it.
    pub outcome: ReturnedAs,
}

/// What became of a lost snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReturnedAs {
    /// It was brought back. If something that it needs is lost, it is among those that were written again, too.
    Back,
    /// Something that it needs is lost, and nobody knows whether it was dropped on purpose or ever committed, so it was not
    /// brought back. It is if it is named.
    Incomplete(Losses),
    /// Records of forgotten snapshots cannot be read, and it may be one of them. It comes back if it is named; otherwise
    /// it counts as forgotten from now on.
    PerhapsForgotten,
}

/// A damaged snapshot record without a second copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hopeless {
    /// Which.
    pub name: SnapshotName,
    /// What is wrong with it.
    pub detail: String,
    /// Whether it was named, and so given up and moved aside.
    pub given_up: bool,
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
    /// Damaged records without one.
    pub hopeless: Vec<Hopeless>,
    /// Other records that were moved aside because they cannot be read, and what is wrong with them; and snapshot records
    /// under a name that is not theirs.
    pub aside: Vec<(Area, RecordName, String)>,
    /// Second copies that were stored again.
    pub copies: u64,
    /// Snapshots with damage, oldest first.
    pub rewritten: Vec<Rewritten>,
}

/// Mends snapshots. To be run when packs have been mended: what is in a damaged pack counts as it can be read now.
///
/// # Errors
///
/// [`SnapshotError::OutOfReach`]; [`SnapshotError::NoSnapshot`] if one that was named is not there;
/// [`SnapshotError::Interrupted`]; whatever keeps a commit from being made. What was done until then stays done.
pub fn repair_snapshots(
    repository: &Arc<Repository>,
    options: &SnapshotRepairOptions,
    progress: &dyn Progress,
) -> Result<SnapshotsRepaired> {
    // What is merely not there at the moment would count as lost.
    repository.refuse_missing_folders()?;
    refuse_out_of_reach(repository)?;
    let mut repaired = SnapshotsRepaired::default();
    let known = bring_back(repository, options, &mut repaired, progress)?;
    repaired.copies = store_copies(repository, options, &known)?;
    let all = Snapshot::read_all(repository)?;
    refuse_unknown(options, &all, &repaired)?;
    let visible = with_returned(all, &repaired);
    let there = There::new(&known, HashSet::new())?;
    let mut reader = repository.reader()?;
    let mut assessor = Assessor::new(&mut reader, &there, progress);
    for (name, snapshot) in visible.into_iter().filter(|(name, _)| options.names(name)) {
        let losses = assessor.assess(&snapshot)?;
        if !losses.is_empty() {
            repaired.rewritten.push(write_again(repository, options, (name, snapshot), losses)?);
        }
    }
    let is_changed = !(repaired.rewritten.is_empty() && repaired.aside.is_empty());
    if is_changed && !options.dry_run {
        forget_lost(repository, progress)?;
    }
    Ok(repaired)
}

impl SnapshotRepairOptions {
    fn names(&self, name: &SnapshotName) -> bool {
        self.only.is_empty() || self.is_named(name)
    }

    fn outcome(&self, name: &SnapshotName, lost: &LostSnapshot, is_sure: bool, losses: Losses) -> ReturnedAs {
        match losses.lost_paths() {
            _ if lost.has_file || self.is_named(name) => ReturnedAs::Back,
            0 if is_sure => ReturnedAs::Back,
            0 => ReturnedAs::PerhapsForgotten,
            _ => ReturnedAs::Incomplete(losses),
        }
    }

    fn is_named(&self, name: &SnapshotName) -> bool {
        let name = name.to_string();
        self.only.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// All snapshots that are visible when this is done; in a dry run, would be.
fn with_returned(all: AllSnapshots, repaired: &SnapshotsRepaired) -> Vec<(SnapshotName, Snapshot)> {
    let mut visible = all.snapshots;
    let back = repaired.returned.iter().filter(|lost| lost.outcome == ReturnedAs::Back);
    for lost in back.filter(|lost| visible.iter().all(|(name, _)| *name != lost.name)).collect::<Vec<_>>() {
        visible.push((lost.name, lost.snapshot.clone()));
    }
    visible
}

fn refuse_unknown(options: &SnapshotRepairOptions, all: &AllSnapshots, repaired: &SnapshotsRepaired) -> Result<()> {
    let visible = all.snapshots.iter().map(|(name, _)| *name).chain(all.damaged.iter().map(|(name, _)| *name));
    let lost = repaired.returned.iter().map(|lost| lost.name).chain(repaired.hopeless.iter().map(|lost| lost.name));
    let names: Vec<String> = visible.chain(lost).map(|name| name.to_string()).collect();
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
    // What a live session is about to commit is not lost. Where nobody can hold the lock, nobody commits.
    let listing = match options.dry_run {
        true => repository.start_deletion().ok().map(Deletion::into_listing),
        false => Some(repository.start_deletion()?.into_listing()),
    };
    let lock = if options.dry_run { None } else { Some(repository.storage().lock(LockMode::Shared)?) };
    let packs = repository.list_packs()?;
    let known = KnownChunks::read(repository, &packs, progress)?;
    let records = Records::read(repository, &known, listing.as_ref())?;
    let there = There::new(&known, HashSet::new())?;
    let mut reader = repository.reader()?;
    let mut assessor = Assessor::new(&mut reader, &there, progress);
    for (name, lost) in records.lost.iter().filter(|(name, _)| options.names(name)) {
        let losses = assessor.assess(&lost.snapshot)?;
        let outcome = options.outcome(name, lost, records.is_sure, losses);
        let (snapshot, was_committed) = (lost.snapshot.clone(), lost.has_file || lost.is_named);
        repaired.returned.push(Returned { name: *name, snapshot, was_committed, outcome });
    }
    for (name, detail) in records.hopeless.iter().filter(|(name, _)| options.names(name)) {
        let (detail, given_up) = (detail.clone(), options.is_named(name));
        repaired.hopeless.push(Hopeless { name: *name, detail, given_up });
    }
    if options.only.is_empty() {
        let damaged = records.damaged.iter().map(|(name, detail)| (Area::Records, *name, detail.clone()));
        let misplaced = records.misplaced.iter().map(|name| (Area::Snapshots, *name, MISPLACED.to_owned()));
        repaired.aside = damaged.chain(misplaced).collect();
    }
    if !options.dry_run {
        keep(repository, &packs, &records, &repaired.returned)?;
        move_aside(repository, repaired)?;
    }
    drop(lock);
    Ok(known)
}

/// Makes visible what comes back, and keeps as forgotten what was perhaps forgotten.
fn keep(repository: &Repository, packs: &[(PackName, u64)], records: &Records, returned: &[Returned]) -> Result<()> {
    if returned.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = packs.iter().map(|(name, _)| name.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    repository.storage().sync(Area::Packs, &names)?;
    for lost in returned {
        let Some(LostSnapshot { bytes, .. }) = records.lost.get(&lost.name) else { continue };
        match lost.outcome {
            ReturnedAs::Back => drop(repository.publish_snapshot(bytes)?),
            ReturnedAs::PerhapsForgotten => {
                repository.put_record(&Record::new(RecordKind::FORGOTTEN, bytes.clone()))?;
            }
            ReturnedAs::Incomplete(_) => {}
        }
    }
    Ok(())
}

fn move_aside(repository: &Repository, repaired: &SnapshotsRepaired) -> Result<()> {
    let given_up = repaired.hopeless.iter().filter(|hopeless| hopeless.given_up);
    let given_up = given_up.map(|hopeless| (Area::Snapshots, hopeless.name));
    for (area, name) in repaired.aside.iter().map(|(area, name, _)| (*area, *name)).chain(given_up) {
        repository.storage().retire(area, &name.to_string())?;
    }
    Ok(())
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
    let missing = missing(repository, &There::new(&known, HashSet::new())?, progress)?;
    record(repository, &missing.lost, missing.unreadable == 0)
}
