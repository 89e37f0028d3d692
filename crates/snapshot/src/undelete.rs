//! Bringing forgotten snapshots back, as long as they were not pruned.
//!
//! Invariant: what is brought back is whole, the second copy of its record included: it is a commit like any other (rule
//! A12 of `docs/protocol.md`), refused if anything that the snapshot needs is gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use treering_chunk::ChunkKind;
use treering_store::{Compression, Forgotten, PackName, Repository, Session, SessionMode, StoreError};

use crate::check::{Findings, Severity};
use crate::error::{Result, SnapshotError};
use crate::follow::Follower;
use crate::known::{Bits, KnownChunks};
use crate::progress::Progress;
use crate::prune::describe;
use crate::record::Snapshot;
use crate::select::Named;

/// How often packs may vanish while a snapshot is brought back before that is given up.
const ATTEMPTS: usize = 5;

/// Snapshots that were forgotten and not pruned, oldest first, each with what keeps it.
///
/// # Errors
///
/// If records cannot be listed.
pub fn list(repository: &Repository) -> Result<Vec<(Named, Forgotten)>> {
    let mut all = Vec::new();
    for forgotten in repository.list_forgotten()? {
        // One that cannot be read cannot be brought back either; a check finds it.
        if let Ok(snapshot) = Snapshot::open(repository, forgotten.snapshot, &forgotten.bytes) {
            all.push(((forgotten.snapshot, snapshot), forgotten));
        }
    }
    all.sort_by_key(|((name, snapshot), _)| snapshot.age(*name));
    Ok(all)
}

/// Of each of these, why it cannot be brought back: what of it is gone or cannot be read, if anything.
///
/// # Errors
///
/// If packs cannot be listed, or the index can neither be read nor made anew.
pub fn missing(
    repository: &Repository,
    forgotten: &[(Named, Forgotten)],
    progress: &dyn Progress,
) -> Result<Vec<Option<String>>> {
    repository.learn_packs()?;
    let known = KnownChunks::read(repository, &repository.list_packs()?, progress)?;
    let mut reader = repository.reader()?;
    let mut marks = (Bits::new(known.rows().len()), Bits::new(known.rows().len()));
    let look = |((name, snapshot), _): &(Named, Forgotten)| {
        let (mut findings, (seen, sound)) = (Findings::default(), std::mem::take(&mut marks));
        let mut follower = Follower::new(&mut reader, &known, &[], &mut findings, progress).resume(seen, sound);
        follower.follow(*name, snapshot)?;
        marks = follower.into_marks();
        Ok(findings.list.iter().find(|finding| finding.breaks()).map(describe))
    };
    forgotten.iter().map(look).collect()
}

/// For whoever must know all that was forgotten, to bring it back or to end that.
///
/// # Errors
///
/// [`SnapshotError::RecordsUnreadable`] if a record cannot be read that may keep a forgotten snapshot.
pub fn refuse_damaged_records(repository: &Repository) -> Result<()> {
    let damaged = repository.list_damaged_records()?;
    if damaged.is_empty() {
        return Ok(());
    }
    Err(SnapshotError::RecordsUnreadable {
        records: damaged.iter().map(|name| format!("record {}", name.short())).collect(),
    })
}

/// Brings one back under its old name; it is there, durable, when this returns.
///
/// # Errors
///
/// [`SnapshotError::CannotBringBack`]; it stays forgotten then.
pub fn undelete(
    repository: &Arc<Repository>,
    (named, forgotten): &(Named, Forgotten),
    progress: &dyn Progress,
) -> Result<()> {
    for _ in 0..ATTEMPTS {
        // What an index of a moment ago says may have been repacked since.
        repository.learn_packs()?;
        let (mut packs, has_copy) = packs_of(repository, forgotten, named, progress)?;
        // Whoever prunes leaves a live session's packs alone.
        let session = if has_copy { None } else { Some(store_copy(repository, forgotten)?) };
        packs.extend(session.iter().flat_map(Session::published));
        match repository.bring_back(forgotten, &packs) {
            // Somebody has copied what was in them, or it is gone: looking again tells.
            Err(StoreError::PacksGone { .. }) => {}
            Err(StoreError::Missing { .. }) => {
                let detail = "it was pruned, or brought back by somebody else, meanwhile".into();
                return Err(SnapshotError::CannotBringBack { snapshot: named.0, detail });
            }
            done => return Ok(done?),
        }
    }
    Err(SnapshotError::CannotBringBack { snapshot: named.0, detail: "its packs vanish while it is read".into() })
}

/// Stores the second copy of a record again: a prune that was interrupted may have taken it, while all else is there.
fn store_copy(repository: &Arc<Repository>, forgotten: &Forgotten) -> Result<Session> {
    let session = Session::start(repository, None, Compression::DEFAULT, SessionMode::Store)?;
    let mut sink = session.sink()?;
    sink.put_again(ChunkKind::SnapshotCopy, &forgotten.bytes)?;
    sink.flush()?;
    session.flush()?;
    Ok(session)
}

/// Packs that together hold all that a snapshot needs, and whether the second copy of its record is in them.
fn packs_of(
    repository: &Repository,
    forgotten: &Forgotten,
    (name, snapshot): &Named,
    progress: &dyn Progress,
) -> Result<(Vec<(PackName, u64)>, bool)> {
    let known = KnownChunks::read(repository, &repository.list_packs()?, progress)?;
    let (mut reader, mut findings) = (repository.reader()?, Findings::default());
    // A pack without a trailer cannot be relied on: what lies in it cannot be told.
    let mut follower = Follower::new(&mut reader, &known, &[], &mut findings, progress);
    follower.follow(*name, snapshot)?;
    follower.follow_copy(*name, &repository.namer().id(ChunkKind::SnapshotCopy, &forgotten.bytes))?;
    let (seen, _) = follower.into_marks();
    if let Some(damage) = findings.list.iter().find(|finding| finding.breaks()) {
        return Err(SnapshotError::CannotBringBack { snapshot: *name, detail: describe(damage) });
    }
    let has_copy = findings.list.iter().all(|finding| finding.severity != Severity::Repairable);
    let rows = (0..known.rows().len()).filter(|row| seen.has(*row));
    let packs: BTreeSet<_> = rows.filter_map(|row| known.pack_at(row)).map(|pack| (pack.name, pack.bytes)).collect();
    Ok((packs.into_iter().collect(), has_copy))
}
