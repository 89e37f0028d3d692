//! Records: every sealed object that is not a pack, in one envelope.
//!
//! A clear header (magic, version, kind, flags, algorithm, codec, key epoch, repository, salt, lengths), all of it bound
//! to the sealed body, whose key comes from the salt. A record is named by the BLAKE3 of its bytes, so that a flipped bit
//! shows without a key. A long body is compressed: lists of paths shrink to a tenth.
//!
//! Invariant: a record that opens was written by somebody with the repository's key, for this repository and this kind.

use std::fmt;

use treering_chunk::ChunkId;

use crate::config::RepositoryId;
use crate::entropy::{Entropy, random};
use crate::error::{Result, StoreError};
use crate::keys::Keys;
use crate::limits::{RECORD_BODY_MOST_BYTES, RECORD_MOST_BYTES};
use crate::wire::Fields;

const MAGIC: &[u8; 4] = b"TRRC";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 72;
/// Shorter bodies are not compressed.
const COMPRESSED_LEAST_BYTES: usize = 4 << 10;
/// Where the stored length stands in the header.
const LENGTH_AT: usize = 64;
const RAW: u8 = 0;
const ZSTD: u8 = 1;
/// Set on a record that must be understood: a program that does not know its kind refuses the repository.
pub const CRITICAL: u16 = 1;

/// What a record is. Numbers are never reused; unknown kinds are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKind(pub u16);

impl RecordKind {
    /// A snapshot; its existence under `snapshots/` is the commit.
    pub const SNAPSHOT: Self = Self(1);
    /// Names a snapshot that was forgotten and holds its record.
    pub const FORGOTTEN: Self = Self(2);
    /// A writer at work: the parent that it builds on.
    pub const SESSION: Self = Self(3);
    /// Chunks that snapshots refer to and that are in no pack.
    pub const LOST: Self = Self(4);
    /// When the data of each pack was last verified.
    pub const LEDGER: Self = Self(5);
    /// Second copies of snapshots that were pruned or not committed, so that nobody takes those for lost.
    pub const PRUNED: Self = Self(6);
    /// The kinds that this program understands.
    pub const KNOWN: [Self; 6] =
        [Self::SNAPSHOT, Self::FORGOTTEN, Self::SESSION, Self::LOST, Self::LEDGER, Self::PRUNED];
}

/// The name of a record: the BLAKE3 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordName([u8; 32]);

impl RecordName {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// A name read back from storage.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes as they are stored.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 hexadecimal digits; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        ChunkId::from_hex(text).ok().map(|id| Self(*id.as_bytes()))
    }

    /// The first eight digits, as users see and type them.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A record that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: RecordKind,
    /// [`CRITICAL`] or nothing.
    pub flags: u16,
    /// What it says, in the encoding of its kind.
    pub body: Vec<u8>,
}

impl Record {
    /// An ordinary record.
    pub fn new(kind: RecordKind, body: Vec<u8>) -> Self {
        Self { kind, flags: 0, body }
    }

    /// The bytes to be stored, and their name.
    pub(crate) fn seal(&self, id: RepositoryId, keys: &Keys, entropy: &dyn Entropy) -> Result<(RecordName, Vec<u8>)> {
        if self.body.len() > RECORD_BODY_MOST_BYTES {
            return Err(StoreError::Limit { what: "a record", limit: RECORD_BODY_MOST_BYTES as u64 });
        }
        let (codec, mut body) = compress(&self.body)?;
        if body.len() > RECORD_MOST_BYTES - 1024 {
            return Err(StoreError::Limit { what: "a record", limit: RECORD_MOST_BYTES as u64 });
        }
        let salt: [u8; 32] = random(entropy)?;
        let mut out = MAGIC.to_vec();
        for number in [VERSION, self.kind.0, self.flags] {
            out.extend(number.to_le_bytes());
        }
        out.extend([keys.encryption as u8, codec]);
        out.extend(0u32.to_le_bytes());
        out.extend(id.as_bytes());
        out.extend(salt);
        out.extend((body.len() as u32).to_le_bytes());
        out.extend((self.body.len() as u32).to_le_bytes());
        keys.record(&salt)?.seal(0, &out, &mut body)?;
        out.append(&mut body);
        if Self::open(&out, id, keys)? != *self {
            return Err(StoreError::Verify { what: "record" });
        }
        Ok((RecordName::of(&out), out))
    }

