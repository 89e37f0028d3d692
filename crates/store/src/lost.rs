//! Lost chunks: those that snapshots refer to and that are in no pack. A backup that meets their content again stores
//! it, and so heals the snapshots that need it.
//!
//! Kept in records of kind [`RecordKind::LOST`]; several count as one. Invariant: new records are durable before those
//! that they take the place of are removed, so a crash leaves too many, never too few. A chunk that is called lost and
//! is not costs some reading, nothing else.

use std::collections::BTreeMap;

use treering_chunk::{ChunkId, ChunkKind};

use crate::codec;
use crate::error::{Result, StoreError};
use crate::limits::RECORD_MOST_BYTES;
use crate::pack::PackName;
use crate::record::{Record, RecordKind, RecordName};
use crate::repository::Repository;
use crate::storage::Area;

/// Chunks in one record: 33 bytes each, with room for what surrounds them.
const CHUNKS_MOST: usize = (RECORD_MOST_BYTES - 4096) / 33;

/// The lost chunks of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LostChunks {
    chunks: BTreeMap<ChunkId, ChunkKind>,
    records: Vec<RecordName>,
}

/// What is not lost any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Healed {
    /// How many chunks.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl LostChunks {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether this chunk is among them.
    pub fn contains(&self, id: &ChunkId) -> bool {
        self.chunks.contains_key(id)
    }

    /// All of them, by name.
    pub fn chunks(&self) -> &BTreeMap<ChunkId, ChunkKind> {
        &self.chunks
    }
}

impl Repository {
    /// Chunks that are recorded as lost. A record that cannot be read is passed over: a check finds it.
    ///
    /// # Errors
    ///
    /// If the records cannot be listed.
    pub fn lost_chunks(&self) -> Result<LostChunks> {
        let mut lost = LostChunks::default();
        for name in self.list_records(Area::Records)? {
            let Ok(record) = self.read_record(Area::Records, name) else { continue };
            if record.kind == RecordKind::LOST
                && let Ok(chunks) = decode_lost(&record.body)
            {
                lost.chunks.extend(chunks);
                lost.records.push(name);
            }
        }
        Ok(lost)
    }

    /// Records these chunks as lost, in place of those that were read before.
    ///
    /// # Errors
    ///
    /// If it may not be durable.
    pub fn record_lost(&self, before: &LostChunks, now: &BTreeMap<ChunkId, ChunkKind>) -> Result<()> {
        let needed = now.len().div_ceil(CHUNKS_MOST);
        if before.chunks == *now && before.records.len() == needed {
            return Ok(());
        }
        let list: Vec<_> = now.iter().map(|(id, kind)| (*id.as_bytes(), *kind as u8)).collect();
        for part in list.chunks(CHUNKS_MOST) {
            self.put_record(&Record::new(RecordKind::LOST, codec::encode(&part, RECORD_MOST_BYTES)?))?;
        }
        let names: Vec<String> = before.records.iter().map(ToString::to_string).collect();
        for name in &names {
            match self.storage().remove(Area::Records, name) {
                Err(StoreError::Missing { .. }) => {}
                removed => removed?,
            }
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.storage().sync(Area::Records, &names)
    }

    /// Takes those chunks out of the records of lost ones that exist again: that are in one of these packs by its
    /// trailer, or that the index finds in a pack that the storage has.
    ///
    /// # Errors
    ///
    /// If the index cannot be read, or the records not be written; they say what they said, then.
    pub fn heal(&self, lost: &LostChunks, packs: &[PackName]) -> Result<Healed> {
        let (mut healed, mut still) = (Healed::default(), lost.chunks.clone());
        if lost.is_empty() {
            return Ok(healed);
        }
        let (index, present) = (self.index()?, self.list_packs()?);
        let present: std::collections::HashSet<_> = present.into_iter().map(|(name, _)| name).collect();
        let mut heal = |id: &ChunkId, raw_len: u32| {
            if still.remove(id).is_some() {
                healed.chunks += 1;
                healed.bytes += u64::from(raw_len);
            }
        };
        // The index that a session tells of its packs may have been made anew by somebody meanwhile.
        for name in packs.iter().filter(|name| present.contains(*name)) {
            self.pack_contents(*name)?.chunks.iter().for_each(|(id, _, raw_len)| heal(id, *raw_len));
        }
        let reader = index.reader()?;
        for id in lost.chunks.keys() {
            let place = reader.find(id)?;
            let there = place.filter(|place| index.pack_name(place.pack).is_some_and(|name| present.contains(&name)));
            there.iter().for_each(|place| heal(id, place.raw_len));
        }
        self.record_lost(lost, &still)?;
        Ok(healed)
    }
}

/// What a record of lost chunks says.
///
/// # Errors
///
/// [`StoreError::Damaged`].
pub fn decode_lost(body: &[u8]) -> Result<Vec<(ChunkId, ChunkKind)>> {
    const WHAT: &str = "a record of lost chunks";
    let list: Vec<([u8; 32], u8)> = codec::decode(body, RECORD_MOST_BYTES, WHAT)?;
    if !list.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(StoreError::damaged(WHAT, "its chunks are not in order"));
    }
    let kind = |kind| ChunkKind::from_byte(kind).ok_or_else(|| StoreError::damaged(WHAT, "a kind in it is unknown"));
    list.into_iter().map(|(id, byte)| Ok((ChunkId::from_bytes(id), kind(byte)?))).collect()
}
