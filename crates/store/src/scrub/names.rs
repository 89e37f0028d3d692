//! Comparing objects with their names. Needs no key, and trusts nothing that is stored.
//!
//! Packs, key slots and records are named by the BLAKE3 of their bytes, so whoever can read the files sees whether a bit
//! of one has flipped: on another machine, as another user, at the speed of the disk. What was lost as a whole, and what
//! the damage means for snapshots, only a check with a key can tell.
//!
//! Invariant: an object without a finding has exactly the bytes that it was named after.

use std::collections::BTreeSet;
use std::fmt;

use super::{Finding, FindingPlace};
use crate::config::Config;
use crate::error::{Result, StoreError, enumerate};
use crate::keys::{Keys, MasterKey};
use crate::limits::CONFIG_MOST_BYTES;
use crate::pack::PackName;
use crate::record::RecordName;
use crate::repository::{assert_slots_fit, no_config};
use crate::seal::Encryption;
use crate::storage::{Area, Storage};

/// Areas whose objects are compared with their names one by one; key slots are compared with their copies too.
const NAMED_AREAS: [Area; 3] = [Area::Packs, Area::Snapshots, Area::Records];
/// The two copies of every key slot.
const KEY_AREAS: [Area; 2] = [Area::Keys, Area::KeysCopy];
/// Read and hashed at once: large enough for the disk, small enough for the cache of one core.
const PIECE_BYTES: usize = 1 << 20;

/// An object that is named by the BLAKE3 of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedObject {
    /// What it is: a pack, a snapshot or another record.
    pub area: Area,
    /// Its name.
    pub name: String,
    /// Its length when it was listed.
    pub bytes: u64,
}

impl NamedObject {
    fn place(&self) -> Option<FindingPlace> {
        match self.area {
            Area::Packs => PackName::from_hex(&self.name).map(FindingPlace::Pack),
            area => RecordName::from_hex(&self.name).map(|name| FindingPlace::Record(area, name)),
        }
    }
}

/// All packs and records.
///
/// # Errors
///
/// If a listing may be incomplete.
pub fn list_named(storage: &dyn Storage) -> Result<Vec<NamedObject>> {
    let mut all = Vec::new();
    for area in NAMED_AREAS {
        let listed = storage.list(area)?.into_iter();
        all.extend(listed.map(|listed| NamedObject { area, name: listed.name, bytes: listed.bytes }));
    }
    Ok(all)
}

/// Compares the bytes of an object with its name. One that was removed since it was listed is no finding.
///
/// # Errors
///
/// If the storage cannot be read for a reason that is not damage.
pub fn check_named(storage: &dyn Storage, object: &NamedObject) -> Result<Option<Finding>> {
    let Some(place) = object.place() else { return Ok(None) };
    match fits_name(storage, object.area, &object.name) {
        Ok(true) | Err(StoreError::Missing { .. }) => Ok(None),
        Ok(false) => Ok(Some(Finding::new(place, "its bytes do not fit its name"))),
        Err(e) => Finding::unread(place, e).map(Some),
    }
}

/// Whether an object has the bytes that it is named after. Holds one piece of it in memory.
pub(super) fn fits_name(storage: &dyn Storage, area: Area, name: &str) -> Result<bool> {
    let object = storage.open(area, name)?;
    let (mut hasher, mut offset, mut buffer) = (blake3::Hasher::new(), 0, vec![0; PIECE_BYTES]);
    while offset < object.bytes() {
        let length = (object.bytes() - offset).min(PIECE_BYTES as u64) as usize;
        let piece = buffer.get_mut(..length).unwrap_or_default();
        object.read_at(offset, piece)?;
        hasher.update(piece);
        offset += length as u64;
    }
    Ok(hasher.finalize().to_hex().as_str() == name)
}

/// The two copies of the configuration against each other and of every key slot against its name, as far as that can be
/// seen without a key.
///
/// # Errors
///
/// [`StoreError::NoRepository`] if there is neither a configuration nor anything that was backed up;
/// [`StoreError::Unsupported`]; if the storage cannot be read.
pub fn check_copies(storage: &dyn Storage) -> Result<Vec<Finding>> {
    let mut findings = check_config_copies(storage)?;
    findings.extend(check_keys(storage)?);
    findings.extend(check_folders(storage)?);
    findings.extend(check_lock(storage)?);
    Ok(findings)
}

