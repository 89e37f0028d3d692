//! Key slots: files that wrap the master key, one for each passphrase or key file.
//!
//! A passphrase goes through Argon2id (RFC 9106). What it costs is written in the slot and bounded on reading: a slot
//! from a hostile store can neither be made cheap to guess nor exhaust the machine. The derived key is committed to
//! before it is used, so that one ciphertext cannot be made to open under many passphrases (partitioning oracles;
//! AES-GCM alone does not prevent it).
//!
//! Invariant: a slot that opens gives the master key that was put in, or fails.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::{MasterKey, Secret, Unlock, derive, purpose, same_tag, wrap_failed};
use crate::config::RepositoryId;
use crate::entropy::{Entropy, random};
use crate::error::{Result, StoreError};
use crate::seal::{Encryption, SealKey, TAG_BYTES};
use crate::wire::Fields;

const MAGIC: &[u8; 8] = b"TRKEYSLT";
const VERSION: u16 = 1;
const WRAPPED_BYTES: usize = 32 + TAG_BYTES;
const LABEL_MOST_BYTES: usize = 255;

/// What opens a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SlotKind {
    /// A passphrase, through Argon2id.
    Passphrase = 1,
    /// A key file.
    KeyFile = 2,
}

/// What deriving a key from a passphrase costs, in Argon2id's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DerivationCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl DerivationCost {
    /// RFC 9106's second choice: 64 MiB, three passes, four lanes; about 0.2 s of one core.
    pub const DEFAULT: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 4 };
    /// The least that is accepted, in writing and in reading.
    pub const FLOOR: Self = Self { memory_kib: 19 << 10, passes: 2, lanes: 1 };
    /// The most that is accepted.
    pub const CEILING: Self = Self { memory_kib: 4 << 20, passes: 64, lanes: 64 };

    fn is_acceptable(self) -> bool {
        let (low, high) = (Self::FLOOR, Self::CEILING);
        (low.memory_kib..=high.memory_kib).contains(&self.memory_kib)
            && (low.passes..=high.passes).contains(&self.passes)
            && (low.lanes..=high.lanes).contains(&self.lanes)
    }
}

/// What can be known about a slot without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotInfo {
    /// Name of its file: 64 hexadecimal digits.
    pub name: String,
    /// What opens it.
    pub kind: SlotKind,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// What its maker called it: usually user and host.
    pub label: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Slot {
    kind: SlotKind,
    repository: RepositoryId,
    salt: [u8; 32],
    cost: DerivationCost,
    created: i64,
    label: String,
    commitment: [u8; 32],
    wrapped: [u8; WRAPPED_BYTES],
}

/// What a slot is made from besides the keys.
pub(crate) struct SlotDraft<'a> {
    pub(crate) repository: RepositoryId,
    pub(crate) cost: DerivationCost,
    pub(crate) created: i64,
    pub(crate) label: &'a str,
}

impl Slot {
    pub(crate) fn new(
        draft: &SlotDraft<'_>,
        unlock: &Unlock,
        master: &MasterKey,
        entropy: &dyn Entropy,
    ) -> Result<Self> {
        let kind = match unlock {
            Unlock::Passphrase(_) => SlotKind::Passphrase,
            Unlock::KeyFile(_) => SlotKind::KeyFile,
            Unlock::Nothing => return Err(StoreError::KeyNeeded),
        };
        let mut label = draft.label.to_owned();
        label.truncate((0..=LABEL_MOST_BYTES).rev().find(|at| label.is_char_boundary(*at)).unwrap_or(0));
        let mut slot = Self {
            kind,
            repository: draft.repository,
            salt: random(entropy)?,
            cost: if kind == SlotKind::Passphrase {
                draft.cost
            } else {
                DerivationCost { memory_kib: 0, passes: 0, lanes: 0 }
            },
            created: draft.created,
            label,
            commitment: [0; 32],
            wrapped: [0; WRAPPED_BYTES],
        };
        slot.wrap(unlock, master)?;
        slot.verify(unlock, master)?;
        Ok(slot)
    }

    fn wrap(&mut self, unlock: &Unlock, master: &MasterKey) -> Result<()> {
        let derived = self.derive(unlock)?.ok_or_else(|| wrap_failed(()))?;
        self.commitment = *derive(purpose::SLOT_COMMIT, &derived[..]);
        let mut message = master.bytes().to_vec();
        wrapping_key(&derived)?.seal(0, &self.header(), &mut message)?;
        self.wrapped = message.try_into().map_err(wrap_failed)?;
        Ok(())
    }

    /// A slot is opened once before it is trusted with the only way to the data.
    fn verify(&self, unlock: &Unlock, master: &MasterKey) -> Result<()> {
        let read_back = Self::decode(&self.encode())?.open(unlock)?;
        if read_back.is_none_or(|key| key.bytes() != master.bytes()) {
            return Err(StoreError::Verify { what: "key slot" });
        }
        Ok(())
    }

    /// The master key, or `None` if this is not the slot of what was given.
    pub(crate) fn open(&self, unlock: &Unlock) -> Result<Option<MasterKey>> {
        let Some(derived) = self.derive(unlock)? else { return Ok(None) };
        if !same_tag(&derive(purpose::SLOT_COMMIT, &derived[..]), &self.commitment) {
            return Ok(None);
        }
        let mut wrapped = self.wrapped;
        let opened = wrapping_key(&derived)?
            .open(0, &self.header(), &mut wrapped)
            .and_then(|master| <[u8; 32]>::try_from(master).ok())
            .ok_or_else(|| StoreError::damaged("a key slot", "its content does not fit its header"))?;
        Ok(Some(MasterKey::from_bytes(opened)))
    }

