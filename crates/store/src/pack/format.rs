//! The fixed and sealed parts of a pack, byte for byte as `docs/format.md` has them.
//!
//! Never touches storage. Every decoder checks magic, bounds and reserved fields before it believes a length.

use serde::{Deserialize, Serialize};
use treering_chunk::{ChunkId, ChunkKind};

use super::PackKind;
use crate::codec;
use crate::config::RepositoryId;
use crate::error::{Result, StoreError};
use crate::keys::Keys;
use crate::limits::{
    CHUNK_MOST_BYTES, FRAME_MOST_BYTES, FRAME_MOST_CHUNKS, KEY_SECTION_MOST_BYTES, PACK_MOST_BYTES, TRAILER_MOST_BYTES,
};
use crate::seal::{Encryption, SealKey, TAG_BYTES};
use crate::wire::Fields;

const PACK_MAGIC: &[u8; 8] = b"TREEPACK";
pub(super) const FRAME_MAGIC: &[u8; 4] = b"TRF1";
const FOOTER_MAGIC: &[u8; 8] = b"TRFOOTER";
const PACK_VERSION: u16 = 1;

/// The front of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackHeader {
    pub(crate) kind: PackKind,
    pub(crate) repository: RepositoryId,
    pub(crate) salt: [u8; 32],
    pub(crate) encryption: Encryption,
}

impl PackHeader {
    const FIXED_BYTES: usize = 62;
    const KEY_SECTION_BYTES: usize = 8;
    /// Its length as this version writes it.
    pub(crate) const BYTES: usize = Self::FIXED_BYTES + Self::KEY_SECTION_BYTES;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = PACK_MAGIC.to_vec();
        out.extend(PACK_VERSION.to_le_bytes());
        out.extend([self.kind as u8, 0]);
        out.extend(self.repository.as_bytes());
        out.extend(self.salt);
        out.extend((Self::KEY_SECTION_BYTES as u16).to_le_bytes());
        // Key section: algorithm, how the pack's key is had (0: derived from the master key), reserved, key epoch.
        out.extend([self.encryption as u8, 0, 0, 0]);
        out.extend(0u32.to_le_bytes());
        out
    }

    /// Decodes the front of `bytes`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(bytes, "a pack header");
        fields.magic(PACK_MAGIC)?;
        let version = fields.u16()?;
        if version != PACK_VERSION {
            return Err(StoreError::Unsupported { what: format!("packs of version {version}") });
        }
        let kind = fields.u8()?;
        let kind = PackKind::from_byte(kind).ok_or_else(|| fields.damaged(format!("{kind} is no kind of pack")))?;
        fields.zeros(1)?;
        let (repository, salt) = (RepositoryId::from_bytes(fields.array()?), fields.array()?);
        let section = usize::from(fields.u16()?);
        let algorithm = fields.u8()?;
        let encryption = Encryption::from_byte(algorithm).filter(|_| section == Self::KEY_SECTION_BYTES);
        let Some(encryption) = encryption.filter(|_| section <= KEY_SECTION_MOST_BYTES) else {
            return Err(StoreError::Unsupported { what: format!("packs sealed by algorithm {algorithm}") });
        };
        let (wrapping, reserved, epoch) = (fields.u8()?, fields.u16()?, fields.u32()?);
        if wrapping != 0 || epoch != 0 {
            return Err(StoreError::Unsupported {
                what: format!("packs with wrapped keys ({wrapping}, epoch {epoch})"),
            });
        }
        if reserved != 0 {
            return Err(fields.damaged("a reserved field is not zero"));
        }
        Ok(Self { kind, repository, salt, encryption })
    }
}

/// How the body of a frame is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Codec {
    Raw = 0,
    Zstd = 1,
}

/// The clear front of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// The nonce: used once per pack, also by frames that never got there.
    pub(crate) seal_number: u32,
    pub(crate) kind: PackKind,
    pub(crate) codec: Codec,
    /// Sealed bytes behind this header, the tag included.
    pub(crate) stored_len: u32,
    /// Bytes of the body when opened and decompressed.
    pub(crate) raw_len: u32,
}

