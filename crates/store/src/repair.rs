//! Mending what is stored: what of a damaged pack can be read, damaged objects moved aside, the config and the key slots
//! made whole from their other copies, the index made anew.
//!
//! Never decides what a snapshot needs: whoever moves a pack aside has stored what was in it again, or has said what is
//! lost. Invariant: nothing that is sound is replaced, and nothing that is damaged is thrown away: it is moved into
//! [`Area::Replaced`] and stays there until [`Repository::drop_replaced`].

use std::collections::BTreeSet;

use rayon::prelude::*;
use treering_chunk::ChunkKind;

use crate::config::Config;
use crate::error::{Result, StoreError};
use crate::limits::CONFIG_MOST_BYTES;
use crate::pack::PackName;
use crate::pack::frame::Frame;
use crate::pack::read::PackReader;
use crate::record::{RecordKind, RecordName};
use crate::repository::Repository;
use crate::storage::{Area, Listed, LockMode, put, replace};

/// What of a pack could be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Salvage {
    /// Whether its trailer could be read. Without it nobody knows what else was in the pack.
    pub has_trailer: bool,
    /// Chunks that were read.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Chunks that the trailer lists and that could not be read.
    pub lost_chunks: u64,
}

/// What became of one copy of the config or of a key slot, or would become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyRepair {
    /// It was missing, and was made from the other copy.
    Restored,
    /// It was damaged, was moved aside, and was made anew from the other copy.
    Replaced,
    /// It is damaged or missing, and there is no sound copy of it.
    Lost,
    /// It is sound, but not the config in use. It is left alone.
    Differs,
    /// It is a sound key slot under another's name, and that slot is there under its own. It was moved aside.
    Misplaced,
}

/// One copy that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyFinding {
    /// Where it is.
    pub area: Area,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub repair: CopyRepair,
}

/// What an index made anew holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexRepair {
    /// Packs that it knows.
    pub packs: u64,
    /// Their chunks; those that lie in two packs count twice.
    pub chunks: u64,
    /// Packs whose trailers cannot be read: of these it knows what their frames say.
    pub damaged: Vec<PackName>,
}

/// Packs.
impl Repository {
    /// Reads every chunk of a pack that can be opened, in the order of their bytes; if the trailer is readable, each
    /// frame in its place.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`]; what `take` says. Damage is no error.
    pub fn salvage(&self, name: PackName, take: &mut dyn FnMut(ChunkKind, &[u8]) -> Result<()>) -> Result<Salvage> {
        let mut salvage = Salvage::default();
        let pack = match self.pack_unshared(name) {
            Ok(pack) => pack,
            Err(e) if e.is_damage() => return Ok(salvage),
            Err(e) => return Err(e),
        };
        match pack.trailer(self.keys()) {
            Ok(trailer) => {
                salvage.has_trailer = true;
                for listed in &trailer.frames {
                    let frame = readable(pack.frame(listed.offset))?;
                    let there: BTreeSet<_> = frame.iter().flat_map(|frame| self.ids(frame)).collect();
                    let lost = listed.chunks.iter().filter(|chunk| !there.contains(&chunk.id()));
                    salvage.lost_chunks += lost.count() as u64;
                    frame.map_or(Ok(()), |frame| salvage.add(&frame, take))?;
                }
            }
            Err(e) if e.is_damage() => self.salvage_by_walking(&pack, &mut salvage, take)?,
            Err(e) => return Err(e),
        }
        Ok(salvage)
    }

    fn salvage_by_walking(
        &self,
        pack: &PackReader,
        salvage: &mut Salvage,
        take: &mut dyn FnMut(ChunkKind, &[u8]) -> Result<()>,
    ) -> Result<()> {
        pack.walk_frames(&mut |_, frame| salvage.add(frame, take))
    }

    fn ids<'f>(&'f self, frame: &'f Frame) -> impl Iterator<Item = treering_chunk::ChunkId> + 'f {
        frame.chunks().iter().map(|chunk| self.namer().id(chunk.kind, frame.bytes(*chunk)))
    }

    /// The index forgets these packs, so that chunks that lie elsewhere too are found there. They are learned again when
    /// the index is opened next, if they are still there.
    ///
    /// # Errors
    ///
    /// If the index cannot be written.
    pub fn unindex_packs(&self, names: &[PackName]) -> Result<()> {
        self.index()?.remove(names)
    }

    /// Moves a pack aside, durably, and the index forgets it. The caller holds the lock alone, has stored again what can
    /// be read of the pack, and has recorded what is lost.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`].
    pub fn retire_pack(&self, name: PackName) -> Result<()> {
        self.assert_writable()?;
        self.storage().retire(Area::Packs, &name.to_string())?;
        self.index()?.remove(&[name])
    }