    /// Opens the record at the front of `bytes`, and returns what follows it.
    pub(crate) fn open_front<'b>(bytes: &'b [u8], id: RepositoryId, keys: &Keys) -> Result<(Self, &'b [u8])> {
        let length = bytes.get(LENGTH_AT..).and_then(<[u8]>::first_chunk).copied().map(u32::from_le_bytes);
        let end = (length.unwrap_or(0) as usize).saturating_add(HEADER_BYTES + crate::seal::TAG_BYTES);
        let (record, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        Ok((Self::open(record, id, keys)?, rest))
    }

    pub(crate) fn open(bytes: &[u8], id: RepositoryId, keys: &Keys) -> Result<Self> {
        let header = bytes.get(..HEADER_BYTES).unwrap_or(bytes);
        let mut fields = Fields::new(bytes, "a record");
        fields.magic(MAGIC)?;
        let (version, kind, flags) = (fields.u16()?, RecordKind(fields.u16()?), fields.u16()?);
        if version != VERSION {
            return Err(StoreError::Unsupported { what: format!("records of version {version}") });
        }
        let (algorithm, codec) = (fields.u8()?, fields.u8()?);
        let epoch = fields.u32()?;
        if algorithm != keys.encryption as u8 || epoch != 0 {
            return Err(fields.damaged("it is sealed in another way than its repository"));
        }
        if fields.array()? != *id.as_bytes() {
            return Err(fields.damaged("it belongs to another repository"));
        }
        let salt = fields.array()?;
        let (length, raw_length) = (fields.u32()? as usize, fields.u32()? as usize);
        let mut sealed = fields.bytes(length.saturating_add(crate::seal::TAG_BYTES))?.to_vec();
        fields.end()?;
        let opened = keys.record(&salt)?.open(0, header, &mut sealed);
        let opened = opened.ok_or_else(|| fields.damaged("its seal is broken"))?;
        let body = decompress(codec, opened, raw_length);
        let body = body.ok_or_else(|| fields.damaged("its body is not what its header says"))?;
        Ok(Self { kind, flags, body })
    }
}

/// A body as it is stored, with its codec.
fn compress(body: &[u8]) -> Result<(u8, Vec<u8>)> {
    if body.len() >= COMPRESSED_LEAST_BYTES {
        let compressed = zstd::bulk::compress(body, zstd::DEFAULT_COMPRESSION_LEVEL);
        let compressed = compressed.map_err(StoreError::io("compress", "a record"))?;
        if compressed.len() < body.len() {
            return Ok((ZSTD, compressed));
        }
    }
    Ok((RAW, body.to_vec()))
}

/// A body as it was, if that is as long as its header says; no more than that is allocated.
fn decompress(codec: u8, stored: &[u8], raw_length: usize) -> Option<Vec<u8>> {
    let body = match codec {
        RAW => stored.to_vec(),
        ZSTD if raw_length <= RECORD_BODY_MOST_BYTES => zstd::bulk::decompress(stored, raw_length).ok()?,
        _ => return None,
    };
    (body.len() == raw_length).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::OsEntropy;
    use crate::keys::MasterKey;
    use crate::seal::Encryption;

    #[test]
    fn long_bodies_are_compressed_and_no_length_is_believed() {
        let (id, keys) =
            (RepositoryId::from_bytes([1; 16]), Keys::new(&MasterKey::from_bytes([1; 32]), Encryption::None));
        let noise: Vec<u8> = (0..COMPRESSED_LEAST_BYTES as u32 / 4).flat_map(blake3_word).collect();
        for (body, codec) in [(vec![7; 100], RAW), (vec![7; 60 << 20], ZSTD), (noise, RAW)] {
            let record = Record::new(RecordKind(900), body);
            let (_, bytes) = record.seal(id, &keys, &OsEntropy).unwrap();
            assert_eq!((bytes[11], bytes.len() < 1 << 20), (codec, true));
            assert_eq!(Record::open(&bytes, id, &keys).unwrap(), record);
        }
        let too_long = Record::new(RecordKind(900), vec![7; RECORD_BODY_MOST_BYTES + 1]);
        assert!(matches!(too_long.seal(id, &keys, &OsEntropy), Err(StoreError::Limit { .. })));
        let compressed = compress(&vec![7; 1 << 20]).unwrap().1;
        for (codec, stored, length, whole) in [
            (ZSTD, &compressed[..], 1 << 20, true),
            (ZSTD, &compressed, (1 << 20) - 1, false),
            (ZSTD, &compressed, (1 << 20) + 1, false),
            (ZSTD, &compressed, u32::MAX as usize, false),
            (ZSTD, &compressed[1..], 1 << 20, false),
            (RAW, b"body", 4, true),
            (RAW, b"body", 5, false),
            (2, b"body", 4, false),
        ] {
            assert_eq!(decompress(codec, stored, length).is_some(), whole, "{codec} {length}");
        }
    }

    fn blake3_word(number: u32) -> [u8; 4] {
        *blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().unwrap()
    }

    #[test]
    fn every_bit_matters_and_names_never_repeat() {
        let (id, other) = (RepositoryId::from_bytes([1; 16]), RepositoryId::from_bytes([2; 16]));
        for encryption in [Encryption::None, Encryption::Aes256Gcm] {
            let keys = Keys::new(&MasterKey::from_bytes([1; 32]), encryption);
            let record = Record { kind: RecordKind(900), flags: CRITICAL, body: b"body".to_vec() };
            let (name, bytes) = record.seal(id, &keys, &OsEntropy).unwrap();
            assert_ne!(record.seal(id, &keys, &OsEntropy).unwrap().0, name);
            assert_eq!(Record::open(&bytes, id, &keys).unwrap(), record);
            assert!(Record::open(&bytes, other, &keys).is_err());
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(Record::open(&flipped, id, &keys).is_err(), "{encryption:?} bit {bit}");
                assert_ne!(RecordName::of(&flipped), name);
            }
        }
    }
}