/// All folders must be there: what was in one that is missing is missing too.
pub(super) fn check_folders(storage: &dyn Storage) -> Result<Option<Finding>> {
    let missing = storage.missing_folders()?;
    let detail = || format!("missing, with what was in them, if anything was: {}", enumerate(&missing));
    Ok((!missing.is_empty()).then(|| Finding::new(FindingPlace::Folders, detail())))
}

/// The lock must be there, or nothing can be written.
pub(super) fn check_lock(storage: &dyn Storage) -> Result<Option<Finding>> {
    let missing = || Finding::new(FindingPlace::Lock, "it is missing: nothing can be written");
    Ok((!storage.has_lock()?).then(missing))
}

fn check_config_copies(storage: &dyn Storage) -> Result<Vec<Finding>> {
    let [first, second] = [Area::Config, Area::ConfigCopy].map(|area| storage.read(area, "config", CONFIG_MOST_BYTES));
    let differ = matches!((&first, &second), (Ok(first), Ok(second)) if first != second);
    let are_same = matches!((&first, &second), (Ok(first), Ok(second)) if first == second);
    let [first, second] = [first, second].map(|bytes| bytes.and_then(|bytes| assert_config(storage, &bytes)));
    let unusable = |which: &str, e| -> Result<Vec<Finding>> {
        let mut found = Finding::unread(FindingPlace::Config, e)?;
        found.detail = format!("its {which} copy cannot be used: {}", found.detail);
        Ok(vec![found])
    };
    match (first, second) {
        (Ok(()), Ok(())) if differ => {
            let detail = "its two copies differ; a check with a key tells which one is sound";
            Ok(vec![Finding::new(FindingPlace::Config, detail)])
        }
        (Ok(()), Ok(())) => Ok(Vec::new()),
        (Err(e), Ok(())) => unusable("first", e),
        (Ok(()), Err(e)) => unusable("second", e),
        (Err(first), Err(second)) => {
            let failures = if are_same { vec![first] } else { vec![first, second] };
            match no_config(storage, failures) {
                StoreError::ConfigLost { detail } => {
                    let detail = format!("neither of its two copies can be used: {detail}");
                    Ok(vec![Finding::new(FindingPlace::LostConfig, detail)])
                }
                other => Err(other),
            }
        }
    }
}

/// What can be seen of a config without a key: that it is one, and that the key slots are of the same repository.
fn assert_config(storage: &dyn Storage, bytes: &[u8]) -> Result<()> {
    let config = Config::decode(bytes)?;
    match config.claims() {
        (Encryption::None, repository) => {
            let keys = Keys::new(&MasterKey::unencrypted(repository.as_bytes()), Encryption::None);
            config.verify(&keys).map(drop)
        }
        (Encryption::Aes256Gcm, repository) => assert_slots_fit(storage, repository),
    }
}

/// Every key slot must be there twice and fit its name.
pub(super) fn check_keys(storage: &dyn Storage) -> Result<Vec<Finding>> {
    let mut names = BTreeSet::new();
    for area in KEY_AREAS {
        names.extend(storage.list(area)?.into_iter().map(|listed| listed.name));
    }
    let mut findings = Vec::new();
    for name in names {
        findings.extend(match (key_copy(storage, Area::Keys, &name)?, key_copy(storage, Area::KeysCopy, &name)?) {
            // Removed since it was listed.
            (KeyCopy::Missing, KeyCopy::Missing) | (KeyCopy::Sound, KeyCopy::Sound) => None,
            (KeyCopy::OutOfReach(found), _) | (_, KeyCopy::OutOfReach(found)) => {
                let detail = format!("one of its two copies: {}", found.detail);
                Some(Finding { detail, ..found })
            }
            (KeyCopy::Sound, bad) | (bad, KeyCopy::Sound) => {
                Some(Finding::new(FindingPlace::Key(name), format!("one of its two copies {bad}")))
            }
            (first, second) => {
                let detail = format!("its first copy {first}, and its second copy {second}; it opens nothing any more");
                Some(Finding::new(FindingPlace::LostKey(name), detail))
            }
        });
    }
    Ok(findings)
}

enum KeyCopy {
    Sound,
    Missing,
    Damaged(String),
    OutOfReach(Finding),
}

impl fmt::Display for KeyCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sound => f.write_str("is whole"),
            Self::Missing => f.write_str("is missing"),
            Self::Damaged(detail) => write!(f, "is damaged: {detail}"),
            Self::OutOfReach(found) => f.write_str(&found.detail),
        }
    }
}

