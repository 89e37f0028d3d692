//! Packs: immutable files of frames, a sealed trailer and a footer.
//!
//! Owns the bytes of a pack ([`format`](mod@format)) and of its frames ([`frame`]), and reading both back ([`read`]), also
//! from what is left of a damaged pack (`salvage`).
//! Never decides what is stored or where a pack lies.
//!
//! Invariant: what says where chunks are stands in a pack twice: frames describe themselves, so a pack whose trailer is
//! lost can still be walked; the trailer describes them all, so they need not be read. The header, which holds the salt,
//! stands at both ends.

pub(crate) mod format;
pub(crate) mod frame;
pub(crate) mod read;
mod salvage;

use std::fmt;

pub use read::{PackContents, PackedFrame, PackedFrames};

/// The name of a pack: the BLAKE3 of its bytes, so that it can be verified without a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackName([u8; 32]);

impl PackName {
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
        treering_chunk::ChunkId::from_hex(text).ok().map(|id| Self(*id.as_bytes()))
    }
}

impl fmt::Display for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a pack holds. Data and trees lie apart, so that reading trees reads little else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PackKind {
    /// Bytes of files.
    Data = 1,
    /// Trees, lists, stat streams, second copies of snapshot records.
    Meta = 2,
}

impl PackKind {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Data, Self::Meta].into_iter().find(|kind| *kind as u8 == byte)
    }

    /// The kind of pack that chunks of this kind go to.
    pub fn of(chunk: treering_chunk::ChunkKind) -> Self {
        match chunk {
            treering_chunk::ChunkKind::Data => Self::Data,
            _ => Self::Meta,
        }
    }
}
