//! The configuration of a repository: what can never change silently.
//!
//! A fixed layout (see `docs/format.md`), authenticated under the master key and kept twice. It is decoded in two
//! steps: [`Config::decode`] trusts nothing and returns an [`Unverified`]; only with the keys does it become usable.
//!
//! Invariant: a config that is used was written by somebody who had the master key.

use std::fmt;

use treering_chunk::CutSizes;

use crate::error::{Result, StoreError};
use crate::keys::{Keys, same_tag};
use crate::seal::Encryption;
use crate::wire::{Extensions, Fields, put_extensions, take_extensions};

const MAGIC: &[u8; 8] = b"TREERING";
/// The version of the repository format.
pub const FORMAT_VERSION: u16 = 1;
const TAG_BYTES: usize = 32;

/// Feature bits by what somebody who does not know them may still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// May be ignored.
    pub compatible: u64,
    /// May be read, not written.
    pub read_compatible: u64,
    /// May not even be read.
    pub incompatible: u64,
}

impl Features {
    /// Version 1 before its first release: nobody is promised that it can be read later.
    pub const DRAFT: u64 = 1;
    const KNOWN_INCOMPATIBLE: u64 = Self::DRAFT;
    const KNOWN_READ_COMPATIBLE: u64 = 0;

    fn check(self) -> Result<()> {
        let unknown = self.incompatible & !Self::KNOWN_INCOMPATIBLE;
        if unknown != 0 {
            return Err(StoreError::Unsupported { what: format!("the incompatible features {unknown:#x}") });
        }
        Ok(())
    }

    /// Whether this program may write here.
    pub fn writable(self) -> bool {
        self.read_compatible & !Self::KNOWN_READ_COMPATIBLE == 0
    }
}

/// Which repository something belongs to: 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RepositoryId([u8; 16]);

impl RepositoryId {
    /// An id read back from storage.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes as they are stored.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RepositoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What is needed to use the repository.
    pub features: Features,
    /// How content is protected.
    pub encryption: Encryption,
    /// Which repository this is.
    pub repository: RepositoryId,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// How streams are cut.
    pub cut_sizes: CutSizes,
    /// How much plaintext a frame collects before it is compressed.
    pub frame_bytes: u32,
    /// What later versions add.
    pub extensions: Extensions,
}

/// A config whose tag has not been checked.
#[derive(Debug)]
pub(crate) struct Unverified {
    config: Config,
    signed: Vec<u8>,
    tag: [u8; TAG_BYTES],
}

impl Unverified {
    /// What is needed to find the keys; to be trusted only through [`Unverified::verify`].
    pub(crate) fn claims(&self) -> (Encryption, RepositoryId) {
        (self.config.encryption, self.config.repository)
    }

    pub(crate) fn verify(self, keys: &Keys) -> Result<Config> {
        if !same_tag(&keys.config_tag(&self.signed), &self.tag) {
            return Err(StoreError::damaged("the config", "it was not written with this repository's key"));
        }
        Ok(self.config)
    }
}

impl Config {
    pub(crate) fn encode(&self, keys: &Keys) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(FORMAT_VERSION.to_le_bytes());
        out.extend([self.encryption as u8, 0]);
        for features in [self.features.compatible, self.features.read_compatible, self.features.incompatible] {
            out.extend(features.to_le_bytes());
        }
        out.extend(self.repository.as_bytes());
        out.extend(self.created.to_le_bytes());
        for number in [self.cut_sizes.general_bytes(), self.cut_sizes.fine_bytes(), self.frame_bytes, 0] {
            out.extend(number.to_le_bytes());
        }
        put_extensions(&mut out, &self.extensions);
        let tag = keys.config_tag(&out);
        out.extend(tag);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Unverified> {
        let mut fields = Fields::new(bytes, "the config");
        fields.magic(MAGIC)?;
        let version = fields.u16()?;
        if version != FORMAT_VERSION {
            return Err(StoreError::Unsupported { what: format!("repository format {version}") });
        }
        let number = fields.u8()?;
        let unknown = || StoreError::Unsupported { what: format!("encryption {number}") };
        let encryption = Encryption::from_byte(number).ok_or_else(unknown)?;
        fields.zeros(1)?;
        let features =
            Features { compatible: fields.u64()?, read_compatible: fields.u64()?, incompatible: fields.u64()? };
        features.check()?;
        let repository = RepositoryId(fields.array()?);
        let created = fields.u64()? as i64;
        let cut_sizes = CutSizes::new(fields.u32()?, fields.u32()?).map_err(|e| fields.damaged(e.to_string()))?;
        let frame_bytes = fields.u32()?;
        if !Self::FRAME_BYTES.contains(&frame_bytes) {
            return Err(fields.damaged(format!("frames of {frame_bytes} bytes are out of bounds")));
        }
        fields.zeros(4)?;
        let extensions = take_extensions(&mut fields)?;
        let tag = fields.array()?;
        fields.end()?;
        let signed = bytes.get(..bytes.len() - TAG_BYTES).unwrap_or_default().to_vec();
        let config = Self { features, encryption, repository, created, cut_sizes, frame_bytes, extensions };
        Ok(Unverified { config, signed, tag })
    }

    /// The frames that can be asked for.
    pub const FRAME_BYTES: std::ops::RangeInclusive<u32> = 64 << 10..=4 << 20;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::MasterKey;

    fn keys(byte: u8) -> Keys {
        Keys::new(&MasterKey::from_bytes([byte; 32]), Encryption::Aes256Gcm)
    }

    fn config() -> Config {
        Config {
            features: Features { incompatible: Features::DRAFT, ..Features::default() },
            encryption: Encryption::Aes256Gcm,
            repository: RepositoryId([7; 16]),
            created: 1_700_000_000,
            cut_sizes: CutSizes::new(65_536, 8192).unwrap(),
            frame_bytes: 1 << 20,
            extensions: vec![(3, b"kept".to_vec()), (9, vec![])],
        }
    }

    #[test]
    fn round_trip() {
        let bytes = config().encode(&keys(1));
        assert_eq!(Config::decode(&bytes).unwrap().verify(&keys(1)).unwrap(), config());
        assert!(Config::decode(&bytes).unwrap().verify(&keys(2)).is_err());
    }

    #[test]
    fn every_bit_matters() {
        let bytes = config().encode(&keys(1));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = Config::decode(&flipped).and_then(|config| config.verify(&keys(1)));
            assert!(read.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_future_is_refused_by_name() {
        let mut future = config();
        future.features.incompatible |= 4;
        let error = Config::decode(&future.encode(&keys(1))).unwrap_err();
        assert!(matches!(error, StoreError::Unsupported { .. }), "{error}");
        future.features = Features { read_compatible: 2, incompatible: 1, ..Features::default() };
        let config = Config::decode(&future.encode(&keys(1))).unwrap().verify(&keys(1)).unwrap();
        assert!(!config.features.writable());
    }
}
