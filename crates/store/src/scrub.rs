//! Examining packs for damage: against their names, their trailers, and every byte of their content.
//!
//! Damage is a [`Finding`], collected and reported; only what keeps the examination itself from going on is an error.

use treering_chunk::ChunkId;

use crate::error::{Result, StoreError};
use crate::pack::PackName;
use crate::pack::format::{Trailer, TrailerFrame};
use crate::pack::read::PackReader;
use crate::record::RecordName;
use crate::repository::Repository;
use crate::storage::Area;

/// One damaged or missing thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: FindingPlace,
    /// What is wrong.
    pub detail: String,
}

/// Where damage was found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingPlace {
    /// The configuration or one of its copies.
    Config,
    /// A key slot.
    Key(String),
    /// A pack.
    Pack(PackName),
    /// A record of an area.
    Record(Area, RecordName),
    /// A chunk that is referred to.
    Chunk(ChunkId),
    /// The index. It can be made anew.
    Index,
}

impl std::fmt::Display for FindingPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config => f.write_str("config"),
            Self::Key(name) => write!(f, "key {name}"),
            Self::Pack(name) => write!(f, "pack {name}"),
            Self::Record(area, name) => write!(f, "{area} {name}"),
            Self::Chunk(id) => write!(f, "chunk {id}"),
            Self::Index => f.write_str("index"),
        }
    }
}

impl Finding {
    /// A finding.
    pub fn new(place: FindingPlace, detail: impl Into<String>) -> Self {
        Self { place, detail: detail.into() }
    }
}

/// How thoroughly a pack is examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackCheck {
    /// Header, footer and trailer, and the index against the trailer.
    Trailer,
    /// Also its bytes against its name; needs no key, runs at the speed of the disk.
    Name,
    /// Also every frame opened and every chunk's id computed again.
    Data,
}

impl Repository {
    /// Examines a pack. No findings: everything that was looked at is whole.
    ///
    /// # Errors
    ///
    /// If the storage or the index cannot be read for a reason that is not damage.
    pub fn check_pack(&self, name: PackName, how: PackCheck) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let found = |detail: String| Finding::new(FindingPlace::Pack(name), detail);
        if how != PackCheck::Trailer {
            match self.check_name(name) {
                Err(e) => findings.push(found(self.damage_only(e)?)),
                Ok(Some(finding)) => findings.push(finding),
                Ok(None) => {}
            }
        }
        let pack = match self.pack_unshared(name) {
            Ok(pack) => pack,
            Err(e) => {
                findings.push(found(self.damage_only(e)?));
                return Ok(findings);
            }
        };
        match pack.trailer(self.keys()) {
            Ok(trailer) => {
                findings.extend(self.check_index(&pack, &trailer)?);
                if how == PackCheck::Data {
                    findings
                        .extend(trailer.frames.iter().filter_map(|frame| self.check_frame(&pack, frame)).map(found));
                }
            }
            Err(e) => findings.push(found(self.damage_only(e)?)),
        }
        Ok(findings)
    }

    /// What is wrong, for a finding; an error that is not about this object goes on.
    fn damage_only(&self, error: StoreError) -> Result<String> {
        match error {
            StoreError::Damaged { .. } | StoreError::Missing { .. } | StoreError::Unsupported { .. } => {
                Ok(error.to_string())
            }
            StoreError::Io { ref source, .. } => Ok(format!("{error}: {source}")),
            other => Err(other),
        }
    }

    fn check_name(&self, name: PackName) -> Result<Option<Finding>> {
        const PIECE_BYTES: usize = 1 << 20;
        let object = self.storage().open(Area::Packs, &name.to_string())?;
        let (mut hasher, mut offset) = (blake3::Hasher::new(), 0);
        let mut buffer = vec![0; PIECE_BYTES];
        while offset < object.bytes() {
            let length = (object.bytes() - offset).min(PIECE_BYTES as u64) as usize;
            let piece = buffer.get_mut(..length).unwrap_or_default();
            object.read_at(offset, piece)?;
            hasher.update(piece);
            offset += length as u64;
        }
        let fits = hasher.finalize().as_bytes() == name.as_bytes();
        Ok((!fits).then(|| Finding::new(FindingPlace::Pack(name), "its bytes do not fit its name")))
    }

    /// Every chunk of the trailer must be found through the index, here or in another pack.
    fn check_index(&self, pack: &PackReader, trailer: &Trailer) -> Result<Option<Finding>> {
        let index = self.index()?;
        let reader = index.reader()?;
        for chunk in trailer.frames.iter().flat_map(|frame| &frame.chunks) {
            if !matches!(reader.find(&chunk.id()), Ok(Some(_))) {
                let detail = format!("chunk {} of pack {} is not found through it", chunk.id(), pack.name());
                return Ok(Some(Finding::new(FindingPlace::Index, detail)));
            }
        }
        Ok(None)
    }

    fn check_frame(&self, pack: &PackReader, listed: &TrailerFrame) -> Option<String> {
        let frame = match pack.frame(listed.offset) {
            Ok(frame) => frame,
            Err(e) => return Some(e.to_string()),
        };
        if frame.chunks().len() != listed.chunks.len() {
            return Some(format!("the frame at {} holds other chunks than the trailer lists", listed.offset));
        }
        frame.chunks().iter().zip(&listed.chunks).find_map(|(chunk, listed_chunk)| {
            let id = self.namer().id(chunk.kind, frame.bytes(*chunk));
            (id != listed_chunk.id()).then(|| {
                format!("the frame at {} holds {id} where the trailer lists {}", listed.offset, listed_chunk.id())
            })
        })
    }

    /// Both copies of the configuration and of the key slots, as far as they can be told apart from the open one.
    ///
    /// # Errors
    ///
    /// If the storage cannot be read.
    pub fn check_config(&self) -> Result<Vec<Finding>> {
        let (mut findings, expected) = (Vec::new(), self.config().encode(self.keys()));
        for (area, which) in [(Area::Config, "first"), (Area::ConfigCopy, "second")] {
            let same = self.storage().read(area, "config", expected.len() + 1).map(|bytes| bytes == expected);
            if !matches!(same, Ok(true)) {
                let why = same.map_or_else(|e| e.to_string(), |_| "it differs from the one in use".into());
                findings.push(Finding::new(FindingPlace::Config, format!("its {which} copy cannot be used: {why}")));
            }
        }
        findings.extend(self.check_keys()?);
        Ok(findings)
    }

    fn check_keys(&self) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let list =
            |area| -> Result<Vec<String>> { Ok(self.storage().list(area)?.into_iter().map(|l| l.name).collect()) };
        let (first, second) = (list(Area::Keys)?, list(Area::KeysCopy)?);
        for (area, other, names) in [(Area::Keys, &second, &first), (Area::KeysCopy, &first, &second)] {
            for name in names {
                let bytes = self.storage().read(area, name, crate::limits::CONFIG_MOST_BYTES)?;
                if blake3::hash(&bytes).to_hex().as_str() != name {
                    findings.push(Finding::new(FindingPlace::Key(name.clone()), "its bytes do not fit its name"));
                }
                if !other.contains(name) {
                    findings.push(Finding::new(FindingPlace::Key(name.clone()), "one of its two copies is missing"));
                }
            }
        }
        Ok(findings)
    }
}