    fn derive(&self, unlock: &Unlock) -> Result<Option<Secret>> {
        match (self.kind, unlock) {
            (SlotKind::Passphrase, Unlock::Passphrase(passphrase)) => self.stretch(passphrase.as_bytes()).map(Some),
            (SlotKind::KeyFile, Unlock::KeyFile(file)) => {
                let material = Zeroizing::new([&file.bytes()[..], &self.salt[..]].concat());
                Ok(Some(derive(purpose::KEY_FILE, &material)))
            }
            _ => Ok(None),
        }
    }

    fn stretch(&self, passphrase: &[u8]) -> Result<Secret> {
        let failed = |e: argon2::Error| StoreError::Derivation { detail: e.to_string() };
        let DerivationCost { memory_kib, passes, lanes } = self.cost;
        let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(failed)?;
        let mut key = Secret::default();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase, &self.salt, &mut key[..])
            .map_err(failed)?;
        Ok(key)
    }

    /// Everything before the wrapped key; bound to it.
    fn header(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend([self.kind as u8, 0]);
        out.extend(self.repository.as_bytes());
        out.extend(self.salt);
        for number in [self.cost.memory_kib, self.cost.passes, self.cost.lanes] {
            out.extend(number.to_le_bytes());
        }
        out.extend(self.created.to_le_bytes());
        out.push(self.label.len() as u8);
        out.extend(self.label.as_bytes());
        out.extend(self.commitment);
        out
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.header();
        out.extend(self.wrapped);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(bytes, "a key slot");
        fields.magic(MAGIC)?;
        let version = fields.u16()?;
        if version != VERSION {
            return Err(StoreError::Unsupported { what: format!("key slots of version {version}") });
        }
        let kind = match fields.u8()? {
            1 => SlotKind::Passphrase,
            2 => SlotKind::KeyFile,
            other => return Err(StoreError::Unsupported { what: format!("key slots of kind {other}") }),
        };
        fields.zeros(1)?;
        let repository = RepositoryId::from_bytes(fields.array()?);
        let salt = fields.array()?;
        let cost = DerivationCost { memory_kib: fields.u32()?, passes: fields.u32()?, lanes: fields.u32()? };
        if kind == SlotKind::Passphrase && !cost.is_acceptable() {
            return Err(fields.damaged(format!("its derivation cost {cost:?} is out of bounds")));
        }
        let created = fields.u64()? as i64;
        let length = fields.u8()?;
        let label = String::from_utf8(fields.bytes(length.into())?.to_vec());
        let label = label.map_err(|_| fields.damaged("its label is not UTF-8"))?;
        let (commitment, wrapped) = (fields.array()?, fields.array()?);
        fields.end()?;
        Ok(Self { kind, repository, salt, cost, created, label, commitment, wrapped })
    }

    pub(crate) fn repository(&self) -> RepositoryId {
        self.repository
    }

    pub(crate) fn info(&self, name: String) -> SlotInfo {
        SlotInfo { name, kind: self.kind, created: self.created, label: self.label.clone() }
    }
}

fn wrapping_key(derived: &Secret) -> Result<SealKey> {
    SealKey::new(Encryption::Aes256Gcm, derive(purpose::SLOT_WRAP, &derived[..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::OsEntropy;
    use crate::keys::KeyFile;

    fn slot(unlock: &Unlock) -> Slot {
        let repository = RepositoryId::from_bytes([4; 16]);
        let draft = SlotDraft { repository, cost: DerivationCost::FLOOR, created: 5, label: "root@host" };
        Slot::new(&draft, unlock, &MasterKey::from_bytes([9; 32]), &OsEntropy).unwrap()
    }

    fn passphrase(text: &str) -> Unlock {
        Unlock::Passphrase(Zeroizing::new(text.into()))
    }

    #[test]
    fn opens_with_its_own_key_only() {
        let (pass, file) = (passphrase("a"), Unlock::KeyFile(KeyFile::from_bytes([1; 32])));
        for (right, wrong) in [(&pass, passphrase("b")), (&file, Unlock::KeyFile(KeyFile::from_bytes([2; 32])))] {
            let slot = slot(right);
            assert_eq!(slot.open(right).unwrap().unwrap().bytes(), &[9; 32]);
            assert!(slot.open(&wrong).unwrap().is_none());
        }
        assert!(slot(&pass).open(&file).unwrap().is_none());
    }

    #[test]
    fn every_byte_matters() {
        let unlock = Unlock::KeyFile(KeyFile::from_bytes([1; 32]));
        let bytes = slot(&unlock).encode();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            let opened = Slot::decode(&flipped).and_then(|slot| slot.open(&unlock));
            assert!(!matches!(opened, Ok(Some(_))), "byte {at}");
        }
        assert!(Slot::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(Slot::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn costs_are_bounded() {
        for cost in [
            DerivationCost { memory_kib: 8, ..DerivationCost::DEFAULT },
            DerivationCost { passes: 1000, ..DerivationCost::DEFAULT },
            DerivationCost { memory_kib: u32::MAX, ..DerivationCost::DEFAULT },
        ] {
            let mut slot = slot(&passphrase("a"));
            slot.cost = cost;
            assert!(Slot::decode(&slot.encode()).is_err(), "{cost:?}");
        }
    }
}