impl FrameHeader {
    pub(crate) const BYTES: usize = 28;

    pub(crate) fn encode(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        let [kind, codec] = [self.kind as u8, self.codec as u8];
        let fields = [
            &FRAME_MAGIC[..],
            &self.seal_number.to_le_bytes(),
            &[kind, codec, 0, 0],
            &self.stored_len.to_le_bytes(),
            &self.raw_len.to_le_bytes(),
        ]
        .concat();
        let check = check_bytes(&fields);
        for (to, from) in out.iter_mut().zip(fields.into_iter().chain(check)) {
            *to = from;
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(bytes, "a frame header");
        fields.magic(FRAME_MAGIC)?;
        let seal_number = fields.u32()?;
        let (kind, codec) = (fields.u8()?, fields.u8()?);
        fields.zeros(2)?;
        let (stored_len, raw_len) = (fields.u32()?, fields.u32()?);
        if fields.array()? != check_bytes(bytes.get(..20).unwrap_or_default()) {
            return Err(fields.damaged("its check does not fit"));
        }
        fields.end()?;
        let kind = PackKind::from_byte(kind).ok_or_else(|| fields.damaged("its kind is unknown"))?;
        let codec = match codec {
            0 => Codec::Raw,
            1 => Codec::Zstd,
            other => return Err(StoreError::Unsupported { what: format!("frames compressed by codec {other}") }),
        };
        let most = FRAME_MOST_BYTES + TAG_BYTES;
        if raw_len as usize > FRAME_MOST_BYTES || !(TAG_BYTES..=most).contains(&(stored_len as usize)) {
            return Err(fields.damaged("its lengths are out of bounds"));
        }
        Ok(Self { seal_number, kind, codec, stored_len, raw_len })
    }
}

/// The first eight bytes of the BLAKE3: tells damage from a header, proves nothing.
fn check_bytes(bytes: &[u8]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(bytes).as_bytes();
    [a, b, c, d, e, f, g, h]
}

/// A chunk within a frame, as the trailer lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrailerChunk {
    id: [u8; 32],
    kind: u8,
    pub(crate) raw_len: u32,
}

impl TrailerChunk {
    pub(crate) fn new(id: ChunkId, kind: ChunkKind, raw_len: u32) -> Self {
        Self { id: *id.as_bytes(), kind: kind as u8, raw_len }
    }

    pub(crate) fn id(&self) -> ChunkId {
        ChunkId::from_bytes(self.id)
    }

    pub(crate) fn kind(&self) -> Option<ChunkKind> {
        ChunkKind::from_byte(self.kind)
    }
}

/// A frame, as the trailer lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrailerFrame {
    /// Where its header starts in the pack.
    pub(crate) offset: u64,
    /// As in its header.
    pub(crate) stored_len: u32,
    /// Its chunks in the order of their bytes.
    pub(crate) chunks: Vec<TrailerChunk>,
}

impl TrailerFrame {
    pub(crate) fn end(&self) -> u64 {
        self.offset + FrameHeader::BYTES as u64 + u64::from(self.stored_len)
    }
}

/// A pack's own table of contents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trailer {
    pub(crate) frames: Vec<TrailerFrame>,
}

impl Trailer {
    /// The sealed trailer and the footer: the end of a pack, from `offset` on.
    pub(crate) fn seal(&self, header: &PackHeader, keys: &Keys, offset: u64) -> Result<Vec<u8>> {
        let mut sealed = codec::encode(self, TRAILER_MOST_BYTES)?;
        let footer = Footer { header: header.clone(), offset, stored_len: (sealed.len() + TAG_BYTES) as u32 };
        keys.trailer(&header.salt)?.seal(0, &footer.encode(), &mut sealed)?;
        if Self::open(sealed.clone(), &footer, keys)? != *self {
            return Err(StoreError::Verify { what: "trailer" });
        }
        sealed.extend(footer.encode());
        Ok(sealed)
    }

