//! Deleting: the other half of the protocol, rules A7 to A12, A14 and A15 of `docs/protocol.md`.
//!
//! Owns the lock, the listings that are made under it, and the order in which names go. Never decides what goes: that
//! takes trees, which the store does not know.
//!
//! Invariant: between the listings of a [`Deletion`] and its last removal nobody commits.

use crate::error::{Result, StoreError};
use crate::limits::RECORD_MOST_BYTES;
use crate::pack::PackName;
use crate::record::{Record, RecordKind, RecordName};
use crate::repository::Repository;
use crate::session::LiveSession;
use crate::storage::{Area, Held, LockMode};

/// What was there while nobody else could commit.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The visible snapshots.
    pub snapshots: Vec<RecordName>,
    /// The packs, with their lengths.
    pub packs: Vec<(PackName, u64)>,
    /// What live sessions rely on.
    pub sessions: Vec<LiveSession>,
}

/// The repository, held alone. Readers go on; writers go on until they commit, and wait then.
#[must_use = "others wait while this lives"]
pub struct Deletion<'r> {
    repository: &'r Repository,
    _alone: Box<dyn Held>,
    listing: Listing,
}

impl std::fmt::Debug for Deletion<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Deletion({:?})", self.repository)
    }
}

/// A snapshot that was forgotten and can be brought back until it is pruned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// The record that keeps it.
    pub record: RecordName,
    /// The name that it had.
    pub snapshot: RecordName,
    /// The bytes that it had.
    pub bytes: Vec<u8>,
}

