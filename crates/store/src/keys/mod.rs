//! Keys: one random master key, and everything else derived from it by purpose.
//!
//! Owns derivation ([`Keys`]), the slots that wrap the master key ([`slot`]), and key files ([`KeyFile`]). Never stores
//! or prints a key; secrets are wiped when dropped.
//!
//! Invariant: each purpose string is used for one thing only.

mod file;
pub(crate) mod slot;

use treering_chunk::Namer;
use zeroize::{Zeroize, Zeroizing};

pub use file::KeyFile;
pub use slot::{DerivationCost, SlotInfo, SlotKind};

use crate::entropy::{Entropy, random};
use crate::error::{Result, StoreError};
use crate::seal::{Encryption, SealKey};

/// A secret key of 32 bytes, wiped when dropped.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// What keys are derived for. BLAKE3 `derive_key` contexts: fixed for ever.
mod purpose {
    pub(super) const CHUNK_NAMES: &str = "treering 2026-11 chunk names v1";
    pub(super) const CHUNKER: &str = "treering 2026-11 chunker seed v1";
    pub(super) const FRAMES: &str = "treering 2026-11 pack frames v1";
    pub(super) const TRAILERS: &str = "treering 2026-11 pack trailers v1";
    pub(super) const RECORDS: &str = "treering 2026-11 records v1";
    pub(super) const CONFIG: &str = "treering 2026-11 config v1";
    pub(super) const UNENCRYPTED: &str = "treering 2026-11 unencrypted repository v1";
    pub(super) const KEY_FILE: &str = "treering 2026-11 key file slot v1";
    pub(super) const SLOT_WRAP: &str = "treering 2026-11 slot wrapping v1";
    pub(super) const SLOT_COMMIT: &str = "treering 2026-11 slot commitment v1";
    #[cfg(test)]
    pub(super) const ALL: [&str; 10] =
        [CHUNK_NAMES, CHUNKER, FRAMES, TRAILERS, RECORDS, CONFIG, UNENCRYPTED, KEY_FILE, SLOT_WRAP, SLOT_COMMIT];
}

fn derive(purpose: &str, material: &[u8]) -> Secret {
    Zeroizing::new(blake3::derive_key(purpose, material))
}

/// What a user opens a repository with.
#[derive(Debug)]
pub enum Unlock {
    /// A passphrase.
    Passphrase(Zeroizing<String>),
    /// The content of a key file.
    KeyFile(KeyFile),
    /// Nothing: only for repositories made without encryption.
    Nothing,
}

impl Unlock {
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Passphrase(_) => "passphrase",
            Self::KeyFile(_) => "key file",
            Self::Nothing => "nothing",
        }
    }
}

/// The master key of a repository.
#[derive(Clone)]
pub(crate) struct MasterKey(Secret);

impl MasterKey {
    pub(crate) fn generate(entropy: &dyn Entropy) -> Result<Self> {
        Ok(Self(Zeroizing::new(random(entropy)?)))
    }

    pub(crate) fn from_bytes(mut bytes: [u8; 32]) -> Self {
        let key = Self(Zeroizing::new(bytes));
        bytes.zeroize();
        key
    }

    /// The publicly known key of a repository without encryption: same structure, same checks, no secret.
    pub(crate) fn unencrypted(repository: &[u8; 16]) -> Self {
        Self(derive(purpose::UNENCRYPTED, repository))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// All keys of an open repository.
pub(crate) struct Keys {
    pub(crate) encryption: Encryption,
    pub(crate) namer: Namer,
    pub(crate) chunker_seed: u64,
    frames: Secret,
    trailers: Secret,
    records: Secret,
    config: Secret,
}

impl Keys {
    pub(crate) fn new(master: &MasterKey, encryption: Encryption) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *derive(purpose::CHUNKER, master.bytes());
        Self {
            encryption,
            namer: Namer::new(*derive(purpose::CHUNK_NAMES, master.bytes())),
            chunker_seed: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            frames: derive(purpose::FRAMES, master.bytes()),
            trailers: derive(purpose::TRAILERS, master.bytes()),
            records: derive(purpose::RECORDS, master.bytes()),
            config: derive(purpose::CONFIG, master.bytes()),
        }
    }

    fn salted(&self, root: &Secret, salt: &[u8; 32]) -> Result<SealKey> {
        SealKey::new(self.encryption, Zeroizing::new(*blake3::keyed_hash(root, salt).as_bytes()))
    }

    /// The key of the frames of the pack with this salt.
    pub(crate) fn frames(&self, salt: &[u8; 32]) -> Result<SealKey> {
        self.salted(&self.frames, salt)
    }

    /// The key of the trailer of the pack with this salt.
    pub(crate) fn trailer(&self, salt: &[u8; 32]) -> Result<SealKey> {
        self.salted(&self.trailers, salt)
    }

    /// The key of the record with this salt.
    pub(crate) fn record(&self, salt: &[u8; 32]) -> Result<SealKey> {
        self.salted(&self.records, salt)
    }

    /// The tag that authenticates a config.
    pub(crate) fn config_tag(&self, bytes: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.config, bytes).as_bytes()
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({:?}, hidden)", self.encryption)
    }
}

/// Compares without telling by its time where two tags differ.
pub(crate) fn same_tag(a: &[u8; 32], b: &[u8; 32]) -> bool {
    // `blake3::Hash` compares in constant time.
    blake3::Hash::from_bytes(*a) == blake3::Hash::from_bytes(*b)
}

fn wrap_failed<E>(_: E) -> StoreError {
    StoreError::Derivation { detail: "the master key cannot be wrapped".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_differ() {
        let mut keys: Vec<_> = purpose::ALL.iter().map(|p| *derive(p, &[1; 32])).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), purpose::ALL.len());
    }

    #[test]
    fn nothing_secret_is_shown() {
        let keys = Keys::new(&MasterKey::from_bytes([3; 32]), Encryption::Aes256Gcm);
        assert_eq!(format!("{keys:?}"), "Keys(Aes256Gcm, hidden)");
        let unlock = Unlock::KeyFile(KeyFile::parse(&KeyFile::from_bytes([7; 32]).to_text()).unwrap());
        assert!(!format!("{unlock:?}").contains('7'));
    }
}