    pub(crate) fn open(mut sealed: Vec<u8>, footer: &Footer, keys: &Keys) -> Result<Self> {
        let opened = keys.trailer(&footer.header.salt)?.open(0, &footer.encode(), &mut sealed);
        let bytes = opened.ok_or_else(|| StoreError::damaged("a trailer", "its seal is broken"))?;
        let trailer: Self = codec::decode(bytes, TRAILER_MOST_BYTES, "a trailer")?;
        trailer.check_layout(footer.header.kind, footer.offset)?;
        Ok(trailer)
    }

    /// Frames follow each other without gaps from the header to the trailer.
    fn check_layout(&self, kind: PackKind, trailer_offset: u64) -> Result<()> {
        let fits = |chunk: &TrailerChunk| {
            chunk.kind().is_some_and(|chunk| PackKind::of(chunk) == kind) && chunk.raw_len as usize <= CHUNK_MOST_BYTES
        };
        let mut at = PackHeader::BYTES as u64;
        for frame in &self.frames {
            if frame.offset != at || frame.chunks.len() > FRAME_MOST_CHUNKS || !frame.chunks.iter().all(fits) {
                return Err(StoreError::damaged("a trailer", "its frames do not follow each other"));
            }
            at = frame.end();
        }
        if at != trailer_offset {
            return Err(StoreError::damaged("a trailer", "its frames do not end where it starts"));
        }
        Ok(())
    }
}

/// The end of a pack: its header once more, and where its trailer is. The header holds the salt, without which nothing
/// of the pack can be opened; so it stands at both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Footer {
    /// The same as at the front.
    pub(crate) header: PackHeader,
    pub(crate) offset: u64,
    /// Of the sealed trailer, its tag included.
    pub(crate) stored_len: u32,
}

impl Footer {
    const CHECKED_BYTES: usize = PackHeader::BYTES + 24;
    pub(crate) const BYTES: usize = Self::CHECKED_BYTES + 8;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.header.encode();
        out.extend(FOOTER_MAGIC);
        out.extend(self.offset.to_le_bytes());
        out.extend(self.stored_len.to_le_bytes());
        out.extend([0; 4]);
        out.extend(check_bytes(&out));
        out
    }

    /// Decodes the footer of a pack of this length.
    pub(crate) fn decode(bytes: &[u8], pack_bytes: u64) -> Result<Self> {
        let mut fields = Fields::new(bytes, "a pack footer");
        let header = fields.bytes(PackHeader::BYTES)?;
        fields.magic(FOOTER_MAGIC)?;
        let (offset, stored_len) = (fields.u64()?, fields.u32()?);
        fields.zeros(4)?;
        if fields.array()? != check_bytes(bytes.get(..Self::CHECKED_BYTES).unwrap_or_default()) {
            return Err(fields.damaged("its check does not fit"));
        }
        fields.end()?;
        let end = offset.saturating_add(u64::from(stored_len)).saturating_add(Self::BYTES as u64);
        let bounded = (TAG_BYTES..=TRAILER_MOST_BYTES + TAG_BYTES).contains(&(stored_len as usize));
        if end != pack_bytes || pack_bytes > PACK_MOST_BYTES || !bounded {
            return Err(fields.damaged("it does not fit the length of its pack"));
        }
        Ok(Self { header: PackHeader::decode(header)?, offset, stored_len })
    }
}

/// What a frame's seal is bound to besides its bytes.
pub(crate) fn frame_associated(pack_header: &[u8], frame_header: &[u8; FrameHeader::BYTES]) -> Vec<u8> {
    [pack_header, frame_header].concat()
}

/// The key of a pack's frames.
pub(crate) fn frame_key(header: &PackHeader, keys: &Keys) -> Result<SealKey> {
    keys.frames(&header.salt)
}