impl Repository {
    /// Takes the lock alone, waiting for commits that are under way, and lists anew (A7, A8).
    ///
    /// # Errors
    ///
    /// If anything may be missing from a listing, or a live session cannot be understood.
    pub fn start_deletion(&self) -> Result<Deletion<'_>> {
        self.assert_writable()?;
        let alone = self.lock(LockMode::Exclusive)?;
        self.refuse_missing_folders()?;
        let (snapshots, packs) = (self.list_records(Area::Snapshots)?, self.list_packs()?);
        let registered = self.storage().live_sessions()?;
        let sessions: Result<_> = registered.iter().map(|bytes| LiveSession::decode(bytes, self)).collect();
        Ok(Deletion { repository: self, _alone: alone, listing: Listing { snapshots, packs, sessions: sessions? } })
    }

    /// A folder that is missing looks like an empty one: whoever deletes because of what is not there, or takes it for
    /// lost, asks this first.
    ///
    /// # Errors
    ///
    /// [`StoreError::FoldersMissing`] if one is.
    pub fn refuse_missing_folders(&self) -> Result<()> {
        match self.storage().missing_folders()? {
            folders if folders.is_empty() => Ok(()),
            folders => Err(StoreError::FoldersMissing { folders }),
        }
    }

    /// What is there and cannot be got at, of packs, snapshots and records: whoever takes for lost what cannot be read asks
    /// this first. Each with the reason.
    ///
    /// # Errors
    ///
    /// If a listing may be incomplete.
    pub fn out_of_reach(&self) -> Result<Vec<StoreError>> {
        let mut found = Vec::new();
        for area in [Area::Packs, Area::Snapshots, Area::Records] {
            for listed in self.storage().list(area)? {
                let opened = self.storage().open(area, &listed.name);
                found.extend(opened.err().filter(StoreError::is_out_of_reach));
            }
        }
        Ok(found)
    }

    /// Records of the area that cannot be read: each may have kept a forgotten snapshot.
    ///
    /// # Errors
    ///
    /// If records cannot be listed, or one cannot be got at.
    pub fn list_damaged_records(&self) -> Result<Vec<RecordName>> {
        let mut damaged = Vec::new();
        for name in self.list_records(Area::Records)? {
            match self.read_record(Area::Records, name) {
                Err(e) if e.is_out_of_reach() => return Err(e),
                Err(e) if e.is_damage() => damaged.push(name),
                _ => {}
            }
        }
        Ok(damaged)
    }

    /// The snapshots that were forgotten and not pruned. A record of them that is damaged is passed over:
    /// [`Repository::list_damaged_records`] names it.
    ///
    /// # Errors
    ///
    /// If records cannot be listed.
    pub fn list_forgotten(&self) -> Result<Vec<Forgotten>> {
        let mut forgotten = Vec::new();
        for record in self.list_records(Area::Records)? {
            match self.read_record(Area::Records, record) {
                Ok(Record { kind: RecordKind::FORGOTTEN, body: bytes, .. }) => {
                    forgotten.push(Forgotten { record, snapshot: RecordName::of(&bytes), bytes });
                }
                Ok(_) | Err(StoreError::Damaged { .. } | StoreError::Missing { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(forgotten)
    }

    /// Removes records of the area of that name, durably. One that is gone already is no error.
    ///
    /// # Errors
    ///
    /// If one may still be there.
    pub fn remove_records(&self, names: &[RecordName]) -> Result<()> {
        self.assert_writable()?;
        for name in names {
            match self.storage().remove(Area::Records, &name.to_string()) {
                Ok(()) | Err(StoreError::Missing { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        self.storage().sync_area(Area::Records)
    }

    /// Brings a forgotten snapshot back under its old name (A12): a commit that relies on these packs.
    ///
    /// # Errors
    ///
    /// [`StoreError::PacksGone`] if one of them was deleted meanwhile; the snapshot stays forgotten then.
    /// [`StoreError::Missing`] if a prune has ended it, or somebody else has brought it back.
    pub fn bring_back(&self, forgotten: &Forgotten, packs: &[(PackName, u64)]) -> Result<()> {
        self.assert_writable()?;
        let mut staged = self.storage().stage()?;
        staged.append(&forgotten.bytes)?;
        staged.sync()?;
        let commit = self.lock(LockMode::Shared)?;
        let record = forgotten.record.to_string();
        if self.storage().length(Area::Records, &record)?.is_none() {
            return Err(StoreError::Missing { area: Area::Records, name: record });
        }
        let present = self.present_packs(packs)?;
        if present.len() < packs.len() {
            let gone = packs.iter().map(|(name, _)| name.to_string()).filter(|name| !present.contains(name)).collect();
            return Err(StoreError::PacksGone { packs: gone });
        }
        let name = forgotten.snapshot.to_string();
        self.storage().sync(Area::Packs, &present.iter().map(String::as_str).collect::<Vec<_>>())?;
        match staged.publish(Area::Snapshots, &name) {
            // It was forgotten by a process that died before it could remove it, or is being brought back twice.
            Ok(()) | Err(StoreError::Exists { .. }) => {}
            Err(other) => return Err(other),
        }
        self.storage().sync(Area::Snapshots, &[&name])?;
        drop(commit);
        self.remove_records(&[forgotten.record])
    }

    /// Which of these packs are there with these lengths.
    pub(crate) fn present_packs(&self, packs: &[(PackName, u64)]) -> Result<Vec<String>> {
        let mut present = Vec::new();
        for (name, bytes) in packs {
            if self.storage().length(Area::Packs, &name.to_string())? == Some(*bytes) {
                present.push(name.to_string());
            }
        }
        Ok(present)
    }

    /// The bytes of a snapshot's record, forgotten or not.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`] if it is neither visible nor kept as forgotten.
    pub fn record_bytes(&self, snapshot: RecordName) -> Result<Vec<u8>> {
        match self.storage().read(Area::Snapshots, &snapshot.to_string(), RECORD_MOST_BYTES) {
            Err(StoreError::Missing { area, name }) => {
                let kept = self.list_forgotten()?.into_iter().find(|kept| kept.snapshot == snapshot);
                kept.map(|kept| kept.bytes).ok_or(StoreError::Missing { area, name })
            }
            read => read,
        }
    }
}

impl Deletion<'_> {
    /// What is there, for as long as this lives.
    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    /// What was there; lets the others go on.
    pub fn into_listing(self) -> Listing {
        self.listing
    }

    /// Deletes packs and ends. What makes deleting them right is made durable first (A10): a power cut would otherwise
    /// bring a forgotten snapshot back without them, or drop the copy of a chunk that was relied on. The index is told that
    /// they were needed no more: of packs that it misses it must think that they were lost.
    ///
    /// # Errors
    ///
    /// If one of them may still be there; those before it are gone. Nothing needs to be mended then (A11).
    pub fn remove(self, packs: &[PackName]) -> Result<()> {
        let (repository, storage) = (self.repository, self.repository.storage());
        // What is gone by now is lost, and is not to be taken for deleted.
        let index =
            repository.index().and_then(|index| repository.catch_up(&index, &self.listing.packs).map(|()| index));
        storage.sync_area(Area::Packs)?;
        storage.sync_area(Area::Snapshots)?;
        let names: Vec<String> = packs.iter().map(ToString::to_string).collect();
        for name in &names {
            match storage.remove(Area::Packs, name) {
                Ok(()) | Err(StoreError::Missing { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        storage.sync(Area::Packs, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
        let Self { _alone: alone, listing, .. } = self;
        drop(alone);
        // An index that cannot be told is caught up by whoever opens it next, and that backup looks more up than it must.
        drop(index.and_then(|index| index.remove_needless(packs, &listing.snapshots)));
        Ok(())
    }
}
