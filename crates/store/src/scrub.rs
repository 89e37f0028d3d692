//! Examining a repository for damage: objects against their names without a key ([`names`]), packs against their
//! trailers and every byte of their content ([`pack`]), the copies of the configuration, the index.
//!
//! Damage is a [`Finding`], collected and reported; only what keeps the examination itself from going on is an error.

pub(crate) mod names;
pub(crate) mod pack;

use std::sync::Arc;

use treering_chunk::ChunkId;

use crate::error::{Result, StoreError};
use crate::index::{Index, PackRows};
use crate::pack::PackName;
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
    /// Whether the object could not be got at, so that nobody knows whether anything is wrong with it.
    pub is_out_of_reach: bool,
}

/// Where damage was found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingPlace {
    /// One of the two copies of the configuration.
    Config,
    /// Both copies of the configuration.
    LostConfig,
    /// One of the two copies of a key slot.
    Key(String),
    /// Both copies of a key slot.
    LostKey(String),
    /// A pack.
    Pack(PackName),
    /// A record of an area.
    Record(Area, RecordName),
    /// The second copy of a snapshot's record, which is a chunk.
    SnapshotCopy(RecordName),
    /// A chunk that is referred to.
    Chunk(ChunkId),
    /// Folders that are missing.
    Folders,
    /// The repository's lock, without which nothing is written.
    Lock,
    /// The index. It can be made anew.
    Index,
}

impl std::fmt::Display for FindingPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config | Self::LostConfig => f.write_str("config"),
            Self::Key(name) | Self::LostKey(name) => write!(f, "key {name}"),
            Self::Pack(name) => write!(f, "pack {name}"),
            Self::Record(area, name) => write!(f, "{area} {name}"),
            Self::SnapshotCopy(name) => write!(f, "second copy of snapshot {name}"),
            Self::Chunk(id) => write!(f, "chunk {id}"),
            Self::Folders => f.write_str("folders"),
            Self::Lock => f.write_str("lock"),
            Self::Index => f.write_str("index"),
        }
    }
}

impl Finding {
    /// A finding.
    pub fn new(place: FindingPlace, detail: impl Into<String>) -> Self {
        Self { place, detail: detail.into(), is_out_of_reach: false }
    }

    /// What is said of an object that could not be read; an error that is not about it goes on.
    ///
    /// # Errors
    ///
    /// That error.
    pub fn unread(place: FindingPlace, error: StoreError) -> Result<Self> {
        match detail(&error) {
            Some(detail) => Ok(Self { place, detail, is_out_of_reach: error.is_out_of_reach() }),
            None => Err(error),
        }
    }
}

/// What is wrong with an object, for a finding; an error that is not about the object goes on.
fn finding_detail(error: StoreError) -> Result<String> {
    detail(&error).filter(|_| !error.is_out_of_reach()).ok_or(error)
}

/// What an error says of the object that was read, if it is about that.
fn detail(error: &StoreError) -> Option<String> {
    match error {
        StoreError::Damaged { .. } | StoreError::Missing { .. } | StoreError::Unsupported { .. } => {
            Some(error.to_string())
        }
        StoreError::Io { source, .. } => Some(format!("{error}: {source}")),
        _ => None,
    }
}

impl Repository {
    /// Both copies of the configuration and of the key slots, as far as they can be told apart from the open one.
    ///
    /// # Errors
    ///
    /// If the storage cannot be read.
    pub fn check_config(&self) -> Result<Vec<Finding>> {
        let (mut findings, expected) = (Vec::new(), self.config().encode(self.keys()));
        for (area, which) in [(Area::Config, "first"), (Area::ConfigCopy, "second")] {
            let mut found = match self.storage().read(area, "config", expected.len() + 1) {
                Ok(bytes) if bytes == expected => continue,
                Ok(_) => Finding::new(FindingPlace::Config, "it differs from the one in use"),
                Err(e) => Finding::unread(FindingPlace::Config, e)?,
            };
            found.detail = format!("its {which} copy cannot be used: {}", found.detail);
            findings.push(found);
        }
        findings.extend(names::check_keys(&**self.storage())?);
        findings.extend(names::check_folders(&**self.storage())?);
        findings.extend(names::check_lock(&**self.storage())?);
        Ok(findings)
    }

    /// The index against these packs, both ways: a chunk that it does not lead to, and a row that leads to nothing. Packs
    /// that others published meanwhile are learned first; packs that are not named here are passed over. What is found is
    /// looked at once more in the index as it is then, for others may just have been at work on it.
    ///
    /// # Errors
    ///
    /// If the packs cannot be listed, or the index can neither be opened nor made anew.
    pub fn check_index(&self, packs: &[(PackName, PackRows)]) -> Result<Option<Finding>> {
        let mut detail = compare(&self.caught_up_index()?, packs)?;
        if detail.is_some()
            && let Some(now) = self.index_as_it_is()?
        {
            detail = compare(&now, packs)?;
        }
        Ok(detail.map(|detail| Finding::new(FindingPlace::Index, detail)))
    }
}

/// How an index differs from these packs, or why it cannot be read.
fn compare(index: &Arc<Index>, packs: &[(PackName, PackRows)]) -> Result<Option<String>> {
    match index.reader()?.compare_rows(packs) {
        Err(e @ StoreError::Index { .. }) => {
            let cause = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
            Ok(Some(format!("it cannot be read to its end: {cause}")))
        }
        compared => compared,
    }
}