    /// Makes the index anew from the packs, whatever state it is in.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn repair_index(&self) -> Result<IndexRepair> {
        self.replace_index()?;
        self.preview_index()
    }

    /// What an index made anew would hold. Does not touch the one that is there.
    ///
    /// # Errors
    ///
    /// If a pack cannot be read for a reason that is not damage.
    pub fn preview_index(&self) -> Result<IndexRepair> {
        let packs = self.list_packs()?;
        let counted: Vec<_> = packs.par_iter().map(|(name, _)| self.count_chunks(*name)).collect::<Result<_>>()?;
        let mut repair = IndexRepair { packs: packs.len() as u64, ..IndexRepair::default() };
        for ((name, _), (chunks, is_whole)) in packs.iter().zip(counted) {
            repair.chunks += chunks;
            repair.damaged.extend((!is_whole).then_some(*name));
        }
        Ok(repair)
    }

    /// How many chunks a pack has, and whether its trailer says so.
    fn count_chunks(&self, name: PackName) -> Result<(u64, bool)> {
        match self.pack_contents(name) {
            Ok(contents) => Ok((contents.chunks.len() as u64, true)),
            Err(StoreError::Missing { .. }) => Ok((0, true)),
            Err(e) if e.is_damage() => Ok((self.salvage(name, &mut |_, _| Ok(()))?.chunks, false)),
            Err(e) => Err(e),
        }
    }
}

/// A frame, or nothing if it is damaged.
fn readable(frame: Result<Frame>) -> Result<Option<Frame>> {
    match frame {
        Ok(frame) => Ok(Some(frame)),
        Err(e) if e.is_damage() => Ok(None),
        Err(e) => Err(e),
    }
}

impl Salvage {
    fn add(&mut self, frame: &Frame, take: &mut dyn FnMut(ChunkKind, &[u8]) -> Result<()>) -> Result<()> {
        for chunk in frame.chunks() {
            let bytes = frame.bytes(*chunk);
            self.chunks += 1;
            self.bytes += bytes.len() as u64;
            take(chunk.kind, bytes)?;
        }
        Ok(())
    }
}

/// Snapshot records.
impl Repository {
    /// Publishes a snapshot record that was there before, byte for byte, in the place of a damaged file of its name, if
    /// there is one: that it was committed can be seen all the time. The caller holds the lock shared, and has seen under
    /// it that every chunk that the snapshot needs is in a pack that is there and durable: rules A2 to A6 and A12 of
    /// `docs/protocol.md`.
    ///
    /// # Errors
    ///
    /// Damage, if the bytes are no snapshot record of this repository.
    pub fn publish_snapshot(&self, bytes: &[u8]) -> Result<RecordName> {
        self.assert_writable()?;
        let name = RecordName::of(bytes);
        if self.open_record(bytes)?.kind != RecordKind::SNAPSHOT {
            return Err(StoreError::damaged(format!("snapshot {name}"), "it is another kind of record"));
        }
        match self.read_record(Area::Snapshots, name) {
            Ok(_) => {}
            Err(StoreError::Missing { .. }) => put(&**self.storage(), Area::Snapshots, &name.to_string(), bytes)?,
            Err(e) if e.is_damage() => replace(&**self.storage(), Area::Snapshots, &name.to_string(), bytes)?,
            Err(e) => return Err(e),
        }
        Ok(name)
    }
}

