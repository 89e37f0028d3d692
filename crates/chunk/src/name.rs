//! What a chunk is called: keyed BLAKE3 over a type byte and the plaintext.
//!
//! Invariant: two chunks share a name only if they have the same kind and the same bytes. The key keeps somebody who
//! sees names from testing whether a known file is stored; the type byte keeps a tree from passing for a file.

use std::fmt;

use zeroize::ZeroizeOnDrop;

/// The name of a chunk: 32 bytes of keyed BLAKE3, compared whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId([u8; ChunkId::BYTES]);

impl ChunkId {
    /// Length of a name.
    pub const BYTES: usize = 32;

    /// A name read back from storage.
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes as they are stored.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The first eight bytes, little-endian: evenly spread, for sharding and for indexing.
    pub fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// Any other length, and any other character.
    pub fn from_hex(text: &str) -> Result<Self, ParseIdError> {
        let bytes = text.as_bytes();
        if bytes.len() != 2 * Self::BYTES {
            return Err(ParseIdError);
        }
        let mut id = [0; Self::BYTES];
        for (byte, pair) in id.iter_mut().zip(bytes.chunks_exact(2)) {
            let digits = std::str::from_utf8(pair).map_err(|_| ParseIdError)?;
            if !pair.iter().all(u8::is_ascii_hexdigit) {
                return Err(ParseIdError);
            }
            *byte = u8::from_str_radix(digits, 16).map_err(|_| ParseIdError)?;
        }
        Ok(Self(id))
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseIdError;

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an id of 64 hexadecimal digits")
    }
}

impl std::error::Error for ParseIdError {}

/// What a chunk holds. The number is the type byte that is hashed and stored; it never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ChunkKind {
    /// Bytes of a file.
    Data = 1,
    /// Nodes of a directory.
    Tree = 2,
    /// Extents of a long stream.
    List = 3,
    /// What only change detection needs.
    Stat = 4,
    /// The second copy of a snapshot record.
    SnapshotCopy = 5,
}

impl ChunkKind {
    /// Every kind, in the order of the type bytes.
    pub const ALL: [Self; 5] = [Self::Data, Self::Tree, Self::List, Self::Stat, Self::SnapshotCopy];

    /// The kind with this type byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Names chunks under one key.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Namer {
    key: [u8; 32],
}

impl Namer {
    /// A namer for the repository that this key belongs to.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The name of these bytes.
    pub fn id(&self, kind: ChunkKind, bytes: &[u8]) -> ChunkId {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[kind as u8]);
        hasher.update(bytes);
        ChunkId(*hasher.finalize().as_bytes())
    }

    /// Eight evenly spread bytes for a file name. Where folders are cut depends on it, not on where a name stands.
    ///
    /// Hashed with the type byte 0, which no chunk has.
    pub fn spread(&self, name: &[u8]) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[0]).update(name);
        ChunkId(*hasher.finalize().as_bytes()).prefix()
    }
}

impl fmt::Debug for Namer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Namer(key hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fixed for ever: a change here orphans every stored chunk.
    #[test]
    fn golden_names() {
        let namer = Namer::new([7; 32]);
        let names: Vec<String> =
            ChunkKind::ALL.iter().map(|kind| namer.id(*kind, b"ring").to_string()[..16].into()).collect();
        assert_eq!(names, GOLDEN);
        assert_eq!(namer.spread(b"ring"), 2_143_283_212_530_321_426);
    }

    const GOLDEN: [&str; 5] =
        ["12e180f5c2201beb", "6f6eba1e0472e817", "bddc810bd71b1755", "8ed86239dd701020", "1aa64579ce42db64"];

    #[test]
    fn kind_and_key_matter() {
        let (a, b) = (Namer::new([1; 32]), Namer::new([2; 32]));
        assert_ne!(a.id(ChunkKind::Data, b"x"), a.id(ChunkKind::Tree, b"x"));
        assert_ne!(a.id(ChunkKind::Data, b"x"), b.id(ChunkKind::Data, b"x"));
        assert!(!format!("{a:?}").contains('1'));
    }

    #[test]
    fn hex_round_trip_and_refusals() {
        let id = Namer::new([1; 32]).id(ChunkKind::Data, b"");
        assert_eq!(ChunkId::from_hex(&id.to_string()), Ok(id));
        for bad in ["", "12", &"g".repeat(64), &"+1".repeat(32), &"a".repeat(65)] {
            assert_eq!(ChunkId::from_hex(bad), Err(ParseIdError), "{bad}");
        }
    }

    #[test]
    fn type_bytes_are_known_and_no_others() {
        for byte in 0..=255u8 {
            assert_eq!(ChunkKind::from_byte(byte).map(|k| k as u8), (1..=5).contains(&byte).then_some(byte));
        }
    }
}