fn key_copy(storage: &dyn Storage, area: Area, name: &str) -> Result<KeyCopy> {
    Ok(match storage.read(area, name, CONFIG_MOST_BYTES) {
        Err(StoreError::Missing { .. }) => KeyCopy::Missing,
        Ok(bytes) if blake3::hash(&bytes).to_hex().as_str() == name => KeyCopy::Sound,
        Ok(_) => KeyCopy::Damaged("its bytes do not fit its name".into()),
        Err(e) => {
            let found = Finding::unread(FindingPlace::Key(name.to_owned()), e)?;
            if found.is_out_of_reach { KeyCopy::OutOfReach(found) } else { KeyCopy::Damaged(found.detail) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Folder, put};

    /// A folder that has one sound object in each area, and its root.
    fn folder() -> (tempfile::TempDir, Folder) {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(home.path().join("rings"));
        folder.create().unwrap();
        for area in NAMED_AREAS {
            let bytes = noise(area, if area == Area::Packs { PIECE_BYTES + 3 } else { 500 });
            put(&folder, area, &blake3::hash(&bytes).to_hex(), &bytes).unwrap();
        }
        (home, folder)
    }

    fn noise(area: Area, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(format!("{area:?}").as_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn check_all(folder: &Folder) -> Vec<Finding> {
        let all = list_named(folder).unwrap();
        all.iter().filter_map(|object| check_named(folder, object).unwrap()).collect()
    }

    #[test]
    fn a_flipped_bit_shows_without_a_key() {
        let (home, folder) = folder();
        assert_eq!(check_all(&folder), []);
        for object in list_named(&folder).unwrap() {
            let shard = if object.area == Area::Packs { &object.name[..2] } else { "" };
            let part = match object.area {
                Area::Packs => "packs",
                Area::Snapshots => "snapshots",
                _ => "records",
            };
            let path = home.path().join("rings").join(part).join(shard).join(&object.name);
            let sound = std::fs::read(&path).unwrap();
            for at in [0, sound.len() / 2, sound.len() - 1] {
                let mut flipped = sound.clone();
                flipped[at] ^= 0x80;
                std::fs::write(&path, flipped).unwrap();
                let findings = check_all(&folder);
                assert_eq!(findings.len(), 1, "{object:?} at {at}");
                assert_eq!(Some(&findings[0].place), object.place().as_ref());
            }
            std::fs::write(&path, &sound[..sound.len() - 1]).unwrap();
            assert_eq!(check_all(&folder).len(), 1, "{object:?} cut short");
            std::fs::write(&path, &sound).unwrap();
        }
        assert_eq!(check_all(&folder), []);
    }

    #[test]
    fn what_was_removed_since_it_was_listed_is_no_finding() {
        let (_home, folder) = folder();
        for object in list_named(&folder).unwrap() {
            folder.remove(object.area, &object.name).unwrap();
            assert_eq!(check_named(&folder, &object).unwrap(), None);
        }
    }

    #[test]
    fn copies_are_compared_and_an_empty_folder_is_no_repository() {
        let (_home, folder) = folder();
        let findings = check_copies(&folder).unwrap();
        assert!(matches!(&findings[..], [Finding { place: FindingPlace::LostConfig, .. }]), "{findings:?}");
        for area in NAMED_AREAS {
            let listed = folder.list(area).unwrap();
            listed.iter().for_each(|listed| folder.remove(area, &listed.name).unwrap());
        }
        assert!(matches!(check_copies(&folder), Err(StoreError::NoRepository { .. })));
        let name = blake3::hash(b"slot").to_hex().to_string();
        put(&folder, Area::Keys, &name, b"slot").unwrap();
        let missing = Finding::new(FindingPlace::Key(name.clone()), "one of its two copies is missing");
        assert_eq!(check_keys(&folder).unwrap(), [missing]);
        put(&folder, Area::KeysCopy, &name, b"s1ot").unwrap();
        let damaged = check_keys(&folder).unwrap();
        assert!(damaged.len() == 1 && damaged[0].detail.contains("do not fit its name"), "{damaged:?}");
        assert_eq!(damaged[0].place, FindingPlace::Key(name.clone()));
        folder.remove(Area::Keys, &name).unwrap();
        let lost = check_keys(&folder).unwrap();
        assert!(matches!(&lost[..], [Finding { place: FindingPlace::LostKey(lost), .. }] if *lost == name), "{lost:?}");
    }
}
