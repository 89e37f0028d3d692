//! Snapshots of which only the second copy of the record is there.
//!
//! A copy is written before its snapshot is committed, so it proves nothing: its backup may never have come to its end. But
//! that another snapshot names it, as its parent or among those that its writer saw, proves that it was visible once.
//! Only reads. Invariant: a snapshot that was dropped on purpose is none of them, as far as records say so.

use std::collections::{BTreeMap, HashSet};

use treering_chunk::{ChunkId, ChunkKind};
use treering_store::storage::Area;
use treering_store::{Listing, RecordKind, RecordName, Repository};

use crate::error::Result;
use crate::known::KnownChunks;
use crate::prune::read_pruned;
use crate::record::{Snapshot, SnapshotName};

/// A snapshot that is not there, by the second copy of its record.
pub(crate) struct Stray {
    /// The bytes of its record.
    pub(crate) bytes: Vec<u8>,
    /// What they say.
    pub(crate) snapshot: Snapshot,
    /// Whether another snapshot names it, so that it was committed.
    pub(crate) is_named: bool,
}

/// All of them. `known` are the packs that were there; `accounted` are copies that need not be looked at. Beside a listing
/// that was made before `known`, those are left out that a live session may be about to commit.
///
/// The order of reading matters to whoever holds no lock: a forget writes its record before the snapshot goes, and a prune
/// its own before that record goes.
pub(crate) fn strays(
    repository: &Repository,
    known: &KnownChunks,
    accounted: &HashSet<ChunkId>,
    beside: Option<&Listing>,
) -> Result<BTreeMap<SnapshotName, Stray>> {
    let mut candidates: Vec<_> = known.copies.iter().filter(|id| !accounted.contains(id)).collect();
    candidates.retain(|id| beside.is_none_or(|listing| !is_under_way(known, id, listing)));
    if candidates.is_empty() {
        return Ok(BTreeMap::new());
    }
    let visible = Snapshot::read_all(repository)?.snapshots;
    let forgotten = repository.list_forgotten()?;
    let (_, pruned) = read_pruned(repository)?;
    let there: HashSet<_> =
        visible.iter().map(|(name, _)| *name).chain(forgotten.iter().map(|kept| kept.snapshot)).collect();
    let (mut reader, mut strays) = (repository.reader()?, BTreeMap::new());
    for id in candidates.into_iter().filter(|id| !pruned.contains(id)) {
        let Ok(bytes) = reader.get(ChunkKind::SnapshotCopy, id) else { continue };
        let name = RecordName::of(&bytes);
        if let Some(snapshot) = whole(repository, &bytes).filter(|_| !there.contains(&name)) {
            strays.insert(name, Stray { bytes, snapshot, is_named: false });
        }
    }
    // Committed, or brought back, meanwhile.
    strays.retain(|name, _| repository.read_record(Area::Snapshots, *name).is_err());
    let forgotten = forgotten.iter().filter_map(|kept| whole(repository, &kept.bytes));
    let mut named: HashSet<[u8; 32]> = forgotten.flat_map(|snapshot| names(&snapshot)).collect();
    named.extend(visible.iter().flat_map(|(_, snapshot)| names(snapshot)));
    named.extend(strays.values().flat_map(|stray| names(&stray.snapshot)));
    strays.iter_mut().for_each(|(name, stray)| stray.is_named = named.contains(name.as_bytes()));
    Ok(strays)
}

/// What a snapshot says of others: that they were visible when it was written.
fn names(snapshot: &Snapshot) -> Vec<[u8; 32]> {
    snapshot.heads.iter().copied().chain(snapshot.parent).collect()
}

/// Whether a copy lies only in packs of live sessions, or in packs that are younger than the listing.
fn is_under_way(known: &KnownChunks, id: &ChunkId, listing: &Listing) -> bool {
    let packs = known.find(id).into_iter().flat_map(|row| known.packs_of(row));
    let mut names = packs.filter_map(|at| known.packs.get(at)).map(|pack| pack.name);
    names.all(|name| {
        listing.packs.iter().all(|(listed, _)| *listed != name)
            || listing.sessions.iter().any(|session| session.packs.contains(&name))
    })
}

/// A snapshot record that can be read, wherever its bytes were kept.
pub(super) fn whole(repository: &Repository, bytes: &[u8]) -> Option<Snapshot> {
    let record = repository.open_record(bytes).ok().filter(|record| record.kind == RecordKind::SNAPSHOT)?;
    Snapshot::decode(&record.body).ok()
}
