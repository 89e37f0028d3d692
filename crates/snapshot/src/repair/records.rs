//! What the files of records say where some of them cannot be read: which snapshots are lost, which were dropped on
//! purpose, and which files are of no use where they are.
//!
//! Only reads. A file that the system cannot read is not called damaged: what is moved aside was read.

use std::collections::{BTreeMap, HashMap, HashSet};

use treering_store::storage::Area;
use treering_store::{Listing, RECORD_MOST_BYTES, RecordKind, RecordName, Repository, StoreError, decode_lost};

use super::strays::{Stray, strays, whole};
use crate::error::Result;
use crate::known::{KnownChunks, damage};
use crate::prune::decode_pruned;
use crate::record::{AllSnapshots, Snapshot, SnapshotName};

/// A snapshot that is not visible under its name, and whose record was found elsewhere.
pub(super) struct LostSnapshot {
    /// The bytes of its record.
    pub(super) bytes: Vec<u8>,
    /// What they say.
    pub(super) snapshot: Snapshot,
    /// Whether there is a file of it: a damaged one of its name, or a whole one of another. It was visible until then.
    pub(super) has_file: bool,
    /// Whether another snapshot names it, so that it was committed, and perhaps dropped since.
    pub(super) is_named: bool,
}

/// What the files of records say.
pub(super) struct Records {
    /// Snapshots that are lost, and were not dropped on purpose as far as is known.
    pub(super) lost: BTreeMap<SnapshotName, LostSnapshot>,
    /// Snapshot records that cannot be read and are not of a lost snapshot, and what is wrong with them.
    pub(super) hopeless: Vec<(SnapshotName, String)>,
    /// Whether every snapshot that was dropped on purpose is known: all records could be read.
    pub(super) is_sure: bool,
    /// Records of other kinds that are damaged.
    pub(super) damaged: Vec<(RecordName, String)>,
    /// Files of whole snapshot records under a name that is nobody's.
    pub(super) misplaced: Vec<SnapshotName>,
}

impl Records {
    /// `listing` was made before `known`: what live sessions had under way then is none of it.
    pub(super) fn read(repository: &Repository, known: &KnownChunks, listing: Option<&Listing>) -> Result<Self> {
        let all = Snapshot::read_all(repository)?;
        let Dropped { gone, is_sure, damaged } = Dropped::read(repository)?;
        let misplaced = misplaced(repository, &all);
        let mut lost = strays(repository, known, &HashSet::new(), listing)?;
        for (name, bytes, snapshot) in misplaced.values() {
            let is_named = lost.get(name).is_some_and(|stray| stray.is_named);
            lost.insert(*name, Stray { bytes: bytes.clone(), snapshot: snapshot.clone(), is_named });
        }
        let visible: HashSet<_> = all.snapshots.iter().map(|(name, _)| *name).collect();
        lost.retain(|name, _| !gone.contains(name) && !visible.contains(name));
        let mut committed: HashSet<_> = misplaced.values().map(|(name, ..)| *name).collect();
        let mut hopeless = Vec::new();
        for (name, error) in all.damaged {
            committed.insert(name);
            if !lost.contains_key(&name) && !misplaced.contains_key(&name) {
                hopeless.push((name, damage(error)?));
            }
        }
        let lost = lost.into_iter().map(|(name, Stray { bytes, snapshot, is_named })| {
            (name, LostSnapshot { bytes, snapshot, has_file: committed.contains(&name), is_named })
        });
        let lost: BTreeMap<_, _> = lost.collect();
        // Where two have changed places, each is moved aside when the one of that name comes back.
        let misplaced = misplaced.into_keys().filter(|name| !lost.contains_key(name)).collect();
        Ok(Self { lost, hopeless, is_sure, damaged, misplaced })
    }
}

/// What records say of snapshots that were dropped on purpose.
struct Dropped {
    gone: HashSet<SnapshotName>,
    is_sure: bool,
    damaged: Vec<(RecordName, String)>,
}

impl Dropped {
    fn read(repository: &Repository) -> Result<Self> {
        let mut dropped = Self { gone: HashSet::new(), is_sure: true, damaged: Vec::new() };
        for name in repository.list_records(Area::Records)? {
            match repository.read_record(Area::Records, name) {
                Ok(record) if record.kind == RecordKind::FORGOTTEN => {
                    dropped.gone.insert(RecordName::of(&record.body));
                }
                Ok(record) if record.kind == RecordKind::PRUNED => {
                    if let Err(e) = decode_pruned(&record.body) {
                        dropped.is_sure = false;
                        dropped.damaged.push((name, damage(e)?));
                    }
                }
                // It says nothing of snapshots: what is lost is found out anew.
                Ok(record) if record.kind == RecordKind::LOST => {
                    if let Err(e) = decode_lost(&record.body) {
                        dropped.damaged.push((name, damage(e.into())?));
                    }
                }
                Ok(_) | Err(StoreError::Missing { .. }) => {}
                Err(e) => {
                    dropped.is_sure = false;
                    let is_damaged = matches!(e, StoreError::Damaged { .. });
                    let detail = damage(e.into())?;
                    dropped.damaged.extend(is_damaged.then_some((name, detail)));
                }
            }
        }
        Ok(dropped)
    }
}

/// Files of snapshot records that are whole but for their name: by that, the name that they should have.
fn misplaced(repository: &Repository, all: &AllSnapshots) -> HashMap<SnapshotName, (SnapshotName, Vec<u8>, Snapshot)> {
    let mut misplaced = HashMap::new();
    for (name, _) in &all.damaged {
        let read = repository.storage().read(Area::Snapshots, &name.to_string(), RECORD_MOST_BYTES);
        let Ok(bytes) = read else { continue };
        if let Some(snapshot) = whole(repository, &bytes).filter(|_| RecordName::of(&bytes) != *name) {
            misplaced.insert(*name, (RecordName::of(&bytes), bytes, snapshot));
        }
    }
    misplaced
}