/// The config, the key slots and the lock.
impl Repository {
    /// Makes the lock again if it is missing, and says whether it was. In a dry run it only says so. For somebody who knows
    /// that nobody else is at work: whoever holds the one that is gone would not be noticed.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn repair_lock(&self, dry_run: bool) -> Result<bool> {
        let is_missing = !self.storage().has_lock()?;
        if is_missing && !dry_run {
            self.assert_writable()?;
            self.storage().make_lock()?;
        }
        Ok(is_missing)
    }

    /// Makes folders of the storage again that are missing, empty, and names them. In a dry run it only names them.
    ///
    /// # Errors
    ///
    /// If one cannot be made.
    pub fn repair_folders(&self, dry_run: bool) -> Result<Vec<String>> {
        let missing = self.storage().missing_folders()?;
        if !missing.is_empty() && !dry_run {
            self.assert_writable()?;
            self.storage().make_folders()?;
        }
        Ok(missing)
    }

    /// Makes both copies of the config and of every key slot whole, as far as one of the two is sound. Gives what was
    /// not as it should be, and what became of it, or in a dry run would become of it.
    ///
    /// # Errors
    ///
    /// If a copy cannot be read for a reason that is not damage, or written.
    pub fn repair_config(&self, dry_run: bool) -> Result<Vec<CopyFinding>> {
        if !dry_run {
            self.assert_writable()?;
        }
        // A key that is being removed loses its two copies one after the other.
        let _alone = if dry_run { None } else { Some(self.lock(LockMode::Exclusive)?) };
        let (mut found, config) = (Vec::new(), self.config().encode(self.keys()));
        for area in [Area::Config, Area::ConfigCopy] {
            let sound = |bytes: &[u8]| bytes == config;
            let repair = match self.copy_state(area, "config", sound)? {
                CopyState::Sound(_) => continue,
                CopyState::Damaged(bytes) if self.is_a_config(&bytes) => CopyRepair::Differs,
                CopyState::Damaged(_) => CopyRepair::Replaced,
                CopyState::Missing => CopyRepair::Restored,
            };
            found.push(CopyFinding { area, name: "config".into(), repair });
            self.apply(found.last(), Some(&config), dry_run)?;
        }
        let mut names = BTreeSet::new();
        for area in [Area::Keys, Area::KeysCopy] {
            names.extend(self.storage().list(area)?.into_iter().map(|listed| listed.name));
        }
        for name in names {
            self.repair_key(&name, dry_run, &mut found)?;
        }
        Ok(found)
    }

    fn repair_key(&self, name: &str, dry_run: bool, found: &mut Vec<CopyFinding>) -> Result<()> {
        let sound = |bytes: &[u8]| blake3::hash(bytes).to_hex().as_str() == name;
        let first = self.copy_state(Area::Keys, name, sound)?;
        let second = self.copy_state(Area::KeysCopy, name, sound)?;
        let whole = [&first, &second].into_iter().find_map(|state| match state {
            CopyState::Sound(bytes) => Some(bytes.clone()),
            _ => None,
        });
        let misplaced = [self.is_elsewhere(&first)?, self.is_elsewhere(&second)?];
        let nothing_else = misplaced.contains(&true);
        for ((area, state), is_misplaced) in [(Area::Keys, first), (Area::KeysCopy, second)].into_iter().zip(misplaced)
        {
            let repair = match state {
                CopyState::Sound(_) => continue,
                _ if whole.is_none() && is_misplaced => CopyRepair::Misplaced,
                CopyState::Missing if whole.is_none() && nothing_else => continue,
                _ if whole.is_none() => CopyRepair::Lost,
                CopyState::Damaged(_) => CopyRepair::Replaced,
                CopyState::Missing => CopyRepair::Restored,
            };
            found.push(CopyFinding { area, name: name.to_owned(), repair });
            self.apply(found.last(), whole.as_deref(), dry_run)?;
        }
        Ok(())
    }

    fn apply(&self, finding: Option<&CopyFinding>, whole: Option<&[u8]>, dry_run: bool) -> Result<()> {
        let (Some(finding), false) = (finding, dry_run) else { return Ok(()) };
        let (storage, area, name) = (&**self.storage(), finding.area, &finding.name);
        match (finding.repair, whole) {
            (CopyRepair::Restored, Some(whole)) => put(storage, area, name, whole),
            (CopyRepair::Replaced, Some(whole)) => replace(storage, area, name, whole),
            (CopyRepair::Misplaced, _) => storage.retire(area, name).map(drop),
            _ => Ok(()),
        }
    }

    /// Whether these bytes are the key slot of another name, which is there.
    fn is_elsewhere(&self, state: &CopyState) -> Result<bool> {
        let CopyState::Damaged(bytes) = state else { return Ok(false) };
        let name = blake3::hash(bytes).to_hex().to_string();
        for area in [Area::Keys, Area::KeysCopy] {
            if matches!(self.copy_state(area, &name, |there| there == bytes.as_slice())?, CopyState::Sound(_)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn copy_state(&self, area: Area, name: &str, is_sound: impl Fn(&[u8]) -> bool) -> Result<CopyState> {
        match self.storage().read(area, name, CONFIG_MOST_BYTES) {
            Ok(bytes) if is_sound(&bytes) => Ok(CopyState::Sound(bytes)),
            Ok(bytes) => Ok(CopyState::Damaged(bytes)),
            Err(StoreError::Missing { .. }) => Ok(CopyState::Missing),
            Err(StoreError::Damaged { .. }) => Ok(CopyState::Damaged(Vec::new())),
            Err(e) => Err(e),
        }
    }

    /// Whether these bytes are a config under this repository's key.
    fn is_a_config(&self, bytes: &[u8]) -> bool {
        Config::decode(bytes).is_ok_and(|unverified| unverified.verify(self.keys()).is_ok())
    }
}

enum CopyState {
    Sound(Vec<u8>),
    Damaged(Vec<u8>),
    Missing,
}

/// What repairs have replaced.
impl Repository {
    /// Damaged objects that repairs have moved aside.
    ///
    /// # Errors
    ///
    /// If they cannot be listed.
    pub fn replaced(&self) -> Result<Vec<Listed>> {
        self.storage().list(Area::Replaced)
    }

    /// Removes them: for a caller that has just seen that nothing is wrong without them. Returns how many there were.
    ///
    /// # Errors
    ///
    /// If one cannot be removed.
    pub fn drop_replaced(&self) -> Result<usize> {
        let names: Vec<String> = self.replaced()?.into_iter().map(|listed| listed.name).collect();
        for name in &names {
            match self.storage().remove(Area::Replaced, name) {
                Err(StoreError::Missing { .. }) => {}
                removed => removed?,
            }
        }
        let shown: Vec<&str> = names.iter().map(String::as_str).collect();
        self.storage().sync(Area::Replaced, &shown)?;
        Ok(names.len())
    }
}
